//! `rota plugin dev`: builds and plans at each save.

use super::{Printing, build, reference};
use crate::cli::{DevArgs, Language, Means, RunArgs};
use rota_runs::Host;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// A folder with more files than this is not watched to its end.
const MOST: usize = 10_000;

pub(crate) type Sources = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

pub(crate) async fn dev(host: &Host, args: DevArgs, printing: Printing) -> anyhow::Result<u8> {
    let language = Language::of(&args.folder)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    loop {
        // Taken before the build: what is saved meanwhile is built next.
        let seen = sources(&args.folder, language);
        let built = tokio::select! {
            built = build(host.plugins(), &args.folder, false, printing) => built,
            _ = interrupt.recv() => return Ok(0),
            _ = terminate.recv() => return Ok(0),
        };
        let outcome = match built {
            Ok(built) => {
                let run = plan(&args, &built.file);
                // A signal meanwhile cancels the plan, and is seen here after it.
                crate::commands::run::run(host, run, printing).await
            }
            Err(error) => Err(error),
        };
        if args.once {
            return outcome;
        }
        if let Err(error) = outcome {
            crate::report_error(&error, printing);
        }
        eprintln!("rota: waiting for a change in {} (Ctrl-C ends)", args.folder.display());
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = interrupt.recv() => return Ok(0),
                _ = terminate.recv() => return Ok(0),
            }
            if sources(&args.folder, language) != seen {
                break;
            }
        }
    }
}

fn plan(args: &DevArgs, file: &Path) -> RunArgs {
    RunArgs {
        what: Some(reference(file)),
        remedy: None,
        parameters: args.parameters.clone(),
        plan: true,
        confirm: None,
        // Nobody is asked at each save.
        means: Means { bind: args.bind.clone(), grant: args.grant.clone(), no_input: true, ..Means::default() },
        fail_on: None,
    }
}

/// The files that the component comes from, each with its time and size.
pub(crate) fn sources(folder: &Path, language: Language) -> Sources {
    let mut found = Sources::new();
    gather(folder, language, &mut found);
    found
}

fn gather(folder: &Path, language: Language, found: &mut Sources) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if found.len() >= MOST {
            return;
        }
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // A link may lead out of the folder, or round in it.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let hidden = name.starts_with('.') && name != super::sdk::FOLDER;
            if !hidden && !matches!(name.as_ref(), "target" | "node_modules" | "__pycache__") {
                gather(&path, language, found);
            }
        } else if kind.is_file() && language.is_source(&name) && !name.ends_with(".lock") {
            let file = entry.metadata().ok();
            let time = file.as_ref().and_then(|file| file.modified().ok());
            found.insert(path, (time, file.map_or(0, |file| file.len())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_seen_and_what_is_built_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["src/lib.rs", "README.md", "target/x.rs", ".git/y.rs", ".rota/wit/types.rs", "mine.wasm", "Cargo.lock"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "1").unwrap();
        }
        let before = sources(folder.path(), Language::Rust);
        let names: Vec<String> =
            before.keys().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, [".rota/wit/types.rs", "README.md", "src/lib.rs"]);
        std::fs::write(folder.path().join("src/lib.rs"), "12").unwrap();
        assert_ne!(sources(folder.path(), Language::Rust), before);
    }
}
