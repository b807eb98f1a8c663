//! How a host function passes the tape.
//!
//! ```ignore
//! let asking = ask(accessor, "storage.bucket.put", Some(bucket.rep()), |asked| asked.with("name", &name).with("options", &options));
//! let (asking, data) = asking.stream(accessor, "data", data)?;
//! called(accessor, asking, Plain, async { ... }).await
//! ```

use super::shape::{answered, unfit};
use super::tap::{Current, Within};
use super::{Answers, Asked, Event, Given, Incoming, Parts, Plainly, Record, Shape, Stop, Tape, shown};
use crate::streams::{HostBytes, Taken, take_bytes};
use crate::{Guest, RunContext, begin, unless_stopped};
use futures::future::BoxFuture;
use rota_contract::Error;
use serde::Serialize;
use serde_json::{Map, Value};
use std::pin::pin;
use std::sync::Arc;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Access, Accessor, HasData, StreamReader};

/// A call that is about to be made: nothing, where the run is live.
pub struct Asking(Option<Box<Taped>>);

struct Taped {
    to: To,
    asked: Asked,
    /// What must be polled by the store for as long as the incoming stream is read.
    confirmations: Option<BoxFuture<'static, ()>>,
}

enum To {
    Record(Arc<dyn Record>),
    Answers(Arc<dyn Answers>, Arc<RunContext>),
}

/// The arguments of a call, on their way to be shown.
pub struct Arguments(Map<String, Value>);

impl Arguments {
    /// One more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.0.insert(name.to_owned(), shown(value));
        self
    }

    /// One that is shown already.
    #[must_use]
    pub fn with_value(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }
}

fn asking(
    guest: &Guest,
    operation: &'static str,
    handle: Option<u32>,
    arguments: impl FnOnce(Arguments) -> Arguments,
) -> Asking {
    let to = match &guest.run.tape {
        Tape::Live => return Asking(None),
        Tape::Recording(record) => To::Record(record.clone()),
        Tape::Answering(answers) if answers.performs(operation) => return Asking(None),
        Tape::Answering(answers) => To::Answers(answers.clone(), guest.run.clone()),
    };
    let asked = Asked {
        operation,
        handle: handle.and_then(|rep| guest.run.handles.of(rep)),
        arguments: Value::Object(arguments(Arguments(Map::new())).0),
        incoming: None,
        now: false,
    };
    Asking(Some(Box::new(Taped { to, asked, confirmations: None })))
}

/// Ask, from an async host function. The arguments are looked at only where somebody wants to see them.
pub fn ask<T, D>(
    accessor: &Accessor<T, D>,
    operation: &'static str,
    handle: Option<u32>,
    arguments: impl FnOnce(Arguments) -> Arguments,
) -> Asking
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
{
    accessor.with(|mut access| asking(access.get(), operation, handle, arguments))
}

/// Ask, from a host function that has the store in hand.
pub fn ask_with<T: 'static, D>(
    access: &mut Access<'_, T, D>,
    operation: &'static str,
    handle: Option<u32>,
    arguments: impl FnOnce(Arguments) -> Arguments,
) -> Asking
where
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
{
    asking(access.get(), operation, handle, arguments)
}

impl Asking {
    /// A stream among the arguments: shown as where it comes from, and for a call that is answered taken from it. What is given back is
    /// for the call's body.
    ///
    /// # Errors
    /// When the store cannot hold another stream.
    pub fn stream<T: 'static, D>(
        mut self,
        access: &mut Access<'_, T, D>,
        name: &str,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<(Self, StreamReader<u8>)>
    where
        D: HasData + ?Sized,
    {
        let Some(taped) = &mut self.0 else { return Ok((self, data)) };
        let (from, data) = match (&taped.to, data.try_into::<HostBytes>(access.as_context_mut())) {
            (To::Record(_), Ok(mut bytes)) => {
                bytes.hand_on();
                (bytes.call(), StreamReader::new(access.as_context_mut(), bytes)?)
            }
            (To::Record(_), Err(data)) => (None, data),
            (To::Answers(..), Ok(bytes)) => {
                let from = bytes.call();
                taped.asked.incoming = Some(Incoming { from, reader: bytes.into_reader() });
                (from, nothing(access)?)
            }
            (To::Answers(..), Err(data)) => {
                let (reader, confirmations) = Taken::split(take_bytes(access, data)?);
                taped.confirmations = confirmations.map(|confirmations| Box::pin(confirmations) as _);
                taped.asked.incoming = Some(Incoming { from: None, reader });
                (None, nothing(access)?)
            }
        };
        let shown = from.map_or_else(|| Value::from("guest"), Value::from);
        if let Value::Object(arguments) = &mut taped.asked.arguments {
            arguments.insert(name.to_owned(), serde_json::json!({ "$stream": shown }));
        }
        Ok((self, data))
    }

