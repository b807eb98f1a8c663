//! How far a backup was verified, with what result: the objects `*.verified.json` beside a manifest. They are only ever added.

use crate::layout::{Folder, VERIFIED};
use crate::rows::TableRows;
use rota_sdk::{Error, Result, Timestamp, data, parameters};

/// What a verification result says that it is.
pub const KIND: &str = "rota-postgres-verification";
/// The newest format that this version writes and reads.
pub const FORMAT: u32 = 1;
/// The largest result that is read, bytes.
pub const LARGEST: usize = 32 << 20;

/// How far a backup is verified. Each level includes those before it.
#[parameters]
#[derive(PartialOrd, Ord)]
pub enum Level {
    /// The bucket holds every byte that was stored: sizes and SHA-256.
    Stored,
    /// Every byte can be decrypted, decompressed and read by `pg_restore`, and the rows in the dump are counted.
    Decoded,
    /// The dump was restored into a scratch database, and the rows counted there.
    Restored,
}

impl Level {
    /// The word, as in parameters and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Decoded => "decoded",
            Self::Restored => "restored",
        }
    }
}

/// Something that is wrong with a backup.
#[data]
#[derive(PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// One line that names the object.
    pub title: String,
    /// What was measured.
    pub detail: String,
}

/// What is wrong with a backup.
#[data]
pub enum ProblemKind {
    /// The manifest is of a newer format.
    NewerFormat,
    /// The manifest is not one of ours, damaged, or of another backup.
    BadManifest,
    /// An object that the manifest names is not there.
    MissingObject,
    /// An object has another size than was stored.
    WrongSize,
    /// An object has other bytes than were stored.
    WrongChecksum,
    /// The bytes are as they were stored, and the key given does not open them.
    WrongKey,
    /// The bytes are as they were stored, and cannot be decompressed.
    Undecodable,
    /// The decoded bytes are not those that `pg_dump` wrote.
    WrongContent,
    /// `pg_restore` cannot read the dump.
    UnreadableArchive,
    /// Rows are missing, or there are too many.
    WrongRows,
    /// `pg_restore` could not put the dump into an empty database.
    NotRestorable,
}

impl Problem {
    /// Something wrong.
    pub fn new(kind: ProblemKind, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind, title: title.into(), detail: detail.into() }
    }
}

/// The result of a verification, as it is stored beside the manifest.
#[data]
pub struct Verification {
    /// Always `rota-postgres-verification`.
    pub kind: String,
    /// The format's number: 1.
    pub format: u32,
    /// The backup's id.
    pub backup: String,
    /// How far it was verified.
    pub level: Level,
    /// Whether nothing was found wrong.
    pub ok: bool,
    /// When.
    pub at: Timestamp,
    /// What wrote it: the plugin and its version.
    pub writer: String,
    /// The run's id.
    pub run: String,
    /// What was found wrong.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// The rows counted in the dump, from level `decoded` on.
    #[serde(default)]
    pub rows: Option<Vec<TableRows>>,
}

/// Who verifies.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The plugin and its version.
    pub name: String,
    /// The run's id.
    pub run: String,
    /// The time.
    pub now: Timestamp,
}

impl Verification {
    /// Read a result that lies in a folder; none for what this version does not know.
    pub fn parse(bytes: &[u8], folder: &Folder) -> Option<Self> {
        let read: Self = serde_json::from_slice(bytes).ok()?;
        (read.kind == KIND && read.format == FORMAT && read.backup == folder.id).then_some(read)
    }

    /// Where it is stored. Two results never have one name.
    pub fn object(&self) -> String {
        let digits: String = self.run.chars().filter(char::is_ascii_hexdigit).collect();
        let tail = digits.get(digits.len().saturating_sub(8)..).unwrap_or_default().to_lowercase();
        format!("{}-{tail:0>8}-{}{VERIFIED}", self.at.compact(), self.level.word())
    }

    /// As it is stored.
    ///
    /// # Errors
    /// Never, for what this version can express.
    pub fn to_json(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).map_err(Error::from)?;
        text.push('\n');
        Ok(text)
    }
}
