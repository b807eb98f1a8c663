//! Values in the words of the contract, as JSON.
//!
//! | in the contract | in JSON |
//! | --- | --- |
//! | record | an object; its fields have the contract's names (`version-num`) |
//! | variant, enum | `"case"`, or `{"case": value}` |
//! | option | the value, or `null` |
//! | list, tuple | an array |
//! | `list<u8>` | `{"$bytes": "BASE64"}`; an empty one may be `[]` |
//! | whole numbers | exact, 64 bits |
//! | `f32`, `f64` | a number; `{"$float": "TEXT"}` where JSON's readers may not give the same one back (`NaN`, many digits) |
//! | string | with the secrets that the host knows masked |

mod making;
mod showing;

use making::Maker;
use serde::de::{self, DeserializeOwned};
use serde::ser::{self, Serialize};
use serde_json::Value;
use showing::Shower;
use std::fmt;

const BYTES: &str = "$bytes";
const FLOAT: &str = "$float";

/// A value as it is kept.
pub fn shown<T: Serialize + ?Sized>(value: &T) -> Value {
    match value.serialize(Shower) {
        Ok(node) => node.into_value(),
        // Nothing of the contract is like that: what is kept says so, instead of the run failing of it.
        Err(error) => serde_json::json!({ "$unshown": error.to_string() }),
    }
}

/// The value again.
///
/// # Errors
/// What of it is not as the type has it.
pub fn made<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    T::deserialize(Maker(value)).map_err(|error| error.to_string())
}

/// Why a value could not be shown or made.
#[derive(Debug)]
pub(super) struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

impl ser::Error for Trouble {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl de::Error for Trouble {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A name of Rust's as the contract writes it: `ReadCommitted` and `read_committed` are `read-committed`.
fn word(name: &str) -> String {
    let mut word = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        match c {
            '_' => word.push('-'),
            'A'..='Z' => {
                if at > 0 {
                    word.push('-');
                }
                word.push(c.to_ascii_lowercase());
            }
            _ => word.push(c),
        }
    }
    word
}

/// Whether a name of Rust's is written like that in the contract.
fn is_word(name: &str, written: &str) -> bool {
    let mut written = written.bytes();
    for (at, b) in name.bytes().enumerate() {
        let same = match b {
            b'_' => written.next() == Some(b'-'),
            b'A'..=b'Z' => (at == 0 || written.next() == Some(b'-')) && written.next() == Some(b.to_ascii_lowercase()),
            _ => written.next() == Some(b),
        };
        if !same {
            return false;
        }
    }
    written.next().is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Null,
        Int64(i64),
        Lsn(u64),
        Float32(f32),
        Float64(f64),
        IfAbsent(Option<String>),
        Bytes(Vec<u8>),
        Vector(Vec<f32>),
        Options(Vec<Option<i64>>),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Facts {
        version_num: u32,
        system_identifier: Option<String>,
        pairs: Vec<(String, Vec<u8>)>,
    }

    fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, wanted: Value) {
        let shown = shown(value);
        assert_eq!(shown, wanted);
        // Through the text of it, as it is kept.
        let text = serde_json::to_string(&shown).unwrap();
        assert_eq!(&made::<T>(serde_json::from_str(&text).unwrap()).unwrap(), value);
    }

    #[test]
    fn values_are_written_in_the_contracts_words_and_come_back_exact() {
        again(&Kind::Null, json!("null"));
        again(&Kind::Int64(i64::MIN), json!({ "int64": i64::MIN }));
        again(&Kind::Lsn(u64::MAX), json!({ "lsn": u64::MAX }));
        again(&Kind::IfAbsent(None), json!({ "if-absent": null }));
        again(&Kind::IfAbsent(Some("x".into())), json!({ "if-absent": "x" }));
        again(&Kind::Bytes(vec![0, 255]), json!({ "bytes": { "$bytes": "AP8=" } }));
        again(&Kind::Bytes(Vec::new()), json!({ "bytes": [] }));
        again(&Kind::Options(vec![None, Some(-1)]), json!({ "options": [null, -1] }));
        again(
            &Facts { version_num: 7, system_identifier: None, pairs: vec![("a".into(), b"b".to_vec())] },
            json!({ "version-num": 7, "system-identifier": null, "pairs": [["a", { "$bytes": "Yg==" }]] }),
        );
    }

    #[test]
    fn floats_come_back_bit_by_bit() {
        for value in
            [0.1, -0.0, 5.0, 1e300, f64::MIN_POSITIVE, 0.1 + 0.2, 123_456_789.123_456_79, f64::MAX, f64::INFINITY]
        {
            let text = serde_json::to_string(&shown(&value)).unwrap();
            let back: f64 = made(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back.to_bits(), value.to_bits(), "{text}");
        }
        for value in [0.1_f32, f32::MAX, f32::MIN_POSITIVE, 16_777_217.0, 1.0 / 3.0, f32::NEG_INFINITY] {
            let text = serde_json::to_string(&shown(&Kind::Vector(vec![value]))).unwrap();
            let Kind::Vector(back) = made(serde_json::from_str(&text).unwrap()).unwrap() else { panic!("{text}") };
            assert_eq!(back[0].to_bits(), value.to_bits(), "{text}");
        }
        assert_eq!(shown(&f64::NAN), json!({ "$float": "NaN" }));
        assert!(made::<f64>(shown(&f64::NAN)).unwrap().is_nan());
        assert!(matches!(made(shown(&Kind::Float32(f32::NAN))), Ok(Kind::Float32(x)) if x.is_nan()));
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let wrong = |value: Value| made::<Kind>(value).unwrap_err();
        assert!(wrong(json!("int-64")).contains("int64"), "{}", wrong(json!("int-64")));
        assert!(wrong(json!({ "int64": "x" })).contains("i64"), "{}", wrong(json!({ "int64": "x" })));
        assert!(wrong(json!("int64")).contains("has a value"), "{}", wrong(json!("int64")));
        let unknown = made::<Facts>(json!({ "version-num": 1, "pairs": [], "versoin": 2 })).unwrap_err();
        assert!(unknown.contains("`versoin`") && unknown.contains("version-num"), "{unknown}");
        assert_eq!(made::<Facts>(json!({ "version-num": 1, "pairs": [] })).unwrap().system_identifier, None);
    }
}
