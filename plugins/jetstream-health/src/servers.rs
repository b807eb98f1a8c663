//! The servers, by their monitoring.

use crate::{Look, Monitor, Parameters, states};
use rota_sdk::jetstream::{Monitored, ServerState};
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

/// Streams that one finding names.
const NAMED: usize = 20;

pub(crate) fn judge(
    before: &Look,
    after: &Look,
    parameters: &Parameters,
    report: &mut Report,
    complete: &mut bool,
) -> Vec<Monitor> {
    if after.monitoring.is_empty() {
        let title = "the servers' monitoring was not seen: slow consumers, their storage and the cluster's leader";
        if parameters.require_monitoring {
            *complete = false;
            report
                .unknown(title)
                .detail("The binding names no monitoring, so nothing but what the account may ask was seen.")
                .advice("Set `monitoring` of the binding (http://HOST:8222, one a server), or leave it out with require_monitoring=false");
        } else {
            report.note(title);
        }
        return Vec::new();
    }
    let earlier: BTreeMap<u32, &ServerState> = states(&before.monitoring).map(|state| (state.number, state)).collect();
    let mut all = Vec::new();
    for one in &after.monitoring {
        match one {
            Monitored::Unreachable((number, why)) => {
                *complete = false;
                report
                    .critical(format!("server {number}: its monitoring does not answer"))
                    .detail(format!("{why}. Servers are counted from 0, in the order of the binding's `monitoring`."))
                    .advice("Look whether the server runs; its streams have a copy less without it");
                all.push(unreached(*number));
            }
            Monitored::State(state) => all.push(judged(state, earlier.get(&state.number).copied(), parameters, report)),
        }
    }
    cluster(after, parameters, report);
    all
}

fn unreached(number: u32) -> Monitor {
    Monitor {
        number,
        name: None,
        version: None,
        healthy: false,
        cluster_leader: None,
        slow_consumers: None,
        slow_consumers_now: None,
        storage: None,
        storage_share: None,
        leaderless: None,
    }
}

fn judged(state: &ServerState, earlier: Option<&ServerState>, parameters: &Parameters, report: &mut Report) -> Monitor {
    let name = &state.name;
    if !state.healthy {
        let said = state.trouble.clone().unwrap_or_default();
        report.critical(format!("{name}: it says that it is not healthy")).detail(said);
    }
    if !state.jetstream {
        report.critical(format!("{name}: JetStream is switched off"));
    }
    // A server that restarted began to count anew.
    let restarted = earlier.is_some_and(|earlier| earlier.started_at != state.started_at);
    let since = earlier.filter(|_| !restarted).map_or(0, |earlier| earlier.slow_consumers);
    let slow_now = state.slow_consumers.saturating_sub(since);
    let slow_now = earlier.map(|_| slow_now);
    match slow_now {
        Some(now) if now > 0 => {
            report
                .critical(format!("{name}: {now} slow consumers were cut off while this run watched"))
                .detail("Their clients read slower than messages come; what was on its way to them is lost to them, or delivered again.")
                .advice("Find them in the server's log (Slow Consumer Detected); let them read faster, or pull");
        }
        _ if state.slow_consumers > 0 => {
            report
                .warning(format!("{name}: {} slow consumers were cut off since it started", state.slow_consumers))
                .advice("Find them in the server's log (Slow Consumer Detected); let them read faster, or pull");
        }
        _ => {}
    }
    let mut largest = None;
    for (what, used, limit) in
        [("disk", state.storage, state.storage_limit), ("memory", state.memory, state.memory_limit)]
    {
        let Some(share) = limit.map(|limit| used as f64 / limit as f64) else { continue };
        if what == "disk" {
            largest = Some(share);
        }
        let severity = Severity::of(share, parameters.warn_storage, parameters.critical_storage);
        if severity != Severity::Ok {
            report
                .finding(severity, format!("{name}: JetStream uses {:.0} % of the {what} that it may", share * 100.0))
                .detail("When it is full, nothing is stored any more.")
                .advice("Purge or limit streams, or raise the server's limit (max_file_store, max_memory_store)");
        }
    }
    if let Some(limit) = state.connections_limit
        && state.connections as f64 >= limit as f64 * 0.9
    {
        report.warning(format!("{name}: {} of {limit} connections", state.connections));
    }
    if state.leaderless_count > 0 {
        let named: Vec<&str> = state.leaderless.iter().take(NAMED).map(String::as_str).collect();
        report
            .critical(format!("{name}: {} streams here have no leader", state.leaderless_count))
            .detail(format!("Without a leader nothing is stored or delivered: {}.", named.join(", ")))
            .advice("Bring back the servers with their other copies");
    }
    Monitor {
        number: state.number,
        name: Some(name.clone()),
        version: Some(state.version.clone()),
        healthy: state.healthy,
        cluster_leader: state.cluster_leader.clone(),
        slow_consumers: Some(state.slow_consumers),
        slow_consumers_now: slow_now,
        storage: Some(state.storage),
        storage_share: largest,
        leaderless: Some(state.leaderless_count),
    }
}

/// What the servers say of each other.
fn cluster(after: &Look, parameters: &Parameters, report: &mut Report) {
    let seen: Vec<&ServerState> = states(&after.monitoring).collect();
    for state in seen.iter().filter(|state| state.cluster_size.is_some() && state.cluster_leader.is_none()) {
        report
            .critical(format!("{}: JetStream's cluster has no leader", state.name))
            .detail("More than half of its servers are needed. Until then no stream can be made, changed or looked up.")
            .advice("Bring back the servers that are away");
    }
    let mut offline: Vec<&str> = seen.iter().flat_map(|state| &state.offline).map(String::as_str).collect();
    offline.sort_unstable();
    offline.dedup();
    for name in offline {
        // The one that is asked itself knows better.
        if !seen.iter().any(|state| state.name == name) {
            report.critical(format!("{name}: the other servers cannot reach it")).advice("Look whether it runs");
        }
    }
    let mut versions: Vec<&str> = seen.iter().map(|state| state.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        report.warning(format!("the servers have different versions: {}", versions.join(", ")));
    }
    let count = seen.iter().filter_map(|state| state.cluster_size).max().unwrap_or(1);
    if let Some(expected) = parameters.expected_servers
        && count < expected
    {
        report.critical(format!("{count} servers belong to JetStream's cluster, and {expected} are expected"));
    }
}
