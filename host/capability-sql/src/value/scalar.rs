//! Decoders of single values.

use super::numeric;
use super::{BadValue, EPOCH_DAYS, EPOCH_MICROSECONDS, Parts, exactly, string};
use crate::wit::{Interval, Value};

pub(super) fn boolean(bytes: &[u8]) -> Result<Value, BadValue> {
    let [byte] = exactly(bytes, "boolean")?;
    Ok(Value::Boolean(byte != 0))
}

pub(super) fn int16(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Int16(i16::from_be_bytes(exactly(bytes, "smallint")?)))
}

pub(super) fn int32(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Int32(i32::from_be_bytes(exactly(bytes, "integer")?)))
}

pub(super) fn int64(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Int64(i64::from_be_bytes(exactly(bytes, "bigint")?)))
}

pub(super) fn float32(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Float32(f32::from_be_bytes(exactly(bytes, "real")?)))
}

pub(super) fn float64(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Float64(f64::from_be_bytes(exactly(bytes, "double precision")?)))
}

pub(super) fn decimal(bytes: &[u8]) -> Result<Value, BadValue> {
    numeric::decode(bytes).map(Value::Numeric)
}

pub(super) fn text(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Text(string(bytes)))
}

/// The type `"char"`: one byte, NUL for the empty one.
pub(super) fn single_byte(bytes: &[u8]) -> Result<Value, BadValue> {
    let [byte] = exactly(bytes, "\"char\"")?;
    Ok(Value::Text(match byte {
        0 => String::new(),
        // As the server prints it.
        128.. => format!("\\{byte:03o}"),
        _ => char::from(byte).to_string(),
    }))
}

/// The server's text for an object's name.
pub(super) fn object_name(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Regclass(string(bytes)))
}

pub(super) fn bytea(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Bytes(bytes.to_vec()))
}

pub(super) fn nothing(_: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Text(String::new()))
}

pub(super) fn date(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Date(match i32::from_be_bytes(exactly(bytes, "date")?) {
        infinite @ (i32::MIN | i32::MAX) => infinite,
        days => days.saturating_add(EPOCH_DAYS),
    }))
}

pub(super) fn time(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Time(i64::from_be_bytes(exactly(bytes, "time")?)))
}

fn since_1970(bytes: &[u8], of: &'static str) -> Result<i64, BadValue> {
    Ok(match i64::from_be_bytes(exactly(bytes, of)?) {
        infinite @ (i64::MIN | i64::MAX) => infinite,
        microseconds => microseconds.saturating_add(EPOCH_MICROSECONDS),
    })
}

pub(super) fn timestamp(bytes: &[u8]) -> Result<Value, BadValue> {
    since_1970(bytes, "timestamp").map(Value::Timestamp)
}

pub(super) fn timestamptz(bytes: &[u8]) -> Result<Value, BadValue> {
    since_1970(bytes, "timestamptz").map(Value::Timestamptz)
}

pub(super) fn interval(bytes: &[u8]) -> Result<Value, BadValue> {
    let mut parts = Parts::new(bytes, "interval");
    let microseconds = i64::from_be_bytes(parts.take()?);
    let days = parts.i32()?;
    let months = parts.i32()?;
    Ok(Value::Interval(Interval { months, days, microseconds }))
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Uuid(uuid::Uuid::from_bytes(exactly(bytes, "uuid")?).to_string()))
}

pub(super) fn json(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Json(string(bytes)))
}

pub(super) fn jsonb(bytes: &[u8]) -> Result<Value, BadValue> {
    match bytes {
        [1, text @ ..] => Ok(Value::Json(string(text))),
        _ => Err(BadValue("jsonb")),
    }
}

pub(super) fn lsn(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Lsn(u64::from_be_bytes(exactly(bytes, "pg_lsn")?)))
}

pub(super) fn oid(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Oid(u32::from_be_bytes(exactly(bytes, "oid")?)))
}

pub(super) fn xid(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Xid(u32::from_be_bytes(exactly(bytes, "xid")?).into()))
}

pub(super) fn xid8(bytes: &[u8]) -> Result<Value, BadValue> {
    Ok(Value::Xid(u64::from_be_bytes(exactly(bytes, "xid8")?)))
}

/// pgvector's `vector`: the dimensions, two bytes unused, and the elements.
pub(super) fn vector(bytes: &[u8]) -> Result<Value, BadValue> {
    vector_of(bytes, "vector", Parts::f32)
}

/// pgvector's `halfvec`: the same with two-byte floats.
pub(super) fn half_vector(bytes: &[u8]) -> Result<Value, BadValue> {
    vector_of(bytes, "halfvec", |parts| parts.i16().map(|bits| half(bits.cast_unsigned())))
}

fn vector_of<'a>(
    bytes: &'a [u8],
    of: &'static str,
    element: impl Fn(&mut Parts<'a>) -> Result<f32, BadValue>,
) -> Result<Value, BadValue> {
    let mut parts = Parts::new(bytes, of);
    let dimensions = parts.i16()?;
    parts.i16()?;
    let elements: Vec<f32> = (0..dimensions).map(|_| element(&mut parts)).collect::<Result<_, _>>()?;
    if !parts.rest.is_empty() {
        return Err(BadValue(of));
    }
    Ok(Value::Vector(elements))
}

/// An IEEE 754 half-precision number, exactly.
pub(super) fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        // Zero and what is below the smallest normal number: fraction * 2^-24.
        0 => {
            let magnitude = fraction as f32 * (1.0 / 16_777_216.0);
            if sign == 0 { magnitude } else { -magnitude }
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
