//! What statements are judged to be. One binary: linking is what takes time in a build of tests.

mod corpus;
mod properties;
mod statement;
