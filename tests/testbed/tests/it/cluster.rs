//! The testbed's Kubernetes: what a test may count on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use rota_testbed::{Cluster, ClusterAccess, Namespace, eventually};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

const DEADLINE: Duration = Duration::from_secs(60);

async fn namespace(name: &str) -> Namespace {
    Cluster::shared().await.unwrap().namespace(name).await.unwrap()
}

/// A pod of one container that runs a script.
fn pod(name: &str, script: &str, more: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}", "labels": {{"app": "{name}"}}}},
            "spec": {{"terminationGracePeriodSeconds": 2, {more} "restartPolicy": "Never",
              "containers": [{{"name": "main", "image": "busybox:1", "command": ["sh", "-c", {script}]}}]}}}}"#,
        script = serde_json::to_string(script).unwrap()
    )
}

async fn wait(namespace: &Namespace, what: &str, condition: &str) {
    namespace.kubectl(["wait", what, &format!("--for={condition}"), "--timeout=50s"]).await.unwrap();
}

/// `kubectl exec` with something on its standard input: status, output, error.
async fn exec(namespace: &Namespace, pod: &str, words: &[&str], input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut command = namespace.kubectl_command().unwrap();
    command.args(["exec", "--stdin", pod, "--"]).args(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async {
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let (output, ()) = tokio::time::timeout(DEADLINE, async { tokio::join!(child.wait_with_output(), feed) })
        .await
        .expect("the exec does not end");
    let output = output.unwrap();
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_pod_runs_a_process_with_its_environment_and_its_end_is_told() {
    let namespace = namespace("pods").await;
    namespace.kubectl(["create", "secret", "generic", "login", "--from-literal=password=pa55"]).await.unwrap();
    namespace
        .apply(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "works"}, "spec": {"restartPolicy": "Never",
                "initContainers": [{"name": "first", "image": "busybox:1", "command": ["sh", "-c", "echo first"]}],
                "containers": [{"name": "main", "image": "busybox:1",
                  "command": ["sh", "-c", "echo out $PASSWORD $POD; echo err >&2"],
                  "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
                          {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}}"#,
        )
        .await
        .unwrap();
    wait(&namespace, "pod/works", "jsonpath={.status.phase}=Succeeded").await;
    let log = namespace.kubectl(["logs", "works"]).await.unwrap();
    assert!(log.contains("out pa55 works\n") && log.contains("err\n"), "{log}");
    assert_eq!(namespace.kubectl(["logs", "works", "-c", "first"]).await.unwrap(), "first\n");

    namespace.apply(&pod("fails", "exit 7", "")).await.unwrap();
    wait(&namespace, "pod/fails", "jsonpath={.status.phase}=Failed").await;
    let status = namespace.get("pod", "fails").await.unwrap();
    assert_eq!(status["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
    namespace.kubectl(["run", "nowhere", "--image=registry.invalid/none:1", "--restart=Never"]).await.unwrap();
    wait(&namespace, "pod/nowhere", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff")
        .await;
}

#[tokio::test]
async fn logs_can_be_followed_cut_and_stamped() {
    let namespace = namespace("logs").await;
    namespace.apply(&pod("talks", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done", "")).await.unwrap();
    wait(&namespace, "pod/talks", "jsonpath={.status.containerStatuses[0].state.running}").await;
    let followed = namespace.kubectl(["logs", "--follow", "talks"]).await.unwrap();
    assert_eq!(followed, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(namespace.kubectl(["logs", "--tail=2", "talks"]).await.unwrap(), "line 4\nline 5\n");
    let stamped = namespace.kubectl(["logs", "--tail=1", "--timestamps", "talks"]).await.unwrap();
    assert!(stamped.starts_with("20") && stamped.ends_with("Z line 5\n"), "{stamped}");
}

#[tokio::test]
async fn exec_gives_the_commands_status_and_ends_its_input() {
    let namespace = namespace("exec").await;
    namespace.apply(&pod("idle", "exec sleep 600", "")).await.unwrap();
    wait(&namespace, "pod/idle", "condition=Ready").await;
    for code in [0, 1, 42, 255] {
        let (status, ..) = exec(&namespace, "idle", &["sh", "-c", &format!("exit {code}")], b"").await;
        assert_eq!(status, Some(code));
    }
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (status, output, _) = exec(&namespace, "idle", &["cat"], &input).await;
    assert_eq!((status, output == input), (Some(0), true));
    let (status, output, error) = exec(&namespace, "idle", &["sh", "-c", "wc -c; echo no >&2; exit 3"], &input).await;
    assert_eq!((status, output.as_slice()), (Some(3), &b"3000000\n"[..]), "{error}");
    assert!(error.starts_with("no\n"), "{error}");
    let (status, output, _) = exec(&namespace, "idle", &["head", "-c", "20000000", "/dev/zero"], b"").await;
    assert_eq!((status, output.len()), (Some(0), 20_000_000));
    let (status, _, error) = exec(&namespace, "idle", &["no-such-program"], b"").await;
    assert!(status != Some(0) && error.contains("no-such-program"), "{status:?} {error}");
}

fn job(name: &str, script: &str) -> String {
    format!(
        r#"{{"apiVersion": "batch/v1", "kind": "Job", "metadata": {{"name": "{name}"}}, "spec": {{"backoffLimit": 0,
            "template": {{"spec": {{"restartPolicy": "Never", "containers":
              [{{"name": "main", "image": "busybox:1", "command": ["sh", "-c", {script}]}}]}}}}}}}}"#,
        script = serde_json::to_string(script).unwrap()
    )
}

#[tokio::test]
async fn jobs_complete_fail_and_run_out_of_time() {
    let namespace = namespace("jobs").await;
    let slow =
        job("slow", "sleep 600").replace("\"backoffLimit\": 0", "\"backoffLimit\": 0, \"activeDeadlineSeconds\": 1");
    for manifest in [job("good", "echo done"), job("bad", "exit 3"), slow] {
        namespace.apply(&manifest).await.unwrap();
    }
    wait(&namespace, "job/good", "condition=Complete").await;
    wait(&namespace, "job/bad", "condition=Failed").await;
    wait(&namespace, "job/slow", "condition=Failed").await;
    assert_eq!(namespace.kubectl(["logs", "job/good"]).await.unwrap(), "done\n");
    let slow = namespace.get("job", "slow").await.unwrap();
    assert!(slow["status"]["conditions"].to_string().contains("DeadlineExceeded"), "{slow}");
}

fn deployment(replicas: u32, version: &str) -> String {
    format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "web"}}, "spec": {{"replicas": {replicas},
            "selector": {{"matchLabels": {{"app": "web"}}}}, "template": {{"metadata": {{"labels": {{"app": "web"}}}},
              "spec": {{"terminationGracePeriodSeconds": 1, "containers": [{{"name": "main", "image": "busybox:1",
                "command": ["sh", "-c", "exec sleep 600"], "env": [{{"name": "VERSION", "value": "{version}"}}]}}]}}}}}}}}"#
    )
}

async fn pods(namespace: &Namespace) -> Vec<Value> {
    let list = namespace.kubectl(["get", "pods", "--selector=app=web", "--output=json"]).await.unwrap();
    serde_json::from_str::<Value>(&list).unwrap()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn deployments_roll_and_scale_and_services_have_their_endpoints() {
    let namespace = namespace("rolls").await;
    namespace.apply(&deployment(2, "one")).await.unwrap();
    namespace.kubectl(["expose", "deployment/web", "--port=80", "--target-port=8080"]).await.unwrap();
    namespace.kubectl(["rollout", "status", "deployment/web", "--timeout=50s"]).await.unwrap();
    let before: Vec<String> = pods(&namespace).await.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect();
    assert_eq!(before.len(), 2);
    let addresses = async || {
        let slices = namespace.kubectl(["get", "endpointslices", "--output=json"]).await?;
        let slices: Value = serde_json::from_str(&slices)?;
        let endpoints = slices["items"][0]["endpoints"].as_array().cloned().unwrap_or_default();
        anyhow::Ok(
            endpoints.iter().map(|one| one["addresses"][0].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>(),
        )
    };
    let two = async || Ok(Some(addresses().await?).filter(|list| list.len() == 2));
    let found = eventually(DEADLINE, "two endpoints", two).await.unwrap();
    assert!(found.iter().all(|address| address.starts_with("198.1")), "{found:?}");

    namespace.apply(&deployment(2, "two")).await.unwrap();
    namespace.kubectl(["rollout", "status", "deployment/web", "--timeout=50s"]).await.unwrap();
    eventually(DEADLINE, "only new pods", async || {
        let now = pods(&namespace).await;
        let new = now.iter().all(|pod| !before.contains(&pod["metadata"]["uid"].to_string()));
        Ok((now.len() == 2 && new).then_some(()))
    })
    .await
    .unwrap();
    namespace.kubectl(["scale", "deployment/web", "--replicas=0"]).await.unwrap();
    eventually(DEADLINE, "no pods", async || Ok(pods(&namespace).await.is_empty().then_some(()))).await.unwrap();
    eventually(DEADLINE, "no endpoints", async || Ok(addresses().await?.is_empty().then_some(()))).await.unwrap();
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says() {
    let namespace = namespace("rbac").await;
    let token = namespace.service_account("reader").await.unwrap();
    namespace.allow("reader", &["get", "list"], &["pods"]).await.unwrap();
    let kubeconfig = namespace.kubeconfig_for(&token).unwrap();
    let reader = async |arguments: &[&str]| {
        let mut command = namespace.kubectl_command().unwrap();
        command.env("KUBECONFIG", &kubeconfig).args(arguments);
        let output = command.output().await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    eventually(DEADLINE, "the role", async || Ok(reader(&["get", "pods"]).await.0.then_some(()))).await.unwrap();
    for denied in [&["get", "secrets"][..], &["delete", "pod", "x"], &["get", "pods", "--namespace=kube-system"]] {
        let (done, said) = reader(denied).await;
        assert!(!done && said.contains("Forbidden"), "{denied:?}: {said}");
    }
}

#[tokio::test]
async fn a_deleted_pod_has_its_time_to_end_and_no_more() {
    let namespace = namespace("graceful").await;
    let polite = "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    namespace.apply(&pod("polite", polite, "")).await.unwrap();
    namespace.apply(&pod("stubborn", stubborn, "")).await.unwrap();
    for name in ["polite", "stubborn"] {
        eventually(DEADLINE, "its trap", async || {
            Ok(namespace.kubectl(["logs", name]).await?.contains("ready").then_some(()))
        })
        .await
        .unwrap();
    }
    let start = Instant::now();
    namespace.kubectl(["delete", "pod", "stubborn"]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "it had {:?}", start.elapsed());
    let mut follow = namespace.kubectl_command().unwrap();
    let mut follow = follow.args(["logs", "--follow", "polite"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    // It follows before the pod is asked to end: a pod that is gone has no log.
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    namespace.kubectl(["delete", "pod", "polite"]).await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("asked"));
    follow.wait().await.unwrap();
}

#[tokio::test]
async fn a_pod_of_postgres_is_one_and_its_port_can_be_forwarded() {
    let namespace = namespace("postgres").await;
    namespace
        .apply(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db"}, "spec": {"terminationGracePeriodSeconds": 5,
                "containers": [{"name": "main", "image": "postgres:16",
                  "env": [{"name": "POSTGRES_PASSWORD", "value": "pa55"}]}]}}"#,
        )
        .await
        .unwrap();
    eventually(DEADLINE, "a server that listens", async || {
        Ok(namespace.kubectl(["logs", "db"]).await?.contains("ready to accept connections").then_some(()))
    })
    .await
    .unwrap();
    let mut forward = namespace.kubectl_command().unwrap();
    forward.args(["port-forward", "pod/db", ":5432", "--address=127.0.0.1"]).stdout(Stdio::piped());
    let mut forward = forward.spawn().unwrap();
    let mut said = vec![0; 200];
    let read = forward.stdout.as_mut().unwrap().read(&mut said).await.unwrap();
    let said = String::from_utf8_lossy(&said[..read]).into_owned();
    let port: u16 = said.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let url = format!("postgres://postgres:pa55@127.0.0.1:{port}/postgres");
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let number: i32 = sqlx::query_scalar("select 41 + 1").fetch_one(&mut connection).await.unwrap();
    assert_eq!(number, 42);
}

/// Not the shared one: it is broken.
#[tokio::test]
async fn the_api_server_can_be_paused_killed_and_started_again_and_pods_run_on() {
    let mut cluster = Cluster::start().await.unwrap();
    let access: ClusterAccess = (*cluster).clone();
    let namespace = access.namespace("broken").await.unwrap();
    // Kubernetes makes `$$` one dollar.
    namespace.apply(&pod("idle", "echo $$$$; exec sleep 600", "")).await.unwrap();
    wait(&namespace, "pod/idle", "condition=Ready").await;
    let pid = eventually(DEADLINE, "its number", async || {
        Ok(Some(namespace.kubectl(["logs", "idle"]).await?.trim().to_owned()).filter(|pid| !pid.is_empty()))
    })
    .await
    .unwrap();
    cluster.pause_api().unwrap();
    namespace.kubectl(["get", "pods", "--request-timeout=1s"]).await.unwrap_err();
    cluster.resume_api().unwrap();
    namespace.kubectl(["get", "pods"]).await.unwrap();
    cluster.kill_api();
    namespace.kubectl(["get", "pods", "--request-timeout=1s"]).await.unwrap_err();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} ended with the API server");
    cluster.restart_api().await.unwrap();
    let idle = namespace.get("pod", "idle").await.unwrap();
    assert_eq!(idle["status"]["containerStatuses"][0]["restartCount"], 0);
    let folder = access.folder().to_owned();
    drop(namespace);
    drop(cluster);
    assert!(!folder.exists());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "a pod's process outlives the cluster");
}
