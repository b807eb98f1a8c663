//! Plugins in Python: what `rota plugin new` writes, and componentize-py.

use super::spec::{Slot, Spec};
use super::{BuildError, File, Made, Printing, rust, sdk};
use crate::settings::UsageError;
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The version whose components are known to run; others bring another Python, and other defects.
pub(super) const COMPONENTIZE_PY: &str = "0.25.1";

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("templates/python/", $name))
    };
}

/// The files of a new plugin.
pub(super) fn files(spec: &Spec) -> Vec<File> {
    let bind: Vec<String> =
        spec.slots.iter().map(|slot| format!("--bind {}={}", slot.name, rust::example(slot))).collect();
    let filled = |text: &str| {
        text.replace("@NAME@", &spec.name)
            .replace("@SUMMARY@", &rust::summary(spec))
            .replace("@COMPONENTIZE@", COMPONENTIZE_PY)
            .replace("@BIND@", &bind.join(" "))
    };
    let rows: Vec<String> = spec
        .slots
        .iter()
        .map(|slot| {
            let accesses: Vec<String> = slot.accesses.iter().map(|access| format!("`{access}`")).collect();
            format!("| `{}` | {} | {} | {} |", slot.name, slot.capability, accesses.join(", "), start(slot).0)
        })
        .collect();
    let interfaces: BTreeSet<&str> = std::iter::once("run").chain(spec.slots.iter().map(interface)).collect();
    let imports: Vec<String> = interfaces
        .iter()
        .map(|interface| format!("    import rota:runbook/{interface}@{};", rota_contract::CONTRACT_VERSION))
        .collect();
    vec![
        File::new("app.py", filled(&source(spec, &interfaces))),
        File::new("world.wit", template!("world.wit.txt").replace("@IMPORTS@", &imports.join("\n"))),
        File::new("README.md", filled(&template!("README.md.txt").replace("@SLOTS@", &rows.join("\n")))),
        File::new("DEVELOPING.md", filled(template!("DEVELOPING.md.txt"))),
        File::new(".gitignore", template!("gitignore.txt")),
        File::program("ci", template!("ci.txt")),
    ]
}

/// The interface that a slot is used through.
fn interface(slot: &Slot) -> &'static str {
    match slot.capability {
        "tool" => "tools",
        "key" => "bytes",
        other => other,
    }
}

fn source(spec: &Spec, interfaces: &BTreeSet<&str>) -> String {
    let mut names: BTreeSet<String> = ["reports", "types"].map(str::to_owned).into();
    // The name of a built-in.
    names.extend(
        interfaces.iter().map(|name| if *name == "bytes" { "bytes as filters".to_owned() } else { (*name).to_owned() }),
    );
    let names: Vec<String> = names.into_iter().collect();
    let (mut slots, mut calls, mut functions) = (String::new(), String::new(), String::new());
    for slot in &spec.slots {
        let (purpose, body) = start(slot);
        let (name, id) = (&slot.name, slot.identifier());
        let accesses: Vec<String> = slot.accesses.iter().map(|access| format!("{access:?}")).collect();
        let _ = writeln!(
            slots,
            "    reports.Slot({name:?}, {:?}, accesses=[{}], purpose={purpose:?}, optional=False),",
            slot.capability,
            accesses.join(", ")
        );
        let _ = writeln!(calls, "                {name:?}: await look_at_{id}(limit),");
        let _ = writeln!(
            functions,
            "async def look_at_{id}(limit: int) -> list[str]:\n    \"\"\"{purpose}\"\"\"\n{body}\n"
        );
    }
    let risk = if spec.slots.iter().all(Slot::only_reads) { "OBSERVE" } else { "CHANGE" };
    template!("app.py.txt")
        .replace("@IMPORTS@", &names.join(", "))
        .replace("@SLOTS@", slots.trim_end())
        .replace("@CALLS@", calls.trim_end())
        .replace("@FUNCTIONS@", &functions)
        .replace("@RISK@", risk)
}

