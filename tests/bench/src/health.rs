//! `rota run postgres-health` as a process, against psql sending the same statements from one file.

use crate::figure::{About, Figure, Sides};
use crate::measure::{Rounds, Spread, Watch};
use anyhow::{Context as _, ensure};
use rota_testbed::{Database, Postgres};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that this one was built with.
pub(crate) fn built(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: cargo build --release --package rota", path.display());
    Ok(path)
}

/// `rota` with a state folder of its own and no configuration.
pub(crate) fn rota(state: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(built("rota")?);
    command.env("ROTA_STATE_DIR", state).env_remove("ROTA_CONFIG").current_dir(state).stdin(Stdio::null());
    Ok(command)
}

fn health(state: &Path, url: &str) -> anyhow::Result<Command> {
    let mut command = rota(state)?;
    command.args(["run", "postgres-health", "--output", "json", "--bind"]).arg(format!("database={url}"));
    Ok(command)
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{} ended with {}: {said}", command.get_program().display(), output.status);
    Ok(())
}

/// What the plugin sends, as the server logged it, as a script for psql: parameters with `\bind`.
async fn script(server: &Postgres, database: &Database, state: &Path) -> anyhow::Result<String> {
    script_in(server, database, database, health(state, &database.url())?).await
}

/// The same of what a command sends to one of the databases that it looks into.
async fn script_in(
    server: &Postgres,
    database: &Database,
    inside: &Database,
    command: Command,
) -> anyhow::Result<String> {
    let log = |on: &str| format!("alter system set log_statement = '{on}'");
    for statement in [&*log("all"), "select pg_reload_conf()"] {
        database.execute(statement).await?;
    }
    let before = server.log().len();
    run(command)?;
    let log_text = server.log();
    for statement in [&*log("none"), "select pg_reload_conf()"] {
        database.execute(statement).await?;
    }
    let marker = format!("@{} ", inside.name());
    let mut script = String::new();
    for entry in entries(log_text.get(before..).unwrap_or_default()) {
        let Some((_, said)) = entry.split_once(&marker) else { continue };
        if let Some((_, statement)) = said.split_once("LOG:  statement: ") {
            if !statement.starts_with("alter system") && !statement.contains("pg_reload_conf") {
                writeln!(script, "{}\n\\g", statement.trim_end_matches(';'))?;
            }
        } else if let Some((name, statement)) = said.split_once("LOG:  execute ").and_then(|(_, s)| s.split_once(": "))
        {
            ensure!(!name.contains('\n'), "the server's log cannot be read: {entry}");
            writeln!(script, "{}\n\\g", statement.trim_end_matches(';'))?;
        } else if let Some((_, parameters)) =
            said.split_once("DETAIL:  ").filter(|(_, d)| d.to_lowercase().starts_with("parameters: "))
        {
            let end = script.len() - "\\g\n".len();
            script.truncate(end);
            writeln!(script, "\\bind {} \\g", values(parameters.split_once(": ").map_or("", |(_, p)| p)))?;
        }
    }
    ensure!(script.contains("select"), "the server logged no statement of the plugin's:\n{log_text}");
    Ok(script)
}

