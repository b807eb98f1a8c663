//! A case of a recorded run: what its calls were answered, and what came out, as a file that an author can read and keep.

use crate::came::Came;
use crate::world::{payload, plainly};
use crate::written::{inline, key, text};
use rota_contract::Descriptor;
use rota_recording::{Call, Whole};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The most rows or items that are written of one answer.
const MOST: usize = 1_000;

/// Write a case of a recording. What came out is from the run's own record.
pub fn of_recording(whole: &Whole, descriptor: &Descriptor, came: &Came, name: &str) -> String {
    let mut case = Writer { whole, descriptor, opened: BTreeMap::new(), slots: BTreeMap::new(), answers: Vec::new() };
    for call in &whole.calls {
        case.call(call);
    }
    case.file(came, name)
}

struct Writer<'w> {
    whole: &'w Whole,
    descriptor: &'w Descriptor,
    /// The slot of what each call gave.
    opened: BTreeMap<u64, String>,
    /// What is said of slots.
    slots: BTreeMap<String, Map<String, Value>>,
    /// Each with what it is for, by which the same question is known again.
    answers: Vec<(String, String)>,
}

impl Writer<'_> {
    fn file(mut self, came: &Came, name: &str) -> String {
        let header = &self.whole.header;
        let mut file = format!(
            "# Of the run {} of {} {}, recorded by rota {}.\n# It holds rows and objects of that run: read it before you commit it.\n",
            header.run, header.plugin, header.version, header.host
        );
        if self.whole.cut {
            file.push_str("# The recording has more calls than are written here.\n");
        }
        let _ = write!(file, "\n[[case]]\nname = {}\n", text(name));
        if header.mode == "plan" {
            file.push_str("mode = \"plan\"\n");
        }
        let parameters = crate::world::unfloated(&header.parameters);
        if parameters.as_object().is_some_and(|map| !map.is_empty()) {
            let _ = writeln!(file, "parameters = {}", inline(&parameters));
        }
        if came.ended == "cancelled" {
            // Where it was cancelled is not on record; before the call that was not answered any more is the nearest.
            let answered = |call: &&Call| call.operation.split('.').next() != Some("run") && call.answer.is_some();
            let calls = self.whole.calls.iter().filter(answered).count();
            let _ = writeln!(file, "cancel_at = \"call {}\"", calls + 1);
        }
        self.bound();
        for (slot, said) in &self.slots {
            let _ = write!(file, "\n[case.slots.{}]\n", key(slot));
            for (what, value) in said {
                let _ = writeln!(file, "{} = {}", key(what), inline(value));
            }
        }
        file.push_str(&self.answered());
        file.push_str(&expected(came));
        file
    }

    /// What was bound and granted, where it is not what is declared.
    fn bound(&mut self) {
        for slot in &self.whole.header.slots {
            let declared = self.descriptor.slots.iter().find(|declared| declared.name == slot.name);
            let Some(declared) = declared else { continue };
            let said = self.slots.entry(slot.name.clone()).or_default();
            match &slot.binding {
                None => {
                    said.insert("bound".into(), json!(false));
                }
                Some(binding) => {
                    if *binding != slot.name {
                        said.insert("binding".into(), json!(binding));
                    }
                    if slot.accesses != declared.accesses {
                        said.insert("access".into(), json!(slot.accesses));
                    }
                    if declared.optional && said.is_empty() {
                        said.insert("bound".into(), json!(true));
                    }
                }
            }
        }
        self.slots.retain(|_, said| !said.is_empty());
    }

    fn call(&mut self, call: &Call) {
        let parts: Vec<&str> = call.operation.split('.').collect();
        let (Some(interface), Some(verb)) = (parts.first().copied(), parts.last().copied()) else { return };
        let argument = |name: &str| call.arguments.get(name).and_then(Value::as_str).map(str::to_owned);
        let slot = argument("slot").or_else(|| call.on.and_then(|on| self.opened.get(&on).cloned()));
        let Some(slot) = slot else { return };
        self.opened.insert(call.call, slot.clone());
        let operation = format!("{interface}.{verb}");
        let denied = |answer: &Value| answer.get("denied").is_some();
        match &call.answer {
            // Denied by the gate, as it will be again.
            Some(Err(error)) if denied(error) => return,
            Some(Err(error)) => return self.fails(&slot, &operation, call, error),
            // Not answered any more: the run ended there.
            None => return,
            Some(Ok(_)) => {}
        }
        let answer = call.answer.as_ref().and_then(|answer| answer.as_ref().ok()).cloned().unwrap_or_default();
        match interface {
            "sql" => self.sql(&slot, verb, call, &answer),
            "storage" => self.storage(&slot, verb, call, &answer),
            "cache" => self.cache(&slot, verb, call, &answer),
            "kubernetes" => self.kubernetes(&slot, verb, call, &answer),
            "tools" if verb == "info" => self.value(&slot, &operation, None, &answer),
            "tools" => self.program(&slot, &operation, call),
            "jetstream" if matches!(verb, "streams" | "consumers") => {
                let arguments = self.named(call, &["stream"]);
                self.items(&slot, &operation, arguments, call, plainly);
            }
            "jetstream" if verb != "open" => {
                let arguments = self.named(call, &["stream", "sequence", "subject"]);
                self.value(&slot, &operation, arguments, &answer);
            }
            _ => {}
        }
    }

    /// The arguments of these names, for an answer to be told apart by.
    fn named(&self, call: &Call, names: &[&str]) -> Option<Value> {
        let of = |name: &&str| {
            let value = call.arguments.get(*name).filter(|value| !value.is_null())?;
            Some(((*name).to_owned(), plainly(value)))
        };
        let map: Map<String, Value> = names.iter().filter_map(of).collect();
        (!map.is_empty()).then_some(Value::Object(map))
    }

    fn answer(&mut self, slot: &str, lines: &[String]) {
        let asks = |line: &&String| {
            ["query", "execute", "copy", "call", "parameters", "arguments"].iter().any(|word| line.starts_with(word))
        };
        let asked = lines.iter().filter(asks).cloned().collect::<Vec<_>>().join("\n");
        let lines: String = lines.iter().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
        self.answers.push((format!("{slot}\n{asked}"), format!("\n[[case.answers]]\nslot = {}\n{lines}", text(slot))));
    }

    /// All answers. How often a procedure looks again while it waits is another number the next time.
    fn answered(&self) -> String {
        let again = |asked: &String| self.answers.iter().filter(|(other, _)| other == asked).count() > 1;
        self.answers
            .iter()
            .map(|(asked, answer)| if again(asked) { format!("{answer}optional = true\n") } else { answer.clone() })
            .collect()
    }

    /// To which call: a statement by its text, anything else by its operation.
    fn to(&self, operation: &str, call: &Call, arguments: Option<Value>) -> Vec<String> {
        let statement = call.arguments.get("statement").and_then(Value::as_str);
        let word = match operation {
            "sql.query" => Some("query"),
            "sql.execute" => Some("execute"),
            "sql.copy-out" | "sql.copy-in" => Some("copy"),
            _ => None,
        };
        let mut lines = Vec::new();
        if let (Some(word), Some(statement)) = (word, statement) {
            lines.push(format!("{word} = {}", text(&crate::compare::glob::plain(statement))));
            let parameters = call.arguments.get("parameters").and_then(Value::as_array);
            let parameters: Vec<Value> = parameters.into_iter().flatten().map(parameter).collect();
            if !parameters.is_empty() {
                lines.push(format!("parameters = {}", inline(&Value::Array(parameters))));
            }
        } else {
            lines.push(format!("call = {}", text(operation)));
            if let Some(arguments) = arguments {
                lines.push(format!("arguments = {}", inline(&arguments)));
            }
        }
        lines
    }

    fn fails(&mut self, slot: &str, operation: &str, call: &Call, error: &Value) {
        let arguments = self.named(call, &["name", "object", "prefix", "key"]);
        let mut lines = self.to(operation, call, arguments);
        lines.push(format!("error = {}", inline(&failure(error))));
        self.answer(slot, &lines);
    }

    fn value(&mut self, slot: &str, operation: &str, arguments: Option<Value>, answer: &Value) {
        let call = Call::default();
        let mut lines = self.to(operation, &call, arguments);
        if !answer.is_null() {
            lines.push(format!("value = {}", inline(&crate::world::unfloated(&plainly(answer)))));
        }
        self.answer(slot, &lines);
    }

    fn items(
        &mut self,
        slot: &str,
        operation: &str,
        arguments: Option<Value>,
        call: &Call,
        show: impl Fn(&Value) -> Value,
    ) {
        let items: Vec<Value> = call.items.iter().flatten().take(MOST).map(show).collect();
        let mut lines = self.to(operation, call, arguments);
        lines.push(format!(
            "items = [{}\n]",
            items.iter().map(|item| format!("\n  {},", inline(item))).collect::<String>()
        ));
        lines.push(ending(call));
        self.answer(slot, &lines);
    }

    fn sql(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
        let operation = format!("sql.{verb}");
        match verb {
            "query" => {
                let columns: Vec<Value> = answer
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|column| {
                        let word = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default();
                        json!(format!("{}:{}", word("name"), word("type-name")))
                    })
                    .collect();
                let rows = call.items.iter().flatten().take(MOST).map(|row| {
                    let cells: Vec<Value> = row.as_array().into_iter().flatten().map(cell).collect();
                    format!("\n  {},", inline(&Value::Array(cells)))
                });
                let rows: String = rows.collect();
                let mut lines = self.to(&operation, call, None);
                lines.push(format!("columns = {}", inline(&Value::Array(columns))));
                lines.push(if rows.is_empty() { "rows = []".to_owned() } else { format!("rows = [{rows}\n]") });
                lines.push(ending(call));
                self.answer(slot, &lines);
            }
            "execute" => {
                let mut lines = self.to(&operation, call, None);
                lines.push(format!("affected = {}", answer.as_u64().unwrap_or(0)));
                // A plan asks nobody.
                if self.whole.header.mode != "plan" {
                    self.answer(slot, &lines);
                }
            }
            "copy-out" => self.bytes(slot, &operation, None, call),
            "server" => {
                let said = self.slots.entry(slot.to_owned()).or_default();
                said.insert("server".into(), answer.clone());
            }
            "notices" if answer.as_array().is_some_and(|notices| !notices.is_empty()) => {
                self.value(slot, &operation, None, answer);
            }
            "cancel-backend" | "terminate-backend" | "reload-configuration" | "promote"
                if self.whole.header.mode != "plan" =>
            {
                self.value(slot, &operation, None, answer);
            }
            _ => {}
        }
    }

    fn bytes(&mut self, slot: &str, operation: &str, arguments: Option<Value>, call: &Call) {
        let mut lines = self.to(operation, call, arguments);
        lines.push(bytes(&call.bytes));
        lines.push(ending(call));
        self.answer(slot, &lines);
    }

    fn storage(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
        let operation = format!("storage.{verb}");
        match verb {
            "get" => {
                let arguments = self.named(call, &["name"]);
                self.bytes(slot, &operation, arguments, call);
            }
            "stat" => {
                let arguments = self.named(call, &["name"]);
                self.value(slot, &operation, arguments, answer);
            }
            "list" => {
                let arguments = self.named(call, &["prefix"]);
                self.items(slot, &operation, arguments, call, Value::clone);
            }
            _ => {}
        }
    }

    fn cache(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
        let operation = format!("cache.{verb}");
        let pattern = call.arguments.get("options").and_then(|options| options.get("pattern"));
        match verb {
            "scan" => {
                let keys: Vec<String> = call.items.iter().flatten().map(|key| shown(&plainly(key))).collect();
                self.keys(slot, keys);
            }
            "unlink-matching" => {
                let prefix = pattern.and_then(|pattern| pattern.get("prefix")).map(|prefix| shown(&plainly(prefix)));
                let done = call.outcome.as_ref().and_then(|outcome| outcome.as_ref().ok());
                let matched = done.and_then(|done| done.get("matched")).and_then(Value::as_u64).unwrap_or(0);
                if let Some(Err(error)) = &call.outcome {
                    self.fails(slot, &operation, call, error);
                }
                let known = self.slots.get(slot).and_then(|said| said.get("keys")).and_then(Value::as_object);
                let found = known.map_or(0, |keys| {
                    keys.keys()
                        .filter(|key| prefix.as_ref().is_some_and(|prefix| key.starts_with(prefix.as_str())))
                        .count() as u64
                });
                // Keys that the run never saw by name.
                if let Some(prefix) = prefix {
                    let more = (found..matched.min(MOST as u64)).map(|number| format!("{prefix}case-{number}"));
                    self.keys(slot, more.collect());
                }
            }
            "get" | "ttl" | "hash-get" | "hash-entries" => {
                let arguments = self.named(call, &["key", "field"]);
                self.value(slot, &operation, arguments, answer);
            }
            "ping" | "info" | "keyspace" | "slowlog" | "memory-usage" => self.value(slot, &operation, None, answer),
            _ => {}
        }
    }

    fn keys(&mut self, slot: &str, keys: Vec<String>) {
        let said = self.slots.entry(slot.to_owned()).or_default();
        let all = said.entry("keys").or_insert_with(|| json!({}));
        if let Some(all) = all.as_object_mut() {
            for key in keys {
                all.entry(key).or_insert_with(|| json!("x"));
            }
        }
    }

    fn kubernetes(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
        let operation = format!("kubernetes.{verb}");
        match verb {
            "namespace" | "version" => {
                self.slots.entry(slot.to_owned()).or_default().insert(verb.to_owned(), answer.clone());
            }
            "get" | "wait-for" => {
                let object = parsed(answer);
                self.object(slot, &object);
                let arguments = self.named(call, &["object"]);
                self.value(slot, &operation, arguments, &object);
            }
            "list" => {
                let objects: Vec<Value> = call.items.iter().flatten().take(MOST).map(parsed).collect();
                for object in &objects {
                    self.object(slot, object);
                }
                let arguments = self.named(call, &["kind"]);
                self.items(slot, &operation, arguments, call, parsed);
            }
            "events" | "get-scale" | "rollout-status" => {
                let arguments = self.named(call, &["object"]);
                self.value(slot, &operation, arguments, answer);
            }
            "logs" => {
                let arguments = self.named(call, &["pod"]);
                self.bytes(slot, &operation, arguments, call);
            }
            "exec" | "run-job" => self.program(slot, &operation, call),
            // What was changed must be there before.
            "patch" | "create" => {}
            _ => {}
        }
    }

    /// An object as it was seen first.
    fn object(&mut self, slot: &str, object: &Value) {
        if object.pointer("/metadata/name").is_none() {
            return;
        }
        let said = self.slots.entry(slot.to_owned()).or_default();
        let all = said.entry("objects").or_insert_with(|| json!([]));
        let same = |other: &Value| {
            ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"]
                .iter()
                .all(|pointer| other.pointer(pointer) == object.pointer(pointer))
        };
        if let Some(all) = all.as_array_mut().filter(|all| !all.iter().any(same)) {
            all.push(object.clone());
        }
    }

    /// A program: what it wrote and how it ended is what later calls on it were answered.
    fn program(&mut self, slot: &str, operation: &str, call: &Call) {
        if self.whole.header.mode == "plan" {
            return;
        }
        let later = |verb: &str| {
            self.whole.calls.iter().find(|other| other.on == Some(call.call) && other.operation.ends_with(verb))
        };
        let mut lines = self.to(operation, call, None);
        lines.push(bytes(later(".stdout").map_or(&[], |stdout| &stdout.bytes)));
        if let Some(Ok(ended)) = later(".wait").and_then(|wait| wait.answer.as_ref()) {
            let status = ended.get("status").cloned().unwrap_or_default();
            for word in ["code", "signal"] {
                if let Some(number) = status.get(word).and_then(Value::as_i64) {
                    lines.push(format!("{} = {number}", if word == "code" { "exit" } else { word }));
                }
            }
            if let Some(stderr) = ended.get("stderr").and_then(Value::as_str).filter(|stderr| !stderr.is_empty()) {
                lines.push(format!("stderr = {}", text(stderr)));
            }
        }
        self.answer(slot, &lines);
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn parsed(value: &Value) -> Value {
    value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
}

/// How a stream ended, where not well.
fn ending(call: &Call) -> String {
    match &call.outcome {
        Some(Err(error)) => format!("error = {}", inline(&failure(error))),
        _ => String::new(),
    }
}

fn bytes(bytes: &[u8]) -> String {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(plain) => format!("text = {}", text(plain)),
        Err(_) => format!("base64 = {}", text(&base64::engine::general_purpose::STANDARD.encode(bytes))),
    }
}

