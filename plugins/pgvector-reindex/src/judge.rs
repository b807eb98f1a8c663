//! From what was found and done to what a person reads.

use crate::Done;
use crate::work::Work;
use rota_sdk::prelude::*;
use rota_sdk::text;
use rota_sdk_index::clear::concurrent_stem;
use rota_sdk_index::create::drop_statement;
use rota_sdk_index::vector::advised_probes;
use rota_sdk_index::{Index, Leftover, tell};

impl Work<'_> {
    /// What an earlier rebuild, not of this run, left: it is named and not touched.
    pub(crate) fn others_leftovers(&mut self, now: &[Index], ours: &Leftover) {
        for index in now.iter().filter(|index| {
            !index.valid && index.builder.is_none() && concurrent_stem(&index.name).is_some() && !ours.is(index)
        }) {
            self.report
                .warning(format!("{}: the rest of an earlier rebuild, which every write pays for", index.quoted))
                .remedy(
                    "sql-statement",
                    &drop_statement(index),
                    format!("Drop it. It was made by: {}", index.definition),
                );
        }
    }

    pub(crate) fn planned(&mut self) {
        self.data.done = Done::Planned;
        let (index, set) = (&self.data.before, self.data.set.join(", "));
        let with = if set.is_empty() { "as it is".to_owned() } else { format!("with {set}") };
        let rows = self
            .data
            .rows
            .map_or_else(|| "an unknown number of rows".to_owned(), |rows| format!("about {} rows", tell::count(rows)));
        self.report.summary(format!("would rebuild {} ({rows}, {}), {with}", index.quoted, text::size(index.bytes)));
        for holder in self.data.holders.iter().take(20) {
            self.report.note(format!("{}: the rebuild would wait for this transaction", holder.told()));
        }
    }

    pub(crate) fn rebuilt_report(&mut self, after: &Index) {
        self.data.done = Done::Rebuilt;
        let before = &self.data.before;
        self.report.summary(format!(
            "rebuilt {} in {:.1} s: {} before, {} now, valid; searches used it all the time",
            after.quoted,
            self.data.seconds,
            text::size(before.bytes),
            text::size(after.bytes)
        ));
        if !before.whole() {
            self.report.summary(format!(
                "rebuilt {}, which was INVALID, in {:.1} s: {}, valid",
                after.quoted,
                self.data.seconds,
                text::size(after.bytes)
            ));
        }
        if let Some(lists) =
            crate::options::value(after, crate::options::Name::Lists).filter(|_| !self.data.set.is_empty())
        {
            self.report.note(format!("{}: search with ivfflat.probes = {}", after.quoted, advised_probes(lists)));
        }
        let mut table = self.report.table("index", "The index", ["when", "options", "size", "state"]);
        for (when, index) in [("before", before), ("after", after)] {
            table.row(cells![when, index.options.join(", "), Bytes(index.bytes.unsigned_abs()), index.state()]);
        }
        #[allow(clippy::cast_precision_loss, reason = "a metric")]
        self.report.metric("index_bytes", &[("index", &after.quoted)], after.bytes as f64);
        self.data.after = Some(after.clone());
    }
}
