//! One contract for both engines, and what only one has. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod contract_keep;
mod contract_lease;
mod contract_queue;
mod contract_records;
mod contract_runs;
mod contract_schedule;
mod contract_teams;
mod contract_undo;
mod files;
mod measure;
mod migrate;
mod postgres;
mod processes;
mod support;
