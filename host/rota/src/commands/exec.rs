//! `rota exec`: a script in the sandbox. What needs more than reading is planned first, agreed to, and held to the plan.

use super::run::{OnTerminal, carry_out, may_ask, requested, told_yes};
use super::{Printing, print, print_json};
use crate::cli::{ExecArgs, ScriptLanguage};
use crate::output::{live::Live, report, safe};
use crate::settings::UsageError;
use rota_authority::{Agreement, Mode, PlannedEffect};
use rota_capability::LogLevel;
use rota_runs::{Host, Occasion, Prepared, Request, RunView, Watcher};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a script finds, for editors.
pub(crate) const TYPES: &str = include_str!("../../../../plugins/script/rota.d.ts");
/// How long a script may be.
const LONGEST: u64 = 4 << 20;
/// What a script's effects being agreed to by nobody ends with: as a denial does.
const DENIED: u8 = 3;
/// What a script that was told to stop before it began ends with: as one that was cancelled does.
const CANCELLED: u8 = 130;

pub(crate) async fn exec(host: &Host, args: ExecArgs, printing: Printing) -> anyhow::Result<u8> {
    let script = Script::of(&args)?;
    let said = Said::default();
    let mut request = script.request(&args)?;
    if args.plan {
        request.mode = Mode::Plan;
        let prepared = host.prepare(&request).await?;
        return show(&once(host, prepared, &args, printing, Lines::Planned, None, &said).await?, &args, printing);
    }
    let mut prepared = host.prepare(&request).await?;
    if only_reads(&prepared) || args.unplanned {
        return show(&once(host, prepared, &args, printing, Lines::Shown, None, &said).await?, &args, printing);
    }
    let mut stop = Stop::listen()?;
    request.mode = Mode::Plan;
    let noted: Arc<Mutex<Vec<PlannedEffect>>> = Arc::default();
    let mut planning = host.prepare(&request).await?;
    planning.agreement = Agreement::Noted(noted.clone());
    // What is recorded is what is done.
    planning.record = rota_config::Record::Never;
    let plan = once(host, planning, &args, printing, Lines::Dropped, None, &said).await?;
    // A plan that goes on after an error of a statement, and says so, is none that a run could keep.
    let is_bad = plan.report.as_ref().is_some_and(|told| told.status == rota_contract::Severity::Critical);
    if is_bad && plan.exit_status() == 0 {
        if printing.human() {
            eprintln!(
                "The script was planned first, and the plan found what is critical: nothing was done. To run it all the same: --unplanned."
            );
        }
        show(&plan, &args, printing)?;
        return Ok(1);
    }
    if plan.exit_status() != 0 {
        if printing.human() {
            eprintln!(
                "The script was planned first, and the plan failed: nothing was done. Where it needs what it did before itself: --unplanned."
            );
        }
        return show(&plan, &args, printing);
    }
    let planned = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    if planned.len() != plan.effects.len() {
        // Whatever the script caught: what nobody sees, nobody agrees to.
        let message = "nothing was done: the plan has effects that could not be listed, because a limit was reached";
        return nothing_done(&plan, "denied", message, DENIED, printing);
    }
    if !planned.is_empty() && !agreed(&args, &plan, planned.len(), printing, &mut stop).await? {
        return Ok(DENIED);
    }
    if stop.was_told().await {
        return nothing_done(&plan, "cancelled", STOPPED, CANCELLED, printing);
    }
    prepared.agreement = Agreement::Held(planned);
    show(&once(host, prepared, &args, printing, Lines::Shown, Some(plan.id), &said).await?, &args, printing)
}

/// Whether nothing is granted that has effects.
fn only_reads(prepared: &Prepared) -> bool {
    let slots = &prepared.loaded.descriptor.slots;
    prepared.grants.iter().all(|grant| {
        let declared = slots.iter().find(|slot| slot.name == grant.slot);
        let capability = declared.map_or("", |slot| slot.capability.as_str());
        // COPY out is not among what a run may do by itself, and has no effect all the same.
        let reads = |access: &str| {
            rota_catalog::changes_nothing(capability, access) || (capability, access) == ("sql", "copy-out")
        };
        grant.accesses.iter().all(|access| reads(access))
    })
}

