//! What is wrong in a case file: where, what, and the nearest word that would be right.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is wrong in a file of cases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.to_line())]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the file as a whole is to blame.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line itself.
    pub text: String,
}

impl Problem {
    /// Of a file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into(), help: None, text: String::new() }
    }

    /// At a place of a file's text.
    pub(crate) fn at(source: &Source<'_>, span: Range<usize>, message: impl Into<String>) -> Self {
        let text = source.text;
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let shown = text.lines().nth(line - 1).unwrap_or_default();
        Self {
            file: source.file.to_owned(),
            line,
            column,
            message: message.into(),
            help: None,
            text: shown.chars().filter(|c| !c.is_control() || *c == '\t').take(200).collect(),
        }
    }

    /// With what to do about it.
    #[must_use]
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// `tests/a.toml:3:1: unknown field `quary` (did you mean `query`?)`
    pub fn to_line(&self) -> String {
        let place = match self.line {
            0 => format!("{}: ", self.file.display()),
            line => format!("{}:{line}:{}: ", self.file.display(), self.column),
        };
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{place}{}{help}", self.message)
    }

    /// The same with the line in question below, and a mark at the place.
    pub fn to_block(&self) -> String {
        let line = self.to_line();
        if self.line == 0 {
            return line;
        }
        let number = self.line.to_string();
        let blank = " ".repeat(number.len());
        format!("{line}\n {blank} |\n {number} | {}\n {blank} | {}^", self.text, " ".repeat(self.column.min(201) - 1))
    }
}

/// The file that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Source<'t> {
    pub(crate) file: &'t Path,
    pub(crate) text: &'t str,
}

impl Source<'_> {
    /// What the TOML reader says, in our words.
    pub(crate) fn refused(&self, error: &toml::de::Error) -> Problem {
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let Some((wrong, known)) = quoted
            .split_first()
            .filter(|_| message.starts_with("unknown field") || message.starts_with("unknown variant"))
        else {
            return Problem::at(self, span, message);
        };
        let what = if message.starts_with("unknown field") {
            "is not a key here"
        } else {
            "is none of the words that go here"
        };
        Problem::at(self, span, format!("`{wrong}` {what}")).help(advice(wrong, known))
    }
}

/// The nearest word, or all.
pub(crate) fn advice(wrong: &str, known: &[&str]) -> String {
    match (rota_config::nearest(wrong, known.iter().copied()), known) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "nothing goes here".to_owned(),
        (None, [only]) => format!("it can only be `{only}`"),
        (None, all) => format!("there are: {}", all.join(", ")),
    }
}
