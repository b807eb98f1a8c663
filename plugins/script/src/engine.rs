//! QuickJS: one runtime for one script.

use crate::ahead::{self, Engine, Prelude};
use crate::desk::Desk;
use crate::genuine;
use crate::value::Js;
use rota_sdk::prelude::*;
use rota_sdk::{Fault, HostError};
use rquickjs::context::EvalOptions;
use rquickjs::{AsyncRuntime, CaughtError, Ctx, Exception, Function, Module, Object, Promise, Value};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

/// The name under which the prelude's lines are known, which are not the script's.
pub(crate) const PRELUDE: &str = "<rota>";

/// Why a script failed.
#[derive(Debug)]
pub(crate) struct Thrown {
    /// `TypeError: x is not a function`.
    pub(crate) message: String,
    /// Where, from 1.
    pub(crate) at: Option<(usize, usize)>,
    /// The calls, the innermost first, the script's own only.
    pub(crate) stack: Vec<String>,
    /// What the host said, where it was the host's error that nobody caught.
    pub(crate) cause: Option<HostError>,
    pub(crate) hint: Option<String>,
}

/// What is evaluated.
pub(crate) enum Code<'s> {
    /// A script: its value is that of its last expression.
    Script(Source<'s>),
    /// A module: the function `run` of its default export is called with the arguments.
    Module(Source<'s>),
}

/// What a script is.
#[derive(Clone, Copy)]
pub(crate) struct Source<'s> {
    pub(crate) name: &'s str,
    pub(crate) text: &'s str,
}

/// Run a script to its end and that of everything that it began. Its value is that of its last expression.
///
/// # Errors
/// What it threw, or what the host said, with the script's own lines.
pub(crate) async fn run(desk: Rc<Desk>, code: Code<'_>, arguments: Js) -> Result<Js, Thrown> {
    let (is_module, source) = match code {
        Code::Script(source) => (false, source),
        Code::Module(source) => (true, source),
    };
    let Engine { runtime, context, prelude } = Engine::take().await?;
    let loose: Rc<RefCell<Vec<Thrown>>> = Rc::default();
    watch_rejections(&runtime, source.name, &loose).await;
    let (name, text) = (source.name.to_owned(), source.text.to_owned());
    let own = desk.clone();
    let ended = context.async_with(async |ctx| {
        let result = match is_module {
            true => call_module(&ctx, prelude, own, &name, &text, arguments).await,
            false => evaluate(&ctx, prelude, own, &name, &text, arguments).await,
        };
        result.map_err(|error| thrown(&ctx, error, &name))
    });
    let ended = unless_stuck(ended, desk.clone()).await;
    // What was begun and not awaited is awaited here: its effects are the script's as well.
    unless_unread(runtime.idle(), &desk).await;
    let left = desk.finish().await;
    let ended = ended?;
    if let Some(rejected) = loose.borrow_mut().drain(..).next() {
        return Err(rejected);
    }
    left.map_err(Thrown::of_host)?;
    Ok(ended)
}

/// How often a script that waits for no call is looked at again before it is said to wait for nothing.
const ROUNDS: u32 = 64;

/// A script that waits while no call of it is under way waits for ever.
pub(crate) async fn unless_stuck<R>(
    running: impl Future<Output = Result<R, Thrown>>,
    desk: Rc<Desk>,
) -> Result<R, Thrown> {
    let mut running = std::pin::pin!(running);
    let mut rounds = 0;
    std::future::poll_fn(|cx| match running.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending if desk.calls.get() > desk.writes.get() => {
            rounds = 0;
            Poll::Pending
        }
        // What a call that has just ended set off may not have been done yet.
        Poll::Pending if rounds < ROUNDS => {
            rounds += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => {
            Poll::Ready(Err(Thrown::new("the script waits for a promise that nothing will resolve".into())))
        }
    })
    .await
}

/// The rest of what a script began. A stream that it writes while nothing reads would wait for ever: what was not read by then is let go.
pub(crate) async fn unless_unread(resting: impl Future<Output = ()>, desk: &Desk) {
    let mut resting = std::pin::pin!(resting);
    let mut rounds = 0;
    std::future::poll_fn(|cx| match resting.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending if desk.writes.get() > 0 && desk.calls.get() == desk.writes.get() => {
            rounds += 1;
            if rounds == ROUNDS {
                desk.let_go();
            } else if rounds < ROUNDS {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }
        Poll::Pending => {
            rounds = 0;
            Poll::Pending
        }
    })
    .await;
}

/// A promise that is rejected and that nobody looks at is an error of the script. One that is looked at later takes it back.
pub(crate) async fn watch_rejections(runtime: &AsyncRuntime, name: &str, loose: &Rc<RefCell<Vec<Thrown>>>) {
    let (name, loose) = (name.to_owned(), loose.clone());
    let tracker = move |ctx: Ctx<'_>, _promise: Value<'_>, reason: Value<'_>, handled: bool| {
        let mut told = said(&reason, &name).unwrap_or_else(|| Thrown::new(format!("{reason:?}")));
        told.message = format!("{} (in a promise that nobody awaited)", told.message);
        let _ = ctx;
        let mut loose = loose.borrow_mut();
        if handled {
            loose.retain(|known| known.message != told.message);
        } else {
            loose.push(told);
        }
    };
    runtime.set_host_promise_rejection_tracker(Some(Box::new(tracker))).await;
}