/// What is done with a slot at first, and why: something that works on any target of its kind, and harms none.
fn start(slot: &Slot) -> (&'static str, String) {
    let name = &slot.name;
    let opened = |class: &str| {
        format!(
            "    with await {class}.open({name:?}):\n        return [slot.binding for slot in run.slots() if slot.name == {name:?}][:limit]\n"
        )
    };
    let stream = |open: &str, call: &str, item: &str| {
        format!(
            "    names = []\n    with await {open}:\n        {call}\n        with items:\n            while not items.writer_dropped and len(names) < limit:\n                names.extend({item} for item in await items.read(limit - len(names)))\n            complete = items.writer_dropped\n        # Only this says that nothing is missing; what was not read to its end has no such word.\n        if complete and isinstance(ended := await outcome.read(), Err):\n            raise ended\n    return names\n"
        )
    };
    match slot.capability {
        "sql" if slot.has("read") => {
            let mut body = format!(
                "    names = []\n    statement = (\n        \"select format('%I.%I', schemaname, relname) from pg_catalog.pg_stat_user_tables \"\n        \"order by n_mod_since_analyze desc, 1 limit $1\"\n    )\n    with await sql.Session.open({name:?}) as session:\n        _columns, rows, outcome = await session.query(statement, [sql.Value_Int64(limit)])\n        with rows:\n            while not rows.writer_dropped:\n                names.extend(row[0].value for row in await rows.read(256))\n        # Only this says that the rows are complete.\n        if isinstance(ended := await outcome.read(), Err):\n            raise ended\n"
            );
            if slot.has("maintain") {
                body.push_str("        for name in names:\n            # An effect: a plan lists it, and does nothing. The name was quoted by the server.\n            await session.execute(f\"ANALYZE {name}\", [])\n");
            }
            body.push_str("    return names\n");
            let purpose = if slot.has("maintain") {
                "Lists the tables that changed most, and analyses them."
            } else {
                "Lists the tables that changed most."
            };
            (purpose, body)
        }
        "sql" => ("Connects to the database.", opened("sql.Session")),
        "storage" if slot.has("read") => {
            let open = format!("storage.Bucket.open({name:?}) as bucket");
            ("Lists objects.", stream(&open, "items, outcome = await bucket.list(\"\")", "item.name"))
        }
        "storage" => ("Opens the bucket.", opened("storage.Bucket")),
        "tool" => (
            "Asks the program for its version.",
            format!("    return [(await tools.info({name:?})).version][:limit]\n"),
        ),
        "key" => (
            "For what is to be decrypted.",
            format!(
                "    # `filters.decrypt(stream, {name:?})` decrypts in the host: the key never comes in here.\n    assert filters.decrypt\n    return [slot.binding for slot in run.slots() if slot.name == {name:?} and slot.binding][:limit]\n"
            ),
        ),
        "cache" if slot.has("read") => (
            "Asks each node whether it answers commands.",
            format!(
                "    with await cache.Session.open({name:?}) as session:\n        return [f\"node {{pong.node}}: {{pong.state.name.lower()}}\" for pong in await session.ping()][:limit]\n"
            ),
        ),
        "cache" => ("Opens the cache.", opened("cache.Session")),
        "jetstream" => (
            "Asks the server for its name.",
            format!(
                "    with await jetstream.Session.open({name:?}) as session:\n        return [(await session.server()).name][:limit]\n"
            ),
        ),
        _ if slot.has("read") => (
            "Asks the cluster for its version.",
            format!(
                "    with await kubernetes.Cluster.open({name:?}) as cluster:\n        return [await cluster.version()][:limit]\n"
            ),
        ),
        _ => ("Opens the cluster.", opened("kubernetes.Cluster")),
    }
}

/// Build it.
pub(super) async fn build(folder: &Path, printing: Printing) -> anyhow::Result<Made> {
    let program = find().ok_or_else(|| {
        UsageError(format!(
            "componentize-py is not on the PATH: a plugin in Python needs version {COMPONENTIZE_PY}. Install it with\n  pip install componentize-py=={COMPONENTIZE_PY}"
        ))
    })?;
    let version = tokio::process::Command::new(&program).arg("--version").stdin(Stdio::null()).output().await;
    let version = version.with_context(|| format!("{} cannot be started", program.display()))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    if version != format!("componentize-py {COMPONENTIZE_PY}") {
        return Err(UsageError(format!(
            "{} is of another version ({version}): a plugin needs {COMPONENTIZE_PY}. Install it with\n  pip install componentize-py=={COMPONENTIZE_PY}",
            program.display()
        ))
        .into());
    }
    let source = std::fs::read_to_string(folder.join("app.py")).context("app.py cannot be read")?;
    let Some(stem) = name(&source) else {
        return Err(UsageError(
            "app.py does not say what the plugin is called: NAME = \"...\" at the beginning of a line".into(),
        )
        .into());
    };
    if !folder.join(sdk::FOLDER).join("wit").is_dir() {
        sdk::unpack(folder, sdk::Kit::None)?;
    }
    // The app is imported while it is built, from a folder of its own: nothing else gets in, no bytecode stays behind.
    let app = folder.canonicalize()?.join("target/python");
    if app.is_dir() {
        std::fs::remove_dir_all(&app).with_context(|| format!("{} cannot be cleared", app.display()))?;
    }
    copy(folder, &app)?;
    let output = app.join("component.wasm");
    let mut command = tokio::process::Command::new(&program);
    command
        .current_dir(&app)
        .args(["--quiet", "--wit-path"])
        .arg(folder.canonicalize()?.join(sdk::FOLDER).join("wit"))
        .arg("--wit-path")
        .arg(folder.canonicalize()?.join("world.wit"))
        .args(["--world", "plugin:local/procedure", "componentize", "--python-path", ".", "app", "--output"])
        .arg(&output)
        .env("PYTHONHASHSEED", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let built = command.output().await.with_context(|| format!("{} cannot be started", program.display()))?;
    if !built.status.success() {
        let said = format!("{}{}", String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
        if printing.human() {
            eprint!("{said}");
        }
        let lines: Vec<&str> = said.trim().lines().collect();
        let end = lines[lines.len().saturating_sub(30)..].join("\n");
        return Err(BuildError(format!("{} does not build: {end}", folder.display())).into());
    }
    let component = std::fs::read(&output).with_context(|| format!("{} cannot be read", output.display()))?;
    let _ = std::fs::remove_dir_all(&app);
    Ok(Made { component, stem, compiler: version })
}

/// On the PATH, or where `scripts/setup guests` of a checkout puts it.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.extend(std::env::var_os("ROTA_TOOLS_DIR").map(|tools| Path::new(&tools).join("bin")));
    folders.into_iter().map(|folder| folder.join("componentize-py")).find(|file| file.is_file())
}

/// The modules and packages beside the procedure.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !matches!(name.as_str(), "target" | "__pycache__" | "wit_world") {
            copy(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() && name.ends_with(".py") {
            std::fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

/// What the procedure calls itself.
fn name(source: &str) -> Option<String> {
    let line = source.lines().find_map(|line| line.strip_prefix("NAME = \""))?;
    let name = line.split('"').next()?;
    let sound = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    sound.then(|| name.to_owned())
}
