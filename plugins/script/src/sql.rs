//! `db`: sessions, transactions, rows.

use crate::desk::{Desk, Slab};
use crate::value::{Js, to_sql};
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, Row, Rows, TransactionOptions, Value};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How many sessions a script may hold at once: rows that are being read keep one busy, an open transaction another.
const SESSIONS: usize = 4;

/// What a script holds of databases.
#[derive(Default)]
pub(crate) struct Databases {
    /// Sessions at rest. The last one back is the first one out, so that what follows each other happens on one session.
    idle: RefCell<Vec<Held>>,
    open: Cell<usize>,
    rows: RefCell<Slab<Reading>>,
    transactions: RefCell<Slab<Open>>,
}

#[derive(Clone)]
struct Held {
    slot: &'static str,
    session: Rc<Session>,
}

struct Reading {
    rows: Rows<'static, Row>,
    columns: Vec<String>,
    /// The session that it keeps busy; none within a transaction.
    of: Option<Held>,
}

struct Open {
    // Before the session: it rolls back over it.
    transaction: Rc<Transaction<'static>>,
    of: Held,
}

/// Calls of `db`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let databases = &desk.databases;
    match (what, args) {
        ("query", [slot, statement, values]) => {
            let (statement, values) = (operators(statement)?, bound(values)?);
            let held = databases.take(desk, slot).await?;
            match held.session.query_shared(statement, values).await {
                Ok(rows) => Ok(databases.reading(rows, Some(held))),
                Err(error) => {
                    databases.give_back(held);
                    Err(error)
                }
            }
        }
        ("execute", [slot, statement, values]) => {
            let (statement, values) = (operators(statement)?, bound(values)?);
            let held = databases.take(desk, slot).await?;
            let done = held.session.execute_shared(statement, values).await;
            databases.give_back(held);
            Ok(Js::count(done?))
        }
        ("next", [handle]) => databases.next(handle).await,
        ("close", [handle]) => {
            databases.close(handle);
            Ok(Js::Undefined)
        }
        ("begin", [slot, options]) => databases.begin(desk, slot, options).await,
        ("transaction-query", [handle, statement, values]) => {
            let (statement, values) = (operators(statement)?, bound(values)?);
            let transaction = databases.transaction(handle)?;
            Ok(databases.reading(transaction.query_shared(statement, values).await?, None))
        }
        ("transaction-execute", [handle, statement, values]) => {
            let (statement, values) = (operators(statement)?, bound(values)?);
            let transaction = databases.transaction(handle)?;
            Ok(Js::count(transaction.execute_shared(statement, values).await?))
        }
        ("commit" | "rollback", [handle]) => {
            let Open { transaction, of } = databases.transactions.borrow_mut().remove(handle)?;
            let ended = match Rc::try_unwrap(transaction) {
                Ok(transaction) if what == "commit" => transaction.commit().await,
                Ok(transaction) => transaction.rollback().await,
                Err(_) => Err(Error::new("a call within the transaction has not ended: await it")),
            };
            databases.give_back(of);
            ended.map(|()| Js::Undefined)
        }
        ("notices", [slot]) => {
            let held = databases.take(desk, slot).await?;
            let said = held
                .session
                .notices()
                .into_iter()
                .map(|notice| Js::Text(format!("{}: {}", notice.severity, notice.message)));
            let said = Js::List(said.collect());
            databases.give_back(held);
            Ok(said)
        }
        _ => Err(Desk::unknown("db", what)),
    }
}

impl Databases {
    /// Let go of everything. True: a transaction was open, which is rolled back.
    pub(crate) fn forget(&self) -> bool {
        self.rows.borrow_mut().clear();
        let was_open = self.transactions.borrow_mut().clear();
        self.idle.borrow_mut().clear();
        self.open.set(0);
        was_open
    }

    async fn take(&self, desk: &Desk, slot: &Js) -> Result<Held> {
        let slot = desk.sql_slot(slot)?;
        let place = self.idle.borrow().iter().rposition(|held| held.slot == slot.name());
        if let Some(place) = place {
            return Ok(self.idle.borrow_mut().remove(place));
        }
        if self.open.get() == SESSIONS {
            return Err(Error::new(format!("the script holds {SESSIONS} sessions that are busy"))
                .hint("await calls before making others; read rows to their end or leave the loop; end transactions"));
        }
        self.open.set(self.open.get() + 1);
        match slot.open().await {
            Ok(session) => Ok(Held { slot: slot.name(), session: Rc::new(session) }),
            Err(error) => {
                self.open.set(self.open.get() - 1);
                Err(error)
            }
        }
    }

