//! What is refused, and with which words; nothing is changed then.

use super::{World, said};
use rota_testbed::{PostgresPods, PostgresVersion, eventually};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_lives_is_for_a_switchover_and_one_that_only_we_do_not_reach_too() {
    let mut world = World::new("lives", PostgresVersion::V16, 1).await;
    let (status, answer) = world.run("postgres-failover", &[]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(said(&answer).contains("is not down: its binding: it answers"), "{answer:#}");
    assert_eq!(answer["report"]["findings"][0]["remedy"]["plugin"], "postgres-switchover", "{answer:#}");
    world.is_as_before().await;

    // As the page has it, without a configuration.
    let bind = |slot: &str, address: &str| format!("{slot}={address}");
    let (primary, standby) = (&world.pods.primary, world.standby());
    let kubeconfig = world.namespace.kubeconfig_for(world.namespace.cluster().token()).unwrap();
    let cluster = format!("kubernetes://{}?namespace={}", kubeconfig.display(), world.namespace.name());
    let (status, answer) = crate::run(
        &world.rota,
        "postgres-failover",
        &[
            "--bind",
            &bind("database", &primary.pod_url(&world.namespace, "postgres").await.unwrap()),
            "--bind",
            &bind("standby", &standby.pod_url(&world.namespace, "postgres").await.unwrap()),
            "--bind",
            &bind("cluster", &cluster),
            "--grant",
            "declared",
            "--plan",
        ],
    )
    .await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(said(&answer).contains("is not down"), "{answer:#}");

    // Our own way to it is cut, and everybody else's is not.
    world.rota.set("PRIMARY_URL", "postgres://postgres:x@127.0.0.1:1/postgres");
    let (status, answer) = world.run("postgres-failover", &[]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    let text = said(&answer);
    assert!(text.contains("the pod postgres-0 is ready"), "{answer:#}");
    assert!(text.contains("postgres-replica-0: it streams from its primary"), "{answer:#}");
    assert!(!text.contains("its binding:"), "{answer:#}");
    world.is_as_before().await;

    // A password that is refused is a server that answers.
    let at = world.pods.primary.pod_url(&world.namespace, "postgres").await.unwrap();
    let (_, at) = at.split_once('@').unwrap();
    world.rota.set("PRIMARY_URL", format!("postgres://postgres:wrong@{at}"));
    let (status, answer) = world.run("postgres-failover", &[]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(said(&answer).contains("its binding: something answers"), "{answer:#}");
    world.is_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_owns_is_left_to_it_and_a_lost_node_is_no_fence() {
    let world = World::new("owned", PostgresVersion::V16, 1).await;
    world.pods.primary.crash().unwrap();
    world.serves(&[]).await;
    let label = async |kind: &str, name: &str, label: &str| {
        world.namespace.kubectl(["label", "--overwrite", kind, name, label]).await.unwrap();
    };
    let refused = async |flags: &[&str], words: &[&str]| {
        let (status, answer) = world.run("postgres-failover", flags).await;
        assert_eq!(status, Some(1), "{answer:#}");
        for words in words {
            assert!(said(&answer).contains(words), "{words}: {answer:#}");
        }
        world.is_as_before().await;
    };
    label("pod", "postgres-replica-0", "cnpg.io/cluster=shop").await;
    refused(&[], &["CloudNativePG (cluster shop)", "kubectl cnpg promote shop"]).await;
    label("pod", "postgres-replica-0", "cnpg.io/cluster-").await;
    label("service", PostgresPods::SERVICE, "application=spilo").await;
    label("service", PostgresPods::SERVICE, "cluster-name=shop").await;
    refused(&[], &["Patroni (cluster shop)", "patronictl failover shop"]).await;
    label("service", PostgresPods::SERVICE, "application-").await;
    refused(&["-p", "system_identifier=7300000000000000001"], &["is of another cluster"]).await;
    refused(&["-p", "service=nothing"], &["there is no Service nothing"]).await;
    refused(
        &["-p", "standby_pod=postgres-0"],
        &["reaches the pod postgres-replica-0, and the parameters say that it is postgres-0"],
    )
    .await;
    refused(&["-p", "applications=[\"none\"]"], &["there is no deployment none"]).await;

    // A plan says what would be done, does none of it, and waits for nothing.
    let (status, plan) = world.run("postgres-failover", &["--plan", "-p", "looks=2"]).await;
    assert_eq!(status, Some(0), "{plan:#}");
    let effects: Vec<&str> = plan["effects"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["operation"].as_str())
        .filter(|one| *one != "run.compensation")
        .collect();
    assert_eq!(
        effects,
        ["kubernetes.lock", "kubernetes.set-scale", "sql.promote", "kubernetes.patch", "kubernetes.release"],
        "{plan:#}"
    );
    assert!(plan["report"]["summary"].as_str().unwrap().contains("postgres-replica-0 would be promoted"), "{plan:#}");
    world.is_as_before().await;

    // The old primary's pod is on a node that nobody hears of.
    let node = format!("lost-{}", world.namespace.name());
    let object =
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node }, "spec": { "unschedulable": true } });
    world.namespace.apply(&object.to_string()).await.unwrap();
    let bound = json!({ "spec": { "template": { "spec": { "nodeName": node } } } }).to_string();
    world.namespace.kubectl(["patch", "statefulset", "postgres", "--patch", &bound]).await.unwrap();
    world.namespace.kubectl(["delete", "pod", "postgres-0", "--wait=false", "--ignore-not-found"]).await.unwrap();
    eventually(super::DEADLINE, "a pod on the lost node", async || {
        let pod = world.namespace.get("pod", "postgres-0").await?;
        Ok((pod["spec"]["nodeName"] == node.as_str()).then_some(()))
    })
    .await
    .unwrap();
    refused(&[], &["is not ready, and that is no fence", "node.kubernetes.io/out-of-service"]).await;
    // Somebody who knows says that it is off: Kubernetes removes its pods then, and that is a fence.
    let taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    world.namespace.kubectl(["taint", "node", &node, taint]).await.unwrap();
    let (status, answer) = world.run("postgres-failover", &[]).await;
    world.namespace.kubectl(["delete", "node", &node]).await.unwrap();
    assert_eq!(status, Some(0), "{answer:#}");
    world.has_failed_over_to(world.standby()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failover_at_a_time_and_the_other_is_told_who() {
    let world = World::new("two", PostgresVersion::V16, 1).await;
    world.pods.primary.crash().unwrap();
    world.serves(&[]).await;
    let second = async {
        eventually(super::DEADLINE, "the lock", async || {
            let lease = world.namespace.get("lease", "rota-primary-of-postgres-primary").await?;
            Ok(lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned))
        })
        .await
        .unwrap();
        super::run_on(&world.another_host().await, "postgres-failover", &[]).await
    };
    let ((first, done), (refused, answer)) =
        tokio::join!(world.run("postgres-failover", &["-p", "look_interval_seconds=3"]), second);
    assert_eq!((first, refused), (Some(0), Some(1)), "{done:#} {answer:#}");
    let text = said(&answer);
    assert!(text.contains("one failover of postgres-primary at a time") && text.contains("is held by"), "{answer:#}");
    world.has_failed_over_to(world.standby()).await;
}
