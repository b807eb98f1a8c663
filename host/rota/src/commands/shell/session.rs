//! A session: the guest that does what is typed, and beside it one that plans it first. The two are kept in step: before a statement is planned,
//! the planning guest is given the variables of the other.

use super::granted::{Granted, granted, prepare, request};
use super::link::{Answer, Interrupts, Link, Over};
use super::show::{Nobody, Shown};
use super::split::Piece;
use super::tokens::redeclarable;
use crate::cli::ShellArgs;
use rota_authority::{Agreement, Mode, PlannedEffect};
use rota_runs::{EffectView, Host, Request, RunView};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long what is asked between statements may take: variables are handed over, names are looked up.
pub(super) const ASIDE: Duration = Duration::from_secs(10);
/// What became of a statement.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: State,
    /// What it did, or would have done.
    pub(super) effects: Vec<EffectView>,
    /// The guest's last line; of one that was not done the planning guest's.
    pub(super) done: Value,
    /// It failed when it was planned: nothing was done.
    pub(super) in_plan: bool,
    pub(super) timed_out: bool,
}

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Done,
    Planned,
    Failed,
    Interrupted,
    /// Nobody agreed to its effects.
    Refused,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Planned => "planned",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
        }
    }
}

/// Asks whether effects may happen.
pub(super) trait Asked: Send {
    /// Whether somebody agrees to these.
    fn agrees(&mut self, plan: &[EffectView]) -> anyhow::Result<bool>;
}

/// A statement that worked, for `\save`.
#[derive(Clone, Debug)]
pub(super) struct Worked {
    pub(super) piece: Piece,
    pub(super) slot: String,
    /// Of SQL: whether it only read.
    pub(super) read: bool,
    /// The binding of each of its effects, and the accesses that it needed.
    pub(super) accesses: Vec<(String, String)>,
}

/// The planning guest.
pub(super) struct Planner {
    pub(super) link: Link,
    /// The last of its effects that was looked at.
    seen: u64,
}

/// Two guests, and what is known of them.
pub(super) struct Session {
    pub(super) host: Arc<Host>,
    pub(super) request: Request,
    pub(super) doing: Link,
    pub(super) planning: Option<Planner>,
    noted: Arc<Mutex<Vec<PlannedEffect>>>,
    /// What is granted, slot by slot, with the binding in it.
    pub(super) grants: Vec<Granted>,
    /// What the plugin declares, by slot.
    pub(super) declared: Vec<rota_contract::reports::Slot>,
    pub(super) plan_only: bool,
    /// Say how long statements take.
    pub(super) timing: bool,
    unplanned: bool,
    /// The slot that SQL runs on.
    pub(super) slot: String,
    /// Slots with a transaction that a statement began.
    pub(super) transactions: Vec<String>,
    statements: u64,
    effects_seen: u64,
    longest: Duration,
    pub(super) worked: Vec<Worked>,
}

/// Why a session cannot go on.
pub(super) enum Fault {
    /// It is over.
    Over(Over),
    /// Something of the host's.
    Host(anyhow::Error),
}

impl From<Over> for Fault {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        Self::Host(error)
    }
}

impl Session {
    /// Begin it.
    ///
    /// # Errors
    /// When what was given cannot be used, or the run does not begin.
    pub(super) async fn begin(host: &Arc<Host>, args: &ShellArgs) -> Result<Self, Fault> {
        let request = request(args)?;
        let mut prepared = prepare(host, &request).await?;
        let declared = prepared.loaded.descriptor.slots.clone();
        let grants: Vec<Granted> = granted(&prepared);
        let reads_only = grants.iter().all(Granted::only_reads);
        if !reads_only && !args.unplanned {
            prepared.agreement = Agreement::Held(Vec::new());
        }
        let doing = Link::begin(host, prepared, None).await?;
        let first_sql = grants.iter().find(|grant| grant.capability == "sql");
        Ok(Self {
            host: host.clone(),
            request,
            doing,
            planning: None,
            noted: Arc::default(),
            slot: first_sql.map_or_else(|| "database".to_owned(), |grant| grant.slot.clone()),
            grants,
            declared,
            plan_only: args.plan,
            timing: false,
            unplanned: args.unplanned,
            transactions: Vec::new(),
            statements: 0,
            effects_seen: 0,
            longest: crate::settings::duration(&args.statement_timeout)?,
            worked: Vec::new(),
        })
    }

    /// What statements find as `args`.
    pub(super) fn arguments(&self) -> Map<String, Value> {
        let given = self.request.parameters.iter().find_map(|parameter| parameter.strip_prefix("arguments="));
        given.and_then(|given| serde_json::from_str(given).ok()).unwrap_or_default()
    }

    fn reads_only(&self) -> bool {
        self.grants.iter().all(Granted::only_reads)
    }

    /// Hold the one that does to what was agreed to. Where nothing is planned, because it only reads or since that is wanted, to nothing.
    pub(super) fn hold(&self, plan: Vec<PlannedEffect>) {
        if let Some(run) = self.doing.context() {
            run.gate.hold((!self.unplanned && !self.reads_only()).then_some(plan));
        }
    }

