//! `sql`: statements are judged by the host's own classifier and gate, and answered by the case.

use super::ask::{Ask, Refused};
use super::reply::Reply;
use super::{Held, World, rows};
use crate::format::Answer;
use base64::Engine as _;
use rota_authority::{Effect, EffectClass, Exact, Sql, SqlAccess};
use rota_capability::{RunContext, denied, tape};
use rota_capability_sql::host::judge::{self, Judged};
use rota_capability_sql::{exact, statement_detail};
use rota_classifier::{AccessSet, CopyDirection, TransactionRule};
use rota_contract::Error;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The process id of every session of a case.
const BACKEND: u32 = 4242;

impl World {
    pub(super) async fn sql(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let (gate, slot) = (&run.gate, ask.slot());
        match ask.verb() {
            "open" => {
                self.authorise::<Sql>(gate, "sql.open", &slot, &[])?;
                self.told(run, ask).await?;
                self.hold(ask.number, Held::Session { slot, database: None });
                Ok(Reply::nothing())
            }
            "open-database" => {
                self.authorise::<Sql>(gate, "sql.open-database", &slot, &[])?;
                self.told(run, ask).await?;
                let database = ask.some_text("database");
                self.hold(ask.number, Held::Session { slot, database });
                Ok(Reply::nothing())
            }
            "server" => {
                self.authorise::<Sql>(gate, "sql.server", &slot, &[])?;
                let told = self.told(run, ask).await?.and_then(|answer| answer.value);
                Ok(Reply::Value(server(&self.setup(&slot).server, told, ask)))
            }
            "notices" => {
                Ok(Reply::Value(self.told(run, ask).await?.and_then(|answer| answer.value).unwrap_or(json!([]))))
            }
            "backend-pid" => {
                Ok(Reply::Value(self.told(run, ask).await?.and_then(|answer| answer.value).unwrap_or(json!(BACKEND))))
            }
            "configure" => {
                self.authorise::<Sql>(gate, "sql.configure", &slot, &[])?;
                self.told(run, ask).await?;
                Ok(Reply::nothing())
            }
            "begin" => {
                self.authorise::<Sql>(gate, "sql.begin", &slot, &[])?;
                self.told(run, ask).await?;
                let read_only = ask.arguments.get("options").and_then(|options| options.get("read-only"));
                let read_only = read_only.and_then(Value::as_bool).unwrap_or(false);
                let database = other_database(ask);
                self.hold(ask.number, Held::Transaction { slot, database, read_only });
                Ok(Reply::nothing())
            }
            "commit" => {
                self.authorise::<Sql>(gate, "sql.commit", &slot, &[])?;
                self.told(run, ask).await?;
                Ok(Reply::nothing())
            }
            "rollback" => {
                self.authorise::<Sql>(gate, "sql.rollback", &slot, &[])?;
                self.told(run, ask).await?;
                Ok(Reply::nothing())
            }
            "query" => self.query(run, ask, &slot).await,
            "execute" => self.execute(run, ask, &slot).await,
            "copy-out" => self.copy_out(run, ask, &slot).await,
            "copy-in" => self.copy_in(run, ask, &slot).await,
            "cancel-backend" => {
                let class = EffectClass::Write;
                self.signal(run, ask, "sql.cancel-backend", "cancel the statement of", class).await
            }
            "terminate-backend" => {
                let class = EffectClass::Destructive;
                self.signal(run, ask, "sql.terminate-backend", "end the session of", class).await
            }
            "reload-configuration" => {
                let authorized = gate.authorise_parameter("sql.reload-configuration", &slot, None).map_err(denied)?;
                self.note(&slot, &[SqlAccess::AlterSystem]);
                let detail = "have the server read its configuration files again: all that is written in them takes effect, whoever wrote it";
                let effect = Effect {
                    object: String::new(),
                    detail: detail.into(),
                    class: EffectClass::Write,
                    exact: Exact::shown(),
                };
                let Some(permit) = self.effect(&authorized, effect).await? else {
                    return Ok(Reply::Value(json!(false)));
                };
                let result = self.told(run, ask).await.map(flag);
                Ok(Reply::Value(json!(
                    self.conclude(ask, permit, result, |told| {
                        if *told { "told to" } else { "not told" }.to_owned()
                    })
                    .await?
                )))
            }
            "promote" => {
                let authorized = self.authorise::<Sql>(gate, "sql.promote", &slot, &[SqlAccess::Promote])?;
                let wait = ask.number("wait-seconds").unwrap_or_default();
                let effect = Effect {
                    object: String::new(),
                    detail: format!("promote the standby, waiting up to {wait} s"),
                    class: EffectClass::Destructive,
                    exact: Exact::shown(),
                };
                let Some(permit) = self.effect(&authorized, effect).await? else {
                    return Ok(Reply::Value(json!(false)));
                };
                let result = self.told(run, ask).await.map(flag);
                Ok(Reply::Value(json!(
                    self.conclude(ask, permit, result, |left| {
                        if *left { "promoted" } else { "still in recovery" }.to_owned()
                    })
                    .await?
                )))
            }
            _ => Err(Refused::Stop(format!("cases do not know the call `{}`", ask.operation))),
        }
    }

