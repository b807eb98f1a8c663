//! The lease protocol, checked in every interleaving of two or three workers on small bounds.
//!
//! Workers claim a run, extend their lease, write with their fence, end the run or give it back. What a worker sends may arrive at any
//! later time (it was frozen, or the network was), also after it crashed and started again; database time goes on by itself and may
//! step back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::check;

use rota_protocol::{Fence, Incarnation, Instant, Lease, LeaseNumber, Span};
use stateright::{Model, Property};

const LENGTH: Span = Span(2);
const TICKS: u8 = 5;
/// How many messages are sent in all, and are on their way at once.
const SENT: u8 = 4;
const ON_THEIR_WAY: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A write is let through by a look at the lease, and made later.
    CheckedBefore,
    /// A worker starts again as who it was before, and the fence compares the holder only.
    IncarnationReused,
    /// Whoever holds a lease last may write and extend it also when it is late.
    Revived,
}

struct Leases {
    broken: Broken,
    workers: usize,
    claims: i64,
}

/// Who sends, in numbers: an incarnation, and the claim that it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Shown {
    incarnation: u8,
    number: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Extend,
    Write,
    End,
    GiveBack,
}

/// Something on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Message {
    kind: Kind,
    shown: Shown,
    /// Only in a broken store: it was looked at, and will be written.
    checked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Worker {
    incarnation: u8,
    holds: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: i64,
    lease: Option<(u8, i64, i64)>,
    last: i64,
    /// How often an end was taken.
    ends: u8,
    /// Which claims' writes were taken, bit by bit.
    wrote: u8,
    /// Something was taken of a claim that was not the last.
    stale: bool,
    /// Something was taken of a lease that was late.
    late: bool,
    /// A run was claimed while its holder could prove its lease.
    snatched: bool,
    /// Something was taken after the end.
    after_end: bool,
    /// Something was refused after a later claim had written.
    refused_late: bool,
    workers: Vec<Worker>,
    on_their_way: Vec<Message>,
    ticks: u8,
    steps_back: u8,
    crashes: u8,
    sent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    StepBack,
    Claim(usize),
    Send(usize, Kind),
    Arrive(usize),
    Restart(usize),
}

fn incarnation(number: u8) -> Incarnation {
    Incarnation(char::from(b'a' + number).to_string())
}

fn lease(of: (u8, i64, i64)) -> Lease {
    Lease { holder: incarnation(of.0), number: LeaseNumber(of.1), expires: Instant(of.2) }
}

fn fence(shown: Shown) -> Fence {
    Fence { holder: incarnation(shown.incarnation), number: LeaseNumber(shown.number) }
}

impl State {
    fn proven(&self, shown: Shown) -> bool {
        self.lease.is_some_and(|of| lease(of).proves(&fence(shown), Instant(self.now)).is_ok())
    }
}

impl Leases {
    /// Whether a store takes what carries this fence.
    fn takes(&self, state: &State, message: Message) -> bool {
        let Some(of) = state.lease else { return false };
        let mut shown = message.shown;
        match self.broken {
            Broken::CheckedBefore if message.checked => return true,
            Broken::IncarnationReused => shown.number = of.1,
            Broken::Revived if shown.incarnation == of.0 && shown.number == of.1 => return true,
            _ => {}
        }
        lease(of).proves(&fence(shown), Instant(state.now)).is_ok()
    }

