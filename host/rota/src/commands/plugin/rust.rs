//! Plugins in Rust: what `rota plugin new` writes.

use super::spec::{Slot, Spec};
use super::{File, sdk};
use std::fmt::Write as _;

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("templates/rust/", $name))
    };
}

/// The version that a plugin begins with, in its manifest and in its lock file.
const VERSION: &str = "0.1.0";

/// What a procedure does at first with a slot of some capability and accesses.
struct Start {
    /// Why it is needed, for operators.
    purpose: String,
    /// What the field of the report holds.
    holds: &'static str,
    /// The function's body, which answers names.
    body: String,
    /// What the mock host has there.
    mock: String,
    /// Effects that a plan of the mock lists.
    effects: usize,
}

/// The files of a new plugin.
pub(crate) fn files(spec: &Spec) -> Vec<File> {
    let starts: Vec<(&Slot, Start)> = spec.slots.iter().map(|slot| (slot, start(slot, &spec.slots))).collect();
    let filled = |text: &str| {
        text.replace("@NAME@", &spec.name)
            .replace("@RUST@", sdk::RUST_VERSION)
            .replace("@SUMMARY@", &summary(spec))
            .replace("@BIND@", &bindings(spec))
    };
    let rows: Vec<String> = starts
        .iter()
        .map(|(slot, start)| {
            let accesses: Vec<String> = slot.accesses.iter().map(|access| format!("`{access}`")).collect();
            format!("| `{}` | {} | {} | {} |", slot.name, slot.capability, accesses.join(", "), start.purpose)
        })
        .collect();
    let readme = template!("README.md.txt").replace("@SLOTS@", &rows.join("\n"));
    vec![
        File::new("Cargo.toml", filled(template!("Cargo.toml.txt"))),
        File::new("Cargo.lock", sdk::lock_file(&spec.name, VERSION)),
        File::new("README.md", filled(&readme)),
        File::new("DEVELOPING.md", filled(template!("DEVELOPING.md.txt"))),
        File::new("src/lib.rs", filled(&source(spec, &starts))),
        File::new(".gitignore", template!("gitignore.txt")),
        File::new(".vscode/settings.json", template!("settings.json.txt")),
        File::new(".github/workflows/plugin.yml", filled(template!("workflow.yml.txt"))),
        File::program("ci", template!("ci.txt")),
    ]
}

pub(crate) fn summary(spec: &Spec) -> String {
    let names: Vec<&str> = spec.slots.iter().map(|slot| slot.name.as_str()).take(4).collect();
    let more = if spec.slots.len() > names.len() { " and more" } else { "" };
    format!("Looks at {}{more}.", names.join(", "))
}

/// What could be bound to all of them, as a command line says it.
pub(crate) fn bindings(spec: &Spec) -> String {
    let each = spec.slots.iter().map(|slot| format!("--bind {}={}", slot.name, example(slot)));
    each.collect::<Vec<_>>().join(" ")
}

/// What could be bound to a slot.
pub(crate) fn example(slot: &Slot) -> &'static str {
    match slot.capability {
        "sql" => "postgres://me@localhost/shop",
        "storage" => "file:///tmp/bucket",
        "tool" => "/usr/bin/PROGRAM",
        "cache" => "redis://localhost",
        "key" => "file:identity.txt",
        "kubernetes" => "kubernetes:///home/me/.kube/config",
        "jetstream" => "nats://localhost",
        _ => "NAME",
    }
}

/// A slot's name as `procedure!` reads it: words joined by hyphens, or else a string.
fn declared(name: &str) -> String {
    let word = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && part != "_";
    if name.split('-').all(word) { name.to_owned() } else { format!("{name:?}") }
}

