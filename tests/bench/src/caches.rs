//! `rota run cache-invalidate` of a million keys of three, against a bare loop of SCAN and pipelined UNLINK by the same client library; and what other
//! clients of the server feel of it.

use crate::figure::{About, Figure, Sides};
use crate::health::rota;
use crate::measure::{Rounds, Spread, Watch};
use anyhow::{Context as _, ensure};
use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand};
use rota_testbed::{Namespace, RespClient, Valkey};
use std::path::Path;
use std::time::{Duration, Instant};

/// Keys that stay, and keys that go.
const OTHERS: u32 = 2_000_000;
const GOING: u32 = 1_000_000;

pub(crate) async fn measure(rounds: usize) -> anyhow::Result<[Figure; 2]> {
    let valkey = Valkey::start().await?;
    let mut plain = valkey.client().await?;
    fill(&mut plain, "stays:", OTHERS).await?;
    let client = Builder::from_config(Config::from_url(&valkey.url())?).build()?;
    client.init().await?;
    let state = tempfile::tempdir()?;
    // The first run compiles the plugin.
    invalidate(state.path(), &valkey, 0, &BARE).await?;

    let mut measured = Rounds::default();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(5) {
        fill(&mut plain, "goes:", GOING).await?;
        let probe = Probe::start(valkey.client().await?);
        tokio::time::sleep(Duration::from_secs(3)).await;
        alone.push(probe.stop().await?);

        let probe = Probe::start(valkey.client().await?);
        let watch = Watch::start();
        invalidate(state.path(), &valkey, GOING, &BARE).await?;
        let ours = watch.stop();
        beside.push(probe.stop().await?);

        fill(&mut plain, "goes:", GOING).await?;
        let watch = Watch::start();
        let gone = bare(&client).await?;
        let theirs = watch.stop();
        ensure!(gone == u64::from(GOING), "the bare loop unlinked {gone} keys");
        measured.push(ours, theirs);
    }
    client.quit().await?;

    let speeds = measured.speeds();
    let (alone, beside) = (Spread::of(alone), Spread::of(beside));
    let times =
        Spread { median: beside.median / alone.median, min: beside.min / alone.max, max: beside.max / alone.min };
    Ok([
        Figure::in_turn(
            About {
                name: "invalidate",
                what: "cache-invalidate of 1,000,000 keys of 3,000,000, as a process, counted first".into(),
                against: "bare fred: SCAN COUNT 1000, pipelined UNLINK of what comes".into(),
                goal: ">= 0.9x",
            },
            speeds,
            &measured,
            speeds.median >= 0.9,
            vec![format!("{:.0} thousand keys a second", f64::from(GOING) / measured.our_wall().median / 1e3)],
        ),
        Figure {
            name: "invalidate-latency",
            what: "GET of another client during it, p99".into(),
            against: "the same without it".into(),
            goal: "<= 2x, never > 20 ms",
            value: times,
            unit: "x",
            sides: Sides::Seconds,
            ours: beside,
            theirs: Some(alone),
            shown: None,
            met: times.median <= 2.0 && beside.max <= 0.02,
            notes: vec!["a GET a millisecond; on two cores, which server, client and host share".into()],
        },
    ])
}

async fn fill(plain: &mut RespClient, prefix: &str, keys: u32) -> anyhow::Result<()> {
    for from in (0..keys).step_by(10_000) {
        let set = |n: u32| vec![b"SET".to_vec(), format!("{prefix}{n}").into_bytes(), b"value".to_vec()];
        plain.many((from..(from + 10_000).min(keys)).map(set)).await?;
    }
    Ok(())
}

/// Without a look at what goes.
const BARE: [&str; 8] = ["-p", "maximum_keys=2000000", "-p", "sample=0", "-p", "verify=false", "-p", "batch=1000"];

/// As an operator runs it, with more parameters than the prefix; `expected` keys must have gone.
async fn invalidate(state: &Path, valkey: &Valkey, expected: u32, more: &[&str]) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::from(rota(state)?);
    command.args(["run", "cache-invalidate", "--output", "json", "--grant", "declared", "-p", "prefix=goes:"]);
    command.args(more);
    command.arg("--bind").arg(format!("cache={}", valkey.url()));
    let output = command.output().await?;
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(answer["report"]["data"]["unlinked"] == expected, "{answer}");
    Ok(())
}

/// Keys of the comparison with the runbook.
const FEW: u32 = 100_000;

