//! Each import, handed on.

use super::cache::{
    self, DatabaseFacts, KeyUsage, Lifetime, NodeInfo, Pong, SeenCommand, SetCondition, SlowCommand, UnlinkOptions,
    UnlinkProgress,
};
use super::streams::{self, Given};
use super::{Accessor, Answer, Call, Host, Resource, Session, begin};
use crate::values::Entries;
use rota_capability::tape::{Handle, Items, Plain, ask, called};
use rota_contract::Error;

/// A read: authorise, then ask.
macro_rules! reads {
    ($accessor:ident, $session:ident, $operation:literal, |$call:ident, $authorized:ident| $ask:expr) => {{
        let $call = Call::begin($accessor, &$session)?;
        let asked: Result<_, Error> = async {
            let $authorized = $call.reads($operation)?;
            $ask.await
        }
        .await;
        Ok(asked)
    }};
}

impl<T: Send + 'static> cache::HostSessionWithStore<T> for Host {
    async fn open(accessor: &Accessor<T, Self>, slot: String) -> Answer<Resource<Session>> {
        called(accessor, ask(accessor, "cache.session.open", None, |asked| asked.with("slot", &slot)), Handle, async {
            let (guard, ()) = begin(accessor, |_| Ok(()))?;
            match Call::open(&guard, &slot).await {
                Ok(session) => accessor.with(|mut access| access.get().push(session)).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        })
        .await
    }

    async fn ping(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<Pong>> {
        called(accessor, ask(accessor, "cache.session.ping", Some(session.rep()), |asked| asked), Plain, async {
            reads!(accessor, session, "cache.ping", |call, authorized| call.client().ping(&authorized))
        })
        .await
    }

    async fn info(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<NodeInfo>> {
        called(accessor, ask(accessor, "cache.session.info", Some(session.rep()), |asked| asked), Plain, async {
            reads!(accessor, session, "cache.info", |call, authorized| call.client().info(&authorized))
        })
        .await
    }

    async fn keyspace(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<DatabaseFacts>> {
        called(accessor, ask(accessor, "cache.session.keyspace", Some(session.rep()), |asked| asked), Plain, async {
            reads!(accessor, session, "cache.keyspace", |call, authorized| call.client().keyspace(&authorized))
        })
        .await
    }

    async fn slowlog(accessor: &Accessor<T, Self>, session: Resource<Session>, limit: u32) -> Answer<Vec<SlowCommand>> {
        called(
            accessor,
            ask(accessor, "cache.session.slowlog", Some(session.rep()), |asked| asked.with("limit", &limit)),
            Plain,
            async {
                reads!(accessor, session, "cache.slowlog", |call, authorized| call.client().slowlog(&authorized, limit))
            },
        )
        .await
    }

    async fn memory_usage(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        keys: Vec<Vec<u8>>,
    ) -> Answer<Vec<Option<KeyUsage>>> {
        called(
            accessor,
            ask(accessor, "cache.session.memory-usage", Some(session.rep()), |asked| asked.with("keys", &keys)),
            Plain,
            async {
                reads!(accessor, session, "cache.memory-usage", |call, authorized| call
                    .client()
                    .usage(&authorized, &keys))
            },
        )
        .await
    }

    async fn scan(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        pattern: cache::Pattern,
    ) -> Answer<Given<Vec<u8>, u64>> {
        called(
            accessor,
            ask(accessor, "cache.session.scan", Some(session.rep()), |asked| asked.with("pattern", &pattern)),
            Items,
            async {
                let call = Call::begin(accessor, &session)?;
                streams::scan(accessor, &call, pattern).await
            },
        )
        .await
    }

    async fn unlink_matching(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        options: UnlinkOptions,
    ) -> Answer<Given<UnlinkProgress, UnlinkProgress>> {
        called(
            accessor,
            ask(accessor, "cache.session.unlink-matching", Some(session.rep()), |asked| {
                asked.with("options", &options)
            }),
            Items,
            async {
                let call = Call::begin(accessor, &session)?;
                streams::unlink_matching(accessor, call, &options)
            },
        )
        .await
    }

    async fn unlink(accessor: &Accessor<T, Self>, session: Resource<Session>, keys: Vec<Vec<u8>>) -> Answer<u64> {
        called(
            accessor,
            ask(accessor, "cache.session.unlink", Some(session.rep()), |asked| asked.with("keys", &keys)),
            Plain,
            async {
                let call = Call::begin(accessor, &session)?;
                Ok(call.unlink(keys).await)
            },
        )
        .await
    }

    async fn monitor(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        seconds: u32,
        limit: u32,
    ) -> Answer<Given<SeenCommand, u64>> {
        called(
            accessor,
            ask(accessor, "cache.session.monitor", Some(session.rep()), |asked| {
                asked.with("seconds", &seconds).with("limit", &limit)
            }),
            Items,
            async {
                let call = Call::begin(accessor, &session)?;
                streams::monitor(accessor, &call, seconds, limit).await
            },
        )
        .await
    }

    async fn get(accessor: &Accessor<T, Self>, session: Resource<Session>, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        called(
            accessor,
            ask(accessor, "cache.session.get", Some(session.rep()), |asked| asked.with("key", &key)),
            Plain,
            async {
                reads!(accessor, session, "cache.get", |call, authorized| call.client().get(
                    &authorized,
                    &key,
                    call.most()
                ))
            },
        )
        .await
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        value: Vec<u8>,
        lifetime: Option<u64>,
        condition: SetCondition,
    ) -> Answer<bool> {
        called(
            accessor,
            ask(accessor, "cache.session.set", Some(session.rep()), |asked| {
                asked.with("key", &key).with("value", &value).with("lifetime", &lifetime).with("condition", &condition)
            }),
            Plain,
            async {
                let call = Call::begin(accessor, &session)?;
                Ok(call.set(key, value, lifetime, condition).await)
            },
        )
        .await
    }

    async fn ttl(accessor: &Accessor<T, Self>, session: Resource<Session>, key: Vec<u8>) -> Answer<Lifetime> {
        called(
            accessor,
            ask(accessor, "cache.session.ttl", Some(session.rep()), |asked| asked.with("key", &key)),
            Plain,
            async { reads!(accessor, session, "cache.ttl", |call, authorized| call.client().ttl(&authorized, &key)) },
        )
        .await
    }

    async fn expire(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        milliseconds: Option<u64>,
    ) -> Answer<bool> {
        called(
            accessor,
            ask(accessor, "cache.session.expire", Some(session.rep()), |asked| {
                asked.with("key", &key).with("milliseconds", &milliseconds)
            }),
            Plain,
            async {
                let call = Call::begin(accessor, &session)?;
                Ok(call.expire(key, milliseconds).await)
            },
        )
        .await
    }

    async fn hash_get(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        field: Vec<u8>,
    ) -> Answer<Option<Vec<u8>>> {
        called(
            accessor,
            ask(accessor, "cache.session.hash-get", Some(session.rep()), |asked| {
                asked.with("key", &key).with("field", &field)
            }),
            Plain,
            async {
                reads!(accessor, session, "cache.hash-get", |call, authorized| {
                    call.client().hash_get(&authorized, &key, field, call.most())
                })
            },
        )
        .await
    }

    async fn hash_entries(accessor: &Accessor<T, Self>, session: Resource<Session>, key: Vec<u8>) -> Answer<Entries> {
        called(
            accessor,
            ask(accessor, "cache.session.hash-entries", Some(session.rep()), |asked| asked.with("key", &key)),
            Plain,
            async {
                reads!(accessor, session, "cache.hash-entries", |call, authorized| {
                    call.client().hash_entries(&authorized, &key, call.most())
                })
            },
        )
        .await
    }

    async fn hash_set(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        entries: Entries,
    ) -> Answer<u64> {
        called(
            accessor,
            ask(accessor, "cache.session.hash-set", Some(session.rep()), |asked| {
                asked.with("key", &key).with("entries", &entries)
            }),
            Plain,
            async {
                let call = Call::begin(accessor, &session)?;
                Ok(call.hash_set(key, entries).await)
            },
        )
        .await
    }

    async fn hash_delete(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        fields: Vec<Vec<u8>>,
    ) -> Answer<u64> {
        called(
            accessor,
            ask(accessor, "cache.session.hash-delete", Some(session.rep()), |asked| {
                asked.with("key", &key).with("fields", &fields)
            }),
            Plain,
            async {
                let call = Call::begin(accessor, &session)?;
                Ok(call.hash_delete(key, fields).await)
            },
        )
        .await
    }
}
