//! The manifest of a backup, format 1. Fields are only ever added, and a reader skips those that it does not know; a change that an
//! older reader would get wrong gets a new format number, which it refuses.

use crate::layout::{Folder, is_plain};
use crate::rows::TableRows;
use rota_sdk::{Error, Result, Timestamp, data};

/// What a manifest says that it is.
pub const KIND: &str = "rota-postgres-backup";
/// The newest format that this version writes and reads.
pub const FORMAT: u32 = 1;
/// The largest manifest that is read, bytes: a hundred thousand tables with long names.
pub const LARGEST: usize = 32 << 20;

/// A backup's manifest. Written last: without it there is no backup.
#[data]
pub struct Manifest {
    /// Always `rota-postgres-backup`.
    pub kind: String,
    /// The format's number: 1.
    pub format: u32,
    /// The backup's id, the name of its folder.
    pub id: String,
    /// What wrote it: the plugin and its version.
    pub writer: String,
    /// The run's id.
    pub run: String,
    /// When the backup began.
    pub started_at: Timestamp,
    /// When its last byte was stored.
    pub finished_at: Timestamp,
    /// Where the data came from.
    pub source: Source,
    /// Which state of the database the dump shows.
    pub snapshot: Snapshot,
    /// The dump.
    pub dump: Part,
    /// The roles and tablespaces of the cluster; null where they were left out.
    #[serde(default)]
    pub globals: Option<Part>,
    /// How many rows each table has.
    pub rows: Rows,
    /// The extensions that a restore needs.
    #[serde(default)]
    pub extensions: Vec<Extension>,
}

/// Where the data came from.
#[data]
pub struct Source {
    /// The server's version: `16.14`.
    pub version: String,
    /// The same as a number: 160014.
    pub version_num: u32,
    /// The cluster's system identifier; null where the role may not read it.
    pub system_identifier: Option<String>,
    /// The database's name.
    pub database: String,
    /// The role that dumped.
    pub role: String,
    /// Whether the server was a standby.
    pub in_recovery: bool,
    /// The database's encoding: `UTF8`.
    pub encoding: String,
    /// Its collation: `C.UTF-8`.
    pub collation: Option<String>,
    /// Its size on disk, bytes.
    pub size_bytes: Option<u64>,
}

/// Which state of the database the dump shows.
#[data]
pub struct Snapshot {
    /// How exactly that is known.
    pub method: SnapshotMethod,
    /// The write-ahead log's position just before `pg_dump` was started: what was committed by then is in the dump.
    pub lsn: Option<String>,
    /// The position just after the dump: what was committed later is not in it.
    pub lsn_after: Option<String>,
    /// The transactions in progress before the dump, as PostgreSQL prints a snapshot (`xmin:xmax:xip`).
    pub transactions: Option<String>,
}

/// How exactly the dump's state is known.
#[data]
pub enum SnapshotMethod {
    /// No transaction that writes ended while the dump ran: `lsn` is its state.
    Quiet,
    /// The dump's snapshot lies between `lsn` and `lsn_after`.
    Between,
}

/// One stored object.
#[data]
pub struct Part {
    /// Its name in the backup's folder.
    pub object: String,
    /// The program that made it, with its version: `pg_dump 16.14`.
    pub tool: String,
    /// What it is once decrypted and decompressed: `pg_dump-custom` or `sql`.
    pub content: String,
    /// How it is compressed in the bucket.
    pub codec: Codec,
    /// The level, where it is compressed.
    pub level: Option<i32>,
    /// Whether `pg_dump` compressed it itself; then `codec` is `none`.
    #[serde(default)]
    pub compressed_by_client: bool,
    /// The age recipients that can decrypt it; empty where it is not encrypted.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// What the program wrote.
    pub plain: Digest,
    /// What the bucket holds.
    pub stored: Digest,
}

