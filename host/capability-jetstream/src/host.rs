//! The WIT side of `jetstream`: each call is authorised, and only then is the client asked.

use crate::client::{Client, Listing};
use rota_authority::{Authorized, Jetstream, JetstreamAccess};
use rota_capability::streams::give_outcome;
use rota_capability::tape::{self, Handle, Plain, ask, called};
use rota_capability::{CallGuard, Capability, Guest, Items, Services, begin, denied};
use rota_contract::Error;
use std::sync::Arc;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, FutureReader, HasData, Lift, Linker, Lower, Resource, StreamReader};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-jetstream;
            world host { import rota:runbook/jetstream@0.1.0; }
        ",
        world: "rota:host-jetstream/host",
        with: {
            "rota:runbook/types": rota_contract::types,
            "rota:runbook/jetstream.session": super::Session,
        },
        imports: { default: trappable },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub(crate) use generated::rota::runbook::jetstream;
use jetstream::{AccountFacts, ConsumerFacts, Monitored, ServerFacts, StreamFacts};

/// A slot that a guest has open.
#[derive(Clone)]
pub struct Session {
    slot: Arc<str>,
    client: Client,
}

/// The capability.
pub struct JetstreamCapability;

impl Capability for JetstreamCapability {
    fn name(&self) -> &'static str {
        "jetstream"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["jetstream"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        jetstream::add_to_linker::<Guest, Host>(linker, rota_capability::guest)
    }

    fn provide(&self, _: &mut Services) {}
}

/// The projection of a store that the interface works on.
pub(crate) struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut Guest;
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// A stream, and how many there were.
type Given<T> = (StreamReader<T>, FutureReader<Result<u64, Error>>);

impl jetstream::Host for &mut Guest {}

impl jetstream::HostSession for &mut Guest {
    fn drop(&mut self, session: Resource<Session>) -> wasmtime::Result<()> {
        self.release(session)
    }
}

/// What a call on a session needs.
struct Call {
    session: Session,
    guard: CallGuard,
}

impl Call {
    fn begin<T: Send + 'static>(accessor: &Accessor<T, Host>, session: &Resource<Session>) -> wasmtime::Result<Self> {
        let (guard, session) = begin(accessor, |guest| Ok(guest.table.get(session)?.clone()))?;
        Ok(Self { session, guard })
    }

    fn client(&self) -> &Client {
        &self.session.client
    }

    fn reads(&self, operation: &'static str) -> Result<Authorized<Jetstream>, Error> {
        self.guard.run().gate.authorise(operation, &self.session.slot, &[JetstreamAccess::Read]).map_err(denied)
    }

    /// Open the binding in a slot.
    async fn open(guard: &CallGuard, slot: &str) -> Result<Session, Error> {
        let authorized = guard.run().gate.authorise("jetstream.open", slot, &[]).map_err(denied)?;
        let client = Client::connect(&authorized).await?;
        Ok(Session { slot: authorized.slot().into(), client })
    }

    fn give<T, I>(&self, accessor: &Accessor<T, Host>, listing: Result<Listing<I>, Error>) -> Answer<Given<I>>
    where
        T: Send + 'static,
        I: Lower + Lift + serde::Serialize + Send + Sync + 'static,
    {
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => return Ok(Err(error)),
        };
        let (items, told) = Items::new(listing.items, listing.work, self.guard.run());
        accessor.with(|mut access| {
            let stream = StreamReader::new(access.as_context_mut(), items)?;
            Ok(Ok((stream, give_outcome(&mut access, told)?)))
        })
    }
}

/// A read: authorise, then ask.
macro_rules! reads {
    ($accessor:ident, $session:ident, $operation:literal, $asking:expr, |$call:ident, $authorized:ident| $ask:expr) => {
        called($accessor, $asking, Plain, async {
            let $call = Call::begin($accessor, &$session)?;
            let asked: Result<_, Error> = async {
                let $authorized = $call.reads($operation)?;
                $ask.await
            }
            .await;
            Ok(asked)
        })
        .await
    };
}

impl<T: Send + 'static> jetstream::HostSessionWithStore<T> for Host {
    async fn open(accessor: &Accessor<T, Self>, slot: String) -> Answer<Resource<Session>> {
        called(
            accessor,
            ask(accessor, "jetstream.session.open", None, |asked| asked.with("slot", &slot)),
            Handle,
            async {
                let (guard, ()) = begin(accessor, |_| Ok(()))?;
                match Call::open(&guard, &slot).await {
                    Ok(session) => accessor.with(|mut access| access.get().push(session)).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            },
        )
        .await
    }

    async fn server(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<ServerFacts> {
        reads!(
            accessor,
            session,
            "jetstream.server",
            ask(accessor, "jetstream.session.server", Some(session.rep()), |asked| asked),
            |call, authorized| call.client().server(&authorized)
        )
    }

    async fn account(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<AccountFacts>> {
        reads!(
            accessor,
            session,
            "jetstream.account",
            ask(accessor, "jetstream.session.account", Some(session.rep()), |asked| asked),
            |call, authorized| call.client().account(&authorized)
        )
    }

    async fn streams(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Given<StreamFacts>> {
        called(
            accessor,
            ask(accessor, "jetstream.session.streams", Some(session.rep()), |asked| asked),
            tape::Items,
            async {
                let call = Call::begin(accessor, &session)?;
                let listing = async { call.client().streams(&call.reads("jetstream.streams")?).await }.await;
                call.give(accessor, listing)
            },
        )
        .await
    }

    async fn consumers(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        stream: String,
    ) -> Answer<Given<ConsumerFacts>> {
        called(
            accessor,
            ask(accessor, "jetstream.session.consumers", Some(session.rep()), |asked| asked.with("stream", &stream)),
            tape::Items,
            async {
                let call = Call::begin(accessor, &session)?;
                let listing =
                    async { call.client().consumers(&call.reads("jetstream.consumers")?, &stream).await }.await;
                call.give(accessor, listing)
            },
        )
        .await
    }

    async fn stored_at(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        stream: String,
        sequence: u64,
        subject: String,
    ) -> Answer<Option<i64>> {
        reads!(
            accessor,
            session,
            "jetstream.stored-at",
            ask(accessor, "jetstream.session.stored-at", Some(session.rep()), |asked| asked
                .with("stream", &stream)
                .with("sequence", &sequence)
                .with("subject", &subject)),
            |call, authorized| { call.client().stored_at(&authorized, &stream, sequence, &subject) }
        )
    }

    async fn monitoring(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answer<Vec<Monitored>> {
        reads!(
            accessor,
            session,
            "jetstream.monitoring",
            ask(accessor, "jetstream.session.monitoring", Some(session.rep()), |asked| asked),
            |call, authorized| call.client().monitoring(&authorized)
        )
    }
}
