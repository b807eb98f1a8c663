//! From an incident to a procedure: a plugin's folder of what worked.

use super::command::usage;
use super::history::kept;
use super::session::{Fault, Session, Worked};
use super::split::Piece;
use super::tokens::{Kind, redeclarable, tokens};
use crate::commands::plugin;
use crate::output::bold;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What was made.
pub(super) struct Saved {
    pub(super) human: String,
    pub(super) object: Value,
}

/// Make the folder.
///
/// # Errors
/// When there is nothing to save, or the name or the folder cannot be used.
pub(super) fn save(session: &Session, text: &str) -> Result<Saved, Fault> {
    let mut words = text.split_whitespace();
    let Some(name) = words.next() else { return Err(usage("write \\save NAME, or \\save NAME FOLDER".into())) };
    let folder = words.next().map_or_else(|| PathBuf::from(name), PathBuf::from);
    if session.worked.is_empty() {
        return Err(usage("nothing has worked yet that could be saved".into()));
    }
    let slots = slots(session);
    let arguments = session.arguments();
    let source = |template: &str| procedure(template, &session.worked, &slots, &arguments);
    let given: Vec<String> =
        slots.iter().map(|slot| format!("{}:{}:{}", slot.name, slot.capability, slot.accesses.join(","))).collect();
    let files = plugin::make_javascript(session.host.plugins(), name, &given, &folder, &source)?;
    // An address that was given by hand is not told again: it may hold a password.
    let binds: Vec<String> = slots
        .iter()
        .map(|slot| {
            let configured = format!("{}={}", slot.name, slot.binding);
            if session.request.bind.contains(&configured) {
                format!("--bind {configured}")
            } else {
                format!("--bind {}=ADDRESS", slot.name)
            }
        })
        .collect();
    let next = format!(
        "rota plugin build {0} && rota run {1} {2}--grant declared --plan",
        folder.display(),
        folder.join(format!("{}.wasm", stem(&folder))).display(),
        binds.iter().map(|bind| format!("{bind} ")).collect::<String>(),
    );
    let left_out = session.worked.iter().filter(|worked| holds_secret(worked)).count();
    let count = session.worked.len() - left_out;
    let statements = if count == 1 { "1 statement".to_owned() } else { format!("{count} statements") };
    let without = match left_out {
        0 => String::new(),
        1 => ", and 1 is left out that looks as if it held a secret".to_owned(),
        _ => format!(", and {left_out} are left out that look as if they held secrets"),
    };
    Ok(Saved {
        human: format!("{} in {}: {statements}{without}\n  {next}", bold(name), folder.display()),
        object: json!({
            "plugin": name,
            "folder": folder,
            "files": files,
            "statements": count,
            "left_out": left_out,
            "next": next,
        }),
    })
}

fn stem(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "plugin".into(), |name| name.to_string_lossy().into_owned())
}

/// What stands behind the text of a purpose: the template's own are one line without a quote in them.
fn rest_of(purpose: &str) -> &str {
    purpose.rsplit_once('"').map_or("", |(_, rest)| rest)
}

/// Whether a statement looks as if it held a secret, as it would not be kept in the history either.
fn holds_secret(worked: &Worked) -> bool {
    match &worked.piece {
        Piece::Js(text) | Piece::Sql(text) | Piece::Command(text) => kept(text).is_none(),
    }
}

/// A slot of the plugin.
struct Used {
    name: String,
    capability: String,
    binding: String,
    accesses: Vec<String>,
}

/// The slots that were used, with the accesses that were needed: reading, and what effects said.
fn slots(session: &Session) -> Vec<Used> {
    let mut used = Vec::new();
    for grant in &session.grants {
        let handle = match (grant.slot.as_str(), grant.capability.as_str()) {
            ("database", "sql") => "db",
            (slot, _) => slot,
        };
        let is_used = session.worked.iter().any(|worked| match &worked.piece {
            Piece::Sql(_) => worked.slot == grant.slot,
            Piece::Js(text) => {
                let names = |token: &super::tokens::Token| {
                    token.kind == Kind::Word
                        && matches!(&text[token.at.clone()], word if word == handle || word == "slots")
                };
                tokens(text).all.iter().any(names) || text.contains(&format!("{handle}."))
            }
            Piece::Command(_) => false,
        });
        if !is_used {
            continue;
        }
        let of_this = |target: &str| target == grant.binding || target.starts_with(&format!("{}: ", grant.binding));
        let effects = session.worked.iter().flat_map(|worked| &worked.accesses);
        let needed: BTreeSet<&str> = effects
            .filter(|(target, _)| of_this(target))
            .flat_map(|(_, access)| access.split(" + "))
            .filter(|access| !access.is_empty())
            .collect();
        let is_needed = |access: &&String| {
            needed.contains(access.as_str()) || rota_catalog::changes_nothing(&grant.capability, access)
        };
        used.push(Used {
            name: grant.slot.clone(),
            capability: grant.capability.clone(),
            binding: grant.binding.clone(),
            accesses: grant.accesses.iter().filter(is_needed).cloned().collect(),
        });
    }
    used
}

