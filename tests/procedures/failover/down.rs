//! The primary is down.

use super::{World, said};
use rota_testbed::{PostgresPods, PostgresVersion};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_and_the_old_primary_stays_away() {
    let world = World::new("takeover", PostgresVersion::V16, 1).await;
    let (primary, standby) = (&world.pods.primary, world.standby());
    world.deployment("zeus", 2).await;
    primary.execute("postgres", "create table orders as select generate_series(1, 1000) as id").await.unwrap();
    standby.catches_up(primary).await.unwrap();
    let identifier: String = primary.ask("select system_identifier::text from pg_control_system()").await.unwrap();
    let before = world.namespace.get("deployment", "zeus").await.unwrap();
    primary.crash().unwrap();
    world.serves(&[]).await;

    let (status, answer) = world
        .run(
            "postgres-failover",
            &["-p", "applications_labels=uses=postgres", "-p", &format!("system_identifier={identifier}")],
        )
        .await;
    assert_eq!(status, Some(0), "{answer:#}");
    world.has_failed_over_to(standby).await;
    assert_eq!(standby.ask::<i64>("select count(*) from orders").await.unwrap(), 1000);
    assert_eq!(
        standby.ask::<String>("select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)").await.unwrap(),
        "00000002"
    );

    let data = &answer["report"]["data"];
    assert_eq!(data["new_primary"]["pod"], "postgres-replica-0");
    assert_eq!(data["server"]["system_identifier"], identifier);
    assert_eq!((&data["promoted"]["timeline"], &data["lost_bytes"]), (&json!(2), &json!(0)), "{data:#}");
    assert_eq!(data["endpoints"], json!(["postgres-replica-0"]));
    assert_eq!(data["looks"].as_array().unwrap().len(), 3);
    assert_eq!(data["old_primary"]["replicas"], 1);
    let zeus = &data["applications"][0];
    assert_eq!(
        (&zeus["name"], &zeus["replicas"], &zeus["complete"]),
        (&json!("zeus"), &json!(2), &json!(true)),
        "{zeus}"
    );
    let after = world.namespace.get("deployment", "zeus").await.unwrap();
    assert_ne!(before["spec"]["template"], after["spec"]["template"], "it was restarted");
    assert!(said(&answer).contains("pg_rewind"), "what to do with the old primary");

    // Seen in the runbook's script: the old primary comes back, and both take writes.
    primary.mend().unwrap();
    let (status, again) = world.run("postgres-failover", &[]).await;
    assert_eq!(status, Some(1), "{again:#}");
    assert!(said(&again).contains("it has left recovery, on timeline 2"), "{again:#}");
    world.has_failed_over_to(standby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_hangs_is_ended_before_another_is_promoted() {
    let world = World::new("hangs", PostgresVersion::V18, 1).await;
    let standby = world.standby();
    standby.execute("postgres", "alter system set wal_receiver_timeout = '2s'").await.unwrap();
    standby.execute("postgres", "select pg_reload_conf()").await.unwrap();
    world.pods.primary.pause();
    world.serves(&[]).await;
    let (status, answer) = rota_testbed::eventually(super::DEADLINE, "a standby that hears nothing more", async || {
        // While the receiver waits for its timeout, the primary is taken for alive.
        let (status, answer) = world.run("postgres-failover", &[]).await;
        Ok((!said(&answer).contains("it streams from its primary")).then_some((status, answer)))
    })
    .await
    .unwrap();
    assert_eq!(status, Some(0), "{answer:#}");
    assert!(answer["report"]["data"]["looks"][0]["sql"].as_str().unwrap().contains("no session within"), "{answer:#}");
    // Its postmaster is dead. The others are stopped where they are, which a real node would have killed; they end when they go on.
    world.pods.primary.resume();
    rota_testbed::eventually(super::DEADLINE, "the end of the old primary", async || {
        Ok((!world.pods.primary.is_running()).then_some(()))
    })
    .await
    .unwrap();
    world.has_failed_over_to(standby).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_standbys_the_one_that_has_most_is_promoted_and_what_is_lost_is_said() {
    let world = World::new("best", PostgresVersion::V18, 2).await;
    let [behind, ahead] = &world.pods.standbys[..] else { panic!("two standbys") };
    let primary = &world.pods.primary;
    let cut_off = async |standby: &rota_testbed::PostgresPod| {
        standby.execute("postgres", "alter system set primary_conninfo = 'host=127.0.0.1 port=1'").await.unwrap();
        standby.execute("postgres", "select pg_reload_conf()").await.unwrap();
        rota_testbed::eventually(super::DEADLINE, "a standby that is cut off", async || {
            Ok((!standby
                .ask::<bool>("select exists (select from pg_stat_wal_receiver where status = 'streaming')")
                .await?)
                .then_some(()))
        })
        .await
        .unwrap();
    };
    cut_off(behind).await;
    primary.execute("postgres", "create table orders as select generate_series(1, 1000) as id").await.unwrap();
    ahead.catches_up(primary).await.unwrap();
    cut_off(ahead).await;
    primary.execute("postgres", "create table lost as select generate_series(1, 1000) as id").await.unwrap();
    let written: String = primary.ask("select pg_current_wal_flush_lsn()::text").await.unwrap();
    primary.crash().unwrap();
    world.serves(&[]).await;

    let lsn = format!("primary_lsn={written}");
    let both = ["--bind", "standby_2=replica2", "-p", &lsn];
    let (status, refused) =
        world.run("postgres-failover", &[&both[..], &["-p", "maximum_lost_bytes=0"]].concat()).await;
    assert_eq!(status, Some(1), "{refused:#}");
    assert!(said(&refused).contains("more than the 0 that may be lost"), "{refused:#}");
    world.is_as_before().await;

    let (status, answer) = world.run("postgres-failover", &both).await;
    assert_eq!(status, Some(0), "{answer:#}");
    world.has_failed_over_to(ahead).await;
    assert_eq!(ahead.ask::<i64>("select count(*) from orders").await.unwrap(), 1000);
    assert!(behind.in_recovery().await.unwrap());
    let data = &answer["report"]["data"];
    let lost: i64 = ahead.ask(&format!("select ('{written}'::pg_lsn - pg_last_wal_replay_lsn())::int8")).await.unwrap();
    assert!(lost > 0);
    assert_eq!(data["lost_bytes"], lost, "{data:#}");
    assert_eq!(answer["report"]["status"], "critical", "{answer:#}");
    assert!(said(&answer).contains("postgres-replica-0 is to follow postgres-replica-2-0 now"), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_is_refused_is_no_success_and_everything_is_as_it_was() {
    let world = World::new("unpromotable", PostgresVersion::V16, 1).await;
    let (primary, standby) = (&world.pods.primary, world.standby());
    let password = primary.create_role("weak", "in role pg_monitor").await.unwrap();
    standby.catches_up(primary).await.unwrap();
    let url = standby.pod_url(&world.namespace, "postgres").await.unwrap();
    let (_, at) = url.split_once('@').unwrap();
    let mut world = world;
    world.rota.set("REPLICA_URL", format!("postgres://weak:{password}@{at}"));
    world.pods.primary.crash().unwrap();
    world.serves(&[]).await;
    let (status, answer) = world.run("postgres-failover", &[]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(said(&answer).contains("permission denied for function pg_promote"), "{answer:#}");
    world.is_as_before().await;
    world.pods.primary.mend().unwrap();
    world.serves(&["postgres-0"]).await;
    assert_eq!(PostgresPods::SERVICE, "postgres-primary");
}
