//! What comes back where a restore does not come to its end. Each is harmless where there is nothing to undo, and when it comes twice.

use crate::Context;
use crate::apps::{self, App};
use crate::guard::Guard;
use crate::scratch::{maintenance, unhurried};
use rota_sdk::cluster::Cluster;
use rota_sdk::prelude::*;
use rota_sdk_backup::tell::some;
use std::time::Duration;

/// What a restore leaves, or takes away, that must not stay so.
#[data]
pub enum Left {
    /// A database beside the live one.
    Scratch {
        /// The live database, whose lock is taken.
        target: String,
        /// The database's name: this run's alone. Once it is swapped, there is none of the name.
        name: String,
    },
    /// Connections to the live database are refused.
    Closed {
        /// Its name.
        target: String,
        /// Its identity, which it keeps when it is renamed.
        oid: i64,
    },
    /// Applications are scaled down.
    Scaled {
        /// The live database, whose lock is taken.
        target: String,
        /// They, as they were.
        apps: Vec<App>,
    },
}

/// How long another restore of the database is waited for: the host tries again.
const LOCK: Duration = Duration::from_secs(20);
/// How long what a dead host had under way at the server is waited for.
const LAST_WORDS: Duration = Duration::from_secs(60);
/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(200);

/// This run's sessions but this one and the lock's: what a dead host has sent goes on at the server until it is done. Those of programs are called
/// alike, as far as 63 bytes go.
const OURS: &str = "\
    select count(*) from pg_catalog.pg_stat_activity \
    where strpos(application_name, $1) > 0 and starts_with(application_name, 'rota/') and state <> 'idle' and pid <> $2::int4 and pid <> $3::int4 \
      and ($4 or datname = current_database())";

/// Undo it.
pub(crate) async fn put_back(cx: Context, undo: Undo<Left>) -> Result<()> {
    let mut session = maintenance(&cx).await?;
    unhurried(&cx, &mut session).await?;
    let mut locker = maintenance(&cx).await?;
    let mine = (i64::from(session.backend_pid()), i64::from(locker.backend_pid()));
    let (Left::Scratch { target, .. } | Left::Closed { target, .. } | Left::Scaled { target, .. }) = &undo.state;
    let guard = Guard::take(&mut locker, &mut session, target, LOCK).await?;
    let run = cx.info().id;
    // The first and longest part of the id, which is there also where the name was cut.
    let known = run.get(..23).unwrap_or(&run).to_owned();
    let done = match &undo.state {
        Left::Scaled { apps, .. } => scale_back(&cx, apps).await,
        Left::Closed { oid, .. } => {
            last_words(&cx, &mut session, &known, mine, true).await?;
            open_again(&mut session, target, *oid).await
        }
        Left::Scratch { name, .. } => {
            let force = cx.database().grants("signal");
            // What makes databases works from here; what works inside of the scratch database is ended with it, where that is granted.
            last_words(&cx, &mut session, &known, mine, !force).await?;
            drop_scratch(&mut session, name, force).await
        }
    };
    done?;
    guard.release().await
}

/// Wait until nothing of this run is under way at the server, or only in this database.
async fn last_words(
    cx: &Context,
    session: &mut Session,
    known: &str,
    mine: (i64, i64),
    everywhere: bool,
) -> Result<()> {
    let deadline = cx.now().plus_seconds(i64::try_from(LAST_WORDS.as_secs()).unwrap_or(60));
    loop {
        let left: i64 = session.query_one(OURS, params![known, mine.0, mine.1, everywhere]).await?;
        if left == 0 {
            return Ok(());
        }
        if cx.now() >= deadline {
            return Err(Error::new(format!("{left} session(s) of this run are still at work at the server"))
                .hint("the undo is tried again"));
        }
        cx.sleep(PAUSE).await?;
    }
}

async fn drop_scratch(session: &mut Session, name: &str, force: bool) -> Result<()> {
    let there: Option<i64> = session
        .query_optional("select oid::int8 from pg_catalog.pg_database where datname = $1", params![name])
        .await?;
    if there.is_none() {
        info!("database {name} is not there: it was never made, or it is live");
        return Ok(());
    }
    let quoted = session.quote_name(name).await?;
    let statement = if force {
        sql!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted)
    } else {
        sql!("DROP DATABASE IF EXISTS {}", quoted)
    };
    session.execute(statement, params![]).await?;
    info!("database {name}, restored and not swapped, is dropped");
    Ok(())
}

async fn open_again(session: &mut Session, target: &str, oid: i64) -> Result<()> {
    let found: Option<(String, bool)> = session
        .query_optional(
            "select datname::text, datallowconn from pg_catalog.pg_database where oid = $1::int8::oid",
            params![oid],
        )
        .await?;
    match found {
        Some((name, false)) if name == target => {
            let quoted = session.quote_name(target).await?;
            session.execute(sql!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted), params![]).await?;
            info!("database {target} was not swapped, and lets connections in again");
        }
        Some((name, _)) if name != target => {
            info!("database {target} was swapped: the old one is {name}, and stays closed")
        }
        Some(_) => info!("database {target} was not swapped"),
        None => warn!("database {target} as it was is not there any more: somebody dropped it"),
    }
    Ok(())
}

async fn scale_back(cx: &Context, apps: &[App]) -> Result<()> {
    let Some(slot) = cx.cluster() else { return Err(Error::new("the slot `cluster` is not bound any more")) };
    let cluster: Cluster = slot.open().await?;
    let scaled = apps::scale_back(&cluster, apps).await?;
    for app in &scaled {
        if let Some(others) = &app.others {
            warn!("{}: {others}; it was not set back to {}", app.deployment, app.before);
        }
    }
    let titles: Vec<String> = apps.iter().map(|app| format!("{} {}", app.title(), app.replicas)).collect();
    info!("applications are as they were: {}", some(&titles, 20));
    Ok(())
}
