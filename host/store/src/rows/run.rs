//! Runs, their attempts, steps and compensations.

use crate::RunState;
use chrono::{DateTime, Utc};
use rota_protocol::{
    AttemptEnd, CompensationState, End, Incarnation, Instant, Lease, LeaseNumber, RetryPolicy, Span, StepState,
    UndoPolicy, WaitReason,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a run is to do, complete enough for any host to do it. Written once, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// A UUIDv7.
    pub id: String,
    /// The job.
    pub job: Option<String>,
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// `plan` or `execute`.
    pub mode: String,
    /// What set it off: `manual`, `schedule`, `api`, `job`, `retry`, `backfill`.
    pub trigger: String,
    /// The parameters, JSON.
    pub parameters: String,
    /// What is bound and granted, JSON: names and words, never addresses.
    pub grants: String,
    /// The nominal instant.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// How it is to be treated.
    pub policy: RunPolicy,
    /// Not to be claimed before; none: at once.
    pub due: Option<DateTime<Utc>>,
    /// The run that it retries, or that set it off.
    pub parent: Option<String>,
    /// It begins as waiting: for an approval or a window until it is released; for concurrency until its keys are free.
    pub hold: Option<WaitReason>,
}

/// How a run is to be treated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunPolicy {
    /// Whether it can be done again without harm.
    pub idempotent: bool,
    /// What is tried again.
    pub retry: RetryPolicy,
    /// How compensations are tried.
    pub undo: UndoPolicy,
    /// The longest it may take over all attempts.
    pub run_timeout: Option<Span>,
    /// Higher first.
    pub priority: i32,
    /// What it may not run beside.
    pub keys: Vec<ConcurrencyKey>,
    /// Labels that a worker must have, all of them.
    pub host_labels: BTreeMap<String, String>,
    /// Only the process that began it can go on with it, or nobody serves who would: should it vanish, the run is `unknown`, and what it
    /// registered to be undone stays registered until a person asks for it.
    pub alone: bool,
    /// Whether somebody waits for its end: [`crate::Store::ended`] answers it until it was seen to.
    pub followed: bool,
    /// Limits of the sandbox, which the store does not read.
    pub limits: serde_json::Value,
    /// The team whose job it is, which the store does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What the job of a team called the plugin, which the store does not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A run that is over and whose end somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRow {
    /// The run.
    pub run: String,
    /// Its job.
    pub job: String,
    /// How it ended.
    pub state: RunState,
    /// When.
    pub ended_at: DateTime<Utc>,
}

/// At most so many runs that carry the key are held at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcurrencyKey {
    /// `job:NAME`, `binding:NAME`, `exclusive:TARGET` ...
    pub key: String,
    /// How many.
    pub limit: u32,
}

/// A run on record.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// What it is to do.
    pub run: NewRun,
    /// Its state.
    pub state: RunState,
    /// What holds it back.
    pub wait: Option<WaitReason>,
    /// The concurrency key that was taken when it was last looked at; known only where one run was asked for.
    pub blocked: Option<String>,
    /// The number of its last attempt; 0 when it had none.
    pub attempt: u32,
    /// The name of the last host that took it; empty when none did.
    pub host: String,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// Whether somebody wants it cancelled.
    pub cancel: Option<CancelWish>,
    /// While it is compensating: how it will end.
    pub pending_end: Option<End>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is (or was) to be claimed at the earliest.
    pub due: DateTime<Utc>,
    /// The report, JSON.
    pub report: Option<String>,
    /// The error, JSON.
    pub error: Option<String>,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
    /// How far it is, JSON.
    pub progress: Option<String>,
    /// What the person noted who settled it; or why a person has to: whoever alone could have gone on undoing it is gone.
    pub note: Option<String>,
}

