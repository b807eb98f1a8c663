//! Bringing a backup back.

use super::open::{lock, make_beside, put, with_journals, with_suffix};
use super::{Sqlite, SystemClock};
use crate::folder::StateFolder;
use crate::records::Records;
use crate::session::{Link, Session, Shared, understand_sqlite};
use crate::{BackupSummary, StoreError, backup};
use sqlx::Connection as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A new file is filled beside the old one, which is moved aside only when the new one is whole.
pub(super) async fn restore(folder: &Path, from: &Path) -> Result<(BackupSummary, Option<PathBuf>), StoreError> {
    let folder = StateFolder::open(folder)?;
    let _lock = lock(&folder).await?;
    let path = folder.path().join(Records::<Sqlite>::FILE);
    let new = with_suffix(&path, ".restored");
    let mut connection = make_beside(&new).await?;
    let shared = Shared {
        place: new.display().to_string().into(),
        clock: Arc::new(SystemClock),
        refused: Arc::default(),
        has_server: false,
        spool: None,
        spooled: Arc::default(),
    };
    let summary = backup::read(&mut Session::new(Link::Sqlite(&mut connection), &shared), from).await?;
    connection.close().await.map_err(|error| understand_sqlite(&shared.place, &error))?;
    let former = move_aside(&path)?;
    put(&new, &path)?;
    Ok((summary, former))
}

/// What is there keeps its content under another name, with its journals.
fn move_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let suffix = format!(".before-{}", chrono::Utc::now().format("%Y%m%dT%H%M%S%6fZ"));
    let mut former = None;
    for file in with_journals(path) {
        let aside = with_suffix(&file, &suffix);
        match std::fs::rename(&file, &aside) {
            Ok(()) => former = former.or(Some(aside)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::from_io(&file, &error)),
        }
    }
    Ok(former)
}
