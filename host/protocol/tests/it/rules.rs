//! Single rules, one by one: waits, what follows an attempt, claims, and the changes of a cursor.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rota_protocol::attempt::LOST_ATTEMPTS;
use rota_protocol::compensation::{after_settling, next};
use rota_protocol::{
    AfterAttempt, AfterCompensation, AttemptEnd, CompensationState, Cursor, End, Event, Fault, FireRefused,
    Incarnation, Instant, Lease, LeaseNumber, RetryPolicy, RunState, Span, UndoPolicy,
};

const ATTEMPT_ENDS: [AttemptEnd; 9] = [
    AttemptEnd::Reported,
    AttemptEnd::InDoubt,
    AttemptEnd::Failed(Fault::Retryable),
    AttemptEnd::Failed(Fault::Lasting),
    AttemptEnd::Denied,
    AttemptEnd::TimedOut,
    AttemptEnd::Cancelled,
    AttemptEnd::Vanished,
    AttemptEnd::HandedBack,
];

#[test]
fn what_is_not_idempotent_is_never_tried_again() {
    let policy = RetryPolicy { limit: 9, any_fault: true, ..RetryPolicy::default() };
    for end in ATTEMPT_ENDS {
        assert!(matches!(policy.after(end, 1, false, 0.0), AfterAttempt::End(_)), "{end:?}");
    }
    assert_eq!(policy.after(AttemptEnd::Vanished, 1, false, 0.0), AfterAttempt::End(End::Unknown));
}

#[test]
fn every_run_is_tried_a_bounded_number_of_times() {
    let policy = RetryPolicy { limit: 2, any_fault: true, ..RetryPolicy::default() };
    for end in ATTEMPT_ENDS {
        let tried =
            (1..100).take_while(|attempt| policy.after(end, *attempt, true, 0.0) != ended(&policy, end)).count();
        let most = match end {
            AttemptEnd::Failed(_) | AttemptEnd::TimedOut => 2,
            AttemptEnd::Vanished | AttemptEnd::HandedBack => 2 + LOST_ATTEMPTS as usize,
            _ => 0,
        };
        assert_eq!(tried, most, "{end:?}");
    }
}

fn ended(policy: &RetryPolicy, end: AttemptEnd) -> AfterAttempt {
    policy.after(end, u32::MAX, true, 0.0)
}

#[test]
fn whatever_follows_an_attempt_can_happen_to_a_running_run() {
    let open = [CompensationState::Done, CompensationState::Registered];
    let through = [CompensationState::Dismissed];
    let policy = RetryPolicy { limit: 1, ..RetryPolicy::default() };
    for end in ATTEMPT_ENDS {
        for idempotent in [false, true] {
            let after = policy.after(end, 1, idempotent, 0.0);
            assert!(RunState::Running.after(after.event(&through)).unwrap() != RunState::Compensating);
            let undone = RunState::Running.after(after.event(&open)).unwrap() == RunState::Compensating;
            let ends_badly = matches!(after, AfterAttempt::End(end) if end != End::Succeeded);
            assert_eq!(undone, ends_badly, "{end:?}");
        }
    }
}

#[test]
fn a_settled_compensation_lets_the_others_be_carried_out() {
    use CompensationState::{Done, Failed, Registered, Settled};
    assert_eq!(next(&[Registered, Failed, Done]), None);
    assert_eq!(next(&[Registered, Settled, Done]), Some(0));
    assert_eq!(after_settling(&[Registered, Settled, Done], End::Failed), Event::RetryUndo);
    assert_eq!(after_settling(&[Done, Settled], End::Failed), Event::Settle(End::Failed));
}

#[test]
fn an_undo_is_begun_a_bounded_number_of_times() {
    let policy = UndoPolicy::default();
    assert_eq!((0..100).filter(|begun| policy.may_begin(*begun)).count(), 5 + LOST_ATTEMPTS as usize);
    assert_eq!(policy.after(false, 1), AfterCompensation::Again { wait: Span::seconds(5) });
    assert_eq!(policy.after(false, 4), AfterCompensation::Again { wait: Span::seconds(40) });
    assert_eq!(policy.after(false, 5), AfterCompensation::GiveUp);
    assert_eq!(policy.after(true, 5), AfterCompensation::Next);
}

#[test]
fn a_claim_never_gives_a_number_twice() {
    let (by, length) = (Incarnation("a".into()), Span::seconds(10));
    let late = Lease { holder: by.clone(), number: LeaseNumber(7), expires: Instant(0) };
    let claimed = Lease::claim(Some(&late), LeaseNumber(3), by, Instant(1), length).unwrap();
    assert_eq!(claimed.number, LeaseNumber(8));
}

#[test]
fn a_change_keeps_what_is_due_and_never_goes_back() {
    let cursor = Cursor { version: 4, decided: Some(Instant(10)), next: Some(Instant(20)) };
    assert_eq!(cursor.look_after(Instant(5)), Instant(10), "the clock was set back");
    assert_eq!(cursor.redefine(4, Some(Instant(10)), Instant(5)), Err(FireRefused::NotNext));
    assert_eq!(cursor.redefine(3, Some(Instant(30)), Instant(5)), Err(FireRefused::Stale));
    let ahead = cursor.redefine(4, Some(Instant(15)), Instant(12)).unwrap();
    assert_eq!(ahead, Cursor { version: 5, decided: Some(Instant(10)), next: Some(Instant(15)) });
    let due = cursor.redefine(4, None, Instant(20)).unwrap();
    assert_eq!(due.next, Some(Instant(20)), "still to be decided about");
    assert_eq!(due.decide(4, Instant(20), None, Instant(20)), Err(FireRefused::Stale));
    assert!(due.decide(5, Instant(20), None, Instant(20)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A wait is never negative, never beyond the cap, and does not shrink with the number of the attempt.
    #[test]
    fn waits_are_bounded_and_grow(
        backoff in 0_i64..i64::MAX, cap in 0_i64..i64::MAX, attempt in 1_u32..u32::MAX, jitter in 0.0..=1.0, random in 0.0..1.0,
    ) {
        let policy = RetryPolicy { backoff: Span(backoff), cap: Span(cap), jitter: 0.0, ..RetryPolicy::default() };
        let wait = policy.wait(attempt, random);
        prop_assert!((0..=cap).contains(&wait.0));
        prop_assert!(policy.wait(attempt + 1, random) >= wait);
        let shorter = RetryPolicy { jitter, ..policy }.wait(attempt, random);
        prop_assert!((0..=wait.0).contains(&shorter.0), "{shorter:?} of {wait:?}");
    }
}