/// The runbook's pipeline: count, then delete a hundred at a time by one `redis-cli` each. With a pod every `redis-cli` is one `kubectl exec`, as it
/// is written there; without, the tool alone.
pub(crate) async fn against_the_runbook(
    rounds: usize,
    redis_cli: Option<&Path>,
    pod: Option<&Namespace>,
) -> anyhow::Result<Figure> {
    let valkey = Valkey::start().await?;
    let mut plain = valkey.client().await?;
    let state = tempfile::tempdir()?;
    invalidate(state.path(), &valkey, 0, &[]).await?;
    let tool = redis_cli.map_or_else(|| "redis-cli".to_owned(), |path| path.display().to_string());
    let tool = format!("{tool} -p {} -a {} --no-auth-warning", valkey.port(), valkey.password());
    let (kubectl, tool) = match pod {
        Some(pod) => {
            let kubectl = pod.kubectl_command()?;
            let words = std::iter::once(kubectl.as_std().get_program()).chain(kubectl.as_std().get_args());
            let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
            (Some(kubectl), format!("{} exec idle -- {tool}", words.join(" ")))
        }
        None => (None, tool),
    };
    let script = format!(
        "set -e; test \"$({tool} --scan --pattern 'goes:*' | wc -l)\" = {FEW}
         {tool} --scan --pattern 'goes:*' | xargs -L 100 {tool} del > /dev/null"
    );
    let mut measured = Rounds::default();
    for _ in 0..rounds {
        fill(&mut plain, "goes:", FEW).await?;
        let watch = Watch::start();
        invalidate(state.path(), &valkey, FEW, &[]).await?;
        let ours = watch.stop();
        fill(&mut plain, "goes:", FEW).await?;
        let mut pipeline = tokio::process::Command::new("bash");
        pipeline.args(["-c", &script]).kill_on_drop(true);
        for (name, value) in kubectl.iter().flat_map(|kubectl| kubectl.as_std().get_envs()) {
            if let Some(value) = value {
                pipeline.env(name, value);
            }
        }
        let watch = Watch::start();
        ensure!(pipeline.status().await?.success(), "the pipeline failed; where is redis-cli? (--redis-cli)");
        let theirs = watch.stop();
        let left = plain.call(&["DBSIZE"]).await?.integer();
        ensure!(left == Some(0), "the pipeline left {left:?} keys");
        measured.push(ours, theirs);
    }
    let speeds = measured.speeds();
    let (name, each) = match pod {
        Some(_) => ("invalidate-kubectl", "`kubectl exec ... redis-cli`"),
        None => ("invalidate-runbook", "`redis-cli`, without kubectl"),
    };
    Ok(Figure::in_turn(
        About {
            name,
            what: "cache-invalidate of 100,000 keys as a process, with its sample and its second look".into(),
            against: format!("the runbook's script: count, then `--scan` into `xargs -L 100 ... del`, each {each}"),
            goal: "100x faster",
        },
        speeds,
        &measured,
        speeds.median >= 100.0,
        Vec::new(),
    ))
}

/// What the library does by itself: the limit.
async fn bare(client: &Client) -> anyhow::Result<u64> {
    let command = |name: &'static str| CustomCommand::new_static(name, ClusterHash::FirstKey, false);
    let mut cursor = "0".to_owned();
    let mut gone = 0;
    loop {
        let arguments = [cursor.as_str(), "MATCH", "goes:*", "COUNT", "1000"].map(Value::from).to_vec();
        let (next, keys): (String, Vec<Value>) = client.custom(command("SCAN"), arguments).await?;
        let pipeline = client.pipeline();
        for batch in keys.chunks(1_000) {
            let _: () = pipeline.custom(command("UNLINK"), batch.to_vec()).await?;
        }
        if !keys.is_empty() {
            let counts: Vec<u64> = pipeline.all().await?;
            gone += counts.iter().sum::<u64>();
        }
        if next == "0" {
            return Ok(gone);
        }
        cursor = next;
    }
}

/// Another client, which asks for a key each millisecond.
struct Probe {
    stop: tokio::sync::oneshot::Sender<()>,
    asking: tokio::task::JoinHandle<anyhow::Result<Vec<f64>>>,
}

impl Probe {
    fn start(mut client: RespClient) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let asking = tokio::spawn(async move {
            let mut took = Vec::new();
            while stopped.try_recv().is_err() {
                let began = Instant::now();
                client.call(&["GET", "stays:17"]).await?;
                took.push(began.elapsed().as_secs_f64());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(took)
        });
        Self { stop, asking }
    }

    /// The p99, seconds.
    async fn stop(self) -> anyhow::Result<f64> {
        let _ = self.stop.send(());
        let mut took = self.asking.await??;
        took.sort_by(f64::total_cmp);
        took.get(took.len() * 99 / 100).copied().context("nothing was asked")
    }
}
