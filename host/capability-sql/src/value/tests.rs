//! Forms that a server rarely sends. What it does send is tested against a real one in `tests/values.rs`.

use super::{BadValue, array, columns, network, numeric, scalar};
use crate::wit::Value;

fn wire(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    numeric::encode(text, &mut out).unwrap();
    out
}

#[test]
fn decimal_text_survives_the_wire() {
    for text in [
        "0",
        "0.00",
        "1",
        "-1",
        "10000",
        "9999",
        "10001",
        "123456789012345678901234567890",
        "0.0001",
        "0.00001",
        "-0.000000012300",
        "100000000",
        "1.5",
        "99999999.00000001",
        "NaN",
        "Infinity",
        "-Infinity",
    ] {
        assert_eq!(numeric::decode(&wire(text)).unwrap(), text);
    }
    for (text, same) in [
        ("1e3", "1000"),
        ("1.5E-3", "0.0015"),
        ("+00012.50", "12.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0", "0"),
        ("12e-4", "0.0012"),
        ("inf", "Infinity"),
    ] {
        assert_eq!(numeric::decode(&wire(text)).unwrap(), same);
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", ".", "1.2.3", "abc", "1e", "0x10", "1e999999", "--1", "1 000", "١"] {
        assert!(numeric::encode(text, &mut Vec::new()).is_err(), "{text}");
    }
}

#[test]
fn truncated_and_foreign_bytes_are_errors_and_no_panics() {
    let decoders: [super::Decode; 12] = [
        scalar::boolean,
        scalar::int64,
        scalar::date,
        scalar::interval,
        scalar::uuid,
        scalar::jsonb,
        scalar::vector,
        scalar::half_vector,
        scalar::decimal,
        network::decode,
        array::integers,
        array::texts,
    ];
    for decode in decoders {
        for bytes in [&[][..], &[0xff; 3], &[0xff; 5], &[0x7f; 64]] {
            let _: Result<Value, BadValue> = decode(bytes);
        }
    }
    // Three billion elements are announced and none sent.
    assert!(array::integers(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1]).is_err());
}

#[test]
fn half_precision_is_exact() {
    for (bits, number) in [
        (0x0000, 0.0_f32),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0001, 5.960_464_5e-8),
        (0x0400, 6.103_515_6e-5),
        (0x3555, 0.333_251_95),
    ] {
        assert_eq!(scalar::half(bits), number);
    }
    assert_eq!(scalar::half(0x7c00), f32::INFINITY);
    assert!(scalar::half(0x7e00).is_nan());
    assert!(scalar::half(0x8000).is_sign_negative());
}

#[test]
fn addresses_print_as_the_server_prints_them() {
    for text in ["10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::1", "2001:db8::/32", "::ffff:1.2.3.4", "::1.2.3.4", "::"] {
        let mut out = Vec::new();
        network::encode(text, &mut out).unwrap();
        assert_eq!(network::decode(&out).unwrap(), Value::Inet(text.into()));
    }
    for text in ["", "10.0.0", "10.0.0.1/33", "::1/129", "host"] {
        assert!(network::encode(text, &mut Vec::new()).is_err(), "{text}");
    }
}

#[test]
fn a_statement_that_needs_no_cast_is_not_wrapped() {
    assert_eq!(columns::wrapped("select 1", &[]), None);
}
