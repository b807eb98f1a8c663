//! Cases: a plugin run against answers from a file, without any server, and what must come out.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `format` | case files: TOML, read with the place of whatever is wrong in them |
//! | `bindings` | what a case puts into slots |
//! | `world` | what stands behind the slots: memory, and the answers of the case |
//! | `run` | one case, run: attempts, crashes, cancels, compensations |
//! | `came`, `check`, `compare` | what came out, held against what is expected |
//! | `suite` | the cases of a folder, side by side |
//! | `from_run` | a case of a recorded run |
//! | `junit` | results for CI |
//! | [`written`] | values as a case file writes them |
//!
//! A case's calls go through a gate like any run's ([`rota_authority::Gate`]) and are judged by the host's own rules; only the targets
//! are the case's. So a case with too little access is denied in the words of a run, a plan performs nothing, and effects are listed as
//! a plan lists them.

mod bindings;
mod came;
mod check;
mod compare;
mod format;
mod from_run;
mod junit;
mod listener;
mod run;
mod suite;
mod world;
pub mod written;

pub use came::{Came, Cause, CompensationCame, EffectCame};
pub use check::Wrong;
pub use format::{Case, CaseFile, Problem};
pub use from_run::of_recording;
pub use junit::junit;
pub use listener::Line;
pub use run::{CaseResult, Subject, fits, run};
pub use suite::{FileResults, Suite, SuiteError, Tally};
