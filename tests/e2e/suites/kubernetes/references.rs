//! Secrets of the host's own that stand in the cluster: `kubernetes:NAMESPACE/SECRET/KEY`.

use super::DEADLINE;
use rota_testbed::{Cluster, Postgres};
use serde_json::Value;

#[tokio::test]
async fn a_binding_may_have_its_url_in_a_secret_of_the_cluster() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace("references").await.unwrap();
    let database = Postgres::shared().await.unwrap().fresh_database("references").await.unwrap();
    let url = database.url().to_string();
    namespace.kubectl(["create", "secret", "generic", "kosmos", &format!("--from-literal=url={url}")]).await.unwrap();
    let mut rota = crate::rota();
    let binding = |key: &str| {
        format!("[bindings.kosmos]\nkind = \"sql\"\nurl = \"kubernetes:{}/kosmos/{key}\"\n", namespace.name())
    };
    let plan = ["run", "postgres-connections", "--bind", "database=kosmos", "--plan", "--output", "json"];
    rota.configure(&binding("url")).unwrap();

    // Without a way to a cluster it says which ways there are.
    let said = rota.run_within(&plan, DEADLINE).await.unwrap();
    assert!(said.all().contains("KUBECONFIG names no kubeconfig"), "{}", said.all());

    rota.set("KUBECONFIG", namespace.kubeconfig_for(cluster.token()).unwrap());
    let said: Value = rota.json(&plan).await.unwrap();
    assert_eq!(said["run"]["status"], "succeeded", "{said}");

    // What is misspelt is told, and nothing of the secret.
    rota.configure(&binding("uri")).unwrap();
    let said = rota.run_within(&plan, DEADLINE).await.unwrap();
    assert!(said.all().contains("has no key `uri`; it has url"), "{}", said.all());
    assert!(!said.all().contains(&url), "{}", said.all());

    // A login that may not read it is told what it needs.
    rota.configure(&binding("url")).unwrap();
    let token = namespace.service_account("nobody").await.unwrap();
    rota.set("KUBECONFIG", namespace.kubeconfig_for(&token).unwrap());
    let said = rota.run_within(&plan, DEADLINE).await.unwrap();
    assert!(said.all().contains("needs the verb get on this Secret"), "{}", said.all());
}
