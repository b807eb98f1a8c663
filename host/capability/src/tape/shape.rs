//! How the answers of imports are shown, and made again: values, resources, and streams with what comes before and after them.

use super::{Event, Given, Placeholder, Source, made, shown};
use crate::Guest;
use crate::streams::{HostBytes, Reader};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use rota_contract::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wasmtime::component::{
    Access, Destination, FutureReader, HasData, Lift, Lower, Resource, StreamProducer, StreamReader, StreamResult,
    VecBuffer,
};
use wasmtime::{AsContextMut as _, StoreContextMut};

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The value; `null` for what is only a resource or a stream.
    pub value: Value,
    /// The place of the resource in the guest's table, where there is one.
    pub handle: Option<u32>,
}

/// What an answer is made of.
pub struct Parts {
    /// The number of the call.
    pub call: u64,
    /// The value.
    pub value: Value,
    /// What comes out of the stream.
    pub source: Source,
    /// What the future resolves to.
    pub outcome: Option<BoxFuture<'static, Result<Value, Error>>>,
}

impl Parts {
    pub(super) fn of(given: Given) -> Result<Self, Error> {
        let Given { call, answer, source, outcome } = given;
        answer.map(|value| Self { call, value, source, outcome })
    }
}

/// How answers of a type are shown and made.
pub trait Shape<R>: Copy + Send + Sync + 'static {
    /// What is kept of an answer.
    fn show(self, answer: &R) -> Shown;

    /// An answer, for a guest that is answered.
    ///
    /// # Errors
    /// A trap: when the value is not one of the type, or the guest holds too much.
    fn make<T: 'static, D>(self, access: &mut Access<'_, T, D>, parts: Parts) -> wasmtime::Result<R>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>;
}

/// How plain values are shown and made.
pub trait Plainly<R>: Copy + Send + Sync + 'static {
    /// What is kept of a value.
    fn to_value(self, answer: &R) -> Value;

    /// The value again.
    ///
    /// # Errors
    /// When it is not one of the type.
    fn of_value(self, value: Value) -> Result<R, String>;
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl<R: Serialize + DeserializeOwned> Plainly<R> for Plain {
    fn to_value(self, answer: &R) -> Value {
        shown(answer)
    }

    fn of_value(self, value: Value) -> Result<R, String> {
        made(value)
    }
}

/// A value whose type cannot say itself how it is shown.
pub struct By<R> {
    /// What is kept of it.
    pub show: fn(&R) -> Value,
    /// The value again.
    pub make: fn(Value) -> Result<R, String>,
}

impl<R> Clone for By<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for By<R> {}

impl<R: 'static> Plainly<R> for By<R> {
    fn to_value(self, answer: &R) -> Value {
        (self.show)(answer)
    }

    fn of_value(self, value: Value) -> Result<R, String> {
        (self.make)(value)
    }
}

/// A value that is none of its import's: whoever answers has made a mistake.
pub(super) fn unfit(what: &str, why: &str) -> wasmtime::Error {
    super::Stop(format!("{what} does not fit the import: {why}")).into()
}

impl<R: Serialize + DeserializeOwned> Shape<R> for Plain {
    fn show(self, answer: &R) -> Shown {
        Shown { value: shown(answer), handle: None }
    }

    fn make<T: 'static, D>(self, _: &mut Access<'_, T, D>, parts: Parts) -> wasmtime::Result<R>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        made(parts.value).map_err(|why| unfit("the answer", &why))
    }
}

/// A resource.
#[derive(Clone, Copy, Debug)]
pub struct Handle;

impl Handle {
    /// A resource that stands for one that a call gave.
    ///
    /// # Errors
    /// A trap, when the guest holds too many.
    pub fn place<X: 'static>(guest: &mut Guest, call: u64) -> wasmtime::Result<Resource<X>> {
        let rep = guest.push(Placeholder)?.rep();
        guest.run.handles.remember(rep, call);
        Ok(Resource::new_own(rep))
    }
}

impl<X: 'static> Shape<Resource<X>> for Handle {
    fn show(self, answer: &Resource<X>) -> Shown {
        Shown { value: Value::Null, handle: Some(answer.rep()) }
    }

    fn make<T: 'static, D>(self, access: &mut Access<'_, T, D>, parts: Parts) -> wasmtime::Result<Resource<X>>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        Self::place(access.get(), parts.call)
    }
}

/// A stream of items, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Items;

impl<I, V> Shape<(StreamReader<I>, FutureReader<Result<V, Error>>)> for Items
where
    I: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
    V: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    fn show(self, _: &(StreamReader<I>, FutureReader<Result<V, Error>>)) -> Shown {
        Shown { value: Value::Null, handle: None }
    }

    fn make<T: 'static, D>(
        self,
        access: &mut Access<'_, T, D>,
        parts: Parts,
    ) -> wasmtime::Result<(StreamReader<I>, FutureReader<Result<V, Error>>)>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        Ok((items(access, parts.source)?, outcome(access, parts.outcome)?))
    }
}

/// Something, a stream of items, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct HeadItems;

