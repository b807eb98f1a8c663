//! The client of one binding. Every function takes the token of an authorised call, or the permit of a recorded effect: there is no other way in.

use crate::connect::connect;
use crate::error::Cluster;
use crate::kind::Resource;
use crate::request::{Call, Requests};
use rota_authority::{Authorized, Kubernetes, KubernetesAccess};
use rota_config::KubernetesBinding;
use rota_contract::Error;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The way to clusters, which all runs share.
#[derive(Debug, Default)]
pub struct Clusters;

/// The kinds that were looked up, by API version and kind.
type Kinds = Mutex<HashMap<(String, String), Arc<Resource>>>;

/// A cluster, for the time in which a guest holds it open.
#[derive(Clone)]
pub struct Client {
    pub(crate) requests: Requests,
    pub(crate) kinds: Arc<Kinds>,
    namespace: Arc<str>,
}

impl Clusters {
    /// A client of the binding.
    ///
    /// # Errors
    /// When its configuration cannot be used.
    pub async fn open(&self, authorized: &Authorized<Kubernetes>) -> Result<Client, Error> {
        Client::of_binding(authorized.binding_name(), authorized.binding()).await
    }
}

impl Client {
    /// A client of a binding: one that a token was given for, or that the binding of a token names.
    pub(crate) async fn of_binding(name: &str, binding: &KubernetesBinding) -> Result<Self, Error> {
        let cluster = Cluster(name.to_owned());
        let (client, namespace) = connect(&cluster, binding).await?;
        let requests = Requests { client, cluster, timeout: Duration::from(binding.timeout) };
        Ok(Self { requests, kinds: Arc::default(), namespace: namespace.into() })
    }

    /// The namespace that is meant where none is named.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The version of the API server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self, _: &Authorized<Kubernetes>) -> Result<String, Error> {
        let version = self.requests.json(Call::get("asking for the version", "/version", &[])).await?;
        Ok(version["gitVersion"].as_str().unwrap_or_default().to_owned())
    }
}

/// Whether an access is among those that the slot is granted, without a denial on record: for what is only shown less of.
pub(crate) fn is_granted(authorized: &Authorized<Kubernetes>, access: KubernetesAccess) -> bool {
    let word = access.to_string();
    authorized.gate().bound(authorized.slot()).is_some_and(|grant| grant.accesses.contains(&word))
}
