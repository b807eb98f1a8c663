//! Brings a database's schema to the head of its migrations, one run at a time, and proves where it stands.

mod apply;
mod backup;
mod judge;
mod parameters;
mod scripts;
mod state;
#[cfg(test)]
mod tests;

pub use parameters::{Layout, Parameters};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
pub use scripts::Migration;

procedure! {
    name: "postgres-migrate",
    summary: "Brings a database's schema to the head of its migrations, one run at a time, and proves where it stands.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, write, ddl, index] "Holds the version and the lock; the tool connects with it.",
        migrate: tool [run] "The migration tool: alembic, migrate, dbmate ...",
        bucket: storage [read] optional "Shows how old the newest backup is.",
    },
    examples: [
        "To the head of an alembic project" => json!({ "config": "/srv/app/alembic.ini" }),
        "With golang-migrate" => json!({ "layout": "schema-migrations", "apply": ["-path=/srv/app/migrations", "up"], "expect": "42" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// Where the schema was, where it is, and what was done.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// The tool's version; null where it tells none.
    tool: Option<String>,
    /// The version before; null: no migration was ever applied.
    from: Option<String>,
    /// The version after.
    to: Option<String>,
    /// The version that it should be.
    head: String,
    /// What was to be applied, in order; null where the tool does not tell.
    pending: Option<Vec<Migration>>,
    /// The versions that were applied, in order.
    applied: Vec<String>,
    /// The version whose migration failed; null where none did, or the tool does not tell.
    failed_at: Option<String>,
    /// Whether it stopped between the two.
    partial: bool,
    /// How often the tool was started.
    attempts: u32,
    /// How often it gave up waiting for a lock.
    lock_timeouts: u32,
    /// Indexes that are invalid afterwards.
    invalid_indexes: Vec<String>,
    /// How old the newest usable backup was, hours; null where it was not looked at or there is none.
    backup_age_hours: Option<f64>,
    /// How long it took, seconds.
    seconds: f64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let started = cx.now();
    parameters.check()?;
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    // Nothing here reads other roles' sessions.
    server.visibility_complete = true;
    server.hidden.clear();
    if server.in_recovery {
        return Err(Error::new("this server is a standby, and only a primary's schema can be changed")
            .hint("bind the primary; its changes reach the standbys"));
    }
    let before = match state::read(&mut session, &parameters).await? {
        Some(before) => before,
        None if parameters.new_database => state::State::default(),
        None => return Err(state::absent(&mut session, &parameters).await?),
    };
    let from = before.single(&parameters)?;
    let tool = cx.migrate().info().await.ok().map(|info| info.version);
    let goal = scripts::goal(&cx, &parameters, from.as_deref()).await?;
    let invalid_before = state::invalid_indexes(&mut session).await?;

    let mut report = Report::new();
    let arrived = from.as_deref() == Some(goal.head.as_str());
    // A schema that is at its head needs no way back.
    let backup_age_hours = if arrived { None } else { backup::look(&cx, &parameters, &server, &mut report).await? };
    let ran = if arrived { apply::Ran::nothing() } else { apply::apply(&cx, &parameters).await? };

    let after = state::read(&mut session, &parameters).await?.unwrap_or_default();
    let invalid = state::invalid_indexes(&mut session).await?;
    let to = after.newest();
    let applied = state::applied(&before, &after, goal.pending.as_deref());
    let reached = after.versions.len() == before.expected_rows(&after, parameters.layout)
        && to.as_deref() == Some(goal.head.as_str())
        && !after.dirty;
    let failed = !reached && !cx.is_plan();
    let failed_at = failed.then(|| state::failed_at(goal.pending.as_deref(), &applied, &after)).flatten();
    let data = Data {
        visibility_complete: server.visibility_complete,
        server,
        tool,
        partial: failed && !applied.is_empty(),
        from,
        to,
        head: goal.head,
        pending: goal.pending,
        applied,
        failed_at,
        attempts: ran.attempts,
        lock_timeouts: ran.lock_timeouts,
        invalid_indexes: invalid.clone(),
        backup_age_hours,
        seconds: cx.now().seconds_since(started),
    };
    judge::show(&data, &mut report);
    judge::indexes(&invalid, &invalid_before, &mut report);
    report.summary(judge::summary(&data, cx.is_plan()));
    if failed || ran.error.is_some() {
        let error = judge::error(&data, ran.error, after.dirty);
        return Err(error.with_report(report.data(data)));
    }
    Ok(report.data(data))
}
