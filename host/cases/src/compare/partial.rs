//! Values held against what is expected of them. An object may have more than is expected, a list is whole unless it says
//! `"..."`, and a text is a pattern.

use super::glob;
use serde_json::Value;

/// What stands for any number of others in a list.
pub(crate) const OTHERS: &str = "...";

/// Where a value is not as expected: the path, what was expected and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Differs {
    /// `tables[0].rows`; empty for the value itself.
    pub(crate) at: String,
    /// What was expected.
    pub(crate) expected: String,
    /// What is there; none: nothing is.
    pub(crate) found: Option<String>,
}

impl std::fmt::Display for Differs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.at.is_empty() { String::new() } else { format!("{}: ", self.at) };
        match &self.found {
            Some(found) => write!(f, "{place}expected {}, found {found}", self.expected),
            None => write!(f, "{place}expected {}, and there is nothing", self.expected),
        }
    }
}

/// Whether a value is as expected.
pub(crate) fn fits(expected: &Value, found: &Value) -> bool {
    differences(expected, found).is_empty()
}

/// Where a value is not as expected, all places at once.
pub(crate) fn differences(expected: &Value, found: &Value) -> Vec<Differs> {
    let mut all = Vec::new();
    compare("", expected, found, &mut all);
    all
}

fn compare(at: &str, expected: &Value, found: &Value, all: &mut Vec<Differs>) {
    let differs = || Differs { at: at.to_owned(), expected: shown(expected), found: Some(shown(found)) };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                match found.get(key) {
                    Some(found) => compare(&at, value, found, all),
                    None => all.push(Differs { at, expected: shown(value), found: None }),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) => lists(at, expected, found, all),
        // TOML cannot say null.
        (Value::String(word), Value::Null) if word == "null" => {}
        (Value::String(pattern), Value::String(text)) => {
            if !glob::fits(pattern, text) {
                all.push(differs());
            }
        }
        // A pattern of anything at all.
        (Value::String(any), _) if any == "*" => {}
        (Value::Number(a), Value::Number(b)) => {
            if !same_number(a, b) {
                all.push(differs());
            }
        }
        (expected, found) => {
            if expected != found {
                all.push(differs());
            }
        }
    }
}

/// 1 and 1.0 are the same; a whole number is compared exactly.
fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        return a == b;
    }
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= f64::EPSILON * a.abs().max(b.abs()).max(1.0),
        _ => a == b,
    }
}

fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn lists(at: &str, expected: &[Value], found: &[Value], all: &mut Vec<Differs>) {
    if !expected.iter().any(|value| value == OTHERS) {
        for (index, value) in expected.iter().enumerate() {
            let at = format!("{at}[{index}]");
            match found.get(index) {
                Some(found) => compare(&at, value, found, all),
                None => all.push(Differs { at, expected: shown(value), found: None }),
            }
        }
        if found.len() > expected.len() {
            let more: Vec<String> = found.iter().skip(expected.len()).take(3).map(shown).collect();
            let expected = format!("{} elements", expected.len());
            let found = format!("{}: also {}", found.len(), more.join(", "));
            all.push(Differs { at: at.to_owned(), expected, found: Some(found) });
        }
        return;
    }
    if !sequence(expected, found, |expected| expected == OTHERS, fits) {
        let value = Value::Array(expected.to_vec());
        all.push(Differs {
            at: at.to_owned(),
            expected: shown(&value),
            found: Some(shown(&Value::Array(found.to_vec()))),
        });
    }
}

/// Whether a list fits another one in which some (`others`) stand for any number.
pub(crate) fn sequence<E, F>(
    expected: &[E],
    found: &[F],
    others: impl Fn(&E) -> bool,
    fit: impl Fn(&E, &F) -> bool,
) -> bool {
    // How many of the found ones the expected seen so far may have used up. The lists are short.
    let mut used = vec![false; found.len() + 1];
    used[0] = true;
    for each in expected {
        let mut next = vec![false; found.len() + 1];
        for at in 0..=found.len() {
            next[at] = if others(each) {
                used[at] || (at > 0 && next[at - 1])
            } else {
                at > 0 && used[at - 1] && fit(each, &found[at - 1])
            };
        }
        used = next;
    }
    used[found.len()]
}

/// A value in one line, bounded.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    const MOST: usize = 400;
    if text.len() <= MOST {
        return text;
    }
    format!("{} ... ({} bytes)", &text[..text.floor_char_boundary(MOST)], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(expected: Value, found: Value) -> Vec<String> {
        differences(&expected, &found).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_object_may_have_more_and_a_list_is_whole() {
        assert!(fits(&json!({ "a": 1 }), &json!({ "a": 1.0, "b": 2 })));
        assert_eq!(places(json!({ "a": { "b": 1 } }), json!({ "a": {} })), ["a.b: expected 1, and there is nothing"]);
        assert_eq!(places(json!([1]), json!([1, 2])), ["expected 1 elements, found 2: also 2"]);
        assert_eq!(places(json!([{ "a": 1 }, 2]), json!([{ "a": 2 }])).len(), 2);
    }

    #[test]
    fn dots_stand_for_any_number_of_others() {
        let found = json!([1, 2, 3]);
        for (expected, wanted) in [
            (json!(["..."]), true),
            (json!([1, "..."]), true),
            (json!(["...", 3]), true),
            (json!(["...", 2, "..."]), true),
            (json!(["...", 3, 2, "..."]), false),
            (json!([1, "...", 2]), false),
            (json!(["...", 1, "...", 2, 3, "..."]), true),
        ] {
            assert_eq!(fits(&expected, &found), wanted, "{expected}");
        }
        assert!(fits(&json!(["..."]), &json!([])));
        assert!(!fits(&json!(["...", 1]), &json!([])));
    }

    #[test]
    fn texts_are_patterns_and_numbers_are_exact() {
        assert!(fits(&json!("pid *"), &json!("pid 311")));
        assert!(fits(&json!("*"), &json!(5)));
        assert!(fits(&json!("null"), &Value::Null));
        assert!(!fits(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)));
        assert!(!fits(&json!(1), &json!("1")));
    }
}
