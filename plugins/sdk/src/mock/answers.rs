//! A database that answers what the test says.

use super::stream::{Ending, Stream};
use crate::bindings::rota::runbook::sql::{Column, Notice, ServerInfo, Value};
use crate::{HostError, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The rows of an answer. [`rows!`](crate::rows) makes them.
#[derive(Clone, Debug, Default)]
pub struct MockRows {
    /// The column names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

impl MockRows {
    /// No rows, and no columns.
    pub fn none() -> Self {
        Self::default()
    }

    /// Add the rows of another answer; its column names do not matter.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self
    }
}

/// Rows of an answer: `rows! { ["name", "size"] => ["a", 5_i64], ["b", 6_i64] }`. Values are what can be bound; `None::<String>` is NULL.
#[macro_export]
macro_rules! rows {
    ($columns:ident $(=> $([$($value:expr),* $(,)?]),* $(,)?)?) => {
        $crate::mock::MockRows {
            columns: $columns.iter().map(::std::string::ToString::to_string).collect(),
            rows: ::std::vec![$($(::std::vec![$($crate::sql::ToValue::to_value(&$value)),*]),*)?],
        }
    };
    ([$($column:expr),* $(,)?] $(=> $([$($value:expr),* $(,)?]),* $(,)?)?) => {
        $crate::mock::MockRows {
            columns: ::std::vec![$(::std::string::String::from($column)),*],
            rows: ::std::vec![$($(::std::vec![$($crate::sql::ToValue::to_value(&$value)),*]),*)?],
        }
    };
}

type Answer = Rc<dyn Fn(&[Value]) -> Result<MockRows, HostError>>;
type Done = Rc<dyn Fn(&str, &[Value]) -> Result<u64, HostError>>;

/// The columns, the rows, and how they ended.
pub(super) type Answered = (Vec<Column>, Stream<Vec<Value>>, Ending<u64>);

/// What to answer to a statement that contains a text.
struct Script<A> {
    pattern: String,
    once: bool,
    answer: A,
}

struct Inner {
    server: ServerInfo,
    refuses: Option<HostError>,
    reads: Vec<Script<Answer>>,
    effects: Vec<Script<Done>>,
    copies: BTreeMap<String, (Vec<u8>, u64)>,
    notices: Vec<Notice>,
    settings: Vec<(String, String)>,
    statements: Vec<String>,
}

/// The database in a slot. Clones are the same database.
#[derive(Clone)]
pub struct SqlMock(Rc<RefCell<Inner>>);

impl Default for SqlMock {
    fn default() -> Self {
        let server = ServerInfo {
            version_num: 160_014,
            version: "16.14".to_owned(),
            in_recovery: false,
            system_identifier: Some("7300000000000000001".to_owned()),
            database: "app".to_owned(),
            role: "rota".to_owned(),
        };
        let mock = Self(Rc::new(RefCell::new(Inner {
            server,
            refuses: None,
            reads: Vec::new(),
            effects: Vec::new(),
            copies: BTreeMap::new(),
            notices: Vec::new(),
            settings: Vec::new(),
            statements: Vec::new(),
        })));
        mock.quotes();
        mock
    }
}

/// One spelling for statements and patterns: lower case, single spaces.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// A name as the server's `format('%I')` quotes it (keywords aside).
fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn take<A: Clone>(scripts: &mut Vec<Script<A>>, statement: &str) -> Option<A> {
    let fits = |script: &Script<A>| statement.contains(&script.pattern);
    if let Some(place) = scripts.iter().position(|script| script.once && fits(script)) {
        return Some(scripts.remove(place).answer);
    }
    scripts.iter().rev().find(|script| fits(script)).map(|script| script.answer.clone())
}

impl SqlMock {
    /// The SDK's own quoting statements.
    fn quotes(&self) {
        self.on_with("select format('%I", |values| {
            let names: Vec<String> = values
                .iter()
                .map(|v| if let Value::Text(name) = v { quoted(name) } else { panic!("a name is text") })
                .collect();
            Ok(MockRows { columns: vec!["format".to_owned()], rows: vec![vec![Value::Text(names.join("."))]] })
        });
        // The later answers first: this is the more special one.
        self.on_with("select format('%I', name) from unnest", |values| {
            let Some(Value::Texts(names)) = values.first() else { panic!("quoting needs a list of names") };
            let rows = names.iter().flatten().map(|name| vec![Value::Text(quoted(name))]).collect();
            Ok(MockRows { columns: vec!["format".to_owned()], rows })
        });
    }

    /// Change what the server says of itself: `db.server(|s| s.version_num = 170_002)`.
    pub fn server(&self, change: impl FnOnce(&mut ServerInfo)) -> &Self {
        change(&mut self.0.borrow_mut().server);
        self
    }

    /// Answer what [`crate::postgres::Server::inspect`] asks: when the server started, its clock, since when its statistics count, and whether the
    /// role sees others' sessions.
    pub fn inspected(
        &self,
        started_at: Timestamp,
        now: Timestamp,
        statistics_since: impl Into<Option<Timestamp>>,
        sees_statistics: bool,
    ) -> &Self {
        let columns = ["started_at", "now", "stats_reset", "sees_statistics"];
        let since: Option<Timestamp> = statistics_since.into();
        self.on(
            "select pg_postmaster_start_time() as started_at",
            crate::rows! { columns => [started_at, now, since, sees_statistics] },
        )
    }

    /// Refuse connections.
    pub fn refuses(&self, error: HostError) -> &Self {
        self.0.borrow_mut().refuses = Some(error);
        self
    }

    fn read(&self, pattern: &str, once: bool, answer: Answer) -> &Self {
        self.0.borrow_mut().reads.push(Script { pattern: flat(pattern), once, answer });
        self
    }

    /// Answer every query that contains the pattern (spaces and case aside). The latest such answer wins.
    pub fn on(&self, pattern: &str, rows: MockRows) -> &Self {
        self.read(pattern, false, Rc::new(move |_| Ok(rows.clone())))
    }

    /// Answer one query that contains the pattern, before any [`Self::on`]; several are used up in order.
    pub fn once(&self, pattern: &str, rows: MockRows) -> &Self {
        self.read(pattern, true, Rc::new(move |_| Ok(rows.clone())))
    }

    /// Answer from the parameters.
    pub fn on_with(&self, pattern: &str, answer: impl Fn(&[Value]) -> Result<MockRows, HostError> + 'static) -> &Self {
        self.read(pattern, false, Rc::new(answer))
    }

    /// Fail every query that contains the pattern.
    pub fn fails(&self, pattern: &str, error: HostError) -> &Self {
        self.read(pattern, false, Rc::new(move |_| Err(error.clone())))
    }

    /// Carry out statements that contain the pattern, touching so many rows.
    pub fn on_execute(&self, pattern: &str, touched: u64) -> &Self {
        self.on_execute_with(pattern, move |_, _| Ok(touched))
    }

    /// Carry out statements that contain the pattern by a function of the statement and its parameters. It may change this mock.
    pub fn on_execute_with(
        &self,
        pattern: &str,
        done: impl Fn(&str, &[Value]) -> Result<u64, HostError> + 'static,
    ) -> &Self {
        self.0.borrow_mut().effects.push(Script { pattern: flat(pattern), once: false, answer: Rc::new(done) });
        self
    }

    /// Fail statements that contain the pattern.
    pub fn fails_execute(&self, pattern: &str, error: HostError) -> &Self {
        self.on_execute_with(pattern, move |_, _| Err(error.clone()))
    }

    /// Answer a `COPY ... TO STDOUT` that contains the pattern.
    pub fn on_copy_out(&self, pattern: &str, bytes: impl Into<Vec<u8>>, rows: u64) -> &Self {
        self.0.borrow_mut().copies.insert(flat(pattern), (bytes.into(), rows));
        self
    }

    /// Say something besides answers: `WARNING`, ...
    pub fn notice(&self, severity: &str, message: &str) -> &Self {
        self.0.borrow_mut().notices.push(Notice { severity: severity.to_owned(), message: message.to_owned() });
        self
    }

    /// The settings that the procedure configured, in order.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.0.borrow().settings.clone()
    }

    /// Every statement that came, reads and effects, in order; another database that was opened shows as `\\connect NAME`.
    pub fn statements(&self) -> Vec<String> {
        self.0.borrow().statements.clone()
    }

    pub(super) fn open(&self) -> Result<(), HostError> {
        self.0.borrow().refuses.clone().map_or(Ok(()), Err)
    }

    pub(super) fn opened(&self, database: &str) {
        self.0.borrow_mut().statements.push(format!("\\connect {database}"));
    }

    pub(super) fn info(&self) -> ServerInfo {
        self.0.borrow().server.clone()
    }

    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.0.borrow_mut().notices)
    }

    pub(super) fn set(&self, name: String, value: String) {
        self.0.borrow_mut().settings.push((name, value));
    }

    pub(super) fn query(&self, statement: &str, values: &[Value]) -> Result<Answered, HostError> {
        let statement = flat(statement);
        let answer = {
            let mut inner = self.0.borrow_mut();
            inner.statements.push(statement.clone());
            take(&mut inner.reads, &statement)
        };
        let answer = answer.unwrap_or_else(|| panic!("the mock has no answer to the query: {statement}"));
        let MockRows { columns, rows } = answer(values)?;
        for row in &rows {
            assert_eq!(
                row.len(),
                columns.len(),
                "an answer's row has {} values for the columns {columns:?}",
                row.len()
            );
        }
        let columns = columns.into_iter().map(|name| Column { name, type_name: "text".to_owned() }).collect();
        let count = rows.len() as u64;
        Ok((columns, Stream::whole(rows), Ending::new(Ok(count))))
    }

    pub(super) fn execute(&self, statement: &str, values: &[Value]) -> Result<u64, HostError> {
        let flattened = flat(statement);
        let done = {
            let mut inner = self.0.borrow_mut();
            inner.statements.push(flattened.clone());
            take(&mut inner.effects, &flattened)
        };
        let done = done.unwrap_or_else(|| panic!("the mock has no answer to the statement: {flattened}"));
        done(statement, values)
    }

    pub(super) fn copy_out(&self, statement: &str) -> (Vec<u8>, u64) {
        let statement = flat(statement);
        let inner = self.0.borrow();
        let found = inner.copies.iter().find(|(pattern, _)| statement.contains(pattern.as_str()));
        found.unwrap_or_else(|| panic!("the mock has no answer to the copy: {statement}")).1.clone()
    }
}

/// The access that a statement needs, by its first words.
pub(super) fn access(statement: &str) -> &'static str {
    let statement = flat(statement);
    let mut words = statement.split(|c: char| !c.is_alphanumeric());
    match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
        ("select" | "with" | "show" | "explain" | "values" | "table", _) => "read",
        ("vacuum" | "analyze" | "cluster" | "reindex" | "checkpoint", _) => "maintain",
        ("create" | "drop" | "alter", "index" | "unique") => "index",
        ("alter", "system") => "alter-system",
        ("create" | "drop" | "alter" | "comment" | "grant" | "revoke", _) => "ddl",
        _ => "write",
    }
}
