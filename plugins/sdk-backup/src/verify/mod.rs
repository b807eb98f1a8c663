//! Verify a backup, level by level.
//!
//! Two answers are kept apart: what is wrong with the backup (a [`Problem`], which goes on record beside it), and that it could not be
//! told (an error: the bucket does not answer, a grant is missing). The second says nothing about the backup.

mod decoded;
mod passage;
mod restored;
mod scratch;
mod stored;

use crate::layout::Folder;
use crate::manifest::Manifest;
use crate::rows::{TableRows, differences};
use crate::tell::some;
use crate::verification::{FORMAT, KIND, Level, Problem, ProblemKind, Verification, Writer};
use rota_sdk::prelude::*;
use rota_sdk::storage::PutOptions;
use rota_sdk::{KeySlot, SqlSlot, ToolSlot};

pub use decoded::wrong_content;
pub use passage::{Arrival, Passage, Stage};
pub use scratch::{PREFIX as SCRATCH_PREFIX, leftovers as scratch_leftovers};

/// What verification works with; the slots that a job leaves unbound are none.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// Where the backup is.
    pub bucket: &'a Bucket,
    /// Opens what is encrypted.
    pub key: Option<KeySlot>,
    /// Reads dumps.
    pub pg_restore: Option<ToolSlot>,
    /// Reads the scratch database's rows back.
    pub pg_dump: Option<ToolSlot>,
    /// A server where a database may be created.
    pub scratch: Option<SqlSlot>,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What is wrong; empty: nothing.
    pub problems: Vec<Problem>,
    /// The rows of each table, as they were counted in the dump.
    pub rows: Option<Vec<TableRows>>,
    /// What is worth saying and not wrong.
    pub notes: Vec<String>,
}

impl Found {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether it says something of the backup, and not only of the key that was given.
    pub fn is_of_the_backup(&self) -> bool {
        self.is_good() || self.problems.iter().any(|problem| problem.kind != ProblemKind::WrongKey)
    }

    fn problem(problem: Problem) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

impl Means<'_> {
    /// Whether a level can be reached with what is bound, before anything is read.
    ///
    /// # Errors
    /// What to bind.
    pub fn suffice(&self, level: Level) -> Result<()> {
        let lacks = |slot: &str, why: &str, example: &str| {
            Err(Error::new(format!("level {} needs the slot `{slot}`, which is not bound: {why}", level.word()))
                .hint(format!("bind it with --bind {slot}={example}")))
        };
        if level >= Level::Decoded && self.pg_restore.is_none() {
            return lacks("pg_restore", "it reads the dump", "/usr/bin/pg_restore");
        }
        if level >= Level::Restored {
            let Some(scratch) = self.scratch else {
                return lacks(
                    "scratch",
                    "a server where a database may be created, filled and dropped again",
                    "postgres://...",
                );
            };
            if self.pg_dump.is_none() {
                return lacks("pg_dump", "it reads the restored rows back", "/usr/bin/pg_dump");
            }
            if let Some(missing) =
                ["write", "ddl", "index", "maintain"].into_iter().find(|access| !scratch.grants(access))
            {
                return Err(Error::new(format!("level restored needs `{missing}` on the slot `scratch`"))
                    .hint("grant it with --grant scratch=read,write,ddl,index,maintain"));
            }
        }
        Ok(())
    }

    /// Whether what is bound can read this very backup.
    async fn fits(&self, manifest: &Manifest, level: Level) -> Result<()> {
        self.suffice(level)?;
        if level < Level::Decoded {
            return Ok(());
        }
        if manifest.parts().any(crate::manifest::Part::is_encrypted) && self.key.is_none() {
            let recipients = manifest.dump.recipients.join(", ");
            return Err(Error::new(format!(
                "backup {} is encrypted to {recipients}, and the slot `key` is not bound: bind the identity with \
                 --bind key=file:/path/to/identity, or verify with level stored, which needs none",
                manifest.id
            )));
        }
        let (Some(pg_restore), Some(wrote)) = (self.pg_restore, manifest.client_major()) else { return Ok(()) };
        let info = pg_restore.info().await?;
        if info.major < wrote {
            return Err(Error::new(format!(
                "pg_restore {} cannot read what {} wrote",
                info.version, manifest.dump.tool
            ))
            .hint(format!("bind a pg_restore of version {wrote} or later")));
        }
        Ok(())
    }
}

/// Verify a backup up to a level. Stops at the first level that finds something wrong.
///
/// # Errors
/// When it could not be told.
pub async fn verify(means: &Means<'_>, folder: &Folder, manifest: &Manifest, level: Level) -> Result<Found> {
    means.fits(manifest, level).await?;
    let found = match (level, means.pg_restore) {
        (Level::Decoded | Level::Restored, Some(pg_restore)) => {
            decoded::check(means, pg_restore, folder, manifest).await?
        }
        _ => stored::check(means.bucket, folder, manifest).await?,
    };
    let found = compare_with_manifest(manifest, found);
    match (level, means.scratch, means.pg_dump, means.pg_restore) {
        (Level::Restored, Some(scratch), Some(pg_dump), Some(pg_restore)) if found.is_good() => {
            let tools = restored::Tools { scratch, pg_dump, pg_restore };
            restored::check(means, tools, folder, manifest, found).await
        }
        _ => Ok(found),
    }
}

/// The rows in the dump against those that were counted in the database.
fn compare_with_manifest(manifest: &Manifest, mut found: Found) -> Found {
    let Some(rows) = &found.rows else { return found };
    // Tables that only the dump has are an extension's own, which are dumped in part and not counted.
    let differ: Vec<_> = differences(&manifest.rows.tables, rows)
        .into_iter()
        .filter(|difference| difference.expected.is_some())
        .collect();
    if differ.is_empty() {
        return found;
    }
    match manifest.rows.method {
        method if method.is_exact() => found.problems.push(Problem::new(
            ProblemKind::WrongRows,
            format!("{}: {} table(s) of the dump have other rows than the database had", manifest.id, differ.len()),
            some(&differ, 10),
        )),
        crate::manifest::RowsMethod::CountedBefore => found.notes.push(format!(
            "the dump differs from the rows counted just before it, as others wrote meanwhile: {}",
            some(&differ, 5)
        )),
        _ => {}
    }
    found
}

/// Put the result beside the manifest. A job that may not write only reads.
///
/// # Errors
/// What the store said.
pub async fn keep(
    bucket: &Bucket,
    folder: &Folder,
    level: Level,
    found: &Found,
    writer: &Writer,
) -> Result<Verification> {
    let verification = Verification {
        kind: KIND.to_owned(),
        format: FORMAT,
        backup: folder.id.clone(),
        level,
        ok: found.is_good(),
        at: writer.now,
        writer: writer.name.clone(),
        run: writer.run.clone(),
        problems: found.problems.clone(),
        rows: found.rows.clone(),
    };
    let name = folder.object(&verification.object());
    bucket.put(&name, verification.to_json()?, PutOptions::if_absent().media_type("application/json")).await?;
    Ok(verification)
}
