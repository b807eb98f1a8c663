//! Values in and out.

use super::{Interval, Quoted, Value};
use crate::Timestamp;

/// Where the server's log stands: a byte position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// What can be bound to `$1`. [`params!`](crate::params) uses it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound to a parameter",
    note = "text, numbers, flags, bytes, times, JSON, lists of text and `Option`s of them can"
)]
pub trait ToValue {
    /// As a value.
    fn to_value(&self) -> Value;
}

macro_rules! to_value {
    ($($type:ty => |$value:ident| $case:expr;)+) => { $(
        impl ToValue for $type {
            fn to_value(&self) -> Value {
                let $value = self;
                $case
            }
        }
    )+ };
}

to_value! {
    Value => |value| value.clone();
    bool => |value| Value::Boolean(*value);
    i16 => |value| Value::Int16(*value);
    i32 => |value| Value::Int32(*value);
    i64 => |value| Value::Int64(*value);
    u32 => |value| Value::Int64(i64::from(*value));
    f32 => |value| Value::Float32(*value);
    f64 => |value| Value::Float64(*value);
    str => |value| Value::Text(value.to_owned());
    String => |value| Value::Text(value.clone());
    [u8] => |value| Value::Bytes(value.to_vec());
    Timestamp => |value| Value::Timestamptz(value.0);
    Lsn => |value| Value::Lsn(value.0);
    Interval => |value| Value::Interval(*value);
    serde_json::Value => |value| Value::Json(value.to_string());
    [String] => |value| Value::Texts(value.iter().cloned().map(Some).collect());
    [&str] => |value| Value::Texts(value.iter().map(|text| Some((*text).to_owned())).collect());
    Vec<String> => |value| value.as_slice().to_value();
    Vec<&str> => |value| value.as_slice().to_value();
    [i64] => |value| Value::Integers(value.iter().copied().map(Some).collect());
    Vec<i64> => |value| value.as_slice().to_value();
    Vec<Option<String>> => |value| Value::Texts(value.clone());
    [f32] => |value| Value::Vector(value.to_vec());
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (*self).to_value()
    }
}

/// The values for `$1`, `$2` ...: `params![name, 5_i64]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { ::std::vec![$($crate::sql::ToValue::to_value(&$value)),*] };
}

/// What a column's value can be read as. Integers widen; NULL needs an `Option`.
#[diagnostic::on_unimplemented(
    message = "a column cannot be read as `{Self}`",
    note = "derive `FromRow` for a struct of columns; NULL needs an `Option`"
)]
pub trait FromValue: Sized {
    /// Out of a value.
    ///
    /// # Errors
    /// What it was expected to be.
    fn from_value(value: Value) -> Result<Self, Mismatch>;
}

/// A value of another type than was asked for.
#[derive(Debug)]
pub struct Mismatch {
    /// What was asked for.
    pub wanted: &'static str,
    /// What came.
    pub found: String,
}

impl Mismatch {
    fn new(wanted: &'static str, found: &Value) -> Self {
        Self { wanted, found: name(found).to_owned() }
    }
}

/// A value's type in words; never the value, which may be somebody's data.
fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "a boolean",
        Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => "an integer",
        Value::Float32(_) | Value::Float64(_) => "a float",
        Value::Numeric(_) => "a numeric",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Timestamp(_) => "a timestamp without time zone",
        Value::Timestamptz(_) => "a timestamp with time zone",
        Value::Interval(_) => "an interval",
        Value::Uuid(_) => "a UUID",
        Value::Json(_) => "JSON",
        Value::Inet(_) => "a network address",
        Value::Lsn(_) => "an LSN",
        Value::Oid(_) => "an OID",
        Value::Xid(_) => "a transaction id",
        Value::Regclass(_) => "a regclass",
        Value::Booleans(_) | Value::Integers(_) | Value::Floats(_) | Value::Texts(_) => "an array",
        Value::Vector(_) => "a vector",
    }
}

macro_rules! from_value {
    ($($type:ty, $wanted:literal => { $($case:pat => $out:expr),+ $(,)? })+) => { $(
        impl FromValue for $type {
            #[allow(clippy::cast_precision_loss, reason = "a float was asked for")]
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                let mismatch = Mismatch::new($wanted, &value);
                let read: Option<Self> = match value { $($case => $out,)+ #[allow(unreachable_patterns)] _ => None };
                read.ok_or(mismatch)
            }
        }
    )+ };
}

from_value! {
    bool, "a boolean" => { Value::Boolean(x) => Some(x) }
    i16, "a smallint" => { Value::Int16(x) => Some(x) }
    i32, "an integer" => { Value::Int32(x) => Some(x), Value::Int16(x) => Some(x.into()) }
    i64, "a bigint" => {
        Value::Int64(x) => Some(x), Value::Int32(x) => Some(x.into()), Value::Int16(x) => Some(x.into()),
        Value::Oid(x) => Some(x.into()), Value::Xid(x) | Value::Lsn(x) => x.try_into().ok(),
        Value::Numeric(x) => x.parse().ok(),
    }
    u32, "an OID or a whole number" => {
        Value::Oid(x) => Some(x), Value::Int32(x) => x.try_into().ok(), Value::Int16(x) => x.try_into().ok(),
        Value::Int64(x) => x.try_into().ok(), Value::Xid(x) => x.try_into().ok(),
    }
    u64, "a whole number, none below 0" => {
        Value::Int64(x) => x.try_into().ok(), Value::Int32(x) => x.try_into().ok(), Value::Int16(x) => x.try_into().ok(),
        Value::Xid(x) | Value::Lsn(x) => Some(x), Value::Oid(x) => Some(x.into()), Value::Numeric(x) => x.parse().ok(),
    }
    f64, "a number" => {
        Value::Float64(x) => Some(x), Value::Float32(x) => Some(x.into()), Value::Numeric(x) => x.parse().ok(),
        Value::Int64(x) => Some(x as f64), Value::Int32(x) => Some(x.into()), Value::Int16(x) => Some(x.into()),
    }
    f32, "a real" => { Value::Float32(x) => Some(x) }
    String, "text" => {
        Value::Text(x) | Value::Numeric(x) | Value::Uuid(x) | Value::Inet(x) | Value::Regclass(x) | Value::Json(x) => Some(x),
    }
    Vec<u8>, "bytes" => { Value::Bytes(x) => Some(x) }
    Timestamp, "a timestamp with time zone" => { Value::Timestamptz(x) => Some(Timestamp(x)) }
    Interval, "an interval" => { Value::Interval(x) => Some(x) }
    Lsn, "an LSN" => { Value::Lsn(x) => Some(Lsn(x)) }
    serde_json::Value, "JSON" => { Value::Json(x) => serde_json::from_str(&x).ok() }
    Quoted, "a name quoted by the server" => { Value::Text(x) | Value::Regclass(x) => Quoted::from_server(x).ok() }
    Vec<String>, "an array of text without NULLs" => { Value::Texts(x) => x.into_iter().collect() }
    Vec<Option<String>>, "an array of text" => { Value::Texts(x) => Some(x) }
    Vec<i64>, "an array of integers without NULLs" => { Value::Integers(x) => x.into_iter().collect() }
    Vec<f32>, "a vector" => { Value::Vector(x) => Some(x) }
    Value, "a value" => { x => Some(x) }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        if matches!(value, Value::Null) { Ok(None) } else { T::from_value(value).map(Some) }
    }
}
