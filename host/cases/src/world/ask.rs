//! One call, as a case looks at it.

use super::{Held, World};
use crate::compare::{glob, partial};
use crate::format::Answer;
use rota_capability::RunContext;
use rota_capability::tape::Incoming;
use rota_contract::Error;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// A call.
pub(crate) struct Ask {
    /// Its number in the run.
    pub(crate) number: u64,
    /// As effects name it: `sql.execute`.
    pub(crate) operation: String,
    /// The resource on which it is made.
    pub(crate) held: Option<Held>,
    /// The slot.
    pub(crate) slot: Option<String>,
    /// Its arguments, by the contract's names.
    pub(crate) arguments: Map<String, Value>,
    /// The stream among them.
    incoming: Mutex<Option<Incoming>>,
    /// The host is gone once it has reached its target.
    pub(crate) host_goes: bool,
}

/// Why a call is not answered as it would be.
#[derive(Debug)]
pub(crate) enum Refused {
    /// By an error that the guest gets.
    Error(Error),
    /// There is no answer: the case has failed.
    Stop(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Ask {
    /// A call with the stream among its arguments.
    pub(super) fn new(
        number: u64,
        operation: String,
        held: Option<Held>,
        slot: Option<String>,
        arguments: Map<String, Value>,
        incoming: Option<Incoming>,
        host_goes: bool,
    ) -> Self {
        Self { number, operation, held, slot, arguments, incoming: Mutex::new(incoming), host_goes }
    }

    /// The stream among the arguments, once.
    pub(super) fn incoming(&self) -> Option<Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// `sql`, of `sql.execute`.
    pub(crate) fn interface(&self) -> &str {
        self.operation.split('.').next().unwrap_or_default()
    }

    /// `execute`, of `sql.execute`.
    pub(crate) fn verb(&self) -> &str {
        self.operation.split_once('.').map_or("", |(_, verb)| verb)
    }

    /// The slot of the resource, or the one that is named.
    pub(crate) fn slot(&self) -> String {
        self.slot.clone().unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(crate) fn some_text(&self, name: &str) -> Option<String> {
        self.arguments.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.arguments.get(name).and_then(Value::as_u64)
    }

    /// Bytes, as the tape shows them.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.arguments.get(name).map(bytes_of).unwrap_or_default()
    }

    /// An argument as the contract's type.
    pub(crate) fn made<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Refused> {
        let value = self.arguments.get(name).cloned().unwrap_or_default();
        rota_capability::tape::made(value).map_err(|error| {
            Refused::Stop(format!("the argument `{name}` of {} cannot be read: {error}", self.operation))
        })
    }
}

/// Bytes as the tape shows them: `{"$bytes": BASE64}`.
pub(crate) fn bytes_of(value: &Value) -> Vec<u8> {
    use base64::Engine as _;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    match value {
        Value::Object(map) => map.get("$bytes").and_then(Value::as_str).map(decode).unwrap_or_default(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(all) => all.iter().filter_map(Value::as_u64).filter_map(|byte| u8::try_from(byte).ok()).collect(),
        _ => Vec::new(),
    }
}

/// A value as a case writes it: bytes as text, one case of a variant as what it holds.
pub(crate) fn plainly(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.len() == 1 && map.contains_key("$bytes") => {
            Value::String(String::from_utf8_lossy(&bytes_of(value)).into_owned())
        }
        Value::Object(map) if map.len() == 1 && map.contains_key("$float") => unfloated(value),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), plainly(value))).collect()),
        Value::Array(all) => Value::Array(all.iter().map(plainly).collect()),
        other => other.clone(),
    }
}

/// Floats of the tape (`{"$float": "0.1"}`) as plain numbers.
pub(crate) fn unfloated(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.len() == 1 && map.contains_key("$float") => {
            let number = map["$float"].as_str().and_then(|text| text.parse::<f64>().ok());
            number.and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number)
        }
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), unfloated(value))).collect()),
        Value::Array(all) => Value::Array(all.iter().map(unfloated).collect()),
        other => other.clone(),
    }
}

/// What a parameter of a statement holds, without its type.
pub(crate) fn payload(value: &Value) -> Value {
    match value {
        Value::String(word) if word == "null" => Value::Null,
        Value::Object(map) if map.len() == 1 && !map.keys().any(|key| key.starts_with('$')) => {
            map.values().next().map(plainly).unwrap_or_default()
        }
        other => plainly(other),
    }
}

/// TOML has no null: a text says it.
fn nulls(value: Value) -> Value {
    match value {
        Value::String(word) if word == "NULL" => Value::Null,
        Value::Array(all) => Value::Array(all.into_iter().map(nulls).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, nulls(value))).collect()),
        other => other,
    }
}

