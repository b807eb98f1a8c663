//! The capability against a folder and a real S3. One binary: linking is what takes time in a build of tests.

mod common;
mod folder;
mod s3;
mod throughput;
