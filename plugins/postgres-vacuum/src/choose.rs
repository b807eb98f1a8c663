//! Which tables, and in what order.

use crate::Parameters;
use crate::measure::{State, every_table};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use std::cmp::Reverse;

/// What was chosen.
pub(crate) struct Chosen {
    /// In the order of their turn.
    pub(crate) tables: Vec<State>,
    /// How many were looked at.
    pub(crate) seen: usize,
    /// Names and schemas that were asked for and are not there.
    pub(crate) unknown: Vec<String>,
}

pub(crate) async fn choose(session: &mut Session, server: &Server, parameters: &Parameters) -> Result<Chosen> {
    let mut wanted = Wanted::new(parameters);
    let mut chosen = Chosen { tables: Vec::new(), seen: 0, unknown: Vec::new() };
    // One by one: there may be a great many tables, few of which need anything.
    let mut rows = session
        .query::<State>(every_table(server.major(), parameters.catalogs), params![])
        .await
        .context("looking for tables")?;
    while let Some(state) = rows.next().await.context("looking for tables")? {
        if !wanted.includes(&state) {
            continue;
        }
        chosen.seen += 1;
        if wanted.by_name() || needs(&state, parameters) {
            chosen.tables.push(state);
        }
    }
    chosen
        .tables
        .sort_by_key(|state| (state.age < parameters.critical_age, Reverse(state.all_dead()), Reverse(state.age)));
    chosen.unknown = wanted.unmatched();
    Ok(chosen)
}

/// Whether a table needs vacuuming, by its dead rows or its age.
fn needs(state: &State, parameters: &Parameters) -> bool {
    state.bloated(parameters.min_dead_rows, parameters.min_dead_share) || state.age > parameters.warn_age
}

/// The operator's choice, each name with whether it was met.
struct Wanted<'p> {
    tables: Vec<(&'p str, bool)>,
    schemas: Vec<(&'p str, bool)>,
}

impl<'p> Wanted<'p> {
    fn new(parameters: &'p Parameters) -> Self {
        let list = |names: &'p [String]| names.iter().map(|name| (name.as_str(), false)).collect();
        Self { tables: list(&parameters.tables), schemas: list(&parameters.schemas) }
    }

    fn by_name(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Whether the choice includes a table. Names are compared, never put into a statement.
    fn includes(&mut self, state: &State) -> bool {
        let in_schema = meet(&mut self.schemas, |schema| schema == state.schema);
        let plain = format!("{}.{}", state.schema, state.name);
        let named = meet(&mut self.tables, |name| name == state.name || name == plain || name == state.quoted.as_str());
        in_schema && named
    }

    fn unmatched(&self) -> Vec<String> {
        self.tables.iter().chain(&self.schemas).filter(|(_, met)| !met).map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// Whether a list is empty or one of it fits; marks those that do.
fn meet(list: &mut [(&str, bool)], fits: impl Fn(&str) -> bool) -> bool {
    let mut any = list.is_empty();
    for (name, met) in list {
        if fits(name) {
            *met = true;
            any = true;
        }
    }
    any
}
