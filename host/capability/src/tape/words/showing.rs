//! From a value to JSON.

use super::{BYTES, FLOAT, Trouble, word};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{self, Serialize};
use serde_json::{Map, Number, Value};

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
fn bytes_shown(bytes: &[u8]) -> Value {
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
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Byte(byte) => Value::from(byte),
            Self::Value(value) => value,
        }
    }
}

/// Shows a value.
pub(super) struct Shower;

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
