//! What goes into the bucket: dump, globals, manifest, in this order (a run that is ended while it dumps leaves nothing); and away again when one of them fails.

use crate::preflight::Preflight;
use crate::{Attempt, Compression};
use rota_sdk::prelude::*;
use rota_sdk::storage::PutOptions;
use rota_sdk::tools::{Child, ToolInfo};
use rota_sdk::{SqlSlot, ToolSlot};
use rota_sdk_backup::manifest::{Codec, Digest, Manifest, Part};
use std::cell::RefCell;

/// The dump's name, before what says how it is stored.
const DUMP: &str = "dump.pgdump";
/// The same of roles and tablespaces.
const GLOBALS: &str = "globals.sql";

/// Stores one backup, and remembers what of it lies in the bucket.
pub(crate) struct Store<'a> {
    attempt: &'a Attempt<'a>,
    written: RefCell<Vec<String>>,
}

/// What is to be stored.
struct Output {
    object: &'static str,
    content: &'static str,
    tool: String,
    /// Whether the host compresses.
    compress: bool,
    compressed_by_client: bool,
    estimate: Option<u64>,
}

impl<'a> Store<'a> {
    pub(crate) fn new(attempt: &'a Attempt<'a>) -> Self {
        Self { attempt, written: RefCell::default() }
    }

    /// The dump of the database.
    pub(crate) async fn dump(&self, checked: &Preflight, database: SqlSlot) -> Result<Part> {
        let parameters = self.attempt.parameters;
        let client = parameters.compression == Compression::ClientZstd;
        let compress = if client { format!("--compress=zstd:{}", parameters.level) } else { "--compress=0".to_owned() };
        let lock = format!("--lock-wait-timeout={}s", parameters.lock_timeout_seconds);
        let arguments = ["--format=custom", &compress, &lock];
        let child = self.attempt.cx.pg_dump().spawn(&arguments, Some(database.connection()), None).await?;
        let output = Output {
            object: DUMP,
            content: "pg_dump-custom",
            tool: format!("pg_dump {}", checked.pg_dump.version),
            compress: parameters.compression == Compression::Zstd,
            compressed_by_client: client,
            estimate: checked.size_bytes,
        };
        let part = self.part(&child, output).await;
        if client { part.hint("set compression to zstd: the host compresses then") } else { part }
    }

    /// Roles and tablespaces, without passwords: a superuser need not dump, and no password hash lies in a bucket.
    pub(crate) async fn globals(&self, pg_dumpall: ToolSlot, info: &ToolInfo, database: SqlSlot) -> Result<Part> {
        let child =
            pg_dumpall.spawn(&["--globals-only", "--no-role-passwords"], Some(database.connection()), None).await?;
        let output = Output {
            object: GLOBALS,
            content: "sql",
            tool: format!("pg_dumpall {}", info.version),
            compress: self.attempt.parameters.compression != Compression::None,
            compressed_by_client: false,
            estimate: None,
        };
        self.part(&child, output).await
    }

    /// The names of what will be stored, but for the manifest.
    pub(crate) fn objects(&self, checked: &Preflight) -> Vec<String> {
        let compression = self.attempt.parameters.compression;
        let mut objects = vec![self.stored_as(DUMP, compression == Compression::Zstd)];
        if checked.pg_dumpall.is_some() {
            objects.push(self.stored_as(GLOBALS, compression != Compression::None));
        }
        objects.iter().map(|object| self.attempt.folder.object(object)).collect()
    }

    /// What an object is called, by what is done to it.
    fn stored_as(&self, object: &str, compress: bool) -> String {
        let compressed = if compress { ".zst" } else { "" };
        let encrypted = if self.attempt.parameters.recipients.is_empty() { "" } else { ".age" };
        format!("{object}{compressed}{encrypted}")
    }

    /// A program's output through hash, compression and encryption into an object.
    async fn part(&self, child: &Child, output: Output) -> Result<Part> {
        let parameters = self.attempt.parameters;
        let object = self.stored_as(output.object, output.compress);
        let mut pipeline = Pipeline::from(child.stdout()?).sha256("plain");
        if output.compress {
            pipeline = pipeline.zstd(parameters.level)?;
        }
        if !parameters.recipients.is_empty() {
            pipeline = pipeline.encrypt(&parameters.recipients).context("encrypting")?;
        }
        let name = self.attempt.folder.object(&object);
        let mut options = PutOptions::if_absent().media_type("application/octet-stream");
        if let Some(estimate) = output.estimate {
            options = options.size_estimate(estimate);
        }
        let put = pipeline.put(&self.attempt.bucket, &name, options).await;
        // Nothing is kept when the put fails; but where the failure was in its last word, this is the only one who knows the name.
        if !put.as_ref().is_err_and(Error::is_conflict) {
            self.written.borrow_mut().push(name.clone());
        }
        let piped = match put {
            Ok(piped) => piped,
            // What the program itself says is the better reason.
            Err(error) => return Err(child.success().await.err().filter(|said| !said.is_cancelled()).unwrap_or(error)),
        };
        let ended = child.success().await?;
        let plain = piped.passed("plain");
        if !ended.is_planned() && plain.bytes_out == 0 {
            return Err(Error::new(format!("{} wrote nothing, and said that all is well", output.tool)));
        }
        let (bytes, sha256) = piped.stored.map_or_else(Default::default, |stored| (stored.size, stored.sha256));
        Ok(Part {
            object,
            tool: output.tool,
            content: output.content.to_owned(),
            codec: if output.compress { Codec::Zstd } else { Codec::None },
            level: (output.compress || output.compressed_by_client).then_some(parameters.level),
            compressed_by_client: output.compressed_by_client,
            recipients: parameters.recipients.clone(),
            plain: Digest { bytes: plain.bytes_out, sha256: plain.sha256.unwrap_or_default() },
            stored: Digest { bytes: if ended.is_planned() { 0 } else { bytes }, sha256 },
        })
    }

    /// The manifest: from here on it is a backup.
    pub(crate) async fn manifest(&self, manifest: &Manifest) -> Result<()> {
        let name = self.attempt.folder.manifest();
        let options = PutOptions::if_absent().media_type("application/json");
        match self.attempt.bucket.put(&name, manifest.to_json()?, options).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if !error.is_conflict() {
                    // First, so that it goes first: it may have been stored, and the answer lost.
                    self.written.borrow_mut().insert(0, name);
                }
                Err(error)
            }
        }
    }

    /// Delete what this attempt stored, and say whether all of it is gone. What cannot be deleted is named, and listed as left over from
    /// tomorrow on.
    pub(crate) async fn clear_away(&self, report: &mut Report) -> bool {
        let mut gone = true;
        for name in self.written.take() {
            if let Err(error) = self.attempt.bucket.delete(&name).await {
                report.warning(format!("{name}: could not be cleared away")).because(&error).remedy(
                    "postgres-backup",
                    &json!({ "clean_orphans": true }),
                    "removes it after a day, with its next backup",
                );
                gone = false;
            }
        }
        gone
    }
}
