//! Says of each pgvector index whether it is valid, fits its rows, and runs on a safe version.

use crate::look::{Column, Seen};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_index::vector::Extension;

mod judge;
mod look;
#[cfg(test)]
mod tests;

procedure! {
    name: "pgvector-index-status",
    summary: "Says of each pgvector index whether it is valid, fits its rows, and runs on a safe version.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Reads the catalog and the statistics.",
    },
    examples: [
        "All of the database" => json!({}),
        "One table" => json!({ "table": "public.documents" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to look at.
#[parameters]
pub struct Parameters {
    /// Only this table: `documents`, `public.documents` or `public."Odd name"`.
    table: Option<String>,
    /// A column of vectors without an index is a finding when its table has at least so many rows.
    #[parameter(default = 10_000, range = 0..)]
    min_rows: i64,
}

/// What was found.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// pgvector.
    extension: Extension,
    /// Its indexes.
    indexes: Vec<Seen>,
    /// Columns of vectors that no valid index of pgvector covers.
    unindexed: Vec<Column>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let server = Server::inspect(&mut session).await?;
    let extension = Extension::look(&mut session).await?;
    let (indexes, unindexed) = look::all(&mut session, parameters.table.as_deref()).await?;
    let mut report = Report::new();
    extension.report(&mut report);
    judge::indexes(&indexes, &mut report);
    judge::unindexed(&unindexed, parameters.min_rows, &mut report);
    judge::show(&indexes, &unindexed, &mut report);
    server.report_visibility(&mut report);
    report.summary(judge::summary(&extension, &indexes, &unindexed));
    let visibility_complete = server.visibility_complete;
    Ok(report.data(Data { server, visibility_complete, extension, indexes, unindexed }))
}
