//! One case, run: its attempts, what is undone, and what came out.

use crate::bindings::grants;
use crate::came::{Came, Cause, CompensationCame, EffectCame};
use crate::check::{Wrong, check};
use crate::format::{Case, CaseFile, End, Mode, Problem};
use crate::listener::{Line, Listener};
use crate::world::{Answering, World};
use rota_authority::{Gate, MemoryLedger, Outcome, Quotas, RecordedEffect, RunIdentity};
use rota_capability::tape::Tape;
use rota_capability::{Limits, RunContext, RunFacts, Transient, Trigger};
use rota_contract::{Descriptor, Error, Failure, Report};
use rota_sandbox::{Cancel, Ended, Finished, Plugin, Sandbox};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The longest that a case may take, unless it says so itself.
const LONGEST: Duration = Duration::from_secs(60);
/// How many attempts a case has at most.
const MOST_ATTEMPTS: u32 = 20;

/// A plugin whose cases are run.
#[derive(Clone)]
pub struct Subject {
    /// The sandbox it was compiled for.
    pub sandbox: Arc<Sandbox>,
    /// It.
    pub plugin: Plugin,
    /// What it says of itself.
    pub descriptor: Arc<Descriptor>,
}

/// What a case came to.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// What is wrong; nothing: it has passed.
    pub wrong: Vec<Wrong>,
    /// What the run logged, for whoever looks why.
    pub log: Vec<Line>,
    /// How long it took.
    pub took: Duration,
    /// Accesses that calls were let through with: slot and word.
    pub used: BTreeSet<(String, String)>,
}

impl CaseResult {
    /// Whether all came out as expected.
    pub fn passed(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Look whether a file's cases fit a plugin, before any is run.
///
/// # Errors
/// What does not fit, with its place.
pub fn fits(file: &CaseFile, descriptor: &Descriptor) -> Result<(), Problem> {
    for case in &file.cases {
        grants(file, case, descriptor)?;
        world(file, case, descriptor)?;
        parameters(file, case, descriptor)?;
        for answer in &case.answers {
            if let Some(rows) = &answer.rows {
                let columns = answer.columns.as_ref().map(|columns| columns.get_ref().as_slice());
                crate::world::rows::read(columns, rows)
                    .map_err(|why| Problem::at(&file.source(), answer.span.clone(), why))?;
            }
        }
        for (slot, expected) in &case.expect.slots {
            let wrong = |message: String| Problem::at(&file.source(), case.name_span.clone(), message);
            let Some(declared) = descriptor.slots.iter().find(|declared| declared.name == *slot) else {
                let message =
                    format!("the case `{}` expects something of the slot `{slot}`, which there is not", case.name);
                return Err(wrong(message));
            };
            holdable(&declared.capability, expected)
                .map_err(|why| wrong(format!("the case `{}` expects of the slot `{slot}`: {why}", case.name)))?;
        }
    }
    Ok(())
}

/// Whether a slot of a capability can be held against what is expected of it afterwards. What has another name or another shape would be
/// held against nothing, and fit.
fn holdable(capability: &str, expected: &Map<String, Value>) -> Result<(), String> {
    let key = match capability {
        "storage" | "kubernetes" => "objects",
        "cache" => "keys",
        other => return Err(format!("a slot of {other} holds nothing that a case could look at; expect its effects")),
    };
    if let Some(unknown) = expected.keys().find(|given| *given != key) {
        return Err(format!("`{unknown}` is not what a slot of {capability} holds; that is `{key}`"));
    }
    match (capability, expected.get(key)) {
        ("kubernetes", Some(Value::Array(all))) if !all.is_empty() => Ok(()),
        ("kubernetes", _) => Err("`objects` is a list of objects that are there, of one at least".to_owned()),
        (_, Some(Value::Object(all))) if !all.is_empty() => Ok(()),
        _ => Err(format!("`{key}` is a table by name, of one at least; \"(gone)\" is what must not be there")),
    }
}

fn world(file: &CaseFile, case: &Case, descriptor: &Descriptor) -> Result<Arc<World>, Problem> {
    let slots: BTreeMap<String, String> =
        descriptor.slots.iter().map(|slot| (slot.name.clone(), slot.capability.clone())).collect();
    World::new(case, &slots).map_err(|(slot, why)| {
        let span = case.slots.get(&slot).map_or(case.name_span.clone(), |setup| setup.span.clone());
        Problem::at(&file.source(), span, format!("the slot `{slot}`: {why}"))
    })
}

/// The parameters as text, if the plugin's schema takes them.
fn parameters(file: &CaseFile, case: &Case, descriptor: &Descriptor) -> Result<String, Problem> {
    let value = Value::Object(case.parameters.clone());
    let schema: Value = serde_json::from_str(&descriptor.parameters).unwrap_or_default();
    let wrong = |message: String| Problem::at(&file.source(), case.name_span.clone(), message);
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| wrong(format!("the schema of the plugin's parameters is none: {error}")))?;
    if case.compensate.is_none()
        && let Some(error) = validator.iter_errors(&value).next()
    {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
        return Err(wrong(format!("the parameters of the case `{}` are refused{place}: {error}", case.name)));
    }
    Ok(value.to_string())
}

/// Run one case of a file that [`fits`].
pub async fn run(subject: &Subject, file: &CaseFile, case: &Case) -> CaseResult {
    let begun = Instant::now();
    let mut result = match attempt_all(subject, file, case).await {
        Ok(result) => result,
        Err(why) => CaseResult {
            name: case.name.clone(),
            wrong: vec![Wrong::new("the case could not be run", why)],
            log: Vec::new(),
            took: Duration::ZERO,
            used: BTreeSet::new(),
        },
    };
    result.took = begun.elapsed();
    result
}

/// What all attempts of a case share.
struct Running<'r> {
    subject: &'r Subject,
    file: &'r CaseFile,
    case: &'r Case,
    world: Arc<World>,
    ledger: Arc<MemoryLedger>,
    kept: Transient,
    listener: Arc<Listener>,
    denied: Vec<String>,
    attempt: u32,
}

