//! Counts the rows in the script that `pg_restore --data-only --file=-` (or `pg_dump --data-only`) prints, as it passes.
//!
//! The script is read as PostgreSQL reads it: a name in quotes may hold a newline, `;` or the text of a COPY, and is still a name.

use rota_sdk::{ByteStream, Error, Result, data};
use std::collections::BTreeMap;

/// How many rows a table has.
#[data]
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct TableRows {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The rows.
    pub rows: u64,
}

/// The longest statement that is looked at; a COPY with 1,600 columns is shorter. Longer ones (large objects) only pass.
const LONGEST: usize = 512 * 1024;

/// Where in the script the counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a statement, outside of any quotes.
    Statement,
    /// In `'...'`.
    Text,
    /// In `"..."`.
    Name,
    /// After one `-`.
    Dash,
    /// After `--`, until the end of the line.
    Comment,
    /// After the `;` of a COPY, until the end of the line.
    AfterCopy,
    /// At the beginning of a line of data.
    LineStart,
    /// In a line of data that began with a backslash.
    Backslash,
    /// After `\.` at the beginning of a line of data.
    Dot,
    /// In a line of data.
    Line,
}

/// Reads a script and counts.
#[derive(Debug)]
pub struct RowCounter {
    place: Place,
    statement: Vec<u8>,
    tables: Vec<TableRows>,
    rows: u64,
}

impl Default for RowCounter {
    fn default() -> Self {
        Self { place: Place::Statement, statement: Vec::new(), tables: Vec::new(), rows: 0 }
    }
}

impl RowCounter {
    /// The next bytes of the script.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.place == Place::Line {
                // Nearly all bytes are here: skip to the end of the line.
                let Some(end) = bytes.iter().position(|&b| b == b'\n') else { return };
                self.rows += 1;
                self.place = Place::LineStart;
                bytes = &bytes[end + 1..];
                continue;
            }
            self.step(byte);
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::LineStart, b'\\') => Place::Backslash,
            (Place::Backslash, b'.') => Place::Dot,
            (Place::Dot, b'\n') => self.end_table(),
            (Place::LineStart | Place::Backslash, b'\n') => {
                self.rows += 1;
                Place::LineStart
            }
            (Place::LineStart | Place::Backslash | Place::Dot, _) => Place::Line,
            (Place::AfterCopy, b'\n') => Place::LineStart,
            (Place::AfterCopy, _) => Place::AfterCopy,
            (Place::Comment, b'\n') => Place::Statement,
            (Place::Comment, _) => Place::Comment,
            (Place::Statement | Place::Dash, b';') => self.end_statement(),
            (Place::Dash, b'-') => {
                self.statement.pop();
                Place::Comment
            }
            (Place::Statement | Place::Dash, _) => {
                self.keep(byte);
                match byte {
                    b'\'' => Place::Text,
                    b'"' => Place::Name,
                    b'-' => Place::Dash,
                    _ => Place::Statement,
                }
            }
            (Place::Text, _) => self.quoted(byte, b'\'', Place::Text),
            (Place::Name, _) => self.quoted(byte, b'"', Place::Name),
            (Place::Line, _) => Place::Line,
        };
    }

    /// A doubled quote leaves and enters again, which comes to the same.
    fn quoted(&mut self, byte: u8, quote: u8, place: Place) -> Place {
        self.keep(byte);
        if byte == quote { Place::Statement } else { place }
    }

    fn keep(&mut self, byte: u8) {
        let blank = self.statement.is_empty() && byte.is_ascii_whitespace();
        if !blank && self.statement.len() < LONGEST {
            self.statement.push(byte);
        }
    }

    fn end_statement(&mut self) -> Place {
        let statement = std::mem::take(&mut self.statement);
        match copied(&statement) {
            Some((schema, table)) => {
                self.tables.push(TableRows { schema, table, rows: 0 });
                self.rows = 0;
                Place::AfterCopy
            }
            None => Place::Statement,
        }
    }

    fn end_table(&mut self) -> Place {
        if let Some(table) = self.tables.last_mut() {
            table.rows = self.rows;
        }
        Place::Statement
    }

    /// The tables in order of their names.
    ///
    /// # Errors
    /// When the script stops in the middle of a table or statement.
    pub fn finish(mut self) -> Result<Vec<TableRows>> {
        // What psql itself reads (`\unrestrict`) is no statement and has no semicolon.
        let rest = self.statement.strip_prefix(b"\\unrestrict").map_or(self.statement.as_slice(), |_| &[]);
        if !matches!(self.place, Place::Statement | Place::Comment) || !rest.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::new("the dump's script stops in the middle of a statement or table"));
        }
        self.tables.sort();
        // An extension's table can be dumped in several conditions.
        self.tables.dedup_by(|next, kept| {
            let same = next.schema == kept.schema && next.table == kept.table;
            if same {
                kept.rows += next.rows;
            }
            same
        });
        Ok(self.tables)
    }
}

