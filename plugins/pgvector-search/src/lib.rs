//! Searches for the nearest vectors, and says by which plan, whether all were found, and how good the index is.

use crate::filter::Filter;
use crate::search::{Hit, Search};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_index::element::Column;
use rota_sdk_index::vector::{Extension, Metric};
use rota_sdk_index::{Index, Table, tell};

mod filter;
mod search;
#[cfg(test)]
mod tests;

procedure! {
    name: "pgvector-search",
    summary: "Searches for the nearest vectors, and says by which plan, whether all were found, and how good the index is.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Searches one table.",
    },
    examples: [
        "The ten nearest" => json!({ "table": "documents", "column": "embedding", "vector": [0.1, 0.2, 0.3] }),
        "Of one tenant" => json!({ "table": "documents", "column": "embedding", "vector": [0.1, 0.2, 0.3],
            "filters": [{ "column": "tenant_id", "operator": "equal", "value": "5f0c0a52-7d8f-4e8e-9d3c-5f7b5c1f2a11" }] }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to search for, and where.
#[parameters]
pub struct Parameters {
    /// The table: `documents`, `public.documents` or `public."Odd name"`.
    table: String,
    /// The column of vectors.
    column: String,
    /// The vector: as many numbers as the column has dimensions.
    vector: Vec<f64>,
    /// How similar vectors are.
    #[parameter(default = Metric::Cosine)]
    metric: Metric,
    /// How many are wanted.
    #[parameter(default = 10, range = 1..=1000)]
    limit: u32,
    /// Only rows of which all of these are true. Values are bound, never pasted.
    #[parameter(default)]
    filters: Vec<Filter>,
    /// The columns that are shown; without any, those of the primary key.
    #[parameter(default)]
    columns: Vec<String>,
    /// Compare with every row: no index, and nothing missed.
    #[parameter(default = false)]
    exact: bool,
    /// HNSW: candidates; without it 40, or `limit` where that is more.
    #[parameter(range = 1..=1000)]
    ef_search: Option<u32>,
    /// IVFFlat: lists to look into; without it the square root of its lists.
    #[parameter(range = 1..=32_768)]
    probes: Option<u32>,
    /// For how many vectors (that searched for, and others of the table) the answer is compared with that of an exact search, each of which reads the whole table.
    #[parameter(default = 3, range = 0..=50)]
    recall_samples: u32,
    /// Warn when fewer than this share of the true neighbours are found.
    #[parameter(default = 0.9, range = 0.0..=1.0)]
    min_recall: f64,
}

/// What was found.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen.
    visibility_complete: bool,
    /// pgvector.
    extension: Extension,
    /// The names of the columns that are shown.
    columns: Vec<String>,
    /// The nearest, the nearest first.
    hits: Vec<Hit>,
    /// Whether fewer were found than there are: the filters let more rows through, and the index did not come to them.
    truncated: bool,
    /// The plan's node that reads the table: `Index Scan`, `Seq Scan` ...
    node: String,
    /// The index that it uses.
    index: Option<String>,
    /// Whether it compared every row.
    exact: bool,
    /// What was set for the search: `hnsw.ef_search=40`.
    settings: Vec<String>,
    /// The share of the true neighbours that was found; null where it was not measured.
    recall: Option<f64>,
    /// For how many vectors that was measured.
    recall_samples: usize,
    /// How long the search took, in milliseconds, the way there and back included.
    milliseconds: f64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let server = Server::inspect(&mut session).await?;
    let extension = Extension::look(&mut session).await?;
    let table = Table::find(&mut session, &parameters.table).await?;
    let columns = Column::of(&mut session, table.oid).await?;
    let indexes = Index::on_table(&mut session, table.oid).await?;
    let vector = checked(&parameters, &columns)?;
    // The operators are found there whatever schema the extension is in.
    session.configure("search_path", extension.quoted_schema.clone()).await?;
    let search = Search::new(&parameters, &extension, &table, &columns, &indexes)?;
    let settings = search.settings();
    for (name, value) in &settings {
        session.configure(name, value.clone()).await?;
    }
    let (node, index) = search.explain(&mut session, &vector).await?;
    let started = cx.now();
    let hits = search.hits(&mut session, &vector).await?;
    let milliseconds = cx.now().seconds_since(started) * 1000.0;
    let truncated = hits.len() < parameters.limit as usize && search.has_more(&mut session, hits.len()).await?;

    let mut report = Report::new();
    extension.report(&mut report);
    let exact = index.is_none();
    let (recall, recall_samples) = if exact {
        (None, 0)
    } else {
        measured(&search, &mut session, &table, &vector, &parameters, &mut report).await?
    };
    judge(&table, &parameters, &node, index.as_deref(), recall, truncated, &mut report);
    let mut shown = report.table("hits", "The nearest", ["row", "distance"]);
    for hit in &hits {
        let values: Vec<&str> = hit.values.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
        shown.row(cells![values.join(", "), hit.distance]);
    }
    if let Some(recall) = recall {
        report.metric("recall_ratio", &[("table", table.quoted.as_str())], recall);
    }
    server.report_visibility(&mut report);
    let by = index.as_ref().map_or_else(|| "by comparing every row".to_owned(), |index| format!("by {index}"));
    let recall_said = recall.map_or_else(String::new, |recall| format!(", recall {:.0} %", recall * 100.0));
    report.summary(format!("{} nearest of {} in {milliseconds:.1} ms {by}{recall_said}", hits.len(), table.quoted));
    Ok(report.data(Data {
        visibility_complete: server.visibility_complete,
        server,
        extension,
        columns: search.shown_names(),
        hits,
        truncated,
        node,
        index,
        exact,
        settings: settings.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        recall,
        recall_samples,
        milliseconds,
    }))
}

/// The vector, as the column can be compared with it.
fn checked(parameters: &Parameters, columns: &[Column]) -> Result<Vec<f32>> {
    let column = Column::named(columns, &parameters.column)
        .ok_or_else(|| Error::new(format!("the table has no column {:?}", parameters.column)))?;
    if !matches!(column.base_type.as_str(), "vector" | "halfvec") {
        return Err(Error::new(format!("the column {} is {}, not vector or halfvec", column.name, column.type_name)));
    }
    let given = parameters.vector.len();
    if given == 0 || usize::try_from(column.modifier).is_ok_and(|dimensions| dimensions > 0 && dimensions != given) {
        return Err(Error::new(format!(
            "`vector` has {given} numbers, and the column {} is {}",
            column.name, column.type_name
        )));
    }
    #[allow(clippy::cast_possible_truncation, reason = "the type holds no more; what does not fit is refused")]
    let vector: Vec<f32> = parameters.vector.iter().map(|number| *number as f32).collect();
    if let Some(place) = vector.iter().position(|number| !number.is_finite()) {
        return Err(Error::new(format!("`vector`: number {} is not one that a vector can hold", place + 1)));
    }
    if parameters.metric == Metric::Cosine && vector.iter().all(|number| *number == 0.0) {
        return Err(Error::new("`vector` is all zeros, which has no angle to anything").hint("use the metric l2"));
    }
    Ok(vector)
}

/// The recall, for the vector and others of the table. A table that is too large to be read in time leaves it unmeasured.
async fn measured(
    search: &Search,
    session: &mut Session,
    table: &Table,
    vector: &[f32],
    parameters: &Parameters,
    report: &mut Report,
) -> Result<(Option<f64>, usize)> {
    let mut shares: Vec<f64> = Vec::new();
    for sample in 0..parameters.recall_samples {
        let of = if sample == 0 {
            Ok(Some(vector.to_vec()))
        } else {
            search.sample(session, table.rows, sample, parameters.recall_samples).await
        };
        let share = match of {
            Ok(Some(of)) => search.recall(session, &of).await,
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        match share {
            Ok(share) => shares.extend(share),
            Err(error) if error.is_timed_out() => {
                report
                    .note(format!("{}: the recall was measured for {} vectors only", table.quoted, shares.len()))
                    .because(&error);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 50")]
    let recall = (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64);
    Ok((recall, shares.len()))
}

fn judge(
    table: &Table,
    parameters: &Parameters,
    node: &str,
    index: Option<&str>,
    recall: Option<f64>,
    truncated: bool,
    report: &mut Report,
) {
    let name = &table.quoted;
    if index.is_none() && !parameters.exact && table.rows > 10_000 {
        let remedy = json!({ "table": name.as_str(), "column": parameters.column, "metric": parameters.metric });
        report
            .warning(format!("{name}: the search compared {} rows ({node})", tell::count(table.rows)))
            .detail("No index serves this metric, or the planner found the filters cheaper.")
            .remedy("pgvector-index-create", &remedy, "Build an index for this metric");
    }
    if let Some(recall) = recall.filter(|recall| *recall < parameters.min_recall) {
        report
            .warning(format!("{name}: only {:.0} % of the true neighbours were found", recall * 100.0))
            .detail(format!("Used: {}.", index.unwrap_or(node)))
            .advice("Raise ef_search (HNSW) or probes (IVFFlat), or rebuild the index: pgvector-index-status says whether its lists still fit");
    }
    if truncated {
        report
            .warning(format!("{name}: fewer were found than there are"))
            .detail("The filters leave few of the rows that the index gives, and it stopped before it came to more.")
            .advice("Raise ef_search or probes, set exact=true, or build a partial index for this filter");
    }
}
