//! Consumers: do they keep up?

use crate::{AT_ONCE, Consumer, Context, Look, MOST_LOOKUPS, Parameters, by_name, streams};
use rota_sdk::jetstream::{ConsumerFacts, JetStream, StreamFacts};
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

/// Subjects of one consumer that are looked up.
const SUBJECTS: usize = 8;

pub(crate) async fn judge(
    cx: &Context,
    jetstream: &JetStream,
    before: &Look,
    after: &Look,
    parameters: &Parameters,
    report: &mut Report,
    complete: &mut bool,
) -> Result<Vec<Consumer>> {
    let earlier = by_name(&before.consumers);
    let of: BTreeMap<&str, &StreamFacts> = after.streams.iter().map(|stream| (stream.name.as_str(), stream)).collect();
    let behind = behind(cx, jetstream, &after.consumers, report, complete).await?;
    let mut all = Vec::new();
    for (consumer, seconds) in after.consumers.iter().zip(behind) {
        let name = format!("{}/{}", consumer.stream, consumer.name);
        if !consumer.answered {
            report
                .critical(format!("{name}: no server answers for it"))
                .detail("It has no leader, or the servers with its copies are away: nothing is delivered.")
                .advice("Bring back the servers with its copies");
        }
        if let Some(cluster) = &consumer.cluster {
            let wanted = u32::try_from(cluster.replicas.len()).unwrap_or(u32::MAX).saturating_add(1);
            streams::copies(&name, wanted, cluster, parameters, report);
        }
        let one = Consumer {
            stream: consumer.stream.clone(),
            name: consumer.name.clone(),
            pending: consumer.pending,
            pending_growth: None,
            delivered_now: None,
            ack_pending: consumer.ack_pending,
            ack_pending_limit: consumer.ack_pending_limit,
            redelivered: consumer.redelivered,
            seconds_behind: seconds,
        };
        let key = (consumer.stream.as_str(), consumer.name.as_str());
        let one = match earlier.get(&key).filter(|earlier| earlier.answered && consumer.answered) {
            Some(earlier) => Consumer {
                pending_growth: Some(consumer.pending.cast_signed().saturating_sub(earlier.pending.cast_signed())),
                delivered_now: consumer.delivered.checked_sub(earlier.delivered),
                ..one
            },
            None => one,
        };
        acknowledged(&name, consumer, parameters, report);
        waiting(&name, consumer, &one, parameters, report);
        lost(&name, consumer, of.get(consumer.stream.as_str()).copied(), report);
        all.push(one);
    }
    Ok(all)
}

fn acknowledged(name: &str, consumer: &ConsumerFacts, parameters: &Parameters, report: &mut Report) {
    if let Some(limit) = consumer.ack_pending_limit.filter(|_| consumer.ack_policy != "none") {
        let used = consumer.ack_pending;
        if used >= limit {
            report
                .critical(format!("{name}: all {limit} messages that may be unacknowledged are"))
                .detail("Nothing more is delivered until some are acknowledged, or come back when their time is over.")
                .advice("Look at the clients: they fail, or forget to acknowledge; else raise max_ack_pending");
        } else if used as f64 >= limit as f64 * parameters.warn_ack_pending {
            report
                .warning(format!("{name}: {used} of {limit} messages that may be unacknowledged are"))
                .detail("When all are, nothing more is delivered.")
                .advice("Look at the clients: they are slow, or forget to acknowledge; else raise max_ack_pending");
        }
    }
    if consumer.redelivered >= parameters.warn_redelivered {
        let most = consumer.deliver_limit.map_or("without end".to_owned(), |most| format!("at most {most} times"));
        report
            .warning(format!("{name}: {} messages were delivered again and are not acknowledged", consumer.redelivered))
            .detail(format!("A message is delivered {most}."))
            .advice("Look at the clients: they fail on these messages, or take longer than ack_wait");
    }
}

