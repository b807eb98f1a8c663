//! What teams use: counted for all hosts in one row a team and day, which is locked before it is looked at.
//!
//! A run has CPU time and bytes set aside before it uses them, a slice at a time, and gives back what is left. A host that vanishes
//! gives back nothing: what was set aside for its runs counts as used until the day ends. So no quota is gone over, whatever happens.
//!
//! Of what is committed together, the rows of its teams are locked first and in the order of their names ([`lock`], [`Op::team`]), before
//! leases are: so no two hosts wait for each other.

use super::effect::BeginEffect;
use crate::StoreError;
use crate::rows::{TeamQuota, TeamQuotas, TeamShare};
use crate::session::{Row, Session, args, sql};
use crate::writer::Op;
use rota_protocol::Span;

/// Days for which is remembered what was used.
const KEPT: i64 = 62;

/// Less CPU time than this (microseconds) is nothing to begin with: what the last run left over.
const LEAST_CPU: i64 = 10_000;

/// What a team has used today, under its lock.
struct Used {
    day: i64,
    runs: u64,
    cpu: i64,
    bytes_out: u64,
    effects: u64,
}

impl Used {
    /// Lock what a team has used today.
    async fn lock(session: &mut Session<'_>, team: &str) -> Result<Self, StoreError> {
        let day = crate::rows::day_of(session.now().await?);
        if let Some(row) = Self::row(session, team, day).await? {
            return Self::read(day, &row);
        }
        let new = session
            .run(
                sql!("insert into rota.team_usage (team, day) values ($1, $2) on conflict (team, day) do nothing"),
                args![team, day],
            )
            .await?;
        if new > 0 {
            session
                .run(
                    sql!("delete from rota.team_usage where team = $1 and day < $2"),
                    args![team, day.saturating_sub(KEPT)],
                )
                .await?;
        }
        match Self::row(session, team, day).await? {
            Some(row) => Self::read(day, &row),
            None => Err(StoreError::Database(format!("what the team `{team}` has used was forgotten meanwhile"))),
        }
    }

    async fn row(session: &mut Session<'_>, team: &str, day: i64) -> Result<Option<Row>, StoreError> {
        session
            .one(
                sql!(
                    "select u.runs, u.cpu, u.bytes_out, u.effects from rota.team_usage u where u.team = $1 and u.day = $2 @lock"
                ),
                args![team, day],
            )
            .await
    }

    fn read(day: i64, row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            day,
            runs: row.count("runs")?,
            cpu: row.number("cpu")?,
            bytes_out: row.count("bytes_out")?,
            effects: row.count("effects")?,
        })
    }

    /// As much of it as is left.
    fn grants(&self, wanted: &TeamShare, most: &TeamQuotas) -> TeamShare {
        let cpu = most.cpu.map_or(i64::MAX, |most| most.0.saturating_sub(self.cpu));
        let bytes_out = most.bytes_out.map_or(u64::MAX, |most| most.saturating_sub(self.bytes_out));
        TeamShare {
            day: self.day,
            cpu: Span(wanted.cpu.0.clamp(0, cpu.max(0))),
            bytes_out: wanted.bytes_out.min(bytes_out),
        }
    }

    async fn add(&self, session: &mut Session<'_>, team: &str, runs: u64, share: &TeamShare) -> Result<(), StoreError> {
        session
            .run(
                sql!(
                    "update rota.team_usage set runs = runs + $3, cpu = cpu + $4, bytes_out = bytes_out + $5 where team = $1 and day = $2"
                ),
                args![team, self.day, runs, share.cpu.0, share.bytes_out],
            )
            .await?;
        Ok(())
    }
}

/// Lock what a team has used today, until what is committed together is.
pub(crate) async fn lock(session: &mut Session<'_>, team: &str) -> Result<(), StoreError> {
    Used::lock(session, team).await.map(drop)
}

