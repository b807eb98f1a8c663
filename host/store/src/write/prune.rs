//! Forgetting.

use crate::StoreError;
use crate::rows::Keep;
use crate::session::{Session, args, sql};
use crate::writer::Op;
use rota_protocol::Span;
use serde_json::json;

/// How long what belongs to no run stays: components just kept, hosts that are gone.
const LINGER: Span = Span::seconds(24 * 3600);

/// Forget runs that are over, in one small batch.
pub(crate) struct Prune {
    pub(crate) keep: Keep,
    pub(crate) batch: u32,
}

impl Op for Prune {
    type Answer = u64;

    async fn apply(&self, session: &mut Session<'_>) -> Result<u64, StoreError> {
        let now = session.now().await?;
        let old = now.0.saturating_sub(self.keep.age.0);
        let mut runs = self.by_age(session, old).await?;
        if runs.len() < self.batch as usize {
            runs.extend(self.by_count(session).await?);
            runs.sort();
            runs.dedup();
            runs.truncate(self.batch as usize);
        }
        let list = json!(runs.iter().map(|run| json!({ "run": run })).collect::<Vec<_>>()).to_string();
        if !runs.is_empty() {
            forget(session, &list).await?;
        } else {
            self.forget_counted(session).await?;
        }
        self.forget_the_rest(session, old, now.0.saturating_sub(LINGER.0)).await?;
        Ok(runs.len() as u64)
    }
}

impl Prune {
    /// The oldest first. Ids begin with the time, so those that were made later are not looked at.
    async fn by_age(&self, session: &mut Session<'_>, old: i64) -> Result<Vec<String>, StoreError> {
        let rows = session
            .all(
                sql!(
                    "select r.id from rota.runs r where r.finished_at < $1 and r.state <> 'compensation-failed' and r.id < $3
                     order by r.id limit $2"
                ),
                args![old, self.batch, &id_at(old)],
            )
            .await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    /// Beyond so many of each job, of jobs that have more.
    async fn by_count(&self, session: &mut Session<'_>) -> Result<Vec<String>, StoreError> {
        let rows = session
            .all(
                sql!(
                    "with recursive jobs(job) as (
                       select (select min(job) from rota.runs where job is not null)
                       union all
                       select (select min(r.job) from rota.runs r where r.job > jobs.job) from jobs where jobs.job is not null)
                     select r.id from jobs join rota.runs r on r.job = jobs.job
                     where jobs.job is not null and r.finished_at is not null and r.state <> 'compensation-failed'
                       and r.id <= (select x.id from rota.runs x where x.job = jobs.job order by x.id desc limit 1 offset $1)
                     limit $2"
                ),
                args![self.keep.per_job, self.batch],
            )
            .await?;
        rows.iter().map(|row| row.text("id")).collect()
    }

    /// That runs were counted for their teams which are on record no more: a host of the version before forgets a run, and knows no teams.
    async fn forget_counted(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        session
            .run(
                sql!(
                    "delete from rota.team_runs where run in (
                       select t.run from rota.team_runs t
                       where not exists (select 1 from rota.runs r where r.id = t.run) limit $1)"
                ),
                args![self.batch],
            )
            .await?;
        Ok(())
    }

    async fn forget_the_rest(&self, session: &mut Session<'_>, old: i64, gone: i64) -> Result<(), StoreError> {
        session
            .run(
                sql!(
                    "delete from rota.fires where (job, nominal) in (
                       select f.job, f.nominal from rota.fires f where f.decided_at < $1
                         and not exists (select 1 from rota.runs r where r.id = f.run) limit $2)"
                ),
                args![old, self.batch],
            )
            .await?;
        session
            .run(
                sql!(
                    "delete from rota.components where kept_at < $1 and not exists (
                       select 1 from rota.compensations c where c.digest = components.digest
                         and c.status in ('registered', 'running', 'failed'))"
                ),
                args![gone],
            )
            .await?;
        session
            .run(
                sql!(
                    "delete from rota.hosts where seen_at < $1 and not exists (
                       select 1 from rota.leases l where l.holder = hosts.incarnation)"
                ),
                args![gone],
            )
            .await?;
        Ok(())
    }
}

/// The least UUIDv7 of an instant.
fn id_at(micros: i64) -> String {
    let millis = (micros / 1_000).max(0);
    let hex = format!("{millis:012x}");
    let (high, low) = hex.split_at_checked(8).unwrap_or((&hex, ""));
    format!("{high}-{low}")
}

/// Runs and everything of them.
async fn forget(session: &mut Session<'_>, list: &str) -> Result<(), StoreError> {
    for statement in [
        sql!("delete from rota.effects where @in(run, $1)"),
        sql!("delete from rota.logs where @in(run, $1)"),
        sql!("delete from rota.artifacts where @in(run, $1)"),
        sql!("delete from rota.steps where @in(run, $1)"),
        sql!("delete from rota.compensations where @in(run, $1)"),
        sql!("delete from rota.attempts where @in(run, $1)"),
        sql!("delete from rota.team_runs where @in(run, $1)"),
        sql!("delete from rota.runs where @in(id, $1)"),
    ] {
        session.run(statement, args![list]).await?;
    }
    Ok(())
}
