//! `rota plugin test`: a plugin's cases, run without any server, or on real bindings.

use super::{Printing, build, print, print_json, reference};
use crate::cli::{Language, TestArgs};
use crate::output::{bold, dim, format, safe};
use crate::settings::UsageError;
use anyhow::Context as _;
use owo_colors::{OwoColorize as _, Stream};
use rota_cases::{CaseResult, FileResults, Subject, Suite, Tally, junit};
use rota_catalog::{Catalog, Loaded};
use rota_contract::Descriptor;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Cases that are run at once, whatever the machine has.
const AT_ONCE: usize = 16;

/// The cases of a plugin, run.
pub(crate) struct Ran {
    pub(crate) results: Vec<FileResults>,
    pub(crate) tally: Tally,
    /// Accesses that are declared and that no case used; none where not all cases were run.
    pub(crate) unused: Vec<(String, String)>,
    took: Duration,
}

impl Ran {
    pub(crate) fn passed(&self) -> bool {
        self.tally.failed == 0
    }
}

/// Run all cases of a plugin's folder, silently: for whoever asks before a plugin goes out. Without cases, nothing fails.
///
/// # Errors
/// When something is wrong in the case files.
pub(crate) async fn run_cases(catalog: &Catalog, folder: &Path, loaded: &Loaded) -> anyhow::Result<Ran> {
    let suite = Suite::of_folder(folder).map_err(|error| UsageError(error.to_string()))?;
    ran(catalog, &suite, loaded, None, |_, _| {}).await
}

async fn ran(
    catalog: &Catalog,
    suite: &Suite,
    loaded: &Loaded,
    filter: Option<&str>,
    told: impl FnMut(&Path, &CaseResult),
) -> anyhow::Result<Ran> {
    let descriptor = &loaded.descriptor;
    suite.fits(descriptor).map_err(|error| UsageError(error.to_string()))?;
    let subject =
        Subject { sandbox: catalog.sandbox().clone(), plugin: loaded.plugin.clone(), descriptor: descriptor.clone() };
    let at_once = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, AT_ONCE);
    let begun = Instant::now();
    let (results, tally) = suite.run(&subject, filter, at_once, told).await;
    let unused = if tally.filtered == 0 && !suite.is_empty() { suite.unused(&results, descriptor) } else { Vec::new() };
    Ok(Ran { results, tally, unused, took: begun.elapsed() })
}

/// What is to be tested: a component, and where its cases are.
pub(super) struct Tested {
    pub(super) loaded: Loaded,
    pub(super) folder: PathBuf,
    pub(super) suite: Suite,
    pub(super) filter: Option<String>,
}

/// Find it, built first where it is a folder.
pub(super) async fn tested(catalog: &Catalog, args: &TestArgs, printing: Printing) -> anyhow::Result<Tested> {
    let (what, filter) = args.what_and_filter();
    let folder = match what.is_dir() {
        true => what.clone(),
        false => what.parent().map_or_else(
            || PathBuf::from("."),
            |parent| {
                if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }
            },
        ),
    };
    // What is wrong in a file is said before anything is built.
    let suite = if args.cases.is_empty() { Suite::of_folder(&folder) } else { Suite::of_files(&args.cases) };
    let suite = suite.map_err(|error| UsageError(error.to_string()))?;
    if let Some(filter) = filter.as_deref().filter(|filter| suite.chosen(Some(*filter)).is_empty()) {
        return Err(UsageError(fits_nothing(filter, &suite.names(), &folder)).into());
    }
    let loaded = if what.is_dir() {
        Language::of(&what)?;
        if args.no_build {
            catalog.load(&reference(&component_in(&what)?)).await?
        } else {
            build(catalog, &what, false, printing).await?.loaded
        }
    } else if what.extension().is_some_and(|end| end == "wasm") {
        catalog.load(&reference(&what)).await?
    } else if what.components().count() == 1 && !what.exists() {
        // One of the catalog, whose cases are named.
        catalog.load(&what.display().to_string()).await?
    } else {
        return Err(UsageError(format!("{} is neither a plugin's folder nor a component", what.display())).into());
    };
    Ok(Tested { loaded, folder, suite, filter })
}

