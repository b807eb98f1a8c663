//! The server's parameters that `ALTER SYSTEM` may set, where a binding names them.
//!
//! A list of what may, not of what may not: the next version's parameter that names a program, a library or a file (18 brought
//! `oauth_validator_libraries` and `extension_control_path`) is refused before anybody here has heard of it. What is on it steers memory, planning,
//! writing, vacuuming and what is measured. A bad value of it makes a server slow, or keeps it from starting after the next restart; none runs a
//! program, loads code, moves a file, opens a door or gives up what was committed.

use std::sync::LazyLock;

static ALLOWED: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("data/server_parameters.txt").lines().collect());

/// Why it is never set although it is a parameter that one could want to: words in its name, and the reason.
const REASONS: [(&[&str], &str); 7] = [
    (&["_command"], "the server runs it as a program"),
    (
        &["_libraries", "_library", "_library_path", "jit_provider", "extension_control_path"],
        "the server loads code from what it names",
    ),
    (
        &[
            "_file",
            "_directory",
            "_directories",
            "_dir",
            "log_filename",
            "syslog_",
            "event_source",
            "log_destination",
            "logging_collector",
            "temp_tablespaces",
            "default_tablespace",
        ],
        "it says which files the server reads or writes",
    ),
    (
        &[
            "listen_addresses",
            "port",
            "ssl",
            "krb_",
            "gss_",
            "unix_socket_",
            "bonjour",
            "password_encryption",
            "scram_",
            "authentication_",
            "row_security",
            "db_user_namespace",
            "createrole_self_grant",
            "lo_compat_privileges",
            "superuser_reserved_connections",
            "reserved_connections",
            "allow_",
            "md5_password_warnings",
        ],
        "it says who gets in, how, and what they may do there",
    ),
    (
        &[
            "primary_",
            "recovery_",
            "synchronous_standby_names",
            "synchronized_standby_slots",
            "sync_replication_slots",
            "wal_level",
            "archive_",
            "hot_standby",
            "session_replication_role",
        ],
        "it says where a server's data comes from and goes to; failover, switchover and a person change that",
    ),
    (
        &[
            "fsync",
            "full_page_writes",
            "synchronous_commit",
            "wal_sync_method",
            "wal_log_hints",
            "zero_damaged_pages",
            "ignore_",
            "data_sync_retry",
            "track_counts",
            "autovacuum",
            "vacuum_failsafe_age",
            "vacuum_multixact_failsafe_age",
        ],
        "with it what was committed, or the means to keep it, could be lost",
    ),
    (
        &[
            "search_path",
            "standard_conforming_strings",
            "backslash_quote",
            "escape_string_warning",
            "transform_null_equals",
            "client_encoding",
            "default_transaction_",
            "transaction_",
            "role",
            "session_authorization",
            "check_function_bodies",
            "event_triggers",
            "quote_all_identifiers",
            "array_nulls",
        ],
        "it changes what everybody's statements mean",
    ),
];

/// Whether `ALTER SYSTEM` may ever set a parameter of the server, as long as a binding names it.
///
/// ```
/// assert!(rota_classifier::server_parameter("Work_Mem").is_ok());
/// assert_eq!(rota_classifier::server_parameter("archive_command"), Err("the server runs it as a program"));
/// assert!(rota_classifier::server_parameter("an_extension.parameter").is_err());
/// ```
///
/// # Errors
/// Why it is never set.
pub fn server_parameter(name: &str) -> Result<(), &'static str> {
    let name = name.to_ascii_lowercase();
    if ALLOWED.binary_search(&name.as_str()).is_ok() {
        return Ok(());
    }
    if name.contains('.') {
        return Err("it is an extension's, which may do anything with it");
    }
    // A word of the list is the whole name, or its beginning or end where it says so by its `_`.
    let means = |word: &&str| {
        name == **word
            || (word.ends_with('_') && name.starts_with(*word))
            || (word.starts_with('_') && name.ends_with(*word))
            || (**word == *"ssl" && name.starts_with("ssl_"))
    };
    let reason = REASONS.iter().find(|(words, _)| words.iter().any(means));
    Err(reason.map_or("it is not among the parameters that are known to be harmless", |(_, reason)| reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_lower_case() {
        assert!(ALLOWED.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            ALLOWED.iter().all(|name| name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit()))
        );
        assert!(ALLOWED.len() > 100, "{}", ALLOWED.len());
    }

    #[test]
    fn what_runs_programs_loads_code_or_opens_doors_is_never_set() {
        for name in [
            "archive_command",
            "restore_command",
            "archive_cleanup_command",
            "recovery_end_command",
            "ssl_passphrase_command",
            "archive_library",
            "shared_preload_libraries",
            "session_preload_libraries",
            "local_preload_libraries",
            "oauth_validator_libraries",
            "extension_control_path",
            "dynamic_library_path",
            "jit_provider",
            "hba_file",
            "ident_file",
            "config_file",
            "data_directory",
            "external_pid_file",
            "listen_addresses",
            "port",
            "unix_socket_directories",
            "unix_socket_permissions",
            "log_directory",
            "log_filename",
            "log_destination",
            "log_file_mode",
            "logging_collector",
            "primary_conninfo",
            "primary_slot_name",
            "recovery_target_time",
            "recovery_min_apply_delay",
            "allow_system_table_mods",
            "allow_in_place_tablespaces",
            "allow_alter_system",
            "krb_server_keyfile",
            "ssl",
            "ssl_cert_file",
            "ssl_key_file",
            "ssl_ca_file",
            "ssl_crl_dir",
            "password_encryption",
            "row_security",
            "session_replication_role",
            "fsync",
            "full_page_writes",
            "synchronous_commit",
            "zero_damaged_pages",
            "ignore_checksum_failure",
            "ignore_system_indexes",
            "wal_level",
            "autovacuum",
            "search_path",
            "role",
            "default_transaction_read_only",
            "standard_conforming_strings",
            "temp_tablespaces",
            "log_line_prefix",
            "log_statement",
            "debug_discard_caches",
            "cluster_name",
            // Names of old that the server takes for others of today.
            "sort_mem",
            "vacuum_mem",
            "ssl_ecdh_curve",
            "",
            "work_mem ",
            "work_mem\0",
            "plpgsql.extra_warnings",
        ] {
            assert!(server_parameter(name).is_err(), "{name:?}");
            assert!(server_parameter(&name.to_uppercase()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_reason_is_as_near_as_can_be() {
        assert_eq!(server_parameter("Restore_Command"), Err("the server runs it as a program"));
        assert_eq!(server_parameter("ssl_ca_file"), Err("it says which files the server reads or writes"));
        assert_eq!(server_parameter("support"), Err("it is not among the parameters that are known to be harmless"));
    }
}
