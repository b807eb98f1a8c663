//! Look, set, rebuild, prove.

use crate::options::{self, Before as Was, Name, Options};
use crate::{Context, Data, Done, Parameters, Undoing};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::text;
use rota_sdk_index::create::conflict;
use rota_sdk_index::vector::{
    Extension, Fact, advised_lists, hnsw_memory, ivfflat_memory, lists_are_off, megabytes, memory_for,
};
use rota_sdk_index::{Build, Holder, Index, Leftover, holders};

/// What the first attempt of a run saw.
#[data]
pub(crate) struct Before {
    /// The index.
    pub(crate) index: Index,
    /// All of its table's.
    pub(crate) indexes: Vec<i64>,
}

pub(crate) struct Work<'w> {
    pub(crate) cx: &'w Context,
    pub(crate) parameters: &'w Parameters,
    pub(crate) worker: Session,
    pub(crate) watcher: Session,
    pub(crate) report: Report,
    pub(crate) data: Data,
    fact: Option<Fact>,
    before: Before,
}

/// The step that keeps what was there before.
const LOOK: &str = "look at the index";

impl<'w> Work<'w> {
    pub(crate) async fn begin(
        cx: &'w Context,
        parameters: &'w Parameters,
        worker: Session,
        mut watcher: Session,
        server: Server,
        extension: Extension,
    ) -> Result<Self> {
        let before = if cx.is_plan() {
            look(&mut watcher, &parameters.index).await?
        } else {
            match Step::<Before>::begin(LOOK).await? {
                Step::Done(before) => before,
                Step::Fresh(step) => step.complete(look(&mut watcher, &parameters.index).await?).await?,
                // Nothing is done before it is completed.
                Step::InDoubt(doubt) => doubt.redo().complete(look(&mut watcher, &parameters.index).await?).await?,
            }
        };
        let index = before.index.clone();
        if !matches!(index.method.as_str(), "hnsw" | "ivfflat") {
            return Err(Error::new(format!("{} is a {} index, not one of pgvector", index.quoted, index.method))
                .hint("REINDEX INDEX CONCURRENTLY it by hand"));
        }
        let fact = Fact::all(&mut watcher).await?.into_iter().find(|fact| fact.oid == index.oid);
        let counted = if index.predicate.is_some() { Some(index.entries) } else { fact.as_ref().map(|fact| fact.rows) };
        let own = [worker.backend_pid(), watcher.backend_pid()];
        let data = Data {
            visibility_complete: server.visibility_complete,
            server,
            extension,
            done: Done::Failed,
            rows: counted.filter(|rows| *rows >= 0),
            set: Vec::new(),
            memory_bytes: None,
            disk_bytes: index.bytes.saturating_mul(2),
            holders: Holder::look(&mut watcher, index.table_oid, true, &own).await?,
            waited_for: Vec::new(),
            removed: Vec::new(),
            seconds: 0.0,
            after: None,
            before: index,
        };
        Ok(Self { cx, parameters, worker, watcher, report: Report::new(), data, fact, before })
    }

    pub(crate) async fn all(&mut self) -> Result<()> {
        let leftover = Leftover {
            table: self.before.index.table_oid,
            name: self.before.index.name.clone(),
            rebuilds: Some(self.before.index.oid),
            before: self.before.indexes.clone(),
        };
        let now = Index::on_table(&mut self.watcher, leftover.table).await?;
        self.others_leftovers(&now, &leftover);
        // An earlier attempt's backend may still be at it, or be done.
        let gone = leftover.clear(self.cx, &mut self.worker).await?;
        self.data.removed.extend(gone);
        if self.rebuilt(&leftover).await? {
            return self.prove().await;
        }
        let current = Index::by_oid(&mut self.watcher, self.before.index.oid).await?;
        let Some(current) = current else {
            return Err(conflict(
                format!("{} was dropped meanwhile", self.before.index.quoted),
                "build it anew with pgvector-index-create",
            ));
        };
        if let Some(pid) = current.builder {
            return Err(conflict(format!("{} is being built by pid {pid}", current.quoted), "wait for it"));
        }
        let wanted = self.wanted()?;
        self.memory(&wanted).await?;
        self.disk()?;
        self.refuse_holders()?;
        let quoted = current.quoted()?;
        if !wanted.is_empty() {
            let before = wanted
                .iter()
                .map(|(name, _)| Was { name: *name, value: options::value(&self.before.index, *name) })
                .collect();
            let state = Undoing::Options(Options { index: current.oid, before });
            self.cx.undo("put the index's parameters back", &state).await?;
            for (name, value) in &wanted {
                let statement = options::set(&quoted, *name, *value);
                options::alter(self.cx, &mut self.worker, &statement).await?;
                self.data.set.push(format!("{}={value}", name.word()));
            }
        }
        self.cx.undo("drop what a rebuild that is cut off leaves", &Undoing::Leftover(leftover.clone())).await?;
        let statement = sql!("REINDEX INDEX CONCURRENTLY {}", quoted);
        if self.cx.is_plan() {
            self.worker.execute(statement, params![]).await?;
            self.planned();
            return Ok(());
        }
        self.rebuild(statement, &leftover).await
    }

