//! The databases of the server, each looked into by a session of its own, several at once.

use crate::{Context, Parameters};
use rota_sdk::HostError;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use std::time::Duration;

/// Every database that may be connected to.
const ALL: &str = "*";

/// Transactions that a database's oldest row may be old: warn, critical. At two billion it stops.
const AGE: (f64, f64) = (300e6, 1e9);

/// What was seen in a database.
#[data]
pub(crate) struct InDatabase {
    /// Its name.
    name: String,
    /// Whether it could be logged into.
    reached: bool,
    /// How long logging in took, in seconds.
    login_seconds: Option<f64>,
    /// Its size in bytes.
    bytes: Option<i64>,
    /// How many transactions its oldest row is old.
    age: Option<i64>,
    /// Indexes that are not valid: nobody reads them, and every write keeps them up.
    invalid_indexes: Option<i64>,
    /// Its largest table, quoted by the server.
    largest_table: Option<String>,
    /// That table's size with indexes and large values, in bytes.
    largest_bytes: Option<i64>,
}

#[derive(FromRow)]
struct Seen {
    bytes: i64,
    age: i64,
    invalid_indexes: i64,
    largest_table: Option<String>,
    largest_bytes: Option<i64>,
}

const NAMES: &str =
    "select d.datname::text from pg_catalog.pg_database d where d.datallowconn and not d.datistemplate order by 1";

// One statement: with many databases, what counts is how often the server is asked.
const INSIDE: &str = "\
    select pg_database_size(d.oid) as bytes, age(d.datfrozenxid)::int8 as age, \
           (select count(*) from pg_catalog.pg_index i where not i.indisvalid) as invalid_indexes, \
           l.name as largest_table, pg_total_relation_size(l.oid) as largest_bytes \
    from pg_catalog.pg_database d \
    left join lateral ( \
        select c.oid, format('%I.%I', n.nspname, c.relname) as name \
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
        where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') and c.relpersistence <> 't' \
        order by pg_total_relation_size(c.oid) desc nulls last, 2 limit 1) l on true \
    where d.datname = current_database()";

/// How long a database waits for a session of the binding to be free.
const PATIENCE: f64 = 30.0;

pub(crate) async fn check(
    cx: &Context,
    session: &mut Session,
    parameters: &Parameters,
    server: &mut Server,
    report: &mut Report,
) -> Result<Vec<InDatabase>> {
    let names = if parameters.databases.iter().any(|name| name == ALL) {
        session.query_all(NAMES, params![]).await.context("listing databases")?
    } else {
        parameters.databases.clone()
    };
    let bound = usize::try_from(parameters.concurrency).unwrap_or(1);
    let looked = rota_sdk::each(&names, bound, |name| look(cx, name)).await;
    let mut all = Vec::new();
    for (name, looked) in names.into_iter().zip(looked) {
        let (mut one, error) = looked;
        one.name.clone_from(&name);
        if let Some(error) = error {
            refused(&name, &error, server, report)?;
        }
        judge(&one, report);
        all.push(one);
    }
    show(&all, report);
    Ok(all)
}

/// What was seen until it broke, and why it did.
async fn look(cx: &Context, name: &str) -> (InDatabase, Option<Error>) {
    let mut one = InDatabase {
        name: name.to_owned(),
        reached: false,
        login_seconds: None,
        bytes: None,
        age: None,
        invalid_indexes: None,
        largest_table: None,
        largest_bytes: None,
    };
    let error = inside(cx, name, &mut one).await.err();
    (one, error)
}

async fn inside(cx: &Context, name: &str, one: &mut InDatabase) -> Result<()> {
    let before = cx.now();
    let mut session = loop {
        match cx.database().open_database(name).await {
            // The binding allows fewer sessions (max_connections) than were asked for: another of ours ends soon.
            Err(error)
                if matches!(error.cause(), Some(HostError::Quota(_))) && cx.now().seconds_since(before) < PATIENCE =>
            {
                cx.sleep(Duration::from_millis(20)).await?;
            }
            opened => break opened?,
        }
    };
    (one.reached, one.login_seconds) = (true, Some(cx.now().seconds_since(before)));
    // As in Server::inspect: no user's function stands in for the system's.
    session.configure("search_path", "pg_toast").await?;
    let seen: Seen = session.query_one(INSIDE, params![]).await?;
    (one.bytes, one.age, one.invalid_indexes) = (Some(seen.bytes), Some(seen.age), Some(seen.invalid_indexes));
    (one.largest_table, one.largest_bytes) = (seen.largest_table, seen.largest_bytes);
    Ok(())
}

/// A database that the role may not enter is hidden; one that is broken is not well.
fn refused(name: &str, error: &Error, server: &mut Server, report: &mut Report) -> Result<()> {
    if error.is_denied() || error.is_cancelled() {
        return Err(error.clone());
    }
    match error.code() {
        Some("42501" | "28000" | "28P01") => {
            server.hide(format!("database {name}: role {} may not connect to it, or not look", server.role));
        }
        Some("55P03" | "57014") => {
            server.hide(format!("database {name}: what was asked waits for a lock for too long"));
        }
        Some("3D000") => {
            report.critical(format!("database {name}: there is none of this name"));
        }
        _ => {
            report
                .critical(format!("database {name}: it cannot be looked into"))
                .because(error)
                .advice("Connect to it by hand, and see the server's log");
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "thresholds are far below 2^53")]
fn judge(one: &InDatabase, report: &mut Report) {
    let name = &one.name;
    if let Some(age) = one.age {
        let severity = Severity::of(age as f64, AGE.0, AGE.1);
        if severity != Severity::Ok {
            report
                .finding(severity, format!("database {name}: its oldest row is {age} transactions old"))
                .detail("At two billion the server takes no writes any more.")
                .remedy("postgres-vacuum", &json!({}), "in that database, and it says who holds vacuum back");
        }
    }
    if let Some(count) = one.invalid_indexes.filter(|count| *count > 0) {
        report
            .warning(format!("database {name}: {count} indexes are not valid"))
            .detail("Nobody reads them, and every write keeps them up. An index that is being built is one of them until it is done.")
            .remedy("postgres-index-advice", &json!({}), "in that database, names them");
    }
}

fn show(all: &[InDatabase], report: &mut Report) {
    let columns = ["database", "login", "size", "age", "invalid indexes", "largest table", "its size"];
    let mut table = report.table("inside", "Inside the databases", columns);
    let bytes = |count: Option<i64>| count.map(|count| Bytes(u64::try_from(count).unwrap_or(0)));
    for one in all {
        table.row(cells![
            &one.name,
            one.login_seconds.map(Seconds),
            bytes(one.bytes),
            one.age,
            one.invalid_indexes,
            one.largest_table.as_ref(),
            bytes(one.largest_bytes)
        ]);
    }
}
