//! Everything that is looked at before anything is changed.

use crate::{Context, Decision, Parameters, looks, standbys};
use rota_sdk::HostError;
use rota_sdk::cluster::Cluster;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_promotion::{Candidate, Lsn, Topology, best, refuse_lost_node};

pub(crate) async fn decide(cx: &Context, cluster: &Cluster, parameters: &Parameters) -> Result<(Decision, Server)> {
    let told = match parameters.primary_lsn.as_deref().map(|text| (text, Lsn::parse(text))) {
        Some((text, None)) => {
            return Err(
                Error::new(format!("`primary_lsn` is no position in a WAL: {text}")).hint("it looks like 0/3000060")
            );
        }
        Some((_, told)) => told,
        None => None,
    };
    let topology = Topology::look(cluster, &parameters.service, parameters.stateful_set.as_deref()).await?;
    refuse_lost_node(cluster, &topology.primary).await?;

    let (mut candidates, mut servers, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for slot in standbys(cx) {
        match Candidate::find(cx, slot, cluster, parameters.named(slot.name())).await {
            Ok((candidate, server)) => {
                candidates.push(candidate);
                servers.push(server);
            }
            Err(error) if matches!(error.cause(), Some(HostError::Unavailable(_) | HostError::TimedOut(_))) => {
                skipped.push(format!("{} ({error})", slot.name()));
            }
            Err(error) => return Err(error),
        }
    }
    if candidates.is_empty() {
        return Err(Error::new(format!("no standby answers: {}", skipped.join("; ")))
            .hint("nothing can be promoted; restore a backup (postgres-restore), or bring the primary back"));
    }
    let chosen = best(&candidates)?.clone();
    if let Some(wanted) = parameters.system_identifier.as_ref().filter(|wanted| **wanted != chosen.system_identifier) {
        return Err(Error::new(format!(
            "{} is of another cluster: its system identifier is {}, not {wanted}",
            chosen.pod, chosen.system_identifier
        )));
    }
    topology.can_take_over(cluster, &chosen.pod).await?;
    let (looks, said) = looks::all(cx, cluster, parameters, &topology.primary, &candidates).await?;

    let (known_bytes, known_from) = known(told, said, &candidates);
    let decision = Decision {
        service: parameters.service.clone(),
        selector: topology.selector,
        primary: topology.primary,
        chosen,
        candidates,
        skipped,
        managed_by: topology.managed_by,
        looks,
        known_bytes,
        known_from,
    };
    let lost = decision.known_bytes.map(|known| (known - decision.chosen.lsn_bytes).max(0));
    if let (Some(lost), Some(most)) = (lost, parameters.maximum_lost_bytes)
        && lost > most
    {
        return Err(Error::new(format!(
            "{} lacks {lost} bytes of what the primary wrote ({}), more than the {most} that may be lost",
            decision.chosen.pod, decision.known_from
        ))
        .hint("bring the primary back, or bind the standby that has more"));
    }
    let place = decision.candidates.iter().position(|one| one.slot == decision.chosen.slot).unwrap_or(0);
    Ok((decision, servers.swap_remove(place)))
}

/// The furthest that the primary is known to have written, and from where.
fn known(told: Option<Lsn>, said: Option<i64>, candidates: &[Candidate]) -> (Option<i64>, String) {
    let standbys = candidates.iter().map(|candidate| candidate.lsn_bytes).max();
    let messages = candidates.iter().filter_map(|candidate| candidate.primary_said_bytes).max().max(said);
    [
        (told.map(|lsn| lsn.0), "the parameter primary_lsn"),
        (messages, "what it told a standby"),
        (standbys, "what the standbys have received"),
    ]
    .into_iter()
    .filter_map(|(bytes, from)| bytes.map(|bytes| (bytes, from)))
    .rev()
    .max_by_key(|(bytes, _)| *bytes)
    .map_or_else(|| (None, "nothing".to_owned()), |(bytes, from)| (Some(bytes), from.to_owned()))
}
