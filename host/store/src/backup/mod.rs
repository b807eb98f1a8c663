//! One file that holds everything, and that either engine writes and restores.
//!
//! It is JSON lines, compressed by zstd with a checksum: a line that says what it is, one for each row, and one at the end that counts
//! them, without which it is not whole.
//!
//! ```json
//! {"rota":"backup","format":1,"schema":3}
//! {"t":"runs","v":{"id":"0198...","job":"nightly", ...}}
//! {"end":{"runs":1, ...}}
//! ```

mod file;
mod tables;

use crate::rows::BackupSummary;
use crate::session::{Engine, Session, Statement, Value, args};
use crate::{StoreError, masked};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use file::{Input, Output};
use serde_json::{Map, Value as Json, json};
use std::path::Path;
use tables::{Kind, TABLES, Table};

/// The schema that this version writes, the same in both engines. It grows with each table, also with those that were added beside the
/// history: whoever does not know one cannot bring it back.
pub(crate) const SCHEMA: i64 = 3;

/// Rows at once.
const PAGE: usize = 500;

/// Write everything, as of one moment.
pub(crate) async fn write(session: &mut Session<'_>, to: &Path) -> Result<BackupSummary, StoreError> {
    let mut output = Output::create(to)?;
    let begin = match session.engine() {
        Engine::Sqlite => "begin",
        Engine::Postgres => "begin isolation level repeatable read read only",
    };
    session.raw(begin).await?;
    let written = write_tables(session, &mut output).await;
    // It changed nothing.
    let ended = session.raw("rollback").await;
    let rows = written?;
    ended?;
    let bytes = output.finish(to)?;
    Ok(BackupSummary { schema: SCHEMA, rows, bytes })
}

async fn write_tables(session: &mut Session<'_>, output: &mut Output) -> Result<Vec<(String, u64)>, StoreError> {
    output.line(&json!({ "rota": "backup", "format": 1, "schema": SCHEMA }))?;
    let mut counts = Vec::new();
    for table in TABLES.iter() {
        let mut count = 0;
        let mut last: Option<Json> = None;
        loop {
            let page = page(session, table, last.as_ref()).await?;
            for row in &page {
                output.line(&json!({ "t": table.name, "v": row }))?;
            }
            count += page.len() as u64;
            if page.len() < PAGE {
                break;
            }
            last = page.into_iter().next_back();
        }
        counts.push((table.name.to_owned(), count));
    }
    let end: Map<String, Json> = counts.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
    output.line(&json!({ "end": end }))?;
    Ok(counts)
}

/// The rows after one, in the order of the primary key.
async fn page(session: &mut Session<'_>, table: &'static Table, last: Option<&Json>) -> Result<Vec<Json>, StoreError> {
    let rows = match last {
        None => session.all(&table.first, args![PAGE as u64]).await?,
        Some(last) => {
            let mut arguments: Vec<Value<'_>> = vec![Value::from(PAGE as u64)];
            for key in table.keys {
                arguments.push(match &last[*key] {
                    Json::String(text) => Value::from(text.as_str()),
                    number => Value::from(number.as_i64()),
                });
            }
            session.all(&table.next, &arguments).await?
        }
    };
    rows.iter()
        .map(|row| {
            let mut values = Map::new();
            for (column, kind) in table.columns {
                let value = match kind {
                    Kind::Number => json!(row.maybe_number(column)?),
                    Kind::Text => json!(row.maybe_text(column)?),
                    Kind::Bytes => json!(row.maybe_bytes(column)?.map(|bytes| STANDARD.encode(bytes))),
                };
                values.insert((*column).to_owned(), value);
            }
            Ok(Json::Object(values))
        })
        .collect()
}

