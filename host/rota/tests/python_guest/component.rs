//! From app.py to a component, and its compilation: ten seconds each, so done once for each content and kept in the target folder.

use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where compiled components are kept for all tests of this target folder.
pub(crate) const COMPILED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled");

const BUILT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/python-guests");

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

/// The example, built by its own script.
pub(crate) fn table_sizes() -> PathBuf {
    let folder = repository("examples/plugins/python-table-sizes");
    let sources = ["app.py", "world.wit", "build"].map(|name| folder.join(name));
    built("table-sizes", &sources, |output| Command::new(folder.join("build")).arg(output).output())
}

/// The probe, which imports everything.
pub(crate) fn probe() -> PathBuf {
    let app = repository("host/rota/tests/guests/python_probe/app.py");
    // The example's script holds the pinned version: when it changes, this is built again, too.
    let sources = [app.clone(), repository("examples/plugins/python-table-sizes/build")];
    built("probe", &sources, |output| {
        let folder = tempfile::tempdir()?;
        std::fs::copy(&app, folder.path().join("app.py"))?;
        let program = rota_testbed::tool("bin/componentize-py").map_err(std::io::Error::other)?;
        Command::new(program)
            .args(["--quiet", "--world", "rota:runbook/procedure", "--wit-path"])
            .arg(repository("wit"))
            .args(["componentize", "app", "--python-path"])
            .arg(folder.path())
            .arg("--output")
            .arg(output)
            .output()
    })
}

/// What was built of these sources and of the contract, or is built and compiled now, by one process at a time.
fn built(
    name: &str,
    sources: &[PathBuf],
    build: impl FnOnce(&Path) -> std::io::Result<std::process::Output>,
) -> PathBuf {
    let component = Path::new(BUILT).join(format!("{name}-{}.wasm", content(sources)));
    std::fs::create_dir_all(BUILT).unwrap();
    let lock = File::create(Path::new(BUILT).join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !component.exists() {
        let fresh = component.with_extension("new");
        let output = build(&fresh).unwrap();
        assert!(output.status.success(), "{name} was not built (scripts/setup guests): {output:?}");
        std::fs::rename(&fresh, &component).unwrap();
    }
    // Compiled while the lock is held, so that tests that begin at once do not all compile it.
    verify(&component, Path::new(COMPILED));
    component
}

/// `rota plugins verify`, which compiles where `compiled` does not have it. Waits for as long as that takes.
pub(crate) fn verify(component: &Path, compiled: &Path) {
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rota"))
        .args(["plugins", "verify", "--output", "json"])
        .arg(component)
        .current_dir(state.path())
        .env("HOME", state.path())
        .env("ROTA_STATE_DIR", state.path())
        .env("ROTA_SANDBOX__CACHE_DIR", compiled)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn content(sources: &[PathBuf]) -> String {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(repository("wit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.extend_from_slice(sources);
    let mut hash = Sha256::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    }
    hex::encode(&hash.finalize()[..8])
}
