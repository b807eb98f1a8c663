//! Runs: from what is asked for to what is on record.
//!
//! [`Host`] is a host's parts put together: settings, sandbox, catalog, store. [`Host::prepare`] finds everything that is wrong before anything is
//! contacted; [`Host::execute`] runs what was prepared, each effect recorded before it happens, and answers a [`RunView`].

mod agenda;
mod artifacts;
mod attempt;
mod bindings;
mod calendar;
mod doctor;
mod durable;
mod durable_interface;
mod ended;
mod execute;
mod follow;
mod grants;
mod heart;
mod held;
mod host;
mod instants;
mod job;
mod jobs;
mod limits;
mod manifests;
mod metrics;
mod observer;
mod operate;
mod parameters;
mod patient;
mod prepare;
mod recording;
mod records;
mod remedy;
mod replay;
mod run_interface;
mod scheduler;
mod settings;
mod share;
mod team_view;
mod teams;
mod unable;
mod undo;
mod view;
mod worker;

pub use artifacts::{ArtifactError, Artifacts};
pub use doctor::Check;
pub use execute::ExecuteError;
pub use host::{Capabilities, Host, HostError, open_store};
pub use job::{Occasion, ReviveError, new_run};
pub use jobs::{FireView, JobError, JobView, NextView};
pub use limits::{LimitError, set_limit};
pub use manifests::{Manifest, manifests};
pub use metrics::Metrics;
pub use observer::{Unwatched, Watcher};
pub use operate::{AgainError, acting};
pub use parameters::ParameterError;
pub use prepare::{PrepareError, Prepared, Request, Wanted, check_job};
pub use records::{LogLine, News, RecordsError, RunFilter, RunRecords};
pub use remedy::RemedyError;
pub use replay::{
    FoundRecording, Outcome, ReplayError, ReplayRequest, Replayed, open_recording, recorded_component, replay,
};
pub use rota_recording::{Difference, Ending};
pub use run_interface::Run;
pub use scheduler::Scheduler;
pub use settings::{JobSettings, Settings, StoreChoice};
pub use team_view::{Amount, TeamView};
pub use view::{ArtifactView, AttemptView, CompensationView, EffectView, ErrorView, RunView, SlotView, StepView};
pub use worker::{Worker, WorkerOptions};

/// What the machine is called.
#[must_use]
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// Until told to stop; a sender that is gone has stopped, too.
pub(crate) async fn told(mut stop: tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
