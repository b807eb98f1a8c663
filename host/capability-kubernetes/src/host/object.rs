//! What a call on objects does: authorise, find the place, hold it against the rules, and read or change.

use super::kubernetes::{Condition, Kind, Need, Object, PatchKind, Selection};
use super::{Call, Cluster};
use crate::client::is_granted;
use crate::reach::Place;
use crate::read::Collection;
use crate::request::segment;
use crate::review::Question;
use crate::write::Change;
use rota_authority::{Authorized, Kubernetes, KubernetesAccess, Mode};
use rota_capability::{CallGuard, denied};
use rota_contract::Error;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a guest may watch or wait in one call.
pub(super) const LONGEST: u32 = 86_400;

pub(super) async fn open(
    guard: &CallGuard,
    clusters: Option<Arc<crate::Clusters>>,
    slot: &str,
) -> Result<Cluster, Error> {
    let authorized = guard.run().gate.authorise("kubernetes.open", slot, &[]).map_err(denied)?;
    let client = clusters.unwrap_or_default().open(&authorized).await?;
    client.review(&authorized).await?;
    Ok(Cluster { slot: authorized.slot().into(), client })
}

impl Call {
    /// A read of one object: authorised, its place found, and let through by the rules.
    pub(super) async fn reads(
        &self,
        operation: &'static str,
        verb: &str,
        object: &Object,
    ) -> Result<(Authorized<Kubernetes>, Place), Error> {
        self.reaches(operation, KubernetesAccess::Read, verb, object).await
    }

    pub(super) async fn reaches(
        &self,
        operation: &'static str,
        access: KubernetesAccess,
        verb: &str,
        object: &Object,
    ) -> Result<(Authorized<Kubernetes>, Place), Error> {
        let authorized = self.authorise(operation, &[access])?;
        let place = self.client().place(&authorized, operation, object).await?;
        self.client().admit(&authorized, operation, verb, &place).await?;
        Ok((authorized, place))
    }

    pub(super) async fn collection(
        &self,
        operation: &'static str,
        verb: &str,
        kind: &Kind,
        selection: Selection,
    ) -> Result<(Authorized<Kubernetes>, Collection), Error> {
        let authorized = self.authorise(operation, &[KubernetesAccess::Read])?;
        let resource = self.client().resource(kind).await?;
        let namespace = if selection.all_namespaces && resource.namespaced {
            if !authorized.binding().reaches_all() {
                let reason = format!("binding `{}` does not reach all namespaces; name one", authorized.binding_name());
                return Err(denied(authorized.gate().never(operation, authorized.slot(), reason)));
            }
            String::new()
        } else {
            self.client().namespace_of(&authorized, operation, resource.namespaced, selection.namespace.as_deref())?
        };
        let of = (!selection.all_namespaces || !resource.namespaced).then_some(namespace.as_str());
        let filter = self.client().filter(&authorized, operation, verb, &resource, of)?;
        let shows_secrets = is_granted(&authorized, KubernetesAccess::Secrets);
        Ok((authorized, Collection { resource, namespace, selection, filter, shows_secrets }))
    }

    pub(super) async fn require(&self, needs: Vec<Need>) -> Result<(), Error> {
        const OPERATION: &str = "kubernetes.require";
        let authorized = self.authorise(OPERATION, &[])?;
        let mut questions = Vec::new();
        for need in needs {
            let resource = self.client().resource(&need.kind).await?;
            let namespace =
                self.client().namespace_of(&authorized, OPERATION, resource.namespaced, need.namespace.as_deref())?;
            let name = need.name.as_deref().map(|name| segment("the name", name)).transpose()?.unwrap_or_default();
            let subresource = need.subresource.unwrap_or_default();
            self.authorise(OPERATION, &[access_of(&need.verb, &subresource)])?;
            questions.push(Question {
                verb: need.verb,
                group: resource.group.clone(),
                resource: resource.plural.clone(),
                subresource,
                namespace,
                name: name.to_owned(),
            });
        }
        self.client().ask(&authorized, &questions).await
    }

    pub(super) async fn patch(&self, object: &Object, kind: PatchKind, patch: &str) -> Result<String, Error> {
        const OPERATION: &str = "kubernetes.patch";
        let authorized = self.authorise(OPERATION, &[KubernetesAccess::Write])?;
        let document = self.document(patch)?;
        let place = self.client().place(&authorized, OPERATION, object).await?;
        let admitted = self.client().admit(&authorized, OPERATION, "patch", &place).await;
        match (admitted, kind) {
            // An apply makes what is not there.
            (Err(Error::NotFound(_)), PatchKind::Apply | PatchKind::ForceApply) => {
                self.client().admit_new(&authorized, OPERATION, "patch", &place, &document)?;
            }
            (admitted, _) => admitted?,
        }
        self.check_secrets(OPERATION, &place, &document)?;
        let changed = self.change(&authorized, &Change::patch(place.clone(), kind, &document)).await?;
        Ok(crate::read::shown(&authorized, &place, changed))
    }

    pub(super) async fn set_scale(&self, object: &Object, replicas: u32, expected: Option<u32>) -> Result<u32, Error> {
        let (authorized, place) =
            self.reaches("kubernetes.set-scale", KubernetesAccess::Scale, "scale", object).await?;
        let (scale, version) = self.client().scale(&authorized, &place).await?;
        if let Some(expected) = expected.filter(|expected| *expected != scale.wanted) {
            let text = format!("{}: {} replicas are wanted, not {expected}", place.shown(), scale.wanted);
            return Err(Error::Conflict(text));
        }
        let version = expected.map(|_| version);
        let change = Change::scale(place, scale.wanted, replicas, version.as_deref());
        self.change(&authorized, &change).await?;
        Ok(scale.wanted)
    }

    pub(super) async fn restart(&self, object: &Object) -> Result<(), Error> {
        let (authorized, place) =
            self.reaches("kubernetes.restart", KubernetesAccess::Scale, "restart", object).await?;
        workload(&place)?;
        self.change(&authorized, &Change::restart(place)).await.map(drop)
    }

    pub(super) async fn wait_for(&self, object: &Object, condition: &Condition, seconds: u32) -> Result<String, Error> {
        let (authorized, place) = match self.reads("kubernetes.wait-for", "get", object).await {
            // Its labels, by which a rule would let it through, are those of an object that is gone.
            Err(Error::NotFound(_)) if matches!(condition, Condition::Gone) => return Ok("null".into()),
            reached => reached?,
        };
        let time = if authorized.gate().mode() == Mode::Plan { 0 } else { seconds.min(LONGEST) };
        let time = Duration::from_secs(time.into());
        let found = self.client().wait_for(&authorized, &place, condition, time).await?;
        Ok(crate::read::shown(&authorized, &place, found))
    }
}

/// The access that a verb of RBAC belongs to.
fn access_of(verb: &str, subresource: &str) -> KubernetesAccess {
    match (verb, subresource) {
        (_, "exec") => KubernetesAccess::Exec,
        ("get" | "list" | "watch", _) => KubernetesAccess::Read,
        ("delete" | "deletecollection", _) => KubernetesAccess::Delete,
        (_, "scale") => KubernetesAccess::Scale,
        _ => KubernetesAccess::Write,
    }
}

/// Only what has a rollout.
pub(super) fn workload(place: &Place) -> Result<(), Error> {
    if place.resource.group == "apps"
        && matches!(&*place.resource.plural, "deployments" | "statefulsets" | "daemonsets")
    {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("{} have no rollout", place.resource.rbac())))
}
