//! Who holds the connections of a PostgreSQL server? Ends idle ones when asked.

use rota_sdk::postgres::{self, Backend, Ended, Ending, Named, Outcome, Protection, Same, Server};
use rota_sdk::prelude::*;

mod limits;
mod tell;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-connections",
    summary: "Shows who holds a server's connections, and ends idle ones when asked, one by one.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, signal] "Reads who is connected, and ends idle sessions where that is asked for.",
    },
    examples: [
        "Who is connected; nothing is ended" => json!({}),
        "End what was idle for an hour, but no pooler" => json!({ "end_idle": true, "idle_seconds": 3600.0, "protected_applications": ["pgbouncer*"] }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What counts as idle, and whether it is ended.
#[parameters]
pub struct Parameters {
    /// End sessions that are idle for `idle_seconds`. Without it, nothing is ended.
    #[parameter(default = false)]
    end_idle: bool,
    /// End sessions that are idle in a transaction for `idle_in_transaction_seconds`; what they did in it is rolled back.
    #[parameter(default = false)]
    end_idle_in_transaction: bool,
    /// From how many seconds on a session counts as idle.
    #[parameter(default = 600.0, range = 0.0..)]
    idle_seconds: f64,
    /// From how many seconds on a session that is idle in a transaction is critical, and is ended where that is asked for.
    #[parameter(default = 300.0, range = 0.0..)]
    idle_in_transaction_seconds: f64,
    /// Only sessions of these databases are ended; without any, those of the bound database.
    #[parameter(default)]
    databases: Vec<String>,
    /// Sessions of every database are ended.
    #[parameter(default = false)]
    all_databases: bool,
    /// Only sessions of these users are ended; without any, those of all.
    #[parameter(default)]
    users: Vec<String>,
    /// Only sessions of these applications are ended (a `*` at the end stands for any rest); without any, those of all.
    #[parameter(default)]
    applications: Vec<String>,
    /// Users whose sessions are never ended.
    #[parameter(default)]
    protected_users: Vec<String>,
    /// Applications whose sessions are never ended (a `*` at the end stands for any rest).
    #[parameter(default)]
    protected_applications: Vec<String>,
    /// How many sessions are ended at most, the longest idle first.
    #[parameter(default = 100, range = 1..=10_000)]
    maximum: u32,
    /// How long to wait for each session to be gone, in seconds.
    #[parameter(default = 5, range = 1..=600)]
    wait_seconds: u32,
    /// Warn when so large a share of the connections is used.
    #[parameter(default = 0.8, range = 0.0..=1.0)]
    warn_share: f64,
    /// Critical when so large a share of the connections is used.
    #[parameter(default = 0.95, range = 0.0..=1.0)]
    critical_share: f64,
}

/// Who is connected, and what was ended.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// How many connections there may be, and are, before anything was ended.
    limits: limits::Limits,
    /// Clients' sessions by source and state, the largest group first.
    sources: Vec<tell::Source>,
    /// Sessions over `idle_seconds`, or over `idle_in_transaction_seconds` in a transaction, the longest idle first; at most 200.
    idle: Vec<Backend>,
    /// How many are idle for `idle_seconds`.
    idle_count: usize,
    /// How many are idle in a transaction for `idle_in_transaction_seconds`.
    idle_in_transaction_count: usize,
    /// The sessions that were to be ended, and what became of each.
    ended: Vec<Ended>,
    /// How many more there were that had no turn: beyond `maximum`, or after what broke the run off.
    left_out: usize,
    /// How many clients' sessions there are afterwards.
    connections_after: i64,
}

/// How many idle sessions the data lists.
const LISTED: usize = 200;

async fn run(cx: Context, parameters: Parameters) -> Outcomes {
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let limits = limits::look(&mut session).await?;
    let all = postgres::look(&mut session, false).await?;
    let unseen = all.iter().filter(|backend| backend.state.is_none()).count();
    if unseen > 0 {
        server.hide(format!("the state of {unseen} of {} sessions is hidden", all.len()));
    }
    let mut idle: Vec<Backend> = all.iter().filter(|backend| why(backend, &parameters).is_some()).cloned().collect();
    idle.sort_by(|a, b| b.state_seconds.unwrap_or(0.0).total_cmp(&a.state_seconds.unwrap_or(0.0)));

    let mut report = Report::new();
    let mut ended = Vec::new();
    let chosen = choose(&idle, &parameters, &server);
    let worked = end_all(&cx, &mut session, &chosen, &parameters, &mut ended).await;
    // Each that was chosen has an outcome, but for those beyond the maximum and after what broke the run off.
    let left_out = chosen.len() - ended.len();
    let connections_after = match &worked {
        Ok(()) => limits::count(&mut session).await?,
        Err(_) => limits.clients,
    };

    tell::limits(&limits, &parameters, &mut report);
    tell::idle(&idle, &ended, &parameters, &mut report);
    if left_out > 0 && worked.is_ok() {
        report
            .warning(format!("{left_out} more sessions were to be ended than {}", parameters.maximum))
            .advice("Run it again, or with a larger `maximum`");
    }
    let sources = tell::sources(&all, &mut report);
    Ended::report(&ended, &server.role, &mut report);
    server.report_visibility(&mut report);
    report.summary(tell::summary(&limits, &idle, &ended));
    let in_transaction = idle.iter().filter(|backend| backend.idle_in_transaction()).count();
    let data = Data {
        visibility_complete: server.visibility_complete,
        server,
        limits,
        sources,
        idle_count: idle.len() - in_transaction,
        idle_in_transaction_count: in_transaction,
        idle: idle.into_iter().take(LISTED).collect(),
        ended,
        left_out,
        connections_after,
    };
    match worked {
        Ok(()) => Ok(report.data(data)),
        Err(error) => Err(error.with_report(report.data(data))),
    }
}

type Outcomes = rota_sdk::Outcome<Data>;

/// Why a session stands out; none where it does not.
fn why(backend: &Backend, parameters: &Parameters) -> Option<String> {
    let since = backend.state_seconds?;
    let limit = match backend.state.as_deref()? {
        "idle" => parameters.idle_seconds,
        state if state.starts_with("idle in transaction") => parameters.idle_in_transaction_seconds,
        _ => return None,
    };
    let state = backend.state.as_deref().unwrap_or_default();
    (since >= limit && !backend.own).then(|| format!("{state} for {}", rota_sdk::text::spoken(since)))
}

/// The sessions that are to be ended.
fn choose<'b>(idle: &'b [Backend], parameters: &Parameters, server: &Server) -> Vec<&'b Backend> {
    let databases = match (parameters.all_databases, parameters.databases.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![server.database.clone()],
        (false, false) => parameters.databases.clone(),
    };
    let named = Named { users: parameters.users.clone(), applications: parameters.applications.clone(), databases };
    let asked = |backend: &&Backend| {
        let asked =
            if backend.idle_in_transaction() { parameters.end_idle_in_transaction } else { parameters.end_idle };
        asked && named.has(backend)
    };
    idle.iter().filter(asked).collect()
}

async fn end_all(
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
    let mut turns = 0;
    for backend in chosen {
        let why = why(backend, parameters).unwrap_or_default();
        if let Some(reason) = protection.of(backend) {
            ended.push(Ended::new(backend, &why, Outcome::Protected).because(reason));
            continue;
        }
        if turns == parameters.maximum {
            continue;
        }
        progress(turns.into(), Some(chosen.len() as u64), "sessions", backend.told());
        turns += 1;
        let wait = parameters.wait_seconds;
        let one = postgres::end(cx, session, backend, Same::State, Ending::Terminate, wait, &why).await?;
        ended.push(one);
    }
    Ok(())
}
