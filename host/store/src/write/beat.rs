//! Signs of life.

use crate::StoreError;
use crate::masked;
use crate::rows::{BeatAnswer, CancelWish};
use crate::session::{Session, args, sql};
use crate::writer::Op;
use rota_protocol::{Fence, Incarnation, Lease, LeaseNumber, Span};
use serde_json::json;
use std::collections::HashMap;

/// The leases that a host holds last longer.
pub(crate) struct Extend {
    pub(crate) incarnation: Incarnation,
    pub(crate) lease: Span,
    pub(crate) held: Vec<(String, LeaseNumber)>,
    pub(crate) progress: Vec<(String, String)>,
}

impl Op for Extend {
    type Answer = BeatAnswer;

    async fn apply(&self, session: &mut Session<'_>) -> Result<BeatAnswer, StoreError> {
        let row = session
            .one(
                sql!("update rota.hosts set seen_at = @now, lease = $2 where incarnation = $1 returning draining, seen_at"),
                args![self.incarnation.0.as_str(), self.lease.0],
            )
            .await?;
        let (drain, mut now) = match row {
            Some(row) => (row.truth("draining")?, row.instant("seen_at")?),
            None => (false, session.now().await?),
        };
        let mut lost = Vec::new();
        let mut cancels = Vec::new();
        if !self.held.is_empty() {
            let list = json!(self.held.iter().map(|(run, _)| json!({ "run": run })).collect::<Vec<_>>()).to_string();
            let rows = session
                .all(
                    sql!(
                        "select l.run, l.holder, l.number, l.expires, @now as now from rota.leases l
                         where @in(l.run, $1) order by l.run @lock"
                    ),
                    args![&list],
                )
                .await?;
            let mut leases = HashMap::new();
            for row in rows {
                let lease = Lease {
                    holder: Incarnation(row.text("holder")?),
                    number: LeaseNumber(row.number("number")?),
                    expires: row.instant("expires")?,
                };
                now = row.instant("now")?.max(now);
                leases.insert(row.text("run")?, lease);
            }
            let mut longer = Vec::with_capacity(self.held.len());
            for (run, number) in &self.held {
                let fence = Fence { holder: self.incarnation.clone(), number: *number };
                match leases.get(run).map(|lease| lease.extend(&fence, now, self.lease)) {
                    Some(Ok(lease)) => longer.push(json!({ "run": run, "expires": lease.expires.0 })),
                    Some(Err(_)) | None => lost.push(run.clone()),
                }
            }
            session
                .run(
                    sql!(
                        "update rota.leases set expires = cast(each.value ->> 'expires' as bigint) from @each($1)
                         where leases.run = each.value ->> 'run'"
                    ),
                    args![&json!(longer).to_string()],
                )
                .await?;
            cancels = cancelled(session, &list).await?;
            cancels.retain(|(run, _)| !lost.contains(run));
        }
        self.note_progress(session, &lost).await?;
        Ok(BeatAnswer { now, lost, cancels, drain })
    }
}

/// Which of these runs somebody wants cancelled.
pub(crate) async fn cancelled(session: &mut Session<'_>, list: &str) -> Result<Vec<(String, CancelWish)>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select r.id, r.cancel from rota.runs r
                 where @in(r.id, $1) and r.cancel is not null and r.state = 'running'"
            ),
            args![list],
        )
        .await?;
    rows.iter().map(|row| Ok((row.text("id")?, row.json("cancel")?))).collect()
}

impl Extend {
    async fn note_progress(&self, session: &mut Session<'_>, lost: &[String]) -> Result<(), StoreError> {
        let progress: Vec<_> = self
            .progress
            .iter()
            .filter(|(run, _)| !lost.contains(run) && self.held.iter().any(|(held, _)| held == run))
            .map(|(run, progress)| json!({ "run": run, "progress": masked::json(progress.clone()) }))
            .collect();
        if progress.is_empty() {
            return Ok(());
        }
        session
            .run(
                sql!(
                    "update rota.runs set progress = each.value ->> 'progress' from @each($1) where runs.id = each.value ->> 'run'"
                ),
                args![&json!(progress).to_string()],
            )
            .await?;
        Ok(())
    }
}
