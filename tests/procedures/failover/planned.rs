//! The primary lives, and is to be elsewhere.

use super::{World, said};
use rota_testbed::{PostgresVersion, eventually};
use serde_json::json;
use sqlx::Connection as _;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_under_writes_loses_none_of_what_was_committed() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let world = World::new("switch", version, 1).await;
        let (primary, standby) = (&world.pods.primary, world.standby());
        world.deployment("zeus", 2).await;
        primary.execute("postgres", "create table orders (id bigint primary key)").await.unwrap();
        // A client that writes as fast as it can, and counts what it was told is committed.
        let mut client = primary.connect("postgres").await.unwrap();
        let writes = tokio::spawn(async move {
            let mut committed = 0_i64;
            while sqlx::query("insert into orders values ($1)").bind(committed + 1).execute(&mut client).await.is_ok() {
                committed += 1;
            }
            committed
        });
        let (status, answer) = world.run("postgres-switchover", &["-p", "applications=[\"zeus\"]"]).await;
        assert_eq!(status, Some(0), "{answer:#}");
        let committed = writes.await.unwrap();
        assert!(committed > 0);
        world.has_failed_over_to(standby).await;
        let (there, last): (i64, i64) = {
            let mut connection = standby.connect("postgres").await.unwrap();
            let row = sqlx::query_as("select count(*), max(id) from orders").fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            row
        };
        // One more may have been committed and not been told any more.
        assert!(there == last && (committed..=committed + 1).contains(&there), "{committed} committed, {there} there");
        let data = &answer["report"]["data"];
        assert_eq!((&data["proof"]["lost_bytes"], &data["promoted"]["timeline"]), (&json!(0), &json!(2)), "{data:#}");
        assert_eq!(data["proof"]["replayed_lsn"], data["promoted"]["switch_lsn"], "{data:#}");
        assert!(data["write_gap_seconds"].as_f64().unwrap() > 0.0);
        assert!(data["before"]["client_sessions"].as_i64().unwrap() >= 1, "{data:#}");
        assert_eq!(data["applications"][0]["complete"], true, "{data:#}");
        // It stopped cleanly: its own control file says so, and where.
        let program = primary.program("pg_controldata").unwrap();
        let output = std::process::Command::new(program).arg("-D").arg(primary.data()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("shut down"), "{text}");
        assert!(text.contains(data["proof"]["shutdown_lsn"].as_str().unwrap()), "{text} {data:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ready_for_a_switchover_is_refused() {
    let world = World::new("unready", PostgresVersion::V16, 1).await;
    let (primary, standby) = (&world.pods.primary, world.standby());
    let refused = async |flags: &[&str], words: &str| {
        let (status, answer) = world.run("postgres-switchover", flags).await;
        assert_eq!(status, Some(1), "{answer:#}");
        assert!(said(&answer).contains(words), "{words}: {answer:#}");
        world.is_as_before().await;
    };
    let (status, plan) = world.run("postgres-switchover", &["--plan"]).await;
    assert_eq!(status, Some(0), "{plan:#}");
    assert!(plan["report"]["summary"].as_str().unwrap().contains("postgres-replica-0 would be promoted"), "{plan:#}");
    world.is_as_before().await;

    standby.execute("postgres", "select pg_wal_replay_pause()").await.unwrap();
    refused(&[], "is paused").await;
    standby.execute("postgres", "select pg_wal_replay_resume()").await.unwrap();

    standby.execute("postgres", "alter system set recovery_min_apply_delay = '1h'").await.unwrap();
    standby.execute("postgres", "select pg_reload_conf()").await.unwrap();
    primary.execute("postgres", "create table late (n int)").await.unwrap();
    refused(&["-p", "maximum_lag_bytes=0"], "more than maximum_lag_bytes").await;
    // It is stopped, the rest does not come in time, and everything is as it was.
    refused(&["-p", "replay_seconds=2"], "could not be proven in 2 s").await;
    world.serves(&["postgres-0"]).await;
    standby.execute("postgres", "alter system reset recovery_min_apply_delay").await.unwrap();
    standby.execute("postgres", "alter system set primary_conninfo = 'host=127.0.0.1 port=1'").await.unwrap();
    standby.execute("postgres", "select pg_reload_conf()").await.unwrap();
    eventually(super::DEADLINE, "a standby that is cut off", async || {
        let streams: bool =
            standby.ask("select exists (select from pg_stat_wal_receiver where status = 'streaming')").await?;
        Ok((!streams).then_some(()))
    })
    .await
    .unwrap();
    let mut world = world;
    world.rota.set("PRIMARY_URL", world.pods.primary.pod_url(&world.namespace, "postgres").await.unwrap());
    let (status, answer) = world.run("postgres-switchover", &[]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(said(&answer).contains("does not stream from the primary"), "{answer:#}");
    world.is_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_killed_rather_than_stopped_is_no_proof_and_is_started_again() {
    let world = World::new("unclean", PostgresVersion::V16, 1).await;
    let patch = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/lifecycle/preStop/exec/command",
                         "value": ["sh", "-c", "kill -KILL $(head -1 $PGDATA/postmaster.pid)"] }]);
    world
        .namespace
        .kubectl(["patch", "statefulset", "postgres", "--type=json", "--patch", &patch.to_string()])
        .await
        .unwrap();
    world.namespace.kubectl(["rollout", "status", "statefulset/postgres", "--timeout=50s"]).await.unwrap();
    world.serves(&["postgres-0"]).await;
    world.standby().streams().await.unwrap();
    let mut world = world;
    world.rota.set("PRIMARY_URL", world.pods.primary.pod_url(&world.namespace, "postgres").await.unwrap());
    let (status, answer) = world.run("postgres-switchover", &["-p", "replay_seconds=3"]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(said(&answer).contains("could not be proven in 3 s"), "{answer:#}");
    world.is_as_before().await;
    world.serves(&["postgres-0"]).await;
    tokio::time::timeout(Duration::from_secs(20), world.standby().streams()).await.unwrap().unwrap();
}
