//! Whether the restored database has room beside the live one. SQL cannot tell how much is free, and a full volume stops the whole server.

use crate::{Context, Parameters};
use rota_sdk::cluster::{Cluster, Command};
use rota_sdk::prelude::*;
use rota_sdk_backup::Manifest;
use rota_sdk_backup::tell::size;

/// WAL and sorting come on top of the data.
const SPARE: f64 = 1.2;
/// What `df` answers is short.
const LONGEST: usize = 64 * 1024;

/// What is needed and what there is, bytes.
#[data]
pub(crate) struct Disk {
    /// The size of the database when it was backed up, and a fifth more for WAL and sorting; null where the manifest does not tell.
    pub(crate) needed: Option<u64>,
    /// What is free on the server's data volume; null where it is not known.
    pub(crate) free: Option<u64>,
    /// How that is known.
    pub(crate) how: String,
}

/// Look, and refuse where there is no room.
///
/// # Errors
/// When there is not enough, or the pod that was named does not answer.
pub(crate) async fn check(
    cx: &Context,
    parameters: &Parameters,
    cluster: Option<&Cluster>,
    session: &mut Session,
    manifest: &Manifest,
    report: &mut Report,
) -> Result<Disk> {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, made whole"
    )]
    let needed = manifest.source.size_bytes.map(|bytes| (bytes as f64 * SPARE) as u64);
    let (free, how) = match (&parameters.server_pod, parameters.free_bytes, cluster) {
        (Some(pod), _, Some(cluster)) if !cx.is_plan() || cx.cluster().is_some_and(|slot| slot.grants("exec")) => {
            (df(cluster, session, pod).await.context("asking for the free space")?, format!("df in pod {pod}"))
        }
        (Some(_), _, None) => {
            return Err(Error::new("`server_pod` needs the slot `cluster`, which is not bound")
                .hint("bind it with --bind cluster=..., or say what is free with `free_bytes`"));
        }
        (_, Some(bytes), _) => (Some(bytes), "the parameter free_bytes".to_owned()),
        _ => (None, "nobody said".to_owned()),
    };
    match (needed, free) {
        (Some(needed), Some(free)) if free < needed => {
            return Err(Error::new(format!(
                "the restore needs about {} and {} are free ({how})",
                size(needed),
                size(free)
            ))
            .hint("drop an old database that was kept, or enlarge the volume; a full volume stops the whole server"));
        }
        (_, Some(_)) => {}
        (needed, None) => {
            let wanted =
                needed.map_or_else(|| "an unknown size".to_owned(), |needed| format!("about {}", size(needed)));
            report
                .unknown(format!("whether the server has room for {wanted} is not known"))
                .detail("SQL cannot tell what is free on the server's volume, and a full one stops the whole server.")
                .advice("Look with df, and say it with free_bytes, or name the server's pod with server_pod.");
        }
    }
    Ok(Disk { needed, free, how })
}

/// The free bytes of the data volume, asked for in the server's pod. None in a plan, where no command runs.
async fn df(cluster: &Cluster, session: &mut Session, pod: &str) -> Result<Option<u64>> {
    let folder: String = session
        .query_one("select current_setting('data_directory')", params![])
        .await
        .hint("the folder is shown to members of pg_monitor")?;
    let (namespace, name) =
        pod.split_once('/').map_or((None, pod), |(namespace, name)| (Some(namespace.to_owned()), name));
    let command = Command { namespace, ..Command::new(name, &["df", "-Pk", &folder]) };
    let child = cluster.exec(command, None).await?;
    let output = child.stdout()?.collect(LONGEST).await?;
    if child.success().await?.is_planned() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&output);
    // Filesystem, blocks of 1024 bytes, used, available, capacity, mounted on.
    let available =
        text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).and_then(|word| word.parse::<u64>().ok());
    match available {
        Some(blocks) => Ok(Some(blocks.saturating_mul(1024))),
        None => Err(Error::new(format!("df answered {:?}", text.trim()))),
    }
}