    async fn rebuild(&mut self, statement: Sql, leftover: &Leftover) -> Result<()> {
        if let Some(memory) = self.parameters.maintenance_work_mem.clone() {
            self.worker.configure("maintenance_work_mem", memory).await?;
        }
        if !self.data.extension.at_least((0, 8, 2)) {
            // CVE-2026-3172 is in parallel builds.
            self.worker.execute("SET max_parallel_maintenance_workers = 0", params![]).await?;
        }
        let what = self.before.index.quoted.clone();
        let (cx, worker, watcher) = (self.cx, &mut self.worker, &mut self.watcher);
        let build = Build { cx, worker, watcher, budget_seconds: self.parameters.budget_seconds, what: &what };
        let built = build.run(statement).await?;
        self.data.seconds = built.seconds;
        self.data.waited_for = built.waited_for;
        if let Some(needed) = self.data.memory_bytes {
            rota_sdk_index::vector::report_overflow(&what, &built.notices, needed, &mut self.report);
        }
        let Some(error) = built.error else { return self.prove().await };
        match leftover.clear(self.cx, &mut self.worker).await {
            Ok(gone) => self.data.removed.extend(gone),
            Err(problem) => {
                let title = format!("{what}: what the rebuild left is INVALID for now");
                self.report.critical(title).because(&problem).advice("The run's undo tries again to drop it");
            }
        }
        let error = error.context(format!("rebuilding {what}"));
        Err(if error.is_timed_out() {
            let waited =
                self.data.waited_for.last().map_or_else(String::new, |who| format!(": it last waited for {who}"));
            error.hint(format!(
                "give it more budget_seconds and the run a longer timeout, or end who held it up{waited}"
            ))
        } else {
            error.hint("the index is as it was, and searches use it")
        })
    }

    /// The parameters to set.
    fn wanted(&mut self) -> Result<Vec<(Name, i64)>> {
        let index = &self.before.index;
        let Parameters { lists, m, ef_construction, .. } = self.parameters;
        let ivfflat = index.method == "ivfflat";
        if ivfflat && (m.is_some() || ef_construction.is_some()) {
            return Err(Error::new("`m` and `ef_construction` are for HNSW, and the index is IVFFlat"));
        }
        if !ivfflat && lists.is_some() {
            return Err(Error::new("`lists` is for IVFFlat, and the index is HNSW"));
        }
        let mut wanted: Vec<(Name, i64)> = Vec::new();
        wanted.extend(m.map(|value| (Name::M, value)));
        wanted.extend(ef_construction.map(|value| (Name::EfConstruction, value)));
        if ivfflat {
            let has = options::value(index, Name::Lists).unwrap_or(100);
            let fits = self.data.rows.filter(|rows| lists_are_off(has, *rows)).map(advised_lists);
            wanted.extend(lists.or(fits).map(|value| (Name::Lists, value)));
        }
        let is = |(name, value): &(Name, i64)| options::value(index, *name) == Some(*value);
        wanted.retain(|pair| !is(pair));
        let (m, ef) = (self.effective(&wanted, Name::M, 16), self.effective(&wanted, Name::EfConstruction, 64));
        if !ivfflat && ef < 2 * m {
            return Err(Error::new(format!("ef_construction {ef} is less than twice m {m}")));
        }
        Ok(wanted)
    }