/// The default export of a module; its top level must not wait where `waits` is false.
async fn default_export<'js>(ctx: &Ctx<'js>, name: &str, text: &str) -> rquickjs::Result<Object<'js>> {
    let (module, evaluated) = Module::declare(ctx.clone(), name, text)?.eval()?;
    evaluated.into_future::<()>().await?;
    let exported: Value<'js> = module.get("default")?;
    match exported.into_object() {
        Some(object) => Ok(object),
        None => Err(Exception::throw_type(ctx, "the module has no `export default { name, ..., run }`")),
    }
}

async fn call_module<'js>(
    ctx: &Ctx<'js>,
    prelude: Prelude,
    desk: Rc<Desk>,
    name: &str,
    text: &str,
    parameters: Js,
) -> rquickjs::Result<Js> {
    prelude.give(ctx, desk, Js::Object(Vec::new()))?;
    let procedure = default_export(ctx, name, text).await?;
    let run: Option<Function<'js>> = procedure.get("run").ok();
    let Some(run) = run else { return Err(Exception::throw_type(ctx, "the default export has no function `run`")) };
    let answer: Value<'js> = run.call((rquickjs::function::This(procedure), parameters.give(ctx)?))?;
    let answer = match answer.clone().into_promise() {
        Some(promise) => promise.into_future().await?,
        None => answer,
    };
    Js::take(&answer)
        .map_err(|error| Exception::throw_type(ctx, &format!("what `run` gives is the report's data: {error}")))
}

/// What a module says of itself, by its default export: without the host, which is not there for it.
///
/// # Errors
/// What it threw.
pub(crate) fn describe(source: Source<'_>) -> Result<Js, Box<Thrown>> {
    let context = ahead::bare().map_err(broken)?;
    context.with(|ctx| {
        let read = || -> rquickjs::Result<Js> {
            let (module, evaluated) = Module::declare(ctx.clone(), source.name, source.text)?.eval()?;
            evaluated.finish::<()>()?;
            let exported: Value<'_> = module.get("default")?;
            let Some(exported) = exported.into_object() else {
                let why = format!("{} has no `export default {{ name, version, ..., run }}`", source.name);
                return Err(Exception::throw_type(&ctx, &why));
            };
            let mut members = Vec::new();
            for name in [
                "name",
                "version",
                "summary",
                "description",
                "risk",
                "confirmation",
                "idempotent",
                "slots",
                "parameters",
                "report",
                "examples",
            ] {
                let value: Value<'_> = exported.get(name)?;
                let value = Js::take(&value).map_err(|error| {
                    Exception::throw_type(&ctx, &format!("`{name}` of the default export: {error}"))
                })?;
                members.push((name.to_owned(), value));
            }
            Ok(Js::Object(members))
        };
        read().map_err(|error| {
            Box::new(match error {
                rquickjs::Error::WouldBlock => Thrown::new(
                    "the module waits at its top level, where nothing can be waited for: do it in `run`".into(),
                ),
                error => thrown(&ctx, error, source.name),
            })
        })
    })
}

async fn evaluate<'js>(
    ctx: &Ctx<'js>,
    prelude: Prelude,
    desk: Rc<Desk>,
    name: &str,
    text: &str,
    arguments: Js,
) -> rquickjs::Result<Js> {
    let helpers = prelude.give(ctx, desk, arguments)?;
    let mut options = EvalOptions::default();
    options.global = true;
    options.strict = true;
    options.promise = true;
    options.filename = Some(name.to_owned());
    let promise: Promise<'js> = ctx.eval_with_options(text, options)?;
    let ended: Object<'js> = promise.into_future().await?;
    let mut value: Value<'js> = ended.get("value")?;
    let is_whole: Function<'js> = helpers.get("isWhole")?;
    if is_whole.call((value.clone(),))? {
        let all: Function<'js> = value.as_object().ok_or(rquickjs::Error::Unknown)?.get("all")?;
        let rows: Promise<'js> = all.call((rquickjs::function::This(value),))?;
        value = rows.into_future().await?;
    } else if let Some(promise) = value.clone().into_promise() {
        value = promise.into_future().await?;
    }
    // What cannot be told apart from its text is given as its text.
    Ok(match Js::take(&value) {
        Ok(taken) => taken,
        Err(_) => {
            let shown: Function<'js> = helpers.get("shown")?;
            Js::Text(shown.call((value,))?)
        }
    })
}

