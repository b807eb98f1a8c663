//! What the tab key offers.

use super::command::COMMANDS;
use super::split::is_sql;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the tab key waits for names that are not known yet.
const WAIT: Duration = Duration::from_secs(2);
/// How many names are offered.
const OFFERED: usize = 200;

/// Names behind a slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Tables with their columns.
    tables: Vec<(String, Vec<String>)>,
    functions: Vec<String>,
}

impl Names {
    /// As the session's guest says them.
    pub(super) fn of(said: &Value) -> Self {
        let texts = |value: &Value| -> Vec<String> {
            // What a terminal would obey is no name that anybody types.
            let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.filter(|text| !text.contains(char::is_control)).map(str::to_owned).collect()
        };
        let tables = said["tables"].as_array().into_iter().flatten();
        let tables = tables.filter_map(|table| Some((table["name"].as_str()?.to_owned(), texts(&table["columns"]))));
        Self {
            tables: tables.filter(|(name, _)| !name.contains(char::is_control)).collect(),
            functions: texts(&said["functions"]),
        }
    }
}

/// A wish to know the names behind a slot.
pub(super) type Look = (String, std::sync::mpsc::SyncSender<Names>);

/// What is known for completion, shared by the prompt and the session.
#[derive(Clone)]
pub(super) struct Assist {
    shared: Arc<Mutex<Known>>,
    looks: mpsc::UnboundedSender<Look>,
}

#[derive(Default)]
struct Known {
    /// Slot and capability of what is bound, and what may be granted.
    slots: Vec<(String, String, Vec<String>)>,
    sql_slot: String,
    names: BTreeMap<String, Names>,
}

/// What scripts find, by the capability that it is there with.
const OBJECTS: [(&str, &str, &[&str]); 5] = [
    (
        "db",
        "sql",
        &[
            "query(",
            "execute(",
            "transaction(",
            "session(",
            "openDatabase(",
            "promote(",
            "reloadConfiguration()",
            "notices()",
            "isBound",
        ],
    ),
    (
        "cache",
        "cache",
        &[
            "get(",
            "getBytes(",
            "set(",
            "ttl(",
            "expire(",
            "unlink(",
            "unlinkMatching(",
            "scan(",
            "hashGet(",
            "hashEntries(",
            "hashSet(",
            "hashDelete(",
            "usage(",
            "keyspace()",
            "info()",
            "monitor(",
            "isBound",
        ],
    ),
    ("bucket", "storage", &["get(", "getText(", "put(", "stat(", "list(", "delete(", "isBound"]),
    (
        "cluster",
        "kubernetes",
        &[
            "namespace()",
            "get(",
            "list(",
            "watch(",
            "require(",
            "lock(",
            "create(",
            "patch(",
            "delete(",
            "scale(",
            "restart(",
            "rollout(",
            "logs(",
            "exec(",
            "isBound",
        ],
    ),
    ("stream", "jetstream", &["streams()", "consumers(", "monitoring()", "isBound"]),
];
/// What every script has.
const GLOBALS: [&str; 17] = [
    "print(",
    "table(",
    "report",
    "step(",
    "compensate(",
    "sleep(",
    "args",
    "artifact(",
    "progress(",
    "isPlan",
    "runId",
    "slots",
    "await ",
    "const ",
    "for await (const ",
    "console",
    "function ",
];
const REPORT: [&str; 7] = ["ok(", "warning(", "critical(", "unknown(", "summary(", "data(", "metric("];
/// Words of SQL.
const WORDS: [&str; 56] = [
    "select",
    "from",
    "where",
    "group by",
    "order by",
    "having",
    "limit",
    "offset",
    "join",
    "left join",
    "inner join",
    "on",
    "using",
    "and",
    "or",
    "not",
    "null",
    "is",
    "in",
    "exists",
    "between",
    "like",
    "ilike",
    "as",
    "distinct",
    "case",
    "when",
    "then",
    "else",
    "end",
    "union all",
    "insert into",
    "values",
    "update",
    "set",
    "delete from",
    "returning",
    "with",
    "create",
    "alter",
    "drop",
    "table",
    "index",
    "begin",
    "commit",
    "rollback",
    "explain",
    "analyze",
    "vacuum",
    "count(",
    "sum(",
    "min(",
    "max(",
    "coalesce(",
    "now()",
    "interval",
];