impl<H, I, V> Shape<(H, StreamReader<I>, FutureReader<Result<V, Error>>)> for HeadItems
where
    H: Serialize + DeserializeOwned,
    I: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
    V: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    fn show(self, answer: &(H, StreamReader<I>, FutureReader<Result<V, Error>>)) -> Shown {
        Shown { value: shown(&answer.0), handle: None }
    }

    fn make<T: 'static, D>(
        self,
        access: &mut Access<'_, T, D>,
        parts: Parts,
    ) -> wasmtime::Result<(H, StreamReader<I>, FutureReader<Result<V, Error>>)>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        let head = made(parts.value).map_err(|why| unfit("the answer", &why))?;
        Ok((head, items(access, parts.source)?, outcome(access, parts.outcome)?))
    }
}

/// A stream of bytes, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

impl<V> Shape<(StreamReader<u8>, FutureReader<Result<V, Error>>)> for Bytes
where
    V: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    fn show(self, _: &(StreamReader<u8>, FutureReader<Result<V, Error>>)) -> Shown {
        Shown { value: Value::Null, handle: None }
    }

    fn make<T: 'static, D>(
        self,
        access: &mut Access<'_, T, D>,
        parts: Parts,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Result<V, Error>>)>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        Ok((bytes(access, parts.call, parts.source)?, outcome(access, parts.outcome)?))
    }
}

/// Something, a stream of bytes, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct HeadBytes;

impl<H, V> Shape<(H, StreamReader<u8>, FutureReader<Result<V, Error>>)> for HeadBytes
where
    H: Serialize + DeserializeOwned,
    V: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    fn show(self, answer: &(H, StreamReader<u8>, FutureReader<Result<V, Error>>)) -> Shown {
        Shown { value: shown(&answer.0), handle: None }
    }

    fn make<T: 'static, D>(
        self,
        access: &mut Access<'_, T, D>,
        parts: Parts,
    ) -> wasmtime::Result<(H, StreamReader<u8>, FutureReader<Result<V, Error>>)>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        let head = made(parts.value).map_err(|why| unfit("the answer", &why))?;
        Ok((head, bytes(access, parts.call, parts.source)?, outcome(access, parts.outcome)?))
    }
}

/// A stream of bytes, which says itself how it ended.
#[derive(Clone, Copy, Debug)]
pub struct OnlyBytes;

impl Shape<StreamReader<u8>> for OnlyBytes {
    fn show(self, _: &StreamReader<u8>) -> Shown {
        Shown { value: Value::Null, handle: None }
    }

    fn make<T: 'static, D>(self, access: &mut Access<'_, T, D>, parts: Parts) -> wasmtime::Result<StreamReader<u8>>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        bytes(access, parts.call, parts.source)
    }
}

fn bytes<T: 'static, D>(access: &mut Access<'_, T, D>, call: u64, source: Source) -> wasmtime::Result<StreamReader<u8>>
where
    D: HasData + ?Sized,
{
    let reader: Reader = match source {
        Source::Empty => Box::pin(tokio::io::empty()),
        Source::Bytes(reader) => reader,
        Source::Items(_) => return Err(unfit("a stream of items", "it gives bytes")),
    };
    StreamReader::new(access.as_context_mut(), HostBytes::of_call(reader, call))
}

fn items<T: 'static, D, I>(access: &mut Access<'_, T, D>, source: Source) -> wasmtime::Result<StreamReader<I>>
where
    D: HasData + ?Sized,
    I: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    let batches: BoxStream<'static, Vec<Value>> = match source {
        Source::Empty => Box::pin(futures::stream::empty()),
        Source::Items(batches) => batches,
        Source::Bytes(_) => return Err(unfit("a stream of bytes", "it gives items")),
    };
    StreamReader::new(access.as_context_mut(), Answered { batches, item: PhantomData })
}

fn outcome<T: 'static, D, V>(
    access: &mut Access<'_, T, D>,
    outcome: Option<BoxFuture<'static, Result<Value, Error>>>,
) -> wasmtime::Result<FutureReader<Result<V, Error>>>
where
    D: HasData + ?Sized,
    V: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    FutureReader::new(access.as_context_mut(), async move {
        let Some(outcome) = outcome else { return wasmtime::error::Ok(Err(Error::Cancelled)) };
        match outcome.await {
            Ok(value) => made(value).map(Ok).map_err(|why| unfit("the outcome", &why)),
            Err(error) => Ok(Err(error)),
        }
    })
}

/// Items that somebody answered.
struct Answered<I> {
    batches: BoxStream<'static, Vec<Value>>,
    item: PhantomData<fn() -> I>,
}

impl<D, I> StreamProducer<D> for Answered<I>
where
    I: DeserializeOwned + Lower + Lift + Send + Sync + 'static,
{
    type Item = I;
    type Buffer = VecBuffer<I>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, I, VecBuffer<I>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store.as_context_mut()) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let polled = self.batches.as_mut().poll_next(cx);
        if polled.is_pending() && finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        Poll::Ready(match ready!(polled) {
            None => Ok(StreamResult::Dropped),
            Some(batch) => {
                let batch: Result<Vec<I>, String> = batch.into_iter().map(made).collect();
                match batch {
                    Ok(batch) => {
                        destination.set_buffer(batch.into());
                        Ok(StreamResult::Completed)
                    }
                    Err(why) => Err(unfit("an item of the stream", &why)),
                }
            }
        })
    }
}

/// The event of an answer.
pub(super) fn answered<'e>(answer: Result<&'e Shown, &'e Error>) -> Event<'e> {
    Event::Answered(answer.map(|shown| &shown.value))
}
