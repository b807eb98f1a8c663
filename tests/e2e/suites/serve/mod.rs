//! `rota serve`: jobs fired on time, runs that survive what happens to their host, and what people do to them meanwhile.
//!
//! The probe's work leaves a row a step in the table `done`, and one in `undone` where it was undone: what is asserted is what an
//! independent look at the database shows.

mod chaos;
mod killed;
mod people;
mod schedules;
mod survive;
mod teams;

use crate::rota;
use rota_testbed::{Database, Postgres, eventually};
use rota_tests::{Rota, Running, probe};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::Row as _;
use std::time::Duration;

/// What is waited for takes no longer, even on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A host with a database to work on.
struct Serving {
    rota: Rota,
    database: Database,
}

impl Serving {
    /// Not serving yet; `jobs` is TOML, in which PROBE stands for the probe's path.
    async fn new(name: &str, jobs: &str) -> Self {
        Self::over(name, jobs, "").await
    }

    /// The same over a store of its own choice.
    async fn over(name: &str, jobs: &str, store: &str) -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.fresh_database(name).await.unwrap();
        database
            .execute(
                "create table done (run text, step bigint, attempt bigint, at timestamptz default clock_timestamp())",
            )
            .await
            .unwrap();
        database.execute("create table fence (run text, attempt bigint)").await.unwrap();
        database.execute("create table undone (run text, at timestamptz default clock_timestamp())").await.unwrap();
        let mut rota = rota();
        rota.set("SHOP_URL", database.url());
        let serving = Self { rota, database };
        serving.configure(jobs, store);
        serving
    }

    fn configure(&self, jobs: &str, store: &str) {
        let jobs = jobs.replace("PROBE", &probe::path().display().to_string());
        let toml = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nlease = \"2s\"\npoll = \"100ms\"\ndrain_timeout = \"20s\"\n{store}\n\
             [bindings.shop]\nkind = \"sql\"\nurl = \"env:SHOP_URL\"\n{jobs}"
        );
        self.rota.configure(&toml).unwrap();
    }

    /// Serve, and wait until it does.
    async fn serve(&self) -> Running {
        let mut running = self.rota.start(&["serve"]).unwrap();
        running.says("serving as").await.unwrap();
        running
    }

    /// Put a run of a job into the queue; its id.
    async fn queue(&self, job: &str, parameters: &[&str]) -> String {
        let mut arguments = vec!["jobs", "run", job];
        for parameter in parameters {
            arguments.extend(["-p", parameter]);
        }
        let run = self.rota.json(&arguments).await.unwrap();
        run["id"].as_str().unwrap().to_owned()
    }

    async fn run(&self, id: &str) -> Value {
        self.rota.json(&["runs", "show", id]).await.unwrap()
    }

    async fn runs(&self, filter: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["runs", "list", "--limit", "1000"];
        arguments.extend(filter);
        self.rota.json(&arguments).await.unwrap().as_array().unwrap().clone()
    }

    /// The run, once it is in one of these states.
    async fn becomes(&self, id: &str, states: &[&str]) -> Value {
        eventually(SOON, &format!("run {id} to be {states:?}"), async || {
            let run = self.run(id).await;
            let state = run["run"]["status"].as_str().unwrap().to_owned();
            Ok(states.contains(&state.as_str()).then_some(run))
        })
        .await
        .unwrap()
    }

    /// Rows of `done` by step: (step, rows), as PostgreSQL has them.
    async fn done(&self, run: &str) -> Vec<(i64, i64)> {
        let mut connection = self.database.connect().await.unwrap();
        let rows = sqlx::query("select step, count(*) from done where run = $1 group by step order by step")
            .bind(run)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// How many attempts have begun, as PostgreSQL has it.
    async fn fences(&self, run: &str) -> i64 {
        let mut connection = self.database.connect().await.unwrap();
        sqlx::query_scalar("select count(*) from fence where run = $1")
            .bind(run)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    async fn undone(&self, run: &str) -> i64 {
        let mut connection = self.database.connect().await.unwrap();
        sqlx::query_scalar("select count(*) from undone where run = $1")
            .bind(run)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    /// Wait until the work has left so many rows.
    async fn has_done(&self, run: &str, steps: usize) {
        eventually(SOON, "the work to go on", async || Ok((self.done(run).await.len() >= steps).then_some(())))
            .await
            .unwrap();
    }
}

async fn stop(running: Running) -> rota_tests::Said {
    running.signal(Signal::TERM).unwrap();
    let said = running.end().await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    said
}

/// Each step of the work once.
fn each_once(steps: i64) -> Vec<(i64, i64)> {
    (0..steps).map(|step| (step, 1)).collect()
}

/// The job of most tests.
const WORK: &str = r#"
[jobs.work]
plugin = "PROBE"
parameters = { do = "work", count = 6, pause = 250 }
slots.database = { binding = "shop", access = ["read", "write"] }
concurrency = 10
"#;
