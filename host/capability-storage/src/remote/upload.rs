//! A stream becomes an object of a bucket: in parts, a few at a time, whole or not at all.
//!
//! The upload itself is a task of its own that the call only feeds. A call that is dropped (its run was cancelled, or timed out)
//! cannot take it along in the moment in which the store has begun an upload whose id nobody knows yet: the task learns of the drop,
//! lets the one request that begins an upload end, and aborts.

use super::Bucket;
use super::retry::Tries;
use crate::lane::{CHUNK, Lane, next_chunk};
use crate::name::Name;
use crate::put::Put;
use crate::wit::Stored;
use crate::{parts, pending};
use bytes::Bytes;
use opendal::options::WriteOptions;
use opendal::raw::OpWrite;
use opendal::raw::oio;
use opendal::{Buffer, Metadata};
use rota_capability::streams::{Reader, error_of};
use rota_contract::Error;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Parts on their way at once. With the one that OpenDAL holds back, the one that waits for its
/// turn and the one that is being gathered, five parts are in memory.
const AT_ONCE: usize = 2;

/// What the task is told.
enum Order {
    Part(Vec<Bytes>),
    /// All parts were sent: make it an object.
    Complete,
}

/// How the task ended.
type End = Result<Metadata, Failure>;

enum Failure {
    Store(opendal::Error),
    /// It was told to, or nobody is there to tell it anything.
    Aborted,
}

/// Store a stream under a name.
pub(crate) async fn put(bucket: &Arc<Bucket>, name: &Name, mut data: Reader, options: &Put) -> Result<Stored, Error> {
    // Asked now too, and not only at the end, after hours of upload.
    if options.if_absent && bucket.exists(name).await? {
        return Err(bucket.place.taken(name));
    }
    let mut upload = Upload::begin(bucket, name, options).map_err(|error| bucket.place.remote(Some(name), &error))?;
    let mut hasher = Lane::new(Sha256::new());
    let first = bucket.target.part_size.clamp(parts::first(options.estimate), parts::LARGEST);
    let mut size = 0;
    for index in 0.. {
        let Some(room) = parts::size(first, index) else {
            upload.abort().await;
            return Err(bucket.place.too_large(name));
        };
        // Room first: a part that waits for the store is in memory all the same.
        let slot = upload.slot().await.map_err(|error| failed(bucket, name, error))?;
        let (part, length) = match gather(&mut data, room, &mut hasher).await {
            Ok(part) => part,
            Err(error) => {
                upload.abort().await;
                return Err(error_of(&error));
            }
        };
        size += length;
        if length > 0 {
            slot.send(Order::Part(part));
        }
        if length < room {
            break;
        }
    }
    drop(data);
    let sha256 = match hasher.finish().await {
        Ok(hasher) => hex::encode(hasher.finalize()),
        Err(error) => {
            upload.abort().await;
            return Err(error_of(&error));
        }
    };
    if let Some(wanted) = options.sha256.as_ref().filter(|wanted| **wanted != sha256) {
        upload.abort().await;
        return Err(bucket.place.wrong_sum(name, wanted, &sha256));
    }
    let stored = upload.complete().await.map_err(|error| failed(bucket, name, error))?;
    Ok(Stored { size, sha256, etag: stored.etag().map(str::to_owned) })
}

fn failed(bucket: &Bucket, name: &Name, failure: Failure) -> Error {
    match failure {
        Failure::Store(error) => bucket.place.remote(Some(name), &error),
        Failure::Aborted => Error::Cancelled,
    }
}

/// The next part: as many bytes as there is room for, fewer only at the end.
async fn gather(data: &mut Reader, room: u64, hasher: &mut Lane<Sha256>) -> std::io::Result<(Vec<Bytes>, u64)> {
    let (mut part, mut length) = (Vec::new(), 0);
    while length < room {
        let most = usize::try_from(room - length).unwrap_or(CHUNK).min(CHUNK);
        let chunk = next_chunk(data, most).await?;
        if chunk.is_empty() {
            break;
        }
        length += chunk.len() as u64;
        let short = chunk.len() < most;
        hasher.push(chunk.clone()).await?;
        part.push(chunk);
        if short {
            break;
        }
    }
    Ok((part, length))
}

