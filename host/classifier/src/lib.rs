//! Classifies one SQL statement into the access words of a `sql` grant, with PostgreSQL's own grammar.
//!
//! [`classify`] parses (crate `pg_query`, the grammar of PostgreSQL 18), walks every node of the tree and says what
//! must be granted, how bad the effect can be, and whether the statement may run in a transaction. It denies by
//! default: a kind of node, a function, an operator, an option or a setting that it does not know is refused. It
//! contacts nothing.
//!
//! # What asks for what
//!
//! | statement | accesses | effect |
//! |---|---|---|
//! | SELECT, VALUES, TABLE, SHOW, EXPLAIN without ANALYZE | `read` | read |
//! | SELECT ... FOR UPDATE or SHARE, LOCK TABLE, SET CONSTRAINTS | `write` (and `read`) | write |
//! | INSERT, UPDATE, DELETE, MERGE | `write`; `read` with a subquery, FROM, USING or RETURNING | write; destructive without a WHERE that looks at a column |
//! | TRUNCATE | `write` | destructive |
//! | VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT, REFRESH MATERIALIZED VIEW | `maintain` | write |
//! | CREATE, ALTER, DROP INDEX | `index`; RENAME and CASCADE also `ddl` | write; CASCADE destructive |
//! | tables, views, schemas, sequences, types, domains, statistics, extensions, databases, COMMENT | `ddl` | write; DROP, DROP COLUMN, a column's new type and SET UNLOGGED destructive |
//! | CREATE TABLE AS, CREATE VIEW, SELECT INTO | `ddl` and what the query asks for | write |
//! | EXPLAIN ANALYZE x | `read` and what x asks for | as x |
//! | DROP DATABASE ... FORCE | `ddl` + `signal` | destructive |
//! | COPY, by [`classify_copy`] only | `copy-out` + `read` and what its query asks for, or `copy-in` | read, write |
//! | ALTER SYSTEM SET, RESET of a parameter of a list | `alter-system`, and that the binding names it | write |
//! | SET, RESET of a few settings of planning, memory and output | `read` | read |
//!
//! What is within counts as if it stood alone: a CTE that deletes makes a SELECT ask for `write`.
//!
//! # Decisions
//!
//! - **Functions** are allowed by name: those of pg_catalog that compute or look, and pgvector's. `nextval` and its
//!   kin, advisory locks of the transaction, and functions that assign a transaction ID ask for `write`. What reaches
//!   files, other servers, other sessions, settings or replication, or runs SQL given as a string, is refused
//!   **whatever is granted** ([`Refusal::Forbidden`]), under any schema's name.
//! - **Users' code** (functions, operators and sampling methods that are named with a schema other than pg_catalog;
//!   values of types that are neither core nor a known extension's) cannot be judged. It asks for `write` + `ddl`: it
//!   could do anything that the role may. [`Statement::user_code`] names it. An unknown function *without* a schema
//!   is refused: it is a typing error, or leaves it to the search path what runs.
//! - pgvector's names count as its own without a schema or in `public`, `extensions`, `vector` or `pgvector`.
//! - **Signals and promotion** have no statement; they are typed verbs.
//! - **ALTER INDEX ... RENAME** also asks for `ddl`, because PostgreSQL lets it rename tables and views.
//! - **SET**: the session is reset before anyone else gets it, so SET and RESET may do what SET LOCAL may. Nothing
//!   may be set that changes what a statement means, whether it may write or how long it may take.
//! - **ALTER SYSTEM** sets parameters of memory, planning, writing, vacuuming and measuring ([`server_parameter`]), to one plain value; what runs a
//!   program, loads code, names a file, opens a door, gives up what was committed, or is an extension's is refused. READ ONLY does not stop it.
//! - **LOCK TABLE** asks for `write` in every mode; **row-level security, triggers, rules, owners and privileges**
//!   are never changed; `CREATE DATABASE ... OWNER` is accepted, since restoring needs it.
//! - **Catalogs** may be read but for secrets (`pg_authid`, `pg_statistic` ...) and never changed. `pg_file_settings`
//!   and `pg_ident_file_mappings` may be read, `pg_hba_file_rules` not (its options can hold LDAP secrets).
//!
//! # What the parser cannot see
//!
//! It is one wall of three. Behind a name that it accepts there can be a user's code: views, rules, triggers, row
//! security, generated columns, domains' checks, index expressions, casts and operators of users' types; an overload
//! of a core function's name in the search path; a function called as a column (`t.f` is `f(t)` if there is no such
//! column). For those the host runs `query` in a READ ONLY transaction, under the binding's role, and with a search
//! path that has no schema in which others may create. READ ONLY is not enough by itself: `SET TRANSACTION READ
//! WRITE`, `pg_read_file`, `pg_terminate_backend`, CHECKPOINT and ANALYZE go through it. That is this crate's part.
//!
//! # What the host must do
//!
//! - Connect with `standard_conforming_strings = on` and `client_encoding = UTF8`: with other values the server would
//!   read another statement than the one that was judged.
//! - Send exactly the text that was classified, by the extended protocol.

mod access;
mod bounds;
mod functions;
mod parser;
mod refusal;
mod relations;
mod server_parameters;
mod settings;
mod statement;
mod walk;

pub use access::{AccessSet, EffectClass, SqlAccess, UnknownAccess};
pub use bounds::{MAX_CODE_BYTES, MAX_STATEMENT_BYTES};
pub use functions::{AllowedFunction, FunctionOrigin, allowed_functions};
pub use refusal::Refusal;
pub use server_parameters::server_parameter;
pub use statement::{Statement, TransactionRule};

/// Classifies one statement that is no COPY.
///
/// ```
/// use rota_classifier::{EffectClass, SqlAccess, classify};
///
/// let statement = classify("WITH old AS (DELETE FROM runs WHERE age > $1 RETURNING *) SELECT count(*) FROM old")?;
/// assert_eq!(statement.accesses.to_string(), "read + write");
/// assert_eq!(statement.effect, EffectClass::Write);
/// assert_eq!(statement.target.as_deref(), Some("runs"));
/// assert!(classify("SELECT pg_read_file('/etc/passwd')").is_err());
/// # Ok::<(), rota_classifier::Refusal>(())
/// ```
///
/// # Errors
///
/// A [`Refusal`] is final: no grant makes the statement acceptable.
pub fn classify(statement: &str) -> Result<Statement, Refusal> {
    bounds::check(statement)?;
    parser::parse(statement, walk::classify)
}

/// Which way a COPY goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyDirection {
    /// COPY ... TO STDOUT.
    Out,
    /// COPY ... FROM STDIN.
    In,
}

/// Classifies a COPY to or from the client; anything else is refused.
///
/// # Errors
///
/// A [`Refusal`] is final: no grant makes the statement acceptable.
pub fn classify_copy(statement: &str, direction: CopyDirection) -> Result<Statement, Refusal> {
    bounds::check(statement)?;
    parser::parse(statement, move |tree| walk::classify_copy(tree, direction == CopyDirection::In))
}
