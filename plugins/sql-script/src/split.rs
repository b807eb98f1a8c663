//! A script into what is to be done, one after the other. Everything that can be known without a server is known here, before anything runs.

mod commands;

use crate::lex::{Form, Kind, Lexer, Token};
use crate::place::Source;
use crate::variables::{self, Variables};
use commands::refused;
use rota_sdk::prelude::*;
use rota_sdk::sql::Value;
use std::collections::BTreeSet;
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
    /// The variables that it has.
    pub(crate) used: BTreeSet<String>,
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
        self.script.used.insert(name.to_owned());
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

#[cfg(test)]
mod tests;
