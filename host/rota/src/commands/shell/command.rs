//! What begins with a backslash.

use super::save;
use super::session::{Fault, Session};
use crate::cli::ShellArgs;
use crate::output::{bold, dim, report, safe, table};
use crate::settings::UsageError;
use serde_json::{Value, json};

/// What a command leads to.
pub(super) enum Told {
    /// Say this.
    Said(String),
    /// Show this: for people, for programs.
    Object(String, Value),
    /// Nobody is there to agree to it: what was not done, and what to give instead.
    Unagreed(String, String),
    /// Leave.
    Leave,
}

/// Names of commands, with what follows them and what they do.
pub(super) const COMMANDS: [(&str, &str, &str); 11] = [
    ("help", "", "this"),
    ("quit", "", "leave (or Ctrl-D); what is registered to be undone stays done"),
    ("plan", "on|off", "on: only list what statements would do"),
    ("grant", "SLOT=ACCESS,...", "grant more for what follows"),
    ("slots", "", "what is bound, and what may be done there"),
    ("use", "SLOT", "the slot that SQL runs on"),
    ("effects", "", "what this session did"),
    ("save", "NAME [FOLDER]", "make a plugin of what worked"),
    ("timing", "on|off", "say how long statements take"),
    ("history", "on|off", "off: keep none of what is typed from here on"),
    ("run", "", "the run that this session is on record as"),
];

/// Asks a question, where somebody is there.
pub(super) type Question<'q> = Option<&'q mut (dyn FnMut(&str) -> bool + Send)>;

/// Do what it says.
///
/// # Errors
/// When it is not understood or cannot be done, or the session is over.
pub(super) async fn told(
    session: &mut Session,
    text: &str,
    args: &ShellArgs,
    question: Question<'_>,
) -> Result<Told, Fault> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim().trim_end_matches(';').trim_end();
    match name {
        "help" | "?" | "h" => Ok(Told::Said(help())),
        "quit" | "q" | "exit" => Ok(Told::Leave),
        "plan" => {
            session.plan_only = switch(rest, session.plan_only, "plan")?;
            let said = match session.plan_only {
                true => "statements are only planned: nothing is done",
                false => "statements are done",
            };
            Ok(Told::Said(dim(said)))
        }
        "timing" => {
            session.timing = switch(rest, session.timing, "timing")?;
            Ok(Told::Said(dim(if session.timing { "timing is on" } else { "timing is off" })))
        }
        "slots" => Ok(slots(session)),
        "use" => {
            let slot = session.grants.iter().find(|grant| grant.slot == rest && grant.capability == "sql");
            let Some(slot) = slot else {
                let known: Vec<&str> = session
                    .grants
                    .iter()
                    .filter(|grant| grant.capability == "sql")
                    .map(|grant| grant.slot.as_str())
                    .collect();
                return Err(usage(format!(
                    "no database is bound to a slot `{}` (bound: {})",
                    safe(rest),
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                )));
            };
            session.slot = slot.slot.clone();
            Ok(Told::Said(dim(&format!("SQL runs on the slot {}", session.slot))))
        }
        "grant" => grant(session, rest, args, question).await,
        "effects" => {
            let view = session.record().await?;
            let human = match view.effects.is_empty() {
                true => dim("nothing was done to anything yet"),
                false => report::effects(&view),
            };
            Ok(Told::Object(human, json!({ "run": view.id, "effects": view.effects })))
        }
        "run" => {
            let id = &session.doing.id;
            Ok(Told::Object(format!("{id} (rota runs show {id})"), json!({ "run": id })))
        }
        "save" => {
            let saved = save::save(session, rest)?;
            Ok(Told::Object(saved.human, saved.object))
        }
        "history" => Err(usage("a pipe has no history".into())),
        other => {
            let names = COMMANDS.iter().map(|(name, ..)| *name);
            let near = names
                .map(|name| (strsim::jaro_winkler(name, other), name))
                .filter(|(likeness, _)| *likeness > 0.7)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let near = near.map(|(_, name)| format!("; did you mean \\{name}?")).unwrap_or_default();
            Err(usage(format!("there is no command \\{}{near} (\\help lists them)", safe(other))))
        }
    }
}

