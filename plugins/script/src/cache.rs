//! `cache`.

use crate::desk::{Desk, Opened, Slab};
use crate::value::Js;
use rota_sdk::cache::{
    DatabaseFacts, Items, Lifetime, NodeInfo, Pattern, Readiness, SeenCommand, SetCondition, UnlinkOptions,
};
use rota_sdk::prelude::*;
use std::cell::RefCell;
use std::time::Duration;

/// What a script holds of the cache.
#[derive(Default)]
pub(crate) struct Caches {
    open: Opened<Cache>,
    scans: RefCell<Slab<Items<Vec<u8>>>>,
    monitors: RefCell<Slab<Items<SeenCommand>>>,
}

impl Caches {
    /// Let go of everything.
    pub(crate) fn forget(&self) {
        self.scans.borrow_mut().clear();
        self.monitors.borrow_mut().clear();
        self.open.forget();
    }
}

/// Calls of `cache`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let caches = &desk.caches;
    match (what, args) {
        ("next", [handle]) => return more(&caches.scans, handle, text_or_bytes).await,
        ("close", [handle]) => {
            drop(caches.scans.borrow_mut().remove(handle));
            return Ok(Js::Undefined);
        }
        ("seen", [handle]) => return more(&caches.monitors, handle, seen).await,
        ("unwatch", [handle]) => {
            drop(caches.monitors.borrow_mut().remove(handle));
            return Ok(Js::Undefined);
        }
        _ => {}
    }
    let [slot, args @ ..] = args else { return Err(Desk::unknown("cache", what)) };
    let slot = desk.cache_slot(slot)?;
    let session = caches.open.or_open(slot.name(), slot.open()).await?;
    match (what, args) {
        ("get", [key]) => Ok(session.get(&bytes(key)?).await?.map_or(Js::Null, text_or_bytes)),
        ("getBytes", [key]) => Ok(session.get(&bytes(key)?).await?.map_or(Js::Null, Js::Bytes)),
        ("set", [key, value, options]) => {
            let condition = match options.member("if") {
                Js::Undefined | Js::Null => SetCondition::Always,
                Js::Text(word) if word == "absent" => SetCondition::IfAbsent,
                Js::Text(word) if word == "present" => SetCondition::IfPresent,
                _ => return Err(Error::new("`if` is \"absent\" or \"present\"")),
            };
            let lifetime = seconds(options.member("seconds"))?;
            session.set(&bytes(key)?, bytes(value)?, lifetime, condition).await.map(Js::Flag)
        }
        ("ttl", [key]) => Ok(match session.ttl(&bytes(key)?).await? {
            Lifetime::Missing => Js::Undefined,
            Lifetime::Unlimited => Js::Null,
            Lifetime::ExpiresIn(milliseconds) => Js::Number(milliseconds as f64 / 1e3),
        }),
        ("expire", [key, time]) => session.expire(&bytes(key)?, seconds(time)?).await.map(Js::Flag),
        ("unlink", [keys]) => Ok(Js::count(session.unlink(many(keys)?).await?)),
        ("scan", [pattern]) => {
            let items = session.scan(self::pattern(pattern)?).await?;
            Ok(caches.scans.borrow_mut().insert(items))
        }
        ("unlinkMatching", [pattern, options]) => {
            let Js::Number(most) = options.member("most") else {
                return Err(Error::new("unlinkMatching needs `most`: how many keys at most")
                    .hint("cache.unlinkMatching(\"page:*\", { most: 1000 })"));
            };
            let mut wanted = UnlinkOptions::new(self::pattern(pattern)?, *most as u64);
            if let protected @ Js::List(_) = options.member("protect") {
                wanted.protected = many(protected)?;
            }
            let done = session
                .unlink_matching(wanted, |progress| {
                    rota_sdk::progress(progress.unlinked, Some(progress.matched), "keys", "unlinking");
                })
                .await?;
            Ok(Js::object([
                ("matched", Js::count(done.matched)),
                ("protected", Js::count(done.protected)),
                ("unlinked", Js::count(done.unlinked)),
                ("vanished", Js::count(done.vanished)),
            ]))
        }
        ("hashGet", [key, field]) => {
            Ok(session.hash_get(&bytes(key)?, &bytes(field)?).await?.map_or(Js::Null, text_or_bytes))
        }
        ("hashEntries", [key]) => {
            let entries = session.hash_entries(&bytes(key)?).await?;
            Ok(Js::List(
                entries
                    .into_iter()
                    .map(|(field, value)| Js::List(vec![text_or_bytes(field), text_or_bytes(value)]))
                    .collect(),
            ))
        }
        ("hashSet", [key, Js::Object(entries)]) => {
            let entries = entries.iter().map(|(field, value)| Ok((field.clone().into_bytes(), bytes(value)?)));
            Ok(Js::count(session.hash_set(&bytes(key)?, entries.collect::<Result<_>>()?).await?))
        }
        ("hashDelete", [key, fields]) => Ok(Js::count(session.hash_delete(&bytes(key)?, many(fields)?).await?)),
        ("usage", [keys]) => {
            let found = session.memory_usage(many(keys)?).await?;
            let shown = found.into_iter().map(|usage| {
                usage.map_or(Js::Null, |usage| {
                    Js::object([
                        ("kind", Js::Text(usage.kind)),
                        ("bytes", usage.bytes.map_or(Js::Null, Js::count)),
                        ("length", usage.length.map_or(Js::Null, Js::count)),
                        (
                            "seconds",
                            usage.expires_in.map_or(Js::Null, |milliseconds| Js::Number(milliseconds as f64 / 1e3)),
                        ),
                    ])
                })
            });
            Ok(Js::List(shown.collect()))
        }
        ("ping", []) => {
            let answers = session.ping().await?.into_iter().map(|pong| {
                let state = match pong.state {
                    Readiness::Ready => "ready",
                    Readiness::Loading => "loading",
                    Readiness::Stale => "stale",
                    Readiness::Busy => "busy",
                };
                Js::object([
                    ("node", Js::Number(pong.node.into())),
                    ("state", Js::text(state)),
                    ("microseconds", Js::count(pong.microseconds)),
                ])
            });
            Ok(Js::List(answers.collect()))
        }
        ("slowlog", [Js::Number(most)]) if most.fract() == 0.0 && (1.0..=1e6).contains(most) => {
            let slow = session.slowlog(*most as u32).await?.into_iter().map(|slow| {
                Js::object([
                    ("node", Js::Number(slow.node.into())),
                    ("id", Js::count(slow.id)),
                    ("at", Js::Instant(slow.at)),
                    ("microseconds", Js::count(slow.microseconds)),
                    ("command", Js::Text(slow.command.name)),
                    ("arguments", Js::Number(slow.command.argument_count.into())),
                    ("keyPrefix", slow.command.key_prefix.map_or(Js::Null, Js::Text)),
                    ("client", slow.client_name.map_or(Js::Null, Js::Text)),
                ])
            });
            Ok(Js::List(slow.collect()))
        }
        ("info", []) => Ok(Js::List(session.info().await?.into_iter().map(info).collect())),
        ("monitor", [options]) => {
            let seconds = within(options, "seconds", 10, 60)?;
            let most = within(options, "most", 1_000, 100_000)?;
            let items = session.monitor(seconds, most).await?;
            Ok(caches.monitors.borrow_mut().insert(items))
        }
        ("keyspace", []) => Ok(Js::List(session.keyspace().await?.into_iter().map(database).collect())),
        _ => Err(Desk::unknown("cache", what)),
    }
}

