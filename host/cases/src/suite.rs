//! The cases of a plugin: found, read, chosen, and run side by side.

use crate::check::{Wrong, check};
use crate::compare::{glob, partial};
use crate::format::{Case, CaseFile, End, Entry, Expect, Problem};
use crate::run::{CaseResult, Subject, fits, run};
use crate::{Came, Line};
use futures::StreamExt as _;
use rota_contract::Descriptor;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The folder of a plugin's cases, in the plugin's own.
const FOLDER: &str = "tests";
/// The most files of cases.
const MOST: usize = 1_000;

/// Why cases cannot be run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SuiteError {
    /// Something is wrong in the files: all of it.
    #[error("{}", .0.iter().map(Problem::to_block).collect::<Vec<_>>().join("\n"))]
    Files(Vec<Problem>),
    /// The folder cannot be read.
    #[error("{} cannot be read: {why}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: String,
    },
}

/// The cases of a plugin.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    files: Vec<Arc<CaseFile>>,
}

/// The results of a file.
#[derive(Clone, Debug)]
pub struct FileResults {
    /// The file.
    pub path: PathBuf,
    /// Its cases that were run.
    pub cases: Vec<CaseResult>,
}

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases that have passed.
    pub passed: usize,
    /// Cases that have failed.
    pub failed: usize,
    /// Cases that were not chosen.
    pub filtered: usize,
}

impl Suite {
    /// The files of a plugin's folder: `tests/*.toml`, in the order of their names. None is no error.
    ///
    /// # Errors
    /// Everything that is wrong in them.
    pub fn of_folder(folder: &Path) -> Result<Self, SuiteError> {
        let tests = folder.join(FOLDER);
        let entries = match std::fs::read_dir(&tests) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(SuiteError::Folder { folder: tests, why: error.to_string() }),
        };
        // What cannot be read is said, like a link that leads nowhere: cases that nobody runs do not fail either.
        let entries: std::io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths: Vec<PathBuf> = entries
            .map_err(|error| SuiteError::Folder { folder: tests.clone(), why: error.to_string() })?
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "toml") && !path.is_dir())
            .filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")))
            .collect();
        paths.sort();
        if paths.len() > MOST {
            return Err(SuiteError::Folder { folder: tests, why: format!("it holds more than {MOST} files of cases") });
        }
        Self::of_files(&paths)
    }

    /// These files.
    ///
    /// # Errors
    /// Everything that is wrong in them.
    pub fn of_files(paths: &[PathBuf]) -> Result<Self, SuiteError> {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match CaseFile::read(path) {
                Ok(file) => files.push(Arc::new(file)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self { files }) } else { Err(SuiteError::Files(problems)) }
    }

    /// Of a text, as if it were in a file.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn of_text(path: &Path, text: impl Into<String>) -> Result<Self, SuiteError> {
        let file = CaseFile::parse(path, text.into()).map_err(|problem| SuiteError::Files(vec![problem]))?;
        Ok(Self { files: vec![Arc::new(file)] })
    }

    /// Whether there is no case.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The files.
    pub fn files(&self) -> &[Arc<CaseFile>] {
        &self.files
    }

    /// Whether the cases fit the plugin: its slots, its parameters, its accesses.
    ///
    /// # Errors
    /// Everything that does not, with its place.
    pub fn fits(&self, descriptor: &Descriptor) -> Result<(), SuiteError> {
        let problems: Vec<Problem> = self.files.iter().filter_map(|file| fits(file, descriptor).err()).collect();
        if problems.is_empty() { Ok(()) } else { Err(SuiteError::Files(problems)) }
    }

    /// The names of the cases, in their order.
    pub fn names(&self) -> Vec<&str> {
        self.files.iter().flat_map(|file| &file.cases).map(|case| case.name.as_str()).collect()
    }

    /// The cases whose name, or whose file's name, holds a text; all, without one.
    pub fn chosen(&self, filter: Option<&str>) -> Vec<(Arc<CaseFile>, usize)> {
        let chosen = |file: &CaseFile, case: &Case| {
            let stem = file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            filter.is_none_or(|filter| case.name.contains(filter) || stem.contains(filter))
        };
        let all = self.files.iter().flat_map(|file| (0..file.cases.len()).map(move |index| (file.clone(), index)));
        all.filter(|(file, index)| chosen(file, &file.cases[*index])).collect()
    }

    /// Run the chosen cases, so many at once; each is told of as it has ended, in their order.
    pub async fn run(
        &self,
        subject: &Subject,
        filter: Option<&str>,
        at_once: usize,
        mut told: impl FnMut(&Path, &CaseResult),
    ) -> (Vec<FileResults>, Tally) {
        let chosen = self.chosen(filter);
        let all: usize = self.files.iter().map(|file| file.cases.len()).sum();
        let mut tally = Tally { filtered: all - chosen.len(), ..Tally::default() };
        let mut results: Vec<FileResults> = Vec::new();
        let begun = chosen.into_iter().map(|(file, index)| {
            let subject = subject.clone();
            async move {
                let (path, name) = (file.path.clone(), file.cases[index].name.clone());
                let done = tokio::spawn(async move { run(&subject, &file, &file.cases[index]).await }).await;
                // A host that breaks over a case has not passed it.
                let result = done.unwrap_or_else(|error| broken(&name, &error.to_string()));
                (path, result)
            }
        });
        let mut ending = futures::stream::iter(begun).buffered(at_once.max(1));
        while let Some((path, result)) = ending.next().await {
            if result.passed() {
                tally.passed += 1;
            } else {
                tally.failed += 1;
            }
            told(&path, &result);
            match results.last_mut().filter(|last| last.path == path) {
                Some(last) => last.cases.push(result),
                None => results.push(FileResults { path, cases: vec![result] }),
            }
        }
        (results, tally)
    }
}

