//! What was typed, kept for the next session: in the state directory, for its owner only, without what looks like a secret.

use rustyline::history::{DefaultHistory, History as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// How many lines are kept.
pub(super) const LINES: usize = 2_000;

/// The file of the lines.
pub(super) struct Remembered {
    file: Option<PathBuf>,
    pub(super) keeps: bool,
}

/// What a line may hold a secret behind.
const BEFORE_SECRETS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "private_key",
    "access_key",
    "accesskey",
    "credential",
    "authorization",
    "bearer",
    "identified by",
];

/// The line as it may be kept; none where it looks as if it held a secret that nobody knows to mask.
pub(super) fn kept(line: &str) -> Option<String> {
    let lower = line.to_ascii_lowercase();
    let names_one = BEFORE_SECRETS
        .iter()
        .any(|word| lower.find(word).is_some_and(|at| lower[at..].contains(['\'', '"', '`', '$'])));
    // user:password@host
    let in_address = lower.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', ' ', '"', '\'']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    (!names_one && !in_address).then(|| rota_telemetry::mask(line).into_owned())
}

impl Remembered {
    /// The history in a state directory, read into an editor's. Without a place to write it is kept for this session only.
    pub(super) fn open(state: &Path, into: &mut DefaultHistory) -> Self {
        let folder = state.join("shell");
        let file = folder.join("history");
        match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder) {
            Ok(()) => {
                // What is not there yet, or cannot be read, is no reason not to begin. The file is made for its owner only.
                let _ = into.load(&file);
                Self { file: Some(file), keeps: true }
            }
            Err(error) => {
                tracing::warn!(%error, "the history cannot be kept in {}", folder.display());
                Self { file: None, keeps: true }
            }
        }
    }

    /// Remember a line.
    pub(super) fn add(&self, line: &str, history: &mut DefaultHistory) {
        if !self.keeps {
            return;
        }
        let Some(line) = kept(line) else { return };
        if history.add(&line).unwrap_or(false)
            && let Some(file) = &self.file
            && let Err(error) = history.append(file)
        {
            tracing::debug!(%error, "a line of the history could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Remembered, kept};
    use rustyline::history::{DefaultHistory, History as _};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_looks_like_a_secret_is_not_kept() {
        for line in [
            "alter role a password 'hunter2';",
            "const TOKEN = \"x\"",
            "open('postgres://me:hunter2@host/db')",
            "create user x identified by 'y';",
            "const accessKey = 'AKIA'",
            "headers = { Authorization: `Basic eDp5` }",
        ] {
            assert_eq!(kept(line), None, "{line}");
        }
        for line in ["select 1;", "print(passwords)", "open('postgres://me@host/db')", "select * from tokens;"] {
            assert_eq!(kept(line).as_deref(), Some(line));
        }
    }

    #[test]
    fn it_is_its_owners_only_and_there_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = DefaultHistory::new();
        let remembered = Remembered::open(folder.path(), &mut history);
        remembered.add("select 1;", &mut history);
        remembered.add("set password = 'x'", &mut history);
        remembered.add("f(\n1)", &mut history);
        let file = folder.path().join("shell/history");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut later = DefaultHistory::new();
        Remembered::open(folder.path(), &mut later);
        let lines: Vec<&String> = later.iter().collect();
        assert_eq!(lines, ["select 1;", "f(\n1)"]);
        let silent = Remembered { keeps: false, ..remembered };
        silent.add("select 2;", &mut later);
        assert_eq!(later.len(), 2);
    }
}
