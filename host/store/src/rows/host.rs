//! The processes that work on runs.

use crate::process::Process;
use crate::rows::run::CancelWish;
use chrono::{DateTime, Utc};
use rota_protocol::{Incarnation, Instant, LeaseNumber, Span};
use std::collections::BTreeMap;

/// A process that begins to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHost {
    /// New at each start: a random UUID.
    pub incarnation: Incarnation,
    /// The name that people know it by.
    pub name: String,
    /// Rota's version.
    pub version: String,
    /// What runs may ask for.
    pub labels: BTreeMap<String, String>,
    /// The digest of its configuration, so that hosts with different ones are noticed.
    pub configuration: String,
    /// How many runs it takes at once.
    pub capacity: u32,
    /// Which process it is: [`Process::this`].
    pub process: Process,
}

/// A host on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// What it said of itself.
    pub host: NewHost,
    /// When it was registered.
    pub started_at: DateTime<Utc>,
    /// Its last sign of life.
    pub seen_at: DateTime<Utc>,
    /// Whether it is to take nothing more.
    pub draining: bool,
    /// How many runs it holds.
    pub running: u32,
    /// Whether it was seen within three leases.
    pub alive: bool,
}

/// A host's sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Beat<'a> {
    /// Whose.
    pub incarnation: &'a Incarnation,
    /// How long its leases last from now.
    pub lease: Span,
    /// The runs that it holds.
    pub held: &'a [(String, LeaseNumber)],
    /// How far runs are, JSON.
    pub progress: &'a [(String, String)],
}

/// What a host is told that shows a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatAnswer {
    /// The database's time.
    pub now: Instant,
    /// Runs of those held whose lease is not its own any more.
    pub lost: Vec<String>,
    /// Runs that somebody wants cancelled.
    pub cancels: Vec<(String, CancelWish)>,
    /// Whether it is to take nothing more.
    pub drain: bool,
}
