//! `rota plugin check`: what is wrong with a plugin, and what to do about each.

use super::{Printing, component, print, print_json, reference, sdk};
use crate::cli::Language;
use crate::output::{bold, format, safe};
use crate::settings::UsageError;
use owo_colors::{OwoColorize as _, Stream};
use rota_catalog::{Catalog, Finding, Level, lint, read_file};
use rota_contract::Descriptor;
use rota_sandbox::{LoadError, NotAPlugin};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A README that says less than this says nothing.
const README: u64 = 80;

/// What a check found.
pub(crate) struct Checked {
    pub(crate) file: PathBuf,
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) errors: usize,
    pub(crate) size: u64,
    /// Cases that have passed; none where it is no folder, or has none.
    pub(crate) cases: Option<usize>,
    digest: String,
}

pub(crate) async fn check(catalog: &Catalog, what: &Path, printing: Printing) -> anyhow::Result<u8> {
    let Checked { file, descriptor, findings, errors, size, digest, .. } = examine(catalog, what, printing).await?;
    if printing.human() {
        show(&file, descriptor.as_ref(), &findings, errors, size)?;
    } else {
        let findings: Vec<_> = findings
            .iter()
            .map(|f| json!({ "level": f.level.as_str(), "rule": f.rule, "found": f.found, "to_do": f.to_do }))
            .collect();
        print_json(&json!({
            "plugin": descriptor.as_ref().map(|d| &d.name),
            "version": descriptor.as_ref().map(|d| &d.version),
            "file": reference(&file),
            "digest": digest,
            "size": size,
            "errors": errors,
            "findings": findings,
        }))?;
    }
    Ok(u8::from(errors > 0))
}

/// Look at a plugin's folder or component, and print nothing.
pub(crate) async fn examine(catalog: &Catalog, what: &Path, printing: Printing) -> anyhow::Result<Checked> {
    let mut findings = Vec::new();
    let file = if what.is_dir() {
        let language = Language::of(what)?;
        around(what, language, &mut findings);
        match fresh(what, language) {
            Some(file) => file,
            None => component(what, false, printing).await?.0,
        }
    } else {
        what.to_owned()
    };
    let bytes = read_file(&file).map_err(|error| UsageError(format!("{} cannot be read: {error}", file.display())))?;
    let size = bytes.len() as u64;
    let digest = rota_sandbox::digest(&bytes);
    catalog.lets_in(&file, &bytes)?;
    let descriptor = look(catalog, bytes, size, &mut findings).await;
    let mut passed = None;
    if what.is_dir() && descriptor.is_some() {
        passed = cases(catalog, what, &file, &mut findings).await.filter(|passed| *passed > 0);
    }
    if let Some(descriptor) = &descriptor
        && file.file_stem().is_some_and(|stem| stem != descriptor.name.as_str())
    {
        findings.push(Finding::warning(
            "file",
            format!("the file {} holds the plugin `{}`", file.display(), descriptor.name),
            format!("call it {}.wasm: in a folder of plugins the file's name is the plugin's", descriptor.name),
        ));
    }
    findings.sort_by_key(|finding| finding.level);
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    Ok(Checked { file, descriptor, findings, errors, size, cases: passed, digest })
}

/// What is to be said of a component: as far as it can be looked at.
async fn look(catalog: &Catalog, bytes: Vec<u8>, size: u64, findings: &mut Vec<Finding>) -> Option<Descriptor> {
    // Its component is the same for all, and not the author's to change.
    let is_javascript = rota_catalog::is_javascript(&bytes);
    let plugin = match rota_catalog::load_component(catalog.sandbox(), bytes.into()).await {
        Ok(plugin) => plugin,
        Err(error) => {
            findings.push(refused(&error));
            return None;
        }
    };
    match catalog.sandbox().describe(&plugin).await {
        Ok(descriptor) => {
            let said = lint(&descriptor, plugin.interfaces(), size);
            // It could be asked, and could not say what it is: there is no name to be held against its file's.
            let nothing = said.iter().any(|finding| finding.rule == "describe");
            findings.extend(said.into_iter().filter(|finding| !(is_javascript && finding.rule == "imports")));
            (!nothing).then_some(descriptor)
        }
        Err(said) => {
            findings.push(Finding::error(
                "describe",
                format!("it does not describe itself: {said}"),
                "`describe` gets no capability and 2 s: let it answer constants",
            ));
            None
        }
    }
}

/// What the sandbox refuses. Its words say what to do, for the most part.
fn refused(error: &LoadError) -> Finding {
    let (rule, to_do) = match error {
        LoadError::NotAPlugin(NotAPlugin::Imports(_)) => (
            "imports",
            "take out what needs it (files, network, environment, other interfaces); what a procedure reaches, it reaches through a slot",
        ),
        LoadError::NotAPlugin(NotAPlugin::ContractVersion { .. }) => {
            ("contract", "run `rota plugin wit` and build again")
        }
        LoadError::NotAPlugin(NotAPlugin::Exports(_)) => {
            ("exports", "export the world rota:runbook/procedure; in Rust `procedure!` does it")
        }
        LoadError::NotAPlugin(_) => ("component", "build it with `rota plugin build`"),
        LoadError::Compile(_) => ("component", "build it again; if it stays so, look at it with `wasm-tools validate`"),
        LoadError::TooCostly(_) => (
            "component",
            "make its functions smaller: a host gives up a component that takes minutes or gigabytes to compile",
        ),
        LoadError::Link(_) => ("contract", "run `rota plugin wit` and build again"),
    };
    Finding::error(rule, error.to_string(), to_do)
}

