//! Real servers for tests and the demo: PostgreSQL with pgvector ([`Postgres`]), S3 ([`S3`]), Valkey ([`Valkey`], which stands in for
//! Dragonfly), NATS ([`Nats`]), an OCI registry ([`Registry`]) and Kubernetes ([`Cluster`]), PostgreSQL with a streaming standby ([`Postgres::standby`]) and as pods behind a
//! Service ([`PostgresPods`]), from what `scripts/setup` put into the tools folder; and the means to break them: a proxy that is stalled,
//! slowed down or cut ([`TcpProxy`]), a disk that is full ([`SmallDisk`]), servers that are killed, paused
//! and started again.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! let database = rota_testbed::Postgres::shared().await?.fresh_database("vacuum").await?;
//! database.execute("create table t (v vector(3))").await?;
//! println!("{}", database.url());
//! # Ok(()) }
//! ```

pub mod bare;
mod cluster;
mod cluster_access;
mod disk;
mod dragonfly;
mod nats;
mod one_server;
mod postgres;
mod postgres_access;
mod postgres_pods;
mod proxy;
mod registry;
mod resp;
mod s3;
mod server;
pub mod shared;
mod standby;
mod tools;
mod valkey;
mod wait;

pub use cluster::Cluster;
pub use cluster_access::{ClusterAccess, Namespace};
pub use disk::SmallDisk;
pub use dragonfly::Dragonfly;
pub use nats::{Nats, NatsClient};
pub use postgres::{Postgres, PostgresOptions, PostgresVersion};
pub use postgres_access::{Database, PostgresAccess};
pub use postgres_pods::{PostgresPod, PostgresPods};
pub use proxy::TcpProxy;
pub use registry::Registry;
pub use resp::{Resp, RespClient};
pub use s3::{S3, S3Access, S3Keys, S3Options};
pub use standby::StandbyOptions;
pub use tools::{free_port, is_root, previous, random_secret, tool, tools_dir};
pub use valkey::Valkey;
pub use wait::eventually;
