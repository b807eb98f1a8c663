//! The indexes that are there.

use rota_sdk::prelude::*;

/// An index, by its object id.
#[data]
#[derive(FromRow)]
pub struct Index {
    /// Its object id, which stays when it is renamed.
    pub oid: i64,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Schema and name, quoted by the server.
    pub quoted: String,
    /// Its table's object id.
    pub table_oid: i64,
    /// Its table, quoted by the server.
    pub table: String,
    /// Its access method: `btree`, `hnsw` ...
    pub method: String,
    /// Whether queries use it. An index whose build was cut off is not, and still costs every write.
    pub valid: bool,
    /// Whether writes go into it.
    pub ready: bool,
    /// Whether it is not being dropped.
    pub live: bool,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether a NULL equals a NULL in it.
    pub nulls_not_distinct: bool,
    /// The constraint that it carries (a primary key, for example).
    pub constraint: Option<String>,
    /// Whether it is the table's replica identity.
    pub replica_identity: bool,
    /// Each key as the server writes it: a column's quoted name, or an expression.
    pub keys: Vec<String>,
    /// Each key's order: `` or `desc`, `nulls first` or `nulls last` where that is not the order's default.
    pub orders: Vec<String>,
    /// Each key's operator class, where it is not the type's default.
    pub operator_classes: Vec<String>,
    /// Each key's operator class, default or not.
    pub class_names: Vec<String>,
    /// Each key's collation, where it is not the column's.
    pub collations: Vec<String>,
    /// The columns that it carries beside its keys.
    pub included: Vec<String>,
    /// Its condition, where it is partial.
    pub predicate: Option<String>,
    /// Its storage parameters: `fillfactor=70`, `lists=100`.
    pub options: Vec<String>,
    /// The statement that makes it.
    pub definition: String,
    /// Its size in bytes.
    pub bytes: i64,
    /// About how many entries it has; -1 where it was never counted.
    pub entries: i64,
    /// How often it was scanned since the statistics begin.
    pub scans: i64,
    /// The backend that is building it now.
    pub builder: Option<i64>,
}

/// All of them, of one table, or one: by which of the first two parameters is set; none of what the third lists, tables and indexes that are locked.
const STATEMENT: &str = "\
    select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted, \
      t.oid::int8 as table_oid, format('%I.%I', tn.nspname, t.relname) as table, am.amname::text as method, \
      i.indisvalid as valid, i.indisready as ready, i.indislive as live, i.indisunique as unique, i.indnullsnotdistinct as nulls_not_distinct, \
      (select k.conname::text from pg_catalog.pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u', 'x') limit 1) as constraint, \
      i.indisreplident as replica_identity, \
      array(select pg_get_indexdef(c.oid, k, false) from generate_series(1, i.indnkeyatts::int4) k order by k) as keys, \
      array(select case (i.indoption[k - 1] & 3) when 1 then 'desc nulls last' when 2 then 'nulls first' when 3 then 'desc' else '' end \
            from generate_series(1, i.indnkeyatts::int4) k order by k) as orders, \
      array(select case when o.opcdefault then '' else o.opcname::text end from generate_series(1, i.indnkeyatts::int4) k \
            join pg_catalog.pg_opclass o on o.oid = i.indclass[k - 1] order by k) as operator_classes, \
      array(select o.opcname::text from generate_series(1, i.indnkeyatts::int4) k join pg_catalog.pg_opclass o on o.oid = i.indclass[k - 1] order by k) as class_names, \
      array(select case when i.indcollation[k - 1] = 0 or i.indcollation[k - 1] = coalesce(a.attcollation, i.indcollation[k - 1]) then '' else l.collname::text end \
            from generate_series(1, i.indnkeyatts::int4) k \
            left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[k - 1] and a.attnum <> 0 \
            left join pg_catalog.pg_collation l on l.oid = i.indcollation[k - 1] order by k) as collations, \
      array(select pg_get_indexdef(c.oid, k, false) from generate_series(i.indnkeyatts + 1, i.indnatts::int4) k order by k) as included, \
      pg_get_expr(i.indpred, i.indrelid) as predicate, coalesce(c.reloptions, '{}') as options, pg_get_indexdef(c.oid) as definition, \
      case when c.relkind = 'i' then pg_relation_size(c.oid) else 0 end as bytes, c.reltuples::int8 as entries, coalesce(s.idx_scan, 0) as scans, \
      (select p.pid::int8 from pg_catalog.pg_stat_progress_create_index p where p.datname = current_database() and not i.indisvalid \
         and (p.index_relid = c.oid or (p.relid = i.indrelid and p.index_relid = 0)) limit 1) as builder \
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
      join pg_catalog.pg_class t on t.oid = i.indrelid join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace \
      join pg_catalog.pg_am am on am.oid = c.relam \
      left join pg_catalog.pg_stat_user_indexes s on s.indexrelid = c.oid \
    where ($1::int8 is null or i.indrelid = $1::int8::oid) and ($2::int8 is null or c.oid = $2::int8::oid) \
      and not (i.indrelid::int8 = any ($3::int8[]) or c.oid::int8 = any ($3::int8[])) \
      and tn.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and tn.nspname not like 'pg\\_temp\\_%' and tn.nspname not like 'pg\\_toast\\_temp\\_%' \
    order by c.oid";

