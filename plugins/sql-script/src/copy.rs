//! `\copy`: CSV with a header, streamed between the server and the bucket within the host.

use crate::split::Copy;
use crate::{Copied, Ran, Work};
use rota_sdk::prelude::*;
use rota_sdk::storage::PutOptions;

/// Since when COPY can be told to compare the header with the columns.
const HEADER_MATCH: u32 = 150_000;

/// What is sent to the server.
pub(crate) fn statement(work: &Work<'_>, copy: &Copy) -> Sql {
    let what = copy.what.text(work.source.text, &work.names);
    let what = what.trim();
    Sql::from_operator(match copy.out {
        true => format!("COPY {what} TO STDOUT (FORMAT csv, HEADER)"),
        // A file whose columns are in another order would otherwise be taken as it is.
        false if work.server.version_num >= HEADER_MATCH => {
            format!("COPY {what} FROM STDIN (FORMAT csv, HEADER MATCH)")
        }
        false => format!("COPY {what} FROM STDIN (FORMAT csv, HEADER)"),
    })
}

pub(crate) fn bucket<'w>(work: &'w Work<'_>) -> Result<&'w Bucket> {
    work.bucket.as_ref().ok_or_else(|| Error::new("\\copy needs the slot `bucket`"))
}

pub(crate) fn options(work: &Work<'_>) -> PutOptions {
    match work.parameters.replace {
        true => PutOptions::replace(),
        false => PutOptions::if_absent(),
    }
    .media_type("text/csv")
}

/// Carry it out.
///
/// # Errors
/// What the server or the store said: then nothing was kept.
pub(crate) async fn copy(work: &Work<'_>, session: &mut Session, copy: &Copy, ran: &mut Ran) -> Result<()> {
    let bucket = bucket(work)?;
    if copy.out {
        let rows = Pipeline::from(session.copy_out(statement(work, copy)).await?);
        let stored =
            rows.put(bucket, &copy.object, options(work)).await.map_err(|error| match error.is_conflict() {
                true => error.hint("-p replace=true replaces an object that is there"),
                false => error,
            })?;
        let (bytes, sha256) = stored.stored.map(|stored| (stored.size, stored.sha256)).unwrap_or_default();
        ran.object = Some(Copied { name: copy.object.clone(), bytes, sha256 });
        return Ok(());
    }
    let reading = bucket.get(&copy.object).await?;
    let (stream, watch) = Pipeline::from(reading).sha256("csv").into_parts();
    ran.touched = Some(session.copy_in(statement(work, copy), stream).await?);
    let read = watch.finish().await?.passed("csv");
    let sha256 = read.sha256.unwrap_or_default();
    ran.object = Some(Copied { name: copy.object.clone(), bytes: read.bytes_out, sha256 });
    Ok(())
}
