//! What an operator may choose.

use rota_sdk::prelude::*;
use rota_sdk_backup::Level;

/// How to back up.
#[parameters]
pub struct Parameters {
    /// Where in the bucket, below the binding's own prefix: `daily/`. Each database gets a folder of its own.
    #[parameter(default)]
    pub(crate) prefix: String,
    /// How the dump is compressed.
    #[parameter(default = Compression::Zstd)]
    pub(crate) compression: Compression,
    /// The level of compression. Higher is smaller and slower.
    #[parameter(default = 1, range = 1..=19)]
    pub(crate) level: i32,
    /// Encrypt to these age recipients (`age1...`). Without any, the backup is not encrypted.
    #[parameter(default)]
    pub(crate) recipients: Vec<String>,
    /// Dump roles and tablespaces too, where `pg_dumpall` is bound. Passwords are left out.
    #[parameter(default = true)]
    pub(crate) globals: bool,
    /// How the rows of each table get into the manifest.
    #[parameter(default = Counting::Counted)]
    pub(crate) rows: Counting,
    /// How far the backup is verified before it counts as one.
    #[parameter(default = Verify::Stored)]
    pub(crate) verify: Verify,
    /// Delete old backups of this database, of this cluster, below this prefix, once the new one is verified.
    #[parameter(default = true)]
    pub(crate) retention: bool,
    /// Keep every backup of the last so many hours before the new one.
    #[parameter(default = 24, range = 0..=10_000)]
    pub(crate) keep_hours: u32,
    /// Keep the newest backup of so many days.
    #[parameter(default = 7, range = 0..=10_000)]
    pub(crate) keep_daily: u32,
    /// Keep the newest backup of so many weeks.
    #[parameter(default = 4, range = 0..=10_000)]
    pub(crate) keep_weekly: u32,
    /// Keep the newest backup of so many months.
    #[parameter(default = 12, range = 0..=10_000)]
    pub(crate) keep_monthly: u32,
    /// Remove what failed backups of this database left in the bucket more than a day ago.
    #[parameter(default)]
    pub(crate) clean_orphans: bool,
    /// Take a `pg_dump` that is newer than the server. Its dump may only be restored by tools of that version.
    #[parameter(default)]
    pub(crate) allow_newer_client: bool,
    /// Give up when a table stays locked so long, seconds.
    #[parameter(default = 60, range = 1..=86_400)]
    pub(crate) lock_timeout_seconds: u32,
}

/// How the dump is compressed.
#[parameters]
pub enum Compression {
    /// Zstandard, by the host, beside pg_dump: any pg_restore can read it back.
    Zstd,
    /// Zstandard, by pg_dump itself, where it is version 16 or later and built with it. pg_restore must be, too.
    ClientZstd,
    /// Not at all.
    None,
}

/// How rows get into the manifest.
#[parameters]
pub enum Counting {
    /// Count them, while the dump runs, in a snapshot taken just before it.
    Counted,
    /// Take the planner's estimates.
    Estimated,
}

/// How far to verify.
#[parameters]
pub enum Verify {
    /// Not at all.
    None,
    /// Re-read every byte from the bucket and hash it.
    Stored,
    /// Also read the whole dump with `pg_restore`, and count its rows.
    Decoded,
    /// Also restore it into a scratch database, and count the rows there.
    Restored,
}

impl Verify {
    pub(crate) fn level(self) -> Option<Level> {
        match self {
            Self::None => None,
            Self::Stored => Some(Level::Stored),
            Self::Decoded => Some(Level::Decoded),
            Self::Restored => Some(Level::Restored),
        }
    }
}
