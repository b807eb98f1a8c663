//! What is known of a recording so far, and what of it was given.

use super::{Ending, Made, STALL, STALL_AGAIN, Verdict, shown};
use crate::bounds::KEPT;
use crate::difference::{Difference, lines_of_call};
use crate::format::{Line, Written};
use crate::reading::{Reading, Said};
use rota_capability::tape::Asked;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The most recorded calls that are held because nobody has asked for them.
const UNMATCHED: usize = 10_000;
/// How far is looked for what a clock said, in lines.
const CLOCK_AHEAD: usize = 1_000;
/// How many calls are remembered for whoever wants to see them, and how many bytes of them.
const REMEMBERED: usize = 200;
const REMEMBERED_BYTES: usize = 64 << 20;
/// What is kept of a clock's word, bytes.
const CLOCK: usize = 8;
/// What is kept of a call beside its text, bytes.
const CALL: usize = 512;

/// A recorded answer.
pub(super) enum Answer {
    Value(Value),
    Error(Value),
}

/// Why something cannot be given yet.
pub(super) enum Waits {
    /// Something before it was not given yet.
    Turn(u64),
    /// As much is kept as may be: others have to take theirs first.
    Room,
    /// The recording does not say it.
    Never,
    /// The replay is over.
    Decided,
}

/// Something that a stream gave.
pub(super) enum Piece {
    Items(Vec<Value>),
    Bytes(String),
    Ended,
}

/// Something that is kept until it is given: when it was seen, and what it takes.
struct Kept<T> {
    saw: u64,
    weight: usize,
    what: T,
}

/// What is known of a recorded call.
struct Call {
    /// What it takes, without its answer, pieces and outcome.
    weight: usize,
    operation: String,
    on: Option<u64>,
    arguments: Value,
    now: bool,
    answer: Option<Kept<Answer>>,
    trapped: Option<String>,
    dropped: bool,
    pieces: VecDeque<Kept<Piece>>,
    outcome: Option<Kept<Answer>>,
    written: Option<Written>,
    /// The stream, and the future: whether the guest may still want something of them.
    wants_pieces: bool,
    wants_outcome: bool,
}

/// The state of a replay.
pub(super) struct State {
    reading: Option<Reading>,
    ending: Option<Ending>,
    calls: HashMap<u64, Call>,
    unmatched: VecDeque<u64>,
    /// What is kept of what was read ahead, in bytes of memory, about.
    kept: usize,
    /// Whether each thing that the guest saw was given, from the first that was not. Their numbers count from 0.
    given: VecDeque<bool>,
    first: u64,
    walls: VecDeque<u64>,
    monotonics: VecDeque<u64>,
    last_wall: u64,
    last_monotonic: u64,
    until: Option<u64>,
    made: u64,
    last_made: VecDeque<Made>,
    last: u64,
    moves: u64,
    passed_over: bool,
    verdict: Option<Verdict>,
}

impl State {
    pub(super) fn new(reading: Reading, until: Option<u64>) -> Self {
        Self {
            reading: Some(reading),
            ending: None,
            calls: HashMap::new(),
            unmatched: VecDeque::new(),
            kept: 0,
            given: VecDeque::new(),
            first: 0,
            walls: VecDeque::new(),
            monotonics: VecDeque::new(),
            last_wall: 0,
            last_monotonic: 0,
            until,
            made: 0,
            last_made: VecDeque::new(),
            last: 0,
            moves: 0,
            passed_over: false,
            verdict: None,
        }
    }

    /// Counts what happens: who waits and sees no other number has seen nothing happen.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    pub(super) fn stall(&self) -> Duration {
        if self.passed_over { STALL_AGAIN } else { STALL }
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn last_made(&self) -> Vec<Made> {
        self.last_made.iter().cloned().collect()
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdict.clone()
    }