/// What tells the process to stop. Once a run has listened, the system leaves that to the process for good, and between the plan and the run
/// no run listens.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves when it is told to.
    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Whether it was told to by now.
    async fn was_told(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.told() => true,
            () = std::future::ready(()) => false,
        }
    }
}

/// Whether a text begins with a word of SQL and another word, a star or a quote, which no statement of JavaScript does.
fn begins_as_sql(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "select", "insert", "update", "delete", "explain", "vacuum", "analyze", "create", "alter", "drop", "truncate",
        "refresh", "reindex",
    ];
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '"' | '\'');
    // `delete a.b` is JavaScript, and so is `select in x`.
    let next: String =
        rest.trim_start().chars().take_while(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    WORDS.iter().any(|one| word.eq_ignore_ascii_case(one))
        && rest.starts_with(char::is_whitespace)
        && next.starts_with(goes_on)
        && !matches!(next.as_str(), "in" | "instanceof" | "of")
        && (!word.eq_ignore_ascii_case("delete") || next == "from")
}

/// What is said of a script that was told to stop before it began.
const STOPPED: &str = "nothing was done: the script was stopped after its plan";

/// Say why it was left at the plan.
fn nothing_done(plan: &RunView, kind: &str, message: &str, status: u8, printing: Printing) -> anyhow::Result<u8> {
    if printing.human() {
        eprintln!("rota: {message}");
    } else {
        let mut object = plan.to_json();
        object["error"] = serde_json::json!({ "kind": kind, "message": message, "hint": null });
        print_json(&object)?;
    }
    Ok(status)
}

/// Whether somebody agrees to the effects of the plan.
async fn agreed(
    args: &ExecArgs,
    plan: &RunView,
    effects: usize,
    printing: Printing,
    stop: &mut Stop,
) -> anyhow::Result<bool> {
    if args.yes {
        // Agreed to beforehand, and shown before they happen all the same.
        if printing.human() && !args.means.quiet {
            eprintln!("{}\n", report::effects_whole(plan));
        }
        return Ok(true);
    }
    let what = if effects == 1 { "this effect".to_owned() } else { format!("these {effects} effects") };
    if may_ask(&args.means) {
        eprintln!("{}\n", report::effects_whole(plan));
        let question = format!("run {what}?");
        let answer = tokio::task::spawn_blocking(move || told_yes(&question));
        return tokio::select! {
            biased;
            () = stop.told() => {
                eprintln!();
                let status = nothing_done(plan, "cancelled", STOPPED, CANCELLED, printing)?;
                // Nothing is under way, and whoever reads the terminal cannot be woken.
                std::process::exit(i32::from(status))
            }
            answer = answer => Ok(answer??),
        };
    }
    let message = format!("nothing was done: the script would have {what}, and nobody agreed to it");
    let hint =
        format!("look at them with `rota runs show {}`, then give --yes (what is done is held to the plan)", plan.id);
    if printing.human() {
        eprintln!("{}\n\nrota: {message}\n  -> {hint}", report::effects_whole(plan));
    } else {
        let mut object = plan.to_json();
        object["error"] = serde_json::json!({ "kind": "denied", "message": message, "hint": hint });
        print_json(&object)?;
    }
    Ok(false)
}

/// What becomes of printed lines while the script runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    Shown,
    /// Marked as those of a plan, which may print what did not happen.
    Planned,
    Dropped,
}

async fn once(
    host: &Host,
    prepared: Prepared,
    args: &ExecArgs,
    printing: Printing,
    lines: Lines,
    parent: Option<String>,
    said: &Said,
) -> anyhow::Result<RunView> {
    let draw = !args.means.quiet && std::io::stderr().is_terminal();
    let live = Arc::new(Live::new(&prepared.loaded.descriptor.name, draw));
    let plans = lines == Lines::Dropped;
    let shown = !plans && printing.human();
    let mark = if lines == Lines::Planned { "plan| " } else { "" };
    let rest = OnTerminal { live: live.clone(), quiet: args.means.quiet };
    let watcher = Arc::new(Printed { rest, next: AtomicU64::new(0), shown, mark, said: said.clone(), plans });
    let occasion = Occasion { trigger: prepared.trigger.as_str().into(), parent, ..Occasion::default() };
    let view = carry_out(host, prepared, &occasion, watcher.clone(), live).await?;
    if shown {
        watcher.remaining(&view)?;
    }
    Ok(view)
}

