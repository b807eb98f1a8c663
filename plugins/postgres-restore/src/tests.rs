//! Logic, without a server: what is refused before anything is done, in which order things happen, and what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use rota_sdk::cluster::Object;
use rota_sdk::mock::*;
use sha2::Digest as _;

const ID: &str = "20251231T000000Z-89abcdef";
const DUMP: &[u8] = b"PGDMP the dump, with all of its rows";
const SCRIPT: &str = "COPY public.orders (id) FROM stdin;\n1\n2\n\\.\n";

fn name(object: &str) -> String {
    format!("app/{ID}/{object}")
}

fn manifest(version_num: u32) -> Json {
    let digest = json!({ "bytes": DUMP.len(), "sha256": hex::encode(sha2::Sha256::digest(DUMP)) });
    json!({
        "kind": "rota-postgres-backup", "format": 1, "id": ID, "writer": "postgres-backup 0.1.0", "run": "r",
        "started_at": "2025-12-31T00:00:00Z", "finished_at": "2025-12-31T00:01:00Z",
        "source": { "version": "16.14", "version_num": version_num, "system_identifier": "1", "database": "app", "role": "rota", "in_recovery": false,
            "encoding": "UTF8", "collation": "C.UTF-8", "size_bytes": 1_000_000 },
        "snapshot": { "method": "quiet", "lsn": "0/1", "lsn_after": "0/1", "transactions": "1:1:" },
        "dump": { "object": "dump.pgdump", "tool": "pg_dump 16.14", "content": "pg_dump-custom", "codec": "none", "level": null,
            "plain": digest, "stored": digest },
        "rows": { "method": "counted", "tables": [{ "schema": "public", "table": "orders", "rows": 2 }] },
        "extensions": [{ "name": "plpgsql", "version": "1.0" }, { "name": "vector", "version": "0.8.5" }],
    })
}

/// A server with a live database `app`, a backup of it, and nobody connected.
fn host() -> MockHost {
    let host = MockHost::new();
    host.storage("bucket")
        .object(&name("manifest.json"), manifest(160_014).to_string())
        .object(&name("dump.pgdump"), DUMP);
    host.tool("pg_restore").on_with("--data-only", |_, stdin| {
        if stdin == DUMP {
            ToolOutput::success(SCRIPT)
        } else {
            ToolOutput::failure(1, "pg_restore: error: end of file")
        }
    });
    host.tool("pg_restore").only_reads();
    host.tool("pg_restore").on("--exit-on-error", ToolOutput::success(""));
    let db = host.sql("database");
    db.inspected(Timestamp(0), Timestamp(1), None, true)
        .on("rolsuper or rolcreatedb", rows! { ["may"] => [true] })
        .on("select datistemplate", rows! { ["datistemplate"] => [false] })
        .on("pg_available_extensions", rows! { ["name", "available", "allowed"] => ["vector", "0.8.5", true] })
        .on("pg_prepared_xacts", MockRows::none())
        .on("pg_replication_slots", MockRows::none())
        .on("pg_db_role_setting", MockRows::none())
        .on("where a.datid", MockRows::none())
        .on("rota postgres-restore: ", MockRows::none())
        .on("COMMENT ON DATABASE", rows! { ["format"] => ["COMMENT ON DATABASE app IS 'x'"] })
        .on("select 1", rows! { ["one"] => [1_i32] })
        .on("select count(*) from only public.orders", rows! { ["count"] => [2_i64] })
        .on("c.reltuples < 0", MockRows::none());
    db.on("pg_get_userbyid(d.datdba)) as owner", live(true));
    for effect in
        ["pg_advisory_xact_lock", "CREATE DATABASE", "COMMENT ON", "ANALYZE", "ALTER DATABASE", "DROP DATABASE"]
    {
        db.on_execute(effect, 0);
    }
    host
}

fn live(open: bool) -> MockRows {
    rows! {
        ["oid", "owner", "encoding", "collation", "ctype", "provider", "locale", "tablespace", "connection_limit", "allows_connections", "comment", "ours"]
        => [16_384_i64, "app_owner", "UTF8", "C.UTF-8", "C.UTF-8", "c", None::<String>, "pg_default", -1_i32, open, None::<String>, true]
    }
}

