//! A restore of a large backup, against bare `pg_restore` with the same jobs from the same stored object, ANALYZE on both sides.
//!
//! The backup is verified beforehand, and ours takes that on record (`verified_within_hours`): the other side verifies nothing at all. Ours still hashes
//! the stored and the decoded bytes on the way, and counts every row of the restored database.
//!
//! The other side with one job is a process that does nothing but decompress (`rota-bench --decompress FILE`), piped into `pg_restore`, so that it uses two
//! cores as ours does. With more jobs it decompresses into a file first, because parallel work seeks in the archive; so does ours.

use crate::data;
use crate::figure::{About, Figure};
use crate::health::rota;
use crate::measure::{Rounds, Sample, Watch};
use anyhow::{Context as _, ensure};
use rota_testbed::Postgres;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Decompress a file to standard output: what `--decompress` does.
pub(crate) fn decompress(path: &Path) -> anyhow::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::new(File::open(path)?)?;
    let mut output = std::io::stdout().lock();
    std::io::copy(&mut decoder, &mut output)?;
    Ok(output.flush()?)
}

struct Bench<'a> {
    server: &'a Postgres,
    folder: &'a Path,
    bucket: &'a Path,
    database: &'a str,
    jobs: u32,
}

impl Bench<'_> {
    fn rota(&self, plugin: &str, bind: &[(&str, String)], parameters: &[&str]) -> anyhow::Result<Sample> {
        let mut command = rota(self.folder)?;
        command.args(["run", plugin, "--output", "json", "--grant", "declared"]);
        for (slot, binding) in bind {
            command.arg("--bind").arg(format!("{slot}={binding}"));
        }
        for parameter in parameters {
            command.args(["-p", parameter]);
        }
        if plugin == "postgres-restore" {
            command.args(["--confirm", "RESTORE"]);
        }
        let watch = Watch::start();
        let output = command.output()?;
        let took = watch.stop();
        ensure!(
            output.status.success(),
            "{plugin} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(took)
    }

    fn file_bucket(&self) -> (&'static str, String) {
        ("bucket", format!("file://{}", self.bucket.display()))
    }

    /// Beside the live database, and no further: what is swapped are names.
    fn ours(&self, trusted: bool) -> anyhow::Result<Sample> {
        let bind = [
            ("database", self.server.url("postgres")),
            self.file_bucket(),
            ("pg_restore", self.server.program("pg_restore")?.display().to_string()),
        ];
        let (database, jobs) = (format!("database={}", self.database), format!("jobs={}", self.jobs));
        let mut parameters = vec![database.as_str(), "only_beside=true", "free_bytes=1000000000000"];
        if self.jobs > 1 {
            parameters.push(&jobs);
        }
        if trusted {
            parameters.push("verified_within_hours=1");
        }
        self.rota("postgres-restore", &bind, &parameters)
    }

    async fn theirs(&self, stored: &Path) -> anyhow::Result<Sample> {
        let archive = self.folder.join("archive");
        let watch = Watch::start();
        self.server.create_database("bare").await?;
        let mut decoder = Command::new(std::env::current_exe()?);
        decoder.arg("--decompress").arg(stored);
        let mut restore = Command::new(self.server.program("pg_restore")?);
        restore.args(["--exit-on-error", "--dbname", &self.server.url("bare")]);
        if self.jobs > 1 {
            let status = decoder.stdout(Stdio::from(File::create(&archive)?)).status()?;
            ensure!(status.success(), "the archive could not be decompressed");
            restore.arg(format!("--jobs={}", self.jobs)).arg(&archive);
            ensure!(restore.status()?.success(), "pg_restore failed");
        } else {
            let mut decoder = decoder.stdout(Stdio::piped()).spawn()?;
            let restored = restore.stdin(decoder.stdout.take().context("no pipe")?).status()?;
            ensure!(decoder.wait()?.success() && restored.success(), "pg_restore or its decompression failed");
        }
        self.server.execute("bare", "analyze").await?;
        let took = watch.stop();
        self.server.execute("postgres", "drop database bare").await?;
        if self.jobs > 1 {
            std::fs::remove_file(&archive)?;
        }
        Ok(took)
    }

    /// What a round leaves: dropped, written out, and gone from the disk.
    async fn settle(&self) -> anyhow::Result<()> {
        let mut connection = self.server.connect("postgres").await?;
        let left: Vec<String> =
            sqlx::query_scalar("select datname::text from pg_database where starts_with(datname, $1 || '_restore_')")
                .bind(self.database)
                .fetch_all(&mut connection)
                .await?;
        for name in left {
            self.server.execute("postgres", &format!("drop database {name}")).await?;
        }
        self.server.execute("postgres", "checkpoint").await
    }
}