    fn give_back(&self, held: Held) {
        self.idle.borrow_mut().push(held);
    }

    fn reading(&self, rows: Rows<'static, Row>, of: Option<Held>) -> Js {
        let columns: Vec<String> = rows.columns().iter().map(|column| column.name.clone()).collect();
        let shown = rows
            .columns()
            .iter()
            .map(|column| Js::object([("name", Js::text(&*column.name)), ("type", Js::text(&*column.type_name))]));
        let shown = Js::List(shown.collect());
        let handle = self.rows.borrow_mut().insert(Reading { rows, columns, of });
        Js::object([("handle", handle), ("columns", shown)])
    }

    async fn next(&self, handle: &Js) -> Result<Js> {
        // Taken out meanwhile: a second call at once finds it gone.
        let mut reading = self.rows.borrow_mut().take(handle)?;
        match reading.rows.next_batch().await {
            Ok(Some(batch)) => {
                let columns = reading.columns.clone();
                self.rows.borrow_mut().put_back(handle, reading);
                Ok(Js::Rows(columns, batch))
            }
            ended => {
                self.rows.borrow_mut().free(handle);
                drop(reading.rows);
                if let Some(held) = reading.of {
                    self.give_back(held);
                }
                ended.map(|_| Js::Null)
            }
        }
    }

    fn close(&self, handle: &Js) {
        if let Ok(Reading { rows, of, .. }) = self.rows.borrow_mut().remove(handle) {
            drop(rows);
            if let Some(held) = of {
                self.give_back(held);
            }
        }
    }

    async fn begin(&self, desk: &Desk, slot: &Js, options: &Js) -> Result<Js> {
        let isolation = match options.member("isolation") {
            Js::Undefined | Js::Null => Isolation::ReadCommitted,
            Js::Text(word) => match word.as_str() {
                "read committed" => Isolation::ReadCommitted,
                "repeatable read" => Isolation::RepeatableRead,
                "serializable" => Isolation::Serializable,
                other => {
                    return Err(Error::new(format!(
                        "no isolation {other:?}: read committed, repeatable read or serializable"
                    )));
                }
            },
            _ => return Err(Error::new("isolation is a text: read committed, repeatable read or serializable")),
        };
        let options = TransactionOptions {
            isolation,
            read_only: matches!(options.member("readOnly"), Js::Flag(true)),
            lock_timeout: match options.member("lockTimeout") {
                Js::Number(milliseconds) if *milliseconds >= 0.0 => Some(*milliseconds as _),
                Js::Undefined | Js::Null => None,
                _ => return Err(Error::new("lockTimeout is a number of milliseconds")),
            },
        };
        let held = self.take(desk, slot).await?;
        match held.session.begin_shared(options).await {
            Ok(transaction) => {
                let open = Open { transaction: Rc::new(transaction), of: held };
                Ok(self.transactions.borrow_mut().insert(open))
            }
            Err(error) => {
                self.give_back(held);
                Err(error)
            }
        }
    }

    fn transaction(&self, handle: &Js) -> Result<Rc<Transaction<'static>>> {
        let transactions = self.transactions.borrow();
        Ok(transactions.get(handle).map_err(|_| Error::new("the transaction is over"))?.transaction.clone())
    }
}

/// The operator's statement.
fn operators(statement: &Js) -> Result<Sql> {
    match statement {
        Js::Text(text) => Ok(Sql::from_operator(text.clone())),
        _ => Err(Error::new("a statement is a text").hint("db.query(\"select ... where id = $1\", [id])")),
    }
}

fn bound(values: &Js) -> Result<Vec<Value>> {
    match values {
        Js::Undefined => Ok(Vec::new()),
        Js::List(values) => values.iter().map(to_sql).collect(),
        _ => Err(Error::new("the values of a statement are an array: [first, second]")),
    }
}
