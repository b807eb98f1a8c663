//! A host: it decides about schedules, claims runs and takes each one step further at a time.

use crate::Broken;
use crate::job::{Finish, LEASE, Op};
use crate::random::Random;
use crate::store::{Entry, Reading, Store};
use crate::world::{PairEffect, World};
use rota_protocol::step::{begin, begun, complete};
use rota_protocol::{AttemptEnd, CompensationState, Fault, Fence, Incarnation, RunState, StepBegin};

/// What surrounds a host while it takes a step.
pub(crate) struct Around<'a> {
    pub store: &'a mut Store,
    pub world: &'a mut World,
    pub random: &'a mut Random,
    /// Time that nobody can set, in microseconds.
    pub monotonic: i64,
    /// Answers of the store are lost.
    pub lossy: bool,
}

#[derive(Clone, Copy)]
enum Doing {
    Op(usize),
    Look(usize, usize),
    StepEffect(usize, usize),
    Complete(usize, usize),
    /// In a pair: the compensation is on record (its index), the effect is not done.
    PairEffect(usize, usize),
    /// Only in a broken host: the effect is done, the compensation not on record.
    PairRecord(usize, usize),
    Undo,
    CarryOut(usize),
    Outcome(usize, bool),
}

struct Task {
    run: usize,
    fence: Fence,
    /// It stops by itself then: its lease may have ended.
    until: i64,
    doing: Doing,
}

/// What became of a task by its step.
enum After {
    Stays(Doing),
    Over,
    HostDies,
}

pub(crate) struct Host {
    name: usize,
    starts: u64,
    tasks: Vec<Task>,
    reading: Option<Reading>,
    pub frozen_until: i64,
    pub down_until: i64,
    pub draining: bool,
    pub hinted: bool,
    next_poll: i64,
}

impl Host {
    pub(crate) fn new(name: usize) -> Self {
        Self {
            name,
            starts: 0,
            tasks: vec![],
            reading: None,
            frozen_until: 0,
            down_until: 0,
            draining: false,
            hinted: false,
            next_poll: 0,
        }
    }

    pub(crate) fn crash(&mut self, until: i64) {
        *self = Self { starts: self.starts + 1, down_until: until, ..Self::new(self.name) };
    }

    pub(crate) fn awake(&self, monotonic: i64) -> bool {
        self.frozen_until <= monotonic && self.down_until <= monotonic
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// One step of one of the things that it does.
    pub(crate) fn step(&mut self, around: &mut Around<'_>) {
        match around.random.below(self.tasks.len() + 2) {
            0 => self.decide(around),
            1 => self.claim(around),
            task => self.task(task - 2, around),
        }
    }

    fn decide(&mut self, around: &mut Around<'_>) {
        if around.store.away {
            return;
        }
        if let Some(read) = self.reading.take() {
            let made = around.store.decide(&read);
            self.hinted |= made.is_some();
            if around.lossy && around.random.chance(50) {
                // The answer is lost: it writes once more what it has read.
                self.reading = Some(read);
            }
        } else if !around.store.schedules.is_empty() {
            self.reading = around.store.read_due(around.random.below(around.store.schedules.len()));
        }
    }

    fn claim(&mut self, around: &mut Around<'_>) {
        if self.draining && self.tasks.is_empty() {
            self.crash(around.monotonic + 3_000_000);
            return;
        }
        if around.store.away || self.draining || self.tasks.len() >= 2 {
            return;
        }
        if !self.hinted && self.next_poll > around.monotonic {
            return;
        }
        self.hinted = false;
        self.next_poll = around.monotonic + 5_000_000;
        let claimable = around.store.claimable();
        if claimable.is_empty() {
            return;
        }
        let run = claimable[around.random.below(claimable.len())];
        let by = Incarnation(format!("{}-{}", self.name, self.starts));
        let Some(fence) = around.store.claim(run, by, around.random.share()) else { return };
        if around.lossy && around.random.chance(20) {
            return;
        }
        let undoing = around.store.runs[run].state == RunState::Compensating;
        let doing = if undoing { Doing::Undo } else { Doing::Op(0) };
        self.tasks.push(Task { run, fence, until: around.monotonic + LEASE.0, doing });
    }

    fn task(&mut self, which: usize, around: &mut Around<'_>) {
        let draining = self.draining;
        let task = &mut self.tasks[which];
        match task.step(draining, around) {
            After::Stays(doing) => task.doing = doing,
            After::Over => {
                self.tasks.remove(which);
            }
            After::HostDies => self.crash(around.monotonic + 5_000_000),
        }
    }
}

impl Task {
    fn step(&mut self, draining: bool, around: &mut Around<'_>) -> After {
        // A broken worker believes that what it once proved is still so.
        if around.monotonic >= self.until && around.store.broken != Broken::CheckedBefore {
            return After::Over;
        }
        let in_world =
            matches!(self.doing, Doing::Look(..) | Doing::StepEffect(..) | Doing::PairEffect(..) | Doing::CarryOut(_));
        if in_world {
            return self.acts(around);
        }
        if around.store.away {
            return After::Stays(self.doing);
        }
        let procedure = !matches!(self.doing, Doing::Undo | Doing::Outcome(..));
        if self.until - around.monotonic < LEASE.0 / 2 {
            match around.store.extend(self.run, &self.fence) {
                Err(_) => return After::Over,
                Ok(true) if procedure => return self.ends(AttemptEnd::Cancelled, around),
                Ok(_) => self.until = around.monotonic + LEASE.0,
            }
        }
        if draining && procedure && around.random.chance(100) {
            return self.ends(AttemptEnd::HandedBack, around);
        }
        let after = self.writes(around);
        // Where an answer is lost, the worker does not know, and lets the run go.
        if around.lossy && around.random.chance(10) { After::Over } else { after.unwrap_or(After::Over) }
    }

