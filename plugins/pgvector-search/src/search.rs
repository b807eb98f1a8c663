//! The statements of a search.

use crate::Parameters;
use rota_sdk::prelude::*;
use rota_sdk::sql::{ToValue as _, Value};
use rota_sdk_index::element::Column;
use rota_sdk_index::vector::{Extension, advised_probes};
use rota_sdk_index::{Index, Table};

/// A row that was found.
#[data]
#[derive(FromRow)]
pub(crate) struct Hit {
    /// The columns that are shown, as text.
    pub(crate) values: Vec<Option<String>>,
    /// Its distance; of the inner product, its negative.
    pub(crate) distance: f64,
}

/// What all statements have in common.
pub(crate) struct Search {
    table: Quoted,
    column: Quoted,
    /// The names of the columns that are shown, and themselves.
    shown: Vec<(String, String)>,
    /// The distance, as the index has it.
    distance: String,
    conditions: String,
    values: Vec<Value>,
    limit: u32,
    exact: bool,
    settings: Vec<(&'static str, String)>,
}

impl Search {
    pub(crate) fn new(
        parameters: &Parameters,
        extension: &Extension,
        table: &Table,
        columns: &[Column],
        indexes: &[Index],
    ) -> Result<Self> {
        let missing = |name: &str| Error::new(format!("the table has no column {name:?}"));
        let column = Column::named(columns, &parameters.column).ok_or_else(|| missing(&parameters.column))?;
        let half_key = format!("::halfvec({})", column.modifier);
        let serves = |index: &&Index| {
            let key = index.keys.first().map(String::as_str).unwrap_or_default();
            let class = index.class_names.first().map(String::as_str).unwrap_or_default();
            let ours = key == column.quoted || (key.contains(&column.quoted) && key.contains("halfvec("));
            index.whole()
                && matches!(index.method.as_str(), "hnsw" | "ivfflat")
                && class.ends_with(parameters.metric.class())
                && ours
        };
        let mut serving: Vec<&Index> = indexes.iter().filter(serves).collect();
        serving.sort_by_key(|index| index.predicate.is_some());
        let index = serving.first().copied();
        let converted = index.is_some_and(|index| index.keys.first().is_some_and(|key| *key != column.quoted));
        let operator = parameters.metric.operator();
        let distance = match (converted, column.base_type.as_str()) {
            (true, _) => format!("({}{half_key}) {operator} $1{half_key}", column.quoted),
            (false, "halfvec") => format!("{} {operator} $1::halfvec", column.quoted),
            _ => format!("{} {operator} $1", column.quoted),
        };
        let mut values = Vec::new();
        let mut conditions = vec![format!("{} is not null", column.quoted)];
        for filter in &parameters.filters {
            let (condition, value) = filter.sql(columns, values.len() + 2)?;
            conditions.push(condition);
            values.extend(value);
        }
        let mut shown: Vec<(String, String)> = Vec::new();
        for name in &parameters.columns {
            let column = Column::named(columns, name).ok_or_else(|| missing(name))?;
            shown.push((column.name.clone(), column.quoted.clone()));
        }
        if shown.is_empty() {
            let key = indexes
                .iter()
                .find(|index| index.unique && index.constraint.is_some() && index.predicate.is_none() && index.whole());
            shown.extend(key.iter().flat_map(|index| &index.keys).map(|key| (key.clone(), key.clone())));
        }
        if shown.is_empty() {
            shown.push(("ctid".to_owned(), "ctid".to_owned()));
        }
        // Before 0.8 an index gives its nearest, and the filter leaves what it leaves of them: then every row is compared.
        let iterative = extension.at_least((0, 8, 0));
        let exact = parameters.exact || (!iterative && !parameters.filters.is_empty());
        let mut settings: Vec<(&'static str, String)> = Vec::new();
        match index.filter(|_| !exact).map(|index| (index, index.method.as_str())) {
            Some((_, "hnsw")) => {
                settings.push(("hnsw.ef_search", parameters.ef_search.unwrap_or(parameters.limit.max(40)).to_string()));
                if iterative && !parameters.filters.is_empty() {
                    settings.push(("hnsw.iterative_scan", "strict_order".to_owned()));
                }
            }
            Some((index, _)) => {
                let lists =
                    index.options.iter().find_map(|option| option.strip_prefix("lists=")?.parse().ok()).unwrap_or(100);
                settings.push((
                    "ivfflat.probes",
                    parameters.probes.map_or_else(|| advised_probes(lists), i64::from).to_string(),
                ));
                if iterative && !parameters.filters.is_empty() {
                    settings.push(("ivfflat.iterative_scan", "relaxed_order".to_owned()));
                }
            }
            None => {}
        }
        Ok(Self {
            table: table.quoted.clone(),
            column: Quoted::from_server(&column.quoted)?,
            shown,
            distance,
            conditions: conditions.join(" and "),
            values,
            limit: parameters.limit,
            exact,
            settings,
        })
    }

    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    pub(crate) fn shown_names(&self) -> Vec<String> {
        self.shown.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The search. Its parts are names that the server quoted, types that it wrote, and places of parameters.
    fn statement(&self, exact: bool) -> Sql {
        let shown: Vec<String> = self.shown.iter().map(|(_, column)| format!("{column}::text")).collect();
        // No index has this for its key.
        let order = if exact { format!("(({})::float8 + 0)", self.distance) } else { self.distance.clone() };
        sql!(
            "select array[{}] as values, ({})::float8 as distance from {} where {} order by {} limit {}",
            Sql::from_operator(shown.join(", ")),
            Sql::from_operator(self.distance.clone()),
            self.table,
            Sql::from_operator(self.conditions.clone()),
            Sql::from_operator(order),
            self.limit
        )
    }

    fn parameters(&self, vector: &[f32]) -> Vec<Value> {
        let mut all = vec![vector.to_value()];
        all.extend(self.values.iter().cloned());
        all
    }

    pub(crate) async fn hits(&self, session: &mut Session, vector: &[f32]) -> Result<Vec<Hit>> {
        let mut hits: Vec<Hit> =
            session.query_all(self.statement(self.exact), self.parameters(vector)).await.context("searching")?;
        // An iterative scan of an IVFFlat index gives them nearly in order.
        hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        Ok(hits)
    }

    /// The node that reads the table, and its index where it is one of vectors.
    pub(crate) async fn explain(&self, session: &mut Session, vector: &[f32]) -> Result<(String, Option<String>)> {
        let statement = sql!("explain (format json) {}", self.statement(self.exact));
        let plan: Json = session.query_one(statement, self.parameters(vector)).await.context("asking for the plan")?;
        let mut node = &plan[0]["Plan"];
        // An index that serves the order is under nothing but the limit; under a sort, all rows are compared.
        let mut sorted = false;
        while let Some(below) = node["Plans"].get(0) {
            sorted |= node["Node Type"].as_str().is_some_and(|kind| kind.contains("Sort"));
            node = below;
        }
        let kind = node["Node Type"].as_str().unwrap_or("unknown").to_owned();
        let index = node["Index Name"].as_str().filter(|_| !sorted).map(str::to_owned);
        Ok((kind, index))
    }

    /// Whether the filters let more rows through than were found.
    pub(crate) async fn has_more(&self, session: &mut Session, found: usize) -> Result<bool> {
        // The vector is among the parameters, so that their places stay.
        let statement = sql!(
            "select count(*)::int8 from (select from {} where $1::vector is not null and {} limit {}) m",
            self.table,
            Sql::from_operator(self.conditions.clone()),
            self.limit
        );
        let there: i64 = session
            .query_one(statement, self.parameters(&[0.0]))
            .await
            .context("counting what the filters let through")?;
        Ok(usize::try_from(there).is_ok_and(|there| there > found))
    }

    /// A vector of the table.
    pub(crate) async fn sample(
        &self,
        session: &mut Session,
        rows: i64,
        sample: u32,
        of: u32,
    ) -> Result<Option<Vec<f32>>> {
        let offset = rows.max(0) / i64::from(of.max(1)) * i64::from(sample);
        let statement = sql!(
            "select {} from {} where {} is not null offset {} limit 1",
            self.column,
            self.table,
            self.column,
            offset
        );
        session.query_optional(statement, params![]).await.context("taking a vector of the table")
    }

    /// The share of the true neighbours that a search finds; none where there are none. Compared by distance, because several rows may be equally near.
    pub(crate) async fn recall(&self, session: &mut Session, vector: &[f32]) -> Result<Option<f64>> {
        let truth: Vec<Hit> =
            session.query_all(self.statement(true), self.parameters(vector)).await.context("searching exactly")?;
        let found = self.hits(session, vector).await?;
        Ok(share(&truth, &found))
    }
}

/// How many of those found are as near as the farthest of the true ones.
#[allow(clippy::cast_precision_loss, reason = "at most a thousand")]
fn share(truth: &[Hit], found: &[Hit]) -> Option<f64> {
    let farthest = truth.last()?.distance;
    let margin = farthest.abs() * 1e-6 + 1e-12;
    let near = found.iter().filter(|hit| hit.distance <= farthest + margin).count();
    Some(near.min(truth.len()) as f64 / truth.len() as f64)
}
