//! From trees to what a person reads.

use crate::Parameters;
use crate::look::{Node, Seen};
use crate::tree::{Forest, Root};
use rota_sdk::prelude::*;
use rota_sdk::text::spoken;

/// How many roots have a finding of their own.
const NAMED: usize = 20;
/// How many lines of trees are shown; the data has all.
const LINES: usize = 200;

/// In one line: `pid 311 (app in shop, worker)`.
fn told(key: &str, node: Option<&Node>) -> String {
    let Some(node) = node else {
        return if key.starts_with("prepared") {
            key.replacen("prepared", "prepared transaction", 1)
        } else {
            format!("pid {key}")
        };
    };
    let part = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut told = match &node.gid {
        Some(gid) => format!("prepared transaction {gid}"),
        None => format!("pid {}", node.pid),
    };
    let kind = node.backend_type.clone().filter(|kind| kind != "client backend");
    match (part(&node.user), part(&node.database)) {
        (Some(user), Some(database)) => {
            let more = part(&node.application).map_or_else(String::new, |name| format!(", {name}"));
            told.push_str(&format!(" ({user} in {database}{more})"));
        }
        _ => told.push_str(&kind.map_or_else(String::new, |kind| format!(" ({kind})"))),
    }
    told
}

pub(crate) fn roots(forest: &Forest, seen: &Seen, parameters: &Parameters, report: &mut Report) {
    for root in forest.roots.iter().take(NAMED) {
        one(root, seen, parameters, report);
    }
    let more = forest.roots.len().saturating_sub(NAMED);
    if more > 0 {
        report.warning(format!("{more} more hold others up than are named"));
    }
}

fn one(root: &Root, seen: &Seen, parameters: &Parameters, report: &mut Report) {
    let node = seen.node(&root.key);
    let longest = root.longest_wait_seconds;
    let mut severity = longest.map_or(Severity::Unknown, |seconds| {
        Severity::of(seconds, parameters.warn_wait_seconds, parameters.critical_wait_seconds)
    });
    if root.waiters >= parameters.critical_waiters as usize {
        severity = Severity::Critical;
    }
    let sessions = if root.waiters == 1 { "1 session".to_owned() } else { format!("{} sessions", root.waiters) };
    let since = longest.map_or_else(String::new, |seconds| format!(", the longest for {}", spoken(seconds)));
    if !root.circle.is_empty() {
        let circle: Vec<String> = root.circle.iter().map(|key| told(key, seen.node(key))).collect();
        report
            .finding(severity, format!("{sessions} wait in or behind a circle{since}"))
            .detail(format!("A deadlock: {}.", circle.join(", which waits for ")))
            .advice("The server ends one of them after deadlock_timeout (1 s unless set); if it is still here, look again, and end one by its pid");
        return;
    }
    let held: Vec<String> =
        seen.edges.iter().filter(|edge| edge.blocker == root.key).map(|edge| edge.object.clone()).collect();
    let mut objects = held;
    objects.sort();
    objects.dedup();
    let more = objects.len().saturating_sub(5);
    objects.truncate(5);
    let mut what = objects.join("; ");
    if more > 0 {
        what.push_str(&format!(" and {more} more"));
    }
    let doing = node.map_or_else(String::new, doing);
    let finding = report
        .finding(severity, format!("{} holds {sessions} up{since}", told(&root.key, node)))
        .detail(format!("Waited for: {what}.{doing}"));
    let Some(node) = node else { return };
    match (&node.gid, node.backend_type.as_deref()) {
        (Some(_), _) => {
            let rollback = node.rollback.clone().unwrap_or_default();
            let commit = rollback.replacen("ROLLBACK", "COMMIT", 1);
            finding.advice(format!(
                "It has no session to end. Ask the transaction manager that prepared it; then, in database {}, as its owner or a superuser: {commit}; or {rollback};",
                node.database.as_deref().unwrap_or("?")
            ));
        }
        (None, Some("client backend")) if node.superuser => {
            finding.advice(format!(
                "Its user is a superuser, whose sessions no procedure ends, and no role ends that is none: ask whoever it is; or, as a superuser: SELECT pg_terminate_backend({})",
                node.pid
            ));
        }
        (None, Some("client backend")) => {
            let idle = node.state.as_deref().is_some_and(|state| state.starts_with("idle"));
            let act = if idle { "terminate" } else { "cancel" };
            let note = if idle {
                "Ends its session: it runs nothing, so that cancelling would do nothing"
            } else {
                "Cancels its statement"
            };
            let parameters = json!({ "act": act, "pid": node.pid, "backend_start": node.backend_start });
            finding.remedy("postgres-long-queries", &parameters, note);
        }
        (None, Some("autovacuum worker")) => {
            finding.advice("Autovacuum gives way by itself after deadlock_timeout, unless it prevents wraparound: then let it finish");
        }
        (None, None) => {
            finding.advice("What it is cannot be seen: GRANT pg_monitor TO this procedure's role, and look again");
        }
        _ => {
            finding.advice("It is no client's session: see what it is before anything is ended");
        }
    }
}

/// What a root does.
fn doing(node: &Node) -> String {
    let open = node
        .transaction_seconds
        .map_or_else(String::new, |seconds| format!(", its transaction open for {}", spoken(seconds)));
    let state = node.state.as_deref().unwrap_or("of unknown state");
    let statement = match (&node.statement, state) {
        (Some(text), "active") => format!(" It runs: `{text}`"),
        (Some(text), _) => format!(" Its last statement: `{text}`"),
        (None, _) => String::new(),
    };
    format!(" It is {state}{open}.{statement}")
}

pub(crate) fn show(forest: &Forest, seen: &Seen, report: &mut Report) {
    let lines: usize = forest.roots.iter().map(|root| root.tree.len()).sum();
    if lines == 0 {
        return;
    }
    let title = if lines > LINES {
        format!("Who waits for whom (the first {LINES} of {lines} lines)")
    } else {
        "Who waits for whom".to_owned()
    };
    let columns = ["who", "waits for", "wants", "for", "state", "statement"];
    let mut table = report.table("tree", &title, columns);
    for line in forest.roots.iter().flat_map(|root| &root.tree).take(LINES) {
        let node = seen.node(&line.key);
        let mut who = format!("{}{}", "\u{a0}\u{a0}".repeat(line.depth), told(&line.key, node));
        if line.only_ahead {
            who.push_str(" [behind it in the queue]");
        }
        if line.again {
            who.push_str(" [see above]");
        }
        table.row(cells![
            who,
            line.object.as_ref(),
            line.wants.as_ref(),
            node.filter(|_| line.depth > 0).and_then(|node| node.wait_seconds).map(Seconds),
            node.and_then(|node| node.state.as_ref()),
            node.and_then(|node| node.statement.as_ref())
        ]);
    }
}

pub(crate) fn summary(forest: &Forest, waiting: usize) -> String {
    if waiting == 0 {
        return "nobody waits for a lock".to_owned();
    }
    let circles = forest.roots.iter().filter(|root| !root.circle.is_empty()).count();
    let roots = forest.roots.len() - circles;
    let mut parts = Vec::new();
    if roots > 0 {
        parts.push(format!("held up by {roots}"));
    }
    if circles > 0 {
        parts.push(if circles == 1 {
            "in or behind a circle".to_owned()
        } else {
            format!("in or behind {circles} circles")
        });
    }
    format!("{waiting} wait for a lock, {}", parts.join(" and "))
}