    /// Let nothing happen until the next statement, whatever is granted by then.
    pub(super) fn hold_still(&self) {
        if let Some(run) = self.doing.context() {
            run.gate.hold((!self.unplanned).then(Vec::new));
        }
    }

    /// The planning guest, with the variables of the other.
    async fn planner(&mut self, variables: &Value) -> Result<(), Fault> {
        if self.planning.is_none() {
            let mut request = self.request.clone();
            request.mode = Mode::Plan;
            request.grant = self.grants.iter().map(|it| format!("{}={}", it.slot, it.accesses.join(","))).collect();
            let mut prepared = prepare(&self.host, &request).await?;
            prepared.agreement = Agreement::Noted(self.noted.clone());
            let link = Link::begin(&self.host, prepared, Some(self.doing.id.clone())).await?;
            self.planning = Some(Planner { link, seen: 0 });
        }
        let Some(planner) = &mut self.planning else { return Err(anyhow::anyhow!("no planning guest").into()) };
        if variables.is_array() {
            planner.link.quietly(&json!({ "load": variables }), ASIDE).await?;
        }
        Ok(())
    }

    /// What the planning guest noted since it was last asked.
    fn noted(&self) -> Vec<PlannedEffect> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn effects_of(&self, run: &str, seen: u64) -> anyhow::Result<Vec<EffectView>> {
        self.host.store().flush().await?;
        let view = self.host.records().find(run).await?;
        Ok(view.effects.into_iter().filter(|effect| effect.sequence > seen).collect())
    }

    /// Run a statement: what may change something is planned first, asked for, and held to what was agreed to.
    ///
    /// # Errors
    /// When the session is over.
    pub(super) async fn run(
        &mut self,
        piece: &Piece,
        shown: &mut dyn Shown,
        asked: &mut dyn Asked,
        interrupts: &mut Interrupts,
    ) -> Result<Ended, Fault> {
        self.statements += 1;
        let (request, text) = match piece {
            Piece::Js(text) => {
                let name = format!("[{}]", self.statements);
                (json!({ "js": redeclarable(text), "name": name, "shown": on_record(text.clone()) }), text)
            }
            Piece::Sql(text) => {
                (json!({ "sql": text, "slot": self.slot, "shown": on_record(format!("{text};")) }), text)
            }
            Piece::Command(_) => return Err(anyhow::anyhow!("a command is no statement").into()),
        };
        let is_sql = matches!(piece, Piece::Sql(_));
        let mut reads = false;
        if is_sql && (!self.plan_only || controls(text)) {
            // What only reads needs no plan. Neither does the beginning and the end of a transaction, which are no effects.
            let mut first = request.clone();
            first["read"] = json!(true);
            self.hold(Vec::new());
            let answer = self.doing.ask(&first, shown, interrupts, self.longest).await?;
            if answer.done["needs"] != true {
                reads = true;
                return self.done(piece, reads, answer).await;
            }
        }
        let needs_plan = self.plan_only || (!self.reads_only() && !self.unplanned);
        if needs_plan {
            match self.plan(&request, is_sql, shown, asked, interrupts).await? {
                Some(ended) => return Ok(ended),
                None => self.hold(self.noted()),
            }
        } else {
            self.hold(Vec::new());
        }
        let answer = self.doing.ask(&request, shown, interrupts, self.longest).await;
        let left = self.doing.context().map(|run| run.gate.left_of_plan()).unwrap_or_default();
        self.hold(Vec::new());
        let answer = answer?;
        if !left.is_empty() && state_of(&answer.done) == State::Done {
            shown.note(&format!(
                "of the effects that were agreed to, {} did not happen: {}",
                left.len(),
                left.join(", ")
            ));
        }
        self.done(piece, reads, answer).await
    }

