//! Builds a plugin in Rust by cargo, so that the same sources give the same bytes.

use super::{BuildError, Made, Printing, sdk};
use crate::settings::UsageError;
use anyhow::Context as _;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

/// What components are built for.
const TARGET: &str = "wasm32-wasip2";
/// So many errors are told to programs.
const SHOWN: usize = 20;
/// Variables of the outside that would reach the bytes.
const VARIABLES: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_INCREMENTAL",
    "RUSTC_BOOTSTRAP",
    "CARGO_MANIFEST_DIR",
    "CARGO_MAKEFLAGS",
];
const PREFIXES: [&str; 5] = ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_UNSTABLE_", "CARGO_RESOLVER_", "__CARGO"];

/// An error as the compiler tells it.
struct Diagnostic {
    /// `src/lib.rs:12:5: expected one of ...`
    line: String,
    rendered: String,
}

pub(crate) async fn build(folder: &Path, locked: bool, printing: Printing) -> anyhow::Result<Made> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))
        .map_err(|error| UsageError(format!("{} cannot be read: {error}", folder.join("Cargo.toml").display())))?;
    // A checkout without it (it should be committed) gets it of this version.
    let with_sdk = manifest.contains(&format!("{}/sdk", sdk::FOLDER));
    if with_sdk && !folder.join(sdk::FOLDER).join("sdk/Cargo.toml").is_file() {
        sdk::unpack(folder, sdk::Kit::Rust)?;
    }
    let tools = Tools::find(folder).await?;
    other_folder(folder, &manifest, &tools).await?;

    let mut cargo = tools.command(&tools.cargo, folder);
    let human = printing.human();
    let messages = if human && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        "json,json-diagnostic-rendered-ansi"
    } else {
        "json"
    };
    cargo.args(["build", "--release", "--lib", "--target", TARGET]).arg(format!("--message-format={messages}"));
    if locked {
        cargo.arg("--locked");
    }
    cargo.stdout(Stdio::piped()).stderr(if human { Stdio::inherit() } else { Stdio::piped() });
    let mut child = cargo.spawn().with_context(|| format!("{} cannot be started", tools.cargo.display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Both at once: a full pipe would hold it up.
    let (heard, said) = tokio::join!(listen(stdout, human), whole(stderr));
    let (heard, said) = (heard?, said?);
    if !child.wait().await?.success() {
        return Err(failed(folder, &heard.errors, &said).into());
    }
    let Some(file) = heard.component else {
        return Err(UsageError(format!(
            "{} makes no component: its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`",
            folder.display()
        ))
        .into());
    };
    let component = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin").replace('_', "-");
    Ok(Made { component, stem, compiler: tools.version })
}

/// What cargo told while it built.
#[derive(Default)]
struct Heard {
    component: Option<PathBuf>,
    errors: Vec<Diagnostic>,
}

async fn listen(stdout: Option<tokio::process::ChildStdout>, human: bool) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    let Some(stdout) = stdout else { return Ok(heard) };
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        match message["reason"].as_str() {
            Some("compiler-message") => {
                let rendered = message["message"]["rendered"].as_str().unwrap_or_default();
                if human {
                    eprint!("{rendered}");
                }
                if message["message"]["level"] == "error" && heard.errors.len() < SHOWN {
                    heard.errors.extend(diagnostic(&message["message"]));
                }
            }
            // The last one is the plugin's own: what it needs comes before it.
            Some("compiler-artifact") => {
                let mut files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let component = files.rfind(|file| file.ends_with(".wasm"));
                heard.component = component.map(PathBuf::from).or(heard.component);
            }
            _ => {}
        }
    }
    Ok(heard)
}

