//! NATS JetStream, read only.
