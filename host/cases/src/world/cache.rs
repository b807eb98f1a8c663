//! `cache`: keys in memory. What needs a server (its own facts, its slow commands) has the ordinary, or is answered by the case.

use super::ask::{Ask, Refused, bytes_of};
use super::reply::Reply;
use super::{Held, World};
use rota_authority::{Authorized, Cache, CacheAccess, Effect, EffectClass, Exact};
use rota_capability::{RunContext, denied};
use rota_capability_cache::wit::{self, UnlinkOptions};
use rota_capability_cache::{LONGEST, MOST_COMMANDS, MOST_KEYS, MOST_SECONDS, Matching, Pattern, shown};
use rota_contract::Error;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a key holds.
#[derive(Clone, Debug)]
enum Content {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    /// A collection of which only the size is known.
    Collection {
        kind: String,
        length: u64,
    },
}

#[derive(Clone, Debug)]
struct Key {
    content: Content,
    /// Milliseconds.
    expires_in: Option<u64>,
    bytes: Option<u64>,
}

impl Key {
    fn kind(&self) -> &str {
        match &self.content {
            Content::Text(_) => "string",
            Content::Hash(_) => "hash",
            Content::Collection { kind, .. } => kind,
        }
    }

    fn length(&self) -> u64 {
        match &self.content {
            Content::Text(text) => text.len() as u64,
            Content::Hash(fields) => fields.len() as u64,
            Content::Collection { length, .. } => *length,
        }
    }
}

/// The keys of a cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(BTreeMap<Vec<u8>, Key>);

impl Keys {
    /// As a case writes them: a text, or `{ text, hash, kind, length, bytes, expires_in }`.
    pub(super) fn of(written: Option<&Map<String, Value>>) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        for (name, value) in written.into_iter().flatten() {
            let key = key(value).map_err(|why| format!("the key `{name}`: {why}"))?;
            keys.insert(name.clone().into_bytes(), key);
        }
        Ok(Self(keys))
    }

    /// What is there, for what is expected of it.
    pub(super) fn shown(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let one = |key: &Key| match &key.content {
            Content::Text(value) => Value::String(text(value)),
            Content::Hash(fields) => {
                Value::Object(fields.iter().map(|(field, value)| (text(field), Value::String(text(value)))).collect())
            }
            Content::Collection { kind, length } => json!({ "kind": kind, "length": length }),
        };
        let keys: Map<String, Value> = self.0.iter().map(|(name, key)| (text(name), one(key))).collect();
        json!({ "keys": keys })
    }
}

fn key(value: &Value) -> Result<Key, String> {
    let map = match value {
        Value::String(text) => {
            return Ok(Key { content: Content::Text(text.clone().into_bytes()), expires_in: None, bytes: None });
        }
        Value::Object(map) => map,
        other => return Err(format!("`{other}` is neither a text nor a table")),
    };
    const WORDS: [&str; 6] = ["text", "hash", "kind", "length", "bytes", "expires_in"];
    if let Some(unknown) = map.keys().find(|key| !WORDS.contains(&key.as_str())) {
        return Err(format!("`{unknown}` is not a key here ({})", crate::format::advice(unknown, &WORDS)));
    }
    let content = match (map.get("text"), map.get("hash"), map.get("kind")) {
        (Some(Value::String(text)), None, None) => Content::Text(text.clone().into_bytes()),
        (None, Some(Value::Object(fields)), None) => {
            let field = |(name, value): (&String, &Value)| {
                let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
                (name.clone().into_bytes(), text.into_bytes())
            };
            Content::Hash(fields.iter().map(field).collect())
        }
        (None, None, Some(Value::String(kind))) => {
            let length = map.get("length").and_then(Value::as_u64).unwrap_or(1);
            Content::Collection { kind: kind.clone(), length }
        }
        _ => return Err("it has one of `text`, `hash` (a table) and `kind` (with its `length`)".into()),
    };
    let expires_in = match map.get("expires_in") {
        None => None,
        Some(Value::String(text)) => {
            let span = text.parse::<rota_config::Duration>().map_err(|error| error.to_string())?;
            Some(span.as_millis())
        }
        Some(other) => return Err(format!("`expires_in` is a text such as \"5m\", not {other}")),
    };
    Ok(Key { content, expires_in, bytes: map.get("bytes").and_then(Value::as_u64) })
}

