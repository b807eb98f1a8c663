//! The lock: what a job names is what runs, until somebody says otherwise.

use super::{FIRST, Source, WIDER, job, ok, package, refused, runs, said, version};
use crate::rota;
use rota_testbed::Registry;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_job_goes_on_with_what_was_locked_until_it_is_updated() {
    let mut registry = Registry::start().await.unwrap();
    let rota = rota();
    FIRST.push(&rota, &registry).await;
    let reference = package(&registry, "@1");
    rota.configure(&job(&reference)).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "first");
    let lock = std::fs::read_to_string(rota.path("work/rota.lock")).unwrap();
    assert!(lock.contains(&format!("reference = \"{reference}\"")) && lock.contains("version = \"1.0.0\""), "{lock}");

    let second = version("1.1.0", "second");
    second.push(&rota, &registry).await;
    version("2.0.0", "other").push(&rota, &registry).await;
    assert_eq!(runs(&rota, "nightly").await, "first");
    let outdated = ok(&rota, &["plugins", "outdated"]).await;
    let of = |key: &str| outdated[0][key].as_str().unwrap().to_owned();
    assert_eq!((of("locked"), of("matching"), of("latest")), ("1.0.0".into(), "1.1.0".into(), "2.0.0".into()));

    let plan = ok(&rota, &["plugins", "update", "--plan"]).await;
    assert_eq!((&plan[0]["outcome"], &plan[0]["new"]["version"]), (&json!("would-change"), &json!("1.1.0")));
    assert_eq!(runs(&rota, "nightly").await, "first");
    let updated = ok(&rota, &["plugins", "update"]).await;
    assert_eq!(updated[0]["outcome"], json!("updated"));
    assert!(
        updated[0]["changes"].as_array().unwrap().iter().all(|change| change["wider"] == json!(false)),
        "{updated:#}"
    );
    assert_eq!(runs(&rota, "nightly").await, "second");
    assert_eq!(ok(&rota, &["plugins", "update"]).await[0]["outcome"], json!("current"));

    // Back in one command, without the registry; it stays so until it is named.
    registry.kill();
    let back = ok(&rota, &["plugins", "rollback", "expired-sessions"]).await;
    assert_eq!((&back["version"], &back["before"], &back["pinned"]), (&json!("1.0.0"), &json!("1.1.0"), &json!(true)));
    assert_eq!(runs(&rota, "nightly").await, "first");
    registry.restart().await.unwrap();
    assert_eq!(ok(&rota, &["plugins", "update"]).await[0]["outcome"], json!("pinned"));
    let pinned = ok(&rota, &["plugins", "pin", "expired-sessions@1.1.0"]).await;
    assert_eq!(pinned["version"], json!("1.1.0"));
    assert_eq!(runs(&rota, "nightly").await, "second");
    let message = refused(&rota, &["plugins", "pin", "expired-sessions@2.0.0"], 2).await;
    assert!(message.contains("does not take the version 2.0.0"), "{message}");
    assert_eq!(ok(&rota, &["plugins", "update", "expired-sessions"]).await[0]["outcome"], json!("current"));

    // With nothing but the lock, the same bytes come again.
    std::fs::remove_dir_all(rota.state().join("packages")).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "second");
}

#[tokio::test]
async fn a_run_that_waited_over_an_update_is_done_by_the_build_that_it_was_made_for() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    FIRST.push(&rota, &registry).await;
    let serving = "[server]\nlisten = \"127.0.0.1:0\"\npoll = \"100ms\"\n";
    rota.configure(&format!("{serving}{}approval = true\n", job(&package(&registry, "@1")))).unwrap();
    let queued = rota.json(&["jobs", "run", "nightly"]).await.unwrap();
    let id = queued["id"].as_str().unwrap();
    version("1.1.0", "second").push(&rota, &registry).await;
    assert_eq!(ok(&rota, &["plugins", "update"]).await[0]["outcome"], json!("updated"));
    // The serving host knows what was locked before, and needs no registry for it.
    drop(registry);
    let mut host = rota.start(&["serve"]).unwrap();
    host.says("serving as").await.unwrap();
    rota.json(&["approvals", "approve", id]).await.unwrap();
    let says = rota_testbed::eventually(Duration::from_secs(30), "the run's end", async || {
        let shown = rota.run(&["runs", "show", id]).await?.json()?;
        Ok(shown["report"]["data"]["says"].as_str().map(str::to_owned))
    })
    .await
    .unwrap();
    assert_eq!(says, "first");
    // Another is made for what is locked now; the serving host read the lock again by itself.
    let queued = rota.json(&["jobs", "run", "nightly"]).await.unwrap();
    let next = queued["id"].as_str().unwrap();
    rota.json(&["approvals", "approve", next]).await.unwrap();
    let says = rota_testbed::eventually(Duration::from_secs(30), "the run's end", async || {
        let shown = rota.run(&["runs", "show", next]).await?.json()?;
        Ok(shown["report"]["data"]["says"].as_str().map(str::to_owned))
    })
    .await
    .unwrap();
    assert_eq!(says, "second");
}

