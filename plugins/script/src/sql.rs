//! `db`: sessions, transactions, rows.

use crate::desk::{Desk, Slab};
use crate::flow::{Flow, Source};
use crate::value::{Js, to_sql};
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, Row, Rows, TransactionOptions, Value};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

/// How many sessions a script may hold at once: rows that are being read keep one busy, an open transaction another.
const SESSIONS: usize = 4;

/// What a script holds of databases.
#[derive(Default)]
pub(crate) struct Databases {
    sessions: Rc<Sessions>,
    rows: RefCell<Slab<Reading>>,
    transactions: RefCell<Slab<Open>>,
}

/// The sessions of a script.
#[derive(Default)]
struct Sessions {
    /// Those at rest. The last one back is the first one out, so that what follows each other happens on one session.
    idle: RefCell<Vec<(&'static str, Session)>>,
    /// Those that the script has for itself, by the number that stands for the slot in their calls.
    own: RefCell<Slab<(&'static str, Session)>>,
    open: Cell<usize>,
}

impl Sessions {
    /// One has been closed. All may have been let go meanwhile.
    fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

/// A session that something keeps busy. Dropped, it is closed.
pub(crate) struct Busy {
    slot: &'static str,
    session: Option<Session>,
    /// Its number, where it is one that the script has for itself.
    own: Option<Js>,
    of: Rc<Sessions>,
}

impl Busy {
    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(|| Error::new("the session is over"))
    }

    /// It is in order, and may be used again.
    pub(crate) fn give_back(mut self) {
        let Some(session) = self.session.take() else { return };
        match &self.own {
            None => self.of.idle.borrow_mut().push((self.slot, session)),
            Some(handle) => {
                if !self.of.own.borrow_mut().put_back(handle, (self.slot, session)) {
                    self.of.closed();
                }
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.session.take().is_some() {
            if let Some(handle) = &self.own {
                self.of.own.borrow_mut().free(handle);
            }
            self.of.closed();
        }
    }
}

struct Reading {
    rows: Rows<'static, Row>,
    columns: Vec<String>,
    /// The session that it keeps busy; none within a transaction.
    of: Option<Busy>,
}

struct Open {
    // Before the session: it rolls back over it.
    transaction: Rc<Transaction<'static>>,
    of: Busy,
}

/// Calls of `db`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let databases = &desk.databases;
    match (what, args) {
        ("query", [slot, statement, values]) => {
            let (statement, values) = (operators(statement)?, bound(values)?);
            let busy = databases.take(desk, slot).await?;
            match busy.session()?.query_shared(statement, values).await {
                Ok(rows) => Ok(databases.reading(rows, Some(busy))),
                Err(error) => {
                    busy.give_back();
                    Err(error)
                }
            }
        }
        ("execute", [slot, statement, values]) => {
            let (statement, values) = (operators(statement)?, bound(values)?);
            let busy = databases.take(desk, slot).await?;
            let done = busy.session()?.execute_shared(statement, values).await;
            busy.give_back();
            Ok(Js::count(done?))
        }
        ("copy-out", [slot, statement]) => {
            let statement = operators(statement)?;
            let name = format!("`{}`", statement.as_str().chars().take(80).collect::<String>());
            let busy = databases.take(desk, slot).await?;
            match busy.session()?.copy_out_shared(statement).await {
                Ok((stream, ending)) => {
                    let flow = Flow::new(name, stream).from(Source::Counted(ending)).keeping(busy);
                    Ok(desk.flows.insert(flow))
                }
                Err(error) => {
                    busy.give_back();
                    Err(error)
                }
            }
        }
        ("copy-in", [slot, statement, flow]) => {
            let statement = operators(statement)?;
            let (stream, watch) = desk.flows.take(flow)?.into_parts();
            let busy = databases.take(desk, slot).await?;
            let stored = busy.session()?.copy_in_shared(statement, stream).await;
            busy.give_back();
            Ok(Js::count(watch.after(desk, stored).await?))
        }
        ("server", [slot]) => {
            let busy = databases.take(desk, slot).await?;
            let server = busy.session()?.server_shared().await;
            busy.give_back();
            let server = server?;
            Ok(Js::object([
                ("version", Js::Text(server.version)),
                ("versionNumber", Js::Number(server.version_num.into())),
                ("inRecovery", Js::Flag(server.in_recovery)),
                ("systemIdentifier", server.system_identifier.map_or(Js::Null, Js::Text)),
                ("database", Js::Text(server.database)),
                ("role", Js::Text(server.role)),
            ]))
        }
        ("signal", [slot, Js::Number(pid), start, Js::Flag(terminate)]) => {
            let start = match start {
                Js::Big(microseconds) => Timestamp(*microseconds),
                _ => {
                    return Err(Error::new("a backend is told from a later one of its number by its start, in microseconds, as a BigInt")
                        .hint("select pid, (extract(epoch from backend_start) * 1000000)::bigint as started from pg_stat_activity"));
                }
            };
            let busy = databases.take(desk, slot).await?;
            let done = busy.session()?.signal_shared(*pid as u32, start, *terminate).await;
            busy.give_back();
            done.map(Js::Flag)
        }
        ("promote", [slot, Js::Number(seconds)]) => {
            if seconds.fract() != 0.0 || !(0.0..=86_400.0).contains(seconds) {
                return Err(Error::new("`seconds` is a whole number, how long to wait for the end of recovery"));
            }
            let busy = databases.take(desk, slot).await?;
            let done = busy.session()?.promote_shared(*seconds as u32).await;
            busy.give_back();
            done.map(Js::Flag)
        }
        ("reload-configuration", [slot]) => {
            let busy = databases.take(desk, slot).await?;
            let done = busy.session()?.reload_configuration_shared().await;
            busy.give_back();
            done.map(Js::Flag)
        }
        ("open-session", [slot, database]) => databases.open_own(desk, slot, database).await,
        ("close-session", [handle @ Js::Number(_)]) => {
            databases.close_own(handle);
            Ok(Js::Undefined)
        }
        ("backend-pid", [handle @ Js::Number(_)]) => {
            let busy = databases.take(desk, handle).await?;
            let pid = busy.session()?.backend_pid();
            busy.give_back();
            Ok(Js::count(pid.into()))
        }
        ("configure", [handle @ Js::Number(_), Js::Text(name), value]) => {
            let value = match value {
                Js::Text(value) => value.clone(),
                Js::Number(number) => number.to_string(),
                Js::Big(number) => number.to_string(),
                Js::Flag(flag) => flag.to_string(),
                _ => return Err(Error::new("the value of a parameter is a text, a number or a boolean")),
            };
            let busy = databases.take(desk, handle).await?;
            let done = busy.session()?.configure_shared(name, value).await;
            busy.give_back();
            done.map(|()| Js::Undefined)
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
            of.give_back();
            ended.map(|()| Js::Undefined)
        }
        ("notices", [slot]) => {
            let busy = databases.take(desk, slot).await?;
            let said = busy
                .session()?
                .notices()
                .into_iter()
                .map(|notice| Js::Text(format!("{}: {}", notice.severity, notice.message)));
            let said = Js::List(said.collect());
            busy.give_back();
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
        self.sessions.idle.borrow_mut().clear();
        self.sessions.own.borrow_mut().clear();
        self.sessions.open.set(0);
        was_open
    }

    /// Close those that the script had for itself and left open.
    pub(crate) fn close_sessions(&self) {
        let left = self.sessions.own.borrow_mut().drain();
        for session in left {
            drop(session);
            self.sessions.closed();
        }
    }

    /// A session for a call: of a slot any that is at rest, of a number the one that it stands for.
    async fn take(&self, desk: &Desk, slot: &Js) -> Result<Busy> {
        let Sessions { idle, own, .. } = &*self.sessions;
        if let Js::Number(_) = slot {
            let (name, session) = own.borrow_mut().take(slot)?;
            let own = Some(slot.clone());
            return Ok(Busy { slot: name, session: Some(session), own, of: self.sessions.clone() });
        }
        let slot = desk.sql_slot(slot)?;
        let busy = |session| Busy { slot: slot.name(), session: Some(session), own: None, of: self.sessions.clone() };
        let place = idle.borrow().iter().rposition(|(of, _)| *of == slot.name());
        if let Some(place) = place {
            return Ok(busy(idle.borrow_mut().remove(place).1));
        }
        Ok(busy(self.connected(slot.open()).await?))
    }

    /// One more session. Where there are as many as may be, the one that has been at rest the longest makes room.
    async fn connected(&self, opening: impl Future<Output = Result<Session>>) -> Result<Session> {
        let Sessions { idle, open, .. } = &*self.sessions;
        if open.get() >= SESSIONS {
            if idle.borrow().is_empty() {
                return Err(Error::new(format!("the script holds {SESSIONS} sessions that are busy")).hint(
                    "await calls before making others; read rows to their end or leave the loop; end transactions; close sessions",
                ));
            }
            drop(idle.borrow_mut().remove(0));
            self.sessions.closed();
        }
        open.set(open.get() + 1);
        let opened = opening.await;
        if opened.is_err() {
            self.sessions.closed();
        }
        opened
    }

    /// A session that the script has for itself: its number.
    async fn open_own(&self, desk: &Desk, slot: &Js, database: &Js) -> Result<Js> {
        let slot = desk.sql_slot(slot)?;
        let session = match database {
            Js::Undefined | Js::Null => self.connected(slot.open()).await?,
            Js::Text(database) => self.connected(slot.open_database(database.clone())).await?,
            _ => return Err(Error::new("the name of a database is a text")),
        };
        Ok(self.sessions.own.borrow_mut().insert((slot.name(), session)))
    }

    /// One that a call keeps busy is closed when that has ended.
    fn close_own(&self, handle: &Js) {
        let mut own = self.sessions.own.borrow_mut();
        if let Ok(session) = own.remove(handle) {
            drop(session);
            self.sessions.closed();
        } else {
            own.free(handle);
        }
    }

    fn reading(&self, rows: Rows<'static, Row>, of: Option<Busy>) -> Js {
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
                if let Some(busy) = reading.of {
                    busy.give_back();
                }
                ended.map(|_| Js::Null)
            }
        }
    }

    fn close(&self, handle: &Js) {
        if let Ok(Reading { rows, of, .. }) = self.rows.borrow_mut().remove(handle) {
            drop(rows);
            if let Some(busy) = of {
                busy.give_back();
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
        let busy = self.take(desk, slot).await?;
        match busy.session()?.begin_shared(options).await {
            Ok(transaction) => {
                let open = Open { transaction: Rc::new(transaction), of: busy };
                Ok(self.transactions.borrow_mut().insert(open))
            }
            Err(error) => {
                busy.give_back();
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