/// The run, once it is over. For people what the script printed is on stdout, and nothing else that it did not make.
fn show(view: &RunView, args: &ExecArgs, printing: Printing) -> anyhow::Result<u8> {
    // As people know it of `-e` and of files.
    let valued = args.expression.is_some();
    if !printing.human() {
        print_json(&view.to_json())?;
        return Ok(view.exit_status());
    }
    if let Some(told) = &view.report {
        for each in told.tables.iter().filter(|table| !table.rows.is_empty()) {
            print(&report::titled(each))?;
        }
        let result = serde_json::from_str::<Value>(&told.data).ok().and_then(|data| data.get("result").cloned());
        match result.filter(|_| valued) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => print(&safe(&text))?,
            Some(value) => print(&safe(&value.to_string()))?,
        }
    }
    // What a plan would do is what was asked for: it goes where `--plan > file` keeps it.
    if args.plan && !view.effects.is_empty() {
        print(&report::effects_whole(view))?;
    }
    eprintln!("{}", report::aside(view, !args.plan));
    Ok(view.exit_status())
}

/// Warnings and the like that were shown of the plan.
type Said = Arc<Mutex<BTreeSet<String>>>;

/// Lines that a script prints come with their number, in the run's log: shown as they come, as long as none is missing.
struct Printed {
    /// Shows everything else.
    rest: OnTerminal,
    next: AtomicU64,
    shown: bool,
    /// What stands before each line.
    mark: &'static str,
    said: Said,
    /// Whether it is the plan before a run.
    plans: bool,
}

impl Printed {
    /// What could not be shown while it ran.
    fn remaining(&self, view: &RunView) -> anyhow::Result<()> {
        let data = view.report.as_ref().and_then(|told| serde_json::from_str::<Value>(&told.data).ok());
        let Some(Value::Array(lines)) = data.as_ref().and_then(|data| data.get("output")) else { return Ok(()) };
        let from = usize::try_from(self.next.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        for line in lines.iter().skip(from).filter_map(Value::as_str) {
            print(&format!("{}{}", self.mark, safe(line)))?;
        }
        if data.as_ref().is_some_and(|data| data["truncated"] == true) {
            eprintln!("... the script printed more than is kept");
        }
        Ok(())
    }
}

impl Watcher for Printed {
    fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]) {
        if let Some((_, number)) = fields.iter().find(|(name, _)| name == "output") {
            let next = self.next.load(Ordering::SeqCst);
            if self.shown && number.parse() == Ok(next) {
                self.rest.live.print(&format!("{}{}", self.mark, safe(message)));
                self.next.store(next + 1, Ordering::SeqCst);
            }
            return;
        }
        // Why it failed is said at its end, with everything else; what was said of the plan is not said of the run again.
        let line = format!("{source} {message} {fields:?}");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let again = !self.plans && said.contains(&line);
        if self.plans {
            said.insert(line);
        }
        drop(said);
        if !again && (source != "host" || level != LogLevel::Error) {
            self.rest.log(level, source, message, fields);
        }
    }

    fn progress(&self, done: u64, total: Option<u64>, unit: &str, note: &str) {
        self.rest.progress(done, total, unit, note);
    }
}

/// What is to be run.
struct Script {
    language: ScriptLanguage,
    name: String,
    text: String,
}

