//! What authors write, and what they are told. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test says so by a panic")]
#![allow(unreachable_pub, reason = "authors write `pub`, and the macro asks for it")]

mod cluster;
mod durable;
mod messages;
mod procedure;
