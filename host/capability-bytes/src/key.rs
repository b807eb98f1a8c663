//! The one place that sees an age identity.

use crate::filter::Identities;
use rota_authority::{Authorized, Key};
use rota_contract::Error;
use rota_telemetry::Secret;

/// The identities of an authorised key slot.
pub(crate) fn identities(key: &Authorized<Key>) -> Result<Identities, Error> {
    let text = key.binding().identity.resolve().map_err(|error| Error::Unavailable(format!("the identity of binding `{}` cannot be read: {error}", key.binding_name())))?;
    // The masker knows the text as a whole; a file may hold several keys, with comments between them.
    text.expose().lines().map(str::trim).filter(|line| line.starts_with("AGE-SECRET-KEY-")).for_each(|line| drop(Secret::new(line)));
    Identities::parse(text.expose())
}
