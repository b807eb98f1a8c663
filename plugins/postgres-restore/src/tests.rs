//! Logic, without a server.
