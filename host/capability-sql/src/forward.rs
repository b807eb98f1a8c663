//! The way to a server that only its cluster reaches: one port-forward for all sessions of a binding, held while one of them needs it.
//!
//! sqlx connects to a socket in a folder that only this user may enter, and speaks TLS over it as over any other connection: the server's
//! certificate is held against the name in the binding's URL, not against where the bytes come from.

use crate::pool::Key;
use rota_authority::{Authorized, Sql};
use rota_capability::{Forward, Local, Remotes};
use rota_contract::Error;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use tokio::sync::Mutex;

/// The forwards that sessions hold.
#[derive(Default)]
pub(crate) struct Forwards {
    remotes: OnceLock<Remotes>,
    held: Mutex<HashMap<Key, Weak<Forward>>>,
}

impl Forwards {
    /// Use this way into clusters; the first one that is given stays.
    pub(crate) fn through(&self, remotes: Remotes) {
        let _ = self.remotes.set(remotes);
    }

    /// The forward for a binding, the one that others hold or a new one.
    pub(crate) async fn of(&self, authorized: &Authorized<Sql>, fingerprint: [u8; 32]) -> Result<Arc<Forward>, Error> {
        let none = || Error::Unavailable("this host has no way into clusters".into());
        let remotes = self.remotes.get().ok_or_else(none)?;
        let key = (authorized.binding_name().to_owned(), fingerprint);
        // Held while one is made, so that two who ask do not make two.
        let mut held = self.held.lock().await;
        if let Some(forward) = held.get(&key).and_then(Weak::upgrade) {
            return Ok(forward);
        }
        held.retain(|_, forward| forward.strong_count() > 0);
        let forward = Arc::new(remotes.0.forward(authorized.clone(), Local::Socket).await?);
        held.insert(key, Arc::downgrade(&forward));
        Ok(forward)
    }
}

/// Why the last connection could not be led on, if so; taken, so that it explains one failure.
pub(crate) fn trouble(forward: &Forward) -> Option<Error> {
    forward.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Whether there is something to be told.
pub(crate) fn is_troubled(forward: &Forward) -> bool {
    forward.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}
