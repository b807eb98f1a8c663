//! The store in memory: every method is one transaction, and each calls the product's rules as a real store does.

use crate::Broken;
use crate::job::{Job, LEASE, UNDO};
use rota_protocol::compensation::{after_settling, next};
use rota_protocol::{
    AfterAttempt, AfterCompensation, AttemptEnd, CompensationState, Cursor, End, Event, Fence, Incarnation, Instant,
    Lease, LeaseLost, LeaseNumber, RunState, Span, StepState,
};
use std::collections::BTreeMap;

pub(crate) struct Entry {
    pub state: CompensationState,
    pub begun: u32,
}

pub(crate) struct Run {
    pub job: Job,
    pub state: RunState,
    pub lease: Option<Lease>,
    pub last: LeaseNumber,
    pub attempt: u32,
    pub due: Instant,
    pub to_end: Option<End>,
    pub cancel: bool,
    pub settled: bool,
    pub steps: [Option<StepState>; Job::STEPS],
    pub entries: Vec<Entry>,
}

#[derive(Clone)]
pub(crate) struct Schedule {
    pub every: Span,
    pub cursor: Cursor,
    pub paused: bool,
    pub over: bool,
    pub job: Job,
}

impl Schedule {
    pub(crate) fn next_after(&self, instant: Instant) -> Option<Instant> {
        (!self.over).then(|| Instant((instant.0.div_euclid(self.every.0) + 1) * self.every.0))
    }
}

/// What a decider carries from its reading to its writing.
pub(crate) struct Reading {
    pub schedule: usize,
    pub version: i64,
    pub nominal: Instant,
    pub next: Option<Instant>,
    pub makes_run: bool,
}

pub(crate) struct Store {
    pub now: Instant,
    pub away: bool,
    pub schedules: Vec<Schedule>,
    pub runs: Vec<Run>,
    /// What was decided about each (schedule, instant): the run, or none.
    pub decisions: BTreeMap<(usize, Instant), Vec<Option<usize>>>,
    pub refused: u64,
    /// What the store took though it should not have.
    pub wrong: Vec<String>,
    pub broken: Broken,
}

impl Run {
    fn happens(&mut self, event: Event) {
        self.state = self.state.after(event).unwrap();
    }

    fn states(&self) -> Vec<CompensationState> {
        self.entries.iter().map(|entry| entry.state).collect()
    }

    /// An attempt is over: another, an undo, or the end.
    pub(crate) fn attempt_ends(&mut self, how: AttemptEnd, now: Instant, random: f64) {
        let after = self.job.retry.after(how, self.attempt, self.job.idempotent, random);
        self.follows(after, now);
    }

    fn follows(&mut self, after: AfterAttempt, now: Instant) {
        self.happens(after.event(&self.states()));
        match after {
            AfterAttempt::Retry { wait } => self.due = now.after(wait),
            AfterAttempt::End(end) => self.to_end = Some(end),
        }
        if self.state == RunState::Succeeded {
            for entry in self.entries.iter_mut().filter(|entry| entry.state.is_open()) {
                entry.state = CompensationState::Dismissed;
            }
        }
        self.lease = None;
    }

    /// The next compensation, put on record as begun; none when the run has ended.
    pub(crate) fn begin_undo(&mut self, broken: Broken) -> Option<usize> {
        let Some(which) = next(&self.states()) else {
            let end = self.to_end.unwrap();
            self.happens(Event::Undone(end));
            self.lease = None;
            return None;
        };
        if !UNDO.may_begin(self.entries[which].begun) && broken != Broken::UndoneForEver {
            self.give_up(which);
            return None;
        }
        let entry = &mut self.entries[which];
        entry.state = CompensationState::Running;
        entry.begun += 1;
        Some(which)
    }

    fn give_up(&mut self, which: usize) {
        self.entries[which].state = CompensationState::Failed;
        self.happens(Event::UndoFailed);
        self.lease = None;
    }

    /// The outcome of a compensation; whether the worker goes on with the next.
    pub(crate) fn undo_outcome(&mut self, which: usize, well: bool, now: Instant) -> bool {
        match UNDO.after(well, self.entries[which].begun) {
            AfterCompensation::Next => {
                self.entries[which].state = CompensationState::Done;
                true
            }
            AfterCompensation::Again { wait } => {
                self.due = now.after(wait);
                self.lease = None;
                false
            }
            AfterCompensation::GiveUp => {
                self.give_up(which);
                false
            }
        }
    }
}

impl Store {
    pub(crate) fn add_run(&mut self, job: Job) -> usize {
        self.runs.push(Run {
            job,
            state: RunState::Queued,
            lease: None,
            last: LeaseNumber(0),
            attempt: 0,
            due: self.now,
            to_end: None,
            cancel: false,
            settled: false,
            steps: [const { None }; Job::STEPS],
            entries: vec![],
        });
        self.runs.len() - 1
    }

