//! The imports of `kubernetes`, called as a test asks.

use crate::bindings::rota::runbook::kubernetes::{
    Cluster, Command, Condition, DeleteOptions, Job, Kind, LogOptions, Need, Object, PatchKind, Propagation,
    SecretVariable, Selection,
};
use crate::bindings::rota::runbook::process::{Child, ExitStatus};
use crate::bindings::rota::runbook::{bytes, run};
use crate::calls::{answer, said, stream_of, text};
use serde_json::{Value, json};

fn word(call: &Value, key: &str) -> Option<String> {
    call[key].as_str().map(str::to_owned)
}

fn kind(call: &Value) -> Kind {
    let (api_version, name) = text(call, "kind").rsplit_once(' ').unwrap_or(("v1", "ConfigMap"));
    Kind { api_version: api_version.into(), name: name.into() }
}

fn object(call: &Value) -> Object {
    Object { kind: kind(call), namespace: word(call, "namespace"), name: text(call, "name").into() }
}

fn selection(call: &Value) -> Selection {
    Selection {
        namespace: word(call, "namespace"),
        all_namespaces: call["all"].as_bool().unwrap_or(false),
        labels: word(call, "labels"),
        fields: word(call, "fields"),
    }
}

fn number(call: &Value, key: &str) -> Option<u32> {
    call[key].as_u64().and_then(|number| u32::try_from(number).ok())
}

