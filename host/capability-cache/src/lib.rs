//! The capability `cache`.
