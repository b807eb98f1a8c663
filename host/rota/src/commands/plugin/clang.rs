//! Builds a plugin in C: bindings by wit-bindgen-c, which is in this binary, compiled by clang, linked by wasm-ld, made a component by wit-component,
//! which is in this binary too. Nothing of the machine's own headers and libraries gets in, so that the same sources and clang give the same bytes.

use super::{BuildError, Made, Printing, c, sdk};
use crate::settings::UsageError;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use wit_bindgen_core::{AsyncFilterSet, Files};

/// The oldest clang that plugins are built with in our tests.
pub(crate) const OLDEST: u32 = 14;
/// The newest whose programs are looked for by number, where there is none without one.
const NEWEST: u32 = 24;
/// So many errors are told to programs.
const SHOWN: usize = 20;
/// Calls that take bytes from the guest while they run. All others are waited for where they are made.
const WHILE_WRITTEN: [&str; 3] = ["storage@V#[method]bucket.put", "sql@V#[method]session.copy-in", "run@V#artifact"];
/// Variables of the outside that would reach the bytes.
const VARIABLES: [&str; 9] = [
    "CPATH",
    "C_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "COMPILER_PATH",
    "CCC_OVERRIDE_OPTIONS",
    "CLANG_CONFIG_FILE_USER_DIR",
    "GCC_EXEC_PREFIX",
];
const FLAGS: [&str; 13] = [
    "--target=wasm32-unknown-unknown",
    "-std=c17",
    "-Os",
    "-ffreestanding",
    "-mbulk-memory",
    "-mno-atomics",
    "-nostdlibinc",
    "-ffunction-sections",
    "-fdata-sections",
    // What tells the time would give other bytes each time.
    "-Werror=date-time",
    "-I.rota/c/include",
    "-I.rota/c",
    "-I.",
];

