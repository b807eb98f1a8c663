//! What a statement needs, and whether the job grants it.

use rota_authority::{Authorized, Decision, Effect, EffectClass, Exact, Gate, Sql, SqlAccess};
use rota_capability::{denied, refused};
use rota_classifier::{AccessSet, CopyDirection, Refusal, Statement, classify, classify_copy};
use rota_contract::Error;
use std::sync::Arc;

/// Statements that are longer than this are parsed where they hold up nobody else.
const LONG: usize = 16 << 10;

/// A statement that is granted.
pub struct Judged {
    /// What the run may do.
    pub authorized: Authorized<Sql>,
    /// What the statement is.
    pub statement: Statement,
}

impl Judged {
    /// Whether it can stand in parentheses after FROM.
    pub(super) fn selects(&self) -> bool {
        self.statement.returns_rows && !self.statement.verb.starts_with("EXPLAIN") && self.statement.verb != "SHOW"
    }

    /// Whether all that it needs is `read`.
    pub fn only_reads(&self) -> bool {
        self.statement.accesses.is_subset(AccessSet::of(SqlAccess::Read))
    }

    /// It must only read.
    ///
    /// # Errors
    /// `invalid-argument` when it does more.
    pub fn must_read(self) -> Result<Self, Error> {
        if self.only_reads() {
            return Ok(self);
        }
        Err(Error::InvalidArgument(format!(
            "`query` only reads, and this {} needs {}; send it by `execute`",
            self.statement.verb, self.statement.accesses
        )))
    }

    /// What the mode makes of it as an effect, in another database than the binding's where one is named.
    ///
    /// # Errors
    /// When the run's effects are used up, or it is not in the plan that the run is held to.
    pub async fn decide(&self, database: Option<&str>, detail: String, exact: Exact) -> Result<Decision<Sql>, Error> {
        let class = match self.statement.effect {
            rota_classifier::EffectClass::Destructive => EffectClass::Destructive,
            _ => EffectClass::Write,
        };
        let mut object = self.statement.target.clone().unwrap_or_default();
        if let Some(database) = database {
            let database = format!("database {}", rota_telemetry::sanitize_line(database));
            object = if object.is_empty() { database } else { format!("{database}, {object}") };
        }
        self.authorized.effect(Effect { object, detail, class, exact }).await.map_err(refused)
    }
}

/// Classify and authorise a statement.
///
/// # Errors
/// `invalid-argument` for what is no statement, `denied` for what is not granted.
pub async fn statement(gate: &Arc<Gate>, operation: &'static str, slot: &str, text: &str) -> Result<Judged, Error> {
    judge(gate, operation, slot, parse(text, classify).await)
}

/// The same for a COPY.
///
/// # Errors
/// As [`statement`]'s.
pub async fn copy(
    gate: &Arc<Gate>,
    operation: &'static str,
    slot: &str,
    text: &str,
    direction: CopyDirection,
) -> Result<Judged, Error> {
    judge(gate, operation, slot, parse(text, move |text| classify_copy(text, direction)).await)
}

async fn parse(
    text: &str,
    classify: impl FnOnce(&str) -> Result<Statement, Refusal> + Send + 'static,
) -> Result<Statement, Refusal> {
    if text.len() <= LONG {
        return classify(text);
    }
    let text = text.to_owned();
    tokio::task::spawn_blocking(move || classify(&text))
        .await
        .unwrap_or_else(|error| Err(Refusal::ParserFailed { message: error.to_string() }))
}

fn judge(
    gate: &Arc<Gate>,
    operation: &'static str,
    slot: &str,
    classified: Result<Statement, Refusal>,
) -> Result<Judged, Error> {
    let statement = classified.map_err(|refusal| refuse(gate, operation, slot, &refusal))?;
    let needed: Vec<SqlAccess> =
        SqlAccess::ALL.into_iter().filter(|access| statement.accesses.contains(*access)).collect();
    // ALTER SYSTEM needs one access and nothing else, and a binding that names its parameter.
    let authorized = match &statement.parameter {
        Some(parameter) => gate.authorise_parameter(operation, slot, Some(parameter)),
        None => gate.authorise::<Sql>(operation, slot, &needed),
    }
    .map_err(denied)?;
    Ok(Judged { authorized, statement })
}

/// What is no statement is a mistake; what must never run is a denial, and counted.
fn refuse(gate: &Arc<Gate>, operation: &'static str, slot: &str, refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Empty
        | Refusal::SeveralStatements { .. }
        | Refusal::Syntax { .. }
        | Refusal::TooLong
        | Refusal::TooDeep => Error::InvalidArgument(refusal.to_string()),
        _ => denied(gate.never(operation, slot, refusal.to_string())),
    }
}
