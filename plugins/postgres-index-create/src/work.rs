//! Look, build, prove.

use crate::name::Before;
use crate::{Done, Work};
use rota_sdk::prelude::*;
use rota_sdk_index::{Build, Index, Leftover};

/// The step that keeps what was there before.
const LOOK: &str = "look at the table";

impl Work {
    pub(crate) async fn all(&mut self) -> Result<()> {
        let indexes = Index::on_table(&mut self.watcher, self.table.oid).await?;
        let before = self.before(&indexes).await?;
        self.data.name.clone_from(&before.name);
        let name = self.worker.quote_name(&before.name).await?;
        let statement = self.spec.statement(&name, &self.table.quoted)?;
        self.data.statement = statement.to_string();

        if let Some(equal) = indexes.iter().find(|index| index.whole() && self.spec.describes(index)) {
            self.there(equal, &before);
            return Ok(());
        }
        self.invalid_equals(&indexes, &before);
        self.make_room(&indexes, &before).await?;
        self.refuse_holders()?;
        if self.spec.unique {
            self.refuse_duplicates().await?;
        }
        if let Some(memory) = self.parameters.maintenance_work_mem.clone() {
            self.worker.configure("maintenance_work_mem", memory).await?;
        }
        let leftover = Leftover {
            table: self.table.oid,
            name: before.name.clone(),
            rebuilds: None,
            before: before.indexes.clone(),
        };
        self.cx.undo("drop the index if its build is cut off", &leftover).await?;
        if self.cx.is_plan() {
            self.worker.execute(statement, params![]).await?;
            self.data.done = Done::Planned;
            self.planned();
            return Ok(());
        }
        let built = Build {
            cx: &self.cx,
            worker: &mut self.worker,
            watcher: &mut self.watcher,
            budget_seconds: self.parameters.budget_seconds,
            what: name.as_str(),
        }
        .run(statement)
        .await?;
        self.data.seconds = built.seconds;
        self.data.waited_for = built.waited_for;
        if let Some(error) = built.error {
            return Err(self.failed(error, &leftover).await);
        }
        self.prove(&before).await
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
            return Err(conflict(format!("the name is taken: {} is {what}", taken.quoted), "give it another `name`"));
        };
        if index.valid {
            return Err(conflict(
                format!("the name is taken by another index: {}", index.definition),
                "give it another `name`, or drop that index first",
            ));
        }
        let ours = !before.indexes.contains(&index.oid);
        if !ours {
            if let Some(pid) = index.builder {
                return Err(conflict(format!("{} is being built by pid {pid}", index.quoted), "wait for it"));
            }
            self.invalid(index);
            if !self.parameters.replace_invalid {
                return Err(conflict(
                    format!(
                        "{} is there and INVALID: a build of it was cut off. IF NOT EXISTS would call that success",
                        index.quoted
                    ),
                    "run it again with replace_invalid=true, which drops it first",
                ));
            }
        }
        // By the rules for what a build left, with this one not counted as there before.
        let rest: Vec<i64> = before.indexes.iter().copied().filter(|oid| *oid != index.oid).collect();
        let leftover = Leftover { table: self.table.oid, name: before.name.clone(), rebuilds: None, before: rest };
        let gone = leftover.clear(&self.cx, &mut self.worker).await?;
        self.data.removed.extend(gone);
        if !self.cx.is_plan()
            && let Some(still) = Index::by_oid(&mut self.watcher, index.oid).await?
        {
            // It became valid while it was waited for.
            return Err(conflict(format!("{} is there and {}", still.quoted, still.state()), "run this again"));
        }
        Ok(())
    }

    fn refuse_holders(&mut self) -> Result<()> {
        let limit = self.parameters.holder_seconds;
        rota_sdk_index::holders::report(&self.data.holders, limit, &mut self.report);
        let Some(oldest) = self.data.holders.iter().find(|holder| holder.seconds >= limit) else { return Ok(()) };
        if self.cx.is_plan() || self.parameters.wait_for_holders {
            return Ok(());
        }
        Err(conflict(
            format!(
                "{} would hold the build up, and the index would be INVALID meanwhile. Nothing was begun",
                oldest.told()
            ),
            "end that transaction, or run this with wait_for_holders=true",
        ))
    }

    async fn refuse_duplicates(&mut self) -> Result<()> {
        let found = self.duplicates().await?;
        let (keys, rows) = (found.keys, found.rows);
        self.data.duplicates = Some(found);
        if keys == 0 {
            return Ok(());
        }
        self.show_duplicates();
        if self.cx.is_plan() {
            return Ok(());
        }
        Err(conflict(
            format!(
                "{keys} keys occur more than once ({rows} rows too many), so no unique index can be built. Nothing was begun"
            ),
            "remove or change those rows first; the report shows some",
        ))
    }

    /// The server ended the build with an error: drop what is left of it, and say why.
    async fn failed(&mut self, error: Error, leftover: &Leftover) -> Error {
        match leftover.clear(&self.cx, &mut self.worker).await {
            Ok(gone) => self.data.removed.extend(gone),
            Err(problem) => {
                self.report
                    .critical(format!("{} is left INVALID for now", self.data.name))
                    .because(&problem)
                    .advice("The run's undo tries again to drop it; if that fails too: DROP INDEX CONCURRENTLY");
            }
        }
        let name = self.data.name.clone();
        if error.code() == Some("23505") {
            // Rows that came while it was built.
            if let Ok(found) = self.duplicates().await {
                self.data.duplicates = Some(found);
                self.show_duplicates();
            }
            return error
                .context(format!("building {name}"))
                .hint("rows with equal keys were written meanwhile; remove them and run this again");
        }
        if error.is_timed_out() {
            let waited =
                self.data.waited_for.last().map_or_else(String::new, |who| format!("; it last waited for {who}"));
            return error
                .context(format!("building {name} (cut off after {:.0} s{waited})", self.data.seconds))
                .hint("give it more budget_seconds and the run a longer timeout, or end who held it up");
        }
        error.context(format!("building {name}"))
    }

    /// Believe only the catalog.
    async fn prove(&mut self, before: &Before) -> Result<()> {
        let all = Index::on_table(&mut self.watcher, self.table.oid).await?;
        let Some(index) = all.iter().find(|index| index.name == before.name && !before.indexes.contains(&index.oid))
        else {
            return Err(Error::new(format!("the server said that it built {}, and it is not there", before.name))
                .hint("somebody dropped or renamed it meanwhile"));
        };
        if !index.whole() {
            return Err(Error::new(format!(
                "the server said that it built {}, and it is {}",
                index.quoted,
                index.state()
            )));
        }
        self.built(index, &all);
        Ok(())
    }
}

fn conflict(what: String, hint: &str) -> Error {
    Error::from(rota_sdk::HostError::Conflict(what)).hint(hint)
}
