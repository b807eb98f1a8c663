//! Health and metrics, standbys included, on 16 and on 18.

use crate::{rota, run};
use rota_testbed::{Postgres, PostgresOptions, PostgresVersion, StandbyOptions, TcpProxy, eventually};
use rota_tests::Rota;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);
const BOTH: [PostgresVersion; 2] = [PostgresVersion::V16, PostgresVersion::V18];

async fn report(rota: &Rota, procedure: &str, arguments: &[&str]) -> Value {
    let (status, answer) = run(rota, procedure, arguments).await;
    assert_eq!(status, Some(0), "{procedure} {arguments:?}: {answer}");
    assert_eq!(answer["effects"], json!([]), "it only reads");
    answer["report"].clone()
}

#[track_caller]
fn says(report: &Value, severity: &str, text: &str) {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().any(|one| one["severity"] == severity && one["title"].as_str().unwrap().contains(text));
    assert!(found, "no {severity} `{text}`: {report:#}");
}

fn database(url: &str) -> String {
    format!("database={url}")
}

/// The runbook's ratios end with "division by zero" here.
#[tokio::test]
async fn a_fresh_database_has_no_ratio_and_rates_are_of_the_time_between() {
    for version in BOTH {
        let server = Postgres::shared_version(version).await.unwrap();
        let fresh = server.fresh_database("metrics").await.unwrap();
        let broken =
            "select sum(heap_blks_hit) / (sum(heap_blks_hit) + sum(heap_blks_read)) from pg_statio_user_tables";
        let mut plain = fresh.connect().await.unwrap();
        // A table that nobody read: the sums are 0.
        fresh.execute("create table never_read (n int)").await.unwrap();
        let error = fresh.execute(broken).await.unwrap_err();
        assert!(format!("{error:#}").contains("division by zero"), "{error:#}");

        let name = fresh.name().to_owned();
        let bind = database(&fresh.url());
        let only = format!("databases=[\"{name}\"]");
        let quiet = ["--bind", &bind, "--grant", "declared", "-p", "sample_seconds=1", "-p", &only];
        let rota = rota();
        let seen = report(&rota, "postgres-metrics", &quiet).await;
        assert_eq!(seen["data"]["tables"]["table_hit_ratio_all_time"], Value::Null, "{seen:#}");
        assert_eq!(seen["data"]["replication"]["own_lag"], "not_applicable");
        assert!(seen["data"]["server"]["version"].as_str().unwrap().starts_with(&version.major().to_string()));

        // A known load while it looks.
        fresh.execute("insert into never_read select generate_series(1, 1000)").await.unwrap();
        let counted = "select xact_commit from pg_stat_database where datname = current_database()";
        let before: i64 = sqlx::query_scalar(counted).fetch_one(&mut plain).await.unwrap();
        let mut busy = fresh.connect().await.unwrap();
        let load = tokio::spawn(async move {
            while sqlx::query("select count(*) from never_read").execute(&mut busy).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let more =
            ["--bind", &bind, "--grant", "declared", "-p", "sample_seconds=3", "-p", &only, "-p", "minimum_reads=100"];
        let seen = report(&rota, "postgres-metrics", &more).await;
        load.abort();
        let one = &seen["data"]["databases"][0];
        let (rate, commits) = (one["commits_per_second"].as_f64().unwrap(), one["commits"].as_i64().unwrap());
        let seconds = seen["data"]["sample_seconds"].as_f64().unwrap();
        assert!(rate > 1.0 && seconds >= 3.0, "{seen:#}");
        #[allow(clippy::cast_precision_loss, reason = "a few thousands")]
        let most = (commits - before) as f64;
        assert!(rate * seconds <= most + 1.0, "more than there were: {rate} x {seconds}, {most}");
        assert!(one["cache_hit_ratio"].as_f64().is_some_and(|share| share > 0.0 && share <= 1.0), "{seen:#}");
        assert_eq!(one["name"], name);
        plain.close().await.unwrap();
    }
}

#[tokio::test]
async fn statistics_that_are_reset_between_the_two_looks_give_no_rate() {
    for version in BOTH {
        let server = Postgres::shared_version(version).await.unwrap();
        let fresh = server.fresh_database("reset").await.unwrap();
        let bind = database(&fresh.url());
        let only = format!("databases=[\"{}\"]", fresh.name());
        let rota = rota();
        let running = rota
            .start(&[
                "run",
                "postgres-metrics",
                "--bind",
                &bind,
                "-p",
                "sample_seconds=4",
                "-p",
                &only,
                "--output",
                "json",
            ])
            .unwrap();
        let mut plain = fresh.connect().await.unwrap();
        eventually(PATIENCE, "the first look", async || {
            let looked: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
                 and state = 'idle' and query_start < clock_timestamp() - interval '200 ms' and application_name like 'rota%')",
            )
            .fetch_one(&mut plain)
            .await?;
            Ok(looked.then_some(()))
        })
        .await
        .unwrap();
        sqlx::query("select pg_stat_reset()").execute(&mut plain).await.unwrap();
        let said = running.end().await.unwrap();
        let answer = said.json().unwrap();
        let one = &answer["report"]["data"]["databases"][0];
        assert_eq!((&one["reset"], &one["transactions_per_second"]), (&json!(true), &Value::Null), "{answer:#}");
        says(&answer["report"], "ok", "counters went back");
        plain.close().await.unwrap();
    }
}