/// What a call gives the prelude: a value, or what to throw.
pub(crate) fn answer(result: Result<Js>) -> Js {
    match result {
        Ok(value) => Js::object([("value", value)]),
        Err(error) => {
            let kind = match error.cause() {
                None => "failed",
                Some(HostError::Denied(_)) => "denied",
                Some(HostError::InvalidArgument(_)) => "invalid-argument",
                Some(HostError::NotFound(_)) => "not-found",
                Some(HostError::Conflict(_)) => "conflict",
                Some(HostError::TimedOut(_)) => "timed-out",
                Some(HostError::Cancelled) => "cancelled",
                Some(HostError::Unavailable(_)) => "unavailable",
                Some(HostError::Failed(_)) => "failed",
                Some(HostError::Quota(_)) => "quota",
            };
            Js::object([(
                "error",
                Js::object([
                    ("message", Js::Text(error.to_string())),
                    ("kind", Js::text(kind)),
                    ("code", error.code().map_or(Js::Undefined, Js::text)),
                    ("hint", error.hinted().map_or(Js::Undefined, Js::text)),
                    ("retryable", Js::Flag(error.is_retryable())),
                ]),
            )])
        }
    }
}

pub(crate) fn broken(error: rquickjs::Error) -> Thrown {
    Thrown::new(format!("the engine could not be started: {error}"))
}

pub(crate) fn thrown<'js>(ctx: &Ctx<'js>, error: rquickjs::Error, name: &str) -> Thrown {
    match CaughtError::from_error(ctx, error) {
        CaughtError::Exception(exception) => of_exception(&exception, name),
        CaughtError::Value(value) => said(&value, name).unwrap_or_else(|| Thrown::new(format!("{value:?} was thrown"))),
        CaughtError::Error(error) => Thrown::new(error.to_string()),
    }
}

fn said(value: &Value<'_>, name: &str) -> Option<Thrown> {
    if let Some(exception) = value.clone().into_exception() {
        return Some(of_exception(&exception, name));
    }
    let text = match Js::take(value).ok()? {
        Js::Text(text) => text,
        other => other.into_json().to_string(),
    };
    Some(Thrown::new(format!("{text} was thrown")))
}

fn of_exception(exception: &Exception<'_>, name: &str) -> Thrown {
    let object = exception.as_object();
    let get = |member: &str| object.get::<_, Option<String>>(member).ok().flatten();
    let stack: Vec<String> = exception
        .stack()
        .unwrap_or_default()
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && !line.contains(PRELUDE) && !line.ends_with("(native)"))
        .collect();
    let at = stack.iter().find_map(|line| place(line, name));
    let Some(told) = genuine::said(object.as_value()) else {
        let kind = get("name").unwrap_or_else(|| "Error".to_owned());
        let message = format!("{kind}: {}", exception.message().unwrap_or_default());
        return Thrown { at, stack, hint: get("hint"), ..Thrown::new(message) };
    };
    let word = |member: &str| match told.member(member) {
        Js::Text(text) => Some(text.clone()),
        _ => None,
    };
    // A script may have put what it was doing before it.
    let message = exception.message().or_else(|| word("message")).unwrap_or_default();
    let cause = match word("kind").as_deref() {
        Some("denied") => Some(HostError::Denied(message.clone())),
        Some("timed-out") => Some(HostError::TimedOut(message.clone())),
        Some("cancelled") => Some(HostError::Cancelled),
        Some("unavailable") => Some(HostError::Unavailable(message.clone())),
        Some("quota") => Some(HostError::Quota(message.clone())),
        Some("conflict") => Some(HostError::Conflict(message.clone())),
        Some("not-found") => Some(HostError::NotFound(message.clone())),
        Some("failed") => word("code").map(|code| {
            let retryable = matches!(told.member("retryable"), Js::Flag(true));
            HostError::Failed(Fault { code, message: message.clone(), detail: None, retryable })
        }),
        _ => None,
    };
    Thrown { message, at, stack, cause, hint: word("hint") }
}

/// `at f (name:3:5)` or `at name:3:5`.
fn place(line: &str, name: &str) -> Option<(usize, usize)> {
    let rest = &line[line.find(&format!("{name}:"))? + name.len() + 1..];
    let mut numbers = rest.trim_end_matches(')').split(':');
    let row = numbers.next()?.parse().ok()?;
    Some((row, numbers.next().and_then(|column| column.parse().ok()).unwrap_or(1)))
}

impl Thrown {
    pub(crate) fn new(message: String) -> Self {
        Self { message, at: None, stack: Vec::new(), cause: None, hint: None }
    }

    /// What the host said where no line of the script is left to blame.
    fn of_host(error: Error) -> Self {
        Self { cause: error.cause().cloned(), hint: error.hinted().map(str::to_owned), ..Self::new(error.to_string()) }
    }

    /// As an error of the procedure, with the place and the line itself.
    pub(crate) fn into_error(self, source: &Source<'_>) -> Error {
        let line = self.at.and_then(|(row, _)| source.text.lines().nth(row - 1)).map(str::trim);
        let place = self.at.map(|(row, column)| format!("{}:{row}:{column}: ", source.name)).unwrap_or_default();
        let text = format!("{place}{}", self.message);
        let mut error = match self.cause {
            Some(cause) => Error::from(cause).saying(text),
            None => Error::new(text),
        };
        if let Some(hint) = self.hint {
            error = error.hint(hint);
        } else if let Some(line) = line {
            error = error.hint(format!("line {}: {line}", self.at.map_or(0, |(row, _)| row)));
        }
        error
    }
}
