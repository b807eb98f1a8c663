//! What the procedures for PostgreSQL indexes share.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`table`] | the table that a parameter names, in any schema and spelling |
//! | [`catalog`] | the indexes that are there, by their object ids |
//! | [`element`] | what an index is to be made of: columns and expressions as an operator writes them, and whether an index has them already |
//! | [`holders`] | whose transactions a concurrent build has to wait for |
//! | [`build`] | running the statement under its own deadline, watched from a second session |
//! | [`clear`] | removing what a build left behind, and nothing else |
//! | [`create`] | all of it for a new index: look, make room, build, prove |
//! | [`vector`] | what pgvector's indexes need to know |
//! | [`tell`] | counts in words |
//! | `mock` | indexes for tests on the mock host |
//!
//! Rules that everything here keeps: an index is followed by its object id; a build is believed only when the catalog says `valid` and `ready`; what was there
//! before a run is never removed by it.

pub mod build;
pub mod catalog;
pub mod clear;
pub mod create;
pub mod element;
mod enclosed;
pub mod holders;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;
pub mod table;
pub mod tell;
pub mod vector;

pub use build::{Build, Built};
pub use catalog::Index;
pub use clear::Leftover;
pub use create::{Creation, Done, Policy};
pub use enclosed::enclosed;
pub use holders::Holder;
pub use table::Table;
