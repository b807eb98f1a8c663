//! From what was found to what a person reads.

use crate::look::{Column, Seen};
use rota_sdk::prelude::*;
use rota_sdk_index::clear::concurrent_stem;
use rota_sdk_index::create::drop_statement;
use rota_sdk_index::tell;
use rota_sdk_index::vector::{Extension, lists_are_off, most_dimensions};

/// How many the report's tables list; the data has all of them.
const LISTED: usize = 100;

pub(crate) fn indexes(indexes: &[Seen], report: &mut Report) {
    for seen in indexes {
        let index = &seen.index;
        if let Some(pid) = index.builder {
            report.note(format!("{} is being built by pid {pid}", index.quoted));
        } else if !index.whole() {
            invalid(seen, report);
        }
        if let (Some(lists), Some(rows), Some(advised)) = (seen.lists, seen.rows, seen.advised_lists)
            && index.whole()
            && lists_are_off(lists, rows)
        {
            let (few, costs) = if lists < advised {
                ("few", "Each search reads more rows than it should.")
            } else {
                ("many", "A search that looks into the usual share of them misses rows.")
            };
            report
                .warning(format!(
                    "{}: {lists} lists are too {few} for {} rows; {advised} would fit",
                    index.quoted,
                    tell::count(rows)
                ))
                .detail(format!(
                    "{costs} The centers of its lists are those of the rows that were there when it was built."
                ))
                .remedy(
                    "pgvector-reindex",
                    &json!({ "index": index.quoted, "lists": advised }),
                    format!(
                        "Rebuild it with {advised} lists while searches go on, and search with ivfflat.probes = {}",
                        rota_sdk_index::vector::advised_probes(advised)
                    ),
                );
        }
        #[allow(clippy::cast_precision_loss, reason = "a metric")]
        report.metric("index_bytes", &[("index", &index.quoted)], index.bytes as f64);
    }
}

fn invalid(seen: &Seen, report: &mut Report) {
    let index = &seen.index;
    let finding = report
        .critical(format!("{}: {}", index.quoted, index.state()))
        .detail(format!("Its build was cut off: {}", index.definition));
    if concurrent_stem(&index.name).is_some() {
        // What a rebuild left: the index itself is another one.
        finding.remedy(
            "sql-statement",
            &drop_statement(index),
            format!("Drop it: the rest of a rebuild that was cut off. It was made by: {}", index.definition),
        );
    } else {
        finding.remedy(
            "pgvector-reindex",
            &json!({ "index": index.quoted }),
            "Rebuild it while searches go on without it",
        );
    }
}

pub(crate) fn unindexed(columns: &[Column], min_rows: i64, report: &mut Report) {
    for column in columns.iter().filter(|column| column.rows >= min_rows) {
        let Column { table, column: name, type_name, base_type, dimensions, rows } = column;
        let finding = report
            .warning(format!("{table}.{name}: no index on {} vectors", tell::count(*rows)))
            .detail(format!("It is {type_name}. Each search compares all of them, which is exact and slow."));
        if *dimensions < 0 {
            finding.advice(format!(
                "Say its dimensions, ALTER TABLE {table} ALTER COLUMN ... TYPE {base_type}(n), then index it"
            ));
        } else if most_dimensions(if base_type == "vector" { "halfvec" } else { base_type })
            .is_some_and(|most| *dimensions > most)
        {
            finding.advice("More dimensions than any index takes: index a shorter or binary form of it");
        } else {
            finding.remedy("pgvector-index-create", &json!({ "table": table, "column": name }), "Build an HNSW index");
        }
    }
}

pub(crate) fn show(indexes: &[Seen], unindexed: &[Column], report: &mut Report) {
    if !indexes.is_empty() {
        let columns =
            ["index", "table", "method", "state", "type", "rows", "lists or m", "advised lists", "size", "scans"];
        let mut table = report.table("indexes", "Indexes of vectors", columns);
        for seen in indexes.iter().take(LISTED) {
            let index = &seen.index;
            let dimensions = seen.dimensions.map_or_else(String::new, |dimensions| format!("({dimensions})"));
            table.row(cells![
                &index.quoted,
                &index.table,
                &index.method,
                index.state(),
                format!("{}{dimensions}", seen.vector_type),
                seen.rows,
                seen.lists.or(seen.m),
                seen.advised_lists,
                Bytes(index.bytes.unsigned_abs()),
                index.scans
            ]);
        }
    }
    if !unindexed.is_empty() {
        let mut table =
            report.table("unindexed", "Columns of vectors without an index", ["table", "column", "type", "rows"]);
        for column in unindexed.iter().take(LISTED) {
            table.row(cells![
                &column.table,
                &column.column,
                &column.type_name,
                (column.rows >= 0).then_some(column.rows)
            ]);
        }
    }
}

pub(crate) fn summary(extension: &Extension, indexes: &[Seen], unindexed: &[Column]) -> String {
    let bad = indexes.iter().filter(|seen| !seen.index.whole()).count();
    let invalid = if bad == 0 { String::new() } else { format!(", {bad} of them INVALID") };
    let plural = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    format!(
        "pgvector {}: {}{invalid}; {} without one",
        extension.version,
        plural(indexes.len(), "index", "indexes"),
        plural(unindexed.len(), "column of vectors", "columns of vectors")
    )
}
