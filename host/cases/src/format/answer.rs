//! One answer of a case: to which calls, and what.

use super::value::{Span, list, optional};
use serde::Deserialize;
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;

/// What a call is answered with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Answer {
    /// The slot; none is any.
    pub(crate) slot: Option<Spanned<String>>,
    /// The operation, as effects name it: `sql.query`, `kubernetes.logs`; `*` for any part.
    pub(crate) call: Option<Spanned<String>>,
    /// A statement of `sql.query`, as a pattern.
    pub(crate) query: Option<String>,
    /// A statement of `sql.execute`, as a pattern.
    pub(crate) execute: Option<String>,
    /// A statement of a COPY, as a pattern.
    pub(crate) copy: Option<String>,
    /// The values of the statement's parameters.
    #[serde(deserialize_with = "list")]
    pub(crate) parameters: Option<Vec<Value>>,
    /// What the call's arguments hold, by the names of the contract.
    #[serde(deserialize_with = "optional")]
    pub(crate) arguments: Option<Value>,

    /// The columns of rows: `name` or `name:type`.
    pub(crate) columns: Option<Spanned<Vec<String>>>,
    /// The rows: lists of values, or tables by the columns' names.
    #[serde(deserialize_with = "list")]
    pub(crate) rows: Option<Vec<Value>>,
    /// How many rows a statement touched.
    pub(crate) affected: Option<u64>,
    /// What it answers, in the shape of the contract.
    #[serde(deserialize_with = "optional")]
    pub(crate) value: Option<Value>,
    /// The elements of a stream, in the shape of the contract.
    #[serde(deserialize_with = "list")]
    pub(crate) items: Option<Vec<Value>>,
    /// The bytes of a stream, or of a program's output, as text.
    #[serde(alias = "stdout")]
    pub(crate) text: Option<String>,
    /// The same, in base64.
    pub(crate) base64: Option<String>,
    /// The end of what a program wrote on its standard error.
    pub(crate) stderr: Option<String>,
    /// The exit code of a program.
    pub(crate) exit: Option<i32>,
    /// The signal that ended a program.
    pub(crate) signal: Option<i32>,
    /// The error instead of an answer; with rows, items or bytes, how the stream ends.
    pub(crate) error: Option<Spanned<Fails>>,

    /// How long the answer takes.
    pub(crate) delay: Option<Span>,
    /// After so many rows, elements or bytes the stream is cut.
    pub(crate) cut_after: Option<u64>,
    /// How often it answers: `true` for as often as it is asked.
    pub(crate) repeat: Option<Repeat>,
    /// Whether it is no fault when nobody asks.
    pub(crate) optional: bool,

    /// Where it is written.
    #[serde(skip)]
    pub(crate) span: Range<usize>,
    /// `tests/a.toml:12`.
    #[serde(skip)]
    pub(crate) place: String,
}

impl Answer {
    /// How often it may answer.
    pub(crate) fn times(&self) -> u64 {
        match self.repeat {
            None | Some(Repeat::Always(false)) => 1,
            Some(Repeat::Always(true)) => u64::MAX,
            Some(Repeat::Times(times)) => times,
        }
    }

    /// What it is about, in one line.
    pub(crate) fn about(&self) -> String {
        let mut words = Vec::new();
        if let Some(slot) = &self.slot {
            words.push(format!("slot = {:?}", slot.get_ref()));
        }
        if let Some(call) = &self.call {
            words.push(format!("call = {:?}", call.get_ref()));
        }
        for (key, pattern) in [("query", &self.query), ("execute", &self.execute), ("copy", &self.copy)] {
            if let Some(pattern) = pattern {
                words.push(format!("{key} = {:?}", crate::compare::glob::plain(pattern)));
            }
        }
        if let Some(parameters) = &self.parameters {
            words.push(format!("parameters = {}", Value::Array(parameters.clone())));
        }
        if let Some(arguments) = &self.arguments {
            words.push(format!("arguments = {arguments}"));
        }
        words.join(", ")
    }
}

/// How often an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// As often as it is asked for, or once.
    Always(bool),
    /// So often.
    Times(u64),
}

impl<'de> Deserialize<'de> for Repeat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Boolean(always) => Ok(Self::Always(always)),
            toml::Value::Integer(times) if times > 0 => Ok(Self::Times(times.unsigned_abs())),
            _ => Err(serde::de::Error::custom("`repeat` is true, or how often: a number above 0")),
        }
    }
}

/// An error of a call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fails {
    /// The case of the contract's error; `failed` where a code is given.
    pub(crate) kind: Option<ErrorKind>,
    /// PostgreSQL's code.
    pub(crate) sqlstate: Option<String>,
    /// The target's own code.
    pub(crate) code: Option<String>,
    /// What it says.
    pub(crate) message: Option<String>,
    /// More of what it says.
    pub(crate) detail: Option<String>,
    /// Whether the same call may succeed later.
    pub(crate) retryable: Option<bool>,
}

/// The cases of the contract's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ErrorKind {
    /// The grant does not hold it.
    Denied,
    /// The call is wrong.
    InvalidArgument,
    /// It is not there.
    NotFound,
    /// Something else holds or changed it.
    Conflict,
    /// A time was over.
    TimedOut,
    /// The run is being cancelled.
    Cancelled,
    /// The target cannot be reached.
    Unavailable,
    /// The target refused it.
    Failed,
    /// A limit of the run is used up.
    Quota,
}

impl Fails {
    /// As a guest gets it.
    pub(crate) fn error(&self) -> rota_contract::Error {
        use rota_contract::{Error, Fault};
        if let Some(sqlstate) = &self.sqlstate {
            // As the host makes it of what a server says, a time-out of a cancelled statement included.
            let message = self.message.as_deref().unwrap_or("refused (says the case)");
            return match rota_capability_sql::of_code(sqlstate, message, self.detail.as_deref()) {
                Error::Failed(fault) => {
                    Error::Failed(Fault { retryable: self.retryable.unwrap_or(fault.retryable), ..fault })
                }
                other => other,
            };
        }
        let code = self.code.clone();
        let kind = self.kind.unwrap_or(if code.is_some() { ErrorKind::Failed } else { ErrorKind::Unavailable });
        let message = self.message.clone();
        let or = |usual: &str| message.clone().unwrap_or_else(|| usual.to_owned());
        match kind {
            ErrorKind::Denied => Error::Denied(or("denied by the case")),
            ErrorKind::InvalidArgument => Error::InvalidArgument(or("the call is wrong (says the case)")),
            ErrorKind::NotFound => Error::NotFound(or("there is no such thing (says the case)")),
            ErrorKind::Conflict => Error::Conflict(or("something else holds it (says the case)")),
            ErrorKind::TimedOut => Error::TimedOut(or("its time is over (says the case)")),
            ErrorKind::Cancelled => Error::Cancelled,
            ErrorKind::Unavailable => Error::Unavailable(or("the target cannot be reached (says the case)")),
            ErrorKind::Quota => Error::Quota(or("a limit is used up (says the case)")),
            ErrorKind::Failed => {
                let code = code.unwrap_or_else(|| "failed".to_owned());
                let retryable = self.retryable.unwrap_or(false);
                Error::Failed(Fault {
                    message: or("refused (says the case)"),
                    detail: self.detail.clone(),
                    retryable,
                    code,
                })
            }
        }
    }
}
