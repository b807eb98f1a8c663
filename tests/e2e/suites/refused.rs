//! Files that are no plugin: refused when they are loaded, with the reason, before anything of them runs.

use crate::rota;
use rota_tests::{Said, component, probe};

/// Run the file, and verify it: both refuse it for the same reason. Answers what was said.
async fn refused(bytes: &[u8]) -> String {
    let rota = rota();
    let file = rota.path("work/plugin.wasm");
    std::fs::write(&file, bytes).unwrap();
    let run = rota.run(&["run", "./plugin.wasm", "--output", "json"]).await.unwrap();
    let verify = rota.run(&["plugins", "verify", "./plugin.wasm", "--output", "json"]).await.unwrap();
    assert_eq!(run.status, Some(2), "{run:?}");
    assert_eq!(verify.status, Some(2), "{verify:?}");
    let message = |said: &Said| said.json().unwrap()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message(&run), message(&verify));
    let runs = rota.json(&["runs", "list"]).await.unwrap();
    assert_eq!(runs, serde_json::json!([]), "what is refused is no run");
    message(&run)
}

fn says(message: &str, texts: &[&str]) {
    for text in texts {
        assert!(message.contains(text), "it does not say `{text}`: {message}");
    }
}

#[tokio::test]
async fn imports_beyond_the_contract_are_refused_each_named() {
    let imports = [
        "wasi:http/outgoing-handler@0.2.0",
        "foo:bar/baz",
        "rota:runbook/secrets@0.1.0",
        "wasi:clocks/wall-clock@0.2.0",
    ];
    let message = refused(&component::importing(&imports)).await;
    says(
        &message,
        &["`wasi:http/outgoing-handler@0.2.0`", "`foo:bar/baz`", "`rota:runbook/secrets@0.1.0`", "does not offer"],
    );
    assert!(!message.contains("wall-clock"), "an empty WASI is offered: {message}");
}

#[tokio::test]
async fn another_version_of_the_contract_is_refused_with_both_versions() {
    let message = refused(&component::of_version("0.2.0")).await;
    says(&message, &["rota:runbook/", "@0.2.0", "rota:runbook@0.1.0", "build it against"]);
}

#[tokio::test]
async fn a_core_module_is_refused_with_the_way_to_a_component() {
    says(&refused(component::CORE_MODULE).await, &["core WebAssembly module", "wasm32-wasip2"]);
}

#[tokio::test]
async fn what_is_not_webassembly_is_refused() {
    says(&refused(component::NOT_WASM).await, &["not a WebAssembly component"]);
    says(&refused(b"").await, &["not a WebAssembly component"]);
}

#[tokio::test]
async fn a_component_without_a_procedure_is_refused() {
    says(&refused(component::EMPTY).await, &["does not export `describe` and `run`"]);
}

#[tokio::test]
async fn a_truncated_file_is_refused_wherever_it_was_cut() {
    let whole = probe::BYTES;
    for cut in [5, 9, 100, whole.len() / 2, whole.len() - 1] {
        let message = refused(&whole[..cut]).await;
        assert!(
            message.contains("cut off or damaged") || message.contains("does not compile"),
            "cut at {cut}: {message}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_or_no_file_is_refused() {
    let rota = rota();
    let said = rota.run(&["run", "./missing.wasm"]).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
    says(&said.stdout, &["missing.wasm", "cannot be read"]);
    let said = rota.run(&["run", "./"]).await.unwrap();
    assert_eq!(said.status, Some(2), "{said:?}");
    says(&said.stdout, &["it is not a file, but a folder"]);
}

#[tokio::test]
async fn a_pipe_or_a_device_where_a_file_is_read_is_refused_at_once() {
    let rota = rota();
    let pipe = |name: &str| {
        let path = rota.path("work").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    std::fs::write(rota.path("work/probe.wasm"), probe::BYTES).unwrap();
    pipe("pipe.wasm");
    pipe("recording");
    pipe("tests/pipe.toml");
    std::os::unix::fs::symlink("/dev/zero", rota.path("work/device.wasm")).unwrap();
    let commands: [(&[&str], &str); 7] = [
        (&["run", "./pipe.wasm"], "a pipe"),
        (&["run", "./device.wasm"], "a device"),
        (&["plugin", "check", "pipe.wasm"], "a pipe"),
        (&["plugin", "test", "probe.wasm"], "a pipe"),
        (&["runs", "replay", "./recording"], "a pipe"),
        (&["runs", "replay", "/dev/zero"], "a device"),
        (&["plugin", "test", "--from-run", "./recording"], "a pipe"),
    ];
    for (arguments, what) in commands {
        let said = tokio::time::timeout(std::time::Duration::from_secs(60), rota.run(arguments)).await;
        let said = said.unwrap_or_else(|_| panic!("{arguments:?} waits")).unwrap();
        assert!(said.status.is_some_and(|status| status > 0), "{arguments:?}: {said:?}");
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains(&format!("it is not a file, but {what}")), "{arguments:?}: {said:?}");
    }
}
