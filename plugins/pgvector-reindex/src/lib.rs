//! Rebuilds a pgvector index, with other lists where they no longer fit, while searches go on using it.

use crate::options::Options;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_index::vector::Extension;
use rota_sdk_index::{Holder, Index, Leftover};

mod judge;
mod options;
#[cfg(test)]
mod tests;
mod work;

procedure! {
    name: "pgvector-reindex",
    summary: "Rebuilds a pgvector index, with other lists where they no longer fit, while searches go on using it.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, index, maintain] "Sets the index's parameters, rebuilds it beside itself, and drops what a rebuild that was cut off left.",
    },
    examples: [
        "With as many lists as fit its rows" => json!({ "index": "idx_embeddings_vector" }),
        "With 200" => json!({ "index": "public.idx_embeddings_vector", "lists": 200 }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Undoing => put_right,
    run
}

/// Which index, and how.
#[parameters]
pub struct Parameters {
    /// The index: `by_embedding`, `public.by_embedding`, or the bare name in its own case.
    index: String,
    /// IVFFlat: lists. Without it, they are changed only where they no longer fit the rows.
    #[parameter(range = 1..=32_768)]
    lists: Option<i64>,
    /// HNSW: connections of each row. Without it, as it was.
    #[parameter(range = 2..=100)]
    m: Option<i64>,
    /// HNSW: candidates for each row's connections. Without it, as it was.
    #[parameter(range = 4..=1000)]
    ef_construction: Option<i64>,
    /// Bytes that are free where the index lies (postgres-disk says). Where it is given and less than twice the index's size, nothing is begun.
    #[parameter(range = 0..)]
    free_bytes: Option<i64>,
    /// Memory for the build: `2GB`. Without it, the server's `maintenance_work_mem`.
    maintenance_work_mem: Option<String>,
    /// Begin nothing while a transaction has been open for longer than this: a concurrent rebuild waits for it.
    #[parameter(default = 300.0, range = 0.0..)]
    holder_seconds: f64,
    /// Begin all the same, and wait for such transactions.
    #[parameter(default = false)]
    wait_for_holders: bool,
    /// The rebuild is cut off, and what is left of it dropped, after so many seconds.
    #[parameter(default = 43_200, range = 1..=604_800)]
    budget_seconds: u32,
}

/// What a run that does not succeed puts right.
#[data]
pub enum Undoing {
    /// What a rebuild that was cut off left.
    Leftover(Leftover),
    /// The index's parameters, as they were.
    Options(Options),
}

/// What became of it.
#[data]
pub enum Done {
    /// It was rebuilt, and is valid.
    Rebuilt,
    /// The run is a plan.
    Planned,
    /// It was not rebuilt; the index is as it was.
    Failed,
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
    /// The index before.
    before: Index,
    /// The index after; null where it was not rebuilt.
    after: Option<Index>,
    /// About how many rows there are to index; null where they were never counted.
    rows: Option<i64>,
    /// The parameters that were set: `lists=200`.
    set: Vec<String>,
    /// About how much memory the build needs.
    memory_bytes: Option<i64>,
    /// How much is needed where the index lies while both are there: twice its size.
    disk_bytes: i64,
    /// Whose transactions were open before, the oldest first.
    holders: Vec<Holder>,
    /// Whom the rebuild was seen to wait for.
    waited_for: Vec<String>,
    /// INVALID indexes that were dropped.
    removed: Vec<String>,
    /// How long the rebuild took, in seconds.
    seconds: f64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let worker = cx.database().open().await?;
    let mut watcher = cx.database().open().await?;
    let server = Server::inspect(&mut watcher).await?;
    if server.in_recovery {
        return Err(Error::new("this server is a standby, where no index can be rebuilt")
            .hint("bind the primary; the index reaches its standbys"));
    }
    let extension = Extension::look(&mut watcher).await?;
    let mut work = work::Work::begin(&cx, &parameters, worker, watcher, server, extension).await?;
    let ended = work.all().await;
    let work::Work { mut report, data, .. } = work;
    data.extension.report(&mut report);
    data.server.report_visibility(&mut report);
    if let Err(error) = &ended {
        report.summary(format!("{} was not rebuilt", data.before.quoted));
        report.critical(format!("{} was not rebuilt", data.before.quoted)).because(error);
    }
    let report = report.data(data);
    match ended {
        Ok(()) => Ok(report),
        Err(error) => Err(error.with_report(report)),
    }
}

/// Put right what a run that did not succeed left.
async fn put_right(cx: Context, undo: Undo<Undoing>) -> Result<()> {
    let mut session = cx.database().open().await?;
    match undo.state {
        Undoing::Leftover(leftover) => {
            for name in leftover.clear(&cx, &mut session).await? {
                info!("dropped {name}, which was left INVALID");
            }
            Ok(())
        }
        Undoing::Options(options) => options.put_back(&cx, &mut session).await,
    }
}
