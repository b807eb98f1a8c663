//! `cache`.

use crate::desk::{Desk, Opened, Slab};
use crate::value::Js;
use rota_sdk::cache::{Items, Lifetime, Pattern, Readiness, SetCondition, UnlinkOptions};
use rota_sdk::prelude::*;
use std::cell::RefCell;
use std::time::Duration;

/// What a script holds of the cache.
#[derive(Default)]
pub(crate) struct Caches {
    open: Opened<Cache>,
    scans: RefCell<Slab<Items<Vec<u8>>>>,
}

impl Caches {
    /// Let go of everything.
    pub(crate) fn forget(&self) {
        self.scans.borrow_mut().clear();
        self.open.forget();
    }
}

/// Calls of `cache`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let caches = &desk.caches;
    if let ("next", [handle]) = (what, args) {
        let mut items = caches.scans.borrow_mut().take(handle)?;
        return match items.next().await {
            Ok(Some(keys)) => {
                caches.scans.borrow_mut().put_back(handle, items);
                Ok(Js::List(keys.into_iter().map(text_or_bytes).collect()))
            }
            ended => {
                caches.scans.borrow_mut().free(handle);
                ended.map(|_| Js::Null)
            }
        };
    }
    if let ("close", [handle]) = (what, args) {
        drop(caches.scans.borrow_mut().remove(handle));
        return Ok(Js::Undefined);
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
        ("keyspace", []) => {
            let databases = session.keyspace().await?.into_iter();
            Ok(Js::List(
                databases
                    .map(|facts| {
                        Js::object([
                            ("database", Js::Number(facts.database.into())),
                            ("keys", Js::count(facts.keys)),
                            ("expiring", Js::count(facts.expiring)),
                        ])
                    })
                    .collect(),
            ))
        }
        _ => Err(Desk::unknown("cache", what)),
    }
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