    /// The replay is over; the first reason counts.
    pub(super) fn decide(&mut self, verdict: Verdict) {
        if self.verdict.is_none() {
            self.verdict = Some(verdict);
            self.moves += 1;
        }
    }

    // What is given, in order.

    /// One more thing that the guest saw; given already, where nobody wants it any more.
    fn saw(&mut self, given: bool) -> u64 {
        let number = self.first + self.given.len() as u64;
        self.given.push_back(given);
        if given {
            self.advance();
        }
        number
    }

    fn give(&mut self, number: u64) {
        if let Some(given) = number.checked_sub(self.first).and_then(|at| self.given.get_mut(usize::try_from(at).ok()?))
        {
            *given = true;
        }
        self.moves += 1;
        self.advance();
    }

    fn advance(&mut self) {
        while self.given.front() == Some(&true) {
            self.given.pop_front();
            self.first += 1;
        }
    }

    /// Whether it is the turn of something.
    fn turn(&self, number: u64) -> Result<(), Waits> {
        if number <= self.first { Ok(()) } else { Err(Waits::Turn(number)) }
    }

    /// Nothing has happened for long.
    pub(super) fn give_up_waiting(&mut self, waits: &Waits) {
        match waits {
            Waits::Turn(number) => {
                self.passed_over = true;
                while self.first < *number && self.given.pop_front().is_some() {
                    self.first += 1;
                }
                self.moves += 1;
                self.advance();
            }
            Waits::Room if self.is_full() => self.too_much(),
            Waits::Room => self.moves += 1,
            Waits::Never => {
                let ending = self.ending.clone().unwrap_or(Ending::Torn);
                self.decide(Verdict::Ends(self.last, ending));
            }
            Waits::Decided => {}
        }
    }

    // Reading on.

    /// Whether as much is kept as may be.
    fn is_full(&self) -> bool {
        self.kept >= KEPT || self.unmatched.len() >= UNMATCHED
    }

    /// How far it was read, and what that is too much of.
    fn room(&self) -> String {
        let at =
            self.reading.as_ref().map_or_else(|| "its end".to_owned(), |reading| format!("line {}", reading.at().1));
        format!(
            "up to {at}, {} calls that nobody has asked for yet, and {} MiB of calls, answers and streams that nobody has taken, are kept, and at most {UNMATCHED} and {} MiB may be",
            self.unmatched.len(),
            self.kept >> 20,
            KEPT >> 20
        )
    }

    /// What is kept may not be more, and is not taken.
    fn too_much(&mut self) {
        // So many calls that are not made say what another build does not do.
        if self.unmatched.len() >= UNMATCHED
            && let Some(verdict) = self.not_made(&format!(" ({})", self.room()))
        {
            return self.decide(verdict);
        }
        let place = self.reading.as_ref().map(|reading| format!(" {}", reading.at().0.display())).unwrap_or_default();
        let why = format!("the recording{place} cannot be replayed: {}", self.room());
        self.decide(Verdict::Unreadable(why));
    }

    /// Something that was kept is not any more.
    fn released(&mut self, weight: usize) {
        self.kept = self.kept.saturating_sub(weight);
    }

    /// Read a line, if there is room for one.
    fn load_if_room(&mut self) -> Result<bool, Waits> {
        if self.reading.is_some() && self.is_full() { Err(Waits::Room) } else { Ok(self.load()) }
    }

    /// Read a line; false at the end.
    fn load(&mut self) -> bool {
        let Some(reading) = &mut self.reading else { return false };
        match reading.next() {
            Ok(Said::Line(line, weight)) => {
                self.take(*line, weight);
                true
            }
            Ok(Said::End) => {
                self.reading = None;
                // One that is whole says how it ends; one that says nothing was not finished.
                self.ending.get_or_insert(Ending::Torn);
                false
            }
            Err(error) => {
                self.reading = None;
                self.decide(Verdict::Unreadable(error.to_string()));
                false
            }
        }
    }

