//! Level `restored`: does the dump come back, in a database of its own, with all its rows?

use super::passage::Passage;
use super::scratch::Scratch;
use super::{Found, Means};
use crate::layout::Folder;
use crate::manifest::Manifest;
use crate::rows::{self, TableRows, differences};
use crate::tell::some;
use crate::verification::{Problem, ProblemKind};
use rota_sdk::prelude::*;
use rota_sdk::{SqlSlot, ToolSlot};

/// What a restore needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tools {
    pub(super) scratch: SqlSlot,
    pub(super) pg_restore: ToolSlot,
    pub(super) pg_dump: ToolSlot,
}

/// Into an empty database, on an error stop. Roles and rights are the cluster's, not the dump's: a scratch server need not have them.
const RESTORE: &[&str] = &[
    "--exit-on-error",
    "--no-owner",
    "--no-privileges",
    "--no-publications",
    "--no-subscriptions",
    "--no-security-labels",
    "--no-tablespaces",
];

/// Restore, count, drop. `found` is what decoding found: nothing wrong, and the rows in the dump.
pub(super) async fn check(
    means: &Means<'_>,
    tools: Tools,
    folder: &Folder,
    manifest: &Manifest,
    mut found: Found,
) -> Result<Found> {
    let mut scratch = Scratch::create(tools.scratch, manifest).await?;
    let outcome = fill_and_count(means, tools, folder, manifest, scratch.name()).await;
    // On every path but the end of the run itself, and then it is found by its name.
    let dropped = scratch.drop_database().await;
    let restored = outcome?;
    if let Err(error) = dropped {
        found.notes.push(format!("the scratch database {} could not be dropped: {error}", scratch.name()));
    }
    match restored {
        Err(problem) => found.problems.push(problem),
        Ok(rows) => found.problems.extend(compare(manifest, found.rows.as_deref().unwrap_or_default(), &rows)),
    }
    Ok(found)
}

fn compare(manifest: &Manifest, expected: &[TableRows], restored: &[TableRows]) -> Option<Problem> {
    let differ = differences(expected, restored);
    (!differ.is_empty()).then(|| {
        let title = format!("{}: {} table(s) came back with other rows than the dump has", manifest.id, differ.len());
        Problem::new(ProblemKind::WrongRows, title, some(&differ, 10))
    })
}

/// The rows that came back, or what was wrong with the dump.
async fn fill_and_count(
    means: &Means<'_>,
    tools: Tools,
    folder: &Folder,
    manifest: &Manifest,
    database: &str,
) -> Result<Result<Vec<TableRows>, Problem>> {
    let (stream, passage) = Passage::open(means.bucket, folder, &manifest.dump, means.key).await?;
    let child = tools.pg_restore.spawn(RESTORE, Some(tools.scratch.connection_to(database)), Some(stream)).await?;
    let ended = child.success().await;
    let passed = passage.finish().await;
    if let Some((_, error)) = passed.blame {
        // It could be decoded a moment ago: the reading broke off.
        return Err(error.context("reading the dump again to restore it"));
    }
    if let Err(error) = ended {
        let title = format!("{}: cannot be restored into an empty database", folder.object(&manifest.dump.object));
        return Ok(Err(Problem::new(ProblemKind::NotRestorable, title, error.to_string())));
    }
    let child = tools
        .pg_dump
        .spawn(&["--data-only", "--format=plain"], Some(tools.scratch.connection_to(database)), None)
        .await?;
    let counted = rows::count(child.stdout()?).await;
    child.success().await.context("reading the restored rows back")?;
    Ok(Ok(counted.context("counting the restored rows")?))
}
