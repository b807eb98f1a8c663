//! Removes WAL that nothing needs from an archive, and from nowhere else.

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

mod archive;
mod names;
mod needs;
mod place;
#[cfg(test)]
mod tests;

use archive::Archive;
use needs::Need;
use place::{File, Folder, Place};

procedure! {
    name: "postgres-archive-cleanup",
    summary: "Removes WAL segments that no backup needs any more from an archive, never from pg_wal.",
    description: include_str!("../README.md"),
    risk: destroy,
    confirmation: "ARCHIVE",
    idempotent: true,
    slots: {
        archive: storage [read, delete] optional "The archive, where it is a bucket; what lies below `prefix` in it.",
        cluster: kubernetes [exec] optional "Lists and deletes in the archive's folder, where it is one in a pod.",
        bucket: storage [read] optional "The backups: the oldest that is retained says which WAL is needed.",
        database: sql [read] optional "The server whose archive it is: what it still needs, and which segment is in use. Needed for an archive in a bucket.",
    },
    examples: [
        "A folder in the server's pod, by the retained backups" => json!({ "pod": "postgres-0", "container": "postgres", "folder": "/archive" }),
        "A bucket, keeping what the last seven base backups need" => json!({ "prefix": "wal/", "retained_base_backups": 7 }),
        "Only what is older than a segment" => json!({ "prefix": "wal/", "cutoff": "000000010000000A000000FE" }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// Which archive, and what is needed of it.
#[parameters]
pub struct Parameters {
    /// The pod that has the archive's folder (with the slot `cluster`).
    pod: Option<String>,
    /// The pod's namespace; without it, the binding's own.
    namespace: Option<String>,
    /// The container; not needed where the pod has only one.
    container: Option<String>,
    /// The archive's folder in the pod: an absolute path.
    folder: Option<String>,
    /// Where the archive lies in the bucket of the slot `archive`.
    #[parameter(default)]
    prefix: String,
    /// Where the backups lie in the bucket of the slot `bucket`.
    #[parameter(default)]
    backups_prefix: String,
    /// The oldest segment to keep. Where anything known needs an older one, the run fails.
    cutoff: Option<String>,
    /// How many base backups are retained: the newest so many of those whose history files lie in the archive. Without it, all of them.
    #[parameter(range = 1..)]
    retained_base_backups: Option<u32>,
    /// The most files that one run deletes; what is left is for the next one.
    #[parameter(default = 10_000, range = 1..=15_000)]
    maximum_files: u32,
    /// How many files are deleted at a time.
    #[parameter(default = 100, range = 1..=200)]
    batch: u32,
    /// Only list what would be deleted. For a folder in a pod, where a plan runs no command.
    #[parameter(default = false)]
    list_only: bool,
}

/// What was found and done.
#[data]
pub struct Data {
    /// The server; null where it was not asked.
    server: Option<Server>,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// Where the archive lies.
    archive: String,
    /// The cluster's system identifier, as the segments have it; null where none could be read.
    system_identifier: Option<String>,
    /// The first segment that stays, without the timeline; null where it is not known yet.
    cutoff: Option<String>,
    /// Who needs what, the oldest first.
    needs: Vec<Need>,
    /// The segments in the archive before the run; null in a plan of a pod.
    segments: Option<Amount>,
    /// What nothing needs.
    deletable: Option<Amount>,
    /// What was deleted (in a plan: nothing).
    deleted: Amount,
    /// What nothing needs and is left: more than one run deletes, or it was only listed.
    left: Option<Amount>,
    /// The oldest file that was or would be deleted.
    first: Option<String>,
    /// The newest one.
    last: Option<String>,
    /// What is missing between the segments that stay.
    gaps: Vec<String>,
}

/// Files and their bytes.
#[data]
#[derive(Default)]
pub(crate) struct Amount {
    /// How many.
    files: u64,
    /// Their bytes.
    bytes: u64,
}

impl Amount {
    fn of<'f>(files: impl IntoIterator<Item = &'f File>) -> Self {
        files
            .into_iter()
            .fold(Self::default(), |sum, file| Self { files: sum.files + 1, bytes: sum.bytes + file.bytes })
    }
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = match cx.database() {
        Some(slot) => Some(slot.open().await?),
        None => None,
    };
    let live = match &mut session {
        Some(session) => Some(needs::live(session).await?),
        None => None,
    };
    let data_directory = live.as_ref().and_then(|live| live.data_directory.clone()).unwrap_or_default();
    let mut place = choose(&cx, &parameters, data_directory, live.is_some()).await?;
    let files = place.list().await?;
    let archive = match files {
        Some(files) => Some(Archive::read(&place, files).await?),
        None => None,
    };

    let system = live.as_ref().and_then(|live| live.server.system_identifier.clone());
    let read = archive.as_ref().and_then(|archive| archive.system.clone());
    if let (Some(server), Some(read)) = (&system, &read)
        && server != read
    {
        return Err(Error::new(format!("the archive is of the cluster {read}, and the server of {server}"))
            .hint("bind the server whose archive it is"));
    }
    let segment_bytes = archive
        .as_ref()
        .and_then(|archive| archive.segment_bytes)
        .or_else(|| live.as_ref().map(|live| live.segment_bytes));
    // An archive without segments needs no cutoff.
    let empty = archive.as_ref().is_some_and(|archive| archive.segments().next().is_none());
    let mut all = archive
        .as_ref()
        .map_or_else(Vec::new, |archive| needs::of_base_backups(&archive.files, parameters.retained_base_backups));
    let base_backups = all.len();
    if let Some(slot) = cx.bucket().filter(|_| !empty) {
        let Some(segment_bytes) = segment_bytes else { return Err(no_size()) };
        let bucket = slot.open().await?;
        all.extend(
            needs::of_backups(&bucket, &parameters, system.as_deref().or(read.as_deref()), segment_bytes).await?,
        );
    }
    if let (Some(session), Some(segment_bytes)) = (&mut session, segment_bytes) {
        all.extend(needs::of_server(session, segment_bytes).await?);
        if let Some(archive) = &archive {
            archive.is_no_live_log(needs::current(session, segment_bytes).await?, &place)?;
        }
    }
    all.sort_by_key(|need| need.place);

    let mut report = Report::new();
    let mut data = Data {
        visibility_complete: archive.is_some() && live.as_ref().is_none_or(|live| live.server.visibility_complete),
        server: live.map(|live| live.server),
        archive: place.told(),
        system_identifier: read.or(system),
        cutoff: None,
        needs: all,
        segments: archive.as_ref().map(|archive| Amount::of(archive.segments().map(|(file, _)| file))),
        deletable: None,
        deleted: Amount::default(),
        left: None,
        first: None,
        last: None,
        gaps: Vec::new(),
    };
    if let Some(server) = &data.server {
        server.report_visibility(&mut report);
    }
    let Some(archive) = archive else {
        return Ok(plan_of_a_pod(data, &parameters, report));
    };
    if empty {
        report
            .note("the archive holds no WAL segment")
            .detail("See whether `folder` or `prefix` is right, and whether the archiver works (postgres-disk).");
        report.summary(format!("{}: no WAL segment", data.archive));
        return Ok(report.data(data));
    }
    let cutoff = needs::decide(&data.needs, &parameters)?;
    data.cutoff = Some(cutoff.segment.clone());
    let unneeded = archive.older_than(cutoff.place);
    archive.holds(&cutoff, !unneeded.is_empty())?;
    data.gaps = segment_bytes.map_or_else(Vec::new, |segment_bytes| archive.gaps(cutoff.place, segment_bytes));
    data.deletable = Some(Amount::of(unneeded.iter().copied()));
    if base_backups == 0 {
        report
            .warning("the archive knows no base backup")
            .detail("WAL is replayed onto a base backup (pg_basebackup), whose history file the server archives. A dump cannot be rolled forward by it.")
            .advice("If there are base backups, see why their history files (*.backup) are not archived; if there are none, the archive brings nothing back");
    }
    for gap in &data.gaps {
        report
            .warning(format!("missing from the archive: {gap}"))
            .detail("No recovery goes past a gap: what follows it helps only the base backups that were made after it.")
            .advice("Make a new base backup now, and see why the archiver left it out");
    }
    let done = delete(&cx, &parameters, &place, &unneeded, cutoff.place, &mut report).await;
    let (chosen, deleted, error) = match done {
        Ok((chosen, deleted)) => (chosen, deleted, None),
        Err((chosen, deleted, error)) => (chosen, deleted, Some(error)),
    };
    data.first = chosen.first().map(|file| file.name.clone());
    data.last = chosen.last().map(|file| file.name.clone());
    data.deleted = deleted;
    if error.is_none() && data.deleted.files > 0 {
        verify(&mut place, &archive, &chosen, cutoff.place, &mut report).await?;
    }
    // A later attempt finds less than the first one, and deleted all that the first one chose.
    let deletable = data.deletable.get_or_insert_default();
    if deletable.files < data.deleted.files {
        *deletable = data.deleted.clone();
    }
    let left = Amount {
        files: deletable.files - data.deleted.files,
        bytes: deletable.bytes.saturating_sub(data.deleted.bytes),
    };
    show(&data, &chosen, &cutoff, &mut report);
    report.summary(summary(&data, &cutoff, &cx, &parameters));
    data.left = Some(left);
    match error {
        None => Ok(report.data(data)),
        Some(error) => Err(error.with_report(report.data(data))),
    }
}

fn no_size() -> Error {
    Error::new("how large a segment is could be read neither from the archive nor from a server")
        .hint("bind the slot `database`")
}

async fn choose<'r>(
    cx: &Context,
    parameters: &'r Parameters,
    data_directory: String,
    asked: bool,
) -> Result<Place<'r>> {
    match (cx.archive(), cx.cluster(), &parameters.pod, &parameters.folder) {
        (None, Some(slot), Some(pod), Some(folder)) => {
            if !folder.starts_with('/') || folder.contains(char::is_control) {
                return Err(Error::new(format!("{folder:?} is no absolute path")));
            }
            let cluster = slot.open().await?;
            Ok(Place::Folder(Folder { cluster, parameters, folder: folder.clone(), pod: pod.clone(), data_directory, identity: None }))
        }
        (Some(_), None, None, None) if !asked => Err(Error::new("a bucket is cleaned only where the server can be asked")
            .hint("bind the slot `database` to the primary: it tells which segment is in use, so that no live pg_wal is taken for an archive")),
        (Some(slot), None, None, None) => {
            Ok(Place::Bucket { bucket: slot.open().await?, prefix: rota_sdk_backup::layout::prefix(&parameters.prefix) })
        }
        _ => Err(Error::new("which archive to clean is not said")
            .hint("bind either `archive` (a bucket, with `prefix`) or `cluster` (with `pod` and `folder`)")),
    }
}

