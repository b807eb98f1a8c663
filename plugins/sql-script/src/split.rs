//! A script into what is to be done, one after the other. Everything that can be known without a server is known here, before anything runs.

use crate::lex::{Form, Kind, Lexer, Token};
use crate::place::Source;
use crate::variables::{self, Variables};
use rota_sdk::prelude::*;
use rota_sdk::sql::Value;
use std::ops::Range;

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Where it stands.
    pub(crate) at: Range<usize>,
    pub(crate) action: Action,
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Statement(Statement),
    /// Say a line.
    Echo(String),
    Copy(Copy),
}

/// SQL with what was set into it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statement {
    pieces: Vec<Piece>,
    /// What is bound, in order.
    pub(crate) values: Vec<Value>,
    /// How each of them was written first, and where.
    pub(crate) written: Vec<Range<usize>>,
    /// The first words, in lower case, comments and parentheses left out.
    pub(crate) words: Vec<String>,
    /// Whether it has a RETURNING of its own.
    pub(crate) returning: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Script(Range<usize>),
    /// The n-th of `values`, from 1.
    Value(usize),
    /// The n-th of the script's names, from 0.
    Name(usize),
}

/// `\copy`
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    /// A query in its parentheses, or a table and its columns.
    pub(crate) what: Statement,
    /// The object's name.
    pub(crate) object: String,
    pub(crate) out: bool,
}

/// A script, taken apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    /// The names that the server is to quote.
    pub(crate) names: Vec<String>,
}

impl Statement {
    /// As it is sent, its names quoted by the server.
    pub(crate) fn text(&self, script: &str, names: &[Quoted]) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Script(at) => text.push_str(&script[at.clone()]),
                Piece::Value(number) => {
                    // A name or number right behind would go on with it.
                    text.push_str(&format!("${number}"));
                }
                Piece::Name(place) => text.push_str(names.get(*place).map_or("", Quoted::as_str)),
            }
        }
        text
    }

    /// Whether its first words are these.
    pub(crate) fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(word, wanted)| word == wanted)
    }
}

/// How many of a statement's first words are kept.
const WORDS: usize = 8;

/// Take a script apart.
///
/// # Errors
/// For what no server need be asked about: something that does not end, an unknown variable, a command that is none. With its place.
pub(crate) fn split(source: Source<'_>, given: Variables) -> Result<Script> {
    let mut splitter = Splitter { source, variables: given, script: Script::default() };
    let mut lexer = Lexer::new(source.text);
    loop {
        // Between statements.
        let mut ahead = lexer.clone();
        match ahead.next() {
            None => return Ok(splitter.script),
            Some(Token { kind: Kind::Blank | Kind::End, .. }) => {
                lexer = ahead;
                lexer.begin();
            }
            Some(token) if token.kind == Kind::Backslash => {
                lexer = ahead;
                splitter.command(&token, &mut lexer)?;
            }
            Some(_) => splitter.statement(&mut lexer)?,
        }
    }
}

/// What is wrong, and where.
pub(crate) fn at(source: Source<'_>, place: usize, error: Error) -> Error {
    let line = source.place(place);
    let hint = error.hinted().map(|hint| format!("; {hint}")).unwrap_or_default();
    let cause = format!("{}: {error}; nothing was run", source.told(place));
    Error::new(cause).hint(format!("line {}: {}{hint}", line.line, line.text))
}

struct Splitter<'s> {
    source: Source<'s>,
    variables: Variables,
    script: Script,
}

