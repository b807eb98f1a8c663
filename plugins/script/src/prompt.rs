//! A session's engine: one runtime for many statements, whose variables last.

use crate::ahead::Engine;
use crate::desk::Desk;
use crate::engine::{PRELUDE, Source, Thrown, thrown, unless_stuck, unless_unread, watch_rejections};
use crate::value::Js;
use rota_sdk::prelude::*;
use rquickjs::context::EvalOptions;
use rquickjs::{AsyncContext, AsyncRuntime, Function, Object, Persistent, Promise, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// An engine that keeps what statements leave.
pub(crate) struct Prompt {
    desk: Rc<Desk>,
    // Before the runtime: it is dropped first.
    helpers: Persistent<Object<'static>>,
    context: AsyncContext,
    runtime: AsyncRuntime,
    loose: Rc<RefCell<Vec<Thrown>>>,
}

impl Prompt {
    /// # Errors
    /// When the engine cannot be started.
    pub(crate) async fn new(desk: Rc<Desk>, arguments: Js) -> Result<Self, Thrown> {
        let Engine { runtime, context, prelude } = Engine::take().await?;
        let loose: Rc<RefCell<Vec<Thrown>>> = Rc::default();
        watch_rejections(&runtime, "[", &loose).await;
        let watched = desk.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || watched.is_interrupted()))).await;
        let for_prelude = desk.clone();
        let helpers = context.async_with(async |ctx| {
            let made = || {
                let given = prelude.give(&ctx, for_prelude, arguments)?;
                let mut options = EvalOptions::default();
                options.filename = Some(PRELUDE.to_owned());
                let make: Function<'_> = ctx.eval_with_options(include_str!("session.js"), options)?;
                let helpers: Object<'_> = make.call((given,))?;
                Ok(Persistent::save(&ctx, helpers))
            };
            made().map_err(|error| thrown(&ctx, error, PRELUDE))
        });
        let helpers = helpers.await?;
        Ok(Self { desk, helpers, context, runtime, loose })
    }

    /// Run a statement to its end and that of everything that it began, and show its value.
    ///
    /// # Errors
    /// What it threw; or that it was interrupted.
    pub(crate) async fn evaluate(&self, source: Source<'_>) -> Result<(), Thrown> {
        self.loose.borrow_mut().clear();
        let (name, text, helpers) = (source.name.to_owned(), source.text.to_owned(), self.helpers.clone());
        let ended = self.context.async_with(async |ctx| {
            let run = async {
                let helpers = helpers.restore(&ctx)?;
                let mut options = EvalOptions::default();
                options.global = true;
                options.strict = true;
                options.promise = true;
                options.filename = Some(name.clone());
                let promise: Promise<'_> = ctx.eval_with_options(text, options)?;
                let ended: Object<'_> = promise.into_future().await?;
                let mut value: Value<'_> = ended.get("value")?;
                if let Some(promise) = value.clone().into_promise() {
                    value = promise.into_future().await?;
                }
                let present: Function<'_> = helpers.get("present")?;
                let shown: Promise<'_> = present.call((value,))?;
                shown.into_future::<()>().await
            };
            run.await.map_err(|error| thrown(&ctx, error, &name))
        });
        let ended = unless_stuck(ended, self.desk.clone()).await;
        // What was begun and not awaited is awaited here.
        unless_unread(self.runtime.idle(), &self.desk).await;
        if self.desk.is_interrupted() {
            return Err(Thrown::new("interrupted".into()));
        }
        ended?;
        match self.loose.borrow_mut().drain(..).next() {
            Some(rejected) => Err(rejected),
            None => Ok(()),
        }
    }

    /// The session's variables, each with the text that makes it again.
    ///
    /// # Errors
    /// When a script made that impossible.
    pub(crate) async fn dump(&self) -> Result<Js, Thrown> {
        self.helper("dump", Js::List(Vec::new())).await
    }

    /// Have the variables of another session.
    ///
    /// # Errors
    /// When a script made that impossible.
    pub(crate) async fn load(&self, variables: Js) -> Result<Js, Thrown> {
        self.helper("load", Js::List(vec![variables])).await
    }

    async fn helper(&self, name: &'static str, arguments: Js) -> Result<Js, Thrown> {
        let helpers = self.helpers.clone();
        let called = self.context.async_with(async |ctx| {
            let call = || -> rquickjs::Result<Js> {
                let helper: Function<'_> = helpers.restore(&ctx)?.get(name)?;
                let mut args = rquickjs::function::Args::new_unsized(ctx.clone());
                if let Js::List(arguments) = arguments {
                    for argument in arguments {
                        args.push_arg(argument.give(&ctx)?)?;
                    }
                }
                let answer: Value<'_> = helper.call_arg(args)?;
                Js::take(&answer).map_err(|_| rquickjs::Error::Unknown)
            };
            call().map_err(|error| thrown(&ctx, error, PRELUDE))
        });
        let answer = called.await;
        self.runtime.idle().await;
        answer
    }
}
