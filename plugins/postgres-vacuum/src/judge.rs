//! From what was measured to what a person reads.

use crate::Parameters;
use crate::ages::Database;
use crate::holders::{Holder, Kind};
use crate::work::{Done, Worked};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::text::spoken;

/// How many tables the report's table lists; the data has all of them.
const LISTED: usize = 50;

/// Names that were asked for and are not there.
pub(crate) fn names(unknown: &[String], report: &mut Report) {
    for name in unknown {
        report
            .warning(format!("{name}: no such table or schema"))
            .detail("Nothing of this name can be vacuumed in this database. Partitioned tables hold no rows: name their partitions.");
    }
}

/// Who keeps a transaction open for long, or a slot that nobody reads.
pub(crate) fn holders(holders: &[Holder], parameters: &Parameters, report: &mut Report) {
    for holder in holders {
        let long = holder.seconds.is_some_and(|seconds| seconds >= parameters.holder_seconds);
        let idle_slot = holder.kind == Kind::ReplicationSlot
            && holder.who.as_deref().is_some_and(|who| who.contains("nobody connected"));
        if long || idle_slot {
            let what = if holder.only_catalogs { "dead rows of the catalogs" } else { "dead rows" };
            let xids = holder.xids.map_or_else(String::new, |xids| {
                format!(" The age of what it can still see: {} transactions.", grouped(xids))
            });
            report
                .warning(format!("{} holds {what} back", holder.told()))
                .detail(format!("Vacuum cannot remove what it can still see, in any table.{xids}"))
                .advice(holder.remedy());
        }
    }
}

/// A table's outcome, where somebody should know.
pub(crate) fn tables(tables: &[Worked], parameters: &Parameters, server: &mut Server, report: &mut Report) {
    for table in tables {
        let Worked { quoted, done, .. } = table;
        let reason = table.reason.clone().unwrap_or_default();
        let before = format!(
            "{} dead rows ({:.0} % of all) before.",
            grouped(table.dead_before),
            table.dead_share_before * 100.0
        );
        let again = json!({ "tables": [quoted] });
        match done {
            Done::Vacuumed | Done::Gone => {}
            Done::Planned => planned(table, parameters, report),
            Done::HeldBack => {
                let stayed = grouped(table.dead_after.unwrap_or(0));
                let finding = report.warning(format!("{quoted}: {stayed} dead rows stayed, {reason}")).detail(before);
                if let Some(remedy) = &table.remedy {
                    finding.remedy("postgres-vacuum", &again, remedy);
                }
            }
            Done::Locked => {
                let finding = report
                    .warning(format!("{quoted}: not vacuumed, {reason}"))
                    .detail(format!("It was tried twice. {before}"));
                finding.remedy("postgres-vacuum", &again, "Try again when the lock is gone");
            }
            Done::NotAllowed => {
                let note = if server.major() >= 17 {
                    "GRANT MAINTAIN on it, or pg_maintain, to the role"
                } else {
                    "Run as its owner or the database's"
                };
                report
                    .warning(format!("{quoted}: not vacuumed, role {} may not", server.role))
                    .detail(format!("{reason}. {before}"))
                    .advice(note);
            }
            Done::Skipped => {
                report.unknown(format!("{quoted}: skipped by the server")).detail(format!("{reason}. {before}"));
            }
            Done::OutOfTime | Done::NotReached => {
                report
                    .warning(format!("{quoted}: not vacuumed to its end"))
                    .detail(format!("{reason}. {before}"))
                    .remedy(
                        "postgres-vacuum",
                        &again,
                        format!("Give it a turn of its own, or a budget_seconds above {}", parameters.budget_seconds),
                    );
            }
            Done::Failed => {
                report.critical(format!("{quoted}: vacuum failed")).detail(format!("{reason}. {before}"));
            }
        }
    }
    metrics(tables, report);
}

