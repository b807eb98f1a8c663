//! `rota plugins`: what can be run.

use super::{Printing, packages, print, print_json};
use crate::cli::PluginsCommand;
use crate::output::{bold, coloured, dim, format, safe, table};
use crate::settings::UsageError;
use rota_catalog::{Catalog, Loaded};
use rota_config::Config;
use rota_contract::Descriptor;
use rota_packages::trust::Verdict;
use serde_json::{Value, json};

pub(crate) async fn plugins(
    catalog: &Catalog,
    config: &Config,
    command: PluginsCommand,
    printing: Printing,
) -> anyhow::Result<u8> {
    match command {
        PluginsCommand::List => list(catalog, printing).await,
        PluginsCommand::Show { plugin } => show(&catalog.look(&plugin).await?, printing),
        PluginsCommand::Verify { plugin: None, digest: Some(_) } => {
            Err(UsageError::new("--digest is of one plugin: name it").into())
        }
        PluginsCommand::Verify { plugin: None, digest: None } => packages::verify_all(catalog, printing).await,
        PluginsCommand::Verify { plugin: Some(plugin), digest } => {
            // What people call a locked plugin by is not always what loads it.
            let plugin = packages::reference_of(catalog, &plugin).unwrap_or(plugin);
            let loaded = catalog.look(&plugin).await?;
            verify(&loaded, catalog.verdict(&plugin).await?.as_ref(), digest.as_deref(), printing)
        }
        PluginsCommand::Pull { reference } => packages::pull(catalog, &reference, printing).await,
        PluginsCommand::Push(args) => packages::push(catalog, &args, printing).await,
        PluginsCommand::Update(args) => packages::update(catalog, &args, printing).await,
        PluginsCommand::Outdated => packages::outdated(catalog, printing).await,
        PluginsCommand::Remove { name } => packages::remove(catalog, config, &name, printing),
        PluginsCommand::Pin(args) => packages::pin(catalog, config, &args, printing).await,
        PluginsCommand::Rollback { name } => packages::rollback(catalog, config, &name, printing).await,
        PluginsCommand::Sign(args) => super::sign::sign(catalog, &args, printing).await,
        PluginsCommand::Keygen(args) => super::sign::keygen(&args, printing),
    }
}

async fn list(catalog: &Catalog, printing: Printing) -> anyhow::Result<u8> {
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    let mut status = 0;
    let (begun, mut told) = (std::time::Instant::now(), !printing.human());
    for entry in catalog.list().into_iter().chain(catalog.packages_locked()) {
        if !told && begun.elapsed() > std::time::Duration::from_secs(1) {
            told = true;
            eprintln!("compiling what is new here: some seconds, once");
        }
        match catalog.look(&entry.name).await {
            Ok(loaded) => {
                let d = &loaded.descriptor;
                rows.push(vec![
                    d.name.clone(),
                    d.version.clone(),
                    coloured_risk(d),
                    safe(&d.summary),
                    safe(&loaded.origin.to_string()),
                ]);
                objects.push(json!({ "name": d.name, "version": d.version, "digest": loaded.plugin.digest(), "risk": d.risk.as_str(), "summary": d.summary, "origin": loaded.origin.to_string(), "size": loaded.size, "error": null }));
            }
            // One that cannot be loaded is shown as such and hides none of the others.
            Err(error) => {
                status = 1;
                rows.push(vec![
                    // The name of a file, which may have any characters.
                    safe(&entry.name),
                    "-".into(),
                    coloured("failed"),
                    safe(&error.to_string()),
                    safe(&entry.origin.to_string()),
                ]);
                objects.push(json!({ "name": entry.name, "version": null, "digest": null, "risk": null, "summary": null, "origin": entry.origin.to_string(), "size": null, "error": error.to_string() }));
            }
        }
    }
    if printing.human() {
        print(&table::plain(&["plugin", "version", "risk", "what it does", "from"], &rows))?;
    } else {
        print_json(&Value::Array(objects))?;
    }
    Ok(status)
}

fn coloured_risk(descriptor: &Descriptor) -> String {
    use owo_colors::{OwoColorize as _, Stream};
    let word = descriptor.risk.as_str();
    match word {
        "observe" => word.if_supports_color(Stream::Stdout, |t| t.green()).to_string(),
        "change" => word.if_supports_color(Stream::Stdout, |t| t.yellow()).to_string(),
        _ => word.if_supports_color(Stream::Stdout, |t| t.red()).to_string(),
    }
}

fn object(loaded: &Loaded) -> Value {
    let mut object = loaded.descriptor.to_json();
    object["digest"] = json!(loaded.plugin.digest());
    object["size"] = json!(loaded.size);
    object["origin"] = json!(loaded.origin.to_string());
    object["imports"] = json!(loaded.plugin.interfaces());
    object
}