    fn take(&mut self, line: Line, weight: usize) {
        if let Some(wall) = line.wall {
            self.kept += CLOCK;
            return self.walls.push_back(wall);
        }
        if let Some(monotonic) = line.monotonic {
            self.kept += CLOCK;
            return self.monotonics.push_back(monotonic);
        }
        if let Some(end) = line.end {
            self.ending = Some(Ending::Ended(end));
            return;
        }
        if let Some(bytes) = line.full {
            self.ending = Some(Ending::Full(bytes));
            return;
        }
        let Some(number) = line.call else { return };
        if let Some(operation) = line.ask {
            // A number is one call's.
            if self.calls.contains_key(&number) {
                return;
            }
            let weight = CALL.saturating_add(weight);
            self.kept = self.kept.saturating_add(weight);
            let gives = super::gives(&operation) != super::Gives::Nothing;
            let call = Call {
                weight,
                operation,
                on: line.on,
                arguments: line.arguments.unwrap_or_default(),
                now: line.now,
                answer: None,
                trapped: None,
                dropped: false,
                pieces: VecDeque::new(),
                outcome: None,
                written: None,
                wants_pieces: gives,
                wants_outcome: gives,
            };
            self.calls.insert(number, call);
            self.unmatched.push_back(number);
            return;
        }
        // What is no longer wanted is forgotten, and not waited for.
        let Some(call) = self.calls.get(&number) else { return };
        let (now, wants_pieces, wants_outcome) = (call.now, call.wants_pieces, call.wants_outcome);
        // What was said once is said.
        let answer = line.answer.map(Answer::Value).or(line.error.map(Answer::Error)).filter(|_| call.answer.is_none());
        let outcome =
            line.outcome.map(Answer::Value).or(line.failed.map(Answer::Error)).filter(|_| call.outcome.is_none());
        let piece =
            line.items.map(Piece::Items).or(line.bytes.map(Piece::Bytes)).or(line.ended.then_some(Piece::Ended));
        let saw = match (&answer, &piece, &outcome) {
            (Some(_), _, _) => Some(self.saw(now)),
            (_, Some(_), _) if wants_pieces => Some(self.saw(false)),
            (_, _, Some(_)) if wants_outcome => Some(self.saw(false)),
            _ => None,
        };
        let says_more = line.trapped.is_some() || line.written.is_some();
        let Some(call) = self.calls.get_mut(&number) else { return };
        if let Some(saw) = saw {
            if let Some(what) = answer {
                call.answer = Some(Kept { saw, weight, what });
            } else if let Some(what) = piece {
                call.pieces.push_back(Kept { saw, weight, what });
            } else if let Some(what) = outcome {
                call.outcome = Some(Kept { saw, weight, what });
            }
        } else if says_more {
            call.weight = call.weight.saturating_add(weight);
        }
        call.trapped = line.trapped.or(call.trapped.take());
        call.dropped |= line.dropped;
        call.written = line.written.or(call.written.take());
        if saw.is_some() || says_more {
            self.kept = self.kept.saturating_add(weight);
        }
    }

    // What is asked.

    /// The recorded call that is this one. None decides the replay.
    pub(super) fn asked(&mut self, asked: &Asked) -> Option<u64> {
        if self.verdict.is_some() {
            return None;
        }
        let number = self.matching(asked)?;
        if self.until.is_some_and(|until| number >= until) {
            self.decide(Verdict::Until(number));
            return None;
        }
        self.made += 1;
        self.moves += 1;
        self.last = self.last.max(number);
        self.matched(number);
        if self.until.is_some() {
            if self.last_made.len() == REMEMBERED {
                self.last_made.pop_front();
            }
            let shown = lines_of_call(asked.operation, asked.handle, &asked.arguments);
            self.last_made.push_back(Made { call: number, asked: shown, answered: None });
            self.forget_made();
        }
        Some(number)
    }

