//! The real servers themselves. One binary: linking is what takes time in a build of tests.

mod nothing_left;
mod postgres;
mod s3;
