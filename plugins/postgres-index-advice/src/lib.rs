//! Says which indexes are missing, unused, superfluous or INVALID, with what would mend it.

use crate::judge::{Superfluous, Unused};
use crate::look::{ForeignKey, Locked, Scanned};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_index::Index;

mod judge;
mod look;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-index-advice",
    summary: "Says which indexes are missing, unused, superfluous or INVALID, with what would mend it.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Reads the catalog and the statistics.",
        standby: sql [read] optional "Reads the statistics of a standby: an index that is unused here may be used there.",
    },
    examples: [
        "The whole database" => json!({}),
        "Unused ones only from 100 MB on" => json!({ "min_index_bytes": 104_857_600 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// From when on something is said.
#[parameters]
pub struct Parameters {
    /// A table is read whole too often when it has at least so many rows.
    #[parameter(default = 10_000, range = 0..)]
    min_rows: i64,
    /// And was read whole at least so often.
    #[parameter(default = 50, range = 1..)]
    min_scans: i64,
    /// And each time gave at least so large a share of its rows to look at.
    #[parameter(default = 0.2, range = 0.0..=1.0)]
    min_share: f64,
    /// An unused index is said from so many bytes on.
    #[parameter(default = 1_048_576, range = 0..)]
    min_index_bytes: i64,
    /// Statistics that are younger than so many days say nothing of use.
    #[parameter(default = 7.0, range = 0.0..)]
    min_days: f64,
    /// And to drop an unused index is advised only from so many days on: some are for the end of the month.
    #[parameter(default = 35.0, range = 0.0..)]
    min_days_to_drop: f64,
    /// How many standbys serve reads: where more are than are bound, nothing is called unused. Without it, those that are connected are counted.
    #[parameter(range = 0..=100)]
    standbys: Option<i64>,
}

/// What was found.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// The standby, where one is bound.
    standby: Option<Server>,
    /// How old the statistics are, in days: the younger of both servers' where there are two. Null where nobody knows.
    statistics_days: Option<f64>,
    /// Whether they are old enough to speak of use.
    old_enough: bool,
    /// Tables that are read whole too often.
    scanned: Vec<Scanned>,
    /// Foreign keys without an index on the side that refers.
    foreign_keys: Vec<ForeignKey>,
    /// Indexes that nobody used, with the statement that brings each back.
    unused: Vec<Unused>,
    /// Indexes that another one makes superfluous.
    superfluous: Vec<Superfluous>,
    /// INVALID indexes.
    invalid: Vec<Index>,
    /// Tables and indexes of which nothing is said, because somebody has them locked exclusively.
    locked: Vec<Locked>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let (mut looked, locked) = look::look(&mut session).await?;
    let mut standby = None;
    if let Some(slot) = cx.standby() {
        let mut other = slot.open().await?;
        let there = Server::inspect(&mut other).await?;
        if there.system_identifier != server.system_identifier || there.database != server.database {
            return Err(Error::new("the slots `database` and `standby` are not the same database of one cluster")
                .hint("bind the standby of that primary, with the same database"));
        }
        looked.add(look::use_of(&mut other).await?);
        if !there.visibility_complete {
            server.hide("what the standby has seen");
        }
        standby = Some(there);
    }
    let days = |server: &Server| judge::days(server, cx.now());
    let statistics_days = match &standby {
        Some(there) => days(&server).zip(days(there)).map(|(here, there)| here.min(there)),
        None => days(&server),
    };
    let connected = parameters.standbys.unwrap_or(looked.standbys);
    let unseen = connected - i64::from(standby.is_some());
    let mut report = Report::new();
    judge::locked(&locked, &mut report);
    let mut advice =
        judge::Advice { parameters: &parameters, looked: &looked, days: statistics_days, unseen, report: &mut report };
    let old_enough = advice.old_enough();
    let invalid = advice.invalid();
    let superfluous = advice.superfluous();
    let unused = advice.unused(&superfluous);
    let foreign_keys = advice.foreign_keys();
    let scanned = advice.scanned();
    server.report_visibility(&mut report);
    report.summary(format!(
        "{} tables read whole too often, {} foreign keys without an index, {} indexes unused, {} superfluous, {} INVALID",
        scanned.len(),
        foreign_keys.len(),
        unused.len(),
        superfluous.len(),
        invalid.len()
    ));
    Ok(report.data(Data {
        visibility_complete: server.visibility_complete,
        server,
        standby,
        statistics_days,
        old_enough,
        scanned,
        foreign_keys,
        unused,
        superfluous,
        invalid,
        locked,
    }))
}