/// Whether an answer fits a call; if not, why.
pub(crate) fn fits(answer: &Answer, ask: &Ask) -> Result<(), Misfit> {
    let (verbs, pattern): (&[&str], _) = match (&answer.query, &answer.execute, &answer.copy) {
        (Some(query), _, _) => (&["sql.query"], Some(query)),
        (_, Some(execute), _) => (&["sql.execute"], Some(execute)),
        (_, _, Some(copy)) => (&["sql.copy-out", "sql.copy-in"], Some(copy)),
        _ => (&[], None),
    };
    let of_operation = match &answer.call {
        Some(call) => glob::fits(call.get_ref(), &ask.operation),
        None => verbs.contains(&ask.operation.as_str()),
    };
    if !of_operation {
        return Err(Misfit::Operation);
    }
    if answer.slot.as_ref().is_some_and(|slot| *slot.get_ref() != ask.slot()) {
        return Err(Misfit::Slot);
    }
    if pattern.is_some_and(|pattern| !glob::fits_statement(pattern, &ask.text("statement"))) {
        return Err(Misfit::Statement);
    }
    if let Some(wanted) = &answer.parameters {
        let given = ask.arguments.get("parameters").and_then(Value::as_array);
        let given: Vec<Value> = given.into_iter().flatten().map(payload).collect();
        if !partial::fits(&Value::Array(wanted.clone()), &Value::Array(given.clone())) {
            return Err(Misfit::Parameters(Value::Array(given)));
        }
    }
    if let Some(wanted) = &answer.arguments {
        let given = plainly(&Value::Object(ask.arguments.clone()));
        if let Some(differs) = partial::differences(wanted, &given).first() {
            return Err(Misfit::Arguments(differs.to_string()));
        }
    }
    Ok(())
}

/// Why an answer does not fit a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Misfit {
    Operation,
    Slot,
    Statement,
    Parameters(Value),
    Arguments(String),
    /// It was given as often as it may be.
    UsedUp,
}

impl World {
    /// The first answer that fits and is not used up.
    pub(crate) fn take(&self, ask: &Ask) -> Option<Answer> {
        let mut state = self.state();
        let mut fitting = self.answers.iter().enumerate().filter(|(_, answer)| fits(answer, ask).is_ok());
        let (index, answer) = fitting.find(|(index, answer)| state.given[*index] < answer.times())?;
        state.given[index] += 1;
        let mut answer = answer.clone();
        answer.value = answer.value.map(nulls);
        answer.items = answer.items.map(|items| items.into_iter().map(nulls).collect());
        Some(answer)
    }

    /// The same, where the call cannot be without one.
    pub(crate) fn must(&self, ask: &Ask) -> Result<Answer, Refused> {
        self.take(ask).ok_or_else(|| self.no_answer(ask))
    }

    /// The case has failed: no answer fits.
    pub(crate) fn no_answer(&self, ask: &Ask) -> Refused {
        let mut state = self.state();
        let text = super::nearest::explain(&self.answers, &state.given, ask);
        state.unanswered.push(text.clone());
        Refused::Stop(text)
    }

    /// The answer that a case gives of its own accord to a call that needs none: how long it takes, and its error.
    pub(crate) async fn told(&self, run: &RunContext, ask: &Ask) -> Result<Option<Answer>, Error> {
        let Some(answer) = self.take(ask) else { return Ok(None) };
        self.waited(run, &answer).await?;
        match &answer.error {
            Some(error) => Err(error.get_ref().error()),
            None => Ok(Some(answer)),
        }
    }

    /// How long an answer takes, unless the run is told to stop meanwhile.
    pub(crate) async fn waited(&self, run: &RunContext, answer: &Answer) -> Result<(), Error> {
        let Some(delay) = answer.delay else { return Ok(()) };
        run.unless_stopped(async move {
            tokio::time::sleep(delay.0).await;
            Ok(())
        })
        .await
    }

    /// All that a stream of the guest's holds, at most 256 MiB.
    pub(crate) async fn incoming(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Vec<u8>, Error> {
        use tokio::io::AsyncReadExt as _;
        const MOST: u64 = 256 << 20;
        let Some(incoming) = ask.incoming() else { return Ok(Vec::new()) };
        run.unless_stopped(async move {
            let mut bytes = Vec::new();
            let read = incoming.reader.take(MOST + 1).read_to_end(&mut bytes).await;
            read.map_err(|error| rota_capability::streams::error_of(&error))?;
            if bytes.len() as u64 > MOST {
                return Err(Error::Quota("a case keeps at most 256 MiB of a stream in memory; give it less".into()));
            }
            Ok(bytes)
        })
        .await
    }
}