/// A log's entries: a line that begins with a tab goes on with the one before.
pub(crate) fn entries(log: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in log.lines() {
        match (line.strip_prefix('\t'), entries.last_mut()) {
            (Some(more), Some(last)) => {
                last.push('\n');
                last.push_str(more);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// `$1 = 'a', $2 = NULL` as arguments of psql's `\bind`, which knows the same quotes.
fn values(parameters: &str) -> String {
    let mut values = String::new();
    for (number, _) in parameters.match_indices('$') {
        let value = parameters[number..].split_once(" = ").map_or("", |(_, value)| value);
        let end = match value.strip_prefix('\'') {
            Some(quoted) => quoted.replace("''", "..").find('\'').map_or(value.len(), |end| end + 2),
            None => value.find(", $").unwrap_or(value.len()),
        };
        values.push_str(&value[..end]);
        values.push(' ');
    }
    values
}

pub(crate) async fn measure(server: &Postgres, rounds: usize) -> anyhow::Result<Figure> {
    let database = server.fresh_database("bench_health").await?;
    database.execute("create table t as select n from generate_series(1, 10000) n; analyze").await?;
    let state = tempfile::tempdir()?;
    // The first run compiles the plugin.
    run(health(state.path(), &database.url())?)?;
    let statements = script(server, &database, state.path()).await?;
    let file = state.path().join("same.sql");
    std::fs::write(&file, &statements)?;
    let psql = server.program("psql")?;
    let psql = || {
        let mut command = Command::new(&psql);
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file"]);
        command.arg(&file).arg(database.url()).stdin(Stdio::null());
        command
    };
    let mut measured = Rounds::default();
    for round in 0..=rounds * 4 {
        let watch = Watch::start();
        run(health(state.path(), &database.url())?).context("rota")?;
        let ours = watch.stop();
        let watch = Watch::start();
        run(psql()).with_context(|| format!("psql with\n{statements}"))?;
        let theirs = watch.stop();
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let over = Spread::of(measured.ours.iter().zip(&measured.theirs).map(|(ours, theirs)| ours.wall - theirs.wall));
    Ok(Figure {
        name: "health",
        what: "`rota run postgres-health` as a process, cache warm".into(),
        against: "the same statements by psql, one process and one file".into(),
        goal: "< 100 ms more",
        value: over,
        unit: "ms",
        sides: Sides::Seconds,
        ours: measured.our_wall(),
        theirs: Some(measured.their_wall()),
        shown: None,
        met: over.median < 0.1,
        notes: vec![format!("{} statements, {} rounds", statements.matches("\\g\n").count(), rounds * 4)],
    })
}

/// How many databases are looked into, and how many at once.
const DATABASES: usize = 50;
const AT_ONCE: usize = 6;

/// One run over many databases of a server, against psql, one database after the other, with the same statements.
pub(crate) async fn measure_many(server: &Postgres, rounds: usize) -> anyhow::Result<Figure> {
    let mut databases = Vec::new();
    for number in 0..DATABASES {
        let database = server.fresh_database(&format!("bench_many_{number}")).await?;
        database.execute("create table t as select n from generate_series(1, 10000) n; analyze").await?;
        databases.push(database);
    }
    let first = databases.first().context("there are some")?;
    let state = tempfile::tempdir()?;
    let names: Vec<String> = databases.iter().map(|database| format!("{:?}", database.name())).collect();
    let ours = || {
        let mut command = health(state.path(), &first.url())?;
        command.args(["-p", &format!("databases=[{}]", names.join(","))]);
        command.args(["-p", &format!("concurrency={AT_ONCE}")]);
        anyhow::Ok(command)
    };
    // The first run compiles the plugin.
    run(ours()?)?;
    let (whole, inside) = (state.path().join("whole.sql"), state.path().join("inside.sql"));
    let statements = script(server, first, state.path()).await?;
    std::fs::write(&whole, &statements)?;
    let second = databases.get(1).context("there are some")?;
    let each = script_in(server, first, second, ours()?).await?;
    std::fs::write(&inside, &each)?;
    let psql = server.program("psql")?;
    let theirs = |file: &Path, url: String| {
        let mut command = Command::new(&psql);
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file"]);
        command.arg(file).arg(url).stdin(Stdio::null());
        run(command)
    };
    let mut measured = Rounds::default();
    let mut most = 0;
    for round in 0..=rounds {
        let watch = Watch::start();
        let mut running = ours()?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Once, where it is not timed: how many sessions there are at a time.
        if round == 0 {
            let mut plain = first.connect().await?;
            while running.try_wait()?.is_none() {
                let count: i64 =
                    sqlx::query_scalar("select count(*) from pg_stat_activity where application_name like 'rota%'")
                        .fetch_one(&mut plain)
                        .await?;
                most = most.max(count);
            }
        }
        ensure!(running.wait()?.success(), "rota did not succeed");
        let ours = watch.stop();
        let watch = Watch::start();
        theirs(&whole, first.url())?;
        for database in &databases {
            theirs(&inside, database.url())?;
        }
        let theirs = watch.stop();
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let ratio = Spread::of(measured.ours.iter().zip(&measured.theirs).map(|(ours, theirs)| theirs.wall / ours.wall));
    // Its own, and some that were left and have not ended yet.
    ensure!(most > 0 && most <= i64::try_from(AT_ONCE)? + 4, "{most} sessions at a time");
    Ok(Figure::in_turn(
        About {
            name: "health-50",
            what: format!("`rota run postgres-health` of {DATABASES} databases, one run, {AT_ONCE} at once"),
            against: "the same statements by psql, one database after the other".into(),
            goal: "5x faster",
        },
        ratio,
        &measured,
        ratio.median >= 5.0,
        vec![format!(
            "at most {most} sessions at a time; {} statements in each database",
            each.matches("\\g\n").count()
        )],
    ))
}
