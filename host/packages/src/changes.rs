//! What differs between two builds of a plugin, and which of it asks for more.

use crate::Build;
use std::collections::BTreeSet;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of what: `version`, `risk`, `slot cache`, `parameter days`, `imports`, `size`, `signer`, `confirmation`.
    pub what: String,
    /// How it was; none if it was not there.
    pub before: Option<String>,
    /// How it is; none if it is not there any more.
    pub after: Option<String>,
    /// Whether it asks for more than before: such an update needs somebody's word.
    pub wider: bool,
}

impl Change {
    fn of(what: impl Into<String>, before: Option<String>, after: Option<String>, wider: bool) -> Option<Self> {
        (before != after).then(|| Self { what: what.into(), before, after, wider })
    }
}

/// All differences, those that ask for more first.
pub fn changes(before: &Build, after: &Build) -> Vec<Change> {
    let some = |text: &str| Some(text.to_owned());
    let mut all: Vec<Option<Change>> = vec![
        Change::of("version", some(&before.version), some(&after.version), false),
        Change::of("risk", some(&before.risk), some(&after.risk), rank(&after.risk) > rank(&before.risk)),
        // One that asks for no word any more is run with less thought.
        Change::of(
            "confirmation",
            before.confirmation.clone(),
            after.confirmation.clone(),
            before.confirmation.is_some() && after.confirmation.is_none(),
        ),
        Change::of("imports", list(&before.imports), list(&after.imports), false),
        Change::of("size", some(&before.size.to_string()), some(&after.size.to_string()), false),
        // Whether another signer is taken is a matter of the rules of trust; that it is another one is shown.
        Change::of("signer", before.signer.clone(), after.signer.clone(), false),
    ];
    slots(before, after, &mut all);
    parameters(before, after, &mut all);
    let mut changes: Vec<Change> = all.into_iter().flatten().collect();
    changes.sort_by_key(|change| !change.wider);
    changes
}

fn list(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(", "))
}

/// Observe below change below destroy; what is not known is above all.
fn rank(risk: &str) -> usize {
    ["observe", "change", "destroy"].iter().position(|known| *known == risk).unwrap_or(3)
}

fn slots(before: &Build, after: &Build, all: &mut Vec<Option<Change>>) {
    let names: BTreeSet<&str> = before.slots.iter().chain(&after.slots).map(|slot| slot.name.as_str()).collect();
    for name in names {
        let find = |build: &Build| build.slots.iter().find(|slot| slot.name == name).cloned();
        let (old, new) = (find(before), find(after));
        let wider = match (&old, &new) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => {
                old.capability != new.capability || new.accesses.iter().any(|access| !old.accesses.contains(access))
            }
        };
        let shown = |slot: crate::LockedSlot| {
            let optional = if slot.optional { " (optional)" } else { "" };
            format!("{}: {}{optional}", slot.capability, slot.accesses.join(", "))
        };
        all.push(Change::of(format!("slot {name}"), old.map(shown), new.map(shown), wider));
    }
}

fn parameters(before: &Build, after: &Build, all: &mut Vec<Option<Change>>) {
    let split = |text: &String| {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        (name.to_owned(), rest.trim().to_owned())
    };
    let (old, new): (Vec<_>, Vec<_>) =
        (before.parameters.iter().map(split).collect(), after.parameters.iter().map(split).collect());
    let names: BTreeSet<&String> = old.iter().chain(&new).map(|(name, _)| name).collect();
    for name in names {
        let find = |all: &[(String, String)]| all.iter().find(|(one, _)| one == name).map(|(_, about)| about.clone());
        all.push(Change::of(format!("parameter {name}"), find(&old), find(&new), false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, LockedSlot};

    fn slot(name: &str, accesses: &[&str]) -> LockedSlot {
        let accesses = accesses.iter().map(|access| (*access).to_owned()).collect();
        LockedSlot { name: name.into(), capability: "sql".into(), accesses, optional: false }
    }

    fn build() -> Build {
        Build {
            version: "1.0.0".into(),
            component: Digest::of(b""),
            size: 100,
            manifest: None,
            locked: String::new(),
            signer: Some("key a".into()),
            bundles: Vec::new(),
            risk: "change".into(),
            confirmation: Some("REMOVE".into()),
            imports: vec!["sql".into()],
            parameters: vec!["days: integer".into()],
            slots: vec![slot("database", &["read", "write"])],
        }
    }

    fn of(change: impl FnOnce(&mut Build)) -> Vec<(String, bool)> {
        let mut after = build();
        change(&mut after);
        changes(&build(), &after).into_iter().map(|change| (change.what, change.wider)).collect()
    }

    fn one(what: &str, wider: bool) -> Vec<(String, bool)> {
        vec![(what.to_owned(), wider)]
    }

    #[test]
    fn each_difference_is_told_and_what_asks_for_more_is_marked() {
        assert_eq!(of(|_| {}), []);
        assert_eq!(of(|b| b.version = "1.1.0".into()), one("version", false));
        assert_eq!(of(|b| b.size = 7), one("size", false));
        assert_eq!(of(|b| b.signer = None), one("signer", false));
        assert_eq!(of(|b| b.imports.push("cache".into())), one("imports", false));
        assert_eq!(of(|b| b.risk = "destroy".into()), one("risk", true));
        assert_eq!(of(|b| b.risk = "whatever".into()), one("risk", true));
        assert_eq!(of(|b| b.risk = "observe".into()), one("risk", false));
        assert_eq!(of(|b| b.confirmation = None), one("confirmation", true));
        assert_eq!(of(|b| b.confirmation = Some("DROP".into())), one("confirmation", false));
        assert_eq!(of(|b| b.parameters = vec!["days: string".into()]), one("parameter days", false));
        assert_eq!(of(|b| b.parameters.clear()), one("parameter days", false));
        assert_eq!(of(|b| b.slots.clear()), one("slot database", false));
        assert_eq!(of(|b| b.slots.push(slot("standby", &["read"]))), one("slot standby", true));
        assert_eq!(of(|b| b.slots[0].accesses = vec!["read".into()]), one("slot database", false));
        assert_eq!(of(|b| b.slots[0].accesses.push("ddl".into())), one("slot database", true));
        assert_eq!(of(|b| b.slots[0].capability = "cache".into()), one("slot database", true));
        assert_eq!(of(|b| b.slots[0].optional = true), one("slot database", false));
    }

    #[test]
    fn what_asks_for_more_comes_first() {
        let all = of(|b| {
            b.version = "2.0.0".into();
            b.slots.push(slot("standby", &["read"]));
        });
        assert_eq!(all, [("slot standby".to_owned(), true), ("version".to_owned(), false)]);
    }
}
