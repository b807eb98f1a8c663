//! Settings: what they should be, the worst case, and what was written and did not take.

use crate::{rota, run};
use rota_testbed::{Postgres, PostgresOptions, PostgresVersion, eventually};
use rota_tests::Running;
use rota_tests::crash::{Crashes, Moment};
use serde_json::{Value, json};
use sqlx::Connection as _;

#[tokio::test]
async fn settings_are_compared_and_what_did_not_take_is_said() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let config = ["max_connections = 200", "work_mem = 64MB", "shared_buffers = 128MB"].map(str::to_owned).to_vec();
        let server =
            Postgres::start(PostgresOptions { version, config, pgvector: false, ..PostgresOptions::default() })
                .await
                .unwrap();
        let bind = format!("database={}", server.url("postgres"));
        let rota = rota();
        let arguments = ["--bind", &bind, "--grant", "declared", "-p", "memory=8GB"];
        let (status, answer) = run(&rota, "postgres-tuning", &arguments).await;
        assert_eq!(status, Some(0), "{answer:#}");
        let data = &answer["report"]["data"];
        assert!(data["worst_bytes"].as_i64().unwrap() > 50 << 30, "the runbook's own numbers: {answer:#}");
        let of = |name: &str| {
            data["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap().clone()
        };
        assert_eq!(
            (&of("shared_buffers")["advised"], &of("shared_buffers")["restart"]),
            (&json!("2048MB"), &json!(true)),
            "{answer:#}"
        );
        // A person writes what is advised, and the way back; the server takes both.
        for (name, key) in [("work_mem", "statement"), ("shared_buffers", "statement")] {
            server.execute("postgres", of(name)[key].as_str().unwrap()).await.unwrap();
        }
        server.execute("postgres", "select pg_reload_conf()").await.unwrap();
        let settled = eventually(std::time::Duration::from_secs(20), "the reload", async || {
            let (_, answer) = run(&rota, "postgres-tuning", &arguments).await;
            Ok((answer["report"]["data"]["pending_restart"] == json!(["shared_buffers"])).then_some(answer))
        })
        .await
        .unwrap();
        let titles = settled["report"]["findings"].to_string();
        assert!(titles.contains("shared_buffers = 2048MB is written and waits for a restart"), "{settled:#}");
        assert!(!titles.contains("\"work_mem is 64MB"), "it took: {settled:#}");
        server.execute("postgres", of("work_mem")["undo"].as_str().unwrap()).await.unwrap();
        // Who may not see the files is told so.
        let (role, password) = server.fresh_role("reader", "").await.unwrap();
        let bind = format!("database={}", server.url_as(&role, &password, "postgres"));
        let (_, answer) =
            run(&rota, "postgres-tuning", &["--bind", &bind, "--grant", "declared", "-p", "memory=8GB"]).await;
        assert_eq!(answer["report"]["data"]["visibility_complete"], false, "{answer:#}");
    }
}

/// A binding of a role that has what the manifests print for it, and nothing else.
const TOML: &str = r#"
[bindings.tuned]
kind = "sql"
url = "env:TUNED_URL"
alter_system = ["work_mem", "shared_buffers", "random_page_cost", "maintenance_work_mem"]

[jobs.tune]
plugin = "postgres-tuning"
parameters = { memory = "8GB", apply = true }
slots.database = { binding = "tuned", access = ["read", "alter-system"] }
"#;

async fn shown(server: &Postgres, name: &str) -> String {
    let mut connection = server.connect("postgres").await.unwrap();
    let shown = sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    shown
}

/// What ALTER SYSTEM has written, as the server reads it.
async fn auto_conf(server: &Postgres) -> Vec<(String, String)> {
    let mut connection = server.connect("postgres").await.unwrap();
    let sql = "select name, setting from pg_file_settings where sourcefile like '%/postgresql.auto.conf' order by name";
    let lines = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    lines
}

