//! Schedules, against other implementations and brute force. One binary: linking is what takes time in a build of tests.

mod decide;
mod expressions;
mod oracles;
mod properties;
mod speed;
mod windows;
mod zones;
