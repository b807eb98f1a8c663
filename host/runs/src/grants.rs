//! What stands in the slots of a run, and what it may do there: from flags and jobs, or from what is on record of a run.

use crate::bindings::Bindings;
use crate::prepare::{PrepareError, nearest, only_reads};
use crate::settings::{JobSettings, Settings};
use rota_authority::Grant;
use rota_contract::reports::Slot;
use std::collections::BTreeMap;

/// What is on record of a run's grants, by slot.
pub(crate) type Recorded = BTreeMap<String, RecordedGrant>;

/// What is on record of what a slot was given.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct RecordedGrant {
    pub(crate) binding: String,
    pub(crate) access: Vec<String>,
    /// It was a URL or a program on a command line: on no record.
    #[serde(default)]
    pub(crate) ad_hoc: bool,
}

/// What is on record of a run's grants, as it is shown.
pub(crate) fn slots_of(grants: &str) -> Vec<crate::SlotView> {
    let recorded: Recorded = serde_json::from_str(grants).unwrap_or_default();
    let one = |(slot, grant): (String, RecordedGrant)| crate::SlotView {
        slot,
        binding: grant.binding,
        access: grant.access,
        ad_hoc: grant.ad_hoc,
    };
    recorded.into_iter().map(one).collect()
}

/// The same grant for another context of the same run.
pub(crate) fn same_grant(grant: &Grant) -> Grant {
    Grant {
        slot: grant.slot.clone(),
        binding_name: grant.binding_name.clone(),
        binding: grant.binding.clone(),
        accesses: grant.accesses.clone(),
    }
}

/// What is on record of a run's grants, with this host's bindings: what was granted then, never more than their ceilings now or than the
/// plugin declares. A record names configured bindings only: whatever else stands in it (a URL, a path) is no binding.
pub(crate) fn regrant(
    settings: &Settings,
    plugin: &str,
    slots: &[Slot],
    grants: &Recorded,
) -> Result<Vec<Grant>, PrepareError> {
    let bindings = Bindings::new(settings);
    let one = |(name, grant): (&String, &RecordedGrant)| {
        let slot = slot_named(plugin, slots, name)?;
        for word in &grant.access {
            declares(plugin, slot, word)?;
        }
        let (binding_name, binding) = bindings
            .configured(slot, &grant.binding)
            .map_err(|reason| PrepareError::Binding { slot: name.clone(), reason })?;
        let bound = Bound { slot, binding_name, binding, job_access: Some(grant.access.clone()), ad_hoc: false };
        grant_of(bound, false, &[])
    };
    grants.iter().map(one).collect()
}

pub(crate) fn slot_named<'s>(plugin: &str, slots: &'s [Slot], name: &str) -> Result<&'s Slot, PrepareError> {
    slots.iter().find(|slot| slot.name == name).ok_or_else(|| PrepareError::UnknownSlot {
        plugin: plugin.into(),
        slot: name.into(),
        nearest: nearest(name, slots.iter().map(|s| s.name.as_str())),
        known: slots.iter().map(|s| s.name.clone()).collect(),
    })
}

pub(crate) struct Bound<'s> {
    pub(crate) slot: &'s Slot,
    binding_name: String,
    binding: rota_config::Binding,
    /// What the job grants; none where the slot was bound on the command line.
    job_access: Option<Vec<String>>,
    /// Not a configured binding's name was given, but a URL or a path.
    pub(crate) ad_hoc: bool,
}

pub(crate) fn bind<'s>(
    settings: &Settings,
    plugin: &str,
    slots: &'s [Slot],
    job: Option<&JobSettings>,
    arguments: &[String],
) -> Result<Vec<Bound<'s>>, PrepareError> {
    let bindings = Bindings::new(settings);
    let mut bound: Vec<Bound<'s>> = Vec::new();
    for argument in arguments {
        let (name, text) = argument
            .split_once('=')
            .filter(|(name, text)| !name.is_empty() && !text.is_empty())
            .ok_or_else(|| PrepareError::Form {
                text: crate::bindings::without_secret(argument),
                what: "binding of a slot: write --bind SLOT=BINDING, SLOT=URL or SLOT=/path/of/a/program",
            })?;
        let slot = slot_named(plugin, slots, name)?;
        if bound.iter().any(|b| b.slot.name == name) {
            return Err(PrepareError::Twice(name.into()));
        }
        let (binding_name, binding) =
            bindings.find(slot, text).map_err(|reason| PrepareError::Binding { slot: name.into(), reason })?;
        let ad_hoc = !settings.bindings.contains_key(text);
        bound.push(Bound { slot, binding_name, binding, job_access: None, ad_hoc });
    }
    for (name, (binding, access)) in job.iter().flat_map(|job| &job.slots) {
        let slot = slot_named(plugin, slots, name)?;
        if bound.iter().any(|b| b.slot.name == *name) {
            continue;
        }
        let (binding_name, binding) =
            bindings.find(slot, binding).map_err(|reason| PrepareError::Binding { slot: name.clone(), reason })?;
        bound.push(Bound { slot, binding_name, binding, job_access: Some(access.clone()), ad_hoc: false });
    }
    let missing: Vec<&Slot> =
        slots.iter().filter(|slot| !slot.optional && !bound.iter().any(|b| b.slot.name == slot.name)).collect();
    if let Some(first) = missing.first() {
        return Err(PrepareError::Unbound {
            plugin: plugin.into(),
            slot: first.name.clone(),
            capability: first.capability.clone(),
            purpose: first.purpose.clone(),
            flags: missing.iter().map(|slot| format!("--bind {}={}", slot.name, bindings.example(slot))).collect(),
        });
    }
    Ok(bound)
}