/// Some more of what comes piece by piece; null at the end.
async fn more<T: 'static>(slab: &RefCell<Slab<Items<T>>>, handle: &Js, shown: fn(T) -> Js) -> Result<Js> {
    let mut items = slab.borrow_mut().take(handle)?;
    match items.next().await {
        Ok(Some(some)) => {
            slab.borrow_mut().put_back(handle, items);
            Ok(Js::List(some.into_iter().map(shown).collect()))
        }
        ended => {
            slab.borrow_mut().free(handle);
            ended.map(|_| Js::Null)
        }
    }
}

/// A whole number from 1 to the most.
fn within(options: &Js, name: &str, otherwise: u32, most: u32) -> Result<u32> {
    match options.member(name) {
        Js::Undefined | Js::Null => Ok(otherwise),
        Js::Number(number) if number.fract() == 0.0 && (1.0..=f64::from(most)).contains(number) => Ok(*number as u32),
        _ => Err(Error::new(format!("`{name}` is a whole number from 1 to {most}"))),
    }
}

fn seen(seen: SeenCommand) -> Js {
    Js::object([
        ("node", Js::Number(seen.node.into())),
        ("at", Js::Instant(seen.at)),
        ("database", Js::Number(seen.database.into())),
        ("client", Js::Number(seen.client.into())),
        ("command", Js::Text(seen.command.name)),
        ("arguments", Js::Number(seen.command.argument_count.into())),
        ("keyPrefix", seen.command.key_prefix.map_or(Js::Null, Js::Text)),
    ])
}

