//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};

/// A source as it is shown, and where its lines end.
#[derive(Debug)]
pub(crate) struct Shown {
    text: NamedSource<String>,
    /// Counted when the first of them is asked for: a hundred thousand places of one file ask for theirs.
    line_ends: OnceLock<Box<[usize]>>,
}

impl Shown {
    pub(crate) fn new(name: &str, text: String) -> Self {
        Self { text: NamedSource::new(name, text), line_ends: OnceLock::new() }
    }

    pub(crate) fn name(&self) -> &str {
        self.text.name()
    }

    /// How many lines end before this byte.
    fn lines_before(&self, at: usize) -> usize {
        let ends =
            self.line_ends.get_or_init(|| self.text.inner().as_str().match_indices('\n').map(|(end, _)| end).collect());
        ends.partition_point(|end| *end < at)
    }
}

/// A place in a configuration: where a key or a value was written.
#[derive(Clone)]
pub struct Place {
    source: Arc<Shown>,
    /// Which of the sources it is, in the order that they were read.
    order: usize,
    span: Range<usize>,
    in_a_file: bool,
}

impl Place {
    pub(crate) fn new(source: Arc<Shown>, order: usize, span: Range<usize>, in_a_file: bool) -> Self {
        Self { source, order, span, in_a_file }
    }

    /// The file, or the environment variable.
    pub fn source_name(&self) -> &str {
        self.source.text.name()
    }

    /// The bytes of the source that are meant.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.source.lines_before(self.before().len()) + 1
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.before().chars().rev().take_while(|c| *c != '\n').count() + 1
    }

    fn before(&self) -> &str {
        let text = self.source.text.inner();
        text.get(..text.floor_char_boundary(self.span.start)).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    /// `rota.toml:3:1`, or the name of the variable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_a_file {
            write!(f, "{}:{}:{}", self.source_name(), self.line(), self.column())
        } else {
            f.write_str(self.source_name())
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that is wrong: an error, or a warning that does not keep the configuration from being
/// used. It is a [`Diagnostic`] that shows the lines in question, secrets blotted out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    help: Option<String>,
    place: Option<Place>,
    warning: bool,
}

impl Problem {
    pub(crate) fn error(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, place: place.into(), warning: false }
    }

    pub(crate) fn warning(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::error(place, message) }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// What is wrong, without where.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it: the nearest valid key, for example.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Where it is; none if no place of the configuration is to blame.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether the configuration can be used all the same.
    pub fn is_warning(&self) -> bool {
        self.warning
    }

    /// `rota.toml:3:1: limits.memroy is not a key (did you mean "memory"?)`
    pub fn to_line(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let help = self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{place}{}{help}", self.message)
    }
}

/// Puts problems in the order in which a reader of the files meets them; first those without a place.
pub(crate) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.order, place.span.start)));
    problems
}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(if self.warning { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| &place.source.text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), place.span()))))
    }
}

/// A configuration that cannot be used: every error in it, and the warnings beside them.
#[derive(Debug, Clone)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems: in_order(problems) }
    }

    /// All that is wrong, in the order of the files; errors and warnings.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| !problem.is_warning())
    }
}

impl fmt::Display for ConfigError {
    /// The one error, or how many and the first of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors().count();
        match self.errors().next() {
            Some(only) if count == 1 => f.write_str(&only.to_line()),
            Some(first) => write!(f, "the configuration has {count} errors; the first: {}", first.to_line()),
            None => f.write_str("the configuration cannot be used"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Problems as people like to read them: each with the lines in question and what to do.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(120);
    let mut text = String::new();
    for problem in problems {
        if handler.render_report(&mut text, problem).is_err() {
            text.push_str(&problem.to_line());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, what: &str) -> Place {
        let start = text.find(what).unwrap();
        Place::new(Arc::new(Shown::new("rota.toml", text.to_owned())), 0, start..start + what.len(), true)
    }

    #[test]
    fn a_place_counts_lines_and_characters() {
        let text = "[limits]\nmemory = \"é\" # ü\ncpu = 1\n";
        assert_eq!(place(text, "cpu").to_string(), "rota.toml:3:1");
        assert_eq!(place(text, "# ü").to_string(), "rota.toml:2:14");
        assert_eq!(place(text, "[limits]").to_string(), "rota.toml:1:1");
    }

    #[test]
    fn one_error_is_said_whole_and_several_are_counted() {
        let problem = Problem::error(place("a = 1", "a"), "a is not a key").help("did you mean \"b\"?");
        let one = ConfigError::new(vec![problem.clone()]);
        assert_eq!(one.to_string(), "rota.toml:1:1: a is not a key (did you mean \"b\"?)");
        let two = ConfigError::new(vec![Problem::warning(None, "careful"), problem.clone(), problem]);
        assert!(two.to_string().starts_with("the configuration has 2 errors; the first: rota.toml:1:1: a is"));
    }

    #[test]
    fn a_rendered_problem_shows_the_line_and_what_to_do() {
        let problem =
            Problem::error(place("[limits]\nmemroy = 1\n", "memroy"), "limits.memroy is not a key").help("memory?");
        let text = render(&[problem], false);
        for part in ["limits.memroy is not a key", "rota.toml:2:1", "memroy = 1", "here", "memory?"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
