//! From JSON to a value.

use super::{BYTES, FLOAT, Trouble, is_word, word};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde_json::Value;

/// Makes a value of JSON.
pub(super) struct Maker(pub(super) Value);

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
