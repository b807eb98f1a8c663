//! The world of a case: what stands behind the slots instead of servers. Buckets, caches and clusters are in memory, statements and
//! whatever else needs a server are answered from the case file, and every call goes through the run's own gate, so that
//! grants, denials, plans and effects are the host's.

mod answering;
mod ask;
mod bucket;
mod cache;
mod cluster;
mod documents;
mod nearest;
mod programs;
mod queue;
mod reply;
pub(crate) mod rows;
mod selector;
mod sql;

pub(crate) use answering::Answering;
pub(crate) use ask::{Ask, Refused, payload, plainly, unfloated};
pub(crate) use reply::Reply;

use crate::format::{Answer, Case, Moment, SlotSetup};
use rota_authority::{Access, Authorized, Effect, Gate, Kind, Permit};
use rota_capability::{RunContext, denied};
use rota_contract::Error;
use rota_sandbox::Cancel;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a call gave to the guest and it holds.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// A session, in another database than the binding's where one is named.
    Session { slot: String, database: Option<String> },
    /// A transaction.
    Transaction { slot: String, database: Option<String>, read_only: bool },
    /// A bucket.
    Bucket { slot: String },
    /// A cache.
    Cache { slot: String },
    /// A cluster.
    Cluster { slot: String },
    /// A lock of a cluster: the object, and in a plan nothing else.
    Lock { slot: String, object: String },
    /// A JetStream session.
    Queue { slot: String },
    /// What runs.
    Child(Arc<Mutex<programs::Child>>),
}

impl Held {
    fn slot(&self) -> Option<&str> {
        match self {
            Self::Session { slot, .. }
            | Self::Transaction { slot, .. }
            | Self::Bucket { slot }
            | Self::Cache { slot }
            | Self::Cluster { slot }
            | Self::Lock { slot, .. }
            | Self::Queue { slot } => Some(slot),
            Self::Child(_) => None,
        }
    }
}

/// What changes while a case runs.
#[derive(Default)]
struct State {
    /// Calls so far, and of each operation.
    calls: u64,
    counts: HashMap<String, u64>,
    held: HashMap<u64, Held>,
    /// How often each answer was given.
    given: Vec<u64>,
    buckets: BTreeMap<String, bucket::Objects>,
    caches: BTreeMap<String, cache::Keys>,
    clusters: BTreeMap<String, cluster::Cluster>,
    /// The calls that no answer fits.
    unanswered: Vec<String>,
    /// Accesses that calls were let through with, by slot.
    used: BTreeSet<(String, String)>,
    /// What became of the moments.
    fired: Fired,
}

/// Which of the moments of a case have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) cancel: bool,
    pub(crate) terminate: bool,
    pub(crate) lease_lost: bool,
    pub(crate) crash: bool,
}

/// What happens at a call, besides the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happens {
    Nothing,
    Cancel,
    /// The run is ended at once, before the call.
    EndedBefore,
    /// The host is gone after the call has reached its target.
    GoneAfter,
}

/// The world of one case. Clones of its `Arc` are the same world; the attempts of a run share it.
pub(crate) struct World {
    answers: Vec<Answer>,
    /// How many of the answers are the case's own.
    own: usize,
    setups: BTreeMap<String, SlotSetup>,
    cancel_at: Option<Moment>,
    terminate_at: Option<Moment>,
    lease_lost_at: Option<Moment>,
    crash_at: Option<Moment>,
    cancel: Mutex<Cancel>,
    state: Mutex<State>,
}