fn waiting(name: &str, consumer: &ConsumerFacts, seen: &Consumer, parameters: &Parameters, report: &mut Report) {
    if consumer.paused {
        if consumer.pending > 0 {
            report.note(format!("{name}: it is paused, and {} messages wait", consumer.pending));
        }
        return;
    }
    let growth = seen.pending_growth.unwrap_or(0);
    if consumer.pending >= parameters.warn_pending && growth > 0 {
        report
            .warning(format!(
                "{name}: {} messages wait, {growth} more than {} s before",
                consumer.pending, parameters.sample_seconds
            ))
            .detail("More come than are processed.")
            .advice("Add clients, or look why they are slow");
    }
    if let Some(seconds) = seen.seconds_behind {
        let (warn, critical) = (parameters.warn_seconds_behind as f64, parameters.critical_seconds_behind as f64);
        let severity = Severity::of(seconds, warn, critical);
        if severity != Severity::Ok && consumer.pending > 0 {
            report
                .finding(severity, format!("{name}: its next message has waited for {seconds:.0} s"))
                .advice("Look whether its clients run, and keep up");
        }
    }
    let nobody = consumer.push_bound.map_or(consumer.waiting == 0 && seen.delivered_now == Some(0), |bound| !bound);
    // That its clients may have no more is another finding.
    let full = consumer.ack_pending_limit.is_some_and(|limit| consumer.ack_pending >= limit);
    if consumer.answered && consumer.pending > 0 && nobody && !full {
        report
            .warning(format!("{name}: {} messages wait, and nobody asks for them", consumer.pending))
            .advice("Start its clients, or remove the consumer if it is not needed any more");
    }
}

/// Messages that were removed before the consumer got them; known where it wants all of its stream.
fn lost(name: &str, consumer: &ConsumerFacts, stream: Option<&StreamFacts>, report: &mut Report) {
    let Some(stream) = stream.filter(|stream| stream.answered && consumer.answered && consumer.subjects.is_empty())
    else {
        return;
    };
    // One that has not begun may be meant to begin later.
    if consumer.delivered > 0 && consumer.delivered + 1 < stream.first_sequence {
        report
            .warning(format!(
                "{name}: messages {} to {} were removed before it got them",
                consumer.delivered + 1,
                stream.first_sequence - 1
            ))
            .detail("The stream's limits (or a purge) took them; the numbers in between may have been removed earlier.")
            .advice("Raise the stream's limits, or let the consumer keep up");
    }
}

/// How long the next message of each has waited.
async fn behind(
    cx: &Context,
    jetstream: &JetStream,
    consumers: &[ConsumerFacts],
    report: &mut Report,
    complete: &mut bool,
) -> Result<Vec<Option<f64>>> {
    let mut most: Vec<usize> = (0..consumers.len()).filter(|place| consumers[*place].pending > 0).collect();
    most.sort_by_key(|place| std::cmp::Reverse(consumers[*place].pending));
    if most.len() > MOST_LOOKUPS {
        let title = format!("how long messages wait was looked up for {MOST_LOOKUPS} of {} consumers", most.len());
        report.note(title).detail("Those for which the most messages wait.");
        most.truncate(MOST_LOOKUPS);
    }
    let found = rota_sdk::each(&most, AT_ONCE, |place| next_stored(jetstream, &consumers[*place])).await;
    let now = cx.now();
    let mut all: Vec<Option<f64>> =
        consumers.iter().map(|one| (one.answered && one.pending == 0).then_some(0.0)).collect();
    let mut refused = None;
    for (place, at) in most.iter().zip(found) {
        match at {
            // The clocks of two machines.
            Ok(at) => all[*place] = at.map(|at| now.seconds_since(Timestamp(at)).max(0.0)),
            Err(error) => refused = Some(error),
        }
    }
    if let Some(error) = refused {
        *complete = false;
        report
            .unknown("how long messages wait could not be seen for every consumer")
            .because(&error)
            .advice("Let the user ask $JS.API.STREAM.MSG.GET.>");
    }
    Ok(all)
}

async fn next_stored(jetstream: &JetStream, consumer: &ConsumerFacts) -> Result<Option<i64>> {
    let all = [">".to_owned()];
    let subjects = if consumer.subjects.is_empty() { &all[..] } else { &consumer.subjects[..] };
    let mut first: Option<i64> = None;
    for subject in subjects.iter().take(SUBJECTS) {
        let at = jetstream.stored_at(&consumer.stream, consumer.delivered + 1, subject).await?;
        first = match (first, at) {
            (Some(first), Some(at)) => Some(first.min(at)),
            (first, at) => first.or(at),
        };
    }
    Ok(first)
}
