//! Who is promoted in whose place.

use crate::{Candidate, Primary};
use rota_sdk::data;
use std::collections::BTreeMap;

/// One look at the primary, by independent paths.
#[data]
pub struct Look {
    /// How many seconds after the first.
    pub after_seconds: f64,
    /// What the binding of the primary said.
    pub sql: String,
    /// What the cluster said of its pod.
    pub pod: String,
    /// What the standbys said of their WAL receivers.
    pub receivers: String,
}

/// What is to be done. It is decided once for a run: after the fence and the promotion, the looks would show something else.
#[data]
pub struct Decision {
    /// The Service.
    pub service: String,
    /// Its selector before.
    pub selector: BTreeMap<String, String>,
    /// The old primary.
    pub primary: Primary,
    /// Who takes over.
    pub chosen: Candidate,
    /// Who could have.
    pub candidates: Vec<Candidate>,
    /// Standbys that did not answer, and so were not considered.
    pub skipped: Vec<String>,
    /// What may start the old primary again behind our back.
    pub managed_by: Option<String>,
    /// The looks that showed the primary down; none where it was not.
    pub looks: Vec<Look>,
    /// The furthest that the primary is known to have written, in bytes since the beginning of the log.
    pub known_bytes: Option<i64>,
    /// From where that is known.
    pub known_from: String,
}

impl Decision {
    /// The selector that the Service gets, whole: nothing of the old one stays.
    pub fn new_selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(crate::topology::POD_NAME.to_owned(), self.chosen.pod.clone())])
    }
}