fn show(loaded: &Loaded, printing: Printing) -> anyhow::Result<u8> {
    if !printing.human() {
        print_json(&object(loaded))?;
        return Ok(0);
    }
    let d = &loaded.descriptor;
    let mut blocks = vec![format!("{} {}  {}\n{}", bold(&d.name), d.version, coloured_risk(d), safe(&d.summary))];
    blocks.push(d.description.lines().map(safe).collect::<Vec<_>>().join("\n").trim().to_owned());
    if !d.slots.is_empty() {
        let rows: Vec<Vec<String>> = d
            .slots
            .iter()
            .map(|s| {
                vec![
                    s.name.clone(),
                    s.capability.clone(),
                    s.accesses.join(", "),
                    if s.optional { "optional" } else { "needed" }.into(),
                    safe(&s.purpose),
                ]
            })
            .collect();
        blocks.push(format!(
            "{}\n{}",
            bold("Slots"),
            table::plain(&["slot", "capability", "accesses", "", "why"], &rows)
        ));
    }
    let parameters = parameter_rows(&d.parameters);
    if !parameters.is_empty() {
        blocks.push(format!(
            "{}\n{}",
            bold("Parameters"),
            table::plain(&["parameter", "type", "default", "what it is"], &parameters)
        ));
    }
    if let Some(word) = &d.confirmation {
        blocks.push(format!("Executes only with --confirm {}", safe(word)));
    }
    if !d.examples.is_empty() {
        let lines: Vec<String> = d
            .examples
            .iter()
            .map(|e| format!("  {}\n    {}", safe(&e.title), crate::output::report::command(&d.name, &e.parameters)))
            .collect();
        blocks.push(format!("{}\n{}", bold("Examples"), lines.join("\n")));
    }
    blocks.push(dim(&format!(
        "{}, {}, sha-256 {}",
        safe(&loaded.origin.to_string()),
        format::bytes(loaded.size),
        loaded.plugin.digest()
    )));
    print(&blocks.join("\n\n"))?;
    Ok(0)
}

fn parameter_rows(schema: &str) -> Vec<Vec<String>> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(name, property): (&String, &Value)| {
        let default = match property.get("default") {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None if required.contains(&name.as_str()) => "(needed)".into(),
            None => "-".into(),
        };
        vec![
            safe(name),
            safe(&type_of(property, &schema, &mut STEPS.clone())),
            safe(&default),
            safe(&property["description"].as_str().unwrap_or_default().replace('\n', " ")),
        ]
    };
    schema["properties"].as_object().into_iter().flatten().map(row).collect()
}

/// How many parts of a schema are looked at: it is a plugin's, and its references may run in circles.
const STEPS: u16 = 200;

fn type_of(property: &Value, root: &Value, steps: &mut u16) -> String {
    *steps = steps.saturating_sub(1);
    if *steps == 0 {
        return "...".into();
    }
    if let Some(words) = property.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .map(|w| w.as_str().map_or_else(|| w.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" | ");
    }
    if let Some(target) =
        property.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')).and_then(|p| root.pointer(p))
    {
        return type_of(target, root, steps);
    }
    let alternatives = ["oneOf", "anyOf"].iter().find_map(|k| property.get(k)).and_then(Value::as_array);
    if let Some(alternatives) = alternatives {
        let mut words = Vec::new();
        for alternative in alternatives.iter().take(usize::from(STEPS)) {
            let word = alternative.get("const").and_then(Value::as_str).map(str::to_owned);
            words.push(word.unwrap_or_else(|| type_of(alternative, root, steps)));
        }
        words.retain(|word| word != "null");
        return words.join(" | ");
    }
    match &property["type"] {
        Value::String(one) if one == "array" => format!("list of {}", type_of(&property["items"], root, steps)),
        Value::String(one) => one.clone(),
        Value::Array(many) => {
            many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect::<Vec<_>>().join(" | ")
        }
        _ => "any".into(),
    }
}

fn verify(loaded: &Loaded, verdict: Option<&Verdict>, wanted: Option<&str>, printing: Printing) -> anyhow::Result<u8> {
    let digest = loaded.plugin.digest();
    let matches = wanted.map(|wanted| wanted.trim_start_matches("sha256:").eq_ignore_ascii_case(digest));
    if printing.human() {
        let imports = loaded.plugin.interfaces().join(", ");
        print(&format!(
            "{} {}: {}\n  sha-256 {digest}\n  imports rota:runbook {{ {imports} }}",
            bold(&loaded.descriptor.name),
            loaded.descriptor.version,
            coloured(if matches == Some(false) { "failed" } else { "ok" })
        ))?;
        if let Some(verdict) = verdict {
            print(&format!("  signature: {}", safe(&verdict.to_line())))?;
        }
        if matches == Some(false) {
            print(&format!("  it should have the digest {}", wanted.map(safe).unwrap_or_default()))?;
        }
    } else {
        let mut object = object(loaded);
        object["digest_matches"] = json!(matches);
        object["signature"] = json!(verdict.map(Verdict::to_json));
        print_json(&object)?;
    }
    Ok(u8::from(matches == Some(false)))
}
