//! The order of things: everything that can be refused is refused first; then beside the live database; then, at the very end, in its place.

use crate::apps::{self, App, Scaled};
use crate::backup::{self, Proven};
use crate::disk::{self, Disk};
use crate::guard::Guard;
use crate::live::{self, Live};
use crate::scratch::{self, Scratch, maintenance, name_beside, remark, tail_of, unhurried};
use crate::swap::{self, Swapped};
use crate::undo::Left;
use crate::{Context, Data, Parameters, Source, tell};
use rota_sdk::cluster::Cluster;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::Manifest;
use rota_sdk_backup::bucket::Backup;
use rota_sdk_backup::rows::TableRows;
use std::time::Duration;

/// How long another restore is waited for: not at all, but for what the server needs to answer.
const LOCK: Duration = Duration::from_secs(1);
/// How often scaling back is tried before it is left to the host.
const TRIES: u32 = 4;

/// What was found out before anything was done.
struct Checked {
    backup: Backup,
    manifest: Manifest,
    server: Server,
    live: Option<Live>,
    /// Extensions for the privileged binding.
    privileged: Vec<String>,
    cluster: Option<Cluster>,
    apps: Vec<App>,
    disk: Disk,
}

/// What was done.
struct Done {
    scratch: String,
    rows: Option<Vec<TableRows>>,
    swapped: Option<Swapped>,
    scaled: Vec<Scaled>,
    away_seconds: f64,
}

pub(crate) async fn restore(cx: &Context, parameters: &Parameters) -> Outcome<Data> {
    let began = cx.now();
    let mut report = Report::new();
    let bucket = cx.bucket().open().await?;
    let mut session = maintenance(cx).await?;
    unhurried(cx, &mut session).await?;
    let checked = check(cx, parameters, &bucket, &mut session, &mut report).await?;
    let mut locker = maintenance(cx).await?;
    let mut guard = Guard::take(&mut locker, &mut session, parameters.target(), LOCK).await?;
    progress(0, Some(4), "parts", "reading the whole backup");
    let verifying = backup::verify(cx, &bucket, parameters, &checked.backup, &checked.manifest, &mut report);
    let proven = match guard.during(cx, verifying).await {
        Ok(proven) => proven,
        Err(error) => return Err(error.with_report(report)),
    };
    let done = match work(cx, parameters, &bucket, &mut session, &mut guard, &checked, &proven, &mut report).await {
        Ok(done) => done,
        Err(error) => {
            report.critical(format!("{}: nothing was swapped", parameters.target())).because(&error);
            tell::failed(&mut report, cx, parameters);
            return Err(error.with_report(report));
        }
    };
    if let Err(error) = guard.release().await {
        warn!("{error}");
    }
    conclude(cx, parameters, checked, proven, done, began, report)
}

/// Everything that can be looked at beforehand.
async fn check(
    cx: &Context,
    parameters: &Parameters,
    bucket: &Bucket,
    session: &mut Session,
    report: &mut Report,
) -> Result<Checked> {
    let backup = backup::choose(bucket, parameters).await?;
    let manifest = match &backup.manifest {
        Ok(manifest) => manifest.clone(),
        Err(fault) => return Err(Error::new(format!("{}: {fault}", backup.folder.path()))),
    };
    let server = Server::inspect(session).await?;
    if server.in_recovery {
        return Err(
            Error::new("the server is a standby, where nothing can be restored").hint("bind the primary to `database`")
        );
    }
    let info = cx.pg_restore().info().await?;
    backup::check_versions(&manifest, &info, server.version_num, &server.version, report)?;
    let may: bool = session
        .query_one("select rolsuper or rolcreatedb from pg_catalog.pg_roles where rolname = current_user", params![])
        .await?;
    if !may {
        return Err(Error::new(format!("role {} may not make databases", server.role))
            .hint(format!("as a superuser: ALTER ROLE {} CREATEDB", server.role)));
    }
    let target = parameters.target();
    let live = live::look(session, &server, target).await?;
    let privileged = scratch::extensions(cx, session, &server, &manifest).await?;
    let (mut cluster, mut apps) = (None, Vec::new());
    if let Some(slot) = cx.cluster() {
        let opened = slot.open().await?;
        if !parameters.only_beside {
            apps = apps::find(cx, &opened, parameters, report).await?;
        }
        cluster = Some(opened);
    } else if parameters.names_deployments() {
        return Err(Error::new("deployments are named, and the slot `cluster` is not bound")
            .hint("bind it with --bind cluster=..."));
    }
    if let (Some(live), false) = (&live, parameters.only_beside) {
        live::check(session, target, live, parameters.properties, report).await?;
        let left = live::others(session, live.oid).await?;
        if cluster.is_none() && !left.is_empty() && !parameters.end_sessions {
            return Err(swap::in_use(target, &left));
        }
        tell::sessions(report, target, &left, parameters, cx.is_plan());
    }
    let disk = disk::check(cx, parameters, cluster.as_ref(), session, &manifest, report).await?;
    tell::kept(session, report).await?;
    Ok(Checked { backup, manifest, server, live, privileged, cluster, apps, disk })
}

