//! Level `stored`: does the bucket hold the very bytes that were stored?

use super::Found;
use crate::bucket::{missing, wrong_size};
use crate::layout::Folder;
use crate::manifest::{Manifest, Part};
use crate::verification::{Problem, ProblemKind};
use rota_sdk::prelude::*;

/// Re-read and hash every object of a backup.
pub(super) async fn check(bucket: &Bucket, folder: &Folder, manifest: &Manifest) -> Result<Found> {
    let mut found = Found::default();
    for part in manifest.parts() {
        found.problems.extend(check_part(bucket, folder, part).await?);
    }
    Ok(found)
}

/// Re-read and hash one object.
pub(super) async fn check_part(bucket: &Bucket, folder: &Folder, part: &Part) -> Result<Option<Problem>> {
    let name = folder.object(&part.object);
    let Some(object) = bucket.stat(&name).await? else { return Ok(Some(missing(&name))) };
    if let Some(problem) = wrong_size(&name, object.size, part.stored.bytes) {
        return Ok(Some(problem));
    }
    let reading = match bucket.get(&name).await {
        Ok(reading) => reading,
        Err(error) if error.is_not_found() => return Ok(Some(missing(&name))),
        Err(error) => return Err(error),
    };
    let piped = Pipeline::from(reading).sha256("stored").drain().await.with_context(|| format!("reading {name}"))?;
    Ok(wrong_bytes(&name, &piped.passed("stored"), part))
}

/// Whether what was read is not what was stored.
pub(super) fn wrong_bytes(name: &str, passed: &rota_sdk::Passed, part: &Part) -> Option<Problem> {
    let sha256 = passed.sha256.as_deref().unwrap_or_default();
    if passed.bytes_out != part.stored.bytes {
        return wrong_size(name, passed.bytes_out, part.stored.bytes);
    }
    (sha256 != part.stored.sha256).then(|| {
        Problem::new(
            ProblemKind::WrongChecksum,
            format!("{name}: not the bytes that were stored"),
            format!("The SHA-256 is {sha256} and should be {}.", part.stored.sha256),
        )
    })
}
