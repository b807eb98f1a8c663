//! Signatures of plugins: keys made and used, what a policy asks for, and that what it does not trust is neither run nor asked what it is.

use crate::rota;
use rota_tests::{Rota, Said, probe};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

/// A host whose policy trusts one key for everything, with the probe as `work/report.wasm` and as a plugin of the folder, unsigned.
async fn trusting() -> Rota {
    let rota = rota();
    rota.json(&["plugins", "keygen", "growth"]).await.unwrap();
    std::fs::write(rota.path("work/report.wasm"), probe::BYTES).unwrap();
    std::fs::create_dir_all(rota.state().join("plugins")).unwrap();
    std::fs::write(rota.state().join("plugins/report.wasm"), probe::BYTES).unwrap();
    rota.configure(&config("growth.pub")).unwrap();
    rota
}

fn config(key: &str) -> String {
    format!(
        "[server]\nlisten = \"none\"\n[trust.\"*\"]\nsigned-by = [{{ key = \"file:{key}\" }}]\n[jobs.report]\nplugin = \"report\"\n"
    )
}

fn message(said: &Said) -> String {
    said.json().unwrap()["error"]["message"].as_str().unwrap().to_owned()
}

async fn refused(rota: &Rota, arguments: &[&str], words: &str) {
    let said = rota.run(arguments).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(message(&said).contains(words), "it does not say `{words}`: {}", message(&said));
}

