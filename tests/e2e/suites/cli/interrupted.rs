//! Ctrl-C in the middle of a run: children gone, transactions rolled back, nothing half-written left; and what a host that was killed
//! leaves is found and swept.

use super::schema;
use crate::rota;
use rota_testbed::{Database, Postgres, eventually};
use rota_tests::{Rota, Running, Said, probe, processes};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// A run that holds an open transaction, a running program and a half-written object.
struct Holding {
    rota: Rota,
    database: Database,
    running: Running,
    children: BTreeSet<processes::Process>,
}

impl Holding {
    async fn start() -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.fresh_database("held").await.unwrap();
        database.execute("create table probe (n int)").await.unwrap();
        let mut rota = rota();
        rota.set("URL", database.url());
        std::fs::create_dir(rota.path("bucket")).unwrap();
        let toml = format!(
            "[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\n\
             [bindings.folder]\nkind = \"storage\"\nurl = \"file://{}\"\n\
             [bindings.sleep]\nkind = \"tool\"\npath = \"/usr/bin/sleep\"\nprofile = \"custom\"\narguments = [\"1000\"]\n",
            rota.path("bucket").display()
        );
        rota.configure(&toml).unwrap();
        let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
        arguments.extend(probe::arguments("hold", &json!({})));
        for (slot, binding) in [("database", "shop"), ("bucket", "folder"), ("program", "sleep")] {
            arguments.extend(["--bind".to_owned(), format!("{slot}={binding}")]);
        }
        arguments.extend(["--grant", "declared"].map(str::to_owned));
        let mut running = rota.start(&arguments).unwrap();
        running.says("everything is held").await.unwrap();
        let children = processes::below(running.pid().unwrap());
        assert!(children.iter().any(|child| child.command.contains("sleep 1000")), "{children:?}");
        assert_eq!(open_transactions(&database).await, 1);
        assert!(!rota_tests::files(&rota.path("bucket")).is_empty(), "the object is under way");
        Self { rota, database, running, children }
    }
}

async fn open_transactions(database: &Database) -> i64 {
    let mut connection = database.connect().await.unwrap();
    sqlx::query_scalar("select count(*) from pg_stat_activity where datname = $1 and xact_start is not null and pid <> pg_backend_pid()")
        .bind(database.name())
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// Nothing of the run is left anywhere.
async fn nothing_left(rota: &Rota, database: &Database, children: &BTreeSet<processes::Process>) {
    eventually(SOON, "the children's end", async || {
        let left: Vec<_> = children.iter().filter(|child| processes::lives(child)).collect();
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    eventually(SOON, "the rollback", async || Ok((open_transactions(database).await == 0).then_some(())))
        .await
        .unwrap();
    let mut connection = database.connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from probe").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 0, "what was not committed is gone");
    assert_eq!(rota_tests::files(&rota.path("bucket")), Vec::<std::path::PathBuf>::new());
    assert_eq!(rota_tests::files(&rota.path("tmp")), Vec::<std::path::PathBuf>::new());
    assert_eq!(rota_tests::files(&rota.state().join("private")), Vec::<std::path::PathBuf>::new());
}

async fn ended_by(signals: &[Signal]) -> (Held, Said) {
    let Holding { rota, database, running, children } = Holding::start().await;
    for signal in signals {
        running.signal(*signal).unwrap();
    }
    let said = running.end().await.unwrap();
    (Held { rota, database, children }, said)
}

/// What a run held, when it has ended.
struct Held {
    rota: Rota,
    database: Database,
    children: BTreeSet<processes::Process>,
}

#[tokio::test]
async fn an_interrupt_or_terminate_cancels_cleanly_with_130() {
    for signal in [Signal::INT, Signal::TERM] {
        let (held, said) = ended_by(&[signal]).await;
        assert_eq!(said.status, Some(130), "{said:?}");
        let answer = schema::valid("answer", &said);
        assert_eq!((&answer["run"]["status"], &answer["error"]["kind"]), (&json!("cancelled"), &json!("cancelled")));
        assert!(said.stderr.contains("cancelling"), "{}", said.stderr);
        nothing_left(&held.rota, &held.database, &held.children).await;
        let outcomes: BTreeSet<&str> =
            answer["effects"].as_array().unwrap().iter().map(|effect| effect["outcome"].as_str().unwrap()).collect();
        assert!(outcomes.contains("interrupted") && !outcomes.contains("running"), "{answer:#}");
    }
}

#[tokio::test]
async fn a_second_interrupt_ends_at_once_and_leaves_no_child() {
    let (held, said) = ended_by(&[Signal::INT, Signal::INT]).await;
    assert_eq!(said.status, Some(130), "{said:?}");
    eventually(SOON, "the children's end", async || Ok((!held.children.iter().any(processes::lives)).then_some(())))
        .await
        .unwrap();
    eventually(SOON, "the rollback", async || Ok((open_transactions(&held.database).await == 0).then_some(())))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_killed_host_leaves_no_child_and_its_run_is_unknown_and_swept() {
    let (held, said) = ended_by(&[Signal::KILL]).await;
    assert_eq!((said.status, said.stdout.as_str()), (None, ""));
    let list = held.rota.run(&["runs", "list"]).await.unwrap();
    let list = schema::valid("runs_list", &list);
    assert_eq!(list[0]["status"], "unknown");
    let shown = schema::valid("answer", &held.rota.run(&["runs", "show", "last"]).await.unwrap());
    for effect in shown["effects"].as_array().unwrap() {
        assert!(["unknown", "done"].contains(&effect["outcome"].as_str().unwrap()), "{effect}");
    }
    let fixed = held.rota.run(&["doctor", "--fix"]).await.unwrap();
    assert_eq!(fixed.status, Some(0), "{fixed:?}");
    let checks = schema::valid("doctor", &fixed);
    assert!(checks.to_string().contains("removed the unfinished"), "{checks:#}");
    nothing_left(&held.rota, &held.database, &held.children).await;
    let again = held.rota.json(&["run", probe::path().to_str().unwrap()]).await.unwrap();
    assert_eq!(again["run"]["status"], "succeeded");
}