/// What a plan of a folder in a pod can say: who needs what, and not which files that leaves.
fn plan_of_a_pod(mut data: Data, parameters: &Parameters, mut report: Report) -> Report<Data> {
    if let Ok(cutoff) = needs::decide(&data.needs, parameters) {
        data.cutoff = Some(cutoff.segment);
    }
    report.incomplete();
    let mut listing = json!({ "list_only": true });
    for (name, value) in [
        ("pod", &parameters.pod),
        ("folder", &parameters.folder),
        ("container", &parameters.container),
        ("namespace", &parameters.namespace),
    ] {
        if let Some(value) = value {
            listing[name] = json!(value);
        }
    }
    report
        .unknown("which files would be deleted is not known: a plan runs no command in a pod")
        .detail("Base backups that the archive knows may move the cutoff back.")
        .remedy("postgres-archive-cleanup", &listing, "looks, lists the files, and deletes nothing");
    let kept = data.cutoff.as_ref().map_or_else(String::new, |cutoff| format!(", everything before {cutoff} would go"));
    report.summary(format!("{}: not looked at in a plan{kept}", data.archive));
    report.data(data)
}

type Deleted = Result<(Vec<File>, Amount), (Vec<File>, Amount, Error)>;

/// Delete in batches, the oldest first, so that what is left is whole whenever this ends.
async fn delete(
    cx: &Context,
    parameters: &Parameters,
    place: &Place<'_>,
    unneeded: &[&File],
    cutoff: (u32, u32),
    report: &mut Report,
) -> Deleted {
    let most = parameters.maximum_files as usize;
    let chosen: Vec<(String, u64)> = unneeded.iter().take(most).map(|file| (file.name.clone(), file.bytes)).collect();
    // A later attempt deletes what the first one chose, batch by batch, and knows what is done.
    let chosen = cx
        .step("choose", async || Ok(chosen))
        .repeatable()
        .await
        .map_err(|error| (Vec::new(), Amount::default(), error))?;
    let chosen: Vec<File> = chosen.into_iter().map(|(name, bytes)| File { name, bytes }).collect();
    if let Some(needed) = chosen.iter().find(|file| !archive::is_older(&file.name, cutoff)) {
        let error = Error::new(format!("{} was chosen by an earlier attempt, and is needed now", needed.name))
            .hint("start a new run");
        return Err((chosen.clone(), Amount::default(), error));
    }
    let mut deleted = Amount::default();
    if parameters.list_only {
        return Ok((chosen, deleted));
    }
    for batch in chosen.chunks(parameters.batch as usize) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { continue };
        progress(deleted.files, Some(chosen.len() as u64), "files", &first.name);
        let names: Vec<&str> = batch.iter().map(|file| file.name.as_str()).collect();
        let step = cx.step(format!("delete {} to {}", first.name, last.name), async || place.delete(&names).await);
        if let Err(error) = step.repeatable().await {
            report.critical(format!("{} to {}: not all deleted", first.name, last.name)).because(&error);
            return Err((chosen.clone(), deleted, error));
        }
        if !cx.is_plan() {
            let sum = Amount::of(batch);
            deleted = Amount { files: deleted.files + sum.files, bytes: deleted.bytes + sum.bytes };
        }
    }
    Ok((chosen, deleted))
}