/// On or off; without a word the other way round.
pub(super) fn switch(word: &str, now: bool, name: &str) -> Result<bool, Fault> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        "" => Ok(!now),
        other => Err(usage(format!("\\{name} takes on or off, not `{}`", safe(other)))),
    }
}

pub(super) fn usage(text: String) -> Fault {
    Fault::Host(UsageError::new(text).into())
}

fn help() -> String {
    let rows: Vec<String> = COMMANDS
        .iter()
        .map(|(name, takes, does)| {
            let command = format!("\\{name} {takes}");
            format!(
                "  {}{}{does}",
                bold(command.trim_end()),
                " ".repeat(26_usize.saturating_sub(command.trim_end().len()))
            )
        })
        .collect();
    format!(
        "{}\n\n  A line that begins with a word of SQL and ends with ; is run on a database. Everything else is JavaScript:\n  \
         db.query(...), cache.get(...), bucket.list(), cluster.list(\"Pod\"), print, table, step, compensate (docs/procedures/script.md).\n  \
         What would change something is planned first, and asked for. Ctrl-C stops a statement and keeps the session.",
        rows.join("\n")
    )
}

fn slots(session: &Session) -> Told {
    let rows: Vec<Vec<String>> = session
        .declared
        .iter()
        .map(|slot| {
            let grant = session.grants.iter().find(|grant| grant.slot == slot.name);
            let more: Vec<&str> = slot
                .accesses
                .iter()
                .filter(|access| grant.is_some_and(|grant| !grant.accesses.contains(access)))
                .map(String::as_str)
                .collect();
            vec![
                slot.name.clone(),
                slot.capability.clone(),
                grant.map_or_else(|| "-".to_owned(), |grant| safe(&grant.binding)),
                grant.map_or_else(String::new, |grant| grant.accesses.join(", ")),
                more.join(", "),
            ]
        })
        .collect();
    let human = table::plain(&["slot", "capability", "binding", "granted", "could be granted"], &rows);
    let each = |grant: &super::granted::Granted| json!({ "slot": grant.slot, "capability": grant.capability, "binding": grant.binding, "access": grant.accesses });
    Told::Object(human, json!({ "slots": session.grants.iter().map(each).collect::<Vec<_>>() }))
}

async fn grant(session: &mut Session, text: &str, args: &ShellArgs, question: Question<'_>) -> Result<Told, Fault> {
    let more = session.grantable(text).await?;
    let Some((slot, accesses)) = more.first() else {
        return Ok(Told::Said(dim("that is granted already")));
    };
    let binding = session.grants.iter().find(|grant| grant.slot == *slot).map(|grant| grant.binding.clone());
    let words = accesses.join(" + ");
    // It was agreed to while less was granted, and what is granted now is there for it as well.
    let registered = session.record().await?.compensations.into_iter().filter(|it| it.status == "registered");
    let registered: Vec<String> = registered.map(|it| format!("`{}`", safe(&it.name))).collect();
    let undoing = match registered.len() {
        0 => String::new(),
        _ => format!(", and for {}, which was registered before to undo what was done", registered.join(", ")),
    };
    let asks = format!(
        "grant {words} on {slot} ({}) for the rest of this session{undoing}?",
        safe(&binding.unwrap_or_default())
    );
    let agreed = match question {
        _ if args.yes => true,
        Some(ask) => ask(&asks),
        None => {
            let known = session.grants.iter().find(|grant| grant.slot == *slot);
            let all: Vec<&str> =
                known.into_iter().flat_map(|grant| &grant.accesses).chain(accesses).map(String::as_str).collect();
            return Ok(Told::Unagreed(
                format!("nothing was granted: {words} on {slot} has to be agreed to, and nobody is there to do it"),
                format!("give --yes, or --grant {slot}={} when the shell is begun", all.join(",")),
            ));
        }
    };
    if !agreed {
        return Ok(Told::Said(dim("nothing was granted")));
    }
    session.grant(&more).await?;
    Ok(Told::Said(dim(&format!("granted: {words} on {slot}"))))
}
