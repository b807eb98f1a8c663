//! `numeric`: exact decimal text, and base 10,000 on the wire.

use super::{BadValue, Parts};
use std::fmt::Write as _;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

/// The most digits that PostgreSQL keeps on either side of the point.
const MOST_DIGITS: usize = 131_072;
const MOST_SCALE: usize = 16_383;

/// The text of a value, as the server would print it: its scale is kept.
pub(super) fn decode(bytes: &[u8]) -> Result<String, BadValue> {
    let mut parts = Parts::new(bytes, "numeric");
    let count = parts.i16()?;
    let weight = i32::from(parts.i16()?);
    let sign = u16::from_be_bytes(parts.take()?);
    let scale = usize::from(u16::from_be_bytes(parts.take()?) & 0x3fff);
    match sign {
        NAN => return Ok("NaN".into()),
        INFINITY => return Ok("Infinity".into()),
        MINUS_INFINITY => return Ok("-Infinity".into()),
        0 | NEGATIVE => {}
        _ => return Err(BadValue("numeric")),
    }
    let groups: Vec<i16> = (0..count).map(|_| parts.i16()).collect::<Result<_, _>>()?;
    // The group with weight w stands for 10,000^w; groups that are not sent are zero.
    let group = |w: i32| usize::try_from(weight - w).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);

    let mut text = String::with_capacity(groups.len() * 4 + scale + 3);
    if sign == NEGATIVE {
        text.push('-');
    }
    let written = if weight < 0 {
        text.push('0');
        Ok(())
    } else {
        (0..=weight)
            .rev()
            .try_for_each(|w| if w == weight { write!(text, "{}", group(w)) } else { write!(text, "{:04}", group(w)) })
    };
    written.map_err(|_| BadValue("numeric"))?;
    if scale > 0 {
        text.push('.');
        let end = text.len() + scale;
        let mut w = -1;
        while text.len() < end {
            write!(text, "{:04}", group(w)).map_err(|_| BadValue("numeric"))?;
            w -= 1;
        }
        text.truncate(end);
    }
    Ok(text)
}

/// The wire form of a decimal text.
pub(super) fn encode(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let refused = || format!("`{}` is no decimal number", text.chars().take(40).collect::<String>());
    let header = |out: &mut Vec<u8>, count: u16, weight: i16, sign: u16, scale: u16| {
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&scale.to_be_bytes());
    };
    let trimmed = text.trim();
    let special = match trimmed.to_ascii_lowercase().as_str() {
        "nan" => Some(NAN),
        "infinity" | "+infinity" | "inf" | "+inf" => Some(INFINITY),
        "-infinity" | "-inf" => Some(MINUS_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        header(out, 0, 0, sign, 0);
        return Ok(());
    }
    let decimal = Decimal::parse(trimmed).ok_or_else(refused)?;
    if decimal.integer.len() > MOST_DIGITS || decimal.fraction.len() > MOST_SCALE {
        return Err(format!(
            "{} and more digits are more than a numeric holds",
            decimal.integer.len().max(decimal.fraction.len())
        ));
    }
    let (groups, weight) = decimal.groups();
    let negative = decimal.negative && !groups.is_empty();
    let number = |n: usize| u16::try_from(n).map_err(|_| refused());
    header(out, number(groups.len())?, weight, if negative { NEGATIVE } else { 0 }, number(decimal.fraction.len())?);
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}

/// The digits of a number, on both sides of its point.
struct Decimal {
    negative: bool,
    integer: Vec<u8>,
    fraction: Vec<u8>,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = before.bytes().chain(after.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || exponent.unsigned_abs() > MOST_DIGITS as u32 {
            return None;
        }
        let digits: Vec<u8> = digits.into_iter().map(|digit| digit - b'0').collect();
        let point = i64::try_from(before.len()).ok()? + i64::from(exponent);
        let (integer, fraction) = match usize::try_from(point) {
            Ok(point) if point <= digits.len() => (digits[..point].to_vec(), digits[point..].to_vec()),
            Ok(point) => ([digits.as_slice(), &vec![0; point - digits.len()]].concat(), Vec::new()),
            Err(_) => (Vec::new(), [vec![0; usize::try_from(-point).ok()?].as_slice(), &digits].concat()),
        };
        let leading = integer.iter().take_while(|digit| **digit == 0).count();
        Some(Self { negative, integer: integer[leading..].to_vec(), fraction })
    }

    /// Groups of four digits without zeros at either end, and the weight of the first.
    fn groups(&self) -> (Vec<i16>, i16) {
        let pad = |count: usize| vec![0; (4 - count % 4) % 4];
        let all =
            [pad(self.integer.len()).as_slice(), &self.integer, &self.fraction, &pad(self.fraction.len())].concat();
        let mut groups: Vec<i16> =
            all.chunks(4).map(|four| four.iter().fold(0, |sum, digit| sum * 10 + i16::from(*digit))).collect();
        let mut weight = i64::try_from(self.integer.len().div_ceil(4)).unwrap_or(0) - 1;
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        weight -= i64::try_from(leading).unwrap_or(0);
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() {
            weight = 0;
        }
        (groups, i16::try_from(weight).unwrap_or(0))
    }
}
