//! One statement of the operator's: planned with its EXPLAIN, run under exactly what is granted, its rows shown as a table.

#[cfg(test)]
mod tests;

use rota_sdk::HostError;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk::sql::{Sql, Value};
use rota_sdk_sql::{Kind, show};

procedure! {
    name: "sql-statement",
    summary: "Runs one SQL statement of yours: planned with its EXPLAIN, under exactly what is granted, its rows shown as a table.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: false,
    slots: {
        database: sql [read, write, maintain, index, ddl] "Runs the statement, and EXPLAINs it in a plan.",
    },
    examples: [
        "Look something up" => json!({ "statement": "select id, status from orders where customer = $1", "values": [42] }),
        "Mend rows, at most ten" => json!({ "statement": "update orders set status = 'open' where status = 'opne'", "most_changed": 10 }),
        "Refresh statistics" => json!({ "statement": "analyze orders" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to run, and its bounds.
#[parameters]
pub struct Parameters {
    /// The statement: one, of SQL.
    statement: String,
    /// What stands for $1, $2 ... in it: texts, numbers, booleans, null. Where the server needs another type, cast: `$1::uuid`.
    #[parameter(default)]
    values: Vec<Json>,
    /// Show so many rows at most.
    #[parameter(default = 100, range = 1..=10_000)]
    rows: u32,
    /// Take the change back when it touches more rows.
    #[parameter(default = 1_000, range = 0..)]
    most_changed: u64,
    /// Let TRUNCATE through, which no count of rows bounds.
    #[parameter(default)]
    unbounded: bool,
    /// Wait at most so long for a lock, in milliseconds.
    #[parameter(default = 5_000, range = 1..=3_600_000)]
    lock_timeout_ms: u32,
}

/// What came of it.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// What sort of statement it was taken for: `query`, `change` (of rows, in a transaction) or `command`.
    kind: Kind,
    /// Whether it ran; false in a plan.
    ran: bool,
    /// The server's plan, a line each; empty where it has none (commands such as VACUUM).
    plan: Vec<String>,
    /// How many rows the server expects to be read or changed, where it has a plan.
    expected_rows: Option<f64>,
    /// The columns of the answer.
    columns: Vec<Column>,
    /// The rows, a list of values each, as many as `rows` allows.
    rows: Vec<Vec<Json>>,
    /// Whether there were more rows.
    truncated: bool,
    /// How many rows a change touched.
    changed: Option<u64>,
    /// What the server said besides.
    notices: Vec<String>,
}

/// A column of the answer.
#[data]
pub struct Column {
    /// Its name.
    name: String,
    /// The server's name of its type.
    type_name: String,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let kind = Kind::of(&parameters.statement)?;
    let values = parameters.values.iter().map(show::bound).collect::<Result<Vec<_>>>()?;
    // What is looked up about the server narrows its session's search_path; the statement gets one of its own.
    let server = Server::inspect(&mut cx.database().open().await?).await?;
    let mut session = cx.database().open().await?;
    session.configure("lock_timeout", format!("{}ms", parameters.lock_timeout_ms)).await?;

    let mut data = Data {
        server,
        kind,
        ran: false,
        plan: Vec::new(),
        expected_rows: None,
        columns: Vec::new(),
        rows: Vec::new(),
        truncated: false,
        changed: None,
        notices: Vec::new(),
    };
    let mut report = Report::new();
    let statement = Statement { parameters: &parameters, values };
    if Kind::is_unbounded(&parameters.statement) && !parameters.unbounded {
        return Err(Error::new("TRUNCATE removes every row, and no count bounds it: nothing is done")
            .hint("use DELETE, which is taken back beyond most_changed; -p unbounded=true lets it"));
    }
    if cx.is_plan() && kind != Kind::Command {
        plan(&mut session, &statement, &mut data).await?;
    }
    let summary = match kind {
        Kind::Query if cx.is_plan() => match only_reads(&mut session, &statement).await? {
            true => "a run would read".to_owned(),
            false => change(&cx, &mut session, &statement, &mut data).await?,
        },
        Kind::Query => match query(&mut session, &statement, &mut data).await {
            // Rows changed within a WITH, or locked (the host says so); a function that writes (the server does): it is a change.
            Err(error) if is_change(&error) => change(&cx, &mut session, &statement, &mut data).await?,
            other => other?,
        },
        Kind::Change => change(&cx, &mut session, &statement, &mut data).await?,
        Kind::Command => match change(&cx, &mut session, &statement, &mut data).await {
            // What cannot run inside a transaction (VACUUM, CREATE INDEX CONCURRENTLY), and was therefore not begun: the host or the server says so.
            Err(error)
                if error.code() == Some("25001") || matches!(error.cause(), Some(HostError::InvalidArgument(_))) =>
            {
                session.execute(statement.sql(), statement.values.clone()).await?;
                data.ran = !cx.is_plan();
                if cx.is_plan() { "it would be run".to_owned() } else { "done".to_owned() }
            }
            other => other?,
        },
    };
    let said = session.notices().into_iter().map(|notice| format!("{}: {}", notice.severity, notice.message));
    data.notices.extend(said);
    tell(&data, &summary, &mut report);
    Ok(report.data(data))
}

/// Whether it was refused for not being one that only reads.
fn is_change(error: &Error) -> bool {
    // SQLSTATE read_only_sql_transaction.
    error.code() == Some("25006") || matches!(error.cause(), Some(HostError::InvalidArgument(_)))
}

struct Statement<'p> {
    parameters: &'p Parameters,
    values: Vec<Value>,
}

impl Statement<'_> {
    fn sql(&self) -> Sql {
        Sql::from_operator(self.parameters.statement.clone())
    }
}

/// Whether the host and the server let it through as one that only reads: it is begun in a READ ONLY transaction, and left at its first rows.
async fn only_reads(session: &mut Session, statement: &Statement<'_>) -> Result<bool> {
    session.configure("statement_timeout", format!("{PROBE_MS}ms")).await?;
    let begun = match session.query::<Row>(statement.sql(), statement.values.clone()).await {
        Ok(mut rows) => rows.next().await.map(drop),
        Err(error) => Err(error),
    };
    match begun {
        Err(error) if is_change(&error) => Ok(false),
        // It reads, and takes long.
        Err(error) if error.code() == Some("57014") => Ok(true),
        other => other.map(|()| true),
    }
}

/// How long a plan looks whether a query is let through as one, milliseconds.
const PROBE_MS: u32 = 2_000;

/// What the server would do, by its own word.
async fn plan(session: &mut Session, statement: &Statement<'_>, data: &mut Data) -> Result<()> {
    if !Kind::has_plan(&statement.parameters.statement) {
        return Ok(());
    }
    let text = &statement.parameters.statement;
    let explain = Sql::from_operator(format!("EXPLAIN {text}"));
    data.plan = session.query_all(explain, statement.values.clone()).await.context("asking the server for its plan")?;
    let explain = Sql::from_operator(format!("EXPLAIN (FORMAT JSON) {text}"));
    let plan: Json = session.query_one(explain, statement.values.clone()).await?;
    data.expected_rows = show::expected_rows(&plan[0]["Plan"]);
    Ok(())
}

/// Read rows, as many as are wanted.
async fn query(session: &mut Session, statement: &Statement<'_>, data: &mut Data) -> Result<String> {
    let most = statement.parameters.rows as usize;
    let mut rows = session.query::<Row>(statement.sql(), statement.values.clone()).await?;
    data.columns =
        rows.columns().iter().map(|c| Column { name: c.name.clone(), type_name: c.type_name.clone() }).collect();
    while let Some(row) = rows.next().await? {
        if data.rows.len() == most {
            data.truncated = true;
            break;
        }
        let values = (0..data.columns.len()).map(|place| row.at::<Value>(place).map(|value| show::json(&value)));
        data.rows.push(values.collect::<Result<_>>()?);
    }
    drop(rows);
    data.ran = true;
    let more = if data.truncated { " and more" } else { "" };
    Ok(format!("{} rows{more}", data.rows.len()))
}

/// Change rows, and take it back where there are too many.
async fn change(cx: &Context, session: &mut Session, statement: &Statement<'_>, data: &mut Data) -> Result<String> {
    let most = statement.parameters.most_changed;
    if data.kind == Kind::Query {
        data.kind = Kind::Change;
    }
    let mut transaction = session.begin().await?;
    let answered = transaction.execute(statement.sql(), statement.values.clone()).await?;
    // What the command's tag counts is what its outermost part did: rows changed by a WITH, by an EXPLAIN ANALYZE or by a trigger are counted by the
    // server's own statistics of this transaction.
    let (counted, counts): (i64, bool) = if cx.is_plan() {
        (0, true)
    } else {
        let tables = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int8, current_setting('track_counts')::bool \
                      from pg_catalog.pg_stat_xact_user_tables";
        transaction.query_one(tables, params![]).await?
    };
    if !counts {
        let what = "rows changed by a WITH, a trigger or an EXPLAIN ANALYZE were not counted";
        data.notices.push(format!("WARNING: track_counts is off on this server: {what}"));
    }
    let changed = answered.max(u64::try_from(counted).unwrap_or(0));
    if changed > most {
        transaction.rollback().await?;
        return Err(Error::new(format!(
            "it touched {changed} rows, more than most_changed ({most}): taken back, nothing is changed"
        ))
        .hint(format!("plan it first (--plan) to see what it does; -p most_changed={changed} lets it")));
    }
    transaction.commit().await?;
    if cx.is_plan() {
        let expected = data.expected_rows.map(|rows| format!(", about {rows} rows")).unwrap_or_default();
        return Ok(format!("it would be run{expected}, and taken back beyond {most} rows"));
    }
    data.ran = true;
    data.changed = Some(changed);
    Ok(if touched_nothing(data) { "done".to_owned() } else { format!("{changed} rows changed") })
}

/// Whether it was a command that is told by what it did, not by rows.
fn touched_nothing(data: &Data) -> bool {
    data.kind == Kind::Command && data.changed == Some(0)
}

fn tell(data: &Data, summary: &str, report: &mut Report) {
    report.summary(summary);
    if !data.plan.is_empty() {
        let mut table = report.table("plan", "The server's plan", ["step"]);
        for line in &data.plan {
            table.row(cells![line]);
        }
    }
    if !data.columns.is_empty() {
        let mut table =
            report.table_of("rows", "Rows", data.columns.iter().map(|column| column.name.clone()).collect());
        for row in &data.rows {
            table.row(row.iter().map(show::cell).collect());
        }
    }
    if data.truncated {
        report
            .note(format!("only the first {} rows are shown", data.rows.len()))
            .advice("more: -p rows=10000, or narrow the statement");
    }
    for notice in &data.notices {
        if notice.starts_with("WARNING") {
            report.warning(notice);
        }
    }
}