fn wrong_kind() -> Error {
    Error::InvalidArgument("the key holds another kind of value than the call is for".into())
}

impl World {
    pub(super) async fn cache(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let slot = ask.slot();
        match ask.verb() {
            "open" => {
                self.authorise::<Cache>(&run.gate, "cache.open", &slot, &[])?;
                self.told(run, ask).await?;
                self.hold(ask.number, Held::Cache { slot });
                Ok(Reply::nothing())
            }
            "unlink-matching" => self.unlink_matching(run, ask, &slot).await,
            "unlink" => self.unlink(run, ask, &slot).await,
            "monitor" => self.monitor(run, ask, &slot).await,
            "set" => self.set(run, ask, &slot).await,
            "expire" => self.expire(run, ask, &slot).await,
            "hash-set" => self.hash_set(run, ask, &slot).await,
            "hash-delete" => self.hash_delete(run, ask, &slot).await,
            _ => self.cache_read(run, ask, &slot).await,
        }
    }

    async fn cache_read(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let operation: &'static str = match ask.verb() {
            "ping" => "cache.ping",
            "info" => "cache.info",
            "keyspace" => "cache.keyspace",
            "slowlog" => "cache.slowlog",
            "memory-usage" => "cache.memory-usage",
            "scan" => "cache.scan",
            "get" => "cache.get",
            "ttl" => "cache.ttl",
            "hash-get" => "cache.hash-get",
            "hash-entries" => "cache.hash-entries",
            _ => return Err(Refused::Stop(format!("cases do not know the call `{}`", ask.operation))),
        };
        self.authorise::<Cache>(&run.gate, operation, slot, &[CacheAccess::Read])?;
        if operation == "cache.scan" {
            return self.scan(run, ask, slot).await;
        }
        let told = self.told(run, ask).await?.and_then(|answer| answer.value);
        if let Some(value) = told {
            return Ok(Reply::Value(match operation {
                "cache.info" => nodes(&value),
                "cache.hash-entries" => entries(&value),
                "cache.get" | "cache.hash-get" => value.as_str().map_or(value.clone(), |text| bytes(text.as_bytes())),
                _ => value,
            }));
        }
        let state = self.state();
        let nothing = BTreeMap::new();
        let keys = state.caches.get(slot).map_or(&nothing, |keys| &keys.0);
        let found = keys.get(&ask.bytes("key"));
        Ok(Reply::Value(match operation {
            "cache.ping" => json!([{ "node": 0, "state": "ready", "microseconds": 300 }]),
            "cache.info" => nodes(&json!([{ "databases": databases(keys) }])),
            "cache.keyspace" => databases(keys),
            "cache.slowlog" => json!([]),
            "cache.memory-usage" => {
                let asked: Vec<Vec<u8>> =
                    ask.arguments.get("keys").and_then(Value::as_array).into_iter().flatten().map(bytes_of).collect();
                few(asked.len())?;
                Value::Array(asked.iter().map(|key| keys.get(key).map_or(Value::Null, usage)).collect())
            }
            "cache.get" => match found.map(|key| &key.content) {
                None => Value::Null,
                Some(Content::Text(text)) => bytes(text),
                Some(_) => return Err(wrong_kind().into()),
            },
            "cache.ttl" => match found.map(|key| key.expires_in) {
                None => json!("missing"),
                Some(None) => json!("unlimited"),
                Some(Some(milliseconds)) => json!({ "expires-in": milliseconds }),
            },
            "cache.hash-get" => match found.map(|key| &key.content) {
                None => Value::Null,
                Some(Content::Hash(fields)) => {
                    fields.get(&ask.bytes("field")).map_or(Value::Null, |value| bytes(value))
                }
                Some(_) => return Err(wrong_kind().into()),
            },
            _ => match found.map(|key| &key.content) {
                None => json!([]),
                Some(Content::Hash(fields)) => {
                    Value::Array(fields.iter().map(|(field, value)| json!([bytes(field), bytes(value)])).collect())
                }
                Some(_) => return Err(wrong_kind().into()),
            },
        }))
    }

    async fn scan(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let pattern: wit::Pattern = ask.made("pattern")?;
        let pattern = Pattern::parse(&pattern)?;
        let answer = self.take(ask).unwrap_or_default();
        self.waited(run, &answer).await?;
        if let Some(error) = answer.error.as_ref().filter(|_| answer.cut_after.is_none()) {
            return Err(error.get_ref().error().into());
        }
        if let Some(items) = &answer.items {
            let keys = items.iter().filter_map(Value::as_str).map(|key| bytes(key.as_bytes()));
            return Ok(Reply::items(Value::Null, keys.collect(), &answer));
        }
        let state = self.state();
        let keys = state.caches.get(slot).map(|keys| &keys.0);
        let fitting = keys.into_iter().flatten().map(|(key, _)| key).filter(|key| pattern.matches(key));
        Ok(Reply::items(Value::Null, fitting.map(|key| bytes(key)).collect(), &answer))
    }

    /// Authorise an effect on keys, none of which the operator protects.
    fn changes(
        &self,
        run: &Arc<RunContext>,
        operation: &'static str,
        slot: &str,
        needed: CacheAccess,
        keys: &[Vec<u8>],
    ) -> Result<Authorized<Cache>, Error> {
        let authorized = self.authorise::<Cache>(&run.gate, operation, slot, &[needed])?;
        for key in keys {
            if key.len() > LONGEST {
                return Err(Error::InvalidArgument(format!("a key has at most {LONGEST} bytes, not {}", key.len())));
            }
            let protected = authorized.binding().protected.iter().flatten();
            if let Some(prefix) = protected.into_iter().find(|prefix| key.starts_with(prefix.as_bytes())) {
                let reason = format!(
                    "keys that begin with `{prefix}` are protected (`protected` of the binding), whatever is granted"
                );
                return Err(denied(run.gate.never(operation, slot, reason)));
            }
        }
        Ok(authorized)
    }

    async fn unlink_matching(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized = self.authorise::<Cache>(&run.gate, "cache.unlink-matching", slot, &[CacheAccess::Delete])?;
        let options: UnlinkOptions = ask.made("options")?;
        let matching = Matching::parse(&options, authorized.binding())?;
        // What goes wrong from here on comes out of its future, as it does where a server is looked at first.
        let ended = |end: Result<Value, Error>| Ok(Reply::Apart(end));
        let keys: Vec<Vec<u8>> =
            self.state().caches.get(slot).map(|keys| keys.0.keys().cloned().collect()).unwrap_or_default();
        let found = match matching.among(keys.iter().map(Vec::as_slice)) {
            Ok(found) => found,
            Err(error) => return ended(Err(error)),
        };
        let progress = |phase: &str, unlinked: u64| {
            let now = found.progress();
            json!({
                "phase": phase, "matched": now.matched, "protected": now.protected, "unlinked": unlinked, "vanished": 0,
                "drained": 0, "drained-elements": 0,
            })
        };
        if found.count() == 0 {
            return ended(Ok(progress("counting", 0)));
        }
        let detail = matching.describe(&found);
        let exact = Exact::of([detail.clone(), format!("{matching:?}")]);
        let effect = Effect { object: String::new(), detail, class: EffectClass::Destructive, exact };
        let permit = match self.effect(&authorized, effect).await {
            Ok(Some(permit)) => permit,
            Ok(None) => return ended(Ok(progress("counting", 0))),
            Err(error) => return ended(Err(error)),
        };
        let result = self.told(run, ask).await.map(|_| {
            let mut state = self.state();
            let keys = &mut state.caches.entry(slot.to_owned()).or_default().0;
            found.keys().filter(|key| keys.remove(*key).is_some()).count()
        });
        let said = |unlinked: &usize| format!("{unlinked} keys unlinked, 0 gone by themselves");
        let done = self.conclude(ask, permit, result, said).await;
        ended(done.map(|unlinked| progress("unlinking", unlinked as u64)))
    }

    async fn unlink(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let keys: Vec<Vec<u8>> =
            ask.arguments.get("keys").and_then(Value::as_array).into_iter().flatten().map(bytes_of).collect();
        let authorized = self.changes(run, "cache.unlink", slot, CacheAccess::Delete, &keys)?;
        few(keys.len())?;
        let detail = format!("unlinks {} keys: {}", keys.len(), named(&keys));
        let effect = Effect { object: String::new(), detail, class: EffectClass::Destructive, exact: Exact::of(&keys) };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            let state = self.state();
            let there =
                state.caches.get(slot).map_or(0, |all| keys.iter().filter(|key| all.0.contains_key(*key)).count());
            return Ok(Reply::Value(json!(there)));
        };
        let result = self.told(run, ask).await.map(|_| {
            let mut state = self.state();
            let all = &mut state.caches.entry(slot.to_owned()).or_default().0;
            keys.iter().filter(|key| all.remove(*key).is_some()).count()
        });
        let unlinked = self.conclude(ask, permit, result, |unlinked| format!("{unlinked} keys unlinked")).await?;
        Ok(Reply::Value(json!(unlinked)))
    }

    async fn monitor(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized = self.authorise::<Cache>(&run.gate, "cache.monitor", slot, &[CacheAccess::Debug])?;
        let number = |name| u32::try_from(ask.number(name).unwrap_or_default()).unwrap_or(u32::MAX);
        let (seconds, limit) = (number("seconds"), number("limit"));
        if !(1..=MOST_SECONDS).contains(&seconds) {
            let text = format!("watching takes 1 to {MOST_SECONDS} seconds, not {seconds}");
            return Err(Error::InvalidArgument(text).into());
        }
        if !(1..=MOST_COMMANDS).contains(&limit) {
            let text = format!("watching sees 1 to {MOST_COMMANDS} commands, not {limit}");
            return Err(Error::InvalidArgument(text).into());
        }
        let detail = format!(
            "watches every command for at most {seconds} s and {limit} commands a node, which costs the server up to half of what it can do"
        );
        let effect = Effect { object: String::new(), detail, class: EffectClass::Write, exact: Exact::shown() };
        let nothing = crate::format::Answer::default();
        let Some(permit) = self.effect(&authorized, effect).await? else {
            return Ok(Reply::items(Value::Null, Vec::new(), &nothing));
        };
        let answer = self.take(ask).unwrap_or_default();
        self.waited(run, &answer).await?;
        let items = answer.items.clone().unwrap_or_default();
        let result = match &answer.error {
            Some(error) if answer.items.is_none() => Err(error.get_ref().error()),
            _ => Ok(items),
        };
        let items = self.conclude(ask, permit, result, |items| format!("{} commands seen", items.len())).await?;
        Ok(Reply::items(Value::Null, items, &answer))
    }

    async fn set(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let (key, value) = (ask.bytes("key"), ask.bytes("value"));
        let lifetime = ask.number("lifetime");
        let condition = ask.text("condition");
        let authorized = self.changes(run, "cache.set", slot, CacheAccess::Write, std::slice::from_ref(&key))?;
        if lifetime == Some(0) {
            return Err(Error::InvalidArgument("a key that is set lives at least a millisecond".into()).into());
        }
        let (only, class) = match condition.as_str() {
            "if-absent" => (" where there is none", EffectClass::Write),
            "if-present" => (" where there is one", EffectClass::Destructive),
            _ => ("", EffectClass::Destructive),
        };
        let lives = lifetime.map(|milliseconds| format!(" for {milliseconds} ms")).unwrap_or_default();
        let detail = format!("sets a string of {} bytes{lives}{only}", value.len());
        let exact = Exact::of([detail.as_bytes(), &key, &value]);
        let effect = Effect { object: shown(&key), detail, class, exact };
        let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::Value(json!(true))) };
        let result = self.told(run, ask).await.map(|_| {
            let mut state = self.state();
            let keys = &mut state.caches.entry(slot.to_owned()).or_default().0;
            let sets = match condition.as_str() {
                "if-absent" => !keys.contains_key(&key),
                "if-present" => keys.contains_key(&key),
                _ => true,
            };
            if sets {
                keys.insert(
                    key.clone(),
                    Key { content: Content::Text(value.clone()), expires_in: lifetime, bytes: None },
                );
            }
            sets
        });
        let said = |set: &bool| if *set { "set" } else { "left as it was" }.to_owned();
        Ok(Reply::Value(json!(self.conclude(ask, permit, result, said).await?)))
    }

    async fn expire(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let key = ask.bytes("key");
        let milliseconds = ask.number("milliseconds");
        let authorized = self.changes(run, "cache.expire", slot, CacheAccess::Write, std::slice::from_ref(&key))?;
        let (detail, class) = match milliseconds {
            Some(milliseconds) => (format!("lets it expire in {milliseconds} ms"), EffectClass::Destructive),
            None => ("lets it live without end".to_owned(), EffectClass::Write),
        };
        let exact = Exact::of([detail.as_bytes(), &key]);
        let effect = Effect { object: shown(&key), detail, class, exact };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            let there = self.state().caches.get(slot).is_some_and(|keys| keys.0.contains_key(&key));
            return Ok(Reply::Value(json!(there)));
        };
        let result = self.told(run, ask).await.map(|_| {
            let mut state = self.state();
            match state.caches.entry(slot.to_owned()).or_default().0.get_mut(&key) {
                Some(found) => std::mem::replace(&mut found.expires_in, milliseconds) != milliseconds,
                None => false,
            }
        });
        let said = |changed: &bool| if *changed { "changed" } else { "left as it was" }.to_owned();
        Ok(Reply::Value(json!(self.conclude(ask, permit, result, said).await?)))
    }

    async fn hash_set(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let key = ask.bytes("key");
        let pairs = ask.arguments.get("entries").and_then(Value::as_array).cloned().unwrap_or_default();
        let entries: Vec<(Vec<u8>, Vec<u8>)> =
            pairs.iter().filter_map(|pair| Some((bytes_of(pair.get(0)?), bytes_of(pair.get(1)?)))).collect();
        let authorized = self.changes(run, "cache.hash-set", slot, CacheAccess::Write, std::slice::from_ref(&key))?;
        let detail = format!("sets {} fields of a hash", entries.len());
        let parts = entries.iter().flat_map(|(field, value)| [field.as_slice(), value.as_slice()]);
        let exact = Exact::of([key.as_slice()].into_iter().chain(parts));
        let effect = Effect { object: shown(&key), detail, class: EffectClass::Destructive, exact };
        let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::Value(json!(0))) };
        let result = self.told(run, ask).await.and_then(|_| {
            let mut state = self.state();
            let keys = &mut state.caches.entry(slot.to_owned()).or_default().0;
            let empty = Key { content: Content::Hash(BTreeMap::new()), expires_in: None, bytes: None };
            match &mut keys.entry(key.clone()).or_insert(empty).content {
                Content::Hash(fields) => Ok(entries
                    .iter()
                    .filter(|(field, value)| fields.insert(field.clone(), value.clone()).is_none())
                    .count()),
                _ => Err(wrong_kind()),
            }
        });
        let new = self.conclude(ask, permit, result, |new| format!("set, {new} of them new")).await?;
        Ok(Reply::Value(json!(new)))
    }

    async fn hash_delete(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let key = ask.bytes("key");
        let fields: Vec<Vec<u8>> =
            ask.arguments.get("fields").and_then(Value::as_array).into_iter().flatten().map(bytes_of).collect();
        let authorized =
            self.changes(run, "cache.hash-delete", slot, CacheAccess::Delete, std::slice::from_ref(&key))?;
        let detail = format!("removes {} fields of a hash: {}", fields.len(), named(&fields));
        let exact = Exact::of([&key].into_iter().chain(&fields));
        let effect = Effect { object: shown(&key), detail, class: EffectClass::Destructive, exact };
        let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::Value(json!(0))) };
        let result = self.told(run, ask).await.and_then(|_| {
            let mut state = self.state();
            let keys = &mut state.caches.entry(slot.to_owned()).or_default().0;
            let removed = match keys.get_mut(&key).map(|key| &mut key.content) {
                None => return Ok(0),
                Some(Content::Hash(all)) => fields.iter().filter(|field| all.remove(*field).is_some()).count(),
                Some(_) => return Err(wrong_kind()),
            };
            // A hash without fields is none.
            if keys.get(&key).is_some_and(|key| key.length() == 0) {
                keys.remove(&key);
            }
            Ok(removed)
        });
        let removed = self.conclude(ask, permit, result, |removed| format!("{removed} fields removed")).await?;
        Ok(Reply::Value(json!(removed)))
    }
}

