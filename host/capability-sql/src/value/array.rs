//! Arrays: lists where they have one dimension, else the server's own notation.

use super::{BadValue, Parts, string};
use crate::wit::Value;

/// An array as it arrives: its dimensions (length and first index of each) and its elements, in order.
struct Array<'a> {
    dimensions: Vec<(i32, i32)>,
    elements: Vec<Option<&'a [u8]>>,
}

/// PostgreSQL's own limit.
const MOST_DIMENSIONS: i32 = 6;

impl<'a> Array<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BadValue> {
        const BAD: BadValue = BadValue("array");
        let mut parts = Parts::new(bytes, "array");
        let count = parts.i32()?;
        let _has_nulls = parts.i32()?;
        let _element_type = parts.i32()?;
        if !(0..=MOST_DIMENSIONS).contains(&count) {
            return Err(BAD);
        }
        let dimensions: Vec<(i32, i32)> =
            (0..count).map(|_| Ok((parts.i32()?, parts.i32()?))).collect::<Result<_, BadValue>>()?;
        let mut elements = Vec::new();
        while !parts.rest.is_empty() {
            let length = parts.i32()?;
            elements.push(match usize::try_from(length) {
                Ok(length) => Some(parts.bytes(length)?),
                Err(_) => None,
            });
        }
        let product = dimensions
            .iter()
            .try_fold(1_usize, |product, (length, _)| product.checked_mul(usize::try_from(*length).ok()?));
        let expected = if dimensions.is_empty() { Some(0) } else { product };
        if expected != Some(elements.len()) {
            return Err(BAD);
        }
        Ok(Self { dimensions, elements })
    }

    /// A list of one dimension through `list`, any other in the server's notation with elements through `print`.
    fn value<E>(
        self,
        element: impl Fn(&[u8]) -> Result<E, BadValue>,
        list: impl FnOnce(Vec<Option<E>>) -> Value,
        print: impl Fn(E) -> String,
    ) -> Result<Value, BadValue> {
        let elements: Vec<Option<E>> =
            self.elements.iter().map(|bytes| bytes.map(&element).transpose()).collect::<Result<_, _>>()?;
        if self.dimensions.len() <= 1 {
            return Ok(list(elements));
        }
        let mut printed = elements.into_iter().map(|element| element.map_or_else(|| "NULL".to_owned(), &print));
        let mut text = String::new();
        if self.dimensions.iter().any(|(_, first)| *first != 1) {
            for (length, first) in &self.dimensions {
                text.push_str(&format!("[{first}:{}]", i64::from(*first) + i64::from(*length) - 1));
            }
            text.push('=');
        }
        print_level(&self.dimensions, &mut printed, &mut text);
        Ok(Value::Text(text))
    }
}

fn print_level(dimensions: &[(i32, i32)], elements: &mut impl Iterator<Item = String>, text: &mut String) {
    let Some(((length, _), inner)) = dimensions.split_first() else { return };
    text.push('{');
    for at in 0..*length {
        if at > 0 {
            text.push(',');
        }
        if inner.is_empty() {
            text.push_str(&elements.next().unwrap_or_default());
        } else {
            print_level(inner, elements, text);
        }
    }
    text.push('}');
}

pub(super) fn booleans(bytes: &[u8]) -> Result<Value, BadValue> {
    let boolean = |bytes: &[u8]| match bytes {
        [byte] => Ok(*byte != 0),
        _ => Err(BadValue("boolean[]")),
    };
    Array::read(bytes)?.value(boolean, Value::Booleans, |b| if b { "t" } else { "f" }.to_owned())
}

/// smallint[], integer[] and bigint[] tell their width by their elements' length.
pub(super) fn integers(bytes: &[u8]) -> Result<Value, BadValue> {
    let integer = |bytes: &[u8]| match bytes.len() {
        2 => bytes.try_into().map(|b| i64::from(i16::from_be_bytes(b))).map_err(|_| BadValue("smallint[]")),
        4 => bytes.try_into().map(|b| i64::from(i32::from_be_bytes(b))).map_err(|_| BadValue("integer[]")),
        _ => bytes.try_into().map(i64::from_be_bytes).map_err(|_| BadValue("bigint[]")),
    };
    Array::read(bytes)?.value(integer, Value::Integers, |i| i.to_string())
}

pub(super) fn floats(bytes: &[u8]) -> Result<Value, BadValue> {
    let float = |bytes: &[u8]| match bytes.len() {
        4 => bytes.try_into().map(|b| f64::from(f32::from_be_bytes(b))).map_err(|_| BadValue("real[]")),
        _ => bytes.try_into().map(f64::from_be_bytes).map_err(|_| BadValue("double precision[]")),
    };
    Array::read(bytes)?.value(float, Value::Floats, print_float)
}

/// Elements that arrive as text: text[] and its kin, enums, and what the server cast to text[].
pub(super) fn texts(bytes: &[u8]) -> Result<Value, BadValue> {
    Array::read(bytes)?.value(|bytes| Ok(string(bytes)), Value::Texts, quoted)
}

fn print_float(x: f64) -> String {
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // As the server: plain notation for exponents from -5 to 14.
    let scientific = format!("{x:e}");
    let exponent: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    if x != 0.0 && !x.is_nan() && !(-5..15).contains(&exponent) {
        let (mantissa, _) = scientific.split_once('e').unwrap_or((&scientific, ""));
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    x.to_string()
}

/// An element in the server's notation: in quotes where it could be taken for something else.
fn quoted(element: String) -> String {
    let plain = !element.is_empty()
        && !element.eq_ignore_ascii_case("null")
        && !element.contains(['"', '\\', '{', '}', ',', ' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    if plain { element } else { format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The wire form of a one-dimensional array.
pub(super) fn encode<E>(
    element_type: u32,
    elements: &[Option<E>],
    out: &mut Vec<u8>,
    write: impl Fn(&E, &mut Vec<u8>),
) -> Result<(), String> {
    let length = i32::try_from(elements.len()).map_err(|_| "an array has too many elements".to_owned())?;
    let has_nulls = i32::from(elements.iter().any(Option::is_none));
    out.extend_from_slice(&i32::from(length > 0).to_be_bytes());
    out.extend_from_slice(&has_nulls.to_be_bytes());
    out.extend_from_slice(&element_type.to_be_bytes());
    if length == 0 {
        return Ok(());
    }
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for element in elements {
        let Some(element) = element else {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        };
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        write(element, out);
        let size = i32::try_from(out.len() - at - 4).map_err(|_| "an array's element is too long".to_owned())?;
        out[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }
    Ok(())
}
