//! Parameters: each with the type of its case, in binary.

use super::{EPOCH_DAYS, EPOCH_MICROSECONDS, array, network, numeric};
use crate::wit::Value;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments as _, Postgres, Type};

/// What a value's OID must be looked up for, because no constant tells it.
pub(crate) struct Lookups {
    /// The type `vector` of the database.
    pub(crate) vector: Option<u32>,
    /// The relations that `regclass` parameters name, in order.
    pub(crate) relations: Vec<u32>,
}

/// All parameters of a statement, ready to be sent.
pub(crate) fn arguments(values: &[Value], lookups: &Lookups) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    let mut relations = lookups.relations.iter().copied();
    for value in values {
        let known = match value {
            Value::Vector(_) => lookups.vector,
            Value::Regclass(_) => relations.next(),
            _ => None,
        };
        arguments.add(Parameter { value, known }).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// The types that the parameters declare, in order; 0 leaves it to the server.
pub(crate) fn types(values: &[Value], lookups: &Lookups) -> Vec<PgTypeInfo> {
    values.iter().map(|value| PgTypeInfo::with_oid(Oid(type_of(value, lookups.vector)))).collect()
}

fn type_of(value: &Value, vector: Option<u32>) -> u32 {
    match value {
        Value::Null => 0,
        Value::Boolean(_) => 16,
        Value::Int16(_) => 21,
        Value::Int32(_) => 23,
        Value::Int64(_) => 20,
        Value::Float32(_) => 700,
        Value::Float64(_) => 701,
        Value::Numeric(_) => 1700,
        Value::Text(_) => 25,
        Value::Bytes(_) => 17,
        Value::Date(_) => 1082,
        Value::Time(_) => 1083,
        Value::Timestamp(_) => 1114,
        Value::Timestamptz(_) => 1184,
        Value::Interval(_) => 1186,
        Value::Uuid(_) => 2950,
        Value::Json(_) => 3802,
        Value::Inet(_) => 869,
        Value::Lsn(_) => 3220,
        Value::Oid(_) => 26,
        Value::Xid(_) => 5069,
        Value::Regclass(_) => 2205,
        Value::Booleans(_) => 1000,
        Value::Integers(_) => 1016,
        Value::Floats(_) => 1022,
        Value::Texts(_) => 1009,
        Value::Vector(_) => vector.unwrap_or(0),
    }
}

struct Parameter<'a> {
    value: &'a Value,
    /// The OID that was looked up for it.
    known: Option<u32>,
}

impl Type<Postgres> for Parameter<'_> {
    fn type_info() -> PgTypeInfo {
        // Each value tells its own (`produces`).
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl<'q> Encode<'q, Postgres> for Parameter<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let out: &mut Vec<u8> = buffer;
        match self.value {
            Value::Null => return Ok(IsNull::Yes),
            Value::Boolean(b) => out.push(u8::from(*b)),
            Value::Int16(n) => out.extend_from_slice(&n.to_be_bytes()),
            Value::Int32(n) => out.extend_from_slice(&n.to_be_bytes()),
            Value::Int64(n) | Value::Time(n) => out.extend_from_slice(&n.to_be_bytes()),
            Value::Float32(x) => out.extend_from_slice(&x.to_be_bytes()),
            Value::Float64(x) => out.extend_from_slice(&x.to_be_bytes()),
            Value::Numeric(text) => numeric::encode(text, out)?,
            Value::Text(text) => out.extend_from_slice(text_bytes(text)?),
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Date(days) => out.extend_from_slice(&since_2000_days(*days).to_be_bytes()),
            Value::Timestamp(us) | Value::Timestamptz(us) => out.extend_from_slice(&since_2000(*us).to_be_bytes()),
            Value::Interval(interval) => {
                out.extend_from_slice(&interval.microseconds.to_be_bytes());
                out.extend_from_slice(&interval.days.to_be_bytes());
                out.extend_from_slice(&interval.months.to_be_bytes());
            }
            Value::Uuid(text) => out.extend_from_slice(uuid::Uuid::parse_str(text)?.as_bytes()),
            Value::Json(text) => {
                out.push(1);
                out.extend_from_slice(text_bytes(text)?);
            }
            Value::Inet(text) => network::encode(text, out)?,
            Value::Lsn(n) | Value::Xid(n) => out.extend_from_slice(&n.to_be_bytes()),
            Value::Oid(n) => out.extend_from_slice(&n.to_be_bytes()),
            Value::Regclass(_) => {
                out.extend_from_slice(&self.known.ok_or("the relation was not looked up")?.to_be_bytes())
            }
            Value::Booleans(list) => array::encode(16, list, out, |b, out| out.push(u8::from(*b)))?,
            Value::Integers(list) => array::encode(20, list, out, |n, out| out.extend_from_slice(&n.to_be_bytes()))?,
            Value::Floats(list) => array::encode(701, list, out, |x, out| out.extend_from_slice(&x.to_be_bytes()))?,
            Value::Texts(list) => {
                list.iter().flatten().try_for_each(|text| text_bytes(text).map(|_| ()))?;
                array::encode(25, list, out, |text, out| out.extend_from_slice(text.as_bytes()))?;
            }
            Value::Vector(elements) => {
                let dimensions = i16::try_from(elements.len()).map_err(|_| "a vector has at most 16,000 dimensions")?;
                out.extend_from_slice(&dimensions.to_be_bytes());
                out.extend_from_slice(&0_i16.to_be_bytes());
                for element in elements {
                    out.extend_from_slice(&element.to_be_bytes());
                }
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(type_of(self.value, self.known))))
    }
}

/// The server's text holds no NUL.
fn text_bytes(text: &str) -> Result<&[u8], BoxDynError> {
    if text.contains('\0') {
        return Err("text with a NUL character, which PostgreSQL does not store; send it as bytes".into());
    }
    Ok(text.as_bytes())
}

fn since_2000(microseconds: i64) -> i64 {
    match microseconds {
        infinite @ (i64::MIN | i64::MAX) => infinite,
        finite => finite.saturating_sub(EPOCH_MICROSECONDS),
    }
}

fn since_2000_days(days: i32) -> i32 {
    match days {
        infinite @ (i32::MIN | i32::MAX) => infinite,
        finite => finite.saturating_sub(EPOCH_DAYS),
    }
}
