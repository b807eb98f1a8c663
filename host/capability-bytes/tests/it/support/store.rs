//! A store without a guest, in which the host functions are called as the generated code calls them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use rota_authority::{Gate, Grant, Mode, Quotas, RunIdentity};
use rota_capability::streams::{Reader, take_bytes};
use rota_capability::{Guest, Limits, Quiet, RunContext, RunFacts, Services, Transient, Trigger};
use rota_capability_bytes::{Bytes, Passed};
use rota_contract::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::component::{
    Access, Destination, FutureConsumer, FutureReader, HasData, Source, StreamProducer, StreamReader, StreamResult,
    VecBuffer,
};
use wasmtime::{AsContextMut as _, Config, Engine, Store, StoreContextMut};
use wasmtime_wasi::WasiCtxBuilder;

pub fn store(grants: Vec<Grant>, limits: Limits) -> Store<Guest> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).unwrap();
    let ledger = Arc::new(rota_authority::MemoryLedger::default());
    let gate =
        Gate::new(RunIdentity { run: "r".into(), job: "j".into() }, Mode::Plan, Quotas::default(), ledger, grants);
    let facts = RunFacts {
        id: "r".into(),
        attempt: 1,
        job: None,
        trigger: Trigger::Manual,
        started_at: std::time::SystemTime::now(),
        slots: Vec::new(),
    };
    let run = RunContext::new(gate, facts, limits, Arc::new(Quiet), Arc::new(Transient::default()));
    Store::new(&engine, Guest::new(run, Arc::new(Services::default()), WasiCtxBuilder::new().build()))
}

/// The projection, as the linker's closure gives it.
pub fn data(guest: &mut Guest) -> <Bytes as HasData>::Data<'_> {
    guest
}

/// What a host function gets.
pub fn access<'a>(store: &'a mut StoreContextMut<'_, Guest>) -> Access<'a, Guest, Bytes> {
    let project: fn(&mut Guest) -> <Bytes as HasData>::Data<'_> = data;
    Access::<Guest, Bytes>::new(store.as_context_mut(), project)
}

/// What came out of a filter: its reader, as the next import would take it, and its outcome.
pub fn taken(
    store: &mut StoreContextMut<'_, Guest>,
    answer: (StreamReader<u8>, FutureReader<Result<Passed, Error>>),
) -> (Reader, oneshot::Receiver<Result<Passed, Error>>) {
    let reader = take_bytes(&mut access(store), answer.0).unwrap().split().0;
    let (tell, told) = oneshot::channel();
    answer.1.pipe(store.as_context_mut(), Told(Some(tell))).unwrap();
    (reader, told)
}

struct Told(Option<oneshot::Sender<Result<Passed, Error>>>);

impl<D> FutureConsumer<D> for Told {
    type Item = Result<Passed, Error>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<D>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut value = None;
        source.read(store, &mut value)?;
        if let (Some(value), Some(tell)) = (value, self.0.take()) {
            let _ = tell.send(value);
        }
        Poll::Ready(Ok(()))
    }
}

/// A stream that is not the host's own, as a guest's: it gives its bytes, and then ends or waits for ever.
pub struct GuestLike {
    pub data: Vec<u8>,
    pub ends: bool,
}

impl<D> StreamProducer<D> for GuestLike {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: StoreContextMut<'a, D>,
        mut destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if !self.data.is_empty() {
            destination.set_buffer(std::mem::take(&mut self.data).into());
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match (self.ends, finish) {
            (true, _) => Poll::Ready(Ok(StreamResult::Dropped)),
            (false, true) => Poll::Ready(Ok(StreamResult::Cancelled)),
            (false, false) => Poll::Pending,
        }
    }
}
