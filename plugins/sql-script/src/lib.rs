//! A file of SQL of the operator's: statement by statement, its variables bound, in one transaction or each its own.

mod copy;
mod execute;
mod failure;
mod lex;
mod place;
mod plan;
mod read;
mod split;
mod tell;
#[cfg(test)]
mod tests;
mod variables;

use place::Source;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use split::{Action, Script};
use std::collections::BTreeMap;
use variables::Variables;

procedure! {
    name: "sql-script",
    summary: "Runs a file of SQL of yours, its variables bound, in one transaction or each its own, under what is granted.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: false,
    slots: {
        database: sql [read, write, maintain, index, ddl, copy-out, copy-in] "Runs the statements, and EXPLAINs them in a plan.",
        bucket: storage [read, write] optional "Takes what `\\copy ... to` writes, and has what `\\copy ... from` reads.",
    },
    examples: [
        "Look things up" => json!({ "script": "select count(*) from orders;\nselect id from orders where customer = :customer;", "variables": { "customer": 42 } }),
        "Mend rows, all or none" => json!({ "script": "update orders set status = 'open' where status = 'opne';\ninsert into mended values (now());" }),
        "Refresh statistics, each by itself" => json!({ "script": "analyze orders;\nanalyze customers;", "transaction": "each", "on_error": "continue" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to run, and how.
#[parameters]
pub struct Parameters {
    /// The script: statements of SQL that end with semicolons, and \set, \echo, \copy.
    script: String,
    /// What it is called in messages: a file's name.
    #[parameter(default = "script.sql".to_owned())]
    name: String,
    /// What the script's variables stand for: texts, numbers, booleans, null, lists of one sort.
    #[parameter(default)]
    variables: BTreeMap<String, Json>,
    /// `one` transaction for all of it, or `each` statement its own.
    #[parameter(default = Transactions::One)]
    transaction: Transactions,
    /// What an error does to the statements behind it. `continue` needs `each`.
    #[parameter(default = OnError::Stop)]
    on_error: OnError,
    /// Show so many rows of each query at most.
    #[parameter(default = 100, range = 0..=10_000)]
    rows: u32,
    /// Let \copy replace an object that is there.
    #[parameter(default)]
    replace: bool,
    /// Wait at most so long for a lock, in milliseconds.
    #[parameter(default = 5_000, range = 1..=3_600_000)]
    lock_timeout_ms: u32,
}

/// How statements are held together.
#[parameters]
pub enum Transactions {
    /// All in one: an error takes all of it back.
    One,
    /// Each by itself: what was done lasts.
    Each,
}

/// What follows an error.
#[parameters]
pub enum OnError {
    /// Nothing more is run.
    Stop,
    /// The rest is run, and the run fails at its end.
    Continue,
}

/// What came of it.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// How many statements and commands the script has (\set aside).
    steps: u64,
    /// How many of them were done, and are not taken back.
    done: u64,
    /// How many failed.
    failed: u64,
    /// How many rows were changed, of what lasts.
    changed: u64,
    /// What became of each: the first 1,000, and those that failed.
    results: Vec<Ran>,
}

/// What became of a statement or a command.
#[data]
#[derive(Default)]
pub struct Ran {
    /// Its number, from 1.
    number: u64,
    /// Its line, from 1.
    line: u64,
    /// What it is: `query`, `change` (of rows), `command`, `copy`, `echo`.
    kind: What,
    /// Its text on one line, cut where it is long; of an echo what it says.
    text: String,
    /// What became of it.
    state: State,
    /// The columns of a query.
    columns: Vec<Column>,
    /// Its rows, a list of values each, as many as `rows` allows.
    rows: Vec<Vec<Json>>,
    /// Whether there were more rows.
    truncated: bool,
    /// How many rows a change touched, or a copy stored.
    touched: Option<u64>,
    /// How long it took, in seconds.
    seconds: f64,
    /// What the server said besides.
    notices: Vec<String>,
    /// The server's plan, a line each, in a plan.
    plan: Vec<String>,
    /// How many rows the server expects to be read or changed, in a plan.
    expected_rows: Option<f64>,
    /// The object of a copy.
    object: Option<Copied>,
    /// Why it failed.
    error: Option<Failed>,
}

/// What sort of step it was.
#[data]
#[derive(Default)]
pub enum What {
    /// It answers rows and only reads.
    #[default]
    Query,
    /// It changes rows.
    Change,
    /// Everything else.
    Command,
    /// `\copy`
    Copy,
    /// `\echo`
    Echo,
}

/// What became of a step.
#[data]
#[derive(Default)]
pub enum State {
    /// It was done; what it changed lasts.
    #[default]
    Done,
    /// It failed, and nothing of it lasts (a command outside of a transaction may leave something, as PostgreSQL says of it).
    Failed,
    /// Whether it was done is not known: the connection broke.
    Unknown,
    /// It was done and taken back with its transaction.
    RolledBack,
    /// It would be run.
    Planned,
}

/// A column of an answer.
#[data]
pub struct Column {
    /// Its name.
    name: String,
    /// The server's name of its type.
    type_name: String,
}

/// An object that was written or read.
#[data]
pub struct Copied {
    /// Its name in the bucket.
    name: String,
    /// Its size in bytes.
    bytes: u64,
    /// Its SHA-256; empty in a plan.
    sha256: String,
}

/// Why a step failed.
#[data]
pub struct Failed {
    /// What the server or the host said.
    message: String,
    /// The SQLSTATE, where the server said one.
    code: Option<String>,
    /// The line, from 1.
    line: u64,
    /// The column, from 1: of what the message names, where it stands once in the statement, otherwise of the statement.
    column: u64,
    /// The line itself.
    source: String,
}

/// What a run works with.
struct Work<'w> {
    cx: &'w Context,
    parameters: &'w Parameters,
    source: Source<'w>,
    script: &'w Script,
    /// The names that the server quoted.
    names: Vec<Quoted>,
    server: Server,
    bucket: Option<Bucket>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let source = Source { name: &parameters.name, text: &parameters.script };
    let script = split::split(source, Variables::given(&parameters.variables)?)?;
    check(&cx, &parameters, source, &script)?;
    for name in parameters.variables.keys().filter(|name| !script.used.contains(*name)) {
        rota_sdk::warn!("the script has no :{name}, for which a value was given: is it misspelt?");
    }
    // What is looked up about the server narrows its session's search_path; the script gets one of its own.
    let server = Server::inspect(&mut cx.database().open().await?).await?;
    let mut session = cx.database().open().await?;
    session.configure("lock_timeout", format!("{}ms", parameters.lock_timeout_ms)).await?;
    let names = match script.names.is_empty() {
        true => Vec::new(),
        false => session.quote_names(&script.names).await?,
    };
    let copies = script.steps.iter().any(|step| matches!(step.action, Action::Copy(_)));
    let bucket = match cx.bucket() {
        Some(slot) if copies => Some(slot.open().await?),
        _ => None,
    };
    let work = Work { cx: &cx, parameters: &parameters, source, script: &script, names, server, bucket };
    let told = tell::Told::new(script.steps.len() as u64);
    match (cx.is_plan(), parameters.transaction) {
        (true, _) => plan::plan(&work, session, told).await,
        (false, Transactions::One) => execute::in_one(&work, session, told).await,
        (false, Transactions::Each) => execute::one_by_one(&work, session, told).await,
    }
}

/// What cannot be run as it is wanted, before anything is.
fn check(cx: &Context, parameters: &Parameters, source: Source<'_>, script: &Script) -> Result<()> {
    if script.steps.is_empty() {
        return Err(Error::new(format!("{}: there is no statement in it", parameters.name)));
    }
    if parameters.transaction == Transactions::One && parameters.on_error == OnError::Continue {
        return Err(Error::new("on_error=continue: an error ends a transaction, so that in one nothing can follow it")
            .hint("-p transaction=each, or leave on_error out"));
    }
    let copy = script.steps.iter().find(|step| matches!(step.action, Action::Copy(_)));
    let Some(copy) = copy else { return Ok(()) };
    if parameters.transaction == Transactions::One {
        let error = Error::new("\\copy cannot be a part of a transaction");
        return Err(split::at(source, copy.at.start, error.hint("-p transaction=each")));
    }
    if cx.bucket().is_none() {
        let error = Error::new("\\copy needs the slot `bucket`");
        return Err(split::at(source, copy.at.start, error.hint("--bind bucket=... --grant bucket=read,write")));
    }
    Ok(())
}
