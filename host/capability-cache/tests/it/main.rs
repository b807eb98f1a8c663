//! The client against a real Valkey, and against one that answers as Dragonfly does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod dragonfly;
mod faults;
mod keys;
mod monitor;
mod places;
mod unlink;