fn broken(name: &str, why: &str) -> CaseResult {
    CaseResult {
        name: name.to_owned(),
        wrong: vec![Wrong::new("the host broke over the case", why)],
        log: Vec::new(),
        took: Duration::ZERO,
        used: BTreeSet::new(),
    }
}

impl Case {
    /// Whether it wants a plan.
    pub fn is_plan(&self) -> bool {
        self.mode == crate::format::Mode::Plan
    }

    /// Its parameters, JSON.
    pub fn parameters(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.parameters
    }

    /// Why it cannot be run on real targets; none: it can.
    pub fn only_answered(&self) -> Option<&'static str> {
        let moments = [&self.cancel_at, &self.terminate_at, &self.lease_lost_at, &self.crash_at];
        if moments.iter().any(|moment| moment.is_some()) {
            return Some("it ends the run at a moment");
        }
        if self.slots.values().any(|slot| slot.access.is_some() || slot.bound == Some(false)) {
            return Some("it says itself what is granted");
        }
        let survives = self.expect_real.is_none() && self.expect.end() != End::Failed;
        if survives && self.expect.denials().next().is_some() {
            return Some("it expects a denial that does not end the run, and only one that does is on record");
        }
        self.compensate.is_some().then_some("it carries out a compensation alone")
    }

    /// What came out on real targets, held against what is expected there: `expect_real`, or else how the run ends.
    pub fn check_real(&self, came: &Came, descriptor: &Descriptor) -> Vec<Wrong> {
        let mut expect = self.expect_real.clone().unwrap_or_else(|| {
            let Expect { ended, mut failure, denied, .. } = self.expect.clone();
            // A run is on record without the target's own code.
            if let Some(failure) = &mut failure {
                failure.code = None;
            }
            Expect {
                ended,
                failure,
                // On other data there are other effects.
                effects: Some(vec![Entry::Others]),
                denied,
                compensations: Some(vec![Entry::Others]),
                ..Expect::default()
            }
        });
        // Of all denials only that which ended the run is on record, in the procedure's words: it must be one of those that are expected.
        let expected = |said: &String| expect.denials().any(|entry| tells(entry, said));
        if came.denied.iter().any(expected) {
            expect.denied = Some(vec![Entry::Others]);
        }
        check(&expect, came, descriptor, false)
    }

    /// A result of it, of what was found wrong elsewhere.
    pub fn result(&self, wrong: Vec<Wrong>, log: Vec<Line>, took: Duration) -> CaseResult {
        CaseResult { name: self.name.clone(), wrong, log, took, used: BTreeSet::new() }
    }
}

/// Whether what a procedure said of a denial holds the denial that is expected.
fn tells(expected: &Entry, said: &str) -> bool {
    match expected {
        Entry::Others => true,
        Entry::Line(pattern) => glob::fits(&format!("*{pattern}*"), said),
        Entry::Has(map) => partial::fits(&Value::Object(map.clone()), &json!({ "message": said })),
    }
}

impl Suite {
    /// Accesses that a plugin declares and no case used, but those of which a file says that none need: slot and word.
    pub fn unused(&self, results: &[FileResults], descriptor: &Descriptor) -> Vec<(String, String)> {
        let used: BTreeSet<&(String, String)> =
            results.iter().flat_map(|file| &file.cases).flat_map(|case| &case.used).collect();
        let declared = descriptor
            .slots
            .iter()
            .flat_map(|slot| slot.accesses.iter().map(|access| (slot.name.clone(), access.clone())));
        let excused = |pair: &(String, String)| self.files.iter().any(|file| file.uncovered.contains(pair));
        declared.filter(|pair| !used.contains(pair) && !excused(pair)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_not_passed_over() {
        let folder = std::env::temp_dir().join(format!("rota-suite-{}", std::process::id()));
        let tests = folder.join(FOLDER);
        std::fs::create_dir_all(tests.join("folder.toml")).unwrap();
        std::fs::write(tests.join("a.toml"), "[[case]]\nname = \"a\"\n").unwrap();
        let found = Suite::of_folder(&folder);
        // As an editor leaves one, and as nobody means one.
        std::os::unix::fs::symlink("nowhere", tests.join(".#a.toml")).unwrap();
        let beside_an_editor = Suite::of_folder(&folder);
        std::os::unix::fs::symlink("nowhere", tests.join("b.toml")).unwrap();
        let broken = Suite::of_folder(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.unwrap().files().len(), 1);
        assert_eq!(beside_an_editor.unwrap().files().len(), 1);
        let said = broken.unwrap_err().to_string();
        assert!(said.contains("b.toml: it cannot be read"), "{said}");
    }
}