/// A document, given as JSON or as the text itself.
fn document(call: &Value, key: &str) -> String {
    call[key].as_str().map_or_else(|| call[key].to_string(), str::to_owned)
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn words(call: &Value) -> Vec<String> {
    call["words"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn patch_kind(word: &str) -> PatchKind {
    match word {
        "strategic" => PatchKind::Strategic,
        "apply" => PatchKind::Apply,
        "force-apply" => PatchKind::ForceApply,
        "json" => PatchKind::Json,
        _ => PatchKind::Merge,
    }
}

fn condition(call: &Value) -> Condition {
    match text(call, "until") {
        "gone" => Condition::Gone,
        "rolled-out" => Condition::RolledOut,
        "status" => Condition::Status((text(call, "condition").into(), "True".into())),
        "field" => Condition::Field((text(call, "field").into(), call["value"].to_string())),
        _ => Condition::Exists,
    }
}

async fn ended(child: Child, call: &Value) -> Value {
    let stdout = match child.stdout() {
        Ok(stdout) => stdout,
        Err(error) => return said(&error),
    };
    let mut stdout = stdout;
    let (mut length, mut kept) = (0, Vec::new());
    let keep = usize::try_from(call["keep"].as_u64().unwrap_or(100_000)).unwrap_or(0);
    loop {
        let (result, chunk) = stdout.read(Vec::with_capacity(64 * 1024)).await;
        length += chunk.len();
        kept.extend(chunk.into_iter().take(keep.saturating_sub(kept.len())));
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    answer(child.wait().await, |ended| {
        let status = match ended.status {
            ExitStatus::Code(code) => json!(code),
            ExitStatus::Signal(signal) => json!({ "signal": signal }),
            ExitStatus::Planned => json!("planned"),
        };
        json!({ "status": status, "length": length, "stdout": String::from_utf8_lossy(&kept), "stderr": ended.stderr })
    })
}

/// What a command writes, hashed in the host: it never enters the guest.
async fn hashed(child: Child) -> Value {
    let stdout = match child.stdout() {
        Ok(stdout) => stdout,
        Err(error) => return said(&error),
    };
    let (data, end) = bytes::tee_sha256(stdout);
    if let Err(error) = bytes::drain(data).await {
        return said(&error);
    }
    answer(end.await, |passed| json!({ "length": passed.bytes_in, "sha256": passed.sha256 }))
}

pub(crate) async fn call(import: &str, call: &Value) -> Value {
    let cluster = match Cluster::open(call["slot"].as_str().unwrap_or("cluster").to_owned()).await {
        Ok(cluster) => cluster,
        Err(error) => return said(&error),
    };
    match import.rsplit('.').next().unwrap_or_default() {
        "open" => json!({ "ok": null }),
        "namespace" => json!({ "ok": cluster.namespace() }),
        "version" => answer(cluster.version().await, |version| json!(version)),
        "require" => {
            let need = Need {
                verb: text(call, "verb").into(),
                kind: kind(call),
                subresource: word(call, "subresource"),
                namespace: word(call, "namespace"),
                name: word(call, "name"),
            };
            answer(cluster.require(vec![need]).await, |()| json!(null))
        }
        "get" => answer(cluster.get(object(call)).await, |object| parsed(&object)),
        "list" => list(&cluster, call).await,
        "watch" => watch(&cluster, call).await,
        "events" => answer(cluster.events(object(call)).await, |events| {
            events.iter().map(|event| format!("{} {} {}", event.level, event.reason, event.message)).collect()
        }),
        "create" => answer(cluster.create(document(call, "object")).await, |object| parsed(&object)),
        "patch" => {
            let patched = cluster.patch(object(call), patch_kind(text(call, "patch-kind")), document(call, "patch"));
            answer(patched.await, |object| parsed(&object))
        }
        "delete" => {
            let options = DeleteOptions {
                uid: word(call, "uid"),
                resource_version: word(call, "version"),
                grace_seconds: number(call, "grace"),
                propagation: Propagation::Background,
            };
            answer(cluster.delete(object(call), options).await, |()| json!(null))
        }
        "get-scale" => answer(cluster.get_scale(object(call)).await, |scale| json!([scale.wanted, scale.current])),
        "set-scale" => {
            let scaled =
                cluster.set_scale(object(call), number(call, "replicas").unwrap_or(1), number(call, "expected"));
            answer(scaled.await, |before| json!(before))
        }
        "restart" => answer(cluster.restart(object(call)).await, |()| json!(null)),
        "rollout-status" => answer(
            cluster.rollout_status(object(call)).await,
            |rollout| json!({ "complete": rollout.complete, "wanted": rollout.wanted, "note": rollout.note }),
        ),
        "wait-for" => {
            let seconds = number(call, "seconds").unwrap_or(30);
            answer(cluster.wait_for(object(call), condition(call), seconds).await, |object| parsed(&object))
        }
        "logs" => logs(&cluster, call).await,
        "exec" => {
            let command = Command {
                namespace: word(call, "namespace"),
                pod: text(call, "pod").into(),
                container: word(call, "container"),
                words: words(call),
                verified: call["verified"].as_bool().unwrap_or(false),
            };
            let stdin = match call["zeros"].as_u64() {
                Some(zeros) => Some(stream_of(vec![0; usize::try_from(zeros).unwrap_or(0)])),
                None => call["stdin"].as_str().map(|data| stream_of(data.as_bytes().to_vec())),
            };
            match cluster.exec(command, stdin).await {
                Ok(child) if call["kill"].as_bool() == Some(true) => answer(child.kill().await, |()| json!(null)),
                Ok(child) if call["hash"].as_bool() == Some(true) => hashed(child).await,
                Ok(child) => ended(child, call).await,
                Err(error) => said(&error),
            }
        }
        "run-job" => match cluster.run_job(job(call)).await {
            Ok(child) if call["kill"].as_bool() == Some(true) => answer(child.kill().await, |()| json!(null)),
            Ok(child) => ended(child, call).await,
            Err(error) => said(&error),
        },
        _ => lock(&cluster, import, call).await,
    }
}

async fn list(cluster: &Cluster, call: &Value) -> Value {
    match cluster.list(kind(call), selection(call)).await {
        Ok((mut objects, end)) => {
            let (mut names, mut first) = (Vec::new(), Value::Null);
            while let Some(object) = objects.next().await {
                let object = parsed(&object);
                names.push(object["metadata"]["name"].clone());
                if first.is_null() {
                    first = object;
                }
            }
            let distinct = names.iter().filter_map(Value::as_str).collect::<std::collections::HashSet<_>>().len();
            names.truncate(20);
            answer(
                end.await,
                |listed| json!({ "count": listed.count, "distinct": distinct, "version": listed.resource_version, "names": names, "first": first }),
            )
        }
        Err(error) => said(&error),
    }
}

async fn watch(cluster: &Cluster, call: &Value) -> Value {
    let seconds = number(call, "seconds").unwrap_or(1);
    match cluster.watch(kind(call), selection(call), word(call, "from"), seconds).await {
        Ok((mut changes, end)) => {
            let mut seen = Vec::new();
            while let Some(one) = changes.next().await {
                let object = parsed(&one.object);
                seen.push(json!([format!("{:?}", one.change), object["metadata"]["name"], object["data"]]));
            }
            answer(end.await, |version| json!({ "version": version, "seen": seen }))
        }
        Err(error) => said(&error),
    }
}

async fn logs(cluster: &Cluster, call: &Value) -> Value {
    let options = LogOptions {
        container: word(call, "container"),
        follow: call["follow"].as_bool().unwrap_or(false),
        previous: false,
        tail_lines: call["tail"].as_u64(),
        since_seconds: None,
        timestamps: false,
    };
    match cluster.logs(text(call, "pod").into(), word(call, "namespace"), options).await {
        Ok((stream, end)) => {
            let data = crate::calls::read_all(stream).await;
            answer(end.await, |bytes| json!({ "bytes": bytes, "text": String::from_utf8_lossy(&data) }))
        }
        Err(error) => said(&error),
    }
}

fn job(call: &Value) -> Job {
    let secret = call["secret"].as_str().and_then(|secret| secret.split_once('/'));
    Job {
        namespace: word(call, "namespace"),
        name: "probe".into(),
        image: text(call, "image").into(),
        words: words(call),
        variables: vec![("PLAIN".into(), "plain".into())],
        secret_variables: secret
            .map(|(secret, key)| SecretVariable { name: "SECRET".into(), secret: secret.into(), key: key.into() })
            .into_iter()
            .collect(),
        service_account: None,
        deadline_seconds: number(call, "seconds").unwrap_or(60),
        memory: None,
        cpu: None,
    }
}

async fn lock(cluster: &Cluster, import: &str, call: &Value) -> Value {
    let seconds = number(call, "seconds").unwrap_or(30);
    let lock = match cluster.lock(text(call, "name").into(), word(call, "namespace"), seconds).await {
        Ok(lock) => lock,
        Err(error) => return said(&error),
    };
    if let Some(held) = call["hold"].as_u64()
        && let Err(error) = run::sleep(held).await
    {
        return said(&error);
    }
    match import {
        "kubernetes.cluster.lock" => json!({ "ok": null }),
        "kubernetes.lock.check" => answer(lock.check().await, |()| json!(null)),
        "kubernetes.lock.release" => answer(lock.release().await, |()| json!(null)),
        _ => json!({ "error": "no such import", "text": import }),
    }
}
