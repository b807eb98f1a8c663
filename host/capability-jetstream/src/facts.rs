//! What the API and monitoring say in the same words.

use crate::error::clean;
use crate::wit::ReplicaFacts;
use serde::Deserialize;

/// A name from a server: masked, one line, bounded.
pub(crate) fn text(text: &str) -> String {
    clean(text)
}

/// A follower.
#[derive(Deserialize)]
pub(crate) struct Replica {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    pub(crate) offline: bool,
    #[serde(default)]
    active: u64,
    #[serde(default)]
    lag: u64,
}

impl Replica {
    pub(crate) fn facts(self) -> ReplicaFacts {
        ReplicaFacts {
            name: text(&self.name),
            current: self.current,
            offline: self.offline,
            silent_nanoseconds: self.active,
            lag: self.lag,
        }
    }
}
