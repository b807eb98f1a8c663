//! The restored database in the live one's place.

use crate::guard::Guard;
use crate::live::{Live, others};
use crate::scratch::{Scratch, remark};
use crate::{Context, Parameters};
use rota_sdk::HostError;
use rota_sdk::prelude::*;
use rota_sdk_backup::tell::some;
use std::time::Duration;

/// How often sessions are looked for.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the server takes to end a session that was told to.
const ENDING_SECONDS: i64 = 15;

/// What was swapped.
pub(crate) struct Swapped {
    /// The old database's name from here on; none where there was none.
    pub(crate) old: Option<String>,
    /// Whose sessions were ended.
    pub(crate) ended: Vec<String>,
}

/// Refuse whoever would connect to the live database from now on.
///
/// # Errors
/// What the server said.
pub(crate) async fn close(session: &mut Session, target: &str) -> Result<()> {
    let quoted = session.quote_name(target).await?;
    session
        .execute(sql!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quoted), params![])
        .await
        .map(drop)
        .with_context(|| format!("refusing connections to {target:?}"))
}

/// Wait until nobody is left in it, and end whoever is where that is wanted.
///
/// # Errors
/// When somebody is left.
pub(crate) async fn empty(
    cx: &Context,
    session: &mut Session,
    target: &str,
    live: &Live,
    parameters: &Parameters,
) -> Result<Vec<String>> {
    let (mut ended, mut told) = (Vec::new(), false);
    let patience = i64::from(if parameters.end_sessions { 0 } else { parameters.wait_seconds });
    let mut deadline = cx.now().plus_seconds(patience);
    loop {
        let left = others(session, live.oid).await?;
        if left.is_empty() || cx.is_plan() {
            return Ok(ended);
        }
        if cx.now() >= deadline {
            if !parameters.end_sessions || told {
                return Err(in_use(target, &left));
            }
            for other in &left {
                let (Ok(pid), Some(start)) = (u32::try_from(other.pid), other.start) else {
                    return Err(Error::new(format!("the session of {other} may not be ended by this role"))
                        .hint("it is another role's: GRANT pg_read_all_stats and pg_signal_backend to the role; a superuser's can only be ended by a superuser"));
                };
                if session.terminate_backend(pid, start).await? {
                    ended.push(other.to_string());
                }
            }
            // Those who had gone by themselves are not there any more at the next look.
            deadline = cx.now().plus_seconds(ENDING_SECONDS);
            told = true;
        }
        cx.sleep(PAUSE).await?;
    }
}

/// Somebody uses the live database.
pub(crate) fn in_use<T: ToString>(target: &str, left: &[T]) -> Error {
    Error::from(HostError::Conflict(format!(
        "database {target:?} is used by {} session(s) of others: {}",
        left.len(),
        some(left, 5)
    )))
    .hint("stop them, bind their cluster and name their deployments, or set end_sessions; nothing was swapped")
}

/// Two renames and two remarks, all or nothing.
///
/// # Errors
/// What the server said; then nothing was swapped.
pub(crate) async fn swap(
    session: &mut Session,
    guard: &mut Guard<'_>,
    target: &str,
    scratch: &Scratch,
    old: Option<&str>,
    remarks: (&str, &str),
) -> Result<()> {
    let live = session.quote_name(target).await?;
    let said = remark(session, target, remarks.0).await?;
    // The lock must still be ours at the last moment at which that can be told.
    guard.check().await?;
    let old = match old {
        Some(name) => Some((session.quote_name(name).await?, remark(session, name, remarks.1).await?)),
        None => None,
    };
    let mut transaction = session.begin().await?;
    if let Some((quoted, _)) = &old {
        transaction.execute(sql!("ALTER DATABASE {} RENAME TO {}", live, quoted), params![]).await?;
    }
    transaction.execute(sql!("ALTER DATABASE {} RENAME TO {}", scratch.quoted, live), params![]).await?;
    if let Some((_, remark)) = old {
        transaction.execute(remark, params![]).await?;
    }
    transaction.execute(said, params![]).await?;
    transaction.commit().await.context("swapping the two databases")
}