impl RunRow {
    /// One that is just made.
    pub(crate) fn new(run: NewRun, now: Instant) -> Self {
        let created_at = super::date(now);
        Self {
            state: if run.hold.is_some() { RunState::Waiting } else { RunState::Queued },
            wait: run.hold,
            blocked: None,
            attempt: 0,
            host: String::new(),
            lease: None,
            cancel: None,
            pending_end: None,
            created_at,
            started_at: None,
            finished_at: None,
            due: run.due.unwrap_or(created_at),
            report: None,
            error: None,
            dropped_log_lines: 0,
            progress: None,
            note: None,
            run,
        }
    }
}

/// An attempt of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// 1 for the first.
    pub number: u32,
    /// The name of the host.
    pub host: String,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Under which lease.
    pub lease: LeaseNumber,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// `reported`, `in-doubt`, `failed`, `denied`, `timed-out`, `cancelled`, `vanished` or `handed-back`.
    pub outcome: Option<String>,
    /// The error, JSON.
    pub error: Option<String>,
}

/// A durable step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: StepState,
    /// The last attempt that began it.
    pub attempt: u32,
    /// When it was begun, for the first time.
    pub started_at: DateTime<Utc>,
    /// When it was completed.
    pub finished_at: Option<DateTime<Utc>>,
    /// The number that the run's next effect had when it was begun.
    pub first_effect: u64,
    /// The number of the run's last effect when it was completed.
    pub last_effect: Option<u64>,
}

/// A compensation of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompensationRow {
    /// 1 for the first registered.
    pub sequence: u32,
    /// Its name, which is unique in the run.
    pub name: String,
    /// What it is given, JSON.
    pub state: String,
    /// Where it stands.
    pub status: CompensationState,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed last.
    pub error: Option<String>,
    /// Not to be tried before.
    pub due: Option<DateTime<Utc>>,
    /// The component that registered it, and carries it out.
    pub digest: String,
    /// When it was registered.
    pub registered_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
    /// What the person noted who settled it.
    pub note: Option<String>,
}

/// Which compensation is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextUndo {
    /// This one; it is on record as running, and counted.
    Now(Box<CompensationRow>),
    /// The next may be tried only after a wait.
    Later(Span),
    /// None is left: [`crate::Store::end_undo`].
    Nothing,
}

/// Somebody wants a run cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelWish {
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it gets no time to end well.
    pub terminate: bool,
    /// Why.
    pub note: Option<String>,
}

/// A worker asks for runs.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who.
    pub by: &'a Incarnation,
    /// The host's name.
    pub host: &'a str,
    /// How long the leases last.
    pub lease: Span,
    /// The host's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// At most so many.
    pub most: u32,
    /// Only this run.
    pub only: Option<&'a str>,
    /// Not these jobs' runs, which the host cannot begin (empty text: those of no job).
    pub unable: &'a [String],
}

/// A run that a worker has got.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The run.
    pub row: RunRow,
    /// The lease.
    pub lease: Lease,
    /// The number of this attempt; of the last one where the run is to be undone.
    pub attempt: u32,
    /// Whether it is to be undone, not to run.
    pub undo: bool,
}

/// What follows an attempt: what [`RetryPolicy::after`] said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRun {
    /// Another attempt after a wait, whoever makes it.
    Retry {
        /// How long.
        wait: Span,
    },
    /// The run ends so, after whatever there is to undo.
    End(End),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// How.
    pub outcome: AttemptEnd,
    /// What follows.
    pub after: AfterRun,
    /// The report, JSON.
    pub report: Option<String>,
    /// The error, JSON.
    pub error: Option<String>,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
}

/// What became of a run whose attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnded {
    /// It is over.
    Final(RunState),
    /// It is queued again; nobody holds it.
    Requeued,
    /// Whoever held it still does, and carries out its compensations.
    ToUndo,
}

/// Which runs. What is empty or none does not restrict.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this job.
    pub job: Option<String>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// In one of these states.
    pub states: Vec<RunState>,
    /// Set off by this.
    pub trigger: Option<String>,
    /// That retry this run, or were set off by it.
    pub parent: Option<String>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only those with a nominal instant.
    pub scheduled_only: bool,
    /// Made at this instant or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this id, for the next page.
    pub before: Option<String>,
    /// At most so many; 0 for a page.
    pub limit: u32,
}
