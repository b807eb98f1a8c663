//! Who needs which WAL: the retained backups, the base backups that the archive knows, and the server.

use crate::names::{Kind, Segment, kind, told};
use crate::place::File;
use crate::{Parameters, names};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::{Backup, layout, look};

/// Somebody who needs WAL from a segment on.
#[data]
pub(crate) struct Need {
    /// What needs it.
    pub(crate) kind: By,
    /// Its name.
    pub(crate) name: String,
    /// The first segment that it needs, without the timeline.
    pub(crate) segment: String,
    /// The same as numbers.
    #[serde(skip)]
    pub(crate) place: (u32, u32),
}

/// What needs WAL.
#[data]
pub(crate) enum By {
    /// A backup in the slot `bucket`.
    Backup,
    /// A base backup, by its history file in the archive.
    BaseBackup,
    /// A replication slot of the server.
    Slot,
    /// A standby of the server.
    Standby,
    /// The server's own last checkpoint.
    Checkpoint,
    /// The parameter `cutoff`.
    Parameter,
}

impl By {
    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::BaseBackup => "base backup",
            Self::Slot => "replication slot",
            Self::Standby => "standby",
            Self::Checkpoint => "the server's last checkpoint,",
            Self::Parameter => "the parameter",
        }
    }
}

fn need(kind: By, name: impl Into<String>, place: (u32, u32)) -> Need {
    Need { kind, name: name.into(), segment: told(place), place }
}

/// Where a server is in its log.
pub(crate) struct Live {
    pub(crate) server: Server,
    pub(crate) segment_bytes: u64,
    pub(crate) data_directory: Option<String>,
}

#[derive(FromRow)]
struct Settings {
    segment_bytes: i64,
    data_directory: Option<String>,
}

const SETTINGS: &str = "\
    select pg_size_bytes(current_setting('wal_segment_size')) as segment_bytes, \
           (select s.setting from pg_catalog.pg_settings s where s.name = 'data_directory') as data_directory";

const POSITION: &str = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'::pg_lsn)::int8";

const OF_SERVER: &str = "\
    select 'slot' as kind, s.slot_name::text as name, pg_wal_lsn_diff(s.restart_lsn, '0/0'::pg_lsn)::int8 as position \
      from pg_catalog.pg_replication_slots s where s.restart_lsn is not null and s.wal_status is distinct from 'lost' \
    union all \
    select 'standby', coalesce(nullif(r.application_name, ''), r.pid::text), pg_wal_lsn_diff(r.replay_lsn, '0/0'::pg_lsn)::int8 \
      from pg_catalog.pg_stat_replication r where r.replay_lsn is not null \
    union all \
    select 'checkpoint', c.redo_lsn::text, pg_wal_lsn_diff(c.redo_lsn, '0/0'::pg_lsn)::int8 from pg_control_checkpoint() c";

/// The server whose archive it is.
pub(crate) async fn live(session: &mut Session) -> Result<Live> {
    let server = Server::inspect(session).await?;
    if server.in_recovery {
        return Err(Error::new("this server is a standby, and which segment is in use is known to the primary alone")
            .hint("bind the primary"));
    }
    let settings: Settings = session.query_one(SETTINGS, params![]).await.context("reading the server's settings")?;
    Ok(Live {
        server,
        segment_bytes: u64::try_from(settings.segment_bytes).unwrap_or(0),
        data_directory: settings.data_directory,
    })
}

/// The segment that the server writes to now. Asked after the archive was listed: what lies in an archive was finished before.
pub(crate) async fn current(session: &mut Session, segment_bytes: u64) -> Result<(u32, u32)> {
    let position: i64 = session.query_one(POSITION, params![]).await.context("asking where the log is")?;
    place(position, segment_bytes)
}

fn place(position: i64, segment_bytes: u64) -> Result<(u32, u32)> {
    let place = u64::try_from(position).ok().and_then(|position| Segment::at(position, segment_bytes));
    place.ok_or_else(|| Error::new(format!("{position} is no position in a log")))
}

pub(crate) async fn of_server(session: &mut Session, segment_bytes: u64) -> Result<Vec<Need>> {
    let rows: Vec<(String, String, i64)> =
        session.query_all(OF_SERVER, params![]).await.context("asking what the server still needs")?;
    let of = |(kind, name, position): (String, String, i64)| -> Result<Need> {
        let kind = match kind.as_str() {
            "slot" => By::Slot,
            "standby" => By::Standby,
            _ => By::Checkpoint,
        };
        Ok(need(kind, name, place(position, segment_bytes)?))
    };
    rows.into_iter().map(of).collect()
}

