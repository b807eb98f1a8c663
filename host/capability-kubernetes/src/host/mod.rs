//! The WIT side of `kubernetes`: each call is authorised, held against the binding's rules, its effect recorded, and only then is the client called.

mod cluster;
mod effect;
mod lock;
mod object;
mod producers;

use crate::client::{Client, Clusters};
use crate::place::Places;
use rota_authority::{Authorized, Kubernetes, KubernetesAccess};
use rota_capability::{CallGuard, Capability, Guest, Remotes, Services, begin, denied};
use rota_contract::Error;
use std::sync::Arc;
use wasmtime::component::{Accessor, HasData, Linker, Resource};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-kubernetes;
            world host { import rota:runbook/kubernetes@0.1.0; }
        ",
        world: "rota:host-kubernetes/host",
        with: {
            "rota:runbook/types": rota_contract::types,
            "rota:runbook/process.child": rota_capability::Child,
            "rota:runbook/kubernetes.cluster": super::Cluster,
            "rota:runbook/kubernetes.lock": super::HeldLock,
        },
        imports: { default: trappable },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

pub(crate) use generated::rota::runbook::kubernetes;

/// A slot that a guest has open.
#[derive(Clone)]
pub struct Cluster {
    slot: Arc<str>,
    client: Client,
}

/// A lock that a guest holds; in a plan, nothing.
pub struct HeldLock {
    slot: Arc<str>,
    object: String,
    lock: Option<crate::lock::Lock>,
}

/// The capability.
pub struct KubernetesCapability;

impl Capability for KubernetesCapability {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["kubernetes"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        kubernetes::add_to_linker::<Guest, Host>(linker, rota_capability::guest)
    }

    fn provide(&self, services: &mut Services) {
        services.provide(Clusters);
        services.provide(Remotes(Arc::new(Places)));
        rota_config::read_kubernetes_secrets_with(crate::reference::fetch);
    }
}

/// The projection of a store that the interface works on.
pub(crate) struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut Guest;
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl kubernetes::Host for &mut Guest {}

/// What a call on a cluster needs.
struct Call {
    cluster: Cluster,
    guard: CallGuard,
}

impl Call {
    fn begin<T: Send + 'static>(accessor: &Accessor<T, Host>, cluster: &Resource<Cluster>) -> wasmtime::Result<Self> {
        let (guard, cluster) = begin(accessor, |guest| Ok(guest.table.get(cluster)?.clone()))?;
        Ok(Self { cluster, guard })
    }

    fn client(&self) -> &Client {
        &self.cluster.client
    }

    fn authorise(&self, operation: &'static str, needed: &[KubernetesAccess]) -> Result<Authorized<Kubernetes>, Error> {
        self.guard.run().gate.authorise(operation, &self.cluster.slot, needed).map_err(denied)
    }

    /// A guest's document, which is as large as it may be at most.
    fn document(&self, text: &str) -> Result<serde_json::Value, Error> {
        let limit = self.guard.run().limits.call_bytes;
        if text.len() > limit {
            return Err(Error::Quota(format!("a document of a call has at most {limit} bytes (host_call_bytes)")));
        }
        serde_json::from_str(text).map_err(|error| Error::InvalidArgument(format!("the document is not JSON: {error}")))
    }
}
