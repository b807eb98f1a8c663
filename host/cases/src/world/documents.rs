//! Objects of a cluster as documents: patched as the API server would, and named as RBAC names them.

use rota_contract::Error;
use serde_json::{Map, Value};

/// Kinds that belong to no namespace.
const CLUSTER_WIDE: [&str; 13] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "StorageClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "PriorityClass",
    "IngressClass",
    "RuntimeClass",
    "VolumeAttachment",
    "CSIDriver",
    "ValidatingWebhookConfiguration",
];

/// Whether objects of a kind belong to a namespace.
pub(super) fn is_namespaced(kind: &str) -> bool {
    !CLUSTER_WIDE.contains(&kind)
}

/// `deployments.apps`, of `apps/v1` and `Deployment`.
pub(super) fn resource(api_version: &str, kind: &str) -> String {
    let lower = kind.to_lowercase();
    let plural = match lower.as_str() {
        "endpoints" => lower,
        word if word.ends_with(['s', 'x']) || word.ends_with("ch") || word.ends_with("sh") => format!("{word}es"),
        word if word.ends_with('y') && !word.ends_with("ay") && !word.ends_with("ey") => {
            format!("{}ies", &word[..word.len() - 1])
        }
        word => format!("{word}s"),
    };
    match api_version.split_once('/') {
        Some((group, _)) => format!("{plural}.{group}"),
        None => plural,
    }
}

/// JSON merge patch (RFC 7386).
pub(super) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(object) = object else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Strategic merge: as a merge, but lists of objects with names are merged by their names.
pub(super) fn strategic(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    object.remove(key);
                } else {
                    strategic(object.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(all), Value::Array(patch)) if all.iter().chain(patch).all(|one| one.get("name").is_some()) => {
            for one in patch {
                match all.iter_mut().find(|known| known["name"] == one["name"]) {
                    Some(known) => strategic(known, one),
                    None => all.push(one.clone()),
                }
            }
        }
        (object @ Value::Null, Value::Object(_)) => {
            *object = Value::Object(Map::new());
            strategic(object, patch);
        }
        (object, patch) => *object = patch.clone(),
    }
}

/// JSON patch (RFC 6902).
pub(super) fn operations(object: &mut Value, patch: &Value) -> Result<(), Error> {
    let Some(all) = patch.as_array() else {
        return Err(Error::InvalidArgument("a JSON patch is a list of operations".into()));
    };
    // All of it or nothing.
    let mut changed = object.clone();
    for operation in all {
        let word = |key: &str| operation.get(key).and_then(Value::as_str).unwrap_or_default();
        let (path, value) = (word("path"), operation.get("value").cloned().unwrap_or_default());
        match word("op") {
            "test" => {
                if changed.pointer(path) != Some(&value) {
                    return Err(Error::Conflict(format!("the test of {path} does not hold")));
                }
            }
            "add" => put(&mut changed, path, value, true)?,
            "replace" => put(&mut changed, path, value, false)?,
            "remove" => drop(take(&mut changed, path)?),
            "move" => {
                let moved = take(&mut changed, word("from"))?;
                put(&mut changed, path, moved, true)?;
            }
            "copy" => {
                let copied = changed.pointer(word("from")).cloned().ok_or_else(|| nothing(word("from")))?;
                put(&mut changed, path, copied, true)?;
            }
            other => return Err(Error::InvalidArgument(format!("`{other}` is no operation of a JSON patch"))),
        }
    }
    *object = changed;
    Ok(())
}

fn nothing(path: &str) -> Error {
    Error::InvalidArgument(format!("the patch finds nothing at {path}"))
}

/// The parent of a path, and the last part of it.
fn parent<'v>(object: &'v mut Value, path: &str) -> Result<(&'v mut Value, String), Error> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| nothing(path))?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((object.pointer_mut(parent).ok_or_else(|| nothing(path))?, last))
}

fn put(object: &mut Value, path: &str, value: Value, add: bool) -> Result<(), Error> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) if add || map.contains_key(&last) => drop(map.insert(last, value)),
        Value::Array(all) if add && last == "-" => all.push(value),
        Value::Array(all) => {
            let index: usize = last.parse().map_err(|_| nothing(path))?;
            match all.len() {
                count if add && index <= count => all.insert(index, value),
                count if !add && index < count => all[index] = value,
                _ => return Err(nothing(path)),
            }
        }
        _ => return Err(nothing(path)),
    }
    Ok(())
}

fn take(object: &mut Value, path: &str) -> Result<Value, Error> {
    let (parent, last) = parent(object, path)?;
    match parent {
        Value::Object(map) => map.remove(&last).ok_or_else(|| nothing(path)),
        Value::Array(all) => {
            let index: usize = last.parse().map_err(|_| nothing(path))?;
            if index < all.len() { Ok(all.remove(index)) } else { Err(nothing(path)) }
        }
        _ => Err(nothing(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_named_as_rbac_names_them() {
        for (api, kind, wanted) in [
            ("v1", "ConfigMap", "configmaps"),
            ("apps/v1", "Deployment", "deployments.apps"),
            ("networking.k8s.io/v1", "Ingress", "ingresses.networking.k8s.io"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies.networking.k8s.io"),
            ("v1", "Endpoints", "endpoints"),
            ("gateway.networking.k8s.io/v1", "Gateway", "gateways.gateway.networking.k8s.io"),
        ] {
            assert_eq!(resource(api, kind), wanted);
        }
    }

    #[test]
    fn patches_are_applied() {
        let mut object = json!({ "a": { "b": 1, "c": 2 }, "l": [{ "name": "x", "v": 1 }] });
        merge(&mut object, &json!({ "a": { "b": null, "d": 3 } }));
        assert_eq!(object["a"], json!({ "c": 2, "d": 3 }));
        strategic(&mut object, &json!({ "l": [{ "name": "x", "w": 2 }, { "name": "y" }] }));
        assert_eq!(object["l"], json!([{ "name": "x", "v": 1, "w": 2 }, { "name": "y" }]));
        let patch = json!([{ "op": "test", "path": "/a/c", "value": 2 }, { "op": "replace", "path": "/a/c", "value": 5 }, { "op": "remove", "path": "/l/0" }, { "op": "add", "path": "/l/-", "value": 1 }]);
        operations(&mut object, &patch).unwrap();
        assert_eq!(object, json!({ "a": { "c": 5, "d": 3 }, "l": [{ "name": "y" }, 1] }));
        let failing = json!([{ "op": "remove", "path": "/a" }, { "op": "test", "path": "/x", "value": 1 }]);
        assert!(matches!(operations(&mut object, &failing), Err(Error::Conflict(_))));
        assert!(object.get("a").is_some(), "all of it or nothing");
        assert!(operations(&mut object, &json!([{ "op": "replace", "path": "/none", "value": 1 }])).is_err());
    }
}
