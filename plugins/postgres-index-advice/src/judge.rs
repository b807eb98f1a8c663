//! From what was seen to what a person reads.

use crate::Parameters;
use crate::look::{ForeignKey, Locked, Looked, Scanned};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::text;
use rota_sdk_index::create::drop_statement;
use rota_sdk_index::{Index, tell};

/// An index that nobody used.
#[data]
pub(crate) struct Unused {
    /// The index, with the statement that brings it back.
    pub(crate) index: Index,
    /// Whether the statistics are old enough to advise that it be dropped.
    pub(crate) drop_advised: bool,
}

/// An index that another makes superfluous.
#[data]
pub(crate) struct Superfluous {
    /// The index, with the statement that brings it back.
    pub(crate) index: Index,
    /// The one that stays.
    pub(crate) because_of: String,
    /// Whether both are equal; if not, the other begins with the same keys.
    pub(crate) equal: bool,
}

/// How old a server's statistics are, in days: since they were reset, or since it was started where nobody ever did (a standby's, and those after a crash, begin there).
pub(crate) fn days(server: &Server, now: Timestamp) -> Option<f64> {
    let since = match (server.statistics_since, server.started_at) {
        (Some(reset), _) => reset,
        (None, Some(started)) => started,
        (None, None) => return None,
    };
    Some(now.seconds_since(since) / 86_400.0)
}

pub(crate) struct Advice<'a> {
    pub(crate) parameters: &'a Parameters,
    pub(crate) looked: &'a Looked,
    pub(crate) days: Option<f64>,
    /// Standbys whose statistics are not among those that were added up.
    pub(crate) unseen: i64,
    pub(crate) report: &'a mut Report,
}