fn diagnostic(message: &Value) -> Option<Diagnostic> {
    let text = message["message"].as_str()?;
    let spans = message["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true);
    // "aborting due to ..." has no place, and says nothing.
    let span = span?;
    let place = format!("{}:{}:{}", span["file_name"].as_str()?, span["line_start"], span["column_start"]);
    let rendered = message["rendered"].as_str().unwrap_or_default().to_owned();
    Some(Diagnostic { line: format!("{place}: {text}"), rendered })
}

async fn whole(stderr: Option<tokio::process::ChildStderr>) -> anyhow::Result<String> {
    let mut said = Vec::new();
    if let Some(mut stderr) = stderr {
        stderr.read_to_end(&mut said).await?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// What to say of a build that failed. People have seen the compiler's words.
fn failed(folder: &Path, errors: &[Diagnostic], said: &str) -> BuildError {
    let what = folder.display();
    let Some(first) = errors.first() else {
        let said = said.trim();
        let because = if said.is_empty() { "cargo says why above".to_owned() } else { last_lines(said) };
        return BuildError(format!("{what} does not build: {because}"));
    };
    let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors, the first", errors.len()) };
    let mut text = format!("{what} does not build: {count}: {}", first.line);
    // Programs get the compiler's words here, there is no other place for them.
    if !said.is_empty() {
        for error in errors {
            text.push('\n');
            text.push_str(error.rendered.trim_end());
        }
    }
    BuildError(text)
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// The programs that it takes.
struct Tools {
    cargo: PathBuf,
    rustc: PathBuf,
    /// `rustc 1.95.0 (...)`.
    version: String,
}

impl Tools {
    /// Find them and see that they are new enough and have the target; each that is missing is told with the command that installs it.
    async fn find(folder: &Path) -> anyhow::Result<Self> {
        let Some(cargo) = program("cargo") else {
            return Err(UsageError(format!(
                "cargo is not on the PATH: a plugin in Rust needs Rust {} or later. Install it with\n  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- --target {TARGET}",
                sdk::RUST_VERSION
            ))
            .into());
        };
        let rustc = cargo.with_file_name("rustc");
        let rustc = if rustc.is_file() { rustc } else { program("rustc").unwrap_or(rustc) };
        let mut tools = Self { cargo, rustc, version: String::new() };
        tools.version = tools.ask(folder, &["--version"]).await?;
        let number = tools.version.split(' ').nth(1).unwrap_or_default();
        if is_older(number, sdk::RUST_VERSION) {
            return Err(UsageError(format!(
                "Rust {number} is too old: a plugin needs {} or later. Update it with\n  rustup update stable",
                sdk::RUST_VERSION
            ))
            .into());
        }
        let library = tools.ask(folder, &["--print", "target-libdir", "--target", TARGET]).await?;
        if !Path::new(&library).is_dir() {
            return Err(UsageError(format!(
                "Rust's target {TARGET} is not installed (looked for {library}). Install it with\n  rustup target add {TARGET}"
            ))
            .into());
        }
        Ok(tools)
    }

    async fn ask(&self, folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(&self.rustc, folder).args(arguments).output().await;
        let output = output.map_err(|error| {
            UsageError(format!(
                "{} cannot be started ({error}): reinstall Rust, for example with `rustup toolchain install stable`",
                self.rustc.display()
            ))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(UsageError(format!(
                "{} {}: {}",
                self.rustc.display(),
                arguments.join(" "),
                last_lines(said.trim())
            ))
            .into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A command in the plugin's folder into whose result nothing of the outside comes.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if VARIABLES.contains(&name.as_ref()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&variable);
            }
        }
        // The sources of dependencies lie in everybody's own home; paths of the plugin's own files are relative already.
        let home = std::env::var_os("CARGO_HOME").unwrap_or_else(|| {
            let mut home = std::env::var_os("HOME").unwrap_or_default();
            home.push("/.cargo");
            home
        });
        let mut flags = OsString::from("--remap-path-prefix=");
        flags.push(home);
        flags.push("=/cargo");
        command.env("CARGO_ENCODED_RUSTFLAGS", flags).env("SOURCE_DATE_EPOCH", "0");
        command
    }
}

/// Format new sources as their author's rustfmt does, where there is one: how long a line gets hangs on the names of the slots.
pub(crate) fn format(source: &Path) {
    if let Some(rustfmt) = program("rustfmt") {
        let mut command = std::process::Command::new(rustfmt);
        command.args(["--edition", "2024"]).arg(source);
        // Without it the sources are as good.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A program: on the PATH, or where rustup puts it before a new shell has it there.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    if let Some(home) = std::env::var_os("HOME") {
        folders.push(Path::new(&home).join(".cargo/bin"));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether a version such as `1.95.0-nightly` is older than `1.95`. One that cannot be read is left to cargo.
fn is_older(version: &str, wanted: &str) -> bool {
    fn numbers(text: &str) -> Option<(u32, u32)> {
        let mut parts = text.split(['.', '-']).map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    }
    numbers(version).zip(numbers(wanted)).is_some_and(|(version, wanted)| version < wanted)
}

/// With one CARGO_TARGET_DIR for several folders: cargo names what it builds by a package's name and its place in its workspace, and goes by the
/// files' times, so it would take what a namesake in another folder (or another SDK) left there for this one's. So what another folder built goes.
async fn other_folder(folder: &Path, manifest: &str, tools: &Tools) -> anyhow::Result<()> {
    let Some(target) = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from) else { return Ok(()) };
    let target = if target.is_absolute() { target } else { folder.join(target) };
    let Some(name) = package(manifest) else { return Ok(()) };
    let mut clear: Vec<&str> = Vec::new();
    let here = folder.canonicalize()?.display().to_string();
    let marks = [
        (target.join(format!(".rota-plugin-{name}")), here, vec![name.as_str()]),
        (target.join(".rota-plugin-sdk"), sdk::digest(folder)?, vec!["rota-sdk", "rota-sdk-macros"]),
    ];
    for (mark, now, packages) in &marks {
        // Of a package that is not in this one's lock file cargo can clear nothing.
        let used = packages[0] == name || manifest.contains(packages[0]);
        if used && std::fs::read_to_string(mark).ok().as_ref() != Some(now) {
            clear.extend(packages);
        }
    }
    if clear.is_empty() {
        return Ok(());
    }
    if target.join(TARGET).is_dir() {
        let mut clean = tools.command(&tools.cargo, folder);
        clean.args(["clean", "--quiet", "--release", "--target", TARGET]);
        for package in &clear {
            clean.args(["-p", package]);
        }
        let output = clean.output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let said = last_lines(said.trim());
            return Err(BuildError(format!(
                "what another folder built in {} cannot be cleared: {said}",
                target.display()
            ))
            .into());
        }
    }
    std::fs::create_dir_all(&target)?;
    for (mark, now, _) in marks {
        std::fs::write(mark, now)?;
    }
    Ok(())
}

/// The package's name in a manifest.
fn package(manifest: &str) -> Option<String> {
    let body = manifest.split_once("[package]")?.1;
    let line =
        body.lines().take_while(|line| !line.starts_with('[')).find_map(|line| line.trim().strip_prefix("name"))?;
    let name = line.trim_start().strip_prefix('=')?.trim().strip_prefix('"')?.split('"').next()?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_').then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        for (version, older) in
            [("1.95.0", false), ("1.94.1", true), ("1.100.0-nightly", false), ("0.9", true), ("?", false)]
        {
            assert_eq!(is_older(version, "1.95"), older, "{version}");
        }
    }

    #[test]
    fn the_package_is_found() {
        assert_eq!(package("[workspace]\n[package]\nversion = \"1\"\nname = \"a-b\" # x\n[lib]\n"), Some("a-b".into()));
        assert_eq!(package("[package]\n[lib]\nname = \"x\"\n"), None);
        assert_eq!(package("[package]\nname = \"../x\"\n"), None);
    }
}
