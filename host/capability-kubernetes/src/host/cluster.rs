//! The functions of a cluster, as a guest calls them.

use super::kubernetes::{
    self, Condition, DeleteOptions, Event, Job, Kind, Listed, LogOptions, Need, Object, PatchKind, Rollout, Scale,
    Selection, Watched,
};
use super::producers::{Changes, Objects, Producer};
use super::{Answer, Call, Cluster, HeldLock, Host};
use crate::client::is_granted;
use crate::reach::Place;
use crate::read::Collection;
use crate::request::segment;
use crate::review::Question;
use crate::write::Change;
use rota_authority::{Authorized, Kubernetes, KubernetesAccess, Mode};
use rota_capability::streams::{Taken, give_bytes, give_outcome, take_bytes, watched};
use rota_capability::{CallGuard, Child, Guest, begin, denied};
use rota_contract::Error;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, AccessorTask, FutureReader, HasData, Resource, StreamReader};

/// The longest that a guest may watch or wait in one call.
const LONGEST: u32 = 86_400;

async fn open(guard: &CallGuard, clusters: Option<Arc<crate::Clusters>>, slot: &str) -> Result<Cluster, Error> {
    let authorized = guard.run().gate.authorise("kubernetes.open", slot, &[]).map_err(denied)?;
    let client = clusters.unwrap_or_default().open(&authorized).await?;
    client.review(&authorized).await?;
    Ok(Cluster { slot: authorized.slot().into(), client })
}

impl Call {
    /// A read of one object: authorised, its place found, and let through by the rules.
    async fn reads(
        &self,
        operation: &'static str,
        verb: &str,
        object: &Object,
    ) -> Result<(Authorized<Kubernetes>, Place), Error> {
        self.reaches(operation, KubernetesAccess::Read, verb, object).await
    }