/// What is said of a part of names that no case has: whoever thinks to have tested something must not.
fn fits_nothing(filter: &str, names: &[&str], folder: &Path) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", safe(name))).collect();
    let there = match names.len() {
        0 => format!("there are no cases in {}", folder.join("tests").display()),
        all if all > SHOWN => format!("there are {}, and {} more", shown.join(", "), all - SHOWN),
        _ => format!("there are {}", shown.join(", ")),
    };
    format!("no case is run: none has `{}` in its name or in that of its file; {there}", safe(filter))
}

/// The one component in a folder.
fn component_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "wasm"))
        .collect();
    match all.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(UsageError(format!("{} holds no component; leave out --no-build", folder.display())).into()),
        _ => {
            Err(UsageError(format!("{} holds several components; name the one that is meant", folder.display())).into())
        }
    }
}

pub(super) async fn test(catalog: &Catalog, args: &TestArgs, printing: Printing) -> anyhow::Result<u8> {
    let Tested { loaded, folder, suite, filter } = tested(catalog, args, printing).await?;
    if suite.is_empty() && printing.human() {
        print(&format!(
            "no cases in {}: `rota plugin test --from-run RUN` makes one of a recorded run; docs/testing-a-plugin.md says how they are written",
            folder.join("tests").display()
        ))?;
    }
    suite.fits(&loaded.descriptor).map_err(|error| UsageError(error.to_string()))?;
    begin(&loaded.descriptor, suite.chosen(filter.as_deref()).len(), printing)?;
    let ran = ran(catalog, &suite, &loaded, filter.as_deref(), |_, result| tell(result, printing)).await?;
    ended(&loaded.descriptor, loaded.plugin.digest(), &ran, args, printing)
}

/// Say what is about to be run.
pub(super) fn begin(descriptor: &Descriptor, count: usize, printing: Printing) -> anyhow::Result<()> {
    if !printing.human() {
        return Ok(());
    }
    let cases = if count == 1 { "case" } else { "cases" };
    print(&format!("\nrunning {count} {cases} of {} {}", bold(&safe(&descriptor.name)), safe(&descriptor.version)))
}

/// Say how a case ended.
pub(super) fn tell(result: &CaseResult, printing: Printing) {
    if printing.human() {
        let word = if result.passed() { good("ok") } else { bad("FAILED") };
        // A pipe that was closed is no reason to stop: the exit status says how it ended.
        let _ = print(&format!("test {} ... {word}", safe(&result.name)));
    }
}

