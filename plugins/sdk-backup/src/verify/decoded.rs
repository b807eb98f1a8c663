//! Level `decoded`: can every byte be decrypted, decompressed and read by `pg_restore`, and which rows are in it?

use super::passage::{Arrival, Passage, Stage};
use super::{Found, Means, stored};
use crate::bucket::missing;
use crate::layout::Folder;
use crate::manifest::{Manifest, Part};
use crate::rows;
use crate::verification::{Problem, ProblemKind};
use rota_sdk::ToolSlot;
use rota_sdk::prelude::*;

/// Decode the dump and the globals. In one pass: the stored bytes are hashed on the way.
pub(super) async fn check(
    means: &Means<'_>,
    pg_restore: ToolSlot,
    folder: &Folder,
    manifest: &Manifest,
) -> Result<Found> {
    let mut found = dump(means, pg_restore, folder, &manifest.dump).await?;
    if let Some(globals) = &manifest.globals {
        found.problems.extend(plain_text(means, folder, globals).await?);
    }
    Ok(found)
}

/// The whole archive through `pg_restore`, to nowhere; the rows are counted as they pass.
async fn dump(means: &Means<'_>, pg_restore: ToolSlot, folder: &Folder, part: &Part) -> Result<Found> {
    let name = folder.object(&part.object);
    let (stream, passage) = match Passage::open(means.bucket, folder, part, means.key).await {
        Ok(opened) => opened,
        Err(error) if error.is_not_found() => return Ok(Found::problem(missing(&name))),
        Err(error) => return Err(error.context(name)),
    };
    // Data only: the archive's table of contents, with every definition, is read in any case, and no function's text is taken for data.
    let child = pg_restore.spawn(&["--data-only", "--file=-"], None, Some(stream)).await?;
    let counted = rows::count(child.stdout()?).await;
    let ended = child.success().await;
    let passed = passage.finish().await;
    if let (Ok(_), true) = (&ended, passed.whole) {
        if let Some(problem) = wrong_content(&name, &passed, part) {
            return Ok(Found::problem(problem));
        }
        return Ok(match counted {
            Ok(rows) => Found { rows: Some(rows), ..Found::default() },
            Err(error) => Found::problem(unreadable(&name, &error)),
        });
    }
    let said =
        ended.err().or(counted.err()).unwrap_or_else(|| Error::new("pg_restore stopped before the end of the archive"));
    attribute(means, folder, part, passed.blame, said).await.map(Found::problem)
}

/// Something small that needs no program to read it.
async fn plain_text(means: &Means<'_>, folder: &Folder, part: &Part) -> Result<Option<Problem>> {
    let name = folder.object(&part.object);
    let (stream, passage) = match Passage::open(means.bucket, folder, part, means.key).await {
        Ok(opened) => opened,
        Err(error) if error.is_not_found() => return Ok(Some(missing(&name))),
        Err(error) => return Err(error.context(name)),
    };
    let drained = stream.drain().await;
    let passed = passage.finish().await;
    match drained {
        Ok(_) if passed.whole => Ok(wrong_content(&name, &passed, part)),
        drained => {
            let said = drained.err().unwrap_or_else(|| Error::new("it was not read to its end"));
            attribute(means, folder, part, passed.blame, said).await.map(Some)
        }
    }
}

/// Whether what came through is not what was stored, or not what the program wrote.
pub fn wrong_content(name: &str, passed: &Arrival, part: &Part) -> Option<Problem> {
    let (stored, plain) = (passed.stored.as_ref()?, passed.plain.as_ref()?);
    stored::wrong_bytes(name, stored, part).or_else(|| {
        let sha256 = plain.sha256.as_deref().unwrap_or_default();
        (plain.bytes_out != part.plain.bytes || sha256 != part.plain.sha256).then(|| {
            let detail = format!(
                "{} bytes with SHA-256 {sha256}, and should be {} with {}.",
                plain.bytes_out, part.plain.bytes, part.plain.sha256
            );
            Problem::new(ProblemKind::WrongContent, format!("{name}: decodes to other bytes than were dumped"), detail)
        })
    })
}

/// What a failed decoding was: damage in the bucket, the wrong key, or an archive that was never good. An error when the reading
/// itself broke off, which says nothing about the backup.
async fn attribute(
    means: &Means<'_>,
    folder: &Folder,
    part: &Part,
    blame: Option<(Stage, Error)>,
    said: Error,
) -> Result<Problem> {
    let name = folder.object(&part.object);
    if let Some(problem) = stored::check_part(means.bucket, folder, part).await? {
        return Ok(problem);
    }
    Ok(match blame {
        Some((Stage::Read | Stage::Stored, error)) => return Err(error.context(format!("reading {name}"))),
        Some((Stage::Decrypt, error)) => Problem::new(
            ProblemKind::WrongKey,
            format!("{name}: the key given does not open it"),
            format!("{error}. The stored bytes are whole. It was encrypted to {}.", part.recipients.join(", ")),
        ),
        Some((Stage::Decompress | Stage::Plain, error)) => Problem::new(
            ProblemKind::Undecodable,
            format!("{name}: cannot be decompressed"),
            format!("{error}. The stored bytes are those that were written."),
        ),
        None => unreadable(&name, &said),
    })
}

fn unreadable(name: &str, said: &Error) -> Problem {
    Problem::new(ProblemKind::UnreadableArchive, format!("{name}: pg_restore cannot read it"), said.to_string())
}