fn dump(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut look = vec![folder.to_owned()];
    while let Some(folder) = look.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                look.push(path);
            } else if path.display().to_string().ends_with("dump.pgdump.zst") {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("the bucket has no dump")
}

pub(crate) async fn measure(server: &Postgres, gibibytes: u32, rounds: usize, jobs: u32) -> anyhow::Result<Figure> {
    let database = server.fresh_database("bench_restore").await?;
    let (folder, bucket) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let name = database.name().to_owned();
    let bench = Bench { server, folder: folder.path(), bucket: bucket.path(), database: &name, jobs };
    for gibibyte in 0..gibibytes {
        eprintln!("restore: making GiB {} of data", gibibyte + 1);
        data::gibibyte(server, &database, gibibyte).await?;
        database
            .execute(&format!(
                "alter table embeddings_{gibibyte} add primary key (id); alter table documents_{gibibyte} add primary key (id)"
            ))
            .await?;
    }
    let program = |name: &str| anyhow::Ok(server.program(name)?.display().to_string());
    let bind = [
        ("database", database.url()),
        bench.file_bucket(),
        ("pg_dump", program("pg_dump")?),
        ("pg_restore", program("pg_restore")?),
    ];
    bench.rota("postgres-backup", &bind, &["verify=decoded", "globals=false"])?;
    // Only the backup is needed from here on.
    drop(database);
    let stored = dump(bucket.path())?;
    // Compiles the plugin, and reads the dump into the cache.
    bench.ours(true)?;
    bench.settle().await?;
    let mut measured = Rounds::default();
    for round in 0..rounds {
        // Whoever is first finds a colder cache: in turn.
        let (ours, theirs) = if round % 2 == 0 {
            let ours = bench.ours(true)?;
            bench.settle().await?;
            (ours, bench.theirs(&stored).await?)
        } else {
            let theirs = bench.theirs(&stored).await?;
            bench.settle().await?;
            (bench.ours(true)?, theirs)
        };
        bench.settle().await?;
        eprintln!("restore, {jobs} job(s): {:.2} s against {:.2} s", ours.wall, theirs.wall);
        measured.push(ours, theirs);
    }
    let proven = bench.ours(false)?;
    bench.settle().await?;
    let speeds = measured.speeds();
    Ok(Figure::in_turn(
        About {
            name: "restore",
            what: format!(
                "restore of {gibibytes} GiB of tables, half of it vectors, beside the live database, {jobs} job(s), ANALYZE and row counts included"
            ),
            against: if jobs > 1 {
                format!("the stored dump decompressed to a file, `pg_restore --jobs={jobs}`, ANALYZE")
            } else {
                "the stored dump decompressed by a process of its own into `pg_restore`, ANALYZE".to_owned()
            },
            goal: ">= 0.95x speed",
        },
        speeds,
        &measured,
        speeds.median >= 0.95,
        vec![
            format!("{rounds} rounds in turn; ours hashes the bytes on the way and counts every restored row"),
            format!("as it is without parameters (the whole backup read and decoded first): {:.2} s", proven.wall),
        ],
    ))
}