fn info(node: NodeInfo) -> Js {
    let count = |number: Option<u64>| number.map_or(Js::Null, Js::count);
    let flag = |flag: Option<bool>| flag.map_or(Js::Null, Js::Flag);
    let NodeInfo { node, server, clients, memory, traffic, replication, persistence, databases } = node;
    Js::object([
        ("node", Js::Number(node.into())),
        ("product", Js::Text(server.product)),
        ("version", Js::Text(server.version)),
        ("uptimeSeconds", count(server.uptime_seconds)),
        (
            "clients",
            Js::object([
                ("connected", count(clients.connected)),
                ("blocked", count(clients.blocked)),
                ("maximum", count(clients.maximum)),
                ("rejected", count(clients.rejected)),
            ]),
        ),
        (
            "memory",
            Js::object([
                ("used", count(memory.used)),
                ("peak", count(memory.peak)),
                ("resident", count(memory.resident)),
                ("limit", count(memory.limit)),
                ("policy", memory.policy.map_or(Js::Null, Js::Text)),
            ]),
        ),
        (
            "traffic",
            Js::object([
                ("commands", count(traffic.commands)),
                ("hits", count(traffic.hits)),
                ("misses", count(traffic.misses)),
                ("evicted", count(traffic.evicted)),
                ("expired", count(traffic.expired)),
            ]),
        ),
        (
            "replication",
            Js::object([
                ("isReplica", flag(replication.is_replica)),
                ("linkUp", flag(replication.link_up)),
                ("syncing", flag(replication.syncing)),
                ("replicas", count(replication.replicas.map(u64::from))),
                ("lag", count(replication.lag)),
            ]),
        ),
        (
            "persistence",
            Js::object([
                ("loading", flag(persistence.loading)),
                ("snapshotOk", flag(persistence.snapshot_ok)),
                ("snapshotAt", persistence.snapshot_at.map_or(Js::Null, Js::Instant)),
                ("unsavedChanges", count(persistence.unsaved_changes)),
                ("logOk", flag(persistence.log_ok)),
            ]),
        ),
        ("databases", Js::List(databases.into_iter().map(database).collect())),
    ])
}

fn database(facts: DatabaseFacts) -> Js {
    Js::object([
        ("database", Js::Number(facts.database.into())),
        ("keys", Js::count(facts.keys)),
        ("expiring", Js::count(facts.expiring)),
    ])
}

/// Keys and values are bytes; those that are text are given as text.
pub(crate) fn text_or_bytes(bytes: Vec<u8>) -> Js {
    String::from_utf8(bytes).map_or_else(|error| Js::Bytes(error.into_bytes()), Js::Text)
}

/// A text, bytes, or a number as its text.
pub(crate) fn bytes(value: &Js) -> Result<Vec<u8>> {
    match value {
        Js::Text(text) => Ok(text.clone().into_bytes()),
        Js::Bytes(bytes) => Ok(bytes.clone()),
        Js::Number(number) => Ok(number.to_string().into_bytes()),
        Js::Big(number) => Ok(number.to_string().into_bytes()),
        _ => Err(Error::new("a text or bytes (Uint8Array) are wanted here")
            .hint("JSON.stringify(value) makes a text of anything")),
    }
}

fn many(keys: &Js) -> Result<Vec<Vec<u8>>> {
    match keys {
        Js::List(keys) => keys.iter().map(bytes).collect(),
        one => Ok(vec![bytes(one)?]),
    }
}

fn seconds(time: &Js) -> Result<Option<Duration>> {
    match time {
        Js::Undefined | Js::Null => Ok(None),
        Js::Number(seconds) if *seconds > 0.0 && *seconds < 1e9 => Ok(Some(Duration::from_secs_f64(*seconds))),
        _ => Err(Error::new("a time is a number of seconds above 0, or null for never")),
    }
}

/// A text is a glob, `{ prefix: ... }` is taken as it stands.
fn pattern(given: &Js) -> Result<Pattern> {
    match given {
        Js::Object(_) => Ok(Pattern::prefix(bytes(given.member("prefix"))?)),
        glob => Ok(Pattern::glob(bytes(glob)?)),
    }
}
