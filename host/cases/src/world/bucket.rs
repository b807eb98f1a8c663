//! `storage`: a bucket in memory. What was put is what is there.

use super::ask::{Ask, Refused};
use super::reply::{Reply, cut};
use super::{Held, World, rows};
use crate::format::Answer;
use base64::Engine as _;
use rota_authority::{Effect, EffectClass, Exact, Storage, StorageAccess};
use rota_capability::RunContext;
use rota_capability::streams::Reader;
use rota_capability_storage::wit::PutOptions;
use rota_capability_storage::{Name, Prefix, Put};
use rota_contract::Error;
use serde_json::{Map, Value, json};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;

/// One object.
#[derive(Clone, Debug)]
struct Object {
    content: Content,
    modified: Option<i64>,
    etag: Option<String>,
}

/// What an object holds.
#[derive(Clone, Debug)]
enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zeros: of an object whose content is nobody's business.
    Zeros(u64),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(size) => *size,
        }
    }
}

/// The objects of a bucket, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects(BTreeMap<String, Object>);

impl Objects {
    /// As a case writes them: a text, or `{ text, base64, size, modified, etag }`.
    pub(super) fn of(written: Option<&Value>) -> Result<Self, String> {
        let mut objects = BTreeMap::new();
        let written = match written {
            None => return Ok(Self::default()),
            Some(Value::Object(map)) => map,
            Some(_) => return Err("`objects` of a bucket are a table: the name, and a text or a table for each".into()),
        };
        for (name, value) in written {
            let parsed = Name::parse(name).map_err(|bad| bad.to_string())?;
            let object = object(value).map_err(|why| format!("the object `{name}`: {why}"))?;
            objects.insert(parsed.as_str().to_owned(), object);
        }
        Ok(Self(objects))
    }

    /// What is there, for what is expected of it.
    pub(super) fn shown(&self) -> Value {
        let text = |object: &Object| match &object.content {
            Content::Bytes(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
            Content::Zeros(size) => Value::String(format!("{size} zeros")),
        };
        let objects: Map<String, Value> = self.0.iter().map(|(name, object)| (name.clone(), text(object))).collect();
        json!({ "objects": objects })
    }
}

fn object(value: &Value) -> Result<Object, String> {
    let map = match value {
        Value::String(text) => {
            let content = Content::Bytes(text.clone().into_bytes());
            return Ok(Object { etag: Some(etag(&content)), content, modified: None });
        }
        Value::Object(map) => map,
        other => return Err(format!("`{other}` is neither a text nor a table")),
    };
    const KEYS: [&str; 5] = ["text", "base64", "size", "modified", "etag"];
    if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("`{unknown}` is not a key here ({})", crate::format::advice(unknown, &KEYS)));
    }
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    let content = match (text("text"), text("base64"), map.get("size").and_then(Value::as_u64)) {
        (Some(text), None, None) => Content::Bytes(text.as_bytes().to_vec()),
        (None, Some(base64), None) => Content::Bytes(
            base64::engine::general_purpose::STANDARD.decode(base64).map_err(|_| "`base64` is none".to_owned())?,
        ),
        (None, None, Some(size)) => Content::Zeros(size),
        _ => return Err("it has one of `text`, `base64` and `size`".into()),
    };
    let modified = match text("modified") {
        None => None,
        Some(text) => Some(
            rows::instant(text)
                .ok_or_else(|| format!("`{text}` is no instant: write 2026-11-26T13:05:00Z, or \"now - 3d\""))?,
        ),
    };
    let etag = text("etag").map(str::to_owned).or_else(|| Some(etag(&content)));
    Ok(Object { content, modified, etag })
}

fn etag(content: &Content) -> String {
    match content {
        Content::Bytes(bytes) => hex::encode(&sha2::Sha256::digest(bytes)[..16]),
        Content::Zeros(size) => format!("zeros-{size}"),
    }
}

