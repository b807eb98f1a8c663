//! Plugins in C: what `rota plugin new` writes. `clang` builds them.

use super::spec::{Slot, Spec};
use super::{File, clang, rust};
use std::fmt::Write as _;

/// The source of a plugin, in its folder.
pub(crate) const SOURCE: &str = "procedure.c";

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("templates/c/", $name))
    };
}

/// What lies in `.rota/c` beside the bindings: our header, what stands behind it, and the part of the C library that a procedure needs.
pub(crate) const KIT: &[(&str, &str)] = &[
    ("rota.h", template!("kit/rota.h")),
    ("text.c", template!("kit/text.c")),
    ("report.c", template!("kit/report.c")),
    ("sql.c", template!("kit/sql.c")),
    ("storage.c", template!("kit/storage.c")),
    ("libc.c", template!("kit/libc.c")),
    ("include/assert.h", template!("kit/include/assert.h")),
    ("include/stdio.h", template!("kit/include/stdio.h")),
    ("include/stdlib.h", template!("kit/include/stdlib.h")),
    ("include/string.h", template!("kit/include/string.h")),
];

/// The files of a new plugin.
pub(crate) fn files(spec: &Spec) -> Vec<File> {
    let bind: Vec<String> =
        spec.slots.iter().map(|slot| format!("--bind {}={}", slot.name, rust::example(slot))).collect();
    let filled = |text: &str| {
        text.replace("@NAME@", &spec.name)
            .replace("@SUMMARY@", &rust::summary(spec))
            .replace("@CLANG@", &clang::OLDEST.to_string())
            .replace("@BIND@", &bind.join(" "))
    };
    let rows: Vec<String> = spec
        .slots
        .iter()
        .map(|slot| {
            let accesses: Vec<String> = slot.accesses.iter().map(|access| format!("`{access}`")).collect();
            format!(
                "| `{}` | {} | {} | {} |",
                slot.name,
                slot.capability,
                accesses.join(", "),
                start(slot, &spec.slots).0
            )
        })
        .collect();
    vec![
        File::new(SOURCE, filled(&source(spec))),
        File::new("README.md", filled(&template!("README.md.txt").replace("@SLOTS@", &rows.join("\n")))),
        File::new("DEVELOPING.md", filled(template!("DEVELOPING.md.txt"))),
        File::new("compile_flags.txt", template!("compile_flags.txt")),
        File::new(".gitignore", template!("gitignore.txt")),
        File::new(".github/workflows/plugin.yml", filled(template!("workflow.yml.txt"))),
        File::program("ci", template!("ci.txt")),
    ]
}

fn source(spec: &Spec) -> String {
    let (mut slots, mut calls, mut functions) = (String::new(), String::new(), String::new());
    for (number, slot) in spec.slots.iter().enumerate() {
        let (purpose, body) = start(slot, &spec.slots);
        let (name, id) = (&slot.name, slot.identifier());
        let accesses: Vec<String> = slot.accesses.iter().map(|access| format!("{access:?}")).collect();
        let _ = writeln!(
            slots,
            "            {{{name:?}, {:?}, {{{}}}, {purpose:?}, false}},",
            slot.capability,
            accesses.join(", ")
        );
        let comma = if number == 0 { "" } else { "," };
        let _ = writeln!(
            calls,
            "    found in_{id} = {{report, table, 0, limit, {name:?}, &data}};\n    \
             rota_put(&data, \"{comma}\\\"{name}\\\":[\");\n    \
             if (!look_at_{id}(&in_{id}, failure)) return false;\n    \
             rota_put(&data, \"]\");\n    \
             count += in_{id}.count;"
        );
        let _ = writeln!(
            functions,
            "// {purpose}\nstatic bool look_at_{id}(found *found, rota_failure *failure) {{\n{body}}}\n"
        );
    }
    let required: Vec<String> = spec.slots.iter().map(|slot| format!("\\\"{}\\\"", slot.name)).collect();
    let risk = if spec.slots.iter().all(Slot::only_reads) { "ROTA_OBSERVE" } else { "ROTA_CHANGE" };
    template!("procedure.c.txt")
        .replace("@REQUIRED@", &required.join(","))
        .replace("@SLOTS@", slots.trim_end())
        .replace("@CALLS@", calls.trim_end())
        .replace("@FUNCTIONS@\n", &functions)
        .replace("@RISK@", risk)
}