    fn effective(&self, wanted: &[(Name, i64)], name: Name, default: i64) -> i64 {
        let set = wanted.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        set.or_else(|| options::value(&self.before.index, name)).unwrap_or(default)
    }

    async fn memory(&mut self, wanted: &[(Name, i64)]) -> Result<()> {
        let (Some(fact), Some(rows)) = (&self.fact, self.data.rows) else { return Ok(()) };
        let ivfflat = self.before.index.method == "ivfflat";
        let needs = if ivfflat {
            ivfflat_memory(rows, &fact.vector_type, fact.dimensions, self.effective(wanted, Name::Lists, 100))
        } else {
            hnsw_memory(rows, &fact.vector_type, fact.dimensions, self.effective(wanted, Name::M, 16))
        };
        self.data.memory_bytes = Some(needs);
        let has = memory_for(&mut self.watcher, self.parameters.maintenance_work_mem.as_deref()).await?;
        if needs <= has {
            return Ok(());
        }
        let what = format!(
            "{}: the rebuild needs about {} of memory, and maintenance_work_mem is {}",
            self.before.index.quoted,
            text::size(needs),
            text::size(has)
        );
        let hint =
            format!("run it with maintenance_work_mem={} where the server has so much to spare", megabytes(needs));
        if ivfflat && !self.cx.is_plan() {
            return Err(Error::new(what).hint(hint));
        }
        self.report
            .warning(what)
            .detail("An HNSW build goes on on disk, many times slower; pgvector refuses an IVFFlat build.")
            .advice(hint);
        Ok(())
    }

    /// Both are there until the old one is dropped.
    fn disk(&mut self) -> Result<()> {
        let (needs, index) = (self.data.disk_bytes, &self.before.index.quoted);
        match self.parameters.free_bytes {
            Some(free) if free < needs => {
                let what = format!(
                    "{index}: the rebuild needs about {} on disk, and {} are free",
                    text::size(needs),
                    text::size(free)
                );
                if !self.cx.is_plan() {
                    return Err(Error::new(what).hint("make room first: postgres-disk says what takes it"));
                }
                self.report.critical(what).remedy("postgres-disk", &json!({}), "Say what takes the room");
            }
            Some(_) => {}
            None => {
                self.report
                    .note(format!("{index}: about {} must be free on disk, which was not checked", text::size(needs)))
                    .detail("A server does not say how much is free. Give free_bytes, and nothing is begun where it is too little.");
            }
        }
        Ok(())
    }

    fn refuse_holders(&mut self) -> Result<()> {
        let limit = self.parameters.holder_seconds;
        holders::report(&self.data.holders, limit, &mut self.report);
        let Some(oldest) = self.data.holders.iter().find(|holder| holder.seconds >= limit) else { return Ok(()) };
        if self.cx.is_plan() || self.parameters.wait_for_holders {
            return Ok(());
        }
        let why = format!("{} would hold the rebuild up. Nothing was begun", oldest.told());
        Err(conflict(why, "end that transaction, or run this with wait_for_holders=true"))
    }

    /// Whether the name is another index's now: the new one's, which an earlier attempt's backend finished.
    async fn rebuilt(&mut self, leftover: &Leftover) -> Result<bool> {
        let now = Index::on_table(&mut self.watcher, leftover.table).await?;
        Ok(now
            .iter()
            .any(|index| index.name == leftover.name && index.whole() && !leftover.before.contains(&index.oid)))
    }

    /// Believe only the catalog: a new index under the old name, and nothing left beside it.
    async fn prove(&mut self) -> Result<()> {
        let before = self.before.index.clone();
        let now = Index::on_table(&mut self.watcher, before.table_oid).await?;
        let Some(after) = now.iter().find(|index| index.name == before.name) else {
            return Err(Error::new(format!("the server said that it rebuilt {}, and it is not there", before.quoted)));
        };
        if !after.whole() || after.oid == before.oid {
            return Err(Error::new(format!(
                "the server said that it rebuilt {}, and it is {}",
                before.quoted,
                after.state()
            )));
        }
        self.rebuilt_report(after);
        Ok(())
    }
}

async fn look(session: &mut Session, name: &str) -> Result<Before> {
    let index = Index::find(session, name).await?;
    let indexes = Index::on_table(session, index.table_oid).await?.iter().map(|index| index.oid).collect();
    Ok(Before { index, indexes })
}
