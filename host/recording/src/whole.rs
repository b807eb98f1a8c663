//! A recording as a list of calls, for whoever makes something else of it.

use crate::bounds::KEPT;
use crate::format::{Header, Line, Written};
use crate::player::Ending;
use crate::reading::{ReadError, Reading, Said};
use base64::Engine as _;
use serde_json::Value;
use std::collections::HashMap;

/// A recorded call with all that became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Its number.
    pub call: u64,
    /// The import.
    pub operation: String,
    /// The call that gave the resource on which it was made.
    pub on: Option<u64>,
    /// Whether the import waits for nothing.
    pub now: bool,
    /// Its arguments by name.
    pub arguments: Value,
    /// Its answer, or the error as the contract has it; none: it was never answered.
    pub answer: Option<Result<Value, Value>>,
    /// What the host said when it ended the run in this call.
    pub trapped: Option<String>,
    /// What its stream gave, batch by batch.
    pub items: Vec<Vec<Value>>,
    /// The same of a stream of bytes.
    pub bytes: Vec<u8>,
    /// Whether the guest saw the stream's end.
    pub ended: bool,
    /// Whether the stream went to another call.
    pub handed_on: bool,
    /// What its future said.
    pub outcome: Option<Result<Value, Value>>,
    /// What it read of a stream that the guest wrote.
    pub written: Option<Written>,
}

/// A recording that was read whole.
#[derive(Clone, Debug)]
pub struct Whole {
    /// What was run.
    pub header: Header,
    /// The calls, in the order in which they began.
    pub calls: Vec<Call>,
    /// Whether there were more than were to be read.
    pub cut: bool,
    /// How it ends; of one that was cut, `Torn`.
    pub ending: Ending,
}

impl Reading {
    /// Read all of it, at most so many calls.
    ///
    /// # Errors
    /// When it is damaged, or more than [`KEPT`].
    pub fn whole(mut self, most: usize) -> Result<Whole, ReadError> {
        let mut whole = Whole { header: self.header.clone(), calls: Vec::new(), cut: false, ending: Ending::Torn };
        let mut places: HashMap<u64, usize> = HashMap::new();
        let mut kept = 0_usize;
        while let Said::Line(line, weight) = self.next()? {
            let Line { call: number, ask, end, full, .. } = &*line;
            if let Some(end) = end {
                whole.ending = Ending::Ended(end.clone());
            } else if let Some(bytes) = full {
                whole.ending = Ending::Full(*bytes);
            }
            let Some(number) = *number else { continue };
            if ask.is_some() {
                if whole.calls.len() == most {
                    whole.cut = true;
                    return Ok(whole);
                }
                places.insert(number, whole.calls.len());
                whole.calls.push(Call { call: number, ..Call::default() });
            }
            if let Some(call) = places.get(&number).and_then(|at| whole.calls.get_mut(*at)) {
                kept = kept.saturating_add(weight);
                if kept > KEPT {
                    let (place, number) = self.at();
                    return Err(ReadError::TooMuch { place: place.to_owned(), number });
                }
                call.take(*line);
            }
        }
        Ok(whole)
    }
}

impl Call {
    fn take(&mut self, line: Line) {
        if let Some(operation) = line.ask {
            (self.operation, self.on, self.now) = (operation, line.on, line.now);
            self.arguments = line.arguments.unwrap_or_default();
        }
        self.answer = line.answer.map(Ok).or(line.error.map(Err)).or(self.answer.take());
        self.outcome = line.outcome.map(Ok).or(line.failed.map(Err)).or(self.outcome.take());
        self.trapped = line.trapped.or(self.trapped.take());
        self.written = line.written.or(self.written.take());
        self.items.extend(line.items);
        if let Some(bytes) = line.bytes.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok()) {
            self.bytes.extend(bytes);
        }
        self.ended |= line.ended;
        self.handed_on |= line.handed_on;
    }
}