/// What is done with a slot at first, and why: something that works on any target of its kind, and harms none.
fn start(slot: &Slot, all: &[Slot]) -> (&'static str, String) {
    let name = &slot.name;
    // A call of the contract by its own function: a session or the like is opened, asked one thing, and given back.
    let asked = |interface: &str, resource: &str, answer: &str, call: &str, then: &str| {
        let prefix = format!("rota_runbook_{interface}");
        format!(
            "    rota_text slot = rota_t({name:?});\n    {prefix}_own_{resource}_t opened;\n    rota_error error;\n    \
             if (!{prefix}_static_{resource}_open(&slot, &opened, &error)) return rota_fail(failure, &error, \"{name} cannot be opened\");\n    \
             {answer} answer;\n    \
             bool well = {prefix}_method_{resource}_{call}({prefix}_borrow_{resource}(opened), &answer, &error);\n    \
             {prefix}_{resource}_drop_own(opened);\n    \
             if (!well) return rota_fail(failure, &error, \"{name} does not answer\");\n{then}    return true;\n"
        )
    };
    let opened = |interface: &str, resource: &str| {
        let prefix = format!("rota_runbook_{interface}");
        format!(
            "    rota_text slot = rota_t({name:?});\n    {prefix}_own_{resource}_t opened;\n    rota_error error;\n    \
             if (!{prefix}_static_{resource}_open(&slot, &opened, &error)) return rota_fail(failure, &error, \"{name} cannot be opened\");\n    \
             {prefix}_{resource}_drop_own(opened);\n    \
             add(found, rota_binding({name:?}));\n    return true;\n"
        )
    };
    match slot.capability {
        "sql" if slot.has("read") => {
            let purpose = if slot.has("maintain") {
                "Lists the tables that changed most, and analyses them."
            } else {
                "Lists the tables that changed most."
            };
            (purpose, tables(name, slot.has("maintain")))
        }
        "sql" => ("Connects to the database.", opened("sql", "session")),
        "storage" if slot.has("read") => (
            "Lists objects.",
            format!(
                "    rota_bucket bucket;\n    rota_objects objects;\n    \
                 if (!rota_bucket_open({name:?}, &bucket, failure)) return false;\n    \
                 if (!rota_bucket_list(bucket, rota_t(\"\"), &objects, failure)) return false;\n    \
                 while (found->count < found->limit && rota_next_object(&objects)) add(found, objects.object.name);\n    \
                 return rota_objects_end(&objects, failure);\n"
            ),
        ),
        "storage" => ("Opens the bucket.", opened("storage", "bucket")),
        "tool" => (
            "Asks the program for its version.",
            format!(
                "    rota_text slot = rota_t({name:?});\n    rota_runbook_tools_tool_info_t info;\n    rota_error error;\n    \
                 if (!rota_runbook_tools_info(&slot, &info, &error)) return rota_fail(failure, &error, \"{name} does not answer\");\n    \
                 add(found, info.version);\n    return true;\n"
            ),
        ),
        "key" => {
            let bucket = all.iter().find(|other| other.capability == "storage" && other.has("read"));
            (
                "Proves that objects can be decrypted.",
                template!("decrypt.c.txt")
                    .replace("@KEY@", name)
                    .replace("@BUCKET@", bucket.map_or("", |slot| slot.name.as_str())),
            )
        }
        "cache" if slot.has("read") => (
            "Asks each node whether it answers commands.",
            asked(
                "cache",
                "session",
                "rota_runbook_cache_list_pong_t",
                "ping",
                "    for (size_t i = 0; i < answer.len; i++) {\n        \
                 bool ready = answer.ptr[i].state == ROTA_RUNBOOK_CACHE_READINESS_READY;\n        \
                 add(found, rota_format(\"node %u: %s\", (unsigned)answer.ptr[i].node, ready ? \"ready\" : \"not ready\"));\n    }\n",
            ),
        ),
        "cache" => ("Opens the cache.", opened("cache", "session")),
        "jetstream" => (
            "Asks the server for its name.",
            asked(
                "jetstream",
                "session",
                "rota_runbook_jetstream_server_facts_t",
                "server",
                "    add(found, answer.name);\n",
            ),
        ),
        _ if slot.has("read") => (
            "Asks the cluster for its version.",
            asked("kubernetes", "cluster", "rota_text", "version", "    add(found, answer);\n"),
        ),
        _ => ("Opens the cluster.", opened("kubernetes", "cluster")),
    }
}

fn tables(name: &str, maintains: bool) -> String {
    let mut body = format!(
        "    rota_session session;\n    rota_rows rows;\n    \
         if (!rota_sql_open({name:?}, &session, failure)) return false;\n    \
         if (!rota_sql_query(session,\n                        \
         \"select format('%I.%I', schemaname, relname) from pg_catalog.pg_stat_user_tables \"\n                        \
         \"order by n_mod_since_analyze desc, 1 limit $1\",\n                        \
         ROTA_VALUES(rota_int((int64_t)found->limit)), &rows, failure))\n        return false;\n"
    );
    if maintains {
        body.push_str(
            "    rota_text names[1000];\n    size_t count = 0;\n    \
             while (count < 1000 && rota_next_row(&rows)) names[count++] = rota_copy(rota_row_text(&rows, 0));\n    \
             if (!rota_rows_end(&rows, failure)) return false;\n    \
             for (size_t i = 0; i < count; i++) {\n        \
             // An effect: a plan lists it, and does nothing. The name was quoted by the server.\n        \
             rota_text statement = rota_format(\"ANALYZE %.*s\", ROTA_SHOW(names[i]));\n        \
             if (!rota_sql_execute(session, statement, ROTA_NONE, NULL, failure)) return false;\n        \
             add(found, names[i]);\n    }\n    \
             rota_sql_close(session);\n    return true;\n",
        );
    } else {
        body.push_str(
            "    while (rota_next_row(&rows)) add(found, rota_row_text(&rows, 0));\n    \
             if (!rota_rows_end(&rows, failure)) return false;\n    \
             rota_sql_close(session);\n    return true;\n",
        );
    }
    body
}
