//! A statement of SQL, in the transaction that earlier ones began or by itself.

use super::say;
use crate::desk::Desk;
use crate::value::Js;
use rota_sdk::HostError;
use rota_sdk::prelude::*;
use rota_sdk_sql::kind::first_word;
use rota_sdk_sql::{Kind, show};
use std::collections::BTreeMap;

/// How many rows are shown.
const SHOWN: usize = 1_000;
/// How many notices are shown.
const NOTICES: usize = 50;

/// The transactions that statements began, by slot: the numbers that the desk knows them by.
#[derive(Default)]
pub(super) struct Transactions(BTreeMap<String, Js>);

impl Transactions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The slots that have one open.
    pub(super) fn slots(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Run a statement, and show what it answers.
    ///
    /// # Errors
    /// What the host or the server said.
    pub(super) async fn run(&mut self, desk: &Desk, slot: &str, statement: &str, read: bool) -> Result<Json> {
        let word = first_word(statement).unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "begin" | "start" => return self.begin(desk, slot, statement).await,
            "commit" | "end" => return self.finish(desk, slot, "db.commit").await,
            "rollback" | "abort" => return self.finish(desk, slot, "db.rollback").await,
            _ => {}
        }
        let reads = matches!(Kind::of(statement), Ok(Kind::Query));
        if read {
            if !reads {
                return Ok(json!({ "needs": true }));
            }
            return match self.query(desk, slot, statement).await {
                // Rows changed within a WITH, or locked (the host says so); a function that writes (the server does).
                Err(error) if is_change(&error) => Ok(json!({ "needs": true })),
                other => other,
            };
        }
        let touched = match self.0.get(slot) {
            Some(transaction) => {
                let args = [transaction.clone(), Js::text(statement), Js::Undefined];
                desk.call("db.transaction-execute", &args).await?
            }
            None => desk.call("db.execute", &[Js::text(slot), Js::text(statement), Js::Undefined]).await?,
        };
        self.notices(desk, slot).await;
        Ok(json!({ "touched": touched.into_json() }))
    }

    async fn begin(&mut self, desk: &Desk, slot: &str, statement: &str) -> Result<Json> {
        if self.0.contains_key(slot) {
            return Err(Error::new("a transaction is open already").hint("end it with commit; or rollback;"));
        }
        let options = options(statement)?;
        let transaction = desk.call("db.begin", &[Js::text(slot), options]).await?;
        self.0.insert(slot.to_owned(), transaction);
        Ok(json!({ "said": "a transaction is open: commit; or rollback; ends it" }))
    }

    async fn finish(&mut self, desk: &Desk, slot: &str, how: &str) -> Result<Json> {
        let Some(transaction) = self.0.remove(slot) else {
            return Err(Error::new("no transaction is open").hint("begin; opens one"));
        };
        desk.call(how, &[transaction]).await?;
        Ok(json!({ "said": if how == "db.commit" { "committed" } else { "rolled back" } }))
    }

    async fn query(&self, desk: &Desk, slot: &str, statement: &str) -> Result<Json> {
        let opened = match self.0.get(slot) {
            Some(transaction) => {
                let args = [transaction.clone(), Js::text(statement), Js::Undefined];
                desk.call("db.transaction-query", &args).await?
            }
            None => desk.call("db.query", &[Js::text(slot), Js::text(statement), Js::Undefined]).await?,
        };
        let handle = opened.member("handle").clone();
        let columns = columns(&opened);
        let mut rows: Vec<Vec<Json>> = Vec::new();
        let mut truncated = false;
        while let Js::Rows(_, batch) = desk.call("db.next", std::slice::from_ref(&handle)).await? {
            let room = SHOWN - rows.len();
            truncated = batch.len() > room;
            rows.extend(batch.iter().take(room).map(|row| row.iter().map(show::json).collect()));
            if truncated {
                desk.call("db.close", std::slice::from_ref(&handle)).await?;
                break;
            }
        }
        let count = rows.len();
        if !columns.is_empty() {
            say(&json!({ "table": { "title": "", "columns": columns, "rows": rows } }));
        }
        self.notices(desk, slot).await;
        Ok(json!({ "rows": count, "truncated": truncated }))
    }

    /// What the server said besides. Of a transaction it is said with the first statement behind it.
    async fn notices(&self, desk: &Desk, slot: &str) {
        if self.0.contains_key(slot) {
            return;
        }
        if let Ok(Js::List(said)) = desk.call("db.notices", &[Js::text(slot)]).await {
            for notice in said.into_iter().take(NOTICES) {
                if let Js::Text(notice) = notice {
                    say(&json!({ "notice": notice }));
                }
            }
        }
    }
}

fn columns(opened: &Js) -> Vec<Json> {
    match opened.member("columns") {
        Js::List(columns) => columns.iter().map(|column| column.member("name").clone().into_json()).collect(),
        _ => Vec::new(),
    }
}

/// Whether it was refused for not being one that only reads.
fn is_change(error: &Error) -> bool {
    // SQLSTATE read_only_sql_transaction.
    error.code() == Some("25006") || matches!(error.cause(), Some(HostError::InvalidArgument(_)))
}

/// What BEGIN asks for.
fn options(statement: &str) -> Result<Js> {
    let words = statement.to_ascii_lowercase().replace([';', ','], " ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let has = |wanted: &[&str]| words.windows(wanted.len()).any(|found| found == wanted);
    let mut options = Vec::new();
    if has(&["isolation", "level"]) {
        let level = ["read committed", "repeatable read", "serializable"];
        let level = level.into_iter().find(|level| has(&level.split(' ').collect::<Vec<_>>()));
        let Some(level) = level else {
            return Err(Error::new("no such isolation level: read committed, repeatable read or serializable"));
        };
        options.push(("isolation".to_owned(), Js::text(level)));
    }
    options.push(("readOnly".to_owned(), Js::Flag(has(&["read", "only"]))));
    Ok(Js::Object(options))
}

#[cfg(test)]
mod tests {
    use super::options;
    use crate::value::Js;

    #[test]
    fn what_begin_asks_for_is_read() {
        for (statement, isolation, read_only) in [
            ("begin", Js::Undefined, false),
            ("BEGIN ISOLATION LEVEL repeatable read, READ ONLY;", Js::text("repeatable read"), true),
            ("start transaction isolation level serializable", Js::text("serializable"), false),
            ("begin transaction read only;", Js::Undefined, true),
        ] {
            let read = options(statement).unwrap();
            assert_eq!((read.member("isolation"), read.member("readOnly")), (&isolation, &Js::Flag(read_only)));
        }
        assert!(options("begin isolation level strict").unwrap_err().to_string().contains("no such isolation"));
    }
}
