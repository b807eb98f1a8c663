//! `rota plugin`: an author's way from nothing to a plugin that others may run.
//!
//! | module | what it does |
//! | --- | --- |
//! | `spec` | reads name and slots |
//! | `language` | what differs from language to language |
//! | `rust` | the files of a new plugin in Rust |
//! | `javascript` | the same in JavaScript, and its component |
//! | `cargo` | builds one |
//! | `c` | the files of a new plugin in C |
//! | `clang` | builds one |
//! | `python` | the files of a new plugin in Python, and how it is built |
//! | `sdk` | the contract and the SDK, as this binary has them |
//! | `test`, `test_real` | runs cases, without any server or on bindings |
//! | `from_run` | makes a case of a recorded run |
//! | `first_case` | the case that a new plugin begins with |
//! | `check` | what is wrong, and what to do |
//! | `dev` | builds and plans at each save |
//! | `publish` | checks, runs the cases, puts it into a registry, signs it |

mod c;
mod cargo;
pub(crate) mod check;
mod clang;
mod dev;
mod first_case;
mod from_run;
mod javascript;
mod language;
mod publish;
mod python;
mod rust;
mod sdk;
mod spec;
pub(crate) mod test;
mod test_real;

pub(crate) use dev::dev;
pub(crate) use from_run::from_run;
pub(crate) use test_real::test_real;

use super::{Printing, print, print_json};
use crate::cli::{BuildArgs, Language, NewArgs, PluginCommand};
use crate::output::{bold, dim, format, safe};
use crate::settings::UsageError;
use anyhow::Context as _;
use rota_catalog::{Catalog, Loaded};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) async fn plugin(catalog: &Catalog, command: PluginCommand, printing: Printing) -> anyhow::Result<u8> {
    match command {
        PluginCommand::New(args) => new(catalog, &args, printing),
        PluginCommand::Build(BuildArgs { folder, locked }) => {
            let built = build(catalog, &folder, locked, printing).await?;
            built.show(printing)?;
            Ok(0)
        }
        PluginCommand::Test(args) => test::test(catalog, &args, printing).await,
        PluginCommand::Check { what } => check::check(catalog, &what, printing).await,
        PluginCommand::Wit { folder } => wit(folder, printing),
        PluginCommand::Publish(args) => publish::publish(catalog, &args, printing).await,
        // It needs a host; the caller knows it by its own name.
        PluginCommand::Dev(_) => Err(UsageError("dev needs a host".into()).into()),
    }
}

/// A file of a new plugin.
pub(crate) struct File {
    path: &'static str,
    text: String,
    program: bool,
}

impl File {
    pub(crate) fn new(path: &'static str, text: impl Into<String>) -> Self {
        Self { path, text: text.into(), program: false }
    }

    /// One that can be executed.
    pub(crate) fn program(path: &'static str, text: impl Into<String>) -> Self {
        Self { path, text: text.into(), program: true }
    }
}

/// Make a folder of a plugin in JavaScript whose source is made out of the template's, and answer the names of its files.
///
/// # Errors
/// When the name or a slot cannot be used, the folder is there already, or nothing can be written there.
pub(crate) fn make_javascript(
    catalog: &Catalog,
    name: &str,
    slots: &[String],
    folder: &Path,
    source: &dyn Fn(&str) -> String,
) -> anyhow::Result<Vec<&'static str>> {
    let spec = match slots {
        [] => spec::Spec { slots: Vec::new(), ..spec::Spec::read(name, slots, catalog)? },
        slots => spec::Spec::read(name, slots, catalog)?,
    };
    let mut files = Language::Javascript.files(&spec)?;
    for file in files.iter_mut().filter(|file| file.path == javascript::SOURCE) {
        file.text = source(&file.text);
    }
    make(folder, &files, Language::Javascript)?;
    Ok(files.iter().map(|file| file.path).collect())
}

/// Make a plugin's folder.
fn make(folder: &Path, files: &[File], language: Language) -> anyhow::Result<()> {
    // Made here and by nobody else: what is there already is never written to.
    std::fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => UsageError(format!(
            "{} is there already, and nothing was written; take it away, or choose another place with --folder",
            folder.display()
        )),
        _ => UsageError(format!("{} cannot be made: {error}", folder.display())),
    })?;
    if let Err(error) = write(folder, files, language) {
        // Half a plugin is worse than none.
        let _ = std::fs::remove_dir_all(folder);
        return Err(error);
    }
    Ok(())
}

