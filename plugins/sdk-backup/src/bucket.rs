//! What a bucket holds: the backups below a prefix, and what is left of those that never became one.

use crate::layout::{Folder, MANIFEST, VERIFIED, encode_database, time_of};
use crate::manifest::{self, Manifest, ManifestFault};
use crate::verification::{self, Level, Problem, ProblemKind, Verification};
use rota_sdk::prelude::*;
use rota_sdk::storage::Object;
use std::collections::BTreeMap;

/// How many objects are listed at most.
const MOST: usize = 1_000_000;

/// How long objects may lie without a manifest before they count as left over, seconds: a backup may still be under way.
pub const ORPHANED_AFTER: f64 = 86_400.0;

/// A backup's folder, as the bucket has it.
#[derive(Debug)]
pub struct Backup {
    /// Where it lies.
    pub folder: Folder,
    /// The objects in it, by their name in the folder.
    pub objects: BTreeMap<String, Object>,
    /// Its manifest, or why it cannot be used.
    pub manifest: Result<Manifest, ManifestFault>,
    /// What verifications found, the oldest first.
    pub verifications: Vec<Verification>,
}

/// Objects without a manifest.
#[derive(Debug)]
pub struct Leftover {
    /// Where they lie.
    pub folder: Folder,
    /// Their whole names.
    pub objects: Vec<String>,
    /// What they take up, bytes.
    pub bytes: u64,
    /// When the last of them was stored, or the backup started where the store does not say.
    pub at: Timestamp,
}

impl Leftover {
    /// Whether no backup can still be about to write the manifest.
    pub fn is_orphan(&self, now: Timestamp) -> bool {
        now.seconds_since(self.at) > ORPHANED_AFTER
    }
}

/// What was found below a prefix.
#[derive(Debug, Default)]
pub struct Holding {
    /// The backups, the newest first.
    pub backups: Vec<Backup>,
    /// Objects without a manifest, the newest first.
    pub leftovers: Vec<Leftover>,
}

impl Backup {
    /// When it was started, out of its id.
    pub fn started_at(&self) -> Timestamp {
        time_of(&self.folder.id).unwrap_or_default()
    }

    /// The highest level that was reached without a problem, and when last, unless a later verification found one.
    pub fn verified(&self) -> Option<(Level, Timestamp)> {
        if self.is_known_damaged() {
            return None;
        }
        self.verifications.iter().filter(|v| v.ok).map(|v| (v.level, v.at)).max()
    }

    /// Whether the last word of a verification was that something is wrong. A later one that looked at least as closely and found nothing
    /// takes it back (the bucket was mended, another key was given).
    pub fn is_known_damaged(&self) -> bool {
        let last_bad = self.verifications.iter().rposition(|v| !v.ok);
        last_bad.is_some_and(|place| {
            !self.verifications[place + 1..].iter().any(|v| v.ok && v.level >= self.verifications[place].level)
        })
    }

    /// What the listing alone shows to be wrong: no bytes are read.
    pub fn problems(&self) -> Vec<Problem> {
        let place = self.folder.path();
        let manifest = match &self.manifest {
            Ok(manifest) => manifest,
            Err(fault) => return vec![fault_problem(&place, fault)],
        };
        let mut problems = Vec::new();
        for part in manifest.parts() {
            match self.objects.get(&part.object) {
                None => problems.push(missing(&self.folder.object(&part.object))),
                Some(object) => {
                    problems.extend(wrong_size(&self.folder.object(&part.object), object.size, part.stored.bytes))
                }
            }
        }
        problems
    }

    /// Delete it: the manifest first, so that at no moment there is a manifest of what is not there.
    ///
    /// # Errors
    /// What the store said; what is left then is left over, without a manifest.
    pub async fn delete(&self, bucket: &Bucket) -> Result<()> {
        bucket.delete(&self.folder.manifest()).await?;
        for name in self.objects.keys().filter(|name| *name != MANIFEST) {
            bucket.delete(&self.folder.object(name)).await?;
        }
        Ok(())
    }
}