impl Splitter<'_> {
    fn at(&self, place: usize, error: Error) -> Error {
        at(self.source, place, error)
    }

    fn unclosed(&self, token: &Token, what: &str) -> Error {
        self.at(token.at.start, Error::new(format!("{what} begins here and does not end")))
    }

    /// A statement, up to its semicolon.
    fn statement(&mut self, lexer: &mut Lexer<'_>) -> Result<()> {
        let text = self.source.text;
        let begin = lexer.place();
        let mut body = Body::default();
        let mut statement = Statement::default();
        let mut parentheses: Vec<Token> = Vec::new();
        let mut placeholder: Option<Token> = None;
        let mut end = begin;
        loop {
            let Some(token) = lexer.next() else {
                if let Some(open) = parentheses.last() {
                    return Err(self.unclosed(open, "a parenthesis"));
                }
                if let Some(open) = &body.open {
                    return Err(self.unclosed(open, "a body (BEGIN ATOMIC)"));
                }
                break;
            };
            match token.kind {
                Kind::Unclosed(what) => return Err(self.unclosed(&token, what)),
                Kind::End if parentheses.is_empty() && body.depth == 0 => break,
                Kind::Open => parentheses.push(token.clone()),
                Kind::Close => drop(parentheses.pop()),
                Kind::Backslash => return Err(self.within(&token, begin)),
                Kind::Test => return Err(self.at(token.at.start, no_conditions(":{?name}"))),
                Kind::Placeholder => drop(placeholder.get_or_insert_with(|| token.clone())),
                Kind::Word => {
                    let word = token.text(text).to_ascii_lowercase();
                    statement.returning |= word == "returning" && parentheses.is_empty();
                    body.word(&word, &token, &statement.words, parentheses.is_empty());
                    if statement.words.len() < WORDS {
                        statement.words.push(word);
                    }
                }
                _ => {}
            }
            if token.kind != Kind::Blank {
                end = token.at.end;
            }
            self.piece(&mut statement, &token)?;
        }
        lexer.begin();
        self.check(&statement, begin, placeholder)?;
        // What is behind the last piece is a comment or space.
        statement.pieces.retain(|piece| !matches!(piece, Piece::Script(at) if at.start >= end));
        if let Some(Piece::Script(last)) = statement.pieces.last_mut() {
            last.end = last.end.min(end);
        }
        self.script.steps.push(Step { at: begin..end, action: Action::Statement(statement) });
        Ok(())
    }

    /// Put a piece into a statement, and what a variable stands for in its place.
    fn piece(&mut self, statement: &mut Statement, token: &Token) -> Result<()> {
        let Kind::Variable(form) = token.kind else {
            match statement.pieces.last_mut() {
                Some(Piece::Script(last)) if last.end == token.at.start => last.end = token.at.end,
                _ => statement.pieces.push(Piece::Script(token.at.clone())),
            }
            return Ok(());
        };
        let name = token.name(self.source.text);
        let value = self.variables.get(name).map_err(|error| self.at(token.at.start, error))?.clone();
        let wrong = |error: Error| self.at(token.at.start, error);
        match form {
            Form::Name => {
                let Some(name) = variables::as_text(&value).map_err(wrong)? else {
                    return Err(wrong(Error::new(format!("`{name}` is null, which names nothing"))));
                };
                let place = self.script.names.iter().position(|known| *known == name);
                let place = place.unwrap_or_else(|| {
                    self.script.names.push(name);
                    self.script.names.len() - 1
                });
                statement.pieces.push(Piece::Name(place));
            }
            Form::Plain | Form::Text => {
                let written = token.text(self.source.text);
                let known = statement.written.iter().position(|at| &self.source.text[at.clone()] == written);
                let place = match known {
                    Some(place) => place,
                    None => {
                        let bound = match form {
                            Form::Plain => variables::bound(&value).map_err(wrong)?,
                            _ => variables::as_text(&value).map_err(wrong)?.map_or(Value::Null, Value::Text),
                        };
                        statement.values.push(bound);
                        statement.written.push(token.at.clone());
                        statement.written.len() - 1
                    }
                };
                statement.pieces.push(Piece::Value(place + 1));
            }
        }
        Ok(())
    }

    /// What is never sent.
    fn check(&self, statement: &Statement, begin: usize, placeholder: Option<Token>) -> Result<()> {
        let first = statement.words.first().map_or("", String::as_str);
        let second = statement.words.get(1).map_or("", String::as_str);
        let controls = matches!(
            (first, second),
            ("begin" | "commit" | "rollback" | "end" | "abort" | "savepoint" | "release", _)
                | ("start" | "prepare" | "set", "transaction")
        ) || statement.begins(&["set", "session", "characteristics"]);
        if controls {
            let word = if matches!(first, "start" | "prepare" | "set") {
                format!("{first} transaction")
            } else {
                first.to_owned()
            };
            return Err(self.at(
                begin,
                Error::new(format!("{} controls the transaction, which the script does not", word.to_uppercase())).hint(
                    "leave it out: -p transaction=one runs all in one transaction, -p transaction=each each statement in its own",
                ),
            ));
        }
        if first == "copy" {
            return Err(self.at(
                begin,
                Error::new("COPY has no client to send to")
                    .hint("\\copy (query) to 'object' and \\copy table from 'object' use the slot `bucket`"),
            ));
        }
        // In a function's body, and in PREPARE, they are its own.
        if let Some(token) = placeholder
            && (!statement.values.is_empty() || !matches!(first, "create" | "prepare"))
        {
            let text = token.text(self.source.text);
            return Err(self.at(
                token.at.start,
                Error::new(format!("{text} stands for nothing")).hint("write :name, and set it in `variables`"),
            ));
        }
        Ok(())
    }

    /// A backslash command where a statement has begun.
    fn within(&self, token: &Token, begin: usize) -> Error {
        let text = token.text(self.source.text);
        let line = self.source.place(begin).line;
        let error = Error::new(format!("{text} stands within the statement that begins in line {line}"));
        self.at(
            token.at.start,
            match refused(text) {
                Some(instead) if !matches!(text, "\\set" | "\\echo" | "\\copy") => error.hint(instead),
                _ => error.hint("end the statement with a semicolon before"),
            },
        )
    }

    /// A backslash command, up to the end of its line.
    fn command(&mut self, token: &Token, lexer: &mut Lexer<'_>) -> Result<()> {
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

/// Whether a statement is within a body of SQL (`BEGIN ATOMIC ... END`), whose semicolons are its own.
#[derive(Default)]
struct Body {
    depth: u32,
    open: Option<Token>,
    /// A BEGIN that an ATOMIC may follow.
    begun: Option<Token>,
}

impl Body {
    fn word(&mut self, word: &str, token: &Token, words: &[String], outside: bool) {
        let begun = self.begun.take();
        if !outside || !makes_a_function(words) {
            return;
        }
        match word {
            "begin" if self.depth == 0 => self.begun = Some(token.clone()),
            "atomic" if self.depth == 0 => {
                if let Some(begin) = begun {
                    (self.depth, self.open) = (1, Some(begin));
                }
            }
            "case" if self.depth > 0 => self.depth += 1,
            "end" if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.open = None;
                }
            }
            _ => {}
        }
    }
}

fn makes_a_function(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).take(4).collect();
    matches!(
        words.as_slice(),
        ["create", "function" | "procedure", ..] | ["create", "or", "replace", "function" | "procedure", ..]
    )
}

fn no_conditions(what: &str) -> Error {
    Error::new(format!("{what}: a script has no conditions"))
        .hint("the plugin `script` runs JavaScript, which has them")
}

/// What to do instead of a command of psql's.
fn refused(command: &str) -> Option<&'static str> {
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

#[cfg(test)]
mod tests;
