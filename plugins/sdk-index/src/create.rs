//! Building a new index: look, make room, build, prove. The procedures that make indexes differ in what they make, not in this.

use crate::build::Build;
use crate::catalog::Index;
use crate::clear::Leftover;
use crate::element::Spec;
use crate::holders::{self, Holder};
use crate::table::Table;
use rota_sdk::prelude::*;
use rota_sdk::text;
use rota_sdk::{Context, HostError};

/// What became of it.
#[data]
pub enum Done {
    /// The index was built, and is valid.
    Built,
    /// An equal index was there already.
    AlreadyThere,
    /// The run is a plan.
    Planned,
    /// It was not built.
    Failed,
}

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The index's name; none for one as PostgreSQL would give.
    pub name: Option<String>,
    /// Drop an INVALID index of the name that was there before.
    pub replace_invalid: bool,
    /// Begin nothing while a transaction has been open for longer than this.
    pub holder_seconds: f64,
    /// Begin all the same.
    pub wait_for_holders: bool,
    /// How long the build may take.
    pub budget_seconds: u32,
    /// `maintenance_work_mem` for the build.
    pub memory: Option<String>,
}

/// What the first attempt of a run saw, for the later ones: what is not among these was made by the run.
#[data]
pub struct Before {
    /// The name that was chosen.
    pub name: String,
    /// The table's indexes.
    pub indexes: Vec<i64>,
}

/// An index being created, with what was seen and done.
pub struct Creation {
    /// The run.
    pub cx: Context,
    /// The session that builds.
    pub worker: Session,
    /// The session that looks.
    pub watcher: Session,
    /// The table.
    pub table: Table,
    /// What is to be built.
    pub spec: Spec,
    /// What the operator decided.
    pub policy: Policy,
    /// Findings.
    pub report: Report,
    /// What became of it.
    pub done: Done,
    /// The index's name.
    pub name: String,
    /// The statement.
    pub statement: String,
    /// The index, where it is there.
    pub index: Option<Index>,
    /// Whose transactions were open before, the oldest first.
    pub holders: Vec<Holder>,
    /// Whom the build was seen to wait for.
    pub waited_for: Vec<String>,
    /// What the server said besides.
    pub notices: Vec<String>,
    /// INVALID indexes that were dropped.
    pub removed: Vec<String>,
    /// How long the build took.
    pub seconds: f64,
}

/// The step that keeps what was there before.
const LOOK: &str = "look at the table";
/// The undo's name.
pub const UNDO: &str = "drop the index if its build is cut off";
/// How many numbers are tried behind a name that is given by us.
const TRIES: u32 = 99;

/// A relation that has the name.
#[derive(FromRow)]
struct Taken {
    oid: i64,
    kind: String,
    quoted: String,
}

const TAKEN: &str = "\
    select c.oid::int8 as oid, c.relkind::text as kind, format('%I.%I', n.nspname, c.relname) as quoted \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";

