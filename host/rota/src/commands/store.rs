//! `rota store`: what the hosts remember, as a whole.

use super::{Printing, print, print_json};
use crate::cli::StoreCommand;
use crate::output::{format, safe, table};
use rota_runs::{Settings, StoreChoice, open_store};
use rota_store::{BackupSummary, StoreStatus};
use serde_json::json;

pub(crate) async fn store(settings: &Settings, command: StoreCommand, printing: Printing) -> anyhow::Result<u8> {
    match command {
        StoreCommand::Status => {
            let store = open_store(settings).await?;
            let status = store.status().await?;
            store.close().await;
            if printing.human() { print(&shown(&status))? } else { print_json(&json!(status))? }
        }
        StoreCommand::Migrate => {
            // Opening does it, under a lock.
            let store = open_store(settings).await?;
            let status = store.status().await?;
            store.close().await;
            if printing.human() {
                print(&format!("{} has schema {}", safe(&status.place), status.schema))?;
            } else {
                print_json(&json!({ "place": status.place, "schema": status.schema }))?;
            }
        }
        StoreCommand::Backup { to } => {
            let store = open_store(settings).await?;
            let summary = store.backup(&to).await?;
            store.close().await;
            said(printing, "written to", &to.display().to_string(), &summary)?;
        }
        StoreCommand::Restore { from } => {
            let (summary, aside) = match &settings.store {
                StoreChoice::Sqlite { folder } => rota_store::SqliteStore::restore(folder, &from).await?,
                StoreChoice::Postgres { url } => {
                    rota_store::PostgresStore::restore(url.expose(), &from).await.map(|summary| (summary, None))?
                }
            };
            if let Some(aside) = aside.filter(|_| printing.human()) {
                print(&format!("what was there is kept as {}", aside.display()))?;
            }
            said(printing, "restored from", &from.display().to_string(), &summary)?;
        }
    }
    Ok(0)
}

fn said(printing: Printing, what: &str, file: &str, summary: &BackupSummary) -> anyhow::Result<()> {
    if !printing.human() {
        return print_json(
            &json!({ "file": file, "schema": summary.schema, "rows": summary.rows, "bytes": summary.bytes }),
        );
    }
    let rows: u64 = summary.rows.iter().map(|(_, rows)| rows).sum();
    print(&format!(
        "{} rows of schema {} {what} {} ({})",
        format::integer(rows.try_into().unwrap_or(i64::MAX)),
        summary.schema,
        safe(file),
        format::bytes(summary.bytes)
    ))
}

fn shown(status: &StoreStatus) -> String {
    let rows: Vec<Vec<String>> = status
        .tables
        .iter()
        .map(|table| {
            let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".into(), format::bytes);
            vec![
                table.name.clone(),
                table.rows.to_string(),
                table.dead.map_or_else(|| "-".into(), |dead| dead.to_string()),
                bytes(table.bytes),
            ]
        })
        .collect();
    format!(
        "{} {} at {}, schema {}, {}\n{}",
        status.engine,
        safe(&status.engine_version),
        safe(&status.place),
        status.schema,
        format::bytes(status.bytes),
        table::plain(&["table", "rows", "dead", "size"], &rows)
    )
}
