//! What the databases say, in the store's words.

use super::Engine;
use crate::StoreError;

/// What an error means, and whether the transaction may succeed when it is done again.
pub(crate) fn understand(engine: Engine, place: &str, error: &sqlx::Error) -> (StoreError, bool) {
    match engine {
        Engine::Sqlite => (sqlite(place, error), false),
        Engine::Postgres => postgres(place, error),
    }
}

/// SQLite.
pub(crate) fn sqlite(place: &str, error: &sqlx::Error) -> StoreError {
    let place = place.to_owned();
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok()).unwrap_or(0);
    // SQLITE_IOERR_SHMSIZE: the index beside the journal cannot grow, which is how a disk without a single free page shows.
    if code == 4874 {
        return StoreError::Full { place };
    }
    // The low byte is SQLite's primary result code.
    match code & 0xff {
        5 | 6 => StoreError::Busy { place },
        11 | 26 => StoreError::Corrupt { place, reason: error.to_string() },
        13 => StoreError::Full { place },
        3 | 8 => StoreError::ReadOnly { place },
        19 => StoreError::Misfit(error.to_string()),
        14 => StoreError::Folder { path: place.into(), reason: error.to_string() },
        _ => StoreError::Database(error.to_string()),
    }
}

/// PostgreSQL.
pub(crate) fn postgres(place: &str, error: &sqlx::Error) -> (StoreError, bool) {
    let place = place.to_owned();
    let reason = error.to_string();
    let Some(said) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => (StoreError::Unavailable { place, reason }, false),
            sqlx::Error::Configuration(_) => (StoreError::Refused { place, reason }, false),
            _ => (StoreError::Database(reason), false),
        };
    };
    let code = said.code().unwrap_or_default().into_owned();
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        // A serialisation failure or a deadlock: whoever comes second does it again.
        (_, "40001" | "40P01") => (StoreError::Busy { place }, true),
        // Two hosts counted the same number. Done again, the second sees the first; what is really there twice is so again.
        (_, "23505") => (StoreError::Misfit(reason), true),
        ("23" | "22", _) => (StoreError::Misfit(reason), false),
        (_, "55P03" | "57014") => (StoreError::Busy { place }, false),
        (_, "53100") => (StoreError::Full { place }, false),
        (_, "25006") => (StoreError::ReadOnly { place }, false),
        ("08" | "57" | "53", _) | (_, "25P03") => (StoreError::Unavailable { place, reason }, false),
        ("28", _) | (_, "42501" | "3D000" | "3F000") => (StoreError::Refused { place, reason }, false),
        ("XX", "XX001" | "XX002") => (StoreError::Corrupt { place, reason }, false),
        _ => (StoreError::Database(reason), false),
    }
}
