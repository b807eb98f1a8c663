//! That nothing is lost.
//!
//! A primary that stops cleanly writes the checkpoint of its shutdown as the last record of its log, and does not end before its standbys have confirmed it. So it is enough to
//! see that this record is the last that the standby has replayed. A standby that is told to checkpoint puts the last checkpoint record that it has replayed into its control file;
//! the checkpoint of a shutdown is the only one whose redo position is its own position, because nothing is written while it is made.

use crate::{Context, Decision};
use rota_sdk::prelude::*;
use rota_sdk_promotion::{Lsn, Standby};
use std::time::Duration;

/// More than the record of a checkpoint takes, with the head of a page in it, and less than two records.
const RECORD: i64 = 192;

const PAUSE: Duration = Duration::from_millis(250);

/// The proof.
#[data]
pub struct Proof {
    /// Where the checkpoint of the primary's shutdown is.
    pub shutdown_lsn: String,
    /// Up to where the standby has replayed: the end of that record.
    pub replayed_lsn: String,
    /// What is lost, in bytes.
    pub lost_bytes: i64,
}

#[derive(FromRow)]
struct Checkpoint {
    checkpoint: i64,
    redo: i64,
    replayed: i64,
}

/// Wait until the standby has replayed the primary's shutdown.
///
/// # Errors
/// When it has not in time.
pub(crate) async fn prove(cx: &Context, seconds: u32, decision: &Decision) -> Result<Proof> {
    let begun = cx.now();
    let mut session = cx.standby().open().await?;
    let mut looked_at = None;
    loop {
        let seen = Standby::look(&mut session).await?;
        let end = seen.replayed.filter(|replayed| !seen.streams() && *replayed >= seen.received.unwrap_or(0));
        // Once for each position: a checkpoint is an effect.
        if let Some(end) = end.filter(|end| looked_at != Some(*end)) {
            session
                .execute("CHECKPOINT", params![])
                .await
                .context("a checkpoint of the standby, to see what it has replayed")?;
            let now: Checkpoint = session
                .query_one(
                    "select (checkpoint_lsn - '0/0'::pg_lsn)::int8 as checkpoint, (redo_lsn - '0/0'::pg_lsn)::int8 as redo, \
                            (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 as replayed from pg_control_checkpoint()",
                    params![],
                )
                .await?;
            let after = now.replayed - now.checkpoint;
            let is_last = now.checkpoint == now.redo && (1..=RECORD).contains(&after);
            if is_last && decision.known_bytes.is_none_or(|known| now.replayed >= known) {
                return Ok(Proof {
                    shutdown_lsn: Lsn(now.checkpoint).to_string(),
                    replayed_lsn: Lsn(now.replayed).to_string(),
                    lost_bytes: 0,
                });
            }
            looked_at = Some(end);
        }
        if cx.now().seconds_since(begun) >= f64::from(seconds) {
            return Err(Error::new(format!(
                "that {} has everything could not be proven in {seconds} s: it has replayed up to {}, and the last record there is not the shutdown of {}",
                decision.chosen.pod,
                Lsn(seen.replayed.unwrap_or(0)),
                decision.primary.stateful_set
            ))
            .hint(
                "the primary was killed rather than stopped (see its terminationGracePeriodSeconds, and that its container is stopped by SIGINT or by pg_ctl stop -m fast in \
                 preStop: SIGTERM alone waits for every client), or the standby lost its connection; the primary is started again",
            ));
        }
        cx.sleep(PAUSE).await?;
    }
}
