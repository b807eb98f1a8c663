//! What can be named at the prompt: read as any statement is, under what is granted.

use crate::desk::Desk;
use crate::value::Js;
use rota_sdk::prelude::*;

/// Tables and views with their columns, the user's own schemas first.
const TABLES: &str = "select case when n.nspname = current_schema() then c.relname else n.nspname || '.' || c.relname end as name,
       array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum limit 200) as columns
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_toast', 'information_schema')
 order by n.nspname = 'pg_catalog', 1 limit 3000";
/// Functions that somebody made.
const FUNCTIONS: &str = "select distinct p.proname::text as name from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
 where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 1 limit 3000";

/// The names behind a slot.
///
/// # Errors
/// What the host or the server said.
pub(super) async fn names(desk: &Desk, slot: &str) -> Result<Json> {
    let mut tables = Vec::new();
    for row in rows(desk, slot, TABLES).await? {
        tables.push(row);
    }
    let functions = rows(desk, slot, FUNCTIONS).await?;
    let functions: Vec<Json> = functions.into_iter().map(|row| row["name"].clone()).collect();
    Ok(json!({ "tables": tables, "functions": functions }))
}

async fn rows(desk: &Desk, slot: &str, statement: &str) -> Result<Vec<Json>> {
    let opened = desk.call("db.query", &[Js::text(slot), Js::text(statement), Js::Undefined]).await?;
    let handle = opened.member("handle").clone();
    let mut all = Vec::new();
    loop {
        let batch = desk.call("db.next", std::slice::from_ref(&handle)).await?;
        let rows @ Js::Rows(..) = batch else { return Ok(all) };
        if let Json::Array(rows) = rows.into_json() {
            all.extend(rows);
        }
    }
}
