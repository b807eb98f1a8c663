//! The capability against a folder and a real S3. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod common;
mod folder;
mod s3;
mod throughput;
