//! The rules, checked in every interleaving on small bounds. One binary: linking is what takes time in a build of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod check;
mod compensation;
mod document;
mod fire;
mod lease;
mod rules;
mod steps;