fn few(keys: usize) -> Result<(), Error> {
    if keys <= MOST_KEYS {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("one call takes at most {MOST_KEYS} keys, not {keys}; make several")))
}

/// Some keys in words, as an effect has them.
fn named(keys: &[Vec<u8>]) -> String {
    const FEW: usize = 3;
    let first: Vec<String> = keys.iter().take(FEW).map(|key| format!("`{}`", shown(key))).collect();
    let more = if keys.len() > FEW { format!(" and {} more", keys.len() - FEW) } else { String::new() };
    format!("{}{more}", first.join(", "))
}

fn bytes(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    json!({ "$bytes": base64::engine::general_purpose::STANDARD.encode(bytes) })
}

/// Fields and values, which a case writes as a table or as pairs.
fn entries(value: &Value) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| bytes(text.as_bytes()));
    match value {
        Value::Object(map) => {
            Value::Array(map.iter().map(|(field, value)| json!([bytes(field.as_bytes()), text(value)])).collect())
        }
        Value::Array(pairs) => {
            let pair = |pair: &Value| Value::Array(pair.as_array().into_iter().flatten().map(text).collect());
            Value::Array(pairs.iter().map(pair).collect())
        }
        other => other.clone(),
    }
}

fn usage(key: &Key) -> Value {
    json!({
        "kind": key.kind(),
        "bytes": key.bytes.unwrap_or_else(|| match &key.content {
            Content::Text(text) => text.len() as u64 + 50,
            _ => key.length() * 40,
        }),
        "length": key.length(),
        "expires-in": key.expires_in,
    })
}