/// What the runbook runs on the standby, in the form that everybody mends it into.
const USUAL: &str = "select case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0 \
                     else extract(epoch from now() - pg_last_xact_replay_timestamp()) end::float8";

#[tokio::test]
async fn a_standby_without_a_receiver_is_behind_whatever_it_says_itself() {
    for version in BOTH {
        let primary = Postgres::start(PostgresOptions { version, ..PostgresOptions::default() }).await.unwrap();
        let standby = Postgres::standby(&primary, StandbyOptions::default()).await.unwrap();
        primary.execute("postgres", "create table filler (t text)").await.unwrap();
        standby.catches_up(&primary).await.unwrap();
        let rota = rota();
        let (at, by) = (database(&primary.url("postgres")), format!("standby={}", standby.url("postgres")));
        let both = ["--bind", &at, "--bind", &by, "--grant", "declared", "-p", "sample_seconds=1"];
        let seen = report(&rota, "postgres-metrics", &both).await;
        let replicas = seen["data"]["replication"]["replicas"].as_array().unwrap();
        assert_eq!(replicas.len(), 2, "the primary's word of it, and its own: {seen:#}");
        assert!(replicas.iter().all(|one| one["lag_bytes"].as_i64().is_some_and(|bytes| bytes < 1 << 20)), "{seen:#}");
        assert_eq!(replicas[1]["state"], "streaming");

        // Cut off, and 40 MB written.
        standby.execute("postgres", "alter system set primary_conninfo = ''").await.unwrap();
        standby.execute("postgres", "select pg_reload_conf()").await.unwrap();
        eventually(PATIENCE, "the receiver to be gone", async || {
            let gone: bool =
                standby.ask("select not exists (select from pg_stat_wal_receiver where pid is not null)").await?;
            Ok(gone.then_some(()))
        })
        .await
        .unwrap();
        primary
            .execute("postgres", "insert into filler select repeat(md5(n::text), 30) from generate_series(1, 40000) n")
            .await
            .unwrap();
        eventually(PATIENCE, "the usual query to be content", async || {
            Ok((standby.ask::<f64>(USUAL).await? == 0.0).then_some(()))
        })
        .await
        .unwrap();
        let replayed: String = standby.ask("select pg_last_wal_replay_lsn()::text").await.unwrap();
        let really: i64 =
            primary.ask(&format!("select pg_wal_lsn_diff(pg_current_wal_lsn(), '{replayed}')::int8")).await.unwrap();
        assert!(really > 40_000_000, "{really}");
        let seen = report(&rota, "postgres-metrics", &both).await;
        let replicas = seen["data"]["replication"]["replicas"].as_array().unwrap();
        let own = replicas.iter().find(|one| one["name"] == "standby").unwrap();
        assert_eq!(own["state"], "no_receiver", "{seen:#}");
        assert!(own["lag_bytes"].as_i64().unwrap() >= really, "{own} {really}");
        assert_eq!(seen["status"], "critical");
        says(&seen, "critical", "standby: no receiver");

        // The standby alone cannot know.
        let alone = database(&standby.url("postgres"));
        let seen = report(&rota, "postgres-metrics", &["--bind", &alone, "-p", "sample_seconds=1"]).await;
        assert_eq!((&seen["status"], &seen["data"]["replication"]["own_lag"]), (&json!("critical"), &json!("unknown")));
        assert_eq!(seen["data"]["replication"]["replicas"][0]["lag_bytes"], Value::Null);
        assert_eq!(seen["data"]["visibility_complete"], false);
        let health = report(&rota, "postgres-health", &["--bind", &alone]).await;
        says(&health, "critical", "no receiver: this standby does not stream");

        // One that takes writes is none.
        standby.promote().await.unwrap();
        let seen = report(&rota, "postgres-metrics", &both).await;
        says(&seen, "critical", "standby: it is not in recovery");
    }
}

