//! The capability against streams of guests. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod filters;
mod host;
mod measure;
#[path = "support/store.rs"]
mod rig;
mod support;
