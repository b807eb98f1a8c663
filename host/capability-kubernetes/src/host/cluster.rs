//! The functions of a cluster, as a guest calls them.

use super::kubernetes::{
    self, Condition, DeleteOptions, Event, Job, Kind, Listed, LogOptions, Need, Object, PatchKind, Rollout, Scale,
    Selection, Watched,
};
use super::object::{LONGEST, open, workload};
use super::producers::{Changes, Objects, Producer};
use super::{Answer, Call, Cluster, HeldLock, Host};
use crate::write::Change;
use rota_authority::KubernetesAccess;
use rota_capability::streams::{Taken, give_bytes, give_outcome, take_bytes, watched};
use rota_capability::tape::{self, Bytes, Handle, Items, Plain, ask, called};
use rota_capability::{Child, Guest, begin};
use rota_contract::Error;
use std::time::Duration;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, AccessorTask, FutureReader, HasData, Resource, StreamReader};

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
        tape::now(
            self,
            "kubernetes.cluster.namespace",
            Some(cluster.rep()),
            |asked| asked,
            Plain,
            |guest| Ok(guest.table.get(&cluster)?.client.namespace().to_owned()),
        )
    }

    fn drop(&mut self, cluster: Resource<Cluster>) -> wasmtime::Result<()> {
        self.release(cluster)
    }
}

