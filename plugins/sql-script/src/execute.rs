//! Running a script.

use crate::failure::{Failure, is_unknown};
use crate::place::one_line;
use crate::read::{Room, Way};
use crate::split::{Action, Step};
use crate::tell::Told;
use crate::{Data, OnError, Ran, State, What, Work, copy, read};
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, TransactionOptions};

/// How many bytes of rows and plans are shown of all statements, as JSON. They are in the report twice, once of them as JSON within JSON: four times as many
/// at worst, which with the rest is below what a report may have.
const ROOM: usize = 512 << 10;
/// How many notices of a statement are shown.
const NOTICES: usize = 20;

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
    let said = session.notices();
    let shown = said.iter().take(NOTICES);
    let mut shown: Vec<String> =
        shown.map(|notice| format!("{}: {}", notice.severity, one_line(&notice.message))).collect();
    if said.len() > NOTICES {
        shown.push(format!("and {} more", said.len() - NOTICES));
    }
    shown
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
        let unknown = is_unknown(&error) || error.code() == Some("57P01");
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
    let mut first: Option<(usize, Failure)> = None;
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
        first.get_or_insert((number + 1, failure));
        if stops {
            break;
        }
    }
    let all = work.script.steps.len();
    let Some((number, failure)) = first else {
        let end = format!("{}, each by itself", told.count());
        return Ok(told.report(work, &end));
    };
    let not_run = match all - reached {
        0 => String::new(),
        1 => ", 1 was not run".to_owned(),
        left => format!(", {left} were not run"),
    };
    let lasts = match told.done {
        0 => "nothing else was done".to_owned(),
        1 => "the one that was done lasts".to_owned(),
        done => format!("the {done} that were done last"),
    };
    let unknown = match failure.state {
        State::Unknown => " (whether this one was done is not known)",
        _ => "",
    };
    let text = match told.failed {
        1 => format!("{}; statement {number} of {all}{unknown}, each by itself: {lasts}{not_run}", failure.text),
        failed => format!(
            "{failed} of {all} statements failed, each by itself: {lasts}{not_run}; the first: {}{unknown}",
            failure.text
        ),
    };
    let end = format!("{} of {all} statements failed, {lasts}{not_run}", told.failed);
    Err(failure.into_error(text).with_report(told.report(work, &end)))
}
