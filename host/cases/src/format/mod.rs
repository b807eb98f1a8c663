//! Case files: what a run is given, and what must come out of it. TOML; see `docs/testing-a-plugin.md` for all of it.

mod answer;
mod expect;
mod kinds;
mod problem;
mod value;

pub(crate) use answer::Answer;
pub(crate) use expect::{End, Entry, Expect, Failed};
pub use problem::Problem;
pub(crate) use problem::{Source, advice};
pub(crate) use value::Moment;
pub(crate) use value::Span;
#[cfg(test)]
pub(crate) use value::plain;

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// The most bytes of a case file.
const LARGEST: u64 = 16 << 20;
/// The most cases of a file.
const MOST: usize = 10_000;

/// A file of cases, read.
#[derive(Clone, Debug)]
pub struct CaseFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its text, for places in it.
    pub(crate) text: String,
    /// Accesses that no case need use: slot and word.
    pub(crate) uncovered: Vec<(String, String)>,
    /// Its cases.
    pub cases: Vec<Case>,
}

impl CaseFile {
    /// Read a file.
    ///
    /// # Errors
    /// What is wrong in it, with its place.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let text = rota_config::read_text(path, LARGEST)
            .map_err(|error| Problem::of_file(path, format!("it cannot be read: {error}")))?;
        Self::parse(path, text)
    }

    /// Read the text of a file.
    ///
    /// # Errors
    /// What is wrong in it, with its place.
    pub fn parse(path: &Path, text: String) -> Result<Self, Problem> {
        let source = Source { file: path, text: &text };
        let raw: Raw = toml::from_str(&text).map_err(|error| source.refused(&error))?;
        if let Some(name) = &raw.common.name {
            return Err(Problem::at(&source, name.span(), "what all cases have in common has no name of its own"));
        }
        if raw.common.expect.is_some() || raw.common.expect_real.is_some() {
            return Err(Problem::of_file(
                path,
                "[common] says what all cases are given, and nothing of what comes out",
            )
            .help("put `expect` into each case"));
        }
        if let Some(key) = raw.common.of_one_case() {
            return Err(Problem::of_file(path, format!("[common] says `{key}`, which is of one case only"))
                .help(format!("put `{key}` into each case")));
        }
        if raw.cases.is_empty() {
            return Err(Problem::of_file(path, "it holds no case").help("begin one with [[case]] and a name"));
        }
        if raw.cases.len() > MOST {
            return Err(Problem::of_file(path, format!("it holds more than {MOST} cases")));
        }
        let mut cases: Vec<Case> = Vec::with_capacity(raw.cases.len());
        for spanned in raw.cases {
            let span = spanned.span();
            let case = Case::of(&source, &raw.common, span, spanned.into_inner())?;
            if let Some(other) = cases.iter().find(|other| other.name == case.name) {
                let message = format!("there are two cases named `{}`", other.name);
                return Err(Problem::at(&source, case.name_span, message).help("give each a name of its own"));
            }
            cases.push(case);
        }
        let pair = |text: &String| {
            let (slot, access) = text.split_once(':')?;
            Some((slot.trim().to_owned(), access.trim().to_owned()))
        };
        let uncovered = raw.uncovered.iter().map(|text| {
            pair(text).ok_or_else(|| {
                Problem::of_file(path, format!("uncovered: `{text}` is not SLOT: ACCESS"))
                    .help("uncovered = [\"bucket: write\"]")
            })
        });
        let uncovered = uncovered.collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), text, uncovered, cases })
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { file: &self.path, text: &self.text }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Accesses that no case need use: `bucket: write`.
    #[serde(default)]
    uncovered: Vec<String>,
    /// What all cases of the file begin with.
    #[serde(default)]
    common: RawCase,
    #[serde(rename = "case", default)]
    cases: Vec<Spanned<RawCase>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCase {
    name: Option<Spanned<String>>,
    mode: Option<Mode>,
    parameters: Option<toml::Table>,
    slots: BTreeMap<String, Spanned<RawSlot>>,
    answers: Vec<Spanned<Answer>>,
    timeout: Option<Span>,
    attempts: Option<u32>,
    effects_limit: Option<u64>,
    cancel_at: Option<Moment>,
    terminate_at: Option<Moment>,
    lease_lost_at: Option<Moment>,
    crash_at: Option<Moment>,
    compensate: Option<Compensate>,
    expect: Option<Spanned<Expect>>,
    expect_real: Option<Spanned<Expect>>,
}

impl RawCase {
    /// The first key that is not shared: what cases have in common would leave it out.
    fn of_one_case(&self) -> Option<&'static str> {
        let all = [
            ("cancel_at", self.cancel_at.is_some()),
            ("terminate_at", self.terminate_at.is_some()),
            ("lease_lost_at", self.lease_lost_at.is_some()),
            ("crash_at", self.crash_at.is_some()),
            ("compensate", self.compensate.is_some()),
        ];
        all.into_iter().find(|(_, given)| *given).map(|(key, _)| key)
    }
}

