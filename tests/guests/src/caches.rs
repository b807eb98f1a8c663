//! The imports of `cache`.

use crate::bindings::rota::runbook::cache::{Lifetime, Pattern, Session, SetCondition, UnlinkOptions, UnlinkProgress};
use crate::calls::{answer, said, slot, text};
use serde_json::{Value, json};
use wit_bindgen::StreamReader;

fn bytes(call: &Value, key: &str, default: &str) -> Vec<u8> {
    call[key].as_str().unwrap_or(default).as_bytes().to_vec()
}

fn pattern(call: &Value) -> Pattern {
    match call["glob"].as_str() {
        Some(glob) => Pattern::Glob(glob.as_bytes().to_vec()),
        None => Pattern::Prefix(bytes(call, "prefix", "probe:")),
    }
}

async fn drained<T>(mut stream: StreamReader<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        all.push(item);
    }
    all
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn progress(done: &UnlinkProgress) -> Value {
    json!({ "matched": done.matched, "protected": done.protected, "unlinked": done.unlinked })
}

pub(crate) async fn call(import: &str, call: &Value) -> Value {
    let session = match Session::open(slot(call, "cache")).await {
        Ok(session) => session,
        Err(error) => return said(&error),
    };
    let key = bytes(call, "key", "probe:there");
    let field = bytes(call, "field", "f");
    let value = bytes(call, "value", "x");
    match import {
        "cache.session.open" => json!({ "ok": null }),
        "cache.session.ping" => answer(session.ping().await, |pongs| json!(pongs.len())),
        "cache.session.info" => answer(session.info().await, |nodes| json!(nodes[0].server.product)),
        "cache.session.keyspace" => answer(session.keyspace().await, |databases| json!(databases.len())),
        "cache.session.slowlog" => answer(session.slowlog(10).await, |slow| json!(slow.len())),
        "cache.session.memory-usage" => answer(session.memory_usage(vec![key]).await, |usage| {
            json!(usage[0].as_ref().map(|usage| usage.kind.clone()))
        }),
        "cache.session.scan" => match session.scan(pattern(call)).await {
            Ok((keys, end)) => {
                let keys: Vec<String> = drained(keys).await.iter().map(|key| shown(key)).collect();
                answer(end.await, |count| json!({ "count": count, "keys": keys }))
            }
            Err(error) => said(&error),
        },
        "cache.session.unlink-matching" => {
            let options = UnlinkOptions {
                pattern: pattern(call),
                maximum_keys: call["maximum"].as_u64().unwrap_or(100),
                minimum_literal: 1,
                protected: vec![],
                expected: call["expected"].as_u64(),
                drift_percent: 0,
                batch: 100,
                keys_per_second: call["rate"].as_u64().and_then(|rate| u32::try_from(rate).ok()),
                drain_above: None,
            };
            match session.unlink_matching(options).await {
                Ok((reports, end)) => {
                    drop(reports);
                    answer(end.await, |done| progress(&done))
                }
                Err(error) => said(&error),
            }
        }
        "cache.session.unlink" => answer(session.unlink(vec![key]).await, |count| json!(count)),
        "cache.session.monitor" => match session.monitor(1, 10).await {
            Ok((commands, end)) => {
                let seen: Vec<String> = drained(commands).await.into_iter().map(|seen| seen.command.name).collect();
                answer(end.await, |count| json!({ "count": count, "seen": seen }))
            }
            Err(error) => said(&error),
        },
        "cache.session.get" => answer(session.get(key).await, |value| json!(value.map(|value| shown(&value)))),
        "cache.session.set" => {
            let condition = match text(call, "condition") {
                "if-absent" => SetCondition::IfAbsent,
                "if-present" => SetCondition::IfPresent,
                _ => SetCondition::Always,
            };
            answer(session.set(key, value, call["lifetime"].as_u64(), condition).await, |set| json!(set))
        }
        "cache.session.ttl" => answer(session.ttl(key).await, |lifetime| match lifetime {
            Lifetime::Missing => json!("missing"),
            Lifetime::Unlimited => json!("unlimited"),
            Lifetime::ExpiresIn(left) => json!(left),
        }),
        "cache.session.expire" => {
            answer(session.expire(key, call["lifetime"].as_u64()).await, |changed| json!(changed))
        }
        "cache.session.hash-get" => {
            answer(session.hash_get(key, field).await, |value| json!(value.map(|value| shown(&value))))
        }
        "cache.session.hash-entries" => answer(session.hash_entries(key).await, |entries| json!(entries.len())),
        "cache.session.hash-set" => answer(session.hash_set(key, vec![(field, value)]).await, |new| json!(new)),
        "cache.session.hash-delete" => answer(session.hash_delete(key, vec![field]).await, |gone| json!(gone)),
        _ => json!({ "error": "no such import", "text": import }),
    }
}
