//! Is what the server holds elsewhere, too? Replicas and slots of a primary, the receiver of a standby.

use crate::{Parameters, size, spoken};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// The state of replication.
#[data]
pub(crate) struct Replication {
    /// The replicas and subscribers that are connected.
    replicas: Vec<Replica>,
    /// How many of them are physical replicas that stream.
    streaming: u32,
    /// How many were expected; null where it was not said.
    expected: Option<u32>,
    /// The replication slots.
    slots: Vec<Slot>,
    /// The receiver of a standby; null on a primary, and on a standby that has none.
    receiver: Option<Receiver>,
}

/// A connected replica or subscriber.
#[data]
#[derive(FromRow)]
pub(crate) struct Replica {
    /// The name that it gives itself.
    name: Option<String>,
    /// Where it connects from.
    client: Option<String>,
    /// `streaming`, `catchup`, `startup`, `backup`, `stopping`; null where it cannot be seen.
    state: Option<String>,
    /// `sync`, `quorum`, `async`, `potential`.
    sync_state: Option<String>,
    /// Whether it decodes logically (a subscriber) instead of replaying all.
    logical: bool,
    /// How many bytes of log it has not yet replayed.
    lag_bytes: Option<i64>,
    /// How long ago what it last replayed was written, in seconds; null when it is idle and up to date.
    lag_seconds: Option<f64>,
}

/// A replication slot.
#[data]
#[derive(FromRow)]
pub(crate) struct Slot {
    /// Its name.
    name: String,
    /// `physical` or `logical`.
    kind: String,
    /// Whether somebody is connected to it.
    active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; null when it keeps no log.
    wal_status: Option<String>,
    /// How many bytes may still be written before it is in danger; null when nothing limits it.
    safe_wal_size: Option<i64>,
    /// How many bytes of log it keeps.
    retained_bytes: Option<i64>,
    /// Since when nobody is connected (PostgreSQL 17 and later).
    inactive_since: Option<String>,
    /// Why it was invalidated (PostgreSQL 17 and later).
    invalidation_reason: Option<String>,
}

/// The receiver of a standby.
#[data]
#[derive(FromRow)]
pub(crate) struct Receiver {
    /// Its state: `streaming`.
    status: Option<String>,
    /// The primary that it streams from.
    sender: Option<String>,
    /// How far replay is behind what the primary last said it had, in bytes.
    lag_bytes: Option<i64>,
    /// How long ago the primary was last heard of, in seconds.
    heard_seconds: Option<f64>,
}

const REPLICAS: &str = "\
    select r.application_name as name, host(r.client_addr) as client, r.state, r.sync_state, \
           coalesce(s.slot_type = 'logical', false) as logical, \
           pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end, \
                           r.replay_lsn)::int8 as lag_bytes, \
           extract(epoch from r.replay_lag)::float8 as lag_seconds \
    from pg_catalog.pg_stat_replication r \
    left join pg_catalog.pg_replication_slots s on s.active_pid = r.pid \
    order by r.application_name, r.pid";

// Through JSON, because later versions have columns that earlier ones lack.
const SLOTS: &str = "\
    select s.slot_name::text as name, s.slot_type as kind, s.active, s.wal_status, s.safe_wal_size, \
           pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, \
                           s.restart_lsn)::int8 as retained_bytes, \
           to_jsonb(s) ->> 'inactive_since' as inactive_since, to_jsonb(s) ->> 'invalidation_reason' as invalidation_reason \
    from pg_catalog.pg_replication_slots s order by s.slot_name";

const RECEIVER: &str = "\
    select w.status, w.sender_host || ':' || w.sender_port as sender, \
           pg_wal_lsn_diff(greatest(w.latest_end_lsn, pg_last_wal_receive_lsn()), pg_last_wal_replay_lsn())::int8 as lag_bytes, \
           extract(epoch from clock_timestamp() - w.last_msg_receipt_time)::float8 as heard_seconds \
    from pg_catalog.pg_stat_wal_receiver w where w.pid is not null";