impl Creation {
    /// Nothing done yet.
    pub fn new(cx: Context, worker: Session, watcher: Session, table: Table, spec: Spec, policy: Policy) -> Self {
        Self {
            cx,
            worker,
            watcher,
            table,
            spec,
            policy,
            report: Report::new(),
            done: Done::Failed,
            name: String::new(),
            statement: String::new(),
            index: None,
            holders: Vec::new(),
            waited_for: Vec::new(),
            notices: Vec::new(),
            removed: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Whether there is something to build: none when an equal index is there. Afterwards nothing stands under the name, and nobody holds the build up for long.
    ///
    /// # Errors
    /// `conflict` when the name is taken, an INVALID index has it, or an old transaction would hold the build up; nothing was begun then.
    pub async fn prepare(&mut self) -> Result<Option<Before>> {
        let own = [self.worker.backend_pid(), self.watcher.backend_pid()];
        self.holders = Holder::look(&mut self.watcher, self.table.oid, false, &own).await?;
        let indexes = Index::on_table(&mut self.watcher, self.table.oid).await?;
        let before = self.before(&indexes).await?;
        self.name.clone_from(&before.name);
        self.statement = self.sql().await?.to_string();
        if let Some(equal) = indexes.iter().find(|index| index.whole() && self.spec.describes(index)) {
            self.there(equal, &before);
            return Ok(None);
        }
        self.invalid_equals(&indexes, &before);
        self.make_room(&indexes, &before).await?;
        self.refuse_holders()?;
        Ok(Some(before))
    }

    /// Build it. The undo is registered before. In a plan, both are listed.
    ///
    /// # Errors
    /// What the server said; by then what was left INVALID is dropped.
    pub async fn build(&mut self, before: &Before, register: impl AsyncFnOnce(&Leftover) -> Result<()>) -> Result<()> {
        if let Some(memory) = self.policy.memory.clone() {
            self.worker.configure("maintenance_work_mem", memory).await?;
        }
        let (table, name) = (self.table.oid, before.name.clone());
        let leftover = Leftover { table, name, rebuilds: None, before: before.indexes.clone() };
        register(&leftover).await?;
        let statement = self.sql().await?;
        if self.cx.is_plan() {
            self.worker.execute(statement, params![]).await?;
            self.planned();
            return Ok(());
        }
        let what = before.name.clone();
        let (cx, worker, watcher) = (&self.cx, &mut self.worker, &mut self.watcher);
        let build = Build { cx, worker, watcher, budget_seconds: self.policy.budget_seconds, what: &what };
        let built = build.run(statement).await?;
        self.seconds = built.seconds;
        self.waited_for = built.waited_for;
        self.notices = built.notices;
        match built.error {
            Some(error) => Err(self.failed(error, &leftover).await),
            None => self.prove(before).await,
        }
    }

    async fn sql(&mut self) -> Result<Sql> {
        let name = self.worker.quote_name(&self.name).await?;
        self.spec.statement(&name, &self.table.quoted)
    }

    /// What has the name in the table's schema, where an index on it lies.
    async fn taken(&mut self, name: &str) -> Result<Option<Taken>> {
        let schema = self.table.schema.clone();
        self.watcher.query_optional(TAKEN, params![schema, name]).await.context("looking whether the name is free")
    }

    /// The name that was asked for, or a free one.
    async fn choose(&mut self, indexes: &[Index]) -> Result<Before> {
        let name = match &self.policy.name {
            Some(name) if name.is_empty() || name.len() > 63 || name.contains('\0') => {
                let why = format!("`name`: {name:?} is not 1 to 63 bytes long; the server would shorten it");
                return Err(Error::new(why));
            }
            Some(name) => name.clone(),
            None => {
                let base = self.spec.default_name(&self.table.name);
                let mut name = base.clone();
                for number in 1..=TRIES {
                    if self.taken(&name).await?.is_none() {
                        break;
                    }
                    name = format!("{base}{number}");
                }
                name
            }
        };
        Ok(Before { name, indexes: indexes.iter().map(|index| index.oid).collect() })
    }

    /// What was there before the run: kept, so that a later attempt knows what an earlier one made.
    async fn before(&mut self, indexes: &[Index]) -> Result<Before> {
        if self.cx.is_plan() {
            return self.choose(indexes).await;
        }
        match Step::<Before>::begin(LOOK).await? {
            Step::Done(before) => Ok(before),
            Step::Fresh(step) => step.complete(self.choose(indexes).await?).await,
            // Nothing is done before it is completed.
            Step::InDoubt(doubt) => doubt.redo().complete(self.choose(indexes).await?).await,
        }
    }

    /// Nothing may stand under the name when the build begins.
    async fn make_room(&mut self, indexes: &[Index], before: &Before) -> Result<()> {
        let Some(taken) = self.taken(&before.name).await? else { return Ok(()) };
        let Some(index) = indexes.iter().find(|index| index.oid == taken.oid) else {
            let what = if taken.kind == "i" { "an index on another table" } else { "no index" };
            let why = format!("the name is taken: {} is {what}", taken.quoted);
            return Err(conflict(why, "give it another `name`"));
        };
        if index.valid {
            let why = format!("the name is taken by another index: {}", index.definition);
            return Err(conflict(why, "give it another `name`, or drop that index first"));
        }
        if before.indexes.contains(&index.oid) {
            if let Some(pid) = index.builder {
                return Err(conflict(format!("{} is being built by pid {pid}", index.quoted), "wait for it"));
            }
            self.report
                .critical(format!("{}: {}", index.quoted, index.state()))
                .detail(format!("A build of it was cut off: {}", index.definition))
                .advice("Run this with replace_invalid=true, which drops it and builds it anew");
            if !self.policy.replace_invalid {
                let why = format!(
                    "{} is there and INVALID: a build of it was cut off. IF NOT EXISTS would call that success",
                    index.quoted
                );
                return Err(conflict(why, "run it again with replace_invalid=true, which drops it first"));
            }
        }
        // By the rules for what a build left, with this one not counted as there before.
        let rest: Vec<i64> = before.indexes.iter().copied().filter(|oid| *oid != index.oid).collect();
        let leftover = Leftover { table: self.table.oid, name: before.name.clone(), rebuilds: None, before: rest };
        let gone = leftover.clear(&self.cx, &mut self.worker).await?;
        self.removed.extend(gone);
        if !self.cx.is_plan()
            && let Some(still) = Index::by_oid(&mut self.watcher, index.oid).await?
        {
            // It became valid while it was waited for.
            return Err(conflict(format!("{} is there and {}", still.quoted, still.state()), "run this again"));
        }
        Ok(())
    }

    fn refuse_holders(&mut self) -> Result<()> {
        let limit = self.policy.holder_seconds;
        holders::report(&self.holders, limit, &mut self.report);
        let Some(oldest) = self.holders.iter().find(|holder| holder.seconds >= limit) else { return Ok(()) };
        if self.cx.is_plan() || self.policy.wait_for_holders {
            return Ok(());
        }
        let why = format!(
            "{} would hold the build up, and the index would be INVALID meanwhile. Nothing was begun",
            oldest.told()
        );
        Err(conflict(why, "end that transaction, or run this with wait_for_holders=true"))
    }

    /// The server ended the build with an error: drop what is left of it, and say why.
    async fn failed(&mut self, error: Error, leftover: &Leftover) -> Error {
        match leftover.clear(&self.cx, &mut self.worker).await {
            Ok(gone) => self.removed.extend(gone),
            Err(problem) => {
                self.report
                    .critical(format!("{} is left INVALID for now", self.name))
                    .because(&problem)
                    .advice("The run's undo tries again to drop it; if that fails too: DROP INDEX CONCURRENTLY");
            }
        }
        if error.is_timed_out() {
            let waited = self.waited_for.last().map_or_else(String::new, |who| format!("; it last waited for {who}"));
            return error
                .context(format!("building {} (cut off after {:.0} s{waited})", self.name, self.seconds))
                .hint("give it more budget_seconds and the run a longer timeout, or end who held it up");
        }
        error.context(format!("building {}", self.name))
    }

    /// Believe only the catalog.
    async fn prove(&mut self, before: &Before) -> Result<()> {
        let all = Index::on_table(&mut self.watcher, self.table.oid).await?;
        let new = |index: &&Index| index.name == before.name && !before.indexes.contains(&index.oid);
        let Some(index) = all.iter().find(new) else {
            let why = format!("the server said that it built {}, and it is not there", before.name);
            return Err(Error::new(why).hint("somebody dropped or renamed it meanwhile"));
        };
        if !index.whole() {
            return Err(Error::new(format!(
                "the server said that it built {}, and it is {}",
                index.quoted,
                index.state()
            )));
        }
        self.done = Done::Built;
        let size = text::size(index.bytes);
        self.report.summary(format!("built {} in {:.1} s: {size}, valid", index.quoted, self.seconds));
        if let Some(other) = all.iter().find(|other| other.whole() && other.equals(index)) {
            self.report
                .warning(format!("{} is equal to {}", index.quoted, other.quoted))
                .detail(format!("{}. Each costs every write; one is enough.", other.definition))
                .remedy(
                    "sql-statement",
                    &drop_statement(index),
                    format!("Drop the new one. To have it back: {}", index.definition),
                );
        }
        self.show(index);
        Ok(())
    }

    /// An equal index is there: nothing to do, or an earlier attempt of this run did it.
    fn there(&mut self, index: &Index, before: &Before) {
        if before.indexes.contains(&index.oid) {
            self.done = Done::AlreadyThere;
            self.report.summary(format!("{} is there already, and valid: nothing to do", index.quoted));
            if self.policy.name.as_ref().is_some_and(|name| *name != index.name) {
                self.report
                    .note(format!("{}: equal to the index that was asked for, under another name", index.quoted))
                    .detail(format!("{}. A second one would cost every write and serve no query.", index.definition));
            }
        } else {
            self.done = Done::Built;
            self.report.summary(format!("{} was built by an earlier attempt of this run, and is valid", index.quoted));
        }
        self.name.clone_from(&index.name);
        self.show(index);
    }

    fn show(&mut self, index: &Index) {
        let mut table = self.report.table("index", "The index", ["index", "definition", "state", "size"]);
        table.row(cells![&index.quoted, &index.definition, index.state(), Bytes(index.bytes.unsigned_abs())]);
        #[allow(clippy::cast_precision_loss, reason = "a metric")]
        self.report.metric("index_bytes", &[("index", &index.quoted)], index.bytes as f64);
        self.index = Some(index.clone());
    }

    fn planned(&mut self) {
        self.done = Done::Planned;
        let (rows, size, table) = (self.table.about_rows(), text::size(self.table.bytes), self.table.quoted.clone());
        self.report.summary(format!("would build {} on {table} ({rows}, {size})", self.name));
        self.report
            .note(format!("{table}: writers go on while it is built; the table is read twice"))
            .detail(self.statement.clone());
        for holder in self.holders.iter().take(20) {
            self.report.note(format!("{}: the build would wait for this transaction", holder.told()));
        }
    }

    /// Equal ones under other names that are INVALID: no use, and every write pays for them.
    fn invalid_equals(&mut self, indexes: &[Index], before: &Before) {
        let found = indexes.iter().filter(|index| {
            !index.valid && index.builder.is_none() && index.name != before.name && self.spec.describes(index)
        });
        for index in found {
            self.report
                .warning(format!("{}: {}", index.quoted, index.state()))
                .detail(format!(
                    "It is what was asked for, under another name, and its build was cut off: {}",
                    index.definition
                ))
                .remedy(
                    "sql-statement",
                    &drop_statement(index),
                    format!("Drop it. It was made by: {}", index.definition),
                );
        }
    }
}

/// The parameters of `sql-statement` that drop an index without locking writers out.
pub fn drop_statement(index: &Index) -> Json {
    json!({ "statement": format!("DROP INDEX CONCURRENTLY {}", index.quoted) })
}

/// Something else is in the way.
pub fn conflict(what: String, hint: &str) -> Error {
    Error::from(HostError::Conflict(what)).hint(hint)
}
