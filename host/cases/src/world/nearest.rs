//! A call that no answer fits, in words: what was asked, what comes nearest, and what would have fitted.

use super::ask::{Ask, Misfit, fits, payload, plainly};
use crate::compare::glob::plain;
use crate::format::Answer;
use serde_json::Value;
use std::fmt::Write as _;

/// How many of the nearest answers are shown.
const NEAREST: usize = 3;
/// The most of a statement that is shown.
const LONGEST: usize = 1_500;

/// Say it.
pub(crate) fn explain(answers: &[Answer], given: &[u64], ask: &Ask) -> String {
    let slot = ask.slot.as_ref().map(|slot| format!(" on `{slot}`")).unwrap_or_default();
    let mut text = format!("no answer fits call {}: {}{slot}", ask.number, ask.operation);
    let statement = ask.text("statement");
    if statement.is_empty() {
        let mut arguments = plainly(&Value::Object(ask.arguments.clone()));
        if let Some(map) = arguments.as_object_mut() {
            map.remove("slot");
        }
        if arguments.as_object().is_some_and(|map| !map.is_empty()) {
            let _ = write!(text, "\n    {}", shortened(&arguments.to_string()));
        }
    } else {
        let _ = write!(text, "\n    {}", shortened(&plain(&statement)));
        let parameters = parameters(ask);
        if !parameters.is_empty() {
            let _ = write!(text, "\n    with {}", shortened(&Value::Array(parameters).to_string()));
        }
    }
    let near = near(answers, given, ask, &statement);
    if !near.is_empty() {
        text.push_str("\n  nearest:");
    }
    for (answer, misfit) in near {
        let _ = write!(text, "\n    {}: {}\n      {}", answer.place, shortened(&answer.about()), why(&misfit, ask));
    }
    let _ = write!(text, "\n  this would have fitted:\n{}", indented(&fitting(ask, &statement)));
    text
}

fn parameters(ask: &Ask) -> Vec<Value> {
    ask.arguments.get("parameters").and_then(Value::as_array).into_iter().flatten().map(payload).collect()
}

fn near<'a>(answers: &'a [Answer], given: &[u64], ask: &Ask, statement: &str) -> Vec<(&'a Answer, Misfit)> {
    let mut all: Vec<(f64, &Answer, Misfit)> = Vec::new();
    for (answer, given) in answers.iter().zip(given) {
        let misfit = match fits(answer, ask) {
            Ok(()) if *given >= answer.times() => Misfit::UsedUp,
            Ok(()) => continue,
            Err(misfit) => misfit,
        };
        let likeness = match &misfit {
            Misfit::UsedUp => 1.0,
            Misfit::Parameters(_) | Misfit::Arguments(_) => 0.95,
            Misfit::Slot => 0.6,
            Misfit::Statement => {
                let pattern = answer.query.as_ref().or(answer.execute.as_ref()).or(answer.copy.as_ref());
                pattern.map_or(0.0, |pattern| alike(pattern, statement))
            }
            // The same statement under another name.
            Misfit::Operation => {
                let pattern = answer.query.as_ref().or(answer.execute.as_ref()).or(answer.copy.as_ref());
                pattern.filter(|_| !statement.is_empty()).map_or(0.0, |pattern| alike(pattern, statement) * 0.9)
            }
        };
        if likeness > 0.35 {
            all.push((likeness, answer, misfit));
        }
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(NEAREST).map(|(_, answer, misfit)| (answer, misfit)).collect()
}

/// How alike a pattern and a statement are, by their words.
fn alike(pattern: &str, statement: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let split = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
        split.filter(|word| !word.is_empty()).map(str::to_lowercase).take(400).collect()
    };
    let (wanted, there) = (words(pattern), words(statement));
    if wanted.is_empty() || there.is_empty() {
        return 0.0;
    }
    let met = wanted.iter().filter(|word| there.contains(word)).count();
    #[allow(clippy::cast_precision_loss, reason = "a share of few")]
    let share = met as f64 / wanted.len() as f64;
    share
}

fn why(misfit: &Misfit, ask: &Ask) -> String {
    match misfit {
        Misfit::UsedUp => "was given already, as often as it may be; `repeat = true` gives it each time".into(),
        Misfit::Operation => format!("is about another operation than {}", ask.operation),
        Misfit::Slot => format!("is about another slot than `{}`", ask.slot()),
        Misfit::Statement => {
            "its pattern does not fit the statement (`*` stands for anything, white space and case do not count)".into()
        }
        Misfit::Parameters(given) => format!("the parameters are {}", shortened(&given.to_string())),
        Misfit::Arguments(differs) => format!("the arguments differ: {differs}"),
    }
}

/// An answer that would have fitted, as it is written.
fn fitting(ask: &Ask, statement: &str) -> String {
    let mut text = String::from("[[case.answers]]\n");
    if let Some(slot) = &ask.slot {
        let _ = writeln!(text, "slot = {slot:?}");
    }
    match ask.operation.as_str() {
        "sql.query" => {
            let _ = writeln!(text, "query = {:?}", begins(statement));
            text.push_str("columns = [\"NAME:TYPE\"]\nrows = []");
        }
        "sql.execute" => {
            let _ = write!(text, "execute = {:?}\naffected = 1", begins(statement));
        }
        "sql.copy-out" => {
            let _ = write!(text, "copy = {:?}\ntext = \"\"", begins(statement));
        }
        operation => {
            let _ = write!(text, "call = {operation:?}\nvalue = ...  # or items, text, error");
        }
    }
    text
}

/// The beginning of a statement as a pattern.
fn begins(statement: &str) -> String {
    const SHOWN: usize = 60;
    let plain = plain(statement);
    if plain.len() <= SHOWN { plain } else { format!("{}*", &plain[..plain.floor_char_boundary(SHOWN)]) }
}

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST { text.to_owned() } else { format!("{} ...", &text[..text.floor_char_boundary(LONGEST)]) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