impl Advice<'_> {
    /// Whether the statistics can speak of use.
    pub(crate) fn old_enough(&mut self) -> bool {
        let enough = self.days.is_some_and(|days| days >= self.parameters.min_days);
        if !enough {
            let age = self.days.map_or_else(|| "of unknown age".to_owned(), |days| format!("{days:.1} days old"));
            self.report
                .unknown(format!("the statistics are {age}: nothing can be said of use"))
                .detail(format!("They must be at least {} days old. What does not hang on use (INVALID and equal indexes, foreign keys) is below.", self.parameters.min_days));
        }
        enough
    }

    pub(crate) fn invalid(&mut self) -> Vec<Index> {
        let invalid: Vec<Index> =
            self.looked.indexes.iter().filter(|index| !index.whole() && index.builder.is_none()).cloned().collect();
        for index in &invalid {
            self.report
                .critical(format!("{}: {}", index.quoted, index.state()))
                .detail("A build of it was cut off.")
                .remedy(
                    "sql-statement",
                    &drop_statement(index),
                    format!(
                        "Drop it, then build it anew with postgres-index-create. It was made by: {}",
                        index.definition
                    ),
                );
        }
        invalid
    }

    /// Whether an index is more than a way to find rows.
    fn bound(&self, index: &Index) -> bool {
        index.unique
            || index.constraint.is_some()
            || index.replica_identity
            || self.looked.attached.contains(&index.oid)
    }

    /// Equal ones, and those whose keys another begins with.
    pub(crate) fn superfluous(&mut self) -> Vec<Superfluous> {
        let mut found: Vec<Superfluous> = Vec::new();
        let all: Vec<&Index> = self.looked.indexes.iter().filter(|index| index.whole()).collect();
        for index in &all {
            // The index of a partitioned table has no size of its own, and is not dropped concurrently.
            let partitioned = index.bytes == 0;
            if partitioned
                || index.constraint.is_some()
                || index.replica_identity
                || self.looked.attached.contains(&index.oid)
            {
                continue;
            }
            let stays = |other: &Index| !found.iter().any(|gone| gone.index.oid == other.oid);
            let by = all.iter().filter(|other| stays(other)).find_map(|other| {
                // Of two equal ones, the one that carries a constraint stays, else the older.
                if index.equals(other)
                    && (other.constraint.is_some() || other.replica_identity || other.oid < index.oid)
                {
                    return Some((other.quoted.clone(), true));
                }
                (!self.bound(index) && begins_with(other, index)).then(|| (other.quoted.clone(), false))
            });
            if let Some((because_of, equal)) = by {
                found.push(Superfluous { index: (*index).clone(), because_of, equal });
            }
        }
        for Superfluous { index, because_of, equal } in &found {
            let what = if *equal { "is equal to" } else { "has the first keys of" };
            self.report
                .warning(format!(
                    "{} {what} {because_of}: {} that every write pays for",
                    index.quoted,
                    text::size(index.bytes)
                ))
                .detail(index.definition.clone())
                .remedy(
                    "sql-statement",
                    &drop_statement(index),
                    format!("Drop it. To have it back: {}", index.definition),
                );
        }
        found
    }

    pub(crate) fn unused(&mut self, superfluous: &[Superfluous]) -> Vec<Unused> {
        let Some(days) = self.days.filter(|days| *days >= self.parameters.min_days) else { return Vec::new() };
        let candidates = self.looked.indexes.iter().filter(|index| {
            index.whole()
                && index.scans == 0
                && index.bytes >= self.parameters.min_index_bytes
                && !self.bound(index)
                && !self.looked.covers.contains(&index.oid)
                && !superfluous.iter().any(|other| other.index.oid == index.oid)
        });
        let candidates: Vec<Index> = candidates.cloned().collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        if self.unseen > 0 {
            self.report
                .unknown(format!("{} indexes were not used here, and {} standbys were not asked", candidates.len(), self.unseen))
                .detail("Queries on a standby count there only. Bind it to the slot `standby`; where there are several, look at each.");
            return Vec::new();
        }
        let advised = days >= self.parameters.min_days_to_drop;
        for index in &candidates {
            let title = format!("{}: not used for {days:.0} days, {}", index.quoted, text::size(index.bytes));
            if advised {
                self.report.warning(title).detail(index.definition.clone()).remedy(
                    "sql-statement",
                    &drop_statement(index),
                    format!("Drop it. To have it back: {}", index.definition),
                );
            } else {
                let more = self.parameters.min_days_to_drop;
                self.report.note(title).detail(format!(
                    "{}. To drop it is advised when the statistics are {more} days old.",
                    index.definition
                ));
            }
        }
        candidates.into_iter().map(|index| Unused { index, drop_advised: advised }).collect()
    }

    pub(crate) fn foreign_keys(&mut self) -> Vec<ForeignKey> {
        let found: Vec<ForeignKey> =
            self.looked.foreign_keys.iter().filter(|key| key.rows >= self.parameters.min_rows).cloned().collect();
        for key in &found {
            let finding = self
                .report
                .warning(format!(
                    "{}: no index on ({}), the foreign key {}",
                    key.table,
                    key.columns.join(", "),
                    key.name
                ))
                .detail(format!(
                    "Each row that is deleted from {}, or whose key changes there, reads all of the {} rows.",
                    key.refers_to,
                    tell::count(key.rows)
                ));
            if key.kind == "p" {
                finding.advice(
                    "It is partitioned: build one on each partition with postgres-index-create, then attach them",
                );
            } else {
                finding.remedy(
                    "postgres-index-create",
                    &json!({ "table": key.table, "columns": key.columns }),
                    "Build it without locking writers out",
                );
            }
        }
        found
    }

    #[allow(clippy::cast_precision_loss, reason = "shares")]
    pub(crate) fn scanned(&mut self) -> Vec<Scanned> {
        if self.days.is_none_or(|days| days < self.parameters.min_days) {
            return Vec::new();
        }
        let Parameters { min_rows, min_scans, min_share, .. } = *self.parameters;
        let often = |table: &&Scanned| {
            let each = table.seq_rows as f64 / table.seq_scans.max(1) as f64;
            table.rows >= min_rows && table.seq_scans >= min_scans && each >= min_share * table.rows as f64
        };
        let found: Vec<Scanned> = self.looked.tables.iter().filter(often).cloned().collect();
        for table in &found {
            let each = table.seq_rows / table.seq_scans.max(1);
            // No index at all has NULL here, which compares with nothing.
            let beside = table.index_scans.map_or_else(
                || "it has no index at all".to_owned(),
                |scans| format!("an index of it was used {} times", tell::count(scans)),
            );
            self.report
                .warning(format!("{}: read whole {} times, {} rows each time", table.table, tell::count(table.seq_scans), tell::count(each)))
                .detail(format!("It has about {} rows ({}); {beside}.", tell::count(table.rows), text::size(table.bytes)))
                .advice("Look for the conditions of those queries (pg_stat_statements, auto_explain), then build an index on their columns with postgres-index-create");
        }
        found
    }
}

/// Whether another index can stand in for one: the same kind, and its first keys are all of this one's.
fn begins_with(other: &Index, index: &Index) -> bool {
    let first = |list: &[String]| list.get(..index.keys.len()).map(<[String]>::to_vec);
    other.oid != index.oid
        && other.table_oid == index.table_oid
        && index.method == "btree"
        && other.method == "btree"
        && other.keys.len() > index.keys.len()
        && index.included.is_empty()
        && other.predicate == index.predicate
        && first(&other.keys).as_ref() == Some(&index.keys)
        && first(&other.orders).as_ref() == Some(&index.orders)
        && first(&other.class_names).as_ref() == Some(&index.class_names)
        && first(&other.collations).as_ref() == Some(&index.collations)
}

/// What could not be looked at.
pub(crate) fn locked(locked: &[Locked], report: &mut Report) {
    for one in locked {
        report
            .unknown(format!("{} is locked exclusively, and nothing is said of it", one.name))
            .detail(format!("By {}. To look at its size or its indexes would wait behind that.", one.who))
            .remedy("postgres-locks", &json!({}), "Shows who waits for whom");
    }
}
