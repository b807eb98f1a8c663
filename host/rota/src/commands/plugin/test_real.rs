//! `rota plugin test --real`: the same plugin and the same parameters against bindings, and what comes out there.

use super::test::{Ran, Tested, begin, ended, tell, tested};
use super::{Printing, print, reference};
use crate::cli::{Means, TestArgs};
use crate::commands::run::{OnTerminal, carry_out, requested};
use crate::output::live::Live;
use crate::output::safe;
use crate::settings::UsageError;
use anyhow::Context as _;
use rota_authority::Mode;
use rota_cases::{Came, Case, CaseResult, Cause, CompensationCame, EffectCame, FileResults, Tally, Wrong};
use rota_catalog::Origin;
use rota_runs::{Host, Occasion, Request, RunView};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) async fn test_real(host: &Host, args: &TestArgs, printing: Printing) -> anyhow::Result<u8> {
    let Tested { loaded, suite, filter, .. } = tested(host.plugins(), args, printing).await?;
    suite.fits(&loaded.descriptor).map_err(|error| UsageError(error.to_string()))?;
    let what = match &loaded.origin {
        Origin::File(path) => reference(path),
        _ => loaded.descriptor.name.clone(),
    };
    let chosen = suite.chosen(filter.as_deref());
    let all: usize = suite.files().iter().map(|file| file.cases.len()).sum();
    let mut tally = Tally { filtered: all - chosen.len(), ..Tally::default() };
    let mut results: Vec<FileResults> = Vec::new();
    begin(&loaded.descriptor, chosen.len(), printing)?;
    let begun = Instant::now();
    // One after the other: they share what is bound.
    for (file, index) in chosen {
        let case = &file.cases[index];
        if let Some(why) = case.only_answered() {
            tally.filtered += 1;
            if printing.human() {
                print(&format!("test {} ... ignored, {why}", safe(&case.name)))?;
            }
            continue;
        }
        let result = one(host, args, &what, case, &loaded.descriptor).await?;
        if result.passed() {
            tally.passed += 1;
        } else {
            tally.failed += 1;
        }
        tell(&result, printing);
        match results.last_mut().filter(|last| last.path == file.path) {
            Some(last) => last.cases.push(result),
            None => results.push(FileResults { path: file.path.clone(), cases: vec![result] }),
        }
    }
    let ran = Ran::of(results, tally, begun.elapsed());
    ended(&loaded.descriptor, loaded.plugin.digest(), &ran, args, printing)
}

async fn one(
    host: &Host,
    args: &TestArgs,
    what: &str,
    case: &Case,
    descriptor: &rota_contract::Descriptor,
) -> anyhow::Result<CaseResult> {
    let begun = Instant::now();
    let file = Parameters::write(case)?;
    let means =
        Means { bind: args.bind.clone(), grant: args.grant.clone(), no_input: true, quiet: true, ..Means::default() };
    let request = Request {
        what: what.to_owned(),
        mode: if case.is_plan() { Mode::Plan } else { Mode::Execute },
        // Whoever tests on real bindings has said so by --real.
        confirm: descriptor.confirmation.clone(),
        ..requested(vec![format!("@{}", file.0.display())], &means)?
    };
    let prepared = host.prepare(&request).await?;
    drop(file);
    let occasion = Occasion { trigger: prepared.trigger.as_str().into(), ..Occasion::default() };
    let live = Arc::new(Live::new(&descriptor.name, false));
    let watcher = Arc::new(OnTerminal { live: live.clone(), quiet: true });
    let view = carry_out(host, prepared, &occasion, watcher, live).await?;
    let mut wrong = case.check_real(&came(&view), descriptor);
    if !wrong.is_empty() {
        wrong.push(Wrong::new("the run", format!("rota runs show {}", view.id)));
    }
    Ok(case.result(wrong, Vec::new(), begun.elapsed()))
}

/// How a run of this status ended, in the words of a case. One that has not ended keeps its own, which no case can expect.
fn ending<'v>(status: &'v str, error: Option<&str>) -> &'v str {
    match (status, error) {
        ("planned", _) => "succeeded",
        ("failed" | "denied" | "unknown" | "compensation-failed", Some("trap")) => "trapped",
        ("failed" | "denied" | "unknown" | "compensation-failed", Some("limit")) => "over-limit",
        ("failed" | "denied" | "unknown" | "compensation-failed", _) => "failed",
        (other, _) => other,
    }
}

/// What came out, as a case looks at it.
pub(super) fn came(view: &RunView) -> Came {
    let ended = ending(&view.status, view.error.as_ref().map(|error| error.kind.as_str()));
    let denied = view.error.iter().filter(|error| error.kind == "denied").map(|error| error.message.clone());
    Came {
        ended: ended.to_owned(),
        report: view.report.clone(),
        failure: view.error.as_ref().map(|error| Cause {
            kind: error.kind.clone(),
            message: error.message.clone(),
            hint: error.hint.clone(),
            ..Cause::default()
        }),
        effects: view
            .effects
            .iter()
            .map(|effect| EffectCame {
                operation: effect.operation.clone(),
                target: effect.target.clone(),
                access: effect.access.clone(),
                detail: effect.detail.clone(),
                outcome: effect.outcome.clone(),
                said: effect.said.clone(),
            })
            .collect(),
        denied: denied.collect(),
        compensations: view
            .compensations
            .iter()
            .map(|each| CompensationCame {
                name: each.name.clone(),
                state: serde_json::Value::Null,
                became: if each.status == "done" { "undone".to_owned() } else { each.status.clone() },
                error: each.error.clone(),
            })
            .collect(),
        steps: view.steps.iter().map(|step| (step.name.clone(), step.result.clone())).collect(),
        ..Came::default()
    }
}

/// The parameters of a case in a file of its own, gone with this.
struct Parameters(PathBuf);

impl Parameters {
    fn write(case: &Case) -> anyhow::Result<Self> {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_nanos();
        let path = Path::new(&std::env::temp_dir()).join(format!("rota-case-{}-{since}.json", std::process::id()));
        let cannot = || format!("{} cannot be written", path.display());
        let file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).with_context(cannot)?;
        let written = Self(path.clone());
        serde_json::to_writer(file, case.parameters()).with_context(cannot)?;
        Ok(written)
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_has_not_ended_is_none_that_failed() {
        for (status, error, wanted) in [
            ("succeeded", None, "succeeded"),
            ("planned", None, "succeeded"),
            ("failed", Some("trap"), "trapped"),
            ("failed", Some("limit"), "over-limit"),
            ("denied", Some("denied"), "failed"),
            ("unknown", Some("unknown"), "failed"),
            ("compensation-failed", Some("failed"), "failed"),
            ("timed-out", Some("timed-out"), "timed-out"),
            ("cancelled", Some("cancelled"), "cancelled"),
            ("waiting", None, "waiting"),
            ("running", None, "running"),
            ("skipped", None, "skipped"),
        ] {
            assert_eq!(ending(status, error), wanted, "{status} {error:?}");
        }
    }
}
