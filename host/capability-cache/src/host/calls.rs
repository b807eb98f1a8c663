//! Each import, handed on.

use super::cache::{
    self, DatabaseFacts, KeyUsage, Lifetime, NodeInfo, Pong, SeenCommand, SetCondition, SlowCommand, UnlinkOptions,
    UnlinkProgress,
};
use super::streams::{self, Given};
use super::{Accessor, Answer, Call, Host, Resource, Session, begin};
use crate::values::Entries;
use rota_capability::unless_stopped;
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
        unless_stopped(accessor, async {
            let (guard, ()) = begin(accessor, |_| Ok(()))?;
            match Call::open(&guard, &slot).await {
                Ok(session) => accessor.with(|mut access| access.get().push(session)).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        })
        .await
    }

    async fn ping(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<Pong>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.ping", |call, authorized| call.client().ping(&authorized))
        })
        .await
    }

    async fn info(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<NodeInfo>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.info", |call, authorized| call.client().info(&authorized))
        })
        .await
    }

    async fn keyspace(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<DatabaseFacts>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.keyspace", |call, authorized| call.client().keyspace(&authorized))
        })
        .await
    }

    async fn slowlog(accessor: &Accessor<T, Self>, session: Resource<Session>, limit: u32) -> Answer<Vec<SlowCommand>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.slowlog", |call, authorized| call.client().slowlog(&authorized, limit))
        })
        .await
    }

    async fn memory_usage(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        keys: Vec<Vec<u8>>,
    ) -> Answer<Vec<Option<KeyUsage>>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.memory-usage", |call, authorized| call.client().usage(&authorized, &keys))
        })
        .await
    }

    async fn scan(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        pattern: cache::Pattern,
    ) -> Answer<Given<Vec<u8>, u64>> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            streams::scan(accessor, &call, pattern).await
        })
        .await
    }

    async fn unlink_matching(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        options: UnlinkOptions,
    ) -> Answer<Given<UnlinkProgress, UnlinkProgress>> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            streams::unlink_matching(accessor, call, &options)
        })
        .await
    }

    async fn unlink(accessor: &Accessor<T, Self>, session: Resource<Session>, keys: Vec<Vec<u8>>) -> Answer<u64> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            Ok(call.unlink(keys).await)
        })
        .await
    }

    async fn monitor(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        seconds: u32,
        limit: u32,
    ) -> Answer<Given<SeenCommand, u64>> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            streams::monitor(accessor, &call, seconds, limit).await
        })
        .await
    }

    async fn get(accessor: &Accessor<T, Self>, session: Resource<Session>, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.get", |call, authorized| call.client().get(&authorized, &key, call.most()))
        })
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
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            Ok(call.set(key, value, lifetime, condition).await)
        })
        .await
    }

    async fn ttl(accessor: &Accessor<T, Self>, session: Resource<Session>, key: Vec<u8>) -> Answer<Lifetime> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.ttl", |call, authorized| call.client().ttl(&authorized, &key))
        })
        .await
    }

    async fn expire(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        milliseconds: Option<u64>,
    ) -> Answer<bool> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            Ok(call.expire(key, milliseconds).await)
        })
        .await
    }

    async fn hash_get(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        field: Vec<u8>,
    ) -> Answer<Option<Vec<u8>>> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.hash-get", |call, authorized| {
                call.client().hash_get(&authorized, &key, field, call.most())
            })
        })
        .await
    }

    async fn hash_entries(accessor: &Accessor<T, Self>, session: Resource<Session>, key: Vec<u8>) -> Answer<Entries> {
        unless_stopped(accessor, async {
            reads!(accessor, session, "cache.hash-entries", |call, authorized| {
                call.client().hash_entries(&authorized, &key, call.most())
            })
        })
        .await
    }

    async fn hash_set(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        entries: Entries,
    ) -> Answer<u64> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            Ok(call.hash_set(key, entries).await)
        })
        .await
    }

    async fn hash_delete(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        key: Vec<u8>,
        fields: Vec<Vec<u8>>,
    ) -> Answer<u64> {
        unless_stopped(accessor, async {
            let call = Call::begin(accessor, &session)?;
            Ok(call.hash_delete(key, fields).await)
        })
        .await
    }
}
