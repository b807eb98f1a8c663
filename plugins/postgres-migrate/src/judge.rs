//! What is said of it.

use crate::Data;
use rota_sdk::prelude::*;

fn named(version: Option<&str>) -> String {
    version.map_or_else(|| "the beginning".to_owned(), |version| format!("version {version}"))
}

/// The table of migrations.
pub(crate) fn show(data: &Data, report: &mut Report) {
    let Some(pending) = data.pending.as_ref().filter(|pending| !pending.is_empty()) else { return };
    let mut table = report.table("migrations", "Migrations", ["version", "message", "state"]);
    for one in pending {
        let state = if data.applied.contains(&one.version) {
            "applied"
        } else if data.failed_at.as_ref() == Some(&one.version) {
            "failed"
        } else {
            "pending"
        };
        table.row(cells![&one.version, &one.message, state]);
    }
}

/// Indexes that are not valid.
pub(crate) fn indexes(invalid: &[String], before: &[String], report: &mut Report) {
    for index in invalid {
        if before.contains(index) {
            report.warning(format!("{index} is invalid, and was before")).remedy(
                "postgres-index-advice",
                &json!({}),
                "says what is wrong with the indexes, and how to mend each",
            );
        } else {
            report
                .critical(format!("{index} is invalid since this migration"))
                .detail("It is written to and used by no query; a unique one does not hold. CREATE INDEX CONCURRENTLY leaves this when it fails.")
                .remedy("postgres-index-advice", &json!({}), "says what is wrong with the indexes, and how to mend each");
        }
    }
}

/// The whole in one line.
pub(crate) fn summary(data: &Data, planned: bool) -> String {
    let (from, to) = (named(data.from.as_deref()), named(data.to.as_deref()));
    let count = data.pending.as_ref().map_or_else(|| "all".to_owned(), |pending| pending.len().to_string());
    if data.from.as_ref() == Some(&data.head) {
        format!("{}: at its head, version {}", data.server.database, data.head)
    } else if planned {
        format!("{}: {count} migrations would be applied, from {from} to version {}", data.server.database, data.head)
    } else if data.to.as_ref() == Some(&data.head) && data.failed_at.is_none() {
        format!("{}: migrated from {from} to {to}, {} applied", data.server.database, data.applied.len())
    } else {
        format!(
            "{}: stands at {to}, not at version {}; {} applied",
            data.server.database,
            data.head,
            data.applied.len()
        )
    }
}

/// Why it failed, and where the database stands.
pub(crate) fn error(data: &Data, cause: Option<Error>, dirty: bool) -> Error {
    let stands = if dirty {
        format!("the database is at {}, and dirty", named(data.to.as_deref()))
    } else if data.to.as_ref() == Some(&data.head) {
        format!("the database is at its head, version {}", data.head)
    } else if data.partial {
        format!(
            "the database is at {}, part of the way from {} to version {}",
            named(data.to.as_deref()),
            named(data.from.as_deref()),
            data.head
        )
    } else {
        format!("the database is still at {}", named(data.from.as_deref()))
    };
    let at = data.failed_at.as_ref().map_or_else(String::new, |version| format!("migration {version} failed; "));
    match cause {
        Some(cause) => cause.context(format!("{at}{stands}")),
        None => Error::new(format!("the tool said success, and {stands}; it should be version {}", data.head))
            .hint("does the tool reach the database of the slot `database`? It is led there by libpq's variables (PGSERVICE, PGHOST ...)"),
    }
}
