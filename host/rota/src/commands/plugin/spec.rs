//! What `rota plugin new` is asked for: a name and slots, checked with the nearest word where one is misspelt.

use crate::settings::UsageError;
use rota_catalog::{Catalog, access_words, capabilities};

/// A slot as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// `database`, `pg-dump`.
    pub(crate) name: String,
    /// `sql`.
    pub(crate) capability: &'static str,
    /// Access words, each once, in the order given.
    pub(crate) accesses: Vec<String>,
}

impl Slot {
    /// The name as an identifier.
    pub(crate) fn identifier(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Whether an access was asked for.
    pub(crate) fn has(&self, access: &str) -> bool {
        self.accesses.iter().any(|a| a == access)
    }

    /// Whether everything asked for only reads.
    pub(crate) fn only_reads(&self) -> bool {
        self.accesses.iter().all(|access| rota_catalog::changes_nothing(self.capability, access))
    }
}

/// The plugin that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) slots: Vec<Slot>,
}

/// What is asked for without `--slot`.
const DEFAULT: &str = "database:sql:read";
/// Methods that the SDK's context has by itself, so no slot can be called so.
const TAKEN: [&str; 12] =
    ["mode", "is_plan", "info", "deadline", "now", "sleep", "artifact", "gauge", "counter", "clone", "step", "undo"];
/// Words of Rust: no crate and no method can be called so. (Those of other languages are no trouble: slots are strings there.)
const WORDS: [&str; 46] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "unsafe", "use", "where",
];
/// Names that cargo refuses, or that a plugin's own modules would be hidden by.
const RESERVED: [&str; 9] = ["test", "core", "std", "alloc", "proc-macro", "build", "deps", "examples", "incremental"];

impl Spec {
    /// Out of the command line.
    pub(crate) fn read(name: &str, slots: &[String], catalog: &Catalog) -> Result<Self, UsageError> {
        check_name(name, catalog)?;
        let given: Vec<&str> =
            if slots.is_empty() { vec![DEFAULT] } else { slots.iter().map(String::as_str).collect() };
        let mut read: Vec<Slot> = Vec::new();
        for text in given {
            let slot = slot(text)?;
            if read.iter().any(|other| other.identifier() == slot.identifier()) {
                return Err(UsageError(format!("the slot `{}` is given twice", slot.name)));
            }
            read.push(slot);
        }
        let keys = read.iter().any(|slot| slot.capability == "key");
        if keys && !read.iter().any(|slot| slot.capability == "storage" && slot.has("read")) {
            return Err(UsageError(
                "a key decrypts what a bucket holds: give a slot for it as well, such as --slot bucket:storage:read"
                    .into(),
            ));
        }
        Ok(Self { name: name.to_owned(), slots: read })
    }
}

fn check_name(name: &str, catalog: &Catalog) -> Result<(), UsageError> {
    let shown = printable(name);
    if !well_named(name, false) || name.len() > 63 {
        let better = kebab(name);
        let hint = if better.is_empty() { String::new() } else { format!("; did you mean `{better}`?") };
        return Err(UsageError(format!(
            "`{shown}` cannot be a plugin's name: lower-case words of letters and digits joined by hyphens, the first beginning with a letter, at most 63 characters{hint}"
        )));
    }
    if WORDS.contains(&name) || RESERVED.contains(&name) {
        return Err(UsageError(format!(
            "a plugin cannot be named `{shown}`: the word has a meaning of its own for cargo or Rust; name what it does (`{shown}-cleanup`)"
        )));
    }
    if super::sdk::CRATES.contains(&name) {
        return Err(UsageError(format!(
            "a plugin cannot be named `{shown}`: a crate that the SDK uses is; name what it does (`{shown}-report`)"
        )));
    }
    if let Some(entry) = catalog.list().iter().find(|entry| entry.name == name) {
        return Err(UsageError(format!(
            "there is a plugin `{shown}` already ({}): yours would be taken for it; choose another name",
            entry.origin
        )));
    }
    Ok(())
}

