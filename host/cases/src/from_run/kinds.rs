//! What is written of a call, by the kind of what it was made on.

use super::values::{bytes, cell, ending, parsed, shown};
use super::{MOST, Writer};
use crate::world::plainly;
use crate::written::{inline, text};
use rota_recording::Call;
use serde_json::{Value, json};

impl Writer<'_> {
    pub(super) fn sql(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
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

    pub(super) fn storage(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
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

    pub(super) fn cache(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
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

    pub(super) fn kubernetes(&mut self, slot: &str, verb: &str, call: &Call, answer: &Value) {
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
    pub(super) fn program(&mut self, slot: &str, operation: &str, call: &Call) {
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