/// The problem that a manifest is.
pub fn fault_problem(place: &str, fault: &ManifestFault) -> Problem {
    let kind =
        if matches!(fault, ManifestFault::Newer(_)) { ProblemKind::NewerFormat } else { ProblemKind::BadManifest };
    let what = match fault {
        ManifestFault::Newer(format) => format!("its manifest is of format {format}"),
        _ => "its manifest cannot be used".to_owned(),
    };
    Problem::new(kind, format!("{place}: {what}"), fault.to_string())
}

/// An object is not there.
pub(crate) fn missing(name: &str) -> Problem {
    Problem::new(
        ProblemKind::MissingObject,
        format!("{name}: missing"),
        "The manifest names it, and the bucket does not have it.",
    )
}

/// An object has another size than it should.
pub(crate) fn wrong_size(name: &str, found: u64, stored: u64) -> Option<Problem> {
    (found != stored).then(|| {
        Problem::new(
            ProblemKind::WrongSize,
            format!("{name}: {found} bytes instead of {stored}"),
            "It was cut or replaced after it was stored.",
        )
    })
}

/// Look at what lies below a prefix, for one database or all of them. Reads manifests and verification results, no dumps.
///
/// # Errors
/// What the store said.
pub async fn look(bucket: &Bucket, prefix: &str, database: Option<&str>) -> Result<Holding> {
    let below = database.map_or_else(|| prefix.to_owned(), |name| format!("{prefix}{}/", encode_database(name)));
    let mut folders: BTreeMap<String, (Folder, BTreeMap<String, Object>)> = BTreeMap::new();
    for object in bucket.list(&below).await?.collect(MOST).await? {
        if let Some((folder, name)) = Folder::of(prefix, &object.name) {
            folders.entry(folder.path()).or_insert_with(|| (folder, BTreeMap::new())).1.insert(name, object);
        }
    }
    let mut holding = Holding::default();
    for (folder, objects) in folders.into_values() {
        if objects.contains_key(MANIFEST) {
            match read(bucket, folder, objects).await? {
                Ok(backup) => holding.backups.push(backup),
                Err((folder, objects)) => holding.leftovers.extend(left_over(folder, &objects)),
            }
        } else {
            holding.leftovers.extend(left_over(folder, &objects));
        }
    }
    holding.backups.sort_by(|a, b| (&b.folder.id, &b.folder.database).cmp(&(&a.folder.id, &a.folder.database)));
    holding.leftovers.sort_by(|a, b| b.folder.id.cmp(&a.folder.id));
    Ok(holding)
}

type Objects = BTreeMap<String, Object>;

/// Read the small objects of a backup. Without its manifest (deleted since it was listed) it is none.
async fn read(bucket: &Bucket, folder: Folder, mut objects: Objects) -> Result<Result<Backup, (Folder, Objects)>> {
    let manifest = match bucket.get_bytes(&folder.manifest(), manifest::LARGEST).await {
        Ok(bytes) => Manifest::parse(&bytes, &folder),
        Err(error) if error.is_not_found() => {
            objects.remove(MANIFEST);
            return Ok(Err((folder, objects)));
        }
        Err(error) if error.cause().is_none() => Err(ManifestFault::Unreadable(error.to_string())),
        Err(error) => return Err(error),
    };
    let mut verifications = Vec::new();
    for name in objects.keys().filter(|name| name.ends_with(VERIFIED)) {
        match bucket.get_bytes(&folder.object(name), verification::LARGEST).await {
            Ok(bytes) => verifications.extend(Verification::parse(&bytes, &folder)),
            Err(error) if error.is_not_found() || error.cause().is_none() => {}
            Err(error) => return Err(error),
        }
    }
    verifications.sort_by_key(|verification| verification.at);
    Ok(Ok(Backup { folder, objects, manifest, verifications }))
}

fn left_over(folder: Folder, objects: &Objects) -> Option<Leftover> {
    let started = time_of(&folder.id).unwrap_or_default();
    let last = objects.values().filter_map(|object| object.modified).map(Timestamp).max();
    (!objects.is_empty()).then(|| Leftover {
        objects: objects.values().map(|object| object.name.clone()).collect(),
        bytes: objects.values().map(|object| object.size).sum(),
        at: last.unwrap_or(started).max(started),
        folder,
    })
}
