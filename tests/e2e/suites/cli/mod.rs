//! The command line, as scripts and people use it.

mod bad_input;
mod bad_targets;
mod commands;
mod escapes;
mod exec;
mod exit_codes;
mod human;
mod interrupted;
mod replay;
pub(crate) mod schema;
mod shell;
mod streams;

use rota_tests::{Rota, Said, probe};
use serde_json::Value;

/// The probe with a behaviour and further arguments, which must end with a status; answers the object that it printed.
async fn probe(rota: &Rota, what: &str, parameters: Value, more: &[&str], status: i32) -> Value {
    let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
    arguments.extend(probe::arguments(what, &parameters));
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    let said = rota.run(&arguments).await.unwrap();
    assert_eq!(said.status, Some(status), "{what} {more:?}: {said:?}");
    schema::valid("answer", &said)
}

/// A command that is refused: its status, and each text in the error's message or hint.
async fn refused(rota: &Rota, arguments: &[&str], status: i32, texts: &[&str]) -> Value {
    let said = rota.run(arguments).await.unwrap();
    assert_eq!(said.status, Some(status), "{arguments:?}: {said:?}");
    let answer = schema::valid("answer", &said);
    says(&said, &answer, texts);
    answer
}

fn says(said: &Said, answer: &Value, texts: &[&str]) {
    let error = &answer["error"];
    let all = format!("{} {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or_default());
    for text in texts {
        assert!(all.contains(text), "it does not say `{text}`: {all}\n{said:?}");
    }
}