/// Beside the live database, and in its place.
#[allow(clippy::too_many_arguments, reason = "called once")]
async fn work(
    cx: &Context,
    parameters: &Parameters,
    bucket: &Bucket,
    session: &mut Session,
    guard: &mut Guard<'_>,
    checked: &Checked,
    proven: &Proven,
    report: &mut Report,
) -> Result<Done> {
    let target = parameters.target().to_owned();
    let run = cx.info().id;
    let now = cx.now();
    let name = name_beside(&target, "restore", now, &tail_of(&run));
    let undo = cx.undo(format!("drop {name}"), &Left::Scratch { target: target.clone(), name: name.clone() }).await?;
    progress(1, Some(4), "parts", format!("restoring into {name}"));
    let filling = async {
        let scratch = Scratch::create(session, &name, checked.live.as_ref(), &checked.manifest).await?;
        let text = tell::being_restored(&checked.manifest.id, &run, now);
        let said = remark(session, &name, &text).await?;
        session.execute(said, params![]).await?;
        if let (Some(control), false) = (cx.control(), checked.privileged.is_empty()) {
            scratch.privileged_extensions(control, &checked.privileged, cx.is_plan()).await?;
            report.note(format!("made by the privileged binding: extension {}", checked.privileged.join(", "))).detail(
                "Comments of the backup's objects are not restored: pg_restore would have to own these extensions to set theirs.",
            );
        }
        scratch.fill(cx, bucket, &checked.backup, &checked.manifest, parameters, checked.privileged.is_empty()).await?;
        progress(2, Some(4), "parts", "analysing and counting");
        let rows = if cx.is_plan() { None } else { Some(scratch.prove(cx, proven, report).await?) };
        Ok((scratch, rows))
    };
    let (scratch, rows) = guard.during(cx, filling).await?;
    if parameters.only_beside {
        let said = remark(session, &name, &tell::beside(&checked.manifest.id, &run, cx.now())).await?;
        session.execute(said, params![]).await?;
        undo.dismiss().await?;
        return Ok(Done { scratch: name, rows, swapped: None, scaled: Vec::new(), away_seconds: 0.0 });
    }
    progress(3, Some(4), "parts", "swapping");
    let away = cx.now();
    let mut apps = checked.apps.clone();
    if let Some(cluster) = &checked.cluster {
        guard.during(cx, scale_down(cx, cluster, &target, &mut apps, parameters)).await?;
    }
    let mut swapped = Swapped { old: None, ended: Vec::new() };
    if let Some(live) = &checked.live {
        if live.allows_connections {
            // Opened again by its identity: once it is the old database, it stays closed.
            cx.undo(format!("open {target}"), &Left::Closed { target: target.clone(), oid: live.oid }).await?;
            swap::close(session, &target).await?;
        }
        swapped.ended = guard.during(cx, swap::empty(cx, session, &target, live, parameters)).await?;
        swapped.old = Some(name_beside(&target, "before", now, &tail_of(&run)));
    }
    let comment = checked.live.as_ref().and_then(|live| live.comment.clone()).filter(|text| !tell::is_ours(text));
    let comment = comment.unwrap_or_else(|| tell::restored(&checked.manifest.id, &run, cx.now()));
    let kept = tell::kept_until(&target, &checked.manifest.id, &run, cx.now(), parameters.keep_days);
    swap::swap(session, guard, &target, &scratch, swapped.old.as_deref(), (&comment, &kept)).await?;
    if !cx.is_plan() {
        info!("database {target} is backup {} now", checked.manifest.id);
    }
    let scaled = match &checked.cluster {
        Some(cluster) if !cx.is_plan() => scale_back(cx, cluster, &apps).await?,
        _ => apps.iter().map(apps::planned).collect(),
    };
    Ok(Done { scratch: name, rows, swapped: Some(swapped), scaled, away_seconds: cx.now().seconds_since(away) })
}

