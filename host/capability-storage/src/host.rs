//! The WIT side of `storage`: each call is authorised, its name checked, its effect recorded, and only then is the client called.

use crate::client::{Client, Connections};
use crate::name::{Name, Prefix};
use crate::pending;
use crate::put::{Put, readable};
use rota_authority::{Authorized, Decision, Effect, EffectClass, Exact, Storage, StorageAccess};
use rota_capability::streams::{give_bytes, give_outcome, take_bytes, watched};
use rota_capability::tape::{self, Handle, HeadBytes, Plain, ask, called};
use rota_capability::{CallGuard, Capability, Digest, Guest, Items, Services, begin, denied, refused};
use rota_contract::Error;
use std::sync::Arc;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, FutureReader, HasData, Linker, Resource, StreamReader};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-storage;
            world host { import rota:runbook/storage@0.1.0; }
        ",
        world: "rota:host-storage/host",
        with: {
            "rota:runbook/types": rota_contract::types,
            "rota:runbook/storage.bucket": super::Bucket,
        },
        imports: { default: trappable },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

pub(crate) use generated::rota::runbook::storage;
use storage::{Object, PutOptions, Range, Stored};

/// A slot that a guest has open.
#[derive(Clone)]
pub struct Bucket {
    slot: Arc<str>,
    client: Client,
}

/// The capability.
pub struct StorageCapability;

impl Capability for StorageCapability {
    fn name(&self) -> &'static str {
        "storage"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["storage"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        storage::add_to_linker::<Guest, Host>(linker, rota_capability::guest)
    }

    fn provide(&self, services: &mut Services) {
        services.provide(Connections::default());
    }
}

/// The projection of a store that the interface works on.
pub(crate) struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut Guest;
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;
type Read = (Object, StreamReader<u8>, FutureReader<Result<u64, Error>>);
type List = (StreamReader<Object>, FutureReader<Result<u64, Error>>);

impl storage::Host for &mut Guest {}

impl storage::HostBucket for &mut Guest {
    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.release(bucket)
    }
}

/// What a call on a bucket needs.
struct Call {
    bucket: Bucket,
    guard: CallGuard,
}

impl Call {
    fn begin<T: Send + 'static>(accessor: &Accessor<T, Host>, bucket: &Resource<Bucket>) -> wasmtime::Result<Self> {
        let (guard, bucket) = begin(accessor, |guest| Ok(guest.table.get(bucket)?.clone()))?;
        Ok(Self { bucket, guard })
    }

    fn authorise(&self, operation: &'static str, needed: StorageAccess) -> Result<Authorized<Storage>, Error> {
        self.guard.run().gate.authorise(operation, &self.bucket.slot, &[needed]).map_err(denied)
    }
}

async fn open(guard: &CallGuard, connections: Option<Arc<Connections>>, slot: &str) -> Result<Bucket, Error> {
    let authorized = guard.run().gate.authorise("storage.open", slot, &[]).map_err(denied)?;
    let client = Client::connect(&connections.unwrap_or_default(), &authorized).await?;
    Ok(Bucket { slot: authorized.slot().into(), client })
}

/// What is decided about a put before a byte of it is read.
async fn decide_put(
    call: &Call,
    name: &str,
    options: PutOptions,
    written: Option<Digest>,
) -> Result<(Name, Put, Decision<Storage>), Error> {
    let authorized = call.authorise("storage.put", StorageAccess::Write)?;
    let (name, put) = (Name::parse(name)?, Put::check(options)?);
    let class = if put.if_absent { EffectClass::Write } else { EffectClass::Destructive };
    let effect = Effect {
        object: name.as_str().to_owned(),
        detail: put.describe(),
        class,
        // The object itself is counted as it goes.
        exact: Exact::of([format!("{put:?}")]).with(written).carrying(0),
    };
    let decision = authorized.effect(effect).await.map_err(refused)?;
    Ok((name, put, decision))
}

async fn delete(call: &Call, name: &str) -> Result<(), Error> {
    let authorized = call.authorise("storage.delete", StorageAccess::Delete)?;
    let name = Name::parse(name)?;
    let effect = Effect {
        object: name.as_str().to_owned(),
        detail: "deletes the object".to_owned(),
        class: EffectClass::Destructive,
        exact: Exact::shown(),
    };
    match authorized.effect(effect).await.map_err(refused)? {
        Decision::Planned => Ok(()),
        Decision::Perform(permit) => {
            let result = call.bucket.client.delete(&permit, &name).await;
            permit.conclude(result, |()| "deleted".to_owned()).await
        }
    }
}

