//! Standbys that stream, fall behind, are cut off and are promoted; and a primary and its standby as pods.

use rota_testbed::{
    Cluster, Postgres, PostgresOptions, PostgresPods, PostgresVersion, StandbyOptions, TcpProxy, eventually,
};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(50);

#[tokio::test]
async fn a_standby_streams_falls_behind_and_is_promoted_when_its_primary_is_killed() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let options = PostgresOptions { version, ..PostgresOptions::default() };
        let mut primary = Postgres::start(options).await.unwrap();
        let proxy = TcpProxy::to_port(primary.port()).await.unwrap();
        let through = StandbyOptions { through: Some(proxy.port()), ..StandbyOptions::default() };
        let standby = Postgres::standby(&primary, through).await.unwrap();
        assert!(standby.in_recovery().await.unwrap() && !primary.in_recovery().await.unwrap());
        assert!(
            primary.ask::<bool>("select active from pg_replication_slots where slot_name = 'standby'").await.unwrap()
        );

        primary.execute("postgres", "create table t as select 1 as n").await.unwrap();
        standby.catches_up(&primary).await.unwrap();
        assert_eq!(standby.ask::<i32>("select n from t").await.unwrap(), 1);

        proxy.stall();
        primary.execute("postgres", "insert into t values (2)").await.unwrap();
        assert_eq!(standby.ask::<i64>("select count(*) from t").await.unwrap(), 1, "it is behind");
        proxy.pass();
        standby.catches_up(&primary).await.unwrap();

        primary.kill();
        standby.promote().await.unwrap();
        standby.execute("postgres", "insert into t values (3)").await.unwrap();
        assert_eq!(standby.ask::<i64>("select count(*) from t").await.unwrap(), 3);
    }
}

#[tokio::test]
async fn pods_run_a_primary_and_a_standby_behind_a_service() {
    let namespace = Cluster::shared().await.unwrap().namespace("pods").await.unwrap();
    let pods = PostgresPods::start(&namespace, PostgresVersion::V16, 1).await.unwrap();
    assert!(pods.standbys[0].in_recovery().await.unwrap());
    let served = |wanted: &'static [&'static str]| {
        let (pods, namespace) = (&pods, &namespace);
        async move {
            eventually(DEADLINE, "the Service's endpoints", async || {
                Ok((pods.endpoints(namespace).await? == wanted).then_some(()))
            })
            .await
            .unwrap();
        }
    };
    served(&["postgres-0"]).await;
    let at_pod = pods.primary.pod_url(&namespace, "postgres").await.unwrap();
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&at_pod).await.unwrap();
    let address: String =
        sqlx::query_scalar("select host(inet_server_addr())").fetch_one(&mut connection).await.unwrap();
    assert!(at_pod.contains(&address));
    drop(connection);

    pods.primary.crash().unwrap();
    served(&[]).await;
    assert!(!pods.primary.is_running());
    pods.primary.mend().unwrap();
    served(&["postgres-0"]).await;
    pods.standbys[0].streams().await.unwrap();

    namespace.kubectl(["scale", "statefulset/postgres", "--replicas=0"]).await.unwrap();
    namespace.kubectl(["wait", "--for=delete", "pod/postgres-0", "--timeout=30s"]).await.unwrap();
    assert!(!pods.primary.is_running());
    namespace.kubectl(["scale", "statefulset/postgres", "--replicas=1"]).await.unwrap();
    served(&["postgres-0"]).await;
}
