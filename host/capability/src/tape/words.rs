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

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::SeqDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor,
};
use serde::ser::{self, Serialize};
use serde_json::{Map, Number, Value};
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

/// A float that every reader of JSON gives back as it is: few digits and a small exponent, as Clinger's fast path has it.
fn number(text: &str, value: f64) -> Value {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let plain = value.is_finite() && digits <= 15 && !text.contains(['e', 'E']);
    match Number::from_f64(value).filter(|_| plain) {
        Some(number) => Value::Number(number),
        None => {
            let mut object = Map::new();
            object.insert(FLOAT.into(), Value::String(text.to_owned()));
            Value::Object(object)
        }
    }
}

/// Bytes, as they are kept.
pub(super) fn bytes_shown(bytes: &[u8]) -> Value {
    let mut object = Map::new();
    object.insert(BYTES.into(), Value::String(STANDARD.encode(masked(bytes))));
    Value::Object(object)
}

/// Secrets in bytes are masked as in a text.
fn masked(bytes: &[u8]) -> Vec<u8> {
    let mut masker = rota_telemetry::StreamMasker::new();
    let mut shown = masker.push(bytes);
    shown.extend(masker.finish());
    shown
}

/// What a value became: of a list it must be known whether its items are bytes.
pub(super) enum Node {
    Byte(u8),
    Value(Value),
}

impl Node {
    fn into_value(self) -> Value {
        match self {
            Self::Byte(byte) => Value::from(byte),
            Self::Value(value) => value,
        }
    }
}

struct Shower;

/// `{case: value}`.
fn case(variant: &str, value: Value) -> Node {
    let mut object = Map::new();
    object.insert(word(variant), value);
    Node::Value(Value::Object(object))
}

macro_rules! whole {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, value: $type) -> Result<Node, Trouble> {
            Ok(Node::Value(Value::from(value)))
        })*
    };
}

impl ser::Serializer for Shower {
    type Ok = Node;
    type Error = Trouble;
    type SerializeSeq = List;
    type SerializeTuple = Tuple;
    type SerializeTupleStruct = Tuple;
    type SerializeTupleVariant = ser::Impossible<Node, Trouble>;
    type SerializeMap = Record;
    type SerializeStruct = Record;
    type SerializeStructVariant = ser::Impossible<Node, Trouble>;

    whole!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_u8(self, value: u8) -> Result<Node, Trouble> {
        Ok(Node::Byte(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Node, Trouble> {
        // Its own shortest text: as a longer float it would have digits that it does not have.
        let text = format!("{value:?}");
        let longer = text.parse().unwrap_or(f64::NAN);
        Ok(Node::Value(number(&text, longer)))
    }

    fn serialize_f64(self, value: f64) -> Result<Node, Trouble> {
        Ok(Node::Value(number(&format!("{value:?}"), value)))
    }

    fn serialize_char(self, value: char) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::String(value.to_string())))
    }

