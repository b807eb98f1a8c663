//! What is said: in the report, and at the server itself, where whoever finds a database learns what it is.

use crate::live::Other;
use crate::{Context, Data, Parameters};
use rota_sdk::prelude::*;
use rota_sdk_backup::tell::{age, some};

/// How every remark on a database begins.
const OURS: &str = "rota postgres-restore: ";

pub(crate) fn is_ours(comment: &str) -> bool {
    comment.starts_with(OURS)
}

pub(crate) fn being_restored(backup: &str, run: &str, at: Timestamp) -> String {
    format!("{OURS}being restored from backup {backup} by run {run} since {at}")
}

pub(crate) fn beside(backup: &str, run: &str, at: Timestamp) -> String {
    format!("{OURS}restored from backup {backup} by run {run} at {at}, beside the live database")
}

pub(crate) fn restored(backup: &str, run: &str, at: Timestamp) -> String {
    format!("{OURS}restored from backup {backup} by run {run} at {at}")
}

pub(crate) fn kept_until(target: &str, backup: &str, run: &str, at: Timestamp, days: u32) -> String {
    let until = at.plus_seconds(i64::from(days) * 86_400);
    format!("{OURS}kept until {until}; it was {target} until {at}, when run {run} put backup {backup} in its place")
}

/// A database that a restore left.
#[derive(FromRow)]
struct Kept {
    quoted: Quoted,
    remark: String,
    overdue: bool,
    unfinished: bool,
}

const KEPT: &str = "\
    select format('%I', d.datname) as quoted, c.remark, \
           coalesce(substring(c.remark from 'kept until ([0-9-]+T[0-9:.]+Z)')::timestamptz < clock_timestamp(), false) as overdue, \
           c.remark like '%: being restored from %' as unfinished \
    from pg_catalog.pg_database d cross join lateral (select shobj_description(d.oid, 'pg_database') as remark) c \
    where starts_with(c.remark, 'rota postgres-restore: ') order by d.datname";

/// Tell of old databases whose time is over, and of what a run that was never undone has left.
pub(crate) async fn kept(session: &mut Session, report: &mut Report) -> Result<()> {
    let databases: Vec<Kept> = session.query_all(KEPT, params![]).await?;
    for database in databases {
        let Kept { quoted, remark, overdue, unfinished } = database;
        if overdue {
            report
                .warning(format!("database {quoted}: its time is over"))
                .detail(remark)
                .advice(format!("If nobody needs it: DROP DATABASE {quoted}"));
        } else if unfinished {
            report
                .warning(format!("database {quoted}: a restore is under way, or was never undone"))
                .detail(remark)
                .advice("See what became of that run: rota runs show RUN; rota runs retry RUN --undo drops it.");
        }
    }
    Ok(())
}

/// Who uses the live database, in a plan.
pub(crate) fn sessions(report: &mut Report, target: &str, left: &[Other], parameters: &Parameters, plan: bool) {
    if !plan || left.is_empty() {
        return;
    }
    let what = if parameters.end_sessions {
        "They are ended once the applications are down and connections are refused."
    } else {
        "They must be gone by themselves once the applications are down; otherwise nothing is swapped."
    };
    report.note(format!("{target}: {} session(s) now: {}", left.len(), some(left, 5))).detail(what);
    let beyond: Vec<&Other> = left.iter().filter(|other| other.out_of_reach).collect();
    if !beyond.is_empty() {
        let pids: Vec<String> =
            beyond.iter().map(|other| format!("SELECT pg_terminate_backend({})", other.pid)).collect();
        report
            .warning(format!(
                "{target}: {} session(s) of superusers, which this role cannot end: {}",
                beyond.len(),
                some(&beyond, 5)
            ))
            .detail("As long as one is there, nothing is swapped: only a superuser ends a superuser's session.")
            .advice(format!("Have them closed before the restore; or, as a superuser: {}", some(&pids, 5)));
    }
}

/// Nothing was swapped; what the host does about what was begun.
pub(crate) fn failed(report: &mut Report, cx: &Context, parameters: &Parameters) {
    if cx.is_plan() {
        return;
    }
    report.note("what was begun is undone by the host").detail(format!(
        "Applications come back to what they were, database {} lets connections in, and the one beside it is dropped: `rota runs show {}`.",
        parameters.target(),
        cx.info().id
    ));
}

pub(crate) fn conclude(report: &mut Report, cx: &Context, parameters: &Parameters, data: &Data) {
    let (target, backup) = (&data.target, &data.backup.id);
    let taken = age(cx.now().seconds_since(data.backup.started_at));
    if !data.deployments.is_empty() {
        let mut table = report.table(
            "deployments",
            "Applications",
            ["deployment", "before", "after", "autoscaler", "changed by others"],
        );
        for app in &data.deployments {
            let autoscaler = app.autoscaler.as_ref().map(|a| format!("{} ({} to {})", a.name, a.min, a.max));
            table.row(cells![&app.deployment, app.before, app.after, autoscaler, app.others.as_ref()]);
        }
    }
    if cx.is_plan() {
        let down = data.deployments.len();
        let rest = if parameters.only_beside {
            "and leave it beside the live one".to_owned()
        } else {
            let apps = if down == 0 { String::new() } else { format!(", with {down} application(s) down meanwhile") };
            let old = data
                .old_database
                .as_ref()
                .map_or_else(|| "which does not exist yet".to_owned(), |old| format!("which would be kept as {old}"));
            format!("and put it in the place of {target}, {old}{apps}")
        };
        report.summary(format!("would restore backup {backup}, {taken} old, as {} {rest}", data.restored));
        return;
    }
    let (tables, rows) = (data.tables.unwrap_or(0), data.rows.unwrap_or(0));
    report.metric("restore_duration_seconds", &[("database", target)], data.duration_seconds);
    if !data.swapped {
        report.summary(format!(
            "backup {backup}, {taken} old, is restored as {}: {rows} rows in {tables} tables",
            data.restored
        ));
        report.note(format!("{}: beside the live database, which was not touched", data.restored)).advice(format!(
            "Look at it. Then run again without only_beside, or: DROP DATABASE \"{}\"",
            data.restored.replace('"', "\"\"")
        ));
        return;
    }
    report.metric("restore_away_seconds", &[("database", target)], data.away_seconds);
    report.summary(format!(
        "{target} is backup {backup}, {taken} old: {rows} rows in {tables} tables; it was away for {:.1} s",
        data.away_seconds
    ));
    if !data.sessions_ended.is_empty() {
        report
            .note(format!("{} session(s) of others were ended", data.sessions_ended.len()))
            .detail(some(&data.sessions_ended, 20));
    }
    if let Some(old) = &data.old_database {
        let (old, live) = (old.replace('"', "\"\""), target.replace('"', "\"\""));
        report
            .note(format!("{old}: what {target} was before is kept for {} day(s), and lets nobody in", parameters.keep_days))
            .detail("It takes its space, and what was written since the backup is in it alone.")
            .advice(format!(
                "To drop it: DROP DATABASE \"{old}\". To swap back, with the applications stopped: ALTER DATABASE \"{live}\" RENAME TO \"{live}_restored\"; \
                 ALTER DATABASE \"{old}\" RENAME TO \"{live}\"; ALTER DATABASE \"{live}\" ALLOW_CONNECTIONS true"
            ));
    }
}
