//! A plan: the server's own of each statement, and every effect, listed by the host.

use crate::failure::Failure;
use crate::read::{Way, is_change, kind};
use crate::split::{Action, Copy, Statement};
use crate::tell::Told;
use crate::{Copied, Data, OnError, Ran, Transactions, What, Work, copy};
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, TransactionOptions};
use rota_sdk_sql::{Kind, show};

/// How long it is looked whether a query is let through as one, milliseconds.
const PROBE_MS: u32 = 2_000;

/// What a plan looks with.
struct Look {
    session: Session,
    /// Whether something before would have been done, on which what follows may depend.
    changed: bool,
    /// Objects that would have been written.
    written: Vec<String>,
    /// How many bytes of plans are shown yet.
    room: usize,
}

pub(crate) async fn plan(work: &Work<'_>, session: Session, mut told: Told) -> Outcome<Data> {
    let mut looking = work.cx.database().open().await?;
    looking.configure("statement_timeout", format!("{PROBE_MS}ms")).await?;
    looking.configure("lock_timeout", format!("{}ms", work.parameters.lock_timeout_ms)).await?;
    let mut look = Look { session: looking, changed: false, written: Vec::new(), room: work.room().bytes };
    let options = TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, lock_timeout: None };
    let transaction = match work.parameters.transaction {
        Transactions::One => Some(session.begin_shared(options).await?),
        Transactions::Each => None,
    };
    let mut lists = session;
    let mut first: Option<Failure> = None;
    for (number, step) in work.script.steps.iter().enumerate() {
        let mut ran = work.begin(number, step);
        let result = match &step.action {
            Action::Statement(statement) => {
                let way = transaction.as_ref().map_or(Way::Session(&lists), Way::Transaction);
                of_statement(work, &mut look, way, statement, &mut ran).await
            }
            Action::Echo(_) => Ok(()),
            Action::Copy(copy) => of_copy(work, &mut look, &mut lists, copy, &mut ran).await,
        };
        let Err(error) = result else {
            told.planned(ran);
            continue;
        };
        let failure = Failure::of(work, step, error);
        told.failed(ran, &failure);
        let stops = failure.ends_all() || work.parameters.on_error == OnError::Stop;
        first.get_or_insert(failure);
        if stops {
            break;
        }
    }
    let Some(failure) = first else {
        let how = match work.parameters.transaction {
            Transactions::One => "in one transaction",
            Transactions::Each => "each by itself",
        };
        let end = format!("{} would be run, {how}", told.count());
        return Ok(told.report(work, &end));
    };
    let text = format!("{}; a plan: nothing was run", failure.text);
    Err(failure.into_error(text).with_report(told.report(work, "it cannot be planned")))
}