    /// What a decider reads of a schedule whose next instant is due.
    pub(crate) fn read_due(&self, schedule: usize) -> Option<Reading> {
        let found = &self.schedules[schedule];
        let nominal = found.cursor.next.filter(|next| *next <= self.now)?;
        let missed = self.now.since(nominal) > Span::seconds(120);
        let next = found.next_after(nominal);
        Some(Reading { schedule, version: found.cursor.version, nominal, next, makes_run: !missed && !found.paused })
    }

    /// The decision, the cursor and the run, or nothing.
    pub(crate) fn decide(&mut self, read: &Reading) -> Option<usize> {
        let cursor = &mut self.schedules[read.schedule].cursor;
        match cursor.decide(read.version, read.nominal, read.next, self.now) {
            Ok(after) => *cursor = after,
            Err(_) if self.broken == Broken::PlainWrite => {
                *cursor = Cursor { version: read.version + 1, decided: Some(read.nominal), next: read.next };
            }
            Err(_) => return None,
        }
        let job = self.schedules[read.schedule].job.clone();
        let run = read.makes_run.then(|| self.add_run(job));
        self.decisions.entry((read.schedule, read.nominal)).or_default().push(run);
        run
    }

    pub(crate) fn change_schedule(&mut self, schedule: usize, change: impl FnOnce(&mut Schedule)) {
        let found = &mut self.schedules[schedule];
        change(found);
        let next = found.next_after(found.cursor.look_after(self.now));
        // Read and written in one transaction.
        found.cursor = found.cursor.redefine(found.cursor.version, next, self.now).unwrap();
    }

    /// The runs that somebody may take now.
    pub(crate) fn claimable(&self) -> Vec<usize> {
        let due = |run: &Run| match run.state {
            RunState::Queued => run.due <= self.now,
            RunState::Running => run.lease.as_ref().is_none_or(|lease| lease.expires <= self.now),
            RunState::Compensating => {
                run.lease.as_ref().is_none_or(|lease| lease.expires <= self.now) && run.due <= self.now
            }
            _ => false,
        };
        (0..self.runs.len()).filter(|run| due(&self.runs[*run])).collect()
    }

    /// A claim. A running run whose worker vanished is not gone on with: what follows its attempt is decided first.
    pub(crate) fn claim(&mut self, run: usize, by: Incarnation, random: f64) -> Option<Fence> {
        let now = self.now;
        let run = &mut self.runs[run];
        let lease = Lease::claim(run.lease.as_ref(), run.last, by, now, LEASE)?;
        run.last = lease.number;
        if run.state == RunState::Running {
            let how = if run.cancel { AttemptEnd::Cancelled } else { AttemptEnd::Vanished };
            run.attempt_ends(how, now, random);
            return None;
        }
        run.happens(Event::Claim);
        run.attempt += u32::from(run.state == RunState::Running);
        let fence = lease.fence();
        run.lease = Some(lease);
        Some(fence)
    }

    /// The holder is alive; whether somebody has cancelled the run.
    pub(crate) fn extend(&mut self, run: usize, fence: &Fence) -> Result<bool, LeaseLost> {
        let now = self.now;
        let run = &mut self.runs[run];
        let lease = run.lease.as_ref().ok_or(LeaseLost::Released)?;
        run.lease = Some(lease.extend(fence, now, LEASE)?);
        Ok(run.cancel)
    }

    /// A write with its fence, in one transaction.
    pub(crate) fn write<T>(
        &mut self,
        id: usize,
        fence: &Fence,
        change: impl FnOnce(&mut Run, Instant) -> T,
    ) -> Option<T> {
        let now = self.now;
        let run = &mut self.runs[id];
        let proven = run.lease.as_ref().is_some_and(|lease| lease.proves(fence, now).is_ok());
        if !proven && self.broken != Broken::CheckedBefore {
            self.refused += 1;
            return None;
        }
        if fence.number != run.last || run.state.is_final() {
            self.wrong.push(format!("run {id}: took a write of claim {:?} after claim {:?}", fence.number, run.last));
            return None;
        }
        Some(change(run, now))
    }

    /// A person cancels.
    pub(crate) fn cancel(&mut self, run: usize) {
        let now = self.now;
        let run = &mut self.runs[run];
        match run.state {
            RunState::Queued => run.follows(AfterAttempt::End(End::Cancelled), now),
            RunState::Running => run.cancel = true,
            _ => {}
        }
    }

    /// A person has failed undos tried again, or settles them.
    pub(crate) fn attend(&mut self, run: usize, settle: bool) {
        let run = &mut self.runs[run];
        let Some(failed) = run.entries.iter_mut().find(|entry| entry.state == CompensationState::Failed) else {
            return;
        };
        failed.state = if settle { CompensationState::Settled } else { CompensationState::Registered };
        failed.begun = 0;
        run.settled |= settle;
        let event = if settle { after_settling(&run.states(), run.to_end.unwrap()) } else { Event::RetryUndo };
        run.happens(event);
    }
}
