//! Builds the probes (tests/guests, tests/guests-bare) as the first-party plugins are built, and tells where they are.

#[path = "../../host/catalog/build_guests.rs"]
mod build_guests;

use std::path::Path;

fn main() -> build_guests::Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace above tests/e2e")?.to_owned();
    for watched in ["tests/guests", "tests/guests-bare", "wit", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    let built = build_guests::build(&workspace, &["rota-probe".to_owned(), "rota-probe-bare".to_owned()])?;
    println!("cargo::rustc-env=ROTA_PROBE={}", built.join("rota_probe.wasm").display());
    println!("cargo::rustc-env=ROTA_PROBE_BARE={}", built.join("rota_probe_bare.wasm").display());
    Ok(())
}
