//! A configuration as it was written: values that remember where they stand, before they mean anything.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problem;
use crate::source::{SourceId, Sources};

/// Where a key or value was written.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) source: SourceId,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// From an environment variable, which does not say what type it is.
    Untyped(String),
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Kept as text; nothing here has that type, but a plugin's parameters may.
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys with their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table(
    /// In the order of the keys, each once. A map would take room for eleven entries where most tables have two.
    Vec<(String, Entry)>,
);

impl Table {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, Entry)> {
        self.0.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(self.find(key).ok()?).map(|(_, entry)| entry)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, entry)| entry)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Puts an entry in, instead of one that is there. Of many, each moves those after it: [`merge`] sorts once.
    pub(crate) fn insert(&mut self, key: String, entry: Entry) {
        match self.find(&key) {
            Ok(at) => self.0[at].1 = entry,
            Err(at) => self.0.insert(at, (key, entry)),
        }
    }

    /// The entry of a key, made first if there is none.
    pub(crate) fn or_insert_with(&mut self, key: String, make: impl FnOnce() -> Entry) -> &mut Entry {
        let at = self.find(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, make()));
            at
        });
        &mut self.0[at].1
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(one, _)| one.as_str().cmp(key))
    }
}

impl FromIterator<(String, Entry)> for Table {
    /// Of entries whose keys differ.
    fn from_iter<I: IntoIterator<Item = (String, Entry)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        entries.shrink_to_fit();
        Self(entries)
    }
}

impl IntoIterator for Table {
    type Item = (String, Entry);
    type IntoIter = std::vec::IntoIter<(String, Entry)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the key was written.
    pub(crate) key: Origin,
    pub(crate) node: Node,
}

impl Value {
    /// What it is, with its article, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Untyped(_) => "a text",
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a file's text. Errors of TOML are reported, all that the parser finds.
pub(crate) fn parse(sources: &Sources, source: SourceId, text: &str, problems: &mut Vec<Problem>) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let origin = Origin { source, span: error.span().unwrap_or(0..0) };
        problems.push(Problem::error(sources.place(&origin), format!("this is not valid TOML: {}", error.message())));
    }
    let mut reading = Reading { sources, source, shift: 0, problems };
    reading.table(table.into_inner())
}

/// Reads one value, as the text of an environment variable may hold; none if it is no TOML value.
/// `shift` says where the value begins in its source.
pub(crate) fn parse_value(sources: &Sources, origin: &Origin, text: &str) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let mut problems = Vec::new();
    let mut reading = Reading { sources, source: origin.source, shift: origin.span.start, problems: &mut problems };
    let node = reading.node(value);
    problems.is_empty().then_some(node)
}

struct Reading<'a> {
    sources: &'a Sources,
    source: SourceId,
    shift: usize,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn origin(&self, span: Range<usize>) -> Origin {
        Origin { source: self.source, span: span.start + self.shift..span.end + self.shift }
    }

    fn table(&mut self, table: DeTable<'_>) -> Table {
        let entries = table.into_iter().map(|(key, value)| {
            let entry = Entry { key: self.origin(key.span()), node: self.node(value) };
            (key.into_inner().into_owned(), entry)
        });
        entries.collect()
    }

    fn node(&mut self, node: Spanned<DeValue<'_>>) -> Node {
        let origin = self.origin(node.span());
        let value = match node.into_inner() {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(value) => Value::Datetime(value.to_string()),
            DeValue::Array(values) => Value::Array(values.into_iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => self.out_of_range(&origin, value.as_str(), Value::Integer(0)),
            },
            DeValue::Float(value) => match value.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => self.out_of_range(&origin, value.as_str(), Value::Float(0.0)),
            },
        };
        Node { value, origin }
    }

    fn out_of_range(&mut self, origin: &Origin, text: &str, instead: Value) -> Value {
        self.problems.push(Problem::error(self.sources.place(origin), format!("{text} is not a number that fits")));
        instead
    }
}

/// Puts the keys of `from` into `into`. A key that both have is an error, unless both are tables.
pub(crate) fn merge(sources: &Sources, into: &mut Table, from: Table, path: &str, problems: &mut Vec<Problem>) {
    let mut added = Vec::new();
    for (key, entry) in from {
        let at = join(path, &key);
        match into.get_mut(&key) {
            None => added.push((key, entry)),
            Some(Entry { node: Node { value: Value::Table(into), .. }, .. })
                if matches!(entry.node.value, Value::Table(_)) =>
            {
                if let Value::Table(from) = entry.node.value {
                    merge(sources, into, from, &at, problems);
                }
            }
            Some(first) => {
                let message = format!("{at} is set twice: here and at {}", sources.place(&first.key));
                problems.push(Problem::error(sources.place(&entry.key), message).help("keep one of the two"));
            }
        }
    }
    if !added.is_empty() {
        into.0.append(&mut added);
        into.0.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    }
}

/// `limits` and `memory` make `limits.memory`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
