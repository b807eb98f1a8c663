//! Puts what an author needs into the binary: the contract (wit/) and the SDK's sources, with manifest and lock file cut down to what they
//! need. There is no registry that has them, and a plugin must build where no checkout of Rota is (`rota plugin new`).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The SDK's crates: the folder in plugins/, and the one in an author's `.rota/sdk`. The SDK finds the contract two folders above itself.
const CRATES: [(&str, &str); 2] = [("sdk", "rota-sdk"), ("sdk-macros", "rota-sdk-macros")];

fn main() -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace above host/rota")?.to_owned();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for watched in
        ["wit", "plugins/sdk/src", "plugins/sdk/Cargo.toml", "plugins/sdk-macros/src", "plugins/sdk-macros/Cargo.toml"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    for watched in ["Cargo.toml", "Cargo.lock", "host/rota/build.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    let root = std::fs::read_to_string(workspace.join("Cargo.toml"))?;

    let mut contract = BTreeMap::new();
    for file in files(&workspace.join("wit"))? {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or("a name in wit/ is not UTF-8")?;
        contract.insert(name.to_owned(), file);
    }
    let mut sdk = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    for (folder, name) in CRATES {
        let from = workspace.join("plugins").join(folder);
        for file in files(&from.join("src"))? {
            let inside = file.strip_prefix(&from)?.to_str().ok_or("a name in the SDK is not UTF-8")?;
            sdk.insert(format!("{name}/{inside}"), file.clone());
        }
        let manifest = without_tests(&std::fs::read_to_string(from.join("Cargo.toml"))?);
        wanted.extend(inherited(&manifest));
        let written = out.join(format!("{name}.toml"));
        std::fs::write(&written, manifest)?;
        sdk.insert(format!("{name}/Cargo.toml"), written);
    }
    let written = out.join("sdk-workspace.toml");
    std::fs::write(&written, workspace_manifest(&root, &wanted)?)?;
    sdk.insert("Cargo.toml".to_owned(), written);

    let mut text = table("CONTRACT", "The contract: a file of wit/ each.", &contract)?;
    text += &table("SDK", "The SDK as it lies in `.rota/sdk`.", &sdk)?;
    let packages = locked(&out, &workspace, &sdk)?;
    let names: BTreeSet<String> = packages.iter().map(|(name, _)| name.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    writeln!(
        text,
        "/// The lock file's packages that the SDK needs, without the plugin's own.\npub(crate) static LOCKED: &[(&str, &str)] = &{packages:?};"
    )?;
    writeln!(
        text,
        "/// The names of these packages, which a plugin cannot have.\npub(crate) static CRATES: &[&str] = &{names:?};"
    )?;
    let version = root.lines().find_map(|line| line.strip_prefix("rust-version = ")).ok_or("no rust-version")?;
    writeln!(text, "/// The oldest Rust that the SDK builds with.\npub(crate) static RUST_VERSION: &str = {version};")?;
    Ok(std::fs::write(out.join("author.rs"), text)?)
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// A manifest up to its development dependencies, whose tests are not taken along.
fn without_tests(manifest: &str) -> String {
    let mut kept = true;
    let mut text = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            kept = line.trim() != "[dev-dependencies]";
        }
        if kept {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.trim_end().to_owned() + "\n"
}

/// The dependencies that a manifest takes from its workspace.
fn inherited(manifest: &str) -> Vec<String> {
    let mut dependencies = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            dependencies = line.contains("dependencies]");
        } else if dependencies && line.contains("workspace = true") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            names.push(name.to_owned());
        }
    }
    names
}

/// The workspace's manifest with what the SDK inherits of it, and no more.
fn workspace_manifest(root: &str, wanted: &BTreeSet<String>) -> Result<String> {
    let mut text = String::from(
        "# The SDK of Rota, written by `rota plugin new`; `rota plugin wit` brings it to the version of that binary.\n[workspace]\nresolver = \"3\"\nmembers = [\"rota-sdk\", \"rota-sdk-macros\"]\n",
    );
    for section in ["[workspace.package]", "[workspace.lints.rust]", "[workspace.lints.clippy]"] {
        let body = root.split_once(&format!("{section}\n")).ok_or(format!("the workspace has no {section}"))?.1;
        let body = body.split("\n[").next().unwrap_or_default();
        write!(text, "\n{section}\n{}\n", body.trim())?;
    }
    text.push_str("\n[workspace.dependencies]\n");
    for name in wanted {
        if name == "rota-sdk-macros" {
            text.push_str("rota-sdk-macros = { path = \"rota-sdk-macros\" }\n");
            continue;
        }
        let line =
            root.lines().find(|line| line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(" = ")));
        let line = line.ok_or(format!("the workspace has no dependency `{name}`"))?;
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

/// A static of names and texts.
fn table(name: &str, what: &str, files: &BTreeMap<String, PathBuf>) -> Result<String> {
    let mut text = format!("/// {what}\npub(crate) static {name}: &[(&str, &str)] = &[\n");
    for (inside, path) in files {
        writeln!(text, "    ({inside:?}, include_str!({:?})),", path.display().to_string())?;
    }
    text.push_str("];\n");
    Ok(text)
}

/// A plugin that is nothing yet, for its lock file.
const PLACEHOLDER: &str = "rota-plugin-without-a-name";

/// The lock file of a plugin of which nothing but the SDK is needed: each package's name and text but the plugin's own. Cargo itself cuts the
/// workspace's lock file down to it (features that only the host uses go, too), so the versions are those that this binary's own plugins have.
fn locked(out: &Path, workspace: &Path, sdk: &BTreeMap<String, PathBuf>) -> Result<Vec<(String, String)>> {
    let plugin = out.join("locked");
    for (inside, from) in sdk {
        let path = plugin.join("sdk").join(inside);
        std::fs::create_dir_all(path.parent().ok_or("a file without a folder")?)?;
        std::fs::write(path, std::fs::read(from)?)?;
    }
    std::fs::create_dir_all(plugin.join("src"))?;
    std::fs::write(plugin.join("src/lib.rs"), "")?;
    std::fs::write(
        plugin.join("Cargo.toml"),
        format!(
            "[workspace]\nexclude = [\"sdk\"]\n[package]\nname = {PLACEHOLDER:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nrota-sdk = {{ path = \"sdk/rota-sdk\" }}\n"
        ),
    )?;
    std::fs::write(plugin.join("Cargo.lock"), std::fs::read(workspace.join("Cargo.lock"))?)?;
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").ok_or("CARGO is not set")?);
    // Nothing is looked for in a registry: everything is in the lock file.
    let output = cargo.current_dir(&plugin).args(["update", "--workspace", "--offline", "--quiet"]).output()?;
    if !output.status.success() {
        return Err(format!("a plugin's lock file cannot be made: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let lock = std::fs::read_to_string(plugin.join("Cargo.lock"))?;
    let mut packages = Vec::new();
    for text in lock.split("\n[[package]]\n").skip(1) {
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .ok_or("a package without a name")?;
        if name != PLACEHOLDER {
            packages.push((name.to_owned(), format!("[[package]]\n{}\n", text.trim_end())));
        }
    }
    Ok(packages)
}
