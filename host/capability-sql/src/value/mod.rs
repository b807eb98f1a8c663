//! Between PostgreSQL's binary format and the contract's values.
//!
//! sqlx asks for every column in binary. What has a case of its own in the contract is decoded from that, by a function
//! that is chosen once per column; everything else is cast to text by the server (see [`columns`]).

mod array;
pub(crate) mod columns;
mod extent;
mod network;
mod numeric;
pub(crate) mod parameter;
mod scalar;
#[cfg(test)]
mod tests;

use crate::wit::Value;

/// Microseconds between 1970-01-01 and 2000-01-01, where PostgreSQL's clock begins.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// The same in days.
const EPOCH_DAYS: i32 = 10_957;

/// Decodes the bytes of one value that is not NULL.
pub(crate) type Decode = fn(&[u8]) -> Result<Value, BadValue>;

/// Bytes that are not what their type says.
#[derive(Debug, thiserror::Error)]
#[error("a value of type {0} arrived in a form that this host does not know")]
pub(crate) struct BadValue(pub(crate) &'static str);

/// Fixed-size big-endian parts, taken from the front.
struct Parts<'a> {
    rest: &'a [u8],
    of: &'static str,
}

impl<'a> Parts<'a> {
    fn new(rest: &'a [u8], of: &'static str) -> Self {
        Self { rest, of }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadValue> {
        let (part, rest) = self.rest.split_first_chunk::<N>().ok_or(BadValue(self.of))?;
        self.rest = rest;
        Ok(*part)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], BadValue> {
        let (part, rest) = self.rest.split_at_checked(count).ok_or(BadValue(self.of))?;
        self.rest = rest;
        Ok(part)
    }

    fn i16(&mut self) -> Result<i16, BadValue> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32, BadValue> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn f32(&mut self) -> Result<f32, BadValue> {
        Ok(f32::from_be_bytes(self.take()?))
    }
}

/// The whole of a fixed-size value.
fn exactly<const N: usize>(bytes: &[u8], of: &'static str) -> Result<[u8; N], BadValue> {
    bytes.try_into().map_err(|_| BadValue(of))
}

/// Text of the server; a database in SQL_ASCII may hold what is not UTF-8.
fn string(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
