//! The rules by which runs survive: which state follows which, who holds a run, what is tried again, what is undone, which
//! instant is fired.
//!
//! Pure functions on the states that they leave: no clock, no store, no randomness. Both stores apply them inside their
//! transactions, the worker asks them what comes next, and the models in `tests/` check them exhaustively.
//!
//! | module | rule | checked by |
//! | --- | --- | --- |
//! | [`time`] | instants are the database's, in microseconds | |
//! | [`state`] | the states of a run and every transition between them | `tests/document.rs`: the table in docs/runs.md |
//! | [`lease`] | who holds a run, until when, and which writes are refused | `tests/lease.rs`: every interleaving |
//! | [`attempt`] | what follows an attempt: another, an undo, an end | `tests/rules.rs`, `tests/compensation.rs` |
//! | [`step`] | what a durable step answers when it is begun (again) | `tests/steps.rs`: every interleaving |
//! | [`compensation`] | which undo is next, and what follows it | `tests/compensation.rs`: every interleaving |
//! | [`fire`] | which decision about an instant of a schedule may be written | `tests/fire.rs`: every interleaving |
//!
//! `tests/simulation` runs whole hosts on these rules under faults, 10,000 seeds of them; `ROTA_SEED` runs one again.

pub mod attempt;
pub mod compensation;
pub mod fire;
pub mod lease;
pub mod state;
pub mod step;
pub mod time;

pub use attempt::{AfterAttempt, AttemptEnd, Fault, LOST_ATTEMPTS, RetryPolicy};
pub use compensation::{AfterCompensation, CompensationState, UndoPolicy};
pub use fire::{Cursor, FireOutcome, FireRefused};
pub use lease::{Fence, Incarnation, Lease, LeaseLost, LeaseNumber};
pub use state::{End, Event, IllegalTransition, RunState, WaitReason};
pub use step::{StepBegin, StepRefused, StepState};
pub use time::{Instant, Span};