#[tokio::test]
async fn metrics_are_served_while_their_job_is_there() {
    let server = Postgres::shared().await.unwrap();
    let fresh = server.fresh_database("served").await.unwrap();
    let mut rota = rota();
    rota.set("SHOP_URL", fresh.url());
    let head = "[server]\nlisten = \"127.0.0.1:0\"\nlease = \"2s\"\npoll = \"100ms\"\n[bindings.shop]\nkind = \"sql\"\nurl = \"env:SHOP_URL\"\n";
    let job = |name: &str| {
        format!(
            "{head}[jobs.{name}]\nplugin = \"postgres-metrics\"\nparameters = {{ sample_seconds = 1, databases = [\"{}\"] }}\n\
             slots.database = {{ binding = \"shop\", access = [\"read\"] }}\n",
            fresh.name()
        )
    };
    rota.configure(&job("measure")).unwrap();
    let mut host = rota.start(&["serve"]).unwrap();
    let address = host.line_with("pages on http://").await.unwrap();
    let address = address.split("http://").nth(1).unwrap().split(": /").next().unwrap().to_owned();
    host.says("serving as").await.unwrap();
    let page = async || rota_tests::get(&address, "/metrics").await.unwrap().1;
    assert!(!page().await.contains("rota_procedure_postgres"), "nothing ran");
    // A plan publishes nothing, wherever it runs.
    let plan = rota.json(&["run", "measure", "--plan"]).await.unwrap();
    assert_eq!(plan["run"]["status"], "succeeded", "{plan}");
    rota.json(&["jobs", "run", "measure"]).await.unwrap();
    let labels = format!("{{binding=\"shop\",database=\"{}\",job=\"measure\"}}", fresh.name());
    let wanted = format!("rota_procedure_postgres_transactions_per_second{labels} ");
    let text = eventually(PATIENCE, "the values of the run", async || {
        let text = page().await;
        Ok(text.contains(&wanted).then_some(text))
    })
    .await
    .unwrap();
    let counter = format!(
        "rota_procedure_postgres_transactions_total{{binding=\"shop\",database=\"{}\",job=\"measure\",outcome=\"commit\"}} ",
        fresh.name()
    );
    assert!(text.contains(&counter), "{text}");
    assert!(text.contains("rota_procedure_published_timestamp_seconds{job=\"measure\"} "), "{text}");
    assert!(text.contains("rota_procedure_postgres_in_recovery{binding=\"shop\",job=\"measure\"} 0"), "{text}");
    assert!(!text.contains("replication_lag"), "a primary without replicas has no lag, not a lag of 0: {text}");
    // The job is gone, and with it what it said.
    rota.configure(&job("another")).unwrap();
    rota.json(&["config", "apply"]).await.unwrap();
    eventually(PATIENCE, "the values to be gone", async || {
        Ok((!page().await.contains("job=\"measure\",outcome")).then_some(()))
    })
    .await
    .unwrap();
    assert!(!page().await.contains("rota_procedure_postgres"));
    host.signal(Signal::TERM).unwrap();
    host.end().await.unwrap();
}