impl Running<'_> {
    /// The context of the next attempt, or of a compensation.
    fn context(&mut self) -> Result<Arc<RunContext>, String> {
        let case = self.case;
        self.attempt += 1;
        if self.attempt > 1 {
            self.kept = self.kept.again();
        }
        let grants = grants(self.file, case, &self.subject.descriptor).map_err(|problem| problem.to_line())?;
        let identity = RunIdentity { run: "case".into(), job: self.subject.descriptor.name.clone() };
        let mode = match case.mode {
            Mode::Plan => rota_authority::Mode::Plan,
            Mode::Execute => rota_authority::Mode::Execute,
        };
        let mut limits = Limits { wall: case.timeout.unwrap_or(LONGEST), ..Limits::default() };
        if let Some(effects) = case.effects_limit {
            limits.effects = effects;
        }
        let quotas = Quotas { effects: limits.effects };
        let gate = Gate::new(identity, mode, quotas, self.ledger.clone(), grants);
        let facts = RunFacts {
            id: "00000000-0000-7000-8000-000000000000".into(),
            attempt: self.attempt,
            job: None,
            trigger: Trigger::Manual,
            started_at: SystemTime::now(),
            slots: self.subject.descriptor.slots.iter().map(|slot| slot.name.clone()).collect(),
        };
        let tape = Tape::Answering(Arc::new(Answering(self.world.clone())));
        Ok(RunContext::taped(gate, facts, limits, self.listener.clone(), Arc::new(self.kept.clone()), tape))
    }

    fn saw(&mut self, context: &RunContext) {
        for denied in context.gate.denials().0 {
            let text = denied.to_string();
            if !self.denied.contains(&text) {
                self.denied.push(text);
            }
        }
    }
}

async fn attempt_all(subject: &Subject, file: &CaseFile, case: &Case) -> Result<CaseResult, String> {
    let ledger = Arc::new(MemoryLedger::default());
    let mut running = Running {
        subject,
        file,
        case,
        world: world(file, case, &subject.descriptor).map_err(|problem| problem.to_line())?,
        kept: Transient::with_ledger(ledger.clone()),
        ledger,
        listener: Arc::new(Listener::new().map_err(|error| format!("no folder for artifacts: {error}"))?),
        denied: Vec::new(),
        attempt: 0,
    };
    let mut came = Came::default();
    if let Some(compensate) = &case.compensate {
        let context = running.context()?;
        let cancel = Cancel::default();
        running.world.begin(&cancel);
        let state = compensate.state.to_string();
        let finished =
            subject.sandbox.compensate(&subject.plugin, context.clone(), &compensate.name, &state, &cancel).await;
        running.saw(&context);
        ended_as(&mut came, finished, context.limits.wall);
        let fired = running.world.fired();
        if fired.crash || fired.lease_lost {
            gone(&mut came);
        }
    } else {
        attempts(&mut running, &mut came).await?;
        undo(&mut running, &mut came).await?;
    }
    gather(&running, &mut came);
    let mut wrong: Vec<Wrong> =
        running.world.unanswered().into_iter().map(|text| Wrong::new("a call had no answer", text)).collect();
    if wrong.is_empty() {
        wrong = check(&case.expect, &came, &subject.descriptor, case.compensate.is_some());
        for answer in running.world.unused() {
            let text = format!("{}: {}\n  take it out, or let it be `optional = true`", answer.place, answer.about());
            wrong.push(Wrong::new("an answer that nobody asked for", text));
        }
        wrong.extend(missed(&running));
    }
    let used = running.world.used();
    Ok(CaseResult { name: case.name.clone(), wrong, log: came.log, took: Duration::ZERO, used })
}

