//! The real servers themselves. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod cluster;
mod nothing_left;
mod postgres;
mod s3;
mod standby;
