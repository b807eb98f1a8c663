//! The imports of `sql.session`.

use super::{Sql, judge, rows};
use crate::detail::{exact, statement_detail};
use crate::pool::Sessions;
use crate::server::Signal;
use crate::session::Session;
use crate::transaction::{Transaction, TransactionOptions};
use crate::wit::{self, Notice, ServerInfo, Value};
use rota_authority::{Decision, Effect, EffectClass, Exact, Gate, SqlAccess};
use rota_capability::streams::{give_bytes, give_outcome, take_bytes, watched};
use rota_capability::tape::{self, Bytes, Handle, HeadItems, Plain, ask, called};
use rota_capability::{CallGuard, Guest, begin, denied, refused};
use rota_classifier::CopyDirection;
use rota_contract::Error;
use std::sync::Arc;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

type Answered<T> = wasmtime::Result<Result<T, Error>>;

/// Count the call in, and find its session.
fn enter<T: Send + 'static>(
    accessor: &Accessor<T, Sql>,
    session: &Resource<Session>,
) -> wasmtime::Result<(CallGuard, Session)> {
    begin(accessor, |guest| Ok(guest.table.get(session)?.clone()))
}

/// Count the call in, and find the door to the servers.
fn sessions<T: Send + 'static>(accessor: &Accessor<T, Sql>) -> wasmtime::Result<(CallGuard, Arc<Sessions>)> {
    let (call, sessions) = begin(accessor, |guest| Ok(guest.services.get::<Sessions>()))?;
    let missing = "the capability sql is linked, but was not provided to the host's services";
    Ok((call, sessions.ok_or_else(|| wasmtime::Error::msg(missing))?))
}

fn gate(call: &CallGuard) -> &Arc<Gate> {
    &call.run().gate
}

/// `Err` as the guest's answer.
macro_rules! answer {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}
pub(super) use answer;