/// A parameter to be told apart by; times and the like are other ones the next time.
fn parameter(value: &Value) -> Value {
    match value {
        Value::Object(map) if ["timestamptz", "timestamp", "time"].iter().any(|case| map.contains_key(*case)) => {
            json!("*")
        }
        other => match payload(other) {
            Value::Null => json!("null"),
            other => crate::world::unfloated(&other),
        },
    }
}

/// A cell as a case writes it.
fn cell(value: &Value) -> Value {
    use chrono::{DateTime, NaiveTime};
    let Value::Object(map) = value else { return payload(value) };
    let Some((case, held)) = map.iter().next() else { return Value::Null };
    let instant = |micros: i64| DateTime::from_timestamp_micros(micros);
    match (case.as_str(), held.as_i64()) {
        ("timestamptz", Some(i64::MAX)) | ("timestamp", Some(i64::MAX)) => json!("infinity"),
        ("timestamptz", Some(i64::MIN)) | ("timestamp", Some(i64::MIN)) => json!("-infinity"),
        ("timestamptz", Some(micros)) => {
            instant(micros).map_or(Value::Null, |at| json!(at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
        }
        ("timestamp", Some(micros)) => {
            instant(micros).map_or(Value::Null, |at| json!(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()))
        }
        ("date", Some(days)) => instant(days.saturating_mul(86_400_000_000))
            .map_or(Value::Null, |at| json!(at.format("%Y-%m-%d").to_string())),
        ("time", Some(micros)) => {
            let seconds = u32::try_from(micros / 1_000_000).unwrap_or(0);
            let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
            NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)
                .map_or(Value::Null, |time| json!(time.to_string()))
        }
        ("lsn", _) => held.as_u64().map_or(Value::Null, |at| json!(format!("{:X}/{:X}", at >> 32, at & 0xffff_ffff))),
        ("bytes", _) => held.get("$bytes").cloned().unwrap_or_else(|| json!("")),
        ("json", _) => held.clone(),
        _ => crate::world::unfloated(held),
    }
}

/// An error of the contract, as a case writes it.
fn failure(error: &Value) -> Value {
    if error == "cancelled" {
        return json!({ "kind": "cancelled" });
    }
    let Some((kind, held)) = error.as_object().and_then(|map| map.iter().next()) else {
        return json!({ "kind": "unavailable", "message": shown(error) });
    };
    if kind != "failed" {
        return json!({ "kind": kind, "message": held });
    }
    json!({
        "kind": "failed", "code": held["code"], "message": held["message"], "detail": held["detail"], "retryable": held["retryable"],
    })
}

/// What came out, as what must.
fn expected(came: &Came) -> String {
    let mut lines = vec!["\n[case.expect]".to_owned()];
    if came.ended != "succeeded" {
        lines.push(format!("ended = {}", text(&came.ended)));
    }
    if let Some(report) = &came.report {
        lines.push(format!("status = {}", text(report.status.as_str())));
        lines.push(format!("summary = {}", text(&steady(&report.summary))));
        let titles: Vec<Value> = report
            .findings
            .iter()
            .map(|finding| json!(steady(&format!("{}: {}", finding.severity.as_str(), finding.title))))
            .collect();
        lines.push(format!("findings = {}", inline(&Value::Array(titles))));
        let data: Value = serde_json::from_str(&report.data).unwrap_or_default();
        lines.push(format!("data = {}", inline(&lasting(&data))));
    }
    if let Some(cause) = came.failure.as_ref().filter(|_| came.ended == "failed") {
        let failure = json!({ "kind": cause.kind, "message": steady(&cause.message) });
        lines.push(format!("failure = {}", inline(&failure)));
    }
    let effects: String = came.effects.iter().map(|effect| format!("\n  {},", text(&line(&effect.line())))).collect();
    lines.push(if effects.is_empty() { "effects = []".to_owned() } else { format!("effects = [{effects}\n]") });
    let denied: Vec<Value> = came.denied.iter().map(|denied| json!(line(denied))).collect();
    if !denied.is_empty() {
        lines.push(format!("denied = {}", inline(&Value::Array(denied))));
    }
    if !came.compensations.is_empty() {
        let all: Vec<Value> = came.compensations.iter().map(|each| json!(line(&each.line()))).collect();
        lines.push(format!("compensations = {}", inline(&Value::Array(all))));
    }
    lines.join("\n") + "\n"
}

/// A line that is not longer than what people read; the rest is anything.
fn line(text: &str) -> String {
    const MOST: usize = 300;
    let text = steady(text);
    if text.len() <= MOST { text } else { format!("{}*", &text[..text.floor_char_boundary(MOST)]) }
}

/// A text without what is another the next time: numbers with a fraction, and lengths of time.
fn steady(text: &str) -> String {
    const UNITS: [&str; 12] = ["ms", "s", "min", "h", "d", "second", "seconds", "minutes", "hours", "days", "us", "ns"];
    let digits = |word: &str| word.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let whole = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == ',');
    let fraction = |word: &str| word.contains('.') && word.parse::<f64>().is_ok();
    let words: Vec<&str> = text.split(' ').collect();
    let steady = words.iter().enumerate().map(|(at, word)| {
        let unit = words.get(at + 1).map(|next| next.trim_matches(|c: char| !c.is_alphabetic()));
        let time = unit.is_some_and(|unit| UNITS.contains(&unit)) && whole(word);
        if time || fraction(&digits(word)) { "*" } else { *word }
    });
    steady.collect::<Vec<_>>().join(" ")
}

