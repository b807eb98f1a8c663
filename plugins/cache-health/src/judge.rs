//! What is well, and what is not. What a server does not say is unknown, and unknown is not ok.

use crate::{Parameters, state};
use rota_sdk::cache::{NodeInfo, Pong, Readiness};
use rota_sdk::prelude::*;

pub(crate) fn ping(pong: &Pong, parameters: &Parameters, report: &mut Report) {
    let node = pong.node;
    let advice = match pong.state {
        Readiness::Ready => {
            let milliseconds = pong.microseconds as f64 / 1_000.0;
            if milliseconds >= parameters.warn_ping_ms {
                let title = format!("node {node}: a ping takes {milliseconds:.1} ms");
                report.warning(title).advice("look at its slow commands (cache-slowlog), its CPU time and the network");
            }
            return;
        }
        Readiness::Loading => "wait until it has; a server that restarts often has too little memory or is killed",
        Readiness::Stale => "look at its primary and the network between them",
        Readiness::Busy => "SCRIPT KILL ends a script that has not written yet",
    };
    report.critical(format!("node {node}: it does not answer commands ({})", state(pong.state))).advice(advice);
}

/// The share of the memory that is in use; none where nothing says what it is a share of.
pub(crate) fn memory_share(info: &NodeInfo, parameters: &Parameters) -> Option<f64> {
    let limit = info.memory.limit.filter(|limit| *limit > 0).or(parameters.memory_limit_bytes)?;
    (limit > 0).then_some(info.memory.used? as f64 / limit as f64)
}

/// The share of reads that found their key; none where there were none.
pub(crate) fn hit_ratio(info: &NodeInfo) -> Option<f64> {
    let (hits, misses) = (info.traffic.hits?, info.traffic.misses?);
    let reads = hits.checked_add(misses).filter(|reads| *reads > 0)?;
    Some(hits as f64 / reads as f64)
}

/// Judge a node; false when something that matters could not be seen.
pub(crate) fn node(info: &NodeInfo, evicted: Option<u64>, parameters: &Parameters, report: &mut Report) -> bool {
    let seen = [
        memory(info, parameters, report),
        evictions(info, evicted, report),
        connections(info, parameters, report),
        replication(info, parameters, report),
        persistence(info, report),
    ];
    if let (Some(ratio), Some(least)) = (hit_ratio(info), parameters.warn_hit_ratio)
        && ratio < least
    {
        report
            .warning(format!("node {}: {:.0} % of reads find their key", info.node, ratio * 100.0))
            .detail(format!("{:.0} % is the least that is well (warn_hit_ratio)", least * 100.0));
    }
    seen.into_iter().all(|seen| seen)
}

fn memory(info: &NodeInfo, parameters: &Parameters, report: &mut Report) -> bool {
    let node = info.node;
    let Some(share) = memory_share(info, parameters) else {
        report
            .unknown(format!("node {node}: nothing says how much memory is too much"))
            .detail("the server has no limit (maxmemory is 0), or does not say what it uses")
            .advice("set maxmemory, or give memory_limit_bytes");
        return false;
    };
    let severity = Severity::of(share, parameters.warn_memory, parameters.critical_memory);
    if severity != Severity::Ok {
        let policy = info.memory.policy.as_deref().unwrap_or("unknown");
        report
            .finding(severity, format!("node {node}: {:.0} % of its memory is used", share * 100.0))
            .detail(format!("at the limit its policy `{policy}` decides what happens"))
            .advice("raise maxmemory, give keys a lifetime, or unlink what is not needed (cache-invalidate)");
    }
    true
}

fn evictions(info: &NodeInfo, evicted: Option<u64>, report: &mut Report) -> bool {
    match evicted {
        None => {
            report.unknown(format!("node {}: it does not say how many keys it evicts", info.node));
            false
        }
        Some(0) => true,
        Some(evicted) => {
            report
                .warning(format!("node {}: it evicts keys ({evicted} while this run watched)", info.node))
                .advice("raise maxmemory, or give keys a lifetime");
            true
        }
    }
}

