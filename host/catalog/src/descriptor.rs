//! Whether what a plugin says of itself is sound: refused before a run, with the reason.

use crate::reference::is_name;
use rota_contract::Descriptor;
use rota_contract::reports::Slot;

/// What is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorProblem {
    /// It could not say what it is: a component that finds out only when it is asked leaves its name and version empty, and says why in its summary.
    #[error("it cannot say what it is: {0}")]
    Nothing(String),
    /// The name.
    #[error("its name `{0}` is not lower-case words joined by hyphens (at most 63 characters)")]
    Name(String),
    /// The version.
    #[error("its version `{0}` is not a semantic version (1.2.3)")]
    Version(String),
    /// A schema.
    #[error("its {which} schema is not a JSON Schema: {reason}")]
    Schema {
        /// `parameters` or `report`.
        which: &'static str,
        /// Why.
        reason: String,
    },
    /// A slot.
    #[error("its slot `{slot}` {reason}")]
    Slot {
        /// The slot.
        slot: String,
        /// Why.
        reason: String,
    },
    /// Texts that would not fit on a screen.
    #[error("its {0} is empty or too long, or has control characters")]
    Text(&'static str),
}

/// Check a descriptor against the contract's rules.
///
/// # Errors
/// The first problem found.
pub fn check(descriptor: &Descriptor, interfaces: &[String]) -> Result<(), DescriptorProblem> {
    problems(descriptor, interfaces).into_iter().next().map_or(Ok(()), Err)
}

/// Everything that the contract's rules refuse in a descriptor.
pub fn problems(descriptor: &Descriptor, interfaces: &[String]) -> Vec<DescriptorProblem> {
    if descriptor.name.is_empty() && descriptor.version.is_empty() && !descriptor.summary.is_empty() {
        let why = descriptor.summary.chars().filter(|c| !c.is_control()).take(500).collect();
        return vec![DescriptorProblem::Nothing(why)];
    }
    let mut problems = Vec::new();
    if !is_name(&descriptor.name) {
        problems.push(DescriptorProblem::Name(printable(&descriptor.name)));
    }
    if semver::Version::parse(&descriptor.version).is_err() {
        problems.push(DescriptorProblem::Version(printable(&descriptor.version)));
    }
    let line_ok = |text: &str, max: usize| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if !line_ok(&descriptor.summary, 200) {
        problems.push(DescriptorProblem::Text("summary"));
    }
    if descriptor.description.len() > 64 << 10
        || descriptor.description.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        problems.push(DescriptorProblem::Text("description"));
    }
    if descriptor.confirmation.as_ref().is_some_and(|word| !line_ok(word, 40)) {
        problems.push(DescriptorProblem::Text("confirmation"));
    }
    problems.extend(schema("parameters", &descriptor.parameters).err());
    problems.extend(schema("report", &descriptor.report).err());
    problems.extend((0..descriptor.slots.len()).filter_map(|index| slot(&descriptor.slots, index, interfaces).err()));
    problems
}

fn schema(which: &'static str, text: &str) -> Result<(), DescriptorProblem> {
    let problem = |reason: String| DescriptorProblem::Schema { which, reason };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| problem(e.to_string()))?;
    jsonschema::validator_for(&value).map_err(|e| problem(e.to_string()))?;
    if which == "parameters" && value.get("type").and_then(|t| t.as_str()) != Some("object") {
        return Err(problem("it must be of type object".into()));
    }
    Ok(())
}

fn slot(slots: &[Slot], index: usize, interfaces: &[String]) -> Result<(), DescriptorProblem> {
    let slot = &slots[index];
    let problem = |reason: &str| DescriptorProblem::Slot { slot: printable(&slot.name), reason: reason.into() };
    if slot.name.is_empty()
        || slot.name.len() > 63
        || !slot.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
    {
        return Err(problem("has a name that is not lower-case words joined by hyphens or underscores"));
    }
    if slots[..index].iter().any(|other| other.name == slot.name) {
        return Err(problem("is declared twice"));
    }
    if slot.purpose.is_empty() || slot.purpose.len() > 300 || slot.purpose.chars().any(char::is_control) {
        return Err(problem("does not say its purpose in one line"));
    }
    if slot.accesses.is_empty() {
        return Err(problem("asks for no access"));
    }
    let words = words(&slot.capability).ok_or_else(|| {
        problem(&format!(
            "is of the unknown capability `{}` (known: sql, storage, tool, key, cache, kubernetes, jetstream)",
            printable(&slot.capability)
        ))
    })?;
    if let Some(unknown) = slot.accesses.iter().find(|access| !words.contains(access)) {
        return Err(problem(&format!(
            "asks for the unknown access `{}` ({} has: {})",
            printable(unknown),
            slot.capability,
            words.join(", ")
        )));
    }
    let interface = interfaces_of(&slot.capability);
    if !interface.iter().any(|wanted| interfaces.iter().any(|i| i == wanted)) {
        return Err(problem("is declared, but the component imports nothing that could use it"));
    }
    Ok(())
}

/// The interfaces, of which a slot of a capability needs one.
pub(crate) fn interfaces_of(capability: &str) -> &'static [&'static str] {
    match capability {
        "sql" => &["sql", "tools"],
        "storage" => &["storage"],
        "tool" => &["tools"],
        "cache" => &["cache"],
        "kubernetes" => &["kubernetes"],
        "jetstream" => &["jetstream"],
        _ => &["bytes"],
    }
}

/// The capabilities that a slot can be of.
pub fn capabilities() -> &'static [&'static str] {
    &["sql", "storage", "tool", "key", "cache", "kubernetes", "jetstream"]
}

/// Whether an access of a capability can only read; not so for a word that is not known.
pub fn only_reads(capability: &str, access: &str) -> bool {
    use rota_authority::{
        Access, CacheAccess, JetstreamAccess, KeyAccess, KubernetesAccess, SqlAccess, StorageAccess, ToolAccess,
    };
    fn of<A: Access>(access: &str) -> bool {
        access.parse::<A>().is_ok_and(A::only_reads)
    }
    match capability {
        "sql" => of::<SqlAccess>(access),
        "storage" => of::<StorageAccess>(access),
        "tool" => of::<ToolAccess>(access),
        "key" => of::<KeyAccess>(access),
        "cache" => of::<CacheAccess>(access),
        "kubernetes" => of::<KubernetesAccess>(access),
        "jetstream" => of::<JetstreamAccess>(access),
        _ => false,
    }
}

/// Whether an access of a capability changes nothing: what only reads, and to decrypt, which nobody has without its being named.
pub fn changes_nothing(capability: &str, access: &str) -> bool {
    only_reads(capability, access) || (capability, access) == ("key", "decrypt")
}

/// The access words of a capability; none where there is no such capability.
pub fn words(capability: &str) -> Option<Vec<String>> {
    use rota_authority::{
        Access, CacheAccess, JetstreamAccess, KeyAccess, KubernetesAccess, SqlAccess, StorageAccess, ToolAccess,
    };
    fn all<A: Access>() -> Vec<String> {
        A::ALL.iter().map(ToString::to_string).collect()
    }
    Some(match capability {
        "sql" => all::<SqlAccess>(),
        "storage" => all::<StorageAccess>(),
        "tool" => all::<ToolAccess>(),
        "key" => all::<KeyAccess>(),
        "cache" => all::<CacheAccess>(),
        "kubernetes" => all::<KubernetesAccess>(),
        "jetstream" => all::<JetstreamAccess>(),
        _ => return None,
    })
}

pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