/// Write the bindings into a plugin's `.rota/c`, of the contract in its `.rota/wit`. True: what was there was another.
pub(crate) fn bindings(folder: &Path, undo: bool) -> anyhow::Result<bool> {
    let contract = folder.join(sdk::FOLDER).join("wit");
    let mut resolve = wit_bindgen_core::wit_parser::Resolve::default();
    let (package, _) = resolve
        .push_dir(&contract)
        .with_context(|| format!("{} is not the contract; `rota plugin wit` writes it anew", contract.display()))?;
    let world = resolve.select_world(&[package], Some(world(undo)))?;
    let mut filter = AsyncFilterSet::default();
    for name in WHILE_WRITTEN {
        filter.push(&format!("import:rota:runbook/{}", name.replace('V', rota_contract::CONTRACT_VERSION)));
    }
    filter.push("-all");
    let options = wit_bindgen_c::Opts {
        // The names in C are the same for both worlds.
        rename_world: Some("runbook".into()),
        no_object_file: true,
        generate_async_helpers: true,
        async_: filter,
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let mut changed = false;
    for (name, text) in files.iter() {
        let mut text = String::from_utf8(text.to_vec()).context("wit-bindgen writes text")?;
        if undo && name.ends_with(".h") {
            text.insert_str(0, "#define ROTA_UNDO 1\n");
        }
        let path = folder.join(sdk::FOLDER).join("c").join(name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        changed = true;
    }
    Ok(changed)
}

fn world(undo: bool) -> &'static str {
    if undo { "undoable-procedure" } else { "procedure" }
}

/// Build it.
pub(crate) async fn build(folder: &Path, printing: Printing) -> anyhow::Result<Made> {
    let source = folder.join(c::SOURCE);
    std::fs::read_to_string(&source)
        .map_err(|error| UsageError(format!("{} cannot be read: {error}", source.display())))?;
    let tools = Tools::find().await?;
    let rota = folder.join(sdk::FOLDER);
    if !rota.join("wit").is_dir() || !rota.join("c/rota.h").is_file() {
        sdk::unpack(folder, sdk::Kit::C)?;
    }
    let own = sources(folder)?;
    let undo = own.iter().any(|(_, text)| text.contains("rota_undo"));
    bindings(folder, undo)?;

    let target = folder.join("target/c");
    std::fs::create_dir_all(&target).with_context(|| format!("{} cannot be made", target.display()))?;
    let kit = kit_digest(folder, &tools.version)?;
    let mut objects = Vec::new();
    let mut said = String::new();
    // Everything at once: what does not build is told whole.
    let mut failed = false;
    for (source, is_own) in own
        .iter()
        .map(|(path, _)| (path.clone(), true))
        .chain(kit_sources(folder)?.into_iter().map(|path| (path, false)))
    {
        let stem = source.with_extension("").display().to_string().replace(['/', '.'], "_");
        let object = if is_own { format!("target/c/{stem}.o") } else { format!("target/c/{stem}-{}.o", &kit[..16]) };
        objects.push(object.clone());
        // The kit is the same at each save.
        if !is_own && folder.join(&object).is_file() {
            continue;
        }
        let partial = format!("{object}.partial");
        let mut compile = tools.command(&tools.clang, folder);
        compile.args(FLAGS).args(if is_own { ["-Wall", "-Wextra"] } else { ["-w", "-fno-builtin"] });
        if printing.human() && std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            compile.arg("-fcolor-diagnostics");
        }
        compile.arg("-c").arg(&source).arg("-o").arg(&partial);
        let output = compile.output().await.with_context(|| format!("{} cannot be started", tools.clang.display()))?;
        let heard = String::from_utf8_lossy(&output.stderr);
        if printing.human() {
            eprint!("{heard}");
        }
        said.push_str(&heard);
        if output.status.success() {
            std::fs::rename(folder.join(&partial), folder.join(&object))?;
        } else {
            failed = true;
        }
    }
    if failed {
        return Err(told(folder, &said, printing.human()).into());
    }
    let module = "target/c/module.wasm";
    let mut link = tools.command(&tools.linker, folder);
    // The stack first: one that overflows traps, instead of writing over what lies below it.
    link.args(["--no-entry", "--gc-sections", "--strip-all", "--stack-first", "-z", "stack-size=1048576"]);
    link.args(&objects).args(["-o", module]);
    let output = link.output().await.with_context(|| format!("{} cannot be started", tools.linker.display()))?;
    if !output.status.success() {
        let heard = String::from_utf8_lossy(&output.stderr).into_owned();
        if printing.human() {
            eprint!("{heard}");
        }
        return Err(unlinked(folder, &heard).into());
    }
    let module = std::fs::read(folder.join(module))?;
    let component = component(folder, module, undo)
        .map_err(|error| BuildError(format!("{} makes no component: {error:#}", folder.display())))?;
    Ok(Made { component, stem: stem(folder, &own), compiler: tools.version })
}

/// The module with what it imports and exports in the contract's types.
fn component(folder: &Path, mut module: Vec<u8>, undo: bool) -> anyhow::Result<Vec<u8>> {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(folder.join(sdk::FOLDER).join("wit"))?;
    let world = resolve.select_world(&[package], Some(world(undo)))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)?;
    wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// The author's own: `.c` files in the folder, by name, relative to it, with their texts.
fn sources(folder: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.file_type()?.is_file() && name.extension().is_some_and(|ending| ending == "c") {
            let text = std::fs::read(entry.path()).with_context(|| format!("{} cannot be read", name.display()))?;
            found.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    found.sort();
    Ok(found)
}

fn kit_sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let inside = Path::new(sdk::FOLDER).join("c");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.join(&inside))? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|ending| ending == "c") {
            found.push(inside.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// What the kit's objects are made of.
fn kit_digest(folder: &Path, compiler: &str) -> anyhow::Result<String> {
    let mut all = format!("{compiler}\n{FLAGS:?}\n").into_bytes();
    let root = folder.join(sdk::FOLDER).join("c");
    let mut folders = vec![root];
    while let Some(next) = folders.pop() {
        let mut entries = std::fs::read_dir(&next)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                all.extend(entry.file_name().as_encoded_bytes());
                all.extend(std::fs::read(entry.path())?);
            }
        }
    }
    Ok(rota_sandbox::digest(&all))
}