/// Moments of the case that never came.
fn missed(running: &Running<'_>) -> Vec<Wrong> {
    let (case, fired, calls) = (running.case, running.world.fired(), running.world.calls());
    let all = [
        ("cancel_at", &case.cancel_at, fired.cancel),
        ("terminate_at", &case.terminate_at, fired.terminate),
        ("lease_lost_at", &case.lease_lost_at, fired.lease_lost),
        ("crash_at", &case.crash_at, fired.crash),
    ];
    let missed =
        all.into_iter().filter(|(_, _, fired)| !fired).filter_map(|(key, moment, _)| Some((key, moment.as_ref()?)));
    missed
        .map(|(key, moment)| {
            Wrong::new("a moment that never came", format!("{key} = \"{moment}\", and the run made {calls} calls"))
        })
        .collect()
}

/// The attempts of the run, until one ends it.
async fn attempts(running: &mut Running<'_>, came: &mut Came) -> Result<(), String> {
    let (case, subject) = (running.case, running.subject);
    let parameters = parameters(running.file, case, &subject.descriptor).map_err(|problem| problem.to_line())?;
    let idempotent = subject.descriptor.idempotent;
    // Whoever is lost with its host is begun again where that is harmless, as a host does it.
    let lost_again = u32::from(idempotent) * 2;
    let attempts = case.attempts.unwrap_or(1).clamp(1, MOST_ATTEMPTS);
    let (mut failed, mut lost) = (0, 0);
    loop {
        let context = running.context()?;
        let cancel = Cancel::default();
        let (before, effects) = (running.world.fired(), running.ledger.effects().len());
        running.world.begin(&cancel);
        let finished = subject.sandbox.run(&subject.plugin, context.clone(), &parameters, &cancel).await;
        running.saw(&context);
        let after = running.world.fired();
        let vanished = after.crash && !before.crash || after.lease_lost && !before.lease_lost;
        *came = Came::default();
        if vanished {
            gone(came);
            lost += 1;
            if lost <= lost_again {
                continue;
            }
            return Ok(());
        }
        let retryable = ended_as(came, finished, context.limits.wall);
        failed += 1;
        if !retryable || failed >= attempts || !running.world.unanswered().is_empty() {
            in_doubt(running, came, effects);
            return Ok(());
        }
    }
}

/// Its host is gone: whatever else it ended with, nobody has heard of it.
fn gone(came: &mut Came) {
    *came = Came::default();
    came.ended(End::Lost);
    came.failure = Some(Cause::of_host("lost", "the host was gone, or held the run no more"));
}

/// A procedure that reports while effects of it are under way, those after so many, has not succeeded.
fn in_doubt(running: &Running<'_>, came: &mut Came, before: usize) {
    if came.ended != End::Succeeded.as_str() {
        return;
    }
    let effects = running.ledger.effects();
    let open = |effect: &&RecordedEffect| matches!(effect.outcome, None | Some(Outcome::Interrupted));
    if let Some(effect) = effects.iter().skip(before).find(open) {
        let (operation, target) = (effect.record.operation, &effect.record.target);
        let text = format!("the procedure reported while an effect of it was under way: {operation} ({target})");
        came.ended(End::Failed);
        came.failure = Some(Cause::of_host("unknown", text));
    }
}

