//! The WIT side of the interface `bytes`: authorise where a slot is named, take the stream, filter it, give the next one.

use crate::filter::{self, Filtered, Recipients};
use rota_authority::{Key, KeyAccess};
use rota_capability::streams::{Reader, give_filtered, give_outcome, take_bytes};
use rota_capability::tape::{self, Arguments, Plain, ask, ask_with, called, now_with, now_with_infallible};
use rota_capability::{CallGuard, Guest, Written, begin, denied};
use rota_contract::Error;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Access, Accessor, AccessorTask, FutureReader, HasData, Linker, StreamReader};

/// Generated from `wit/bytes.wit`.
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package rota:host-bytes;

            world host {
                import rota:runbook/bytes@0.1.0;
            }
        ",
        world: "rota:host-bytes/host",
        with: { "rota:runbook/types": rota_contract::types },
        imports: { default: store | trappable },
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    });
}

use generated::rota::runbook::bytes;
pub use generated::rota::runbook::bytes::{Codec, Coding, HostWithStore, Passed};

/// How the generated code finds the guest.
#[derive(Debug)]
pub struct Bytes;

impl HasData for Bytes {
    type Data<'a> = &'a mut Guest;
}

/// Add the interface to a linker.
///
/// # Errors
/// When something else has added it.
pub fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bytes::add_to_linker::<_, Bytes>(linker, rota_capability::guest)
}

type Answer = (StreamReader<u8>, FutureReader<Result<Passed, Error>>);

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

/// What a filter works on.
struct Source {
    reader: Reader,
    guard: CallGuard,
    /// What the guest wrote, where it is of that.
    written: Option<Written>,
}

/// Count the filter in and take the bytes. A filter counts as a host call in flight until it is done, which bounds the threads of a run.
fn take<T: Send + 'static>(access: &mut Access<'_, T, Bytes>, data: StreamReader<u8>) -> wasmtime::Result<Source> {
    let guard = access.get().enter()?;
    let taken = take_bytes(access, data)?;
    let written = taken.written.clone();
    if let Some(written) = &written {
        written.note(&access.get().run.gate);
    }
    let (reader, confirmations) = taken.split();
    if let Some(confirmations) = confirmations {
        access.spawn(Confirm(confirmations))?;
    }
    Ok(Source { reader, guard, written })
}

fn give<T: 'static>(
    access: &mut Access<'_, T, Bytes>,
    filtered: Filtered,
    written: Option<Written>,
) -> wasmtime::Result<Answer> {
    Ok((give_filtered(access, filtered.reader, written)?, give_outcome(access, filtered.outcome)?))
}

/// A filter that cannot begin, where the contract has no error to answer with: a stream that ends at once, and an outcome that says why.
fn give_failed<T: 'static>(access: &mut Access<'_, T, Bytes>, error: Error) -> wasmtime::Result<Answer> {
    let failed = rota_capability::streams::stream_error(error.clone());
    let (tell, outcome) = tokio::sync::oneshot::channel();
    // The receiver is in hand.
    let _ = tell.send(Err(error));
    give(access, Filtered { reader: Box::pin(Failing(Some(failed))), outcome }, None)
}

/// A reader that fails.
struct Failing(Option<std::io::Error>);

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(self.0.take().unwrap_or_else(|| std::io::Error::other("the stream failed before"))))
    }
}

/// Refuse a call whose stream was not taken: the writer learns that nobody reads.
fn refuse<T: 'static>(
    access: &mut Access<'_, T, Bytes>,
    mut data: StreamReader<u8>,
    error: Error,
) -> wasmtime::Result<Result<Answer, Error>> {
    data.close(access.as_context_mut())?;
    Ok(Err(error))
}

fn always<T: 'static>(
    access: &mut Access<'_, T, Bytes>,
    filtered: Result<Filtered, Error>,
    written: Option<Written>,
) -> wasmtime::Result<Answer> {
    match filtered {
        Ok(filtered) => give(access, filtered, written),
        Err(error) => give_failed(access, error),
    }
}

