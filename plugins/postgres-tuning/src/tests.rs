//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use crate::memory::quantity;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

const GB: f64 = 1_073_741_824.0;
const MB: f64 = 1_048_576.0;

/// The runbook's own settings, for a node of 8 GB.
fn runbook() -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    let now = Timestamp(1_767_225_600_000_000);
    host.set_now(now);
    database.inspected(now, now, None, true);
    database.on("select pg_size_bytes($1)", rows! { ["bytes"] => [8_589_934_592_i64] });
    let setting = |name: &str, value: f64, shown: &str, memory: bool, restart: bool| {
        rows! { ["name", "value", "shown", "is_memory", "restart", "source", "pending"] => [name, value, shown, memory, restart, "configuration file", false] }
    };
    let all = setting("shared_buffers", 2.0 * GB, "2GB", true, true)
        .and(setting("work_mem", 64.0 * MB, "64MB", true, false))
        .and(setting("hash_mem_multiplier", 2.0, "2", false, false))
        .and(setting("maintenance_work_mem", 512.0 * MB, "512MB", true, false))
        .and(setting("max_connections", 200.0, "200", false, true))
        .and(setting("autovacuum_max_workers", 3.0, "3", false, true))
        .and(setting("max_parallel_workers", 4.0, "4", false, false))
        .and(setting("autovacuum_work_mem", -1024.0, "-1", true, false))
        .and(setting("random_page_cost", 1.1, "1.1", false, false));
    database.on("from pg_catalog.pg_settings s where s.vartype", all);
    database.on("from pg_catalog.pg_file_settings f", rows! { ["name", "value", "place", "error"] });
    written(&database, &[]);
    database.on_execute("alter system", 0);
    reloads(&database, || ());
    host
}

/// Each reload is a later one, and has this come of it.
fn reloads(database: &SqlMock, comes: impl Fn() + 'static) {
    let loaded = std::cell::Cell::new(1_767_225_600_000_000_i64);
    database.on("pg_conf_load_time()", rows! { ["at"] => [Timestamp(loaded.get())] });
    let again = database.clone();
    database.on_execute_with("reload configuration", move |_, _| {
        loaded.set(loaded.get() + 1);
        again.on("pg_conf_load_time()", rows! { ["at"] => [Timestamp(loaded.get())] });
        comes();
        Ok(1)
    });
}

/// What ALTER SYSTEM has written.
fn written(database: &SqlMock, lines: &[(&str, &str)]) {
    let rows = lines.iter().fold(rows! { ["name", "value"] }, |rows, (name, value)| {
        rows.and(rows! { ["name", "value"] => [*name, *value] })
    });
    database.on("as name, f.setting as value from pg_catalog.pg_file_settings f where f.name is not null", rows);
}

