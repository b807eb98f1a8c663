//! `tools` and `process`: programs are judged by the host's own rules of their arguments, and answered by the case: exit code, output and
//! what they said on their standard error. And the key that decrypts.

use super::ask::{Ask, Refused};
use super::reply::{Reply, cut};
use super::{Held, World, sql};
use crate::format::Answer;
use rota_authority::{Key, KeyAccess, Kind, Permit, Tool, ToolAccess};
use rota_capability::streams::{Reader, stream_error};
use rota_capability::{RunContext, taken};
use rota_capability_tools::Connection;
use rota_contract::{Error, Fault};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt as _;

/// What runs, or has run.
#[derive(Debug)]
pub(crate) struct Child {
    /// None once it was taken.
    stdout: Option<Vec<u8>>,
    /// What ends its output, beside its exit.
    ends: Option<Answer>,
    /// As the contract has it.
    status: Value,
    stderr: String,
    /// Why a store keeps nothing of its output.
    failed: Option<Error>,
}

impl Child {
    /// Of what a plan did not start.
    pub(super) fn planned() -> Self {
        Self { stdout: Some(Vec::new()), ends: None, status: json!("planned"), stderr: String::new(), failed: None }
    }

    /// As a case answers it.
    fn of(answer: &Answer, name: &str) -> Result<Self, Refused> {
        let stderr = answer.stderr.clone().unwrap_or_default();
        let code = answer.exit.unwrap_or(0);
        let (status, said) = match answer.signal {
            Some(signal) => (json!({ "signal": signal }), Some(format!("{name} was ended by signal {signal}"))),
            None => (json!({ "code": code }), (code != 0).then(|| format!("{name} exited with {code}"))),
        };
        let failed = said.map(|message| {
            let detail = (!stderr.is_empty()).then(|| stderr.clone());
            Error::Failed(Fault { code: "exit".into(), message, detail, retryable: false })
        });
        let stdout = Some(sql::content(answer)?);
        let ends = (answer.cut_after.is_some() || answer.error.is_some()).then(|| answer.clone());
        Ok(Self { stdout, ends, status, stderr, failed })
    }

    fn output(&mut self) -> Result<Reader, Error> {
        let bytes = self.stdout.take().ok_or_else(taken)?;
        if let Some(ends) = &self.ends {
            return Ok(cut(bytes, ends));
        }
        let reader = std::io::Cursor::new(bytes);
        Ok(match self.failed.clone() {
            None => Box::pin(reader),
            // It fails at its end, so that no store keeps half an output as a whole one.
            Some(error) => Box::pin(reader.chain(Fails(Some(error)))),
        })
    }
}

struct Fails(Option<Error>);

impl tokio::io::AsyncRead for Fails {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(self.0.take().map_or(Ok(()), |error| Err(stream_error(error))))
    }
}

impl World {
    /// Hold what runs, for the calls on it.
    pub(super) fn child(&self, ask: &Ask, child: Child) -> Reply {
        self.hold(ask.number, Held::Child(Arc::new(Mutex::new(child))));
        Reply::nothing()
    }

    /// It was started, and has ended as the case says: its effect is on record with that.
    pub(super) async fn started<K: Kind>(
        &self,
        ask: &Ask,
        permit: Permit<K>,
        answer: &Answer,
        name: &str,
    ) -> Result<Reply, Refused> {
        if let Some(error) = answer.error.as_ref().filter(|_| answer.text.is_none() && answer.base64.is_none()) {
            let error = error.get_ref().error();
            return Err(self
                .conclude(ask, permit, Err::<(), _>(error), |()| String::new())
                .await
                .map_or_else(Refused::Error, |()| Refused::Stop("an error was concluded as none".into())));
        }
        let child = Child::of(answer, name)?;
        let outcome = child.failed.clone().map_or(Ok(()), Err);
        // A program that failed is a failed effect, though how it ended is a good answer.
        let _ = self.conclude(ask, permit, outcome, |()| "exited with 0".to_owned()).await;
        Ok(self.child(ask, child))
    }

    pub(super) async fn tools(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let slot = ask.slot();
        if ask.verb() == "info" {
            self.authorise::<Tool>(&run.gate, "tools.info", &slot, &[ToolAccess::Run])?;
            if let Some(value) = self.told(run, ask).await?.and_then(|answer| answer.value) {
                return Ok(Reply::Value(value));
            }
            let version = self.setup(&slot).version.unwrap_or_else(|| "17.6".to_owned());
            let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
            return Ok(Reply::Value(json!({ "version": version, "major": major })));
        }
        let words = ask.arguments.get("arguments").and_then(Value::as_array).into_iter().flatten();
        let words: Vec<String> = words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
        let connection = ask.arguments.get("connection").filter(|connection| !connection.is_null()).map(|connection| {
            let word = |key: &str| connection.get(key).and_then(Value::as_str).map(str::to_owned);
            Connection { slot: word("slot").unwrap_or_default(), database: word("database") }
        });
        let judged = rota_capability_tools::judge(&run.gate, &slot, &words, connection)?;
        self.note(&slot, &[ToolAccess::Run]);
        if let Some(connects) = judged.connects() {
            self.note(connects.slot(), connects.needed());
        }
        let name = self.setup(&slot).program.unwrap_or_else(|| slot.clone());
        let Some(effect) = judged.effect() else {
            drop(self.incoming(run, ask).await?);
            let answer = self.must(ask)?;
            self.waited(run, &answer).await?;
            return Ok(self.child(ask, Child::of(&answer, &name)?));
        };
        let Some(permit) = self.effect(judged.authorized(), effect).await? else {
            return Ok(self.child(ask, Child::planned()));
        };
        drop(self.incoming(run, ask).await?);
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        self.started(ask, permit, &answer, &name).await
    }

    pub(super) async fn process(&self, ask: &Ask) -> Result<Reply, Refused> {
        let Some(Held::Child(child)) = &ask.held else {
            return Err(Refused::Stop(format!("`{}` is called on what no call gave", ask.operation)));
        };
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        match ask.verb() {
            "stdout" => Ok(Reply::Bytes { head: Value::Null, reader: child.output()? }),
            "wait" => {
                // An output that nobody took is discarded from here on.
                child.stdout = None;
                Ok(Reply::Value(json!({ "status": child.status, "stderr": child.stderr })))
            }
            _ => Ok(Reply::nothing()),
        }
    }

    /// What is decrypted is what the case answers, or the bytes themselves: a bucket of a case holds what it says, without a lock on it.
    pub(super) async fn decrypt(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let slot = ask.slot();
        self.authorise::<Key>(&run.gate, "bytes.decrypt", &slot, &[KeyAccess::Decrypt])?;
        let answer = self.told(run, ask).await?;
        // The bytes go by as they come: it answers before there are any.
        let incoming = ask.incoming();
        Ok(Reply::Filtered(match (&answer, incoming) {
            (Some(answer), _) if answer.text.is_some() || answer.base64.is_some() => cut(sql::content(answer)?, answer),
            (_, Some(incoming)) => incoming.reader,
            (_, None) => Box::pin(tokio::io::empty()),
        }))
    }
}