    /// Judge a statement, and note which accesses it was let through with.
    async fn judged(
        &self,
        run: &Arc<RunContext>,
        ask: &Ask,
        operation: &'static str,
        slot: &str,
    ) -> Result<Judged, Error> {
        let judged = judge::statement(&run.gate, operation, slot, &ask.text("statement")).await?;
        self.saw(slot, &judged);
        Ok(judged)
    }

    fn saw(&self, slot: &str, judged: &Judged) {
        self.note(slot, judged.authorized.needed());
        let accesses = judged.statement.accesses;
        let all: Vec<SqlAccess> = SqlAccess::ALL.into_iter().filter(|access| accesses.contains(*access)).collect();
        self.note(slot, &all);
    }

    async fn query(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        self.judged(run, ask, "sql.query", slot).await?.must_read()?;
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        rows_of(&answer)
    }

    async fn execute(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let judged = self.judged(run, ask, "sql.execute", slot).await?;
        if let Some(Held::Transaction { read_only, .. }) = &ask.held {
            if judged.statement.transaction == TransactionRule::Forbidden {
                let verb = judged.statement.verb;
                let text = format!("{verb} cannot run inside of a transaction; use the session's `execute`");
                return Err(Error::InvalidArgument(text).into());
            }
            if *read_only {
                if judged.only_reads() {
                    let answer = self.must(ask)?;
                    self.waited(run, &answer).await?;
                    return Ok(Reply::Value(json!(touched(&answer)?)));
                }
                return Err(Error::InvalidArgument(format!(
                    "the transaction is READ ONLY, and this {} needs {}",
                    judged.statement.verb, judged.statement.accesses
                ))
                .into());
            }
        }
        let (statement, parameters) = (ask.text("statement"), parameters(ask));
        let database = other_database(ask);
        let (detail, exact) = (statement_detail(&statement, &parameters), exact(&statement, &parameters));
        let permit = match judged.decide(database.as_deref(), detail, exact).await? {
            rota_authority::Decision::Planned => return Ok(Reply::Value(json!(0))),
            rota_authority::Decision::Perform(permit) => permit,
        };
        let result = match self.take(ask) {
            Some(answer) => match self.waited(run, &answer).await {
                Ok(()) => touched(&answer),
                Err(error) => Err(error),
            },
            // A statement without a number of rows says that it was done, and nothing else.
            None if !writes(&judged) => Ok(0),
            None => return Err(self.no_answer(ask)),
        };
        let said = |n: &u64| format!("{n} row{}", if *n == 1 { "" } else { "s" });
        Ok(Reply::Value(json!(self.conclude(ask, permit, result, said).await?)))
    }

    async fn copy_out(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let statement = ask.text("statement");
        let judged = judge::copy(&run.gate, "sql.copy-out", slot, &statement, CopyDirection::Out).await?;
        self.saw(slot, &judged);
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        bytes_of(&answer, Value::Null)
    }

    async fn copy_in(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let statement = ask.text("statement");
        let judged = judge::copy(&run.gate, "sql.copy-in", slot, &statement, CopyDirection::In).await?;
        self.saw(slot, &judged);
        let (detail, exact) = (statement_detail(&statement, &[]), exact(&statement, &[]));
        let decided = judged.decide(other_database(ask).as_deref(), detail, exact).await?;
        let rota_authority::Decision::Perform(permit) = decided else { return Ok(Reply::Value(json!(0))) };
        let result = match self.incoming(run, ask).await {
            Err(error) => Err(error),
            Ok(bytes) => match self.told(run, ask).await {
                Err(error) => Err(error),
                Ok(answer) => {
                    // Of the text form, a line is a row.
                    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                    Ok(answer.and_then(|answer| answer.affected).unwrap_or(lines))
                }
            },
        };
        let said = |n: &u64| format!("{n} row{}", if *n == 1 { "" } else { "s" });
        Ok(Reply::Value(json!(self.conclude(ask, permit, result, said).await?)))
    }

