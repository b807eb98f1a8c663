//! A standby as it describes itself.

use rota_sdk::cluster::Cluster;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::{Context, HostError, SqlSlot};
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// A position in the write-ahead log, as PostgreSQL writes it: `0/3000060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub i64);

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl Lsn {
    /// Out of its text.
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.trim().split_once('/')?;
        let part = |digits: &str| u32::from_str_radix(digits, 16).ok();
        Some(Self((i64::from(part(high)?) << 32) | i64::from(part(low)?)))
    }
}

/// What a server says of itself. All positions are bytes since the beginning of the log.
#[derive(Clone, Debug, FromRow)]
pub struct Standby {
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// Its own end of this connection; none over a socket.
    pub address: Option<String>,
    /// The cluster's identity, as decimal text.
    pub system_identifier: Option<String>,
    /// The newest timeline that it knows to have reached.
    pub timeline: i32,
    /// Its WAL receiver, if there is one.
    pub receiver_pid: Option<i32>,
    /// `streaming`, `starting` ...; none without a WAL receiver, or where the role may not see it.
    pub receiver_status: Option<String>,
    /// What the primary last said that it had written.
    pub primary_said: Option<i64>,
    /// Up to where it has received.
    pub received: Option<i64>,
    /// Up to where it has replayed.
    pub replayed: Option<i64>,
    /// Whether its replay is paused.
    pub paused: bool,
}