/// On record first, then down, then gone.
async fn scale_down(
    cx: &Context,
    cluster: &Cluster,
    target: &str,
    apps: &mut [App],
    parameters: &Parameters,
) -> Result<()> {
    let name = format!("scale back for {target}");
    let state = |apps: &[App]| Left::Scaled { target: target.to_owned(), apps: apps.to_vec() };
    // As many as there are now: the restore beside took its time.
    for app in apps.iter_mut() {
        app.replicas = cluster.get_scale(&app.object()).await?.wanted;
    }
    cx.undo(name.clone(), &state(apps)).await?;
    for place in 0..apps.len() {
        let before = apps.to_vec();
        apps::scale_down(cluster, &mut apps[place], async |changed: &App| {
            let mut all = before.clone();
            all[place] = changed.clone();
            cx.undo(name.clone(), &state(&all)).await.map(drop)
        })
        .await?;
    }
    if cx.is_plan() {
        return Ok(());
    }
    apps::wait_until_gone(cx, cluster, apps, Duration::from_secs(parameters.wait_seconds.into())).await
}

/// A cluster that does not answer for a moment is asked again; then the host goes on with the undo.
async fn scale_back(cx: &Context, cluster: &Cluster, apps: &[App]) -> Result<Vec<Scaled>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match apps::scale_back(cluster, apps).await {
            Ok(scaled) => return Ok(scaled),
            Err(error) if error.is_retryable() && tries < TRIES => {
                warn!("{error}");
                cx.sleep(Duration::from_secs(u64::from(tries))).await?;
            }
            Err(error) => {
                return Err(error.context(
                    "the databases are swapped, and the applications could not be scaled back; the host tries on",
                ));
            }
        }
    }
}

fn conclude(
    cx: &Context,
    parameters: &Parameters,
    checked: Checked,
    proven: Proven,
    done: Done,
    began: Timestamp,
    mut report: Report,
) -> Outcome<Data> {
    let Checked { manifest, backup, server, disk, .. } = checked;
    let target = parameters.target().to_owned();
    apps::tell(&mut report, &done.scaled);
    let swapped = done.swapped.is_some() && !cx.is_plan();
    let data = Data {
        backup: Source {
            id: manifest.id.clone(),
            folder: backup.folder.path(),
            started_at: manifest.started_at,
            server_version: manifest.source.version.clone(),
            system_identifier: manifest.source.system_identifier.clone(),
        },
        restored: if swapped { target.clone() } else { done.scratch },
        target,
        swapped,
        old_database: done.swapped.as_ref().and_then(|swapped| swapped.old.clone()),
        tables: done.rows.as_ref().map(|rows| rows.len() as u64),
        rows: done.rows.as_ref().map(|rows| rows.iter().map(|table| table.rows).sum()),
        proven: proven.how,
        disk,
        deployments: done.scaled,
        sessions_ended: done.swapped.map(|swapped| swapped.ended).unwrap_or_default(),
        away_seconds: done.away_seconds,
        duration_seconds: cx.now().seconds_since(began),
        server,
    };
    tell::conclude(&mut report, cx, parameters, &data);
    data.server.report_visibility(&mut report);
    Ok(report.data(data))
}
