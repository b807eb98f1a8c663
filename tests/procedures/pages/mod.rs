//! Every page of docs/procedures: there is one for each procedure, what it says of parameters and accesses is what the plugin says, and its
//! example runs as it stands.
//!
//! With `ROTA_BLESS=1` in the environment, the parts that come from the plugins are written instead of compared.

mod examples;

use crate::rota;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

const BEGIN: &str = "<!-- from the plugin -->\n";
const END: &str = "<!-- end -->";

/// What a page must have, in this order.
const PARTS: [&str; 6] = ["## Example", "## Parameters", "## Access", "## Plan", "## Report", "## Failure modes"];

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/procedures").join(format!("{name}.md"))
}

/// The first-party procedures, by what the binary says.
async fn plugins() -> Vec<Value> {
    let rota = rota();
    let listed = rota.json(&["plugins", "list"]).await.unwrap();
    let mut plugins = Vec::new();
    for plugin in listed.as_array().unwrap() {
        plugins.push(rota.json(&["plugins", "show", plugin["name"].as_str().unwrap()]).await.unwrap());
    }
    plugins
}

#[tokio::test]
async fn every_procedure_has_a_page_that_says_what_the_plugin_says() {
    let bless = std::env::var_os("ROTA_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut names = Vec::new();
    for plugin in plugins().await {
        let name = plugin["name"].as_str().unwrap().to_owned();
        names.push(format!("{name}.md"));
        let Ok(text) = std::fs::read_to_string(page(&name)) else {
            wrong.push(format!("{name}: no page docs/procedures/{name}.md"));
            continue;
        };
        let mut rest = text.as_str();
        for part in PARTS {
            match rest.find(&format!("\n{part}\n")) {
                Some(at) => rest = &rest[at..],
                None => wrong.push(format!("{name}: no part `{part}`, or not in its place")),
            }
        }
        if text.matches("```sh\n").count() != 1 {
            wrong.push(format!("{name}: exactly one block of ```sh, the example"));
        }
        let Some((before, (_, after))) =
            text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)))
        else {
            wrong.push(format!("{name}: no lines `{}` and `{END}`", BEGIN.trim()));
            continue;
        };
        let now = format!("{before}{BEGIN}{}{END}{after}", from_the_plugin(&plugin));
        if now != text && bless {
            std::fs::write(page(&name), now).unwrap();
        } else if now != text {
            wrong.push(format!("{name}: the plugin says something else by now; ROTA_BLESS=1 writes it"));
        }
    }
    for entry in std::fs::read_dir(page("x").parent().unwrap()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if !names.contains(&file) && file != "README.md" {
            wrong.push(format!("docs/procedures/{file} is the page of no procedure"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The part of a page that is the descriptor's.
fn from_the_plugin(plugin: &Value) -> String {
    let mut text = String::from("\n| parameter | | default | |\n| --- | --- | --- | --- |\n");
    let schema = &plugin["parameters"];
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        let default = match &property["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => "-".to_owned(),
            Value::Array(items) if items.is_empty() => "-".to_owned(),
            Value::String(text) if text.is_empty() => "-".to_owned(),
            default => format!("`{default}`"),
        };
        let says = cell(property["description"].as_str().unwrap_or_default());
        writeln!(text, "| `{name}` | {} | {default} | {says} |", kind(property, schema)).unwrap();
    }
    if properties.is_none_or(serde_json::Map::is_empty) {
        text.push_str("| none | | | |\n");
    }
    text.push_str("\n| slot | capability | accesses | |\n| --- | --- | --- | --- |\n");
    for slot in plugin["slots"].as_array().unwrap() {
        let optional = if slot["optional"] == true { " (optional)" } else { "" };
        let accesses: Vec<&str> = slot["accesses"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let purpose = cell(slot["purpose"].as_str().unwrap());
        let (name, capability) = (slot["name"].as_str().unwrap(), slot["capability"].as_str().unwrap());
        writeln!(text, "| `{name}`{optional} | {capability} | {} | {purpose} |", accesses.join(", ")).unwrap();
    }
    let risk = plugin["risk"].as_str().unwrap();
    let confirmation = plugin["confirmation"]
        .as_str()
        .map(|word| format!(" (executes only with `--confirm {word}`)"))
        .unwrap_or_default();
    let again = if plugin["idempotent"] == true {
        "a run that vanished is tried again"
    } else {
        "a run that vanished is not tried again by itself"
    };
    writeln!(text, "\nRisk: {risk}{confirmation}; {again}.").unwrap();
    text
}

/// Text within a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// What a parameter can be, in few words.
fn kind(property: &Value, schema: &Value) -> String {
    if let Some(name) = property["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return kind(&schema["$defs"][name], schema);
    }
    if let Some(choices) = property["enum"].as_array() {
        let words: Vec<String> = choices.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if let Some(choices) = property["oneOf"].as_array().or(property["anyOf"].as_array()) {
        let words: Vec<String> = choices
            .iter()
            .filter(|choice| choice["type"] != "null")
            .map(|choice| choice["const"].as_str().map_or_else(|| kind(choice, schema), |word| format!("`{word}`")))
            .collect();
        return words.join(", ");
    }
    let word = match &property["type"] {
        Value::String(word) => word.as_str(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).find(|word| *word != "null").unwrap_or("any"),
        _ => "any",
    };
    let bound = |key: &str| {
        property[key]
            .as_f64()
            .map(|bound| property[key].as_i64().map_or_else(|| bound.to_string(), |whole| whole.to_string()))
    };
    let word = match (word, property["format"].as_str()) {
        ("integer", _) => "whole number",
        ("array", _) => return format!("list of {}", plural(&kind(&property["items"], schema))),
        ("string", Some("date-time")) => "instant",
        ("string", _) => "text",
        (other, _) => other,
    };
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{word}, {low} to {high}"),
        (Some(low), None) if low != "0" => format!("{word}, at least {low}"),
        (None, Some(high)) => format!("{word}, at most {high}"),
        _ => word.to_owned(),
    }
}

fn plural(word: &str) -> String {
    match word {
        "text" | "whole number" | "number" | "object" | "instant" | "boolean" => format!("{word}s"),
        other => other.to_owned(),
    }
}
