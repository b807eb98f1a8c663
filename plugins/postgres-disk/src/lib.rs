//! How full a PostgreSQL server's volumes are, what takes the space, and who holds the WAL.

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

mod growth;
mod holders;
mod judge;
mod sizes;
#[cfg(test)]
mod tests;
mod volumes;
mod wal;

procedure! {
    name: "postgres-disk",
    summary: "Says how full a PostgreSQL server's volumes are, what takes the space, how it grows, and who holds the WAL.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Reads sizes, settings and the state of slots and archiver; the role needs pg_monitor to see everything.",
        cluster: kubernetes [read, exec] optional "Runs df in the server's pod: how full its volumes are, inodes included.",
    },
    examples: [
        "What the server itself can tell, of a volume of 100 GiB" => json!({ "capacity_bytes": 107_374_182_400_i64 }),
        "With the volumes of its pod" => json!({ "pod": "postgres-0", "container": "postgres" }),
        "How it grew since an earlier report" => json!({
            "pod": "postgres-0",
            "previous": { "at": "2026-11-25T06:00:00Z", "databases_bytes": 8_400_000_000_i64, "wal_bytes": 1_073_741_824, "tables": [{ "table": "public.orders", "bytes": 2_100_000_000 }] },
        }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// Where to look, and what is still well.
#[parameters]
pub struct Parameters {
    /// The server's pod, where `cluster` is bound; either this or `selector`.
    pod: Option<String>,
    /// A label selector for the pods to look at (at most 20): `app=postgres`.
    selector: Option<String>,
    /// The pods' namespace; without it, the binding's own.
    namespace: Option<String>,
    /// The container; not needed where a pod has only one.
    container: Option<String>,
    /// The absolute paths to look at in the pod; without any: the data directory, its `pg_wal` and the tablespaces.
    #[parameter(default)]
    paths: Vec<String>,
    /// The size of the server's volume, where no pod can be asked: databases, WAL and temporary files are judged against it.
    #[parameter(range = 1..)]
    capacity_bytes: Option<i64>,
    /// Warn when so large a share of a volume (of its bytes or its inodes) is used.
    #[parameter(default = 0.8, range = 0.0..=1.0)]
    warn_used: f64,
    /// Critical when so large a share of a volume is used.
    #[parameter(default = 0.9, range = 0.0..=1.0)]
    critical_used: f64,
    /// Warn when the WAL takes so many times what `max_wal_size` and `wal_keep_size` ask for.
    #[parameter(default = 2.0, range = 1.0..)]
    warn_wal_factor: f64,
    /// Warn when a slot or the archiver holds so many bytes of WAL.
    #[parameter(default = 1 << 30, range = 0..)]
    warn_held_bytes: i64,
    /// Critical when a slot that nobody reads, or an archiver that fails, holds so many bytes of WAL.
    #[parameter(default = 10 << 30, range = 0..)]
    critical_held_bytes: i64,
    /// Warn when, at the growth since `previous`, the volume is full in fewer days.
    #[parameter(default = 7.0, range = 0.0..)]
    warn_days_left: f64,
    /// Suggest a vacuum for a listed table when so large a share of its rows is dead.
    #[parameter(default = 0.2, range = 0.0..=1.0)]
    warn_dead_share: f64,
    /// How many of the largest tables to list.
    #[parameter(default = 10, range = 0..=1000)]
    largest: u32,
    /// `data.measured` of an earlier report: what has grown since.
    previous: Option<growth::Measured>,
}

/// What was seen.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// The volumes, as `df` in the pods has them; null where no pod was asked.
    volumes: Option<Vec<volumes::Volume>>,
    /// The databases, the largest first.
    databases: Vec<sizes::Database>,
    /// The tablespaces, the largest first.
    tablespaces: Vec<sizes::Tablespace>,
    /// The largest tables of the database that was looked at.
    tables: Vec<sizes::Table>,
    /// Whether the tables' sizes are exact; if not, they are the planner's, because a table is locked.
    tables_exact: bool,
    /// Temporary files of running statements, bytes; null where they could not be seen.
    temporary_bytes: Option<i64>,
    /// The write-ahead log.
    wal: wal::Wal,
    /// Who holds WAL, the most first.
    holders: Vec<holders::Holder>,
    /// What a later run takes as `previous`.
    measured: growth::Measured,
    /// What has grown since `previous`; null where that was not given.
    growth: Option<growth::Growth>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let databases = sizes::databases(&mut session, &mut server).await?;
    let tablespaces = sizes::tablespaces(&mut session, &mut server).await?;
    let (tables, tables_exact) = sizes::tables(&mut session, &parameters, &mut server).await?;
    let temporary_bytes = sizes::temporary(&mut session, &mut server).await?;
    let (wal, holders) = wal::look(&mut session, &mut server).await?;
    let mut report = Report::new();
    let volumes = match cx.cluster() {
        Some(slot) => {
            volumes::look(&slot.open().await?, &parameters, wal.data_directory.as_deref(), &tablespaces, &mut server)
                .await?
        }
        None if parameters.pod.is_some() || parameters.selector.is_some() => {
            return Err(
                Error::new("a pod is named, and the slot `cluster` is not bound").hint("bind it: --bind cluster=...")
            );
        }
        None => None,
    };
    let measured = growth::measure(cx.now(), &databases, &wal, &tables);
    let growth = parameters.previous.as_ref().map(|before| growth::since(before, &measured)).transpose()?;

    let seen = judge::Seen {
        parameters: &parameters,
        wal: &wal,
        holders: &holders,
        tables: &tables,
        volumes: volumes.as_deref(),
        measured: &measured,
        temporary: temporary_bytes,
        asked: cx.cluster().is_some(),
    };
    judge::volumes(&seen, &mut report);
    judge::wal(&seen, &mut report);
    judge::holders(&seen, &mut report);
    judge::tables(&seen, &mut report);
    if let Some(growth) = &growth {
        judge::growth(&seen, growth, &mut report);
    }
    judge::show(&seen, &databases, growth.as_ref(), &mut report);
    server.report_visibility(&mut report);
    report.summary(judge::summary(&seen, &server, &report));
    let visibility_complete = server.visibility_complete;
    Ok(report.data(Data {
        server,
        visibility_complete,
        volumes,
        databases,
        tablespaces,
        tables,
        tables_exact,
        temporary_bytes,
        wal,
        holders,
        measured,
        growth,
    }))
}
