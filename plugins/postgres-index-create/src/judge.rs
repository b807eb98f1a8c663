//! From what was found and done to what a person reads.

use crate::name::Before;
use crate::{Done, Work};
use rota_sdk::prelude::*;
use rota_sdk_index::{Index, tell};

impl Work {
    /// An equal index is there: nothing to do, or an earlier attempt of this run did it.
    pub(crate) fn there(&mut self, index: &Index, before: &Before) {
        if before.indexes.contains(&index.oid) {
            self.data.done = Done::AlreadyThere;
            self.report.summary(format!("{} is there already, and valid: nothing to do", index.quoted));
            if self.parameters.name.as_ref().is_some_and(|name| *name != index.name) {
                self.report
                    .note(format!("{}: equal to the index that was asked for, under another name", index.quoted))
                    .detail(format!("{}. A second one would cost every write and serve no query.", index.definition));
            }
        } else {
            self.data.done = Done::Built;
            self.report.summary(format!("{} was built by an earlier attempt of this run, and is valid", index.quoted));
        }
        self.show(index);
    }

    pub(crate) fn built(&mut self, index: &Index, all: &[Index]) {
        self.data.done = Done::Built;
        let size = tell::bytes(index.bytes);
        self.report.summary(format!("built {} in {:.1} s: {size}, valid", index.quoted, self.data.seconds));
        if let Some(other) = all.iter().find(|other| other.whole() && other.equals(index)) {
            self.report
                .warning(format!("{} is equal to {}", index.quoted, other.quoted))
                .detail(format!("{}. Each costs every write; one is enough.", other.definition))
                .remedy(
                    "sql-statement",
                    &json!({ "statement": format!("DROP INDEX CONCURRENTLY {}", index.quoted) }),
                    format!("Drop the new one. To have it back: {}", index.definition),
                );
        }
        if self.spec.elements.iter().any(|element| element.column.is_none()) {
            self.report
                .note(format!("{}: the planner knows the expression's values after the next ANALYZE", index.quoted))
                .remedy("postgres-vacuum", &json!({ "tables": [self.data.table] }), "Vacuum and analyse the table now");
        }
        self.show(index);
    }

    fn show(&mut self, index: &Index) {
        let mut table = self.report.table("index", "The index", ["index", "definition", "state", "size"]);
        table.row(cells![&index.quoted, &index.definition, index.state(), Bytes(index.bytes.unsigned_abs())]);
        #[allow(clippy::cast_precision_loss, reason = "a metric")]
        self.report.metric("index_bytes", &[("index", &index.quoted)], index.bytes as f64);
        self.data.index = Some(index.clone());
    }

    pub(crate) fn planned(&mut self) {
        let rows = self.table.about_rows();
        self.report.summary(format!(
            "would build {} on {} ({rows}, {})",
            self.data.name,
            self.data.table,
            tell::bytes(self.table.bytes)
        ));
        self.report
            .note(format!("{}: writers go on while it is built; the table is read twice", self.data.table))
            .detail(self.data.statement.clone());
        for holder in self.data.holders.iter().take(20) {
            self.report.note(format!("{}: the build would wait for this transaction", holder.told()));
        }
    }

    /// The INVALID index that has the name.
    pub(crate) fn invalid(&mut self, index: &Index) {
        self.report
            .critical(format!("{}: {}", index.quoted, index.state()))
            .detail(format!("A build of it was cut off: {}", index.definition))
            .advice("Run this with replace_invalid=true, which drops it and builds it anew");
    }

    /// Equal ones under other names that are INVALID: no use, and every write pays for them.
    pub(crate) fn invalid_equals(&mut self, indexes: &[Index], before: &Before) {
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
                    &json!({ "statement": format!("DROP INDEX CONCURRENTLY {}", index.quoted) }),
                    format!("Drop it. It was made by: {}", index.definition),
                );
        }
    }

    pub(crate) fn show_duplicates(&mut self) {
        let Some(found) = self.data.duplicates.as_ref().filter(|found| found.keys > 0) else { return };
        self.report
            .critical(format!("{}: {} keys occur more than once", self.data.table, tell::count(found.keys)))
            .detail(format!(
                "{} rows would have to go or change before a unique index can be built.",
                tell::count(found.rows)
            ))
            .advice("Remove or change those rows, then run this again");
        if !found.shown.is_empty() {
            let mut table = self.report.table("duplicates", "Keys that occur more than once", ["key", "rows"]);
            for Key { key, rows } in &found.shown {
                table.row(cells![key, *rows]);
            }
        }
    }
}

use crate::duplicates::Key;
