//! The indexes and columns, by object id: a name in mixed case or in another schema is no problem.

use rota_sdk::prelude::*;
use rota_sdk_index::vector::{Fact, advised_lists, advised_probes};
use rota_sdk_index::{Index, Table};

/// An index of pgvector.
#[data]
pub(crate) struct Seen {
    /// The index.
    pub(crate) index: Index,
    /// What is indexed: `vector`, `halfvec`, `sparsevec` or `bit`.
    pub(crate) vector_type: String,
    /// How many dimensions it has; null where the column does not say.
    pub(crate) dimensions: Option<i32>,
    /// About how many rows the table has; null where they were never counted.
    pub(crate) rows: Option<i64>,
    /// IVFFlat: its lists.
    pub(crate) lists: Option<i64>,
    /// IVFFlat: how many lists it should have for its rows.
    pub(crate) advised_lists: Option<i64>,
    /// IVFFlat: how many of its lists a search should look into.
    pub(crate) advised_probes: Option<i64>,
    /// HNSW: connections a row.
    pub(crate) m: Option<i64>,
    /// HNSW: candidates while it was built.
    pub(crate) ef_construction: Option<i64>,
}

/// A column of vectors.
#[data]
#[derive(FromRow)]
pub(crate) struct Column {
    /// Its table, quoted by the server.
    pub(crate) table: String,
    /// Its name.
    pub(crate) column: String,
    /// Its type, as the server writes it.
    pub(crate) type_name: String,
    /// Its type's bare name.
    pub(crate) base_type: String,
    /// How many dimensions it has; -1 where the column does not say.
    pub(crate) dimensions: i32,
    /// About how many rows the table has; -1 where they were never counted.
    pub(crate) rows: i64,
}

const UNINDEXED: &str = "\
    select format('%I.%I', n.nspname, t.relname) as table, a.attname::text as column, format_type(a.atttypid, a.atttypmod) as type_name, \
           y.typname::text as base_type, a.atttypmod as dimensions, \
           case when t.reltuples >= 0 then t.reltuples::int8 else coalesce(nullif(s.n_live_tup, 0), -1) end as rows \
    from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid join pg_catalog.pg_class t on t.oid = a.attrelid \
      join pg_catalog.pg_namespace n on n.oid = t.relnamespace left join pg_catalog.pg_stat_user_tables s on s.relid = t.oid \
    where y.typname in ('vector', 'halfvec', 'sparsevec') and t.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped \
      and n.nspname not like 'pg\\_temp\\_%' and ($1::int8 is null or t.oid = $1::int8::oid) \
      and not exists (select from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = c.relam \
                      where i.indrelid = t.oid and i.indisvalid and m.amname in ('hnsw', 'ivfflat') \
                        and (i.indkey[0] = a.attnum or (i.indkey[0] = 0 and pg_get_expr(i.indexprs, i.indrelid) like '%' || quote_ident(a.attname) || '%'))) \
    order by 6 desc, 1, 2";

/// Everything, or what belongs to one table.
pub(crate) async fn all(session: &mut Session, table: Option<&str>) -> Result<(Vec<Seen>, Vec<Column>)> {
    let table = match table {
        Some(name) => Some(Table::find(session, name).await?.oid),
        None => None,
    };
    let indexes = match table {
        Some(oid) => Index::on_table(session, oid).await?,
        None => Index::all(session).await?,
    };
    let facts = Fact::all(session).await?;
    let seen = indexes.into_iter().filter(|index| matches!(index.method.as_str(), "hnsw" | "ivfflat"));
    let seen = seen.filter_map(|index| {
        // One that was dropped between the two looks is left out.
        let fact = facts.iter().find(|fact| fact.oid == index.oid)?;
        Some(seen_of(index, fact))
    });
    let seen = seen.collect();
    let unindexed = session.query_all(UNINDEXED, params![table]).await.context("looking for columns of vectors")?;
    Ok((seen, unindexed))
}

fn seen_of(index: Index, fact: &Fact) -> Seen {
    let option = |name: &str| {
        let value = index.options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<i64>().ok())
    };
    let ivfflat = index.method == "ivfflat";
    // A partial index holds its own rows only.
    let rows = if index.predicate.is_some() { index.entries } else { fact.rows };
    let rows = (rows >= 0).then_some(rows);
    // What pgvector takes where nothing was said.
    let lists = ivfflat.then(|| option("lists").unwrap_or(100));
    let (m, ef_construction) = (option("m").unwrap_or(16), option("ef_construction").unwrap_or(64));
    Seen {
        vector_type: fact.vector_type.clone(),
        dimensions: (fact.dimensions > 0).then_some(fact.dimensions),
        rows,
        lists,
        advised_lists: rows.filter(|_| ivfflat).map(advised_lists),
        advised_probes: lists.map(advised_probes),
        m: (!ivfflat).then_some(m),
        ef_construction: (!ivfflat).then_some(ef_construction),
        index,
    }
}
