//! Where the script's calls arrive. It holds what the script has opened; the script holds numbers.

use crate::value::Js;
use crate::{bucket, cache, cluster, flow, sql, stream, tool, work};
use rota_sdk::Context;
use rota_sdk::prelude::*;
use rota_sdk::{CacheSlot, ClusterSlot, HostError, JetstreamSlot, KeySlot, SqlSlot, StorageSlot, ToolSlot};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

/// What a run of a script has to do with the host.
pub(crate) struct Desk {
    pub(crate) cx: Context,
    pub(crate) databases: sql::Databases,
    pub(crate) buckets: bucket::Buckets,
    pub(crate) caches: cache::Caches,
    pub(crate) clusters: cluster::Clusters,
    pub(crate) flows: flow::Flows,
    pub(crate) programs: tool::Programs,
    pub(crate) work: work::Work,
    pub(crate) told: RefCell<crate::tell::Told>,
    /// What is declared.
    pub(crate) slots: Vec<Slot>,
    /// Calls that wait for the host.
    pub(crate) calls: Cell<usize>,
    /// Those among them that wait for somebody to read what the script writes.
    pub(crate) writes: Cell<usize>,
    /// Whether somebody talks with the script, who may interrupt it.
    pub(crate) is_session: bool,
}

/// A slot of the procedure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) capability: &'static str,
}

impl Desk {
    pub(crate) fn new(cx: Context, slots: Vec<Slot>) -> Self {
        Self {
            cx,
            databases: sql::Databases::default(),
            buckets: bucket::Buckets::default(),
            caches: cache::Caches::default(),
            clusters: cluster::Clusters::default(),
            flows: flow::Flows::default(),
            programs: tool::Programs::default(),
            work: work::Work::default(),
            told: RefCell::default(),
            slots,
            calls: Cell::new(0),
            writes: Cell::new(0),
            is_session: false,
        }
    }

    /// The same, of a session: what is told is told at once.
    pub(crate) fn of_session(cx: Context, slots: Vec<Slot>) -> Self {
        let desk = Self { is_session: true, ..Self::new(cx, slots) };
        desk.told.borrow_mut().speaks = true;
        desk
    }

    /// Whether what is under way is being interrupted: its time is over then.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.is_session && self.cx.deadline().0 <= 0
    }

    /// Let go of everything that is open at targets. True: a transaction was, which is rolled back.
    pub(crate) fn forget(&self) -> bool {
        // Before the sessions that they keep busy.
        self.flows.forget();
        self.programs.forget();
        self.buckets.forget();
        self.caches.forget();
        self.clusters.forget();
        self.databases.forget()
    }

    /// A call of the prelude's: `db.query`, with its arguments.
    pub(crate) async fn call(&self, operation: &str, args: &[Js]) -> Result<Js> {
        if self.is_interrupted() {
            return Err(HostError::Cancelled.into());
        }
        let (what, rest) = operation.split_once('.').unwrap_or((operation, ""));
        match what {
            "db" => sql::call(self, rest, args).await,
            "cache" => cache::call(self, rest, args).await,
            "bucket" => bucket::call(self, rest, args).await,
            "bytes" => flow::call(self, rest, args).await,
            "tool" => tool::call(self, rest, args).await,
            "cluster" => cluster::call(self, rest, args).await,
            "stream" => stream::call(self, rest, args).await,
            "run" => work::call(self, rest, args).await,
            _ => Err(Self::unknown(what, rest)),
        }
    }

    /// At the script's end: what it started is waited for, and what it opened and never read is told.
    ///
    /// # Errors
    /// When a program that it did not wait for did not end well.
    pub(crate) async fn finish(&self) -> Result<()> {
        // A program whose output nobody reads could not end.
        self.let_go();
        self.clusters.release();
        self.databases.close_sessions();
        for name in self.programs.finish().await? {
            let text = format!("{name} was killed: nobody read its output to its end, or waited for its own");
            rota_sdk::log(rota_sdk::Level::Warn, &text, &[]);
        }
        Ok(())
    }

    /// Let go of streams that nobody reads, and say so.
    pub(crate) fn let_go(&self) {
        for what in self.flows.unread() {
            let text = format!("nobody read {what} to its end: it was opened and left");
            rota_sdk::log(rota_sdk::Level::Warn, &text, &[]);
        }
    }

    pub(crate) fn unknown(what: &str, rest: &str) -> Error {
        Error::new(format!("there is no call {what}.{rest} with these arguments"))
    }

    /// A slot that is declared, bound, and of this capability.
    fn slot(&self, name: &Js, capability: &str) -> Result<&'static str> {
        let Js::Text(name) = name else { return Err(Error::new("a slot is named by a text")) };
        let declared = self.slots.iter().find(|slot| slot.name == name);
        match declared {
            Some(slot) if slot.capability == capability => Ok(slot.name),
            Some(slot) => {
                Err(Error::new(format!("the slot `{name}` is for {}, not for {capability}", slot.capability)))
            }
            None => Err(Error::new(format!("there is no slot `{name}`"))),
        }
    }

    pub(crate) fn sql_slot(&self, slot: &Js) -> Result<SqlSlot> {
        let name = self.slot(slot, "sql")?;
        SqlSlot::if_bound(name).ok_or_else(|| unbound(name))
    }

    pub(crate) fn cache_slot(&self, slot: &Js) -> Result<CacheSlot> {
        let name = self.slot(slot, "cache")?;
        CacheSlot::if_bound(name).ok_or_else(|| unbound(name))
    }

    pub(crate) fn storage_slot(&self, slot: &Js) -> Result<StorageSlot> {
        let name = self.slot(slot, "storage")?;
        StorageSlot::if_bound(name).ok_or_else(|| unbound(name))
    }

    pub(crate) fn cluster_slot(&self, slot: &Js) -> Result<ClusterSlot> {
        let name = self.slot(slot, "kubernetes")?;
        ClusterSlot::if_bound(name).ok_or_else(|| unbound(name))
    }

    pub(crate) fn tool_slot(&self, slot: &Js) -> Result<ToolSlot> {
        let name = self.slot(slot, "tool")?;
        ToolSlot::if_bound(name).ok_or_else(|| unbound(name))
    }

    pub(crate) fn key_slot(&self, slot: &Js) -> Result<KeySlot> {
        let name = self.slot(slot, "key")?;
        KeySlot::if_bound(name).ok_or_else(|| unbound(name))
    }

    pub(crate) fn stream_slot(&self, slot: &Js) -> Result<JetstreamSlot> {
        let name = self.slot(slot, "jetstream")?;
        JetstreamSlot::if_bound(name).ok_or_else(|| unbound(name))
    }
}

