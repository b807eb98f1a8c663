//! The account and its streams.

use crate::{Look, Parameters, Stream};
use rota_sdk::jetstream::{AccountFacts, ClusterFacts, ReplicaFacts, StreamFacts};
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

pub(crate) fn account(account: &[AccountFacts], parameters: &Parameters, report: &mut Report) {
    for tier in account {
        let of = tier.tier.as_ref().map(|tier| format!("account, tier {tier}")).unwrap_or_else(|| "account".to_owned());
        for (what, used, limit) in [
            ("storage", tier.storage, tier.storage_limit),
            ("memory", tier.memory, tier.memory_limit),
            ("streams", tier.streams, tier.streams_limit),
            ("consumers", tier.consumers, tier.consumers_limit),
        ] {
            let Some(limit) = limit else { continue };
            let share = used as f64 / limit as f64;
            let severity = Severity::of(share, parameters.warn_storage, parameters.critical_storage);
            if severity != Severity::Ok {
                report
                    .finding(severity, format!("{of}: {used} of {limit} {what} ({:.0} %)", share * 100.0))
                    .detail("When it is reached, the account stores or creates no more.")
                    .advice("Remove or limit streams, or raise the account's limits");
            }
        }
    }
}

pub(crate) fn judge(before: &Look, after: &Look, parameters: &Parameters, report: &mut Report) -> Vec<Stream> {
    let earlier: BTreeMap<&str, &StreamFacts> =
        before.streams.iter().map(|stream| (stream.name.as_str(), stream)).collect();
    after
        .streams
        .iter()
        .map(|stream| judged(stream, earlier.get(stream.name.as_str()).copied(), parameters, report))
        .collect()
}

fn judged(stream: &StreamFacts, earlier: Option<&StreamFacts>, parameters: &Parameters, report: &mut Report) -> Stream {
    let name = &stream.name;
    if !stream.answered {
        report
            .critical(format!("{name}: no server answers for it"))
            .detail("It has no leader, or the servers with its copies are away: nothing is stored or delivered.")
            .advice("Bring back the servers with its copies");
    }
    let share = limits(stream, parameters, report);
    let reachable = stream.cluster.as_ref().map(|cluster| copies(name, stream.replicas, cluster, parameters, report));
    let stored = earlier.filter(|earlier| earlier.answered && stream.answered);
    Stream {
        name: name.clone(),
        answered: stream.answered,
        messages: stream.messages,
        bytes: stream.bytes,
        share,
        replicas: stream.replicas,
        reachable,
        leader: stream.cluster.as_ref().and_then(|cluster| cluster.leader.clone()),
        // One that was made anew counts anew.
        stored_now: stored.and_then(|earlier| stream.last_sequence.checked_sub(earlier.last_sequence)),
    }
}

/// The largest share of a limit. One that lets old messages go is meant to be full.
fn limits(stream: &StreamFacts, parameters: &Parameters, report: &mut Report) -> Option<f64> {
    let mut largest: Option<f64> = None;
    for (what, used, limit) in
        [("messages", stream.messages, stream.messages_limit), ("bytes", stream.bytes, stream.bytes_limit)]
    {
        let Some(limit) = limit else { continue };
        let share = used as f64 / limit as f64;
        largest = Some(largest.map_or(share, |largest| largest.max(share)));
        let severity = Severity::of(share, parameters.warn_storage, parameters.critical_storage);
        if severity == Severity::Ok {
            continue;
        }
        let title = format!("{}: {used} of {limit} {what} ({:.0} %)", stream.name, share * 100.0);
        if stream.discard == "new" {
            report
                .finding(severity, title)
                .detail("When it is full, publishers are refused (discard: new).")
                .advice("Let its consumers catch up, purge it, or raise its limit");
        } else if stream.retention != "limits" {
            report
                .finding(severity, title)
                .detail("When it is full, the oldest messages are lost although nobody has processed them.")
                .advice("Let its consumers catch up, or raise its limit");
        } else {
            report.note(title).detail("The oldest messages make room for new ones (discard: old).");
        }
    }
    largest
}

/// A copy answers every second, also when nothing is stored; one that was not heard of for so long is away, before its servers say so.
const SILENT: u64 = 5_000_000_000;

/// A leader that was elected after a copy's server died has never heard of it: no silence is counted then, and it is not up to date.
fn is_away(replica: &ReplicaFacts) -> bool {
    let never_heard = !replica.current && replica.silent_nanoseconds == 0;
    replica.offline || replica.silent_nanoseconds >= SILENT || never_heard
}

/// How many copies can be reached, and what that means. More than half are needed.
pub(crate) fn copies(
    name: &str,
    wanted: u32,
    cluster: &ClusterFacts,
    parameters: &Parameters,
    report: &mut Report,
) -> u32 {
    let there = cluster.replicas.iter().filter(|replica| !is_away(replica)).count();
    let reachable = u32::try_from(there).unwrap_or(u32::MAX).saturating_add(u32::from(cluster.leader.is_some()));
    let all = u32::try_from(cluster.replicas.len()).unwrap_or(u32::MAX).saturating_add(1).max(wanted);
    let offline: Vec<&str> =
        cluster.replicas.iter().filter(|replica| is_away(replica)).map(|replica| replica.name.as_str()).collect();
    let needed = all / 2 + 1;
    if cluster.leader.is_none() {
        report
            .critical(format!("{name}: it has no leader"))
            .detail(format!(
                "{reachable} of {all} copies can be reached, and {needed} are needed: nothing is stored or delivered."
            ))
            .advice("Bring back the servers with its copies");
    } else if reachable < needed {
        report
            .critical(format!("{name}: {reachable} of {all} copies can be reached, and {needed} are needed"))
            .detail(format!("Away: {}. Nothing more is stored.", offline.join(", ")))
            .advice("Bring back the servers with its copies");
    } else if reachable < all {
        let spare = reachable - needed;
        report
            .warning(format!("{name}: {reachable} of {all} copies can be reached"))
            .detail(format!("Away: {}. It goes on until {} more are.", offline.join(", "), spare + 1))
            .advice("Bring back the servers with its copies");
    }
    for replica in cluster.replicas.iter().filter(|replica| !is_away(replica)) {
        if replica.lag >= parameters.warn_lag {
            report.warning(format!("{name}: the copy on {} is {} operations behind", replica.name, replica.lag));
        } else if !replica.current {
            report.warning(format!("{name}: the copy on {} is not up to date", replica.name));
        }
    }
    reachable
}