#[tokio::test]
async fn a_pair_of_keys_is_made_for_its_owner_alone_and_never_over_another() {
    let mut rota = rota();
    let made = rota.json(&["plugins", "keygen", "growth"]).await.unwrap();
    assert_eq!(
        (&made["private"], &made["public"], &made["encrypted"]),
        (&json!("growth.key"), &json!("growth.pub"), &json!(false))
    );
    let mode = |name: &str| std::fs::metadata(rota.path("work").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("growth.key"), 0o600);
    let text = |name: &str| std::fs::read_to_string(rota.path("work").join(name)).unwrap();
    let (private, public) = (text("growth.key"), text("growth.pub"));
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n") && public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    refused(&rota, &["plugins", "keygen", "growth", "--output", "json"], "growth.key is there already").await;
    assert_eq!((text("growth.key"), text("growth.pub")), (private, public));

    // With a password, as cosign keeps it; without the password it signs nothing.
    rota.set("COSIGN_PASSWORD", "correct horse battery staple");
    let made = rota.json(&["plugins", "keygen", "sealed"]).await.unwrap();
    assert_eq!(made["encrypted"], true);
    let sealed = std::fs::read_to_string(rota.path("work/sealed.key")).unwrap();
    assert!(sealed.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    std::fs::write(rota.path("work/report.wasm"), probe::BYTES).unwrap();
    let sign = ["plugins", "sign", "report.wasm", "--key", "sealed.key", "--output", "json"];
    assert_eq!(rota.json(&sign).await.unwrap()["key"], made["key"]);
    rota.set("COSIGN_PASSWORD", "correct horse battery stapler");
    refused(&rota, &sign, "it does not open with this password").await;
    rota.unset("COSIGN_PASSWORD");
    refused(&rota, &sign, "its password is taken from COSIGN_PASSWORD").await;
    rota.set("SIGNING", "correct horse battery staple");
    let said = rota.run(&[&sign[..], &["--password", "env:SIGNING"]].concat()).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(!said.all().contains("horse"), "{said:?}");
}

#[tokio::test]
async fn what_is_signed_runs_and_what_is_not_is_refused_everywhere() {
    let rota = trusting().await;
    let unsigned = "it has no signature, and needs one of key";
    for arguments in [
        &["run", "./report.wasm", "--output", "json"][..],
        &["run", "report", "--output", "json"],
        &["plugins", "show", "report", "--output", "json"],
        &["plugins", "verify", "./report.wasm", "--output", "json"],
        &["plugin", "check", "./report.wasm", "--output", "json"],
    ] {
        refused(&rota, arguments, unsigned).await;
    }
    assert_eq!(rota.json(&["runs", "list"]).await.unwrap(), json!([]), "what is refused is no run");
    let check = rota.run(&["config", "check", "--output", "json"]).await.unwrap();
    assert_eq!(check.status, Some(2), "{check:?}");
    let problem = check.json().unwrap()["problems"][0]["message"].as_str().unwrap().to_owned();
    assert!(
        problem.contains("rota.toml:5") && problem.contains("job `report`") && problem.contains(unsigned),
        "{problem}"
    );
    // One that is refused is listed as such, and those of the binary are trusted as it is.
    let said = rota.run(&["plugins", "list", "--output", "json"]).await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    let list = said.json().unwrap();
    let of =
        |name: &str| list.as_array().unwrap().iter().find(|plugin| plugin["name"] == name).unwrap()["error"].clone();
    assert!(of("report").as_str().unwrap().contains(unsigned));
    assert_eq!(of("postgres-health"), Value::Null);

    // Signed: by its path, and in the folder of plugins.
    let folder = rota.state().join("plugins/report.wasm");
    for file in ["report.wasm", folder.to_str().unwrap()] {
        let signed = rota.json(&["plugins", "sign", file, "--key", "growth.key"]).await.unwrap();
        assert_eq!(signed["bundle"], format!("{file}.sigstore.json"));
    }
    let verified = rota.json(&["plugins", "verify", "report"]).await.unwrap();
    assert_eq!(verified["signature"]["trusted"], true, "{verified}");
    assert_eq!(verified["signature"]["signer"]["fingerprint"].as_str().unwrap().len(), 16);
    for what in ["./report.wasm", "report"] {
        assert_eq!(rota.json(&["run", what]).await.unwrap()["run"]["status"], "succeeded");
    }
    assert_eq!(rota.run(&["config", "check"]).await.unwrap().status, Some(0));
    // A bundle beside a component is no plugin.
    let list = rota.json(&["plugins", "list"]).await.unwrap();
    let origins: Vec<&str> = list.as_array().unwrap().iter().filter_map(|plugin| plugin["origin"].as_str()).collect();
    assert!(origins.iter().any(|origin| origin.ends_with("plugins/report.wasm")), "{origins:?}");
    assert!(!origins.iter().any(|origin| origin.contains("sigstore")), "{origins:?}");
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_refused_in_its_own_words() {
    let rota = trusting().await;
    let run = ["run", "./report.wasm", "--output", "json"];
    let (file, bundle) = (rota.path("work/report.wasm"), rota.path("work/report.wasm.sigstore.json"));
    rota.json(&["plugins", "keygen", "other"]).await.unwrap();
    rota.json(&["plugins", "sign", "report.wasm", "--key", "other.key"]).await.unwrap();
    refused(&rota, &run, "it is signed by the key ").await;

    rota.json(&["plugins", "sign", "report.wasm", "--key", "growth.key"]).await.unwrap();
    assert_eq!(rota.run(&run).await.unwrap().status, Some(0));
    let right = std::fs::read(&bundle).unwrap();
    // Another build beside the signature of the one before.
    let mut other = probe::BYTES.to_vec();
    other.extend([0, 3, 1, b'x', b'y']);
    std::fs::write(&file, &other).unwrap();
    refused(&rota, &run, "its signature is over other bytes: sha256:").await;
    std::fs::write(&file, probe::BYTES).unwrap();

    let mut broken: Value = serde_json::from_slice(&right).unwrap();
    rota.json(&["plugins", "sign", "report.wasm", "--key", "other.key"]).await.unwrap();
    let theirs: Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
    broken["messageSignature"]["signature"] = theirs["messageSignature"]["signature"].clone();
    std::fs::write(&bundle, broken.to_string()).unwrap();
    refused(&rota, &run, "its signature does not verify").await;

    for (bytes, words) in [
        (b"{}".to_vec(), "its bundle cannot be read"),
        (right[..right.len() / 2].to_vec(), "its bundle cannot be read"),
        (vec![b' '; (1 << 20) + 1], "its bundle is larger than 1 MiB"),
    ] {
        std::fs::write(&bundle, bytes).unwrap();
        refused(&rota, &run, words).await;
    }
    std::fs::remove_file(&bundle).unwrap();
    std::fs::create_dir(&bundle).unwrap();
    refused(&rota, &run, "it is not a file, but a folder").await;
    std::fs::remove_dir(&bundle).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &bundle, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    refused(&rota, &run, "it is not a file, but a pipe").await;
    std::fs::remove_file(&bundle).unwrap();
    std::fs::write(&bundle, right).unwrap();
    assert_eq!(rota.run(&run).await.unwrap().status, Some(0));
}

#[tokio::test]
async fn signing_what_cannot_be_signed_is_told_and_leaves_nothing() {
    let rota = trusting().await;
    std::fs::write(rota.path("work/text.wasm"), "hello").unwrap();
    let with = |what: &'static str, key: &'static str| ["plugins", "sign", what, "--key", key, "--output", "json"];
    refused(&rota, &with("text.wasm", "growth.key"), "is no WebAssembly component").await;
    refused(&rota, &with("report.wasm", "none.key"), "--key none.key: the secret file none.key cannot be read").await;
    refused(&rota, &with("report.wasm", "growth.pub"), "growth.pub").await;
    std::fs::set_permissions(rota.path("work/growth.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&rota, &with("report.wasm", "growth.key"), "can be read by everyone").await;
    let said = rota.run(&with("none.wasm", "env:NO_SUCH")).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
    assert!(rota_tests::files(&rota.path("work")).iter().all(|file| !file.to_string_lossy().contains("sigstore")));
}

#[tokio::test]
async fn what_is_replayed_is_let_in_like_what_is_run() {
    let rota = trusting().await;
    // Recorded before there was a rule.
    rota.configure("[server]\nlisten = \"none\"\n").unwrap();
    let said = rota.run(&["run", "./report.wasm", "--record", "--output", "json"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    rota.configure(&config("growth.pub")).unwrap();
    // What the host kept itself was let in when it ran; what is given is a file like any other.
    let replay = |more: &[&'static str]| [&["runs", "replay", "last", "--output", "json"][..], more].concat();
    let said = rota.run(&replay(&[])).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    let unsigned = "it has no signature, and needs one of key";
    refused(&rota, &replay(&["--with", "report.wasm"]), unsigned).await;
    rota.json(&["plugins", "sign", "report.wasm", "--key", "growth.key"]).await.unwrap();
    let said = rota.run(&replay(&["--with", "report.wasm"])).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");

    // A recording that came from elsewhere, with its component beside it.
    let files = rota_tests::files(&rota.state().join("artifacts"));
    let recorded = files.iter().find(|file| file.file_name().unwrap().to_string_lossy().starts_with("recording"));
    let elsewhere = trusting().await;
    std::fs::create_dir(elsewhere.path("work/theirs")).unwrap();
    std::fs::copy(recorded.unwrap(), elsewhere.path("work/theirs/recording")).unwrap();
    std::fs::write(elsewhere.path("work/theirs/.plugin.wasm"), probe::BYTES).unwrap();
    let theirs = ["runs", "replay", "theirs/recording", "--output", "json"];
    refused(&elsewhere, &theirs, unsigned).await;
    refused(&elsewhere, &["plugin", "test", "--from-run", "theirs/recording", "--output", "json"], unsigned).await;
    elsewhere.json(&["plugins", "sign", "theirs/.plugin.wasm", "--key", "growth.key"]).await.unwrap();
    let said = elsewhere.run(&theirs).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
}

#[tokio::test]
async fn a_build_that_was_kept_goes_on_only_where_no_signature_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = rota_sandbox::Sandbox::new(rota_sandbox::SandboxOptions::default(), &[]).unwrap();
    let catalog = rota_catalog::Catalog::new(std::sync::Arc::new(sandbox), None);
    let names = ["report", "report@1", "./report.wasm", "registry.example/growth/report@1"];
    // Without rules everything may.
    assert!(names.iter().all(|name| catalog.may_go_on(name, probe::BYTES)));
    assert!(!catalog.may_go_on("No Reference", probe::BYTES));
    let text = "[trust.\"*\"]\nsigned-by = [{ key = \"file:gone.pub\" }]\n[trust.\"file/*\"]\nrequired = false\n";
    let source = rota_config::Source::empty().with_text(folder.path().join("rota.toml").display().to_string(), text);
    let Ok(config) = rota_config::Config::load(&source) else { panic!("it is sound") };
    catalog.trust(rota_packages::trust::Policy::from_config(&config.trust));
    let may: Vec<bool> = names.iter().map(|name| catalog.may_go_on(name, probe::BYTES)).collect();
    assert_eq!(may, [false, false, true, false]);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_told_by_config_check_and_trusts_nobody() {
    let rota = trusting().await;
    rota.json(&["plugins", "sign", "report.wasm", "--key", "growth.key"]).await.unwrap();
    rota.configure(&config("gone.pub")).unwrap();
    let check = rota.run(&["config", "check", "--output", "json"]).await.unwrap();
    assert_eq!(check.status, Some(2), "{check:?}");
    let problem = check.json().unwrap()["problems"][0]["message"].as_str().unwrap().to_owned();
    assert!(
        problem.contains("rota.toml:4: trust.\"*\".signed-by[0].key: ") && problem.contains("gone.pub: No such file"),
        "{problem}"
    );
    refused(&rota, &["run", "./report.wasm", "--output", "json"], "the rule for it cannot be applied").await;
    rota.configure("[trust.\"*\"]\nsigned_by = []\nrequired = false\n").unwrap();
    refused(&rota, &["run", "./report.wasm", "--output", "json"], "did you mean \"signed-by\"?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_serves_says_whom_it_does_not_trust_and_takes_on_another_key() {
    let rota = trusting().await;
    let mut host = rota.start(&["serve"]).unwrap();
    host.says("runs of job report will be refused: plugin report: it has no signature").await.unwrap();
    host.says("serving as").await.unwrap();
    let file = rota.state().join("plugins/report.wasm");
    rota.json(&["plugins", "sign", file.to_str().unwrap(), "--key", "growth.key"]).await.unwrap();
    // Another key than the one that signed: the configuration's own job would be refused, so nothing of it is taken on.
    rota.json(&["plugins", "keygen", "other"]).await.unwrap();
    rota.configure(&config("other.pub")).unwrap();
    host.signal(Signal::HUP).unwrap();
    host.says("not taken on, nothing of it").await.unwrap();
    rota.json(&["plugins", "sign", file.to_str().unwrap(), "--key", "other.key"]).await.unwrap();
    host.signal(Signal::HUP).unwrap();
    host.says("is taken on").await.unwrap();
    host.signal(Signal::TERM).unwrap();
    assert_eq!(host.end().await.unwrap().status, Some(0));
}