impl World {
    /// The world as a case begins.
    ///
    /// # Errors
    /// What of its slots cannot be.
    pub(crate) fn new(case: &Case, capabilities: &BTreeMap<String, String>) -> Result<Arc<Self>, (String, String)> {
        let mut state = State { given: vec![0; case.answers.len()], ..State::default() };
        let nothing = SlotSetup::default();
        for (slot, capability) in capabilities {
            let setup = case.slots.get(slot).unwrap_or(&nothing);
            let wrong = |why: String| (slot.clone(), why);
            match capability.as_str() {
                "storage" => {
                    let objects = bucket::Objects::of(setup.objects.as_ref()).map_err(wrong)?;
                    state.buckets.insert(slot.clone(), objects);
                }
                "cache" => {
                    let keys = cache::Keys::of(setup.keys.as_ref()).map_err(wrong)?;
                    state.caches.insert(slot.clone(), keys);
                }
                "kubernetes" => {
                    let cluster = cluster::Cluster::of(setup).map_err(wrong)?;
                    state.clusters.insert(slot.clone(), cluster);
                }
                _ => {}
            }
        }
        Ok(Arc::new(Self {
            answers: case.answers.clone(),
            own: case.own_answers,
            setups: case.slots.clone(),
            cancel_at: case.cancel_at.clone(),
            terminate_at: case.terminate_at.clone(),
            lease_lost_at: case.lease_lost_at.clone(),
            crash_at: case.crash_at.clone(),
            cancel: Mutex::new(Cancel::default()),
            state: Mutex::new(state),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another attempt begins: what the earlier ones held is gone.
    pub(crate) fn begin(&self, cancel: &Cancel) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = cancel.clone();
        self.state().held.clear();
    }

    fn cancel(&self) -> Cancel {
        self.cancel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn setup(&self, slot: &str) -> SlotSetup {
        self.setups.get(slot).cloned().unwrap_or_default()
    }

    /// The calls that no answer fits, each in words.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        self.state().unanswered.clone()
    }

    /// Answers of the case itself that nobody asked for.
    pub(crate) fn unused(&self) -> Vec<Answer> {
        let state = self.state();
        let own = self.answers.iter().zip(&state.given).take(self.own);
        own.filter(|(answer, given)| **given == 0 && !answer.optional).map(|(answer, _)| answer.clone()).collect()
    }

    /// Accesses that were used: slot and word.
    pub(crate) fn used(&self) -> BTreeSet<(String, String)> {
        self.state().used.clone()
    }

    /// Which of the moments have come.
    pub(crate) fn fired(&self) -> Fired {
        self.state().fired
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// What a slot holds now, for what is expected of it.
    pub(crate) fn holds(&self, slot: &str) -> Option<serde_json::Value> {
        let state = self.state();
        state
            .buckets
            .get(slot)
            .map(bucket::Objects::shown)
            .or_else(|| state.caches.get(slot).map(cache::Keys::shown))
            .or_else(|| state.clusters.get(slot).map(cluster::Cluster::shown))
    }

    /// Count a call in, and say what else happens at it.
    fn count(&self, operation: &str) -> (u64, Happens) {
        let mut state = self.state();
        state.calls += 1;
        let number = state.calls;
        *state.counts.entry(operation.to_owned()).or_default() += 1;
        let counts = &state.counts;
        let comes = |moment: &Option<Moment>, fired: bool| {
            !fired
                && moment.as_ref().is_some_and(|moment| match &moment.operation {
                    None => moment.number == number,
                    Some(pattern) => {
                        crate::compare::glob::fits(pattern, operation)
                            && counts
                                .iter()
                                .filter(|(name, _)| crate::compare::glob::fits(pattern, name))
                                .map(|(_, count)| count)
                                .sum::<u64>()
                                == moment.number
                    }
                })
        };
        let fired = state.fired;
        let (cancel, terminate) = (comes(&self.cancel_at, fired.cancel), comes(&self.terminate_at, fired.terminate));
        let (lost, crash) = (comes(&self.lease_lost_at, fired.lease_lost), comes(&self.crash_at, fired.crash));
        state.fired = Fired {
            cancel: fired.cancel || cancel,
            terminate: fired.terminate || terminate,
            lease_lost: fired.lease_lost || lost,
            crash: fired.crash || crash,
        };
        let happens = match (lost || terminate, cancel, crash) {
            (true, _, _) => Happens::EndedBefore,
            (_, true, _) => Happens::Cancel,
            (_, _, true) => Happens::GoneAfter,
            _ => Happens::Nothing,
        };
        (number, happens)
    }

    /// Mint a token as the host does, and note what it needed.
    fn authorise<K: Kind>(
        &self,
        gate: &Arc<Gate>,
        operation: &'static str,
        slot: &str,
        needed: &[K::Access],
    ) -> Result<Authorized<K>, Error> {
        let authorized = gate.authorise::<K>(operation, slot, needed).map_err(denied)?;
        self.note(slot, needed);
        Ok(authorized)
    }

    fn note<A: Access>(&self, slot: &str, needed: &[A]) {
        let mut state = self.state();
        for access in needed {
            state.used.insert((slot.to_owned(), access.to_string()));
        }
    }

    /// Decide on an effect; none: the run is a plan.
    async fn effect<K: Kind>(&self, authorized: &Authorized<K>, effect: Effect) -> Result<Option<Permit<K>>, Error> {
        match authorized.effect(effect).await.map_err(rota_capability::refused)? {
            rota_authority::Decision::Planned => Ok(None),
            rota_authority::Decision::Perform(permit) => Ok(Some(permit)),
        }
    }

    /// The effect has happened: put it on record, unless the host is gone by now.
    async fn conclude<K: Kind, T>(
        &self,
        ask: &Ask,
        permit: Permit<K>,
        result: Result<T, Error>,
        said: impl FnOnce(&T) -> String,
    ) -> Result<T, Error> {
        if ask.host_goes {
            drop(permit);
            match self.gone().await {}
        }
        permit.conclude(result, said).await
    }

    /// The host is gone: nothing comes after this.
    async fn gone(&self) -> std::convert::Infallible {
        self.cancel().terminate();
        std::future::pending().await
    }

    fn hold(&self, number: u64, held: Held) {
        self.state().held.insert(number, held);
    }

    fn held(&self, number: Option<u64>) -> Option<Held> {
        self.state().held.get(&number?).cloned()
    }

    /// Answer a call.
    async fn call(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let reply = match ask.interface() {
            "sql" => self.sql(run, ask).await,
            "storage" => self.storage(run, ask).await,
            "cache" => self.cache(run, ask).await,
            "kubernetes" => self.kubernetes(run, ask).await,
            "tools" => self.tools(run, ask).await,
            "process" => self.process(ask).await,
            "jetstream" => self.jetstream(run, ask).await,
            "bytes" => self.decrypt(run, ask).await,
            _ => Err(Refused::Stop(format!("cases do not know the call `{}`", ask.operation))),
        };
        if ask.host_goes {
            match self.gone().await {}
        }
        reply
    }
}
