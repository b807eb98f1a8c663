//! How the procedures tell of backups in the same words.

use crate::bucket::{Holding, Leftover};
use crate::verification::{Problem, ProblemKind};
use rota_sdk::prelude::*;
pub use rota_sdk::text::size;

/// Put what is wrong with a backup into a report: always critical.
pub fn problems<D>(report: &mut Report<D>, problems: &[Problem]) {
    for problem in problems {
        let finding = report.critical(problem.title.clone()).detail(problem.detail.clone());
        if let Some(advice) = advice(problem.kind) {
            finding.advice(advice);
        }
    }
}

fn advice(kind: ProblemKind) -> Option<&'static str> {
    Some(match kind {
        ProblemKind::NewerFormat => "Use the version of Rota that wrote it, or a later one.",
        ProblemKind::BadManifest => {
            "Do not rely on this backup; its data may still be readable by hand (docs/backup-format.md)."
        }
        ProblemKind::WrongKey => "Bind the identity of one of the manifest's recipients to the slot `key`.",
        ProblemKind::MissingObject | ProblemKind::WrongSize | ProblemKind::WrongChecksum => {
            "Make a new backup now; bring the object back from the store's versions or a replica if it has them."
        }
        ProblemKind::Undecodable
        | ProblemKind::WrongContent
        | ProblemKind::UnreadableArchive
        | ProblemKind::WrongRows
        | ProblemKind::NotRestorable => "Make a new backup now, and verify it with level restored.",
    })
}

/// The parameters of a remedy: the prefix, unless it is the binding's own.
pub fn prefix_parameters(prefix: &str) -> Json {
    if prefix.is_empty() { json!({}) } else { json!({ "prefix": prefix }) }
}

/// Tell of objects without a manifest that no backup can still be writing.
pub fn orphans<D>(report: &mut Report<D>, orphans: &[&Leftover]) {
    for orphan in orphans {
        let mut parameters = prefix_parameters(&orphan.folder.prefix);
        parameters["clean_orphans"] = json!(true);
        report
            .warning(format!(
                "{}: {} object(s) of {} without a manifest",
                orphan.folder.path(),
                orphan.objects.len(),
                size(orphan.bytes)
            ))
            .detail("A backup broke off here, or a deletion did. They are no backup and only take up space.")
            .remedy(
                "postgres-backup",
                &parameters,
                format!("removes them after its next backup of {}", orphan.folder.database),
            );
    }
}

/// The leftovers that are old enough to be orphans.
pub fn old_leftovers(holding: &Holding, now: Timestamp) -> Vec<&Leftover> {
    holding.leftovers.iter().filter(|leftover| leftover.is_orphan(now)).collect()
}

/// A length of time as people read it: `26 h`, `3.5 days`.
pub fn age(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// At most so many of a list, and how many more there are.
pub fn some<T: ToString>(all: &[T], most: usize) -> String {
    let mut text = all.iter().take(most).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if all.len() > most {
        text.push_str(&format!(" and {} more", all.len() - most));
    }
    text
}