    /// With what a call was recorded is not needed any more once it is matched.
    fn matched(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.arguments = Value::Null;
        let before = std::mem::replace(&mut call.weight, CALL);
        self.released(before.saturating_sub(CALL));
    }

    /// Of large calls fewer are remembered.
    fn forget_made(&mut self) {
        let bytes = |made: &Made| made.asked.len() + made.answered.as_ref().map_or(0, String::len);
        let mut all: usize = self.last_made.iter().map(bytes).sum();
        while all > REMEMBERED_BYTES && self.last_made.len() > 1 {
            all -= self.last_made.pop_front().as_ref().map_or(0, bytes);
        }
    }

    fn matching(&mut self, asked: &Asked) -> Option<u64> {
        let mut at = 0;
        loop {
            while let Some(number) = self.unmatched.get(at) {
                let same = self.calls.get(number).is_some_and(|call| {
                    call.operation == asked.operation && call.on == asked.handle && call.arguments == asked.arguments
                });
                if same {
                    return self.unmatched.remove(at);
                }
                at += 1;
            }
            if self.is_full() || !self.load() {
                self.differs(asked);
                return None;
            }
        }
    }

    /// Nothing recorded is this call.
    fn differs(&mut self, asked: &Asked) {
        let replayed = lines_of_call(asked.operation, asked.handle, &asked.arguments);
        let looked = if self.reading.is_some() && self.is_full() {
            format!(" (looked for {})", self.room())
        } else {
            String::new()
        };
        // The nearest: the next one of the same import, or whatever comes next.
        let like = self.unmatched.iter().find(|number| {
            self.calls.get(number).is_some_and(|call| call.operation == asked.operation && call.on == asked.handle)
        });
        let next = like.or(self.unmatched.front()).and_then(|number| Some((*number, self.calls.get(number)?)));
        let verdict = match next {
            Some((number, call)) => Verdict::Differs(Difference {
                call: number,
                what: if call.operation == asked.operation {
                    format!("call {number} ({}) is made with something else{looked}", call.operation)
                } else {
                    format!("instead of call {number} ({}), {} is called{looked}", call.operation, asked.operation)
                },
                recorded: lines_of_call(&call.operation, call.on, &call.arguments),
                replayed,
            }),
            None => match self.ending.clone().unwrap_or(Ending::Torn) {
                Ending::Ended(end) if matches!(end.ended.as_str(), "reported" | "failed") => {
                    Verdict::Differs(Difference {
                        call: self.last,
                        what: format!("the recorded run made no call after call {}, and the replay goes on", self.last),
                        recorded: String::new(),
                        replayed,
                    })
                }
                ending => Verdict::Ends(self.last, ending),
            },
        };
        self.decide(verdict);
    }

    // What is answered.

    /// The answer of a call, once it is its turn.
    pub(super) fn answer(&mut self, number: u64) -> Result<Answer, Waits> {
        loop {
            if self.verdict.is_some() {
                return Err(Waits::Decided);
            }
            let call = self.calls.get_mut(&number).ok_or(Waits::Never)?;
            if let Some(Kept { saw, .. }) = &call.answer {
                let saw = *saw;
                self.turn(saw)?;
                let answer = self.calls.get_mut(&number).and_then(|call| call.answer.take());
                self.give(saw);
                let answer = answer.ok_or(Waits::Never)?;
                self.released(answer.weight);
                self.remember(number, &answer.what);
                return Ok(answer.what);
            }
            if let Some(said) = call.trapped.take() {
                self.decide(Verdict::Trapped(number, said));
                return Err(Waits::Decided);
            }
            if !self.load_if_room()? {
                return Err(self.ended());
            }
        }
    }