/// Whether effects happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// They are listed.
    Plan,
    /// They happen.
    #[default]
    Execute,
}

/// A compensation that is carried out instead of a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compensate {
    /// Its name.
    pub(crate) name: String,
    /// Its state.
    #[serde(deserialize_with = "value::value")]
    pub(crate) state: Value,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSlot {
    bound: Option<bool>,
    binding: Option<String>,
    access: Option<Vec<String>>,
    alter_system: Option<Vec<String>>,
    protected: Option<Vec<String>>,
    maximum_keys: Option<u32>,
    namespace: Option<String>,
    server: Option<toml::Table>,
    objects: Option<toml::Value>,
    keys: Option<toml::Table>,
    version: Option<String>,
    program: Option<String>,
    program_arguments: Option<Vec<String>>,
}

/// What a slot of a case is.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotSetup {
    /// Whether something is bound; a slot that is not optional is, unless the case says no.
    pub(crate) bound: Option<bool>,
    /// The binding's name; the slot's, where none is given.
    pub(crate) binding: Option<String>,
    /// What is granted; what is declared, where none is given.
    pub(crate) access: Option<Vec<String>>,
    /// The parameters that the binding lets ALTER SYSTEM set.
    pub(crate) alter_system: Vec<String>,
    /// Prefixes of keys that the binding protects.
    pub(crate) protected: Vec<String>,
    /// The most keys that the binding lets be unlinked at once.
    pub(crate) maximum_keys: Option<u32>,
    /// The cluster's namespace.
    pub(crate) namespace: Option<String>,
    /// What `sql.server` answers.
    pub(crate) server: Map<String, Value>,
    /// The objects of a bucket (by name) or a cluster (a list).
    pub(crate) objects: Option<Value>,
    /// The keys of a cache.
    pub(crate) keys: Option<Map<String, Value>>,
    /// The version of a program or of a cluster.
    pub(crate) version: Option<String>,
    /// The program of a tool, by whose rules its arguments are checked; by the slot's name, where none is given.
    pub(crate) program: Option<String>,
    /// Of a program without rules of its own: the arguments that its binding allows.
    pub(crate) program_arguments: Vec<String>,
    /// Where it is written.
    pub(crate) span: Range<usize>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    pub(crate) name_span: Range<usize>,
    pub(crate) mode: Mode,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) slots: BTreeMap<String, SlotSetup>,
    /// Its own first, then those of all cases of the file.
    pub(crate) answers: Vec<Answer>,
    /// How many of them are its own.
    pub(crate) own_answers: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempts: Option<u32>,
    pub(crate) effects_limit: Option<u64>,
    pub(crate) cancel_at: Option<Moment>,
    pub(crate) terminate_at: Option<Moment>,
    pub(crate) lease_lost_at: Option<Moment>,
    pub(crate) crash_at: Option<Moment>,
    pub(crate) compensate: Option<Compensate>,
    pub(crate) expect: Expect,
    /// What comes out on real targets, where it is not only how the run ends.
    pub(crate) expect_real: Option<Expect>,
}

impl Case {
    fn of(source: &Source<'_>, common: &RawCase, span: Range<usize>, raw: RawCase) -> Result<Self, Problem> {
        let Some(name) = raw.name else {
            return Err(Problem::at(source, span, "a case needs a name").help("name = \"what it shows\""));
        };
        let name_span = name.span();
        let name = name.into_inner();
        if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            return Err(Problem::at(source, name_span, "the name of a case is one line of 1 to 200 bytes"));
        }
        let own_answers = raw.answers.len();
        let mut answers = Vec::with_capacity(own_answers + common.answers.len());
        for spanned in raw.answers.into_iter().chain(common.answers.iter().cloned()) {
            let span = spanned.span();
            let line = source.text[..span.start.min(source.text.len())].matches('\n').count() + 1;
            let place = format!("{}:{line}", source.file.display());
            let answer = Answer { span, place, ..spanned.into_inner() };
            check_answer(source, &answer)?;
            answers.push(answer);
        }
        let mut slots: BTreeMap<String, SlotSetup> = BTreeMap::new();
        for (slot, raw) in common.slots.iter().chain(&raw.slots) {
            slots.entry(slot.clone()).or_default().add(raw);
        }
        let plain =
            |table: Option<toml::Table>| table.into_iter().flatten().map(|(key, value)| (key, value::plain(value)));
        let parameters = plain(common.parameters.clone()).chain(plain(raw.parameters)).collect();
        let kind = if raw.compensate.is_some() { kinds::Kind::Compensation } else { kinds::Kind::Run };
        let expect = expected(source, raw.expect, kind)?.unwrap_or_default();
        let place = raw.expect_real.as_ref().map(Spanned::span);
        let expect_real = expected(source, raw.expect_real, kinds::Kind::Real)?;
        let case = Self {
            name,
            name_span,
            mode: raw.mode.or(common.mode).unwrap_or_default(),
            parameters,
            slots,
            answers,
            own_answers,
            timeout: raw.timeout.or(common.timeout).map(|span| span.0),
            attempts: raw.attempts.or(common.attempts),
            effects_limit: raw.effects_limit.or(common.effects_limit),
            cancel_at: raw.cancel_at,
            terminate_at: raw.terminate_at,
            lease_lost_at: raw.lease_lost_at,
            crash_at: raw.crash_at,
            compensate: raw.compensate,
            expect,
            expect_real,
        };
        if let (Some(place), Some(why)) = (place, case.only_answered()) {
            let message = format!("nothing would be held against `expect_real`: --real passes this case over, {why}");
            return Err(Problem::at(source, place, message).help("take it out"));
        }
        Ok(case)
    }
}

