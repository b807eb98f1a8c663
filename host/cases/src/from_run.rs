//! A case of a recorded run: what its calls were answered, and what came out, as a file that an author can read and keep.

mod expected;
mod kinds;
mod values;

use crate::came::Came;
use crate::world::plainly;
use crate::written::{inline, key, text};
use expected::expected;
use rota_contract::Descriptor;
use rota_recording::{Call, Whole};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use values::{ending, failure, parameter};

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
}
