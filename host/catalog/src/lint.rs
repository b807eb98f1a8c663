//! What is to be said of a plugin beyond what the host refuses: for its author, before anybody else sees it.

use crate::descriptor::{changes_nothing, interfaces_of, printable, problems};
use crate::{DescriptorProblem, descriptor};
use rota_contract::{Descriptor, Risk};
use serde_json::Value;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The host refuses it, or an operator would be misled.
    Error,
    /// It works, and could be better.
    Warning,
}

impl Level {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// Which rule: a word that stays the same.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
    /// What to do.
    pub to_do: String,
}

impl Finding {
    /// An error.
    pub fn error(rule: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { level: Level::Error, rule, found: found.into(), to_do: to_do.into() }
    }

    /// A warning.
    pub fn warning(rule: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { level: Level::Warning, rule, found: found.into(), to_do: to_do.into() }
    }
}

/// What the contract says of a summary.
const SUMMARY: usize = 120;
/// A component of Rust has about half a mebibyte, one that brings a Python with it 19.
const LARGE: u64 = 32 << 20;
/// What every procedure may use without a slot.
const FREE: [&str; 5] = ["types", "reports", "run", "bytes", "process"];

/// Everything that is to be said of a component: what it says of itself, what it imports, and its size in bytes. Errors first.
pub fn lint(descriptor: &Descriptor, interfaces: &[String], size: u64) -> Vec<Finding> {
    let refusals = problems(descriptor, interfaces);
    let mut findings: Vec<Finding> = refusals.iter().map(refused).collect();
    // What could not say what it is has nothing else of which something could be said.
    if let [DescriptorProblem::Nothing(_)] = refusals.as_slice() {
        return findings;
    }
    texts(descriptor, &mut findings);
    risk(descriptor, &mut findings);
    imports(descriptor, interfaces, &mut findings);
    schemas(descriptor, &mut findings);
    if size > LARGE {
        findings.push(Finding::warning(
            "size",
            format!("the component has {} MiB", size >> 20),
            "build it optimised for size (opt-level = \"s\", lto, strip), and leave out what it does not use: each host compiles it once",
        ));
    }
    findings.sort_by_key(|finding| finding.level);
    findings
}

/// What the host refuses.
fn refused(problem: &DescriptorProblem) -> Finding {
    let (rule, to_do) = match problem {
        DescriptorProblem::Nothing(_) => ("describe", "mend it there"),
        DescriptorProblem::Name(_) => ("name", "name it in lower-case words joined by hyphens"),
        DescriptorProblem::Version(_) => ("version", "give it a semantic version, such as 0.1.0"),
        DescriptorProblem::Schema { .. } => {
            ("schema", "make it a JSON Schema (2020-12); of the parameters one of type object")
        }
        DescriptorProblem::Slot { .. } => ("slot", "mend the slot's declaration; without a use of it, take it away"),
        DescriptorProblem::Text("summary") => ("summary", "say in one line of at most 120 characters what it does"),
        DescriptorProblem::Text("confirmation") => ("confirmation", "choose one short word, such as RESTORE"),
        DescriptorProblem::Text(_) => ("description", "keep it below 64 KiB, without control characters"),
    };
    Finding::error(rule, problem.to_string(), to_do)
}

fn texts(descriptor: &Descriptor, findings: &mut Vec<Finding>) {
    let length = descriptor.summary.chars().count();
    if length > SUMMARY {
        findings.push(Finding::warning(
            "summary",
            format!("its summary has {length} characters"),
            format!("say it in {SUMMARY}: it stands in one line of a table"),
        ));
    }
    if descriptor.description.trim().is_empty() {
        findings.push(Finding::warning(
            "description",
            "it has no description",
            "say what it does, what it refuses and which access it needs: `rota plugins show` prints it",
        ));
    }
    if descriptor.examples.is_empty() {
        findings.push(Finding::warning(
            "examples",
            "it has no example",
            "give one that works as it stands, the plainest first",
        ));
    }
}

