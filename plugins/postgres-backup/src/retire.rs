//! Deletes the backups that the policy lets go, once there is a newer one that is known to be good.

use crate::Attempt;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::bucket::{Backup, Holding, look};
use rota_sdk_backup::retention::{Candidate, Policy, Reason, decide};
use rota_sdk_backup::{Level, tell};

/// What became of older backups.
#[data]
#[derive(Default)]
pub(crate) struct Retired {
    /// The backups that stay, the newest first, with the reasons.
    kept: Vec<Kept>,
    /// The ids of those that were deleted (in a plan: that would be), the newest first.
    deleted: Vec<String>,
    /// Folders with objects that belong to no backup, older than a day.
    orphans: Vec<String>,
    /// Those of them that were removed.
    orphans_removed: Vec<String>,
    /// Backups of this database that were left alone: of another cluster, or with a manifest that this version cannot use.
    ignored: Vec<String>,
}

/// A backup that stays.
#[data]
pub(crate) struct Kept {
    /// Its id.
    id: String,
    /// Why.
    reasons: Vec<Reason>,
}

/// Retire. What goes wrong here is a warning: the new backup stands.
pub(crate) async fn retire(attempt: &Attempt<'_>, server: &Server, report: &mut Report) -> Retired {
    let mut retired = Retired::default();
    match look(&attempt.bucket, &attempt.folder.prefix, Some(&server.database)).await {
        Ok(holding) => {
            if attempt.parameters.retention {
                delete_old(attempt, server, &holding, &mut retired, report).await;
            }
            orphans(attempt, &holding, &mut retired, report).await;
        }
        Err(error) => {
            report.warning(format!("{}: older backups could not be looked at", server.database)).because(&error);
        }
    }
    retired
}

async fn delete_old(
    attempt: &Attempt<'_>,
    server: &Server,
    holding: &Holding,
    retired: &mut Retired,
    report: &mut Report,
) {
    if server.system_identifier.is_none() {
        report
            .warning("old backups were left alone: the server's system identifier could not be read")
            .advice("Without it, backups of another cluster could not be told apart.");
        return;
    }
    if !attempt.cx.bucket().grants("delete") {
        report
            .note("old backups were left alone: `delete` on the slot `bucket` is not granted")
            .advice("Grant it with --grant bucket=read,write,delete, or set retention to false.");
        return;
    }
    let (ours, others): (Vec<&Backup>, Vec<&Backup>) =
        holding.backups.iter().partition(|backup| is_ours(backup, server));
    for other in others {
        retired.ignored.push(other.folder.id.clone());
        if let Err(fault) = &other.manifest {
            report
                .warning(format!("{}: left alone, its manifest cannot be used", other.folder.path()))
                .detail(fault.to_string());
        }
    }
    let mut candidates: Vec<Candidate> = ours.iter().map(|backup| candidate(backup)).collect();
    if !candidates.iter().any(|candidate| candidate.id == attempt.folder.id) {
        // In a plan, or in a store that lists late.
        let id = attempt.folder.id.clone();
        candidates.push(Candidate { id, at: attempt.started_at, damaged: false, restored: false });
    }
    let policy = Policy {
        hours: attempt.parameters.keep_hours,
        daily: attempt.parameters.keep_daily,
        weekly: attempt.parameters.keep_weekly,
        monthly: attempt.parameters.keep_monthly,
    };
    for decision in decide(&candidates, policy) {
        if decision.keep.is_empty() && decision.id != attempt.folder.id {
            let Some(backup) = ours.iter().find(|backup| backup.folder.id == decision.id) else { continue };
            match backup.delete(&attempt.bucket).await {
                Ok(()) => retired.deleted.push(decision.id),
                Err(error) => {
                    report.warning(format!("{}: could not be deleted", backup.folder.path())).because(&error);
                    return;
                }
            }
        } else {
            retired.kept.push(Kept { id: decision.id, reasons: decision.keep });
        }
    }
    if !retired.deleted.is_empty() {
        let verb = if attempt.cx.is_plan() { "would be deleted" } else { "deleted" };
        report.note(format!("{} old backup(s) {verb}: {}", retired.deleted.len(), tell::some(&retired.deleted, 5)));
    }
}

fn is_ours(backup: &Backup, server: &Server) -> bool {
    let same = |source: &rota_sdk_backup::manifest::Source| {
        source.system_identifier == server.system_identifier && source.database == server.database
    };
    backup.manifest.as_ref().is_ok_and(|manifest| same(&manifest.source))
}

fn candidate(backup: &Backup) -> Candidate {
    let damaged = backup.is_known_damaged() || !backup.problems().is_empty();
    Candidate {
        id: backup.folder.id.clone(),
        at: backup.started_at(),
        damaged,
        restored: !damaged && backup.verified().is_some_and(|(level, _)| level == Level::Restored),
    }
}

async fn orphans(attempt: &Attempt<'_>, holding: &Holding, retired: &mut Retired, report: &mut Report) {
    let old = tell::old_leftovers(holding, attempt.cx.now());
    retired.orphans = old.iter().map(|orphan| orphan.folder.path()).collect();
    if !attempt.parameters.clean_orphans {
        return tell::orphans(report, &old);
    }
    for orphan in old {
        for name in &orphan.objects {
            if let Err(error) = attempt.bucket.delete(name).await {
                report.warning(format!("{name}: could not be removed")).because(&error);
                return;
            }
        }
        retired.orphans_removed.push(orphan.folder.path());
    }
}
