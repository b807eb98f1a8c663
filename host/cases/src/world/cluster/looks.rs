//! What objects say of themselves.

use super::text;
use rota_capability_kubernetes::objects::rollout;
use rota_contract::{Error, Fault};
use serde_json::{Value, json};

pub(super) fn scale(object: &Value) -> Value {
    let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let selector = labels.map(|labels| {
        let each = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        each.collect::<Vec<_>>().join(",")
    });
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    json!({ "wanted": wanted, "current": object["status"]["replicas"].as_u64().unwrap_or(wanted), "selector": selector })
}

/// None: the condition holds; otherwise why it does not.
pub(super) fn holds(object: Option<&Value>, condition: &Value) -> Result<Option<String>, Error> {
    let gone = condition == "gone";
    let Some(object) = object else {
        return Ok((!gone).then(|| "there is none of the name".to_owned()));
    };
    if gone {
        return Ok(Some("it is not being deleted".into()));
    }
    if condition == "exists" {
        return Ok(None);
    }
    if condition == "rolled-out" {
        let rollout = rollout(object);
        if rollout.failed {
            let (code, message) = ("rollout-failed".to_owned(), rollout.note);
            return Err(Error::Failed(Fault { code, message, detail: None, retryable: false }));
        }
        return Ok((!rollout.complete).then_some(rollout.note));
    }
    if let Some([kind, status]) = condition.get("status").and_then(Value::as_array).map(Vec::as_slice) {
        let all = object["status"]["conditions"].as_array();
        return Ok(match all.into_iter().flatten().find(|one| one["type"] == *kind) {
            Some(one) if one["status"] == *status => None,
            Some(one) => Some(format!("{} {}", one["status"], one["message"])),
            None => Some("its status has no such condition".into()),
        });
    }
    if let Some([pointer, wanted]) = condition.get("field").and_then(Value::as_array).map(Vec::as_slice) {
        let wanted: Value = wanted.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let found = object.pointer(pointer.as_str().unwrap_or_default()).unwrap_or(&Value::Null);
        return Ok((*found != wanted).then(|| "it is not as wanted".to_owned()));
    }
    Ok(Some("the condition is none that cases know".into()))
}

/// What a watch saw, as a case writes it: `{ change = "added", object = { ... } }`.
pub(super) fn watched(item: &Value, version: &str) -> Value {
    let object = item.get("object").cloned().unwrap_or_default();
    let own = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
    json!({
        "change": item.get("change").cloned().unwrap_or_else(|| json!("modified")),
        "object": text(&object),
        "resource-version": item.get("resource_version").and_then(Value::as_str).map(str::to_owned).or(own).unwrap_or_else(|| version.to_owned()),
    })
}
