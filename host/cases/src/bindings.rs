//! What a case puts into slots: bindings of the kinds that the plugin asks for, to places that are none, so that nothing could be reached
//! even if something tried.

use crate::format::{Case, CaseFile, Problem, SlotSetup, advice};
use rota_authority::Grant;
use rota_catalog::access_words;
use rota_config::{Binding, KeyBinding, SecretRef, ToolProfile};
use rota_contract::Descriptor;
use rota_contract::reports::Slot;

/// The grants of a case.
///
/// # Errors
/// What of the case does not fit the plugin, with its place.
pub(crate) fn grants(file: &CaseFile, case: &Case, descriptor: &Descriptor) -> Result<Vec<Grant>, Problem> {
    let names: Vec<&str> = descriptor.slots.iter().map(|slot| slot.name.as_str()).collect();
    let unknown = |slot: &str| format!("the plugin {} has no slot `{slot}`", descriptor.name);
    for (slot, setup) in &case.slots {
        if !names.contains(&slot.as_str()) {
            return Err(Problem::at(&file.source(), setup.span.clone(), unknown(slot)).help(advice(slot, &names)));
        }
    }
    for slot in case.answers.iter().filter_map(|answer| answer.slot.as_ref()) {
        if !names.contains(&slot.get_ref().as_str()) {
            let problem = Problem::at(&file.source(), slot.span(), unknown(slot.get_ref()));
            return Err(problem.help(advice(slot.get_ref(), &names)));
        }
    }
    let mut grants = Vec::new();
    for slot in &descriptor.slots {
        let said = case.slots.get(&slot.name);
        let setup = said.cloned().unwrap_or_default();
        let wrong = |message: String| match said {
            Some(setup) => Problem::at(&file.source(), setup.span.clone(), message),
            None => Problem::of_file(&file.path, message),
        };
        if let Some(key) = misplaced(&setup, &slot.capability) {
            let message = format!("`{key}` says nothing of the slot `{}`, which is for {}", slot.name, slot.capability);
            return Err(wrong(message).help("take it out, or say it of the slot that it is for"));
        }
        let of_server = |key: &&String| !SERVER.contains(&key.replace('-', "_").as_str());
        if let Some(unknown) = setup.server.keys().find(of_server) {
            return Err(
                wrong(format!("`{unknown}` is nothing that a server says of itself")).help(advice(unknown, &SERVER))
            );
        }
        // What a plugin can do without is there where the case says something of it.
        let bound = setup.bound.unwrap_or(!slot.optional || said.is_some());
        if !bound {
            continue;
        }
        let accesses = match &setup.access {
            None => slot.accesses.clone(),
            Some(accesses) => {
                let words = access_words(&slot.capability).unwrap_or_default();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if let Some(unknown) = accesses.iter().find(|access| !words.contains(&access.as_str())) {
                    let message = format!("`{unknown}` is no access of {}", slot.capability);
                    return Err(wrong(message).help(advice(unknown, &words)));
                }
                accesses.clone()
            }
        };
        let binding = binding(slot, &setup).map_err(wrong)?;
        let binding_name = setup.binding.clone().unwrap_or_else(|| slot.name.clone());
        grants.push(Grant { slot: slot.name.clone(), binding_name, binding, accesses });
    }
    Ok(grants)
}

/// What `sql.server` answers.
const SERVER: [&str; 6] = ["version", "version_num", "in_recovery", "system_identifier", "database", "role"];

/// The first key that is for slots of another capability: a prefix that is protected nowhere would be one that is not.
fn misplaced(setup: &SlotSetup, capability: &str) -> Option<&'static str> {
    let all: [(&str, bool, &[&str]); 10] = [
        ("alter_system", !setup.alter_system.is_empty(), &["sql"]),
        ("server", !setup.server.is_empty(), &["sql"]),
        ("objects", setup.objects.is_some(), &["storage", "kubernetes"]),
        ("keys", setup.keys.is_some(), &["cache"]),
        ("protected", !setup.protected.is_empty(), &["cache"]),
        ("maximum_keys", setup.maximum_keys.is_some(), &["cache"]),
        ("namespace", setup.namespace.is_some(), &["kubernetes"]),
        ("version", setup.version.is_some(), &["kubernetes", "tool"]),
        ("program", setup.program.is_some(), &["tool"]),
        ("program_arguments", !setup.program_arguments.is_empty(), &["tool"]),
    ];
    all.into_iter().find(|(_, given, of)| *given && !of.contains(&capability)).map(|(key, _, _)| key)
}

fn binding(slot: &Slot, setup: &SlotSetup) -> Result<Binding, String> {
    let of = |text: &str| Binding::parse_ad_hoc(text).map_err(|error| error.to_string());
    Ok(match slot.capability.as_str() {
        "sql" => match of("postgres://rota@case.invalid/shop")? {
            Binding::Sql(mut sql) => {
                sql.alter_system.clone_from(&setup.alter_system);
                Binding::Sql(sql)
            }
            other => other,
        },
        "storage" => of("file:///nonexistent/rota-case")?,
        "cache" => match of("redis://case.invalid")? {
            Binding::Cache(mut cache) => {
                if !setup.protected.is_empty() {
                    cache.protected = Some(setup.protected.clone());
                }
                if let Some(most) = setup.maximum_keys {
                    cache.maximum_keys = most;
                }
                Binding::Cache(cache)
            }
            other => other,
        },
        "kubernetes" => match of("kubernetes:///nonexistent/rota-case")? {
            Binding::Kubernetes(mut cluster) => {
                cluster.namespace = Some(setup.namespace.clone().unwrap_or_else(|| "default".to_owned()));
                cluster.namespaces = vec!["*".to_owned()];
                cluster.cluster_scoped = true;
                Binding::Kubernetes(cluster)
            }
            other => other,
        },
        "jetstream" => of("nats://case.invalid")?,
        "key" => {
            let identity = SecretRef::File("/nonexistent/rota-case".into());
            Binding::Key(KeyBinding { identity, concurrency: None })
        }
        "tool" => tool(slot, setup)?,
        other => return Err(format!("cases have nothing for the capability {other}")),
    })
}

/// A program, by whose rules arguments are checked: that of the slot's name, where it has rules of its own.
fn tool(slot: &Slot, setup: &SlotSetup) -> Result<Binding, String> {
    let program = setup.program.clone().unwrap_or_else(|| slot.name.replace('-', "_"));
    let known = Binding::parse_ad_hoc(&format!("/usr/bin/{program}"));
    if let (Ok(binding), true) = (known, setup.program_arguments.is_empty()) {
        return Ok(binding);
    }
    if setup.program_arguments.is_empty() {
        return Err(format!(
            "no rules are known for the arguments of `{program}`: say which program it is (program = \"pg_dump\"), or which arguments its binding allows (program_arguments = [\"--verbose\", \"--jobs=*\"])"
        ));
    }
    // Every field of one that is known, and then its own rules.
    match Binding::parse_ad_hoc("/usr/bin/pg_dump").map_err(|error| error.to_string())? {
        Binding::Tool(mut tool) => {
            tool.path = rota_config::Program::new(format!("/usr/bin/{program}"))
                .ok_or_else(|| format!("`{program}` is no program's name"))?;
            tool.profile = Some(ToolProfile::Custom);
            let rules: Result<Vec<_>, _> = setup.program_arguments.iter().map(|rule| rule.parse()).collect();
            tool.arguments = rules.map_err(|error: rota_config::ArgumentRuleError| error.to_string())?;
            Ok(Binding::Tool(tool))
        }
        other => Ok(other),
    }
}
