//! The capability `sql`: PostgreSQL over sqlx.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`host`] | the WIT side: classify, authorise, decide on the effect, then call the client |
//! | [`Sessions`] | the client's door: connections by binding, their pool, and the cancels under way |
//! | [`Session`], [`Transaction`] | one connection in the hands of one run, and a transaction on it |
//! | `value` | parameters and columns between the wire's binary format and the contract's values |
//! | `cancel` | what happens to a statement whose caller is gone |
//!
//! Every function of the client that reaches a server takes an `Authorized<Sql>` or a `Permit<Sql>`.
//!
//! | bound | value | why |
//! | --- | --- | --- |
//! | sessions on one binding at a time | its `max_connections` | a guest cannot use up the server's; other runs wait |
//! | idle connections kept by binding | 4, for 60 s | a following run starts at once, the server is not held |
//! | rows under way to a guest | 4 batches of 256 rows or 256 KiB | constant memory, with backpressure |
//! | one row | the run's `host_call_bytes` | the same |
//! | notices kept by session | 1,000, the newest | a chatty function does not fill the host |
//! | time for a cancel | 5 s | a server that is gone holds nobody up |

mod cancel;
mod capability;
mod cell;
mod connect;
mod connection;
mod copy;
mod detail;
mod error;
mod execute;
mod forward;
pub mod host;
mod pool;
mod query;
mod server;
mod session;
mod settings;
mod target;
mod transaction;
mod value;
pub mod wit;

pub use capability::SqlCapability;
pub use detail::{exact, statement_detail};
pub use error::of_code;
pub use pool::Sessions;
pub use query::{Batches, Row, Rows};
pub use server::{Privileges, Signal};
pub use session::Session;
pub use transaction::{Transaction, TransactionOptions};
