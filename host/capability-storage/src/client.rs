//! The client of one binding. Every function takes the token of an authorised call, or the permit of a recorded effect: there is
//! no other way in.

use crate::folder::{self, Folder, blocking};
use crate::name::{Name, Prefix};
use crate::pending;
use crate::put::Put;
use crate::remote::http::Http;
use crate::remote::{self, Bucket};
use crate::target::{self, Target};
use crate::wit::{Object, Range, Stored};
use rota_authority::{Authorized, Permit, Storage};
use rota_capability::streams::{Reader, stream_error};
use rota_contract::{Error, Fault};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::mpsc;

/// How many objects of a list are fetched ahead.
const LIST_AHEAD: usize = 256;

/// What all clients of a host share: the HTTP connections.
#[derive(Clone, Default)]
pub struct Connections(Arc<Http>);

/// The client of one binding, for the time in which a guest holds it open.
#[derive(Clone)]
pub struct Client {
    binding: String,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Folder(Arc<Folder>),
    Bucket(Arc<Bucket>),
}

/// A list under way.
pub struct Listing {
    /// The objects; ends at the first error.
    pub objects: mpsc::Receiver<Result<Object, Error>>,
    /// Ends the work when the listing is dropped.
    pub(crate) work: Work,
}

/// What a host that was killed left unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The object that it would have become; in a folder, the hidden file.
    pub name: String,
    /// When it was begun (in a folder: last written).
    pub begun: Option<SystemTime>,
}

pub(crate) struct Work(tokio::task::JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Open a binding. A folder must be there; a bucket is contacted when it is used.
    ///
    /// # Errors
    /// When the binding cannot be used as it is configured, or its folder is not there.
    pub async fn connect(connections: &Connections, authorized: &Authorized<Storage>) -> Result<Self, Error> {
        let (binding, settings) = (authorized.binding_name().to_owned(), authorized.binding().clone());
        let http = connections.0.clone();
        blocking(move || {
            let (place, target) = target::read(&binding, &settings)?;
            let store = match target {
                Target::Folder(path) => Store::Folder(Folder::open(place, &path)?),
                Target::Bucket(target) => Store::Bucket(Bucket::connect(&http, place, *target)?),
            };
            Ok(Self { binding, store })
        })
        .await
    }

    /// A token of one binding opens no other.
    fn check(&self, authorized: &Authorized<Storage>) -> Result<(), Error> {
        if authorized.binding_name() == self.binding {
            return Ok(());
        }
        let message = format!(
            "the slot `{}` is bound to `{}` now, and was opened on `{}`; please report this",
            authorized.slot(),
            authorized.binding_name(),
            self.binding
        );
        Err(Error::Failed(Fault { code: "host-binding".into(), message, detail: None, retryable: false }))
    }

    /// Store a stream under a name: whole, or not at all. Dropped before its end, nothing is kept (see [`crate::settled`]).
    ///
    /// # Errors
    /// The error of the stream's source; `conflict` where the name is taken and was to be free; what the store says.
    pub async fn put(
        &self,
        permit: &Permit<Storage>,
        name: &Name,
        data: Reader,
        options: &Put,
    ) -> Result<Stored, Error> {
        self.check(permit.authorized())?;
        let _token = pending::tasks().token();
        match &self.store {
            Store::Folder(folder) => folder::put(folder, name, data, options).await,
            Store::Bucket(bucket) => remote::put(bucket, name, data, options).await,
        }
    }

    /// Read an object or a part of it. The reader fails where the store sends less than it has.
    ///
    /// # Errors
    /// `not-found`; `invalid-argument` for a range that begins after the object's end; what the store says.
    pub async fn get(
        &self,
        authorized: &Authorized<Storage>,
        name: &Name,
        range: Option<Range>,
    ) -> Result<(Object, Reader), Error> {
        self.check(authorized)?;
        match &self.store {
            Store::Folder(folder) => {
                let (at, name) = (folder.clone(), name.clone());
                blocking(move || {
                    let (object, file, length) = at.read(&name, range.as_ref())?;
                    let short = Short::Folder(at);
                    Ok((object, exactly(file.take(length), length, name, short)))
                })
                .await
            }
            Store::Bucket(bucket) => {
                let (object, start, length) = bucket.find(name, range.as_ref()).await?;
                let reader = remote::reader(bucket.clone(), name.clone(), &object, start, length);
                let short = Short::Bucket(bucket.clone());
                Ok((object, exactly(reader, length, name.clone(), short)))
            }
        }
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// `not-found`; what the store says.
    pub async fn stat(&self, authorized: &Authorized<Storage>, name: &Name) -> Result<Object, Error> {
        self.check(authorized)?;
        match &self.store {
            Store::Folder(folder) => {
                let (folder, name) = (folder.clone(), name.clone());
                blocking(move || folder.stat(&name)).await
            }
            Store::Bucket(bucket) => bucket.stat(name).await,
        }
    }

    /// List the objects below a prefix, a few hundred ahead of who reads them.
    ///
    /// # Errors
    /// What the store says to the first request; what it says later comes out of the listing.
    pub async fn list(&self, authorized: &Authorized<Storage>, prefix: &Prefix) -> Result<Listing, Error> {
        self.check(authorized)?;
        let (sender, objects) = mpsc::channel(LIST_AHEAD);
        let work = match &self.store {
            Store::Folder(folder) => {
                let (folder, prefix) = (folder.clone(), prefix.clone());
                let walk = blocking(move || folder.list(&prefix)).await?;
                tokio::spawn(list_folder(walk, sender))
            }
            Store::Bucket(bucket) => {
                let lister = bucket.list(prefix).await?;
                tokio::spawn(list_bucket(bucket.clone(), lister, sender))
            }
        };
        Ok(Listing { objects, work: Work(work) })
    }

    /// Delete an object. One that is not there is no error.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, permit: &Permit<Storage>, name: &Name) -> Result<(), Error> {
        self.check(permit.authorized())?;
        match &self.store {
            Store::Folder(folder) => {
                let (folder, name) = (folder.clone(), name.clone());
                blocking(move || folder.delete(&name)).await
            }
            Store::Bucket(bucket) => bucket.delete(name).await,
        }
    }
}

