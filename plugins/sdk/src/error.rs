//! One error for `?`: what the host answered, with what the procedure was doing.

use crate::bindings::{Failure, Report as WitReport};
use crate::{Fault, HostError};
use std::fmt;

/// A result whose error ends the run when it is handed up with `?`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a procedure, or a step of it, did not do what it should.
#[derive(Clone, Debug, Default)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    /// What was being done, innermost first.
    context: Vec<String>,
    /// What happened, where the procedure itself says so.
    message: Option<String>,
    /// What is shown instead of all that.
    said: Option<String>,
    hint: Option<String>,
    cause: Option<HostError>,
    report: Option<WitReport>,
}

impl Error {
    /// An error of the procedure's own: what happened, to what.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner { message: Some(message.into()), ..Inner::default() }))
    }

    /// Say what to do about it. The first hint given stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Say what was being done: `reading public.orders`.
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.0.context.push(doing.into());
        self
    }

    /// Keep what was found and done until then: the run fails and still shows it. Without a summary and findings it is summarised by
    /// what this error says by then.
    #[must_use]
    pub fn with_report<D: serde::Serialize>(mut self, report: crate::Report<D>) -> Self {
        let report = report.into_failed_wit(&self);
        self.0.report = Some(report);
        self
    }

    /// What to do about it, where somebody said so.
    pub fn hinted(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Say all of it in these words; what the host answered stays the cause, by which the run's outcome is told.
    #[must_use]
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.0.said = Some(text.into());
        self
    }

    /// What the host answered, where a call failed.
    pub fn cause(&self) -> Option<&HostError> {
        self.0.cause.as_ref()
    }

    /// The target's own code (an SQLSTATE, an HTTP status), where it answered with an error.
    pub fn code(&self) -> Option<&str> {
        match &self.0.cause {
            Some(HostError::Failed(fault)) => Some(&fault.code),
            _ => None,
        }
    }

    /// Whether no grant allows the call.
    pub fn is_denied(&self) -> bool {
        matches!(self.0.cause, Some(HostError::Denied(_)))
    }

    /// Whether what the call named is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.0.cause, Some(HostError::NotFound(_)))
    }

    /// Whether something else holds or changed what the call needed.
    pub fn is_conflict(&self) -> bool {
        matches!(self.0.cause, Some(HostError::Conflict(_)))
    }

    /// Whether a time limit was over: the host's, or the server's (SQLSTATE 57014 is also a cancel).
    pub fn is_timed_out(&self) -> bool {
        matches!(self.0.cause, Some(HostError::TimedOut(_))) || self.code() == Some("57014")
    }

    /// Whether the run is being cancelled. Hand it up, do not retry.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.cause, Some(HostError::Cancelled))
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match &self.0.cause {
            Some(HostError::Unavailable(_) | HostError::TimedOut(_) | HostError::Conflict(_)) => true,
            Some(HostError::Failed(fault)) => fault.retryable,
            _ => false,
        }
    }

    /// As the contract has it.
    pub(crate) fn into_failure(self) -> Failure {
        let message = self.to_string();
        let Inner { hint, cause, report, .. } = *self.0;
        Failure { message, hint, cause, report }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(said) = &self.0.said {
            return f.write_str(said);
        }
        for doing in self.0.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        match (&self.0.message, &self.0.cause) {
            (Some(message), Some(cause)) => write!(f, "{message}: {}", said(cause)),
            (Some(message), None) => f.write_str(message),
            (None, Some(cause)) => f.write_str(&said(cause)),
            (None, None) => f.write_str("failed"),
        }
    }
}

/// What the host said, as a person reads it.
fn said(error: &HostError) -> String {
    match error {
        HostError::Denied(text)
        | HostError::InvalidArgument(text)
        | HostError::NotFound(text)
        | HostError::Conflict(text)
        | HostError::TimedOut(text)
        | HostError::Unavailable(text)
        | HostError::Quota(text) => text.clone(),
        HostError::Cancelled => "the run is being cancelled".to_owned(),
        HostError::Failed(Fault { code, message, detail, .. }) => match detail {
            Some(detail) => format!("{message} ({code}; {detail})"),
            None => format!("{message} ({code})"),
        },
    }
}

impl std::error::Error for Error {}

impl From<HostError> for Error {
    fn from(cause: HostError) -> Self {
        Self(Box::new(Inner { cause: Some(cause), ..Inner::default() }))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!("not the JSON that was expected: {error}"))
    }
}

/// `.context(...)` on results.
pub trait ErrorContext<T> {
    /// Say what was being done: `reading public.orders`.
    ///
    /// # Errors
    /// The result's own, with the context added.
    fn context(self, doing: impl Into<String>) -> Result<T>;

    /// The same, made only when there is an error.
    ///
    /// # Errors
    /// The result's own, with the context added.
    fn with_context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;

    /// Say what to do about it.
    ///
    /// # Errors
    /// The result's own, with the hint added.
    fn hint(self, hint: impl Into<String>) -> Result<T>;

    /// None where what was named is not there.
    ///
    /// # Errors
    /// Every other error.
    fn optional(self) -> Result<Option<T>>;
}

impl<T, E: Into<Error>> ErrorContext<T> for std::result::Result<T, E> {
    fn context(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(doing))
    }

    fn with_context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().context(doing()))
    }

    fn hint(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().hint(hint))
    }

    fn optional(self) -> Result<Option<T>> {
        match self.map_err(Into::into) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
