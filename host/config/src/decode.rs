//! From what was written to what it means, collecting every error on the way.
//!
//! A type says by [`Decode`] how it is read, what a user should have written, and its JSON Schema.
//! A value that is wrong is reported and becomes `None`; reading goes on, so that all errors show at once.

mod scalars;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use schemars::{Schema, SchemaGenerator};

use crate::nearest::advice;
use crate::problem::Problem;
use crate::source::Sources;
use crate::tree::{Entry, Node, Origin, Table, Value, join, parse_value};

/// A type that a configuration can hold.
pub(crate) trait Decode: Sized {
    /// What must be there, as in "limits.memory must be a size such as "64MiB"".
    const WANTED: &'static str;

    /// Reads it; `at` is its key, with the tables that it is in.
    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self>;

    /// What a JSON Schema says about it.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Collects what is wrong.
pub(crate) struct Reader {
    pub(crate) sources: Sources,
    problems: RefCell<Vec<Problem>>,
}

impl Reader {
    pub(crate) fn new(sources: Sources, problems: Vec<Problem>) -> Self {
        Self { sources, problems: RefCell::new(problems) }
    }

    pub(crate) fn into_parts(self) -> (Sources, Vec<Problem>) {
        (self.sources, self.problems.into_inner())
    }

    pub(crate) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Reports an error, and is the `None` that stands for the value.
    pub(crate) fn refuse<T>(&self, origin: &Origin, message: impl Into<String>) -> Option<T> {
        self.report(Problem::error(self.sources.place(origin), message));
        None
    }

    /// [`Reader::refuse`] with advice.
    pub(crate) fn refuse_with<T>(
        &self,
        origin: &Origin,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.report(Problem::error(self.sources.place(origin), message).help(help));
        None
    }

    /// Refuses a value for its type.
    pub(crate) fn wrong_type<T>(&self, at: &str, node: &Node, wanted: &str) -> Option<T> {
        self.refuse(&node.origin, format!("{at} must be {wanted}, not {}", node.value.kind()))
    }

    /// What parsing a value gave, or its error reported. The error names the value if it may be shown.
    pub(crate) fn parsed<T>(&self, at: &str, origin: &Origin, parsed: Result<T, impl Display>) -> Option<T> {
        parsed.map_err(|error| self.report(Problem::error(self.sources.place(origin), format!("{at}: {error}")))).ok()
    }

    /// A table, to read its keys. An untyped value is read as TOML.
    pub(crate) fn fields(&self, at: &str, node: Node) -> Option<Fields<'_>> {
        let node = self.typed(node);
        match node.value {
            Value::Table(table) => {
                Some(Fields { reader: self, at: at.to_owned(), origin: node.origin, table, known: Vec::new() })
            }
            _ => self.wrong_type(at, &node, "a table"),
        }
    }

    /// An untyped value as what TOML takes it for, where a table or anything at all is wanted.
    pub(crate) fn typed(&self, node: Node) -> Node {
        match &node.value {
            Value::Untyped(text) => {
                let value = parse_value(&self.sources, &node.origin, text.trim());
                // What TOML takes for a date is as likely a word to a person.
                let value = value.filter(|read| !matches!(read.value, Value::Datetime(_)));
                value.unwrap_or_else(|| Node { value: Value::String(text.clone()), origin: node.origin.clone() })
            }
            _ => node,
        }
    }

    /// The text of a string or an untyped value.
    pub(crate) fn text(&self, at: &str, node: &Node, wanted: &str) -> Option<String> {
        match &node.value {
            Value::String(text) | Value::Untyped(text) => Some(text.clone()),
            _ => self.wrong_type(at, node, wanted),
        }
    }
}

/// What a table with this one key means: everything else is as by default.
pub(crate) fn of_one_key<T: Decode>(key: &str, text: &str) -> Option<T> {
    let origin = Origin { source: 0, span: 0..0 };
    let node = Node { value: Value::Untyped(text.to_owned()), origin: origin.clone() };
    let table = Table::from_iter([(key.to_owned(), Entry { key: origin.clone(), node })]);
    T::decode(&Reader::new(Sources::default(), Vec::new()), "", Node { value: Value::Table(table), origin })
}

/// The keys of a table, taken one by one; what is left at the end is unknown.
pub(crate) struct Fields<'r> {
    pub(crate) reader: &'r Reader,
    pub(crate) at: String,
    pub(crate) origin: Origin,
    table: Table,
    known: Vec<&'static str>,
}

