//! What a `rota serve` costs that has nothing to do: its CPU, its memory, and what it asks of the store.

use super::place::{DATABASE, Place};
use super::serving::Serving;
use crate::figure::{Figure, Sides};
use crate::health::entries;
use crate::measure::Spread;
use anyhow::ensure;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A schedule that does not fire meanwhile, as an ordinary host has.
const JOB: &str = "[jobs.yearly]\nplugin = \"GUEST\"\nschedule = { cron = \"0 0 1 1 *\" }\n";

/// What a start brings along is over after so long.
const SETTLED: Duration = Duration::from_secs(15);

const GOAL_CPU: f64 = 0.005;
const GOAL_MEMORY: f64 = 80.0;
const GOAL_STATEMENTS: f64 = 5.0;

/// How often each statement was sent, as the server logged it.
fn statements(log: &str) -> BTreeMap<String, u64> {
    let marker = format!("@{DATABASE} ");
    let mut counts = BTreeMap::new();
    for entry in entries(log) {
        let Some((_, said)) = entry.split_once(&marker) else { continue };
        let simple = said.split_once("LOG:  statement: ").map(|(_, statement)| statement);
        let prepared = said.split_once("LOG:  execute ").and_then(|(_, said)| said.split_once(": "));
        if let Some(statement) = simple.or(prepared.map(|(_, statement)| statement)) {
            let words: Vec<&str> = statement.split_whitespace().collect();
            *counts.entry(words.join(" ")).or_default() += 1;
        }
    }
    counts
}

async fn transactions(place: &Place) -> anyhow::Result<i64> {
    // From another database, so that the question is not counted. What a backend has not told yet comes with its next second.
    let mut connection = place.server()?.connect("postgres").await?;
    Ok(sqlx::query_scalar("select xact_commit + xact_rollback from pg_stat_database where datname = $1")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await?)
}

pub(crate) async fn measure(length: Duration) -> anyhow::Result<Figure> {
    let place = Place::postgres(&[]).await?;
    let server = place.server()?;
    server.execute("postgres", &format!("alter database {DATABASE} set log_statement = 'all'")).await?;
    // As it is without settings: poll 1 s, lease 15 s, 8 places.
    let configuration = place.configuration(JOB).replace("workers = 16\n", "");
    let mut serving = Serving::start(&place, &[configuration])?;
    serving.serves().await?;
    tokio::time::sleep(SETTLED).await;
    let (from, cpu, committed) = (server.log().len(), serving.cpu_seconds()?, transactions(&place).await?);
    let began = Instant::now();
    tokio::time::sleep(length).await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = (serving.cpu_seconds()? - cpu) / seconds;
    let committed = (transactions(&place).await? - committed) as f64 / seconds;
    let counts = statements(server.log().get(from..).unwrap_or_default());
    let memory = serving.memory("VmRSS")? as f64 / f64::from(1 << 20);
    let peak = serving.memory("VmHWM")? as f64 / f64::from(1 << 20);
    serving.stop().await?;
    let asked = counts.values().sum::<u64>() as f64 / seconds;
    ensure!(asked > 0.0, "the server logged no statement of the host's");
    let mut most: Vec<_> = counts.iter().collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut notes = vec![format!(
        "{:.2} % of a core, {memory:.0} MiB resident ({peak:.0} MiB at most), {asked:.2} statements and {committed:.2} transactions a second, over {seconds:.0} s",
        cpu * 100.0
    )];
    for (statement, count) in most.into_iter().take(12) {
        let shown: String = statement.chars().take(90).collect();
        notes.push(format!("{:.2}/s `{}`", *count as f64 / seconds, shown.replace('|', "/")));
    }
    let one = Spread::of([cpu]);
    Ok(Figure {
        name: "idle",
        what: format!("idle `rota serve` on PostgreSQL over {seconds:.0} s"),
        against: "-".into(),
        goal: "< 0.5 % of a core, < 80 MB, < 5 statements/s",
        value: Spread::of([cpu]),
        unit: "% of a core",
        sides: Sides::Share,
        ours: one,
        theirs: None,
        shown: Some(format!("{:.2} % of a core, {memory:.0} MiB, {asked:.2} statements/s", cpu * 100.0)),
        met: cpu < GOAL_CPU && memory < GOAL_MEMORY && asked < GOAL_STATEMENTS,
        notes,
    })
}
