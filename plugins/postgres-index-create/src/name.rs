//! Under which name, and what is there under it already.

use crate::Work;
use rota_sdk::prelude::*;
use rota_sdk_index::Index;

/// What the first attempt of a run saw, for the later ones: what is not among these was made by the run.
#[data]
pub(crate) struct Before {
    /// The name that was chosen.
    pub(crate) name: String,
    /// The table's indexes.
    pub(crate) indexes: Vec<i64>,
}

/// A relation that has the name.
#[derive(FromRow)]
pub(crate) struct Taken {
    pub(crate) oid: i64,
    pub(crate) kind: String,
    pub(crate) quoted: String,
}

const TAKEN: &str = "\
    select c.oid::int8 as oid, c.relkind::text as kind, format('%I.%I', n.nspname, c.relname) as quoted \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";

/// How many numbers are tried behind a name that is given by us.
const TRIES: u32 = 99;

impl Work {
    /// What has the name in the table's schema, where an index on it lies.
    pub(crate) async fn taken(&mut self, name: &str) -> Result<Option<Taken>> {
        let schema = self.table.schema.clone();
        self.watcher.query_optional(TAKEN, params![schema, name]).await.context("looking whether the name is free")
    }

    /// The name that was asked for, or a free one.
    pub(crate) async fn choose(&mut self, indexes: &[Index]) -> Result<Before> {
        let name = match &self.parameters.name {
            Some(name) if name.is_empty() || name.len() > 63 || name.contains('\0') => {
                return Err(Error::new(format!(
                    "`name`: {name:?} is not 1 to 63 bytes long, which the server would shorten"
                )));
            }
            Some(name) => name.clone(),
            None => {
                let base = self.spec.default_name(&self.table.name);
                let mut name = base.clone();
                for number in 1..=TRIES {
                    if self.taken(&name).await?.is_none() {
                        break;
                    }
                    name = format!("{base}{number}");
                }
                name
            }
        };
        Ok(Before { name, indexes: indexes.iter().map(|index| index.oid).collect() })
    }
}