fn new(catalog: &Catalog, args: &NewArgs, printing: Printing) -> anyhow::Result<u8> {
    let spec = spec::Spec::read(&args.name, &args.slots, catalog)?;
    let mut files = args.language.files(&spec)?;
    files.push(first_case::file(&spec, args.language));
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(&spec.name));
    make(&folder, &files, args.language)?;
    if !printing.human() {
        let paths: Vec<&str> = files.iter().map(|file| file.path).collect();
        print_json(
            &json!({ "plugin": spec.name, "language": args.language.word(), "folder": folder, "files": paths }),
        )?;
        return Ok(0);
    }
    let paths: Vec<String> = files.iter().map(|file| format!("  {}", file.path)).collect();
    let next = args.language.next_steps(&spec);
    print(&format!(
        "{} in {}\n{}\n  {} {}\n\nNext:\n  cd {}\n{next}",
        bold(&spec.name),
        folder.display(),
        paths.join("\n"),
        sdk::FOLDER,
        dim("the contract of this version of rota, and what goes with it"),
        folder.display(),
    ))?;
    Ok(0)
}

fn write(folder: &Path, files: &[File], language: Language) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for file in files {
        let path = folder.join(file.path);
        let cannot = || format!("{} cannot be written", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).with_context(cannot)?;
        std::fs::write(&path, &file.text).with_context(cannot)?;
        if file.program {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).with_context(cannot)?;
        }
    }
    if language == Language::Rust {
        cargo::format(&folder.join("src/lib.rs"));
    }
    sdk::unpack(folder, language.kit())?;
    Ok(())
}

/// A component as a language's tools made it.
pub(crate) struct Made {
    /// Its bytes.
    component: Vec<u8>,
    /// What its file is to be called, without `.wasm`.
    stem: String,
    /// What made it: `rustc 1.95.0`.
    compiler: String,
}

/// A plugin that was built and says what it is.
pub(crate) struct Built {
    loaded: Loaded,
    language: Language,
    file: PathBuf,
    compiler: String,
    took: Duration,
}

/// Why a plugin was not built, though everything that it takes is there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BuildError(pub(crate) String);

/// Build a plugin and write the component beside its sources, whole or not at all.
pub(crate) async fn component(folder: &Path, locked: bool, printing: Printing) -> anyhow::Result<(PathBuf, Made)> {
    let language = Language::of(folder)?;
    let made = language.build(folder, locked, printing).await?;
    let file = folder.join(format!("{}.wasm", made.stem));
    let partial = folder.join(format!(".{}.wasm.partial", made.stem));
    let written = std::fs::write(&partial, &made.component).and_then(|()| std::fs::rename(&partial, &file));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&partial);
        return Err(BuildError(format!("{} cannot be written: {error}", file.display())).into());
    }
    Ok((file, made))
}

/// The same, and look at it in the sandbox, as whoever gets it will.
pub(crate) async fn build(catalog: &Catalog, folder: &Path, locked: bool, printing: Printing) -> anyhow::Result<Built> {
    let start = Instant::now();
    let (file, made) = component(folder, locked, printing).await?;
    let took = start.elapsed();
    let loaded = catalog.load(&reference(&file)).await.with_context(|| {
        format!(
            "{} was built, and no host would take it; `rota plugin check` says everything that is wrong with it",
            file.display()
        )
    })?;
    Ok(Built { loaded, language: Language::of(folder)?, file, compiler: made.compiler, took })
}

/// The component of a file or a plugin's folder, which is built first where that is needed.
pub(crate) async fn file_of(what: &Path, printing: Printing) -> anyhow::Result<PathBuf> {
    if !what.is_dir() {
        return Ok(what.to_owned());
    }
    match check::fresh(what, Language::of(what)?) {
        Some(file) => Ok(file),
        None => Ok(component(what, false, printing).await?.0),
    }
}