#[tokio::test]
async fn health_sees_replicas_slots_and_what_they_lost() {
    for version in BOTH {
        let config = vec![
            "max_slot_wal_keep_size = 16MB".to_owned(),
            "wal_keep_size = 0".to_owned(),
            "max_wal_size = 64MB".to_owned(),
        ];
        let options = PostgresOptions { version, config, ..PostgresOptions::default() };
        let primary = Postgres::start(options).await.unwrap();
        let proxy = TcpProxy::to_port(primary.port()).await.unwrap();
        let through = StandbyOptions { through: Some(proxy.port()), ..StandbyOptions::default() };
        let mut standby = Postgres::standby(&primary, through).await.unwrap();
        standby.catches_up(&primary).await.unwrap();
        let rota = rota();
        let bind = database(&primary.url("postgres"));
        let health = async |more: &[&str]| {
            let mut all =
                vec!["--bind", &bind, "-p", "checks=[\"readiness\",\"replication\"]", "-p", "warn_lag_bytes=8000000"];
            all.extend(more);
            report(&rota, "postgres-health", &all).await
        };
        let seen = health(&["-p", "expected_replicas=1"]).await;
        assert_eq!((&seen["status"], &seen["data"]["replication"]["streaming"]), (&json!("ok"), &json!(1)), "{seen:#}");
        let asked: i64 =
            primary.ask("select count(*) from pg_stat_replication where state = 'streaming'").await.unwrap();
        assert_eq!(asked, 1);
        says(&health(&["-p", "expected_replicas=2"]).await, "critical", "1 of 2 replicas missing");
        let at_standby = database(&standby.url("postgres"));
        let seen =
            report(&rota, "postgres-health", &["--bind", &at_standby, "-p", "checks=[\"readiness\",\"replication\"]"])
                .await;
        assert_eq!((&seen["status"], &seen["data"]["server"]["in_recovery"]), (&json!("ok"), &json!(true)), "{seen:#}");

        // A standby that is away: its slot keeps the log until it may not.
        standby.kill();
        eventually(PATIENCE, "the primary to notice", async || {
            let active: bool = primary.ask("select bool_or(active) from pg_replication_slots").await?;
            Ok((!active).then_some(()))
        })
        .await
        .unwrap();
        let seen = health(&["-p", "expected_replicas=1"]).await;
        says(&seen, "critical", "1 of 1 replicas missing");
        says(&seen, "warning", "slot standby: nobody is connected");
        // Without being told, nobody knows whether none is well.
        says(&health(&[]).await, "unknown", "no replica streams, and how many should was not said");
        primary.execute("postgres", "create table filler (t text)").await.unwrap();
        eventually(PATIENCE, "the slot to be lost", async || {
            let fill = "insert into filler select repeat(md5(n::text), 30) from generate_series(1, 30000) n";
            primary.execute("postgres", fill).await?;
            primary.execute("postgres", "checkpoint").await?;
            let status: String = primary.ask("select wal_status from pg_replication_slots").await?;
            Ok((status == "lost").then_some(()))
        })
        .await
        .unwrap();
        says(&health(&["-p", "expected_replicas=0"]).await, "critical", "slot standby: its log is lost");
    }
}

