//! Can the server be used? `pg_isready` says yes for a user and a database that do not exist; this logs in, and writes where it may.

use crate::{Context, spoken};
use rota_sdk::SqlSlot;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// A server that started less long ago is mentioned.
const JUST_STARTED: f64 = 600.0;

/// Whether the server can be used.
#[data]
pub(crate) struct Readiness {
    /// How long logging in took, in seconds.
    login_seconds: f64,
    /// When the server started.
    started_at: Option<Timestamp>,
    /// How long ago that was, in seconds.
    uptime_seconds: Option<f64>,
    /// What became of the canary write.
    canary: Canary,
    /// How long the canary write took with its commit, in seconds.
    canary_seconds: Option<f64>,
}

/// What became of the canary write.
#[data]
pub(crate) enum Canary {
    /// Written, read back and committed.
    Written,
    /// The server refused it.
    Refused,
    /// It was not tried: the run is a plan.
    Planned,
    /// It was not tried: the slot `canary` is not bound.
    NotAsked,
    /// It was not tried: a standby takes no writes.
    Standby,
    /// It was not tried: the role or the job may not.
    NotAllowed,
}

pub(crate) async fn check(cx: &Context, server: &Server, login_seconds: f64, report: &mut Report) -> Result<Readiness> {
    let uptime_seconds = server.started_at.map(|started| cx.now().seconds_since(started));
    if let Some(uptime) = uptime_seconds.filter(|uptime| *uptime < JUST_STARTED) {
        report
            .note(format!("the server started {} ago", spoken(uptime)))
            .detail("Statistics and caches may be younger than they look.");
    }
    let (canary, canary_seconds) = match cx.canary() {
        _ if server.in_recovery => (Canary::Standby, None),
        None => (Canary::NotAsked, None),
        Some(slot) => canary(cx, slot, server, report).await?,
    };
    report.table("readiness", "Readiness", ["login", "started", "canary write", "canary took"]).row(cells![
        Seconds(login_seconds),
        server.started_at,
        told(canary),
        canary_seconds.map(Seconds)
    ]);
    report.metric("login_seconds", &[], login_seconds);
    Ok(Readiness { login_seconds, started_at: server.started_at, uptime_seconds, canary, canary_seconds })
}

fn told(canary: Canary) -> &'static str {
    match canary {
        Canary::Written => "written",
        Canary::Refused => "refused",
        Canary::Planned => "planned",
        Canary::NotAsked => "not tried: bind the slot `canary`",
        Canary::Standby => "not on a standby",
        Canary::NotAllowed => "not allowed",
    }
}

/// Write through the catalog, the log and the commit, and leave nothing.
async fn canary(cx: &Context, slot: SqlSlot, server: &Server, report: &mut Report) -> Result<(Canary, Option<f64>)> {
    let before = cx.now();
    let error = match write(slot).await {
        Ok(_) if cx.is_plan() => return Ok((Canary::Planned, None)),
        Ok(true) => return Ok((Canary::Written, Some(cx.now().seconds_since(before)))),
        Ok(false) => Error::new("the row that was written could not be read back"),
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => error,
    };
    if error.is_denied() || error.code() == Some("42501") {
        report.incomplete();
        report.unknown("the canary write is not allowed").because(&error).advice(format!(
            "Grant the slot `canary` write and ddl, and the role TEMPORARY on database {}",
            server.database
        ));
        return Ok((Canary::NotAllowed, None));
    }
    report.critical("the primary takes no writes").because(&error).advice(match error.code() {
        Some("25006") => {
            "The server or the role is read-only: see default_transaction_read_only, and whether this is the primary"
        }
        Some("53100") => "The disk is full: make room before the log has no place left",
        _ => "See the server's log",
    });
    Ok((Canary::Refused, None))
}

async fn write(slot: SqlSlot) -> Result<bool> {
    let mut session = slot.open().await?;
    let mut transaction = session.begin().await?;
    transaction.execute("create temporary table rota_canary (id bigint not null) on commit drop", params![]).await?;
    let written = transaction.execute("insert into pg_temp.rota_canary (id) values (1)", params![]).await?;
    transaction.commit().await?;
    Ok(written == 1)
}