/// Bring everything back into records that hold nothing, all of it or nothing.
pub(crate) async fn read(session: &mut Session<'_>, from: &Path) -> Result<BackupSummary, StoreError> {
    let mut input = Input::open(from)?;
    session.begin().await?;
    match read_tables(session, &mut input).await {
        Ok(rows) => {
            session.raw("commit").await?;
            Ok(BackupSummary { schema: SCHEMA, rows, bytes: input.size() })
        }
        Err(error) => {
            // Where even this fails, the connection is gone, and the transaction with it.
            let _ = session.raw("rollback").await;
            Err(error)
        }
    }
}

async fn read_tables(session: &mut Session<'_>, input: &mut Input) -> Result<Vec<(String, u64)>, StoreError> {
    let head = input.line()?.ok_or_else(|| input.wrong("it is empty"))?;
    if head["rota"] != "backup" || head["format"] != 1 {
        return Err(input.wrong("it does not begin as one of Rota's"));
    }
    let schema = head["schema"].as_i64().unwrap_or(i64::MAX);
    if schema > SCHEMA {
        return Err(StoreError::Newer { place: input.place(), found: schema, known: SCHEMA });
    }
    let mut counts: Vec<(String, u64)> = TABLES.iter().map(|table| (table.name.to_owned(), 0)).collect();
    for table in TABLES.iter() {
        if !session.all(&table.first, args![1_u64]).await?.is_empty() {
            return Err(StoreError::Misfit(
                "a backup is restored into records that hold nothing, and these do; name another place, or drop the schema `rota` first"
                    .into(),
            ));
        }
    }
    let mut gathered: Vec<Json> = Vec::new();
    let mut current: Option<usize> = None;
    loop {
        let line = input.line()?.ok_or_else(|| input.wrong("its end is missing"))?;
        let place = line["t"].as_str().and_then(|name| TABLES.iter().position(|table| table.name == name));
        if place != current || gathered.len() >= PAGE {
            if let Some(table) = current.and_then(|at| TABLES.get(at)) {
                insert(session, input, table, &gathered).await?;
            }
            gathered.clear();
            current = place;
        }
        if line.get("end").is_some() {
            let whole = counts.iter().all(|(name, count)| line["end"][name].as_u64().unwrap_or(0) == *count);
            return if whole { Ok(counts) } else { Err(input.wrong("rows are missing")) };
        }
        let Some(count) = place.and_then(|at| counts.get_mut(at)) else {
            return Err(input.wrong("it has a table that is not known"));
        };
        count.1 += 1;
        gathered.push(clean(line["v"].clone()));
    }
}

/// What came from an engine that keeps NUL may not keep it.
fn clean(row: Json) -> Json {
    match row {
        Json::String(text) if text.contains('\0') => Json::String(masked::text(text)),
        Json::Object(fields) => Json::Object(fields.into_iter().map(|(key, value)| (key, clean(value))).collect()),
        other => other,
    }
}

async fn insert(
    session: &mut Session<'_>,
    input: &Input,
    table: &'static Table,
    rows: &[Json],
) -> Result<(), StoreError> {
    let put: &'static Statement = &table.insert;
    if !table.columns.iter().any(|(_, kind)| *kind == Kind::Bytes) {
        session.run(put, args![&Json::Array(rows.to_vec()).to_string()]).await?;
        return Ok(());
    }
    // Bytes are handed over as what they are, one row at a time.
    for row in rows {
        let mut decoded: Vec<Option<Vec<u8>>> = Vec::new();
        for (column, kind) in table.columns {
            let bytes = match (kind, row[*column].as_str()) {
                (Kind::Bytes, Some(text)) => {
                    Some(STANDARD.decode(text).map_err(|_| input.wrong("bytes in it are broken"))?)
                }
                _ => None,
            };
            decoded.push(bytes);
        }
        let arguments: Vec<Value<'_>> = table
            .columns
            .iter()
            .zip(&decoded)
            .map(|((column, kind), bytes)| match kind {
                Kind::Number => Value::from(row[*column].as_i64()),
                Kind::Text => Value::from(row[*column].as_str()),
                Kind::Bytes => Value::Bytes(bytes.as_deref()),
            })
            .collect();
        session.run(put, &arguments).await?;
    }
    Ok(())
}
