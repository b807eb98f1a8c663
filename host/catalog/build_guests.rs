//! Builds guests of this workspace for wasm32-wasip2: shared by the build scripts of this crate (first-party plugins) and of
//! tests/e2e (the probe), so that a guest of tests is built as the real ones are.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Build packages by a cargo of its own, with a profile of its own (`plugin`) and no flags from outside, so that the same source
/// gives the same bytes wherever it is built. Answers the folder with the components.
pub(crate) fn build(workspace: &Path, names: &[String]) -> Result<PathBuf> {
    println!("cargo::rerun-if-env-changed=ROTA_PLUGIN_TARGET_DIR");
    let target = target_folder()?;
    let mut cargo = Command::new(std::env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--profile", "plugin", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target);
    for name in names {
        cargo.args(["-p", name]);
    }
    // Nothing of the outer build's settings may reach the guests' bytes.
    for (variable, _) in std::env::vars_os() {
        if is_inherited(&variable.to_string_lossy()) {
            cargo.env_remove(variable);
        }
    }
    let home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    let flags =
        [format!("--remap-path-prefix={}=/rota", workspace.display()), format!("--remap-path-prefix={home}=/cargo")];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    for (name, value) in compiler_of_c(workspace, &target)? {
        cargo.env(name, value);
    }
    let output = cargo.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = if said.contains("rquickjs-sys")
            && std::process::Command::new("clang").arg("--version").output().is_err()
        {
            "\nclang is missing, which compiles QuickJS for the plugin `script`: run scripts/setup."
        } else if said.contains("wasm32-wasip2") && said.contains("can't find crate") {
            "\nThe target wasm32-wasip2 is missing: run scripts/setup (or `rustup target add wasm32-wasip2`)."
        } else {
            ""
        };
        return Err(format!("{} does not build for wasm32-wasip2:\n{said}{hint}", names.join(", ")).into());
    }
    Ok(target.join("wasm32-wasip2/plugin"))
}

/// How the one guest with C in it (`script`, by QuickJS) is compiled: by clang, with the headers that its binding brings along for wasm, and a
/// header of ours that these lack. The C library that they are of is Rust's own for the target.
fn compiler_of_c(workspace: &Path, target: &Path) -> Result<Vec<(&'static str, String)>> {
    const CRATE: &str = "/rquickjs-sys-";
    let ours = workspace.join("plugins/script/wasi");
    if !ours.exists() {
        return Ok(Vec::new());
    }
    // Asked for, because it may have to be fetched first.
    let metadata = Command::new(std::env::var_os("CARGO").ok_or("CARGO is not set")?)
        .current_dir(workspace)
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "wasm32-wasip2"])
        .output()?;
    let said = String::from_utf8_lossy(&metadata.stdout);
    let folder = said.split('"').find(|text| text.contains(CRATE) && text.ends_with("/Cargo.toml"));
    let folder = folder
        .and_then(|manifest| manifest.strip_suffix("/Cargo.toml"))
        .ok_or("no rquickjs-sys among the dependencies")?;
    let flags = [
        // Nothing of the machine's own headers.
        "--sysroot=/nonexistent".to_owned(),
        format!("-isystem {}", ours.display()),
        format!("-isystem {folder}/vendor/wasi-libc/include"),
        // Paths must not reach the bytes.
        format!("-ffile-prefix-map={}=/rota", target.display()),
        "-w".to_owned(),
    ];
    Ok(vec![
        ("RQUICKJS_SYS_NO_WASI_SDK", "1".to_owned()),
        ("CC_wasm32_wasip2", "clang".to_owned()),
        ("AR_wasm32_wasip2", "llvm-ar".to_owned()),
        ("CFLAGS_wasm32_wasip2", flags.join(" ")),
    ])
}

/// `ROTA_PLUGIN_TARGET_DIR`, or `<target>/plugins`: kept between builds, and no lock shared with the outer cargo.
fn target_folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ROTA_PLUGIN_TARGET_DIR") {
        return Ok(PathBuf::from(folder));
    }
    // <target>/release/build/PACKAGE-*/out
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    Ok(out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?.join("plugins"))
}

fn is_inherited(variable: &str) -> bool {
    const NAMES: [&str; 11] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOCFLAGS",
        "RUSTC",
        "TARGET",
        "HOST",
        "OPT_LEVEL",
        "DEBUG",
        "PROFILE",
    ];
    const PREFIXES: [&str; 9] = [
        "CARGO_PROFILE_",
        "CARGO_BUILD_",
        "CARGO_FEATURE_",
        "CARGO_CFG_",
        "CARGO_PKG_",
        "CARGO_RESOLVER_",
        "CARGO_UNSTABLE_",
        "CARGO_TARGET_",
        "__CARGO",
    ];
    NAMES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}