/// What the procedure calls itself, or else the folder's name.
fn stem(folder: &Path, own: &[(PathBuf, String)]) -> String {
    let said = own.iter().find_map(|(_, text)| {
        let name = text.split_once("rota_declared")?.1.split_once(".name")?.1.split('"').nth(1)?;
        let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        sound.then(|| name.to_owned())
    });
    let named = || std::fs::canonicalize(folder).ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
    said.or_else(named).unwrap_or_else(|| "plugin".into())
}

/// What to say of sources that do not compile. People have seen the compiler's words.
fn told(folder: &Path, said: &str, seen: bool) -> BuildError {
    let said = plain(said);
    let errors: Vec<&str> = said.lines().filter(|line| line.contains(" error: ")).collect();
    let what = folder.display();
    let Some(first) = errors.first() else { return BuildError(format!("{what} does not build: {}", said.trim())) };
    let count = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors, the first", errors.len()) };
    let mut text = format!("{what} does not build: {count}: {first}");
    if !seen {
        for line in said.lines().take(SHOWN * 6) {
            text.push('\n');
            text.push_str(line);
        }
    }
    BuildError(text)
}

/// Without the colours that a terminal gets: they stand within `error: ` as well, and an error's text is no place for them.
fn plain(said: &str) -> String {
    let mut pieces = said.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        // Up to the letter that ends the sequence: `0;1;31m`, `K`.
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).map_or(piece.len(), |at| at + 1);
        plain.push_str(&piece[end..]);
    }
    plain
}

/// What to say of objects that do not link: for the most part a function of the C library that there is none of.
fn unlinked(folder: &Path, said: &str) -> BuildError {
    let missing: Vec<&str> = said.lines().filter_map(|line| line.split("undefined symbol: ").nth(1)).collect();
    let what = folder.display();
    if missing.is_empty() {
        return BuildError(format!("{what} does not build: {}", said.trim()));
    }
    let mut missing: Vec<&str> = missing.into_iter().map(str::trim).collect();
    missing.dedup();
    BuildError(format!(
        "{what} does not build: there is no {}. A procedure has what is in .rota/c (rota.h, runbook.h, include/): define it, or do without",
        missing.join(", ")
    ))
}

/// The programs that it takes.
struct Tools {
    clang: PathBuf,
    linker: PathBuf,
    /// `clang version 14.0.6`.
    version: String,
}