const LOOK: &str = "
    select pg_is_in_recovery() as in_recovery,
           host(inet_server_addr()) as address,
           (select system_identifier::text from pg_control_system()) as system_identifier,
           greatest(c.timeline_id, r.min_recovery_end_timeline, w.received_tli)::int4 as timeline,
           w.pid as receiver_pid, w.status as receiver_status,
           (w.latest_end_lsn - '0/0'::pg_lsn)::int8 as primary_said,
           (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::int8 as received,
           (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 as replayed,
           case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end as paused
      from pg_control_checkpoint() c cross join pg_control_recovery() r left join pg_stat_wal_receiver w on true";

impl Standby {
    /// Look.
    ///
    /// # Errors
    /// What the server said.
    pub async fn look(session: &mut Session) -> Result<Self> {
        session.query_one(LOOK, params![]).await.context("asking the standby how far it is")
    }

    /// How far it will be when it has replayed what it has.
    pub fn end(&self) -> Lsn {
        Lsn(self.received.unwrap_or(0).max(self.replayed.unwrap_or(0)))
    }

    /// Whether a primary is sending to it.
    pub fn streams(&self) -> bool {
        self.receiver_status.as_deref() == Some("streaming")
    }

    /// Whether it has a WAL receiver of which it does not say what it does.
    pub fn hides_receiver(&self) -> bool {
        self.receiver_pid.is_some() && self.receiver_status.is_none()
    }
}

/// A standby that may be promoted, as the report has it.
#[data]
pub struct Candidate {
    /// The slot that it is bound to.
    pub slot: String,
    /// The binding.
    pub binding: String,
    /// Its pod.
    pub pod: String,
    /// The StatefulSet or other controller of its pod.
    pub controller: Option<String>,
    /// The cluster's system identifier.
    pub system_identifier: String,
    /// The newest timeline that it has reached.
    pub timeline: i32,
    /// Up to where it has received or replayed.
    pub lsn: String,
    /// The same in bytes since the beginning of the log.
    pub lsn_bytes: i64,
    /// What it has received and not yet replayed.
    pub unreplayed_bytes: i64,
    /// Whether it was receiving from a primary.
    pub streams: bool,
    /// What the primary last told it to have written, in bytes since the beginning of the log.
    pub primary_said_bytes: Option<i64>,
    /// Whether its replay is paused.
    pub paused: bool,
}

impl Candidate {
    /// Look at the standby in a slot, and find its pod: the one whose address is the server's own end of the connection. Where that is no pod's (a port-forward
    /// ends at 127.0.0.1), it is the one that is `named`.
    ///
    /// # Errors
    /// When it cannot be looked at, or its pod cannot be told.
    pub async fn find(cx: &Context, slot: SqlSlot, cluster: &Cluster, named: Option<&str>) -> Result<(Self, Server)> {
        let opened = within(cx, Duration::from_secs(20), async {
            let mut session = slot.open().await?;
            let server = Server::inspect(&mut session).await?;
            Ok::<_, Error>((Standby::look(&mut session).await?, server))
        });
        let Some(looked) = opened.await? else {
            return Err(Error::from(HostError::TimedOut(format!(
                "the standby in slot `{}` does not answer",
                slot.name()
            )))
            .hint("a standby that does not answer cannot be promoted: bind another, or mend this one"));
        };
        let (seen, server) = looked?;
        let pods = cluster.list(&crate::topology::pod_kind(), rota_sdk::cluster::Selection::all()).await?;
        let pods = pods.collect(5_000).await?;
        let address = seen.address.clone().unwrap_or_default();
        let at =
            pods.iter().find(|pod| pod["status"]["podIP"] == address.as_str() && pod["spec"]["hostNetwork"] != true);
        let at_name = at.and_then(|pod| pod["metadata"]["name"].as_str());
        let pod = match (at_name, named) {
            (Some(found), Some(named)) if found != named => {
                return Err(Error::new(format!(
                    "slot `{}` reaches the pod {found}, and the parameters say that it is {named}",
                    slot.name()
                ))
                .hint("promoting one server and pointing the Service to another is what must not happen: correct the binding or the parameter"));
            }
            (Some(_), _) => at,
            (None, Some(named)) => pods.iter().find(|pod| pod["metadata"]["name"] == named),
            (None, None) => None,
        };
        let Some(pod) = pod else {
            return Err(Error::new(format!(
                "which pod the standby in slot `{}` is cannot be told: no pod of {} has the server's address {address}",
                slot.name(),
                cluster.namespace()
            ))
            .hint("bind it by an address that leads to the pod itself, or name its pod in the parameter `standby_pod` (`standby_2_pod`, `standby_3_pod`)"));
        };
        let Some(system_identifier) = seen.system_identifier.clone() else {
            return Err(Error::new(format!(
                "the system identifier of the standby in slot `{}` may not be read",
                slot.name()
            ))
            .hint("GRANT EXECUTE ON FUNCTION pg_control_system() TO its role"));
        };
        let end = seen.end();
        let candidate = Self {
            slot: slot.name().to_owned(),
            binding: slot.binding().unwrap_or_default(),
            pod: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            controller: crate::topology::controller(pod).map(|(kind, name)| format!("{kind} {name}")),
            system_identifier,
            timeline: seen.timeline,
            lsn: end.to_string(),
            lsn_bytes: end.0,
            unreplayed_bytes: end.0 - seen.replayed.unwrap_or(0),
            streams: seen.streams(),
            primary_said_bytes: seen.primary_said,
            paused: seen.paused,
        };
        if !seen.in_recovery {
            return Err(Error::new(format!("{} (slot `{}`) is no standby: it has left recovery, on timeline {}", candidate.pod, slot.name(), seen.timeline))
                .hint("where it was promoted by hand, the Service and the old primary are to be settled by hand, too; `kubectl get service,statefulset` shows how they are"));
        }
        if seen.hides_receiver() {
            return Err(Error::new(format!(
                "whether {} receives from a primary is hidden from the role {}",
                candidate.pod, server.role
            ))
            .hint(format!("as a superuser: GRANT pg_monitor TO the role {}", server.role)));
        }
        Ok((candidate, server))
    }
}

/// The standby that has most: the newest timeline, then the furthest position. All must be of one cluster.
///
/// # Errors
/// When they are not, or there is none.
pub fn best(candidates: &[Candidate]) -> Result<&Candidate> {
    let Some(first) = candidates.first() else { return Err(Error::new("no standby is bound")) };
    for other in candidates {
        if other.system_identifier != first.system_identifier {
            return Err(Error::new(format!(
                "{} and {} are not of one cluster: their system identifiers are {} and {}",
                first.pod, other.pod, first.system_identifier, other.system_identifier
            ))
            .hint("bind standbys of one primary only"));
        }
        if let Some(twice) = candidates.iter().find(|one| one.slot != other.slot && one.pod == other.pod) {
            return Err(Error::new(format!(
                "the slots `{}` and `{}` are the same server, {}",
                other.slot, twice.slot, other.pod
            )));
        }
    }
    // The first of equals: the order of the slots is the operator's preference.
    let better = |one: &Candidate, other: &Candidate| (one.timeline, one.lsn_bytes) > (other.timeline, other.lsn_bytes);
    Ok(candidates.iter().fold(first, |best, one| if better(one, best) { one } else { best }))
}

/// Wait for something at most so long; none when it is not there then. What was begun is dropped, and the host tells the target.
///
/// # Errors
/// When the run is being cancelled.
pub async fn within<T>(cx: &Context, time: Duration, work: impl Future<Output = T>) -> Result<Option<T>> {
    let (mut work, mut sleep) = (pin!(work), pin!(cx.sleep(time)));
    std::future::poll_fn(move |context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(Some(done)));
        }
        match sleep.as_mut().poll(context) {
            Poll::Ready(slept) => Poll::Ready(slept.map(|()| None)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(slot: &str, timeline: i32, lsn: i64) -> Candidate {
        Candidate {
            slot: slot.to_owned(),
            binding: slot.to_owned(),
            pod: format!("{slot}-0"),
            controller: None,
            system_identifier: "1".to_owned(),
            timeline,
            lsn: Lsn(lsn).to_string(),
            lsn_bytes: lsn,
            unreplayed_bytes: 0,
            streams: false,
            primary_said_bytes: None,
            paused: false,
        }
    }

    #[test]
    fn positions_are_read_and_written_as_the_server_does() {
        for text in ["0/0", "0/3000060", "1A/FFFFFFFF", "FFFFFFF/1"] {
            assert_eq!(Lsn::parse(text).map(|lsn| lsn.to_string()).as_deref(), Some(text));
        }
        for text in ["", "3000060", "0/", "0/G", "0/1FFFFFFFF"] {
            assert_eq!(Lsn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_best_is_of_the_newest_timeline_then_the_furthest_then_the_first() {
        let chosen = |candidates: &[Candidate]| best(candidates).map(|one| one.slot.clone()).unwrap_or_default();
        assert_eq!(chosen(&[candidate("a", 1, 900), candidate("b", 2, 100)]), "b");
        assert_eq!(chosen(&[candidate("a", 1, 100), candidate("b", 1, 101)]), "b");
        assert_eq!(chosen(&[candidate("a", 1, 100), candidate("b", 1, 100)]), "a");
        assert_eq!(chosen(&[]), "");
    }

    #[test]
    fn one_server_in_two_slots_and_another_cluster_are_refused() {
        let mut twice = [candidate("a", 1, 1), candidate("b", 1, 1)];
        twice[1].pod = "a-0".to_owned();
        assert!(best(&twice).is_err());
        let mut others = [candidate("a", 1, 1), candidate("b", 1, 1)];
        others[1].system_identifier = "2".to_owned();
        assert!(best(&others).is_err());
    }
}
