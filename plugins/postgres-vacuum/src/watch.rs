//! How far a vacuum is, seen from a second session.

use crate::Context;
use rota_sdk::prelude::*;
use std::cell::Cell;
use std::time::Duration;

/// How far the whole run is, in pages.
pub(crate) struct Progress {
    /// Pages of the tables that are done.
    pub(crate) done: u64,
    /// Pages of the table under way, as far as the catalog knows: 0 where it was never vacuumed or analysed.
    pub(crate) current: u64,
    /// Pages of the tables whose turn is still to come.
    pub(crate) ahead: u64,
}

impl Progress {
    /// The next table's turn begins.
    pub(crate) fn begin(&mut self, pages: u64) {
        self.ahead -= pages.min(self.ahead);
        self.current = pages;
    }

    /// Its turn is over.
    pub(crate) fn end(&mut self) {
        self.done += self.current;
        self.current = 0;
    }
}

/// What `pg_stat_progress_vacuum` says.
#[derive(FromRow)]
struct Seen {
    phase: Option<String>,
    pages: Option<i64>,
    scanned: Option<i64>,
    index_rounds: Option<i64>,
    /// Since PostgreSQL 17.
    indexes_total: Option<i64>,
    indexes_processed: Option<i64>,
}

// Through JSON, because versions before 17 lack the last two and name others differently.
const STATEMENT: &str = "\
    select p.phase, p.heap_blks_total as pages, p.heap_blks_scanned as scanned, p.index_vacuum_count as index_rounds, \
           (to_jsonb(p) ->> 'indexes_total')::int8 as indexes_total, (to_jsonb(p) ->> 'indexes_processed')::int8 as indexes_processed \
    from pg_catalog.pg_stat_progress_vacuum p where p.pid = $1::int4";

/// The first pause between two looks; short, because most vacuums are.
const FIRST: Duration = Duration::from_millis(2);
/// The longest one.
const LONGEST: Duration = Duration::from_millis(500);

/// Look again and again until the vacuum is done. Nobody is told of a look that fails: the vacuum goes on without being watched.
pub(crate) async fn watch(
    cx: &Context,
    session: &mut Session,
    worker: u32,
    table: &Quoted,
    progress: &mut Progress,
    done: &Cell<bool>,
) {
    let mut pause = FIRST;
    while !done.get() {
        if cx.sleep(pause).await.is_err() {
            return;
        }
        pause = (pause * 3 / 2).min(LONGEST);
        let Ok(seen) = session.query_optional::<Seen>(STATEMENT, params![i64::from(worker)]).await else { return };
        if let Some(seen) = seen {
            let count = |pages: Option<i64>| u64::try_from(pages.unwrap_or(0)).unwrap_or(0);
            progress.current = progress.current.max(count(seen.pages));
            let scanned = count(seen.scanned).min(progress.current);
            let total = progress.done + progress.current + progress.ahead;
            rota_sdk::progress(progress.done + scanned, Some(total), "pages", format!("{table}: {}", told(&seen)));
        }
    }
}

fn told(seen: &Seen) -> String {
    let phase = seen.phase.as_deref().unwrap_or("working");
    match (seen.indexes_processed, seen.indexes_total) {
        (Some(processed), Some(total)) if total > 0 && phase.contains("index") => {
            format!("{phase}, {processed} of {total}")
        }
        _ => match seen.index_rounds.unwrap_or(0) {
            0 => phase.to_owned(),
            rounds => format!("{phase}, round {}", rounds + 1),
        },
    }
}