impl Assist {
    /// With whom to ask for names.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Look>) {
        let (looks, asked) = mpsc::unbounded_channel();
        (Self { shared: Arc::default(), looks }, asked)
    }

    /// What is bound now.
    pub(super) fn bound(&self, slots: Vec<(String, String, Vec<String>)>, sql_slot: &str) {
        let mut known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        known.slots = slots;
        known.sql_slot = sql_slot.to_owned();
    }

    /// Names may have changed.
    pub(super) fn forget(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).names.clear();
    }

    /// Where the word begins that is completed, and what it may become.
    pub(super) fn complete(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let before = &line[..at];
        if let Some(command) = before.trim_start().strip_prefix('\\') {
            return self.command(before, command);
        }
        let from = before
            .rfind(|c: char| !(c.is_alphanumeric() || "_.$".contains(c)))
            .map_or(0, |place| place + before[place..].chars().next().map_or(1, char::len_utf8));
        let word = &before[from..];
        let in_text = before.matches(['"', '\'', '`']).count() % 2 == 1;
        let sql =
            is_sql(before) || in_text || (from == before.len() - before.trim_start().len() && is_start_of_sql(word));
        let mut all = if sql { self.sql(line, word) } else { Vec::new() };
        if !is_sql(before) && !in_text {
            all.extend(self.javascript(word));
        }
        let lower = word.to_lowercase();
        let mut fits: Vec<String> = all.into_iter().filter(|name| name.to_lowercase().starts_with(&lower)).collect();
        fits.dedup();
        fits.truncate(OFFERED);
        (from, fits)
    }

    fn command(&self, before: &str, command: &str) -> (usize, Vec<String>) {
        let known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, rest)) = command.split_once(' ') else {
            let from = before.len() - command.len();
            let names = COMMANDS.iter().map(|(name, ..)| *name).filter(|name| name.starts_with(command));
            return (from, names.map(str::to_owned).collect());
        };
        let from = before.rfind([' ', ',', '=']).map_or(0, |place| place + 1);
        let word = &before[from..];
        let words: Vec<String> = match name {
            "plan" | "timing" | "history" => vec!["on".into(), "off".into()],
            "use" => known.slots.iter().filter(|(_, kind, _)| kind == "sql").map(|(slot, ..)| slot.clone()).collect(),
            "grant" => match rest.trim_start().split_once('=') {
                None => known.slots.iter().map(|(slot, ..)| format!("{slot}=")).collect(),
                Some((slot, _)) => {
                    known.slots.iter().filter(|(name, ..)| name == slot).flat_map(|(.., more)| more.clone()).collect()
                }
            },
            _ => Vec::new(),
        };
        (from, words.into_iter().filter(|name| name.starts_with(word)).collect())
    }

    fn javascript(&self, word: &str) -> Vec<String> {
        let known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let there: Vec<(String, &[&str])> = OBJECTS
            .iter()
            .filter(|(_, kind, _)| known.slots.iter().any(|(_, bound, _)| bound == kind))
            .map(|(name, _, methods)| ((*name).to_owned(), *methods))
            .chain(
                known
                    .slots
                    .iter()
                    .filter(|(slot, ..)| slot == "standby")
                    .map(|(slot, ..)| (slot.clone(), OBJECTS[0].2)),
            )
            .chain(std::iter::once(("report".to_owned(), &REPORT[..])))
            .collect();
        match word.rsplit_once('.') {
            Some((object, _)) => there
                .iter()
                .filter(|(name, _)| name == object)
                .flat_map(|(name, methods)| methods.iter().map(move |method| format!("{name}.{method}")))
                .collect(),
            None => {
                let names = there.iter().map(|(name, _)| name.clone()).filter(|name| name != "report");
                names.chain(GLOBALS.iter().map(|name| (*name).to_owned())).collect()
            }
        }
    }

    fn sql(&self, line: &str, word: &str) -> Vec<String> {
        let names = self.names();
        // Tables that the statement names come with their columns.
        let named: Vec<&(String, Vec<String>)> =
            names.tables.iter().filter(|(name, _)| has_word(line, name) && !name.starts_with("pg_catalog.")).collect();
        if let Some((of, _)) = word.rsplit_once('.') {
            let columns = |(name, columns): &(String, Vec<String>)| {
                let owner = name == of;
                columns.iter().filter(move |_| owner).map(|column| format!("{of}.{column}")).collect::<Vec<_>>()
            };
            let mut all: Vec<String> = names.tables.iter().flat_map(columns).collect();
            if all.is_empty() {
                // An alias, perhaps: any column of the tables that are named.
                all = named.iter().flat_map(|(_, columns)| columns.iter().map(|it| format!("{of}.{it}"))).collect();
            }
            all.extend(names.tables.iter().map(|(name, _)| name.clone()));
            return all;
        }
        let mut all: Vec<String> = named.iter().flat_map(|(_, columns)| columns.clone()).collect();
        all.extend(names.tables.iter().map(|(name, _)| name.clone()));
        all.extend(names.functions.iter().map(|name| format!("{name}(")));
        all.extend(WORDS.iter().map(|word| (*word).to_owned()));
        all.sort_by_key(|name| name.starts_with("pg_catalog."));
        all
    }

    /// The names behind the slot that SQL runs on; asked for where they are not known.
    fn names(&self) -> Names {
        let slot = {
            let known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(names) = known.names.get(&known.sql_slot) {
                return names.clone();
            }
            if !known.slots.iter().any(|(slot, ..)| *slot == known.sql_slot) {
                return Names::default();
            }
            known.sql_slot.clone()
        };
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        if self.looks.send((slot.clone(), tell)).is_err() {
            return Names::default();
        }
        // Who is not answered in time offers what is known anyway, and has the names at the next press.
        let names = told.recv_timeout(WAIT).unwrap_or_default();
        if !names.tables.is_empty() {
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).names.insert(slot, names.clone());
        }
        names
    }
}

