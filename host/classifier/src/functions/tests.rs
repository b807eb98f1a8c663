use std::collections::BTreeSet;

use super::*;

fn assert_sorted(what: &str, list: &[&str]) {
    for pair in list.windows(2) {
        assert!(pair[0] < pair[1], "{what}: {:?} and {:?} are out of order or double", pair[0], pair[1]);
    }
    assert!(list.iter().all(|name| !name.is_empty() && name.trim() == *name), "{what}: an empty or padded line");
}

#[test]
fn lists_are_sorted_and_without_doubles() {
    assert_sorted("functions.txt", &CATALOG);
    assert_sorted("functions_volatile.txt", &VOLATILE);
    assert_sorted("functions_vector.txt", &VECTOR);
    assert_sorted("operators.txt", &OPERATORS);
    assert_sorted("operators_vector.txt", &VECTOR_OPERATORS);
    assert_sorted("types.txt", &TYPES);
    assert_sorted("WRITING", &WRITING);
    assert_sorted("SAMPLING", &SAMPLING);
    assert_sorted("forbidden_functions.txt", &FORBIDDEN.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn no_name_is_both_allowed_and_forbidden() {
    let allowed: BTreeSet<&str> = allowed_functions().map(|function| function.name).chain(WRITING).collect();
    for (name, _) in FORBIDDEN.iter() {
        assert!(!allowed.contains(name), "{name} is on an allow-list and forbidden");
    }
    // They take no path and list a folder of the server's own, to members of pg_monitor only.
    let folders = ["pg_ls_archive_statusdir", "pg_ls_tmpdir", "pg_ls_waldir"];
    for name in allowed.iter().filter(|name| !folders.contains(name)) {
        let prefix = FORBIDDEN_PREFIXES.iter().find(|(prefix, _, _)| name.starts_with(prefix));
        assert!(prefix.is_none() || WRITING.contains(name), "{name} is allowed and has a forbidden prefix");
    }
}

#[test]
fn every_group_has_its_reason_and_every_exception_too() {
    let fallback = why("");
    for (name, group) in FORBIDDEN.iter() {
        assert_ne!(why(group), fallback, "{name}: the group {group:?} has no reason");
    }
    for (prefix, _, group) in FORBIDDEN_PREFIXES {
        assert_ne!(why(group), fallback, "{prefix}: the group {group:?} has no reason");
    }
    for (name, reason) in pairs(include_str!("../data/functions_volatile.txt")) {
        assert!(!reason.is_empty(), "{name} is volatile and nothing says why it is harmless");
    }
}

#[test]
fn dangerous_functions_are_refused_in_any_schema() {
    for schema in [None, Some("pg_catalog"), Some("public"), Some("app")] {
        for name in [
            "pg_read_file",
            "dblink_exec",
            "set_config",
            "pg_terminate_backend",
            "query_to_xml",
            "lo_import",
            "pg_sleep",
        ] {
            assert!(matches!(function(schema, name), Verdict::Forbidden(_)), "{schema:?}.{name}");
        }
    }
}

#[test]
fn a_schema_decides_whose_function_it_is() {
    assert_eq!(function(None, "lower"), Verdict::Allowed);
    assert_eq!(function(Some("pg_catalog"), "lower"), Verdict::Allowed);
    assert_eq!(function(Some("public"), "lower"), Verdict::User);
    assert_eq!(function(Some("public"), "l2_distance"), Verdict::Allowed);
    assert_eq!(function(Some("app"), "l2_distance"), Verdict::User);
    assert_eq!(function(Some("pg_catalog"), "no_such"), Verdict::Unknown);
    assert_eq!(function(None, "no_such"), Verdict::Unknown);
    assert_eq!(function(None, "nextval"), Verdict::Writes);
    assert_eq!(function(Some("app"), "nextval"), Verdict::User);
    assert_eq!(operator(None, "<=>"), Verdict::Allowed);
    assert_eq!(operator(Some("public"), "<=>"), Verdict::Allowed);
    assert_eq!(operator(Some("app"), "<=>"), Verdict::User);
    assert_eq!(operator(None, "==="), Verdict::Unknown);
    assert_eq!(type_name(None, "_int4"), Verdict::Allowed);
    assert_eq!(type_name(Some("extensions"), "vector"), Verdict::Allowed);
    assert_eq!(type_name(None, "mood"), Verdict::User);
    assert_eq!(sampling(None, "system_rows"), Verdict::Unknown);
}

#[test]
fn typing_errors_find_their_function() {
    assert_eq!(nearest_function("pg_databse_size").as_deref(), Some("pg_database_size"));
    assert_eq!(nearest_function("lowre").as_deref(), Some("lower"));
    assert_eq!(nearest_function("charge_customer"), None);
    assert_eq!(nearest_function(&"x".repeat(1000)), None);
}