    fn arrive(&self, state: &mut State, message: Message) {
        let number = message.shown.number;
        if !self.takes(state, message) {
            state.refused_late |= state.wrote >> (number + 1) != 0;
            return;
        }
        state.stale |= number < state.last;
        state.late |= state.lease.is_some_and(|of| of.2 <= state.now);
        state.after_end |= state.ends > 0;
        match message.kind {
            Kind::Extend => {
                let Some(of) = &mut state.lease else { return };
                let now = Instant(state.now);
                match lease(*of).extend(&fence(message.shown), now, LENGTH) {
                    Ok(longer) => of.2 = longer.expires.0,
                    Err(_) if self.broken == Broken::Revived => of.2 = now.after(LENGTH).0,
                    Err(_) => {}
                }
            }
            Kind::Write => state.wrote |= 1 << number,
            Kind::End => {
                state.ends += 1;
                state.lease = None;
            }
            Kind::GiveBack => state.lease = None,
        }
    }
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let workers = (0..self.workers).map(|n| Worker { incarnation: n as u8, holds: None }).collect();
        vec![State {
            now: 0,
            lease: None,
            last: 0,
            ends: 0,
            wrote: 0,
            stale: false,
            late: false,
            snatched: false,
            after_end: false,
            refused_late: false,
            workers,
            on_their_way: vec![],
            ticks: 0,
            steps_back: 0,
            crashes: 0,
            sent: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.ticks < TICKS {
            actions.push(Action::Tick);
        }
        if state.steps_back < 1 && state.ticks > 0 {
            actions.push(Action::StepBack);
        }
        for (who, worker) in state.workers.iter().enumerate() {
            if state.last < self.claims && state.ends == 0 {
                actions.push(Action::Claim(who));
            }
            if state.crashes < 1 {
                actions.push(Action::Restart(who));
            }
            if worker.holds.is_some() && state.sent < SENT && state.on_their_way.len() < ON_THEIR_WAY {
                let kinds = [Kind::Extend, Kind::Write, Kind::End, Kind::GiveBack];
                actions.extend(kinds.map(|kind| Action::Send(who, kind)));
            }
        }
        actions.extend((0..state.on_their_way.len()).map(Action::Arrive));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Tick => {
                state.ticks += 1;
                state.now += 1;
            }
            Action::StepBack => {
                state.steps_back += 1;
                state.now -= 1;
            }
            Action::Claim(who) => {
                let worker = &mut state.workers[who];
                let by = incarnation(worker.incarnation);
                let current = state.lease.map(lease);
                let claimed = Lease::claim(current.as_ref(), LeaseNumber(state.last), by, Instant(state.now), LENGTH)?;
                worker.holds = Some(claimed.number.0);
                state.snatched |= current.is_some_and(|held| held.proves(&held.fence(), Instant(state.now)).is_ok());
                state.lease = Some((worker.incarnation, claimed.number.0, claimed.expires.0));
                state.last = claimed.number.0;
            }
            Action::Send(who, kind) => {
                let worker = &mut state.workers[who];
                let shown = Shown { incarnation: worker.incarnation, number: worker.holds? };
                if matches!(kind, Kind::End | Kind::GiveBack) {
                    worker.holds = None;
                }
                state.sent += 1;
                state.on_their_way.push(Message { kind, shown, checked: false });
            }
            Action::Arrive(which) if self.broken == Broken::CheckedBefore && !state.on_their_way[which].checked => {
                if self.takes(&state, state.on_their_way[which]) {
                    state.on_their_way[which].checked = true;
                } else {
                    state.on_their_way.remove(which);
                }
            }
            Action::Arrive(which) => {
                let message = state.on_their_way.remove(which);
                self.arrive(&mut state, message);
            }
            Action::Restart(who) => {
                state.crashes += 1;
                let new = if self.broken == Broken::IncarnationReused { who } else { self.workers };
                state.workers[who] = Worker { incarnation: new as u8, holds: None };
            }
        }
        state.on_their_way.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(STALE, |_, state: &State| !state.stale),
            Property::always("a run has one end", |_, state: &State| state.ends <= 1),
            Property::always("nothing follows the end", |_, state: &State| !state.after_end),
            Property::always("one proven lease at one instant", |_, state: &State| {
                let held = state
                    .workers
                    .iter()
                    .filter_map(|worker| worker.holds.map(|number| Shown { incarnation: worker.incarnation, number }));
                let mut proven: Vec<_> = held
                    .chain(state.on_their_way.iter().map(|message| message.shown))
                    .filter(|shown| state.proven(*shown))
                    .collect();
                proven.sort_unstable();
                proven.dedup();
                proven.len() <= 1
            }),
            Property::always("what is held is not claimed", |_, state: &State| !state.snatched),
            Property::always("what is late is not taken", |_, state: &State| !state.late),
            Property::sometimes("a run is taken over, goes on and ends", |_, state: &State| {
                state.wrote == 0b110 && state.ends == 1
            }),
            Property::sometimes("a stale write is refused after its successor's first", |_, state: &State| {
                state.refused_late
            }),
            Property::sometimes("two workers believe that they hold it", |_, state: &State| {
                state.workers.iter().filter(|worker| worker.holds.is_some()).count() > 1
            }),
            Property::sometimes("a worker that started again holds it again", |_, state: &State| {
                state.wrote == 0b110
                    && state
                        .workers
                        .iter()
                        .any(|worker| usize::from(worker.incarnation) == state.workers.len() && worker.holds == Some(2))
            }),
            Property::sometimes("a lease was extended beyond its first length", |_, state: &State| {
                state.lease.is_some_and(|of| of.1 == 1 && of.2 > LENGTH.0 + i64::from(TICKS) - 2)
            }),
        ]
    }
}

const STALE: &str = "nothing of a stale worker is taken after its successor's claim";

#[test]
fn one_worker_at_a_time() {
    check::holds("lease, 2 workers", Leases { broken: Broken::Nothing, workers: 2, claims: 3 }, 100_000);
}

#[test]
fn one_worker_of_three_at_a_time() {
    check::holds("lease, 3 workers", Leases { broken: Broken::Nothing, workers: 3, claims: 2 }, 100_000);
}

#[test]
fn a_lease_checked_before_the_write_is_caught() {
    check::caught("checked before", Leases { broken: Broken::CheckedBefore, workers: 2, claims: 2 }, STALE);
}

#[test]
fn an_incarnation_used_again_is_caught() {
    check::caught("incarnation reused", Leases { broken: Broken::IncarnationReused, workers: 2, claims: 2 }, STALE);
}

#[test]
fn a_late_write_that_is_taken_is_caught() {
    let late = "what is late is not taken";
    check::caught("late lease", Leases { broken: Broken::Revived, workers: 2, claims: 2 }, late);
}
