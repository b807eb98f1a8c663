//! The capability against a real PostgreSQL. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod cancel;
mod connect;
mod copy;
mod host;
mod session;
mod support;
mod throughput;
mod transaction;
mod values;
