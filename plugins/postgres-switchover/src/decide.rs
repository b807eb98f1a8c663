//! Everything that is looked at before anything is changed.

use crate::{Context, Decision, Parameters};
use rota_sdk::cluster::{Cluster, Object};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_promotion::{Candidate, Lsn, Topology, refuse_lost_node};

/// How the two stood before.
#[data]
pub struct Before {
    /// What the standby had not received yet, in bytes.
    pub lag_bytes: i64,
    /// Sessions of clients on the primary, which its stop ends.
    pub client_sessions: i64,
    /// How many of them were in a transaction, which is rolled back.
    pub in_transaction: i64,
    /// Standbys that were connected to the primary.
    pub standbys: i64,
}

#[derive(FromRow)]
struct Now {
    address: Option<String>,
    written: i64,
    client_sessions: i64,
    in_transaction: i64,
    standbys: i64,
}

pub(crate) async fn decide(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
) -> Result<(Decision, Server, Before)> {
    let topology = Topology::look(cluster, &parameters.service, None).await?;
    refuse_lost_node(cluster, &topology.primary).await?;
    let mut session = cx.database().open().await.hint("for a primary that is down there is postgres-failover")?;
    let server = Server::inspect(&mut session).await?;
    if server.in_recovery {
        return Err(Error::new("the binding in slot `database` reaches a standby, not the primary"));
    }
    let (candidate, _) = Candidate::find(cx, cx.standby(), cluster, parameters.standby_pod.as_deref()).await?;
    let now: Now = session
        .query_one(
            "select host(inet_server_addr()) as address, (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::int8 as written, \
                    (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) as client_sessions, \
                    (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null) as in_transaction, \
                    (select count(*) from pg_stat_replication where state = 'streaming') as standbys",
            params![],
        )
        .await?;
    is_the_services(cluster, &topology, now.address.as_deref()).await?;

    let (pod, identifier) = (&candidate.pod, &candidate.system_identifier);
    if server.system_identifier.as_deref() != Some(identifier) {
        return Err(Error::new(format!(
            "{pod} is no standby of this primary: its system identifier is {identifier}, and the primary's {}",
            server.system_identifier.as_deref().unwrap_or("may not be read")
        )));
    }
    if !candidate.streams {
        return Err(Error::new(format!("{pod} does not stream from the primary, so it would never get the rest"))
            .hint("see why it does not (postgres-health, its log); then run this again"));
    }
    if candidate.paused {
        return Err(Error::new(format!("the replay of {pod} is paused, so it would never replay the rest"))
            .hint("SELECT pg_wal_replay_resume() on it"));
    }
    let lag_bytes = (now.written - candidate.lsn_bytes).max(0) + candidate.unreplayed_bytes.max(0);
    if lag_bytes > parameters.maximum_lag_bytes {
        return Err(Error::new(format!(
            "{pod} lacks {lag_bytes} bytes, more than maximum_lag_bytes ({}): nobody could write until it has them",
            parameters.maximum_lag_bytes
        ))
        .hint("wait until it has caught up (postgres-health shows its lag)"));
    }
    topology.can_take_over(cluster, pod).await?;
    let before = Before {
        lag_bytes,
        client_sessions: now.client_sessions,
        in_transaction: now.in_transaction,
        standbys: now.standbys,
    };
    let decision = Decision {
        service: parameters.service.clone(),
        selector: topology.selector,
        primary: topology.primary,
        candidates: vec![candidate.clone()],
        chosen: candidate,
        skipped: Vec::new(),
        managed_by: topology.managed_by,
        looks: Vec::new(),
        known_bytes: Some(now.written),
        known_from: format!("the primary itself, at {}", Lsn(now.written)),
    };
    Ok((decision, server, before))
}

/// The binding must lead to the pod that is stopped: the standby could be another primary's otherwise.
async fn is_the_services(cluster: &Cluster, topology: &Topology, address: Option<&str>) -> Result<()> {
    let Some(name) = &topology.primary.pod else {
        return Err(Error::new("the Service selects no pod, and the primary answers: it is not behind the Service"));
    };
    let pod = cluster.get(&Object::pod(name)).await?.unwrap_or_default();
    let at = pod["status"]["podIP"].as_str();
    let loopback = address.is_none_or(|address| address.starts_with("127.") || address == "::1");
    if loopback || at == address {
        return Ok(());
    }
    Err(Error::new(format!(
        "the binding in slot `database` leads to {}, and the Service to the pod {name} at {}",
        address.unwrap_or_default(),
        at.unwrap_or("no address")
    ))
    .hint("bind `database` to the primary that is behind the Service"))
}