    /// The same of a stream that need not be there.
    ///
    /// # Errors
    /// When the store cannot hold another stream.
    pub fn stream_if<T: 'static, D>(
        self,
        access: &mut Access<'_, T, D>,
        name: &str,
        data: Option<StreamReader<u8>>,
    ) -> wasmtime::Result<(Self, Option<StreamReader<u8>>)>
    where
        D: HasData + ?Sized,
    {
        match data {
            Some(data) => self.stream(access, name, data).map(|(asking, data)| (asking, Some(data))),
            None => Ok((self, None)),
        }
    }
}

/// A stream for a body that is not run.
fn nothing<T: 'static, D: HasData + ?Sized>(access: &mut Access<'_, T, D>) -> wasmtime::Result<StreamReader<u8>> {
    StreamReader::new(access.as_context_mut(), HostBytes::new(tokio::io::empty()))
}

/// Make a call, which ends when its run is told to stop ([`unless_stopped`]).
///
/// # Errors
/// What the call traps with.
pub async fn called<T, D, R, S>(
    accessor: &Accessor<T, D>,
    asking: Asking,
    shape: S,
    body: impl Future<Output = wasmtime::Result<Result<R, Error>>> + Send,
) -> wasmtime::Result<Result<R, Error>>
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    R: Send,
    S: Shape<R>,
{
    // Each function that waits for the body holds it once more: here it is waited for, not in one function more.
    let Some(taped) = asking.0 else {
        let stopped = accessor.with(|mut access| access.get().run.stopped());
        return tokio::select! {
            biased;
            () = stopped => Ok(Err(Error::Cancelled)),
            answer = body => answer,
        };
    };
    taped.called(accessor, shape, unless_stopped(accessor, body)).await
}

/// Make a call, which is not ended when its run is told to stop.
///
/// # Errors
/// What the call traps with.
pub async fn called_through<T, D, R, S>(
    accessor: &Accessor<T, D>,
    asking: Asking,
    shape: S,
    body: impl Future<Output = wasmtime::Result<Result<R, Error>>> + Send,
) -> wasmtime::Result<Result<R, Error>>
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    R: Send,
    S: Shape<R>,
{
    let Some(taped) = asking.0 else { return body.await };
    taped.called(accessor, shape, body).await
}

impl Taped {
    /// On the heap, so that a live call is no larger for it.
    #[allow(clippy::boxed_local)]
    fn called<'a, T, D, R, S>(
        self: Box<Self>,
        accessor: &'a Accessor<T, D>,
        shape: S,
        body: impl Future<Output = wasmtime::Result<Result<R, Error>>> + Send + 'a,
    ) -> BoxFuture<'a, wasmtime::Result<Result<R, Error>>>
    where
        T: Send + 'static,
        D: for<'d> HasData<Data<'d> = &'d mut Guest>,
        R: Send + 'a,
        S: Shape<R>,
    {
        let Self { to, asked, confirmations } = *self;
        match to {
            To::Record(record) => Box::pin(recorded(accessor, record, asked, shape, body)),
            To::Answers(answers, run) => {
                // What it holds (streams that stand for others) is of no use.
                drop(body);
                Box::pin(replied(accessor, answers, run, asked, confirmations, shape))
            }
        }
    }
}

/// Notes that a call was dropped, unless it was answered.
struct Unanswered<'r> {
    record: &'r Arc<dyn Record>,
    call: u64,
    armed: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.record.note(self.call, Event::Dropped);
        }
    }
}

async fn recorded<T, D, R, S>(
    accessor: &Accessor<T, D>,
    record: Arc<dyn Record>,
    asked: Asked,
    shape: S,
    body: impl Future<Output = wasmtime::Result<Result<R, Error>>> + Send,
) -> wasmtime::Result<Result<R, Error>>
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    R: Send,
    S: Shape<R>,
{
    let call = record.call(&asked);
    let mut unanswered = Unanswered { record: &record, call, armed: true };
    let work = pin!(body);
    let answer = Within { record: record.clone(), call, work }.await;
    unanswered.armed = false;
    note(&record, call, shape, answer.as_ref(), |rep| {
        accessor.with(|mut access| access.get().run.handles.remember(rep, call));
    });
    answer
}

