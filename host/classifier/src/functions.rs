//! Which functions, operators and types a statement may use, and what each asks for.
//!
//! The lists are data, sorted, one name a line:
//! - `functions.txt`: of pg_catalog in PostgreSQL 15 to 18, all of whose overloads are immutable or stable, and
//!   which do nothing but compute (checked by hand: `table_to_xml` and `txid_current` are "stable" and do more);
//! - `functions_volatile.txt`: of pg_catalog and volatile, but harmless, each with the reason;
//! - `functions_vector.txt`: pgvector 0.7 to 0.8, without its internal functions;
//! - `forbidden_functions.txt`: never accepted, whatever is granted, each with the group that says why;
//! - `operators.txt`, `operators_vector.txt`, `types.txt`: of pg_catalog and pgvector.

use std::sync::LazyLock;

use strsim::damerau_levenshtein;

/// Where an allowed function comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionOrigin {
    /// pg_catalog; in every supported version all overloads of the name are immutable or stable.
    Catalog,
    /// pg_catalog; volatile and harmless (a clock, a random value, a look at the server's state).
    CatalogVolatile,
    /// The extension pgvector, in whatever schema it was put.
    Vector,
}

/// A function that a statement may call with the access `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllowedFunction {
    /// Its name, without a schema.
    pub name: &'static str,
    /// Where it comes from.
    pub origin: FunctionOrigin,
}

/// What calling a function means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Computes or looks, nothing else.
    Allowed,
    /// Moves a sequence, assigns a transaction ID, or takes a lock until the transaction ends.
    Writes,
    /// A user's code, or a name that could be anybody's.
    User,
    /// Not on any list, and not named with a user's schema.
    Unknown,
    /// Never accepted.
    Forbidden(&'static str),
}

static CATALOG: LazyLock<Vec<&str>> = LazyLock::new(|| names(include_str!("data/functions.txt")));
static VOLATILE: LazyLock<Vec<&str>> = LazyLock::new(|| names(include_str!("data/functions_volatile.txt")));
static VECTOR: LazyLock<Vec<&str>> = LazyLock::new(|| names(include_str!("data/functions_vector.txt")));
static FORBIDDEN: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| pairs(include_str!("data/forbidden_functions.txt")));
static OPERATORS: LazyLock<Vec<&str>> = LazyLock::new(|| names(include_str!("data/operators.txt")));
static VECTOR_OPERATORS: LazyLock<Vec<&str>> = LazyLock::new(|| names(include_str!("data/operators_vector.txt")));
static TYPES: LazyLock<Vec<&str>> = LazyLock::new(|| names(include_str!("data/types.txt")));

/// Functions that change something and stay usable for those who may write. The advisory locks are those that end
/// with the transaction: a session's lock would outlive the run in a pooled connection.
const WRITING: [&str; 10] = [
    "currval",
    "lastval",
    "nextval",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_current_xact_id",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "setval",
    "txid_current",
];

/// Schemas in which extensions are customarily put. Their pgvector names are trusted as unqualified names are.
const EXTENSION_SCHEMAS: [&str; 4] = ["extensions", "pgvector", "public", "vector"];

/// Types of well-known extensions: their input functions are C and free of side effects.
const EXTENSION_TYPES: [&str; 18] = [
    "citext",
    "cube",
    "ean13",
    "halfvec",
    "hstore",
    "isbn",
    "isbn13",
    "ismn",
    "ismn13",
    "issn",
    "issn13",
    "lquery",
    "ltree",
    "ltxtquery",
    "seg",
    "sparsevec",
    "upc",
    "vector",
];

/// Sampling methods of the core (TABLESAMPLE).
const SAMPLING: [&str; 2] = ["bernoulli", "system"];

/// Families of which every member is refused, later versions' too. `true`: in any schema.
const FORBIDDEN_PREFIXES: [(&str, bool, &str); 14] = [
    ("binary_upgrade_", false, "server"),
    ("dblink", true, "connection"),
    ("lo_", false, "large-object"),
    ("pg_advisory_", false, "advisory"),
    ("pg_backup_", false, "server"),
    ("pg_clear_", false, "statistics"),
    ("pg_file_", false, "files"),
    ("pg_logical_", false, "replication"),
    ("pg_ls_", false, "files"),
    ("pg_read_", false, "files"),
    ("pg_replication_", false, "replication"),
    ("pg_restore_", false, "statistics"),
    ("pg_stat_reset", false, "statistics"),
    ("pg_try_advisory_", false, "advisory"),
];

/// Every function that `read` may call, to be checked against a real server's pg_proc.
pub fn allowed_functions() -> impl Iterator<Item = AllowedFunction> {
    let of = |list: &'static [&'static str], origin| list.iter().map(move |name| AllowedFunction { name, origin });
    of(&CATALOG, FunctionOrigin::Catalog)
        .chain(of(&VOLATILE, FunctionOrigin::CatalogVolatile))
        .chain(of(&VECTOR, FunctionOrigin::Vector))
}