/// Data without what is another the next time: numbers with a fraction, and instants.
fn lasting(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => json!("*"),
        Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => json!("*"),
        Value::String(text) => json!(steady(text)),
        Value::Null => json!("null"),
        Value::Array(all) => Value::Array(all.iter().map(lasting).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), lasting(value))).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_another_the_next_time_is_left_open() {
        for (text, wanted) in [
            ("vacuumed 1 of 1 table in 0.1 s, 0 dead rows", "vacuumed 1 of 1 table in * s, 0 dead rows"),
            ("the server started 38 s ago", "the server started * s ago"),
            ("PostgreSQL 17.10 (primary)", "PostgreSQL * (primary)"),
            ("3 tables", "3 tables"),
        ] {
            assert_eq!(steady(text), wanted);
        }
        assert_eq!(
            lasting(&json!({ "a": 0.5, "b": 1, "c": "2026-11-27T01:00:00Z" })),
            json!({ "a": "*", "b": 1, "c": "*" })
        );
    }

    #[test]
    fn cells_are_written_as_a_case_reads_them() {
        for (shown, type_name, written) in [
            (json!({ "timestamptz": 1_000_000 }), "timestamptz", json!("1970-01-01T00:00:01.000000Z")),
            (json!({ "date": 1 }), "date", json!("1970-01-02")),
            (json!({ "time": 1_000_000 }), "time", json!("00:00:01")),
            (json!({ "lsn": 4_294_967_312_u64 }), "pg_lsn", json!("1/10")),
            (json!({ "int64": 5 }), "int8", json!(5)),
            (json!({ "bytes": { "$bytes": "AP8=" } }), "bytea", json!("AP8=")),
            (json!({ "texts": ["a", null] }), "text[]", json!(["a", null])),
        ] {
            assert_eq!(cell(&shown), written);
            let read =
                crate::world::rows::value(type_name, &written).unwrap_or_else(|why| panic!("{type_name}: {why}"));
            assert_eq!(rota_capability::tape::shown(&read), shown, "{type_name}");
        }
    }
}
