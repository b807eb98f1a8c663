//! The WIT side of `cache`: each call is authorised, what it names is checked, its effect recorded, and only then is the client called.

use crate::client::Client;
use crate::pattern::{LONGEST, Pattern, shown};
use rota_authority::{Authorized, Cache, CacheAccess, Decision, Effect, EffectClass, Exact, Permit};
use rota_capability::{CallGuard, Capability, Guest, Services, begin, denied, refused};
use rota_contract::Error;
use std::sync::Arc;
use wasmtime::component::{Accessor, HasData, Linker, Resource};

mod calls;
mod effects;
mod streams;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-cache;
            world host { import rota:runbook/cache@0.1.0; }
        ",
        world: "rota:host-cache/host",
        with: {
            "rota:runbook/types": rota_contract::types,
            "rota:runbook/cache.session": super::Session,
        },
        imports: { default: trappable },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub(crate) use generated::rota::runbook::cache;

/// A slot that a guest has open.
#[derive(Clone)]
pub struct Session {
    slot: Arc<str>,
    client: Client,
}

/// The capability.
pub struct CacheCapability;

impl Capability for CacheCapability {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["cache"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        cache::add_to_linker::<Guest, Host>(linker, rota_capability::guest)
    }

    fn provide(&self, _: &mut Services) {}
}

/// The projection of a store that the interface works on.
pub(crate) struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut Guest;
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl cache::Host for &mut Guest {}

impl cache::HostSession for &mut Guest {
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

    fn authorise(&self, operation: &'static str, needed: CacheAccess) -> Result<Authorized<Cache>, Error> {
        self.guard.run().gate.authorise(operation, &self.session.slot, &[needed]).map_err(denied)
    }

    fn reads(&self, operation: &'static str) -> Result<Authorized<Cache>, Error> {
        self.authorise(operation, CacheAccess::Read)
    }

    /// The most bytes of a value.
    fn most(&self) -> usize {
        self.guard.run().limits.call_bytes
    }

    /// Authorise an effect on keys, none of which the operator protects.
    fn changes<'k>(
        &self,
        operation: &'static str,
        needed: CacheAccess,
        keys: impl IntoIterator<Item = &'k Vec<u8>>,
    ) -> Result<Authorized<Cache>, Error> {
        let authorized = self.authorise(operation, needed)?;
        for key in keys {
            if key.len() > LONGEST {
                return Err(Error::InvalidArgument(format!("a key has at most {LONGEST} bytes, not {}", key.len())));
            }
            if let Some(prefix) = self.client().protection(key) {
                let reason = format!(
                    "keys that begin with `{prefix}` are protected (`protected` of the binding), whatever is granted"
                );
                return Err(denied(self.guard.run().gate.never(operation, &self.session.slot, reason)));
            }
        }
        Ok(authorized)
    }

    /// Open the binding in a slot.
    async fn open(guard: &CallGuard, slot: &str) -> Result<Session, Error> {
        let authorized = guard.run().gate.authorise("cache.open", slot, &[]).map_err(denied)?;
        let client = Client::connect(&authorized).await?;
        Ok(Session { slot: authorized.slot().into(), client })
    }
}

/// Record an effect: none in a plan.
async fn decide(
    authorized: &Authorized<Cache>,
    object: String,
    detail: String,
    class: EffectClass,
    exact: Exact,
) -> Result<Option<Permit<Cache>>, Error> {
    match authorized.effect(Effect { object, detail, class, exact }).await.map_err(refused)? {
        Decision::Planned => Ok(None),
        Decision::Perform(permit) => Ok(Some(permit)),
    }
}

/// Some keys in words.
fn named(keys: &[Vec<u8>]) -> String {
    const FEW: usize = 3;
    let first: Vec<String> = keys.iter().take(FEW).map(|key| format!("`{}`", shown(key))).collect();
    let more = if keys.len() > FEW { format!(" and {} more", keys.len() - FEW) } else { String::new() };
    format!("{}{more}", first.join(", "))
}
