//! The capability against a real PostgreSQL. One binary: linking is what takes time in a build of tests.

mod cancel;
mod connect;
mod copy;
mod host;
mod session;
mod support;
mod throughput;
mod transaction;
mod values;
