//! The procedures, run as a user runs them against real servers: every "seen" of the runbook as a state of a server, and what ours does about it.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `connections`, `long_queries`, `locks`, `disk` | PostgreSQL in trouble |
//! | `indexes`, `tuning` | PostgreSQL: which index is missing or unused, building one, settings |
//! | `vectors` | pgvector: what its indexes are, building, searching, rebuilding |
//! | `restore` | a backup put in the live database's place, killed at each of its effects |
//! | `failover` | a standby promoted behind its Service, killed at each of its effects |
//! | `migrate` | alembic and others, as a Job and as a local tool |
//! | `places` | programs in a pod or a Job, SQL through a port-forward |
//! | `jetstream` | NATS JetStream, read only |
//! | `monitoring` | health and metrics of PostgreSQL, standbys included |
//! | `kosmos` | examples/kosmos: the runbook as configuration |
//! | `sql_script` | a file of SQL of the operator's |
//! | `statement` | one statement of the operator's |
//! | `pages` | every page of docs/procedures: what it says, and that its example runs |

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect by unwrapping")]

mod connections;
mod disk;
mod failover;
mod indexes;
mod jetstream;
mod kosmos;
mod locks;
mod long_queries;
mod migrate;
mod monitoring;
mod pages;
mod places;
mod restore;
mod sql_script;
mod statement;
mod tuning;
mod vectors;

use serde_json::Value;

/// The binary under test, in a folder of its own.
fn rota() -> rota_tests::Rota {
    rota_tests::Rota::new(env!("CARGO_BIN_EXE_rota"), concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled")).unwrap()
}

/// Runs `rota run PROCEDURE ARGUMENTS...` and gives its JSON, whatever its status.
#[allow(dead_code, reason = "not every suite is there yet")]
async fn run(rota: &rota_tests::Rota, procedure: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["run", procedure];
    all.extend(arguments);
    all.extend(["--output", "json"]);
    let said = rota.run(&all).await.unwrap();
    let answer = said.json().unwrap_or_else(|error| panic!("{procedure} {arguments:?}: {error}: {said:?}"));
    (said.status, answer)
}
