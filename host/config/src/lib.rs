//! `rota.toml`: from what an operator wrote to typed, checked settings that remember where each of
//! them stands.
//!
//! | step | module |
//! | --- | --- |
//! | files and folders are found and read | `source` |
//! | TOML becomes a tree whose every value has a place; files are merged | `tree` |
//! | `ROTA_SECTION__KEY` variables go over it | `environment` |
//! | where each key was written is kept | `places` |
//! | the tree becomes types, every error collected | `decode`, `section` |
//! | sections are checked against each other | `check`, `chain`, `team` |
//! | two configurations are compared: as lines, and across hosts | `difference`, `digest` |
//! | errors are shown with their lines, secrets blotted out | `problem`, `redact` |
//! | files of somebody's are opened, and nothing else | [`open_file`] |
//!
//! A secret is never read here but when it is used: see [`SecretRef::resolve`].

mod access;
mod address;
mod binding;
mod chain;
mod check;
mod config;
mod decode;
mod difference;
mod digest;
mod duration;
mod environment;
mod file;
mod job;
mod labels;
mod limits;
mod name;
mod nearest;
mod places;
mod problem;
mod redact;
mod schedule;
mod schema;
mod secret_ref;
mod section;
mod server;
mod settings;
mod size;
mod source;
mod store;
mod team;
mod tree;
mod trust;

pub use access::{Access, BindingKind};
pub use address::{Address, TargetError, UrlError};
pub use binding::{
    AdHocError, ArgumentRule, ArgumentRuleError, BindArgument, Binding, BucketService, CacheBinding, CacheMode,
    CacheTarget, ClusterRef, JetstreamBinding, JetstreamLogin, JetstreamTarget, JobPlace, KeyBinding,
    KubernetesBinding, KubernetesRule, PodPlace, Program, SecretVariable, SqlBinding, SqlHost, SqlTarget,
    StorageBinding, StorageLocation, StorageTarget, Through, Tls, TlsMode, ToolBinding, ToolPlace, ToolProfile,
};
pub use config::{Checked, Config, check};
pub use difference::{Change, Difference};
pub use duration::{Duration, DurationError};
pub use file::{open_file, read_file, read_text};
pub use job::{After, AfterEnd, FailOn, Job, JobError, PluginRef, Record, Retries, RetryOn, SlotBinding, Undo};
pub use labels::{LabelError, LabelValue, Labels, matches};
pub use limits::{LimitOverrides, Limits};
pub use name::{BindingName, JobName, LabelName, NameError, SlotName, TeamName};
pub use nearest::nearest;
pub use problem::{ConfigError, Place, Problem, render};
pub use schedule::{
    CalendarWindow, Cron, CronWindow, Misfire, Moment, Moments, Outside, Overlap, Schedule, ScheduleTextError,
    TimeOfDay, TimeZone, Weekday, WeeklyWindow, Window,
};
pub use schema::schema;
pub use secret_ref::{ClusterSecrets, SecretError, SecretRef, SecretRefError, read_kubernetes_secrets_with};
pub use section::UnknownWord;
pub use server::{HostName, Listen, Server, ServerError};
pub use settings::{LogStyle, Sandbox, Settings, Telemetry};
pub use size::{ByteSize, ByteSizeError};
pub use source::Source;
pub use store::{Keep, Store};
pub use team::{Beyond, NamePattern, PatternError, Team, TeamBinding, TeamQuotas};
pub use trust::{Namespace, NamespaceError, Trust, TrustFile, TrustRule, TrustedSigner};