impl Fields<'_> {
    /// The value of a key, unread.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// Whether a key is there that nobody took yet.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.table.contains(key)
    }

    /// All that nobody took, for a table whose keys are names.
    pub(crate) fn into_table(self) -> Table {
        self.table
    }

    /// Where the value of a key was written, or else the table.
    pub(crate) fn origin_of(&self, key: &str) -> Origin {
        self.table.get(key).map_or(&self.origin, |entry| &entry.node.origin).clone()
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: Decode>(&mut self, key: &'static str) -> Option<T> {
        let at = join(&self.at, key);
        match self.take(key) {
            Some(entry) => T::decode(self.reader, &at, entry.node),
            None => {
                let message = format!("{} needs the key \"{key}\": {}", self.at, T::WANTED);
                self.reader.refuse(&self.origin, message)
            }
        }
    }

    /// The value of a key, or what it is by default.
    pub(crate) fn or<T: Decode>(&mut self, key: &'static str, default: T) -> Option<T> {
        let at = join(&self.at, key);
        match self.take(key) {
            Some(entry) => T::decode(self.reader, &at, entry.node),
            None => Some(default),
        }
    }

    /// A value of a key that must lie between two.
    pub(crate) fn within<T, B>(&mut self, key: &'static str, default: T, least: B, most: B) -> Option<T>
    where
        T: Decode + Bounded<B>,
        B: PartialOrd + Display,
    {
        match self.table.contains(key) {
            true => self.required_within(key, least, most),
            false => self.or(key, default),
        }
    }

    /// A value of a key that must be there and lie between two.
    pub(crate) fn required_within<T, B>(&mut self, key: &'static str, least: B, most: B) -> Option<T>
    where
        T: Decode + Bounded<B>,
        B: PartialOrd + Display,
    {
        let (at, origin) = (join(&self.at, key), self.origin_of(key));
        let value: T = self.required(key)?;
        match value.bound() {
            Some(bound) if *bound < least || *bound > most => {
                self.reader.refuse(&origin, format!("{at} must be between {least} and {most}, not {bound}"))
            }
            _ => Some(value),
        }
    }

    /// Reports the keys that nobody took.
    pub(crate) fn finish(self) {
        let section = if self.at.is_empty() { "the configuration".to_owned() } else { format!("[{}]", self.at) };
        for (key, entry) in self.table.iter() {
            let message = format!("{} is not a key of {section}", join(&self.at, key));
            let help = advice(key, &self.known, "keys there");
            self.reader.report(Problem::error(self.reader.sources.place(&entry.key), message).help(help));
        }
    }
}

/// A list, whose only element may stand alone.
pub(crate) fn one_or_many<T: Decode>(reader: &Reader, at: &str, node: Node) -> Option<Vec<T>> {
    match &node.value {
        Value::Array(_) | Value::Untyped(_) => Vec::decode(reader, at, node),
        _ => T::decode(reader, at, node).map(|one| vec![one]),
    }
}

/// A value that may have to lie between two.
pub(crate) trait Bounded<B> {
    fn bound(&self) -> Option<&B>;
}

impl<B> Bounded<B> for Option<B> {
    fn bound(&self) -> Option<&B> {
        self.as_ref()
    }
}

macro_rules! bounded {
    ($($type:ty),*) => {
        $(impl Bounded<$type> for $type {
            fn bound(&self) -> Option<&$type> {
                Some(self)
            }
        })*
    };
}

bounded!(crate::ByteSize, crate::Duration, u32, i32, f64);

impl<T: Decode> Decode for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        T::decode(reader, at, node).map(Some)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

impl<T: Decode> Decode for Vec<T> {
    const WANTED: &'static str = "a list";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let nodes = match node.value {
            Value::Array(nodes) => nodes,
            Value::Untyped(ref text) if text.trim_start().starts_with('[') => match reader.typed(node.clone()).value {
                Value::Array(nodes) => nodes,
                _ => return reader.wrong_type(at, &node, "a list, as in a,b or [\"a\", \"b\"]"),
            },
            Value::Untyped(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| Node { value: Value::Untyped(part.to_owned()), origin: node.origin.clone() })
                .collect(),
            _ => return reader.wrong_type(at, &node, Self::WANTED),
        };
        let count = nodes.len();
        let nodes = nodes.into_iter().enumerate();
        let values: Vec<T> = nodes.filter_map(|(i, node)| T::decode(reader, &format!("{at}[{i}]"), node)).collect();
        (values.len() == count).then_some(values)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        schemars::json_schema!({ "type": "array", "items": items })
    }
}

/// A table whose keys are names.
impl<K, T> Decode for BTreeMap<K, T>
where
    K: std::str::FromStr<Err = crate::NameError> + Ord,
    T: Decode,
{
    const WANTED: &'static str = "a table";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let Fields { table, .. } = reader.fields(at, node)?;
        let mut whole = true;
        let mut values = Self::new();
        for (name, entry) in table {
            // Both are read, so that errors of both are reported.
            let value = T::decode(reader, &join(at, &name), entry.node);
            let name = reader.parsed(at, &entry.key, name.parse::<K>());
            match (name, value) {
                (Some(name), Some(value)) => {
                    values.insert(name, value);
                }
                _ => whole = false,
            }
        }
        whole.then_some(values)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let values = T::schema(generator);
        schemars::json_schema!({
            "type": "object",
            "propertyNames": { "pattern": crate::name::PATTERN },
            "additionalProperties": values,
        })
    }
}
