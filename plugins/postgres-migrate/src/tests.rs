//! What the tool says is read right, and nothing is started that should not be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::scripts::{heads, history};
use crate::state::State;
use rota_sdk::mock::*;

#[test]
fn the_declaration_holds() {
    check_declaration::<Plugin>();
}

#[test]
fn heads_are_found_among_what_is_logged() {
    let said = "INFO  [alembic] reading (head) things\n0003 (head)\n27c6 (billing) (head)\n0001\n";
    assert_eq!(heads("0003 (head)\n"), ["0003"]);
    assert_eq!(heads("27c6 (billing) (effective head) (head)\nae10 (head)\n"), ["27c6", "ae10"]);
    assert_eq!(heads("INFO  [alembic.runtime] Context impl PostgresqlImpl.\n"), Vec::<String>::new());
    // A line of the log is none, whatever it holds.
    assert_eq!(heads(said), ["0003", "27c6"]);
}

#[test]
fn history_comes_in_the_order_of_its_doing() {
    let said =
        "0002 -> 0003 (head), an index, built late\n0001 -> 0002, customers\n<base> -> 0001, orders\nINFO something\n";
    let versions: Vec<String> = history(said, Some("0001")).into_iter().map(|one| one.version).collect();
    assert_eq!(versions, ["0002", "0003"]);
    let all = history(said, None);
    assert_eq!((all.len(), all[2].message.as_str()), (3, "an index, built late"));
}

#[test]
fn what_was_applied_is_told_by_where_it_stands() {
    let pending = history("0002 -> 0003, c\n0001 -> 0002, b\n<base> -> 0001, a\n", None);
    let at = |versions: &[&str]| State { versions: versions.iter().map(ToString::to_string).collect(), dirty: false };
    let (before, after) = (at(&[]), at(&["0002"]));
    let applied = state::applied(&before, &after, Some(&pending));
    assert_eq!(applied, ["0001", "0002"]);
    assert_eq!(state::failed_at(Some(&pending), &applied, &after).as_deref(), Some("0003"));
    assert_eq!(state::applied(&before, &before, Some(&pending)), Vec::<String>::new());
    assert_eq!(state::applied(&at(&["1"]), &at(&["1", "2", "3"]), None), ["2", "3"]);
}

#[test]
fn only_a_lock_that_was_not_had_is_tried_again() {
    assert!(apply::is_lock_timeout("psycopg.errors.LockNotAvailable: canceling statement due to lock timeout"));
    assert!(!apply::is_lock_timeout("ERROR: canceling statement due to statement timeout"));
}

fn host(version: Option<&str>) -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    database.inspected(Timestamp(0), Timestamp(1), None, true);
    let columns = if version.is_some() {
        rows! { ["attname"] => ["version_num"] }
    } else {
        MockRows::none()
    };
    database.on("from pg_catalog.pg_attribute", columns);
    database.on("format('%I.%I', $1", rows! { ["format"] => ["public.alembic_version"] });
    if let Some(version) = version {
        database.on("select version_num::text", rows! { ["version_num"] => [version] });
    }
    database.on("from pg_catalog.pg_index", MockRows::none());
    host.tool("migrate").version("1.20.1");
    host
}

#[test]
fn a_schema_at_its_head_starts_nothing() {
    let host = host(Some("0003"));
    host.tool("migrate").on("heads", ToolOutput::success("0003 (head)\n"));
    host.storage("bucket");
    let report = host.run::<Plugin>(json!({ "config": "/srv/alembic.ini" })).unwrap();
    assert_eq!(report.data["attempts"], 0);
    assert!(!host.tool("migrate").calls().iter().any(|call| call.iter().any(|word| word == "upgrade")));
}

#[test]
fn several_heads_and_missing_parameters_are_refused_before_anything_runs() {
    let several = host(Some("0001"));
    several.tool("migrate").on("heads", ToolOutput::success("0003 (head)\n0004 (head)\n"));
    let failed = several.run::<Plugin>(json!({ "config": "/srv/alembic.ini" })).unwrap_err();
    assert!(failed.message.contains("2 heads"), "{failed:?}");
    for parameters in [json!({}), json!({ "layout": "schema-migrations" }), json!({ "config": "/a", "expect": "3" })] {
        assert!(host(None).run::<Plugin>(parameters).is_err());
    }
}

#[test]
fn a_table_that_is_not_there_is_no_beginning_unless_it_is_said_to_be() {
    let host = host(None);
    host.sql("database").on("c.relkind in ('r', 'p')", rows! { ["nspname"] => ["app"] });
    let failed = host.run::<Plugin>(json!({ "config": "/srv/alembic.ini" })).unwrap_err();
    assert!(failed.message.contains("no table public.alembic_version"), "{failed:?}");
    assert!(failed.hint.as_deref().unwrap().contains("there is one in schema app"), "{failed:?}");
    assert!(host.tool("migrate").calls().is_empty(), "nothing was even asked");
    host.tool("migrate").on("heads", ToolOutput::success("0002 (head)\n")).only_reads();
    host.tool("migrate").on("history", ToolOutput::success("<base> -> 0002 (head), b\n")).only_reads();
    host.tool("migrate").on("upgrade", ToolOutput::success(""));
    let plan = host.plan().run::<Plugin>(json!({ "config": "/srv/alembic.ini", "new_database": true })).unwrap();
    assert_eq!(
        (&plan.data["from"], &plan.data["pending"][0]["version"]),
        (&Json::Null, &json!("0002")),
        "{}",
        plan.data
    );
}

#[test]
fn without_a_backup_nothing_is_applied() {
    let host = host(Some("0001"));
    host.tool("migrate").on("heads", ToolOutput::success("0002 (head)\n"));
    host.tool("migrate").on("history", ToolOutput::success("0001 -> 0002 (head), b\n"));
    host.storage("bucket");
    let failed = host.run::<Plugin>(json!({ "config": "/srv/alembic.ini" })).unwrap_err();
    assert!(failed.message.contains("no usable backup"), "{failed:?}");
    assert!(!host.tool("migrate").calls().iter().any(|call| call.iter().any(|word| word == "upgrade")));
}
