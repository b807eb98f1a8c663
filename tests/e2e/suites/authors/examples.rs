//! The procedures in examples/plugins, built as their pages say and run against real servers. (The one in JavaScript is in `javascript`.)

use super::{author, printed, refused};
use rota_testbed::{Cluster, Namespace, Postgres, PostgresOptions, S3, eventually};
use rota_tests::Rota;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// Copy an example, as somebody who begins with it does, and build and check it.
async fn made(rota: &Rota, example: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins").join(example);
    copy(&from, &rota.path("work/example"));
    printed(rota, "plugin_build", &["plugin", "build", "example"], 0).await;
    let checked = printed(rota, "plugin_check", &["plugin", "check", "example"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked:#}");
    let name = checked["plugin"].as_str().unwrap();
    let page = std::fs::read_to_string(from.join("README.md")).unwrap();
    assert!(page.contains(name) && page.contains("rota plugin build examples/plugins/"), "{example} has no page");
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/writing-a-plugin.md");
    assert!(std::fs::read_to_string(all).unwrap().contains(&format!("(../examples/plugins/{example})")), "{example}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let built = name == "target" || name == ".rota" || name.to_string_lossy().ends_with(".wasm");
        if entry.file_type().unwrap().is_dir() {
            if !built {
                copy(&entry.path(), &to.join(name));
            }
        } else if !built {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// A Deployment of one pod that runs a command: where it is `stuck`, one that no node takes, ever.
fn deployment(name: &str, command: &str, stuck: bool) -> String {
    let mut pod = json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{ "name": "main", "image": "busybox:1", "command": ["sh", "-c", command] }],
    });
    if stuck {
        pod["nodeSelector"] = json!({ "no-node": "has-this" });
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "replicas": 1, "progressDeadlineSeconds": 5, "selector": { "matchLabels": { "app": name } }, "template": {
            "metadata": { "labels": { "app": name } }, "spec": pod } },
    })
    .to_string()
}

async fn given_up(namespace: &Namespace, name: &str) {
    eventually(DEADLINE, "the controller to give up", async || {
        let found = namespace.get("deployment", name).await?;
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.iter().any(|c| c["reason"] == "ProgressDeadlineExceeded").then_some(()))
    })
    .await
    .unwrap();
}

