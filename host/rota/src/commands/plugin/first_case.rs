//! The case file that a new plugin begins with: it passes at once, and shows what cases can say.

use super::File;
use super::spec::{Slot, Spec};
use crate::cli::Language;
use std::fmt::Write as _;

/// Where it is.
const PATH: &str = "tests/first.toml";

/// The file.
pub(crate) fn file(spec: &Spec, language: Language) -> File {
    File::new(PATH, text(spec, language))
}

fn text(spec: &Spec, language: Language) -> String {
    let mut text = String::from(
        "# Cases: what the procedure is given, what its slots answer, and what must come out. No server is needed: `rota plugin test`.\n\
         # All that can be said here is in docs/testing-a-plugin.md.\n",
    );
    let uncovered: Vec<String> = spec.slots.iter().flat_map(|slot| uncovered(slot, language)).collect();
    if !uncovered.is_empty() {
        let _ = write!(
            text,
            "\n# Declared and not used yet; take one out of here once a case uses it.\nuncovered = [{}]\n",
            uncovered.join(", ")
        );
    }
    // What all cases find.
    for slot in &spec.slots {
        text.push_str(&common(slot, language));
    }
    let effects: Vec<String> = spec.slots.iter().filter_map(|slot| effect(slot, language)).collect();
    let listed = |text: &mut String| {
        if effects.is_empty() {
            text.push_str("effects = []\n");
        } else {
            let _ = writeln!(text, "effects = [{}]", effects.join(", "));
        }
    };
    text.push_str("\n[[case]]\nname = \"finds what is there\"\n[case.expect]\nstatus = \"ok\"\n");
    listed(&mut text);
    text.push_str("\n[[case]]\nname = \"a plan changes nothing\"\nmode = \"plan\"\n[case.expect]\nstatus = \"ok\"\n");
    listed(&mut text);
    // One that reads and is not let: the words are those of a run.
    if let Some(slot) = spec.slots.iter().find(|slot| calls(slot, language)) {
        let _ = write!(
            text,
            "\n[[case]]\nname = \"without access nothing is looked at\"\nslots.{} = {{ access = [] }}\n[case.expect]\nended = \"failed\"\ndenied = [\"* on slot `{}` *\"]\n",
            key(&slot.name),
            slot.name,
        );
    }
    text
}

/// Accesses that the new procedure has no use for yet.
fn uncovered(slot: &Slot, language: Language) -> Vec<String> {
    let used: &[&str] = match (slot.capability, language) {
        ("sql", Language::Javascript) => &["read"],
        ("sql", _) if slot.has("read") => &["read", "maintain"],
        ("storage" | "cache" | "jetstream", _) => &["read"],
        ("kubernetes", Language::Javascript) => &["read"],
        ("tool", _) => &["run"],
        ("key", Language::Rust | Language::C) => &["decrypt"],
        _ => &[],
    };
    let left = slot.accesses.iter().filter(|access| !used.contains(&access.as_str()));
    left.map(|access| format!("\"{}: {access}\"", slot.name)).collect()
}

/// A key of TOML: bare, as slots' names always are.
fn key(name: &str) -> &str {
    name
}

/// Whether the new procedure calls anything on a slot.
fn calls(slot: &Slot, language: Language) -> bool {
    slot.capability != "key" && (language != Language::Javascript || slot.has("read"))
}

/// What a slot holds or answers in all cases.
fn common(slot: &Slot, language: Language) -> String {
    let name = &slot.name;
    let slot_table = |rest: &str| format!("\n[common.slots.{}]\n{rest}\n", key(name));
    match slot.capability {
        "sql" if slot.has("read") => {
            let (columns, row) = match language {
                Language::Javascript => (r#"["name:text", "rows:int8"]"#, r#"["public.orders", 1200]"#),
                _ => (r#"["table:text"]"#, r#"["public.orders"]"#),
            };
            format!(
                "\n[[common.answers]]\nslot = {name:?}\nquery = \"select *pg_stat_user_tables*\"\ncolumns = {columns}\nrows = [{row}]\n"
            )
        }
        // One that a key is proven with, where there is one, is no lock in a case: what is decrypted is what is there.
        "storage" => slot_table(r#"objects = { "2026/report.csv.age" = "1,2,3" }"#),
        "cache" => slot_table(r#"keys = { "user:1" = "ada", "user:2" = { hash = { name = "bob" } } }"#),
        "kubernetes" => slot_table(
            r#"objects = [{ apiVersion = "v1", kind = "Pod", metadata = { name = "web-1" }, status = { phase = "Running" } }]"#,
        ),
        "tool" => {
            // By whose rules arguments are checked: the slot's name may be a program's.
            let known = ["pg_dump", "pg_dumpall", "pg_restore"].contains(&name.replace('-', "_").as_str());
            let rules =
                if known { "" } else { "\nprogram_arguments = [\"--version\"]  # what the operator's binding allows" };
            slot_table(&format!("version = \"17.6\"{rules}"))
        }
        "jetstream" if language == Language::Javascript => {
            format!(
                "\n[[common.answers]]\nslot = {name:?}\ncall = \"jetstream.streams\"\nitems = [{{ name = \"orders\", messages = 12 }}]\n"
            )
        }
        _ => String::new(),
    }
}

/// The effect that the new procedure has, or a plan lists.
fn effect(slot: &Slot, language: Language) -> Option<String> {
    let analyses = slot.capability == "sql" && slot.has("read") && slot.has("maintain");
    (analyses && language != Language::Javascript)
        .then(|| format!("\"sql.execute {}: ANALYZE public.orders\"", slot.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_case_file_whatever_the_slots_are() {
        let slot = |capability: &'static str, accesses: &[&str]| Slot {
            name: format!("the-{capability}"),
            capability,
            accesses: accesses.iter().map(|access| (*access).to_owned()).collect(),
        };
        let slots = vec![
            slot("sql", &["read", "maintain"]),
            slot("storage", &["read"]),
            slot("cache", &["read"]),
            slot("kubernetes", &["read"]),
            slot("tool", &["run"]),
            slot("jetstream", &["read"]),
            slot("key", &["decrypt"]),
        ];
        let spec = Spec { name: "mine".into(), slots };
        for language in [Language::Rust, Language::Javascript, Language::Python, Language::C] {
            let text = text(&spec, language);
            let suite = rota_cases::Suite::of_text(std::path::Path::new(PATH), text.clone());
            assert_eq!(suite.unwrap_or_else(|error| panic!("{error}\n{text}")).chosen(None).len(), 3, "{text}");
        }
    }
}