/// Results as whoever asked wants them, and the exit status.
pub(super) fn ended(
    descriptor: &Descriptor,
    digest: &str,
    ran: &Ran,
    args: &TestArgs,
    printing: Printing,
) -> anyhow::Result<u8> {
    if let Some(path) = &args.junit {
        let text = junit(&descriptor.name, &masked(&ran.results))
            .map_err(|error| anyhow::anyhow!("JUnit's XML cannot be made: {error}"))?;
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if printing.human() {
        print(&summary(ran))?;
    } else {
        print_json(&to_json(descriptor, digest, ran))?;
    }
    Ok(u8::from(!ran.passed()))
}

/// Texts that go to a file are masked as those on a terminal.
fn masked(results: &[FileResults]) -> Vec<FileResults> {
    let mut results = results.to_vec();
    for case in results.iter_mut().flat_map(|file| &mut file.cases) {
        for wrong in &mut case.wrong {
            wrong.how = rota_telemetry::mask(&wrong.how).into_owned();
        }
        for line in &mut case.log {
            line.message = rota_telemetry::mask(&line.message).into_owned();
        }
    }
    results
}

/// The failures, each with its differences, and the count.
fn summary(ran: &Ran) -> String {
    let failed: Vec<(&Path, &CaseResult)> = ran
        .results
        .iter()
        .flat_map(|file| file.cases.iter().map(move |case| (file.path.as_path(), case)))
        .filter(|(_, case)| !case.passed())
        .collect();
    let mut blocks = Vec::new();
    if !failed.is_empty() {
        blocks.push("\nfailures:".to_owned());
        for (path, case) in &failed {
            blocks.push(failure(path, case));
        }
        let names: Vec<String> = failed.iter().map(|(_, case)| format!("    {}", safe(&case.name))).collect();
        blocks.push(format!("failures:\n{}", names.join("\n")));
    }
    if !ran.unused.is_empty() {
        let words: Vec<String> = ran.unused.iter().map(|(slot, access)| format!("{slot}: {access}")).collect();
        blocks.push(dim(&format!("declared, and used by no case: {}", safe(&words.join(", ")))));
    }
    let Tally { passed, failed, filtered } = ran.tally;
    let word = if failed == 0 { good("ok") } else { bad("FAILED") };
    let took = format::seconds(ran.took.as_secs_f64());
    blocks.push(format!(
        "{}test result: {word}. {passed} passed; {failed} failed; {filtered} filtered out; finished in {took}",
        if failed == 0 { "\n" } else { "" }
    ));
    blocks.join("\n\n").trim_end().to_owned() + "\n"
}

fn failure(path: &Path, case: &CaseResult) -> String {
    let mut lines = vec![format!("---- {} ({}) ----", bold(&safe(&case.name)), path.display())];
    for wrong in &case.wrong {
        lines.push(format!("{}:", safe(&wrong.what)));
        for line in wrong.how.lines() {
            let line = format!("  {}", safe_line(line));
            lines.push(match line.trim_start().chars().next() {
                Some('-') => line.if_supports_color(Stream::Stdout, |t| t.red()).to_string(),
                Some('+') => line.if_supports_color(Stream::Stdout, |t| t.green()).to_string(),
                _ => line,
            });
        }
    }
    if !case.log.is_empty() {
        const LINES: usize = 20;
        let skipped = case.log.len().saturating_sub(LINES);
        lines.push(dim(if skipped > 0 { "log (the last lines):" } else { "log:" }));
        for line in case.log.iter().skip(skipped) {
            lines.push(dim(&format!("  {:<5} {}", line.level, safe(&line.message))));
        }
    }
    lines.join("\n")
}

/// A line with its indentation, fit for a terminal.
fn safe_line(line: &str) -> String {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    format!("{}{}", &line[..blanks], safe(&line[blanks..]))
}

fn to_json(descriptor: &Descriptor, digest: &str, ran: &Ran) -> Value {
    let case = |path: &Path, case: &CaseResult| {
        let wrong: Vec<Value> = case
            .wrong
            .iter()
            .map(|wrong| json!({ "what": wrong.what, "how": rota_telemetry::mask(&wrong.how) }))
            .collect();
        let mut object = json!({
            "file": path, "name": case.name, "passed": case.passed(), "seconds": case.took.as_secs_f64(), "wrong": wrong,
        });
        if !case.passed() {
            let log = case
                .log
                .iter()
                .map(|line| json!({ "level": line.level, "source": line.source, "message": rota_telemetry::mask(&line.message) }));
            object["log"] = log.collect();
        }
        object
    };
    let cases: Vec<Value> =
        ran.results.iter().flat_map(|file| file.cases.iter().map(|one| case(&file.path, one))).collect();
    let unused: Vec<Value> =
        ran.unused.iter().map(|(slot, access)| json!({ "slot": slot, "access": access })).collect();
    let Tally { passed, failed, filtered } = ran.tally;
    json!({
        "plugin": descriptor.name,
        "version": descriptor.version,
        "digest": digest,
        "passed": passed,
        "failed": failed,
        "filtered": filtered,
        "seconds": ran.took.as_secs_f64(),
        "cases": cases,
        "unused_accesses": unused,
    })
}

impl Ran {
    /// Of results that came about elsewhere.
    pub(super) fn of(results: Vec<FileResults>, tally: Tally, took: Duration) -> Self {
        Self { results, tally, unused: Vec::new(), took }
    }
}

fn good(word: &str) -> String {
    word.if_supports_color(Stream::Stdout, |t| t.green()).to_string()
}

fn bad(word: &str) -> String {
    word.if_supports_color(Stream::Stdout, |t| t.red()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_cases::{Line, Wrong};

    #[test]
    fn what_goes_out_is_masked_the_log_too() {
        let secret = rota_telemetry::Secret::new("c4nary-of-a-log");
        let said = "it is c4nary-of-a-log";
        let case = CaseResult {
            name: "a".into(),
            wrong: vec![Wrong::new("log", said)],
            log: vec![Line { level: "info", source: "procedure".into(), message: said.into() }],
            took: Duration::ZERO,
            used: std::collections::BTreeSet::new(),
        };
        let results = masked(&[FileResults { path: "a.toml".into(), cases: vec![case] }]);
        let masked = &results[0].cases[0];
        assert!(!masked.wrong[0].how.contains("c4nary"), "{masked:?}");
        assert!(!masked.log[0].message.contains("c4nary"), "{masked:?}");
        drop(secret);
    }
}