    async fn reaches(
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

    async fn collection(
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

    async fn require(&self, needs: Vec<Need>) -> Result<(), Error> {
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

    async fn patch(&self, object: &Object, kind: PatchKind, patch: &str) -> Result<String, Error> {
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

    async fn set_scale(&self, object: &Object, replicas: u32, expected: Option<u32>) -> Result<u32, Error> {
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

    async fn restart(&self, object: &Object) -> Result<(), Error> {
        let (authorized, place) =
            self.reaches("kubernetes.restart", KubernetesAccess::Scale, "restart", object).await?;
        workload(&place)?;
        self.change(&authorized, &Change::restart(place)).await.map(drop)
    }

    async fn wait_for(&self, object: &Object, condition: &Condition, seconds: u32) -> Result<String, Error> {
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
fn workload(place: &Place) -> Result<(), Error> {
    if place.resource.group == "apps"
        && matches!(&*place.resource.plural, "deployments" | "statefulsets" | "daemonsets")
    {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("{} have no rollout", place.resource.rbac())))
}

/// Answers, within the store, that the run goes on, for as long as a guest's stream is read.
struct Confirm<F>(F);

impl<T, D, F> AccessorTask<T, D> for Confirm<F>
where
    D: HasData + ?Sized,
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(self, _: &Accessor<T, D>) -> wasmtime::Result<()> {
        self.0.await;
        Ok(())
    }
}

impl kubernetes::HostCluster for &mut Guest {
    fn namespace(&mut self, cluster: Resource<Cluster>) -> wasmtime::Result<String> {
        Ok(self.table.get(&cluster)?.client.namespace().to_owned())
    }

    fn drop(&mut self, cluster: Resource<Cluster>) -> wasmtime::Result<()> {
        self.table.delete(cluster)?;
        Ok(())
    }
}

impl<T: Send + 'static> kubernetes::HostClusterWithStore<T> for Host {
    async fn open(accessor: &Accessor<T, Self>, slot: String) -> Answer<Resource<Cluster>> {
        let (guard, clusters) = begin(accessor, |guest| Ok(guest.services.get::<crate::Clusters>()))?;
        match open(&guard, clusters, &slot).await {
            Ok(cluster) => accessor.with(|mut access| access.get().push(cluster)).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn version(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>) -> Answer<String> {
        let call = Call::begin(accessor, &cluster)?;
        Ok(async { call.client().version(&call.authorise("kubernetes.version", &[])?).await }.await)
    }

    async fn require(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, needs: Vec<Need>) -> Answer<()> {
        Ok(Call::begin(accessor, &cluster)?.require(needs).await)
    }

    async fn get(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<String> {
        let call = Call::begin(accessor, &cluster)?;
        let got = async {
            let (authorized, place) = call.reads("kubernetes.get", "get", &object).await?;
            let object = call.client().get(&authorized, &place).await?;
            Ok(crate::read::shown(&authorized, &place, object))
        };
        Ok(got.await)
    }

    async fn list(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        kind: Kind,
        selection: Selection,
    ) -> Answer<(StreamReader<String>, FutureReader<Result<Listed, Error>>)> {
        let call = Call::begin(accessor, &cluster)?;
        let listing = match call.collection("kubernetes.list", "list", &kind, selection).await {
            Ok((authorized, collection)) => call.client().list(&authorized, collection),
            Err(error) => return Ok(Err(error)),
        };
        let (objects, told) = Objects::new(listing);
        accessor.with(|mut access| {
            let stream = StreamReader::new(access.as_context_mut(), Producer(objects))?;
            Ok(Ok((stream, give_outcome(&mut access, told)?)))
        })
    }

    async fn watch(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        kind: Kind,
        selection: Selection,
        from: Option<String>,
        seconds: u32,
    ) -> Answer<(StreamReader<Watched>, FutureReader<Result<String, Error>>)> {
        let call = Call::begin(accessor, &cluster)?;
        let time = Duration::from_secs(seconds.clamp(1, LONGEST).into());
        let watching = match call.collection("kubernetes.watch", "watch", &kind, selection).await {
            Ok((authorized, collection)) => call.client().watch(&authorized, collection, from, time),
            Err(error) => return Ok(Err(error)),
        };
        let (changes, told) = Changes::new(watching);
        accessor.with(|mut access| {
            let stream = StreamReader::new(access.as_context_mut(), Producer(changes))?;
            Ok(Ok((stream, give_outcome(&mut access, told)?)))
        })
    }

    async fn events(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<Vec<Event>> {
        let call = Call::begin(accessor, &cluster)?;
        let events = async {
            let (authorized, place) = call.reads("kubernetes.events", "get", &object).await?;
            call.client().events(&authorized, &place).await
        };
        Ok(events.await)
    }

    async fn create(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: String) -> Answer<String> {
        Ok(Call::begin(accessor, &cluster)?.create(&object).await)
    }

    async fn patch(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        kind: PatchKind,
        patch: String,
    ) -> Answer<String> {
        Ok(Call::begin(accessor, &cluster)?.patch(&object, kind, &patch).await)
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        options: DeleteOptions,
    ) -> Answer<()> {
        let call = Call::begin(accessor, &cluster)?;
        let deleted = async {
            let (authorized, place) =
                call.reaches("kubernetes.delete", KubernetesAccess::Delete, "delete", &object).await?;
            call.change(&authorized, &Change::delete(place, &options)).await.map(drop)
        };
        Ok(deleted.await)
    }

    async fn get_scale(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<Scale> {
        let call = Call::begin(accessor, &cluster)?;
        let scale = async {
            let (authorized, place) = call.reads("kubernetes.get-scale", "get", &object).await?;
            call.client().scale(&authorized, &place).await.map(|(scale, _)| scale)
        };
        Ok(scale.await)
    }

    async fn set_scale(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        replicas: u32,
        expected: Option<u32>,
    ) -> Answer<u32> {
        Ok(Call::begin(accessor, &cluster)?.set_scale(&object, replicas, expected).await)
    }

    async fn restart(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<()> {
        Ok(Call::begin(accessor, &cluster)?.restart(&object).await)
    }

    async fn rollout_status(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
    ) -> Answer<Rollout> {
        let call = Call::begin(accessor, &cluster)?;
        let status = async {
            let (authorized, place) = call.reads("kubernetes.rollout-status", "get", &object).await?;
            workload(&place)?;
            call.client().get(&authorized, &place).await.map(|object| crate::rollout::rollout(&object))
        };
        Ok(status.await)
    }

    async fn wait_for(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        condition: Condition,
        seconds: u32,
    ) -> Answer<String> {
        Ok(Call::begin(accessor, &cluster)?.wait_for(&object, &condition, seconds).await)
    }

    async fn logs(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        pod: String,
        namespace: Option<String>,
        options: LogOptions,
    ) -> Answer<(StreamReader<u8>, FutureReader<Result<u64, Error>>)> {
        const OPERATION: &str = "kubernetes.logs";
        let call = Call::begin(accessor, &cluster)?;
        let opened = async {
            let authorized = call.authorise(OPERATION, &[KubernetesAccess::Read])?;
            let pod = call.client().pod(&authorized, OPERATION, namespace, &pod).await?;
            call.client().admit(&authorized, OPERATION, "log", &pod).await?;
            call.client().logs(&authorized, &pod, &options).await
        };
        let reader = match opened.await {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let (reader, outcome) = watched(reader, |passed| passed);
        accessor.with(|mut access| Ok(Ok((give_bytes(&mut access, reader)?, give_outcome(&mut access, outcome)?))))
    }

    async fn exec(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        command: kubernetes::Command,
        stdin: Option<StreamReader<u8>>,
    ) -> Answer<Resource<Child>> {
        // Taken whatever comes of the call: a stream that is refused must tell its writer so.
        let taken = accessor.with(|mut access| stdin.map(|stream| take_bytes(&mut access, stream)).transpose())?;
        let call = Call::begin(accessor, &cluster)?;
        let (reader, confirmations) =
            taken.map(Taken::split).map_or((None, None), |(reader, confirmations)| (Some(reader), confirmations));
        let child = match call.exec(command, reader).await {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(confirmations) = confirmations {
            accessor.spawn(Confirm(confirmations))?;
        }
        accessor.with(|mut access| access.get().push(child)).map(Ok)
    }

    async fn run_job(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, job: Job) -> Answer<Resource<Child>> {
        let call = Call::begin(accessor, &cluster)?;
        match call.run_job(&job).await {
            Ok(child) => accessor.with(|mut access| access.get().push(child)).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn lock(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        name: String,
        namespace: Option<String>,
        seconds: u32,
    ) -> Answer<Resource<HeldLock>> {
        let call = Call::begin(accessor, &cluster)?;
        match call.lock(name, namespace, seconds).await {
            Ok(lock) => accessor.with(|mut access| access.get().push(lock)).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }
}