/// The newest base backups that the archive knows; without a number, all of them.
pub(crate) fn of_base_backups(files: &[File], retained: Option<u32>) -> Vec<Need> {
    let mut all: Vec<(Segment, &str)> = files
        .iter()
        .filter_map(|file| match kind(&file.name) {
            Kind::BackupHistory(segment) => Some((segment, file.name.as_str())),
            _ => None,
        })
        .collect();
    all.sort_by(|a, b| b.cmp(a));
    let most = retained.map_or(usize::MAX, |retained| retained as usize);
    all.into_iter().take(most).map(|(segment, name)| need(By::BaseBackup, name, segment.place)).collect()
}

/// The retained backups of a cluster. Whatever leaves their need in doubt ends the run.
pub(crate) async fn of_backups(
    bucket: &Bucket,
    parameters: &Parameters,
    system: Option<&str>,
    segment_bytes: u64,
) -> Result<Vec<Need>> {
    let prefix = layout::prefix(&parameters.backups_prefix);
    let holding = look(bucket, &prefix, None).await?;
    let mut needs = Vec::new();
    for backup in &holding.backups {
        needs.extend(of_backup(backup, system, segment_bytes)?);
    }
    if needs.is_empty() {
        return Err(Error::new(format!(
            "no backup of this cluster below {prefix:?} in the slot `bucket`: nothing there says what is still needed"
        ))
        .hint("bind the bucket that the cluster is backed up to, or leave the slot unbound and give `cutoff`"));
    }
    Ok(needs)
}

fn of_backup(backup: &Backup, system: Option<&str>, segment_bytes: u64) -> Result<Option<Need>> {
    let path = backup.folder.path();
    let manifest = match &backup.manifest {
        Ok(manifest) => manifest,
        Err(fault) => {
            return Err(Error::new(format!("{path}: what this backup needs is not known, because {fault}"))
                .hint("mend or remove it first"));
        }
    };
    if let (Some(ours), Some(theirs)) = (system, &manifest.source.system_identifier)
        && ours != theirs
    {
        return Ok(None);
    }
    let position = manifest.snapshot.lsn.as_deref().and_then(position);
    match position.and_then(|position| Segment::at(position, segment_bytes)) {
        Some(place) => Ok(Some(need(By::Backup, path, place))),
        None => Err(Error::new(format!("{path}: its manifest does not say where in the log it begins"))
            .hint("give `cutoff` and leave the slot `bucket` unbound, if you know what is needed")),
    }
}

/// `0/1A2B` in bytes.
fn position(lsn: &str) -> Option<u64> {
    let (high, low) = lsn.split_once('/')?;
    Some((u64::from(u32::from_str_radix(high, 16).ok()?) << 32) + u64::from(u32::from_str_radix(low, 16).ok()?))
}

/// From where on everything stays: the oldest need. A cutoff that was given is never moved.
pub(crate) fn decide(needs: &[Need], parameters: &Parameters) -> Result<Need> {
    let oldest = needs.iter().min_by_key(|need| need.place);
    let Some(given) = &parameters.cutoff else {
        // What the server needs says nothing of what a backup needs.
        let known = needs.iter().any(|need| matches!(need.kind, By::Backup | By::BaseBackup));
        return oldest.filter(|_| known).cloned().ok_or_else(|| {
            Error::new(
                "nothing says which WAL is still needed: no backup, no history file of a base backup, no `cutoff`",
            )
            .hint("bind the backups' bucket to the slot `bucket`, or give the oldest segment to keep as `cutoff`")
        });
    };
    let Some(segment) = names::cutoff(given) else {
        return Err(
            Error::new(format!("{given:?} is no name of a WAL segment")).hint("for example 000000010000000A000000FE")
        );
    };
    match oldest.filter(|oldest| oldest.place < segment.place) {
        Some(older) => Err(Error::new(format!(
            "the cutoff {given} lies past what {} {} needs: everything from {} on",
            older.kind.word(),
            older.name,
            older.segment
        ))
        .hint("give an older `cutoff`, or let go of what needs the older WAL first")),
        None => Ok(need(By::Parameter, given, segment.place)),
    }
}