impl Part {
    /// Whether a key is needed to read it.
    pub fn is_encrypted(&self) -> bool {
        !self.recipients.is_empty()
    }
}

/// How an object is compressed in the bucket.
#[data]
pub enum Codec {
    /// Not by Rota.
    None,
    /// Zstandard.
    Zstd,
}

/// A size and a checksum.
#[data]
#[derive(PartialEq, Eq)]
pub struct Digest {
    /// Bytes.
    pub bytes: u64,
    /// The SHA-256 in lower-case hex.
    pub sha256: String,
}

/// How many rows each table has.
#[data]
pub struct Rows {
    /// How that was found out.
    pub method: RowsMethod,
    /// The tables, by schema and name.
    pub tables: Vec<TableRows>,
}

/// How rows were counted.
#[data]
pub enum RowsMethod {
    /// Counted in the database, in one snapshot, and no transaction that writes ended until the dump was done: exactly the dump's.
    Counted,
    /// Counted in the database in one snapshot just before the dump's; others wrote meanwhile, so the dump may differ by what they did.
    CountedBefore,
    /// Counted in the stored dump itself: exactly the dump's.
    CountedInDump,
    /// The planner's estimates. Compare them with nothing.
    Estimated,
}

impl RowsMethod {
    /// Whether the dump must have just these rows.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Counted | Self::CountedInDump)
    }
}

/// An extension of the database.
#[data]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestFault {
    /// It is of a newer format.
    Newer(u64),
    /// It is a manifest of something else, or of no format at all.
    Foreign(String),
    /// It is damaged or cut.
    Unreadable(String),
    /// It is well, but belongs to another folder: somebody copied or renamed.
    Misplaced(String),
}

impl std::fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(format) => write!(
                f,
                "its format is {format}, and this version of Rota reads up to {FORMAT}: use the version that wrote it, or a later one"
            ),
            Self::Foreign(why) => write!(f, "it is not a manifest of Rota's PostgreSQL backups: {why}"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::Misplaced(why) => write!(f, "it belongs elsewhere: {why}"),
        }
    }
}

impl Manifest {
    /// Read the manifest that lies in a folder.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub fn parse(bytes: &[u8], folder: &Folder) -> Result<Self, ManifestFault> {
        let unreadable = |error: serde_json::Error| ManifestFault::Unreadable(error.to_string());
        let json: serde_json::Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        match json.get("kind").and_then(serde_json::Value::as_str) {
            Some(KIND) => {}
            Some(other) => return Err(ManifestFault::Foreign(format!("its kind is {other:?}"))),
            None => return Err(ManifestFault::Foreign("it says no kind".to_owned())),
        }
        match json.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) if format > u64::from(FORMAT) => return Err(ManifestFault::Newer(format)),
            _ => return Err(ManifestFault::Foreign("its format is no number from 1".to_owned())),
        }
        let manifest: Self = serde_json::from_value(json).map_err(unreadable)?;
        manifest.check(folder)?;
        Ok(manifest)
    }

    fn check(&self, folder: &Folder) -> Result<(), ManifestFault> {
        if self.id != folder.id {
            return Err(ManifestFault::Misplaced(format!("it is of backup {}", self.id)));
        }
        if self.source.database != folder.database {
            return Err(ManifestFault::Misplaced(format!("it is of database {:?}", self.source.database)));
        }
        match self.parts().find(|part| !is_plain(&part.object)) {
            Some(part) => {
                Err(ManifestFault::Unreadable(format!("{:?} names no object in the backup's folder", part.object)))
            }
            None => Ok(()),
        }
    }

    /// The dump, and the globals where there are some.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.dump).chain(&self.globals)
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

    /// The sizes of everything stored, bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.parts().map(|part| part.stored.bytes).sum()
    }

    /// The major version of the program that made the dump; none where it does not say.
    pub fn client_major(&self) -> Option<u32> {
        let version = self.dump.tool.rsplit(' ').next()?;
        version.split('.').next()?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