/// What the plugin's cases say of it: those that fail, and accesses that it asks for and no case used. Answers how many have passed.
async fn cases(catalog: &Catalog, folder: &Path, file: &Path, findings: &mut Vec<Finding>) -> Option<usize> {
    let loaded = match catalog.load(&reference(file)).await {
        Ok(loaded) => loaded,
        Err(error) => {
            // What it says of itself and the host refuses is among the findings already; whatever else it is, nobody has tested it.
            if !findings.iter().any(|finding| finding.level == Level::Error) {
                findings.push(Finding::error(
                    "component",
                    format!("it cannot be loaded, and its cases not be run: {error}"),
                    "mend what it says; what does not load here is neither tested nor published",
                ));
            }
            return None;
        }
    };
    let ran = match super::test::run_cases(catalog, folder, &loaded).await {
        Ok(ran) => ran,
        Err(error) => {
            findings.push(Finding::error("cases", format!("its cases cannot be run: {error}"), "mend the file"));
            return None;
        }
    };
    if ran.tally.failed > 0 {
        let of = ran.tally.passed + ran.tally.failed;
        let found = format!("{} of its {of} cases fail", ran.tally.failed);
        findings.push(Finding::error("cases", found, "`rota plugin test` shows how they differ"));
    }
    for (slot, access) in &ran.unused {
        findings.push(Finding::warning(
            "access",
            format!("it asks for `{access}` on the slot `{slot}`, and no case used it"),
            "take the access out of the slot, write a case that needs it, or say `uncovered = [\"SLOT: ACCESS\"]` in a case file",
        ));
    }
    Some(ran.tally.passed)
}

/// What is to be said of the folder.
fn around(folder: &Path, language: Language, findings: &mut Vec<Finding>) {
    let readme = std::fs::metadata(folder.join("README.md")).map_or(0, |file| file.len());
    if readme == 0 {
        findings.push(Finding::warning(
            "readme",
            "there is no README.md",
            "say there what the plugin does, what it refuses and what access it needs",
        ));
    } else if readme < README {
        findings.push(Finding::warning(
            "readme",
            "README.md says next to nothing",
            "say what the plugin does, what it refuses and what access it needs",
        ));
    }
    let rota = folder.join(sdk::FOLDER);
    if rota.is_dir() && !sdk::is_current(folder, language.kit()) {
        findings.push(Finding::warning(
            "contract",
            format!("{} is not that of this version of rota", rota.display()),
            "run `rota plugin wit` to bring it to this version, and test again",
        ));
    }
    if language == Language::Rust && !folder.join("Cargo.lock").is_file() {
        findings.push(Finding::warning(
            "lock",
            "there is no Cargo.lock",
            "build once and commit it: without it the same sources give other bytes another day",
        ));
    }
}

/// The component in a folder, when none of the sources is younger; none where it has to be built.
pub(crate) fn fresh(folder: &Path, language: Language) -> Option<PathBuf> {
    let components = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let components: Vec<PathBuf> = components.filter(|path| path.extension().is_some_and(|e| e == "wasm")).collect();
    // Where there are several, the build says which is the plugin's.
    let [file] = components.as_slice() else { return None };
    let file = file.clone();
    let built = std::fs::metadata(&file).and_then(|file| file.modified()).ok()?;
    let sources = super::dev::sources(folder, language);
    let younger = |(time, _): &(Option<SystemTime>, u64)| time.is_none_or(|time| time > built);
    (!sources.values().any(younger)).then_some(file)
}

fn show(
    file: &Path,
    descriptor: Option<&Descriptor>,
    findings: &[Finding],
    errors: usize,
    size: u64,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for finding in findings {
        let level = match finding.level {
            Level::Error => "error".if_supports_color(Stream::Stdout, |t| t.red()).to_string(),
            Level::Warning => "warning".if_supports_color(Stream::Stdout, |t| t.yellow()).to_string(),
        };
        lines.push(format!("{level} {}: {}\n  -> {}", finding.rule, safe(&finding.found), safe(&finding.to_do)));
    }
    let name = descriptor.map_or_else(|| file.display().to_string(), |d| format!("{} {}", d.name, d.version));
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let said = match (errors, findings.len() - errors) {
        (0, 0) => "nothing to do".to_owned(),
        (errors, warnings) => format!("{}, {}", many(errors, "error"), many(warnings, "warning")),
    };
    lines.push(format!("{}: {said} ({})", bold(&safe(&name)), format::bytes(size)));
    print(&lines.join("\n"))
}