    async fn signal(
        &self,
        run: &Arc<RunContext>,
        ask: &Ask,
        operation: &'static str,
        verb: &str,
        class: EffectClass,
    ) -> Result<Reply, Refused> {
        let slot = ask.slot();
        let authorized = self.authorise::<Sql>(&run.gate, operation, &slot, &[SqlAccess::Signal])?;
        let pid = ask.number("pid").unwrap_or_default();
        let start = ask.arguments.get("backend-start").and_then(Value::as_i64).unwrap_or_default();
        let detail = format!("{verb} backend {pid} (started {start} us after 1970)");
        let effect = Effect { object: format!("pid {pid}"), detail, class, exact: Exact::shown() };
        let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::Value(json!(false))) };
        let result = self.told(run, ask).await.map(flag);
        let said = |sent: &bool| if *sent { "sent" } else { "no such backend" }.to_owned();
        Ok(Reply::Value(json!(self.conclude(ask, permit, result, said).await?)))
    }
}

/// Whether a statement says how many rows it touched.
fn writes(judged: &Judged) -> bool {
    let accesses = judged.statement.accesses;
    accesses.contains(SqlAccess::Write) || accesses.is_subset(AccessSet::of(SqlAccess::Read))
}

/// What a call that answers yes or no was told; yes.
fn flag(answer: Option<Answer>) -> bool {
    answer.and_then(|answer| answer.value).and_then(|value| value.as_bool()).unwrap_or(true)
}

fn touched(answer: &Answer) -> Result<u64, Error> {
    match &answer.error {
        Some(error) => Err(error.get_ref().error()),
        None => Ok(answer.affected.or_else(|| answer.rows.as_ref().map(|rows| rows.len() as u64)).unwrap_or(0)),
    }
}

fn rows_of(answer: &Answer) -> Result<Reply, Refused> {
    if answer.rows.is_none()
        && let Some(error) = &answer.error
    {
        return Err(error.get_ref().error().into());
    }
    let columns = answer.columns.as_ref().map(|columns| columns.get_ref().as_slice());
    let rows = answer.rows.as_deref().unwrap_or_default();
    // What cannot be read was refused when the file was.
    let read = rows::read(columns, rows).map_err(|why| Refused::Stop(format!("{}: {why}", answer.place)))?;
    let items = read.rows.iter().map(tape::shown).collect();
    Ok(Reply::items(tape::shown(&read.columns), items, answer))
}

/// The bytes of an answer, or its error.
pub(super) fn bytes_of(answer: &Answer, head: Value) -> Result<Reply, Refused> {
    if answer.text.is_none()
        && answer.base64.is_none()
        && let Some(error) = &answer.error
    {
        return Err(error.get_ref().error().into());
    }
    Ok(Reply::bytes(head, content(answer)?, answer))
}

/// The bytes that an answer holds.
pub(super) fn content(answer: &Answer) -> Result<Vec<u8>, Refused> {
    if let Some(base64) = &answer.base64 {
        let decoded = base64::engine::general_purpose::STANDARD.decode(base64.trim());
        return decoded.map_err(|error| Refused::Stop(format!("{}: `base64` is none: {error}", answer.place)));
    }
    Ok(answer.text.clone().unwrap_or_default().into_bytes())
}

/// The parameters of a statement, as the contract has them.
fn parameters(ask: &Ask) -> Vec<rota_capability_sql::wit::Value> {
    let given = ask.arguments.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
    given.into_iter().filter_map(|value| tape::made(value).ok()).collect()
}

fn other_database(ask: &Ask) -> Option<String> {
    match &ask.held {
        Some(Held::Session { database, .. } | Held::Transaction { database, .. }) => database.clone(),
        _ => None,
    }
}

/// What a server says of itself: what the case says, and the ordinary.
fn server(setup: &Map<String, Value>, told: Option<Value>, ask: &Ask) -> Value {
    let mut said = Map::new();
    for (key, value) in setup.iter().chain(told.as_ref().and_then(Value::as_object).into_iter().flatten()) {
        said.insert(key.replace('_', "-"), value.clone());
    }
    let version = said.get("version").and_then(Value::as_str).unwrap_or("17.6").to_owned();
    let number = said.get("version-num").and_then(Value::as_u64).unwrap_or_else(|| version_number(&version));
    let database = other_database(ask).map(Value::String).or_else(|| said.get("database").cloned());
    json!({
        "version-num": number,
        "version": version,
        "in-recovery": said.get("in-recovery").and_then(Value::as_bool).unwrap_or(false),
        "system-identifier": said.get("system-identifier").cloned().unwrap_or_else(|| json!("7000000000000000001")),
        "database": database.unwrap_or_else(|| json!("shop")),
        "role": said.get("role").cloned().unwrap_or_else(|| json!("rota")),
    })
}

/// 160014 for `16.14`.
fn version_number(version: &str) -> u64 {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u64>().unwrap_or(0));
    parts.next().unwrap_or(17) * 10_000 + parts.next().unwrap_or(0)
}
