//! The capability with real programs. One binary: linking is what takes time in a build of tests.

mod common;
mod host_dies;
mod link;
mod postgres;
mod programs;
mod speed;
