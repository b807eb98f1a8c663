//! What a simulated procedure does: steps, effects with their compensations, and how it ends.

use crate::random::Random;
use rota_protocol::{Fault, RetryPolicy, Span, UndoPolicy};

pub(crate) const LEASE: Span = Span::seconds(10);
pub(crate) const UNDO: UndoPolicy = UndoPolicy { attempts: 3, backoff: Span::seconds(2), timeout: Span::seconds(60) };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A durable step of this number, with one effect that can be looked up.
    Step(usize),
    /// A compensation, and the effect that it undoes.
    Pair,
    /// The last registered compensation is not wanted any more.
    Dismiss,
}

/// How an attempt goes that comes to its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Reports,
    LeavesDoubt,
    Fails(Fault),
    /// The first attempts fail, then one reports.
    FailsAtFirst(u32),
    /// It takes its host down with it, each time.
    KillsHost,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub ops: Vec<Op>,
    pub finish: Finish,
    pub idempotent: bool,
    pub retry: RetryPolicy,
    /// How often each undo fails before it works.
    pub undo_fails: u32,
    /// Undoing takes the host down, each time.
    pub undo_kills: bool,
}

impl Job {
    pub(crate) const STEPS: usize = 3;

    pub(crate) fn random(random: &mut Random) -> Self {
        let mut ops = vec![];
        let mut step = 0;
        for _ in 0..random.below(6) {
            match random.below(5) {
                0 | 1 if step < Self::STEPS => {
                    ops.push(Op::Step(step));
                    step += 1;
                }
                4 => ops.push(Op::Dismiss),
                _ => ops.push(Op::Pair),
            }
        }
        let finish = match random.below(12) {
            0..=4 => Finish::Reports,
            5 => Finish::LeavesDoubt,
            6 | 7 => Finish::Fails(Fault::Lasting),
            8 => Finish::Fails(Fault::Retryable),
            9 | 10 => Finish::FailsAtFirst(1 + random.below(3) as u32),
            _ => Finish::KillsHost,
        };
        Self {
            ops,
            finish,
            idempotent: random.chance(600),
            retry: RetryPolicy { limit: random.below(4) as u32, backoff: Span::seconds(3), ..RetryPolicy::default() },
            undo_fails: [0, 0, 0, 0, 1, 2, 99][random.below(7)],
            undo_kills: random.chance(30),
        }
    }
}