/// The call's end of an upload.
struct Upload {
    orders: Option<mpsc::Sender<Order>>,
    /// Set when this is dropped: stop what you are doing.
    stop: CancellationToken,
    task: Option<JoinHandle<End>>,
}

impl Upload {
    fn begin(bucket: &Arc<Bucket>, name: &Name, options: &Put) -> opendal::Result<Self> {
        let operator = &bucket.operator;
        let wanted = WriteOptions {
            if_not_exists: options.if_absent,
            content_type: options.media_type.clone(),
            concurrent: AT_ONCE,
            ..WriteOptions::default()
        };
        let (arguments, _) = OpWrite::from_options(&operator.info().capability(), wanted)?;
        // Not OpenDAL's own `Writer`: what that gathers is lost when it fails to send it, and a second try would go on without it.
        let writer = operator.service().write_dyn(operator.context(), name.as_str(), arguments)?;
        let (orders, inbox) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let shown = format!("`{name}` of binding `{}`", bucket.place.binding);
        let task = pending::tasks().spawn(Uploading { writer, stop: stop.clone(), sent: 0, shown }.run(inbox));
        Ok(Self { orders: Some(orders), stop, task: Some(task) })
    }

    /// A place for the next part.
    async fn slot(&mut self) -> Result<mpsc::OwnedPermit<Order>, Failure> {
        let Some(orders) = self.orders.clone() else { return Err(Failure::Aborted) };
        match orders.reserve_owned().await {
            Ok(slot) => Ok(slot),
            // It takes no more: it has failed.
            Err(_) => Err(self.end().await.err().unwrap_or(Failure::Aborted)),
        }
    }

    async fn complete(mut self) -> End {
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order::Complete).await;
        }
        self.end().await
    }

    /// Keep nothing, and wait until that is so.
    async fn abort(&mut self) {
        self.stop.cancel();
        let _ = self.end().await;
    }

    async fn end(&mut self) -> End {
        self.orders = None;
        let Some(task) = &mut self.task else { return Err(Failure::Aborted) };
        let end = task.await.unwrap_or(Err(Failure::Aborted));
        self.task = None;
        end
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task's end of an upload.
struct Uploading {
    writer: oio::Writer,
    stop: CancellationToken,
    sent: u64,
    shown: String,
}

impl Uploading {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) -> End {
        let end = self.work(&mut inbox).await;
        if end.is_err() {
            self.abort().await;
        }
        end
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Order>) -> End {
        loop {
            let order = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Failure::Aborted),
                order = inbox.recv() => order,
            };
            match order {
                Some(Order::Part(part)) => self.part(super::http::buffer(part)).await?,
                // Not to be interrupted: whether the object is there would not be known.
                Some(Order::Complete) => return self.close().await.map_err(Failure::Store),
                None => return Err(Failure::Aborted),
            }
        }
    }

    async fn part(&mut self, part: Buffer) -> Result<(), Failure> {
        // The second part is what begins an upload at the store; from then on its id is known, and it can be aborted at any time.
        let begins = self.sent < 2;
        self.sent += 1;
        let stop = self.stop.clone();
        let send = send(&mut self.writer, part);
        let sent = if begins {
            send.await
        } else {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Failure::Aborted),
                sent = send => sent,
            }
        };
        sent.map_err(Failure::Store)
    }

    async fn close(&mut self) -> opendal::Result<Metadata> {
        let mut tries = Tries::default();
        loop {
            match self.writer.close_dyn().await {
                Err(error) if tries.again(&error).await => {}
                result => return result,
            }
        }
    }

    async fn abort(&mut self) {
        let mut tries = Tries::default();
        while let Err(error) = self.writer.abort_dyn().await {
            if !tries.again(&error).await {
                if error.kind() != opendal::ErrorKind::Unsupported {
                    tracing::warn!(object = self.shown, kind = %error.kind(), "an upload could not be aborted; `rota doctor --fix` removes what is left of it");
                }
                return;
            }
        }
    }
}

/// Send a part; a part that the store did not take is sent again.
async fn send(writer: &mut oio::Writer, part: Buffer) -> opendal::Result<()> {
    let mut tries = Tries::default();
    loop {
        match writer.write_dyn(part.clone()).await {
            Err(error) if tries.again(&error).await => {}
            result => return result,
        }
    }
}