#[tokio::test]
async fn what_asks_for_more_needs_somebodys_word() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    FIRST.push(&rota, &registry).await;
    rota.configure(&job(&package(&registry, "@1"))).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "first");
    WIDER.push(&rota, &registry).await;
    let answer: Value = said(&rota, &["plugins", "update"], 4).await.json().unwrap();
    assert_eq!(answer[0]["outcome"], json!("asks-for-more"));
    let wider: Vec<&str> = answer[0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["wider"] == json!(true))
        .map(|change| change["what"].as_str().unwrap())
        .collect();
    assert_eq!(wider, ["risk", "slot cache", "slot database"], "{answer:#}");
    let message = answer[0]["error"].as_str().unwrap();
    assert!(
        message.contains("--accept-wider expired-sessions")
            && message.contains("sql: read (optional) -> sql: read, write (optional)"),
        "{message}"
    );
    assert_eq!(runs(&rota, "nightly").await, "first");
    let message = refused(&rota, &["plugins", "pin", "expired-sessions@1.2.0"], 4).await;
    assert!(message.contains("asks for more than 1.0.0"), "{message}");
    let human = said(&rota, &["--output", "human", "plugins", "update"], 4).await.stdout;
    assert!(human.contains("slot cache: none -> cache: read (optional)  (asks for more)"), "{human}");
    assert!(human.contains("parameter limit: none -> integer"), "{human}");
    let message = refused(&rota, &["plugins", "update", "--accept-wider", "another"], 2).await;
    assert!(message.contains("nothing of that name"), "{message}");
    let taken = ok(&rota, &["plugins", "update", "--accept-wider", "expired-sessions"]).await;
    assert_eq!(taken[0]["outcome"], json!("updated"));
    assert_eq!(runs(&rota, "nightly").await, "wider");
    // What was accepted once is not asked for again on the way back and forth.
    let back = ok(&rota, &["plugins", "rollback", "expired-sessions"]).await;
    assert_eq!(back["unfit_jobs"], json!([]), "{back:#}");
    assert_eq!(ok(&rota, &["plugins", "pin", "expired-sessions@1.2.0"]).await["version"], json!("1.2.0"));
    // A job that has a parameter of the newer build is named when the older one comes back.
    rota.configure(&format!("{}parameters.limit = 3\n", job(&package(&registry, "@1")))).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "wider");
    let back = ok(&rota, &["plugins", "rollback", "expired-sessions"]).await;
    assert_eq!(back["unfit_jobs"].as_array().unwrap().len(), 1, "{back:#}");
    assert_eq!(back["unfit_jobs"][0]["job"], json!("nightly"));
    assert!(back["unfit_jobs"][0]["error"].as_str().unwrap().contains("limit"), "{back:#}");
    ok(&rota, &["plugins", "pin", "expired-sessions@1.2.0"]).await;
    let human = said(&rota, &["--output", "human", "plugins", "rollback", "expired-sessions"], 0).await.stdout;
    assert!(human.contains("the job `nightly` does not fit: "), "{human}");
}

#[tokio::test]
async fn a_moved_tag_and_a_version_that_went_back() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    version("1.1.0", "second").push(&rota, &registry).await;
    rota.configure(&job(&package(&registry, "@1"))).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "second");
    // Somebody publishes the same version again, by a tool that does not mind.
    overwrite(&registry, &version("1.1.0", "evil"), "1.1.0").await;
    let answer: Value = said(&rota, &["plugins", "update"], 1).await.json().unwrap();
    let message = answer[0]["error"].as_str().unwrap();
    assert!(message.contains("the version 1.1.0 of") && message.contains("was moved"), "{message}");
    assert_eq!(runs(&rota, "nightly").await, "second");
    // An older one under the tag of a newer.
    overwrite(&registry, &FIRST, "1.3.0").await;
    // It is no package that could be used, as for whoever pulls it.
    refused(&rota, &["plugins", "pull", &package(&registry, ":1.3.0")], 2).await;
    let answer: Value = said(&rota, &["plugins", "update"], 2).await.json().unwrap();
    let message = answer[0]["error"].as_str().unwrap();
    assert!(message.contains("published as 1.3.0, and the plugin in it says that it is 1.0.0"), "{message}");
    assert_eq!(runs(&rota, "nightly").await, "second");
    // A tag that is no version, and leads to what is older.
    let rota = crate::rota();
    let newer = version("1.4.0", "fourth");
    overwrite(&registry, &newer, "stable").await;
    let stable = package(&registry, ":stable");
    assert_eq!(ok(&rota, &["plugins", "pull", &stable]).await["version"], json!("1.4.0"));
    overwrite(&registry, &FIRST, "stable").await;
    let answer: Value = said(&rota, &["plugins", "update"], 1).await.json().unwrap();
    let message = answer[0]["error"].as_str().unwrap();
    assert!(message.contains("would go back from 1.4.0 to 1.0.0"), "{message}");
    assert_eq!(runs(&rota, &stable).await, "fourth");
}

