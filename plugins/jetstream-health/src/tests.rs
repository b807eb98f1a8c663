//! The judgements, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::HostError;
use rota_sdk::jetstream::{ClusterFacts, ConsumerFacts, Monitored, ReplicaFacts, StreamFacts};
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

fn with(parameters: Json, change: impl FnOnce(&JetstreamMock)) -> Reported {
    let host = MockHost::new();
    let mock = host.jetstream("stream");
    mock.set(|state| state.monitoring = vec![Monitored::State(mock.server_state(0, "nats-0"))]);
    change(&mock);
    host.run::<Plugin>(parameters).unwrap()
}

fn run(change: impl FnOnce(&JetstreamMock)) -> Reported {
    with(json!({}), change)
}

/// One stream with one consumer, changed.
fn one(mock: &JetstreamMock, stream: impl FnOnce(&mut StreamFacts), consumer: impl FnOnce(&mut ConsumerFacts)) {
    let (mut s, mut c) = (mock.stream("ORDERS"), mock.consumer("ORDERS", "worker"));
    s.consumers = 1;
    (s.messages, s.last_sequence) = (10, 10);
    stream(&mut s);
    consumer(&mut c);
    mock.set(|state| (state.streams, state.consumers) = (vec![s], vec![c]));
}

fn replica(name: &str, offline: bool) -> ReplicaFacts {
    ReplicaFacts { name: name.into(), current: !offline, offline, silent_nanoseconds: 0, lag: 0 }
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn one_that_is_well() {
    let report = run(|mock| one(mock, |_| {}, |_| {}));
    assert_eq!(
        (report.status, report.summary.as_str()),
        (Severity::Ok, "NATS 2.10.20: 1 streams, 1 consumers, 0 messages wait")
    );
    assert_eq!(report.data["consumers"][0]["seconds_behind"], 0.0);
}

#[test]
fn without_monitoring_it_is_not_ok_unless_nobody_wants_it() {
    let none = |mock: &JetstreamMock| {
        mock.set(|state| state.monitoring.clear());
    };
    let report = run(none);
    assert_eq!((report.status, report.data["visibility_complete"].clone()), (Severity::Unknown, json!(false)));
    assert_eq!(with(json!({ "require_monitoring": false }), none).status, Severity::Ok);
}

#[test]
fn unacknowledged_at_the_maximum_is_critical_and_near_it_a_warning() {
    for (used, severity) in [(1_000, Severity::Critical), (800, Severity::Warning), (799, Severity::Ok)] {
        let report = run(|mock| one(mock, |_| {}, |consumer| consumer.ack_pending = used));
        assert_eq!(report.status, severity, "{used}");
    }
    let report = run(|mock| one(mock, |_| {}, |consumer| consumer.redelivered = 3));
    assert!(report.finding("3 messages were delivered again").is_some());
}

#[test]
fn waiting_messages_that_become_more_and_how_long_the_next_has_waited() {
    let now = MockHost::new().now();
    let report = run(|mock| {
        one(
            mock,
            |_| {},
            |consumer| {
                (consumer.pending, consumer.delivered, consumer.waiting) = (2_000, 4, 1);
            },
        );
        mock.set(|state| {
            state.stored.insert(("ORDERS".into(), 5), now.0 - 600_000_000);
        });
        mock.before_each_look(|state, look| state.consumers[0].pending = 2_000 + u64::from(look) * 10);
    });
    assert_eq!(report.status, Severity::Warning);
    assert!(report.finding("2020 messages wait, 10 more than 5 s before").is_some(), "{:?}", report.findings);
    // The clock of the mock went on while the run slept.
    assert!(report.finding("its next message has waited for 605 s").is_some(), "{:?}", report.findings);
    assert!(report.finding("nobody asks").is_none(), "somebody does");
}

#[test]
fn nobody_asks_and_what_was_removed() {
    let report = run(|mock| {
        one(
            mock,
            |stream| (stream.first_sequence, stream.last_sequence) = (8, 20),
            |consumer| (consumer.pending, consumer.delivered) = (13, 4),
        );
    });
    assert!(report.finding("13 messages wait, and nobody asks").is_some(), "{:?}", report.findings);
    assert!(report.finding("messages 5 to 7 were removed before it got them").is_some(), "{:?}", report.findings);
}

#[test]
fn copies_that_are_away() {
    for (leader, away, severity) in [
        (Some("a"), 0, Severity::Ok),
        (Some("a"), 1, Severity::Warning),
        (Some("a"), 2, Severity::Critical),
        (None, 2, Severity::Critical),
    ] {
        let report = run(|mock| {
            one(
                mock,
                |stream| {
                    stream.replicas = 3;
                    let replicas = vec![replica("b", away > 0), replica("c", away > 1)];
                    stream.cluster = Some(ClusterFacts { leader: leader.map(str::to_owned), replicas });
                },
                |_| {},
            );
        });
        assert_eq!(report.status, severity, "{leader:?} {away}: {:?}", report.findings);
    }
    let report = run(|mock| {
        one(
            mock,
            |stream| {
                let silent = ReplicaFacts { silent_nanoseconds: 6_000_000_000, ..replica("b", false) };
                stream.cluster =
                    Some(ClusterFacts { leader: Some("a".into()), replicas: vec![silent, replica("c", false)] });
                stream.replicas = 3;
            },
            |_| {},
        );
    });
    assert!(report.finding("ORDERS: 2 of 3 copies can be reached").is_some(), "{:?}", report.findings);
    let report = run(|mock| one(mock, |stream| stream.answered = false, |_| {}));
    assert_eq!(report.status, Severity::Critical);
}

#[test]
fn a_full_stream_matters_where_messages_are_lost_or_refused() {
    for (discard, retention, severity) in [
        ("old", "limits", Severity::Ok),
        ("new", "limits", Severity::Critical),
        ("old", "workqueue", Severity::Critical),
    ] {
        let report = run(|mock| {
            one(
                mock,
                |stream| {
                    (stream.discard, stream.retention) = (discard.into(), retention.into());
                    (stream.bytes, stream.bytes_limit) = (95, Some(100));
                },
                |_| {},
            );
        });
        assert_eq!(report.status, severity, "{discard} {retention}");
        assert_eq!(report.data["streams"][0]["share"], 0.95);
    }
}

#[test]
fn silence_is_critical_and_tells_what_the_servers_say() {
    let report = run(|mock| {
        let mut state = mock.server_state(0, "nats-0");
        (state.cluster_size, state.offline) = (Some(3), vec!["nats-1".into(), "nats-2".into()]);
        mock.set(|all| {
            all.monitoring = vec![Monitored::State(state), Monitored::Unreachable((1, "no connection".into()))]
        });
        mock.fails("streams", HostError::Unavailable("no leader".into()));
    });
    assert_eq!(report.status, Severity::Critical);
    assert_eq!(report.data["answers"], false);
    for text in [
        "JetStream does not answer",
        "no leader",
        "nats-1: the other servers cannot reach it",
        "server 1: its monitoring",
    ] {
        assert!(report.finding(text).is_some(), "{text}: {:?}", report.findings);
    }
}

#[test]
fn slow_consumers_now_are_worse_than_earlier_ones() {
    let slow = |before: u64, after: u64| {
        run(|mock| {
            let mut state = mock.server_state(0, "nats-0");
            state.slow_consumers = before;
            mock.set(|all| all.monitoring = vec![Monitored::State(state.clone())]);
            // The list of streams follows monitoring: what changes here is seen at the second look.
            mock.before_each_look(move |all, _| {
                state.slow_consumers = after;
                all.monitoring = vec![Monitored::State(state.clone())];
            });
        })
    };
    assert_eq!(slow(0, 0).status, Severity::Ok);
    assert_eq!(slow(2, 2).status, Severity::Warning);
    assert_eq!(slow(2, 3).status, Severity::Critical);
}

#[test]
fn a_denial_is_no_report() {
    let host = MockHost::new();
    host.jetstream("stream").fails("streams", HostError::Denied("no".into()));
    assert!(host.run::<Plugin>(json!({})).is_err());
}
