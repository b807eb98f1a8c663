//! Bindings to programs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::place::ToolPlace;
use crate::access::{Access, BindingKind};
use crate::decode::{Decode, Fields, Reader, of_one_key};
use crate::redact::quoted;
use crate::section::{record, words};
use crate::tree::{Node, join};
use crate::{ByteSize, Duration};

words! {
    /// Which rules a program's arguments keep to.
    pub enum ToolProfile ("a profile of a tool") {
        /// pg_dump of one database to standard output.
        PgDump = "pg_dump",
        /// pg_dumpall of roles and other globals to standard output.
        PgDumpall = "pg_dumpall",
        /// pg_restore from standard input.
        PgRestore = "pg_restore",
        /// Only what the binding's own list of arguments allows.
        Custom = "custom",
    }
}

impl ToolProfile {
    /// The profile that a program's file name tells.
    fn of(program: &Path) -> Option<Self> {
        let name = program.file_name()?.to_str()?;
        name.parse().ok().filter(|profile| *profile != Self::Custom)
    }
}

record! {
    /// A program that plugins may run. It gets no environment and no shell, and its own limits.
    pub struct ToolBinding {
        /// The program, by its absolute path.
        pub path: Program;
        /// The rules for its arguments; by default those of the program's name.
        pub profile: Option<ToolProfile> = None;
        /// For profile custom: the arguments that are allowed, each exactly or with * for any text.
        pub arguments: Vec<ArgumentRule> = Vec::new();
        /// For profile custom: the program connects to a database, for which a plugin needs these accesses on the connection's slot; it
        /// finds its way by libpq's variables. Without it, the program is given no connection.
        pub connection: Option<Vec<Access>> = None;
        /// For profile custom: arguments that only look. A command line made of these alone, without a connection, runs in a plan too.
        pub looks: Vec<ArgumentRule> = Vec::new();
        /// Files and folders that the program may read, besides the system's and its own.
        pub reads: Vec<PathBuf> = Vec::new();
        /// Where the program runs, if not beside Rota: in a pod, or in a Job.
        pub place: Option<ToolPlace> = None;
        /// The most memory (address space) of the program.
        pub memory: ByteSize = ByteSize::gib(4), within(ByteSize::mib(16), ByteSize::gib(1024));
        /// The most CPU time of the program.
        pub cpu: Duration = Duration::from_secs(4 * 3600), within(Duration::from_secs(1), Duration::from_secs(7 * 86_400));
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}

impl ToolBinding {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [path, arguments, connection, place] =
            ["path", "arguments", "connection", "place"].map(|key| fields.origin_of(key));
        let (reader, at) = (fields.reader, fields.at.clone());
        let binding = Self::decode_fields(fields)?;
        let Some(profile) = binding.profile.or(ToolProfile::of(binding.path.as_path())) else {
            let message = format!(
                "{at} needs the key \"profile\", as no rules are known for {}",
                quoted(&binding.path.to_string())
            );
            let help = "set profile = \"custom\" and list the arguments that are allowed";
            return reader.refuse_with(&path, message, help);
        };
        if profile != ToolProfile::Custom && !binding.arguments.is_empty() {
            let message =
                format!("{} goes with profile = \"custom\"; \"{profile}\" has its own rules", join(&at, "arguments"));
            return reader.refuse(&arguments, message);
        }
        if profile != ToolProfile::Custom && (binding.connection.is_some() || !binding.looks.is_empty()) {
            let message = format!(
                "{} goes with profile = \"custom\"; \"{profile}\" knows what it needs",
                join(&at, if binding.connection.is_some() { "connection" } else { "looks" })
            );
            return reader.refuse(&connection, message);
        }
        let accesses = binding.connection.as_deref().unwrap_or_default();
        super::check_accesses(reader, &join(&at, "connection"), &connection, BindingKind::Sql, accesses);
        if let Some((key, message, help)) = binding.place.as_ref().and_then(|place| placed(place, profile)) {
            let key = if key.is_empty() { "place".to_owned() } else { format!("place.{key}") };
            return reader.refuse_with(&place, format!("{}: {message}", join(&at, &key)), help);
        }
        Some(Self { profile: Some(profile), ..binding })
    }

    /// A binding to this program with every default; none if its name tells no profile.
    pub(super) fn at(program: &str) -> Option<Self> {
        let binding: Self = of_one_key("path", program)?;
        ToolProfile::of(binding.path.as_path()).map(|profile| Self { profile: Some(profile), ..binding })
    }

    /// The rules for its arguments.
    pub fn profile(&self) -> ToolProfile {
        self.profile.or(ToolProfile::of(self.path.as_path())).unwrap_or(ToolProfile::Custom)
    }
}