fn is_start_of_sql(word: &str) -> bool {
    !word.is_empty() && WORDS.iter().any(|known| known.starts_with(&word.to_lowercase()))
}

fn has_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].ends_with(is_part) && !line[at + name.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::{Assist, Names};
    use serde_json::json;

    fn assist() -> Assist {
        let (assist, mut looks) = Assist::new();
        let slots = vec![
            ("database".to_owned(), "sql".to_owned(), vec!["write".to_owned(), "maintain".to_owned()]),
            ("cache".to_owned(), "cache".to_owned(), vec!["write".to_owned()]),
        ];
        assist.bound(slots, "database");
        std::thread::spawn(move || {
            while let Some((slot, tell)) = looks.blocking_recv() {
                assert_eq!(slot, "database");
                let said = json!({ "tables": [{ "name": "orders", "columns": ["id", "total"] }, { "name": "evil\u{1b}[2J", "columns": [] }, { "name": "shop.items", "columns": ["sku"] }], "functions": ["order_total"] });
                let _ = tell.send(Names::of(&said));
            }
        });
        assist
    }

    #[test]
    fn the_tab_key_offers_what_may_stand_there() {
        let assist = assist();
        for (line, offered) in [
            ("\\pl", vec!["plan"]),
            ("\\plan o", vec!["on", "off"]),
            ("\\grant da", vec!["database="]),
            ("\\grant database=wr", vec!["write"]),
            ("\\use ", vec!["database"]),
            ("select * from or", vec!["orders", "order_total(", "order by", "or"]),
            ("select to", vec![]),
            ("select orders.t", vec!["orders.total"]),
            ("select sku from shop.it", vec!["shop.items"]),
            ("db.q", vec!["db.query("]),
            ("cache.h", vec!["cache.hashGet(", "cache.hashEntries(", "cache.hashSet(", "cache.hashDelete("]),
            ("bucket.g", vec![]),
            ("report.w", vec!["report.warning("]),
            ("await db.query(\"select id from ord", vec!["orders", "order_total(", "order by"]),
            ("pri", vec!["print("]),
            ("sel", vec!["select"]),
        ] {
            let (from, names) = assist.complete(line, line.len());
            assert_eq!(names, offered, "{line}");
            assert!(from <= line.len());
        }
        // Columns of a table that is named later on the line.
        assert_eq!(assist.complete("select to from orders", 9), (7, vec!["total".to_owned()]));
    }
}