    /// The answer of an import that waits for nothing.
    pub(super) fn answer_now(&mut self, number: u64) -> Option<Answer> {
        loop {
            let call = self.calls.get_mut(&number)?;
            if let Some(answer) = call.answer.take() {
                self.released(answer.weight);
                self.remember(number, &answer.what);
                return Some(answer.what);
            }
            if let Some(said) = call.trapped.take() {
                self.decide(Verdict::Trapped(number, said));
                return None;
            }
            if self.reading.is_some() && self.is_full() {
                self.too_much();
                return None;
            }
            if !self.load() {
                let ending = self.ending.clone().unwrap_or(Ending::Torn);
                self.decide(Verdict::Ends(number, ending));
                return None;
            }
        }
    }

    fn remember(&mut self, number: u64, answer: &Answer) {
        if let Some(made) = self.last_made.iter_mut().rev().find(|made| made.call == number) {
            made.answered = Some(shown(answer));
            self.forget_made();
        }
    }

    /// The recording says no more, and somebody waits: if all that it says was given and asked for, the replay ends here.
    fn ended(&mut self) -> Waits {
        if self.verdict.is_some() {
            return Waits::Decided;
        }
        let over = self.given.is_empty() && self.unmatched.is_empty();
        match &self.ending {
            // The recorded guest went on from here by itself: so will this one.
            Some(Ending::Ended(end)) if !matches!(end.ended.as_str(), "timed-out" | "cancelled") => Waits::Never,
            Some(ending) if over => {
                let ending = ending.clone();
                self.decide(Verdict::Ends(self.last, ending));
                Waits::Decided
            }
            _ => Waits::Never,
        }
    }

    /// What a recorded call has read of a stream that the guest wrote.
    pub(super) fn written(&mut self, number: u64) -> Result<Option<Written>, Waits> {
        loop {
            let Some(call) = self.calls.get(&number) else { return Ok(None) };
            if call.written.is_some() || call.answer.is_some() || call.trapped.is_some() || call.dropped {
                return Ok(call.written.clone());
            }
            if !self.load_if_room()? {
                return Ok(None);
            }
        }
    }

    // Streams.

    /// The next piece of a stream, once it is its turn.
    pub(super) fn piece(&mut self, number: u64) -> Result<Piece, Waits> {
        loop {
            if self.verdict.is_some() {
                return Err(Waits::Decided);
            }
            let call = self.calls.get(&number).ok_or(Waits::Never)?;
            if let Some(Kept { saw, .. }) = call.pieces.front() {
                let saw = *saw;
                self.turn(saw)?;
                let piece = self.calls.get_mut(&number).and_then(|call| call.pieces.pop_front());
                self.give(saw);
                let piece = piece.ok_or(Waits::Never)?;
                self.released(piece.weight);
                return Ok(piece.what);
            }
            if !self.load_if_room()? {
                return Err(self.ended());
            }
        }
    }

    /// How a stream ended, once it is its turn.
    pub(super) fn outcome(&mut self, number: u64) -> Result<Answer, Waits> {
        loop {
            if self.verdict.is_some() {
                return Err(Waits::Decided);
            }
            let call = self.calls.get(&number).ok_or(Waits::Never)?;
            if let Some(Kept { saw, .. }) = &call.outcome {
                let saw = *saw;
                self.turn(saw)?;
                let outcome = self.calls.get_mut(&number).and_then(|call| call.outcome.take());
                self.give(saw);
                let outcome = outcome.ok_or(Waits::Never)?;
                self.released(outcome.weight);
                return Ok(outcome.what);
            }
            if !self.load_if_room()? {
                return Err(self.ended());
            }
        }
    }

    /// Nobody reads a stream any more.
    pub(super) fn unread(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.wants_pieces = false;
        let pieces: Vec<_> = call.pieces.drain(..).map(|piece| (piece.saw, piece.weight)).collect();
        self.let_go(pieces);
        self.forget_if_done(number);
    }

    /// Nobody waits for how a stream ended any more.
    pub(super) fn uninterested(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.wants_outcome = false;
        let outcome = call.outcome.take().map(|outcome| (outcome.saw, outcome.weight));
        self.let_go(outcome);
        self.forget_if_done(number);
    }

