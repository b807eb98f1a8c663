//! Calls that answer with a stream and how it ended.

use super::cache::{self, SeenCommand, UnlinkOptions, UnlinkProgress};
use super::{Answer, Call, Host, Pattern, decide};
use crate::matching::Matching;
use crate::monitor::{self, Commands};
use crate::unlink::Progress;
use rota_authority::{Authorized, Cache, CacheAccess, EffectClass, Exact};
use rota_capability::Items;
use rota_capability::streams::{Offloaded, give_future, give_outcome};
use rota_contract::Error;
use tokio::sync::mpsc;
use wasmtime::AsContextMut as _;
use wasmtime::component::{Accessor, FutureReader, StreamReader};

/// A stream, and how it ended.
pub(super) type Given<T, V> = (StreamReader<T>, FutureReader<Result<V, Error>>);

/// How many reports of progress wait for a guest.
const REPORTS: usize = 64;

pub(super) async fn scan<T: Send + 'static>(
    accessor: &Accessor<T, Host>,
    call: &Call,
    pattern: cache::Pattern,
) -> Answer<Given<Vec<u8>, u64>> {
    let found = async {
        let authorized = call.reads("cache.scan")?;
        call.client().scan(&authorized, Pattern::parse(&pattern)?).await
    };
    let keys = match found.await {
        Ok(keys) => keys,
        Err(error) => return Ok(Err(error)),
    };
    give(accessor, Items::new(keys.keys, keys.work, call.guard.run()))
}

pub(super) async fn monitor<T: Send + 'static>(
    accessor: &Accessor<T, Host>,
    call: &Call,
    seconds: u32,
    limit: u32,
) -> Answer<Given<SeenCommand, u64>> {
    let begun = async {
        let authorized = call.authorise("cache.monitor", CacheAccess::Debug)?;
        monitor::check(seconds, limit)?;
        let detail = format!(
            "watches every command for at most {seconds} s and {limit} commands a node, which costs the server up to half of what it can do"
        );
        match decide(&authorized, String::new(), detail, EffectClass::Write, Exact::shown()).await? {
            None => Ok(None),
            Some(permit) => call.client().monitor(permit, seconds, limit).await.map(Some),
        }
    };
    match begun.await {
        Ok(Some(Commands { commands, work })) => give(accessor, Items::new(commands, Some(work), call.guard.run())),
        Ok(None) => give(accessor, Items::new(mpsc::channel(1).1, None::<crate::scan::Work>, call.guard.run())),
        Err(error) => Ok(Err(error)),
    }
}

fn give<T, I, W>(
    accessor: &Accessor<T, Host>,
    (items, told): (Items<I, W>, tokio::sync::oneshot::Receiver<Result<u64, Error>>),
) -> Answer<Given<I, u64>>
where
    T: Send + 'static,
    I: wasmtime::component::Lower + wasmtime::component::Lift + serde::Serialize + Send + Sync + 'static,
    W: Send + Unpin + 'static,
{
    accessor.with(|mut access| {
        let stream = StreamReader::new(access.as_context_mut(), items)?;
        Ok(Ok((stream, give_outcome(&mut access, told)?)))
    })
}

/// The stream tells how far it is; the future owns the work, and dropped ends it.
pub(super) fn unlink_matching<T: Send + 'static>(
    accessor: &Accessor<T, Host>,
    call: Call,
    options: &UnlinkOptions,
) -> Answer<Given<UnlinkProgress, UnlinkProgress>> {
    let checked = call.authorise("cache.unlink-matching", CacheAccess::Delete).and_then(|authorized| {
        let matching = Matching::parse(options, authorized.binding())?;
        Ok((authorized, matching))
    });
    let (authorized, matching) = match checked {
        Ok(checked) => checked,
        Err(error) => return Ok(Err(error)),
    };
    let run = call.guard.run().clone();
    let (sender, reports) = mpsc::channel(REPORTS);
    let work = Offloaded::spawn(run.unless_stopped(async move { pump(&call, &authorized, &matching, sender).await }));
    accessor.with(|mut access| {
        let (items, _) = Items::new(reports, (), &run);
        let stream = StreamReader::new(access.as_context_mut(), items)?;
        let future = give_future(&mut access, work)?;
        Ok(Ok((stream, future)))
    })
}

async fn pump(
    call: &Call,
    authorized: &Authorized<Cache>,
    matching: &Matching,
    progress: Progress,
) -> Result<UnlinkProgress, Error> {
    let found = call.client().find(authorized, matching, progress.clone()).await?;
    if found.count() == 0 {
        return Ok(found.progress());
    }
    let detail = matching.describe(&found);
    // How many match is in the words; which keys they are is the pattern's to say.
    let exact = Exact::of([detail.clone(), format!("{matching:?}")]);
    match decide(authorized, String::new(), detail, EffectClass::Destructive, exact).await? {
        None => Ok(found.progress()),
        Some(permit) => {
            let result = call.client().unlink_found(&permit, matching, found, progress).await;
            permit
                .conclude(result, |done| {
                    format!("{} keys unlinked, {} gone by themselves", done.unlinked, done.vanished)
                })
                .await
        }
    }
}
