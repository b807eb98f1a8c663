//! Builds the first-party plugins (every folder of `plugins/` but the SDK's) for wasm32-wasip2, and embeds them, compressed.
//!
//! A procedure is added by adding its folder: nothing here names one.

mod build_guests;

use build_guests::Result;
use sha2::Digest as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace above host/catalog")?.to_owned();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for watched in ["plugins", "wit", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    let names = plugins(&workspace.join("plugins"))?;
    let built = build_guests::build(&workspace, &names)?;
    embed(&built, &out, &names)
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