/// The server takes what is written: each setting as it is written, in force or waiting for a restart.
fn takes(host: &MockHost, in_force: &[(&'static str, f64, bool)]) {
    let database = host.sql("database");
    let all = in_force.iter().fold(
        rows! { ["name", "value", "shown", "is_memory", "restart", "source", "pending"] },
        |rows, (name, value, pending)| {
            let row = rows! { ["name", "value", "shown", "is_memory", "restart", "source", "pending"] => [*name, *value, "as set", true, *pending, "configuration file", *pending] };
            rows.and(row)
        },
    );
    let taking = database.clone();
    reloads(&database, move || {
        taking.on("from pg_catalog.pg_settings s where s.vartype", all.clone());
        written(&taking, &[("work_mem", "4MB"), ("maintenance_work_mem", "512MB"), ("shared_buffers", "1024MB")]);
    });
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn the_runbooks_own_numbers_take_more_than_there_is() {
    let report = runbook().run::<Plugin>(json!({ "memory": "8GB" })).unwrap();
    assert_eq!(report.status, Severity::Warning);
    // 2 GB, 202 times two sorts of 128 MB, 3 times 512 MB.
    assert_eq!(report.data["worst_bytes"].as_f64().unwrap(), 2.0 * GB + 202.0 * 2.0 * 128.0 * MB + 1536.0 * MB);
    assert!(report.finding("in the worst case the server takes 54.0 GB of 8.0 GB").is_some(), "{:?}", report.findings);
    assert!(report.data["advised_worst_bytes"].as_f64().unwrap() < 8.0 * GB, "{}", report.data["advised_worst_bytes"]);
    let finding = report.finding("work_mem is 64MB; 4MB is advised").expect("a finding");
    assert!(finding.detail.ends_with("ALTER SYSTEM RESET work_mem"), "to take it back: {}", finding.detail);
    assert!(report.finding("shared_buffers is").is_none(), "a quarter, as it should be");
}

#[test]
fn what_is_written_and_did_not_take_is_said() {
    let host = runbook();
    host.sql("database").on(
        "from pg_catalog.pg_file_settings f",
        rows! { ["name", "value", "place", "error"] => ["work_mem", Some("much"), "/data/postgresql.auto.conf:3", Some("setting could not be applied")] },
    );
    let report = host.run::<Plugin>(json!({ "memory": "8GB" })).unwrap();
    assert_eq!(report.status, Severity::Critical);
    host.sql("database").fails("from pg_catalog.pg_file_settings f", failed("42501", "permission denied"));
    let report = host.run::<Plugin>(json!({ "memory": "8GB" })).unwrap();
    assert_eq!(report.data["visibility_complete"], false);
}

#[test]
#[expect(clippy::result_large_err, reason = "the mock's error is what it is")]
fn memory_comes_from_the_containers_limit_or_the_node() {
    let host = runbook();
    let cluster = host.cluster("cluster");
    cluster.put(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "postgres-0" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "postgres", "resources": { "limits": { "memory": "4Gi" } } }, { "name": "side" }] } }));
    cluster.put(json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" }, "status": { "allocatable": { "memory": "16384000Ki" } } }));
    let bytes = |more: Json| host.run::<Plugin>(more).map(|report| report.data["memory_bytes"].as_i64().unwrap());
    assert_eq!(bytes(json!({ "pod": "postgres-0" })).unwrap(), 4 << 30);
    assert_eq!(bytes(json!({ "pod": "postgres-0", "container": "side" })).unwrap(), 16_384_000 << 10);
    assert!(bytes(json!({ "pod": "postgres-1" })).unwrap_err().message.contains("no pod"));
    assert!(runbook().run::<Plugin>(json!({})).unwrap_err().message.contains("is not known"));
    assert_eq!(
        [quantity("512M"), quantity("2147483648"), quantity("1.5Gi")],
        [Some(512_000_000), Some(2_147_483_648), None]
    );
}

#[test]
fn what_is_advised_is_set_only_when_asked_and_verified() {
    let host = runbook();
    host.run::<Plugin>(json!({ "memory": "8GB" })).unwrap();
    assert!(host.effects().is_empty(), "it was not asked to");

    let host = runbook();
    takes(&host, &[("work_mem", 4.0 * MB, false), ("max_connections", 200.0, false)]);
    let report = host.run::<Plugin>(json!({ "memory": "8GB", "apply": true })).unwrap();
    assert_eq!(
        host.effects().iter().map(|effect| effect.detail.clone()).collect::<Vec<_>>(),
        ["ALTER SYSTEM SET work_mem = '4MB' -- was 64MB (configuration file)", "reload the configuration"]
    );
    assert_eq!(
        report.data["applied"],
        json!([{ "name": "work_mem", "from": "64MB (configuration file)", "to": "4MB", "state": "in_force", "undo": "ALTER SYSTEM RESET work_mem" }])
    );
    assert!(report.finding("work_mem = 4MB is set").is_some(), "{:?}", report.findings);
    // What is there if the run does not succeed after all: back to nothing, because nothing was there.
    let database = host.sql("database");
    host.undo::<Plugin>().unwrap();
    let said = database.statements();
    assert!(said.iter().any(|statement| statement == "alter system reset work_mem -- put back"), "{said:?}");
}

#[test]
fn what_needs_a_restart_is_said() {
    let host = runbook();
    host.sql("database").on("select pg_size_bytes($1)", rows! { ["bytes"] => [4_294_967_296_i64] });
    takes(
        &host,
        &[("work_mem", 4.0 * MB, false), ("shared_buffers", 2.0 * GB, true), ("max_connections", 200.0, false)],
    );
    let report =
        host.run::<Plugin>(json!({ "memory": "4GB", "apply": true, "only": ["work_mem", "shared_buffers"] })).unwrap();
    assert_eq!(report.data["applied"][0]["state"], "needs_restart", "{}", report.data);
    assert!(report.finding("shared_buffers = 1024MB is written, and waits for a restart").is_some());
    assert!(report.finding("shared_buffers waits for a restart").is_some(), "{:?}", report.findings);
    assert!(report.finding("shared_buffers is").is_none(), "told once");
}

