//! The capability `kubernetes`.
