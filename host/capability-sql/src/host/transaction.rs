//! The imports of `sql.transaction`.

use super::session::answer;
use super::{Sql, judge, rows};
use crate::detail::{exact, statement_detail};
use crate::transaction::Transaction;
use crate::wit::{self, Value};
use rota_authority::Decision;
use rota_capability::tape::{HeadItems, Plain, ask, called};
use rota_capability::{CallGuard, Guest, begin, denied};
use rota_classifier::TransactionRule;
use rota_contract::Error;
use wasmtime::component::{Accessor, Resource};

type Answered<T> = wasmtime::Result<Result<T, Error>>;

fn enter<T: Send + 'static>(
    accessor: &Accessor<T, Sql>,
    transaction: &Resource<Transaction>,
) -> wasmtime::Result<(CallGuard, Transaction)> {
    begin(accessor, |guest| Ok(guest.table.get(transaction)?.clone()))
}

impl<T: Send + 'static> wit::HostTransactionWithStore<T> for Sql {
    async fn query(
        accessor: &Accessor<T, Self>,
        transaction: Resource<Transaction>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answered<rows::Answer> {
        called(
            accessor,
            ask(accessor, "sql.transaction.query", Some(transaction.rep()), |asked| {
                asked.with("statement", &statement).with("parameters", &parameters)
            }),
            HeadItems,
            async {
                let (call, transaction) = enter(accessor, &transaction)?;
                let judged = judge::statement(&call.run().gate, "sql.query", transaction.slot(), &statement).await;
                let judged = answer!(judged.and_then(judge::Judged::must_read));
                let limit = call.run().limits.call_bytes;
                let rows = answer!(
                    transaction.query(&judged.authorized, statement, parameters, judged.selects(), limit).await
                );
                accessor.with(|mut access| rows::give(&mut access, rows, call.run())).map(Ok)
            },
        )
        .await
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        transaction: Resource<Transaction>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answered<u64> {
        called(
            accessor,
            ask(accessor, "sql.transaction.execute", Some(transaction.rep()), |asked| {
                asked.with("statement", &statement).with("parameters", &parameters)
            }),
            Plain,
            async {
                let (call, transaction) = enter(accessor, &transaction)?;
                let judged =
                    answer!(judge::statement(&call.run().gate, "sql.execute", transaction.slot(), &statement).await);
                if judged.statement.transaction == TransactionRule::Forbidden {
                    let verb = judged.statement.verb;
                    return Ok(Err(Error::InvalidArgument(format!(
                        "{verb} cannot run inside of a transaction; use the session's `execute`"
                    ))));
                }
                if transaction.is_read_only() {
                    if judged.only_reads() {
                        return Ok(transaction.execute_reading(&judged.authorized, &statement, &parameters).await);
                    }
                    return Ok(Err(Error::InvalidArgument(format!(
                        "the transaction is READ ONLY, and this {} needs {}",
                        judged.statement.verb, judged.statement.accesses
                    ))));
                }
                match answer!(
                    judged
                        .decide(
                            transaction.other_database(),
                            statement_detail(&statement, &parameters),
                            exact(&statement, &parameters)
                        )
                        .await
                ) {
                    Decision::Planned => Ok(Ok(0)),
                    Decision::Perform(permit) => Ok(transaction.execute(permit, &statement, &parameters).await),
                }
            },
        )
        .await
    }

    async fn commit(accessor: &Accessor<T, Self>, transaction: Resource<Transaction>) -> Answered<()> {
        called(
            accessor,
            ask(accessor, "sql.transaction.commit", Some(transaction.rep()), |asked| asked),
            Plain,
            async {
                let (call, transaction) = enter(accessor, &transaction)?;
                let authorized =
                    answer!(call.run().gate.authorise("sql.commit", transaction.slot(), &[]).map_err(denied));
                Ok(transaction.commit(&authorized).await)
            },
        )
        .await
    }

    async fn rollback(accessor: &Accessor<T, Self>, transaction: Resource<Transaction>) -> Answered<()> {
        called(
            accessor,
            ask(accessor, "sql.transaction.rollback", Some(transaction.rep()), |asked| asked),
            Plain,
            async {
                let (call, transaction) = enter(accessor, &transaction)?;
                let authorized =
                    answer!(call.run().gate.authorise("sql.rollback", transaction.slot(), &[]).map_err(denied));
                Ok(transaction.rollback(&authorized).await)
            },
        )
        .await
    }
}

impl wit::HostTransaction for &mut Guest {
    fn drop(&mut self, transaction: Resource<Transaction>) -> wasmtime::Result<()> {
        self.release(transaction)
    }
}