/// Judges a function by its schema, if one was written, and its name.
pub(crate) fn function(schema: Option<&str>, name: &str) -> Verdict {
    let catalog = schema.is_none_or(|schema| schema == "pg_catalog");
    if catalog && (has(&CATALOG, name) || has(&VOLATILE, name)) {
        return Verdict::Allowed;
    }
    if catalog && has(&WRITING, name) {
        return Verdict::Writes;
    }
    if let Some(group) = forbidden_group(catalog, name) {
        return Verdict::Forbidden(why(group));
    }
    extension_or_user(schema, has(&VECTOR, name))
}

/// Whether an unknown name looks like one of the server's own functions: later versions bring new ones.
pub(crate) fn could_be_the_servers(name: &str) -> bool {
    ["pg_", "lo_", "dblink", "txid_", "binary_upgrade_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Judges an operator.
pub(crate) fn operator(schema: Option<&str>, name: &str) -> Verdict {
    if schema.is_none_or(|schema| schema == "pg_catalog") && has(&OPERATORS, name) {
        return Verdict::Allowed;
    }
    // pgvector has + - * || and the comparisons too.
    let vector = has(&VECTOR_OPERATORS, name)
        || has(&["*", "+", "-", "<", "<->", "<=", "<=>", "<>", "=", ">", ">=", "||"], name);
    extension_or_user(schema, vector)
}

/// Judges a type to which something is cast, or which a column has.
pub(crate) fn type_name(schema: Option<&str>, name: &str) -> Verdict {
    // An array type's own name is its element's with an underscore.
    let element = name.strip_prefix('_').unwrap_or(name);
    if schema.is_none_or(|schema| schema == "pg_catalog") && has(&TYPES, element) {
        return Verdict::Allowed;
    }
    match extension_or_user(schema, EXTENSION_TYPES.contains(&element)) {
        // A type's name says nothing about who made it: there is no list of types to be on.
        Verdict::Unknown => Verdict::User,
        verdict => verdict,
    }
}

/// Judges a sampling method.
pub(crate) fn sampling(schema: Option<&str>, name: &str) -> Verdict {
    if schema.is_none_or(|schema| schema == "pg_catalog") && has(&SAMPLING, name) {
        return Verdict::Allowed;
    }
    extension_or_user(schema, false)
}

fn extension_or_user(schema: Option<&str>, known: bool) -> Verdict {
    match schema {
        None if known => Verdict::Allowed,
        Some(schema) if known && EXTENSION_SCHEMAS.contains(&schema) => Verdict::Allowed,
        None | Some("pg_catalog") => Verdict::Unknown,
        Some(_) => Verdict::User,
    }
}

/// The allowed function that is spelled most like `name`.
pub(crate) fn nearest_function(name: &str) -> Option<String> {
    // Beyond this it is no typing error, and comparing would cost.
    if name.len() > 40 {
        return None;
    }
    let limit = 1 + name.len() / 5;
    allowed_functions()
        .filter(|allowed| allowed.name.len().abs_diff(name.len()) <= limit)
        .map(|allowed| (damerau_levenshtein(allowed.name, name), allowed.name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name.to_owned())
}

fn forbidden_group(catalog: bool, name: &str) -> Option<&'static str> {
    if let Ok(at) = FORBIDDEN.binary_search_by(|(listed, _)| (*listed).cmp(name)) {
        return Some(FORBIDDEN[at].1);
    }
    FORBIDDEN_PREFIXES
        .iter()
        .find(|(prefix, anywhere, _)| (catalog || *anywhere) && name.starts_with(prefix))
        .map(|(_, _, group)| *group)
}

fn why(group: &str) -> &'static str {
    match group {
        "advisory" => {
            "a session's advisory lock outlives the run in a pooled connection; use pg_advisory_xact_lock or \
             pg_try_advisory_xact_lock in a transaction"
        }
        "connection" => "it opens connections from the database server to elsewhere, past every binding",
        "files" => "it reads or changes files of the database server's host",
        "large-object" => {
            "large objects are read, written and exchanged with the server's files past every table privilege"
        }
        "notify" => "it sends a message to other sessions; notifications are no part of the contract",
        "reload" => "having the server read its files again has its own typed verb, reload-configuration",
        "promote" => "promoting a standby has its own typed verb, promote",
        "replication" => "it creates, moves or drops replication state, or writes to the WAL",
        "runs-sql" => {
            "it runs SQL that it is given as a string or reads relations by name, which the classifier cannot judge"
        }
        "server" => "it controls the server or repairs its insides, and has no typed verb",
        "setting" => "it changes the session's settings; use SET LOCAL for the few that may be set",
        "signal" => {
            "cancelling and terminating sessions have their own typed verbs, cancel-backend and terminate-backend"
        }
        "sleep" => "it only holds a connection and its locks; wait in the procedure instead",
        "snapshot" => "it writes a file on the server which other sessions can use; no verb of the contract needs it",
        "statistics" => "it resets or forges statistics on which others decide",
        // A test sees to it that every group of the data has a reason above.
        _ => "it is on the list of functions that are never accepted",
    }
}

fn has(sorted: &[&str], name: &str) -> bool {
    sorted.binary_search(&name).is_ok()
}

fn names(data: &'static str) -> Vec<&'static str> {
    pairs(data).into_iter().map(|(name, _)| name).collect()
}

fn pairs(data: &'static str) -> Vec<(&'static str, &'static str)> {
    data.lines().map(|line| line.split_once('\t').unwrap_or((line, ""))).collect()
}

#[cfg(test)]
mod tests;
