//! A world as the host's tape asks it.

use super::ask::{Ask, Refused};
use super::{Happens, World};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rota_capability::RunContext;
use rota_capability::tape::{Answers, Asked, Given, Stop};
use rota_contract::Error;
use serde_json::Value;
use std::sync::Arc;

/// Answers the calls of a case's run.
pub(crate) struct Answering(pub(crate) Arc<World>);

/// What needs no target is done as in any run: steps, log, artifacts, filters of bytes.
fn is_hosts_own(operation: &str) -> bool {
    let filter = operation.starts_with("bytes.") && operation != "bytes.decrypt";
    operation.starts_with("run.") || filter
}

/// As effects name it: without the resource between.
fn short(operation: &str) -> String {
    let mut parts = operation.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(interface), Some(_), Some(verb)) => format!("{interface}.{verb}"),
        _ => operation.to_owned(),
    }
}

impl Answers for Answering {
    fn performs(&self, operation: &'static str) -> bool {
        is_hosts_own(operation)
    }

    fn answer(&self, run: &Arc<RunContext>, asked: Asked) -> BoxFuture<'static, Result<Given, Stop>> {
        let (world, run) = (self.0.clone(), run.clone());
        Box::pin(async move { world.answer(&run, asked).await })
    }

    fn answer_now(&self, run: &Arc<RunContext>, asked: Asked) -> Result<Given, Stop> {
        // Nothing that is asked for like this waits for anything.
        let (world, run) = (self.0.clone(), run.clone());
        let operation = asked.operation;
        let before = world.fired();
        let answering = {
            let world = world.clone();
            async move { world.answer(&run, asked).await }
        };
        answering.now_or_never().unwrap_or_else(|| {
            let text = format!("{operation} answers at once: a case cannot delay it, nor end the run there");
            // A delay that cannot be is a mistake of the case, whatever becomes of the run then.
            if world.fired() == before {
                world.state().unanswered.push(text.clone());
            }
            Err(Stop(text))
        })
    }

    fn released(&self, call: u64) {
        self.0.state().held.remove(&call);
    }
}

impl World {
    async fn answer(&self, run: &Arc<RunContext>, asked: Asked) -> Result<Given, Stop> {
        let operation = short(asked.operation);
        let (number, happens) = self.count(&operation);
        match happens {
            Happens::Cancel => {
                self.cancel().cancel();
                // The guest goes on only when it is told: a call that answers at once would leave nobody the time to.
                run.stopped().await;
                return Ok(Given::answer(number, Err(Error::Cancelled)));
            }
            Happens::EndedBefore => match self.gone().await {},
            Happens::GoneAfter | Happens::Nothing => {}
        }
        if run.is_stopped() {
            return Ok(Given::answer(number, Err(Error::Cancelled)));
        }
        let held = self.held(asked.handle);
        let arguments = match asked.arguments {
            Value::Object(arguments) => arguments,
            _ => serde_json::Map::new(),
        };
        let named = arguments.get("slot").and_then(Value::as_str).map(str::to_owned);
        let slot = held.as_ref().and_then(|held| held.slot().map(str::to_owned)).or(named);
        let host_goes = happens == Happens::GoneAfter;
        let ask = Ask::new(number, operation, held, slot, arguments, asked.incoming, host_goes);
        match self.call(run, &ask).await {
            Ok(reply) => Ok(reply.given(number)),
            Err(Refused::Error(error)) => Ok(Given::answer(number, Err(error))),
            Err(Refused::Stop(text)) => {
                let mut state = self.state();
                if !state.unanswered.contains(&text) {
                    state.unanswered.push(text.clone());
                }
                Err(Stop(text))
            }
        }
    }
}
