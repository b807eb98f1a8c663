//! Which backup, and whether it is good: read to its last byte before anything is done with it.

use crate::{Context, Parameters};
use rota_sdk::prelude::*;
use rota_sdk::tools::ToolInfo;
use rota_sdk_backup::bucket::{Backup, look};
use rota_sdk_backup::rows::TableRows;
use rota_sdk_backup::tell::{self, some};
use rota_sdk_backup::verify::{self, Means};
use rota_sdk_backup::{Level, Manifest, layout};

/// The backup that is meant.
///
/// # Errors
/// When there is none, or it is known to be damaged.
pub(crate) async fn choose(bucket: &Bucket, parameters: &Parameters) -> Result<Backup> {
    let prefix = layout::prefix(&parameters.prefix);
    let name = &parameters.database;
    let holding = look(bucket, &prefix, Some(name)).await?;
    let place = format!("of database {name:?} below {prefix:?}");
    if holding.backups.is_empty() {
        return Err(Error::new(format!("there is no backup {place}"))
            .hint("look with postgres-backup-list; check the prefix and the bucket's binding"));
    }
    let ids: Vec<String> = holding.backups.iter().map(|backup| backup.folder.id.clone()).collect();
    let chosen = if parameters.backup == "latest" {
        // Ids are of whole seconds; the manifest knows better.
        holding
            .backups
            .into_iter()
            .max_by_key(|backup| backup.manifest.as_ref().map_or(backup.started_at(), |m| m.started_at))
    } else {
        holding.backups.into_iter().find(|backup| backup.folder.id == parameters.backup)
    };
    let Some(backup) = chosen else {
        return Err(Error::new(format!("there is no backup {:?} {place}", parameters.backup))
            .hint(format!("there are: {}", some(&ids, 5))));
    };
    let problems = backup.problems();
    if !problems.is_empty() {
        let titles: Vec<&str> = problems.iter().map(|problem| problem.title.as_str()).collect();
        let other = ids.iter().find(|id| **id != backup.folder.id);
        let hint = other.map_or_else(
            || "there is no other backup of it below the prefix".to_owned(),
            |id| format!("the next one is {id}: name it with `backup`"),
        );
        return Err(
            Error::new(format!("backup {} cannot be restored: {}", backup.folder.path(), some(&titles, 3))).hint(hint)
        );
    }
    Ok(backup)
}

/// The programs and the server must be able to take what the backup was written by.
///
/// # Errors
/// When one is too old.
pub(crate) fn check_versions(
    manifest: &Manifest,
    info: &ToolInfo,
    version_num: u32,
    version: &str,
    report: &mut Report,
) -> Result<()> {
    let (of, major) = (manifest.source.version_num / 10_000, version_num / 10_000);
    if major < of {
        return Err(Error::new(format!(
            "the server is PostgreSQL {version}, older than the backup's {}",
            manifest.source.version
        ))
        .hint(format!("restore on a server of version {of} or later")));
    }
    if let Some(wrote) = manifest.client_major().filter(|wrote| info.major < *wrote) {
        return Err(Error::new(format!("pg_restore {} cannot read what {} wrote", info.version, manifest.dump.tool))
            .hint(format!("bind a pg_restore of version {wrote} or later")));
    }
    if info.major > major {
        report
            .warning(format!("pg_restore {} is newer than the server, {version}", info.version))
            .detail("It may set parameters that the server does not know. The restore stops at the first error then, beside the live database.")
            .advice(format!("Bind a pg_restore of version {major}."));
    }
    if major > of {
        report
            .note(format!("from PostgreSQL {} to {version}: a move to another major version", manifest.source.version));
    }
    Ok(())
}

/// What is known of the rows that must come back.
pub(crate) struct Proven {
    /// How it was verified.
    pub(crate) how: String,
    /// The rows of each table of the dump, exactly.
    pub(crate) rows: Vec<TableRows>,
}

/// Every byte: stored, decrypted, decompressed, read by `pg_restore`, rows counted. Or a verification on record that is young enough.
///
/// # Errors
/// When something is wrong with the backup, or it cannot be told.
pub(crate) async fn verify(
    cx: &Context,
    bucket: &Bucket,
    parameters: &Parameters,
    backup: &Backup,
    manifest: &Manifest,
    report: &mut Report,
) -> Result<Proven> {
    if parameters.verified_within_hours > 0 && !backup.is_known_damaged() {
        let oldest = f64::from(parameters.verified_within_hours) * 3600.0;
        let known = backup.verifications.iter().rev().find(|known| {
            known.ok
                && known.level >= Level::Decoded
                && cx.now().seconds_since(known.at) <= oldest
                && known.rows.is_some()
        });
        if let Some((known, rows)) = known.and_then(|known| known.rows.clone().map(|rows| (known, rows))) {
            let how = format!("verified {} at {} by run {}", known.level.word(), known.at, known.run);
            return Ok(Proven { how, rows });
        }
        report.note("the bucket has no verification that is young enough: the backup is decoded first");
    }
    let means = Means { bucket, key: cx.key(), pg_restore: Some(cx.pg_restore()), pg_dump: None, scratch: None };
    let found = verify::verify(&means, &backup.folder, manifest, Level::Decoded).await?;
    tell::problems(report, &found.problems);
    if let Some(problem) = found.problems.first() {
        return Err(Error::new(format!("the backup is not good: {}: {}", problem.title, problem.detail))
            .hint("nothing was changed; name another backup with `backup` (postgres-backup-list shows them), or mend the bucket"));
    }
    for note in &found.notes {
        report.note(note.clone());
    }
    match found.rows {
        Some(rows) => Ok(Proven { how: "every byte read and decoded in this run".to_owned(), rows }),
        None => Err(Error::new("the rows in the dump could not be counted")),
    }
}