fn parameters(more: Json) -> Json {
    let mut all = json!({ "database": "app", "free_bytes": 100_000_000_u64 });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// The statements and programs that had an effect, in order, by their first words.
fn effects(host: &MockHost) -> Vec<String> {
    host.effects().iter().map(|effect| effect.detail.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect()
}

fn refused(host: &MockHost, more: Json) -> String {
    let failed = host.run::<Plugin>(parameters(more)).unwrap_err();
    let sql: Vec<String> = effects(host).into_iter().filter(|effect| !effect.contains("pg_advisory")).collect();
    assert!(sql.is_empty(), "{sql:?}");
    failed.message
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn first_beside_then_closed_then_swapped() {
    let host = host();
    let report = host.run::<Plugin>(parameters(json!({}))).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    let order = effects(&host);
    let wanted = [
        "select pg_advisory_xact_lock($1::int4,",
        "CREATE DATABASE",
        "COMMENT ON",
        "--exit-on-error",
        "ANALYZE",
        "ALTER DATABASE",
        "ALTER DATABASE",
        "ALTER DATABASE",
        "COMMENT ON",
        "COMMENT ON",
    ];
    assert_eq!(order, wanted, "{:#?}", host.effects());
    let details: Vec<String> = host.effects().iter().map(|effect| effect.detail.clone()).collect();
    assert!(
        details[1].contains("TEMPLATE template0")
            && details[1].contains("OWNER app_owner")
            && !details[1].contains("TABLESPACE"),
        "{}",
        details[1]
    );
    assert_eq!(details[5], "ALTER DATABASE app ALLOW_CONNECTIONS false");
    assert!(details[6].starts_with("ALTER DATABASE app RENAME TO app_before_"), "{}", details[6]);
    assert!(details[7].ends_with("RENAME TO app"), "{}", details[7]);
    assert_eq!((&report.data["swapped"], &report.data["rows"]), (&json!(true), &json!(2)));
}

#[test]
fn only_beside_swaps_nothing_and_leaves_nothing_to_undo() {
    let host = host();
    let report = host.run::<Plugin>(parameters(json!({ "only_beside": true }))).unwrap();
    assert!(!effects(&host).contains(&"ALTER DATABASE".to_owned()), "{:?}", host.effects());
    assert_eq!(report.data["swapped"], false);
    assert!(host.compensations().iter().all(|undo| undo.dismissed), "{:?}", host.compensations());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let old = host();
    old.sql("database").server(|server| server.version_num = 150_010);
    assert!(refused(&old, json!({})).contains("older than the backup's"));
    let standby = host();
    standby.sql("database").server(|server| server.in_recovery = true);
    assert!(refused(&standby, json!({})).contains("standby"));
    assert!(refused(&host(), json!({ "free_bytes": 1_000_000 })).contains("the restore needs about"));
    assert!(refused(&host(), json!({ "backup": "20200101T000000Z-00000000" })).contains("there is no backup"));
    assert!(refused(&host(), json!({ "deployments": ["a/b"] })).contains("slot `cluster` is not bound"));
    let untrusted = host();
    untrusted
        .sql("database")
        .on("pg_available_extensions", rows! { ["name", "available", "allowed"] => ["vector", "0.8.5", false] });
    assert!(refused(&untrusted, json!({})).contains("may not create extension vector"));
    let missing = host();
    missing
        .sql("database")
        .on("pg_available_extensions", rows! { ["name", "available", "allowed"] => ["vector", None::<String>, false] });
    assert!(refused(&missing, json!({})).contains("not installed"));
    let prepared = host();
    prepared.sql("database").on("pg_prepared_xacts", rows! { ["gid"] => ["tx1"] });
    assert!(refused(&prepared, json!({})).contains("prepared transaction(s): tx1"));
    let used = host();
    used.sql("database").on(
        "where a.datid",
        rows! { ["pid", "start", "what", "out_of_reach"] => [7_i32, Timestamp(0), "app web", false] },
    );
    assert!(refused(&used, json!({})).contains("app web (pid 7)"));
    let settings = host();
    settings
        .sql("database")
        .on("pg_db_role_setting", rows! { ["statement"] => ["GRANT CONNECT ON DATABASE app TO web"] });
    assert!(refused(&settings, json!({})).contains("GRANT CONNECT ON DATABASE app TO web"));
}

#[test]
fn a_lock_that_another_holds_names_the_run() {
    let host = host();
    host.sql("database").fails_execute("pg_advisory_xact_lock", failed("55P03", "canceling statement due to lock timeout")).on(
        "where l.locktype = 'advisory'",
        rows! { ["application", "role", "address", "since"] => ["rota/restore-app/run-7", "ops", "10.0.0.7", Timestamp(0)] },
    );
    let failure = host.run::<Plugin>(parameters(json!({}))).unwrap_err();
    assert!(
        failure.message.contains("run run-7 of restore-app holds it, as role ops from 10.0.0.7"),
        "{}",
        failure.message
    );
}

#[test]
fn other_rows_than_the_backups_are_no_restore() {
    let host = host();
    host.sql("database").on("select count(*) from only public.orders", rows! { ["count"] => [1_i64] });
    let failure = host.run::<Plugin>(parameters(json!({}))).unwrap_err();
    assert!(failure.message.contains("public.orders: 1 rows instead of 2"), "{}", failure.message);
    assert!(!host.effects().iter().any(|effect| effect.detail.contains("RENAME")), "{:?}", host.effects());
    // What was begun is undone: there is such a database.
    host.sql("database").on("select count(*) from pg_catalog.pg_stat_activity", rows! { ["count"] => [0_i64] });
    host.sql("database").on("select oid::int8 from pg_catalog.pg_database", rows! { ["oid"] => [20_000_i64] });
    host.undo::<Plugin>().unwrap();
    let last = host.effects().last().unwrap().detail.clone();
    assert!(last.starts_with("DROP DATABASE IF EXISTS app_restore_") && last.ends_with("WITH (FORCE)"), "{last}");
}

#[test]
fn a_database_that_was_swapped_stays_closed_and_one_that_was_not_is_opened() {
    for (now, opened) in [("app", true), ("app_before_20260101t000000z_0", false)] {
        let host = host();
        host.sql("database").fails_execute("RENAME TO app", failed("55006", "being accessed"));
        host.run::<Plugin>(parameters(json!({}))).unwrap_err();
        host.sql("database")
            .on("select count(*) from pg_catalog.pg_stat_activity", rows! { ["count"] => [0_i64] })
            .on("select oid::int8 from pg_catalog.pg_database", MockRows::none())
            .on("select datname::text, datallowconn", rows! { ["datname", "datallowconn"] => [now, false] });
        host.undo::<Plugin>().unwrap();
        let all: Vec<String> = host.effects().iter().map(|effect| effect.detail.clone()).collect();
        assert_eq!(all.iter().any(|detail| detail == "ALTER DATABASE app ALLOW_CONNECTIONS true"), opened, "{all:#?}");
        assert!(!all.iter().any(|detail| detail.starts_with("DROP DATABASE")), "there is none of the name: {all:#?}");
    }
}

fn deployment(name: &str, replicas: u32) -> Json {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "mock", "uid": format!("uid-{name}"), "labels": { "uses": "db" } },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } } }, "status": {} })
}

