//! Components that are made to cost: to be compiled for minutes, to fill the memory, to bring a compiler down.

use super::refused;
use crate::rota;
use rota_sandbox::{Compiler, LoadError, Sandbox, SandboxOptions};
use rota_tests::{component, probe, processes};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sandbox whose compiler has so much.
fn sandbox(memory: u64, seconds: u64) -> Arc<Sandbox> {
    let compiler = Compiler { program: env!("CARGO_BIN_EXE_rota").into(), memory, seconds };
    Arc::new(Sandbox::new(SandboxOptions { compiler: Some(compiler), ..SandboxOptions::default() }, &[]).unwrap())
}

async fn refusal(sandbox: &Arc<Sandbox>, component: Vec<u8>) -> LoadError {
    match sandbox.load(component).await {
        Err(error) => error,
        Ok(_) => panic!("it was loaded"),
    }
}

#[tokio::test]
async fn one_that_takes_minutes_to_compile_is_given_up() {
    let begun = Instant::now();
    let error = refusal(&sandbox(4 << 30, 3), component::slow_to_compile(1_000, 100_000, 16)).await;
    assert!(matches!(&error, LoadError::TooCostly(what) if what.contains("more than 3 s")), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn one_that_takes_gigabytes_to_compile_is_given_up_and_nobody_else_suffers() {
    let before = peak();
    let error = refusal(&sandbox(400 << 20, 60), component::slow_to_compile(1_000, 100_000, 16)).await;
    assert!(matches!(&error, LoadError::TooCostly(what) if what.contains("400 MiB")), "{error}");
    assert!(peak() - before < 100 << 20, "{} bytes more in this process", peak() - before);
}

#[tokio::test]
async fn within_its_bounds_the_compilers_process_gives_what_this_process_would() {
    // The same code: linked against nothing it is refused afterwards, for its imports.
    let apart = refusal(&sandbox(4 << 30, 60), probe::BYTES.to_vec()).await;
    let here = Arc::new(Sandbox::new(SandboxOptions::default(), &[]).unwrap());
    let here = refusal(&here, probe::BYTES.to_vec()).await;
    assert!(matches!(&apart, LoadError::Link(_)), "{apart}");
    assert_eq!(apart.to_string(), here.to_string());
}

#[tokio::test]
async fn a_compiler_that_is_none_or_breaks_is_an_error() {
    for (program, said) in
        [("/nonexistent/rota", "could not be used"), ("/bin/false", "the compiler broke"), ("/bin/true", "does not")]
    {
        let compiler = Compiler { program: program.into(), memory: 1 << 30, seconds: 10 };
        let options = SandboxOptions { compiler: Some(compiler), ..SandboxOptions::default() };
        let sandbox = Arc::new(Sandbox::new(options, &[]).unwrap());
        let error = refusal(&sandbox, probe::BYTES.to_vec()).await;
        assert!(matches!(&error, LoadError::Compile(_)), "{program}: {error}");
        let _ = said;
    }
}

#[tokio::test]
async fn a_compiler_that_is_ended_from_outside_says_nothing_of_the_component() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("compiler");
    std::fs::write(&program, "#!/bin/sh\nkill -TERM $$\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let compiler = Compiler { program, memory: 1 << 30, seconds: 10 };
    let options = SandboxOptions { compiler: Some(compiler), ..SandboxOptions::default() };
    let error = refusal(&Arc::new(Sandbox::new(options, &[]).unwrap()), probe::BYTES.to_vec()).await;
    assert!(matches!(&error, LoadError::Compile(what) if what.contains("ended from outside (signal 15)")), "{error}");
}

#[tokio::test]
async fn a_host_that_is_killed_takes_its_compiler_along() {
    let rota = rota();
    std::fs::write(rota.path("work/slow.wasm"), component::slow_to_compile(1_000, 100_000, 16)).unwrap();
    let host = rota.start(&["plugins", "verify", "./slow.wasm"]).unwrap();
    let pid = host.pid().unwrap();
    let compiler = rota_testbed::eventually(Duration::from_secs(30), "the compiler's process", async || {
        Ok(processes::below(pid).into_iter().find(|process| process.command.contains("__compile")))
    })
    .await
    .unwrap();
    host.signal(rustix::process::Signal::KILL).unwrap();
    rota_testbed::eventually(Duration::from_secs(5), "the compiler's end", async || {
        Ok((!processes::lives(&compiler)).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn ten_thousand_imports_and_deep_types_are_refused_at_once() {
    let rota = rota();
    let names: Vec<String> = (0..10_000).map(|n| format!("wasi:cli/x{n}@0.2.0")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (what, bytes, text) in [
        ("imports", component::importing(&names), "more than 500 imports"),
        // As a control: what these are made of is sound, and fits no plugin.
        ("shallow", component::deep_types(1), "does not fit the contract"),
        ("types", component::deep_types(100_000), ""),
        ("nesting", component::deep_components(5_000), ""),
    ] {
        let file = rota.path("work/hostile.wasm");
        std::fs::write(&file, bytes).unwrap();
        let begun = Instant::now();
        let message = refused(&rota, &["plugins", "verify", "./hostile.wasm"], 2).await;
        assert!(message.contains(text) && message.len() < 2_000, "{what}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_name_of_a_file_or_of_a_lock_steers_no_terminal() {
    let rota = rota();
    rota.configure("").unwrap();
    let folder = rota.state().join("plugins");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("\u{1b}]0;owned\u{7}.wasm"), probe::BYTES).unwrap();
    // A lock that somebody wrote by hand.
    let digest = format!("sha256:{}", "0".repeat(64));
    let entry = format!(
        "reference = \"r.example/x\\u001B[31m@1\"\nname = \"x\\u001B[31m\"\nversion = \"1.0.0\\u0007\"\ncomponent = \"{digest}\"\n\
         manifest = \"{digest}\"\nsize = 7\nlocked = \"\\u001B[31m\"\nrisk = \"\\u001B[31m\"\nsigner = \"\\u001B[31m\"\n"
    );
    std::fs::write(rota.path("work/rota.lock"), format!("version = 1\n\n[[plugin]]\n{entry}")).unwrap();
    for arguments in [
        &["plugins", "list"][..],
        &["plugins", "verify"],
        &["plugins", "outdated"],
        &["plugins", "update"],
        &["plugins", "rollback", "x\u{1b}[31m"],
        &["plugins", "pin", "x\u{1b}[31m@1.0.0"],
        &["plugins", "remove", "x\u{1b}[31m"],
    ] {
        let said = rota.run(&[arguments, &["--output", "human"]].concat()).await.unwrap();
        assert!(!said.all().contains(['\u{1b}', '\u{7}']), "{arguments:?}: {said:?}");
        // The lock was read: what is wrong is not its form.
        assert!(!said.all().contains("cannot be read"), "{arguments:?}: {said:?}");
        assert_eq!(said.status == Some(0), arguments.contains(&"remove"), "{arguments:?}: {said:?}");
    }
    // A job's plugin that is not there.
    rota.configure("[jobs.x]\nplugin = \"./\\u001B[31mx.wasm\"\n").unwrap();
    let said = rota.run(&["config", "check", "--output", "human"]).await.unwrap();
    assert!(said.status == Some(2) && !said.all().contains('\u{1b}'), "{said:?}");
}

/// The most memory that this process ever had, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
