//! A standby promoted behind its Service.
