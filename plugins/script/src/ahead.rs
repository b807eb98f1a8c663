//! Engines that are begun before there is a run: the host runs `prepare` once when it compiles this component, and what memory holds after it
//! is what each instance begins with (host/sandbox/src/prepare.rs). Where it does not, an engine is begun when it is asked for, and all is
//! the same but slower.
//!
//! What is begun ahead is the same for all runs, so nothing of one may be in it: no time, no chance, no argument, no answer of the host.

use crate::desk::Desk;
use crate::engine::{PRELUDE, Thrown, answer, broken};
use crate::genuine;
use crate::value::Js;
use crate::work;
use rquickjs::context::EvalOptions;
use rquickjs::object::Property;
use rquickjs::prelude::Async;
use rquickjs::{AsyncContext, AsyncRuntime, Context, Ctx, Function, Object, Persistent, Runtime, Value};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
    static BARE: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Begin what a run needs, for the first that asks.
pub(crate) fn prepare() {
    // What cannot be begun now says why when a run begins it.
    if let Some(Ok(engine)) = at_once(Engine::begin()) {
        ENGINE.set(Some(engine));
    }
    if let Ok(context) = begin_bare() {
        BARE.set(Some(context));
    }
}

/// An engine without anything of the host, for what a module says of itself.
pub(crate) fn bare() -> rquickjs::Result<Context> {
    let context = match BARE.take() {
        Some(context) => context,
        None => begin_bare()?,
    };
    context.with(|ctx| renew(&ctx))?;
    Ok(context)
}

fn begin_bare() -> rquickjs::Result<Context> {
    // The context holds its runtime.
    Context::full(&Runtime::new()?)
}

/// An engine that no script has met yet.
pub(crate) struct Engine {
    // In this order, in which they are dropped.
    pub(crate) prelude: Prelude,
    pub(crate) context: AsyncContext,
    pub(crate) runtime: AsyncRuntime,
}

impl Engine {
    /// # Errors
    /// When it cannot be started.
    pub(crate) async fn take() -> Result<Self, Thrown> {
        let engine = match ENGINE.take() {
            Some(engine) => engine,
            None => Self::begin().await.map_err(broken)?,
        };
        engine.context.with(|ctx| renew(&ctx)).await.map_err(broken)?;
        Ok(engine)
    }

    async fn begin() -> rquickjs::Result<Self> {
        let runtime = AsyncRuntime::new()?;
        let context = AsyncContext::full(&runtime).await?;
        let read = context.with(|ctx| {
            let mut options = EvalOptions::default();
            options.filename = Some(PRELUDE.to_owned());
            let make: Function<'_> = ctx.eval_with_options(include_str!("prelude.js"), options)?;
            Ok::<_, rquickjs::Error>(Prelude(Persistent::save(&ctx, make)))
        });
        let prelude = read.await?;
        Ok(Self { prelude, context, runtime })
    }
}

/// The prelude, evaluated but for what depends on a run: a function that makes the rest of what a run is given.
pub(crate) struct Prelude(Persistent<Function<'static>>);

impl Prelude {
    /// Give a script what it finds. It takes the two functions of the host and hands out none of them.
    pub(crate) fn give<'js>(self, ctx: &Ctx<'js>, desk: Rc<Desk>, arguments: Js) -> rquickjs::Result<Object<'js>> {
        let facts = desk.clone();
        let waits = {
            let desk = desk.clone();
            Function::new(
                ctx.clone(),
                Async(move |ctx: Ctx<'js>, operation: String, args: Value<'js>| {
                    // The arguments are read now: what the script changes later is not what it asked for.
                    let (desk, args) = (desk.clone(), Js::take(&args));
                    desk.calls.set(desk.calls.get() + 1);
                    async move {
                        let result = match args {
                            Ok(Js::List(args)) => desk.call(&operation, &args).await,
                            Ok(_) => Err(Desk::unknown(&operation, "")),
                            Err(error) => Err(error),
                        };
                        desk.calls.set(desk.calls.get() - 1);
                        answer(result).give(&ctx)
                    }
                }),
            )?
        };
        let tells = Function::new(ctx.clone(), move |ctx: Ctx<'js>, operation: String, args: Value<'js>| {
            let result = match Js::take(&args) {
                Ok(Js::List(args)) => work::tell(&desk, operation.strip_prefix("run.").unwrap_or(&operation), &args),
                Ok(_) => Err(Desk::unknown(&operation, "")),
                Err(error) => Err(error),
            };
            answer(result).give(&ctx)
        })?;
        let info = facts.cx.info();
        let slots = facts.slots.iter().map(|slot| {
            let bound = rota_sdk::SqlSlot::if_bound(slot.name).is_some();
            Js::object([
                ("name", Js::text(slot.name)),
                ("capability", Js::text(slot.capability)),
                ("bound", Js::Flag(bound)),
            ])
        });
        let facts = Js::object([
            ("isPlan", Js::Flag(facts.cx.is_plan())),
            ("runId", Js::Text(info.id)),
            ("slots", Js::List(slots.collect())),
        ]);
        let make = self.0.restore(ctx)?;
        let helpers: Object<'js> = make.call((waits, tells, arguments.give(ctx)?, facts.give(ctx)?))?;
        genuine::keep(ctx, helpers.get("said")?)?;
        Ok(helpers)
    }
}

/// Chance and the clock's origin are this instance's, and not those of the moment in which the engine was begun.
fn renew(ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // xorshift64* (Vigna, 2016), which QuickJS has as well; its state is never 0.
    let state = Cell::new(u64::try_from(now.as_nanos()).unwrap_or_default() | 1);
    let random = Function::new(ctx.clone(), move || {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        let bits = x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        // 53 bits, as many as a number holds.
        bits as f64 / (1_u64 << 53) as f64
    })?
    .with_name("random")?;
    let globals = ctx.globals();
    let math: Object<'_> = globals.get("Math")?;
    math.prop("random", Property::from(random).writable().configurable())?;
    let begun = Instant::now();
    let since = Function::new(ctx.clone(), move || begun.elapsed().as_secs_f64() * 1e3)?.with_name("now")?;
    let performance = Object::new(ctx.clone())?;
    performance.prop("now", Property::from(since).enumerable())?;
    performance.prop("timeOrigin", Property::from(now.as_secs_f64() * 1e3).enumerable())?;
    globals.prop("performance", Property::from(performance).writable().enumerable().configurable())
}

/// What ends without waiting for anything.
fn at_once<R>(future: impl Future<Output = R>) -> Option<R> {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
