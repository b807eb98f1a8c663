//! `pg_dump` (13 to 18): one database to standard output.

use super::options::{COMMON, FILE, JOBS, Opt, flag, flag_or, read, refused, refused_or, value, value_or};
use super::shape::Shape;
use super::{Checked, Reach, Refusal};
use rota_authority::SqlAccess;

/// Not `directory`, which is files, nor `tar`, for which pg_dump keeps each table in a temporary file of the machine's.
const FORMATS: Shape = Shape::OneOf(&["c", "custom", "p", "plain"]);

const OPTIONS: &[Opt] = &[
    flag_or('a', "data-only"),
    // The letters stand for the old names, which all of these versions know.
    flag_or('b', "blobs"),
    flag("large-objects"),
    flag_or('B', "no-blobs"),
    flag("no-large-objects"),
    flag_or('c', "clean"),
    flag_or('C', "create"),
    value_or('e', "extension", Shape::Name),
    value("exclude-extension", Shape::Name),
    value_or('E', "encoding", Shape::Word),
    refused_or('f', "file", FILE),
    value_or('F', "format", FORMATS),
    refused_or('j', "jobs", JOBS),
    value_or('n', "schema", Shape::Name),
    value_or('N', "exclude-schema", Shape::Name),
    flag_or('O', "no-owner"),
    flag_or('s', "schema-only"),
    value_or('S', "superuser", Shape::Name),
    value_or('t', "table", Shape::Name),
    value_or('T', "exclude-table", Shape::Name),
    value("table-and-children", Shape::Name),
    value("exclude-table-and-children", Shape::Name),
    value("exclude-table-data", Shape::Name),
    value("exclude-table-data-and-children", Shape::Name),
    flag_or('v', "verbose"),
    flag_or('x', "no-privileges"),
    flag("no-acl"),
    value_or('Z', "compress", Shape::Compression),
    flag("attribute-inserts"),
    flag("column-inserts"),
    flag("disable-dollar-quoting"),
    flag("disable-triggers"),
    flag("enable-row-security"),
    value("extra-float-digits", Shape::Number(-15, 3)),
    flag("if-exists"),
    refused("include-foreign-data", "it makes the server reach other servers"),
    flag("inserts"),
    flag("load-via-partition-root"),
    value("lock-wait-timeout", Shape::Span),
    flag("no-comments"),
    flag("no-data"),
    flag("no-policies"),
    flag("no-publications"),
    flag("no-schema"),
    flag("no-security-labels"),
    flag("no-statistics"),
    flag("no-subscriptions"),
    flag("no-sync"),
    flag("no-synchronized-snapshots"),
    flag("no-table-access-method"),
    flag("no-tablespaces"),
    flag("no-toast-compression"),
    flag("no-unlogged-table-data"),
    flag("on-conflict-do-nothing"),
    flag("quote-all-identifiers"),
    value("restrict-key", Shape::Word),
    value("rows-per-insert", Shape::Number(1, 1_000_000)),
    value("section", Shape::OneOf(&["pre-data", "data", "post-data"])),
    flag("sequence-data"),
    flag("serializable-deferrable"),
    value("snapshot", Shape::Word),
    flag("statistics"),
    flag("statistics-only"),
    flag("strict-names"),
    flag("use-set-session-authorization"),
];

pub(super) fn check(arguments: &[String], connected: bool) -> Result<Checked, Refusal> {
    let given = read(&[OPTIONS, COMMON], arguments)?;
    if !connected {
        return Err(Refusal::wrong("pg_dump needs a database: give `connection` with the sql slot"));
    }
    Ok(Checked {
        arguments: given.iter().map(|option| option.canonical()).collect(),
        needs: (&[SqlAccess::Read]).into(),
        reach: Reach::Environment,
        only_reads: false,
        destructive: false,
        spooled: false,
    })
}