fn source(spec: &Spec, starts: &[(&Slot, Start)]) -> String {
    let risk = if spec.slots.iter().all(Slot::only_reads) { "observe" } else { "change" };
    let (mut slots, mut fields, mut calls, mut rows) = (String::new(), String::new(), String::new(), String::new());
    let (mut functions, mut mocks, mut asserts) = (String::new(), String::new(), String::new());
    for (slot, start) in starts {
        let (name, identifier) = (&slot.name, slot.identifier());
        let accesses = slot.accesses.join(", ");
        let _ = writeln!(slots, "        {}: {} [{accesses}] {:?},", declared(name), slot.capability, start.purpose);
        let _ = writeln!(fields, "    /// {}\n    {identifier}: Vec<String>,", start.holds);
        let _ = writeln!(calls, "        {identifier}: look_at_{identifier}(&cx, limit).await?,");
        let _ = writeln!(
            rows,
            "    for what in &data.{identifier} {{\n        table.row(cells![{name:?}, what.as_str()]);\n    }}"
        );
        let _ = writeln!(
            functions,
            "/// {}\nasync fn look_at_{identifier}(cx: &Context, limit: u16) -> Result<Vec<String>> {{\n{}}}\n",
            start.holds,
            indented(&start.body)
        );
        mocks.push_str(&indented(&indented(&start.mock)));
        if slot.capability != "key" {
            let _ = writeln!(asserts, "        assert_eq!(report.data[{identifier:?}].as_array().unwrap().len(), 1);");
        }
    }
    let effects: usize = starts.iter().map(|(_, start)| start.effects).sum();
    let effects = if effects == 0 {
        "        assert_eq!(host.effects().len(), 0, \"it only reads as yet\");".to_owned()
    } else {
        format!("        assert_eq!(host.effects().len(), {effects});")
    };
    let counts: Vec<String> = starts.iter().map(|(slot, _)| format!("{}: {{}}", slot.name)).collect();
    let counted: String = starts.iter().map(|(slot, _)| format!(", data.{}.len()", slot.identifier())).collect();
    let first = spec.slots.iter().find(|slot| slot.capability != "key").map_or("", |slot| slot.name.as_str());
    template!("lib.rs.txt")
        .replace("@RISK@", risk)
        .replace("@SLOTS@", slots.trim_end())
        .replace("@FIELDS@", fields.trim_end())
        .replace("@CALLS@", calls.trim_end())
        .replace("@ROWS@", rows.trim_end())
        .replace("@COUNTS@", &counts.join(", "))
        .replace("@COUNTED@", &counted)
        .replace("@FUNCTIONS@", &format!("{}\n", functions.trim_end()))
        .replace("@MOCKS@", mocks.trim_end())
        .replace("@ASSERTS@", asserts.trim_end())
        .replace("@EFFECTS@", &effects)
        .replace("@FIRST@", first)
        .replace("@SLOTCOUNT@", &spec.slots.len().to_string())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") }).collect()
}