/// The source, in the template's form.
fn procedure(template: &str, worked: &[Worked], slots: &[Used], arguments: &Map<String, Value>) -> String {
    let mut body = String::new();
    let mut at = 0;
    while let Some(statement) = worked.get(at) {
        let kept = transaction(&worked[at..]);
        match kept {
            Some((length, Some(inner))) => {
                let _ = writeln!(body, "await {}.transaction(async (tx) => {{", handle(&statement.slot));
                for each in inner {
                    body.push_str(&indented(&line(each, true), 2));
                }
                body.push_str("});\n");
                at += length;
            }
            // What was rolled back, or is still open, is not kept.
            Some((length, None)) => at += length,
            None => {
                body.push_str(&line(statement, false));
                at += 1;
            }
        }
    }
    let observe =
        slots.iter().all(|slot| slot.accesses.iter().all(|it| rota_catalog::changes_nothing(&slot.capability, it)));
    let mut properties = Map::new();
    let mut defaults = Map::new();
    for (name, value) in arguments {
        let kind = match value {
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Null => continue,
        };
        // As an assignment would be judged.
        if kept(&format!("{name} = '{value}'")).is_none() {
            let description = "As it was when this was saved, which looks like a secret: not kept.";
            properties.insert(name.clone(), json!({ "type": kind, "description": description }));
            continue;
        }
        let description = format!("As it was when this was saved: {value}.");
        properties.insert(name.clone(), json!({ "type": kind, "default": value, "description": description }));
        defaults.insert(name.clone(), value.clone());
    }
    let parameters = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let defaults = Value::Object(defaults);
    let slots_text: String = template
        .lines()
        .skip_while(|line| line.trim() != "slots: {")
        .skip(1)
        .take_while(|line| line.trim() != "},")
        .map(|line| match line.find("purpose: \"") {
            Some(at) => {
                format!("{}purpose: \"What was done by hand, in a shell.\"{}\n", &line[..at], rest_of(&line[at..]))
            }
            None => format!("{line}\n"),
        })
        .collect();
    let name = template.lines().find(|line| line.trim().starts_with("name:")).unwrap_or_default().trim();
    let source = format!(
        "// @ts-check\n/// <reference path=\"./rota.d.ts\" />\n\n/** @type {{Procedure}} */\nexport default {{\n  {name}\n  version: \"0.1.0\",\n  \
         summary: \"Does what was done by hand, in a shell.\",\n  \
         // What `rota plugins show` prints: say what it is for, what it refuses, and what becomes of a run that is cut off.\n  \
         description: `The statements of a session of rota shell that worked, in their order.`,\n  \
         // observe: reads only; change: routine; destroy: can lose data.\n  risk: \"{}\",\n  \
         // Whether a second run after one that vanished half-way is harmless.\n  idempotent: {observe},\n  slots: {{\n{slots_text}  }},\n  \
         parameters: {},\n  examples: [{{ title: \"As it was done\", parameters: {{}} }}],\n\n  \
         async run(given) {{\n    const args = {{ ...{defaults}, ...given }};\n{}    report.summary(\"done\");\n  }},\n}};\n",
        if observe { "observe" } else { "change" },
        parameters,
        indented(&body, 4)
    );
    // Arguments hold what somebody gave: a plugin is handed to others.
    rota_telemetry::mask(&source).into_owned()
}

/// The statements from BEGIN to the end of its transaction: how many there are, and what is in it where it was committed.
fn transaction(worked: &[Worked]) -> Option<(usize, Option<&[Worked]>)> {
    let word = |worked: &Worked| match &worked.piece {
        Piece::Sql(text) => {
            text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase()
        }
        _ => String::new(),
    };
    let first = worked.first()?;
    match word(first).as_str() {
        "begin" | "start" => {}
        // One whose beginning is not there.
        "commit" | "end" | "rollback" | "abort" => return Some((1, None)),
        _ => return None,
    }
    let end = worked
        .iter()
        .position(|it| it.slot == first.slot && matches!(word(it).as_str(), "commit" | "end" | "rollback" | "abort"));
    Some(match end {
        Some(end) if matches!(word(&worked[end]).as_str(), "commit" | "end") => (end + 1, Some(&worked[1..end])),
        Some(end) => (end + 1, None),
        None => (worked.len(), None),
    })
}

fn handle(slot: &str) -> String {
    format!("slots[{slot:?}]")
}

