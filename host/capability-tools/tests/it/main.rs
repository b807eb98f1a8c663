//! The capability with real programs. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod common;
mod host_dies;
mod link;
mod postgres;
mod programs;
mod speed;
