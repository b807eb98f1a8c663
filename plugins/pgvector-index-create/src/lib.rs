//! Builds an index on a column of vectors, with parameters that fit its rows and memory.

use crate::choose::Chosen;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_index::create::UNDO;
use rota_sdk_index::element::Column;
use rota_sdk_index::vector::{Extension, Metric, report_overflow};
use rota_sdk_index::{Creation, Done, Holder, Index, Leftover, Policy, Table, enclosed};

mod choose;
#[cfg(test)]
mod tests;

procedure! {
    name: "pgvector-index-create",
    summary: "Builds an index on a column of vectors, with parameters that fit its rows and memory.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, index] "Counts rows, builds the index, and drops what a build that was cut off left.",
    },
    examples: [
        "HNSW, for cosine distance" => json!({ "table": "documents", "column": "embedding" }),
        "IVFFlat, for straight distance, with as many lists as fit its rows" => json!({ "table": "documents", "column": "embedding", "method": "ivfflat", "metric": "l2" }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Leftover => clear,
    run
}

/// The access methods of pgvector.
#[parameters]
pub enum Method {
    /// A graph: better recall for the same time, slower and larger to build. Approximate, too.
    Hnsw,
    /// Lists around centers: quicker to build, and only as good as the rows that were there then.
    Ivfflat,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Self::Hnsw => "hnsw",
            Self::Ivfflat => "ivfflat",
        }
    }
}

/// The index, and how long it may take.
#[parameters]
pub struct Parameters {
    /// The table: `documents`, `public.documents` or `public."Odd name"`.
    table: String,
    /// The column of vectors.
    column: String,
    /// The access method.
    #[parameter(default = Method::Hnsw)]
    method: Method,
    /// How similar vectors are: an index serves searches by its own metric only.
    #[parameter(default = Metric::Cosine)]
    metric: Metric,
    /// The index's name; without it, one as PostgreSQL would give.
    name: Option<String>,
    /// IVFFlat: lists. Without it, rows / 1000 up to a million rows, and their square root beyond.
    #[parameter(range = 1..=32_768)]
    lists: Option<i64>,
    /// IVFFlat: build nothing on fewer rows than this: its centers are those of the rows that are there, and stay.
    #[parameter(default = 1_000, range = 1..)]
    minimum_rows: i64,
    /// HNSW: connections of each row.
    #[parameter(default = 16, range = 2..=100)]
    m: i64,
    /// HNSW: candidates for each row's connections; at least twice `m`.
    #[parameter(default = 64, range = 4..=1000)]
    ef_construction: i64,
    /// Index half-precision values: half the size, and up to 4000 dimensions. Without it, where a column has more than 2000.
    half: Option<bool>,
    /// The condition of a partial index: SQL.
    predicate: Option<String>,
    /// Memory for the build: `2GB`. Without it, the server's `maintenance_work_mem`.
    maintenance_work_mem: Option<String>,
    /// Begin nothing while a transaction has been open for longer than this: a concurrent build waits for it, and the index is INVALID meanwhile.
    #[parameter(default = 300.0, range = 0.0..)]
    holder_seconds: f64,
    /// Begin all the same, and wait for such transactions.
    #[parameter(default = false)]
    wait_for_holders: bool,
    /// Drop an INVALID index of this name that was there before. Without it, the run fails and says so.
    #[parameter(default = false)]
    replace_invalid: bool,
    /// The build is cut off, and what is left of it dropped, after so many seconds.
    #[parameter(default = 43_200, range = 1..=604_800)]
    budget_seconds: u32,
}

/// What was found and done.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// pgvector.
    extension: Extension,
    /// What became of it.
    done: Done,
    /// The table, quoted by the server.
    table: String,
    /// How many vectors there are to index (about, where there are many).
    rows: i64,
    /// What was chosen.
    chosen: Chosen,
    /// The index's name.
    name: String,
    /// The statement.
    statement: String,
    /// The index, where it is there.
    index: Option<Index>,
    /// Whose transactions were open before, the oldest first.
    holders: Vec<Holder>,
    /// Whom the build was seen to wait for.
    waited_for: Vec<String>,
    /// INVALID indexes that were dropped.
    removed: Vec<String>,
    /// How long the build took, in seconds.
    seconds: f64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    if let Some(predicate) = &parameters.predicate {
        enclosed("predicate", predicate)?;
    }
    let mut worker = cx.database().open().await?;
    let mut watcher = cx.database().open().await?;
    let server = Server::inspect(&mut watcher).await?;
    if server.in_recovery {
        return Err(Error::new("this server is a standby, where no index can be built")
            .hint("bind the primary; the index reaches its standbys"));
    }
    let extension = Extension::look(&mut watcher).await?;
    let table = Table::find_indexable(&mut watcher, &parameters.table).await?;
    let columns = Column::of(&mut watcher, table.oid).await?;
    let rows = choose::count(&mut worker, &table, &columns, &parameters).await?;
    let chosen = choose::choose(&parameters, &extension, &columns, rows)?;
    let spec = choose::spec(&parameters, &extension, &columns, &chosen)?;
    let policy = Policy {
        name: parameters.name.clone(),
        replace_invalid: parameters.replace_invalid,
        holder_seconds: parameters.holder_seconds,
        wait_for_holders: parameters.wait_for_holders,
        budget_seconds: parameters.budget_seconds,
        memory: parameters.maintenance_work_mem.clone(),
    };
    let mut creation = Creation::new((*cx).clone(), worker, watcher, table, spec, policy);
    let ended = create(&cx, &mut creation, &parameters, &extension, &chosen).await;
    let Creation { mut report, table, done, name, statement, index, holders, waited_for, removed, seconds, .. } =
        creation;
    extension.report(&mut report);
    server.report_visibility(&mut report);
    if let Err(error) = &ended {
        report.summary(format!("{name} was not built"));
        report.critical(format!("{name} was not built")).because(error);
    }
    let report = report.data(Data {
        visibility_complete: server.visibility_complete,
        server,
        extension,
        done,
        table: table.quoted.to_string(),
        rows,
        chosen,
        name,
        statement,
        index,
        holders,
        waited_for,
        removed,
        seconds,
    });
    match ended {
        Ok(()) => Ok(report),
        Err(error) => Err(error.with_report(report)),
    }
}

async fn create(
    cx: &Context,
    creation: &mut Creation,
    parameters: &Parameters,
    extension: &Extension,
    chosen: &Chosen,
) -> Result<()> {
    let Some(before) = creation.prepare().await? else {
        choose::compare(creation, chosen);
        return Ok(());
    };
    choose::memory(creation, parameters, chosen).await?;
    if !extension.at_least((0, 8, 2)) {
        // CVE-2026-3172 is in parallel builds.
        creation.worker.execute("SET max_parallel_maintenance_workers = 0", params![]).await?;
    }
    creation.build(&before, async |leftover| cx.undo(UNDO, leftover).await.map(drop)).await?;
    report_overflow(&creation.name, &creation.notices, chosen.memory_bytes, &mut creation.report);
    choose::advise(creation, chosen);
    Ok(())
}

/// Drop what a build that was cut off left.
async fn clear(cx: Context, undo: Undo<Leftover>) -> Result<()> {
    let mut session = cx.database().open().await?;
    for name in undo.state.clear(&cx, &mut session).await? {
        info!("dropped {name}, which was left INVALID");
    }
    Ok(())
}