impl Tools {
    /// Find them and see that they are new enough; each that is missing is told with the command that installs it.
    async fn find() -> anyhow::Result<Self> {
        let numbered = |name: &str| {
            std::iter::once(name.to_owned())
                .chain((OLDEST..=NEWEST).rev().map(|n| format!("{name}-{n}")))
                .find_map(|name| program(&name))
        };
        let install = "Install it with\n  apt-get install clang lld\n(Fedora: dnf install clang lld; macOS: brew install llvm lld)";
        let Some(clang) = numbered("clang") else {
            return Err(UsageError(format!(
                "clang is not on the PATH: a plugin in C needs clang {OLDEST} or later, and wasm-ld. {install}"
            ))
            .into());
        };
        let mut tools = Self { linker: PathBuf::new(), version: String::new(), clang };
        let output = tools.command(&tools.clang, Path::new(".")).arg("--version").output().await;
        let output = output
            .map_err(|error| UsageError(format!("{} cannot be started ({error}). {install}", tools.clang.display())))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().next().unwrap_or_default();
        tools.version = line.split_once("clang version ").map_or(line, |(_, version)| version).trim().to_owned();
        tools.version = format!("clang {}", tools.version.split(' ').next().unwrap_or_default());
        let major = tools.version.trim_start_matches("clang ").split('.').next().and_then(|n| n.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST) {
            return Err(UsageError(format!(
                "{} is too old ({}): a plugin in C needs clang {OLDEST} or later. {install}",
                tools.clang.display(),
                line.trim()
            ))
            .into());
        }
        let beside = tools.clang.with_file_name("wasm-ld");
        let linker = if beside.is_file() { Some(beside) } else { numbered("wasm-ld") };
        let Some(linker) = linker else {
            return Err(UsageError(format!(
                "wasm-ld, which links a plugin in C, is not on the PATH: it comes with lld. {install}"
            ))
            .into());
        };
        tools.linker = linker;
        let targets = tools.command(&tools.clang, Path::new(".")).arg("-print-targets").output().await?;
        if !String::from_utf8_lossy(&targets.stdout).contains("wasm32") {
            return Err(UsageError(format!(
                "{} does not compile for wasm32: this clang was built without it. {install}",
                tools.clang.display()
            ))
            .into());
        }
        Ok(tools)
    }

    /// A command in the plugin's folder into whose result nothing of the outside comes.
    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true).env("LC_ALL", "C");
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
    }
}

/// A program on the PATH.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_and_a_folder_stands_in_for_it() {
        let own = |text: &str| vec![(PathBuf::from("procedure.c"), text.to_owned())];
        let folder = Path::new("/tmp");
        assert_eq!(
            stem(folder, &own("const rota_procedure rota_declared = {\n .name = \"slot-guard\",")),
            "slot-guard"
        );
        assert_eq!(stem(folder, &own("const rota_procedure rota_declared = { .name = \"../x\" }")), "tmp");
        assert_eq!(stem(folder, &own("")), "tmp");
    }

    #[test]
    fn what_is_missing_at_the_link_is_named_once() {
        let said = "wasm-ld: error: target/c/procedure.o: undefined symbol: fopen\nwasm-ld: error: target/c/procedure.o: undefined symbol: fopen\n";
        let told = unlinked(Path::new("p"), said).to_string();
        assert!(told.starts_with("p does not build: there is no fopen. "), "{told}");
    }

    #[test]
    fn errors_are_counted_and_the_first_is_told() {
        let said = "procedure.c:3:1: error: unknown type name 'boool'\nboool x;\n^\nprocedure.c:9:2: warning: unused\n";
        let told = told(Path::new("p"), said, true).to_string();
        assert_eq!(told, "p does not build: 1 error: procedure.c:3:1: error: unknown type name 'boool'");
    }

    #[test]
    fn errors_in_colours_are_counted_as_well() {
        // As clang 14 writes them to a terminal.
        let error = |line: u32, what: &str| {
            format!(
                "\u{1b}[1mprocedure.c:{line}:1: \u{1b}[0m\u{1b}[0;1;31merror: \u{1b}[0m\u{1b}[1m{what}\u{1b}[0m\nboool x;\n\u{1b}[0;1;32m^\n\u{1b}[0m"
            )
        };
        let warning = "\u{1b}[1mprocedure.c:9:2: \u{1b}[0m\u{1b}[0;1;35mwarning: \u{1b}[0m\u{1b}[1munused\u{1b}[0m\n";
        let fatal = "\u{1b}[1mother.c:1:10: \u{1b}[0m\u{1b}[0;1;31mfatal error: \u{1b}[0m\u{1b}[1m'x.h' file not found\u{1b}[0m\n";
        let said = format!("{}{warning}{}{fatal}", error(3, "unknown type name 'boool'"), error(4, "expected ';'"));
        let told = told(Path::new("p"), &said, true).to_string();
        assert_eq!(told, "p does not build: 3 errors, the first: procedure.c:3:1: error: unknown type name 'boool'");
    }
}
