//! How a program gets its connection without the guest, the command line or the environment holding the password.
//!
//! libpq reads a service file and a password file, both 0600 in a private folder of 0700 that goes when the program ends.
//! The environment names the files and the database. The database is not in the service file because a line of that file
//! cannot hold every name (libpq strips white space at its end and refuses long lines), and not on the command line because
//! there a name such as `p=1 q` or `postgres://h/x` is taken for a connection string; `PGDATABASE` is taken as it stands.

mod files;
mod folder;
mod variables;

pub(crate) use files::write_files;
pub(crate) use folder::PrivateFolder;
pub use folder::sweep;
pub(crate) use variables::{options, variables};

use rota_telemetry::Secret;
use std::path::PathBuf;

/// Where and as whom a program connects, in the words of libpq.
#[derive(Clone, Debug, Default)]
pub(crate) struct PgAddress {
    /// Host name, address, or the folder of a Unix socket.
    pub(crate) host: Option<String>,
    /// Port.
    pub(crate) port: Option<u16>,
    /// User.
    pub(crate) user: Option<String>,
    /// Password.
    pub(crate) password: Option<Secret>,
    /// Database; the user's name where there is none.
    pub(crate) database: Option<String>,
    /// How long a statement waits for a lock, milliseconds, for programs that do not say so themselves.
    pub(crate) lock_timeout: u64,
    /// The role to become after connecting (`--role`).
    pub(crate) role: Option<String>,
    /// `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `options` and the like.
    pub(crate) settings: Vec<(String, String)>,
    /// Files that the settings name and the program must read.
    pub(crate) reads: Vec<PathBuf>,
}

/// A connection that cannot be handed to a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// A value has no spelling in libpq's files.
    #[error("the connection's {what} cannot be given to a program: {why}; change it in the binding")]
    Value {
        /// Which.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// The database's name.
    #[error("the database name is {0}")]
    Database(&'static str),
}

/// Check the name of a database that a guest asks for.
pub(crate) fn check_database(name: &str) -> Result<(), Unfit> {
    if name.is_empty() {
        return Err(Unfit::Database("empty; leave it out for the binding's own database"));
    }
    if name.contains(['\0', '\n', '\r']) {
        return Err(Unfit::Database("not one that a program can be given: it holds a line end or a NUL"));
    }
    // NAMEDATALEN - 1: older servers cut a longer name and would connect elsewhere.
    if name.len() > 63 {
        return Err(Unfit::Database("longer than the 63 bytes that PostgreSQL allows"));
    }
    Ok(())
}

/// A connection string that names a database and nothing else, whatever the name holds.
pub(crate) fn conninfo_of(database: &str) -> String {
    let escaped = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("dbname='{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_database_names_are_fine_and_impossible_ones_are_not() {
        for name in ["-x", "a\"b", "p=1 q", "naïve", "postgres://h/x", "a'b\\c", "--host=evil", " lead and trail "] {
            assert_eq!(check_database(name), Ok(()), "{name}");
        }
        for name in ["", "a\nb", "a\rb", "a\0b", &"x".repeat(64)] {
            assert!(check_database(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_connection_string_holds_any_name() {
        assert_eq!(conninfo_of("p=1 q"), "dbname='p=1 q'");
        assert_eq!(conninfo_of("a' host='evil"), r"dbname='a\' host=\'evil'");
        assert_eq!(conninfo_of(r"a\' host=evil"), r"dbname='a\\\' host=evil'");
    }
}
