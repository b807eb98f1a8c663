//! Many plugins, and large ones: what they cost.

use super::{FIRST, package, refused};
use crate::rota;
use rota_testbed::Registry;
use rota_tests::Rota;
use std::time::{Duration, Instant};

/// A host with so many plugins in the folder and as many packages in the lock, and one that is run.
fn host(many: usize) -> Rota {
    let rota = rota();
    let folder = rota.state().join("plugins");
    std::fs::create_dir_all(&folder).unwrap();
    let component = FIRST.component();
    std::fs::write(folder.join("expired-sessions.wasm"), &component).unwrap();
    for number in 1..many {
        // Links: what is measured is not how fast a disk is written.
        std::fs::hard_link(folder.join("expired-sessions.wasm"), folder.join(format!("plugin-{number}.wasm"))).unwrap();
    }
    let mut lock = rota_packages::Lock::default();
    for number in 0..many {
        let digest = rota_packages::Digest::of(&number.to_le_bytes());
        let build = rota_packages::Build {
            version: "1.0.0".into(),
            component: digest.clone(),
            size: 1,
            manifest: Some(digest),
            locked: "2026-11-27T00:00:00Z".into(),
            signer: None,
            bundles: Vec::new(),
            risk: "observe".into(),
            confirmation: None,
            imports: vec!["run".into(), "sql".into(), "types".into()],
            parameters: vec!["days: integer".into()],
            slots: Vec::new(),
        };
        lock.set(&format!("registry.example/team/plugin-{number}@1"), &format!("plugin-{number}"), build);
    }
    std::fs::write(rota.path("work/rota.lock"), lock.to_toml().unwrap()).unwrap();
    rota
}

#[tokio::test]
async fn a_host_with_a_thousand_plugins_starts_as_one_with_ten() {
    let (few, many) = (host(10), host(1_000));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..8 {
        for (rota, times) in [&few, &many].into_iter().zip(&mut times) {
            let begun = Instant::now();
            let said = rota.run(&["run", "expired-sessions", "-q"]).await.unwrap();
            assert_eq!(said.status, Some(0), "{said:?}");
            // The first of each compiles.
            if round > 0 {
                times.push(begun.elapsed());
            }
        }
    }
    let [few, many] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    eprintln!("a run on a host with 10 plugins and packages: {few:?}, with 1,000: {many:?}");
    assert!(many < few * 2, "10: {few:?}, 1,000: {many:?}");
}

/// The most memory that a process and its children had, bytes, as GNU time tells it: here by the shell's own account of its children.
async fn peaks(rota: &Rota, arguments: &[&str]) -> (u64, Duration) {
    let program = env!("CARGO_BIN_EXE_rota");
    let script = "import resource, subprocess, sys\n\
                  done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n\
                  print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let begun = Instant::now();
    let output = tokio::process::Command::new("python3")
        .args(["-c", script, program])
        .args(arguments)
        .env_clear()
        .envs(rota.environment())
        .current_dir(rota.path("work"))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (status, kib) = text.trim().split_once(' ').unwrap_or_else(|| panic!("{output:?}"));
    assert_eq!(status, "0", "{output:?}");
    (kib.parse::<u64>().unwrap() << 10, begun.elapsed())
}

#[tokio::test]
async fn pulled_verified_and_compiled_in_bounded_memory() {
    rota_testbed::tool("bin/componentize-py").unwrap();
    let registry = Registry::start().await.unwrap();
    let mut rota = rota();
    rota.set("PATH", format!("{}/bin:/usr/bin:/bin", rota_testbed::tools_dir().display()));
    // Compiled anew: what other tests compiled counts for nothing here.
    rota.set("ROTA_SANDBOX__CACHE_DIR", rota.path("compiled"));
    let long = Duration::from_secs(300);
    for arguments in [&["plugin", "new", "large", "--language", "python"][..], &["plugin", "build", "large"]] {
        let said = rota.run_within(arguments, long).await.unwrap();
        assert_eq!(said.status, Some(0), "{said:?}");
    }
    let size = std::fs::metadata(rota.path("work/large/large.wasm")).unwrap().len();
    let target = package(&registry, "").replace("expired-sessions", "large");
    let said = rota.run_within(&["plugins", "push", "large/large.wasm", &target], long).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    std::fs::remove_dir_all(rota.path("compiled")).unwrap();
    // The compiler's process is the largest: what it needs is wasmtime's, and what it may have is bounded. The host stays small.
    let (peak, took) = peaks(&rota, &["plugins", "pull", &format!("{target}@0")]).await;
    eprintln!("pull, verify and compile of {size} bytes: {} MiB at most in one process, {took:?}", peak >> 20);
    assert!(peak < 400 << 20, "{} MiB", peak >> 20);
    let (again, took) = peaks(&rota, &["plugins", "verify", &format!("{target}@0")]).await;
    eprintln!("verified again, compiled before: {} MiB, {took:?}", again >> 20);
    assert!(again < 300 << 20, "{} MiB", again >> 20);
}

#[tokio::test]
async fn no_room_is_said_and_leaves_nothing() {
    let registry = Registry::start().await.unwrap();
    let mut rota = rota();
    FIRST.push(&rota, &registry).await;
    let Some(disk) = rota_testbed::SmallDisk::mount(1).unwrap() else {
        eprintln!("no small disk can be made here; not tested");
        return;
    };
    rota.set("ROTA_STATE_DIR", disk.path());
    let message = refused(&rota, &["plugins", "pull", &package(&registry, "@1")], 1).await;
    assert!(message.contains("No space left"), "{message}");
}
