//! The interface `run`.

pub(crate) use super::super::durable::{Begun, Compensation, Doubt, Step};
use super::super::{advance, current, mode as mode_of};
use crate::HostError;
use crate::bindings::rota::runbook::run::{Level, MetricKind, RunInfo, RunMode, SlotInfo, Trigger};
use crate::mock::Stream;
use std::time::Duration;

pub(crate) fn mode() -> RunMode {
    mode_of(&current())
}

pub(crate) fn info() -> RunInfo {
    let (now, attempt) = (current().now.get(), current().durable.attempt.get());
    RunInfo {
        id: "01234567-89ab-7def-8123-456789abcdef".to_owned(),
        attempt,
        job: None,
        trigger: Trigger::Manual,
        started_at: now,
        deadline: now + 3_600_000_000,
    }
}

pub(crate) async fn sleep(milliseconds: u64) -> Result<(), HostError> {
    advance(Duration::from_millis(milliseconds));
    Ok(())
}

pub(crate) fn slots() -> Vec<SlotInfo> {
    current().slots()
}

pub(crate) fn log(level: Level, message: &str, _fields: &[(String, String)]) {
    current().log.borrow_mut().push((level, message.to_owned()));
}

pub(crate) fn progress(done: u64, total: Option<u64>, unit: &str, note: &str) {
    current().progress.borrow_mut().push((done, total, unit.to_owned(), note.to_owned()));
}

pub(crate) async fn artifact(name: String, _media_type: String, data: Stream<u8>) -> Result<u64, HostError> {
    let bytes = data.into_whole()?;
    let size = bytes.len() as u64;
    current().artifacts.borrow_mut().insert(name, bytes);
    Ok(size)
}

pub(crate) fn metric(name: &str, _labels: &[(String, String)], value: f64, _kind: MetricKind) {
    current().metrics.borrow_mut().push((name.to_owned(), value));
}
