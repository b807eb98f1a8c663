//! What becomes of each column: which decoder, and whether the server must cast it to text first.

use super::{Decode, array, extent, network, scalar};
use crate::wit::Column;
use sqlx::postgres::{PgColumn, PgTypeInfo, PgTypeKind};
use sqlx::{Column as _, TypeInfo as _};
use std::fmt::Write as _;

/// One column of a statement's answer.
pub(crate) struct Plan {
    pub(crate) column: Column,
    pub(crate) decode: Decode,
    cast: Cast,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    /// Decoded from its own binary form.
    None,
    /// The server prints it.
    Text,
    /// The server prints each element.
    Texts,
}

/// Plan all columns of a described statement.
pub(crate) fn plan(columns: &[PgColumn]) -> Vec<Plan> {
    columns
        .iter()
        .map(|column| {
            let (decode, cast) = choose(column.type_info());
            let column = Column { name: column.name().to_owned(), type_name: type_name(column.type_info()) };
            Plan { column, decode, cast }
        })
        .collect()
}

/// The statement around the original one that casts what needs it, if any column does. The names that
/// the guest sees are the original's; these are only for the server.
pub(crate) fn wrapped(statement: &str, plans: &[Plan]) -> Option<String> {
    if plans.iter().all(|plan| plan.cast == Cast::None) {
        return None;
    }
    let mut select = String::from("SELECT ");
    let mut names = String::new();
    for (at, plan) in plans.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let cast = match plan.cast {
            Cast::None => "",
            Cast::Text => "::pg_catalog.text",
            Cast::Texts => "::pg_catalog.text[]",
        };
        let _ = write!(select, "{comma}c{at}{cast}");
        let _ = write!(names, "{comma}c{at}");
    }
    // The line end closes a comment that the statement may end with.
    Some(format!("{select} FROM (\n{}\n) AS q({names})", extent::code(statement)))
}

/// By OID for the types of PostgreSQL itself, whose numbers never change; by kind and name for others.
fn choose(info: &PgTypeInfo) -> (Decode, Cast) {
    let native = |decode: Decode| (decode, Cast::None);
    match info.oid().map_or(0, |oid| oid.0) {
        16 => native(scalar::boolean),
        17 => native(scalar::bytea),
        18 => native(scalar::single_byte),
        // name, text, unknown, bpchar, varchar, refcursor
        19 | 25 | 705 | 1042 | 1043 | 1790 => native(scalar::text),
        20 => native(scalar::int64),
        21 => native(scalar::int16),
        23 => native(scalar::int32),
        26 => native(scalar::oid),
        28 => native(scalar::xid),
        114 => native(scalar::json),
        650 | 869 => native(network::decode),
        700 => native(scalar::float32),
        701 => native(scalar::float64),
        1000 => native(array::booleans),
        // name[], text[], bpchar[], varchar[]
        1003 | 1009 | 1014 | 1015 => native(array::texts),
        1005 | 1007 | 1016 => native(array::integers),
        1021 | 1022 => native(array::floats),
        1082 => native(scalar::date),
        1083 => native(scalar::time),
        1114 => native(scalar::timestamp),
        1184 => native(scalar::timestamptz),
        1186 => native(scalar::interval),
        1700 => native(scalar::decimal),
        2278 => native(scalar::nothing),
        2950 => native(scalar::uuid),
        3220 => native(scalar::lsn),
        3802 => native(scalar::jsonb),
        5069 => native(scalar::xid8),
        // regproc, regprocedure, regoper, regoperator, regclass, regtype, regconfig, regdictionary, regnamespace, regrole, regcollation
        24 | 2202..=2206 | 3734 | 3769 | 4089 | 4096 | 4191 => (scalar::object_name, Cast::Text),
        // int2vector and oidvector: arrays by their storage, lists of numbers by their notation.
        22 | 30 => (scalar::text, Cast::Text),
        _ => by_kind(info),
    }
}

fn by_kind(info: &PgTypeInfo) -> (Decode, Cast) {
    match info.kind() {
        PgTypeKind::Enum(_) => (scalar::text, Cast::None),
        PgTypeKind::Array(element) if matches!(element.kind(), PgTypeKind::Enum(_)) => (array::texts, Cast::None),
        PgTypeKind::Array(_) => (array::texts, Cast::Texts),
        PgTypeKind::Simple => match unqualified(info.name()) {
            "vector" => (scalar::vector, Cast::None),
            "halfvec" => (scalar::half_vector, Cast::None),
            _ => (scalar::text, Cast::Text),
        },
        _ => (scalar::text, Cast::Text),
    }
}

/// The name without its schema, which the server adds to types outside of the search path.
fn unqualified(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// The server's name of a type: `int8`, `timestamptz`, `vector`, with `[]` for arrays.
fn type_name(info: &PgTypeInfo) -> String {
    match info.oid().map_or(0, |oid| oid.0) {
        18 => "char".into(),
        1042 => "bpchar".into(),
        1002 => "char[]".into(),
        1014 => "bpchar[]".into(),
        oid if oid < 10_000 => info.name().to_lowercase(),
        _ => info.name().to_owned(),
    }
}
