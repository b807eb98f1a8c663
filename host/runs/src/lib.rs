//! Runs: from what is asked for to what is on record.
//!
//! [`Host`] is a host's parts put together: settings, sandbox, catalog, store. [`Host::prepare`] finds everything that is wrong before anything is
//! contacted; [`Host::execute`] runs what was prepared, each effect recorded before it happens, and answers a [`RunView`].

mod bindings;
mod doctor;
mod durable_interface;
mod execute;
mod host;
mod limits;
mod observer;
mod parameters;
mod prepare;
mod records;
mod run_interface;
mod settings;
mod view;

pub use doctor::Check;
pub use execute::ExecuteError;
pub use host::{Capabilities, Host, HostError};
pub use limits::{LimitError, set_limit};
pub use observer::{Unwatched, Watcher};
pub use parameters::ParameterError;
pub use prepare::{PrepareError, Prepared, Request, Wanted};
pub use records::{LogLine, RecordsError, RunFilter, RunRecords};
pub use run_interface::Run;
pub use settings::{JobSettings, Settings};
pub use view::{ArtifactView, EffectView, ErrorView, RunView};