impl Index {
    /// All indexes on one table.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn on_table(session: &mut Session, table: i64) -> Result<Vec<Self>> {
        session
            .query_all(STATEMENT, params![table, None::<i64>, Vec::<i64>::new()])
            .await
            .context("looking for the table's indexes")
    }

    /// All indexes on the users' tables of the database.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn all(session: &mut Session) -> Result<Vec<Self>> {
        Self::all_but(session, &[]).await
    }

    /// The same without those on tables that are listed, and without those that are listed themselves, by object id: to look at an index waits for who
    /// has its table or itself locked exclusively.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn all_but(session: &mut Session, locked: &[i64]) -> Result<Vec<Self>> {
        session
            .query_all(STATEMENT, params![None::<i64>, None::<i64>, locked.to_vec()])
            .await
            .context("looking for indexes")
    }

    /// One index; none when it was dropped.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn by_oid(session: &mut Session, oid: i64) -> Result<Option<Self>> {
        session
            .query_optional(STATEMENT, params![None::<i64>, oid, Vec::<i64>::new()])
            .await
            .context("looking at the index")
    }

    /// The index that a name means, as [`crate::Table::find`] takes names.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn find(session: &mut Session, name: &str) -> Result<Self> {
        let all = Self::all(session).await?;
        let plain = |index: &&Self| {
            index.name == name || index.quoted == name || format!("{}.{}", index.schema, index.name) == name
        };
        let found: Vec<&Self> = all.iter().filter(plain).collect();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Error::new(format!("there is no index {name:?} in this database"))
                .hint("write it as schema.index, in its own case")),
            several => {
                let names: Vec<&str> = several.iter().map(|index| index.quoted.as_str()).collect();
                Err(Error::new(format!("{name:?} could be {}", names.join(" or "))).hint("write it with its schema"))
            }
        }
    }

    /// Its name for a statement.
    ///
    /// # Errors
    /// Never, for what the server quoted.
    pub fn quoted(&self) -> Result<Quoted> {
        Quoted::from_server(&self.quoted)
    }

    /// Whether queries use it and writes go into it.
    pub fn whole(&self) -> bool {
        self.valid && self.ready && self.live
    }

    /// Whether it is the same as another but for its name, size and use: one of the two is superfluous.
    pub fn equals(&self, other: &Self) -> bool {
        let shape = |index: &Self| {
            (
                (
                    index.table_oid,
                    index.method.clone(),
                    index.keys.clone(),
                    index.orders.clone(),
                    index.operator_classes.clone(),
                ),
                (
                    index.collations.clone(),
                    index.included.clone(),
                    index.predicate.clone(),
                    index.unique,
                    index.nulls_not_distinct,
                ),
            )
        };
        self.oid != other.oid && shape(self) == shape(other)
    }

    /// What a person reads of it: `valid`, or what is wrong.
    pub fn state(&self) -> &'static str {
        match (self.live, self.ready, self.valid, self.builder) {
            (false, ..) => "being dropped",
            (_, _, _, Some(_)) => "being built",
            (_, false, ..) => "INVALID, not even kept up by writes",
            (_, _, false, _) => "INVALID, kept up by every write and used by no query",
            _ => "valid",
        }
    }
}