impl Client {
    /// What was left unfinished below the binding's prefix, at least so long ago. In a folder the age does not matter: whoever
    /// writes a file still holds its lock.
    ///
    /// # Errors
    /// What the store says; on Google's, that it cannot be asked.
    pub async fn leftovers(
        &self,
        authorized: &Authorized<Storage>,
        older_than: Duration,
    ) -> Result<Vec<Leftover>, Error> {
        self.check(authorized)?;
        self.unfinished(older_than, false).await
    }

    /// Remove what was left unfinished, as [`Client::leftovers`] lists it. Choose `older_than` longer than any upload to a bucket
    /// takes: another host's upload looks the same.
    ///
    /// # Errors
    /// What the store says.
    pub async fn sweep(&self, permit: &Permit<Storage>, older_than: Duration) -> Result<Vec<Leftover>, Error> {
        self.check(permit.authorized())?;
        self.unfinished(older_than, true).await
    }

    async fn unfinished(&self, older_than: Duration, remove: bool) -> Result<Vec<Leftover>, Error> {
        match &self.store {
            Store::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder::leftovers(&folder, remove)).await
            }
            Store::Bucket(bucket) => bucket.leftovers(older_than, remove).await,
        }
    }
}

async fn list_folder(mut walk: folder::Walk, sender: mpsc::Sender<Result<Object, Error>>) {
    loop {
        let next = blocking(move || walk.batch(LIST_AHEAD).map(|batch| (walk, batch))).await;
        match next {
            Ok((_, batch)) if batch.is_empty() => return,
            Ok((rest, batch)) => {
                walk = rest;
                for object in batch {
                    if sender.send(Ok(object)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

async fn list_bucket(bucket: Arc<Bucket>, mut lister: opendal::Lister, sender: mpsc::Sender<Result<Object, Error>>) {
    use futures::TryStreamExt as _;
    loop {
        let item = match lister.try_next().await {
            Ok(None) => return,
            Ok(Some(entry)) => match remote::listed(entry) {
                Some(object) => Ok(object),
                None => continue,
            },
            Err(error) => Err(bucket.place.remote(None, &error)),
        };
        let last = item.is_err();
        if sender.send(item).await.is_err() || last {
            return;
        }
    }
}

/// Where a range begins in an object of `size` bytes, and how many bytes it has.
pub(crate) fn bounds(name: &Name, size: u64, range: Option<&Range>) -> Result<(u64, u64), Error> {
    let Some(range) = range else { return Ok((0, size)) };
    let Some(rest) = size.checked_sub(range.offset) else {
        return Err(Error::InvalidArgument(format!(
            "`{name}` has {size} bytes, and the range begins at {}",
            range.offset
        )));
    };
    Ok((range.offset, range.length.unwrap_or(rest).min(rest)))
}

enum Short {
    Folder(Arc<Folder>),
    Bucket(Arc<Bucket>),
}

/// A reader that ends well only after so many bytes.
struct Exactly<R> {
    inner: R,
    expected: u64,
    passed: u64,
    name: Name,
    short: Short,
}

fn exactly(inner: impl AsyncRead + Send + 'static, expected: u64, name: Name, short: Short) -> Reader {
    Box::pin(Exactly { inner: Box::pin(inner), expected, passed: 0, name, short })
}

impl<R: AsyncRead + Unpin> AsyncRead for Exactly<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        self.passed += read as u64;
        if read == 0 && room > 0 && self.passed != self.expected {
            let place = match &self.short {
                Short::Folder(folder) => &folder.place,
                Short::Bucket(bucket) => &bucket.place,
            };
            return Poll::Ready(Err(stream_error(place.cut_short(&self.name, self.expected, self.passed))));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_within_the_object() {
        let name = Name::parse("a").unwrap();
        let of = |offset, length| bounds(&name, 10, Some(&Range { offset, length })).ok();
        assert_eq!(bounds(&name, 10, None).unwrap(), (0, 10));
        assert_eq!(of(3, Some(4)), Some((3, 4)));
        assert_eq!(of(3, None), Some((3, 7)));
        assert_eq!(of(3, Some(u64::MAX)), Some((3, 7)));
        assert_eq!(of(10, None), Some((10, 0)));
        assert_eq!(of(11, None), None);
    }
}
