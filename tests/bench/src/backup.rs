//! A backup of a large database to a folder, against `pg_dump -Fc` with the same codec to a file; and how much memory the host takes
//! for a small and for a large one.
//!
//! The tools folder's pg_dump is built without Zstandard, so the other side is `pg_dump -Fc --compress=0` piped into a process that does
//! nothing but compress at the same level (`rota-bench --compress-to FILE`): as two processes it uses two cores, as ours does, which
//! pg_dump's own single-threaded compression would not. Ours hashes everything twice besides (plain and stored).

use crate::data;
use crate::figure::{About, Figure};
use crate::health::rota;
use crate::measure::{Rounds, Sample, Watch};
use anyhow::{Context as _, ensure};
use rota_testbed::{Database, Postgres};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The codec's level on both sides.
const LEVEL: i32 = 1;

/// Compress standard input to a file, and make it last: what `--compress-to` does.
pub(crate) fn compress_to(path: &Path) -> anyhow::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(File::create(path)?, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer)? {
            0 => break,
            read => encoder.write_all(&buffer[..read])?,
        }
    }
    encoder.finish()?.sync_all()?;
    Ok(())
}

struct Bench<'a> {
    server: &'a Postgres,
    database: &'a Database,
    folder: &'a Path,
    pg_dump: PathBuf,
    /// It compresses by itself on the other side.
    native: bool,
}

/// One backup by Rota.
struct Backup {
    took: Sample,
    /// The most memory that the host's process held, bytes; its children apart.
    peak: u64,
    stored: u64,
}

impl Bench<'_> {
    /// As little beside the dump as the plugin lets off: no counting, no reading back.
    fn ours(&self, extra: &[&str]) -> anyhow::Result<Backup> {
        let bucket = tempfile::tempdir_in(self.folder)?;
        let mut command = rota(self.folder)?;
        command.args(["run", "postgres-backup", "--output", "json", "--grant", "declared"]);
        for (slot, binding) in [
            ("database", self.database.url()),
            ("bucket", format!("file://{}", bucket.path().display())),
            ("pg_dump", self.pg_dump.display().to_string()),
        ] {
            command.arg("--bind").arg(format!("{slot}={binding}"));
        }
        if self.native {
            command.args(["-p", "allow_newer_client=true"]);
        }
        command.args(extra).stdout(Stdio::piped()).stderr(Stdio::piped());
        let watch = Watch::start();
        let mut child = command.spawn()?;
        let peak = peak_of(child.id(), || Ok(child.try_wait()?.is_some()))?;
        let took = watch.stop();
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "the backup ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(Backup { took, peak, stored: size(bucket.path())? })
    }

    fn theirs(&self) -> anyhow::Result<Sample> {
        let file = tempfile::NamedTempFile::new_in(self.folder)?;
        let watch = Watch::start();
        if self.native {
            let status = Command::new(&self.pg_dump)
                .args(["--format=custom", &format!("--compress=zstd:{LEVEL}"), "--dbname"])
                .arg(self.database.url())
                .arg("--file")
                .arg(file.path())
                .status()?;
            ensure!(status.success(), "pg_dump failed");
            return Ok(watch.stop());
        }
        let mut dump = Command::new(&self.pg_dump)
            .args(["--format=custom", "--compress=0", "--dbname"])
            .arg(self.database.url())
            .stdout(Stdio::piped())
            .spawn()?;
        let compressed = Command::new(std::env::current_exe()?)
            .arg("--compress-to")
            .arg(file.path())
            .stdin(dump.stdout.take().context("no pipe")?)
            .status()?;
        ensure!(dump.wait()?.success() && compressed.success(), "pg_dump or its compression failed");
        Ok(watch.stop())
    }

    async fn grow(&self, from: u32, to: u32) -> anyhow::Result<()> {
        for gibibyte in from..to {
            eprintln!("backup: making GiB {} of data", gibibyte + 1);
            data::gibibyte(self.server, self.database, gibibyte).await?;
        }
        Ok(())
    }
}

/// The most memory that a process ever held, looked at until it has ended.
fn peak_of(process: u32, mut ended: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<u64> {
    let mut peak = 0;
    loop {
        peak = peak.max(memory(&process.to_string(), "VmHWM").unwrap_or(0));
        if ended()? {
            return Ok(peak);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A size of a process's memory, as /proc/PID/status names it, bytes; none once it has ended.
pub(crate) fn memory(process: &str, name: &str) -> Option<u64> {
    // Its own end makes the file unreadable, or without the line.
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().split(' ').next()?.parse::<u64>().ok()? << 10)
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}

const PLAIN: [&str; 6] = ["-p", "verify=none", "-p", "rows=estimated", "-p", "retention=false"];

pub(crate) async fn measure(
    server: &Postgres,
    gibibytes: u32,
    rounds: usize,
    native: Option<&Path>,
) -> anyhow::Result<Figure> {
    let database = server.fresh_database("bench_backup").await?;
    let folder = tempfile::tempdir()?;
    let pg_dump = native.map_or_else(|| server.program("pg_dump"), |path| Ok(path.to_owned()))?;
    let bench = Bench { server, database: &database, folder: folder.path(), pg_dump, native: native.is_some() };
    let (small, large) = (gibibytes.div_ceil(2), gibibytes * 2);
    bench.grow(0, small).await?;
    // Compiles the plugin, which takes memory of its own.
    bench.ours(&["--plan"])?;
    let small_peak = bench.ours(&PLAIN)?.peak;
    bench.grow(small, gibibytes).await?;
    let mut measured = Rounds::default();
    let mut stored = 0;
    for round in 0..rounds {
        // Whoever is first finds a colder cache: in turn.
        let (ours, theirs) = if round % 2 == 0 {
            let ours = bench.ours(&PLAIN)?;
            (ours, bench.theirs()?)
        } else {
            let theirs = bench.theirs()?;
            (bench.ours(&PLAIN)?, theirs)
        };
        eprintln!("backup: {:.2} s against {:.2} s", ours.took.wall, theirs.wall);
        stored = ours.stored;
        measured.push(ours.took, theirs);
    }
    let usual = bench.ours(&["-p", "retention=false"])?;
    bench.grow(gibibytes, large).await?;
    let large_peak = bench.ours(&PLAIN)?.peak;
    let speeds = measured.speeds();
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let grown = mebibytes(large_peak) - mebibytes(small_peak);
    Ok(Figure::in_turn(
        About {
            name: "backup",
            what: format!("backup of {gibibytes} GiB of tables, half of it vectors, to `file://`"),
            against: if native.is_some() {
                format!("`pg_dump -Fc --compress=zstd:{LEVEL} --file`, the same pg_dump on both sides")
            } else {
                format!(
                    "`pg_dump -Fc` piped into a process that compresses with the same codec (Zstandard {LEVEL}) to a file"
                )
            },
            goal: ">= 0.97x speed; memory within 32 MiB",
        },
        speeds,
        &measured,
        speeds.median >= 0.97 && grown.abs() <= 32.0,
        vec![
            format!(
                "the host held {:.1} MiB at most for {small} GiB, {:.1} MiB for {large} GiB",
                mebibytes(small_peak),
                mebibytes(large_peak)
            ),
            format!("{rounds} rounds in turn; {:.0} MiB stored", mebibytes(stored)),
            format!(
                "as it is without parameters (rows counted, every byte read back and hashed): {:.2} s",
                usual.took.wall
            ),
        ],
    ))
}
