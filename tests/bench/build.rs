//! Builds the benches' guest for wasm32-wasip2, as host/catalog/build.rs builds the plugins: by a cargo of its own with the profile
//! `plugin`, in the same folder, so that nothing is built twice.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Settings of the outer build that must not reach the guest's.
const OUTER: [&str; 6] =
    ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_FEATURE_", "CARGO_CFG_", "CARGO_TARGET_", "CARGO_ENCODED_RUSTFLAGS"];
const OUTER_EXACT: [&str; 8] =
    ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTC", "TARGET", "HOST", "OPT_LEVEL", "PROFILE"];

fn main() -> Result<(), Box<dyn Error>> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace above tests/bench")?.to_owned();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for watched in ["tests/bench/guest", "tests/bench/build.rs", "wit"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=ROTA_PLUGIN_TARGET_DIR");
    let target = match std::env::var_os("ROTA_PLUGIN_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?.join("plugins"),
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo
        .current_dir(&workspace)
        .args(["build", "--locked", "--profile", "plugin", "--target", "wasm32-wasip2"])
        .args(["--package", "rota-bench-guest", "--target-dir"])
        .arg(&target);
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if OUTER_EXACT.contains(&&*name) || OUTER.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(&variable);
        }
    }
    let home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    // The flags of the plugins' build: others would build every dependency again, at each change of sides.
    let flags =
        [format!("--remap-path-prefix={}=/rota", workspace.display()), format!("--remap-path-prefix={home}=/cargo")];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!("the benches' guest does not build:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let built = target.join("wasm32-wasip2/plugin/rota_bench_guest.wasm");
    let kept = out.join("guest.wasm");
    std::fs::copy(&built, &kept)?;
    println!("cargo::rustc-env=ROTA_BENCH_GUEST={}", kept.display());
    Ok(())
}
