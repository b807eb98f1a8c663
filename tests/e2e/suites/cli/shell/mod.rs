//! `rota shell`: at a terminal, and from a pipe.

mod piped;
mod terminal;

use rota_testbed::{Database, Postgres};
use rota_tests::{Rota, Said};
use serde_json::Value;

const ORDERS: &str = "create table orders (id int primary key, total int); insert into orders select i, i * 10 from generate_series(1, 3) i";

/// A query that takes very long. (`pg_sleep` is refused.)
const SLOW: &str = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 100000) b";

async fn fresh(name: &str, setup: &str) -> Database {
    let database = Postgres::shared().await.unwrap().fresh_database(name).await.unwrap();
    for statement in setup.split("; ").filter(|statement| !statement.is_empty()) {
        database.execute(statement).await.unwrap();
    }
    database
}

async fn number(database: &Database, query: &'static str) -> i64 {
    let mut session = database.connect().await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut session).await.unwrap()
}

/// How many slow queries are under way on the server.
async fn slow(database: &Database) -> i64 {
    let mut session = database.connect().await.unwrap();
    sqlx::query_scalar("select count(*) from pg_stat_activity where datname = $1 and state = 'active' and query like '%1000000%' and pid <> pg_backend_pid()")
        .bind(database.name())
        .fetch_one(&mut session)
        .await
        .unwrap()
}

async fn piped(rota: &Rota, arguments: &[&str], input: &str) -> Said {
    let mut all = vec!["shell"];
    all.extend(arguments);
    rota.run_with(&all, input).await.unwrap()
}

/// What a pipe was told: an object a statement, and the run.
async fn told(rota: &Rota, status: i32, arguments: &[&str], input: &str) -> Vec<Value> {
    let said = piped(rota, arguments, input).await;
    assert_eq!(said.status, Some(status), "{said:?}");
    said.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said:?}")))
        .collect()
}

fn output(statement: &Value) -> Vec<&str> {
    statement["output"]
        .as_array()
        .unwrap_or_else(|| panic!("{statement:#}"))
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect()
}

fn error(statement: &Value) -> String {
    let part = |name: &str| statement["error"][name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", part("kind"), part("message"), part("hint"))
}