/// `database:sql:read,maintain`.
fn slot(text: &str) -> Result<Slot, UsageError> {
    let refused = |reason: String| UsageError(format!("--slot {}: {reason}", printable(text)));
    let mut parts = text.split(':');
    let (Some(name), Some(capability), Some(accesses), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(refused("write NAME:CAPABILITY:ACCESS,... (database:sql:read,maintain)".into()));
    };
    if !well_named(name, true) || name.len() > 63 {
        let better = kebab(name);
        let hint = if better.is_empty() { String::new() } else { format!("; did you mean `{better}`?") };
        return Err(refused(format!(
            "`{}` cannot be a slot's name: lower-case words joined by hyphens or underscores{hint}",
            printable(name)
        )));
    }
    let identifier = name.replace('-', "_");
    if TAKEN.contains(&identifier.as_str()) || WORDS.contains(&identifier.as_str()) {
        return Err(refused(format!(
            "a slot cannot be named `{name}`: the word has a meaning of its own in a procedure"
        )));
    }
    let known: Vec<&'static str> = capabilities().to_vec();
    let Some(capability) = known.iter().copied().find(|known| *known == capability) else {
        return Err(refused(format!(
            "there is no capability `{}` (known: {}){}",
            printable(capability),
            known.join(", "),
            nearest(capability, known.iter().copied())
        )));
    };
    let words = access_words(capability).unwrap_or_default();
    let mut read: Vec<String> = Vec::new();
    for access in accesses.split(',').map(str::trim) {
        if !words.iter().any(|word| word == access) {
            return Err(refused(format!(
                "`{capability}` has no access `{}`: it has {}{}",
                printable(access),
                words.join(", "),
                nearest(access, words.iter().map(String::as_str))
            )));
        }
        if !read.iter().any(|known| known == access) {
            read.push(access.to_owned());
        }
    }
    Ok(Slot { name: name.to_owned(), capability, accesses: read })
}

/// The nearest of some words, where one is near.
fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> String {
    // The whole of a known word in it, or the other way round, is nearer than letters are: `postgres-sql`, `copy`.
    let likeness = |known: &str| {
        let held = word.len() >= 2 && (known.contains(word) || word.contains(known));
        strsim::jaro_winkler(known, word).max(if held { 0.85 } else { 0.0 })
    };
    let near = words.map(|known| (likeness(known), known)).filter(|(likeness, _)| *likeness > 0.75);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// As the SDK has it: lower-case words joined by hyphens (and underscores, for slots).
fn well_named(name: &str, underscores: bool) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || (underscores && b == b'_'))
    };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(part)
}

/// The name that was probably meant: `Old Exports` -> `old-exports`.
fn kebab(text: &str) -> String {
    let mut name = String::new();
    let mut after_small = false;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && after_small {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        after_small = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    let start = name.find(|c: char| c.is_ascii_lowercase()).unwrap_or(name.len());
    name[start..].chars().take(63).collect::<String>().trim_matches('-').to_owned()
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read() {
        let read = slot("database:sql:read,maintain,read").unwrap();
        assert_eq!((read.name.as_str(), read.capability), ("database", "sql"));
        assert_eq!(read.accesses, ["read", "maintain"]);
        assert!(!read.only_reads() && slot("c:cache:read").unwrap().only_reads());
        assert_eq!(slot("pg-dump:tool:run").unwrap().identifier(), "pg_dump");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_nearest_word() {
        for (text, says) in [
            ("database", "NAME:CAPABILITY:ACCESS"),
            ("a:b:c:d", "NAME:CAPABILITY:ACCESS"),
            ("database:sqll:read", "did you mean `sql`?"),
            ("database:postgres:read", "there is no capability `postgres` (known: sql, storage"),
            ("c:kubernets:read", "did you mean `kubernetes`?"),
            ("database:sql:reed", "did you mean `read`?"),
            ("database:sql:maintian", "did you mean `maintain`?"),
            ("database:sql:", "`sql` has no access ``"),
            ("bucket:storage:maintain", "it has read, write, delete"),
            ("Data Base:sql:read", "did you mean `data-base`?"),
            ("type:sql:read", "a meaning of its own"),
            ("info:sql:read", "a meaning of its own"),
        ] {
            let said = slot(text).unwrap_err().to_string();
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn names_are_made_better() {
        for (bad, good) in [
            ("Old Exports", "old-exports"),
            ("oldExports", "old-exports"),
            ("old_exports", "old-exports"),
            ("9lives", "lives"),
            ("../../etc", "etc"),
            ("--", ""),
            ("a--b-", "a-b"),
        ] {
            assert_eq!(kebab(bad), good, "{bad}");
            assert!(!well_named(bad, false), "{bad}");
            assert!(good.is_empty() || well_named(good, false), "{good}");
        }
    }
}
