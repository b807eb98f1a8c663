//! What a team publishes.

use super::{FIRST, WIDER, ok, package, refused, runs, said, version};
use crate::rota;
use base64::Engine as _;
use rota_testbed::Registry;
use serde_json::json;

#[tokio::test]
async fn from_a_folder_to_a_run_elsewhere() {
    let registry = Registry::with_user().await.unwrap();
    let mut rota = rota();
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", registry.user(), registry.password()));
    std::fs::create_dir(rota.path("home/.docker")).unwrap();
    let docker = json!({ "auths": { registry.name(): { "auth": auth } } });
    std::fs::write(rota.path("home/.docker/config.json"), docker.to_string()).unwrap();
    ok(&rota, &["plugin", "new", "looks-around", "--language", "javascript", "--slot", "shop:sql:read"]).await;
    let target = format!("{}/growth/looks-around", registry.name());
    let published = ok(&rota, &["plugin", "publish", "looks-around", &target]).await;
    assert_eq!((&published["version"], &published["was_there"]), (&json!("0.1.0"), &json!(false)));
    assert_eq!(ok(&rota, &["plugin", "publish", "looks-around", &target]).await["was_there"], json!(true));
    // Other sources under the same version are not published.
    let source = rota.path("work/looks-around/procedure.js");
    let good = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, format!("{good}// more\n")).unwrap();
    let message = refused(&rota, &["plugin", "publish", "looks-around", &target], 1).await;
    assert!(message.contains("is published already with another content"), "{message}");
    // What the check refuses is not published.
    std::fs::write(&source, good.replacen("name: \"looks-around\"", "name: \"Looks\"", 1)).unwrap();
    refused(&rota, &["plugin", "publish", "looks-around", &format!("{target}-too")], 2).await;
    let elsewhere = crate::rota();
    let message = refused(&elsewhere, &["plugins", "pull", &target], 1).await;
    assert!(message.contains("docker's configuration has no credentials"), "{message}");
    assert!(!message.contains(&auth));
    rota.set("DOCKER_CONFIG", rota.path("home/.docker"));
    assert_eq!(ok(&rota, &["plugins", "pull", &target]).await["plugin"], json!("looks-around"));
}

#[tokio::test]
async fn bad_input_is_said_and_publishes_nothing() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    // With one, the lock would lie beside it.
    rota.configure("").unwrap();
    let file = FIRST.file(&rota);
    let to = package(&registry, "");
    for (arguments, text) in [
        (vec!["plugins", "push", &file, "growth/x"], "names no registry"),
        (vec!["plugins", "push", &file, "127.0.0.1:1/Growth"], "is no name of a package"),
        (
            vec!["plugins", "push", &file, &format!("{to}:9.9.9")],
            "says that it is 1.0.0, and is not published as `9.9.9`",
        ),
        (vec!["plugins", "push", &file, &format!("{to}@1")], "names no place to publish to"),
        (vec!["plugins", "push", "nowhere.wasm", &to], "cannot be read"),
        (vec!["plugins", "push", "/etc/hostname", &to], "not a WebAssembly component"),
        (vec!["plugins", "pull", &format!("{to}@>=1")], "is no version"),
        (vec!["plugins", "pull", &to], "it has no version at all"),
        (
            vec!["plugins", "pull", "registry.example/x\u{1b}[31m"],
            "has a character that no package's name may have (U+001B)",
        ),
        (vec!["plugins", "pin", "expired-sessions"], "is not NAME@VERSION"),
        (vec!["plugins", "pin", "expired-sessions@one"], "is not NAME@VERSION"),
        (vec!["plugins", "verify", "--digest", "00"], "--digest is of one plugin"),
        (vec!["plugins", "update", "nothing"], "nothing called `nothing` is locked"),
        (vec!["plugins", "rollback", "nothing"], "nothing called `nothing` is locked"),
        (vec!["plugins", "remove", "nothing"], "nothing called `nothing` is locked"),
    ] {
        let message = refused(&rota, &arguments, 2).await;
        assert_eq!(message.matches(text).count(), 1, "told, and told once: {arguments:?}: {message}");
    }
    assert_eq!(ok(&rota, &["plugins", "update"]).await, json!([]));
    assert!(!rota.path("work/rota.lock").exists());
    let human = said(&rota, &["--output", "human", "plugins", "outdated"], 0).await.stdout;
    assert_eq!(human, "nothing is locked\n");
}

#[tokio::test]
async fn people_read_what_happened() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    // The lock lies beside the configuration: without one it would be plugins.lock of the state directory.
    rota.configure("").unwrap();
    let file = FIRST.file(&rota);
    let to = package(&registry, "");
    let human = |arguments: &[&str]| {
        let all: Vec<String> = ["--output", "human"].iter().chain(arguments).map(|one| (*one).to_owned()).collect();
        let rota = &rota;
        async move { rota.run(&all).await.unwrap().stdout }
    };
    let text = human(&["plugins", "push", &file, &to]).await;
    assert!(text.contains(&format!("{to}:1.0.0 is published")) && text.contains("manifest  sha256:"), "{text}");
    let text = human(&["plugins", "pull", &format!("{to}@1")]).await;
    for part in
        ["expired-sessions 1.0.0  observe  is locked", "may ask   database: sql read (optional)", "work/rota.lock"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    version("1.1.0", "second").push(&rota, &registry).await;
    let text = human(&["plugins", "outdated"]).await;
    assert!(text.contains("1.0.0") && text.contains("1.1.0"), "{text}");
    let text = human(&["plugins", "update", "--plan"]).await;
    assert!(text.contains("version: 1.0.0 -> 1.1.0") && text.contains("this is a plan"), "{text}");
    human(&["plugins", "update"]).await;
    let text = human(&["plugins", "rollback", "expired-sessions"]).await;
    assert!(text.contains("is pinned") && text.contains("before    1.1.0"), "{text}");
    assert_eq!(runs(&rota, &format!("{to}@1")).await, "first");
    WIDER.push(&rota, &registry).await;
}