/// A file as a plugin is named: never taken for the name of one.
pub(crate) fn reference(file: &Path) -> String {
    let text = file.display().to_string();
    if text.contains('/') { text } else { format!("./{text}") }
}

impl Built {
    /// What it imports. Every component in JavaScript imports what any could use: of those, what its slots can.
    fn imports(&self) -> Vec<&str> {
        let interfaces = self.loaded.plugin.interfaces().iter().map(String::as_str);
        match self.language {
            Language::Javascript => interfaces.filter(|interface| self.uses(interface)).collect(),
            _ => interfaces.collect(),
        }
    }

    /// Whether a slot of it is for an interface, or none is needed.
    fn uses(&self, interface: &str) -> bool {
        let descriptor = &self.loaded.descriptor;
        let has = |capability: &str| descriptor.slots.iter().any(|slot| slot.capability == capability);
        match interface {
            // A database is where a program connects, and starts none.
            "tools" => has("tool"),
            "process" => has("tool") || has("kubernetes"),
            _ => rota_catalog::is_usable(descriptor, interface),
        }
    }

    pub(crate) fn show(&self, printing: Printing) -> anyhow::Result<()> {
        let (descriptor, plugin) = (&self.loaded.descriptor, &self.loaded.plugin);
        let imports = self.imports();
        if !printing.human() {
            let slots: Vec<_> = descriptor
                .slots
                .iter()
                .map(|slot| json!({ "name": slot.name, "capability": slot.capability, "accesses": slot.accesses, "optional": slot.optional }))
                .collect();
            return print_json(&json!({
                "plugin": descriptor.name,
                "version": descriptor.version,
                "language": self.language.word(),
                "file": self.file,
                "digest": plugin.digest(),
                "size": self.loaded.size,
                "imports": imports,
                "slots": slots,
                "risk": descriptor.risk.as_str(),
                "compiler": self.compiler,
                "seconds": self.took.as_secs_f64(),
            }));
        }
        let mut lines = vec![
            format!("{} {}  {}", bold(&safe(&descriptor.name)), safe(&descriptor.version), descriptor.risk.as_str()),
            format!("  file     {}, {}", self.file.display(), format::bytes(self.loaded.size)),
            format!("  sha-256  {}", plugin.digest()),
            format!("  imports  rota:runbook {{ {} }}", imports.join(", ")),
        ];
        for (number, slot) in descriptor.slots.iter().enumerate() {
            let head = if number == 0 { "may ask" } else { "       " };
            let optional = if slot.optional { " (optional)" } else { "" };
            lines.push(format!(
                "  {head}  {}: {} {}{optional}",
                safe(&slot.name),
                slot.capability,
                slot.accesses.join(", ")
            ));
        }
        if descriptor.slots.is_empty() {
            lines.push("  may ask  nothing: it has no slot".into());
        }
        lines.push(format!("  built    in {} by {}", format::seconds(self.took.as_secs_f64()), safe(&self.compiler)));
        print(&lines.join("\n"))
    }
}

fn wit(folder: Option<PathBuf>, printing: Printing) -> anyhow::Result<u8> {
    let is_plugin = |folder: &Path| folder.join(sdk::FOLDER).is_dir();
    let folder = folder.unwrap_or_else(|| PathBuf::from(if is_plugin(Path::new(".")) { "." } else { "wit" }));
    let (place, written) = if is_plugin(&folder) {
        let kit = Language::of(&folder).map_or(sdk::Kit::None, Language::kit);
        (folder.join(sdk::FOLDER), sdk::unpack(&folder, kit)?)
    } else {
        std::fs::create_dir_all(&folder)
            .map_err(|error| UsageError(format!("{} cannot be made: {error}", folder.display())))?;
        (folder.clone(), sdk::contract(&folder)?)
    };
    let version = rota_contract::CONTRACT_VERSION;
    if printing.human() {
        let sdk::Written { files, changed } = written;
        print(&format!("rota:runbook@{version} in {}: {files} files, {changed} of them changed", place.display()))?;
    } else {
        print_json(
            &json!({ "folder": place, "contract": version, "files": written.files, "changed": written.changed }),
        )?;
    }
    Ok(0)
}