fn risk(descriptor: &Descriptor, findings: &mut Vec<Finding>) {
    if descriptor.risk == Risk::Observe {
        for slot in descriptor.slots.iter().filter(|slot| !slot.optional) {
            let beyond: Vec<String> = slot
                .accesses
                .iter()
                .filter(|access| !changes_nothing(&slot.capability, access))
                .map(|access| format!("`{}`", printable(access)))
                .collect();
            if !beyond.is_empty() {
                findings.push(Finding::error(
                    "risk",
                    format!(
                        "its risk is observe (reads only), but the slot `{}` needs {}",
                        printable(&slot.name),
                        beyond.join(", ")
                    ),
                    "declare the risk `change`, ask for less, or make the slot optional",
                ));
            }
        }
    }
    if descriptor.risk == Risk::Destroy && descriptor.confirmation.is_none() {
        findings.push(Finding::error(
            "confirmation",
            "its risk is destroy, and no word must be typed before it executes",
            "name one that tells what happens, such as RESTORE",
        ));
    }
}

/// Whether a procedure could use an interface: none is needed for it, or it has a slot for it.
pub fn is_usable(descriptor: &Descriptor, interface: &str) -> bool {
    FREE.contains(&interface)
        || descriptor.slots.iter().any(|slot| interfaces_of(&slot.capability).contains(&interface))
}

/// What the component imports beyond what its slots could use.
fn imports(descriptor: &Descriptor, interfaces: &[String], findings: &mut Vec<Finding>) {
    for interface in interfaces {
        if !is_usable(descriptor, interface) {
            findings.push(Finding::warning(
                "imports",
                format!("it imports `{interface}`, and no slot of it could use that"),
                "declare the slot that it is for, or do not import it: nobody can grant what is not declared, so each call is denied",
            ));
        }
    }
}

fn schemas(descriptor: &Descriptor, findings: &mut Vec<Finding>) {
    if let Ok(schema) = serde_json::from_str::<Value>(&descriptor.parameters) {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            findings.push(Finding::warning(
                "parameters",
                "its parameters take names that the schema does not know",
                "set \"additionalProperties\": false, so that a misspelt parameter is refused",
            ));
        }
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (name, property) in properties {
            if property.get("description").and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
                findings.push(Finding::warning(
                    "parameters",
                    format!("the parameter `{}` has no description", printable(name)),
                    "say what it means: operators see nothing else",
                ));
            }
        }
        if let Ok(validator) = jsonschema::validator_for(&schema) {
            examples(descriptor, &validator, findings);
        }
    }
    let report: Value = serde_json::from_str(&descriptor.report).unwrap_or_default();
    if report.as_object().is_some_and(serde_json::Map::is_empty) || report == Value::Bool(true) {
        findings.push(Finding::warning(
            "report",
            "the schema of its report says nothing",
            "describe the data that programs read",
        ));
    }
}

fn examples(descriptor: &Descriptor, validator: &jsonschema::Validator, findings: &mut Vec<Finding>) {
    for example in &descriptor.examples {
        let title = descriptor::printable(&example.title);
        let to_do = "make the example work as it stands, or the schema take it";
        match serde_json::from_str::<Value>(&example.parameters) {
            Err(error) => {
                findings.push(Finding::error("examples", format!("the example `{title}` is not JSON: {error}"), to_do));
            }
            Ok(value) => {
                if let Some(error) = validator.iter_errors(&value).next() {
                    let place = error.instance_path().to_string();
                    let place = if place.is_empty() { String::new() } else { format!("{}: ", printable(&place)) };
                    findings.push(Finding::error(
                        "examples",
                        format!(
                            "the example `{title}` does not pass the parameters' schema: {place}{}",
                            printable_line(&error.to_string())
                        ),
                        to_do,
                    ));
                }
            }
        }
    }
}

