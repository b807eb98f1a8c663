//! What classifying costs: typical statements in microseconds, and the worst that the bounds let through.

use std::time::Instant;

use rota_classifier::{MAX_CODE_BYTES, classify};

const TYPICAL: [(&str, &str); 6] = [
    ("SELECT 1", "SELECT 1"),
    ("VACUUM of a table", "VACUUM (ANALYZE, SKIP_LOCKED, PARALLEL 2) public.orders"),
    (
        "a health query",
        "SELECT pid, usename, state, now() - xact_start AS age FROM pg_stat_activity WHERE state <> 'idle' AND backend_type = 'client backend' ORDER BY xact_start NULLS LAST LIMIT 50",
    ),
    (
        "replication slots",
        "SELECT slot_name, active, wal_status, safe_wal_size, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn) AS held FROM pg_replication_slots",
    ),
    (
        "a vector search",
        "SELECT id, embedding <=> $1::vector AS distance FROM items WHERE tenant = $2 ORDER BY embedding <=> $1::vector LIMIT 10",
    ),
    (
        "a CTE with a window",
        "WITH t AS (SELECT relid, n_dead_tup, n_live_tup, row_number() OVER (ORDER BY n_dead_tup DESC) AS place FROM pg_stat_user_tables WHERE n_dead_tup > 1000) SELECT c.oid::regclass::text, pg_total_relation_size(c.oid), t.n_dead_tup, round(100.0 * t.n_dead_tup / greatest(t.n_live_tup + t.n_dead_tup, 1), 1) FROM t JOIN pg_class c ON c.oid = t.relid WHERE place <= 20",
    ),
];

fn main() {
    for (name, statement) in TYPICAL {
        let rounds = 20_000;
        let mut times: Vec<f64> = (0..rounds)
            .map(|_| {
                let start = Instant::now();
                let _ = std::hint::black_box(classify(statement));
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{name}: median {:.1} us, 99th of 100 {:.1} us", times[rounds / 2], times[rounds * 99 / 100]);
    }
    let half = MAX_CODE_BYTES / 2 - 20;
    for (name, statement) in [
        ("a typing error", "SELECT pg_databse_size('x')".to_owned()),
        ("constants", format!("SELECT {}1", "1,".repeat(half))),
        ("parameters in IN", format!("SELECT 1 WHERE 1 IN ({}1)", "1,".repeat(half))),
        ("calls", format!("SELECT {}1", "a(),".repeat(half / 2))),
        ("rows of VALUES", format!("VALUES {}(1)", "(1),".repeat(half / 2 - 10))),
        ("operators", format!("SELECT {}1", "1+".repeat(half))),
        ("signs", format!("SELECT {}1", "- ".repeat(half))),
        ("casts", format!("SELECT 1{}", "::a".repeat(half / 2))),
        ("NOT", format!("SELECT {}true", "NOT ".repeat(half / 2))),
        ("subscripts", format!("SELECT a{}", "[1]".repeat(half / 2))),
        ("UNION", format!("SELECT 1 {}", "UNION SELECT 1 ".repeat(half / 9))),
        ("joins", format!("SELECT 1 FROM a {}", "CROSS JOIN a ".repeat(half / 7))),
        ("assignments", format!("UPDATE t SET ({}a) = ({}1)", "a,".repeat(60), "1,".repeat(1000))),
        ("columns", format!("CREATE TABLE t ({}a int)", "a int,".repeat(half / 3))),
        ("a literal", format!("SELECT '{}'::vector", "0.125,".repeat(100_000))),
    ] {
        let before = peak();
        let start = Instant::now();
        let answer = classify(&statement).map(|found| found.accesses).map_err(|refusal| refusal.to_string());
        println!(
            "{name} ({} bytes): {:.1} ms, peak {} -> {} MB: {:.60}",
            statement.len(),
            start.elapsed().as_secs_f64() * 1e3,
            before,
            peak(),
            format!("{answer:?}")
        );
    }
}

/// The most memory that the process has had, in MB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<usize>().ok()).unwrap_or_default() / 1024
}