/// An effect of a run of a team is about to happen; none where the team has had all that it may have today.
pub(crate) struct BeginTeamEffect {
    pub(crate) effect: BeginEffect,
    pub(crate) team: String,
    pub(crate) most: Option<u64>,
}

impl Op for BeginTeamEffect {
    type Answer = Option<u64>;
    const ORDER: u8 = 0;

    fn team(&self) -> Option<&str> {
        Some(&self.team)
    }

    async fn apply(&self, session: &mut Session<'_>) -> Result<Option<u64>, StoreError> {
        let used = Used::lock(session, &self.team).await?;
        if self.most.is_some_and(|most| used.effects >= most) {
            return Ok(None);
        }
        let sequence = self.effect.apply(session).await?;
        session
            .run(
                sql!("update rota.team_usage set effects = effects + 1 where team = $1 and day = $2"),
                args![&self.team, used.day],
            )
            .await?;
        Ok(Some(sequence))
    }
}

/// A run of a team begins: it is counted once, and gets its first CPU time.
pub(crate) struct BeginTeamRun {
    pub(crate) run: String,
    pub(crate) team: String,
    pub(crate) cpu: Span,
    pub(crate) most: TeamQuotas,
}

impl Op for BeginTeamRun {
    type Answer = Result<TeamShare, TeamQuota>;
    const ORDER: u8 = 0;

    fn team(&self) -> Option<&str> {
        Some(&self.team)
    }

    async fn apply(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let used = Used::lock(session, &self.team).await?;
        let counted =
            session.one(sql!("select day from rota.team_runs where run = $1"), args![&self.run]).await?.is_some();
        if !counted && self.most.runs.is_some_and(|most| used.runs >= most) {
            return Ok(Err(TeamQuota::Runs));
        }
        let share = used.grants(&TeamShare { day: 0, cpu: self.cpu, bytes_out: 0 }, &self.most);
        if share.cpu.0 < self.cpu.0.min(LEAST_CPU) {
            return Ok(Err(TeamQuota::Cpu));
        }
        if !counted {
            session
                .run(
                    sql!("insert into rota.team_runs (run, team, day) values ($1, $2, $3)"),
                    args![&self.run, &self.team, used.day],
                )
                .await?;
        }
        used.add(session, &self.team, u64::from(!counted), &share).await?;
        Ok(Ok(share))
    }
}

/// More is set aside for a run: as much as is left of what it wants.
pub(crate) struct TakeShare {
    pub(crate) team: String,
    pub(crate) cpu: Span,
    pub(crate) bytes_out: u64,
    pub(crate) most: TeamQuotas,
}

impl Op for TakeShare {
    type Answer = TeamShare;
    const ORDER: u8 = 0;

    fn team(&self) -> Option<&str> {
        Some(&self.team)
    }

    async fn apply(&self, session: &mut Session<'_>) -> Result<TeamShare, StoreError> {
        let used = Used::lock(session, &self.team).await?;
        let wanted = TeamShare { day: 0, cpu: self.cpu, bytes_out: self.bytes_out };
        let share = used.grants(&wanted, &self.most);
        used.add(session, &self.team, 0, &share).await?;
        Ok(share)
    }
}

/// What was set aside was not used, or (negative CPU time) less was set aside than was used.
pub(crate) struct GiveBack {
    pub(crate) team: String,
    pub(crate) share: TeamShare,
}

impl Op for GiveBack {
    type Answer = ();
    const ORDER: u8 = 0;

    fn team(&self) -> Option<&str> {
        Some(&self.team)
    }

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session
            .run(
                sql!(
                    "update rota.team_usage set cpu = case when cpu > $3 then cpu - $3 else 0 end,
                            bytes_out = case when bytes_out > $4 then bytes_out - $4 else 0 end
                     where team = $1 and day = $2"
                ),
                args![&self.team, self.share.day, self.share.cpu.0, self.share.bytes_out],
            )
            .await?;
        Ok(())
    }
}
