//! `rota.toml`: from what an operator wrote to typed, checked settings that remember where each of
//! them stands.
//!
//! | step | module |
//! | --- | --- |
//! | files and folders are found and read | `source` |
//! | TOML becomes a tree whose every value has a place; files are merged | `tree` |
//! | `ROTA_SECTION__KEY` variables go over it | `environment` |
//! | the tree becomes types, every error collected | `decode`, `section` |
//! | sections are checked against each other | `check` |
//! | errors are shown with their lines, secrets blotted out | `problem`, `redact` |
//!
//! A secret is never read here but when it is used: see [`SecretRef::resolve`].

mod access;
mod address;
mod binding;
mod check;
mod config;
mod decode;
mod duration;
mod environment;
mod job;
mod limits;
mod name;
mod nearest;
mod problem;
mod redact;
mod schema;
mod secret_ref;
mod section;
mod settings;
mod size;
mod source;
mod tree;

pub use access::{Access, BindingKind};
pub use address::{Address, TargetError, UrlError};
pub use binding::{
    AdHocError, ArgumentRule, ArgumentRuleError, BindArgument, Binding, BucketService, KeyBinding, Program, SqlBinding,
    SqlHost, SqlTarget, StorageBinding, StorageLocation, StorageTarget, Tls, TlsMode, ToolBinding, ToolProfile,
};
pub use config::{Checked, Config, check};
pub use duration::{Duration, DurationError};
pub use job::{Cron, Job, JobError, Misfire, Overlap, PluginRef, Retries, Schedule, SlotBinding, TimeZone};
pub use limits::{LimitOverrides, Limits};
pub use name::{BindingName, JobName, NameError, SlotName};
pub use nearest::nearest;
pub use problem::{ConfigError, Place, Problem, render};
pub use schema::schema;
pub use secret_ref::{SecretError, SecretRef, SecretRefError};
pub use section::UnknownWord;
pub use settings::{LogStyle, Sandbox, Settings, Store, Telemetry};
pub use size::{ByteSize, ByteSizeError};
pub use source::Source;