/// Schema and table of `COPY schema.table (columns) FROM stdin`.
fn copied(statement: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(statement).ok()?;
    let rest = text.strip_prefix("COPY ")?;
    rest.trim_end().strip_suffix("FROM stdin")?;
    let (schema, rest) = identifier(rest)?;
    let (table, _) = identifier(rest.strip_prefix('.')?)?;
    Some((schema, table))
}

/// The identifier at the beginning of a text, without its quotes, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', ' ', '(']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

/// Count the rows of a script that streams by.
///
/// # Errors
/// When the script stops in the middle. Whether the stream itself ended well is for its source to say.
pub async fn count(mut script: ByteStream) -> Result<Vec<TableRows>> {
    let mut counter = RowCounter::default();
    while let Some(bytes) = script.next().await {
        counter.push(&bytes);
    }
    counter.finish()
}

/// A table whose rows are not as many as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `schema.table`.
    pub table: String,
    /// How many there should be; none for a table too many.
    pub expected: Option<u64>,
    /// How many there are; none for a table that is missing.
    pub found: Option<u64>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.expected, self.found) {
            (Some(expected), Some(found)) => write!(f, "{}: {found} rows instead of {expected}", self.table),
            (Some(expected), None) => write!(f, "{}: missing, with {expected} rows", self.table),
            (None, found) => write!(f, "{}: not expected, with {} rows", self.table, found.unwrap_or(0)),
        }
    }
}

/// Where two counts differ, in order of the tables' names.
pub fn differences(expected: &[TableRows], found: &[TableRows]) -> Vec<Difference> {
    #[derive(Default)]
    struct Counts {
        expected: Option<u64>,
        found: Option<u64>,
    }
    let mut tables: BTreeMap<(&str, &str), Counts> = BTreeMap::new();
    for table in expected {
        tables.entry((&table.schema, &table.table)).or_default().expected = Some(table.rows);
    }
    for table in found {
        tables.entry((&table.schema, &table.table)).or_default().found = Some(table.rows);
    }
    let differs = tables.into_iter().filter(|(_, counts)| counts.expected != counts.found);
    differs
        .map(|((schema, table), Counts { expected, found })| Difference {
            table: format!("{schema}.{table}"),
            expected,
            found,
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counted(script: &[u8], piece: usize) -> Result<Vec<TableRows>> {
        let mut counter = RowCounter::default();
        script.chunks(piece).for_each(|piece| counter.push(piece));
        counter.finish()
    }

    fn rows(schema: &str, table: &str, rows: u64) -> TableRows {
        TableRows { schema: schema.to_owned(), table: table.to_owned(), rows }
    }

    const SCRIPT: &str = r#"\restrict q1x
--
-- PostgreSQL database dump; it's "fine"
--
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

COPY public.orders (id, note) FROM stdin;
1	a
2	\\.
3	\N
\.


COPY public."we""ird
COPY x.y (z) FROM stdin;
 (x); -- 'no" (id) FROM stdin;

\\.

\.
COPY "A b".empty (id) FROM stdin;
\.
SELECT pg_catalog.setval('public."o''r;
COPY a.b (c) FROM stdin;"', 3, true);
COPY public.last_one (id) FROM stdin;
COPY no.table (id) FROM stdin;
\.

\unrestrict q1x

"#;

    #[test]
    fn rows_are_counted_whatever_the_names_and_the_pieces() {
        let weird = "we\"ird\nCOPY x.y (z) FROM stdin;\n (x); -- 'no";
        let expected = [
            rows("A b", "empty", 0),
            rows("public", "last_one", 1),
            rows("public", "orders", 3),
            rows("public", weird, 3),
        ];
        for piece in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(counted(SCRIPT.as_bytes(), piece).unwrap(), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn a_script_that_stops_is_no_count() {
        let end = SCRIPT.find("\\.\n").unwrap();
        for cut in [end, end + 1, SCRIPT.find("orders").unwrap(), SCRIPT.find("setval").unwrap()] {
            assert!(counted(&SCRIPT.as_bytes()[..cut], 64).is_err(), "cut at {cut}");
        }
        assert_eq!(counted(b"", 1).unwrap(), []);
    }

    #[test]
    fn differences_name_the_table() {
        let expected = [rows("a", "same", 1), rows("a", "fewer", 2), rows("a", "gone", 3)];
        let found = [rows("a", "same", 1), rows("a", "fewer", 1), rows("b", "new", 0)];
        let told: Vec<String> = differences(&expected, &found).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["a.fewer: 1 rows instead of 2", "a.gone: missing, with 3 rows", "b.new: not expected, with 0 rows"]
        );
        assert!(differences(&expected, &expected).is_empty());
    }
}
