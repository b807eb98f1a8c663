//! The promotion, and the proof of it.

use crate::node::within;
use crate::{Decision, Lsn};
use rota_sdk::prelude::*;
use rota_sdk::{Context, SqlSlot};
use std::time::Duration;

/// How often what is waited for is looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the canary write may take.
const CANARY: Duration = Duration::from_secs(20);

/// How a promotion ended, proven by looks from outside.
#[data]
pub struct Promoted {
    /// The timeline that it writes now.
    pub timeline: i32,
    /// Where that begins: everything before is what the old primary wrote. Null where the server was restarted since.
    pub switch_lsn: Option<String>,
    /// The same in bytes since the beginning of the log.
    pub switch_bytes: Option<i64>,
    /// How long the canary write took with its commit, in seconds.
    pub canary_seconds: f64,
}

/// Why a standby was not promoted.
#[derive(Debug)]
pub enum Refused {
    /// The server refused, so that it goes on as a standby.
    Certainly(Error),
    /// Nobody knows, or it takes longer: it may leave recovery at any moment.
    Perhaps(Error),
}

/// Promote, and wait until it has left recovery. Harmless to repeat.
///
/// # Errors
/// Whether it may have happened all the same is what the error's kind says.
pub async fn promote(cx: &Context, slot: SqlSlot, seconds: u32) -> Result<(), Refused> {
    let mut session = match slot.open().await {
        Ok(session) => session,
        Err(error) => return Err(Refused::Perhaps(error)),
    };
    // An earlier attempt may have done it.
    if !in_recovery(&mut session).await.map_err(Refused::Perhaps)? {
        return Ok(());
    }
    match session.promote(seconds).await {
        Ok(_) if cx.is_plan() => return Ok(()),
        Ok(true) => return Ok(()),
        Ok(false) => {}
        // Said by the server or the host before anything was asked for. What a cut connection means nobody knows.
        Err(error) if error.is_denied() || matches!(error.code(), Some("42501" | "42883")) => {
            return Err(Refused::Certainly(error));
        }
        Err(error) => return Err(Refused::Perhaps(error)),
    }
    Err(Refused::Perhaps(
        Error::new(format!("the standby was asked to leave recovery and has not done so in {seconds} s")).hint(
            "look at its log: it may be replaying a long backlog, or miss WAL. It may still be promoted at any moment, so the old primary stays \
             stopped and the Service as it was until that is settled",
        ),
    ))
}

async fn in_recovery(session: &mut Session) -> Result<bool> {
    session.query_one("select pg_catalog.pg_is_in_recovery()", params![]).await
}

/// Prove that the chosen standby is a primary now: out of recovery, on a newer timeline, of the same cluster, and it takes a write.
///
/// # Errors
/// When any of it does not hold.
pub async fn verify(cx: &Context, slot: SqlSlot, decision: &Decision) -> Result<Promoted> {
    let chosen = &decision.chosen;
    let wrong = |what: String| {
        Error::new(format!("{} is not verified as the new primary: {what}", chosen.pod))
            .hint("the Service was not changed, and the old primary stays stopped: see the server's log")
    };
    let mut session = slot.open().await?;
    if in_recovery(&mut session).await? {
        return Err(wrong("it is in recovery".to_owned()));
    }
    let (file, system_identifier, switch): (String, Option<String>, Option<i64>) = session
        .query_one(
            // What was replayed last stays known to a server that has left recovery, until it is restarted.
            "select pg_walfile_name(pg_current_wal_lsn()), (select system_identifier::text from pg_control_system()), \
                    (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8",
            params![],
        )
        .await?;
    // A WAL file's name begins with its timeline, in eight hexadecimal digits.
    let timeline = file.get(..8).and_then(|digits| i32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    if system_identifier.as_deref() != Some(&chosen.system_identifier) {
        return Err(wrong(format!("its system identifier is {}", system_identifier.unwrap_or_default())));
    }
    if timeline <= chosen.timeline {
        return Err(wrong(format!("it writes timeline {timeline}, and was on {} before", chosen.timeline)));
    }
    let begun = cx.now();
    let written = within(cx, CANARY, canary(&mut session)).await?;
    match written {
        Some(Ok(true)) => {}
        Some(Ok(false)) => return Err(wrong("the row of the canary write was not there".to_owned())),
        Some(Err(error)) => return Err(error.context(format!("{} takes no writes", chosen.pod))),
        None => {
            return Err(Error::new(format!("{} takes no writes: a commit has not come back in {} s", chosen.pod, CANARY.as_secs())).hint(
                "where synchronous_standby_names names standbys that are gone, set it to '' on the new primary: ALTER SYSTEM, then SELECT pg_reload_conf()",
            ));
        }
    }
    let canary_seconds = cx.now().seconds_since(begun);
    Ok(Promoted {
        timeline,
        switch_lsn: switch.map(|bytes| Lsn(bytes).to_string()),
        switch_bytes: switch,
        canary_seconds,
    })
}

/// Write through the catalog, the log and the commit, and leave nothing.
async fn canary(session: &mut Session) -> Result<bool> {
    let mut transaction = session.begin().await?;
    transaction.execute("create temporary table rota_canary (id bigint not null) on commit drop", params![]).await?;
    let written = transaction.execute("insert into pg_temp.rota_canary (id) values (1)", params![]).await?;
    transaction.commit().await?;
    Ok(written == 1)
}

/// Wait until something holds, and give what it gave; none when the time is over.
pub(crate) async fn until<T>(
    cx: &Context,
    seconds: u32,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let begun = cx.now();
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if cx.is_plan() || cx.now().seconds_since(begun) >= f64::from(seconds) {
            return Ok(None);
        }
        cx.sleep(PAUSE).await?;
    }
}