/// How a call into the plugin ended. True: the same may succeed later.
fn ended_as<R: Into<Reported>>(came: &mut Came, finished: Finished<R>, wall: Duration) -> bool {
    let fail = |came: &mut Came, end: End, kind: &str, message: String| {
        came.ended(end);
        came.failure = Some(Cause::of_host(kind, message));
    };
    match finished.ended {
        Ended::Reported(report) => {
            came.ended(End::Succeeded);
            came.report = report.into().0;
        }
        Ended::Failed(failure) => {
            came.ended(End::Failed);
            came.failure = Some(Cause::of(&failure));
            let retryable = passes(&failure);
            came.report = failure.report;
            return retryable;
        }
        Ended::Limit(limit) => fail(came, End::OverLimit, "limit", limit.to_string()),
        // No case is a team's.
        Ended::UsedUp(used_up) => fail(came, End::OverLimit, "quota", used_up.to_string()),
        Ended::Trapped(said) => fail(came, End::Trapped, "trap", format!("the plugin broke off: {said}")),
        Ended::TimedOut(_) => fail(came, End::TimedOut, "timed-out", format!("the run was ended after {wall:?}")),
        Ended::Cancelled(report) => {
            fail(came, End::Cancelled, "cancelled", "the run was cancelled".into());
            came.report = report.and_then(|report| report.into().0);
        }
        Ended::Host(said) => {
            fail(came, End::Failed, "host", said);
            return true;
        }
    }
    false
}

/// What a call into a plugin reports; of a compensation, nothing.
struct Reported(Option<Report>);

impl From<Report> for Reported {
    fn from(report: Report) -> Self {
        Self(Some(report))
    }
}

impl From<()> for Reported {
    fn from((): ()) -> Self {
        Self(None)
    }
}

/// Whether a failure may pass by itself.
fn passes(failure: &Failure) -> bool {
    match &failure.cause {
        Some(Error::Unavailable(_) | Error::TimedOut(_) | Error::Conflict(_)) => true,
        Some(Error::Failed(fault)) => fault.retryable,
        _ => false,
    }
}

/// Carry out what is registered when the run did not succeed, the last registered first.
async fn undo(running: &mut Running<'_>, came: &mut Came) -> Result<(), String> {
    let succeeded = came.ended == End::Succeeded.as_str();
    let registered = running.kept.compensations();
    let mut all: Vec<CompensationCame> = registered
        .iter()
        .map(|each| CompensationCame {
            name: each.name.clone(),
            state: serde_json::from_str(&each.state).unwrap_or_default(),
            // What is still registered when a run succeeds is dismissed by the host.
            became: if each.dismissed || succeeded { "dismissed" } else { "registered" }.to_owned(),
            error: None,
        })
        .collect();
    if !succeeded && running.world.unanswered().is_empty() {
        for (index, each) in registered.iter().enumerate().rev().filter(|(_, each)| !each.dismissed) {
            let context = running.context()?;
            let cancel = Cancel::default();
            running.world.begin(&cancel);
            let Subject { sandbox, plugin, .. } = running.subject;
            let finished = sandbox.compensate(plugin, context.clone(), &each.name, &each.state, &cancel).await;
            running.saw(&context);
            let mut ending = Came::default();
            ended_as(&mut ending, finished, context.limits.wall);
            match ending.failure {
                None => "undone".clone_into(&mut all[index].became),
                Some(cause) => {
                    "failed".clone_into(&mut all[index].became);
                    all[index].error = Some(cause.message);
                    // Whoever holds the run tries again later, and nothing before it is undone until then.
                    break;
                }
            }
        }
    }
    came.compensations = all;
    Ok(())
}

/// What is known besides how it ended.
fn gather(running: &Running<'_>, came: &mut Came) {
    came.effects = running
        .ledger
        .effects()
        .into_iter()
        .map(|effect| {
            let said = match &effect.outcome {
                Some(Outcome::Done(said) | Outcome::Failed(said)) => Some(said.clone()),
                _ => None,
            };
            EffectCame {
                operation: effect.record.operation.to_owned(),
                target: effect.record.target,
                access: effect.record.access,
                detail: effect.record.detail,
                outcome: effect.outcome.as_ref().map_or("interrupted", Outcome::word).to_owned(),
                said,
            }
        })
        .collect();
    came.denied.clone_from(&running.denied);
    let result = |result: Option<String>| result.and_then(|text| serde_json::from_str(&text).ok());
    came.steps =
        running.kept.steps().into_iter().map(|(name, kept)| (name.replace('\u{1f}', ": "), result(kept))).collect();
    came.log = running.listener.lines();
    came.artifacts = running.listener.artifacts();
    for slot in &running.subject.descriptor.slots {
        if let Some(holds) = running.world.holds(&slot.name) {
            came.slots.insert(slot.name.clone(), holds);
        }
    }
}
