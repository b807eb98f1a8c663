//! Who keeps the WAL from being recycled.

use crate::wal::{Wal, position_of};
use rota_sdk::prelude::*;

/// Somebody who needs old WAL.
#[data]
pub(crate) struct Holder {
    /// What holds.
    pub(crate) kind: Kind,
    /// The slot's name; otherwise what it is.
    pub(crate) name: String,
    /// How many bytes of WAL it holds.
    pub(crate) bytes: i64,
    /// Whether somebody reads it now; null for what is no slot.
    pub(crate) active: Option<bool>,
    /// Of a slot: `reserved`, `extended`, `unreserved` or `lost`.
    pub(crate) status: Option<String>,
}

/// What holds WAL.
#[data]
pub(crate) enum Kind {
    /// A replication slot for a standby.
    PhysicalSlot,
    /// A replication slot for a subscriber.
    LogicalSlot,
    /// The archiver: what it has not yet archived stays.
    Archiver,
    /// `wal_keep_size`: so much is kept in any case.
    WalKeepSize,
}

impl Kind {
    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::PhysicalSlot => "physical slot",
            Self::LogicalSlot => "logical slot",
            Self::Archiver => "archiver",
            Self::WalKeepSize => "setting",
        }
    }
}

#[derive(FromRow)]
struct Slot {
    name: String,
    logical: bool,
    active: bool,
    status: Option<String>,
    position: Option<i64>,
}

const SLOTS: &str = "\
    select s.slot_name::text as name, s.slot_type = 'logical' as logical, s.active, s.wal_status as status, \
           pg_wal_lsn_diff(s.restart_lsn, '0/0'::pg_lsn)::int8 as position \
    from pg_catalog.pg_replication_slots s order by s.slot_name";

/// Everybody, the one who holds the most first.
pub(crate) async fn look(session: &mut Session, wal: &Wal) -> Result<Vec<Holder>> {
    let slots: Vec<Slot> = session.query_all(SLOTS, params![]).await.context("looking at replication slots")?;
    let mut holders: Vec<Holder> = slots
        .into_iter()
        .map(|slot| Holder {
            kind: if slot.logical { Kind::LogicalSlot } else { Kind::PhysicalSlot },
            name: slot.name,
            // A slot that was never used, or whose WAL is lost, holds nothing.
            bytes: slot.position.map_or(0, |position| (wal.position - position).max(0)),
            active: Some(slot.active),
            status: slot.status,
        })
        .collect();
    let waiting = wal.archiver.oldest_waiting.as_deref().and_then(|oldest| position_of(oldest, wal.segment_bytes));
    if let Some(oldest) = waiting {
        holders.push(other(Kind::Archiver, "archiver", (wal.position - oldest).max(0)));
    }
    if wal.wal_keep_size > 0 {
        // It holds what there is, and no more than it asks for.
        holders.push(other(
            Kind::WalKeepSize,
            "wal_keep_size",
            wal.bytes.map_or(wal.wal_keep_size, |bytes| wal.wal_keep_size.min(bytes)),
        ));
    }
    holders.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
    Ok(holders)
}

fn other(kind: Kind, name: &str, bytes: i64) -> Holder {
    Holder { kind, name: name.to_owned(), bytes, active: None, status: None }
}
