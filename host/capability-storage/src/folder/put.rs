//! A stream becomes a file: read, hashed and written beside each other, in chunks.

use super::part::PartFile;
use super::{Folder, blocking};
use crate::lane::{CHUNK, Lane, Work, next_chunk};
use crate::name::Name;
use crate::pending;
use crate::put::Put;
use crate::wit::Stored;
use rota_capability::streams::{Reader, error_of};
use rota_contract::Error;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Work for File {
    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.write_all(chunk)
    }
}

/// Store a stream under a name.
pub(crate) async fn put(folder: &Arc<Folder>, name: &Name, mut data: Reader, options: &Put) -> Result<Stored, Error> {
    let if_absent = options.if_absent;
    let (part, file) = {
        let (folder, name) = (folder.clone(), name.clone());
        let token = pending::tasks().token();
        blocking(move || PartFile::begin(folder, &name, if_absent, token)).await?
    };
    let mut part = Held(Some(part));
    let (file, size, sha256) = match write(folder, name, &mut data, file, options).await {
        Ok(written) => written,
        Err(error) => {
            // Who hears of the failure finds nothing.
            part.remove().await;
            return Err(error);
        }
    };
    drop(data);
    let cancelled = CancellationToken::new();
    let _cancel = cancelled.clone().drop_guard();
    if let Some(part) = part.0.take() {
        blocking(move || part.place(&file, if_absent, &cancelled)).await?;
    }
    Ok(Stored { size, sha256, etag: None })
}

/// Write all of a stream to a file, and compare its sum with what was promised.
async fn write(
    folder: &Folder,
    name: &Name,
    data: &mut Reader,
    file: File,
    options: &Put,
) -> Result<(File, u64, String), Error> {
    let failed = |error: io::Error| folder.place.folder(Some(name), &error);
    let mut writer = Lane::new(file);
    let mut hasher = Lane::new(Sha256::new());
    let mut size = 0;
    loop {
        let chunk = next_chunk(data, CHUNK).await.map_err(|error| error_of(&error))?;
        if chunk.is_empty() {
            break;
        }
        size += chunk.len() as u64;
        writer.push(chunk.clone()).await.map_err(failed)?;
        hasher.push(chunk).await.map_err(failed)?;
    }
    let file = writer.finish().await.map_err(failed)?;
    let sha256 = hex::encode(hasher.finish().await.map_err(failed)?.finalize());
    match &options.sha256 {
        Some(wanted) if *wanted != sha256 => Err(folder.place.wrong_sum(name, wanted, &sha256)),
        _ => Ok((file, size, sha256)),
    }
}

/// A part file whose removal does not hold up the runtime.
struct Held(Option<PartFile>);

impl Held {
    async fn remove(&mut self) {
        let part = self.0.take();
        // In the tracker, so that it is done even where this is dropped meanwhile.
        let _ = pending::tasks().spawn_blocking(move || drop(part)).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let part = self.0.take();
        if part.is_some() && tokio::runtime::Handle::try_current().is_ok() {
            pending::tasks().spawn_blocking(move || drop(part));
        }
    }
}
