//! The write-ahead log: how much there is, how much there should be, and where the archiver is.

use crate::holders::{self, Holder};
use crate::sizes::may_not;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// The write-ahead log.
#[data]
#[derive(FromRow)]
pub(crate) struct Wal {
    /// What is in `pg_wal`, bytes; null where it could not be seen.
    #[column(skip)]
    pub(crate) bytes: Option<i64>,
    /// How many segments that is.
    #[column(skip)]
    pub(crate) segments: Option<i64>,
    /// The size of a segment, bytes.
    pub(crate) segment_bytes: i64,
    /// `max_wal_size`: what checkpoints aim at.
    pub(crate) max_wal_size: i64,
    /// `wal_keep_size`: what is kept for standbys without a slot.
    pub(crate) wal_keep_size: i64,
    /// `max_slot_wal_keep_size`: the most that slots may hold; -1 is no bound.
    pub(crate) max_slot_wal_keep_size: i64,
    /// Where the log is, in bytes from its beginning.
    pub(crate) position: i64,
    /// The data directory, where the role may see it.
    pub(crate) data_directory: Option<String>,
    /// The archiver.
    #[column(skip)]
    pub(crate) archiver: Archiver,
}

/// The archiver.
#[data]
#[derive(Default, FromRow)]
pub(crate) struct Archiver {
    /// `archive_mode`: `off`, `on` or `always`.
    pub(crate) mode: String,
    /// Whether it has a command or a library; without one it keeps every segment.
    pub(crate) configured: bool,
    /// How many files wait to be archived; null where that could not be seen.
    #[column(skip)]
    pub(crate) waiting: Option<i64>,
    /// The oldest segment that waits.
    #[column(skip)]
    pub(crate) oldest_waiting: Option<String>,
    /// How many were archived since the statistics began.
    pub(crate) archived: i64,
    /// The last one.
    pub(crate) last_archived: Option<String>,
    /// When that was.
    pub(crate) last_archived_at: Option<Timestamp>,
    /// How often it failed.
    pub(crate) failed: i64,
    /// What it last failed at.
    pub(crate) last_failed: Option<String>,
    /// When that was.
    pub(crate) last_failed_at: Option<Timestamp>,
}

impl Archiver {
    /// Whether it archives at all.
    pub(crate) fn is_on(&self) -> bool {
        self.mode != "off"
    }

    /// Whether its last try failed.
    pub(crate) fn fails(&self) -> bool {
        self.is_on() && self.last_failed_at.is_some() && self.last_failed_at > self.last_archived_at
    }
}

const SETTINGS: &str = "\
    select pg_size_bytes(current_setting('wal_segment_size')) as segment_bytes, pg_size_bytes(current_setting('max_wal_size')) as max_wal_size, \
           pg_size_bytes(current_setting('wal_keep_size')) as wal_keep_size, \
           pg_size_bytes(current_setting('max_slot_wal_keep_size')) as max_slot_wal_keep_size, \
           pg_wal_lsn_diff(case when pg_is_in_recovery() then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
                                else pg_current_wal_lsn() end, '0/0'::pg_lsn)::int8 as position, \
           (select s.setting from pg_catalog.pg_settings s where s.name = 'data_directory') as data_directory";

const ARCHIVER: &str = "\
    select current_setting('archive_mode') as mode, \
           current_setting('archive_command') not in ('', '(disabled)') or current_setting('archive_library') <> '' as configured, \
           a.archived_count as archived, a.last_archived_wal as last_archived, a.last_archived_time as last_archived_at, \
           a.failed_count as failed, a.last_failed_wal as last_failed, a.last_failed_time as last_failed_at \
    from pg_catalog.pg_stat_archiver a";

const FILES: &str =
    "select coalesce(sum(w.size), 0)::int8, count(*) filter (where w.name ~ '^[0-9A-F]{24}$') from pg_ls_waldir() w";

// Timelines apart, the names of segments are in the order of the log.
const WAITING: &str = "\
    select count(*), min(left(s.name, 24)) filter (where s.name ~ '^[0-9A-F]{24}[.]ready$') \
    from pg_ls_archive_statusdir() s where s.name like '%.ready'";

/// The log, and who holds it.
pub(crate) async fn look(session: &mut Session, server: &mut Server) -> Result<(Wal, Vec<Holder>)> {
    let mut wal: Wal = session.query_one(SETTINGS, params![]).await.context("reading the settings of the WAL")?;
    wal.archiver = session.query_one(ARCHIVER, params![]).await.context("looking at the archiver")?;
    match session.query_one::<(i64, i64)>(FILES, params![]).await {
        Ok((bytes, segments)) => (wal.bytes, wal.segments) = (Some(bytes), Some(segments)),
        Err(error) if may_not(&error) => {
            server.hide(format!("the WAL's size: role {} is not a member of pg_monitor", server.role))
        }
        Err(error) => return Err(error.context("measuring the WAL")),
    }
    match session.query_one::<(i64, Option<String>)>(WAITING, params![]).await {
        Ok((waiting, oldest)) => (wal.archiver.waiting, wal.archiver.oldest_waiting) = (Some(waiting), oldest),
        Err(error) if may_not(&error) => {
            server.hide(format!("what waits to be archived: role {} is not a member of pg_monitor", server.role));
        }
        Err(error) => return Err(error.context("looking at what waits to be archived")),
    }
    let holders = holders::look(session, &wal).await?;
    Ok((wal, holders))
}

/// Where a segment begins in the log; none for what is no segment's name.
pub(crate) fn position_of(segment: &str, segment_bytes: i64) -> Option<i64> {
    let high = i64::from_str_radix(segment.get(8..16)?, 16).ok()?;
    let low = i64::from_str_radix(segment.get(16..24)?, 16).ok()?;
    high.checked_mul(1 << 32)?.checked_add(low.checked_mul(segment_bytes)?)
}