fn databases(keys: &BTreeMap<Vec<u8>, Key>) -> Value {
    if keys.is_empty() {
        return json!([]);
    }
    let expiring = keys.values().filter(|key| key.expires_in.is_some()).count();
    json!([{ "database": 0, "keys": keys.len(), "expiring": expiring }])
}

/// What nodes say of themselves: what the case says, and the ordinary.
fn nodes(said: &Value) -> Value {
    let ordinary = json!({
        "node": 0,
        "server": { "product": "valkey", "version": "8.1.4", "uptime-seconds": 86_400 },
        "clients": { "connected": 10, "blocked": 0, "maximum": 10_000, "rejected": 0 },
        "memory": { "used": 50_000_000, "peak": 60_000_000, "resident": 70_000_000, "limit": 1_000_000_000, "policy": "noeviction" },
        "traffic": { "commands": 100_000, "hits": 9_000, "misses": 1_000, "evicted": 0, "expired": 0 },
        "replication": { "is-replica": false, "link-up": null, "syncing": null, "replicas": 0, "lag": null },
        "persistence": { "loading": false, "snapshot-ok": true, "snapshot-at": null, "unsaved-changes": 0, "log-ok": null },
        "databases": [],
    });
    let nodes = said.as_array().cloned().unwrap_or_else(|| vec![said.clone()]);
    let whole = nodes.iter().enumerate().map(|(number, node)| {
        let mut whole = ordinary.clone();
        whole["node"] = json!(number);
        lay_over(&mut whole, node);
        whole
    });
    Value::Array(whole.collect())
}

/// What is said, over what is ordinary; `"null"` says that it is not known.
pub(super) fn lay_over(ordinary: &mut Value, said: &Value) {
    match (ordinary, said) {
        (Value::Object(ordinary), Value::Object(said)) => {
            for (key, value) in said {
                lay_over(ordinary.entry(key.replace('_', "-")).or_insert(Value::Null), value);
            }
        }
        (ordinary, Value::String(word)) if word == "null" => *ordinary = Value::Null,
        (ordinary, said) => *ordinary = said.clone(),
    }
}
