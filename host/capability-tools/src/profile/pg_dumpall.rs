//! `pg_dumpall` (13 to 18): roles and tablespaces to standard output. Databases are dumped one by one, by `pg_dump`.

use super::options::{COMMON, FILE, Opt, flag, flag_or, read, refused, refused_or, value, value_or};
use super::shape::Shape;
use super::{Checked, Reach, Refusal};
use rota_authority::SqlAccess;

const GLOBALS: &str = "only `--globals-only` is allowed; dump databases one by one with pg_dump";

const OPTIONS: &[Opt] = &[
    flag_or('g', "globals-only"),
    flag_or('c', "clean"),
    value_or('E', "encoding", Shape::Word),
    flag("if-exists"),
    flag_or('O', "no-owner"),
    value_or('S', "superuser", Shape::Name),
    flag_or('v', "verbose"),
    flag_or('x', "no-privileges"),
    flag("no-acl"),
    flag("disable-dollar-quoting"),
    value("lock-wait-timeout", Shape::Span),
    flag("no-comments"),
    flag("no-role-passwords"),
    flag("no-security-labels"),
    flag("no-sync"),
    flag("no-tablespaces"),
    flag("quote-all-identifiers"),
    value("restrict-key", Shape::Word),
    flag("use-set-session-authorization"),
    refused_or('f', "file", FILE),
    refused_or('F', "format", FILE),
    refused_or('l', "database", super::options::ADDRESS),
    refused_or('a', "data-only", GLOBALS),
    refused_or('s', "schema-only", GLOBALS),
    refused_or('r', "roles-only", GLOBALS),
    refused_or('t', "tablespaces-only", GLOBALS),
    refused("exclude-database", GLOBALS),
];

pub(super) fn check(arguments: &[String], connected: bool) -> Result<Checked, Refusal> {
    let given = read(&[OPTIONS, COMMON], arguments)?;
    if !given.iter().any(|option| option.long == "globals-only") {
        return Err(Refusal::denied(
            "pg_dumpall must be given `--globals-only`; dump databases one by one with pg_dump",
        ));
    }
    if !connected {
        return Err(Refusal::wrong("pg_dumpall needs a server: give `connection` with the sql slot"));
    }
    Ok(Checked {
        arguments: given.iter().map(|option| option.canonical()).collect(),
        needs: (&[SqlAccess::Read]).into(),
        reach: Reach::Database,
        only_reads: false,
        destructive: false,
        spooled: false,
    })
}
