//! examples/kosmos: the runbook as configuration, held to the plugins; what it asks of a cluster is enough, and no more than it says.

use crate::rota;
use rota_testbed::Cluster;
use rota_tests::Rota;
use serde_json::Value;

const TOML: &str = include_str!("../../examples/kosmos/rota.toml");

/// What the variables of the example are in a test: nothing of it is reached.
fn configured(toml: &str) -> Rota {
    let mut rota = rota();
    for name in ["ROTA_STORE_URL", "KOSMOS_URL", "KOSMOS_OWNER_URL", "KOSMOS_REPLICA_URL"] {
        rota.set(name, "postgres://nobody@127.0.0.1:1/none");
    }
    rota.set("DRAGONFLY_URL", "redis://127.0.0.1:1").set("NATS_URL", "nats://127.0.0.1:1");
    rota.set("OSS_ACCESS_KEY", "none").set("OSS_SECRET_KEY", "none");
    // Records of the test's own.
    rota.configure(&toml.replace("url = \"env:ROTA_STORE_URL\"", "# url")).unwrap();
    rota
}

#[tokio::test]
async fn every_job_is_one_that_its_plugin_takes() {
    let rota = configured(TOML);
    let checked = rota.json(&["config", "check"]).await.unwrap();
    assert_eq!(checked["ok"], true, "{checked:#}");
    let jobs = rota.json(&["jobs", "list"]).await.unwrap();
    let jobs = jobs.as_array().unwrap();
    let plugins: Vec<&str> = jobs.iter().filter_map(|job| job["plugin"].as_str()).collect();
    for plugin in ["postgres-restore", "postgres-failover", "postgres-locks", "cache-invalidate", "jetstream-health"] {
        assert!(plugins.contains(&plugin), "{plugins:?}");
    }
    // The roles beside it are what the doctor prints.
    let printed = rota.json(&["doctor", "--manifests"]).await.unwrap();
    let of = |language: &str| -> Vec<&str> {
        let all = printed.as_array().unwrap().iter().filter(|manifest| manifest["language"] == language);
        all.map(|manifest| manifest["text"].as_str().unwrap()).collect()
    };
    let (sql, yaml) =
        (include_str!("../../examples/kosmos/roles.sql"), include_str!("../../examples/kosmos/rbac.yaml"));
    assert_eq!((of("sql").join("\n"), of("yaml").join("---\n")), (sql.to_owned(), yaml.to_owned()));
    // What can lose data runs only when somebody starts it, and says the word.
    for job in jobs {
        let risky = ["restore", "failover", "switchover"].contains(&job["name"].as_str().unwrap());
        assert!(!risky || job["next"].is_null(), "{job:#}");
    }
    let refused = rota.run(&["run", "restore"]).await.unwrap();
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert!(refused.all().contains("--confirm RESTORE"), "{refused:?}");
}

#[tokio::test]
async fn what_the_manifests_give_is_what_the_doctor_finds_enough() {
    let cluster = Cluster::shared().await.unwrap();
    let (db, core) = (cluster.namespace("kosmos-db").await.unwrap(), cluster.namespace("kosmos-core").await.unwrap());
    let toml = TOML
        .replace("\"kosmos-db\"", &format!("\"{}\"", db.name()))
        .replace("\"kosmos-core\"", &format!("\"{}\"", core.name()));
    let rota = configured(&toml);
    let printed = rota.json(&["doctor", "--manifests"]).await.unwrap();
    let text = |binding: &str| {
        let one = printed.as_array().unwrap().iter().find(|manifest| manifest["binding"] == binding);
        one.and_then(|manifest| manifest["text"].as_str())
            .unwrap_or_else(|| panic!("{binding}: {printed:#}"))
            .to_owned()
    };
    assert!(text("kosmos").contains("CREATE ROLE \"rota_maintainer\" NOLOGIN;"), "{}", text("kosmos"));
    assert!(text("kosmos").contains("GRANT pg_signal_backend TO \"rota_maintainer\";"), "{}", text("kosmos"));
    assert!(text("kosmos-replica").contains("pg_promote(boolean, integer) TO \"rota_promoter\""));

    // Before the account is given its roles, the doctor says what is missing; afterwards nothing is.
    let token = db.service_account("rota").await.unwrap();
    let kubeconfig = db.kubeconfig_for(&token).unwrap();
    let outside = toml.replace("in_cluster = true", &format!("kubeconfig = \"file:{}\"", kubeconfig.display()));
    let rota = configured(&outside);
    let doctor = async || -> Value {
        let said = rota.run(&["doctor", "--binding", "prod"]).await.unwrap();
        said.json().unwrap().as_array().unwrap().iter().find(|check| check["what"] == "prod").unwrap().clone()
    };
    let before = doctor().await;
    assert_eq!(before["ok"], false, "{before:#}");
    assert!(before["found"].as_str().unwrap().contains("patch services postgres-primary"), "{before:#}");
    cluster.kubectl_with_input(["apply", "--filename=-"], text("prod").as_bytes()).await.unwrap();
    let after = rota_testbed::eventually(std::time::Duration::from_secs(20), "the roles to count", async || {
        let found = doctor().await;
        Ok((found["ok"] == true).then_some(found))
    });
    let after = after.await.unwrap();
    assert!(!after["found"].as_str().unwrap().contains("may do everything"), "{after:#}");
    // And no more.
    for refused in [
        &["delete", "pods"][..],
        &["get", "secrets"],
        &["delete", "statefulsets.apps"],
        &["create", "deployments.apps"],
    ] {
        let mut arguments = vec!["auth", "can-i"];
        arguments.extend(refused);
        let account = format!("--as=system:serviceaccount:{}:rota", db.name());
        arguments.push(&account);
        assert!(db.kubectl(&arguments).await.is_err(), "{refused:?} is allowed");
    }
    // The administrator, of whom the example is no account, is told so.
    let admin = db.kubeconfig_for(cluster.token()).unwrap();
    let all = toml.replace("in_cluster = true", &format!("kubeconfig = \"file:{}\"", admin.display()));
    let said = configured(&all).run(&["doctor", "--binding", "prod"]).await.unwrap();
    assert!(said.all().contains("may do everything"), "{said:?}");
}
