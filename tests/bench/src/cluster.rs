//! A real API server: ten thousand pods listed into a guest against kube-rs in this process, and a gigabyte out of a pod against `kubectl exec`.

use crate::backup::memory;
use crate::figure::{About, Figure, Sides};
use crate::health::rota;
use crate::measure::{Rounds, Sample, Spread, Watch};
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rota_testbed::{Cluster, Namespace};
use rota_tests::{InProcess, probe};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// Pods that are listed.
const PODS: usize = 10_000;
/// Pods that are made at a time.
const AT_ONCE: usize = 32;
/// How many objects kube-rs is given at a time, as kubectl asks for.
const PAGE: u32 = 500;
/// How much comes out of a pod.
const SIZE: u64 = 1 << 30;

/// A client of the library alone.
async fn bare(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    // There may be one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Pods that are never scheduled.
async fn fill(client: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    futures::stream::iter(0..PODS)
        .map(|number| {
            let pods = &pods;
            async move {
                let pod = serde_json::from_value(json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": { "name": format!("pod-{number}"), "labels": { "app": "bench" } },
                    "spec": { "schedulingGates": [{ "name": "rota.dev/never" }], "automountServiceAccountToken": false,
                              "containers": [{ "name": "main", "image": "busybox:1" }] },
                }))?;
                pods.create(&PostParams::default(), &pod).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// All pages, decoded: how many pods.
async fn listed(client: &kube::Client, namespace: &str) -> anyhow::Result<usize> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (mut count, mut parameters) = (0, ListParams::default().limit(PAGE));
    loop {
        let page = pods.list(&parameters).await?;
        count += page.items.iter().filter(|pod| pod.metadata.name.is_some()).count();
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => parameters = parameters.continue_token(&next),
            None => return Ok(count),
        }
    }
}

fn calls(function: &str, arguments: Value) -> Value {
    json!({ "calls": [probe::call(&format!("kubernetes.cluster.{function}"), arguments)] })
}

/// `rota run` of the probe as a process: what it answered, what it took, and the most memory that it held.
async fn process(
    state: &Path,
    kubeconfig: &Path,
    access: &str,
    parameters: &Value,
) -> anyhow::Result<(Value, Sample, u64)> {
    let mut command = tokio::process::Command::from(rota(state)?);
    command.arg("run").arg(probe::path()).args(probe::arguments("calls", parameters));
    command.arg("--bind").arg(format!("cluster=kubernetes://{}", kubeconfig.display()));
    command
        .args(["--grant", access, "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let watch = Watch::start();
    let child = command.spawn()?;
    let id = child.id().context("it runs")?.to_string();
    let output = child.wait_with_output();
    tokio::pin!(output);
    let mut peak = 0;
    let output = loop {
        tokio::select! {
            output = &mut output => break output?,
            () = tokio::time::sleep(Duration::from_millis(5)) => peak = peak.max(memory(&id, "VmHWM").unwrap_or(0)),
        }
    };
    let took = watch.stop();
    let answer: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let ok = &answer["report"]["data"][0]["ok"];
    ensure!(!ok.is_null(), "{answer}");
    Ok((ok.clone(), took, peak))
}

/// Ten thousand pods into a guest.
pub(crate) async fn pods(cluster: &Cluster, rounds: usize) -> anyhow::Result<[Figure; 2]> {
    let (namespace, empty) = (cluster.namespace("bench-pods").await?, cluster.namespace("bench-none").await?);
    let kubeconfig = namespace.kubeconfig_for(cluster.token())?;
    let client = bare(&kubeconfig).await?;
    fill(&client, namespace.name()).await.context("making pods")?;
    let state = tempfile::tempdir()?;
    let compiled = state.path().join("compiled").display().to_string();
    let host = InProcess::open(&compiled).await?;
    let parameters = calls("list", json!({ "kind": "v1 Pod" }));
    let bind = [format!("cluster=kubernetes://{}", kubeconfig.display())];
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let watch = Watch::start();
        let view = host.run("calls", &parameters, &[], &bind).await?;
        let ours = watch.stop();
        let report = view.report.with_context(|| format!("{:?}", view.error))?;
        let data: Value = serde_json::from_str(&report.data)?;
        ensure!(data[0]["ok"]["count"] == PODS, "{data}");
        let watch = Watch::start();
        let count = listed(&client, namespace.name()).await?;
        let theirs = watch.stop();
        ensure!(count == PODS, "kube-rs counted {count}");
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let mut more = Vec::new();
    let (mut large, mut small) = (Vec::new(), Vec::new());
    let none = empty.kubeconfig_for(cluster.token())?;
    for round in 0..=rounds.min(3) {
        let (_, _, little) = process(state.path(), &none, "cluster=read", &parameters).await?;
        let (answer, _, much) = process(state.path(), &kubeconfig, "cluster=read", &parameters).await?;
        ensure!(answer["count"] == PODS, "{answer}");
        if round > 0 {
            more.push((much as f64 - little as f64) / f64::from(1 << 20));
            large.push(much as f64);
            small.push(little as f64);
        }
    }
    let times = measured.times();
    let rate = |seconds: f64| PODS as f64 / seconds / 1e3;
    let more = Spread::of(more);
    let [large, small] = [large, small].map(|bytes| Spread::of(bytes.into_iter().map(|b| b / f64::from(1 << 20))));
    let peak = format!(
        "{:.0} MiB more ({:.0} to {:.0}): {:.0} against {:.0}",
        more.median, more.min, more.max, large.median, small.median
    );
    Ok([
        Figure::in_turn(
            About {
                name: "pods",
                what: "10,000 pods listed into a guest, which reads each as JSON".into(),
                against: "kube-rs in process, pages of 500, each decoded into a Pod".into(),
                goal: "<= 2x time",
            },
            times,
            &measured,
            times.median <= 2.0,
            vec![format!(
                "{:.1} thousand pods a second against {:.1}; by CPU time of this process {:.2}x",
                rate(measured.our_wall().median),
                rate(measured.their_wall().median),
                measured.cpu_times().median
            )],
        ),
        Figure {
            name: "pods-memory",
            what: "the same as a process: the most memory of the host".into(),
            against: "the list of no pods".into(),
            goal: "< 64 MiB more",
            value: more,
            unit: "MiB",
            sides: Sides::Mebibytes,
            ours: large,
            theirs: Some(small),
            shown: Some(peak),
            met: more.max < 64.0,
            notes: Vec::new(),
        },
    ])
}

/// A gigabyte out of a pod.
pub(crate) async fn exec(cluster: &Cluster, rounds: usize) -> anyhow::Result<Figure> {
    let namespace = cluster.namespace("bench-exec").await?;
    let kubeconfig = namespace.kubeconfig_for(cluster.token())?;
    let folder = tempfile::tempdir()?;
    let (file, hash) = random(folder.path())?;
    let file = file.display().to_string();
    idle(&namespace).await?;
    let state = tempfile::tempdir()?;
    let parameters = |verified: bool| {
        calls("exec", json!({ "pod": "idle", "words": ["cat", &file], "hash": true, "verified": verified }))
    };
    let mut measured = Rounds::default();
    let mut verified = Vec::new();
    for round in 0..=rounds.min(5) {
        let (plain, safe) = (parameters(false), parameters(true));
        let (answer, ours, _) = process(state.path(), &kubeconfig, "cluster=exec", &plain).await?;
        ensure!(answer["sha256"] == *hash && answer["length"] == SIZE, "{answer} instead of {hash}");
        let watch = Watch::start();
        let theirs_hash = kubectl(&namespace, &file).await?;
        let theirs = watch.stop();
        ensure!(theirs_hash == hash, "kubectl brought {theirs_hash} instead of {hash}");
        let (answer, safe, _) = process(state.path(), &kubeconfig, "cluster=exec", &safe).await?;
        ensure!(answer["sha256"] == *hash && answer["length"] == SIZE, "{answer} instead of {hash}");
        if round > 0 {
            measured.push(ours, theirs);
            verified.push(theirs.wall / safe.wall);
        }
    }
    let speeds = measured.speeds();
    let verified = Spread::of(verified);
    Ok(Figure::in_turn(
        About {
            name: "exec",
            what: "1 GiB of random bytes out of a pod by `exec`, hashed by the host, as a process".into(),
            against: "`kubectl exec`, its output hashed by a program that reads it".into(),
            goal: ">= 1x speed, hash right",
        },
        speeds,
        &measured,
        speeds.median >= 1.0,
        vec![
            "every hash was that of the file, on both sides".into(),
            format!(
                "with `verified`, where the container hashes it, too: {:.2}x ({:.2}x to {:.2}x)",
                verified.median, verified.min, verified.max
            ),
        ],
    ))
}

/// A file that pods can read, and its hash.
fn random(folder: &Path) -> anyhow::Result<(PathBuf, String)> {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let path = folder.join("random");
    let (mut source, mut file) = (std::fs::File::open("/dev/urandom")?, std::fs::File::create(&path)?);
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        source.read_exact(&mut piece)?;
        hash.update(&piece);
        file.write_all(&piece)?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    Ok((path, hex::encode(hash.finalize())))
}

/// A namespace with the idle pod.
pub(crate) async fn pod(cluster: &Cluster) -> anyhow::Result<Namespace> {
    let namespace = cluster.namespace("bench-pod").await?;
    idle(&namespace).await?;
    Ok(namespace)
}

async fn idle(namespace: &Namespace) -> anyhow::Result<()> {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "idle" },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [
            { "name": "main", "image": "busybox:1", "command": ["sh", "-c", "exec sleep 3600"] }] },
    });
    namespace.apply(&manifest.to_string()).await?;
    namespace.kubectl(["wait", "pod/idle", "--for=condition=Ready", "--timeout=50s"]).await?;
    Ok(())
}

/// The hash of what `kubectl exec` brings.
async fn kubectl(namespace: &Namespace, file: &str) -> anyhow::Result<String> {
    let mut command = namespace.kubectl_command()?;
    command.args(["exec", "idle", "--", "cat", file]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdout = child.stdout.take().context("its output is piped")?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match stdout.read(&mut piece).await? {
            0 => break,
            length => hash.update(&piece[..length]),
        }
    }
    ensure!(child.wait().await?.success(), "kubectl exec failed");
    Ok(hex::encode(hash.finalize()))
}
