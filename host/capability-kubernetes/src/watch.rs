//! Watches that go on where they were.

use crate::client::Client;
use crate::error::{clean, fault};
use crate::host::kubernetes::{Change, Watched};
use crate::read::{Collection, Work};
use crate::request::Call;
use futures::AsyncBufRead;
use rota_authority::{Authorized, Kubernetes};
use rota_contract::Error;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

/// The longest event that is taken.
const EVENT: u64 = 8 << 20;
/// How long until an interrupted watch goes on, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A watch under way: what it saw, then the version at its end. Dropped, the work ends.
pub(crate) struct Watching {
    pub(crate) seen: mpsc::Receiver<Watched>,
    pub(crate) end: oneshot::Receiver<Result<String, Error>>,
    pub(crate) _work: Work,
}

/// Where a watch is, and until when it goes on.
struct Progress {
    version: String,
    until: Instant,
    /// Interruptions in a row.
    failed: u32,
}

impl Client {
    /// Watch a collection from a version on, so long.
    pub(crate) fn watch(
        &self,
        _: &Authorized<Kubernetes>,
        collection: Collection,
        from: Option<String>,
        time: Duration,
    ) -> Watching {
        let (sender, seen) = mpsc::channel(64);
        let (tell, end) = oneshot::channel();
        let client = self.clone();
        let work = tokio::spawn(async move {
            let until = Instant::now() + time;
            let outcome = client.watch_on(&collection, from, until, &sender).await;
            drop(sender);
            let _ = tell.send(outcome);
        });
        Watching { seen, end, _work: Work(work) }
    }

    async fn watch_on(
        &self,
        collection: &Collection,
        from: Option<String>,
        until: Instant,
        sender: &mpsc::Sender<Watched>,
    ) -> Result<String, Error> {
        let version = match from {
            Some(version) => version,
            None => self.version_of(collection).await?,
        };
        let mut progress = Progress { version, until, failed: 0 };
        while Instant::now() < until {
            match self.watch_once(collection, &mut progress, sender).await {
                Ok(()) if sender.is_closed() => break,
                Ok(()) => {}
                // The cluster is away for a while: the watch misses nothing by waiting.
                Err(Error::Unavailable(_) | Error::TimedOut(_)) => {
                    progress.failed += 1;
                    let pause = Duration::from_millis(100 << progress.failed.min(7)).min(LONGEST_PAUSE);
                    tokio::time::sleep_until((Instant::now() + pause).min(until)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(progress.version)
    }

    /// The version of a collection now.
    async fn version_of(&self, collection: &Collection) -> Result<String, Error> {
        let what = format!("list {}", collection.shown());
        let path = collection.resource.path(&collection.namespace);
        let page = self.requests.json(Call::get(&what, &path, &[("limit", "1")])).await?;
        Ok(page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
    }

    async fn watch_once(
        &self,
        collection: &Collection,
        progress: &mut Progress,
        sender: &mpsc::Sender<Watched>,
    ) -> Result<(), Error> {
        let what = format!("watch {}", collection.shown());
        let left = progress.until.saturating_duration_since(Instant::now()).as_secs().clamp(1, 300).to_string();
        let mut query = collection.query();
        query.extend([
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("resourceVersion", progress.version.clone()),
            ("timeoutSeconds", left),
        ]);
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let path = collection.resource.path(&collection.namespace);
        let reader = self.requests.stream(Call::get(&what, &path, &query)).await?;
        let mut lines = tokio::io::BufReader::with_capacity(64 << 10, reader.compat());
        loop {
            let line = tokio::select! {
                line = line(&mut lines) => line.map_err(|error| self.requests.cluster.unreachable(&what, &error))?,
                () = tokio::time::sleep_until(progress.until) => return Ok(()),
                () = sender.closed() => return Ok(()),
            };
            let Some(line) = line else { return Ok(()) };
            let seen = self.seen(&what, collection, &line, progress)?;
            progress.failed = 0;
            if let Some(seen) = seen
                && sender.send(seen).await.is_err()
            {
                return Ok(());
            }
        }
    }

    fn seen(
        &self,
        what: &str,
        collection: &Collection,
        line: &[u8],
        progress: &mut Progress,
    ) -> Result<Option<Watched>, Error> {
        let mut event: Value = serde_json::from_slice(line)
            .map_err(|_| fault("answer", format!("{what}: the cluster sent what is not JSON"), true))?;
        let object = event["object"].take();
        let change = match event["type"].as_str().unwrap_or_default() {
            "ADDED" => Change::Added,
            "MODIFIED" => Change::Modified,
            "DELETED" => Change::Deleted,
            "BOOKMARK" => Change::Bookmark,
            "ERROR" => {
                let status = serde_json::from_value(object).unwrap_or_default();
                return Err(self.requests.cluster.of_status(what, &status));
            }
            other => {
                return Err(fault("answer", format!("{what}: the cluster sent an event `{}`", clean(other)), false));
            }
        };
        if let Some(version) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            version.clone_into(&mut progress.version);
        }
        let object = if change == Change::Bookmark { Some(object) } else { collection.show(object) };
        Ok(object.map(|object| Watched {
            change,
            object: object.to_string(),
            resource_version: progress.version.clone(),
        }))
    }
}

/// A line, without reading more than an event can be. None at the end.
async fn line(
    reader: &mut tokio::io::BufReader<tokio_util::compat::Compat<impl AsyncBufRead + Unpin>>,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(EVENT).read_until(b'\n', &mut line).await?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
