//! `rota hosts`: who serves this store.

use super::{Printing, print, print_json};
use crate::cli::HostsCommand;
use crate::output::{coloured, safe, table};
use crate::settings::UsageError;
use rota_runs::RunRecords;
use rota_store::HostRow;
use serde_json::{Value, json};

pub(crate) async fn hosts(records: &RunRecords, command: HostsCommand, printing: Printing) -> anyhow::Result<u8> {
    match command {
        HostsCommand::List => list(records, printing).await,
        HostsCommand::Drain { host, undo } => drain(records, &host, undo, printing).await,
    }
}

async fn list(records: &RunRecords, printing: Printing) -> anyhow::Result<u8> {
    let hosts = records.hosts().await?;
    let configurations: std::collections::BTreeSet<&str> =
        hosts.iter().filter(|host| host.alive).map(|host| host.host.configuration.as_str()).collect();
    let differ = configurations.len() > 1;
    if !printing.human() {
        let object = |host: &HostRow| {
            json!({
                "name": host.host.name, "incarnation": host.host.incarnation.0, "version": host.host.version,
                "labels": host.host.labels, "configuration": host.host.configuration, "capacity": host.host.capacity,
                "running": host.running, "alive": host.alive, "draining": host.draining,
                "started_at": host.started_at, "seen_at": host.seen_at,
            })
        };
        print_json(&Value::Array(hosts.iter().map(object).collect()))?;
        return Ok(0);
    }
    if hosts.is_empty() {
        print("no host serves; `rota serve` begins to")?;
        return Ok(0);
    }
    let row = |host: &HostRow| {
        let state = match (host.alive, host.draining) {
            (false, _) => coloured("unknown"),
            (true, true) => "draining".to_owned(),
            (true, false) => coloured("ok"),
        };
        let configuration = host.host.configuration.trim_start_matches("sha256:").chars().take(12).collect();
        let labels: Vec<String> = host.host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            safe(&host.host.name),
            state,
            host.host.version.clone(),
            format!("{}/{}", host.running, host.host.capacity),
            configuration,
            host.seen_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
            safe(&labels.join(" ")),
        ]
    };
    let rows: Vec<Vec<String>> = hosts.iter().map(row).collect();
    print(&table::plain(&["host", "state", "version", "runs", "configuration", "seen", "labels"], &rows))?;
    if differ {
        print(&format!(
            "\n{}: hosts serve with different configurations; `rota config apply` on each of them ends that",
            coloured("warning")
        ))?;
    }
    Ok(0)
}

async fn drain(records: &RunRecords, host: &str, undo: bool, printing: Printing) -> anyhow::Result<u8> {
    let count = records.drain(host, !undo).await?;
    if count == 0 {
        anyhow::bail!(UsageError(format!("no host `{host}` serves; `rota hosts list` shows who does")));
    }
    if printing.human() {
        let what = if undo { "takes runs again" } else { "takes nothing more; what it runs goes on" };
        print(&format!("{host} {what}"))?;
    } else {
        print_json(&json!({ "host": host, "hosts": count, "draining": !undo }))?;
    }
    Ok(0)
}