impl<T: Send + 'static> storage::HostBucketWithStore<T> for Host {
    async fn open(accessor: &Accessor<T, Self>, slot: String) -> Answer<Resource<Bucket>> {
        called(accessor, ask(accessor, "storage.bucket.open", None, |asked| asked.with("slot", &slot)), Handle, async {
            let (guard, connections) = begin(accessor, |guest| Ok(guest.services.get::<Connections>()))?;
            match open(&guard, connections, &slot).await {
                Ok(bucket) => accessor.with(|mut access| access.get().push(bucket)).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        })
        .await
    }

    async fn put(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        name: String,
        data: StreamReader<u8>,
        options: PutOptions,
    ) -> Answer<Stored> {
        let asking = ask(accessor, "storage.bucket.put", Some(bucket.rep()), |asked| {
            asked.with("name", &name).with("options", &options)
        });
        let (asking, data) = accessor.with(|mut access| asking.stream(&mut access, "data", data))?;
        called(accessor, asking, Plain, async {
            // Whatever happens to this call, the guest's end of the stream learns that nobody reads it.
            let data = data.guard(accessor);
            let call = Call::begin(accessor, &bucket)?;
            let gate = &call.guard.run().gate;
            // What the guest says that it must be is held to already.
            let (mut data, mut taken, mut written) = (Some(data), None, None);
            if gate.is_agreed_to()
                && options.sha256.is_none()
                && let Some(data) = data.take()
            {
                let data = data.into_stream();
                match accessor.with(|mut access| take_bytes(&mut access, data))?.held(gate).await {
                    Ok((held, digest)) => (taken, written) = (Some(held), digest),
                    Err(error) => return Ok(Err(error)),
                }
            }
            let (name, put, permit) = match decide_put(&call, &name, options, written).await {
                Ok((name, put, Decision::Perform(permit))) => (name, put, permit),
                Ok((_, put, Decision::Planned)) => {
                    return Ok(Ok(Stored { size: put.estimate.unwrap_or(0), sha256: String::new(), etag: None }));
                }
                Err(error) => return Ok(Err(error)),
            };
            let taken = match (taken, data) {
                (Some(taken), _) => taken,
                (None, Some(data)) => {
                    let data = data.into_stream();
                    accessor.with(|mut access| take_bytes(&mut access, data))?
                }
                (None, None) => return Ok(Err(Error::Cancelled)),
            };
            let client = call.bucket.client.clone();
            let token = pending::tasks().token();
            let run = call.guard.run().clone();
            let stored = taken.offload(move |reader| {
                let reader = run.sending(reader);
                run.unless_stopped(async move {
                    // A run that ends only asks this task to end; until it has, and its permit has said so, it is not settled.
                    let _token = token;
                    let permit = permit;
                    let result = client.put(&permit, &name, reader, &put).await;
                    permit.conclude(result, |stored| format!("{} stored", readable(stored.size))).await
                })
            });
            Ok(stored.await)
        })
        .await
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        bucket: Resource<Bucket>,
        name: String,
        range: Option<Range>,
    ) -> Answer<Read> {
        called(
            accessor,
            ask(accessor, "storage.bucket.get", Some(bucket.rep()), |asked| {
                asked.with("name", &name).with("range", &range)
            }),
            HeadBytes,
            async {
                let call = Call::begin(accessor, &bucket)?;
                let found = async {
                    let authorized = call.authorise("storage.get", StorageAccess::Read)?;
                    call.bucket.client.get(&authorized, &Name::parse(&name)?, range).await
                };
                let (object, reader) = match found.await {
                    Ok(found) => found,
                    Err(error) => return Ok(Err(error)),
                };
                let (reader, outcome) = watched(call.guard.run().until_stopped(reader), |passed| passed);
                accessor.with(|mut access| {
                    Ok(Ok((object, give_bytes(&mut access, reader)?, give_outcome(&mut access, outcome)?)))
                })
            },
        )
        .await
    }

    async fn stat(accessor: &Accessor<T, Self>, bucket: Resource<Bucket>, name: String) -> Answer<Object> {
        called(
            accessor,
            ask(accessor, "storage.bucket.stat", Some(bucket.rep()), |asked| asked.with("name", &name)),
            Plain,
            async {
                let call = Call::begin(accessor, &bucket)?;
                let stat = async {
                    let authorized = call.authorise("storage.stat", StorageAccess::Read)?;
                    call.bucket.client.stat(&authorized, &Name::parse(&name)?).await
                };
                Ok(stat.await)
            },
        )
        .await
    }

    async fn list(accessor: &Accessor<T, Self>, bucket: Resource<Bucket>, prefix: String) -> Answer<List> {
        called(
            accessor,
            ask(accessor, "storage.bucket.list", Some(bucket.rep()), |asked| asked.with("prefix", &prefix)),
            tape::Items,
            async {
                let call = Call::begin(accessor, &bucket)?;
                let list = async {
                    let authorized = call.authorise("storage.list", StorageAccess::Read)?;
                    call.bucket.client.list(&authorized, &Prefix::parse(&prefix)?).await
                };
                let listing = match list.await {
                    Ok(listing) => listing,
                    Err(error) => return Ok(Err(error)),
                };
                let (objects, told) = Items::new(listing.objects, listing.work, call.guard.run());
                accessor.with(|mut access| {
                    let objects = StreamReader::new(access.as_context_mut(), objects)?;
                    Ok(Ok((objects, give_outcome(&mut access, told)?)))
                })
            },
        )
        .await
    }

    async fn delete(accessor: &Accessor<T, Self>, bucket: Resource<Bucket>, name: String) -> Answer<()> {
        called(
            accessor,
            ask(accessor, "storage.bucket.delete", Some(bucket.rep()), |asked| asked.with("name", &name)),
            Plain,
            async {
                let call = Call::begin(accessor, &bucket)?;
                Ok(delete(&call, &name).await)
            },
        )
        .await
    }
}
