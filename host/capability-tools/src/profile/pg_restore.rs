//! `pg_restore` (13 to 18): an archive from standard input, into a database, or to standard output.

use super::options::{COMMON, FILE, Opt, flag, flag_or, read, refused_or, value, value_or};
use super::shape::Shape;
use super::{Checked, Reach, Refusal};
use rota_authority::SqlAccess;

/// What an archive may do to a database: any statement can be in it.
const RESTORES: &[SqlAccess] = &[SqlAccess::Write, SqlAccess::Ddl, SqlAccess::Index, SqlAccess::Maintain];

const OPTIONS: &[Opt] = &[
    flag_or('a', "data-only"),
    flag_or('c', "clean"),
    refused_or(
        'C',
        "create",
        "the archive would name the database; name it in `connection`, where the job can be held to it",
    ),
    flag_or('e', "exit-on-error"),
    value_or('f', "file", Shape::Output),
    value_or('F', "format", Shape::OneOf(&["c", "custom", "t", "tar"])),
    value_or('P', "function", Shape::Name),
    value_or('I', "index", Shape::Name),
    value_or('j', "jobs", Shape::Number(1, 64)),
    flag_or('l', "list"),
    refused_or('L', "use-list", FILE),
    value_or('n', "schema", Shape::Name),
    value_or('N', "exclude-schema", Shape::Name),
    flag_or('O', "no-owner"),
    flag_or('s', "schema-only"),
    value_or('S', "superuser", Shape::Name),
    value_or('t', "table", Shape::Name),
    value_or('T', "trigger", Shape::Name),
    flag_or('v', "verbose"),
    flag_or('x', "no-privileges"),
    flag("no-acl"),
    flag_or('1', "single-transaction"),
    flag("disable-triggers"),
    flag("enable-row-security"),
    flag("if-exists"),
    flag("no-comments"),
    flag("no-data"),
    flag("no-data-for-failed-tables"),
    flag("no-policies"),
    flag("no-publications"),
    flag("no-schema"),
    flag("no-security-labels"),
    flag("no-statistics"),
    flag("no-subscriptions"),
    flag("no-table-access-method"),
    flag("no-tablespaces"),
    value("restrict-key", Shape::Word),
    value("section", Shape::OneOf(&["pre-data", "data", "post-data"])),
    flag("statistics"),
    flag("statistics-only"),
    flag("strict-names"),
    value("transaction-size", Shape::Number(1, 1_000_000_000)),
    flag("use-set-session-authorization"),
];

pub(super) fn check(arguments: &[String], connected: bool) -> Result<Checked, Refusal> {
    let given = read(&[OPTIONS, COMMON], arguments)?;
    let has = |long: &str| given.iter().any(|option| option.long == long);
    if connected && (has("list") || has("file")) {
        return Err(Refusal::wrong(
            "pg_restore writes either to standard output (--list, --file=-) or into a database (`connection`), not both",
        ));
    }
    if !connected && has("jobs") {
        return Err(Refusal::wrong("pg_restore works in parallel only into a database (`connection`)"));
    }
    // `--file=-` is added again below, once, where the program needs it.
    let mut canonical: Vec<String> =
        given.iter().filter(|option| option.long != "file").map(|option| option.canonical()).collect();
    if !connected && !has("list") {
        canonical.push("--file=-".into());
    }
    let (needs, reach): (&'static [_], _) = if connected { (RESTORES, Reach::Dbname) } else { (&[], Reach::Nothing) };
    Ok(Checked {
        arguments: canonical,
        needs: needs.into(),
        reach,
        only_reads: !connected,
        destructive: connected && has("clean"),
        // Parallel work seeks in the archive, which a stream does not let it.
        spooled: has("jobs"),
    })
}
