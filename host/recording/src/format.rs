//! The lines of a recording; docs/recording-format.md describes them.

use rota_capability::Limits;
use rota_contract::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The version of the format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;

/// The name of a recording among the files of a run: of a later attempt, [`file_name`].
pub const FILE: &str = "recording";

/// The media type of a recording.
pub const MEDIA_TYPE: &str = "application/vnd.rota.recording.v1+zstd";

/// The name of the recording of an attempt, from 1.
pub fn file_name(attempt: u32) -> String {
    if attempt <= 1 { FILE.to_owned() } else { format!("{FILE}-{attempt}") }
}

/// The first line: what was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    #[serde(rename = "rota-recording")]
    pub format: u32,
    /// The version of the host that wrote it.
    pub host: String,
    /// The version of the contract.
    pub contract: String,
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// The digest of its component.
    pub digest: String,
    /// The run.
    pub run: String,
    /// Which attempt of it.
    pub attempt: u32,
    /// The job, if it was one's.
    pub job: Option<String>,
    /// The parameters, secrets masked.
    pub parameters: Value,
    /// `plan` or `execute`.
    pub mode: String,
    /// Slot, binding, accesses.
    pub slots: Vec<Slot>,
    /// The limits.
    pub limits: Limits,
    /// 32 bytes in lower-case hex, from which its random numbers come.
    pub seed: String,
    /// When it began, microseconds since 1970-01-01T00:00Z.
    #[serde(rename = "started-at")]
    pub started_at: i64,
}

/// A slot of the plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// What was bound to it.
    pub binding: Option<String>,
    /// What was granted on it.
    pub accesses: Vec<String>,
}

/// The last line of a run that ended while it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// `reported`, `failed`, `limit`, `quota`, `trapped`, `timed-out`, `cancelled` or `host`.
    pub ended: String,
    /// The report (of one that failed, what it reported until then), secrets masked.
    pub report: Option<Value>,
    /// What is said of the end where it is no report: the failure, the trap, the limit.
    pub said: Option<Value>,
}

/// What the call's reader saw of a stream that the guest wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Bytes that were read.
    pub bytes: u64,
    /// Of them, lower-case hex.
    pub sha256: String,
    /// Whether to the end.
    pub whole: bool,
}

/// Any line after the first: one of the fields beside `call` and `at` says what it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Line {
    /// Which call it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<u64>,
    /// When, microseconds since the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
    /// A call begins: its import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ask: Option<String>,
    /// The call that gave what it is made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<u64>,
    /// It is an import that waits for nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) now: bool,
    /// Its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<Value>,
    /// It was answered.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub(crate) answer: Option<Value>,
    /// It was answered with an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Value>,
    /// It ended the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trapped: Option<String>,
    /// It was dropped before it was answered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dropped: bool,
    /// Its stream gave these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Vec<Value>>,
    /// Its stream gave these, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<String>,
    /// Its stream ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ended: bool,
    /// Its future said so.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub(crate) outcome: Option<Value>,
    /// Its future said this error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<Value>,
    /// Its stream went to another call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) handed_on: bool,
    /// It read a stream of the guest's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<Written>,
    /// What it gave was dropped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) released: bool,
    /// The guest read the wall clock: nanoseconds since 1970-01-01T00:00Z, as a text where they are more than 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wall: Option<u64>,
    /// The guest read the monotonic clock: nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) monotonic: Option<u64>,
    /// The recording ends here although the run went on: it was as large as it may be (bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) full: Option<u64>,
    /// The run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
}

/// A field that is there, also where it is null.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// An error of the contract, as it is kept.
pub(crate) fn error_shown(error: &Error) -> Value {
    rota_capability::tape::shown(error)
}

/// The error again; what cannot be read says so.
pub(crate) fn error_of(value: Value) -> Error {
    rota_capability::tape::made(value.clone())
        .unwrap_or_else(|why| Error::Unavailable(format!("the recorded error {value} cannot be read: {why}")))
}
