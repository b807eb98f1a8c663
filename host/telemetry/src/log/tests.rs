use std::sync::Mutex;

use tracing::Dispatch;
use tracing::dispatcher::with_default;

use super::*;
use crate::Secret;

fn logged(format: LogFormat, filter: &str, act: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let lines = Arc::clone(&lines);
        move |line: &str| lines.lock().unwrap().push(line.to_owned())
    };
    with_default(&Dispatch::new(subscriber(format, filter, sink).unwrap()), act);
    let lines = lines.lock().unwrap();
    lines.clone()
}

const PLAIN: LogFormat = LogFormat::Human { colour: false };

/// A line without its time.
fn said(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

#[test]
fn a_line_says_time_level_place_spans_and_fields() {
    let lines = logged(PLAIN, "info", || {
        let _span = tracing::info_span!("run", id = 7).entered();
        tracing::info!(target: "rota_runs", table = "a b", "vacuumed");
    });
    assert_eq!(said(&lines[0]), "INFO  rota_runs: run{id=7}: vacuumed table=\"a b\"");
    assert!(chrono::DateTime::parse_from_rfc3339(lines[0].split(' ').next().unwrap()).is_ok());
}

#[test]
fn colour_is_ours_alone() {
    let lines = logged(LogFormat::Human { colour: true }, "", || tracing::warn!(target: "t", "a\u{1b}[31mb"));
    assert!(lines[0].contains("\u{1b}[33mWARN \u{1b}[0m t: a\\x1b[31mb"), "{:?}", lines[0]);
}

#[test]
fn json_is_one_object_a_line() {
    let lines = logged(LogFormat::Json, "info", || {
        let _span = tracing::info_span!("run", id = 7).entered();
        tracing::info!(target: "rota_runs", table = "a\nb\u{202e}", "vacuumed");
    });
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "rota_runs");
    assert_eq!(line["fields"], serde_json::json!({"message": "vacuumed", "table": "a\nb"}));
    assert_eq!(line["spans"], serde_json::json!([{"name": "run", "id": 7}]));
}

#[test]
fn no_secret_and_no_forged_line_gets_through() {
    let secret = Secret::new("c4nary \"of\" log");
    for format in [PLAIN, LogFormat::Json] {
        let lines = logged(format, "info", || {
            let _span = tracing::info_span!("connect", url = format!("postgres://u:{}@h", secret.expose())).entered();
            tracing::info!(password = secret.expose(), "with {}\n2026-11-23 ERROR forged", secret.expose());
            tracing::info!(debug = ?secret.expose(), secret = %secret);
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in lines {
            assert!(!line.contains("c4nary") && !line.contains("of\\\" log") && !line.contains('\n'), "{line}");
            assert!(line.contains("postgres://u:***@h"), "{line}");
        }
    }
}

fn shown(filter: &str) -> Vec<&'static str> {
    let lines = logged(PLAIN, filter, || {
        tracing::error!(target: "sqlx", "E sqlx");
        tracing::debug!(target: "sqlx", "D sqlx");
        tracing::warn!(target: "sqlx::query", "W slow statement: select 'private'");
        tracing::warn!(target: "hyper", "W hyper");
        tracing::warn!(target: "rota_runs", "W runs");
        tracing::debug!(target: "rota_runs", "D runs");
        tracing::debug!(target: "rota_store", "D store");
    });
    let all = ["E sqlx", "D sqlx", "W slow", "W hyper", "W runs", "D runs", "D store"];
    all.into_iter().filter(|text| lines.iter().any(|line| line.contains(text))).collect()
}

#[test]
fn statements_stay_out_of_the_log_unless_asked_for_by_name() {
    assert_eq!(shown(""), ["E sqlx", "W hyper", "W runs"]);
    assert_eq!(shown("trace"), ["E sqlx", "W hyper", "W runs", "D runs", "D store"]);
    assert_eq!(shown("sqlx=debug"), ["E sqlx", "D sqlx", "W hyper", "W runs"]);
    assert_eq!(shown("warn,sqlx::query=warn"), ["E sqlx", "W slow", "W hyper", "W runs"]);
    assert_eq!(shown("error, rota=debug"), ["E sqlx", "W runs", "D runs", "D store"]);
    assert_eq!(shown("warn,rota_runs=debug"), ["E sqlx", "W hyper", "W runs", "D runs"]);
    assert_eq!(shown("off"), Vec::<&str>::new());
}

#[test]
fn a_filter_that_cannot_be_read_says_why() {
    let message = |filter: &str| match subscriber(PLAIN, filter, |_| {}) {
        Ok(_) => panic!("{filter} was accepted"),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        message("debgu"),
        "the log filter \"debgu\" cannot be read: \"debgu\" is no level; the nearest is \"debug\"; \
         write for example ROTA_LOG=info or ROTA_LOG=warn,rota_runs=debug"
    );
    assert!(message("verbose").contains("the nearest is \"debug\""));
    assert!(message("warn,rota=loud").starts_with("the log filter \"warn,rota=loud\" cannot be read: "));
}