fn printable_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_contract::reports::{Example, Slot};

    fn sound() -> Descriptor {
        Descriptor {
            name: "old-rows".into(),
            version: "0.1.0".into(),
            summary: "Counts old rows.".into(),
            description: "Counts old rows; needs read.".into(),
            parameters: r#"{"type":"object","additionalProperties":false,"properties":{"days":{"type":"integer","minimum":1,"description":"How old."}}}"#.into(),
            report: r#"{"type":"object"}"#.into(),
            slots: vec![Slot {
                name: "database".into(),
                capability: "sql".into(),
                accesses: vec!["read".into()],
                purpose: "Reads.".into(),
                optional: false,
            }],
            risk: Risk::Observe,
            confirmation: None,
            idempotent: true,
            examples: vec![Example { title: "A month".into(), parameters: r#"{"days":30}"#.into() }],
        }
    }

    fn rules(descriptor: &Descriptor, interfaces: &[&str], size: u64) -> Vec<(Level, &'static str)> {
        let interfaces: Vec<String> = interfaces.iter().map(|i| (*i).to_owned()).collect();
        lint(descriptor, &interfaces, size).iter().map(|finding| (finding.level, finding.rule)).collect()
    }

    const IMPORTS: [&str; 4] = ["types", "run", "reports", "sql"];

    #[test]
    fn a_sound_one_has_no_finding() {
        assert_eq!(rules(&sound(), &IMPORTS, 400_000), []);
        // Who decrypts changes nothing.
        let mut verifies = sound();
        let accesses = vec!["decrypt".into()];
        let (name, capability, purpose) = ("key".into(), "key".into(), "Opens.".into());
        verifies.slots.push(Slot { name, capability, accesses, purpose, optional: false });
        assert!(!rules(&verifies, &IMPORTS, 400_000).contains(&(Level::Error, "risk")));
    }

    #[test]
    fn each_defect_has_its_rule() {
        type Change = fn(&mut Descriptor);
        let cases: [(Change, &[(Level, &str)]); 14] = [
            (|d| d.name = "Old".into(), &[(Level::Error, "name")]),
            (|d| d.version = "1".into(), &[(Level::Error, "version")]),
            (|d| d.summary = String::new(), &[(Level::Error, "summary")]),
            (|d| d.summary = "x".repeat(121), &[(Level::Warning, "summary")]),
            (|d| d.description = " \n".into(), &[(Level::Warning, "description")]),
            (|d| d.examples.clear(), &[(Level::Warning, "examples")]),
            (|d| d.examples[0].parameters = r#"{"days":0}"#.into(), &[(Level::Error, "examples")]),
            (|d| d.examples[0].parameters = r#"{"day":1}"#.into(), &[(Level::Error, "examples")]),
            (|d| d.examples[0].parameters = "{".into(), &[(Level::Error, "examples")]),
            (|d| d.slots[0].accesses.push("write".into()), &[(Level::Error, "risk")]),
            (|d| d.risk = Risk::Destroy, &[(Level::Error, "confirmation")]),
            (|d| d.parameters = "[".into(), &[(Level::Error, "schema")]),
            (|d| d.report = "{}".into(), &[(Level::Warning, "report")]),
            (
                |d| d.parameters = r#"{"type":"object","properties":{"days":{"type":"integer"}}}"#.into(),
                &[(Level::Warning, "parameters"), (Level::Warning, "parameters")],
            ),
        ];
        for (number, (change, wanted)) in cases.into_iter().enumerate() {
            let mut descriptor = sound();
            change(&mut descriptor);
            assert_eq!(rules(&descriptor, &IMPORTS, 400_000), wanted, "case {number}");
        }
    }

    #[test]
    fn of_what_cannot_say_what_it_is_that_is_all_that_is_said() {
        let mut descriptor = sound();
        (descriptor.name, descriptor.version) = (String::new(), String::new());
        (descriptor.description, descriptor.parameters) = (String::new(), String::new());
        descriptor.examples.clear();
        descriptor.summary = "procedure.js:1:1: SyntaxError".into();
        assert_eq!(rules(&descriptor, &IMPORTS, 33 << 20), [(Level::Error, "describe")]);
    }

    #[test]
    fn an_optional_slot_may_ask_for_more_than_observing() {
        let mut descriptor = sound();
        descriptor.slots[0].accesses.push("write".into());
        descriptor.slots[0].optional = true;
        assert_eq!(rules(&descriptor, &IMPORTS, 1), []);
    }

    #[test]
    fn imports_and_size() {
        assert_eq!(rules(&sound(), &["types", "sql", "storage"], 1), [(Level::Warning, "imports")]);
        assert_eq!(rules(&sound(), &["types", "sql", "bytes", "process"], 1), []);
        assert_eq!(rules(&sound(), &["types"], 1), [(Level::Error, "slot")], "a slot without a use");
        assert_eq!(rules(&sound(), &IMPORTS, 33 << 20), [(Level::Warning, "size")]);
    }

    #[test]
    fn several_are_found_at_once_and_errors_come_first() {
        let mut descriptor = sound();
        descriptor.description = String::new();
        descriptor.name = "Old".into();
        descriptor.version = "x".into();
        let wanted = [(Level::Error, "name"), (Level::Error, "version"), (Level::Warning, "description")];
        assert_eq!(rules(&descriptor, &IMPORTS, 1), wanted);
    }
}