fn pairs(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn details(answer: &Value) -> Vec<&str> {
    answer["effects"].as_array().unwrap().iter().map(|effect| effect["detail"].as_str().unwrap()).collect()
}

/// A server with a role as the manifests of the configuration give it.
async fn tuned(version: PostgresVersion) -> (Postgres, rota_tests::Rota, String) {
    tuned_with(version, TOML).await
}

async fn tuned_with(version: PostgresVersion, toml: &str) -> (Postgres, rota_tests::Rota, String) {
    let config = ["work_mem = 64MB", "shared_buffers = 128MB", "random_page_cost = 4.0"].map(str::to_owned).to_vec();
    let server = Postgres::start(PostgresOptions { version, config, pgvector: false, ..PostgresOptions::default() })
        .await
        .unwrap();
    // It was set before, and comes back so where it is put back.
    server.execute("postgres", "alter system set random_page_cost = '2'").await.unwrap();
    server.execute("postgres", "select pg_reload_conf()").await.unwrap();
    let (role, password) = server.fresh_role("tuner", "").await.unwrap();
    let mut rota = rota();
    rota.set("TUNED_URL", server.url_as(&role, &password, "postgres"));
    rota.configure(toml).unwrap();
    (server, rota, role)
}

/// Gives the role what `rota doctor --manifests` prints.
async fn grant(server: &Postgres, rota: &rota_tests::Rota, role: &str) {
    let printed = rota.json(&["doctor", "--manifests"]).await.unwrap();
    let text = printed[0]["text"].as_str().unwrap();
    assert!(text.contains("GRANT ALTER SYSTEM ON PARAMETER \"work_mem\", \"shared_buffers\","), "{text}");
    for line in text.lines().filter(|line| line.starts_with("GRANT ")) {
        server.execute("postgres", &line.replace("\"rota\"", role)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_advised_is_set_by_a_role_that_may_do_no_more_and_verified() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let (server, rota, role) = tuned(version).await;
        // The doctor says what is missing, and once it is given, that nothing is.
        let missing = rota.run(&["doctor", "--binding", "tuned"]).await.unwrap();
        assert!(missing.all().contains("GRANT ALTER SYSTEM ON PARAMETER work_mem, shared_buffers"), "{missing:?}");
        let before = auto_conf(&server).await;
        let (status, answer) = run(&rota, "tune", &[]).await;
        assert_eq!(status, Some(1), "{answer:#}");
        assert_eq!(auto_conf(&server).await, before, "nothing is half done: {answer:#}");
        grant(&server, &rota, &role).await;
        let fine = rota.run(&["doctor", "--binding", "tuned"]).await.unwrap();
        assert_eq!(fine.status, Some(0), "{fine:?}");

        // A plan lists each, with what it is and what it will be, and sets none.
        let (status, plan) = run(&rota, "tune", &["--plan"]).await;
        assert_eq!(status, Some(0), "{plan:#}");
        let listed = details(&plan);
        assert!(
            listed.contains(&"ALTER SYSTEM SET random_page_cost = '1.1' -- was 2 (configuration file)"),
            "{listed:#?}"
        );
        assert!(
            listed.iter().any(|detail| detail.starts_with("have the server read its configuration files again")),
            "{listed:#?}"
        );
        assert_eq!((auto_conf(&server).await, shown(&server, "work_mem").await), (before, "64MB".to_owned()));

        let (status, answer) = run(&rota, "tune", &[]).await;
        assert_eq!(status, Some(0), "{answer:#}");
        let applied = answer["report"]["data"]["applied"].as_array().unwrap();
        let state = |name: &str| applied.iter().find(|set| set["name"] == name).map(|set| set["state"].clone());
        assert_eq!(state("random_page_cost"), Some(json!("in_force")), "{answer:#}");
        assert_eq!(state("shared_buffers"), Some(json!("needs_restart")), "{answer:#}");
        // The binding does not name it: it was not set, and that is said.
        assert_eq!(state("effective_cache_size"), None);
        let findings = answer["report"]["findings"].to_string();
        assert!(findings.contains("effective_cache_size: not set to 6144MB"), "{answer:#}");
        assert!(findings.contains("bindings.tuned.alter_system"), "{answer:#}");
        assert_eq!(answer["report"]["data"]["pending_restart"], json!(["shared_buffers"]), "{answer:#}");
        assert_eq!(shown(&server, "random_page_cost").await, "1.1");
        let written = auto_conf(&server).await;
        let names: Vec<&str> = written.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["maintenance_work_mem", "random_page_cost", "shared_buffers", "work_mem"]);
        // A second time there is nothing left to set but what waits, and it is said, not set again and again.
        let (_, again) = run(&rota, "tune", &["-p", "only=work_mem,random_page_cost,maintenance_work_mem"]).await;
        assert_eq!(again["report"]["data"]["applied"], json!([]), "{again:#}");
        assert_eq!(again["effects"], json!([]), "{again:#}");
    }
}

/// A role's own setting counts for more than the server's; what does not take at all fails the run, and all of it comes back.
#[tokio::test]
async fn what_counts_for_more_is_said_and_what_does_not_take_is_put_back() {
    let (server, rota, role) = tuned(PostgresVersion::V16).await;
    grant(&server, &rota, &role).await;
    server.execute("postgres", &format!("alter role {role} set work_mem = '32MB'")).await.unwrap();
    let (status, answer) = run(&rota, "tune", &["-p", "only=work_mem"]).await;
    assert_eq!(status, Some(0), "{answer:#}");
    assert_eq!(answer["report"]["data"]["applied"][0]["state"], "overridden", "{answer:#}");
    assert!(answer["report"]["findings"].to_string().contains("and here 32MB counts"), "{answer:#}");
    server.execute("postgres", &format!("alter role {role} reset work_mem")).await.unwrap();

    // The second of two may not be set: the first is back as it was, and the server was told.
    let before = auto_conf(&server).await;
    server
        .execute("postgres", &format!("revoke alter system on parameter random_page_cost from {role}"))
        .await
        .unwrap();
    let (status, answer) = run(&rota, "tune", &["-p", "only=maintenance_work_mem,random_page_cost"]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(answer.to_string().contains("GRANT ALTER SYSTEM ON PARAMETER random_page_cost"), "{answer:#}");
    let done = details(&answer);
    assert!(
        done.iter().any(|detail| detail.starts_with("ALTER SYSTEM SET maintenance_work_mem = '512MB'")),
        "{done:#?}"
    );
    assert_eq!(auto_conf(&server).await, before, "{answer:#}");
    assert_eq!(shown(&server, "random_page_cost").await, "2");
}

/// Whatever the flags say, an address on the command line names no parameter, and a job without the access gets none.
#[tokio::test]
async fn nothing_is_set_without_a_binding_that_names_it() {
    let (server, rota, role) = tuned(PostgresVersion::V16).await;
    grant(&server, &rota, &role).await;
    let before = auto_conf(&server).await;
    assert_eq!(before, pairs(&[("random_page_cost", "2")]));
    let bind = format!("database={}", server.url("postgres"));
    let arguments = ["--bind", &bind, "--grant", "declared", "-p", "memory=8GB", "-p", "apply=true"];
    let (status, answer) = run(&rota, "postgres-tuning", &arguments).await;
    assert_eq!(status, Some(0), "{answer:#}");
    assert_eq!((&answer["report"]["data"]["applied"], &answer["effects"]), (&json!([]), &json!([])), "{answer:#}");
    assert!(answer.to_string().contains("lets ALTER SYSTEM set no parameter"), "{answer:#}");
    let (status, answer) = run(&rota, "tune", &["--grant", "database=read"]).await;
    assert_eq!(status, Some(3), "{answer:#}");
    assert_eq!(answer["effects"], json!([]), "nothing is even left to undo: {answer:#}");
    assert_eq!(auto_conf(&server).await, before);
}

const SERVED: &str = r#"
undo = { attempts = 5, backoff = "200ms" }
[server]
listen = "127.0.0.1:0"
lease = "2s"
poll = "100ms"
[store]
url = "env:STORE_URL"
"#;

async fn serve(rota: &rota_tests::Rota) -> Running {
    let mut running = rota.start(&["serve"]).unwrap();
    running.says("serving as").await.unwrap();
    running
}

async fn in_force(server: &Postgres, wanted: [&str; 2]) {
    eventually(std::time::Duration::from_secs(20), &format!("{wanted:?} to be in force"), async || {
        let found = [shown(server, "work_mem").await, shown(server, "random_page_cost").await];
        Ok((found == wanted).then_some(()))
    })
    .await
    .unwrap();
}

/// The host is killed before and after each effect of applying, as a whole run enumerates them. Another goes on, and all of it is set; or the run is
/// cancelled first, and all of it is as it was, in the file and in force.
async fn killed_at_each_effect(cancel: bool) {
    let store = Postgres::shared().await.unwrap().fresh_database("tuning_store").await.unwrap();
    let crashes = Crashes::over(store);
    let toml = TOML.replace("apply = true }", "apply = true, only = [\"work_mem\", \"random_page_cost\"] }") + SERVED;
    let (server, mut rota, role) = tuned_with(PostgresVersion::V16, &toml).await;
    rota.set("STORE_URL", crashes.url());
    grant(&server, &rota, &role).await;
    let before = auto_conf(&server).await;
    in_force(&server, ["64MB", "2"]).await;
    let queue = async || rota.json(&["jobs", "run", "tune"]).await.unwrap()["id"].as_str().unwrap().to_owned();
    let over = async |run: &str| {
        eventually(std::time::Duration::from_secs(45), "the run's end", async || {
            let shown = rota.json(&["runs", "show", run]).await?;
            let status = shown["run"]["status"].as_str().unwrap_or_default().to_owned();
            Ok((!["queued", "running", "compensating"].contains(&status.as_str())).then_some(shown))
        })
        .await
        .unwrap()
    };
    let stop = async |host: Running| {
        host.signal(rustix::process::Signal::TERM).unwrap();
        host.end().await.unwrap();
    };
    let reset = async || {
        for statement in
            ["alter system reset work_mem", "alter system set random_page_cost = '2'", "select pg_reload_conf()"]
        {
            server.execute("postgres", statement).await.unwrap();
        }
        in_force(&server, ["64MB", "2"]).await;
    };
    let host = serve(&rota).await;
    let whole = queue().await;
    let ended = over(&whole).await;
    assert_eq!(ended["run"]["status"], "succeeded", "{ended:#}");
    stop(host).await;
    let after = auto_conf(&server).await;
    in_force(&server, ["4MB", "1.1"]).await;
    let effects = crashes.recorded(&whole).await.unwrap();
    let operations: Vec<&str> = effects.iter().map(|effect| effect.operation.as_str()).collect();
    assert_eq!(operations, ["sql.execute", "sql.execute", "sql.reload-configuration"]);
    for effect in &effects {
        for moment in Moment::BOTH {
            let point = format!("{moment:?} of {effect}, cancelled: {cancel}");
            reset().await;
            let host = serve(&rota).await;
            let armed = crashes.arm(effect.sequence, moment).await.unwrap();
            let run = queue().await;
            armed.kill(host, &run).await.unwrap();
            if cancel {
                let said = rota.run(&["runs", "cancel", &run]).await.unwrap();
                assert_eq!(said.status, Some(0), "{point}: {said:?}");
            }
            let next = serve(&rota).await;
            let ended = over(&run).await;
            let (status, file, values) =
                if cancel { ("cancelled", &before, ["64MB", "2"]) } else { ("succeeded", &after, ["4MB", "1.1"]) };
            assert_eq!(ended["run"]["status"], status, "{point}: {ended:#}");
            assert_eq!(&auto_conf(&server).await, file, "{point}");
            in_force(&server, values).await;
            stop(next).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_at_any_effect_is_followed_by_one_that_sets_the_rest() {
    killed_at_each_effect(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_after_its_host_was_killed_leaves_all_as_it_was() {
    killed_at_each_effect(true).await;
}
