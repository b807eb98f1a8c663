//! What runs in the cluster: commands, jobs, locks.

use super::{DEADLINE, World, call, kinds};
use rota_testbed::eventually;
use serde_json::{Value, json};

fn exec(words: &[&str], mut more: Value) -> Value {
    more["pod"] = "idle".into();
    more["words"] = words.into();
    call("exec", more)
}

fn shell(script: &str, more: Value) -> Value {
    exec(&["sh", "-c", script], more)
}

#[tokio::test]
async fn a_command_has_its_own_status_and_output() {
    let world = World::new("exec", "").await;
    world.pod("idle").await;
    let answers = world
        .all(&[
            exec(&["echo", "a b", "$HOME", "'"], json!({})),
            shell("echo out; echo why >&2; exit 42", json!({})),
            exec(&["no-such-program"], json!({})),
            shell("cat; echo end", json!({ "stdin": "what was sent\n" })),
            exec(&["cat"], json!({ "zeros": 3_000_000, "keep": 0 })),
            exec(&["head", "-c", "20000000", "/dev/zero"], json!({ "keep": 0 })),
            exec(&["cat"], json!({ "zeros": 3_000_000, "keep": 0, "verified": true })),
            shell("echo out; echo why >&2; exit 7", json!({ "verified": true })),
            call("exec", json!({ "pod": "none", "words": ["true"] })),
            call("exec", json!({ "pod": "idle", "container": "none", "words": ["true"] })),
            call("exec", json!({ "pod": "idle", "words": [] })),
        ])
        .await;
    let wanted = ["ok", "ok", "failed", "ok", "ok", "ok", "ok", "ok", "not-found"];
    assert_eq!(kinds(&answers)[..9], wanted, "{answers:#?}");
    assert_eq!(answers[0]["ok"]["stdout"], "a b $HOME '\n");
    assert_eq!((&answers[1]["ok"]["status"], &answers[1]["ok"]["stderr"]), (&json!(42), &json!("why\n")));
    assert_eq!(answers[3]["ok"]["stdout"], "what was sent\nend\n");
    for (number, length) in [(4, 3_000_000), (5, 20_000_000), (6, 3_000_000)] {
        assert_eq!(
            (&answers[number]["ok"]["status"], &answers[number]["ok"]["length"]),
            (&json!(0), &json!(length)),
            "{}",
            answers[number]
        );
    }
    assert_eq!(
        (&answers[7]["ok"]["status"], &answers[7]["ok"]["stdout"]),
        (&json!(7), &json!("out\n")),
        "{}",
        answers[7]
    );
    assert_eq!(answers[7]["ok"]["stderr"].as_str().unwrap().trim(), "why", "{}", answers[7]);
    assert_eq!(answers[9]["error"], "failed");
    assert_eq!(answers[10]["error"], "invalid-argument");
}

#[tokio::test]
async fn a_command_whose_pod_goes_has_not_succeeded() {
    let world = World::new("gone", "").await;
    world.pod("idle").await;
    let calls = [shell("echo begun; sleep 3; echo not reached", json!({}))];
    let deletion = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        world.namespace.kubectl(["delete", "pod", "idle", "--grace-period=0", "--force"]).await.unwrap();
    };
    let (answers, ()) = tokio::join!(world.all(&calls), deletion);
    let said = &answers[0];
    assert!(
        said["error"] == "failed"
            || said["error"] == "unavailable"
            || said["ok"]["status"].as_i64().is_some_and(|code| code != 0),
        "{said}"
    );
}

fn job(words: &[&str], mut more: Value) -> Value {
    more["image"] = format!("busybox@sha256:{}", "0".repeat(64)).into();
    more["words"] = words.into();
    call("run-job", more)
}

