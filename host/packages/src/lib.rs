//! Plugins as packages: pulled from and pushed to OCI registries, kept by digest, locked, and verified.

pub mod trust;
