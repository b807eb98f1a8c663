//! Selectors of labels and of fields, as the API server has them.

use serde_json::Value;

/// Whether an object's labels satisfy a selector: `a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b)`.
pub(super) fn by_labels(object: &Value, selector: &str) -> bool {
    let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
    parts(selector).into_iter().all(|part| {
        let part = part.trim();
        if let Some((key, set)) = part.split_once(" notin ") {
            return label(key.trim()).is_none_or(|value| !within(set, value));
        }
        if let Some((key, set)) = part.split_once(" in ") {
            return label(key.trim()).is_some_and(|value| within(set, value));
        }
        if let Some((key, value)) = part.split_once("!=") {
            return label(key.trim()) != Some(value.trim());
        }
        if let Some((key, value)) = part.split_once('=') {
            return label(key.trim()) == Some(value.trim_start_matches('=').trim());
        }
        match part.strip_prefix('!') {
            Some(key) => label(key.trim()).is_none(),
            None => part.is_empty() || label(part).is_some(),
        }
    })
}

/// Whether an object's fields satisfy a selector: `status.phase=Running`, `metadata.name!=a`.
pub(super) fn by_fields(object: &Value, selector: &str) -> bool {
    let field = |path: &str| {
        let found = path.trim().split('.').try_fold(object, |at, key| at.get(key));
        match found {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    };
    selector.split(',').map(str::trim).filter(|part| !part.is_empty()).all(|part| match part.split_once("!=") {
        Some((path, value)) => field(path) != value.trim(),
        None => part.split_once('=').is_some_and(|(path, value)| field(path) == value.trim_start_matches('=').trim()),
    })
}

/// A selector's parts: commas within brackets part nothing.
fn parts(selector: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, c) in selector.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[start..]);
    parts
}

fn within(set: &str, value: &str) -> bool {
    set.trim().trim_start_matches('(').trim_end_matches(')').split(',').any(|one| one.trim() == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_the_servers() {
        let object = json!({ "metadata": { "name": "a", "labels": { "app": "web", "tier": "front" } }, "status": { "phase": "Running", "n": 3 } });
        for (selector, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app", true),
            ("!app", false),
            ("!none", true),
            ("app in (web, api),tier=front", true),
            ("app notin (web)", false),
            ("app=api", false),
            ("none!=x", true),
        ] {
            assert_eq!(by_labels(&object, selector), wanted, "{selector}");
        }
        assert!(by_fields(&object, "status.phase=Running,metadata.name!=b,status.n=3"));
        assert!(!by_fields(&object, "status.phase=Pending"));
    }
}
