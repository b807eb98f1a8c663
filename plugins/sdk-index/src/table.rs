//! The table that a parameter names.

use rota_sdk::prelude::*;

/// A table (or materialized view), followed by its object id.
#[derive(Clone, Debug, FromRow)]
pub struct Table {
    /// Its object id, which stays when it is renamed.
    pub oid: i64,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Schema and name, quoted by the server.
    pub quoted: Quoted,
    /// `r` a table, `p` partitioned, `m` a materialized view, `f` foreign, `v` a view, `i` an index ...
    pub kind: String,
    /// `p` permanent, `u` unlogged, `t` temporary.
    pub persistence: String,
    /// About how many rows it has; -1 where it was never counted.
    pub rows: i64,
    /// Its size without indexes, in bytes.
    pub bytes: i64,
    /// Whether the role may make indexes on it: it owns the table, or is a superuser.
    pub owned: bool,
}

const STATEMENT: &str = "\
    select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted, \
           c.relkind::text as kind, c.relpersistence::text as persistence, c.reltuples::int8 as rows, \
           case when c.relkind in ('r', 'm') then pg_table_size(c.oid) else 0 end as bytes, pg_has_role(c.relowner, 'usage') as owned \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'm', 'f', 'v') and n.nspname not like 'pg\\_temp\\_%' \
      and ($1 = c.relname::text or $1 = n.nspname || '.' || c.relname or $1 = format('%I.%I', n.nspname, c.relname) or $1 = format('%I', c.relname) \
           or ($1 ~ '^[A-Za-z_][A-Za-z0-9_.]*$' and lower($1) in (c.relname::text, n.nspname || '.' || c.relname))) \
    order by n.nspname = 'public' desc, n.nspname, c.relname";

impl Table {
    /// The one table that a name means: `orders`, `public.orders`, `public."Odd name"`, or the bare name as it is. Names are compared, never
    /// put into a statement.
    ///
    /// # Errors
    /// When there is none, or several in different schemas.
    pub async fn find(session: &mut Session, name: &str) -> Result<Self> {
        let found: Vec<Self> = session.query_all(STATEMENT, params![name]).await.context("looking for the table")?;
        // An exact spelling goes before one in another case.
        let exact = |table: &&Self| {
            table.name == name || table.quoted.as_str() == name || format!("{}.{}", table.schema, table.name) == name
        };
        let exactly: Vec<&Self> = found.iter().filter(exact).collect();
        match (exactly.as_slice(), found.as_slice()) {
            ([one], _) => Ok((*one).clone()),
            ([], [one]) => Ok(one.clone()),
            ([], []) => Err(Error::new(format!("there is no table {name:?} in this database"))
                .hint("write it as schema.table; a name in mixed case as it is, without quotes or with them")),
            ([], several) => Err(ambiguous(name, several.iter())),
            (several, _) => Err(ambiguous(name, several.iter().copied())),
        }
    }

    /// The same, and it must be one on which an index can be built without locking writers out.
    ///
    /// # Errors
    /// As for [`Self::find`]; for partitioned and foreign tables, views, temporary tables and the server's own.
    pub async fn find_indexable(session: &mut Session, name: &str) -> Result<Self> {
        let table = Self::find(session, name).await?;
        let refused = |why: &str, hint: &str| Err(Error::new(format!("{}: {why}", table.quoted)).hint(hint));
        match table.kind.as_str() {
            "p" => refused(
                "is partitioned, and PostgreSQL builds no index on it without locking writers out",
                "run this for each partition; then CREATE INDEX ... ON ONLY the partitioned table, and ALTER INDEX ... ATTACH PARTITION for each, both of which are quick",
            ),
            "f" => refused("is a foreign table, which has no indexes", "make the index where its rows are"),
            "v" => refused(
                "is a view, which has no indexes",
                "name the table that it reads, or make it a materialized view",
            ),
            _ if table.persistence == "t" => refused("is temporary", "its session makes its indexes"),
            _ if table.schema == "pg_catalog" || table.schema == "information_schema" || table.schema == "pg_toast" => {
                refused("belongs to the server", "its catalogs have the indexes that they need")
            }
            _ if !table.owned => refused(
                "the role does not own it, and only the owner makes and drops indexes",
                "bind a role that is a member of the table's owner",
            ),
            _ => Ok(table),
        }
    }

    /// About how many rows, in words.
    pub fn about_rows(&self) -> String {
        if self.rows < 0 {
            "an unknown number of rows".to_owned()
        } else {
            format!("about {} rows", crate::tell::count(self.rows))
        }
    }
}

fn ambiguous<'t>(name: &str, tables: impl Iterator<Item = &'t Table>) -> Error {
    let names: Vec<&str> = tables.map(|table| table.quoted.as_str()).collect();
    Error::new(format!("{name:?} could be {}", names.join(" or "))).hint("write it with its schema")
}
