//! Argument profiles: which command lines of a program a plugin may give.
//!
//! Pure: a profile sees the guest's arguments and says what the program gets, and what that needs. Everything that is not
//! known to be harmless is refused.
//!
//! | profile | program | connection | what it does |
//! | --- | --- | --- | --- |
//! | `pg_dump` | a dump to standard output | required, `read` | an effect |
//! | `pg_dumpall` | `--globals-only` to standard output | required, `read` | an effect |
//! | `pg_restore` | an archive from standard input into a database | `write`, `ddl`, `index`, `maintain` | an effect |
//! | `pg_restore --jobs` | the same from a file that the host makes of standard input | the same | an effect |
//! | `pg_restore` | an archive from standard input to standard output, or its list | none | only reads; runs in a plan too |
//! | `custom` | any | where its binding says what it needs | an effect |

mod custom;
mod options;
mod pg_dump;
mod pg_dumpall;
mod pg_restore;
mod shape;
#[cfg(test)]
mod tests;

use rota_authority::SqlAccess;
use rota_config::ArgumentRule;
use std::borrow::Cow;

/// The most arguments, and the most bytes of all of them.
const MOST_ARGUMENTS: usize = 512;
const MOST_BYTES: usize = 64 << 10;

/// How a program's arguments are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `pg_dump` of PostgreSQL 13 to 18.
    PgDump,
    /// `pg_dumpall`, globals only.
    PgDumpall,
    /// `pg_restore`.
    PgRestore,
    /// Any program, by rules of the operator's.
    Custom(Custom),
}

/// The rules for a program that no profile knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Custom {
    /// Each argument must be allowed by one of these.
    pub allowed: Vec<ArgumentRule>,
    /// Arguments that only look; they are allowed too.
    pub looks: Vec<ArgumentRule>,
    /// Of a program that connects: what that needs.
    pub needs: Option<Vec<SqlAccess>>,
}

/// Why a command line is refused. The text goes to the guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No plugin may give these arguments.
    #[error("{0}")]
    Denied(String),
    /// The call makes no sense: an argument or a connection is missing, or they contradict each other.
    #[error("{0}")]
    Wrong(String),
}

impl Refusal {
    fn denied(message: impl Into<String>) -> Self {
        Self::Denied(message.into())
    }

    fn wrong(message: impl Into<String>) -> Self {
        Self::Wrong(message.into())
    }

    /// A refusal of one argument, shown in part and without control characters.
    fn at(argument: &str, why: impl std::fmt::Display) -> Self {
        let shown: String = argument.chars().filter(|c| !c.is_control()).take(80).collect();
        Self::Denied(format!("argument `{shown}`: {why}"))
    }
}

/// What a program connects for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It connects to no server.
    Nothing,
    /// The connection comes from the environment.
    Environment,
    /// The same, for a program that does not know the options of PostgreSQL's own.
    Variables,
    /// The program must be told to connect: `--dbname=service=...`.
    Dbname,
    /// The program must be told the database, as a connection string: `--database=dbname='...'`.
    Database,
}

/// A command line that a profile let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The arguments, in the spelling in which the program gets them, without those that the host adds.
    pub arguments: Vec<String>,
    /// What it needs on the connection's slot.
    pub needs: Cow<'static, [SqlAccess]>,
    /// How it connects.
    pub reach: Reach,
    /// Whether it changes nothing and reaches no server, so that it runs in a plan too.
    pub only_reads: bool,
    /// Whether it can lose data.
    pub destructive: bool,
    /// Whether it needs what it is fed as a file, which it reads in any order: the host writes one into the program's private folder, and names it last.
    pub spooled: bool,
}

impl Profile {
    /// The profile's name in configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PgDump => "pg_dump",
            Self::PgDumpall => "pg_dumpall",
            Self::PgRestore => "pg_restore",
            Self::Custom(..) => "custom",
        }
    }

    /// Judge a command line.
    ///
    /// # Errors
    /// [`Refusal`], naming the argument and what to do instead.
    pub fn check(&self, arguments: &[String], connected: bool) -> Result<Checked, Refusal> {
        let bytes: usize = arguments.iter().map(String::len).sum();
        if arguments.len() > MOST_ARGUMENTS || bytes > MOST_BYTES {
            return Err(Refusal::wrong(format!(
                "the arguments are too many: at most {MOST_ARGUMENTS} of {} KiB in all",
                MOST_BYTES >> 10
            )));
        }
        if let Some(bad) = arguments.iter().find(|argument| argument.contains('\0')) {
            return Err(Refusal::at(bad, "it holds a NUL, which no program can be given"));
        }
        match self {
            Self::PgDump => pg_dump::check(arguments, connected),
            Self::PgDumpall => pg_dumpall::check(arguments, connected),
            Self::PgRestore => pg_restore::check(arguments, connected),
            Self::Custom(rules) => custom::check(rules, arguments, connected),
        }
    }
}
