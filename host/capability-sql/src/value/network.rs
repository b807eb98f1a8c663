//! `inet` and `cidr`, as the server prints them.

use super::{BadValue, Parts};
use crate::wit::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// PostgreSQL's own numbers for the families, the same on every platform.
const V4: u8 = 2;
const V6: u8 = 3;

pub(super) fn decode(bytes: &[u8]) -> Result<Value, BadValue> {
    let mut parts = Parts::new(bytes, "inet");
    let [family, bits, is_cidr, _length] = parts.take()?;
    let (address, all) = match family {
        V4 => (Ipv4Addr::from(parts.take::<4>()?).to_string(), 32),
        V6 => (v6(parts.take::<16>()?), 128),
        _ => return Err(BadValue("inet")),
    };
    Ok(Value::Inet(if is_cidr != 0 || bits != all { format!("{address}/{bits}") } else { address }))
}

/// Like Rust's own form, but for IPv4 addresses inside of IPv6, which the server prints with dots.
fn v6(octets: [u8; 16]) -> String {
    let address = Ipv6Addr::from(octets);
    let segments = address.segments();
    if segments[..6] == [0; 6] && segments[6] != 0 {
        let [.., a, b, c, d] = octets;
        return format!("::{a}.{b}.{c}.{d}");
    }
    address.to_string()
}

pub(super) fn encode(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let refused = || format!("`{}` is no inet", text.chars().take(60).collect::<String>());
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| refused())?)),
        None => (text, None),
    };
    match address.parse::<IpAddr>().map_err(|_| refused())? {
        IpAddr::V4(v4) => {
            let bits = bits.unwrap_or(32);
            if bits > 32 {
                return Err(refused());
            }
            out.extend_from_slice(&[V4, bits, 0, 4]);
            out.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            let bits = bits.unwrap_or(128);
            if bits > 128 {
                return Err(refused());
            }
            out.extend_from_slice(&[V6, bits, 0, 16]);
            out.extend_from_slice(&v6.octets());
        }
    }
    Ok(())
}