/// In a plan, what the table's state says.
fn planned(table: &Worked, parameters: &Parameters, report: &mut Report) {
    let share = format!("{:.0} % of all", table.dead_share_before * 100.0);
    if table.dead_before > parameters.min_dead_rows && table.dead_share_before >= parameters.min_dead_share {
        report
            .warning(format!("{}: {} dead rows, {share}", table.quoted, grouped(table.dead_before)))
            .detail("It would be vacuumed.");
    } else if table.age_before > parameters.warn_age {
        report
            .warning(format!("{}: its oldest transaction id is {} old", table.quoted, grouped(table.age_before)))
            .detail("It would be vacuumed.");
    } else {
        report.note(format!("{}: would be vacuumed because it was named", table.quoted));
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics")]
fn metrics(tables: &[Worked], report: &mut Report) {
    for table in tables.iter().take(LISTED) {
        report.metric("dead_rows", &[("table", &table.quoted)], table.dead_after.unwrap_or(table.dead_before) as f64);
    }
    report.metric("dead_rows_removed", &[], removed(tables) as f64);
}

/// Databases that come close to running out of transaction ids.
pub(crate) fn ages(databases: &[Database], server: &Server, parameters: &Parameters, report: &mut Report) {
    for Database { name, xid_age, multixact_age } in databases {
        let age = *xid_age.max(multixact_age);
        #[allow(clippy::cast_precision_loss, reason = "ages are below 2^32")]
        report.metric("xid_age", &[("database", name)], *xid_age as f64);
        let severity = match age {
            age if age > parameters.critical_age => Severity::Critical,
            age if age > parameters.warn_age => Severity::Warning,
            _ => continue,
        };
        let kind = if xid_age >= multixact_age { "transaction" } else { "multixact" };
        let finding = report
            .finding(severity, format!("database {name}: its oldest {kind} id is {} old", grouped(age)))
            .detail("At about 2 billion the server stops taking writes, until a vacuum that can take hours.");
        if *name == server.database {
            finding.advice("See which tables are oldest and who holds them back, and vacuum those first");
        } else {
            finding.advice(format!("Run postgres-vacuum with a binding to database {name}"));
        }
    }
}

/// The tables of the report.
pub(crate) fn show(holders: &[Holder], tables: &[Worked], databases: &[Database], report: &mut Report) {
    if !holders.is_empty() {
        let mut table =
            report.table("holders", "Who can still see old rows", ["what", "name", "who", "transactions ago", "for"]);
        for holder in holders {
            table.row(cells![
                holder.kind.word(),
                &holder.name,
                holder.who.as_ref(),
                holder.xids,
                holder.seconds.map(Seconds)
            ]);
        }
    }
    if !tables.is_empty() {
        let title = if tables.len() > LISTED {
            format!("Tables (the first {LISTED} of {})", tables.len())
        } else {
            "Tables".to_owned()
        };
        let columns = [
            "table",
            "outcome",
            "size",
            "dead before",
            "dead after",
            "share before",
            "age before",
            "age after",
            "took",
        ];
        let mut table = report.table("tables", &title, columns);
        for one in tables.iter().take(LISTED) {
            table.row(cells![
                &one.quoted,
                word(one.done),
                one.bytes.map(|bytes| Bytes(u64::try_from(bytes).unwrap_or(0))),
                one.dead_before,
                one.dead_after,
                Ratio(one.dead_share_before),
                one.age_before,
                one.age_after,
                Seconds(one.seconds)
            ]);
        }
    }
    if !databases.is_empty() {
        let mut table =
            report.table("databases", "Databases", ["database", "oldest transaction id", "oldest multixact id"]);
        for database in databases {
            table.row(cells![&database.name, database.xid_age, database.multixact_age]);
        }
    }
}

pub(crate) fn word(done: Done) -> &'static str {
    match done {
        Done::Vacuumed => "vacuumed",
        Done::HeldBack => "rows held back",
        Done::Locked => "locked",
        Done::NotAllowed => "not allowed",
        Done::Skipped => "skipped",
        Done::OutOfTime => "out of time",
        Done::NotReached => "not reached",
        Done::Gone => "gone",
        Done::Failed => "failed",
        Done::Planned => "planned",
    }
}

fn removed(tables: &[Worked]) -> i64 {
    tables.iter().filter_map(|table| Some((table.dead_before - table.dead_after?).max(0))).sum()
}

/// The whole in one line.
pub(crate) fn summary(tables: &[Worked], seen: usize, seconds: f64, planned: bool) -> String {
    if tables.is_empty() {
        return format!("none of {} needs vacuuming", counted(seen, "table"));
    }
    if planned {
        return format!("would vacuum {} of {seen}", counted(tables.len(), "table"));
    }
    let vacuumed = tables.iter().filter(|table| matches!(table.done, Done::Vacuumed | Done::HeldBack)).count();
    let held = tables.iter().filter(|table| table.done == Done::HeldBack).count();
    let mut text = format!(
        "vacuumed {vacuumed} of {} in {}, {} dead rows removed",
        counted(tables.len(), "table"),
        spoken(seconds),
        grouped(removed(tables))
    );
    if held > 0 {
        text.push_str(&format!(", rows held back in {held}"));
    }
    if vacuumed < tables.len() {
        text.push_str(&format!(", {} left out", tables.len() - vacuumed));
    }
    text
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// `60,112`.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
