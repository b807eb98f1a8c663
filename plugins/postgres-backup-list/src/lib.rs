//! postgres-backup-list: which backups are there, how old, how far verified, and what is wrong with them.

use rota_sdk::prelude::*;
use rota_sdk_backup::bucket::{Backup, Holding, look};
use rota_sdk_backup::tell::{self, age, size};
use rota_sdk_backup::verification::Problem;
use rota_sdk_backup::{Level, layout};

procedure! {
    name: "postgres-backup-list",
    summary: "Lists the PostgreSQL backups of a bucket: age, size, verification, problems; warns when the newest is too old.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: { bucket: storage [read] "Holds the backups." },
    examples: [
        "All databases" => json!({}),
        "One database, backed up every six hours" => json!({ "database": "kosmos", "max_age_hours": 7 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to list.
#[parameters]
pub struct Parameters {
    /// Where the backups are, below the binding's own prefix.
    #[parameter(default)]
    prefix: String,
    /// Only backups of this database.
    database: Option<String>,
    /// Warn when the newest good backup of a database is older than this, hours; critical at twice the age.
    #[parameter(default = 26.0, range = 0.01..=100_000.0)]
    max_age_hours: f64,
    /// Show at most so many backups in the table; the data has all.
    #[parameter(default = 50, range = 1..=10_000)]
    show: u32,
}

/// What the bucket holds.
#[data]
pub struct Data {
    /// The databases, by name.
    databases: Vec<Database>,
    /// The backups, the newest first.
    backups: Vec<Listed>,
    /// What failed backups left, older than a day.
    orphans: Vec<Orphan>,
}

/// A database that has backups.
#[data]
pub struct Database {
    /// Its name.
    name: String,
    /// How many backups there are.
    backups: u64,
    /// The newest one without a known problem; null: there is none.
    newest: Option<String>,
    /// How old that is, seconds.
    newest_age_seconds: Option<f64>,
    /// The last one that was verified by a restore.
    last_restored: Option<String>,
    /// What all of them take up, bytes.
    stored_bytes: u64,
}

/// A backup.
#[data]
pub struct Listed {
    /// Its id.
    id: String,
    /// Its database.
    database: String,
    /// Its folder in the bucket.
    folder: String,
    /// When it was started.
    started_at: Timestamp,
    /// How old it is, seconds.
    age_seconds: f64,
    /// What it takes up, bytes.
    stored_bytes: u64,
    /// What was dumped, bytes.
    dumped_bytes: Option<u64>,
    /// The write-ahead log's position that it shows.
    lsn: Option<String>,
    /// The server's version.
    server_version: Option<String>,
    /// The cluster that it is of.
    system_identifier: Option<String>,
    /// Whether a key is needed to read it.
    encrypted: Option<bool>,
    /// How far it was verified, with good result; null: not at all, or something is wrong.
    verified: Option<Level>,
    /// When that was.
    verified_at: Option<Timestamp>,
    /// What is wrong with it, as far as the listing or the last verification shows.
    problems: Vec<Problem>,
}

/// Objects that belong to no backup.
#[data]
pub struct Orphan {
    /// Their folder.
    folder: String,
    /// How many there are.
    objects: u64,
    /// What they take up, bytes.
    bytes: u64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let bucket = cx.bucket().open().await?;
    let prefix = layout::prefix(&parameters.prefix);
    let holding = look(&bucket, &prefix, parameters.database.as_deref()).await?;
    let now = cx.now();
    let mut report = Report::new();
    let backups: Vec<Listed> = holding.backups.iter().map(|backup| listed(backup, now)).collect();
    let databases = databases(&backups, &parameters);
    judge(&databases, &backups, &parameters, &mut report);
    let orphans = orphans(&holding, now, &mut report);
    show(&backups, &parameters, now, &mut report);
    summarise(&databases, &backups, &prefix, &mut report);
    for database in &databases {
        if let Some(seconds) = database.newest_age_seconds {
            report.metric("backup_newest_age_seconds", &[("database", &database.name)], seconds);
            cx.gauge("backup_newest_age_seconds", &[("database", &database.name)], seconds);
        }
    }
    Ok(report.data(Data { databases, backups, orphans }))
}

fn listed(backup: &Backup, now: Timestamp) -> Listed {
    let manifest = backup.manifest.as_ref().ok();
    let mut problems = backup.problems();
    if let (true, Some(last)) =
        (backup.is_known_damaged(), backup.verifications.iter().rfind(|verification| !verification.ok))
    {
        let known: Vec<_> = last.problems.iter().filter(|problem| !problems.contains(problem)).cloned().collect();
        problems.extend(known);
    }
    let verified = backup.verified().filter(|_| problems.is_empty());
    Listed {
        id: backup.folder.id.clone(),
        database: backup.folder.database.clone(),
        folder: backup.folder.path(),
        started_at: backup.started_at(),
        age_seconds: now.seconds_since(backup.started_at()),
        stored_bytes: backup.objects.values().map(|object| object.size).sum(),
        dumped_bytes: manifest.map(|manifest| manifest.dump.plain.bytes),
        lsn: manifest.and_then(|manifest| manifest.snapshot.lsn.clone()),
        server_version: manifest.map(|manifest| manifest.source.version.clone()),
        system_identifier: manifest.and_then(|manifest| manifest.source.system_identifier.clone()),
        encrypted: manifest.map(|manifest| manifest.dump.is_encrypted()),
        verified: verified.map(|(level, _)| level),
        verified_at: verified.map(|(_, at)| at),
        problems,
    }
}

fn databases(backups: &[Listed], parameters: &Parameters) -> Vec<Database> {
    let mut names: Vec<&String> = backups.iter().map(|backup| &backup.database).chain(&parameters.database).collect();
    names.sort();
    names.dedup();
    let database = |name: &String| {
        let of: Vec<&Listed> = backups.iter().filter(|backup| backup.database == *name).collect();
        let newest = of.iter().find(|backup| backup.problems.is_empty());
        Database {
            name: name.clone(),
            backups: of.len() as u64,
            newest: newest.map(|backup| backup.id.clone()),
            newest_age_seconds: newest.map(|backup| backup.age_seconds),
            last_restored: of
                .iter()
                .find(|backup| backup.verified == Some(Level::Restored))
                .map(|backup| backup.id.clone()),
            stored_bytes: of.iter().map(|backup| backup.stored_bytes).sum(),
        }
    };
    names.into_iter().map(database).collect()
}

fn judge(databases: &[Database], backups: &[Listed], parameters: &Parameters, report: &mut Report) {
    let limit = parameters.max_age_hours * 3600.0;
    for database in databases {
        match database.newest_age_seconds {
            None => {
                report
                    .critical(format!("{}: no good backup", database.name))
                    .detail(format!("{} backup(s) are listed, and something is wrong with each.", database.backups))
                    .remedy("postgres-backup", &tell::prefix_parameters(&parameters.prefix), "makes one now");
            }
            Some(seconds) if seconds > limit => {
                let severity = if seconds > 2.0 * limit { Severity::Critical } else { Severity::Warning };
                report
                    .finding(severity, format!("{}: the newest good backup is {} old", database.name, age(seconds)))
                    .detail(format!("It should be at most {} old.", age(limit)))
                    .remedy("postgres-backup", &tell::prefix_parameters(&parameters.prefix), "makes one now");
            }
            Some(_) => {}
        }
    }
    for backup in backups {
        tell::problems(report, &backup.problems);
    }
    if databases.is_empty() {
        report
            .critical(format!("no backup at all below {:?}", parameters.prefix))
            .detail("The bucket was read, and holds no manifest there.")
            .remedy("postgres-backup", &tell::prefix_parameters(&parameters.prefix), "makes one now");
    }
}

fn orphans(holding: &Holding, now: Timestamp, report: &mut Report) -> Vec<Orphan> {
    let old = tell::old_leftovers(holding, now);
    tell::orphans(report, &old);
    let orphan = |left: &&rota_sdk_backup::bucket::Leftover| Orphan {
        folder: left.folder.path(),
        objects: left.objects.len() as u64,
        bytes: left.bytes,
    };
    old.iter().map(orphan).collect()
}

fn show(backups: &[Listed], parameters: &Parameters, now: Timestamp, report: &mut Report) {
    let mut table = report.table(
        "backups",
        "Backups",
        ["backup", "database", "age", "stored", "of", "lsn", "verified", "verified age", "problems"],
    );
    for backup in backups.iter().take(parameters.show as usize) {
        let verified_age = backup.verified_at.map(|at| Seconds(now.seconds_since(at)));
        let problems = (!backup.problems.is_empty()).then_some(backup.problems.len());
        table.row(cells![
            &backup.id,
            &backup.database,
            Seconds(backup.age_seconds),
            Bytes(backup.stored_bytes),
            backup.server_version.as_ref(),
            backup.lsn.as_ref(),
            backup.verified.map(Level::word),
            verified_age,
            problems
        ]);
    }
}

fn summarise(databases: &[Database], backups: &[Listed], prefix: &str, report: &mut Report) {
    if backups.is_empty() {
        report.summary(format!("no backups below {prefix:?}"));
        return;
    }
    let bytes: u64 = backups.iter().map(|backup| backup.stored_bytes).sum();
    let newest = backups.iter().find(|backup| backup.problems.is_empty());
    let newest =
        newest.map_or("none of them good".to_owned(), |backup| format!("the newest {} old", age(backup.age_seconds)));
    report.summary(format!(
        "{} backup(s) of {} database(s), {}, {newest}",
        backups.len(),
        databases.len(),
        size(bytes)
    ));
}

#[cfg(test)]
mod tests;