    /// What is no longer wanted counts as given.
    fn let_go(&mut self, kept: impl IntoIterator<Item = (u64, usize)>) {
        for (saw, weight) in kept {
            self.released(weight);
            self.give(saw);
        }
    }

    fn forget_if_done(&mut self, number: u64) {
        if self.calls.get(&number).is_some_and(|call| !call.wants_pieces && !call.wants_outcome) {
            self.forget(number);
        }
    }

    /// Nobody waits for a call's answer any more.
    pub(super) fn unwanted(&mut self, number: u64) {
        self.forget(number);
    }

    /// A call, and all that was said of it.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        self.released(call.weight);
        let of = |kept: Kept<Answer>| (kept.saw, kept.weight);
        let pieces = call.pieces.into_iter().map(|piece| (piece.saw, piece.weight));
        self.let_go(call.answer.map(of).into_iter().chain(call.outcome.map(of)).chain(pieces));
    }

    // Clocks.

    pub(super) fn wall(&mut self) -> u64 {
        self.last_wall = match self.read_clock(|state| &mut state.walls) {
            Some(wall) => wall,
            // More often than it was: time goes on a little.
            None => self.last_wall.saturating_add(1_000_000),
        };
        self.last_wall
    }

    pub(super) fn monotonic(&mut self) -> u64 {
        self.last_monotonic = match self.read_clock(|state| &mut state.monotonics) {
            Some(monotonic) => monotonic,
            None => self.last_monotonic.saturating_add(1_000_000),
        };
        self.last_monotonic
    }

    fn read_clock(&mut self, clock: impl Fn(&mut Self) -> &mut VecDeque<u64>) -> Option<u64> {
        for _ in 0..CLOCK_AHEAD {
            if let Some(read) = clock(self).pop_front() {
                self.released(CLOCK);
                return Some(read);
            }
            // What the guest asks for next makes room again; its clock does not wait for that.
            if self.is_full() || !self.load() {
                return None;
            }
        }
        None
    }

    // The end.

    /// Read what is left, for its end only.
    pub(super) fn read_to_its_end(&mut self) -> Ending {
        while let Some(Ok(said)) = self.reading.as_mut().map(Reading::next) {
            match said {
                Said::Line(line, _) => match (line.end, line.full) {
                    (Some(end), _) => self.ending = Some(Ending::Ended(end)),
                    (_, Some(bytes)) => self.ending = Some(Ending::Full(bytes)),
                    _ => {}
                },
                Said::End => break,
            }
        }
        self.ending.clone().unwrap_or(Ending::Torn)
    }

    /// The guest has ended: was there more?
    #[allow(clippy::result_large_err)] // Once a replay.
    pub(super) fn rest(&mut self) -> Result<Ending, Verdict> {
        if let Some(verdict) = &self.verdict {
            return Err(verdict.clone());
        }
        while self.unmatched.is_empty() {
            if self.reading.is_some() && self.is_full() {
                self.too_much();
            } else if self.load() {
                continue;
            }
            break;
        }
        if let Some(verdict) = &self.verdict {
            return Err(verdict.clone());
        }
        match self.not_made("") {
            Some(verdict) => Err(verdict),
            None => Ok(self.ending.clone().unwrap_or(Ending::Torn)),
        }
    }

    /// The first recorded call that nobody has made, and what else is to be said of that.
    fn not_made(&self, more: &str) -> Option<Verdict> {
        let number = *self.unmatched.front()?;
        let call = self.calls.get(&number)?;
        Some(Verdict::Differs(Difference {
            call: number,
            what: format!("call {number} ({}) is not made{more}", call.operation),
            recorded: lines_of_call(&call.operation, call.on, &call.arguments),
            replayed: String::new(),
        }))
    }
}
