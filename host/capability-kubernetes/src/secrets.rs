//! The values of Secrets, which no guest sees that is not granted them.

use rota_telemetry::Secret;
use serde_json::Value;

/// What `kubectl apply` keeps of an object, values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Put sizes in the place of a Secret's values.
pub fn hide(object: &mut Value) {
    for field in ["data", "stringData"] {
        for value in object.get_mut(field).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut()) {
            let size = value.as_str().map_or(0, |text| if field == "data" { text.len() / 4 * 3 } else { text.len() });
            *value = Value::String(format!("(a secret of about {size} bytes)"));
        }
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// Have the values of a Secret masked from now on wherever the host writes something down.
pub(crate) fn remember(object: &Value) {
    use base64::Engine as _;
    for (field, encoded) in [("data", true), ("stringData", false)] {
        for text in object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|map| map.values())
            .filter_map(Value::as_str)
        {
            let value = if encoded {
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
            } else {
                Some(text.to_owned())
            };
            // The masker holds it, whatever becomes of this handle.
            if let Some(value) = value.filter(|value| !value.is_empty() && value.len() <= 4096) {
                drop(Secret::new(value));
            }
        }
    }
}

/// Whether a document takes values out of Secrets: into variables or files of a pod, which its writer then reads.
pub fn are_used_by(document: &Value) -> bool {
    match document {
        // The path of a JSON patch may name what its value only completes.
        Value::Object(map)
            if map.contains_key("op") && ["path", "from"].iter().any(|key| leads_to_one(map.get(*key))) =>
        {
            true
        }
        Value::Object(map) => map.iter().any(|(key, value)| {
            matches!(key.as_str(), "secretKeyRef" | "secretRef" | "secretName" | "nodePublishSecretRef")
                || (key == "secret" && value.is_object())
                || are_used_by(value)
        }),
        Value::Array(list) => list.iter().any(are_used_by),
        // The paths of a JSON patch.
        Value::String(text) => {
            text.starts_with('/')
                && (text.contains("/secretKeyRef") || text.contains("/secretRef") || text.contains("/secretName"))
        }
        _ => false,
    }
}

fn leads_to_one(path: Option<&Value>) -> bool {
    const WORDS: [&str; 5] = ["secret", "secretKeyRef", "secretRef", "secretName", "nodePublishSecretRef"];
    path.and_then(Value::as_str).is_some_and(|path| path.split('/').any(|segment| WORDS.contains(&segment)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_that_leads_into_a_secret_uses_it() {
        let patch = |path: &str, value: Value| json!([{ "op": "add", "path": path, "value": value }]);
        let sources = "/spec/template/spec/volumes/0/projected/sources/0";
        assert!(are_used_by(&patch(&format!("{sources}/secret"), json!({ "name": "db" }))));
        assert!(are_used_by(&patch(&format!("{sources}/secret/name"), json!("db"))));
        assert!(are_used_by(&patch(sources, json!({ "secret": { "name": "db" } }))));
        assert!(are_used_by(&json!({ "csi": { "nodePublishSecretRef": { "name": "db" } } })));
        assert!(!are_used_by(&patch("/spec/template/spec/containers/0/mountPath", json!("/run/secret"))));
    }

    #[test]
    fn a_hidden_secret_keeps_its_keys_and_nothing_of_its_values() {
        let mut secret = json!({
            "kind": "Secret", "data": { "password": "cGE1NXdvcmQ=" }, "stringData": { "user": "r0ta" },
            "metadata": { "name": "a", "annotations": { LAST_APPLIED: "{\"data\":{\"password\":\"cGE1NXdvcmQ=\"}}", "b": "c" } },
        });
        hide(&mut secret);
        let text = secret.to_string();
        assert!(!text.contains("cGE1") && !text.contains("r0ta"), "{text}");
        assert!(secret["data"]["password"].is_string() && secret["metadata"]["annotations"]["b"] == "c");
    }

    #[test]
    fn documents_that_take_secrets_out_are_known() {
        for used in [
            json!({ "env": [{ "valueFrom": { "secretKeyRef": { "name": "a" } } }] }),
            json!({ "envFrom": [{ "secretRef": { "name": "a" } }] }),
            json!({ "volumes": [{ "secret": { "secretName": "a" } }] }),
            json!({ "volumes": [{ "projected": { "sources": [{ "secret": { "name": "a" } }] } }] }),
            json!([{ "op": "replace", "path": "/spec/env/0/valueFrom/secretKeyRef/name", "value": "b" }]),
        ] {
            assert!(are_used_by(&used), "{used}");
        }
        assert!(!are_used_by(&json!({ "imagePullSecrets": [{ "name": "a" }], "note": "secret", "secret": "word" })));
    }
}
