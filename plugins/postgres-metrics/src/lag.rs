//! How far replicas are behind: from the primary's position, which alone knows what there is.

use crate::{Context, Parameters};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// How far replicas are behind.
#[data]
pub(crate) struct Replication {
    /// `primary` or `standby`.
    pub(crate) role: String,
    /// What is known of the lag of the server itself: `not_applicable` on a primary; on a standby `measured`, or `unknown` where it has no receiver.
    pub(crate) own_lag: String,
    /// Each replica whose lag was asked for.
    pub(crate) replicas: Vec<Replica>,
}

/// A replica.
#[data]
pub(crate) struct Replica {
    /// What it is called: the name that it gives itself at the primary; `standby` for the one in that slot, `self` for a standby that was looked at.
    pub(crate) name: String,
    /// `streaming`, `catchup` ...; `no_receiver` where it streams from nobody; `not_a_standby`, `another_cluster`.
    pub(crate) state: String,
    /// How many bytes of log it has not replayed of what the primary had.
    pub(crate) lag_bytes: Option<i64>,
    /// How long it is behind, in seconds: 0 when it has replayed all.
    pub(crate) lag_seconds: Option<f64>,
    /// How the lag was measured: `primary` (against the primary's position) or `receiver` (against what the primary last told its receiver).
    pub(crate) measured_by: String,
}

impl Replication {
    pub(crate) fn is_standby(&self) -> bool {
        self.role == "standby"
    }

    pub(crate) fn spoken(&self) -> String {
        let most = self.replicas.iter().filter_map(|replica| replica.lag_bytes).max();
        let unknown = self.replicas.iter().filter(|replica| replica.lag_bytes.is_none()).count();
        match (most, unknown) {
            (None, 0) => "no replica".to_owned(),
            (None, _) => "replication lag unknown".to_owned(),
            (Some(bytes), 0) => format!("replicas at most {bytes} bytes behind"),
            (Some(bytes), unknown) => format!("replicas {bytes} bytes behind, {unknown} unknown"),
        }
    }
}

const REPLICAS: &str = "\
    select coalesce(nullif(r.application_name, ''), 'pid ' || r.pid) as name, r.state, \
           pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::int8 as bytes, extract(epoch from r.replay_lag)::float8 as seconds \
    from pg_catalog.pg_stat_replication r \
    left join pg_catalog.pg_replication_slots s on s.active_pid = r.pid \
    where r.state is distinct from 'backup' and coalesce(s.slot_type, '') <> 'logical' order by 1, r.pid limit 1000";

#[derive(FromRow)]
struct Connected {
    name: String,
    state: Option<String>,
    bytes: Option<i64>,
    seconds: Option<f64>,
}

/// Of a standby: the receiver is one row or none, whatever replay says.
const STANDBY: &str = "\
    select pg_last_wal_replay_lsn()::text as replayed, \
           extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 as since, \
           (select w.status from pg_catalog.pg_stat_wal_receiver w where w.pid is not null limit 1) as receiver, \
           (select pg_wal_lsn_diff(greatest(w.latest_end_lsn, pg_last_wal_receive_lsn()), pg_last_wal_replay_lsn())::int8 \
            from pg_catalog.pg_stat_wal_receiver w where w.pid is not null limit 1) as behind_receiver";

#[derive(FromRow)]
struct Standby {
    replayed: Option<String>,
    since: Option<f64>,
    receiver: Option<String>,
    behind_receiver: Option<i64>,
}

pub(crate) async fn check(
    cx: &Context,
    session: &mut Session,
    parameters: &Parameters,
    server: &mut Server,
    report: &mut Report,
) -> Result<Replication> {
    let mut replication = Replication {
        role: if server.in_recovery { "standby" } else { "primary" }.to_owned(),
        own_lag: "not_applicable".to_owned(),
        replicas: Vec::new(),
    };
    if server.in_recovery {
        let own = of_itself(session, report, server).await?;
        replication.own_lag = if own.lag_bytes.is_some() { "measured" } else { "unknown" }.to_owned();
        replication.replicas.push(own);
        if cx.standby().is_some() {
            server.hide(
                "the lag of the slot `standby`: `database` is a standby itself, and does not know what the primary has",
            );
        }
    } else {
        let connected: Vec<Connected> = session.query_all(REPLICAS, params![]).await.context("asking for replicas")?;
        replication.replicas = connected.into_iter().map(|one| of_primary(one, server)).collect();
        if let Some(slot) = cx.standby() {
            let mut standby = slot.open().await?;
            replication.replicas.push(of_standby(session, &mut standby, server, report).await?);
        }
    }
    for replica in &replication.replicas {
        judge(replica, parameters, report);
    }
    Ok(replication)
}

