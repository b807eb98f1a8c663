//! Scripts and the plugins of authors: how soon they begin, and what a loop costs, against node and bare wasmtime.

use crate::figure::{About, Figure, Sides};
use crate::health::rota;
use crate::host::context;
use crate::measure::{Rounds, Sample, Spread, Watch};
use crate::noop::{Bare, told};
use anyhow::{Context as _, ensure};
use rota_runs::Capabilities;
use rota_sandbox::{Cancel, Ended, Sandbox, SandboxOptions};
use rota_testbed::{Postgres, tools_dir};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::Store;

/// The client of node's side, with its cursor.
const PG: [&str; 2] = ["pg@8.16.3", "pg-cursor@2.15.3"];

/// Starts a round on each side.
const STARTS: u32 = 200;

/// Rows that are read.
const ROWS: u64 = 1_000_000;

/// The wall and processor time of a process, and what it printed.
fn timed(command: &mut Command) -> anyhow::Result<(Sample, String)> {
    let before = children();
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let wall = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok((Sample { wall, cpu: children() - before }, said))
}

/// Processor time of all children that have ended, seconds.
fn children() -> f64 {
    // SAFETY: the kernel writes one structure of numbers to the place that is given.
    #[allow(unsafe_code)]
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// `rota exec -e 'print(1)'` against `node -e 'console.log(1)'`, as processes.
pub(crate) fn exec(rounds: usize) -> anyhow::Result<Figure> {
    let state = tempfile::tempdir()?;
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let mut ours = rota(state.path())?;
        ours.args(["--output", "human", "exec", "-q", "-e", "print(1)"]);
        let (ours, said) = timed(&mut ours)?;
        ensure!(said.lines().next() == Some("1"), "it printed {said}");
        let (theirs, said) = timed(Command::new("node").args(["-e", "console.log(1)"]))?;
        ensure!(said == "1\n", "node printed {said}");
        // The first round warms both up.
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let times = measured.times();
    Ok(Figure::in_turn(
        About {
            name: "exec-start",
            what: "`rota exec -e 'print(1)'` as a process, cache warm".into(),
            against: "`node -e 'console.log(1)'`".into(),
            goal: "<= 1x time",
        },
        times,
        &measured,
        times.median <= 1.0,
        vec![format!("{rounds} rounds, in turn; by CPU time {:.2}x", measured.cpu_times().median)],
    ))
}

/// A new plugin in a language, in a folder; the time until its first test has passed.
fn begun(folder: &Path, state: &Path, name: &str, language: &str) -> anyhow::Result<f64> {
    let run = |arguments: &[&str]| -> anyhow::Result<()> {
        let mut command = rota(state)?;
        command.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", state.join("target"));
        timed(&mut command).map(drop)
    };
    let began = Instant::now();
    run(&["plugin", "new", name, "--language", language])?;
    run(&["plugin", "test", name])?;
    Ok(began.elapsed().as_secs_f64())
}

/// `rota plugin new` to the first test that passes, with what a first build leaves behind already there.
pub(crate) fn author(language: &'static str, rounds: usize) -> anyhow::Result<Figure> {
    let (goal, most, name) = match language {
        "rust" => ("< 20 s", 20.0, "author-rust"),
        _ => ("< 3 s", 3.0, "author-javascript"),
    };
    let (state, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let cold = begun(folder.path(), state.path(), "first", language)?;
    let mut times = Vec::new();
    for round in 0..rounds {
        times.push(begun(folder.path(), state.path(), &format!("plugin-{round}"), language)?);
    }
    let times = Spread::of(times);
    Ok(Figure {
        name,
        what: format!("`rota plugin new` to its first test passed, {language}, dependencies warm"),
        against: "-".into(),
        goal,
        value: times,
        unit: "s",
        sides: Sides::Seconds,
        ours: times,
        theirs: None,
        shown: None,
        met: times.median < most,
        notes: vec![format!("{rounds} rounds; the very first, everything cold, {cold:.1} s")],
    })
}

/// The component that `rota plugin build` makes of a new plugin in JavaScript.
fn component() -> anyhow::Result<Vec<u8>> {
    let (state, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for arguments in [&["plugin", "new", "start", "--language", "javascript"][..], &["plugin", "build", "start"]] {
        let mut command = rota(state.path())?;
        command.args(arguments).current_dir(folder.path());
        timed(&mut command)?;
    }
    std::fs::read(folder.path().join("start/start.wasm")).context("start/start.wasm")
}

/// A run of a script in a host that stands, against bare wasmtime that makes an instance of the same component and runs nothing.
pub(crate) async fn start(rounds: usize) -> anyhow::Result<Figure> {
    let bytes = component()?;
    let sandbox = Arc::new(Sandbox::new(SandboxOptions::default(), &Capabilities::default().all())?);
    // As a host loads it: the source in the compiled `script`, which was begun ahead.
    let plugin = rota_catalog::load_component(&sandbox, bytes.clone().into()).await?;
    let bare = Bare::new(&bytes).map_err(told)?;
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let watch = Watch::start();
        for _ in 0..STARTS {
            let context = context(Vec::new(), rota_capability::tape::Tape::Live);
            let finished = sandbox.run(&plugin, context, "{}", &Cancel::default()).await;
            // What it finds without a slot bound is its own affair: it ran.
            ensure!(
                matches!(finished.ended, Ended::Reported(_) | Ended::Failed(_)),
                "the run ended: {:?}",
                finished.ended
            );
        }
        let ours = watch.stop().each(STARTS.into());
        let watch = Watch::start();
        for _ in 0..STARTS {
            let mut store = Store::new(&bare.engine, ());
            bare.pre.instantiate_async(&mut store).await.map_err(told)?;
        }
        let theirs = watch.stop().each(STARTS.into());
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let times = measured.times();
    Ok(Figure::in_turn(
        About {
            name: "script-start",
            what: "a run of a new JavaScript plugin in a host: instance, its engine, its script, its end".into(),
            against: "bare wasmtime, an instance of the same component that runs nothing".into(),
            goal: "<= 1.5x time",
        },
        times,
        &measured,
        times.median <= 1.5,
        vec![format!(
            "{rounds} rounds of {STARTS} a side, in turn; {:.1} ms more than the bare instance, which is what the engine and the script take",
            (measured.our_wall().median - measured.their_wall().median) * 1e3
        )],
    ))
}

/// The folder with node's packages, installed where they are missing.
fn packages() -> anyhow::Result<PathBuf> {
    let folder = tools_dir().join(PG.join("-"));
    if !folder.exists() {
        let new = tempfile::Builder::new().prefix(".new.").tempdir_in(tools_dir())?.keep();
        let mut command = Command::new("npm");
        command
            .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&new)
            .args(PG);
        timed(&mut command).context("npm")?;
        std::fs::rename(&new, &folder)?;
    }
    Ok(folder)
}

const OURS: &str = "let n = 0, sum = 0; for await (const row of db.query('select * from many')) { n += 1; sum += Number(row.b) + row.c.length } print(`${n} ${sum}`)";

const THEIRS: &str = "
const { createRequire } = require('node:module');
const load = createRequire(process.argv[1] + '/node_modules/');
const { Client } = load('pg'), Cursor = load('pg-cursor');
(async () => {
    const client = new Client({ connectionString: process.argv[2] });
    await client.connect();
    const cursor = client.query(new Cursor('select * from many'));
    let n = 0, sum = 0;
    for (;;) {
        const rows = await cursor.read(256);
        if (rows.length === 0) break;
        for (const row of rows) { n += 1; sum += Number(row.b) + row.c.length }
    }
    console.log(`${n} ${sum}`);
    await client.end();
})();
";

/// A loop over a million rows in a script, against the same in node.
pub(crate) async fn rows(server: &Postgres, rounds: usize) -> anyhow::Result<Figure> {
    let folder = packages()?;
    let state = tempfile::tempdir()?;
    let database = server.fresh_database("bench_script_rows").await?;
    database
        .execute(&format!(
            "create table many as select i::int as a, i::int8 as b, 'text ' || i as c, i * 0.5::float8 as d, now() as e from generate_series(1, {ROWS}) i; analyze"
        ))
        .await?;
    let url = database.url();
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let mut ours = rota(state.path())?;
        ours.args(["--output", "human", "exec", "-q", "-e", OURS, "--limit", "cpu=10m", "--bind"]);
        let (ours, said) = timed(ours.arg(format!("database={url}")))?;
        let (theirs, wanted) = timed(Command::new("node").args(["-e", THEIRS]).arg(&folder).arg(&url))?;
        ensure!(said.lines().next() == wanted.lines().next(), "a script saw {said}, and node {wanted}");
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let times = measured.times();
    Ok(Figure::in_turn(
        About {
            name: "script-rows",
            what: "1,000,000 rows of 5 columns read in a JavaScript loop, as a process".into(),
            against: "node with `pg` and a cursor, 256 rows at a time".into(),
            goal: "<= 3x time",
        },
        times,
        &measured,
        times.median <= 3.0,
        vec![format!("{rounds} rounds, in turn; by CPU time {:.2}x", measured.cpu_times().median)],
    ))
}
