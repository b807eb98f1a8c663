//! Backslash commands: `\\set`, `\\echo`, `\\copy`, and what to do instead of the others that psql has.

use super::{Action, Copy, Splitter, Statement, Step};
use crate::lex::{Form, Kind, Lexer, Token};
use crate::variables;
use rota_sdk::prelude::*;
use std::ops::Range;

impl Splitter<'_> {
    /// A backslash command, up to the end of its line.
    pub(super) fn command(&mut self, token: &Token, lexer: &mut Lexer<'_>) -> Result<()> {
        match token.text(self.source.text) {
            "\\set" => {
                let line = lexer.take_line();
                self.set(token, line)
            }
            "\\echo" => {
                let line = lexer.take_line();
                let words = self.words(line.clone())?;
                let said = words.into_iter().map(|word| word.text).collect::<Vec<_>>().join(" ");
                self.script.steps.push(Step { at: token.at.start..line.end, action: Action::Echo(said) });
                Ok(())
            }
            "\\copy" => self.copy(token, lexer),
            other => {
                let error = Error::new(format!("{other} is a command of psql's that a script here has not"));
                let instead = refused(other).unwrap_or("there are \\set, \\echo and \\copy");
                Err(self.at(token.at.start, error.hint(instead)))
            }
        }
    }

    /// `\set name value ...`: the values are joined, as by psql.
    fn set(&mut self, token: &Token, line: Range<usize>) -> Result<()> {
        let words = self.words(line)?;
        let [name, values @ ..] = words.as_slice() else {
            return Err(self.at(token.at.start, Error::new("\\set sets nothing").hint("\\set name value")));
        };
        if !variables::is_name(&name.text) {
            return Err(self.at(name.at, Error::new(format!("{:?} is no name of a variable", name.text))));
        }
        let value = match values {
            [] => json!(""),
            [Argument { value: Some(value), .. }] => value.clone(),
            [Argument { text, quoted: false, .. }] => variables::of_word(text),
            more => json!(more.iter().map(|word| word.text.as_str()).collect::<String>()),
        };
        self.variables.set(&name.text, value);
        Ok(())
    }

    /// The arguments of a command: words, texts in single quotes, variables; glued together where nothing is between.
    fn words(&self, line: Range<usize>) -> Result<Vec<Argument>> {
        let text = &self.source.text[line.clone()];
        let mut words: Vec<Argument> = Vec::new();
        let (mut at, mut glue) = (0, false);
        while let Some(first) = text[at..].chars().next() {
            if first.is_whitespace() {
                (at, glue) = (at + first.len_utf8(), false);
                continue;
            }
            let place = line.start + at;
            let wrong = |error: Error| self.at(place, error);
            let rest = &text[at..];
            let mut lexer = Lexer::new(rest);
            let (length, word) = match lexer.next() {
                Some(token) if token.at.start == 0 && matches!(token.kind, Kind::Variable(_)) => {
                    let value = self.variables.get(token.name(rest)).map_err(wrong)?.clone();
                    let shown = match variables::as_text(&value) {
                        Ok(shown) => shown.unwrap_or_default(),
                        Err(_) => value.to_string(),
                    };
                    (token.at.end, Argument { text: shown, quoted: true, value: Some(value), at: place })
                }
                _ if first == '\'' => {
                    let (inside, length) = literal(rest)
                        .ok_or_else(|| wrong(Error::new("a text begins here and does not end on the line")))?;
                    (length, Argument { text: inside, quoted: true, value: None, at: place })
                }
                _ => {
                    let length = rest[first.len_utf8()..]
                        .find(|c: char| c.is_whitespace() || c == '\'' || c == ':')
                        .map_or(rest.len(), |length| first.len_utf8() + length);
                    (length, Argument { text: rest[..length].to_owned(), quoted: false, value: None, at: place })
                }
            };
            match words.last_mut() {
                Some(last) if glue => {
                    last.text.push_str(&word.text);
                    (last.quoted, last.value) = (last.quoted || word.quoted, None);
                }
                _ => words.push(word),
            }
            (at, glue) = (at + length, true);
        }
        Ok(words)
    }

    /// `\copy (query) to 'object'`, `\copy table to 'object'`, `\copy table from 'object'`. What is in parentheses may have several lines.
    fn copy(&mut self, token: &Token, lexer: &mut Lexer<'_>) -> Result<()> {
        const USAGE: &str =
            "\\copy (query) to 'object'; \\copy table to 'object'; \\copy table (columns) from 'object'";
        let text = self.source.text;
        let usage = |error: &str| Error::new(error).hint(USAGE);
        let mut statement = Statement::default();
        let mut open: Vec<Token> = Vec::new();
        let mut is_query = false;
        let out = loop {
            let line_end = |token: &Token| token.kind == Kind::Blank && token.text(text).contains(['\n', '\r']);
            let Some(next) = lexer.next() else {
                return Err(match open.last() {
                    Some(open) => self.unclosed(open, "a parenthesis"),
                    None => self.at(token.at.start, usage("\\copy does not say where to or from")),
                });
            };
            match next.kind {
                Kind::Unclosed(what) => return Err(self.unclosed(&next, what)),
                Kind::Open => open.push(next.clone()),
                Kind::Close => drop(open.pop()),
                Kind::Backslash => return Err(self.within(&next, token.at.start)),
                _ if open.is_empty() && (line_end(&next) || next.kind == Kind::End) => {
                    return Err(self.at(token.at.start, usage("\\copy does not say where to or from")));
                }
                _ if open.is_empty() && next.is_word(text, "to") => break true,
                _ if open.is_empty() && next.is_word(text, "from") => break false,
                Kind::Variable(Form::Plain | Form::Text) | Kind::Placeholder => {
                    let error = Error::new(format!("{} cannot stand in \\copy: COPY takes no values", next.text(text)));
                    let hint = "put the rows in a table first: create temp table t as select ... :name ...; then \\copy t to 'object' (with transaction=each); :\"name\" may stand there";
                    return Err(self.at(next.at.start, error.hint(hint)));
                }
                _ => {}
            }
            let is_blank = next.kind == Kind::Blank;
            is_query |= statement.pieces.is_empty() && next.kind == Kind::Open;
            if !is_query && !is_blank {
                let plain = matches!(next.kind, Kind::Word | Kind::Name | Kind::Variable(Form::Name))
                    || matches!(next.text(text), "." | "," | "(" | ")");
                if !plain {
                    return Err(self.at(next.at.start, usage("\\copy takes a query in parentheses, or a table")));
                }
            }
            if !(is_blank && statement.pieces.is_empty()) {
                self.piece(&mut statement, &next)?;
            }
        };
        if statement.pieces.is_empty() {
            return Err(self.at(token.at.start, usage("\\copy copies nothing")));
        }
        let line = lexer.take_line();
        let arguments = self.words(line.clone())?;
        let object = match arguments.as_slice() {
            [object] if object.quoted && !object.text.trim_end_matches(';').is_empty() => {
                object.text.trim_end_matches(';').to_owned()
            }
            [object, ..]
                if ["program", "stdin", "stdout", "pstdin", "pstdout"]
                    .contains(&object.text.to_ascii_lowercase().as_str()) =>
            {
                return Err(self.at(object.at, usage("\\copy copies to and from objects of the slot `bucket` only")));
            }
            [object] if !object.quoted => {
                return Err(self.at(object.at, usage("the object's name is a text in single quotes, or :'name'")));
            }
            [_, more, ..] => {
                return Err(self.at(more.at, usage("\\copy has no options: it is CSV with a header, always")));
            }
            _ => return Err(self.at(line.start, usage("\\copy does not name an object"))),
        };
        if is_query && !out {
            return Err(self.at(token.at.start, usage("a query is copied to an object, never from one")));
        }
        let copy = Copy { what: statement, object, out };
        self.script.steps.push(Step { at: token.at.start..line.end, action: Action::Copy(copy) });
        Ok(())
    }
}

