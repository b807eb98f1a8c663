//! Kinds of objects: what the cluster's discovery says of them.

use crate::client::Client;
use crate::error::fault;
use crate::host::kubernetes::Kind;
use crate::request::{Call, segment};
use rota_contract::Error;
use serde_json::Value;
use std::sync::{Arc, PoisonError};

/// A kind that the cluster has.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    /// Whether it has a scale.
    pub(crate) scales: bool,
}

impl Resource {
    /// As RBAC and rules name it: `deployments.apps`.
    pub(crate) fn rbac(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.group.is_empty() && self.plural == "secrets"
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of the collection; in all namespaces where the namespace is empty.
    pub(crate) fn path(&self, namespace: &str) -> String {
        let root = root(&self.group, &self.version);
        match namespace {
            "" => format!("{root}/{}", self.plural),
            namespace => format!("{root}/namespaces/{namespace}/{}", self.plural),
        }
    }
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

impl Client {
    /// The kind of a guest's words.
    pub(crate) async fn resource(&self, kind: &Kind) -> Result<Arc<Resource>, Error> {
        let key = (kind.api_version.clone(), kind.name.clone());
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
        if !group.is_empty() {
            segment("the group", group)?;
        }
        let what = format!("looking up the kinds of {}", segment("the version", version).map(|_| &kind.api_version)?);
        let found =
            self.requests.json(Call::get(&what, &root(group, version), &[])).await.map_err(|error| match error {
                Error::NotFound(_) => Error::InvalidArgument(format!("the cluster has no API `{}`", kind.api_version)),
                other => other,
            })?;
        let resources =
            found["resources"].as_array().ok_or_else(|| fault("answer", format!("{what}: no list"), true))?;
        let word = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
        let of_kind = |one: &&Value| word(one, "kind") == kind.name && !word(one, "name").contains('/');
        let Some(one) = resources.iter().find(of_kind) else {
            let shown: String = kind.name.chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(Error::InvalidArgument(format!("the cluster has no kind `{shown}` in `{}`", kind.api_version)));
        };
        let plural = word(one, "name");
        let scale = format!("{plural}/scale");
        let resource = Arc::new(Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            namespaced: one["namespaced"].as_bool().unwrap_or(true),
            scales: resources.iter().any(|one| one["name"] == scale.as_str()),
            kind: kind.name.clone(),
            plural,
        });
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, resource.clone());
        Ok(resource)
    }
}
