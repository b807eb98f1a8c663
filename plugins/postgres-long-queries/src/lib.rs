//! Statements and transactions that take long; cancels or ends them when asked.

use rota_sdk::postgres::{self, Backend, Ended, Ending, Named, Outcome, Protection, Same, Server};
use rota_sdk::prelude::*;

mod tell;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-long-queries",
    summary: "Finds statements and transactions that take long, and cancels or ends them when asked.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, signal] "Reads what clients do, and cancels or ends what takes long where that is asked for.",
    },
    examples: [
        "What takes long; nothing is done" => json!({}),
        "Cancel statements over 10 minutes, and end the sessions that do not mind it" =>
            json!({ "act": "cancel-then-terminate", "min_statement_seconds": 600.0, "min_transaction_seconds": 3600.0 }),
        "End one session" => json!({ "act": "terminate", "pid": 4242, "backend_start": "2026-11-23T16:45:00.123456Z" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What counts as long, and what is done about it.
#[parameters]
pub struct Parameters {
    /// What is done to the sessions that are found.
    #[parameter(default = Act::Observe)]
    act: Act,
    /// From how many seconds on a statement is long.
    #[parameter(default = 60.0, range = 0.0..)]
    min_statement_seconds: f64,
    /// From how many seconds on an open transaction is long, whether a statement runs in it or not.
    #[parameter(default = 300.0, range = 0.0..)]
    min_transaction_seconds: f64,
    /// Critical from so many seconds on, of a statement or of a transaction.
    #[parameter(default = 3600.0, range = 0.0..)]
    critical_seconds: f64,
    /// Only this session, whatever it does and wherever it is.
    #[parameter(range = 1..)]
    pid: Option<i64>,
    /// When the session of `pid` started, as a report gives it: a later session of the same number is left alone.
    backend_start: Option<Timestamp>,
    /// Only sessions of these databases; without any, all are looked at, and those of the bound one are acted on.
    #[parameter(default)]
    databases: Vec<String>,
    /// Sessions of every database are acted on.
    #[parameter(default = false)]
    all_databases: bool,
    /// Only sessions of these users.
    #[parameter(default)]
    users: Vec<String>,
    /// Only sessions of these applications (a `*` at the end stands for any rest).
    #[parameter(default)]
    applications: Vec<String>,
    /// Users whose sessions are never touched.
    #[parameter(default)]
    protected_users: Vec<String>,
    /// Applications whose sessions are never touched (a `*` at the end stands for any rest), such as a dump's `pg_dump`.
    #[parameter(default)]
    protected_applications: Vec<String>,
    /// How many sessions are acted on at most, the longest first.
    #[parameter(default = 20, range = 1..=10_000)]
    maximum: u32,
    /// How long to wait for each to be so, in seconds: after a cancel, and again after an end.
    #[parameter(default = 10, range = 1..=600)]
    wait_seconds: u32,
}

/// What to do to a session.
#[parameters]
pub enum Act {
    /// Nothing: only tell.
    Observe,
    /// Cancel its statement. Does nothing to a session that runs none.
    Cancel,
    /// End the session; its transaction is rolled back.
    Terminate,
    /// Cancel its statement, and end the session where that does not help or none runs.
    CancelThenTerminate,
}

/// What takes long, and what was done.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// How many clients' sessions were looked at.
    sessions_seen: usize,
    /// Those that take long, the longest first; at most 200.
    long: Vec<Backend>,
    /// How many take long.
    long_count: usize,
    /// The sessions that were to be acted on, and what became of each.
    ended: Vec<Ended>,
    /// How many more there were that had no turn: beyond `maximum`, or after what broke the run off.
    left_out: usize,
}

/// How many sessions the data lists.
const LISTED: usize = 200;

async fn run(cx: Context, parameters: Parameters) -> rota_sdk::Outcome<Data> {
    if parameters.backend_start.is_some() && parameters.pid.is_none() {
        return Err(Error::new("`backend_start` says which session of a `pid` is meant, and there is no `pid`"));
    }
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let all = postgres::look(&mut session, true).await?;
    let unseen = all.iter().filter(|backend| backend.state.is_none()).count();
    if unseen > 0 {
        server.hide(format!("what {unseen} of {} sessions do is hidden", all.len()));
    }
    let named = Named {
        users: parameters.users.clone(),
        applications: parameters.applications.clone(),
        databases: parameters.databases.clone(),
    };
    let is_long = |backend: &&Backend| match parameters.pid {
        Some(pid) => {
            backend.pid == pid && parameters.backend_start.is_none_or(|start| backend.backend_start == Some(start))
        }
        None => !backend.own && named.has(backend) && tell::why(backend, &parameters).is_some(),
    };
    let mut long: Vec<Backend> = all.iter().filter(is_long).cloned().collect();
    long.sort_by(|a, b| tell::longest(b).total_cmp(&tell::longest(a)));

    let mut report = Report::new();
    let chosen = choose(&long, &parameters, &server);
    let mut ended = Vec::new();
    let worked = act_on(&cx, &mut session, &chosen, &parameters, &mut ended).await;
    // Each that was chosen has an outcome, but for those beyond the maximum and after what broke the run off.
    let left_out = chosen.len() - ended.len();

    if long.is_empty()
        && let Some(pid) = parameters.pid
    {
        report.note(format!("pid {pid}: no client's session, or not the one that was meant"));
    }
    tell::long(&long, &ended, &parameters, &mut report);
    if left_out > 0 && worked.is_ok() {
        report
            .warning(format!("{left_out} more sessions were to be acted on than {}", parameters.maximum))
            .advice("Run it again, or with a larger `maximum`");
    }
    Ended::report(&ended, &server.role, &mut report);
    server.report_visibility(&mut report);
    report.summary(tell::summary(&long, all.len(), &ended));
    let data = Data {
        visibility_complete: server.visibility_complete,
        server,
        sessions_seen: all.len(),
        long_count: long.len(),
        long: long.into_iter().take(LISTED).collect(),
        ended,
        left_out,
    };
    match worked {
        Ok(()) => Ok(report.data(data)),
        Err(error) => Err(error.with_report(report.data(data))),
    }
}

/// The sessions that are to be acted on.
fn choose<'b>(long: &'b [Backend], parameters: &Parameters, server: &Server) -> Vec<&'b Backend> {
    if parameters.act == Act::Observe {
        return Vec::new();
    }
    let anywhere = parameters.all_databases || parameters.pid.is_some() || !parameters.databases.is_empty();
    long.iter().filter(|backend| anywhere || backend.database.as_deref() == Some(&server.database)).collect()
}

