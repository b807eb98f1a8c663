//! Running a script.

use crate::failure::Failure;
use crate::read::{Room, Way};
use crate::split::{Action, Step};
use crate::tell::Told;
use crate::{Data, OnError, Ran, State, What, Work, copy, read};
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, TransactionOptions};
use rota_sdk::{HostError, Timestamp};

/// How many bytes of rows are shown of all statements: they are in the report twice, as a table and as data.
const ROOM: usize = 1 << 20;

impl Work<'_> {
    pub(crate) fn room(&self) -> Room {
        Room { rows: self.parameters.rows as usize, bytes: ROOM }
    }

    /// The record of a step that begins.
    pub(crate) fn begin(&self, number: usize, step: &Step) -> Ran {
        let (kind, text) = match &step.action {
            Action::Statement(_) => (What::Command, self.source.shown(&step.at)),
            Action::Copy(_) => (What::Copy, self.source.shown(&step.at)),
            Action::Echo(said) => (What::Echo, said.clone()),
        };
        let line = self.source.place(step.at.start).line;
        Ran { number: number as u64 + 1, line, kind, text, ..Ran::default() }
    }

    fn seconds(&self, since: Timestamp) -> f64 {
        self.cx.now().seconds_since(since).max(0.0)
    }

    pub(crate) fn progress(&self, number: usize, ran: &Ran) {
        progress(number as u64, Some(self.script.steps.len() as u64), "statements", format!("line {}", ran.line));
    }
}

pub(crate) fn notices(session: &Session) -> Vec<String> {
    session.notices().into_iter().map(|notice| format!("{}: {}", notice.severity, notice.message)).collect()
}

/// All in one transaction: the first error takes everything back.
pub(crate) async fn in_one(work: &Work<'_>, session: Session, mut told: Told) -> Outcome<Data> {
    let options = TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, lock_timeout: None };
    let transaction = session.begin_shared(options).await?;
    let mut room = work.room();
    for (number, step) in work.script.steps.iter().enumerate() {
        let mut ran = work.begin(number, step);
        work.progress(number, &ran);
        let began = work.cx.now();
        let result = match &step.action {
            Action::Statement(statement) => {
                let text = statement.text(work.source.text, &work.names);
                read::statement(Way::Transaction(&transaction), &text, statement, &mut room, &mut ran).await
            }
            Action::Echo(_) => Ok(()),
            Action::Copy(_) => Err(Error::new("\\copy cannot be a part of a transaction")),
        };
        ran.seconds = work.seconds(began);
        ran.notices = notices(&session);
        let Err(error) = result else {
            told.ran(ran, step);
            continue;
        };
        let mut failure = Failure::of(work, step, error);
        // Without a commit, nothing lasts, whatever became of the connection.
        failure.state = State::Failed;
        let _ = transaction.rollback().await;
        told.rolled_back();
        let (before, all) = (number, work.script.steps.len());
        let with = match before {
            0 => String::new(),
            1 => ", the one before it too".to_owned(),
            more => format!(", the {more} before it too"),
        };
        let text = format!(
            "{}; statement {} of {all}, in one transaction: rolled back{with}, nothing is changed",
            failure.text,
            number + 1
        );
        told.failed(ran, &failure);
        return Err(failure.into_error(text).with_report(told.report(work, "rolled back, nothing is changed")));
    }
    if let Err(error) = transaction.commit().await {
        let unknown = error.is_cancelled() || matches!(error.cause(), Some(HostError::Unavailable(_)));
        let (state, end) = match unknown {
            true => (State::Unknown, "the connection broke at the commit: whether anything is changed is not known"),
            false => (State::RolledBack, "the commit was refused: rolled back, nothing is changed"),
        };
        told.all(state);
        let text = format!("{}: {end}: {error}", work.source.name);
        let error = match error.cause() {
            Some(cause) => Error::from(cause.clone()).saying(text),
            None => Error::new(text),
        };
        return Err(error.with_report(told.report(work, end)));
    }
    let end = format!("{}, in one transaction, committed", told.count());
    Ok(told.report(work, &end))
}

/// Each by itself: what was done lasts.
pub(crate) async fn one_by_one(work: &Work<'_>, mut session: Session, mut told: Told) -> Outcome<Data> {
    let mut room = work.room();
    let mut first: Option<Failure> = None;
    let mut reached = 0;
    for (number, step) in work.script.steps.iter().enumerate() {
        let mut ran = work.begin(number, step);
        work.progress(number, &ran);
        let began = work.cx.now();
        let result = match &step.action {
            Action::Statement(statement) => {
                let text = statement.text(work.source.text, &work.names);
                read::statement(Way::Session(&session), &text, statement, &mut room, &mut ran).await
            }
            Action::Echo(_) => Ok(()),
            Action::Copy(copy) => copy::copy(work, &mut session, copy, &mut ran).await,
        };
        reached = number + 1;
        ran.seconds = work.seconds(began);
        ran.notices = notices(&session);
        let Err(error) = result else {
            told.ran(ran, step);
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
    let all = work.script.steps.len();
    let Some(failure) = first else {
        let end = format!("{}, each by itself", told.count());
        return Ok(told.report(work, &end));
    };
    let left = all - reached;
    let not_run = if left == 0 { String::new() } else { format!("; {left} were not run") };
    let lasts = match told.done {
        0 => "none was done".to_owned(),
        done => format!("the {done} that were done last"),
    };
    let unknown = match failure.state {
        State::Unknown => "; whether this one was done is not known",
        _ => "",
    };
    let (end, text) = match told.failed {
        1 => (
            format!("1 of {all} statements failed; {lasts}{not_run}"),
            format!("{}; 1 of {all} statements{unknown}; each by itself: {lasts}{not_run}", failure.text),
        ),
        failed => (
            format!("{failed} of {all} statements failed; {lasts}{not_run}"),
            format!(
                "{failed} of {all} statements failed, the first: {}{unknown}; each by itself: {lasts}{not_run}",
                failure.text
            ),
        ),
    };
    Err(failure.into_error(text).with_report(told.report(work, &end)))
}