pub(crate) async fn check(
    session: &mut Session,
    parameters: &Parameters,
    server: &mut Server,
    report: &mut Report,
) -> Result<Replication> {
    let replicas: Vec<Replica> = session.query_all(REPLICAS, params![]).await.context("checking replication")?;
    let slots: Vec<Slot> = session.query_all(SLOTS, params![]).await.context("checking replication slots")?;
    let mut receiver = None;
    if server.in_recovery {
        receiver = session.query_optional(RECEIVER, params![]).await.context("checking the WAL receiver")?;
        judge_receiver(receiver.as_ref(), parameters, report);
    }
    let streaming = count(&replicas);
    judge_number(&replicas, streaming, parameters, server, report);
    for replica in &replicas {
        judge_replica(replica, parameters, server, report);
    }
    for slot in &slots {
        judge_slot(slot, parameters, report);
    }
    show(&replicas, &slots, report);
    Ok(Replication { replicas, streaming, expected: parameters.expected_replicas, slots, receiver })
}

/// How many physical replicas stream. A base backup is connected like a replica and is none.
fn count(replicas: &[Replica]) -> u32 {
    let streams =
        |replica: &&Replica| !replica.logical && matches!(replica.state.as_deref(), Some("streaming" | "catchup"));
    u32::try_from(replicas.iter().filter(streams).count()).unwrap_or(u32::MAX)
}

fn judge_number(replicas: &[Replica], streaming: u32, parameters: &Parameters, server: &Server, report: &mut Report) {
    // A replica whose state is hidden may stream: that it does not is not known.
    let hidden = u32::try_from(replicas.iter().filter(|replica| replica.state.is_none()).count()).unwrap_or(u32::MAX);
    match parameters.expected_replicas {
        Some(expected) if streaming < expected && expected <= streaming.saturating_add(hidden) => {
            report.unknown(format!(
                "{streaming} of {expected} replicas stream for certain; the state of {hidden} is hidden"
            ));
        }
        Some(expected) if streaming < expected => {
            report
                .critical(format!("{} of {expected} replicas missing", expected - streaming))
                .detail(format!("{streaming} stream from this server. Those that do: {}", names(replicas)))
                .advice("See whether the missing replica runs and can log in; until then this server's data is on fewer machines");
        }
        None if streaming == 0 && !server.in_recovery => {
            report
                .unknown("no replica streams, and how many should was not said")
                .detail("Nothing here tells a server without replicas from one that lost them.")
                .remedy(
                    "postgres-health",
                    &json!({ "expected_replicas": 0 }),
                    "says that none is expected; give the number that is",
                );
        }
        _ => {}
    }
}