impl<T: Send + 'static> wit::HostSessionWithStore<T> for Sql {
    async fn open(accessor: &Accessor<T, Self>, slot: String) -> Answered<Resource<Session>> {
        called(accessor, ask(accessor, "sql.session.open", None, |asked| asked.with("slot", &slot)), Handle, async {
            let (call, sessions) = sessions(accessor)?;
            let authorized = answer!(gate(&call).authorise("sql.open", &slot, &[]).map_err(denied));
            let session = answer!(sessions.open(&authorized).await);
            accessor.with(|mut access| access.get().push(session)).map(Ok)
        })
        .await
    }

    async fn open_database(
        accessor: &Accessor<T, Self>,
        slot: String,
        database: String,
    ) -> Answered<Resource<Session>> {
        called(
            accessor,
            ask(accessor, "sql.session.open-database", None, |asked| {
                asked.with("slot", &slot).with("database", &database)
            }),
            Handle,
            async {
                let (call, sessions) = sessions(accessor)?;
                let authorized = answer!(gate(&call).authorise("sql.open-database", &slot, &[]).map_err(denied));
                let session = answer!(sessions.open_database(&authorized, &database).await);
                accessor.with(|mut access| access.get().push(session)).map(Ok)
            },
        )
        .await
    }

    async fn server(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answered<ServerInfo> {
        called(accessor, ask(accessor, "sql.session.server", Some(session.rep()), |asked| asked), Plain, async {
            let (call, session) = enter(accessor, &session)?;
            let authorized = answer!(gate(&call).authorise("sql.server", session.slot(), &[]).map_err(denied));
            Ok(session.server(&authorized).await)
        })
        .await
    }

    async fn query(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answered<rows::Answer> {
        called(
            accessor,
            ask(accessor, "sql.session.query", Some(session.rep()), |asked| {
                asked.with("statement", &statement).with("parameters", &parameters)
            }),
            HeadItems,
            async {
                let (call, session) = enter(accessor, &session)?;
                let judged = judge::statement(gate(&call), "sql.query", session.slot(), &statement).await;
                let judged = answer!(judged.and_then(judge::Judged::must_read));
                let limit = call.run().limits.call_bytes;
                let rows =
                    answer!(session.query(&judged.authorized, statement, parameters, judged.selects(), limit).await);
                accessor.with(|mut access| rows::give(&mut access, rows, call.run())).map(Ok)
            },
        )
        .await
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answered<u64> {
        called(
            accessor,
            ask(accessor, "sql.session.execute", Some(session.rep()), |asked| {
                asked.with("statement", &statement).with("parameters", &parameters)
            }),
            Plain,
            async {
                let (call, session) = enter(accessor, &session)?;
                let judged = answer!(judge::statement(gate(&call), "sql.execute", session.slot(), &statement).await);
                match answer!(
                    judged
                        .decide(
                            session.other_database(),
                            statement_detail(&statement, &parameters),
                            exact(&statement, &parameters)
                        )
                        .await
                ) {
                    Decision::Planned => Ok(Ok(0)),
                    Decision::Perform(permit) => Ok(session.execute(permit, &statement, &parameters).await),
                }
            },
        )
        .await
    }

    async fn begin(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        options: TransactionOptions,
    ) -> Answered<Resource<Transaction>> {
        called(
            accessor,
            ask(accessor, "sql.session.begin", Some(session.rep()), |asked| asked.with("options", &options)),
            Handle,
            async {
                let (call, session) = enter(accessor, &session)?;
                let authorized = answer!(gate(&call).authorise("sql.begin", session.slot(), &[]).map_err(denied));
                let transaction = answer!(session.begin(&authorized, options).await);
                accessor.with(|mut access| access.get().push(transaction)).map(Ok)
            },
        )
        .await
    }

    async fn copy_out(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        statement: String,
    ) -> Answered<(StreamReader<u8>, FutureReader<Result<u64, Error>>)> {
        called(
            accessor,
            ask(accessor, "sql.session.copy-out", Some(session.rep()), |asked| asked.with("statement", &statement)),
            Bytes,
            async {
                let (call, session) = enter(accessor, &session)?;
                let judged = answer!(
                    judge::copy(gate(&call), "sql.copy-out", session.slot(), &statement, CopyDirection::Out).await
                );
                let reader = answer!(session.copy_out(&judged.authorized, statement).await);
                let (reader, outcome) = watched(call.run().until_stopped(reader), |bytes| bytes);
                accessor
                    .with(|mut access| Ok(Ok((give_bytes(&mut access, reader)?, give_outcome(&mut access, outcome)?))))
            },
        )
        .await
    }

    async fn copy_in(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        statement: String,
        data: StreamReader<u8>,
    ) -> Answered<u64> {
        let asking =
            ask(accessor, "sql.session.copy-in", Some(session.rep()), |asked| asked.with("statement", &statement));
        let (asking, data) = accessor.with(|mut access| asking.stream(&mut access, "data", data))?;
        called(accessor, asking, Plain, async {
            // Whatever comes of the call, the guest's end of the stream learns that nobody reads it.
            let (call, session) = enter(accessor, &session)?;
            let taken = accessor.with(|mut access| take_bytes(&mut access, data))?;
            let judged =
                answer!(judge::copy(gate(&call), "sql.copy-in", session.slot(), &statement, CopyDirection::In).await);
            let (taken, written) = answer!(taken.held(gate(&call)).await);
            let exact = exact(&statement, &[]).with(written);
            let decided = judged.decide(session.other_database(), statement_detail(&statement, &[]), exact).await;
            match answer!(decided) {
                Decision::Perform(permit) => {
                    let run = call.run().clone();
                    let copied = taken.offload(move |reader| {
                        let reader = run.sending(reader);
                        run.unless_stopped(async move { session.copy_in(permit, statement, reader).await })
                    });
                    Ok(copied.await)
                }
                Decision::Planned => Ok(Ok(0)),
            }
        })
        .await
    }

    async fn configure(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        name: String,
        value: String,
    ) -> Answered<()> {
        called(
            accessor,
            ask(accessor, "sql.session.configure", Some(session.rep()), |asked| {
                asked.with("name", &name).with("value", &value)
            }),
            Plain,
            async {
                let (call, session) = enter(accessor, &session)?;
                let authorized = answer!(gate(&call).authorise("sql.configure", session.slot(), &[]).map_err(denied));
                Ok(session.configure(&authorized, &name, &value).await)
            },
        )
        .await
    }

    async fn cancel_backend(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        pid: u32,
        backend_start: i64,
    ) -> Answered<bool> {
        called(
            accessor,
            ask(accessor, "sql.session.cancel-backend", Some(session.rep()), |asked| {
                asked.with("pid", &pid).with("backend-start", &backend_start)
            }),
            Plain,
            async { signal(accessor, session, Signal::Cancel, pid, backend_start).await },
        )
        .await
    }

    async fn terminate_backend(
        accessor: &Accessor<T, Self>,
        session: Resource<Session>,
        pid: u32,
        backend_start: i64,
    ) -> Answered<bool> {
        called(
            accessor,
            ask(accessor, "sql.session.terminate-backend", Some(session.rep()), |asked| {
                asked.with("pid", &pid).with("backend-start", &backend_start)
            }),
            Plain,
            async { signal(accessor, session, Signal::Terminate, pid, backend_start).await },
        )
        .await
    }

    async fn reload_configuration(accessor: &Accessor<T, Self>, session: Resource<Session>) -> Answered<bool> {
        called(accessor, ask(accessor, "sql.session.reload-configuration", Some(session.rep()), |asked| asked), Plain, async {
            let (call, session) = enter(accessor, &session)?;
            let authorized =
                answer!(gate(&call).authorise_parameter("sql.reload-configuration", session.slot(), None).map_err(denied));
            let detail = "have the server read its configuration files again: all that is written in them takes effect, whoever wrote it";
            let effect = Effect { object: String::new(), detail: detail.into(), class: EffectClass::Write, exact: Exact::shown() };
            match answer!(authorized.effect(effect).await.map_err(refused)) {
                Decision::Planned => Ok(Ok(false)),
                Decision::Perform(permit) => Ok(session.reload_configuration(permit).await),
            }
        })
        .await
    }

    async fn promote(accessor: &Accessor<T, Self>, session: Resource<Session>, wait_seconds: u32) -> Answered<bool> {
        called(
            accessor,
            ask(accessor, "sql.session.promote", Some(session.rep()), |asked| {
                asked.with("wait-seconds", &wait_seconds)
            }),
            Plain,
            async {
                let (call, session) = enter(accessor, &session)?;
                let authorized = answer!(
                    gate(&call).authorise("sql.promote", session.slot(), &[SqlAccess::Promote]).map_err(denied)
                );
                let detail = format!("promote the standby, waiting up to {wait_seconds} s");
                let effect =
                    Effect { object: String::new(), detail, class: EffectClass::Destructive, exact: Exact::shown() };
                match answer!(authorized.effect(effect).await.map_err(refused)) {
                    Decision::Planned => Ok(Ok(false)),
                    Decision::Perform(permit) => Ok(session.promote(permit, wait_seconds).await),
                }
            },
        )
        .await
    }
}

async fn signal<T: Send + 'static>(
    accessor: &Accessor<T, Sql>,
    session: Resource<Session>,
    signal: Signal,
    pid: u32,
    start: i64,
) -> Answered<bool> {
    let (call, session) = enter(accessor, &session)?;
    let (operation, verb, class) = match signal {
        Signal::Cancel => ("sql.cancel-backend", "cancel the statement of", EffectClass::Write),
        Signal::Terminate => ("sql.terminate-backend", "end the session of", EffectClass::Destructive),
    };
    let authorized = answer!(gate(&call).authorise(operation, session.slot(), &[SqlAccess::Signal]).map_err(denied));
    let detail = format!("{verb} backend {pid} (started {start} us after 1970)");
    match answer!(
        authorized
            .effect(Effect { object: format!("pid {pid}"), detail, class, exact: Exact::shown() })
            .await
            .map_err(refused)
    ) {
        Decision::Planned => Ok(Ok(false)),
        Decision::Perform(permit) => Ok(session.signal(permit, signal, pid, start).await),
    }
}

impl wit::HostSession for &mut Guest {
    fn notices(&mut self, session: Resource<Session>) -> wasmtime::Result<Vec<Notice>> {
        tape::now(
            self,
            "sql.session.notices",
            Some(session.rep()),
            |asked| asked,
            Plain,
            |guest| Ok(guest.table.get(&session)?.notices()),
        )
    }

    fn backend_pid(&mut self, session: Resource<Session>) -> wasmtime::Result<u32> {
        tape::now(
            self,
            "sql.session.backend-pid",
            Some(session.rep()),
            |asked| asked,
            Plain,
            |guest| Ok(guest.table.get(&session)?.backend_pid()),
        )
    }

    fn drop(&mut self, session: Resource<Session>) -> wasmtime::Result<()> {
        self.release(session)
    }
}
