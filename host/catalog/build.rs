//! Builds the first-party plugins (every folder of `plugins/` but the SDK's) for wasm32-wasip2, and embeds them, compressed.
//!
//! The build is by a cargo of its own, with a profile of its own (`plugin`) and no flags from outside, so that the same source
//! gives the same bytes wherever it is built. A procedure is added by adding its folder: nothing here names one.

use sha2::Digest as _;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace above host/catalog")?.to_owned();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for watched in ["plugins", "wit", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=ROTA_PLUGIN_TARGET_DIR");
    let names = plugins(&workspace.join("plugins"))?;
    // <target>/release/build/rota-catalog-*/out -> <target>/plugins: kept between builds, and no lock shared with the outer cargo.
    let target = match std::env::var_os("ROTA_PLUGIN_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?.join("plugins"),
    };
    build(&workspace, &target, &names)?;
    embed(&target.join("wasm32-wasip2/plugin"), &out, &names)
}

/// The plugins' names: the folders of `plugins/` with a manifest, the SDK's aside.
fn plugins(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "a plugin folder's name is not UTF-8")?;
        if !name.starts_with("sdk") && entry.path().join("Cargo.toml").exists() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn build(workspace: &Path, target: &Path, names: &[String]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo
        .current_dir(workspace)
        .args(["build", "--locked", "--profile", "plugin", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(target);
    for name in names {
        cargo.args(["-p", name]);
    }
    // Nothing of the outer build's settings may reach the plugins' bytes.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let inherited = [
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
        ]
        .contains(&&*name)
            || [
                "CARGO_PROFILE_",
                "CARGO_BUILD_",
                "CARGO_FEATURE_",
                "CARGO_CFG_",
                "CARGO_PKG_",
                "CARGO_RESOLVER_",
                "CARGO_UNSTABLE_",
                "CARGO_TARGET_",
                "__CARGO",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if inherited {
            cargo.env_remove(variable);
        }
    }
    let home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap_or_default()));
    let flags =
        [format!("--remap-path-prefix={}=/rota", workspace.display()), format!("--remap-path-prefix={home}=/cargo")];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let output = cargo.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = if said.contains("wasm32-wasip2") && said.contains("can't find crate") {
            "\nThe target wasm32-wasip2 is missing: run scripts/setup (or `rustup target add wasm32-wasip2`)."
        } else {
            ""
        };
        return Err(format!("the first-party plugins do not build:\n{said}{hint}").into());
    }
    Ok(())
}

fn embed(built: &Path, out: &Path, names: &[String]) -> Result<()> {
    let mut table = String::from("&[\n");
    for name in names {
        let component = std::fs::read(built.join(format!("{}.wasm", name.replace('-', "_"))))?;
        let digest = hex::encode(sha2::Sha256::digest(&component));
        let compressed = out.join(format!("{name}.wasm.zst"));
        std::fs::write(&compressed, zstd::encode_all(component.as_slice(), 19)?)?;
        writeln!(
            table,
            "    FirstParty {{ name: {name:?}, digest: {digest:?}, size: {}, compressed: include_bytes!({:?}) }},",
            component.len(),
            compressed.display().to_string()
        )?;
    }
    table.push_str("]\n");
    std::fs::write(out.join("first_party.rs"), table)?;
    Ok(())
}
