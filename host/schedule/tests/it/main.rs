//! Schedules, against other implementations and brute force. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod decide;
mod expressions;
mod oracles;
mod properties;
mod speed;
mod windows;
mod zones;
