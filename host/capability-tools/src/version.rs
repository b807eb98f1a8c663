//! What version a program is, as it says itself.

use crate::child::{Running, Start, Warrant};
use crate::connection::PrivateFolder;
use crate::launch::Confinement;
use crate::limits::{ProgramLimits, VERSION};
use crate::program::{Identity, Program};
use crate::{Ended, Settings};
use rota_authority::{Authorized, Tool};
use rota_capability::streams::error_of;
use rota_capability::{Process, RunContext};
use rota_contract::{Error, Fault};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;

/// The most that is read of what `--version` says.
const MOST: u64 = 4096;

/// A version in words, and its first number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the program says it, without what follows the numbers: `16.14`.
    pub text: String,
    /// The first number of it.
    pub major: u32,
}

/// The versions known so far. A program is asked once; one whose file was replaced is asked again.
#[derive(Default)]
pub(crate) struct Versions(Mutex<HashMap<(PathBuf, Identity), Version>>);

impl Versions {
    /// The version of a program.
    pub(crate) async fn of(
        &self,
        settings: &Settings,
        run: &Arc<RunContext>,
        authorized: Authorized<Tool>,
        program: Program,
    ) -> Result<Version, Error> {
        let key = (program.path.clone(), program.identity.clone());
        // Held while the program runs, so that two who ask do not both run it.
        let mut known = self.0.lock().await;
        if let Some(version) = known.get(&key) {
            return Ok(version.clone());
        }
        let name = program.name();
        let asking = ask(settings, run, authorized, program);
        let said = tokio::time::timeout(VERSION, asking)
            .await
            .map_err(|_| Error::TimedOut(format!("{name} --version did not end within {} s", VERSION.as_secs())))??;
        let version = parse(&said).ok_or_else(|| {
            failed(format!(
                "{name} --version tells no version: `{}`",
                rota_telemetry::sanitize_line(said.lines().next().unwrap_or_default())
            ))
        })?;
        known.insert(key, version.clone());
        Ok(version)
    }
}

async fn ask(
    settings: &Settings,
    run: &Arc<RunContext>,
    authorized: Authorized<Tool>,
    program: Program,
) -> Result<String, Error> {
    let folder = PrivateFolder::new(&settings.folder)
        .map_err(|error| Error::Unavailable(format!("no private folder in {}: {error}", settings.folder.display())))?;
    let name = program.name();
    let confinement = Confinement {
        limits: ProgramLimits { cpu_seconds: Some(VERSION.as_secs()), ..ProgramLimits::default() },
        reads: program.folders(),
    };
    let environment = crate::client::environment(&folder);
    let start = Start {
        program,
        arguments: vec!["--version".into()],
        environment,
        folder,
        confinement,
        stdin: None,
        keep: None,
        spooled: false,
    };
    let mut running = Running::start(&settings.launcher, run, Warrant::Reads(authorized), start).await?;
    let mut said = Vec::new();
    if let Some(mut stdout) = running.take_stdout() {
        stdout
            .raw()
            .take(MOST)
            .read_to_end(&mut said)
            .await
            .map_err(|error| failed(format!("{name} --version: {error}")))?;
    }
    match running.wait().await?.status {
        Ended::Code(0) => Ok(String::from_utf8_lossy(&said).into_owned()),
        other => Err(failed(format!("{name} --version ended with {other:?}"))),
    }
}

/// What a program elsewhere says of itself. Asked each time: what is in a pod can change.
pub(crate) async fn of_remote(name: &str, mut process: Box<dyn Process>) -> Result<Version, Error> {
    let asking = async {
        let mut said = Vec::new();
        process.stdout()?.take(MOST).read_to_end(&mut said).await.map_err(|error| error_of(&error))?;
        process.wait().await.map(|_| String::from_utf8_lossy(&said).into_owned())
    };
    let said = tokio::time::timeout(REMOTE, asking)
        .await
        .map_err(|_| Error::TimedOut(format!("{name} --version did not end within {} s", REMOTE.as_secs())))??;
    parse(&said).ok_or_else(|| {
        let line = rota_telemetry::sanitize_line(said.lines().next().unwrap_or_default());
        failed(format!("{name} --version tells no version: `{line}`"))
    })
}

/// How long that may take: a Job waits for its image.
const REMOTE: std::time::Duration = std::time::Duration::from_secs(120);

fn failed(message: String) -> Error {
    Error::Failed(Fault { code: "version".into(), message, detail: None, retryable: false })
}

/// The first word that begins with a digit, without what follows its numbers: `16.14`, `18` of `18beta1`.
fn parse(said: &str) -> Option<Version> {
    let word = said
        .split_whitespace()
        .map(|word| word.trim_start_matches(['v', '(']))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let text = word[..end].trim_end_matches('.');
    let major = text.split('.').next()?.parse().ok()?;
    Some(Version { text: text.chars().take(64).collect(), major })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, text, major) in [
            ("pg_dump (PostgreSQL) 16.14\n", "16.14", 16),
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "15.18", 15),
            ("pg_restore (PostgreSQL) 18beta1", "18", 18),
            ("alembic v1.13.2", "1.13.2", 1),
            ("tool version 2.\n", "2", 2),
        ] {
            assert_eq!(parse(said), Some(Version { text: text.into(), major }), "{said}");
        }
        assert_eq!(parse("no number here"), None);
        assert_eq!(parse("99999999999999"), None);
    }
}
