//! PostgreSQL's own parser (crate `pg_query`), on a thread of its own.
//!
//! Why a thread:
//! - *Stack.* The C parser recurses and measures the room it has by the pthread's stack. A host call may run on a
//!   fiber's stack, for which that measure is wrong, so that a long chain of operators could overflow it.
//! - *Memory.* At most one parse tree exists at a time, whatever the number of runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;

use pg_query::protobuf::ParseResult;

use crate::refusal::Refusal;

/// PostgreSQL's own limit inside is 2 MB; decoding takes the same again at most.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The longest message of the parser that is passed on: it may quote the statement to its end.
const MAX_MESSAGE_CHARACTERS: usize = 200;

type Job = Box<dyn FnOnce() + Send>;

static PARSER: OnceLock<Option<Sender<Job>>> = OnceLock::new();

/// Parses the statement and lets `judge` look at the tree, both on the parser's thread.
pub(crate) fn parse<T: Send + 'static>(
    statement: &str,
    judge: impl FnOnce(&ParseResult) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let statement = statement.to_owned();
    let work = move || parse_here(&statement).and_then(|tree| judge(&tree));
    let (answer, answered) = sync_channel(1);
    let job: Job = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(failed("it panicked")));
        // The other side waits below; it cannot have gone.
        let _ = answer.send(result);
    });
    PARSER
        .get_or_init(start)
        .as_ref()
        .and_then(|parser| parser.send(job).ok())
        .and_then(|()| answered.recv().ok())
        .unwrap_or_else(|| Err(failed("its thread could not be started")))
}

fn start() -> Option<Sender<Job>> {
    let (sender, jobs) = channel::<Job>();
    let thread = thread::Builder::new().name("sql-parser".into()).stack_size(STACK_BYTES);
    thread.spawn(move || jobs.into_iter().for_each(|job| job())).ok().map(|_| sender)
}

fn parse_here(statement: &str) -> Result<ParseResult, Refusal> {
    match pg_query::parse(statement, 0) {
        Ok(result) => Ok(result.protobuf),
        Err(pg_query::Error::Parse(message)) => Err(refusal(statement, &message)),
        // The decoder follows 100 nested messages.
        Err(pg_query::Error::Decode(error)) if error.to_string().contains("recursion limit") => Err(Refusal::TooDeep),
        Err(error) => Err(failed(&error.to_string())),
    }
}

fn refusal(statement: &str, message: &str) -> Refusal {
    if message.starts_with("stack depth limit exceeded")
        || message.contains("nested too deeply")
        || message.starts_with("memory exhausted")
    {
        return Refusal::TooDeep;
    }
    let position = position(statement, message);
    let mut short: String = message.chars().take(MAX_MESSAGE_CHARACTERS).collect();
    if short.len() < message.len() {
        short.push_str(" ...");
    }
    Refusal::Syntax { message: short, position }
}

/// The 1-based character at which `... at or near "token"` is, if that text occurs only once.
fn position(statement: &str, message: &str) -> Option<usize> {
    if message.ends_with("at end of input") {
        return Some(statement.trim_end().chars().count() + 1);
    }
    let token = message.rsplit_once(" at or near \"")?.1.strip_suffix('"')?;
    let mut places = statement.match_indices(token);
    let (at, _) = places.next()?;
    places.next().is_none().then(|| statement[..at].chars().count() + 1)
}

fn failed(message: &str) -> Refusal {
    Refusal::ParserFailed { message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gives_the_place() {
        let near = |statement, message| position(statement, message);
        assert_eq!(near("SELEC 1", "syntax error at or near \"SELEC\""), Some(1));
        assert_eq!(near("SELECT é FORM t", "syntax error at or near \"t\""), Some(15));
        assert_eq!(near("SELECT 1 1", "syntax error at or near \"1\""), None);
        assert_eq!(near("SELECT 1 + ", "syntax error at end of input"), Some(11));
        assert_eq!(near("SELECT 'a", "unterminated quoted string at or near \"'a\""), Some(8));
    }

    #[test]
    fn a_panic_does_not_end_the_thread() {
        let panicked = parse("SELECT 1", |_| -> Result<(), Refusal> { panic!("on purpose") });
        assert!(matches!(panicked, Err(Refusal::ParserFailed { .. })));
        assert_eq!(parse("SELECT 1", |tree| Ok(tree.stmts.len())), Ok(1));
    }
}