/// An expectation of which everything is held against something.
fn expected(source: &Source<'_>, raw: Option<Spanned<Expect>>, kind: kinds::Kind) -> Result<Option<Expect>, Problem> {
    let Some(spanned) = raw else { return Ok(None) };
    let place = spanned.span();
    let expect = spanned.into_inner();
    match kinds::refused(&expect, kind) {
        Some((message, help)) => Err(Problem::at(source, place, message).help(help)),
        None => Ok(Some(expect)),
    }
}

impl SlotSetup {
    /// With what is said of it later.
    fn add(&mut self, raw: &Spanned<RawSlot>) {
        let table = |table: &toml::Table| -> Map<String, Value> {
            table.iter().map(|(key, value)| (key.clone(), value::plain(value.clone()))).collect()
        };
        self.span = raw.span();
        let raw = raw.get_ref();
        self.bound = raw.bound.or(self.bound);
        self.binding = raw.binding.clone().or(self.binding.take());
        self.access = raw.access.clone().or(self.access.take());
        self.alter_system.extend(raw.alter_system.iter().flatten().cloned());
        self.protected.extend(raw.protected.iter().flatten().cloned());
        self.maximum_keys = raw.maximum_keys.or(self.maximum_keys);
        self.namespace = raw.namespace.clone().or(self.namespace.take());
        self.server.extend(raw.server.as_ref().map(table).unwrap_or_default());
        self.version = raw.version.clone().or(self.version.take());
        self.program = raw.program.clone().or(self.program.take());
        self.program_arguments.extend(raw.program_arguments.iter().flatten().cloned());
        self.objects = match (self.objects.take(), raw.objects.clone().map(value::plain)) {
            (Some(Value::Object(mut all)), Some(Value::Object(more))) => {
                all.extend(more);
                Some(Value::Object(all))
            }
            (Some(Value::Array(mut all)), Some(Value::Array(more))) => {
                all.extend(more);
                Some(Value::Array(all))
            }
            (before, after) => after.or(before),
        };
        if let Some(more) = raw.keys.as_ref().map(table) {
            self.keys.get_or_insert_with(Map::new).extend(more);
        }
    }
}

/// What an answer may say at once.
fn check_answer(source: &Source<'_>, answer: &Answer) -> Result<(), Problem> {
    let wrong = |message: &str| Problem::at(source, answer.span.clone(), message);
    let statements = [&answer.query, &answer.execute, &answer.copy].into_iter().flatten().count();
    if statements > 1 {
        return Err(wrong("an answer is to one of `query`, `execute` and `copy`"));
    }
    if statements == 0 && answer.call.is_none() {
        return Err(wrong("an answer says to what")
            .help("query = \"select *\", execute = \"...\", copy = \"...\" or call = \"storage.put\""));
    }
    if statements == 1 && answer.call.is_some() {
        return Err(wrong(
            "`call` says the operation already that `query`, `execute` and `copy` stand for: give one of them",
        ));
    }
    let given = [
        answer.rows.is_some(),
        answer.affected.is_some(),
        answer.value.is_some(),
        answer.items.is_some(),
        answer.text.is_some() || answer.base64.is_some(),
    ];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(wrong("an answer is one of `rows`, `affected`, `value`, `items` and `text` or `base64`"));
    }
    if answer.text.is_some() && answer.base64.is_some() {
        return Err(wrong("bytes are given as `text` or as `base64`"));
    }
    if answer.exit.is_some() && answer.signal.is_some() {
        return Err(wrong("a program ends with an `exit` code or by a `signal`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
