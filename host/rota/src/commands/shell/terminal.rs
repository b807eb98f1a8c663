//! The prompt.

use super::command::{self, Told, switch};
use super::complete::{Assist, Look, Names};
use super::editor::{Editor, Heard};
use super::session::{Asked, Ended, Fault, Session, State};
use super::show::Terminal;
use super::split::{Next, Piece, next};
use super::{Over, Signals, ending};
use crate::cli::ShellArgs;
use crate::output::{bold, dim, format, report, safe};
use rota_runs::EffectView;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Asks at the prompt.
struct AtPrompt<'e> {
    editor: &'e Editor,
    told_to_quit: &'e Notify,
    agreed: bool,
}

impl Asked for AtPrompt<'_> {
    fn agrees(&mut self, plan: &[EffectView]) -> anyhow::Result<bool> {
        if self.agreed {
            return Ok(true);
        }
        eprintln!("{}\n", report::effects_listed(plan));
        let what = if plan.len() == 1 { "this effect".to_owned() } else { format!("these {} effects", plan.len()) };
        Ok(self.editor.ask(&format!("run {what}?"), self.told_to_quit))
    }
}

/// Puts the terminal back as it was: whoever leaves while a line is read must.
struct Restored(Option<Termios>);

impl Restored {
    fn now() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// What happens while a line is waited for.
enum Event {
    Heard(Heard),
    Look(Look),
    Over(Over),
    Idle,
    Quit,
}

pub(super) async fn talk(
    mut session: Session,
    args: &ShellArgs,
    idle: Duration,
    mut signals: Signals,
) -> anyhow::Result<u8> {
    let _restored = Restored::now();
    let (assist, mut looks) = Assist::new();
    let editor = Editor::begin(session.host.state_dir().to_owned(), assist.clone())?;
    greet(&session);
    loop {
        tell(&assist, &session);
        let line = match line(&editor, &mut session, &mut looks, &signals, idle).await {
            Event::Heard(Heard::Line(line)) => line,
            Event::Heard(Heard::Interrupted) => continue,
            Event::Heard(Heard::Left) => break,
            Event::Heard(Heard::Failed(error)) => {
                let _ = session.end().await;
                anyhow::bail!("the terminal cannot be read: {error}");
            }
            Event::Over(over) => {
                session.leave().await;
                return left(over, "\nthe session was ended from elsewhere or by a limit");
            }
            Event::Idle => {
                let why = format!("\nnothing was typed for {}: the session ends", format::seconds(idle.as_secs_f64()));
                return left(session.cancel().await, &why);
            }
            Event::Quit => return left(session.cancel().await, "\nthe session ends"),
            // Answered where it is asked.
            Event::Look(_) => continue,
        };
        let mut text = line.as_str();
        while let Next::Piece(piece, length) = next(text, false) {
            text = &text[length..];
            let goes_on = match act(&mut session, &piece, args, &editor, &mut signals).await {
                Ok(goes_on) => goes_on,
                Err(Fault::Over(over)) => {
                    session.leave().await;
                    return left(over, "the session is over");
                }
                Err(Fault::Host(error)) => {
                    eprintln!("rota: {}", safe(&rota_telemetry::mask(&format!("{error:#}"))));
                    Goes::ToPrompt
                }
            };
            if signals.quits() {
                return left(session.cancel().await, "the session ends");
            }
            match goes_on {
                Goes::On => {}
                Goes::ToPrompt => break,
                Goes::Away => return left(session.end().await, ""),
            }
        }
        if line.to_ascii_lowercase().contains("create") || line.to_ascii_lowercase().contains("drop") {
            assist.forget();
        }
    }
    left(session.end().await, "")
}

/// What follows a piece.
enum Goes {
    /// The next one.
    On,
    /// The prompt: what stands behind a piece that failed is not run.
    ToPrompt,
    Away,
}

async fn act(
    session: &mut Session,
    piece: &Piece,
    args: &ShellArgs,
    editor: &Editor,
    signals: &mut Signals,
) -> Result<Goes, Fault> {
    if let Piece::Command(text) = piece {
        if let Some(("history", word)) = text.split_once(' ').or(Some((text.as_str(), ""))) {
            let keeps = switch(word.trim(), true, "history")?;
            editor.keep_history(keeps);
            eprintln!(
                "{}",
                dim(if keeps { "what is typed is kept" } else { "what is typed from here on is not kept" })
            );
            return Ok(Goes::On);
        }
        let told_to_quit: &Notify = &signals.told_to_quit;
        let mut question = |text: &str| editor.ask(text, told_to_quit);
        return Ok(match command::told(session, text, args, Some(&mut question)).await? {
            Told::Leave => Goes::Away,
            // Somebody is, here.
            Told::Unagreed(message, hint) => {
                eprintln!("{}", report::failure("denied", &message, Some(&hint)));
                Goes::ToPrompt
            }
            Told::Said(text) | Told::Object(text, _) => {
                crate::commands::print(&text)?;
                Goes::On
            }
        });
    }
    // An interruption of what was before is not about this; that the session is to end is.
    while signals.interrupts.try_recv().is_ok() {}
    if signals.quits() {
        return Ok(Goes::ToPrompt);
    }
    let mut asked = AtPrompt { editor, told_to_quit: &signals.told_to_quit, agreed: args.yes };
    let ended = session.run(piece, &mut Terminal, &mut asked, &mut signals.interrupts).await?;
    show(session, &ended)?;
    Ok(if matches!(ended.state, State::Done | State::Planned) { Goes::On } else { Goes::ToPrompt })
}

/// The next line; what is asked for meanwhile is answered.
async fn line(
    editor: &Editor,
    session: &mut Session,
    looks: &mut mpsc::UnboundedReceiver<Look>,
    signals: &Signals,
    idle: Duration,
) -> Event {
    let prompt = prompt(session);
    let mut read = std::pin::pin!(editor.read(&prompt));
    let mut idle = std::pin::pin!(tokio::time::sleep(idle));
    loop {
        let event = tokio::select! {
            biased;
            over = session.doing.ended() => Event::Over(over),
            heard = &mut read => Event::Heard(heard),
            () = signals.told_to_quit.notified() => Event::Quit,
            Some(look) = looks.recv() => Event::Look(look),
            () = &mut idle => Event::Idle,
        };
        let Event::Look((slot, tell)) = event else { return event };
        match session.names(&slot).await {
            Ok(said) => drop(tell.send(Names::of(&said))),
            Err(over) => return Event::Over(over),
        }
    }
}

/// `rota>`, with a star while a transaction is open, and what else matters.
fn prompt(session: &Session) -> String {
    let plan = if session.plan_only { " (plan)" } else { "" };
    let open = if session.transactions.is_empty() { "" } else { "*" };
    format!("rota{plan}{open}> ")
}

fn tell(assist: &Assist, session: &Session) {
    let more = |grant: &super::granted::Granted| {
        let declared = session.declared.iter().find(|slot| slot.name == grant.slot);
        let more = declared.map(|slot| slot.accesses.clone()).unwrap_or_default();
        (grant.slot.clone(), grant.capability.clone(), more)
    };
    assist.bound(session.grants.iter().map(more).collect(), &session.slot);
}

fn greet(session: &Session) {
    let bound: Vec<String> = session
        .grants
        .iter()
        .map(|grant| format!("{} = {} ({})", grant.slot, safe(&grant.binding), grant.accesses.join(", ")))
        .collect();
    let bound = if bound.is_empty() { "nothing is bound: --bind database=...".to_owned() } else { bound.join("; ") };
    eprintln!("{}  {}", bold("rota shell"), bound);
    eprintln!("{}", dim("SQL ends with ;  anything else is JavaScript  \\help  Ctrl-D leaves"));
}

fn show(session: &Session, ended: &Ended) -> anyhow::Result<()> {
    let text = |name: &str| ended.done[name].as_str().map(str::to_owned);
    match ended.state {
        State::Done => {
            if let Some(said) = text("said") {
                eprintln!("{}", dim(&safe(&said)));
            }
            if let Some(rows) = ended.done["rows"].as_u64() {
                let more = if ended.done["truncated"] == true { "the first " } else { "" };
                eprintln!("{}", dim(&format!("({more}{rows} {})", if rows == 1 { "row" } else { "rows" })));
            }
            if let Some(touched) = ended.done["touched"].as_u64() {
                eprintln!("{}", dim(&format!("({touched} {} touched)", if touched == 1 { "row" } else { "rows" })));
            }
        }
        State::Planned if ended.effects.is_empty() => eprintln!("{}", dim("it would change nothing")),
        State::Planned => {
            eprintln!(
                "{}\n{}",
                report::effects_listed(&ended.effects),
                dim("only planned: nothing was done (\\plan off)")
            );
        }
        State::Refused => eprintln!("{}", dim("nothing was done")),
        State::Interrupted => {
            let why = if ended.timed_out { "stopped: its time was over (--statement-timeout)" } else { "stopped" };
            let back = if ended.done["rolled_back"] == true { "; the open transaction was rolled back" } else { "" };
            eprintln!("{}", dim(&format!("{why}{back}")));
        }
        State::Failed => {
            let error = &ended.done["error"];
            let part = |name: &str| error[name].as_str().map(str::to_owned);
            let mut hint = part("hint");
            let message = part("message").unwrap_or_default();
            if error["kind"] == "denied"
                && let Some(grant) = flag(&message)
            {
                hint = Some(format!("\\grant {grant}"));
            }
            eprintln!("{}", report::failure(&part("kind").unwrap_or_default(), &message, hint.as_deref()));
            if ended.in_plan && !session.plan_only {
                eprintln!("{}", dim("(it was planned first: nothing was done)"));
            }
        }
    }
    if session.timing
        && let Some(seconds) = ended.done["seconds"].as_f64()
    {
        eprintln!("{}", dim(&format!("took {}", format::seconds(seconds))));
    }
    Ok(())
}

/// The grant that a denial names: `--grant database=read,write`.
fn flag(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("--grant ")?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_=,".contains(c))).unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches(','))
}

/// The end: how, and under what name it is on record.
fn left(over: Over, why: &str) -> anyhow::Result<u8> {
    if !why.is_empty() {
        eprintln!("{why}");
    }
    let view = (*over)?;
    eprintln!("{}", ending(&view));
    Ok(view.exit_status())
}

#[cfg(test)]
mod tests {
    use super::flag;

    #[test]
    fn a_denial_becomes_a_grant() {
        let message = "sql.execute needs `write` on slot `database` (binding `x`), which is granted `read`; give it with --grant database=read,write, or in the job: ...";
        assert_eq!(flag(message), Some("database=read,write"));
        assert_eq!(flag("no"), None);
    }
}
