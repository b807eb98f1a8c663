//! The one place that sees an age identity.

use crate::filter::Identities;
use rota_authority::{Authorized, Key};
use rota_contract::Error;
use rota_telemetry::Secret;

/// The identities of an authorised key slot.
pub(crate) fn identities(key: &Authorized<Key>) -> Result<Identities, Error> {
    let text = key.binding().identity.resolve().map_err(|error| unreadable(key, &error))?;
    // The masker knows the text as a whole; a file may hold several keys, with comments between them.
    let keys = text.expose().lines().map(str::trim).filter(|line| line.starts_with("AGE-SECRET-KEY-"));
    keys.for_each(|line| drop(Secret::new(line)));
    Identities::parse(text.expose())
}

/// Where the identity lies is told to the operator, not to the guest.
fn unreadable(key: &Authorized<Key>, error: &dyn std::error::Error) -> Error {
    tracing::error!(binding = key.binding_name(), %error, "the identity of a key binding cannot be read");
    Error::Unavailable(format!(
        "the identity of binding `{}` cannot be read; the host's log says why, and `rota doctor` checks it",
        key.binding_name()
    ))
}