async fn act_on(
    cx: &Context,
    session: &mut Session,
    chosen: &[&Backend],
    parameters: &Parameters,
    ended: &mut Vec<Ended>,
) -> Result<()> {
    let protection = Protection {
        users: parameters.protected_users.clone(),
        applications: parameters.protected_applications.clone(),
    };
    let ending = match parameters.act {
        Act::Observe => return Ok(()),
        Act::Cancel => Ending::Cancel,
        Act::Terminate => Ending::Terminate,
        Act::CancelThenTerminate => Ending::CancelThenTerminate,
    };
    let mut turns = 0;
    for backend in chosen {
        let (why, same) = match tell::why(backend, parameters) {
            _ if parameters.pid.is_some() => ("it was named".to_owned(), Same::Session),
            // A long transaction may go from statement to statement; a long statement is that statement only.
            Some((why, same)) => (why, same),
            None => continue,
        };
        if let Some(reason) = protection.of(backend) {
            ended.push(Ended::new(backend, &why, Outcome::Protected).because(reason));
            continue;
        }
        if turns == parameters.maximum {
            continue;
        }
        progress(turns.into(), Some(chosen.len() as u64), "sessions", backend.told());
        turns += 1;
        ended.push(postgres::end(cx, session, backend, same, ending, parameters.wait_seconds, &why).await?);
    }
    Ok(())
}
