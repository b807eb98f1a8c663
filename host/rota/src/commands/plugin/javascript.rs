//! Plugins in JavaScript: what `rota plugin new` writes, and their component. Nothing but this binary is needed for either.

use super::spec::{Slot, Spec};
use super::{BuildError, File, Made, rust};
use crate::commands::exec::TYPES;
use crate::settings::UsageError;
use std::fmt::Write as _;
use std::path::Path;

/// The source of a plugin, in its folder.
pub(crate) const SOURCE: &str = "procedure.js";

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("templates/javascript/", $name))
    };
}

/// The files of a new plugin.
pub(crate) fn files(spec: &Spec) -> Vec<File> {
    let (mut slots, mut calls) = (String::new(), String::new());
    for slot in &spec.slots {
        let (purpose, call) = start(slot, &spec.slots);
        let accesses: Vec<String> = slot.accesses.iter().map(|access| format!("{access:?}")).collect();
        let _ = writeln!(
            slots,
            "    {:?}: {{ capability: {:?}, accesses: [{}], purpose: {purpose:?} }},",
            slot.name,
            slot.capability,
            accesses.join(", ")
        );
        for line in call.lines() {
            let _ = writeln!(calls, "    {line}");
        }
    }
    let risk = if spec.slots.iter().all(Slot::only_reads) { "observe" } else { "change" };
    let filled = |text: &str| {
        text.replace("@NAME@", &spec.name)
            .replace("@RISK@", risk)
            .replace("@SLOTS@", slots.trim_end())
            .replace("@CALLS@", calls.trim_end())
            .replace("@BIND@", &rust::bindings(spec))
    };
    vec![
        File::new(SOURCE, filled(template!("procedure.js.txt"))),
        File::new("DEVELOPING.md", filled(template!("DEVELOPING.md.txt"))),
        File::new("README.md", filled(template!("README.md.txt"))),
        File::new("rota.d.ts", TYPES),
        File::new("jsconfig.json", template!("jsconfig.json.txt")),
        File::new(".gitignore", "/*.wasm\n"),
        File::new(".github/workflows/plugin.yml", filled(template!("workflow.yml.txt"))),
        File::program("ci", template!("ci.txt")),
    ]
}

/// What is done with a slot at first, and why: something that works on any target of its kind, and harms none.
fn start(slot: &Slot, all: &[Slot]) -> (&'static str, String) {
    let handle = format!("slots[{:?}]", slot.name);
    let reads = slot.has("read");
    match slot.capability {
        "sql" if reads => (
            "Lists the tables that changed most.",
            format!(
                "const tables = await {handle}.query(\n  `select format('%I.%I', schemaname, relname) as name, n_live_tup as rows\n     \
                 from pg_catalog.pg_stat_user_tables order by n_mod_since_analyze desc, 1 limit $1`,\n  [limit],\n);\n\
                 table(tables, {{ title: {:?}, columns: [\"name\", \"rows\"] }});\nfound += tables.length;",
                format!("Tables of {}", slot.name)
            ),
        ),
        "storage" if reads => (
            "Lists objects.",
            format!(
                "for await (const object of {handle}.list(\"\")) {{\n  print(object.name, object.size);\n  if (++found === limit) break;\n}}"
            ),
        ),
        "cache" if reads => (
            "Counts keys.",
            format!(
                "for (const {{ database, keys }} of await {handle}.keyspace()) {{\n  print(`database ${{database}}: ${{keys}} keys`);\n  found += keys;\n}}"
            ),
        ),
        "kubernetes" if reads => (
            "Lists pods.",
            format!(
                "for await (const pod of {handle}.list(\"Pod\")) {{\n  print(pod.metadata.name, pod.status.phase);\n  if (++found === limit) break;\n}}"
            ),
        ),
        "jetstream" => (
            "Lists streams.",
            format!(
                "for (const stream of await {handle}.streams()) {{\n  print(stream.name, stream.messages);\n  found += 1;\n}}"
            ),
        ),
        "tool" => {
            ("Asks the program for its version.", format!("print((await {handle}.info()).version);\nfound += 1;"))
        }
        "key" => {
            let bucket = all.iter().find(|other| other.capability == "storage" && other.has("read"));
            let bucket = bucket.map_or("bucket", |slot| slot.name.as_str());
            (
                "Proves that objects can be decrypted.",
                format!(
                    "for await (const {{ name }} of slots[{bucket:?}].list(\"\")) {{\n  if (!name.endsWith(\".age\")) continue;\n  \
                     // Through the host to its end: neither key nor plain text comes in here.\n  \
                     await bytes.drain(bytes.decrypt(slots[{bucket:?}].get(name), {handle}));\n  print(name);\n  if (++found >= limit) break;\n}}"
                ),
            )
        }
        _ => ("Is ready to be used.", format!("if ({handle}.isBound) found += 1;")),
    }
}

/// Its component.
pub(crate) fn build(folder: &Path) -> anyhow::Result<Made> {
    let path = folder.join(SOURCE);
    // Longer than it may be, so that how long it is can be said.
    let source = rota_config::read_text(&path, 16 << 20)
        .map_err(|error| UsageError::new(format!("{} cannot be read: {error}", path.display())))?;
    let component =
        rota_catalog::javascript(&source).map_err(|error| BuildError(format!("{}: {error}", path.display())))?;
    let named = std::fs::canonicalize(folder).ok();
    let stem = named
        .as_deref()
        .and_then(Path::file_name)
        .map_or_else(|| "plugin".into(), |name| name.to_string_lossy().into_owned());
    Ok(Made { component, stem, compiler: format!("rota {}", env!("CARGO_PKG_VERSION")) })
}
