//! Configurations as operators write them, and what they are told about those that are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_bindings;
mod bad_input;
mod caches;
mod chains;
mod difference;
mod environment;
mod example;
mod fuzz;
mod jobs;
mod schedules;
mod server;
mod sources;
mod streams;
mod teams;
mod trust;

use rota_config::{Config, Problem, Source};

/// The configuration of a text.
fn config(text: &str) -> Config {
    match Config::load(&Source::empty().with_text("rota.toml", text)) {
        Ok(config) => config,
        Err(error) => panic!("{}", rota_config::render(error.problems(), false)),
    }
}

/// What a user is told about a text, line by line.
fn errors(text: &str) -> Vec<String> {
    match Config::load(&Source::empty().with_text("rota.toml", text)) {
        Ok(config) => panic!("accepted, with {:?}", lines(config.warnings())),
        Err(error) => lines(error.problems()),
    }
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_line).collect()
}

/// That a text has exactly this one error.
#[track_caller]
fn refused(text: &str, line: &str) {
    assert_eq!(errors(text), [line], "of {text}");
}
