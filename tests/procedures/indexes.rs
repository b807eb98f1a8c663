//! Which index is missing or unused, and building one.
