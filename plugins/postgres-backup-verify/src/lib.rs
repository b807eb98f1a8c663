//! postgres-backup-verify: is what lies in the bucket still a backup?

use rota_sdk::prelude::*;
use rota_sdk_backup::bucket::{Backup, Holding, fault_problem, look};
use rota_sdk_backup::manifest::Manifest;
use rota_sdk_backup::rows::TableRows;
use rota_sdk_backup::tell::{self, size};
use rota_sdk_backup::verification::{Problem, Writer};
use rota_sdk_backup::verify::{self, Means, SCRATCH_PREFIX};
use rota_sdk_backup::{Level, layout};

procedure! {
    name: "postgres-backup-verify",
    summary: "Verifies PostgreSQL backups: every byte, every row, up to a restore into a scratch database.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        bucket: storage [read, write] "Holds the backups; the results are written beside them.",
        pg_restore: tool [run] optional "Reads dumps, for level decoded and restored.",
        key: key [decrypt] optional "Opens encrypted backups.",
        scratch: sql [read, write, ddl, index, maintain] optional "A server where a database may be created and dropped, for level restored.",
        pg_dump: tool [run] optional "Reads the restored rows back, for level restored.",
    },
    examples: [
        "The newest backup of each database" => json!({}),
        "The newest backup of one database, restored" => json!({ "database": "kosmos", "level": "restored" }),
        "Every backup, byte by byte" => json!({ "backup": "all", "level": "stored" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to verify.
#[parameters]
pub struct Parameters {
    /// Where the backups are, below the binding's own prefix.
    #[parameter(default)]
    prefix: String,
    /// Only backups of this database.
    database: Option<String>,
    /// Which backup: its id, `latest` (of each database) or `all`.
    #[parameter(default = "latest".to_owned())]
    backup: String,
    /// How far. Without it: decoded where `pg_restore` is bound, else stored.
    level: Option<Level>,
}

/// What was verified.
#[data]
pub struct Data {
    /// How far.
    level: Level,
    /// The backups, the newest first.
    backups: Vec<Verified>,
}

/// A backup that was verified.
#[data]
pub struct Verified {
    /// Its id.
    id: String,
    /// Its database.
    database: String,
    /// Its folder in the bucket.
    folder: String,
    /// Whether nothing is wrong; null where it could not be told.
    ok: Option<bool>,
    /// What is wrong.
    problems: Vec<Problem>,
    /// Why it could not be told.
    unknown: Option<String>,
    /// The server's version that it is of.
    server_version: Option<String>,
    /// The cluster that it is of.
    system_identifier: Option<String>,
    /// What was read, bytes.
    stored_bytes: Option<u64>,
    /// The rows counted in the dump, from level decoded on.
    rows: Option<Vec<TableRows>>,
    /// Where the result was stored; null where it was not.
    result: Option<String>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let bucket = cx.bucket().open().await?;
    let means = Means {
        bucket: &bucket,
        key: cx.key(),
        pg_restore: cx.pg_restore(),
        pg_dump: cx.pg_dump(),
        scratch: cx.scratch(),
    };
    let level = parameters.level.unwrap_or(if cx.pg_restore().is_some() { Level::Decoded } else { Level::Stored });
    means.suffice(level)?;
    let mut report = Report::new();
    if cx.is_plan() && level == Level::Restored {
        report.note("a plan creates no scratch database: shown up to level decoded");
    }
    if level == Level::Restored {
        scratch_leftovers(&cx, &mut report).await;
    }
    let prefix = layout::prefix(&parameters.prefix);
    let holding = look(&bucket, &prefix, parameters.database.as_deref()).await?;
    let chosen = choose(&holding, &parameters, &prefix)?;
    let mut backups = Vec::with_capacity(chosen.len());
    for (place, backup) in chosen.iter().enumerate() {
        progress(place as u64, Some(chosen.len() as u64), "backups", backup.folder.path());
        backups.push(one(&cx, &means, backup, level, &mut report).await?);
    }
    conclude(&mut report, &backups, level);
    Ok(report.data(Data { level, backups }))
}

/// Which backups are meant.
fn choose<'h>(holding: &'h Holding, parameters: &Parameters, prefix: &str) -> Result<Vec<&'h Backup>> {
    let place = parameters
        .database
        .as_ref()
        .map_or_else(|| format!("below {prefix:?}"), |name| format!("of database {name:?} below {prefix:?}"));
    if holding.backups.is_empty() {
        return Err(Error::new(format!("there is no backup {place}"))
            .hint("look with postgres-backup-list; check the prefix and the bucket's binding"));
    }
    let chosen: Vec<&Backup> = match parameters.backup.as_str() {
        "all" => holding.backups.iter().collect(),
        "latest" => {
            let mut seen = Vec::new();
            holding
                .backups
                .iter()
                .filter(|backup| {
                    !seen.contains(&&backup.folder.database) && {
                        seen.push(&backup.folder.database);
                        true
                    }
                })
                .collect()
        }
        id => holding.backups.iter().filter(|backup| backup.folder.id == id).collect(),
    };
    if chosen.is_empty() {
        let newest: Vec<&str> = holding.backups.iter().map(|backup| backup.folder.id.as_str()).collect();
        return Err(Error::new(format!("there is no backup {:?} {place}", parameters.backup))
            .hint(format!("there are: {}", tell::some(&newest, 5))));
    }
    Ok(chosen)
}

/// Verify one backup, tell, and put the result beside it.
async fn one(cx: &Context, means: &Means<'_>, backup: &Backup, level: Level, report: &mut Report) -> Result<Verified> {
    let folder = &backup.folder;
    let mut verified = Verified {
        id: folder.id.clone(),
        database: folder.database.clone(),
        folder: folder.path(),
        ok: None,
        problems: Vec::new(),
        unknown: None,
        server_version: None,
        system_identifier: None,
        stored_bytes: None,
        rows: None,
        result: None,
    };
    let manifest = match &backup.manifest {
        Ok(manifest) => manifest,
        Err(fault) => {
            verified.problems.push(fault_problem(&folder.path(), fault));
            verified.ok = Some(false);
            tell::problems(report, &verified.problems);
            return Ok(verified);
        }
    };
    verified.server_version = Some(manifest.source.version.clone());
    verified.system_identifier.clone_from(&manifest.source.system_identifier);
    verified.stored_bytes = Some(manifest.stored_bytes());
    let level = if cx.is_plan() { level.min(Level::Decoded) } else { level };
    match verify::verify(means, folder, manifest, level).await {
        Ok(found) => {
            tell::problems(report, &found.problems);
            for note in &found.notes {
                report.note(format!("{}: {note}", folder.path()));
            }
            verified.result = keep(cx, means, backup, level, &found, report).await;
            verified.ok = Some(found.is_good());
            verified.rows = found.rows;
            verified.problems = found.problems;
        }
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            report.unknown(format!("{}: could not be verified", folder.path())).because(&error);
            verified.unknown = Some(error.to_string());
        }
    }
    tell_age(cx, manifest, report);
    Ok(verified)
}