    fn serialize_str(self, value: &str) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::String(rota_telemetry::mask(value).into_owned())))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Node, Trouble> {
        Ok(Node::Value(bytes_shown(value)))
    }

    fn serialize_none(self) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::Null))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, Trouble> {
        value.serialize(Self).map(Node::into_value).map(Node::Value)
    }

    fn serialize_unit(self) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::Null))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::Null))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::String(word(variant))))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Node, Trouble> {
        value.serialize(Self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, Trouble> {
        Ok(case(variant, value.serialize(Self)?.into_value()))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, Trouble> {
        Ok(List { values: Vec::new(), bytes: Vec::new(), length: length.unwrap_or(0) })
    }

    fn serialize_tuple(self, length: usize) -> Result<Tuple, Trouble> {
        Ok(Tuple(Vec::with_capacity(length)))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Tuple, Trouble> {
        Ok(Tuple(Vec::with_capacity(length)))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Trouble> {
        Err(ser::Error::custom(format!("`{name}` is no type of the contract")))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Record, Trouble> {
        Ok(Record(Map::new(), None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Record, Trouble> {
        Ok(Record(Map::new(), None))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Trouble> {
        Err(ser::Error::custom(format!("`{name}` is no type of the contract")))
    }
}

/// A list: bytes for as long as its items are.
pub(super) struct List {
    values: Vec<Value>,
    bytes: Vec<u8>,
    length: usize,
}

impl ser::SerializeSeq for List {
    type Ok = Node;
    type Error = Trouble;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Trouble> {
        match value.serialize(Shower)? {
            Node::Byte(byte) => {
                if self.bytes.capacity() == 0 {
                    self.bytes.reserve_exact(self.length);
                }
                self.bytes.push(byte);
            }
            Node::Value(value) => {
                if self.values.capacity() == 0 {
                    self.values.reserve_exact(self.length);
                }
                self.values.push(value);
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Node, Trouble> {
        Ok(Node::Value(if self.bytes.is_empty() { Value::Array(self.values) } else { bytes_shown(&self.bytes) }))
    }
}

pub(super) struct Tuple(Vec<Value>);

impl ser::SerializeTuple for Tuple {
    type Ok = Node;
    type Error = Trouble;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Trouble> {
        self.0.push(value.serialize(Shower)?.into_value());
        Ok(())
    }

    fn end(self) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::Array(self.0)))
    }
}

impl ser::SerializeTupleStruct for Tuple {
    type Ok = Node;
    type Error = Trouble;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Trouble> {
        ser::SerializeTuple::serialize_element(self, value)
    }

    fn end(self) -> Result<Node, Trouble> {
        ser::SerializeTuple::end(self)
    }
}

/// A record, or a map with a key that waits for its value.
pub(super) struct Record(Map<String, Value>, Option<String>);

impl ser::SerializeStruct for Record {
    type Ok = Node;
    type Error = Trouble;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Trouble> {
        self.0.insert(word(key), value.serialize(Shower)?.into_value());
        Ok(())
    }

    fn end(self) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::Object(self.0)))
    }
}

impl ser::SerializeMap for Record {
    type Ok = Node;
    type Error = Trouble;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Trouble> {
        self.1 = match key.serialize(Shower)?.into_value() {
            Value::String(key) => Some(key),
            other => Some(other.to_string()),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Trouble> {
        let key = self.1.take().unwrap_or_default();
        self.0.insert(key, value.serialize(Shower)?.into_value());
        Ok(())
    }

    fn end(self) -> Result<Node, Trouble> {
        Ok(Node::Value(Value::Object(self.0)))
    }
}

/// Makes a value of JSON.
struct Maker(Value);

impl IntoDeserializer<'_, Trouble> for Maker {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The only field of an object, when it has this name.
fn only<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    match value {
        Value::Object(object) if object.len() == 1 => object.get(name)?.as_str(),
        _ => None,
    }
}

fn bytes_of(text: &str) -> Result<Vec<u8>, Trouble> {
    STANDARD.decode(text).map_err(|error| de::Error::custom(format!("`{BYTES}` is not base64: {error}")))
}

fn float_of(text: &str) -> Result<f64, Trouble> {
    text.parse().map_err(|_| de::Error::custom(format!("`{text}` is no float")))
}

impl<'de> de::Deserializer<'de> for Maker {
    type Error = Trouble;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        if let Some(text) = only(&self.0, BYTES) {
            return visitor.visit_seq(SeqDeserializer::new(bytes_of(text)?.into_iter()));
        }
        if let Some(text) = only(&self.0, FLOAT) {
            return visitor.visit_f64(float_of(text)?);
        }
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(whole), _, _) => visitor.visit_u64(whole),
                (_, Some(whole), _) => visitor.visit_i64(whole),
                (_, _, Some(float)) => visitor.visit_f64(float),
                _ => Err(de::Error::custom(format!("`{number}` is no number of 64 bits"))),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Maker))),
            Value::Object(object) => visitor.visit_map(Fields { fields: object.into_iter(), names: &[], value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Trouble> {
        match only(&self.0, FLOAT) {
            // By its own digits: the nearest float of a nearest longer float need not be the same.
            Some(text) => visitor.visit_f32(text.parse().map_err(|_| Trouble(format!("`{text}` is no float")))?),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        match self.0 {
            Value::Object(object) => visitor.visit_map(Fields { fields: object.into_iter(), names, value: None }),
            other => Err(de::Error::custom(format!("`{}` is an object, not {other}", word(name)))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Trouble> {
        let (case, value) = match self.0 {
            Value::String(case) => (case, None),
            Value::Object(object) if object.len() == 1 => match object.into_iter().next() {
                Some((case, value)) => (case, Some(value)),
                None => return Err(de::Error::custom(format!("`{}` needs a case", word(name)))),
            },
            other => {
                let what = word(name);
                return Err(de::Error::custom(format!("`{what}` is \"case\" or {{\"case\": value}}, not {other}")));
            }
        };
        match names.iter().find(|name| is_word(name, &case)) {
            Some(variant) => visitor.visit_enum(Case { variant, value }),
            None => {
                let known: Vec<String> = names.iter().map(|name| word(name)).collect();
                let what = word(name);
                Err(de::Error::custom(format!("`{what}` has no case `{case}`; it has: {}", known.join(", "))))
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Trouble> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// The fields of an object, under Rust's names where these are known.
struct Fields {
    fields: serde_json::map::IntoIter,
    names: &'static [&'static str],
    value: Option<Value>,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Trouble;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Trouble> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(value);
        if self.names.is_empty() {
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
        match self.names.iter().find(|name| is_word(name, &key)) {
            Some(name) => seed.deserialize((*name).into_deserializer()).map(Some),
            None => {
                let known: Vec<String> = self.names.iter().map(|name| word(name)).collect();
                Err(de::Error::custom(format!("there is no field `{key}`; there are: {}", known.join(", "))))
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Trouble> {
        seed.deserialize(Maker(self.value.take().unwrap_or_default()))
    }
}

/// One case of a variant.
struct Case {
    variant: &'static str,
    value: Option<Value>,
}

impl<'de> EnumAccess<'de> for Case {
    type Error = Trouble;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Trouble> {
        Ok((seed.deserialize(self.variant.into_deserializer())?, self))
    }
}

impl<'de> VariantAccess<'de> for Case {
    type Error = Trouble;

    fn unit_variant(self) -> Result<(), Trouble> {
        match self.value {
            None | Some(Value::Null) => Ok(()),
            Some(value) => {
                Err(Trouble(format!("the case `{}` has no value, and here it is {value}", word(self.variant))))
            }
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Trouble> {
        match self.value {
            Some(value) => seed.deserialize(Maker(value)),
            None => Err(Trouble(format!("the case `{}` has a value: {{\"{0}\": ...}}", word(self.variant)))),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Trouble> {
        Err(Trouble(format!("`{}` is no case of the contract", self.variant)))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Trouble> {
        Err(Trouble(format!("`{}` is no case of the contract", self.variant)))
    }
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