fn replicas(host: &MockHost, name: &str) -> u64 {
    host.cluster("cluster").object(&Object::deployment(name)).unwrap()["spec"]["replicas"].as_u64().unwrap()
}

#[test]
fn applications_come_back_at_their_own_numbers() {
    let host = host();
    host.cluster("cluster").put(deployment("api", 2)).put(deployment("worker", 5)).put(deployment("off", 0));
    let report = host.run::<Plugin>(parameters(json!({ "deployments": ["mock/api", "worker", "off"] }))).unwrap();
    assert_eq!((replicas(&host, "api"), replicas(&host, "worker"), replicas(&host, "off")), (2, 5, 0));
    let scaled = host.effects().iter().filter(|effect| effect.operation.contains("scale")).count();
    assert_eq!(scaled, 4, "{:?}", host.effects());
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
}

#[test]
fn a_run_that_fails_while_they_are_down_brings_them_back_and_what_others_scaled_is_left() {
    let host = host();
    host.cluster("cluster").put(deployment("api", 2)).put(deployment("worker", 5));
    host.sql("database").fails_execute("RENAME TO app", failed("55006", "being accessed"));
    host.run::<Plugin>(parameters(json!({ "deployments": ["api", "worker"] }))).unwrap_err();
    assert_eq!((replicas(&host, "api"), replicas(&host, "worker")), (0, 0));
    host.cluster("cluster").put(deployment("worker", 7));
    host.sql("database")
        .on("select count(*) from pg_catalog.pg_stat_activity", rows! { ["count"] => [0_i64] })
        .on("select oid::int8 from pg_catalog.pg_database", MockRows::none())
        .on("select datname::text, datallowconn", rows! { ["datname", "datallowconn"] => ["app", true] });
    host.undo::<Plugin>().unwrap();
    assert_eq!((replicas(&host, "api"), replicas(&host, "worker")), (2, 7));
    let warned = host.log(rota_sdk::Level::Warn);
    assert!(warned.iter().any(|line| line.contains("worker") && line.contains("scaled it to 7")), "{warned:?}");
}

#[test]
fn a_verification_on_record_is_taken_only_when_it_is_young_enough() {
    let verified = |hours: i64| {
        let host = host();
        let at = host.now().plus_seconds(-3600 * hours);
        let result = json!({ "kind": "rota-postgres-verification", "format": 1, "backup": ID, "level": "decoded", "ok": true, "at": at.to_string(),
            "writer": "w", "run": "verifier", "problems": [], "rows": [{ "schema": "public", "table": "orders", "rows": 2 }] });
        host.storage("bucket").object(&name("20251231T010000Z-00000000-decoded.verified.json"), result.to_string());
        let report =
            host.run::<Plugin>(parameters(json!({ "only_beside": true, "verified_within_hours": 2 }))).unwrap();
        report.data["proven"].as_str().unwrap().to_owned()
    };
    assert!(verified(1).contains("by run verifier"));
    assert_eq!(verified(3), "every byte read and decoded in this run");
}