/// Put the result beside the backup; a job that grants no `write` only looks.
async fn keep(
    cx: &Context,
    means: &Means<'_>,
    backup: &Backup,
    level: Level,
    found: &verify::Found,
    report: &mut Report,
) -> Option<String> {
    if !found.is_of_the_backup() {
        return None;
    }
    if !cx.bucket().grants("write") {
        report.note(format!(
            "{}: the result is not kept: `write` on the slot `bucket` is not granted",
            backup.folder.path()
        ));
        return None;
    }
    let writer = Writer {
        name: format!("postgres-backup-verify {}", env!("CARGO_PKG_VERSION")),
        run: cx.info().id,
        now: cx.now(),
    };
    match verify::keep(means.bucket, &backup.folder, level, found, &writer).await {
        Ok(verification) => Some(backup.folder.object(&verification.object())),
        Err(error) => {
            report
                .warning(format!("{}: the result could not be stored beside it", backup.folder.path()))
                .because(&error);
            None
        }
    }
}

fn tell_age(cx: &Context, manifest: &Manifest, report: &mut Report) {
    let seconds = cx.now().seconds_since(manifest.started_at);
    report.metric("backup_age_seconds", &[("database", &manifest.source.database), ("backup", &manifest.id)], seconds);
}

/// Databases of runs that died.
async fn scratch_leftovers(cx: &Context, report: &mut Report) {
    let Some(scratch) = cx.scratch() else { return };
    // Where the server does not answer, the verification itself will say so.
    for name in verify::scratch_leftovers(scratch).await.unwrap_or_default() {
        report
            .warning(format!("database {name}: left over by a verification that broke off"))
            .detail(format!("Databases whose names begin with {SCRATCH_PREFIX} are made by this procedure. Another verification may be under way right now."))
            .advice(format!("Once no verification runs: DROP DATABASE {name}"));
    }
}

fn conclude(report: &mut Report, backups: &[Verified], level: Level) {
    let mut table = report.table("backups", "Verified", ["backup", "database", "of", "stored", "rows", "result"]);
    for backup in backups {
        let rows = backup.rows.as_ref().map(|rows| rows.iter().map(|table| table.rows).sum::<u64>());
        let result = match backup.ok {
            Some(true) => format!("good ({})", level.word()),
            Some(false) => "NOT GOOD".to_owned(),
            None => "unknown".to_owned(),
        };
        table.row(cells![
            &backup.id,
            &backup.database,
            backup.server_version.as_ref(),
            backup.stored_bytes.map(Bytes),
            rows,
            result
        ]);
    }
    let good = backups.iter().filter(|backup| backup.ok == Some(true)).count();
    let bytes: u64 = backups.iter().filter_map(|backup| backup.stored_bytes).sum();
    report.summary(match (good, backups) {
        (1, [only]) => format!("{}: good, verified {}, {}", only.folder, level.word(), size(bytes)),
        (good, all) if good == all.len() => {
            format!("{good} backups are good, verified {}, {}", level.word(), size(bytes))
        }
        (good, all) => format!("{} of {} backup(s) are not known to be good", all.len() - good, all.len()),
    });
}

#[cfg(test)]
mod tests;