    /// Plan a statement. None: it may be done, as it was noted.
    async fn plan(
        &mut self,
        request: &Value,
        is_sql: bool,
        shown: &mut dyn Shown,
        asked: &mut dyn Asked,
        interrupts: &mut Interrupts,
    ) -> Result<Option<Ended>, Fault> {
        let (plan_only, longest) = (self.plan_only, self.longest);
        self.hold(Vec::new());
        let variables = self.doing.quietly(&json!({ "dump": true }), ASIDE).await?;
        let planned = async {
            self.planner(&variables["variables"]).await?;
            // What variables did when they were looked at is no statement's.
            if !self.noted().is_empty()
                && let Some(id) = self.planning.as_ref().map(|planner| planner.link.id.clone())
            {
                let last = self.effects_of(&id, 0).await?.last().map_or(0, |effect| effect.sequence);
                self.planning.iter_mut().for_each(|planner| planner.seen = last);
            }
            let Some(planner) = &mut self.planning else { return Err(anyhow::anyhow!("no planning guest").into()) };
            let mut request = request.clone();
            let nobody = &mut Nobody;
            let shown: &mut dyn Shown = if plan_only { shown } else { nobody };
            if is_sql && plan_only {
                request["read"] = json!(true);
                let answer = planner.link.ask(&request, shown, interrupts, longest).await?;
                if answer.done["needs"] != true {
                    return Ok(answer);
                }
                request["read"] = json!(false);
            }
            Ok::<Answer, Fault>(planner.link.ask(&request, shown, interrupts, longest).await?)
        };
        let answer = match planned.await {
            Ok(answer) => answer,
            // The one that plans went over a limit, for example: another takes its place, and nothing was done.
            Err(Fault::Over(over)) => {
                self.planning = None;
                drop(self.noted());
                let why = match *over {
                    Ok(view) => view.error.map_or_else(|| view.status.clone(), |error| error.message),
                    Err(error) => error.to_string(),
                };
                let done = json!({ "error": { "message": format!("the plan broke off: {why}"), "kind": "failed" } });
                return Ok(Some(Ended {
                    state: State::Failed,
                    effects: vec![],
                    done,
                    in_plan: true,
                    timed_out: false,
                }));
            }
            Err(fault) => return Err(fault),
        };
        let effects = match &self.planning {
            Some(planner) => self.effects_of(&planner.link.id, planner.seen).await?,
            None => Vec::new(),
        };
        if let (Some(planner), Some(last)) = (&mut self.planning, effects.last()) {
            planner.seen = last.sequence;
        }
        let Answer { done, timed_out } = answer;
        // What could not be listed, because a limit was reached, nobody sees, and so nobody agrees to it, whatever the statement caught.
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner).len();
        if state_of(&done) == State::Done && noted != effects.len() {
            drop(self.noted());
            let done = json!({ "error": {
                "kind": "failed",
                "message": "the plan has effects that could not be listed",
                "hint": "a limit was reached: begin another shell, or give it a larger --limit effects=...",
            } });
            return Ok(Some(Ended { state: State::Failed, effects, done, in_plan: true, timed_out: false }));
        }
        let ended =
            |state| Some(Ended { state, effects: effects.clone(), done: done.clone(), in_plan: true, timed_out });
        Ok(match state_of(&done) {
            State::Done if plan_only => {
                drop(self.noted());
                ended(State::Planned)
            }
            State::Done if effects.is_empty() || asked.agrees(&effects)? => None,
            state => {
                drop(self.noted());
                ended(if state == State::Done { State::Refused } else { state })
            }
        })
    }

    /// What became of a statement that was done.
    async fn done(&mut self, piece: &Piece, read: bool, answer: Answer) -> Result<Ended, Fault> {
        let Answer { done, timed_out } = answer;
        if let Some(slots) = done["transactions"].as_array() {
            self.transactions = slots.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        let effects = match read {
            true => Vec::new(),
            false => self.effects_of(&self.doing.id, self.effects_seen).await?,
        };
        if let Some(last) = effects.last() {
            self.effects_seen = last.sequence;
        }
        let state = state_of(&done);
        if state == State::Done {
            let accesses = effects.iter().map(|effect| (effect.target.clone(), effect.access.clone())).collect();
            self.worked.push(Worked { piece: piece.clone(), slot: self.slot.clone(), read, accesses });
        }
        Ok(Ended { state, effects, done, in_plan: false, timed_out })
    }

    /// The names of tables, columns and functions behind a slot.
    pub(super) async fn names(&mut self, slot: &str) -> Result<Value, Over> {
        self.hold(Vec::new());
        self.doing.quietly(&json!({ "look": slot }), ASIDE).await
    }

    /// The run as it is on record.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(super) async fn record(&self) -> anyhow::Result<RunView> {
        self.host.store().flush().await?;
        Ok(self.host.records().find(&self.doing.id).await?)
    }

    /// The one that does has ended by itself: the one that plans ends, too.
    pub(super) async fn leave(self) {
        if let Some(planner) = self.planning {
            drop(planner.link.end().await);
        }
    }

    /// End it.
    pub(super) async fn end(self) -> Over {
        if let Some(planner) = self.planning {
            drop(planner.link.end().await);
        }
        self.doing.end().await
    }

    /// End it as a signal does, or since its time is over: what it registered to be undone is undone.
    pub(super) async fn cancel(self) -> Over {
        self.doing.cancel();
        self.end().await
    }
}

/// A statement as it may be in the run's log and report, which others read: as in the history, without what looks as if it held a secret.
fn on_record(text: String) -> String {
    if super::history::kept(&text).is_some() {
        return text;
    }
    "(a statement that looks as if it held a secret: not kept)".to_owned()
}

/// Whether a statement begins or ends a transaction.
fn controls(statement: &str) -> bool {
    let word: String = statement.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    ["begin", "start", "commit", "end", "rollback", "abort"].contains(&word.to_ascii_lowercase().as_str())
}

fn state_of(done: &Value) -> State {
    match done["state"].as_str() {
        Some("done") => State::Done,
        Some("interrupted") => State::Interrupted,
        _ => State::Failed,
    }
}
