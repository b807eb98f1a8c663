//! One backup: store, verify, write the manifest, and only then retire others.

use crate::parameters::{Counting, Parameters};
use crate::preflight::Preflight;
use crate::store::Store;
use crate::{Context, Data, counting, retire};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_backup::manifest::{FORMAT, KIND, Part, Rows, RowsMethod, Snapshot, SnapshotMethod, Source};
use rota_sdk_backup::tell::{age, size, some};
use rota_sdk_backup::verification::Writer;
use rota_sdk_backup::verify::{self, Found, Means};
use rota_sdk_backup::{Folder, Level, Manifest, ProblemKind, tell};

/// Whether what is stored is no dump at all: such a thing must not become a backup.
fn is_worthless(kind: ProblemKind) -> bool {
    use ProblemKind::{MissingObject, Undecodable, UnreadableArchive, WrongChecksum, WrongContent, WrongSize};
    matches!(kind, MissingObject | WrongSize | WrongChecksum | Undecodable | WrongContent | UnreadableArchive)
}

/// One backup under way.
pub(crate) struct Attempt<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) parameters: &'a Parameters,
    pub(crate) folder: Folder,
    pub(crate) bucket: Bucket,
    pub(crate) started_at: Timestamp,
    pub(crate) writer: String,
}

impl Attempt<'_> {
    pub(crate) fn means(&self) -> Means<'_> {
        Means {
            bucket: &self.bucket,
            key: self.cx.key(),
            pg_restore: self.cx.pg_restore(),
            pg_dump: Some(self.cx.pg_dump()),
            scratch: self.cx.scratch(),
        }
    }

    /// Store, verify, write the manifest. Whatever fails before the manifest is written, nothing of it stays.
    pub(crate) async fn back_up(
        &self,
        session: &mut Session,
        server: &Server,
        checked: &Preflight,
        report: &mut Report,
    ) -> Result<(Manifest, Option<Found>)> {
        let store = Store::new(self);
        self.clear_earlier_attempts(report).await.context("clearing away what an earlier attempt left")?;
        let guard = self.guard(store.objects(checked)).await?;
        let done = self.store_and_verify(&store, session, server, checked, report).await;
        // Not dismissed: the host clears away what is left, also when this run is ended now.
        if done.is_err() && !store.clear_away(report).await {
            return done;
        }
        if let Some(guard) = guard
            && let Err(error) = guard.dismiss().await
        {
            // It looks for the manifest first, so that it does no harm.
            warn!("{error}");
        }
        done
    }

    async fn store_and_verify(
        &self,
        store: &Store<'_>,
        session: &mut Session,
        server: &Server,
        checked: &Preflight,
        report: &mut Report,
    ) -> Result<(Manifest, Option<Found>)> {
        let database = self.cx.database();
        progress(0, Some(3), "steps", format!("dumping {}", server.database));
        // A table takes as long to count as it takes.
        let left = self.cx.deadline().seconds_since(self.cx.now()).clamp(1.0, 2e6);
        session.configure("statement_timeout", format!("{left:.0}s")).await?;
        let counter = counting::Counter::new(checked, self.cx.is_plan() || self.parameters.rows == Counting::Estimated);
        let (dump, counted) = counter.around(session, store.dump(checked, database)).await;
        let dump = dump?;
        let counted = counted?;
        if let Some(error) = &counted.failed {
            report.note("the manifest's rows are estimates: counting them failed").because(error);
        }
        let globals = match &checked.pg_dumpall {
            Some((pg_dumpall, info)) => Some(store.globals(*pg_dumpall, info, database).await?),
            None => None,
        };
        let mut manifest = self.manifest(server, checked, dump, globals, counted);
        progress(1, Some(3), "steps", "verifying");
        let found = if self.cx.is_plan() { None } else { self.verify(&mut manifest, report).await? };
        store.manifest(&manifest).await?;
        progress(2, Some(3), "steps", "manifest written");
        Ok((manifest, found))
    }

    fn manifest(
        &self,
        server: &Server,
        checked: &Preflight,
        dump: Part,
        globals: Option<Part>,
        counted: counting::Counted,
    ) -> Manifest {
        let counting::Counted { method, tables, before, after, .. } = counted;
        let quiet = before.transactions.is_some() && before.transactions == after.transactions;
        Manifest {
            kind: KIND.to_owned(),
            format: FORMAT,
            id: self.folder.id.clone(),
            writer: self.writer.clone(),
            run: self.cx.info().id,
            started_at: self.started_at,
            finished_at: self.cx.now(),
            source: Source {
                version: server.version.clone(),
                version_num: server.version_num,
                system_identifier: server.system_identifier.clone(),
                database: server.database.clone(),
                role: server.role.clone(),
                in_recovery: server.in_recovery,
                encoding: checked.encoding.clone(),
                collation: checked.collation.clone(),
                size_bytes: checked.size_bytes,
            },
            snapshot: Snapshot {
                method: if quiet { SnapshotMethod::Quiet } else { SnapshotMethod::Between },
                lsn: before.lsn,
                lsn_after: after.lsn,
                transactions: before.transactions,
            },
            dump,
            globals,
            rows: Rows {
                method: if method == RowsMethod::CountedBefore && quiet { RowsMethod::Counted } else { method },
                tables,
            },
            extensions: checked.extensions.clone(),
        }
    }

    /// Verify what is stored, before the manifest makes it a backup. Bytes that are not those of a dump are an error, and nothing is
    /// kept. What says more of the surroundings than of the bytes (a key that does not fit, a scratch server without an extension, a
    /// bucket that does not answer) is told, and hours of dumping are not thrown away for it.
    async fn verify(&self, manifest: &mut Manifest, report: &mut Report) -> Result<Option<Found>> {
        let Some(level) = self.parameters.verify.level() else { return Ok(None) };
        match verify::verify(&self.means(), &self.folder, manifest, level).await {
            Ok(found) if found.is_good() => {
                if let (Some(rows), false) = (&found.rows, manifest.rows.method.is_exact()) {
                    manifest.rows = Rows { method: RowsMethod::CountedInDump, tables: rows.clone() };
                }
                for note in &found.notes {
                    report.note(note.clone());
                }
                Ok(Some(found))
            }
            Ok(found) => {
                tell::problems(report, &found.problems);
                if !found.problems.iter().any(|problem| is_worthless(problem.kind)) {
                    return Ok(Some(found));
                }
                let titles: Vec<String> = found.problems.iter().map(|problem| problem.title.clone()).collect();
                Err(Error::new(format!("what was stored is not good: {}", some(&titles, 3)))
                    .hint("nothing of it was kept; look at the findings and run again"))
            }
            Err(error) if error.is_cancelled() => Err(error),
            Err(error) => {
                let mut parameters = tell::prefix_parameters(&self.folder.prefix);
                parameters["backup"] = json!(self.folder.id);
                parameters["level"] = json!(level.word());
                report
                    .warning(format!("{}: stored, but it could not be verified", self.folder.path()))
                    .because(&error)
                    .remedy("postgres-backup-verify", &parameters, "verifies it");
                Ok(None)
            }
        }
    }

    /// The backup is there: put the verification beside it, retire others, report.
    pub(crate) async fn conclude(
        &self,
        server: Server,
        manifest: Manifest,
        found: Option<Found>,
        mut report: Report,
    ) -> Outcome<Data> {
        let asked = self.parameters.verify.level();
        if let (Some(level), Some(found)) = (asked, found.as_ref().filter(|found| found.is_of_the_backup())) {
            let writer = Writer { name: self.writer.clone(), run: self.cx.info().id, now: self.cx.now() };
            if let Err(error) = verify::keep(&self.bucket, &self.folder, level, found, &writer).await {
                report
                    .warning(format!("{}: the verification's result could not be stored beside it", self.folder.path()))
                    .because(&error);
            }
        }
        let level = asked.filter(|_| found.as_ref().is_some_and(Found::is_good));
        let retention = if asked.is_some() && level.is_none() && !self.cx.is_plan() {
            report.note("old backups were left alone: the new one is not verified");
            None
        } else {
            Some(retire::retire(self, &server, &mut report).await)
        };
        let duration_seconds = self.cx.now().seconds_since(self.started_at);
        self.tell(&manifest, level, duration_seconds, &mut report);
        Ok(report.data(Data {
            server,
            stored: !self.cx.is_plan(),
            folder: self.folder.path(),
            manifest: Some(manifest),
            verified: level,
            duration_seconds,
            retention,
        }))
    }

    fn tell(&self, manifest: &Manifest, level: Option<Level>, seconds: f64, report: &mut Report) {
        let name = &manifest.source.database;
        if self.cx.is_plan() {
            let estimate = manifest
                .source
                .size_bytes
                .map_or_else(|| "of unknown size".to_owned(), |bytes| format!("of {} on disk", size(bytes)));
            report.summary(format!("would back up {name}, {estimate}, to {}", self.folder.path()));
            return;
        }
        let verified = level.map_or("not verified".to_owned(), |level| format!("verified: {}", level.word()));
        let stored = manifest.stored_bytes();
        report.summary(format!(
            "{name}: {} as {} in {}, {verified}",
            size(manifest.dump.plain.bytes),
            size(stored),
            age(seconds)
        ));
        let mut table = report.table("objects", "Stored", ["object", "made by", "dumped", "stored", "encrypted"]);
        for part in manifest.parts() {
            table.row(cells![
                &part.object,
                &part.tool,
                Bytes(part.plain.bytes),
                Bytes(part.stored.bytes),
                part.is_encrypted()
            ]);
        }
        let bytes = |bytes: u64| u32::try_from(bytes >> 10).map_or(f64::from(u32::MAX), f64::from) * 1024.0;
        report.metric("backup_stored_bytes", &[("database", name)], bytes(stored));
        report.metric("backup_dumped_bytes", &[("database", name)], bytes(manifest.dump.plain.bytes));
        report.metric("backup_duration_seconds", &[("database", name)], seconds);
    }

    /// There is no backup.
    pub(crate) fn fail(&self, server: Server, error: Error, mut report: Report) -> Error {
        report.critical(format!("{}: no backup was made", server.database)).because(&error);
        report.summary(format!("{}: no backup was made", server.database));
        let duration_seconds = self.cx.now().seconds_since(self.started_at);
        let folder = self.folder.path();
        error.with_report(report.data(Data {
            server,
            stored: false,
            folder,
            manifest: None,
            verified: None,
            duration_seconds,
            retention: None,
        }))
    }
}