/// Look again: what was to go is gone, and what was to stay is there.
async fn verify(
    place: &mut Place<'_>,
    before: &Archive,
    chosen: &[File],
    cutoff: (u32, u32),
    report: &mut Report,
) -> Result<()> {
    let Some(files) = place.list().await.context("looking at the archive again")? else { return Ok(()) };
    let names: std::collections::BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    if let Some(there) = chosen.iter().find(|file| names.contains(file.name.as_str())) {
        report
            .critical(format!("{}: still there after it was deleted", there.name))
            .detail("Somebody archives the same names again, or the store keeps them.");
    }
    let stays = before.segments().filter(|(file, _)| !archive::is_older(&file.name, cutoff));
    for (file, _) in stays.filter(|(file, _)| !names.contains(file.name.as_str())).take(10) {
        report
            .critical(format!("{}: gone, and this run did not delete it", file.name))
            .detail("Somebody else removes files from the archive.")
            .advice("See who does, and make a new base backup: recovery may not get past this segment");
    }
    Ok(())
}

fn show(data: &Data, chosen: &[File], cutoff: &Need, report: &mut Report) {
    let mut table = report.table("needs", "Who needs what", ["who", "name", "from segment on"]);
    for need in data.needs.iter().take(20) {
        table.row(cells![need.kind.word().trim_end_matches(','), &need.name, &need.segment]);
    }
    if !chosen.is_empty() {
        let title = format!(
            "Not needed: before {} ({} {})",
            cutoff.segment,
            cutoff.kind.word().trim_end_matches(','),
            cutoff.name
        );
        let mut table = report.table("files", &title, ["file", "size"]);
        let (head, tail) =
            if chosen.len() > 40 { (&chosen[..20], &chosen[chosen.len() - 20..]) } else { (chosen, &[][..]) };
        for file in head.iter().chain(tail) {
            table.row(cells![&file.name, Bytes(file.bytes)]);
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "metrics")]
    if let Some(segments) = &data.segments {
        report.metric("archive_bytes", &[], segments.bytes.saturating_sub(data.deleted.bytes) as f64);
        report.metric("archive_deleted_bytes", &[], data.deleted.bytes as f64);
    }
}

fn summary(data: &Data, cutoff: &Need, cx: &Context, parameters: &Parameters) -> String {
    let size = rota_sdk_backup::tell::size;
    let place = &data.archive;
    let deletable = data.deletable.clone().unwrap_or_default();
    if deletable.files == 0 {
        return format!("{place}: nothing before {} is there, nothing to delete", cutoff.segment);
    }
    if cx.is_plan() || parameters.list_only {
        let now = deletable.files.min(u64::from(parameters.maximum_files));
        return format!(
            "{place}: {now} of {} file(s) before {}, {} in all, would be deleted",
            deletable.files,
            cutoff.segment,
            size(deletable.bytes)
        );
    }
    format!(
        "{place}: {} of {} file(s) before {} deleted, {}",
        data.deleted.files,
        deletable.files,
        cutoff.segment,
        size(data.deleted.bytes)
    )
}