fn of_primary(one: Connected, server: &mut Server) -> Replica {
    if one.state.is_none() {
        server.hide(format!("replica {}: its state and lag are hidden from role {}", one.name, server.role));
    }
    Replica {
        name: one.name,
        state: one.state.unwrap_or_else(|| "hidden".to_owned()),
        // An idle replica that is up to date has no time of lag.
        lag_seconds: one.seconds.or((one.bytes == Some(0)).then_some(0.0)),
        lag_bytes: one.bytes,
        measured_by: "primary".to_owned(),
    }
}

/// A standby that is looked at without its primary.
async fn of_itself(session: &mut Session, report: &mut Report, server: &mut Server) -> Result<Replica> {
    let seen: Standby = session.query_one(STANDBY, params![]).await.context("asking how far replay is")?;
    let mut replica = Replica {
        name: "self".to_owned(),
        state: seen.receiver.clone().unwrap_or_else(|| "no_receiver".to_owned()),
        lag_bytes: seen.behind_receiver.map(|bytes| bytes.max(0)),
        lag_seconds: None,
        measured_by: "receiver".to_owned(),
    };
    if seen.receiver.is_none() {
        replica.lag_bytes = None;
        server.hide("how far this standby is behind: it has no receiver, and only the primary knows what it lacks");
        no_receiver(report, "this standby");
    } else {
        replica.lag_seconds = match replica.lag_bytes {
            Some(0) => Some(0.0),
            _ => seen.since,
        };
    }
    Ok(replica)
}

fn no_receiver(report: &mut Report, who: &str) {
    report
        .critical(format!("{who}: no receiver, it streams from nobody"))
        .detail("It has replayed all that it got, and gets nothing: it falls behind as far as the primary writes.")
        .remedy(
            "postgres-health",
            &json!({ "checks": ["replication"] }),
            "says what it knows of its primary and of slots",
        );
}

/// A standby in a slot of its own, against the primary.
async fn of_standby(
    primary: &mut Session,
    standby: &mut Session,
    server: &Server,
    report: &mut Report,
) -> Result<Replica> {
    let mut replica = Replica {
        name: "standby".to_owned(),
        state: "not_a_standby".to_owned(),
        lag_bytes: None,
        lag_seconds: None,
        measured_by: "primary".to_owned(),
    };
    let other = Server::inspect(standby).await.context("looking at the standby")?;
    if server.system_identifier.is_some()
        && other.system_identifier.is_some()
        && server.system_identifier != other.system_identifier
    {
        replica.state = "another_cluster".to_owned();
        report
            .critical("standby: it belongs to another cluster than the database")
            .detail("Their system identifiers differ, so neither replays the other.")
            .advice("Bind a standby of the server in slot `database`");
        return Ok(replica);
    }
    if !other.in_recovery {
        report
            .critical("standby: it is not in recovery, and takes writes of its own")
            .detail("There may be two primaries.")
            .remedy("postgres-health", &json!({ "checks": ["readiness", "replication"] }), "look at both servers");
        return Ok(replica);
    }
    // The primary first: what it had then the standby can have replayed since.
    let position: String = primary
        .query_one("select pg_current_wal_lsn()::text", params![])
        .await
        .context("asking the primary how far it is")?;
    let seen: Standby = standby.query_one(STANDBY, params![]).await.context("asking the standby how far replay is")?;
    if let Some(replayed) = seen.replayed {
        let behind: i64 = primary
            .query_one("select pg_wal_lsn_diff($1::text::pg_lsn, $2::text::pg_lsn)::int8", params![position, replayed])
            .await
            .context("comparing the two positions")?;
        replica.lag_bytes = Some(behind.max(0));
    }
    replica.lag_seconds = match replica.lag_bytes {
        Some(0) => Some(0.0),
        _ => seen.since,
    };
    replica.state = seen.receiver.clone().unwrap_or_else(|| "no_receiver".to_owned());
    if seen.receiver.is_none() {
        no_receiver(report, "standby");
    }
    Ok(replica)
}

fn judge(replica: &Replica, parameters: &Parameters, report: &mut Report) {
    let bytes = replica.lag_bytes.map_or(Severity::Ok, |bytes| {
        Severity::of(bytes as f64, parameters.warn_lag_bytes as f64, parameters.critical_lag_bytes as f64)
    });
    let seconds = replica.lag_seconds.map_or(Severity::Ok, |seconds| {
        Severity::of(seconds, parameters.warn_lag_seconds, parameters.critical_lag_seconds)
    });
    let severity = bytes.worst(seconds);
    if severity != Severity::Ok {
        let by = replica.lag_bytes.map_or_else(|| "an unknown number of".to_owned(), |bytes| bytes.to_string());
        let time = replica.lag_seconds.map_or_else(String::new, |seconds| format!(" and {seconds:.0} s"));
        report
            .finding(severity, format!("{}: {by} bytes{time} behind ({})", replica.name, replica.state))
            .detail("A failover to it now loses what it has not replayed, or waits for it.")
            .remedy("postgres-health", &json!({ "checks": ["replication"] }), "says more of replicas and slots");
    }
}
