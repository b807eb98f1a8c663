//! The report.

use crate::{Application, Context, Data, Decision, Promoted};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

pub(crate) struct Told {
    pub(crate) decision: Decision,
    pub(crate) server: Server,
    pub(crate) promoted: Option<Promoted>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) applications: Vec<Application>,
    pub(crate) done: Vec<String>,
}

pub(crate) fn report(cx: &Context, told: Told) -> Report<Data> {
    let Told { decision, server, promoted, endpoints, applications, done } = told;
    let mut report = Report::new();
    let (old, new) = (&decision.primary, &decision.chosen);
    let switch = promoted.as_ref().and_then(|promoted| promoted.switch_bytes).unwrap_or(new.lsn_bytes);
    let lost_bytes = decision.known_bytes.map(|known| (known - switch).max(0));
    let verb = if cx.is_plan() { "would be promoted" } else { "is the primary" };
    report.summary(match lost_bytes {
        Some(lost) => {
            format!("{} {verb} in the place of {}; {lost} bytes are known to be lost", new.pod, old.stateful_set)
        }
        None => format!("{} {verb} in the place of {}", new.pod, old.stateful_set),
    });
    if let Some(lost) = lost_bytes.filter(|lost| *lost > 0) {
        report
            .critical(format!("{lost} bytes of WAL are lost: the old primary wrote them and {} has not received them", new.pod))
            .detail(format!("Known from {}. Transactions in them were committed for clients and are gone.", decision.known_from))
            .advice("Before the old primary is rewound or rebuilt, keep a copy of its data: what is lost is in it (pg_waldump, or start the copy apart from everything)");
    }
    report.note("what the old primary wrote and sent to nobody is not known, and is not counted as lost").detail(
        "Replication is asynchronous unless synchronous_standby_names says otherwise: a primary that dies takes along what it had not sent yet.",
    );
    if old.replicas > 1 {
        report
            .warning(format!(
                "the StatefulSet {} has {} replicas, and all of them are stopped",
                old.stateful_set, old.replicas
            ))
            .detail(
                "Only the pod of the primary has to be. The others are started with it again, once it is a standby.",
            );
    }
    if let Some(manager) = &decision.managed_by {
        report
            .warning(format!("{manager} manages the StatefulSet {} and may scale it up again", old.stateful_set))
            .advice(format!(
                "Pause its synchronisation, or set the replicas of {} to 0 where it reads them",
                old.stateful_set
            ));
    }
    for skipped in &decision.skipped {
        report
            .unknown(format!("a standby did not answer: {skipped}"))
            .detail("It may have more of the primary's WAL than the one that was promoted. It cannot follow the new primary then, and must be rebuilt.");
    }
    if let Some(promoted) = promoted.as_ref().filter(|promoted| promoted.timeline != new.timeline + 1) {
        report
            .warning(format!("{} writes timeline {}, not {}", new.pod, promoted.timeline, new.timeline + 1))
            .detail(
                "A timeline in between is taken in the archive: another server of this cluster was promoted before.",
            )
            .advice("Find it before clients do");
    }
    for other in decision.candidates.iter().filter(|other| other.slot != new.slot) {
        report.note(format!("{} is to follow {} now", other.pod, new.pod)).advice(format!(
            "Where its primary_conninfo names the Service it does so by itself; otherwise set it (ALTER SYSTEM SET primary_conninfo, pg_reload_conf()). {} needs a slot for it",
            new.pod
        ));
    }
    if !cx.is_plan() {
        report
            .warning(format!("the old primary ({}) is stopped: it must not start as it is", old.stateful_set))
            .detail(format!(
                "It has timeline {} and would take writes that nobody sees. Its StatefulSet is at 0 replicas, and had {}.",
                new.timeline, old.replicas
            ))
            .advice(format!(
                "Make it a standby of {}: pg_rewind --target-pgdata=DIR --source-server=... (needs wal_log_hints or checksums), or remove its data and pg_basebackup -R; \
                 only then: kubectl scale statefulset {} --replicas={}",
                new.pod, old.stateful_set, old.replicas
            ));
    }
    for application in applications.iter().filter(|one| !one.complete && !cx.is_plan()) {
        report
            .warning(format!("deployment {}: its restart is not complete", application.name))
            .detail(application.note.clone())
            .advice(format!("kubectl rollout status deployment {}", application.name));
    }
    if applications.is_empty() {
        report.note("no deployment was restarted").detail(
            "Clients whose pools keep connections to the old primary find out when these break. Name deployments by `applications` or `applications_labels`.",
        );
    }
    tables(&mut report, &decision, &applications);
    if let Some(lost) = lost_bytes {
        #[expect(clippy::cast_precision_loss, reason = "a metric")]
        report.metric("lost_bytes", &[], lost as f64);
    }
    if let Some(promoted) = &promoted {
        report.metric("canary_seconds", &[], promoted.canary_seconds);
    }
    server.report_visibility(&mut report);
    report.data(Data {
        server,
        service: decision.service,
        old_primary: decision.primary,
        new_primary: decision.chosen,
        candidates: decision.candidates,
        looks: decision.looks,
        promoted,
        known_bytes: decision.known_bytes,
        known_from: decision.known_from,
        lost_bytes,
        endpoints,
        applications,
        done: if cx.is_plan() { Vec::new() } else { done },
    })
}

fn tables(report: &mut Report, decision: &Decision, applications: &[Application]) {
    let mut table = report.table("looks", "Looks at the primary", ["after", "connection", "pod", "standbys"]);
    for look in &decision.looks {
        table.row(cells![Seconds(look.after_seconds), &look.sql, &look.pod, &look.receivers]);
    }
    let mut table = report.table("standbys", "Standbys", ["pod", "slot", "timeline", "has up to", "chosen"]);
    for one in &decision.candidates {
        table.row(cells![&one.pod, &one.slot, one.timeline, &one.lsn, one.slot == decision.chosen.slot]);
    }
    if !applications.is_empty() {
        let mut table =
            report.table("deployments", "Deployments", ["name", "replicas", "restarted", "complete", "note"]);
        for one in applications {
            table.row(cells![&one.name, one.replicas, one.restarted, one.complete, &one.note]);
        }
    }
}
