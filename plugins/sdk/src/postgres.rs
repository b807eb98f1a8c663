//! What every PostgreSQL procedure reports of the server it looked at.

mod backends;
mod statement;

pub use backends::{Backend, Ended, Ending, Named, Outcome, Protection, Same, Still, end, find, look, look_again};
pub use statement::{SHOWN, shown, without_literals};

use crate::sql::Session;
use crate::{Error, FromRow, Report, Result, Timestamp};

/// The oldest major version that first-party procedures are tested with.
pub const OLDEST: u32 = 15;
/// The newest one.
pub const NEWEST: u32 = 18;

/// The server, as each report's data has it under `server`.
#[crate::data]
pub struct Server {
    /// The server's version, as it prints it: `16.14`.
    pub version: String,
    /// Its version as a number: 160014.
    pub version_num: u32,
    /// The cluster's system identifier, as decimal text; null where the role may not read it.
    pub system_identifier: Option<String>,
    /// Whether it is a standby (or recovering).
    pub in_recovery: bool,
    /// The database that was looked at.
    pub database: String,
    /// The role whose privileges were in force.
    pub role: String,
    /// When the server started.
    pub started_at: Option<Timestamp>,
    /// Since when the database's statistics count; null when they were never reset.
    pub statistics_since: Option<Timestamp>,
    /// How long that is, in seconds.
    pub statistics_age_seconds: Option<f64>,
    /// Whether everything that matters could be seen. If not, the report is never ok.
    pub visibility_complete: bool,
    /// What could not be seen, and why.
    pub hidden: Vec<String>,
}

#[derive(FromRow)]
struct Facts {
    started_at: Option<Timestamp>,
    now: Timestamp,
    stats_reset: Option<Timestamp>,
    sees_statistics: bool,
}

impl Server {
    /// Look at the server behind a session. The session looks names up in the system's schemas alone from here on (as
    /// autovacuum does), so that no user's function stands in for the system's.
    ///
    /// # Errors
    /// When the server does not answer, or is older than PostgreSQL 15.
    pub async fn inspect(session: &mut Session) -> Result<Self> {
        let info = session.server().await?;
        if info.version_num < OLDEST * 10_000 {
            return Err(Error::new(format!("PostgreSQL {} is older than {OLDEST}", info.version))
                .hint(format!("this procedure knows PostgreSQL {OLDEST} to {NEWEST}")));
        }
        // `pg_catalog` is searched first by itself; users cannot create anything in `pg_toast`.
        session.configure("search_path", "pg_toast").await?;
        let facts: Facts = session
            .query_one(
                "select pg_postmaster_start_time() as started_at, clock_timestamp() as now, \
                 (select stats_reset from pg_catalog.pg_stat_database where datname = current_database()) as stats_reset, \
                 pg_has_role('pg_read_all_stats', 'usage') as sees_statistics",
                Vec::new(),
            )
            .await?;
        let mut server = Self {
            version: info.version,
            version_num: info.version_num,
            system_identifier: info.system_identifier,
            in_recovery: info.in_recovery,
            database: info.database,
            role: info.role,
            started_at: facts.started_at,
            statistics_since: facts.stats_reset,
            statistics_age_seconds: facts.stats_reset.map(|since| facts.now.seconds_since(since)),
            visibility_complete: true,
            hidden: Vec::new(),
        };
        if !facts.sees_statistics {
            server.hide(format!(
                "role {} is not a member of pg_monitor: what other roles' sessions do is hidden",
                server.role
            ));
        }
        Ok(server)
    }

    /// The major version: 16.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// The version without what the packager adds: `16.14`.
    pub fn release(&self) -> &str {
        self.version.split(' ').next().unwrap_or_default()
    }

    /// Note something that could not be seen.
    pub fn hide(&mut self, what: impl Into<String>) {
        self.visibility_complete = false;
        self.hidden.push(what.into());
    }

    /// Put what could not be seen into a report, as findings: it is never ok then. Call it once, at the end.
    pub fn report_visibility<D>(&self, report: &mut Report<D>) {
        if self.visibility_complete {
            return;
        }
        report.incomplete();
        for what in &self.hidden {
            let finding = report.unknown(format!("not everything could be seen: {what}"));
            if what.contains("pg_monitor") {
                finding
                    .detail("PostgreSQL leaves out rows and columns that the role may not see, so an empty answer proves nothing.")
                    .advice(format!("As a superuser: GRANT pg_monitor TO the role {}", self.role));
            } else {
                finding.detail("What was not seen may be well or not; it is not counted as well.");
            }
        }
    }
}
