//! What a statement says of itself beside its accesses, and how refusals read.

use rota_classifier::{FunctionOrigin, Refusal, Statement, allowed_functions, classify};

fn found(statement: &str) -> Statement {
    classify(statement).unwrap_or_else(|refusal| panic!("{statement}: {refusal}"))
}

#[test]
fn the_target_is_what_changes_or_else_what_is_read_first() {
    for (statement, target) in [
        ("SELECT * FROM a JOIN b USING (id)", Some("a")),
        ("SELECT * FROM \"Odd \"\"name\"\"\".\"t%\n\"", Some("\"Odd \"\"name\"\"\".\"t%\n\"")),
        ("SELECT 1", None),
        ("WITH x AS (SELECT * FROM app.orders) SELECT * FROM x", Some("app.orders")),
        ("WITH d AS (DELETE FROM b RETURNING *) SELECT * FROM a, d", Some("b")),
        ("INSERT INTO a SELECT * FROM b", Some("a")),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE", Some("a")),
        ("EXPLAIN DELETE FROM a WHERE id = 1", Some("a")),
        ("VACUUM (ANALYZE) app.a, b", Some("app.a")),
        ("CREATE INDEX i ON app.a (b)", Some("app.a")),
        ("DROP TABLE app.a, b", Some("app.a")),
        ("DROP SCHEMA \"App\"", Some("\"App\"")),
        ("ALTER DATABASE \"-x\" RENAME TO y", Some("\"-x\"")),
        ("REINDEX DATABASE d", Some("d")),
        ("TRUNCATE b, a", Some("b")),
        ("CREATE TYPE app.mood AS ENUM ()", Some("app.mood")),
        ("COMMENT ON COLUMN app.t.a IS 'x'", Some("app.t.a")),
        ("SET LOCAL hnsw.ef_search = 1", Some("\"hnsw.ef_search\"")),
        ("CHECKPOINT", None),
    ] {
        assert_eq!(found(statement).target.as_deref(), target, "{statement}");
    }
}

#[test]
fn verbs_and_rows() {
    for (statement, verb, rows) in [
        ("SELECT 1", "SELECT", true),
        ("VALUES (1)", "VALUES", true),
        ("TABLE t", "SELECT", true),
        ("SELECT 1 INTO t", "SELECT INTO", false),
        ("SHOW all", "SHOW", true),
        ("EXPLAIN DELETE FROM t", "EXPLAIN", true),
        ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN ANALYZE", true),
        ("INSERT INTO t VALUES (1)", "INSERT", false),
        ("INSERT INTO t VALUES (1) RETURNING *", "INSERT", true),
        ("DELETE FROM t RETURNING 1", "DELETE", true),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x", "SELECT", true),
        ("VACUUM", "VACUUM", false),
        ("VACUUM ANALYZE", "VACUUM", false),
        ("ANALYZE", "ANALYZE", false),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "CREATE MATERIALIZED VIEW", false),
        ("CREATE TABLE v AS SELECT 1", "CREATE TABLE AS", false),
        ("ALTER INDEX i SET (fillfactor = 50)", "ALTER INDEX", false),
        ("ALTER MATERIALIZED VIEW v RENAME TO w", "ALTER MATERIALIZED VIEW", false),
        ("DROP MATERIALIZED VIEW v", "DROP MATERIALIZED VIEW", false),
        ("RESET work_mem", "RESET", false),
    ] {
        let statement = found(statement);
        assert_eq!((statement.verb, statement.returns_rows), (verb, rows));
    }
}

#[test]
fn functions_are_listed_once_in_order() {
    let statement = found("SELECT lower(upper(a)), pg_catalog.lower(b), lower(c) FROM generate_series(1, 2)");
    assert_eq!(statement.functions, ["generate_series", "lower", "upper", "pg_catalog.lower"]);
    assert!(statement.user_code.is_empty());
}

#[test]
fn users_code_is_named() {
    let statement = found("SELECT app.f(1), app.f(2), 'x'::mood, 1 OPERATOR(app.+) 2 FROM t TABLESAMPLE app.m (1)");
    assert_eq!(statement.user_code, ["sampling method app.m", "function app.f", "type mood", "operator app.+"]);
}

#[test]
fn refusals_say_what_and_why_and_what_to_do() {
    for (statement, parts) in [
        ("", &["empty", "send one SQL statement"][..]),
        ("SELECT 1; SELECT 2; SELECT 3", &["3 statements", "one by one"]),
        ("SELECT 1 FORM t", &["not valid SQL", "at or near \"t\"", "character 15"]),
        ("SELECT pg_databse_size('x')", &["pg_databse_size", "did you mean pg_database_size?", "with its schema"]),
        ("SELECT pg_catalog.pg_databse_size('x')", &["pg_catalog.pg_databse_size", "did you mean pg_database_size?"]),
        ("SELECT charge_customer(1)", &["charge_customer", "write + ddl granted"]),
        ("SELECT pg_terminate_backend(1)", &["the function pg_terminate_backend is refused", "terminate-backend"]),
        ("SELECT public.dblink('x')", &["the function public.dblink is refused", "connections"]),
        ("SELECT * FROM pg_authid", &["reading pg_authid is refused", "pg_roles"]),
        ("COPY t TO STDOUT", &["COPY is refused", "copy-out"]),
        ("BEGIN", &["transaction control is refused", "begin"]),
        ("SET search_path = x", &["SET search_path is refused", "with their schema"]),
        ("SET LOCAL statement_timeout = 0", &["SET statement_timeout is refused", "options of begin"]),
        ("DROP FUNCTION f()", &["DROP FUNCTION is refused"]),
        ("ALTER TABLE t OWNER TO joe", &["ALTER TABLE ... OWNER TO is refused", "a person"]),
        ("UPDATE t SET a = 1 WHERE CURRENT OF c", &["CurrentOfExpr", "does not know"]),
    ] {
        let refusal = classify(statement).map(|found| found.accesses).unwrap_err().to_string();
        for part in parts {
            assert!(refusal.contains(part), "{statement}: {refusal:?} has no {part:?}");
        }
    }
}

#[test]
fn a_long_message_is_cut() {
    let Err(Refusal::Syntax { message, .. }) = classify(&format!("SELECT 1 '{}", "x".repeat(10_000))) else { panic!() };
    assert!(message.len() < 300, "{message}");
}

#[test]
fn the_allow_list_can_be_checked_elsewhere() {
    let functions: Vec<_> = allowed_functions().collect();
    assert!(functions.len() > 800, "{}", functions.len());
    let origin = |name| functions.iter().find(|function| function.name == name).map(|function| function.origin);
    assert_eq!(origin("lower"), Some(FunctionOrigin::Catalog));
    assert_eq!(origin("pg_is_in_recovery"), Some(FunctionOrigin::CatalogVolatile));
    assert_eq!(origin("l2_distance"), Some(FunctionOrigin::Vector));
    assert_eq!(origin("pg_read_file"), None);
}