async fn of_statement(
    work: &Work<'_>,
    look: &mut Look,
    way: Way<'_>,
    statement: &Statement,
    ran: &mut Ran,
) -> Result<()> {
    let text = statement.text(work.source.text, &work.names);
    ran.kind = kind(&text);
    if statement.begins(&["set"]) {
        // What follows is looked at as it would be run. A setting that may not be is told below.
        let set = look.session.query_shared(Sql::from_operator(text.clone()), Vec::new()).await;
        if let Ok(mut rows) = set {
            while rows.next_batch().await?.is_some() {}
        }
    }
    if ran.kind != What::Command && Kind::has_plan(&text) {
        match explain(look, &text, statement, ran).await {
            Err(error) if look.depends(&error) => ran.notices.push(not_yet(&error)),
            // It calls what only a run may: it is listed below.
            Err(error) if is_change(&error) => {}
            other => other?,
        }
    }
    if ran.kind == What::Query {
        match look.only_reads(&text, statement).await {
            Ok(true) => return Ok(()),
            Ok(false) => ran.kind = What::Change,
            Err(error) if look.depends(&error) => {
                if ran.notices.is_empty() {
                    ran.notices.push(not_yet(&error));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    way.execute(&text, &statement.values).await?;
    look.changed = true;
    Ok(())
}

async fn explain(look: &mut Look, text: &str, statement: &Statement, ran: &mut Ran) -> Result<()> {
    let explain = Sql::from_operator(format!("EXPLAIN {text}"));
    let mut rows = look.session.query_shared(explain, statement.values.clone()).await?;
    while let Some(batch) = rows.next_batch().await? {
        for line in batch.into_iter().flatten() {
            let line = show::json(&line).as_str().unwrap_or_default().to_owned();
            if line.len() + 24 <= look.room {
                look.room -= line.len() + 24;
                ran.plan.push(line);
            } else if ran.plan.last().is_none_or(|last| last != "...") {
                ran.plan.push("...".to_owned())
            }
        }
    }
    drop(rows);
    let explain = Sql::from_operator(format!("EXPLAIN (FORMAT JSON) {text}"));
    let plan: Json = look.session.query_one(explain, statement.values.clone()).await?;
    ran.expected_rows = show::expected_rows(&plan[0]["Plan"]);
    Ok(())
}

impl Look {
    /// Whether the host and the server let it through as one that only reads: it is begun in a READ ONLY transaction, and left at its first rows.
    async fn only_reads(&mut self, text: &str, statement: &Statement) -> Result<bool> {
        let begun = match self.session.query_shared(Sql::from_operator(text), statement.values.clone()).await {
            Ok(mut rows) => rows.next_batch().await.map(drop),
            Err(error) => Err(error),
        };
        match begun {
            Err(error) if is_change(&error) => Ok(false),
            // It reads, and takes long.
            Err(error) if error.is_timed_out() => Ok(true),
            other => other.map(|()| true),
        }
    }

    /// Whether it names what is not there, and something before would have changed what is.
    fn depends(&self, error: &Error) -> bool {
        // Undefined: table, column, function, object, schema; a column's type.
        self.changed && matches!(error.code(), Some("42P01" | "42703" | "42883" | "42704" | "3F000" | "42804"))
    }
}

fn not_yet(error: &Error) -> String {
    format!("no plan: it may depend on a statement before it, which a plan does not run ({error})")
}

async fn of_copy(work: &Work<'_>, look: &mut Look, lists: &mut Session, copied: &Copy, ran: &mut Ran) -> Result<()> {
    let bucket = copy::bucket(work)?;
    let mut object = Copied { name: copied.object.clone(), bytes: 0, sha256: String::new() };
    let text = copied.what.text(work.source.text, &work.names);
    if copied.out && text.starts_with('(') {
        match explain(look, &text, &copied.what, ran).await {
            Err(error) if look.depends(&error) => ran.notices.push(not_yet(&error)),
            // What it says of itself below is what counts.
            Err(error) if is_change(&error) => {}
            other => other?,
        }
    }
    if copied.out {
        // Begun, so that what the server refuses is told; the stream is dropped unread.
        let stored = match look.session.copy_out(copy::statement(work, copied)).await {
            Ok(rows) => Pipeline::from(rows).put(bucket, &copied.object, copy::options(work)).await.map(drop),
            Err(error) if error.is_timed_out() || look.depends(&error) => {
                if look.depends(&error) && ran.notices.is_empty() {
                    ran.notices.push(not_yet(&error));
                }
                bucket.put(&copied.object, Vec::<u8>::new(), copy::options(work)).await.map(drop)
            }
            Err(error) => Err(error),
        };
        stored?;
        look.written.push(copied.object.clone());
    } else {
        match bucket.stat(&copied.object).await? {
            Some(found) => object.bytes = found.size,
            None if look.written.contains(&copied.object) => {}
            None => return Err(Error::new(format!("there is no object {:?} in the bucket", copied.object))),
        }
        lists.copy_in(copy::statement(work, copied), Vec::<u8>::new()).await?;
    }
    ran.object = Some(object);
    look.changed = true;
    Ok(())
}
