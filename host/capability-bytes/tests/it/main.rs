//! The capability against streams of guests. One binary: linking is what takes time in a build of tests.

mod filters;
mod host;
mod measure;
#[path = "support/store.rs"]
mod rig;
mod support;
