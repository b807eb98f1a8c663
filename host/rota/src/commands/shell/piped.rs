//! Statements from a pipe: one after the other, nobody to ask.

use super::command::{self, Told};
use super::session::{Asked, Ended, Fault, Session, State};
use super::show::{Kept, Terminal, masked};
use super::split::{Next, Piece, next};
use super::{Over, Signals};
use crate::cli::ShellArgs;
use crate::commands::{Printing, print_json};
use crate::output::{report, safe};
use crate::settings::UsageError;
use rota_runs::EffectView;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

/// What a denial ends with, and what nobody agreed to.
const DENIED: u8 = 3;
/// How long a statement may be.
const LONGEST: usize = 4 << 20;

/// Agreed beforehand, or not at all.
struct Beforehand(bool);

impl Asked for Beforehand {
    fn agrees(&mut self, _: &[EffectView]) -> anyhow::Result<bool> {
        Ok(self.0)
    }
}

/// Where statements are read from.
struct Input {
    from: BufReader<tokio::io::Stdin>,
    text: String,
    is_over: bool,
}

impl Input {
    /// The next statement; none at the end.
    async fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        loop {
            match next(&self.text, true) {
                Next::Piece(piece, length) => {
                    self.text.drain(..length);
                    return Ok(Some(piece));
                }
                Next::Nothing => self.text.clear(),
                Next::Unfinished => {}
            }
            if self.is_over {
                let left = std::mem::take(&mut self.text);
                if left.trim().is_empty() {
                    return Ok(None);
                }
                let first = left.trim().lines().next().unwrap_or_default().to_owned();
                anyhow::bail!(UsageError::new(format!(
                    "the last statement does not end: `{}`; SQL ends with a semicolon, and JavaScript when its brackets and strings are closed",
                    safe(&first)
                )));
            }
            let mut line = String::new();
            let read = (&mut self.from).take(LONGEST as u64).read_line(&mut line).await;
            let read =
                read.map_err(|error| UsageError::new(format!("the statements cannot be read as text: {error}")))?;
            self.is_over = read == 0;
            self.text.push_str(&line);
            if self.text.len() > LONGEST {
                anyhow::bail!(UsageError::new(format!("a statement is longer than {} MiB", LONGEST >> 20)));
            }
        }
    }
}

pub(super) async fn talk(
    mut session: Session,
    args: &ShellArgs,
    idle: Duration,
    mut signals: Signals,
    printing: Printing,
) -> anyhow::Result<u8> {
    match statements(&mut session, args, idle, &mut signals, printing).await {
        Ok(End::Over(over)) => {
            session.leave().await;
            super::finished(over, printing)
        }
        Ok(End::Cancelled) => super::finished(session.cancel().await, printing),
        Ok(End::Read(status)) => {
            let ended = super::finished(session.end().await, printing)?;
            Ok(if status == 0 { ended } else { status })
        }
        // Whoever reads the answers may be gone: the session ends all the same, and is on record so.
        Err(error) => {
            let _ = session.end().await;
            Err(error)
        }
    }
}

/// Why no more statements are read.
enum End {
    /// The session is over.
    Over(Over),
    /// It is to end as a signal has it.
    Cancelled,
    /// All were read, or one that failed: the status of the first that did.
    Read(u8),
}

