//! The report.

use crate::{Application, Before, Context, Data, Decision, Promoted, Proof};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

pub(crate) struct Told {
    pub(crate) decision: Decision,
    pub(crate) server: Server,
    pub(crate) before: Before,
    pub(crate) proof: Option<Proof>,
    pub(crate) promoted: Option<Promoted>,
    pub(crate) write_gap_seconds: Option<f64>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) applications: Vec<Application>,
    pub(crate) done: Vec<String>,
}

pub(crate) fn report(cx: &Context, told: Told) -> Report<Data> {
    let Told { decision, server, before, proof, promoted, write_gap_seconds, endpoints, applications, done } = told;
    let mut report = Report::new();
    let (old, new) = (&decision.primary, &decision.chosen);
    report.summary(match write_gap_seconds {
        Some(gap) => {
            format!(
                "{} is the primary in the place of {}; nothing is lost, no writes for {gap:.1} s",
                new.pod, old.stateful_set
            )
        }
        None => format!(
            "{} would be promoted in the place of {}; {} sessions would be ended, {} of them in a transaction",
            new.pod, old.stateful_set, before.client_sessions, before.in_transaction
        ),
    });
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
    if let Some(promoted) = promoted.as_ref().filter(|promoted| promoted.timeline != new.timeline + 1) {
        report
            .warning(format!("{} writes timeline {}, not {}", new.pod, promoted.timeline, new.timeline + 1))
            .detail(
                "A timeline in between is taken in the archive: another server of this cluster was promoted before.",
            )
            .advice("Find it before clients do");
    }
    if !cx.is_plan() {
        report
            .warning(format!("the old primary ({}) is stopped: it must not start as it is", old.stateful_set))
            .detail(format!("Its StatefulSet is at 0 replicas, and had {}. Until it is a standby, there is none of this primary.", old.replicas))
            .advice(format!(
                "It stopped cleanly and lacks nothing, so it can follow without pg_rewind: put standby.signal and a primary_conninfo that leads to {} into its data folder, make a slot \
                 there, then: kubectl scale statefulset {} --replicas={}",
                new.pod, old.stateful_set, old.replicas
            ));
    }
    if before.standbys > 1 {
        report.note(format!("{} other standbys are to follow {} now", before.standbys - 1, new.pod)).advice(format!(
            "Where their primary_conninfo names the Service they do so by themselves. {} needs slots for them",
            new.pod
        ));
    }
    for application in applications.iter().filter(|one| !one.complete && !cx.is_plan()) {
        report
            .warning(format!("deployment {}: its restart is not complete", application.name))
            .detail(application.note.clone())
            .advice(format!("kubectl rollout status deployment {}", application.name));
    }
    let mut table =
        report.table("standby", "Standby", ["pod", "timeline", "had up to", "lacked", "replayed at the end"]);
    table.row(cells![
        &new.pod,
        new.timeline,
        &new.lsn,
        Bytes(u64::try_from(before.lag_bytes).unwrap_or(0)),
        proof.as_ref().map(|proof| proof.replayed_lsn.clone())
    ]);
    if !applications.is_empty() {
        let mut table =
            report.table("deployments", "Deployments", ["name", "replicas", "restarted", "complete", "note"]);
        for one in &applications {
            table.row(cells![&one.name, one.replicas, one.restarted, one.complete, &one.note]);
        }
    }
    if let Some(gap) = write_gap_seconds {
        report.metric("write_gap_seconds", &[], gap);
        report.metric("lost_bytes", &[], 0.0);
    }
    server.report_visibility(&mut report);
    report.data(Data {
        server,
        service: decision.service,
        old_primary: decision.primary,
        new_primary: decision.chosen,
        before,
        proof,
        promoted,
        write_gap_seconds,
        endpoints,
        applications,
        done: if cx.is_plan() { Vec::new() } else { done },
    })
}