    fn ends(&self, how: AttemptEnd, around: &mut Around<'_>) -> After {
        let random = around.random.share();
        around.store.write(self.run, &self.fence, |run, now| run.attempt_ends(how, now, random));
        After::Over
    }

    /// A step in the world, which sees the fencing token.
    fn acts(&self, around: &mut Around<'_>) -> After {
        let job = &around.store.runs[self.run].job;
        if matches!(self.doing, Doing::CarryOut(_)) && job.undo_kills {
            return After::HostDies;
        }
        if !around.world.admits(self.run, self.fence.number.0) {
            return After::Over;
        }
        After::Stays(match self.doing {
            Doing::Look(op, step) if around.world.step_happened(self.run, step) => Doing::Complete(op, step),
            Doing::Look(op, step) => Doing::StepEffect(op, step),
            Doing::StepEffect(op, step) => {
                *around.world.steps.entry((self.run, step)).or_default() += 1;
                Doing::Complete(op, step)
            }
            Doing::PairEffect(op, entry) => {
                let recorded = around.store.broken != Broken::RecordedAfter;
                around.world.pairs.push(PairEffect { run: self.run, entry: recorded.then_some(entry), undone: 0 });
                if recorded { Doing::Op(op + 1) } else { Doing::PairRecord(op, around.world.pairs.len() - 1) }
            }
            Doing::CarryOut(entry) => {
                let well = around.store.runs[self.run].entries[entry].begun > job.undo_fails;
                if well {
                    around.world.undo(self.run, entry);
                }
                Doing::Outcome(entry, well)
            }
            doing => doing,
        })
    }

    /// A step in the store; nothing where it is refused.
    fn writes(&self, around: &mut Around<'_>) -> Option<After> {
        let registered = || Entry { state: CompensationState::Registered, begun: 0 };
        let recorded_after = around.store.broken == Broken::RecordedAfter;
        let next = match self.doing {
            Doing::Op(op) => match around.store.runs[self.run].job.ops.get(op) {
                None => return Some(self.finishes(around)),
                Some(&Op::Step(step)) => {
                    let answer = around.store.write(self.run, &self.fence, |run, _| {
                        let answer = begin(run.steps[step].as_ref(), run.attempt);
                        run.steps[step] = Some(begun(run.steps[step].take(), run.attempt));
                        answer
                    })?;
                    match answer {
                        StepBegin::Fresh => Doing::StepEffect(op, step),
                        StepBegin::InDoubt => Doing::Look(op, step),
                        StepBegin::Done(_) => Doing::Op(op + 1),
                        StepBegin::Busy => return None,
                    }
                }
                Some(Op::Pair) if recorded_after => Doing::PairEffect(op, usize::MAX),
                Some(Op::Pair) => Doing::PairEffect(
                    op,
                    around.store.write(self.run, &self.fence, |run, _| {
                        run.entries.push(registered());
                        run.entries.len() - 1
                    })?,
                ),
                Some(Op::Dismiss) => {
                    around.store.write(self.run, &self.fence, |run, _| {
                        if let Some(last) = run.entries.last_mut() {
                            last.state = CompensationState::Dismissed;
                        }
                    })?;
                    Doing::Op(op + 1)
                }
            },
            Doing::PairRecord(op, effect) => {
                let entry = around.store.write(self.run, &self.fence, |run, _| {
                    run.entries.push(registered());
                    run.entries.len() - 1
                })?;
                around.world.pairs[effect].entry = Some(entry);
                Doing::Op(op + 1)
            }
            Doing::Complete(op, step) => {
                around.store.write(self.run, &self.fence, |run, _| {
                    let completed = complete(run.steps[step].as_ref(), run.attempt, run.attempt.to_string());
                    run.steps[step] = Some(completed.unwrap());
                })?;
                Doing::Op(op + 1)
            }
            Doing::Undo => {
                let broken = around.store.broken;
                Doing::CarryOut(around.store.write(self.run, &self.fence, |run, _| run.begin_undo(broken)).flatten()?)
            }
            Doing::Outcome(entry, well) => {
                let goes_on =
                    around.store.write(self.run, &self.fence, |run, now| run.undo_outcome(entry, well, now))?;
                goes_on.then_some(Doing::Undo)?
            }
            doing => doing,
        };
        Some(After::Stays(next))
    }

    fn finishes(&self, around: &mut Around<'_>) -> After {
        let run = &around.store.runs[self.run];
        let how = match run.job.finish {
            Finish::Reports => AttemptEnd::Reported,
            Finish::LeavesDoubt => AttemptEnd::InDoubt,
            Finish::Fails(fault) => AttemptEnd::Failed(fault),
            Finish::FailsAtFirst(attempts) if run.attempt <= attempts => AttemptEnd::Failed(Fault::Retryable),
            Finish::FailsAtFirst(_) => AttemptEnd::Reported,
            Finish::KillsHost => return After::HostDies,
        };
        self.ends(how, around)
    }
}
