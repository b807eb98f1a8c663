//! What a host remembers: runs and everything of them, schedules, and the hosts that work.
//!
//! [`Store`] is the seam. Two engines keep it: [`SqliteStore`], one file of the state directory, and [`PostgresStore`], which several
//! hosts share. Both run the same statements and the same rules (rota-protocol) in their transactions:
//!
//! | part | what |
//! | --- | --- |
//! | `store.rs`, `rows/` | the seam |
//! | `write/` | what changes records: one struct an operation, applied in a transaction |
//! | `read/` | queries |
//! | `records.rs` | the seam, on top of both |
//! | `writer/` | gathers operations, commits them together, then answers |
//! | `session/` | a connection to either engine: statements are written once, in PostgreSQL's words |
//! | `sqlite/`, `postgres/` | opening, migrating and what only one engine has |
//! | `backup/` | one file for both engines |

mod additions;
mod backup;
mod clock;
mod error;
mod folder;
mod ledger;
mod masked;
mod postgres;
mod process;
mod read;
mod records;
mod rows;
mod session;
mod sqlite;
mod store;
mod write;
mod writer;

pub use clock::{Clock, SystemClock};
pub use error::StoreError;
pub use postgres::{Postgres, PostgresOptions, PostgresStore};
pub use process::Process;
pub use records::{Kept, Records};
pub use rota_protocol::RunState;
pub use rows::{
    AfterRun, ArtifactRow, AttemptEnded, AttemptRecord, AttemptRow, BackupSummary, Beat, BeatAnswer, CancelWish, Claim,
    Claimed, CompensationRow, ConcurrencyKey, Decision, DecisionOutcome, EffectRow, EndedRow, Filter, FireRow, Hint,
    HostRow, Keep, Load, LogRow, NewHost, NewLogLine, NewRun, NextUndo, Pause, RunPolicy, RunRow, ScheduleChanges,
    ScheduleDefinition, ScheduleRow, StepRow, StoreStatus, TableStatus, TeamQuota, TeamQuotas, TeamShare, TeamUsage,
    date, shard_of, team_key,
};
pub use sqlite::{Sqlite, SqliteOptions, SqliteStore};
pub use store::Store;