fn names(replicas: &[Replica]) -> String {
    let names: Vec<&str> = replicas.iter().filter_map(|replica| replica.name.as_deref()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn judge_replica(replica: &Replica, parameters: &Parameters, server: &mut Server, report: &mut Report) {
    let name = replica.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("without a name");
    let Some(state) = replica.state.as_deref() else {
        server.hide(format!("replica {name}: its state and lag are hidden from role {}", server.role));
        return;
    };
    if state == "backup" {
        return;
    }
    #[allow(clippy::cast_precision_loss, reason = "thresholds are far below 2^53")]
    let by_bytes = replica.lag_bytes.map_or(Severity::Unknown, |lag| {
        Severity::of(lag as f64, parameters.warn_lag_bytes as f64, parameters.critical_lag_bytes as f64)
    });
    let by_time = replica
        .lag_seconds
        .map_or(Severity::Ok, |lag| Severity::of(lag, parameters.warn_lag_seconds, parameters.critical_lag_seconds));
    let severity = by_bytes.worst(by_time);
    let behind = format!(
        "{} and {} behind",
        replica.lag_bytes.map_or_else(|| "an unknown number of bytes".to_owned(), size),
        replica.lag_seconds.map_or_else(|| "an unknown time".to_owned(), spoken)
    );
    if severity != Severity::Ok {
        report.finding(severity, format!("replica {name}: {behind}")).detail(format!(
            "It is in state {state}. A failover to it now loses or waits for what it has not replayed."
        ));
    } else if state != "streaming" {
        report.warning(format!("replica {name}: {state}, not streaming")).detail(format!("It is {behind}."));
    }
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    if let Some(lag) = replica.lag_bytes {
        report.metric("replication_lag_bytes", &[("replica", name)], lag as f64);
    }
    if let Some(lag) = replica.lag_seconds {
        report.metric("replication_lag_seconds", &[("replica", name)], lag);
    }
}

fn judge_slot(slot: &Slot, parameters: &Parameters, report: &mut Report) {
    let Slot { name, kind, .. } = slot;
    let retained = slot.retained_bytes.unwrap_or(0);
    let keeps = format!("It is {kind} and keeps {} of log.", size(retained));
    let why =
        slot.invalidation_reason.as_ref().map_or_else(String::new, |reason| format!(" The server says: {reason}."));
    match slot.wal_status.as_deref() {
        Some("lost") => {
            report
                .critical(format!("slot {name}: its log is lost"))
                .detail(format!("{keeps}{why} Who used it cannot go on from here and must be rebuilt."))
                .advice("Rebuild the replica or subscriber, and drop the slot");
        }
        Some("unreserved") => {
            report
                .critical(format!("slot {name}: its log is no longer reserved"))
                .detail(format!("{keeps}{why} The next checkpoint may remove what it needs."))
                .advice("Bring its replica back now, or raise max_slot_wal_keep_size");
        }
        _ if slot.safe_wal_size.is_some_and(|safe| safe < parameters.warn_lag_bytes) => {
            let left = size(slot.safe_wal_size.unwrap_or(0));
            report.warning(format!("slot {name}: {left} of log until it is in danger")).detail(keeps.clone());
        }
        _ => {}
    }
    if !slot.active && slot.wal_status.as_deref() != Some("lost") {
        let severity = if retained >= parameters.critical_lag_bytes { Severity::Critical } else { Severity::Warning };
        let since = slot.inactive_since.as_ref().map_or_else(String::new, |since| format!(" Inactive since {since}."));
        report
            .finding(severity, format!("slot {name}: nobody is connected to it"))
            .detail(format!("{keeps}{since} The log grows until somebody reads it, or the disk is full."))
            .advice("Bring its reader back, or drop the slot once nothing needs it any more");
    }
}

fn judge_receiver(receiver: Option<&Receiver>, parameters: &Parameters, report: &mut Report) {
    let Some(receiver) = receiver else {
        report
            .critical("no receiver: this standby does not stream")
            .detail(
                "It may still replay from an archive, or not at all; how far it is behind cannot be told from here.",
            )
            .advice("See primary_conninfo and the server's log");
        return;
    };
    #[allow(clippy::cast_precision_loss, reason = "thresholds are far below 2^53")]
    let severity = receiver.lag_bytes.map_or(Severity::Unknown, |lag| {
        Severity::of(lag as f64, parameters.warn_lag_bytes as f64, parameters.critical_lag_bytes as f64)
    });
    if severity != Severity::Ok {
        let behind = receiver.lag_bytes.map_or_else(|| "an unknown number of bytes".to_owned(), size);
        report.finding(severity, format!("this standby replays {behind} behind its primary"));
    }
    // The primary speaks at least every 10 s by default, so silence is a broken connection and not idleness.
    if let Some(heard) = receiver.heard_seconds {
        let severity = Severity::of(heard, parameters.warn_lag_seconds, parameters.critical_lag_seconds);
        if severity != Severity::Ok {
            report.finding(severity, format!("nothing heard of the primary for {}", spoken(heard)));
        }
    }
}

fn show(replicas: &[Replica], slots: &[Slot], report: &mut Report) {
    if !replicas.is_empty() {
        let mut table =
            report.table("replicas", "Replicas", ["replica", "client", "state", "sync", "behind", "behind for"]);
        for replica in replicas {
            table.row(cells![
                replica.name.as_ref(),
                replica.client.as_ref(),
                replica.state.as_ref(),
                replica.sync_state.as_ref(),
                replica.lag_bytes.map(bytes),
                replica.lag_seconds.map(Seconds)
            ]);
        }
    }
    if !slots.is_empty() {
        let mut table =
            report.table("slots", "Replication slots", ["slot", "kind", "active", "WAL status", "keeps", "safe for"]);
        for slot in slots {
            table.row(cells![
                &slot.name,
                &slot.kind,
                slot.active,
                slot.wal_status.as_ref(),
                slot.retained_bytes.map(bytes),
                slot.safe_wal_size.map(bytes)
            ]);
        }
    }
}

/// A number of bytes for a cell; a negative one is none.
fn bytes(count: i64) -> Bytes {
    Bytes(u64::try_from(count).unwrap_or(0))
}
