//! What a backup leaves in the bucket that never gets its manifest, and how it is cleared away when nobody is left to do so in the run.

use crate::{Attempt, Context};
use rota_sdk::Compensation;
use rota_sdk::prelude::*;
use rota_sdk_backup::bucket::look;
use rota_sdk_backup::layout;

/// What a backup will write.
#[data]
pub struct Incomplete {
    /// The name of its manifest: with it, it is a backup, and stays.
    manifest: String,
    /// The names of its other objects.
    objects: Vec<String>,
}

impl Attempt<'_> {
    /// Before anything is stored: let the host clear away what this attempt will have stored, should it not come to its manifest. Without
    /// the right to look and to delete there is no use in it.
    pub(crate) async fn guard(&self, objects: Vec<String>) -> Result<Option<Compensation>> {
        let slot = self.cx.bucket();
        if !(slot.grants("read") && slot.grants("delete")) {
            return Ok(None);
        }
        // Each attempt has a folder of its own.
        let name = format!("incomplete-backup {}", self.folder.id);
        let state = Incomplete { manifest: self.folder.manifest(), objects };
        self.cx.undo(name, &state).await.map(Some)
    }

    /// What earlier attempts of this run left behind: the run will succeed, and nobody else would clear it away.
    pub(crate) async fn clear_earlier_attempts(&self, report: &mut Report) -> Result<()> {
        if self.cx.info().attempt < 2 || !self.cx.bucket().grants("delete") {
            return Ok(());
        }
        let holding = look(&self.bucket, &self.folder.prefix, Some(&self.folder.database)).await?;
        let ours = |id: &str| id != self.folder.id && layout::same_run(id, &self.folder.id);
        for left in holding.leftovers.iter().filter(|left| ours(&left.folder.id)) {
            for name in &left.objects {
                self.bucket.delete(name).await?;
            }
            report.note(format!("{}: cleared away, an earlier attempt of this run left it", left.folder.path()));
        }
        Ok(())
    }
}

/// Delete what was stored of a backup that has no manifest.
pub(crate) async fn clear_away(cx: Context, undo: Undo<Incomplete>) -> Result<()> {
    let Incomplete { manifest, objects } = undo.state;
    let bucket = cx.bucket().open().await?;
    if bucket.stat(&manifest).await?.is_some() {
        info!("{manifest} is there: the backup is complete, and stays");
        return Ok(());
    }
    for name in &objects {
        bucket.delete(name).await?;
    }
    info!("{manifest} was never written: {} object(s) cleared away", objects.len());
    Ok(())
}
