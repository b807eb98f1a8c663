//! What the tests share: a gate with one storage binding, and streams that fail when they are told to.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use rota_authority::{
    Authorized, Decision, Effect, EffectClass, Gate, Grant, MemoryLedger, Mode, Permit, Quotas, RunIdentity, Storage,
    StorageAccess,
};
use rota_capability::streams::Reader;
use rota_capability_storage::wit::Stored;
use rota_capability_storage::{Client, Connections, Name, Prefix, Put};
use rota_config::{Binding, SecretRef, StorageBinding};
use rota_contract::Error;
use rota_telemetry::Secret;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

pub fn literal(text: impl Into<String>) -> SecretRef {
    SecretRef::Given(Secret::new(text.into()))
}

pub fn binding(url: &str) -> StorageBinding {
    match Binding::parse_ad_hoc(url).unwrap() {
        Binding::Storage(binding) => binding,
        other => panic!("{other:?}"),
    }
}

/// One binding, granted everything, and the client for it.
pub struct Bench {
    pub gate: Arc<Gate>,
    pub ledger: Arc<MemoryLedger>,
    pub client: Client,
}

pub fn gate(binding: StorageBinding, mode: Mode, accesses: &[&str]) -> (Arc<Gate>, Arc<MemoryLedger>) {
    let ledger = Arc::new(MemoryLedger::default());
    let grant = Grant {
        slot: "bucket".into(),
        binding_name: "backups".into(),
        binding: Binding::Storage(binding),
        accesses: accesses.iter().map(ToString::to_string).collect(),
    };
    let identity = RunIdentity { run: "run".into(), job: "job".into() };
    (Gate::new(identity, mode, Quotas::default(), ledger.clone(), [grant]), ledger)
}

impl Bench {
    pub async fn open(binding: StorageBinding) -> Result<Self, Error> {
        let (gate, ledger) = gate(binding, Mode::Execute, &["read", "write", "delete"]);
        let authorized = gate.authorise::<Storage>("storage.open", "bucket", &[]).unwrap();
        let client = Client::connect(&Connections::default(), &authorized).await?;
        Ok(Self { gate, ledger, client })
    }

    pub fn reads(&self) -> Authorized<Storage> {
        self.gate.authorise("storage.get", "bucket", &[StorageAccess::Read]).unwrap()
    }

    pub async fn permit(&self, access: StorageAccess) -> Permit<Storage> {
        let authorized = self.gate.authorise::<Storage>("storage.put", "bucket", &[access]).unwrap();
        let effect = Effect {
            object: "x".into(),
            detail: String::new(),
            class: EffectClass::Write,
            exact: rota_authority::Exact::shown(),
        };
        match authorized.effect(effect).await.unwrap() {
            Decision::Perform(permit) => permit,
            Decision::Planned => panic!("planned"),
        }
    }

    pub async fn put(&self, name: &str, data: impl AsyncRead + Send + 'static, put: Put) -> Result<Stored, Error> {
        let permit = self.permit(StorageAccess::Write).await;
        let result = self.client.put(&permit, &Name::parse(name).unwrap(), Box::pin(data), &put).await;
        permit.conclude(result, |_| String::new()).await
    }

    pub async fn put_bytes(&self, name: &str, data: &[u8]) -> Result<Stored, Error> {
        self.put(name, io::Cursor::new(data.to_vec()), Put::default()).await
    }

    pub async fn get(&self, name: &str, range: Option<(u64, Option<u64>)>) -> Result<Vec<u8>, Error> {
        let range = range.map(|(offset, length)| rota_capability_storage::wit::Range { offset, length });
        let (_, mut reader) = self.client.get(&self.reads(), &Name::parse(name).unwrap(), range).await?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.map_err(|error| rota_capability::streams::error_of(&error))?;
        Ok(bytes)
    }

    pub async fn names(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut listing = self.client.list(&self.reads(), &Prefix::parse(prefix).unwrap()).await?;
        let mut names = Vec::new();
        while let Some(object) = listing.objects.recv().await {
            names.push(object?.name);
        }
        Ok(names)
    }

    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let permit = self.permit(StorageAccess::Delete).await;
        let result = self.client.delete(&permit, &Name::parse(name).unwrap()).await;
        permit.conclude(result, |()| String::new()).await
    }
}

pub fn if_absent() -> Put {
    Put { if_absent: true, ..Put::default() }
}

/// Bytes that differ from place to place, and are the same each time.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A stream that fails after its bytes, as a program's output does when the program exits with an error.
pub fn failing(bytes: Vec<u8>, error: Error) -> Reader {
    Box::pin(io::Cursor::new(bytes).chain(Failing(Some(error))))
}

struct Failing(Option<Error>);

impl AsyncRead for Failing {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.take().map_or(Ok(()), |error| Err(rota_capability::streams::stream_error(error))))
    }
}

/// A stream that never ends after its bytes.
pub fn endless(bytes: Vec<u8>) -> Reader {
    Box::pin(io::Cursor::new(bytes).chain(Never))
}

struct Never;

impl AsyncRead for Never {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

pub fn text(error: &Error) -> String {
    format!("{error:?}")
}
