//! Answering a replay from a recording.
//!
//! A call is matched to the first recorded call that nobody has asked for yet, of the same import, on the same resource, with the same
//! arguments. What the guest saw (answers, items, ends, outcomes) it sees again in the recorded order: each is given once all that came before
//! it were given, or are no longer wanted. A build that no longer asks for something would wait for ever: after a while in which nothing
//! happens, what nobody wanted is passed over.

mod state;
mod streams;

use crate::clocks;
use crate::difference::{Difference, lines_of};
use crate::format::{End, Header, Written};
use crate::reading::Reading;
use futures::future::BoxFuture;
use rota_capability::RunContext;
use rota_capability::streams::Reader;
use rota_capability::tape::{Answers, Asked, Given, Incoming, Source, Stop};
use sha2::Digest as _;
use state::{Answer, State, Waits};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use wasmtime_wasi::WasiCtxBuilder;

/// How long nothing happens before what nobody asks for is passed over, the first time: a guest may compute for long.
const STALL: Duration = Duration::from_secs(1);
/// The same once it is known that the guest does something else than the recorded one.
const STALL_AGAIN: Duration = Duration::from_millis(20);
/// How long nothing happens before a guest counts as waiting for what was never answered.
const FOR_EVER: Duration = Duration::from_secs(3);
/// How long nothing happens before what is kept counts as what nobody will take.
const NO_ROOM: Duration = Duration::from_secs(10);

/// How a recording ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With the end of its run.
    Ended(End),
    /// It was as large as it might be (bytes), and the run went on.
    Full(u64),
    /// It breaks off: its host was killed, or could not write on.
    Torn,
}

/// Why a replay ends before its guest does.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The guest does something else than what was recorded.
    Differs(Difference),
    /// The recording ends here, after this call (0: before the first), and the guest would go on.
    Ends(u64, Ending),
    /// It was to stop before this call.
    Until(u64),
    /// The recorded call ended its run; what the host said.
    Trapped(u64, String),
    /// The recording cannot be read on.
    Unreadable(String),
}

/// A call that a replay has made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The number of the recorded call.
    pub call: u64,
    /// The call and its arguments, in lines.
    pub asked: String,
    /// The answer, in lines; none yet.
    pub answered: Option<String>,
}

/// Answers the calls of one replay.
pub struct Player {
    shared: Arc<Shared>,
    header: Header,
    seed: [u8; 32],
}

/// What the player, its answers, streams and clocks share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something was given, or is no longer wanted; or there is a verdict.
    moved: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look, and tell the others when something moved.
    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let before = state.moves();
        let result = look(&mut state);
        let moved = state.moves() != before;
        drop(state);
        if moved {
            self.moved.notify_waiters();
        }
        result
    }

    /// What the guest's wall clock says.
    pub(crate) fn wall(&self) -> u64 {
        self.with(State::wall)
    }

    /// What its monotonic clock says.
    pub(crate) fn monotonic(&self) -> u64 {
        self.with(State::monotonic)
    }

    /// Wait until something can be given.
    async fn when<R>(&self, mut look: impl FnMut(&mut State) -> Result<R, Waits>) -> R {
        // Mostly it is its turn already.
        if let Ok(given) = self.with(&mut look) {
            return given;
        }
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let (waits, moves, stall) = match self.with(|state| {
                let looked = look(state);
                looked.map_err(|waits| (waits, state.moves(), state.stall()))
            }) {
                Ok(given) => return given,
                Err(waits) => waits,
            };
            let patience = match waits {
                Waits::Turn(_) => stall,
                Waits::Room => NO_ROOM,
                Waits::Never => FOR_EVER,
                Waits::Decided => return std::future::pending().await,
            };
            tokio::select! {
                () = moved => continue,
                () = tokio::time::sleep(patience) => {}
            }
            // The guest may have been computing all that time, and have its next call ready now.
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
            self.with(|state| {
                if state.moves() == moves {
                    state.give_up_waiting(&waits);
                }
            });
        }
    }
}

impl Player {
    /// Answer from a recording; stop before this call, if one is named.
    ///
    /// # Errors
    /// When its header holds no seed.
    pub fn new(reading: Reading, until: Option<u64>) -> Result<Arc<Self>, String> {
        let header = reading.header.clone();
        let mut seed = [0; 32];
        hex::decode_to_slice(&header.seed, &mut seed).map_err(|error| format!("the recording's seed: {error}"))?;
        let shared = Arc::new(Shared { state: Mutex::new(State::new(reading, until)), moved: Notify::new() });
        Ok(Arc::new(Self { shared, header, seed }))
    }

    /// What was run.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Resolves when the replay is to end although its guest has not.
    pub async fn verdict(&self) -> Verdict {
        loop {
            let moved = self.shared.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Some(verdict) = self.shared.lock().verdict() {
                return verdict;
            }
            moved.await;
        }
    }

    /// The guest has ended by itself: how the recording ends, or the first recorded call that the guest has not made.
    ///
    /// # Errors
    /// The verdict, where there is one all the same.
    #[allow(clippy::result_large_err)] // Once a replay.
    pub fn rest(&self) -> Result<Ending, Verdict> {
        self.shared.with(State::rest)
    }

    /// How the recording ends, whatever the guest has done.
    pub fn ending(&self) -> Ending {
        self.shared.with(State::read_to_its_end)
    }

    /// How many recorded calls the guest has made.
    pub fn made(&self) -> u64 {
        self.shared.lock().made()
    }

    /// The last calls that the guest has made; only where the replay was told where to stop.
    pub fn last_made(&self) -> Vec<Made> {
        self.shared.lock().last_made()
    }
}

/// What an import gives beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Nothing,
    Items,
    Bytes,
}