#[tokio::test]
async fn a_job_runs_to_its_end_and_is_removed() {
    let world = World::new("jobs", "").await;
    world
        .namespace
        .kubectl(["create", "secret", "generic", "login", "--from-literal=password=c4nary-of-a-job"])
        .await
        .unwrap();
    let mut unpinned = job(&["true"], json!({}));
    unpinned["image"] = "busybox:1".into();
    let mut nowhere = job(&["true"], json!({}));
    nowhere["image"] = format!("registry.invalid/none@sha256:{}", "0".repeat(64)).into();
    let calls = [
        job(&["sh", "-c", "echo $PLAIN; head -c 2000000 /dev/zero"], json!({ "keep": 6 })),
        job(&["sh", "-c", "echo out; exit 9"], json!({})),
        job(&["sh", "-c", "test -n \"$SECRET\" && echo has it"], json!({ "secret": "login/password" })),
        job(&["sleep", "600"], json!({ "seconds": 2 })),
        unpinned,
        nowhere,
        job(&["sleep", "600"], json!({ "kill": true })),
    ];
    let ran = world.run(&calls, &["--grant", "declared"]).await;
    let answers = ran.answers;
    assert_eq!(kinds(&answers)[..3], ["ok", "ok", "ok"], "{answers:#?}");
    assert_eq!(kinds(&answers)[4..], ["invalid-argument", "failed", "ok"], "{answers:#?}");
    assert_eq!((&answers[0]["ok"]["stdout"], &answers[0]["ok"]["length"]), (&json!("plain\n"), &json!(2_000_006)));
    assert_eq!((&answers[1]["ok"]["status"], &answers[1]["ok"]["stdout"]), (&json!(9), &json!("out\n")));
    assert_eq!(answers[2]["ok"]["stdout"], "has it\n");
    assert!(
        answers[3]["error"].is_string() || answers[3]["ok"]["status"] != 0,
        "its deadline was over: {}",
        answers[3]
    );
    assert!(answers[5]["text"].as_str().unwrap().contains("cannot be started"), "{}", answers[5]);
    eventually(DEADLINE, "the removal of every job", async || {
        let left = world.namespace.kubectl(["get", "jobs,pods", "--output=name"]).await?;
        Ok(left.trim().is_empty().then_some(()))
    })
    .await
    .unwrap();
    let outcomes: Vec<&str> = ran.effects.iter().filter_map(|effect| effect["outcome"].as_str()).collect();
    assert_eq!(outcomes.len(), 6, "{:#?}", ran.effects);
    assert_eq!(outcomes[..3], ["done", "done", "done"]);
}

#[tokio::test]
async fn a_lock_is_held_by_one_run_and_the_other_is_told_by_whom() {
    let world = World::new("locks", "").await;
    let lock = |import: &str, more: Value| {
        let mut arguments = json!({ "name": "failover", "seconds": 5 });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rota_tests::probe::call(import, arguments)
    };
    let holding = [lock("kubernetes.lock.check", json!({ "hold": 9000 }))];
    let other = async {
        eventually(DEADLINE, "the lock", async || {
            let lease = world.namespace.get("lease", "failover").await?;
            Ok(lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned))
        })
        .await
        .unwrap();
        // Longer than the lock lasts without being renewed.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        let calls = [lock("kubernetes.cluster.lock", json!({}))];
        (world.all(&calls).await, world.plan(&calls).await)
    };
    let (held, (refused, planned)) = tokio::join!(world.all(&holding), other);
    assert_eq!(kinds(&held), ["ok"], "it is renewed: {held:?}");
    for answers in [&refused, &planned.answers] {
        assert_eq!(kinds(answers), ["conflict"], "{answers:?}");
        assert!(answers[0]["text"].as_str().unwrap().contains("is held by rota/probe/"), "{answers:?}");
    }
    assert!(planned.effects[0]["detail"].as_str().unwrap().contains("it would be refused"), "{:?}", planned.effects);
    // Dropped with the run, it was given back.
    let answers =
        world.all(&[lock("kubernetes.lock.release", json!({})), lock("kubernetes.lock.release", json!({}))]).await;
    assert_eq!(kinds(&answers), ["ok", "ok"], "{answers:?}");
}

#[tokio::test]
async fn a_run_whose_time_is_over_leaves_neither_job_nor_lock() {
    let world = World::new("cancelled", "").await;
    let calls = json!({ "calls": [job(&["sleep", "600"], json!({ "seconds": 600 }))] });
    let probe = rota_tests::probe::path().display().to_string();
    let run = async |calls: &Value, timeout: &str| {
        let mut arguments = vec!["run".to_owned(), probe.clone()];
        arguments.extend(rota_tests::probe::arguments("calls", calls));
        let flags = ["--bind", "cluster=prod", "--grant", super::ALL, "--timeout", timeout, "--output", "json"];
        arguments.extend(flags.map(str::to_owned));
        world.rota.run(&arguments).await.unwrap()
    };
    let ran = run(&calls, "5s").await;
    assert_eq!(ran.status, Some(124), "{ran:?}");
    assert_eq!(ran.json().unwrap()["effects"][0]["outcome"], "interrupted", "{ran:?}");
    let hold = json!({ "name": "failover", "seconds": 300, "hold": 60_000 });
    let ran = run(&json!({ "calls": [rota_tests::probe::call("kubernetes.lock.check", hold)] }), "3s").await;
    assert_eq!(ran.status, Some(124), "{ran:?}");
    eventually(DEADLINE, "the removal of the job, and of whoever held the lock", async || {
        let left = world.namespace.kubectl(["get", "jobs,pods", "--output=name"]).await?;
        let lease = world.namespace.get("lease", "failover").await?;
        Ok((left.trim().is_empty() && lease["spec"]["holderIdentity"] == "").then_some(()))
    })
    .await
    .unwrap();
}