impl<T: Send + 'static> kubernetes::HostClusterWithStore<T> for Host {
    async fn open(accessor: &Accessor<T, Self>, slot: String) -> Answer<Resource<Cluster>> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.open", None, |asked| asked.with("slot", &slot)),
            Handle,
            async {
                let (guard, clusters) = begin(accessor, |guest| Ok(guest.services.get::<crate::Clusters>()))?;
                match open(&guard, clusters, &slot).await {
                    Ok(cluster) => accessor.with(|mut access| access.get().push(cluster)).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            },
        )
        .await
    }

    async fn version(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>) -> Answer<String> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.version", Some(cluster.rep()), |asked| asked),
            Plain,
            async {
                let call = Call::begin(accessor, &cluster)?;
                Ok(async { call.client().version(&call.authorise("kubernetes.version", &[])?).await }.await)
            },
        )
        .await
    }

    async fn require(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, needs: Vec<Need>) -> Answer<()> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.require", Some(cluster.rep()), |asked| asked.with("needs", &needs)),
            Plain,
            async { Ok(Call::begin(accessor, &cluster)?.require(needs).await) },
        )
        .await
    }

    async fn get(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<String> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.get", Some(cluster.rep()), |asked| asked.with("object", &object)),
            Plain,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let got = async {
                    let (authorized, place) = call.reads("kubernetes.get", "get", &object).await?;
                    let object = call.client().get(&authorized, &place).await?;
                    Ok(crate::read::shown(&authorized, &place, object))
                };
                Ok(got.await)
            },
        )
        .await
    }

    async fn list(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        kind: Kind,
        selection: Selection,
    ) -> Answer<(StreamReader<String>, FutureReader<Result<Listed, Error>>)> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.list", Some(cluster.rep()), |asked| {
                asked.with("kind", &kind).with("selection", &selection)
            }),
            Items,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let listing = match call.collection("kubernetes.list", "list", &kind, selection).await {
                    Ok((authorized, collection)) => call.client().list(&authorized, collection),
                    Err(error) => return Ok(Err(error)),
                };
                let (objects, told) = Objects::new(listing);
                accessor.with(|mut access| {
                    let stream = StreamReader::new(access.as_context_mut(), Producer::new(objects, call.guard.run()))?;
                    Ok(Ok((stream, give_outcome(&mut access, told)?)))
                })
            },
        )
        .await
    }

    async fn watch(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        kind: Kind,
        selection: Selection,
        from: Option<String>,
        seconds: u32,
    ) -> Answer<(StreamReader<Watched>, FutureReader<Result<String, Error>>)> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.watch", Some(cluster.rep()), |asked| {
                asked.with("kind", &kind).with("selection", &selection).with("from", &from).with("seconds", &seconds)
            }),
            Items,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let time = Duration::from_secs(seconds.clamp(1, LONGEST).into());
                let watching = match call.collection("kubernetes.watch", "watch", &kind, selection).await {
                    Ok((authorized, collection)) => call.client().watch(&authorized, collection, from, time),
                    Err(error) => return Ok(Err(error)),
                };
                let (changes, told) = Changes::new(watching);
                accessor.with(|mut access| {
                    let stream = StreamReader::new(access.as_context_mut(), Producer::new(changes, call.guard.run()))?;
                    Ok(Ok((stream, give_outcome(&mut access, told)?)))
                })
            },
        )
        .await
    }

    async fn events(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<Vec<Event>> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.events", Some(cluster.rep()), |asked| asked.with("object", &object)),
            Plain,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let events = async {
                    let (authorized, place) = call.reads("kubernetes.events", "get", &object).await?;
                    call.client().events(&authorized, &place).await
                };
                Ok(events.await)
            },
        )
        .await
    }

    async fn create(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: String) -> Answer<String> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.create", Some(cluster.rep()), |asked| asked.with("object", &object)),
            Plain,
            async { Ok(Call::begin(accessor, &cluster)?.create(&object).await) },
        )
        .await
    }

    async fn patch(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        kind: PatchKind,
        patch: String,
    ) -> Answer<String> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.patch", Some(cluster.rep()), |asked| {
                asked.with("object", &object).with("kind", &kind).with("patch", &patch)
            }),
            Plain,
            async { Ok(Call::begin(accessor, &cluster)?.patch(&object, kind, &patch).await) },
        )
        .await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        options: DeleteOptions,
    ) -> Answer<()> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.delete", Some(cluster.rep()), |asked| {
                asked.with("object", &object).with("options", &options)
            }),
            Plain,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let deleted = async {
                    let (authorized, place) =
                        call.reaches("kubernetes.delete", KubernetesAccess::Delete, "delete", &object).await?;
                    call.change(&authorized, &Change::delete(place, &options)).await.map(drop)
                };
                Ok(deleted.await)
            },
        )
        .await
    }

    async fn get_scale(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<Scale> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.get-scale", Some(cluster.rep()), |asked| asked.with("object", &object)),
            Plain,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let scale = async {
                    let (authorized, place) = call.reads("kubernetes.get-scale", "get", &object).await?;
                    call.client().scale(&authorized, &place).await.map(|(scale, _)| scale)
                };
                Ok(scale.await)
            },
        )
        .await
    }

    async fn set_scale(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        replicas: u32,
        expected: Option<u32>,
    ) -> Answer<u32> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.set-scale", Some(cluster.rep()), |asked| {
                asked.with("object", &object).with("replicas", &replicas).with("expected", &expected)
            }),
            Plain,
            async { Ok(Call::begin(accessor, &cluster)?.set_scale(&object, replicas, expected).await) },
        )
        .await
    }

    async fn restart(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, object: Object) -> Answer<()> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.restart", Some(cluster.rep()), |asked| asked.with("object", &object)),
            Plain,
            async { Ok(Call::begin(accessor, &cluster)?.restart(&object).await) },
        )
        .await
    }

    async fn rollout_status(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
    ) -> Answer<Rollout> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.rollout-status", Some(cluster.rep()), |asked| {
                asked.with("object", &object)
            }),
            Plain,
            async {
                let call = Call::begin(accessor, &cluster)?;
                let status = async {
                    let (authorized, place) = call.reads("kubernetes.rollout-status", "get", &object).await?;
                    workload(&place)?;
                    call.client().get(&authorized, &place).await.map(|object| crate::rollout::rollout(&object))
                };
                Ok(status.await)
            },
        )
        .await
    }

    async fn wait_for(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        object: Object,
        condition: Condition,
        seconds: u32,
    ) -> Answer<String> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.wait-for", Some(cluster.rep()), |asked| {
                asked.with("object", &object).with("condition", &condition).with("seconds", &seconds)
            }),
            Plain,
            async { Ok(Call::begin(accessor, &cluster)?.wait_for(&object, &condition, seconds).await) },
        )
        .await
    }

    async fn logs(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        pod: String,
        namespace: Option<String>,
        options: LogOptions,
    ) -> Answer<(StreamReader<u8>, FutureReader<Result<u64, Error>>)> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.logs", Some(cluster.rep()), |asked| {
                asked.with("pod", &pod).with("namespace", &namespace).with("options", &options)
            }),
            Bytes,
            async {
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
                let (reader, outcome) = watched(call.guard.run().until_stopped(reader), |passed| passed);
                accessor
                    .with(|mut access| Ok(Ok((give_bytes(&mut access, reader)?, give_outcome(&mut access, outcome)?))))
            },
        )
        .await
    }

    async fn exec(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        command: kubernetes::Command,
        stdin: Option<StreamReader<u8>>,
    ) -> Answer<Resource<Child>> {
        let asking =
            ask(accessor, "kubernetes.cluster.exec", Some(cluster.rep()), |asked| asked.with("command", &command));
        let (asking, stdin) = accessor.with(|mut access| asking.stream_if(&mut access, "stdin", stdin))?;
        called(accessor, asking, Handle, async {
            // Taken whatever comes of the call: a stream that is refused must tell its writer so.
            let taken = accessor.with(|mut access| stdin.map(|stream| take_bytes(&mut access, stream)).transpose())?;
            let call = Call::begin(accessor, &cluster)?;
            let (taken, written) = match taken {
                None => (None, None),
                Some(taken) => match taken.held(&call.guard.run().gate).await {
                    Ok((taken, written)) => (Some(taken), written),
                    Err(error) => return Ok(Err(error)),
                },
            };
            let (reader, confirmations) =
                taken.map(Taken::split).map_or((None, None), |(reader, confirmations)| (Some(reader), confirmations));
            let child = match call.exec(command, reader, written).await {
                Ok(child) => child,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(confirmations) = confirmations {
                accessor.spawn(Confirm(confirmations))?;
            }
            accessor.with(|mut access| access.get().push(child)).map(Ok)
        })
        .await
    }

    async fn run_job(accessor: &Accessor<T, Self>, cluster: Resource<Cluster>, job: Job) -> Answer<Resource<Child>> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.run-job", Some(cluster.rep()), |asked| asked.with("job", &job)),
            Handle,
            async {
                let call = Call::begin(accessor, &cluster)?;
                match call.run_job(&job).await {
                    Ok(child) => accessor.with(|mut access| access.get().push(child)).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            },
        )
        .await
    }

    async fn lock(
        accessor: &Accessor<T, Self>,
        cluster: Resource<Cluster>,
        name: String,
        namespace: Option<String>,
        seconds: u32,
    ) -> Answer<Resource<HeldLock>> {
        called(
            accessor,
            ask(accessor, "kubernetes.cluster.lock", Some(cluster.rep()), |asked| {
                asked.with("name", &name).with("namespace", &namespace).with("seconds", &seconds)
            }),
            Handle,
            async {
                let call = Call::begin(accessor, &cluster)?;
                match call.lock(name, namespace, seconds).await {
                    Ok(lock) => accessor.with(|mut access| access.get().push(lock)).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            },
        )
        .await
    }
}
