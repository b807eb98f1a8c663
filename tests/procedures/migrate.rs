//! Migrations of schemas, as a Job and as a local tool.