fn gives(operation: &str) -> Gives {
    match operation {
        "sql.session.query"
        | "sql.transaction.query"
        | "storage.bucket.list"
        | "cache.session.scan"
        | "cache.session.unlink-matching"
        | "cache.session.monitor"
        | "jetstream.session.streams"
        | "jetstream.session.consumers"
        | "kubernetes.cluster.list"
        | "kubernetes.cluster.watch" => Gives::Items,
        "sql.session.copy-out"
        | "storage.bucket.get"
        | "kubernetes.cluster.logs"
        | "process.child.stdout"
        | "bytes.tee-sha256"
        | "bytes.count"
        | "bytes.compress"
        | "bytes.decompress"
        | "bytes.encrypt"
        | "bytes.decrypt"
        | "bytes.rate-limit" => Gives::Bytes,
        _ => Gives::Nothing,
    }
}

/// A call whose answer is waited for; dropped before, it is no longer wanted.
struct Wanted {
    shared: Arc<Shared>,
    call: u64,
    answered: bool,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.with(|state| state.unwanted(self.call));
        }
    }
}

fn given(shared: &Arc<Shared>, call: u64, answer: Answer, gives: Gives) -> Given {
    let answer = match answer {
        Answer::Value(value) => Ok(value),
        Answer::Error(error) => Err(crate::format::error_of(error)),
    };
    if answer.is_err() || gives == Gives::Nothing {
        shared.with(|state| state.forget(call));
        return Given::answer(call, answer);
    }
    let stream = streams::Pieces::new(shared.clone(), call);
    let source = match gives {
        Gives::Items => Source::Items(stream.items()),
        _ => Source::Bytes(stream.bytes()),
    };
    Given { call, answer, source, outcome: Some(streams::outcome(shared.clone(), call)) }
}

impl Answers for Player {
    fn answer(&self, _: &Arc<RunContext>, mut asked: Asked) -> BoxFuture<'static, Result<Given, Stop>> {
        let (shared, incoming) = (self.shared.clone(), asked.incoming.take());
        // Matched now: calls are matched in the order in which they are made, whenever they are answered.
        let Some(call) = shared.with(|state| state.asked(&asked)) else { return Box::pin(std::future::pending()) };
        let gives = gives(asked.operation);
        Box::pin(async move {
            let mut wanted = Wanted { shared: shared.clone(), call, answered: false };
            if let Some(incoming) = incoming {
                take_in(&shared, call, incoming).await;
            }
            let answer = shared.when(|state| state.answer(call)).await;
            wanted.answered = true;
            Ok(given(&shared, call, answer, gives))
        })
    }

    fn answer_now(&self, _: &Arc<RunContext>, asked: Asked) -> Result<Given, Stop> {
        let shared = &self.shared;
        let answered = shared.with(|state| {
            let call = state.asked(&asked)?;
            state.answer_now(call).map(|answer| (call, answer))
        });
        match answered {
            Some((call, answer)) => Ok(given(shared, call, answer, gives(asked.operation))),
            None => Err(Stop("the replay ends here".into())),
        }
    }

    fn prepare(&self, wasi: &mut WasiCtxBuilder) {
        clocks::replay(wasi, &self.shared, self.seed);
    }
}

/// Read a stream that the guest writes as far as the recorded call did, and compare it. One that was handed on has nothing in it.
async fn take_in(shared: &Arc<Shared>, call: u64, incoming: Incoming) {
    if incoming.from.is_some() {
        return;
    }
    let mut writes = Writes { reader: incoming.reader, hash: sha2::Sha256::new(), bytes: 0, buffer: vec![0; 64 << 10] };
    let Some(recorded) = writes.recorded(shared, call).await else { return };
    let most = if recorded.whole { u64::MAX } else { recorded.bytes };
    while writes.bytes < most && writes.read(most).await {}
    // What was read before it was known where the recorded call stopped may be more.
    if !recorded.whole && writes.bytes > recorded.bytes {
        return;
    }
    let (bytes, sha256) = (writes.bytes, hex::encode(writes.hash.finalize()));
    if bytes != recorded.bytes || sha256 != recorded.sha256 {
        let said = |bytes: u64, sha256: &str| format!("{bytes} bytes\nSHA-256 {sha256}\n");
        let what = format!("what the guest writes to call {call} is something else");
        let (recorded, replayed) = (said(recorded.bytes, &recorded.sha256), said(bytes, &sha256));
        shared.with(|state| state.decide(Verdict::Differs(Difference { call, what, recorded, replayed })));
    }
}

/// What a guest writes into a stream, as it comes.
struct Writes {
    reader: Reader,
    hash: sha2::Sha256,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Writes {
    /// Read some of it, up to so many bytes in all; false at its end.
    async fn read(&mut self, most: u64) -> bool {
        let room = usize::try_from(most - self.bytes).unwrap_or(usize::MAX).min(self.buffer.len());
        let Ok(read) = self.reader.read(&mut self.buffer[..room]).await else { return false };
        self.hash.update(&self.buffer[..read]);
        self.bytes += read as u64;
        read > 0
    }

    /// What was recorded of it. It stands behind all that the guest saw while it wrote: where that is more than is kept, the guest must
    /// write on to see it.
    async fn recorded(&mut self, shared: &Arc<Shared>, call: u64) -> Option<Written> {
        loop {
            let moved = shared.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Ok(recorded) = shared.with(|state| state.written(call)) {
                return recorded;
            }
            let more = tokio::select! {
                biased;
                more = self.read(u64::MAX) => more,
                () = moved => true,
            };
            if !more {
                return shared.when(|state| state.written(call)).await;
            }
        }
    }
}

/// The answer of a call, for people.
fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => lines_of(value),
        Answer::Error(error) => format!("error: {}", lines_of(error)),
    }
}
