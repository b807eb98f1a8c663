//! Which errors are the host's. A script can give an error of its own any name and any members; those are its own all the same.

use crate::value::Js;
use rquickjs::{Ctx, Function, JsLifetime, Value};

/// The prelude's function that looks into an error: what the host said, where it was the host's.
struct Look<'js>(Function<'js>);

#[allow(unsafe_code, reason = "says that the lifetime is the engine's, as it is")]
unsafe impl<'js> JsLifetime<'js> for Look<'js> {
    type Changed<'to> = Look<'to>;
}

/// Keep the function with the engine.
pub(crate) fn keep<'js>(ctx: &Ctx<'js>, look: Function<'js>) -> rquickjs::Result<()> {
    ctx.store_userdata(Look(look)).map(drop).map_err(|_| rquickjs::Error::Unknown)
}

/// What the host said: `kind`, `code`, `message`, `hint`, `retryable`.
pub(crate) fn said<'js>(value: &Value<'js>) -> Option<Js> {
    let look = value.ctx().userdata::<Look<'js>>()?.0.clone();
    let said: Value<'js> = look.call((value.clone(),)).ok()?;
    Js::take(&said).ok().filter(|said| matches!(said, Js::Object(_)))
}