impl Script {
    fn of(args: &ExecArgs) -> anyhow::Result<Self> {
        let (name, text) = match (&args.expression, &args.file) {
            (Some(text), _) => ("-e".to_owned(), text.clone()),
            (None, Some(path)) if path.as_os_str() == "-" => {
                ("stdin".to_owned(), whole(&mut std::io::stdin().lock(), "stdin")?)
            }
            (None, Some(path)) => {
                let shown = path.display().to_string();
                let mut file = std::fs::File::open(path)
                    .map_err(|error| UsageError::new(format!("the script {shown} cannot be read: {error}")))?;
                let name = path.file_name().map_or(shown.clone(), |name| name.to_string_lossy().into_owned());
                (name, whole(&mut file, &shown)?)
            }
            (None, None) => anyhow::bail!(UsageError::new(
                "what is to be run? give a FILE.js or FILE.sql, `-` for stdin, or -e TEXT"
            )),
        };
        let language = match (args.language, args.file.as_deref().and_then(Path::extension).and_then(|it| it.to_str()))
        {
            (Some(language), _) => language,
            (None, Some("sql")) => ScriptLanguage::Sql,
            (None, Some("js" | "mjs")) | (None, None) => ScriptLanguage::Js,
            (None, Some(other)) => anyhow::bail!(UsageError::new(format!(
                "{name} is neither .js nor .sql (it is .{other}): say what it is, with --language js or --language sql"
            ))),
        };
        // Nothing of JavaScript begins so, and its own words for it would not help.
        if language == ScriptLanguage::Js && begins_as_sql(&text) {
            anyhow::bail!(UsageError::new(format!("{name} looks like SQL: say so with --language sql")));
        }
        Ok(Self { language, name, text })
    }

    fn request(&self, args: &ExecArgs) -> anyhow::Result<Request> {
        let mut given = Map::new();
        for argument in &args.arguments {
            let (name, value) = self::argument(argument)?;
            if given.insert(name.clone(), value).is_some() {
                anyhow::bail!(UsageError::new(format!("--arg {name} is given twice")));
            }
        }
        let (plugin, arguments) = match self.language {
            ScriptLanguage::Js => ("script", "arguments"),
            ScriptLanguage::Sql => ("sql-script", "variables"),
        };
        let mut parameters = vec![format!("script={}", self.text), format!("name={}", self.name)];
        parameters.push(format!("{arguments}={}", Value::Object(given)));
        parameters.extend(args.parameters.iter().cloned());
        Ok(Request { what: plugin.to_owned(), ..requested(parameters, &args.means)? })
    }
}

/// An argument of a script.
pub(super) fn argument(argument: &str) -> anyhow::Result<(String, Value)> {
    let Some((name, value)) = argument.split_once('=') else {
        anyhow::bail!(UsageError::new(format!("--arg takes NAME=VALUE, this is {argument:?}")));
    };
    // What is JSON is taken as such; everything else is text.
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))))
}

fn whole(from: &mut dyn std::io::Read, name: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| UsageError::new(format!("the script {name} cannot be read as text: {error}")))?;
    if text.len() as u64 > LONGEST {
        anyhow::bail!(UsageError::new(format!("the script {name} is longer than {} MiB", LONGEST >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_that_a_script_finds_is_declared() {
        let prelude = include_str!("../../../../plugins/script/src/prelude.js");
        // What is there for all runs, and what a run is given.
        let lines = ["const every = {", "const all = {"].into_iter().flat_map(|begin| {
            let (_, rest) = prelude.split_once(begin).unwrap();
            rest.split_once("};").unwrap().0.lines().map(str::trim)
        });
        let mut names: Vec<&str> = Vec::new();
        for line in lines {
            match line.split_once(':') {
                // A name with its value.
                Some((name, _)) if name.chars().all(char::is_alphanumeric) => names.push(name),
                // Several that have the name of their value.
                _ => {
                    names.extend(line.split(',').map(str::trim).filter(|name| {
                        !name.is_empty() && *name != "console" && name.chars().all(char::is_alphanumeric)
                    }))
                }
            }
        }
        assert!(names.len() > 10 && names.contains(&"sleep") && names.contains(&"args"), "{names:?}");
        let more = ["db", "standby", "cache", "bucket", "cluster", "stream", "bytes", "tool"];
        for name in names.into_iter().chain(more) {
            let declared = ["const", "function", "class"]
                .iter()
                .any(|kind| super::TYPES.contains(&format!("declare {kind} {name}")));
            assert!(declared, "{name}");
        }
    }
}