pub(crate) fn grant(
    plugin: &str,
    slots: &[Slot],
    job: Option<&JobSettings>,
    bound: Vec<Bound<'_>>,
    arguments: &[String],
) -> Result<Vec<Grant>, PrepareError> {
    let mut declared = false;
    let mut given: Vec<(&str, Vec<String>)> = Vec::new();
    for argument in arguments {
        if argument == "declared" {
            declared = true;
            continue;
        }
        let form = || PrepareError::Form {
            text: argument.clone(),
            what: "grant: write --grant SLOT=ACCESS,ACCESS or --grant declared",
        };
        let (name, words) = argument.split_once('=').ok_or_else(form)?;
        let slot = slot_named(plugin, slots, name)?;
        let words: Vec<String> = words.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect();
        for word in &words {
            declares(plugin, slot, word)?;
        }
        given.push((name, words));
    }
    for (name, (_, words)) in job.iter().flat_map(|job| &job.slots) {
        let slot = slot_named(plugin, slots, name)?;
        for word in words {
            declares(plugin, slot, word)?;
        }
    }
    bound.into_iter().map(|bound| grant_of(bound, declared, &given)).collect()
}

/// What one slot is granted: by --grant, else by the job, else what only reads; never more than the binding's ceiling.
fn grant_of(bound: Bound<'_>, declared: bool, given: &[(&str, Vec<String>)]) -> Result<Grant, PrepareError> {
    let ceiling: Vec<String> = bound.binding.ceiling().iter().map(ToString::to_string).collect();
    let reads = || {
        bound
            .slot
            .accesses
            .iter()
            .filter(|word| only_reads(&bound.slot.capability, word) && ceiling.contains(word))
            .cloned()
            .collect()
    };
    let mut accesses: Vec<String> =
        match (declared, given.iter().find(|(name, _)| *name == bound.slot.name), bound.job_access) {
            (true, ..) => bound.slot.accesses.clone(),
            (false, Some((_, words)), _) => words.clone(),
            (false, None, Some(words)) => words,
            (false, None, None) => reads(),
        };
    accesses.dedup();
    if let Some(access) = accesses.iter().find(|word| !ceiling.contains(word)) {
        return Err(PrepareError::Ceiling {
            slot: bound.slot.name.clone(),
            binding: bound.binding_name,
            access: access.clone(),
            ceiling,
        });
    }
    Ok(Grant { slot: bound.slot.name.clone(), binding_name: bound.binding_name, binding: bound.binding, accesses })
}

fn declares(plugin: &str, slot: &Slot, word: &str) -> Result<(), PrepareError> {
    if slot.accesses.iter().any(|declared| declared == word) {
        return Ok(());
    }
    Err(PrepareError::UnknownAccess {
        plugin: plugin.into(),
        slot: slot.name.clone(),
        access: word.into(),
        nearest: nearest(word, slot.accesses.iter().map(String::as_str)),
        declared: slot.accesses.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_config::{Config, Source};

    const BINDINGS: &str = "[bindings.shop]\nkind = \"sql\"\nurl = \"postgres://h/d\"\n\
                            [bindings.identity]\nkind = \"key\"\nidentity = \"file:/srv/identity.txt\"\n";

    fn slot(name: &str, capability: &str, accesses: &[&str]) -> Slot {
        Slot {
            name: name.into(),
            capability: capability.into(),
            accesses: accesses.iter().map(|word| (*word).to_owned()).collect(),
            purpose: String::new(),
            optional: false,
        }
    }

    /// What a run gets with these `--grant` on two slots that are bound with `--bind`.
    fn granted(arguments: &[&str]) -> String {
        let config = Config::load(&Source::empty().with_text("rota.toml", BINDINGS)).unwrap();
        let settings = Settings::from_config(&config).unwrap();
        let slots = [slot("database", "sql", &["read", "write"]), slot("key", "key", &["decrypt"])];
        let bound = bind(&settings, "p", &slots, None, &["database=shop", "key=identity"].map(str::to_owned)).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let grants = grant("p", &slots, None, bound, &arguments).unwrap();
        let shown = |grant: &Grant| format!("{}={}", grant.slot, grant.accesses.join(","));
        grants.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_no_grant_names_is_read_and_never_decrypted() {
        let cases: [(&[&str], &str); 6] = [
            (&[], "database=read key="),
            (&["database=read,write"], "database=read,write key="),
            (&["database="], "database= key="),
            (&["key=decrypt"], "database=read key=decrypt"),
            (&["key=decrypt", "database=write"], "database=write key=decrypt"),
            (&["declared"], "database=read,write key=decrypt"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(granted(arguments), expected, "{arguments:?}");
        }
    }
}