/// An argument of a command.
struct Argument {
    text: String,
    /// Whether any of it stood in quotes or for a variable.
    quoted: bool,
    /// The value of a variable that stands alone.
    value: Option<Json>,
    at: usize,
}

/// A text in single quotes: what is in it, and how long it is written.
fn literal(rest: &str) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut at = 1;
    loop {
        let end = at + rest[at..].find('\'')?;
        inside.push_str(&rest[at..end]);
        if !rest[end + 1..].starts_with('\'') {
            return Some((inside, end + 1));
        }
        inside.push('\'');
        at = end + 2;
    }
}

/// What to do instead of a command of psql's.
pub(super) fn refused(command: &str) -> Option<&'static str> {
    Some(match command {
        "\\if" | "\\elif" | "\\else" | "\\endif" => {
            "a script has no conditions; the plugin `script` runs JavaScript, which has them"
        }
        "\\i" | "\\ir" | "\\include" | "\\include_relative" => {
            "one file a run; put the files together, or run them one after the other"
        }
        "\\g" | "\\;" => "end the statement with a semicolon",
        "\\gx" | "\\x" | "\\pset" | "\\a" | "\\t" | "\\H" | "\\f" | "\\C" | "\\T" | "\\crosstabview" => {
            "the report is printed as --output says (human, json); statements end with a semicolon"
        }
        "\\gset" | "\\gexec" | "\\watch" => "the plugin `script` runs JavaScript, which can use what a query answers",
        "\\gdesc" | "\\bind" | "\\parse" | "\\bind_named" | "\\close" => "variables (:name) are bound by themselves",
        "\\c" | "\\connect" => "a run has one database: --bind database=...",
        "\\q" | "\\quit" => "take what follows out of the file",
        "\\!" | "\\setenv" | "\\getenv" | "\\cd" => "nothing of a run reaches a shell, an environment or a folder",
        "\\o" | "\\out" | "\\w" | "\\write" | "\\s" => "\\copy (query) to 'object' writes to the slot `bucket`",
        "\\timing" => "each statement's time is in the report",
        "\\unset" => "nothing depends on a variable that is set; take it out",
        "\\prompt" | "\\password" => "a run asks nothing; -p variables='{\"name\":...}'",
        "\\qecho" | "\\warn" => "use \\echo",
        "\\lo_import" | "\\lo_export" | "\\lo_list" | "\\lo_unlink" => {
            "large objects are files, which no statement reaches"
        }
        "\\encoding" => "scripts are UTF-8",
        "\\errverbose" | "\\conninfo" => "it is in the report",
        "\\restrict" | "\\unrestrict" => "a dump is restored by the plugin postgres-restore",
        "\\e" | "\\edit" | "\\p" | "\\print" | "\\r" | "\\reset" | "\\h" | "\\help" | "\\?" | "\\copyright" => {
            "it is for a person at a prompt; take it out"
        }
        other
            if other.starts_with("\\d")
                || other.starts_with("\\l")
                || other.starts_with("\\s")
                || other.starts_with("\\z") =>
        {
            "query the catalog instead: select ... from pg_catalog.pg_class, information_schema.columns"
        }
        _ => return None,
    })
}
