//! psql's variables: what a name stands for. Values are bound, never pasted.

use rota_sdk::prelude::*;
use rota_sdk::sql::Value;
use rota_sdk_sql::show;
use std::collections::BTreeMap;

/// What the names stand for, at a place of the script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, Json>);

impl Variables {
    /// Those of the parameter.
    ///
    /// # Errors
    /// When a name is none that could be written, or a value none that could be bound.
    pub(crate) fn given(given: &BTreeMap<String, Json>) -> Result<Self> {
        for (name, value) in given {
            if !is_name(name) {
                return Err(Error::new(format!("variables: {name:?} is no name of a variable"))
                    .hint("letters, digits and _, not beginning with a digit"));
            }
            bound(value).with_context(|| format!("variables: {name}"))?;
        }
        Ok(Self(given.clone()))
    }

    pub(crate) fn set(&mut self, name: &str, value: Json) {
        self.0.insert(name.to_owned(), value);
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// When nobody said; with the known name that is nearest.
    pub(crate) fn get(&self, name: &str) -> Result<&Json> {
        self.0.get(name).ok_or_else(|| {
            let error = Error::new(format!("no variable `{name}` is set"));
            let near = self.0.keys().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
            match near {
                Some((distance, known)) if distance <= 2.max(name.chars().count() / 3) => {
                    error.hint(format!("did you mean `{known}`?"))
                }
                _ if self.0.is_empty() => error.hint(format!(
                    "-p variables='{{\"{name}\":...}}' or \\set {name} ...; a colon of SQL's own has a space behind it"
                )),
                _ => error.hint(format!("set are: {}", self.0.keys().take(20).cloned().collect::<Vec<_>>().join(", "))),
            }
        })
    }
}

/// Whether it can be written behind a colon.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(good)
}

/// `:name`: with the type that the value has.
///
/// # Errors
/// For what has no type on the server.
pub(crate) fn bound(value: &Json) -> Result<Value> {
    let Json::Array(items) = value else { return show::bound(value) };
    let all = |is: fn(&Json) -> bool| items.iter().all(|item| item.is_null() || is(item));
    if all(Json::is_string) {
        return Ok(Value::Texts(items.iter().map(|item| item.as_str().map(str::to_owned)).collect()));
    }
    if all(Json::is_i64) {
        return Ok(Value::Integers(items.iter().map(Json::as_i64).collect()));
    }
    if all(Json::is_number) {
        return Ok(Value::Floats(items.iter().map(Json::as_f64).collect()));
    }
    if all(Json::is_boolean) {
        return Ok(Value::Booleans(items.iter().map(Json::as_bool).collect()));
    }
    Err(Error::new("a list holds texts, numbers or booleans, all of one sort"))
}

/// `:'name'`: as a text.
///
/// # Errors
/// For a list.
pub(crate) fn as_text(value: &Json) -> Result<Option<String>> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text.clone())),
        Json::Bool(_) | Json::Number(_) => Ok(Some(value.to_string())),
        Json::Array(_) | Json::Object(_) => {
            Err(Error::new("a list has no text").hint("bind it as a list: = any(:name)"))
        }
    }
}

/// What an unquoted word of `\set` is: a number, a boolean, or a text.
pub(crate) fn of_word(word: &str) -> Json {
    match word {
        "true" => json!(true),
        "false" => json!(false),
        // Only what is a number and is written as one: 007 stays a text.
        _ => match word.parse::<Json>() {
            Ok(Json::Number(number)) if number.to_string() == word => Json::Number(number),
            _ => json!(word),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(given: &Json) -> BTreeMap<String, Json> {
        given.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    #[test]
    fn values_have_the_type_that_they_have() {
        assert!(matches!(bound(&json!(5)).unwrap(), Value::Int64(5)));
        assert!(matches!(bound(&json!("5")).unwrap(), Value::Text(text) if text == "5"));
        assert!(matches!(bound(&json!([1, null])).unwrap(), Value::Integers(items) if items == [Some(1), None]));
        assert!(matches!(bound(&json!(["a"])).unwrap(), Value::Texts(_)));
        assert!(matches!(bound(&json!([1, 1.5])).unwrap(), Value::Floats(_)));
        assert!(matches!(bound(&json!([true])).unwrap(), Value::Booleans(_)));
        for bad in [json!([1, "a"]), json!({}), json!([[1]]), json!([{}])] {
            assert!(bound(&bad).is_err(), "{bad}");
        }
        assert_eq!(as_text(&json!(1.5)).unwrap().as_deref(), Some("1.5"));
        assert_eq!((as_text(&Json::Null).unwrap(), as_text(&json!([])).is_err()), (None, true));
    }

    #[test]
    fn a_word_of_set_is_a_number_only_when_it_is_written_as_one() {
        for (word, value) in [
            ("5", json!(5)),
            ("-1.5", json!(-1.5)),
            ("007", json!("007")),
            ("true", json!(true)),
            ("x", json!("x")),
            ("1e3", json!("1e3")),
        ] {
            assert_eq!(of_word(word), value, "{word}");
        }
    }

    #[test]
    fn an_unknown_name_has_its_nearest() {
        let given = json!({ "customer": 1, "day": 2 });
        let variables = Variables::given(&map(&given)).unwrap();
        assert_eq!(variables.get("custmoer").unwrap_err().hinted(), Some("did you mean `customer`?"));
        assert_eq!(variables.get("limit").unwrap_err().hinted(), Some("set are: customer, day"));
        assert!(Variables::default().get("x").unwrap_err().hinted().unwrap().contains("\\set x"));
        assert!(Variables::given(&map(&json!({ "a b": 1 }))).is_err());
    }
}