/// Put a component under a tag, whatever is there: as a tool that does not look would.
async fn overwrite(registry: &Registry, source: &Source, tag: &str) {
    let folder = tempfile::tempdir().unwrap();
    let about = rota_packages::artifact::About { name: source.says.into(), version: tag.into(), ..Default::default() };
    let (config, manifest) = rota_packages::artifact::build(&source.component(), &about);
    let put = |path: &str, bytes: &[u8]| {
        let file = folder.path().join(path);
        std::fs::write(&file, bytes).unwrap();
        file.display().to_string()
    };
    let (config, manifest, component) =
        (put("config", &config), put("manifest", &manifest), put("component", &source.component()));
    let script = r#"
set -e
base="http://$1/v2/growth/expired-sessions"
blob() {
    location=$(curl -sf -X POST -D - -o /dev/null "$base/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    digest=sha256:$(sha256sum "$1" | cut -d' ' -f1)
    curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" "$location&digest=$digest" >/dev/null
}
blob "$2"; blob "$3"
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary "@$4" "$base/manifests/$5"
"#;
    let name = registry.name();
    let status = tokio::process::Command::new("sh")
        .args(["-c", script, "sh", &name, &config, &component, &manifest, tag])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_version_of_the_plugin_folder_is_held_to_the_lock() {
    let rota = rota();
    let folder = rota.state().join("plugins");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("expired-sessions.wasm");
    std::fs::write(&file, FIRST.component()).unwrap();
    rota.configure(&job("expired-sessions@1")).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "first");
    std::fs::write(&file, version("1.1.0", "second").component()).unwrap();
    let message = refused(&rota, &["run", "nightly"], 2).await;
    assert!(
        message.contains("is another build of `expired-sessions`")
            && message.contains("rota plugins update expired-sessions@1"),
        "{message}"
    );
    // Without a version nothing is promised.
    assert_eq!(runs(&rota, "expired-sessions").await, "second");
    // The locked one, whatever lies there.
    ok(&rota, &["plugins", "pin", "expired-sessions@1.0.0"]).await;
    assert_eq!(runs(&rota, "nightly").await, "first");
    let updated = ok(&rota, &["plugins", "update", "expired-sessions"]).await;
    assert_eq!((&updated[0]["outcome"], &updated[0]["locked"]["version"]), (&json!("updated"), &json!("1.1.0")));
    assert_eq!(runs(&rota, "nightly").await, "second");
    ok(&rota, &["plugins", "rollback", "expired-sessions"]).await;
    assert_eq!(runs(&rota, "nightly").await, "first");
    let message = refused(&rota, &["plugins", "pin", "expired-sessions@1.7.0"], 1).await;
    assert!(message.contains("was never locked here"), "{message}");
    // What is built in belongs to the binary.
    rota.configure("[jobs.nightly]\nplugin = \"postgres-health@0.1\"\n[bindings]\n").unwrap();
    let locked = ok(&rota, &["plugins", "verify"]).await;
    assert_eq!(locked.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn removed_verified_and_named_in_several_ways() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    // The lock lies beside the configuration: without one it would lie elsewhere.
    rota.configure("").unwrap();
    FIRST.push(&rota, &registry).await;
    version("2.0.0", "other").push(&rota, &registry).await;
    let (one, two) = (package(&registry, "@1"), package(&registry, "@2"));
    let pulled = ok(&rota, &["plugins", "pull", &one]).await;
    assert_eq!((&pulled["version"], &pulled["was_locked"]), (&json!("1.0.0"), &json!(false)));
    assert_eq!(ok(&rota, &["plugins", "pull", &one]).await["was_locked"], json!(true));
    ok(&rota, &["plugins", "pull", &two]).await;
    let verified = ok(&rota, &["plugins", "verify"]).await;
    assert_eq!(
        verified.as_array().unwrap().iter().map(|one| &one["error"]).collect::<Vec<_>>(),
        [&json!(null), &json!(null)]
    );
    let listed = ok(&rota, &["plugins", "list"]).await;
    assert!(listed.as_array().unwrap().iter().any(|plugin| plugin["origin"] == json!(two)), "{listed:#}");
    let message = refused(&rota, &["plugins", "remove", "expired-sessions"], 2).await;
    assert!(message.contains("is locked several times") && message.contains(&one), "{message}");
    let message = refused(&rota, &["plugins", "remove", "expired-session"], 2).await;
    assert!(message.contains("did you mean `expired-sessions`?"), "{message}");
    rota.configure(&job(&one)).unwrap();
    let message = refused(&rota, &["plugins", "remove", &one], 2).await;
    assert!(message.contains("the job `nightly` runs"), "{message}");
    let removed = ok(&rota, &["plugins", "remove", &two]).await;
    assert!(removed["freed"].as_u64().unwrap() > 100_000, "{removed:#}");
    assert_eq!(runs(&rota, "nightly").await, "first");
    assert_eq!(ok(&rota, &["plugins", "verify", "expired-sessions"]).await["version"], json!("1.0.0"));

    // A damaged lock is said with its line, and nothing runs by guess.
    let lock = rota.path("work/rota.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    std::fs::write(&lock, format!("{text}<<<<<<< theirs\n")).unwrap();
    let message = refused(&rota, &["run", "nightly"], 2).await;
    assert!(
        message.contains("rota.lock") && message.contains(&format!("line {}", text.lines().count() + 1)),
        "{message}"
    );
}

#[tokio::test]
async fn a_lock_that_was_changed_by_hand_has_nothing_else_run() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    FIRST.push(&rota, &registry).await;
    let reference = package(&registry, "@1");
    rota.configure(&job(&reference)).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "first");
    let lock = rota.path("work/rota.lock");
    let sound = std::fs::read_to_string(&lock).unwrap();
    let line = |key: &str| sound.lines().find(|line| line.starts_with(&format!("{key} = \""))).unwrap().to_owned();
    let zeros = format!("sha256:{}", "0".repeat(64));
    for (key, value, said) in [
        ("component", zeros.as_str(), "is neither in the cache nor in a registry"),
        ("manifest", zeros.as_str(), "is not there"),
        ("version", "0.9.0", "was published as 0.9.0, and the plugin in it says that it is 1.0.0"),
    ] {
        std::fs::write(&lock, sound.replacen(&line(key), &format!("{key} = \"{value}\""), 1)).unwrap();
        let answer = rota.run(&["run", "nightly"]).await.unwrap();
        assert!(answer.status != Some(0) && answer.all().contains(said), "{key}: {answer:?}");
    }
    // Without its manifest it would be judged, and let in, as a file of the plugin folder is.
    std::fs::write(&lock, sound.replacen(&format!("{}\n", line("manifest")), "", 1)).unwrap();
    let answer = rota.run(&["run", "nightly"]).await.unwrap();
    assert!(answer.status != Some(0) && answer.all().contains("names no manifest"), "{answer:?}");
    // What is built in is replaced by no entry.
    let built_in = "reference = \"postgres-health@0.1\"\nkept = true";
    let replaced = sound.replacen(&line("reference"), built_in, 1);
    std::fs::write(&lock, replaced.replacen(&format!("{}\n", line("manifest")), "", 1)).unwrap();
    let shown = rota.json(&["plugins", "show", "postgres-health@0.1"]).await.unwrap();
    assert_eq!(shown["name"], "postgres-health", "{shown:#}");
    std::fs::write(&lock, &sound).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "first");
}

#[tokio::test]
async fn a_lock_that_cannot_be_written_is_no_reason_to_guess() {
    use std::os::unix::fs::PermissionsExt as _;
    if rota_testbed::is_root() {
        // Root writes anywhere: a file in the place of the folder does the same.
        let registry = Registry::start().await.unwrap();
        let rota = rota();
        FIRST.push(&rota, &registry).await;
        std::fs::create_dir(rota.path("work/rota.lock")).unwrap();
        rota.configure(&job(&package(&registry, "@1"))).unwrap();
        let message = refused(&rota, &["run", "nightly"], 2).await;
        assert!(message.contains("the lock") && message.contains("rota.lock"), "{message}");
        return;
    }
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    FIRST.push(&rota, &registry).await;
    rota.configure(&job(&package(&registry, "@1"))).unwrap();
    let work = rota.path("work");
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o500)).unwrap();
    let message = refused(&rota, &["run", "nightly"], 2).await;
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(message.contains("deploy both"), "{message}");
}