#[tokio::test]
async fn health_of_every_database_of_a_server_in_one_run() {
    for version in BOTH {
        let server =
            Postgres::start(PostgresOptions { version, pgvector: false, ..PostgresOptions::default() }).await.unwrap();
        for name in ["alpha", "beta", "closed", "Odd \"one\""] {
            server.create_database(name).await.unwrap();
        }
        server
            .execute(
                "beta",
                "create table big as select n from generate_series(1, 20000) n; create table small (n int)",
            )
            .await
            .unwrap();
        // A unique index over what is twice there is left invalid.
        server.execute("alpha", "create table twice as select 1 as n from generate_series(1, 2)").await.unwrap();
        server.execute("alpha", "create unique index concurrently broken on twice (n)").await.unwrap_err();
        server.execute("postgres", "revoke connect on database closed from public").await.unwrap();
        let role = server.create_role("watcher", "").await.unwrap();
        server.execute("postgres", "grant pg_monitor to watcher").await.unwrap();
        let bind = database(&server.url_as("watcher", &role, "postgres"));
        let rota = rota();
        let arguments =
            ["--bind", &bind, "-p", "expected_replicas=0", "-p", "databases=[\"*\"]", "-p", "concurrency=2"];
        let seen = report(&rota, "postgres-health", &arguments).await;
        let all = seen["data"]["databases"].as_array().unwrap();
        let names: Vec<&str> = all.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["Odd \"one\"", "alpha", "beta", "closed", "postgres"]);
        let of = |name: &str| all.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(of("beta")["largest_table"], "public.big");
        let size: i64 = server.ask("select pg_database_size('beta')").await.unwrap();
        assert_eq!(of("beta")["bytes"].as_i64(), Some(size));
        says(&seen, "warning", "database alpha: 1 indexes are not valid");
        // What may not be entered is named, is not well, and breaks nothing else.
        assert_eq!(of("closed")["reached"], false);
        says(&seen, "unknown", "database closed: role watcher may not connect to it");
        assert_eq!(
            (&seen["data"]["visibility_complete"], all.iter().filter(|one| one["reached"] == true).count()),
            (&json!(false), 4)
        );
        // The runbook's sizes end at the first database that may not be entered, for whoever is not in pg_monitor.
        let plain = server.create_role("plain", "").await.unwrap();
        let bind = database(&server.url_as("plain", &plain, "postgres"));
        let seen = report(&rota, "postgres-health", &["--bind", &bind, "-p", "checks=[\"sizes\"]"]).await;
        let sizes = seen["data"]["sizes"]["databases"].as_array().unwrap();
        let closed = sizes.iter().find(|one| one["name"] == "closed").unwrap();
        assert_eq!(
            (&closed["bytes"], sizes.iter().filter(|one| one["bytes"].is_i64()).count()),
            (&Value::Null, sizes.len() - 1),
            "{seen:#}"
        );
        assert_eq!(seen["status"], "unknown");
    }
}

#[tokio::test]
async fn a_session_that_is_idle_in_its_transaction_is_critical() {
    let server = Postgres::shared().await.unwrap();
    let fresh = server.fresh_database("idle").await.unwrap();
    fresh.execute("create table t (n int)").await.unwrap();
    let mut idle = fresh.connect().await.unwrap();
    sqlx::query("begin").execute(&mut idle).await.unwrap();
    sqlx::query("insert into t values (1)").execute(&mut idle).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut idle).await.unwrap();
    let bind = database(&fresh.url());
    let rota = rota();
    let arguments = ["--bind", &bind, "-p", "checks=[\"activity\"]", "-p", "idle_in_transaction_seconds=0.1"];
    let seen = eventually(PATIENCE, "the idle session to be found", async || {
        let seen = report(&rota, "postgres-health", &arguments).await;
        let found = seen["data"]["activity"]["sessions"].as_array().unwrap().iter().any(|one| one["pid"] == pid);
        Ok(found.then_some(seen))
    })
    .await
    .unwrap();
    says(&seen, "critical", &format!("pid {pid} "));
    sqlx::query("rollback").execute(&mut idle).await.unwrap();
}
