//! The rules, checked in every interleaving on small bounds. One binary: linking is what takes time in a build of tests.

mod check;
mod compensation;
mod document;
mod fire;
mod lease;
mod rules;
mod steps;