/// What stands against a program of this profile in a place: neither way into a cluster carries every byte.
fn placed(place: &ToolPlace, profile: ToolProfile) -> Option<(&'static str, String, &'static str)> {
    let forward = "run it beside Rota, and give the sql binding a way to the database: `through`";
    match profile {
        ToolProfile::PgRestore => Some((
            "",
            "pg_restore reads its archive from standard input, which clusters cut off near 192 KiB".to_owned(),
            forward,
        )),
        ToolProfile::PgDump | ToolProfile::PgDumpall if place.job.is_some() => Some((
            "job",
            format!(
                "{profile} writes bytes to standard output, and the log of a Job holds only lines, and not all of them"
            ),
            "use place.pod, or run it beside Rota and give the sql binding `through`",
        )),
        _ => place.wrong(),
    }
}

/// The absolute path of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Program(PathBuf);

impl Program {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// None if the path is not absolute.
    pub fn new(path: impl Into<PathBuf>) -> Option<Self> {
        Some(path.into()).filter(|path: &PathBuf| path.is_absolute() && path.file_name().is_some()).map(Self)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Decode for Program {
    const WANTED: &'static str = "the absolute path of a program";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        let wrong = || format!("{at} must be {}, not {}", Self::WANTED, quoted(&text));
        let program = Self::new(&text).filter(|_| !text.contains('\0'));
        program.or_else(|| reader.refuse_with(&node.origin, wrong(), "\"which PROGRAM\" tells it"))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/.+", "examples": ["/usr/bin/pg_dump"] })
    }
}

/// One argument that a custom tool may be given: exactly so, or with `*` for any text (`\*` is a star).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentRule {
    text: String,
    /// What stands between the stars.
    pieces: Vec<String>,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentRuleError {
    /// Every argument would be allowed.
    #[error("a rule of only \"*\" allows every argument; say what it begins with, as in \"--jobs=*\"")]
    Everything,
    /// Nothing there, or what no argument can hold.
    #[error("a rule is a text without NUL")]
    Nothing,
}

impl ArgumentRule {
    /// Whether the rule allows this argument.
    pub fn allows(&self, argument: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return argument == first };
        let Some(mut left) = argument.strip_prefix(first.as_str()).and_then(|left| left.strip_suffix(last.as_str()))
        else {
            return false;
        };
        for piece in middle {
            let Some(at) = left.find(piece.as_str()) else { return false };
            left = left.get(at + piece.len()..).unwrap_or_default();
        }
        true
    }
}

impl FromStr for ArgumentRule {
    type Err = ArgumentRuleError;

    fn from_str(text: &str) -> Result<Self, ArgumentRuleError> {
        if text.is_empty() || text.contains('\0') {
            return Err(ArgumentRuleError::Nothing);
        }
        let mut pieces = vec![String::new()];
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let literal = match c {
                '*' => {
                    pieces.push(String::new());
                    continue;
                }
                '\\' => rest.next().unwrap_or('\\'),
                c => c,
            };
            if let Some(piece) = pieces.last_mut() {
                piece.push(literal);
            }
        }
        if pieces.len() > 1 && pieces.iter().all(String::is_empty) {
            return Err(ArgumentRuleError::Everything);
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

impl fmt::Display for ArgumentRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for ArgumentRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Decode for ArgumentRule {
    const WANTED: &'static str = "an argument, or a pattern of one";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_says_and_no_more() {
        for (rule, allowed, refused) in [
            ("--verbose", vec!["--verbose"], vec!["--verbos", "--verbose ", "-v", ""]),
            ("--jobs=*", vec!["--jobs=4", "--jobs="], vec!["--job=4", " --jobs=4"]),
            ("--*=*.sql", vec!["--a=b.sql", "--=.sql"], vec!["--a=b.sq", "--a.sql"]),
            ("a*ba", vec!["aba", "axba"], vec!["ab", "ba"]),
            ("*a*a", vec!["aa", "xaxa"], vec!["a"]),
            ("\\*\\\\", vec!["*\\"], vec!["x\\", "\\*\\\\"]),
        ] {
            let rule: ArgumentRule = rule.parse().unwrap();
            assert!(allowed.iter().all(|argument| rule.allows(argument)), "{rule}");
            assert!(!refused.iter().any(|argument| rule.allows(argument)), "{rule}");
        }
    }

    #[test]
    fn a_rule_for_everything_is_none() {
        for (rule, message) in [
            ("*", "a rule of only \"*\" allows every argument; say what it begins with, as in \"--jobs=*\""),
            ("**", "a rule of only \"*\" allows every argument; say what it begins with, as in \"--jobs=*\""),
            ("", "a rule is a text without NUL"),
        ] {
            assert_eq!(rule.parse::<ArgumentRule>().unwrap_err().to_string(), message);
        }
    }
}