/// Note an answer, and which resource it gave.
fn note<R, S: Shape<R>>(
    record: &Arc<dyn Record>,
    call: u64,
    shape: S,
    answer: Result<&Result<R, Error>, &wasmtime::Error>,
    remember: impl FnOnce(u32),
) {
    match answer {
        Ok(Ok(value)) => {
            let shown = shape.show(value);
            if let Some(rep) = shown.handle {
                remember(rep);
            }
            record.note(call, answered(Ok(&shown)));
        }
        Ok(Err(error)) => record.note(call, answered(Err(error))),
        Err(trap) => record.note(call, Event::Trapped(&format!("{trap:#}"))),
    }
}

async fn replied<T, D, R, S>(
    accessor: &Accessor<T, D>,
    answers: Arc<dyn Answers>,
    run: Arc<RunContext>,
    asked: Asked,
    confirmations: Option<BoxFuture<'static, ()>>,
    shape: S,
) -> wasmtime::Result<Result<R, Error>>
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    S: Shape<R>,
{
    // It counts as a call like any other.
    let (_guard, ()) = begin(accessor, |_| Ok(()))?;
    let confirm = async move {
        if let Some(confirmations) = confirmations {
            confirmations.await;
        }
        std::future::pending::<Result<Given, Stop>>().await
    };
    let given = tokio::select! {
        biased;
        () = run.stopped() => return Ok(Err(Error::Cancelled)),
        given = answers.answer(&run, asked) => given?,
        given = confirm => given?,
    };
    match Parts::of(given) {
        Ok(parts) => accessor.with(|mut access| shape.make(&mut access, parts)).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Make a call of an import that waits for nothing and gives a plain value.
///
/// # Errors
/// What the call traps with.
pub fn now<R>(
    guest: &mut Guest,
    operation: &'static str,
    handle: Option<u32>,
    arguments: impl FnOnce(Arguments) -> Arguments,
    shape: impl Plainly<R>,
    body: impl FnOnce(&mut Guest) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let Some(mut taped) = asking(guest, operation, handle, arguments).0 else { return body(guest) };
    taped.asked.now = true;
    match taped.to {
        To::Record(record) => {
            let call = record.call(&taped.asked);
            let answer = {
                let _current = Current::enter(&record, call);
                body(guest)
            };
            match &answer {
                Ok(value) => record.note(call, Event::Answered(Ok(&shape.to_value(value)))),
                Err(trap) => record.note(call, Event::Trapped(&format!("{trap:#}"))),
            }
            answer
        }
        To::Answers(answers, run) => match answers.answer_now(&run, taped.asked)?.answer {
            Ok(value) => shape.of_value(value).map_err(|why| unfit("the answer", &why)),
            Err(error) => Err(unfit("an error", &error.to_string())),
        },
    }
}

/// Make a call of an import that waits for nothing, and needs the store: one that gives streams.
///
/// # Errors
/// What the call traps with.
pub fn now_with<T: 'static, D, R, S>(
    access: &mut Access<'_, T, D>,
    asking: Asking,
    shape: S,
    body: impl FnOnce(&mut Access<'_, T, D>) -> wasmtime::Result<Result<R, Error>>,
) -> wasmtime::Result<Result<R, Error>>
where
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    S: Shape<R>,
{
    let Some(mut taped) = asking.0 else { return body(access) };
    taped.asked.now = true;
    match taped.to {
        To::Record(record) => {
            let call = record.call(&taped.asked);
            let answer = {
                let _current = Current::enter(&record, call);
                body(access)
            };
            note(&record, call, shape, answer.as_ref(), |rep| access.get().run.handles.remember(rep, call));
            answer
        }
        To::Answers(answers, run) => {
            if let Some(confirmations) = taped.confirmations {
                access.spawn(Confirm(confirmations))?;
            }
            match Parts::of(answers.answer_now(&run, taped.asked)?) {
                Ok(parts) => shape.make(access, parts).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        }
    }
}

/// The same of an import that has no error to answer with.
///
/// # Errors
/// What the call traps with.
pub fn now_with_infallible<T: 'static, D, R, S>(
    access: &mut Access<'_, T, D>,
    asking: Asking,
    shape: S,
    body: impl FnOnce(&mut Access<'_, T, D>) -> wasmtime::Result<R>,
) -> wasmtime::Result<R>
where
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    S: Shape<R>,
{
    match now_with(access, asking, shape, |access| body(access).map(Ok))? {
        Ok(answer) => Ok(answer),
        Err(error) => Err(unfit("an error", &error.to_string())),
    }
}

/// Polled by the store while a stream of the guest's is read by whoever answers.
struct Confirm(BoxFuture<'static, ()>);

impl<T, D: HasData + ?Sized> wasmtime::component::AccessorTask<T, D> for Confirm {
    async fn run(self, _: &Accessor<T, D>) -> wasmtime::Result<()> {
        self.0.await;
        Ok(())
    }
}
