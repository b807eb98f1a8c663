//! postgres-backup: dump, store, verify, and only then write the manifest that makes it a backup; then retire old ones.

mod attempt;
mod counting;
mod incomplete;
mod parameters;
mod preflight;
mod retire;
mod store;

use attempt::Attempt;
use incomplete::{Incomplete, clear_away};
pub use parameters::{Compression, Counting, Parameters, Verify};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::{Folder, Level, Manifest, layout};

procedure! {
    name: "postgres-backup",
    summary: "Backs a PostgreSQL database up to a bucket, verifies it, and retires old backups.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read] "The database to back up; pg_dump connects with it.",
        bucket: storage [read, write, delete] "Keeps the backups; delete retires old ones and clears away failed ones.",
        pg_dump: tool [run] "Dumps the database.",
        pg_dumpall: tool [run] optional "Dumps the cluster's roles and tablespaces beside it.",
        pg_restore: tool [run] optional "Reads the dump back, for verify decoded and restored.",
        key: key [decrypt] optional "Opens encrypted backups, for verify decoded and restored.",
        scratch: sql [read, write, ddl, index, maintain] optional "A server where a database may be created and dropped, for verify restored.",
    },
    examples: [
        "Back up, re-read and hash, keep 7 days, 4 weeks and 12 months" => json!({}),
        "Prove that it can be restored" => json!({ "verify": "restored" }),
        "Encrypted, without retention" => json!({ "recipients": ["age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"], "retention": false }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Incomplete => clear_away,
    run
}

/// What was backed up and what was done.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether there is a backup now: its manifest is written. Never in a plan.
    stored: bool,
    /// Its folder in the bucket.
    folder: String,
    /// Its manifest; in a plan what it will be, without sizes and checksums. Null where it failed.
    manifest: Option<Manifest>,
    /// How far it was verified; null: not at all.
    verified: Option<Level>,
    /// How long it took, seconds.
    duration_seconds: f64,
    /// What became of older backups.
    retention: Option<retire::Retired>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let started_at = cx.now();
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    // Nothing here reads other sessions or statistics: pg_monitor makes no difference.
    server.visibility_complete = true;
    server.hidden.clear();
    let bucket = cx.bucket().open().await?;
    let id = layout::backup_id(started_at, &cx.info().id);
    let folder = Folder { prefix: layout::prefix(&parameters.prefix), database: server.database.clone(), id };
    let attempt = Attempt {
        cx: &cx,
        parameters: &parameters,
        folder,
        bucket,
        started_at,
        writer: format!("postgres-backup {}", env!("CARGO_PKG_VERSION")),
    };
    let mut report = Report::new();
    let checked = preflight::check(&attempt, &mut session, &server, &mut report).await?;
    match attempt.back_up(&mut session, &server, &checked, &mut report).await {
        Ok((manifest, found)) => attempt.conclude(server, manifest, found, report).await,
        Err(error) => Err(attempt.fail(server, error, report)),
    }
}

#[cfg(test)]
mod tests;
