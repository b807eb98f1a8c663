//! The tables of a backup, with statements for their rows.

use crate::session::Statement;
use std::sync::LazyLock;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Number,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
}
use Kind::{Bytes, Number, Text};

type Columns = &'static [(&'static str, Kind)];

/// A table.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    pub(super) columns: Columns,
    /// The first rows; the argument is how many.
    pub(super) first: Statement,
    /// The rows after a key; the arguments are how many and the key.
    pub(super) next: Statement,
    /// Rows of a JSON array; where the table has bytes, one row, column by column.
    pub(super) insert: Statement,
}

impl Table {
    fn new(name: &'static str, keys: &'static [&'static str], columns: Columns) -> Self {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let order = keys.join(", ");
        let key = (2..keys.len() + 2).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let values = columns.iter().enumerate().map(|(n, (name, kind))| match kind {
            _ if columns.iter().any(|(_, kind)| *kind == Bytes) => format!("${}", n + 1),
            Number => format!("cast(each.value ->> '{name}' as bigint)"),
            Text | Bytes => format!("each.value ->> '{name}'"),
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let from = if columns.iter().any(|(_, kind)| *kind == Bytes) { "" } else { " from @each($1)" };
        Self {
            name,
            keys,
            columns,
            first: Statement::composed(format!("select {names} from rota.{name} order by {order} limit $1")),
            next: Statement::composed(format!(
                "select {names} from rota.{name} where ({order}) > ({key}) order by {order} limit $1"
            )),
            insert: Statement::composed(format!("insert into rota.{name} ({names}) select {values}{from}")),
        }
    }
}

/// All of them. A new column has to be added here, with a default in the schema for backups that are older.
pub(super) static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    vec![
        Table::new("hosts", &["incarnation"], HOSTS),
        Table::new("runs", &["id"], RUNS),
        Table::new("queue", &["run"], QUEUE),
        Table::new("leases", &["run"], LEASES),
        Table::new("held_keys", &["key", "run"], &[("key", Text), ("run", Text)]),
        Table::new("attempts", &["run", "number"], ATTEMPTS),
        Table::new("effects", &["run", "sequence"], EFFECTS),
        Table::new("steps", &["run", "name"], STEPS),
        Table::new("compensations", &["run", "sequence"], COMPENSATIONS),
        Table::new("components", &["digest"], &[("digest", Text), ("content", Bytes), ("kept_at", Number)]),
        Table::new("logs", &["run", "sequence"], LOGS),
        Table::new("artifacts", &["run", "name"], ARTIFACTS),
        Table::new("schedules", &["job"], SCHEDULES),
        Table::new("fires", &["job", "nominal"], FIRES),
        Table::new("team_usage", &["team", "day"], TEAM_USAGE),
        Table::new("team_runs", &["run"], &[("run", Text), ("team", Text), ("day", Number)]),
        Table::new("ended", &["run"], &[("run", Text), ("job", Text), ("state", Text), ("ended_at", Number)]),
    ]
});

const RUNS: Columns = &[
    ("id", Text),
    ("job", Text),
    ("plugin", Text),
    ("version", Text),
    ("digest", Text),
    ("mode", Text),
    ("trigger", Text),
    ("parameters", Text),
    ("grants", Text),
    ("scheduled_for", Number),
    ("labels", Text),
    ("policy", Text),
    ("parent", Text),
    ("not_before", Number),
    ("hold", Text),
    ("created_at", Number),
    ("state", Text),
    ("wait", Text),
    ("due", Number),
    ("attempt", Number),
    ("lease_number", Number),
    ("host", Text),
    ("started_at", Number),
    ("finished_at", Number),
    ("cancel", Text),
    ("pending_end", Text),
    ("report", Text),
    ("error", Text),
    ("dropped_log_lines", Number),
    ("progress", Text),
    ("note", Text),
];

const QUEUE: Columns = &[
    ("run", Text),
    ("job", Text),
    ("priority", Number),
    ("due", Number),
    ("hold", Text),
    ("blocked", Text),
    ("blocked_limit", Number),
    ("host_labels", Text),
    ("keys", Text),
    ("undo", Number),
];

const LEASES: Columns = &[("run", Text), ("job", Text), ("holder", Text), ("number", Number), ("expires", Number)];

const ATTEMPTS: Columns = &[
    ("run", Text),
    ("number", Number),
    ("host", Text),
    ("incarnation", Text),
    ("lease", Number),
    ("started_at", Number),
    ("finished_at", Number),
    ("outcome", Text),
    ("error", Text),
];

const EFFECTS: Columns = &[
    ("run", Text),
    ("sequence", Number),
    ("capability", Text),
    ("operation", Text),
    ("target", Text),
    ("access", Text),
    ("detail", Text),
    ("class", Text),
    ("planned", Number),
    ("started_at", Number),
    ("finished_at", Number),
    ("outcome", Text),
    ("said", Text),
    ("lease", Number),
];

const TEAM_USAGE: Columns =
    &[("team", Text), ("day", Number), ("runs", Number), ("cpu", Number), ("bytes_out", Number), ("effects", Number)];

const STEPS: Columns = &[
    ("run", Text),
    ("name", Text),
    ("attempt", Number),
    ("started_at", Number),
    ("finished_at", Number),
    ("first_effect", Number),
    ("last_effect", Number),
    ("result", Text),
];

const COMPENSATIONS: Columns = &[
    ("run", Text),
    ("sequence", Number),
    ("name", Text),
    ("state", Text),
    ("status", Text),
    ("attempts", Number),
    ("error", Text),
    ("due", Number),
    ("digest", Text),
    ("registered_at", Number),
    ("finished_at", Number),
    ("note", Text),
];

const LOGS: Columns = &[
    ("run", Text),
    ("sequence", Number),
    ("time", Number),
    ("level", Text),
    ("source", Text),
    ("message", Text),
    ("fields", Text),
];

const ARTIFACTS: Columns = &[("run", Text), ("name", Text), ("media_type", Text), ("size", Number), ("sha256", Text)];

const SCHEDULES: Columns = &[
    ("job", Text),
    ("definition", Text),
    ("hash", Text),
    ("version", Number),
    ("decided", Number),
    ("next", Number),
    ("fire_at", Number),
    ("enabled", Number),
    ("paused", Text),
    ("failures", Number),
    ("shard", Number),
];

const FIRES: Columns = &[
    ("job", Text),
    ("nominal", Number),
    ("outcome", Text),
    ("run", Text),
    ("reason", Text),
    ("decided_at", Number),
    ("decided_by", Text),
    ("missed_more", Number),
];

const HOSTS: Columns = &[
    ("incarnation", Text),
    ("name", Text),
    ("version", Text),
    ("labels", Text),
    ("configuration", Text),
    ("capacity", Number),
    ("machine", Text),
    ("boot", Text),
    ("pid_namespace", Text),
    ("pid", Number),
    ("pid_started", Number),
    ("started_at", Number),
    ("seen_at", Number),
    ("lease", Number),
    ("draining", Number),
    ("left_at", Number),
];