async fn command(namespace: &Namespace, name: &str) -> String {
    let found = namespace.get("deployment", name).await.unwrap();
    found["spec"]["template"]["spec"]["containers"][0]["command"][2].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_one_in_rust_rolls_back_what_is_stuck() {
    let rota = author();
    made(&rota, "rust-stuck-deployments").await;
    let mut cargo = tokio::process::Command::new("cargo");
    cargo.args(["test", "--locked"]).current_dir(rota.path("work/example")).env_clear().envs(rota.environment());
    let tests = cargo.output().await.unwrap();
    let heard = format!("{}\n{}", String::from_utf8_lossy(&tests.stdout), String::from_utf8_lossy(&tests.stderr));
    assert!(tests.status.success() && heard.contains("6 passed") && !heard.contains("warning:"), "{heard}");

    let namespace = Cluster::shared().await.unwrap().namespace("stuck").await.unwrap();
    // One that served and got a bad template, one that never did, one that is well.
    for (name, good) in [("web", true), ("well", true), ("never", false)] {
        namespace.apply(&deployment(name, "exec sleep 600", !good)).await.unwrap();
        if good {
            namespace.kubectl(["rollout", "status", &format!("deployment/{name}"), "--timeout=50s"]).await.unwrap();
        }
    }
    namespace.apply(&deployment("web", "exec sleep 601", true)).await.unwrap();
    given_up(&namespace, "web").await;
    given_up(&namespace, "never").await;

    let kubeconfig = namespace.kubeconfig_for(namespace.cluster().token()).unwrap();
    let bind = format!("cluster=kubernetes://{}", kubeconfig.display());
    let base = ["run", "example/stuck-deployments.wasm", "--bind", &bind];
    let run = async |more: &[&str], status: i32| printed(&rota, "answer", &[&base[..], more].concat(), status).await;

    // Only looking needs only read.
    let seen = run(&["-p", "action=report"], 0).await;
    let stuck = seen["report"]["data"]["stuck"].as_array().unwrap();
    let names: Vec<&str> = stuck.iter().map(|one| one["deployment"].as_str().unwrap()).collect();
    assert_eq!(names, ["never", "web"], "{seen:#}");
    assert_eq!((&stuck[0]["back_to"], &stuck[1]["back_to"]), (&json!(null), &json!(1)));
    assert!(stuck[1]["reasons"].to_string().contains("not scheduled: "), "{seen:#}");
    assert_eq!(seen["report"]["findings"][1]["remedy"]["plugin"], "stuck-deployments", "{seen:#}");
    assert_eq!(seen["effects"], json!([]));
    // Acting without the access is denied, and nothing is touched.
    let denied = run(&[], 3).await;
    assert!(denied["error"]["message"].as_str().unwrap().contains("`write` on slot `cluster`"), "{denied:#}");
    assert_eq!(command(&namespace, "web").await, "exec sleep 601");
    // More than its bound: the cause is another, and none is touched.
    let many = run(&["--grant", "declared", "-p", "most=1"], 0).await;
    assert_eq!((&many["report"]["data"]["too_many"], &many["effects"]), (&json!(true), &json!([])), "{many:#}");
    assert_eq!(many["report"]["status"], "critical");
    // A plan lists the patch, as the server's dry run of it, and does nothing.
    let plan = run(&["--grant", "declared", "--plan"], 0).await;
    assert_eq!(plan["effects"].as_array().unwrap().len(), 1, "{plan:#}");
    assert_eq!(
        (&plan["effects"][0]["operation"], &plan["effects"][0]["outcome"]),
        (&json!("kubernetes.patch"), &json!("planned"))
    );
    assert!(plan["effects"][0]["detail"].as_str().unwrap().contains("exec sleep 600"), "{plan:#}");
    assert_eq!(command(&namespace, "web").await, "exec sleep 601");
    for bad in ["most=0", "action=undo", "wait_seconds=9999", "namespace=kube-system"] {
        refused(&rota, &[&base[..], &["-p", bad]].concat(), 2).await;
    }

    let done = run(&["--grant", "declared", "-p", "wait_seconds=50"], 0).await;
    let web = &done["report"]["data"]["stuck"][1];
    assert_eq!((&web["done"], &web["complete"]), (&json!("rolled-back"), &json!(true)), "{done:#}");
    assert_eq!(done["report"]["data"]["stuck"][0]["done"], "nothing", "it has nothing to go back to");
    assert_eq!(command(&namespace, "web").await, "exec sleep 600");
    namespace.kubectl(["rollout", "status", "deployment/web", "--timeout=50s"]).await.unwrap();
    let again = run(&["--grant", "declared"], 0).await;
    assert_eq!(again["effects"], json!([]), "a second run finds nothing that it could do");
    // For what only a new try mends.
    let restarted =
        run(&["--grant", "declared", "-p", "action=restart", "-p", "labels=app=never", "-p", "wait_seconds=0"], 0)
            .await;
    assert_eq!(restarted["effects"][0]["operation"], "kubernetes.restart", "{restarted:#}");
}

/// What the bucket has, by names.
async fn objects(rota: &Rota) -> Vec<String> {
    let script = "for await (const o of bucket.list('')) print(o.name)";
    let listed = rota.json(&["exec", "-e", script, "--bind", "bucket=exports"]).await.unwrap();
    let lines = listed["report"]["data"]["output"].as_array().unwrap_or_else(|| panic!("{listed:#}"));
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_one_in_python_exports_each_tenant_and_reads_it_back() {
    let mut rota = author();
    rota_testbed::tool("bin/componentize-py").expect("scripts/setup guests");
    let programs = rota_testbed::tool("bin").unwrap();
    rota.set("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    made(&rota, "python-tenant-export").await;
    let database = Postgres::shared().await.unwrap().fresh_database("tenants").await.unwrap();
    database
        .execute(
            "create table orders (id int, customer text, note text);
             insert into orders select n, case when n <= 600 then 'acme' else 'globex' end, 'grüße \"' || n from generate_series(1, 605) n;
             create table hostile as select 'x'::text as customer union all select '../acme' union all select 'manifest'",
        )
        .await
        .unwrap();
    let s3 = S3::shared().await.unwrap();
    rota.set("URL", database.url()).set("ACCESS", &s3.keys().access_key).set("SECRET", &s3.keys().secret_key);
    let toml = format!(
        "[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\n\
         [bindings.exports]\nkind = \"storage\"\nurl = \"s3://{}/{}\"\nendpoint = \"{}\"\nregion = \"any\"\n\
         access_key = \"env:ACCESS\"\nsecret_key = \"env:SECRET\"\n",
        s3.bucket(),
        database.name(),
        s3.endpoint()
    );
    rota.configure(&toml).unwrap();
    let base = ["run", "example/tenant-export.wasm", "--bind", "database=shop", "--bind", "bucket=exports"];
    let of = ["-p", "table=orders", "-p", "tenant_column=customer", "-p", "prefix=exports/one"];
    let run = async |more: &[&str], status: i32| printed(&rota, "answer", &[&base[..], more].concat(), status).await;
    let granted = ["--grant", "declared"];

    let plan = run(&[&of[..], &granted, &["--plan"]].concat(), 0).await;
    assert_eq!(plan["report"]["summary"], "605 rows of 2 tenants of public.orders would be exported", "{plan:#}");
    let planned: Vec<&str> =
        plan["effects"].as_array().unwrap().iter().map(|e| e["target"].as_str().unwrap()).collect();
    assert_eq!(planned.len(), 3, "{planned:?}");
    assert!(planned[2].ends_with("exports/one/manifest.json"), "{planned:?}");
    assert_eq!(objects(&rota).await, Vec::<String>::new());
    // Without the access to write it is denied before anything is there.
    let denied = run(&of, 3).await;
    assert!(denied["error"]["message"].as_str().unwrap().contains("`write` on slot `bucket`"), "{denied:#}");
    assert_eq!(objects(&rota).await, Vec::<String>::new());

    let done = run(&[&of[..], &granted].concat(), 0).await;
    let data = &done["report"]["data"];
    let rows: Vec<(&Value, &Value)> =
        data["exported"].as_array().unwrap().iter().map(|one| (&one["tenant"], &one["rows"])).collect();
    assert_eq!(rows, [(&json!("acme"), &json!(600)), (&json!("globex"), &json!(5))], "{done:#}");
    assert_eq!(
        objects(&rota).await,
        ["exports/one/acme.jsonl", "exports/one/globex.jsonl", "exports/one/manifest.json"]
    );
    // What is in the bucket, looked at by somebody else, is what the database says.
    let script = "print(await bucket.getText('exports/one/globex.jsonl'))";
    let read = rota.json(&["exec", "-e", script, "--bind", "bucket=exports"]).await.unwrap().to_string();
    let mut connection = database.connect().await.unwrap();
    let wanted: Vec<String> =
        sqlx::query_scalar("select to_jsonb(o)::text from orders o where customer = 'globex' order by id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for line in wanted {
        let quoted = serde_json::to_string(&line).unwrap();
        assert!(read.contains(quoted.trim_matches('"')), "{line} is not in {read}");
    }
    // It overwrites nothing.
    let again = run(&[&of[..], &granted].concat(), 1).await;
    let said = again["error"].to_string();
    assert!(said.contains("another prefix"), "{again:#}");

    // Tenants whose names are another object's are left out, and the export has no manifest.
    let hostile = ["-p", "table=hostile", "-p", "tenant_column=customer", "-p", "prefix=exports/two"];
    let odd = run(&[&hostile[..], &granted].concat(), 0).await;
    assert_eq!(odd["report"]["data"]["refused"], json!(["../acme", "manifest"]), "{odd:#}");
    assert_eq!(odd["report"]["data"]["manifest"], json!(null));
    assert_eq!(objects(&rota).await.iter().filter(|name| name.contains("two")).count(), 1);
    // Only some, one of whom there is none of.
    let some =
        run(&[&of[..4], &["-p", "prefix=exports/three", "-p", r#"tenants=["globex","nobody"]"#], &granted].concat(), 0)
            .await;
    assert_eq!(
        (&some["report"]["data"]["missing"], &some["report"]["status"]),
        (&json!(["nobody"]), &json!("warning")),
        "{some:#}"
    );

    for (key, bad, status, says) in [
        ("table", "no_such", 1, "there is no table no_such"),
        ("table", "orders; drop table orders", 1, "there is no table"),
        ("tenant_column", "owner", 1, "has no column owner"),
        ("prefix", "../up", 2, "prefix"),
        ("most", "1", 1, "more than 1 tenants"),
    ] {
        let mut parameters =
            BTreeMap::from([("table", "orders"), ("tenant_column", "customer"), ("prefix", "exports/four")]);
        parameters.insert(key, bad);
        let given: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let given: Vec<&str> = given.iter().flat_map(|parameter| ["-p", parameter.as_str()]).collect();
        let refused = run(&[&given[..], &granted].concat(), status).await;
        assert!(refused["error"].to_string().contains(says), "{key}={bad}: {refused:#}");
    }
    let left: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&mut connection).await.unwrap();
    assert_eq!(left, 605);
}

#[tokio::test]
async fn the_one_in_c_drops_slots_that_nobody_uses_and_no_other() {
    let mut rota = author();
    made(&rota, "c-stale-slot-guard").await;
    let config = vec!["wal_level = logical".to_owned()];
    let server =
        Postgres::start(PostgresOptions { config, pgvector: false, ..PostgresOptions::default() }).await.unwrap();
    server.create_database("shop").await.unwrap();
    server
        .execute(
            "shop",
            "select pg_create_physical_replication_slot('gone', true), pg_create_physical_replication_slot('used', true),
                    pg_create_logical_replication_slot('app', 'pgoutput');
             create table filler as select repeat('x', 1000) as t from generate_series(1, 20000)",
        )
        .await
        .unwrap();
    let receivewal = server.program("pg_receivewal").unwrap();
    let wal = rota.path("wal");
    std::fs::create_dir(&wal).unwrap();
    let mut consumer = tokio::process::Command::new(&receivewal);
    consumer
        .args(["--slot=used", "--no-loop", "--directory"])
        .arg(&wal)
        .arg(format!("--dbname={}", server.url("shop")));
    let _consumer = consumer.kill_on_drop(true).spawn().unwrap();
    let slots = async || -> Vec<String> {
        let mut connection = server.connect("shop").await.unwrap();
        sqlx::query_scalar("select slot_name::text from pg_replication_slots order by 1")
            .fetch_all(&mut connection)
            .await
            .unwrap()
    };
    eventually(DEADLINE, "the slot to be in use", async || {
        let mut connection = server.connect("shop").await?;
        let active: bool = sqlx::query_scalar("select active from pg_replication_slots where slot_name = 'used'")
            .fetch_one(&mut connection)
            .await?;
        Ok(active.then_some(()))
    })
    .await
    .unwrap();
    rota.set("URL", server.url("shop"));
    let toml = format!(
        "[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\n\
         [bindings.drop-slot]\nkind = \"tool\"\npath = \"{}\"\nprofile = \"custom\"\n\
         arguments = [\"--drop-slot\", \"--slot=*\"]\nconnection = [\"read\"]\n",
        receivewal.display()
    );
    rota.configure(&toml).unwrap();
    let base = ["run", "example/stale-slot-guard.wasm", "--bind", "database=shop", "-p", "maximum_bytes=4194304"];
    let drops = ["--bind", "pg_receivewal=drop-slot", "-p", "drop=true", "-p", "most=5"];
    let run = async |more: &[&str], status: i32| printed(&rota, "answer", &[&base[..], more].concat(), status).await;

    let seen = run(&["--plan"], 0).await;
    assert_eq!(
        (&seen["report"]["data"]["slots"], &seen["report"]["data"]["dropped"]),
        (&json!(3), &json!([])),
        "{seen:#}"
    );
    assert!(seen["report"]["data"]["stale"].as_u64().unwrap() >= 2, "{seen:#}");
    assert_eq!(seen["report"]["status"], "critical");
    assert_eq!(seen["report"]["findings"][0]["remedy"]["plugin"], "stale-slot-guard", "{seen:#}");
    // It asks for its word, for its program, and for the access to run it.
    let word = refused(&rota, &[&base[..], &drops, &["--grant", "declared"]].concat(), 2).await;
    assert!(word.contains("--confirm DROP"), "{word}");
    let unbound = run(&["-p", "drop=true", "--confirm", "DROP"], 1).await;
    assert!(unbound["error"].to_string().contains("--bind pg_receivewal="), "{unbound:#}");
    let denied = run(&[&drops[..], &["--grant", "database=read", "--confirm", "DROP"]].concat(), 3).await;
    assert!(denied["error"]["message"].as_str().unwrap().contains("`run` on slot `pg_receivewal`"), "{denied:#}");
    // A plan lists what it would do, and does not.
    let plan = run(&[&drops[..], &["--grant", "declared", "--plan"]].concat(), 0).await;
    assert_eq!(plan["effects"].as_array().unwrap().len(), 2, "{plan:#}");
    assert_eq!(plan["effects"][0]["outcome"], "planned");
    assert!(plan["effects"][0]["detail"].as_str().unwrap().contains("--drop-slot"), "{plan:#}");
    assert_eq!(slots().await, ["app", "gone", "used"]);
    // A lone word is a list of one for what takes a list of texts: `app` is no more in the plan.
    let kept = run(&[&drops[..], &["-p", "keep=app", "--grant", "declared", "--plan"]].concat(), 0).await;
    assert_eq!(kept["effects"].as_array().unwrap().len(), 1, "{kept:#}");
    assert_eq!(kept["report"]["data"]["dropped"], json!(["gone"]), "{kept:#}");
    assert_eq!(slots().await, ["app", "gone", "used"]);
    for bad in ["most=0", "maximum_bytes=-1", "drop=yes"] {
        refused(&rota, &[&base[..], &["-p", bad, "--plan"]].concat(), 2).await;
    }

    // Neither what is kept nor what is in use.
    let execute = ["--grant", "declared", "--confirm", "DROP"];
    let done = run(&[&drops[..], &execute, &["-p", r#"keep=["app"]"#]].concat(), 0).await;
    assert_eq!(done["report"]["data"]["dropped"], json!(["gone"]), "{done:#}");
    assert_eq!(slots().await, ["app", "used"]);
    let done = run(&[&drops[..], &execute].concat(), 0).await;
    assert_eq!(done["report"]["data"]["dropped"], json!(["app"]), "{done:#}");
    assert_eq!(slots().await, ["used"]);
}