/// As the contract shows an object.
fn shown(name: &str, object: &Object) -> Value {
    json!({ "name": name, "size": object.content.size(), "modified": object.modified, "etag": object.etag })
}

impl World {
    pub(super) async fn storage(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let (gate, slot) = (&run.gate, ask.slot());
        match ask.verb() {
            "open" => {
                self.authorise::<Storage>(gate, "storage.open", &slot, &[])?;
                self.told(run, ask).await?;
                self.hold(ask.number, Held::Bucket { slot });
                Ok(Reply::nothing())
            }
            "put" => self.put(run, ask, &slot).await,
            "get" => {
                self.authorise::<Storage>(gate, "storage.get", &slot, &[StorageAccess::Read])?;
                let name = Name::parse(&ask.text("name")).map_err(Error::from)?;
                let told = match self.take(ask) {
                    None => None,
                    Some(answer) => {
                        self.waited(run, &answer).await?;
                        Some(answer)
                    }
                };
                self.get(ask, &slot, &name, told)
            }
            "stat" => {
                self.authorise::<Storage>(gate, "storage.stat", &slot, &[StorageAccess::Read])?;
                let name = Name::parse(&ask.text("name")).map_err(Error::from)?;
                if let Some(value) = self.told(run, ask).await?.and_then(|answer| answer.value) {
                    return Ok(Reply::Value(value));
                }
                Ok(Reply::Value(shown(name.as_str(), &self.object(&slot, name.as_str())?)))
            }
            "list" => {
                self.authorise::<Storage>(gate, "storage.list", &slot, &[StorageAccess::Read])?;
                let prefix = Prefix::parse(&ask.text("prefix")).map_err(Error::from)?;
                let answer = self.take(ask).unwrap_or_default();
                self.waited(run, &answer).await?;
                if let Some(items) = &answer.items {
                    return Ok(Reply::items(Value::Null, items.clone(), &answer));
                }
                if let Some(error) = answer.error.as_ref().filter(|_| answer.cut_after.is_none()) {
                    return Err(error.get_ref().error().into());
                }
                let state = self.state();
                let objects = state.buckets.get(&slot).map(|objects| &objects.0);
                let below = objects.into_iter().flatten().filter(|(name, _)| name.starts_with(prefix.as_str()));
                let items = below.map(|(name, object)| shown(name, object)).collect();
                Ok(Reply::items(Value::Null, items, &answer))
            }
            "delete" => {
                let authorized = self.authorise::<Storage>(gate, "storage.delete", &slot, &[StorageAccess::Delete])?;
                let name = Name::parse(&ask.text("name")).map_err(Error::from)?;
                let effect = Effect {
                    object: name.as_str().to_owned(),
                    detail: "deletes the object".to_owned(),
                    class: EffectClass::Destructive,
                    exact: Exact::shown(),
                };
                let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::nothing()) };
                let result = self.told(run, ask).await.map(|_| {
                    let mut state = self.state();
                    state.buckets.entry(slot.clone()).or_default().0.remove(name.as_str());
                });
                self.conclude(ask, permit, result, |()| "deleted".to_owned()).await?;
                Ok(Reply::nothing())
            }
            _ => Err(Refused::Stop(format!("cases do not know the call `{}`", ask.operation))),
        }
    }

    fn object(&self, slot: &str, name: &str) -> Result<Object, Error> {
        let state = self.state();
        let object = state.buckets.get(slot).and_then(|objects| objects.0.get(name)).cloned();
        object.ok_or_else(|| Error::NotFound(format!("there is no object `{name}`")))
    }

    fn get(&self, ask: &Ask, slot: &str, name: &Name, told: Option<Answer>) -> Result<Reply, Refused> {
        let answer = told.unwrap_or_default();
        let own = answer.text.is_some() || answer.base64.is_some();
        if let Some(error) = answer.error.as_ref().filter(|_| !own && answer.cut_after.is_none()) {
            return Err(error.get_ref().error().into());
        }
        let object = if own {
            let content = Content::Bytes(super::sql::content(&answer)?);
            Object { etag: Some(etag(&content)), content, modified: None }
        } else {
            self.object(slot, name.as_str())?
        };
        let range = ask.arguments.get("range").filter(|range| !range.is_null());
        let offset = range.and_then(|range| range.get("offset")).and_then(Value::as_u64).unwrap_or(0);
        let length = range.and_then(|range| range.get("length")).and_then(Value::as_u64).unwrap_or(u64::MAX);
        let size = object.content.size();
        if offset > size {
            let text = format!("the object `{}` has {size} bytes, and none from {offset} on", name.as_str());
            return Err(Error::InvalidArgument(text).into());
        }
        let length = length.min(size - offset);
        let head = shown(name.as_str(), &object);
        let reader: Reader = match object.content {
            Content::Bytes(bytes) => {
                let bytes = bytes.into_iter().skip(usize::try_from(offset).unwrap_or(usize::MAX));
                cut(bytes.take(usize::try_from(length).unwrap_or(usize::MAX)).collect(), &answer)
            }
            Content::Zeros(_) => match answer.cut_after {
                Some(after) => cut(vec![0; usize::try_from(after.min(length).min(1 << 28)).unwrap_or(0)], &answer),
                None => Box::pin(tokio::io::repeat(0).take(length)),
            },
        };
        Ok(Reply::Bytes { head, reader })
    }

    async fn put(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized = self.authorise::<Storage>(&run.gate, "storage.put", slot, &[StorageAccess::Write])?;
        let name = Name::parse(&ask.text("name")).map_err(Error::from)?;
        let options = ask.arguments.get("options").cloned().unwrap_or_default();
        let text = |key: &str| options.get(key).and_then(Value::as_str).map(str::to_owned);
        let put = Put::check(PutOptions {
            if_absent: options.get("if-absent").and_then(Value::as_bool).unwrap_or(false),
            size_estimate: options.get("size-estimate").and_then(Value::as_u64),
            media_type: text("media-type"),
            sha256: text("sha256"),
        })?;
        let class = if put.if_absent { EffectClass::Write } else { EffectClass::Destructive };
        let exact = Exact::of([format!("{put:?}")]);
        let effect = Effect { object: name.as_str().to_owned(), detail: put.describe(), class, exact };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            let size = put.estimate.unwrap_or(0);
            return Ok(Reply::Value(json!({ "size": size, "sha256": "", "etag": null })));
        };
        let result = match self.told(run, ask).await {
            Err(error) => Err(error),
            Ok(_) => match self.incoming(run, ask).await {
                Err(error) => Err(error),
                Ok(bytes) => self.store(slot, name.as_str(), &put, bytes),
            },
        };
        let said = |stored: &Value| format!("{} B stored", stored["size"]);
        Ok(Reply::Value(self.conclude(ask, permit, result, said).await?))
    }

    fn store(&self, slot: &str, name: &str, put: &Put, bytes: Vec<u8>) -> Result<Value, Error> {
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        if put.sha256.as_ref().is_some_and(|wanted| *wanted != sha256) {
            return Err(Error::InvalidArgument(format!(
                "the bytes have the SHA-256 {sha256}, not the one that was given; nothing was kept"
            )));
        }
        let mut state = self.state();
        let objects = &mut state.buckets.entry(slot.to_owned()).or_default().0;
        if put.if_absent && objects.contains_key(name) {
            return Err(Error::Conflict(format!("there is an object `{name}` already")));
        }
        let (size, content) = (bytes.len(), Content::Bytes(bytes));
        let etag = etag(&content);
        let modified = Some(chrono::Utc::now().timestamp_micros());
        objects.insert(name.to_owned(), Object { content, modified, etag: Some(etag.clone()) });
        Ok(json!({ "size": size, "sha256": sha256, "etag": etag }))
    }
}