/// What is done with a slot at first: something that works on any target of its kind, and harms none.
fn start(slot: &Slot, all: &[Slot]) -> Start {
    let (name, id) = (&slot.name, slot.identifier());
    let open = |variable: &str| format!("let {variable} = cx.{id}().open().await?;\n");
    match slot.capability {
        "sql" => sql(slot),
        "storage" if slot.has("read") => Start {
            purpose: "Lists objects.".into(),
            holds: "Names of objects, the first ones.",
            body: open("bucket")
                + "let mut listing = bucket.list(\"\").await?;\n\
                   let mut names = Vec::new();\n\
                   while names.len() < usize::from(limit)\n    && let Some(object) = listing.next().await?\n{\n    names.push(object.name);\n}\n\
                   Ok(names)\n",
            mock: format!("host.storage({name:?}).object(\"2026/report.csv\", \"1,2,3\");\n"),
            effects: 0,
        },
        "tool" => Start {
            purpose: "Asks the program for its version.".into(),
            holds: "The program's version.",
            body: format!(
                "let info = cx.{id}().info().await?;\nOk([info.version].into_iter().take(usize::from(limit)).collect())\n"
            ),
            mock: format!("host.tool({name:?}).version(\"16.14\");\n"),
            effects: 0,
        },
        "key" => {
            let bucket = all
                .iter()
                .find(|other| other.capability == "storage" && other.has("read"))
                .map_or_else(String::new, Slot::identifier);
            Start {
                purpose: "Proves that objects can be decrypted.".into(),
                holds: "Names of objects that the key decrypts.",
                body: format!(
                    "let bucket = cx.{bucket}().open().await?;\n\
                     let mut listing = bucket.list(\"\").await?;\n\
                     let mut decrypted = Vec::new();\n\
                     while decrypted.len() < usize::from(limit)\n    && let Some(object) = listing.next().await?\n{{\n    if object.name.ends_with(\".age\") {{\n        \
                     // Streamed through the host to its end: neither key nor plain text comes in here.\n        \
                     Pipeline::from(bucket.get(&object.name).await?).decrypt(&cx.{id}())?.drain().await?;\n        \
                     decrypted.push(object.name);\n    }}\n}}\n\
                     Ok(decrypted)\n"
                ),
                mock: format!("host.key({name:?});\n"),
                effects: 0,
            }
        }
        "cache" if slot.has("read") => Start {
            purpose: "Asks each node whether it answers commands.".into(),
            holds: "How each node answers.",
            body: open("cache")
                + "let nodes = cache.ping().await?;\n\
                   Ok(nodes.iter().take(usize::from(limit)).map(|pong| format!(\"node {}: {:?}\", pong.node, pong.state)).collect())\n",
            mock: format!("host.cache({name:?});\n"),
            effects: 0,
        },
        "kubernetes" if slot.has("read") => Start {
            purpose: "Asks the cluster for its version.".into(),
            holds: "The cluster's version.",
            body: open("cluster")
                + "let version = cluster.version().await?;\nOk([version].into_iter().take(usize::from(limit)).collect())\n",
            mock: format!("host.cluster({name:?});\n"),
            effects: 0,
        },
        "jetstream" => Start {
            purpose: "Asks the server for its name.".into(),
            holds: "The name of the server.",
            body: open("jetstream")
                + "let server = jetstream.server().await?;\nOk([server.name].into_iter().take(usize::from(limit)).collect())\n",
            mock: format!("host.jetstream({name:?});\n"),
            effects: 0,
        },
        capability => {
            let (method, noun) = match capability {
                "storage" => ("storage", "bucket"),
                "cache" => ("cache", "cache"),
                _ => ("cluster", "cluster"),
            };
            Start {
                purpose: format!("Opens the {noun}."),
                holds: "The binding in the slot.",
                body: open("_opened")
                    + &format!("Ok(cx.{id}().binding().into_iter().take(usize::from(limit)).collect())\n"),
                mock: format!("host.{method}({name:?});\n"),
                effects: 0,
            }
        }
    }
}

fn sql(slot: &Slot) -> Start {
    let (name, id) = (&slot.name, slot.identifier());
    if !slot.has("read") {
        return Start {
            purpose: "Connects to the database.".into(),
            holds: "The binding in the slot.",
            body: format!(
                "let _session = cx.{id}().open().await?;\nOk(cx.{id}().binding().into_iter().take(usize::from(limit)).collect())\n"
            ),
            mock: format!("host.sql({name:?});\n"),
            effects: 0,
        };
    }
    let mut body = format!(
        "let mut session = cx.{id}().open().await?;\n\
         let tables: Vec<String> = session\n    .query_all(\n        \
         \"select format('%I.%I', schemaname, relname) from pg_catalog.pg_stat_user_tables \\\n         \
         order by n_mod_since_analyze desc, 1 limit $1\",\n        params![i64::from(limit)],\n    )\n    .await?;\n"
    );
    let mut mock = format!(
        "host.sql({name:?}).on(\"from pg_catalog.pg_stat_user_tables\", rows! {{ [\"table\"] => [\"public.orders\"] }});\n"
    );
    let maintains = slot.has("maintain");
    if maintains {
        body.push_str(
            "for table in &tables {\n    // An effect: a plan lists it, and does nothing.\n    let table = Quoted::from_server(table)?;\n    session.execute(sql!(\"ANALYZE {}\", table), params![]).await?;\n}\n",
        );
        let _ = writeln!(mock, "host.sql({name:?}).on_execute(\"ANALYZE public.orders\", 0);");
    }
    body.push_str("Ok(tables)\n");
    let purpose = if maintains {
        "Lists the tables that changed most, and analyses them."
    } else {
        "Lists the tables that changed most."
    };
    Start {
        purpose: purpose.into(),
        holds: "Tables, those that changed most first.",
        body,
        mock,
        effects: usize::from(maintains),
    }
}
