//! Where each key of a configuration was written, small: there may be a million keys, and few are ever looked up.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::tree::{Node, Origin, Table, Value, join};

/// The places of all keys and elements of lists, by their whole name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(
    /// In the order of the hashes, each of them once.
    Box<[Written]>,
);

#[derive(Debug, Clone, Copy)]
struct Written {
    /// Of the name, which is not kept. That two of a million share one happens to one configuration in thirty million; then a message
    /// shows the wrong line, or a key that is not there counts as written.
    hash: u64,
    source: u32,
    begin: u32,
    end: u32,
    /// Whether it is a table that holds something.
    holds: bool,
}

impl Places {
    pub(crate) fn of(table: &Table) -> Self {
        let mut written = Vec::new();
        remember(table, "", &mut written);
        // Of names that are written alike (`a.b` in quotes and `b` of `a`), the last counts.
        written.reverse();
        written.sort_by_key(|one| one.hash);
        written.dedup_by_key(|one| one.hash);
        Self(written.into_boxed_slice())
    }

    /// Where a key was written; none if it was not.
    pub(crate) fn origin(&self, key: &str) -> Option<Origin> {
        let one = self.find(key)?;
        Some(Origin { source: one.source as usize, span: one.begin as usize..one.end as usize })
    }

    /// Whether a key was written.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether a key was written as a table that holds something.
    pub(crate) fn holds(&self, key: &str) -> bool {
        self.find(key).is_some_and(|one| one.holds)
    }

    fn find(&self, key: &str) -> Option<&Written> {
        let hash = hash(key);
        self.0.get(self.0.binary_search_by_key(&hash, |one| one.hash).ok()?)
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Collects where each key and each element of a list was written.
fn remember(table: &Table, path: &str, into: &mut Vec<Written>) {
    for (key, entry) in table.iter() {
        let at = join(path, key);
        within(&entry.node, &at, into);
        into.push(written(&at, &entry.key, &entry.node));
    }
}

fn within(node: &Node, at: &str, into: &mut Vec<Written>) {
    match &node.value {
        Value::Table(table) => remember(table, at, into),
        Value::Array(nodes) => {
            for (i, node) in nodes.iter().enumerate() {
                let at = format!("{at}[{i}]");
                within(node, &at, into);
                into.push(written(&at, &node.origin, node));
            }
        }
        _ => {}
    }
}

fn written(at: &str, origin: &Origin, node: &Node) -> Written {
    // A file has 8 MiB at most, a variable less; beyond, the end is shown.
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Written {
        hash: hash(at),
        source: small(origin.source),
        begin: small(origin.span.start),
        end: small(origin.span.end),
        holds: matches!(&node.value, Value::Table(table) if !table.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;
    use crate::tree;

    #[test]
    fn every_key_is_found_where_it_stands_and_no_other() {
        let text = "[a]\nb = [1, { c = 2 }]\nd = {}\n[e.f]\ng = 'x'\n";
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let id = sources.add("t", text, std::path::PathBuf::new(), true);
        let places = Places::of(&tree::parse(&sources, id, text, &mut problems));
        let shown = |key: &str| places.origin(key).map(|origin| &text[origin.span]);
        for (key, written) in [
            ("a", "a"),
            ("a.b", "b"),
            ("a.b[0]", "1"),
            ("a.b[1]", "{ c = 2 }"),
            ("a.b[1].c", "c"),
            ("a.d", "d"),
            ("e.f.g", "g"),
        ] {
            assert_eq!((shown(key), places.contains(key)), (Some(written), true), "{key}");
        }
        for key in ["", "b", "a.b[2]", "e.g", "a."] {
            assert!(!places.contains(key) && places.origin(key).is_none(), "{key}");
        }
        let tables = ["a", "a.b[1]", "e", "e.f"];
        for key in ["a", "a.b", "a.b[0]", "a.b[1]", "a.b[1].c", "a.d", "e", "e.f", "e.f.g", "none"] {
            assert_eq!(places.holds(key), tables.contains(&key), "{key}");
        }
    }

    #[test]
    fn among_many_each_is_found() {
        let text: String = (0..20_000).map(|i| format!("[j{i}]\na = 1\n")).collect();
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let id = sources.add("t", &text, std::path::PathBuf::new(), true);
        let places = Places::of(&tree::parse(&sources, id, &text, &mut problems));
        for i in 0..20_000 {
            let origin = places.origin(&format!("j{i}")).unwrap();
            assert_eq!(text[origin.span], format!("j{i}"));
        }
        assert_eq!(places.0.len(), 40_000);
    }
}