fn unbound(slot: &str) -> Error {
    Error::new(format!("nothing is bound to the slot `{slot}`"))
        .hint(format!("--bind {slot}=BINDING, where BINDING is one of the configuration or a URL"))
}

/// One thing a slot, opened when it is first used.
pub(crate) struct Opened<T>(RefCell<BTreeMap<&'static str, Rc<T>>>);

impl<T> Default for Opened<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Opened<T> {
    /// Close all of them.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }

    pub(crate) async fn or_open(&self, slot: &'static str, open: impl Future<Output = Result<T>>) -> Result<Rc<T>> {
        let known = self.0.borrow().get(slot).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let opened = Rc::new(open.await?);
        self.0.borrow_mut().insert(slot, opened.clone());
        Ok(opened)
    }
}

/// What is read piece by piece.
pub(crate) trait Listed {
    /// The next; none at the end, after which it must not be asked again.
    async fn next(&mut self) -> Result<Option<Js>>;
}

/// Listings by number, given to the script in batches.
pub(crate) struct Listings<T>(RefCell<Slab<Option<T>>>);

impl<T> Default for Listings<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Listed> Listings<T> {
    /// Close all of them.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }

    pub(crate) fn insert(&self, listing: T) -> Js {
        self.0.borrow_mut().insert(Some(listing))
    }

    pub(crate) fn close(&self, handle: &Js) {
        drop(self.0.borrow_mut().remove(handle));
    }

    /// The next ones, as many as `most`; null at the end.
    pub(crate) async fn next(&self, handle: &Js, most: usize) -> Result<Js> {
        let taken = self.0.borrow_mut().take(handle)?;
        let mut batch = Vec::new();
        let mut left = taken;
        while batch.len() < most {
            let Some(listing) = &mut left else { break };
            match listing.next().await {
                Ok(Some(item)) => batch.push(item),
                Ok(None) => left = None,
                Err(error) => {
                    self.0.borrow_mut().free(handle);
                    return Err(error);
                }
            }
        }
        if batch.is_empty() {
            self.0.borrow_mut().free(handle);
            return Ok(Js::Null);
        }
        self.0.borrow_mut().put_back(handle, left);
        Ok(Js::List(batch))
    }
}

/// Things by number. A number is given out once, so that one of something that is over never means something else.
pub(crate) struct Slab<T> {
    things: BTreeMap<u64, Option<T>>,
    next: u64,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { things: BTreeMap::new(), next: 1 }
    }
}

fn over() -> Error {
    Error::new("what this call is about is over")
}

fn number(handle: &Js) -> Result<u64> {
    match handle {
        Js::Number(number) if number.fract() == 0.0 && *number >= 0.0 => Ok(*number as u64),
        _ => Err(over()),
    }
}

impl<T> Slab<T> {
    /// Let go of all of them. Whether there were any.
    pub(crate) fn clear(&mut self) -> bool {
        let were_some = !self.things.is_empty();
        self.things.clear();
        were_some
    }

    pub(crate) fn insert(&mut self, thing: T) -> Js {
        let number = self.next;
        self.next += 1;
        self.things.insert(number, Some(thing));
        Js::count(number)
    }

    pub(crate) fn get(&self, handle: &Js) -> Result<&T> {
        match self.things.get(&number(handle)?) {
            Some(Some(thing)) => Ok(thing),
            Some(None) => Err(Error::new("another call on it has not ended: await it")),
            None => Err(over()),
        }
    }

    /// Take it for the time of a call.
    pub(crate) fn take(&mut self, handle: &Js) -> Result<T> {
        self.get(handle)?;
        self.things.get_mut(&number(handle)?).and_then(Option::take).ok_or_else(over)
    }

    /// After a call. False: it was let go of meanwhile, and is over.
    pub(crate) fn put_back(&mut self, handle: &Js, thing: T) -> bool {
        if let Ok(number) = number(handle)
            && let Some(place) = self.things.get_mut(&number)
        {
            *place = Some(thing);
            return true;
        }
        false
    }

    /// It was taken, and is over.
    pub(crate) fn free(&mut self, handle: &Js) {
        if let Ok(number) = number(handle) {
            self.things.remove(&number);
        }
    }

    /// Take all that are not in the middle of a call, for good.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let (idle, busy): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.things).into_iter().partition(|(_, thing)| thing.is_some());
        self.things = busy;
        idle.into_values().flatten().collect()
    }

    pub(crate) fn remove(&mut self, handle: &Js) -> Result<T> {
        let thing = self.take(handle)?;
        self.free(handle);
        Ok(thing)
    }
}