async fn statements(
    session: &mut Session,
    args: &ShellArgs,
    idle: Duration,
    signals: &mut Signals,
    printing: Printing,
) -> anyhow::Result<End> {
    let mut input = Input { from: BufReader::new(tokio::io::stdin()), text: String::new(), is_over: false };
    let mut status = 0;
    let mut number = 0_u64;
    loop {
        let piece = tokio::select! {
            biased;
            over = session.doing.ended() => return Ok(End::Over(over)),
            () = signals.told_to_quit.notified() => return Ok(End::Cancelled),
            _ = signals.interrupts.recv() => return Ok(End::Cancelled),
            () = tokio::time::sleep(idle) => return Ok(End::Cancelled),
            piece = input.next() => piece?,
        };
        let Some(piece) = piece else { return Ok(End::Read(status)) };
        if let Piece::Command(text) = &piece {
            match command::told(session, text, args, None).await {
                Ok(Told::Leave) => return Ok(End::Read(status)),
                Ok(Told::Said(text)) if printing.human() => crate::commands::print(&text)?,
                Ok(Told::Said(_)) => {}
                Ok(Told::Object(human, _)) if printing.human() => crate::commands::print(&human)?,
                Ok(Told::Object(_, object)) => print_json(&object)?,
                Ok(Told::Unagreed(message, hint)) => {
                    if printing.human() {
                        eprintln!("{}", report::failure("denied", &message, Some(&hint)));
                    } else {
                        let error = json!({ "kind": "denied", "message": message, "hint": hint });
                        print_json(&json!({ "run": session.doing.id, "error": error }))?;
                    }
                    if status == 0 {
                        status = DENIED;
                    }
                    if !args.keep_going {
                        return Ok(End::Read(status));
                    }
                }
                Err(Fault::Over(over)) => return Ok(End::Over(over)),
                Err(Fault::Host(error)) => return Err(error),
            }
            continue;
        }
        number += 1;
        let mut asked = Beforehand(args.yes);
        let mut kept = Kept::default();
        let ran = if printing.human() {
            session.run(&piece, &mut Terminal, &mut asked, &mut signals.interrupts).await
        } else {
            session.run(&piece, &mut kept, &mut asked, &mut signals.interrupts).await
        };
        let ended = match ran {
            Ok(ended) => ended,
            Err(Fault::Over(over)) => return Ok(End::Over(over)),
            Err(Fault::Host(error)) => return Err(error),
        };
        if printing.human() {
            say(&ended);
        } else {
            print_json(&object(&session.doing.id, number, &piece, &ended, kept))?;
        }
        if status == 0 {
            status = status_of(&ended);
        }
        if signals.quits() || ended.state == State::Interrupted && !ended.timed_out {
            return Ok(End::Cancelled);
        }
        if !matches!(ended.state, State::Done | State::Planned) && !args.keep_going {
            return Ok(End::Read(status));
        }
    }
}

fn status_of(ended: &Ended) -> u8 {
    match ended.state {
        State::Done | State::Planned => 0,
        State::Refused => DENIED,
        State::Interrupted if ended.timed_out => 124,
        State::Interrupted => 130,
        State::Failed if ended.done["error"]["kind"] == "denied" => DENIED,
        State::Failed => 1,
    }
}

/// What a statement that was not done is told to say.
fn error_of(ended: &Ended) -> Option<Value> {
    let error = &ended.done["error"];
    match ended.state {
        State::Done | State::Planned => None,
        State::Refused => {
            let what = match ended.effects.len() {
                1 => "this effect".to_owned(),
                effects => format!("these {effects} effects"),
            };
            Some(json!({
                "kind": "denied",
                "message": format!("nothing was done: the statement would have {what}, and nobody agreed to it"),
                "hint": "give --yes (what is done is held to the plan), or --plan to only look",
            }))
        }
        State::Interrupted if ended.timed_out => Some(json!({
            "kind": "timed-out",
            "message": "the statement was stopped: its time was over",
            "hint": "--statement-timeout gives it more",
        })),
        State::Interrupted => {
            Some(json!({ "kind": "cancelled", "message": "the statement was stopped", "hint": null }))
        }
        State::Failed => Some(masked(
            &json!({ "kind": error["kind"], "message": error["message"], "hint": error["hint"], "code": error["code"] }),
        )),
    }
}

fn object(run: &str, number: u64, piece: &Piece, ended: &Ended, kept: Kept) -> Value {
    let text = match piece {
        Piece::Js(text) | Piece::Sql(text) | Piece::Command(text) => text,
    };
    let mut object = json!({
        "run": run,
        "statement": number,
        "text": rota_telemetry::mask(text),
        "state": ended.state.word(),
        "rows": ended.done["rows"],
        "touched": ended.done["touched"],
        "seconds": ended.done["seconds"],
        "effects": ended.effects,
        "error": error_of(ended),
    });
    kept.into(&mut object);
    object
}

/// For people: only what went wrong, and what would have been done.
fn say(ended: &Ended) {
    if matches!(ended.state, State::Planned | State::Refused) && !ended.effects.is_empty() {
        eprintln!("{}", report::effects_listed(&ended.effects));
    }
    if let Some(error) = error_of(ended) {
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        let hint = text("hint");
        eprintln!(
            "{}",
            report::failure(&text("kind").unwrap_or_default(), &text("message").unwrap_or_default(), hint.as_deref())
        );
        if ended.in_plan && ended.state == State::Failed {
            eprintln!("(it was planned first: nothing was done)");
        }
    }
}
