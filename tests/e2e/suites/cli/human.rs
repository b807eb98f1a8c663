//! What people read.

use crate::rota;
use rota_testbed::Postgres;
use rota_tests::{Rota, Said, probe};
use serde_json::{Value, json};

async fn said(rota: &Rota, what: &str, parameters: &Value, more: &[&str]) -> Said {
    let mut arguments = vec!["run".to_owned(), probe::path().display().to_string(), "--output".into(), "human".into()];
    arguments.extend(probe::arguments(what, parameters));
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    rota.run(&arguments).await.unwrap()
}

#[tokio::test]
async fn a_run_begins_with_how_it_ended() {
    let said = said(&rota(), "nothing", &json!({}), &[]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let first = said.stdout.lines().next().unwrap();
    assert!(first.starts_with("probe 0.1.0: succeeded in ") && first.contains("  run 0"), "{first}");
    assert!(said.stdout.contains("\nok done\n"), "{}", said.stdout);
    assert!(!said.all().contains('\u{1b}'), "no colour where nobody sees it");
}

#[tokio::test]
async fn an_error_says_its_kind_what_happened_and_what_to_do() {
    let rota = rota();
    let call = json!({ "call": { "import": "sql.session.query" }, "fail": true });
    let said = said(&rota, "call", &call, &[]).await;
    assert_eq!(said.status, Some(3), "{said:?}");
    assert!(said.stdout.starts_with("probe 0.1.0: denied in "), "{}", said.stdout);
    assert!(
        said.stdout.contains("\ndenied: ") && said.stdout.contains("\n  -> add --bind database=..."),
        "{}",
        said.stdout
    );
}

#[tokio::test]
async fn usage_errors_are_one_line_on_stderr() {
    let said = rota().run(&["run", "postgres-helth", "--output", "human"]).await.unwrap();
    assert_eq!((said.status, said.stdout.as_str()), (Some(2), ""));
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    assert!(
        said.stderr.starts_with("rota: there is no plugin or job `postgres-helth`; did you mean `postgres-health`?")
    );
}

#[tokio::test]
async fn a_plan_is_a_table_of_effects() {
    let rota = rota();
    std::fs::create_dir(rota.path("bucket")).unwrap();
    let bind = format!("bucket=file://{}", rota.path("bucket").display());
    let call = json!({ "call": { "import": "storage.bucket.put", "size": 3000 } });
    let said = said(&rota, "call", &call, &["--bind", &bind, "--grant", "declared", "--plan"]).await;
    assert!(said.stdout.starts_with("probe 0.1.0 plan: succeeded in "), "{}", said.stdout);
    let lines: Vec<&str> = said.stdout.lines().skip_while(|line| !line.contains("Would have these effects")).collect();
    let heading: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(heading, ["#", "operation", "target", "detail", "outcome"]);
    assert!(
        lines[2].contains("storage.put") && lines[2].contains("bucket: probe.txt") && lines[2].ends_with("planned"),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn what_a_guest_says_cannot_steer_the_terminal() {
    let rota = rota();
    let text = "\u{1b}]0;owned\u{7}\u{1b}[2Jred \u{202e}txet\rover";
    let said = said(&rota, "print", &json!({ "text": text }), &[]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let logs = rota.run(&["runs", "logs", "last", "--output", "human"]).await.unwrap();
    for out in [said.all(), logs.all(), rota.run(&["runs", "logs", "last"]).await.unwrap().all()] {
        assert!(out.contains("red") || out == said.all(), "{out}");
        assert!(!out.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{out:?}");
    }
}

#[tokio::test]
async fn a_health_report_has_findings_and_tables() {
    let server = Postgres::shared().await.unwrap();
    let bind = format!("database={}", server.url("postgres"));
    let rota = rota();
    let said = rota.run(&["run", "postgres-health", "--bind", &bind, "--output", "human"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.starts_with("postgres-health 0.1.0: succeeded in "), "{}", said.stdout);
    assert!(said.stdout.contains("PostgreSQL 16"), "{}", said.stdout);
    let list = rota.run(&["runs", "list", "--output", "human"]).await.unwrap();
    let heading: Vec<&str> = list.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["run", "job", "plugin", "mode", "status", "started", "took"]);
    assert!(list.stdout.contains("postgres-health 0.1.0") && list.stdout.contains("succeeded"));
    let show = rota.run(&["plugins", "show", "postgres-health", "--output", "human"]).await.unwrap();
    for part in
        ["postgres-health 0.1.0", "Slots", "Parameters", "Examples", "expected_replicas", "rota run postgres-health"]
    {
        assert!(show.stdout.contains(part), "{part}: {}", show.stdout);
    }
}