fn connections(info: &NodeInfo, parameters: &Parameters, report: &mut Report) -> bool {
    let node = info.node;
    let share = match (info.clients.connected, info.clients.maximum) {
        (Some(connected), Some(maximum)) if maximum > 0 => Some(connected as f64 / maximum as f64),
        _ => None,
    };
    if let Some(share) = share {
        let severity = Severity::of(share, parameters.warn_connections, parameters.critical_connections);
        if severity != Severity::Ok {
            let title = format!("node {node}: {:.0} % of its connections are used", share * 100.0);
            report.finding(severity, title).advice("look for clients that do not close theirs; raise maxclients");
        }
    }
    match (info.clients.rejected, share) {
        (Some(0), _) => true,
        (Some(rejected), _) => {
            report
                .warning(format!("node {node}: it refused {rejected} connections since it started"))
                .advice("look for clients that do not close theirs; raise maxclients");
            true
        }
        // Dragonfly has no such count (it says -1). Where there is room, none was refused now.
        (None, Some(_)) => {
            report.note(format!("node {node}: refused connections are not counted by {}", info.server.product));
            true
        }
        (None, None) => {
            report.unknown(format!("node {node}: neither refused connections nor the room for more are known"));
            false
        }
    }
}

fn replication(info: &NodeInfo, parameters: &Parameters, report: &mut Report) -> bool {
    let (node, facts) = (info.node, &info.replication);
    match facts.is_replica {
        None => {
            report.unknown(format!("node {node}: it does not say whether it is a primary"));
            false
        }
        Some(true) => {
            let found = match (facts.link_up, facts.syncing) {
                (_, Some(true)) => Some((Severity::Warning, "it copies everything from its primary anew")),
                (Some(false), _) => Some((Severity::Critical, "its link to the primary is down")),
                (None, _) => Some((Severity::Unknown, "it does not say whether its link to the primary is up")),
                (Some(true), _) => None,
            };
            if let Some((severity, title)) = found {
                report.finding(severity, format!("node {node}: {title}"));
            }
            facts.link_up.is_some()
        }
        Some(false) => primary(info, parameters, report),
    }
}

fn primary(info: &NodeInfo, parameters: &Parameters, report: &mut Report) -> bool {
    let (node, facts) = (info.node, &info.replication);
    let seen = match (facts.replicas, parameters.expected_replicas) {
        (Some(have), Some(want)) if have < want => {
            report
                .critical(format!("node {node}: {have} of {want} replicas are connected"))
                .advice("look at the replicas and the network; without them a failover loses data");
            true
        }
        (Some(0), None) => {
            report
                .unknown(format!("node {node}: no replica is connected, and nothing says whether one should be"))
                .advice("give expected_replicas (0, if none)");
            false
        }
        (None, _) => {
            report.unknown(format!("node {node}: it does not say how many replicas it has"));
            false
        }
        _ => true,
    };
    if let Some(lag) = facts.lag.filter(|lag| *lag >= parameters.warn_lag.unsigned_abs()) {
        report.warning(format!("node {node}: its slowest replica is {lag} behind"));
    }
    seen
}

fn persistence(info: &NodeInfo, report: &mut Report) -> bool {
    let (node, facts) = (info.node, &info.persistence);
    if facts.loading == Some(true) {
        report.critical(format!("node {node}: it is loading its data"));
    }
    if facts.log_ok == Some(false) {
        report
            .critical(format!("node {node}: it cannot write its append-only file"))
            .advice("look at its disk and its log");
    }
    match facts.snapshot_ok {
        Some(true) => {}
        Some(false) => {
            report.warning(format!("node {node}: its last snapshot failed")).advice("look at its disk and its log");
        }
        // A cache can be made anew: that nobody knows of a snapshot is worth saying, and no more.
        None => {
            report.note(format!("node {node}: it does not say whether its last snapshot succeeded"));
        }
    }
    true
}
