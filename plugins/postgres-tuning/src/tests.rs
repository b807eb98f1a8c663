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
    host
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
    assert!(finding.detail.contains("ALTER SYSTEM SET work_mem = '64MB'"), "to take it back: {}", finding.detail);
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
