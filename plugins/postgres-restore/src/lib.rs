//! postgres-restore: a backup beside the live database, proven there, and only then in its place.

mod apps;
mod backup;
mod disk;
mod guard;
mod live;
mod parameters;
mod restore;
mod scratch;
mod swap;
mod tell;
mod undo;

use apps::Scaled;
pub use parameters::{Parameters, Properties};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use undo::{Left, put_back};

procedure! {
    name: "postgres-restore",
    summary: "Restores a PostgreSQL backup beside the live database, proves it there, and then swaps the two.",
    description: include_str!("../README.md"),
    risk: destroy,
    confirmation: "RESTORE",
    idempotent: false,
    slots: {
        bucket: storage [read] "Holds the backups.",
        database: sql [read, write, ddl, index, maintain, signal] "The server of the live database, by any database of it; pg_restore works with it.",
        pg_restore: tool [run] "Reads the backup, first to nowhere and then into the new database.",
        key: key [decrypt] optional "Opens an encrypted backup.",
        control: sql [read, ddl] optional "The same server as a superuser: makes extensions that the role in `database` may not make.",
        cluster: kubernetes [read, scale, exec] optional "Scales the applications down and back; exec asks the server's pod for its free space.",
    },
    examples: [
        "The newest backup, beside the live database and no further" => json!({ "database": "kosmos", "only_beside": true }),
        "In its place, while two applications are down" => json!({ "database": "kosmos", "deployments": ["kosmos-core/api", "kosmos-core/worker"] }),
        "A certain backup under another name, with four processes" => json!({ "database": "kosmos", "backup": "20261123T164500Z-0a1b2c3d", "target": "kosmos_audit", "jobs": 4 }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Left => put_back,
    run
}

/// What was restored.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// The backup.
    backup: Source,
    /// The live database.
    target: String,
    /// The database that holds the backup now: the live one, or one beside it. In a plan, the name that the one beside it would have.
    restored: String,
    /// Whether the two were swapped.
    swapped: bool,
    /// What the database that was live before is called now; null where none was, or nothing was swapped.
    old_database: Option<String>,
    /// How many tables came back, each with the rows that the backup has; null in a plan.
    tables: Option<u64>,
    /// How many rows they have; null in a plan.
    rows: Option<u64>,
    /// How the backup was proven to be good.
    proven: String,
    /// What is needed and free.
    disk: disk::Disk,
    /// The applications.
    deployments: Vec<Scaled>,
    /// The sessions of others that were ended.
    sessions_ended: Vec<String>,
    /// How long the applications were down or refused, seconds.
    away_seconds: f64,
    /// How long all of it took, seconds.
    duration_seconds: f64,
}

/// The backup that was restored.
#[data]
pub struct Source {
    /// Its id.
    id: String,
    /// Its folder in the bucket.
    folder: String,
    /// When it was begun.
    started_at: Timestamp,
    /// The server's version that it is of.
    server_version: String,
    /// The cluster that it is of.
    system_identifier: Option<String>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    restore::restore(&cx, &parameters).await
}

#[cfg(test)]
mod tests;