#[test]
fn what_the_server_does_not_take_fails_the_run_and_is_put_back() {
    let host = runbook();
    written(&host.sql("database"), &[("work_mem", "64MB")]);
    takes(&host, &[("work_mem", 64.0 * MB, false), ("max_connections", 200.0, false)]);
    let failed = host.run::<Plugin>(json!({ "memory": "8GB", "apply": true })).unwrap_err();
    assert!(
        failed.message.contains("work_mem = 4MB was written, and the server does not take it"),
        "{}",
        failed.message
    );
    host.undo::<Plugin>().unwrap();
    let said = host.sql("database").statements();
    assert!(said.iter().any(|statement| statement == "alter system set work_mem = '64mb' -- put back"), "{said:?}");
    // Somebody else has set it since: it is theirs.
    let host = runbook();
    takes(&host, &[("work_mem", 64.0 * MB, false), ("max_connections", 200.0, false)]);
    host.run::<Plugin>(json!({ "memory": "8GB", "apply": true })).unwrap_err();
    written(&host.sql("database"), &[("work_mem", "16MB")]);
    let before = host.effects().len();
    host.undo::<Plugin>().unwrap();
    let after: Vec<_> = host.effects()[before..].iter().map(|effect| effect.operation).collect();
    assert_eq!(after, ["sql.reload-configuration"]);
}

#[test]
fn nothing_is_set_that_could_not_be_put_back_or_would_not_be_read() {
    let apply = json!({ "memory": "8GB", "apply": true });
    let host = runbook();
    host.sql("database").fails("from pg_catalog.pg_file_settings f", failed("42501", "permission denied"));
    assert!(host.run::<Plugin>(apply.clone()).unwrap_err().message.contains("cannot be seen"));
    assert!(host.effects().is_empty());

    let host = runbook();
    host.sql("database").on(
        "from pg_catalog.pg_file_settings f left join",
        rows! { ["name", "value", "place", "error"] => ["a line", None::<&str>, "/data/postgresql.conf:3", Some("syntax error")] },
    );
    assert!(host.run::<Plugin>(apply.clone()).unwrap_err().message.contains("a reload would meet it"));
    assert!(host.effects().is_empty());

    let host = runbook();
    written(&host.sql("database"), &[("work_mem", "64MB'; x")]);
    assert!(host.run::<Plugin>(apply.clone()).unwrap_err().message.contains("not put back as it is"));
    assert!(host.effects().is_empty());

    let host = runbook();
    let unknown =
        host.run::<Plugin>(json!({ "memory": "8GB", "apply": true, "only": ["archive_command"] })).unwrap_err();
    assert!(unknown.message.contains("`only` names archive_command"), "{}", unknown.message);
    assert!(host.effects().is_empty());
}

#[test]
fn a_plan_lists_each_with_old_and_new_and_a_missing_grant_ends_it() {
    let host = runbook().plan();
    let report = host.run::<Plugin>(json!({ "memory": "8GB", "apply": true })).unwrap();
    let listed: Vec<_> = host.effects().iter().map(|effect| (effect.operation, effect.planned)).collect();
    assert_eq!(listed, [("run.compensation", true), ("sql.execute", true), ("sql.reload-configuration", true)]);
    assert_eq!(report.data["applied"][0]["state"], "planned");
    let host = runbook();
    host.grant("database", &["read"]);
    assert!(host.run::<Plugin>(json!({ "memory": "8GB", "apply": true })).is_err());
    assert!(host.effects().is_empty() && host.compensations().is_empty(), "{:?}", host.compensations());
    // A role that may set nothing may not reload either: nothing is left to undo, and that is no failure.
    let host = runbook();
    let forbidden = || failed("42501", "permission denied");
    host.sql("database").fails_execute("alter system", forbidden()).fails_execute("reload configuration", forbidden());
    let failure = host.run::<Plugin>(json!({ "memory": "8GB", "apply": true })).unwrap_err();
    assert!(failure.hint.unwrap().contains("GRANT ALTER SYSTEM ON PARAMETER work_mem"));
    host.undo::<Plugin>().unwrap();
}
