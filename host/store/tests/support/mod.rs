//! Runs, effects and lines for the tests of the store.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use chrono::Utc;
use rota_authority::{EffectClass, EffectRecord};
use rota_store::{NewLogLine, NewRun, RunEnd, RunStatus, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A state directory that is gone after the test.
pub fn state() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("state");
    (outer, path)
}

pub async fn store(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path).await.unwrap())
}

pub fn run(plugin: &str) -> NewRun {
    NewRun {
        id: uuid::Uuid::now_v7().to_string(),
        job: Some("nightly".into()),
        plugin: plugin.into(),
        version: "0.1.0".into(),
        digest: "sha256:00".into(),
        mode: "execute".into(),
        trigger: "manual".into(),
        parameters: r#"{"a":1}"#.into(),
        grants: r#"{"database":{"binding":"kosmos","access":["read"]}}"#.into(),
        scheduled_for: None,
        attempt: 1,
    }
}

pub fn effect(detail: &str) -> EffectRecord {
    EffectRecord {
        capability: "sql",
        operation: "sql.execute",
        target: "kosmos: public.orders".into(),
        access: "maintain".into(),
        detail: detail.into(),
        class: EffectClass::Write,
        planned: false,
    }
}

pub fn line(message: &str) -> NewLogLine {
    NewLogLine {
        time: Utc::now(),
        level: "info".into(),
        source: "procedure".into(),
        message: message.into(),
        fields: vec![("rows".into(), "3".into())],
    }
}

pub fn end(status: RunStatus) -> RunEnd {
    RunEnd { status, report: Some(r#"{"status":"ok"}"#.into()), error: None, dropped_log_lines: 0 }
}
