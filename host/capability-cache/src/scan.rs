//! Looking for keys: SCAN until the cursor is 0, on every primary, each key once. Never KEYS.

use crate::client::{Client, Command};
use crate::connect::Connected;
use crate::pace::Pace;
use crate::pattern::Pattern;
use bytes::Bytes;
use fred::prelude::{Server, Value};
use rota_authority::{Authorized, Cache};
use rota_contract::Error;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// How many places of its table a server looks at for one answer, at the most and where it is slow.
const COUNT: usize = 1_000;
const LEAST_COUNT: usize = 250;
/// How many answers are fetched ahead.
const ANSWERS_AHEAD: usize = 4;
/// How many keys are fetched ahead of who reads them.
const AHEAD: usize = 4_096;
/// The most keys that one scan tells apart, at 16 bytes each.
const MOST: usize = 10_000_000;

/// A scan under way, on one node after the other.
pub(crate) struct Scan<'c> {
    client: &'c Client,
    session: Arc<Connected>,
    nodes: std::vec::IntoIter<Option<Server>>,
    /// The node that is looked at, and how far.
    at: Option<(Option<Server>, Bytes)>,
    pattern: Pattern,
    pace: Pace,
}

impl<'c> Scan<'c> {
    pub(crate) async fn new(client: &'c Client, session: Arc<Connected>, pattern: Pattern) -> Result<Self, Error> {
        let nodes = session.nodes().into_iter();
        let pace = Pace::new(client.way(&session).await?, LEAST_COUNT, COUNT);
        Ok(Self { client, session, nodes, at: None, pattern, pace })
    }

    /// Some keys that match, perhaps none, perhaps some that were there before; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        let (node, cursor) = match self.at.take() {
            Some(at) => at,
            None => match self.nodes.next() {
                Some(node) => (node, Bytes::from_static(b"0")),
                None => return Ok(None),
            },
        };
        let count = self.pace.amount();
        let command = Command::new("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(self.pattern.glob().clone())
            .arg("COUNT")
            .number(count as u64)
            .on(node.as_ref());
        let nonsense = || self.client.settings.place.nonsense();
        let begun = Instant::now();
        let mut answer = self.client.send(&self.session, command).await?.into_array().into_iter();
        self.pace.saw(count, begun.elapsed());
        let cursor = answer.next().and_then(Value::into_bytes).ok_or_else(nonsense)?;
        let keys: Vec<Bytes> =
            answer.next().ok_or_else(nonsense)?.into_array().into_iter().filter_map(Value::into_bytes).collect();
        // What a server says is not believed where keys are to be unlinked on its word.
        if keys.iter().any(|key| !self.pattern.can_match(key)) {
            return Err(nonsense());
        }
        if cursor != b"0"[..] {
            self.at = Some((node, cursor));
        }
        Ok(Some(keys))
    }
}

/// A scan whose next answer is fetched while the last is read. Dropped, it ends.
pub(crate) struct Ahead {
    answers: mpsc::Receiver<Result<Option<Vec<Bytes>>, Error>>,
    _work: Work,
}

impl Ahead {
    pub(crate) fn begin(client: Client, session: Arc<Connected>, pattern: Pattern) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
        let work = Work::spawn(async move {
            let mut scan = match Scan::new(&client, session, pattern).await {
                Ok(scan) => scan,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            loop {
                let answer = scan.next().await;
                let last = !matches!(answer, Ok(Some(_)));
                if sender.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Self { answers, _work: work }
    }

    /// As [`Scan::next`]. Only a scan that says so has seen all: one that broke off for whatever reason is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        self.answers.recv().await.unwrap_or(Err(Error::Cancelled))
    }
}

/// Which keys were seen, by 128 bits of two hashes that nobody outside can know: in a billion scans of ten million keys not one is mistaken.
struct Seen {
    hashers: [RandomState; 2],
    seen: HashSet<u128>,
}

impl Seen {
    fn new() -> Self {
        Self { hashers: [RandomState::new(), RandomState::new()], seen: HashSet::new() }
    }

    /// Whether it is new.
    fn insert(&mut self, key: &[u8]) -> bool {
        let [a, b] = &self.hashers;
        self.seen.insert(u128::from(a.hash_one(key)) << 64 | u128::from(b.hash_one(key)))
    }
}

/// Keys as they are found.
pub struct Keys {
    /// The keys; ends at the first error.
    pub keys: mpsc::Receiver<Result<Vec<u8>, Error>>,
    /// Ends the work when it is dropped.
    pub work: Work,
}

/// Work on the runtime that ends with whoever wants its results.
pub struct Work(tokio::task::JoinHandle<()>);

impl Work {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// The keys that match, each once.
    ///
    /// # Errors
    /// When no server can be reached; what goes wrong later comes out of the keys.
    pub async fn scan(&self, authorized: &Authorized<Cache>, pattern: Pattern) -> Result<Keys, Error> {
        self.check(authorized)?;
        let session = self.session().await?;
        let (sender, keys) = mpsc::channel(AHEAD);
        let client = self.clone();
        let work = Work::spawn(async move {
            if let Err(error) = scan(&client, session, pattern, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Keys { keys, work })
    }
}

async fn scan(
    client: &Client,
    session: Arc<Connected>,
    pattern: Pattern,
    sender: &mpsc::Sender<Result<Vec<u8>, Error>>,
) -> Result<(), Error> {
    let mut seen = Seen::new();
    let mut scan = Scan::new(client, session, pattern).await?;
    while let Some(keys) = scan.next().await? {
        for key in keys {
            if !seen.insert(&key) {
                continue;
            }
            if seen.seen.len() > MOST {
                return Err(Error::Quota(format!("more than {MOST} keys match; narrow the pattern")));
            }
            if sender.send(Ok(key.to_vec())).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_seen_once() {
        let mut seen = Seen::new();
        assert!(seen.insert(b"a") && seen.insert(b"b") && !seen.insert(b"a"));
    }
}