fn fallible<T: 'static>(
    access: &mut Access<'_, T, Bytes>,
    filtered: Result<Filtered, Error>,
    written: Option<Written>,
) -> wasmtime::Result<Result<Answer, Error>> {
    match filtered {
        Ok(filtered) => give(access, filtered, written).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

impl<T: Send + 'static> bytes::HostWithStore<T> for Bytes {
    fn tee_sha256(access: Access<'_, T, Self>, data: StreamReader<u8>) -> wasmtime::Result<Answer> {
        filters(
            access,
            "bytes.tee-sha256",
            |asked| asked,
            data,
            |access, data| {
                let Source { reader, guard, written } = take(access, data)?;
                always(access, filter::tee_sha256(reader, guard), written)
            },
        )
    }

    fn count(access: Access<'_, T, Self>, data: StreamReader<u8>) -> wasmtime::Result<Answer> {
        filters(
            access,
            "bytes.count",
            |asked| asked,
            data,
            |access, data| {
                let Source { reader, guard, written } = take(access, data)?;
                give(access, filter::count(reader, guard), written)
            },
        )
    }

    fn compress(
        access: Access<'_, T, Self>,
        data: StreamReader<u8>,
        codec: Codec,
    ) -> wasmtime::Result<Result<Answer, Error>> {
        filters_if(
            access,
            "bytes.compress",
            |asked| asked.with("codec", &codec),
            data,
            |access, data| {
                let Source { reader, guard, written } = take(access, data)?;
                fallible(access, filter::compress(reader, codec, guard), written)
            },
        )
    }

    fn decompress(access: Access<'_, T, Self>, data: StreamReader<u8>, coding: Coding) -> wasmtime::Result<Answer> {
        filters(
            access,
            "bytes.decompress",
            |asked| asked.with("coding", &coding),
            data,
            |access, data| {
                let Source { reader, guard, written } = take(access, data)?;
                always(access, filter::decompress(reader, coding, guard), written)
            },
        )
    }

    fn encrypt(
        access: Access<'_, T, Self>,
        data: StreamReader<u8>,
        recipients: Vec<String>,
    ) -> wasmtime::Result<Result<Answer, Error>> {
        filters_if(
            access,
            "bytes.encrypt",
            |asked| asked.with("recipients", &recipients),
            data,
            |access, data| {
                let recipients = match Recipients::parse(&recipients) {
                    Ok(recipients) => recipients,
                    Err(error) => return refuse(access, data, error),
                };
                let Source { reader, guard, written } = take(access, data)?;
                fallible(access, filter::encrypt(reader, recipients, guard), written)
            },
        )
    }

    fn decrypt(
        access: Access<'_, T, Self>,
        data: StreamReader<u8>,
        slot: String,
    ) -> wasmtime::Result<Result<Answer, Error>> {
        filters_if(
            access,
            "bytes.decrypt",
            |asked| asked.with("slot", &slot),
            data,
            |access, data| {
                let gate = access.get().run.gate.clone();
                let authorized = match gate.authorise::<Key>("bytes.decrypt", &slot, &[KeyAccess::Decrypt]) {
                    Ok(authorized) => authorized,
                    Err(refusal) => return refuse(access, data, denied(refusal)),
                };
                let identities = match crate::key::identities(&authorized) {
                    Ok(identities) => identities,
                    Err(error) => return refuse(access, data, error),
                };
                let Source { reader, guard, written } = take(access, data)?;
                fallible(access, filter::decrypt(reader, identities, guard), written)
            },
        )
    }

    fn rate_limit(
        access: Access<'_, T, Self>,
        data: StreamReader<u8>,
        bytes_per_second: u64,
    ) -> wasmtime::Result<Result<Answer, Error>> {
        let arguments = |asked: Arguments| asked.with("bytes-per-second", &bytes_per_second);
        filters_if(access, "bytes.rate-limit", arguments, data, |access, data| {
            let Source { reader, guard, written } = take(access, data)?;
            fallible(access, filter::rate_limit(reader, bytes_per_second, guard), written)
        })
    }

    async fn drain(accessor: &Accessor<T, Self>, data: StreamReader<u8>) -> wasmtime::Result<Result<Passed, Error>> {
        let asking = ask(accessor, "bytes.drain", None, |asked| asked);
        let (asking, data) = accessor.with(|mut access| asking.stream(&mut access, "data", data))?;
        called(accessor, asking, Plain, async {
            let (_guard, ()) = begin(accessor, |_| Ok(()))?;
            let taken = accessor.with(|mut access| take_bytes(&mut access, data))?;
            Ok(taken.offload(filter::drain).await)
        })
        .await
    }
}

/// A filter that always begins.
fn filters<T: Send + 'static>(
    mut access: Access<'_, T, Bytes>,
    operation: &'static str,
    arguments: impl FnOnce(Arguments) -> Arguments,
    data: StreamReader<u8>,
    filter: impl FnOnce(&mut Access<'_, T, Bytes>, StreamReader<u8>) -> wasmtime::Result<Answer>,
) -> wasmtime::Result<Answer> {
    let asking = ask_with(&mut access, operation, None, arguments);
    let (asking, data) = asking.stream(&mut access, "data", data)?;
    now_with_infallible(&mut access, asking, tape::Bytes, |access| filter(access, data))
}

/// A filter that may be refused.
fn filters_if<T: Send + 'static>(
    mut access: Access<'_, T, Bytes>,
    operation: &'static str,
    arguments: impl FnOnce(Arguments) -> Arguments,
    data: StreamReader<u8>,
    filter: impl FnOnce(&mut Access<'_, T, Bytes>, StreamReader<u8>) -> wasmtime::Result<Result<Answer, Error>>,
) -> wasmtime::Result<Result<Answer, Error>> {
    let asking = ask_with(&mut access, operation, None, arguments);
    let (asking, data) = asking.stream(&mut access, "data", data)?;
    now_with(&mut access, asking, tape::Bytes, |access| filter(access, data))
}

impl bytes::Host for &mut Guest {}