/// A statement as a line of the procedure, secrets masked: a plugin is handed to others.
fn line(worked: &Worked, in_transaction: bool) -> String {
    if holds_secret(worked) {
        return "// A statement is left out here: it looks as if it held a secret, which is better a parameter.\n"
            .to_owned();
    }
    let made = match &worked.piece {
        Piece::Sql(text) => {
            let on = if in_transaction { "tx".to_owned() } else { handle(&worked.slot) };
            let text = text.replace('\\', "\\\\").replace('`', "\\`").replace("${", "\\${");
            match worked.read {
                true => format!("table(await {on}.query(`{text}`));\n"),
                false => format!("await {on}.execute(`{text}`);\n"),
            }
        }
        Piece::Js(text) => {
            // Declared anew, a name is the same variable, as it was in the session.
            let text = redeclarable(text);
            let ends = text.trim_end().ends_with([';', '}']);
            format!("{}{}\n", text.trim_end(), if ends { "" } else { ";" })
        }
        Piece::Command(_) => String::new(),
    };
    rota_telemetry::mask(&made).into_owned()
}

/// Indented, but for lines within a template, which are a text's own.
fn indented(text: &str, by: usize) -> String {
    let starts: BTreeSet<usize> = {
        let literals: Vec<_> = tokens(text).all.into_iter().filter(|token| token.kind == Kind::Literal).collect();
        let mut starts = vec![0];
        starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        starts
            .into_iter()
            .filter(|start| !literals.iter().any(|it| it.at.start < *start && *start < it.at.end))
            .collect()
    };
    let mut made = String::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if starts.contains(&at) && !line.trim().is_empty() {
            made.push_str(&" ".repeat(by));
        }
        made.push_str(line);
        at += line.len();
    }
    made
}

#[cfg(test)]
mod tests {
    use super::{Used, indented, procedure};
    use crate::commands::shell::session::Worked;
    use crate::commands::shell::split::Piece;
    use serde_json::Map;

    fn sql(text: &str, read: bool) -> Worked {
        Worked { piece: Piece::Sql(text.into()), slot: "database".into(), read, accesses: Vec::new() }
    }

    fn js(text: &str) -> Worked {
        Worked { piece: Piece::Js(text.into()), slot: "database".into(), read: false, accesses: Vec::new() }
    }

    #[test]
    fn what_worked_is_a_procedure() {
        let slots = [Used {
            name: "database".into(),
            capability: "sql".into(),
            binding: "shop".into(),
            accesses: vec!["read".into(), "write".into()],
        }];
        let template =
            "export default {\n  name: \"mend\",\n  slots: {\n    \"database\": { x },\n  },\n  parameters: {\n";
        let worked = [
            sql("select '`${x}\\'", true),
            js("const a = 1"),
            js("const a = 2"),
            sql("begin", true),
            sql("update orders set total = 0", false),
            sql("commit", true),
            sql("begin", true),
            sql("delete from orders", false),
            sql("rollback", true),
            sql("analyze orders", false),
            js("print(`a\n  b`)"),
        ];
        let mut arguments = Map::new();
        arguments.insert("id".into(), 5.into());
        let source = procedure(template, &worked, &slots, &arguments);
        for part in [
            "  name: \"mend\",\n",
            "  slots: {\n    \"database\": { x },\n  },\n",
            "risk: \"change\"",
            "    table(await slots[\"database\"].query(`select '\\`\\${x}\\\\'`));\n",
            "    var   a = 1;\n    var   a = 2;\n",
            "    await slots[\"database\"].transaction(async (tx) => {\n      await tx.execute(`update orders set total = 0`);\n    });\n",
            "    await slots[\"database\"].execute(`analyze orders`);\n",
            "    print(`a\n  b`);\n",
            "const args = { ...{\"id\":5}, ...given };",
        ] {
            assert!(source.contains(part), "{part}\n{source}");
        }
        assert!(!source.contains("delete from"), "{source}");
    }

    #[test]
    fn what_looks_like_a_secret_is_handed_to_nobody() {
        let worked = [
            js("const key = await db.query(\"select set_config('app.token', 'hunter2', false)\")"),
            sql("begin", true),
            sql("insert into logins (password) values ('hunter2')", false),
            sql("commit", true),
            js("print('kept')"),
        ];
        let mut arguments = Map::new();
        arguments.insert("password".into(), "hunter2".into());
        arguments.insert("at".into(), "postgres://me:hunter2@db/shop".into());
        arguments.insert("many".into(), serde_json::json!({ "api_key": "hunter2" }));
        arguments.insert("below".into(), 5.into());
        let source = procedure("  name: \"x\",\n", &worked, &[], &arguments);
        assert!(!source.contains("hunter2"), "{source}");
        assert_eq!(source.matches("// A statement is left out here").count(), 2, "{source}");
        for part in ["print('kept');", "\"password\":", "const args = { ...{\"below\":5}, ...given };"] {
            assert!(source.contains(part), "{part}\n{source}");
        }
    }

    #[test]
    fn a_text_of_several_lines_stays_as_it_is() {
        assert_eq!(indented("a\nb(`x\ny`)\n\nc\n", 2), "  a\n  b(`x\ny`)\n\n  c\n");
    }
}
