//! What went wrong, where, and what can be done about it.

use crate::lex::{Kind, Lexer};
use crate::split::{Action, Statement, Step};
use crate::{Failed, State, Work};
use rota_sdk::HostError;
use rota_sdk::prelude::*;

/// An error of a step, with its place.
pub(crate) struct Failure {
    pub(crate) told: Failed,
    /// `fix.sql:3:8: relation "x" does not exist (42P01)`
    pub(crate) text: String,
    pub(crate) advice: Option<String>,
    pub(crate) state: State,
    error: Error,
}

impl Failure {
    pub(crate) fn of(work: &Work<'_>, step: &Step, error: Error) -> Self {
        let statement = match &step.action {
            Action::Statement(statement) => statement,
            Action::Copy(copy) => &copy.what,
            Action::Echo(_) => &Statement::default(),
        };
        let said = words(&error.to_string(), work.source.text, statement);
        let at = locate(work.source.text, step, statement, &error.to_string()).unwrap_or(step.at.start);
        let place = work.source.place(at);
        let advice = advice(&error, statement).map(str::to_owned).or_else(|| error.hinted().map(str::to_owned));
        let told = Failed {
            message: said.clone(),
            code: error.code().map(str::to_owned),
            line: place.line,
            column: place.column,
            source: place.text,
        };
        let state = if is_unknown(&error) { State::Unknown } else { State::Failed };
        Self { text: format!("{}: {said}", work.source.told(at)), told, advice, state, error }
    }

    /// Whether nothing can follow it: the session is gone, or the run's own bounds are reached.
    pub(crate) fn ends_all(&self) -> bool {
        // Ended by an administrator or for idling: nothing of the statement lasts, and nothing more can be run.
        let ended = self.error.code().is_some_and(|code| code.starts_with("57P") || code == "25P03" || code == "25P04");
        let closed = matches!(self.error.cause(), Some(HostError::Quota(_))) || self.error.to_string().contains(CLOSED);
        is_unknown(&self.error) || ended || closed
    }

    /// As the run's error: what happened, and what it means for the rest.
    pub(crate) fn into_error(self, text: String) -> Error {
        let line = format!("line {}: {}", self.told.line, self.told.source);
        let hint = match &self.advice {
            Some(advice) => format!("{line}; {advice}"),
            None => line,
        };
        let error = match self.error.cause() {
            Some(cause) => Error::from(cause.clone()).saying(text),
            None => Error::new(text),
        };
        error.hint(hint)
    }
}

/// What the host says where the server ended the session for its time.
const CLOSED: &str = "the server closed the session";

/// Whether the server may have done it all the same: the connection broke, or the server crashed.
pub(crate) fn is_unknown(error: &Error) -> bool {
    let broke = error.code().is_some_and(|code| code == "57P02" || code.starts_with("08"));
    broke || error.is_cancelled() || matches!(error.cause(), Some(HostError::Unavailable(_)))
}

/// What was said, in the script's own words: variables as they are written, and no places in a text that nobody wrote.
fn words(said: &str, script: &str, statement: &Statement) -> String {
    // The line is shown; it is not said twice.
    let said = match said.strip_prefix("running `").and_then(|rest| rest.split_once("`: ")) {
        Some((_, said)) => said,
        None => said,
    };
    let mut said = match said.split_once(" (character ") {
        Some((before, after)) => match after.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{before}{rest}"),
            _ => said.to_owned(),
        },
        None => said.to_owned(),
    };
    // From the last, so that $1 is not found in $10.
    for (place, at) in statement.written.iter().enumerate().rev() {
        said = said.replace(&format!("${}", place + 1), &script[at.clone()]);
    }
    said
}

/// Where what a message names stands, if it stands once.
fn locate(script: &str, step: &Step, statement: &Statement, said: &str) -> Option<usize> {
    if said.contains("at end of input") {
        return Some(step.at.end);
    }
    let quoted = |text: &str| text.split_once('"').map(|(inside, _)| inside.to_owned());
    let parameter = |text: &str| text.split_whitespace().next().map(|number| format!("${number}"));
    let named = said
        .split_once(" at or near \"")
        .and_then(|(_, rest)| rest.rsplit_once('"').map(|(inside, _)| inside.to_owned()))
        .or_else(|| said.split_once('"').and_then(|(_, rest)| quoted(rest)))
        .or_else(|| said.split_once("parameter $").and_then(|(_, rest)| parameter(rest)))
        .or_else(|| {
            said.split_once("function ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name.to_owned())
        })
        .or_else(|| {
            said.split_once("column ").and_then(|(_, rest)| rest.split_once(' ')).map(|(name, _)| name.to_owned())
        })?;
    if let Some(number) = named.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()) {
        return Some(statement.written.get(number.checked_sub(1)?)?.start);
    }
    let text = &script[step.at.clone()];
    // Of a name with its schema or table, the last part.
    let last = named.rsplit('.').next().unwrap_or(&named);
    let mut found = Lexer::new(text).filter(|token| match token.kind {
        Kind::Word => token.text(text).eq_ignore_ascii_case(last),
        Kind::Name => token.text(text).trim_matches('"') == last,
        Kind::Blank => false,
        _ => token.text(text) == named || (token.kind == Kind::Text && token.text(text).trim_matches('\'') == named),
    });
    let first = found.next()?;
    found.next().is_none().then_some(step.at.start + first.at.start)
}

/// What can be done about it.
fn advice(error: &Error, statement: &Statement) -> Option<&'static str> {
    let said = error.to_string();
    let has_values = !statement.values.is_empty();
    match error.code() {
        Some("25001") => Some("-p transaction=each runs it outside of a transaction"),
        _ if said.contains("cannot run inside of a transaction") => {
            Some("-p transaction=each runs it outside of a transaction")
        }
        Some("42P02") if has_values => Some(NO_VALUES),
        _ if has_values && said.contains(" at or near \"$") => Some(NO_VALUES),
        Some("42883" | "42804" | "42846" | "42P18" | "42725") if has_values => {
            Some("a variable is sent with the type that it has: cast it, :name::int")
        }
        Some("55P03") => Some("postgres-locks says who holds the lock; -p lock_timeout_ms=... waits longer"),
        _ if statement.words.iter().any(|word| word == "concurrently") => Some(
            "what was built concurrently and failed leaves an invalid index: postgres-index-advice lists it, DROP INDEX removes it",
        ),
        _ => None,
    }
}

const NO_VALUES: &str = "a value can stand in SELECT, INSERT, UPDATE, DELETE, MERGE and VALUES only; elsewhere write it out, or :\"name\" where it is a name";
