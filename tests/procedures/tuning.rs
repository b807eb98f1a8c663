//! Settings: what they should be, the worst case, and what was written and did not take.

use crate::{rota, run};
use rota_testbed::{Postgres, PostgresOptions, PostgresVersion};
use serde_json::json;

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
        let settled = rota_testbed::eventually(std::time::Duration::from_secs(20), "the reload", async || {
            let (_, answer) = run(&rota, "postgres-tuning", &arguments).await;
            Ok((answer["report"]["data"]["pending_restart"] == json!(["shared_buffers"])).then_some(answer))
        })
        .await
        .unwrap();
        let titles = settled["report"]["findings"].to_string();
        assert!(titles.contains("shared_buffers = 2048MB is written and waits for a restart"), "{settled:#}");
        assert!(!titles.contains("\"work_mem is 64MB"), "it took: {settled:#}");
        server.execute("postgres", of("work_mem")["undo"].as_str().unwrap()).await.unwrap();
        // ALTER SYSTEM is nobody's to grant.
        let (role, password) = server.fresh_role("reader", "").await.unwrap();
        let bind = format!("database={}", server.url_as(&role, &password, "postgres"));
        let (_, answer) =
            run(&rota, "postgres-tuning", &["--bind", &bind, "--grant", "declared", "-p", "memory=8GB"]).await;
        assert_eq!(answer["report"]["data"]["visibility_complete"], false, "{answer:#}");
    }
}
