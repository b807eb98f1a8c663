//! The sections of `rota.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::binding::Binding;
use crate::section::{section, words};
use crate::{BindingName, ByteSize, Job, JobName, Limits, Server, Store, Team, TeamName, Trust};

section! {
    /// The configuration of Rota. Every key can be set by an environment variable too: limits.memory by ROTA_LIMITS__MEMORY.
    pub struct Settings {
        /// What this host does when it serves.
        pub server: Server = Server::default();
        /// Where runs and effects are recorded.
        pub store: Store = Store::default();
        /// The folder for what the host keeps. Without it: rota in the user's folder for state (~/.local/state).
        pub state_dir: Option<PathBuf> = None;
        /// What a run may use.
        pub limits: Limits = Limits::default();
        /// How plugins are run.
        pub sandbox: Sandbox = Sandbox::default();
        /// What the host says about itself.
        pub telemetry: Telemetry = Telemetry::default();
        /// Whose signatures plugins must have, by namespace. Without a rule for it, a plugin needs none.
        pub trust: Trust = Trust::default();
        /// Connections, by name.
        pub bindings: BTreeMap<BindingName, Binding> = BTreeMap::new();
        /// Jobs, by name.
        pub jobs: BTreeMap<JobName, Job> = BTreeMap::new();
        /// Teams, by name: what their jobs may ask for at most.
        pub teams: BTreeMap<TeamName, Team> = BTreeMap::new();
    }
}

section! {
    /// How plugins are run.
    pub struct Sandbox {
        /// How many runs there can be at a time.
        pub pool_instances: u32 = 64, within(1, 10_000);
        /// The most memory that any run's limit may name. Address space is reserved for it, not memory.
        pub pool_memory: ByteSize = ByteSize::gib(4), within(ByteSize::mib(16), ByteSize::gib(4));
        /// The deepest stack of a plugin.
        pub stack: ByteSize = ByteSize::kib(512), within(ByteSize::kib(64), ByteSize::mib(16));
        /// The folder for compiled plugins. Without it: compiled in the state folder.
        pub cache_dir: Option<PathBuf> = None;
    }
}

section! {
    /// What the host says about itself on standard error.
    pub struct Telemetry {
        /// What is said, as warn or warn,rota_runs=debug; ROTA_LOG sets it too. Without it: warnings.
        pub log: String = String::new();
        /// How it is said.
        pub log_format: LogStyle = LogStyle::Auto;
    }
}

words! {
    /// How a line of the log looks.
    pub enum LogStyle ("a format of the log") {
        /// For people on a terminal, as JSON elsewhere.
        Auto = "auto",
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}
