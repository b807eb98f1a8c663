//! An object's bytes, in one stream. A connection that breaks on the way is made anew from where it was, of the same object:
//! its tag must not have changed.

use super::Bucket;
use super::retry::Tries;
use crate::name::Name;
use crate::wit::Object;
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use opendal::FuturesBytesStream;
use rota_capability::streams::stream_error;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;

struct Reading {
    bucket: Arc<Bucket>,
    name: Name,
    etag: Option<String>,
    at: u64,
    end: u64,
    stream: Option<FuturesBytesStream>,
    tries: Tries,
}

/// Read `length` bytes from `start`.
pub(crate) fn reader(
    bucket: Arc<Bucket>,
    name: Name,
    object: &Object,
    start: u64,
    length: u64,
) -> impl AsyncRead + Send + use<> {
    let reading = Reading {
        bucket,
        name,
        etag: object.etag.clone(),
        at: start,
        end: start + length,
        stream: None,
        tries: Tries::default(),
    };
    tokio_util::io::StreamReader::new(Box::pin(chunks(reading)))
}

fn chunks(reading: Reading) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::try_unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Ok(chunk.map(|chunk| (chunk, reading)))
    })
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.at < self.end {
            match self.step().await {
                Ok(Some(chunk)) => {
                    self.at += chunk.len() as u64;
                    self.tries.reset();
                    return Ok(Some(chunk));
                }
                // Less than was asked for: what is missing is noticed by who counts.
                Ok(None) => break,
                Err(error) => {
                    self.stream = None;
                    if !self.tries.again(&error).await {
                        return Err(stream_error(self.bucket.place.remote(Some(&self.name), &error)));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn step(&mut self) -> opendal::Result<Option<Bytes>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = self.open().await?;
                self.stream.insert(stream)
            }
        };
        stream.try_next().await.map_err(unwrapped)
    }

    async fn open(&self) -> opendal::Result<FuturesBytesStream> {
        let operator = &self.bucket.operator;
        let reader = operator.reader_with(self.name.as_str());
        let reader = match &self.etag {
            Some(etag) if operator.info().capability().read_with_if_match => reader.if_match(etag).await?,
            _ => reader.await?,
        };
        reader.into_bytes_stream(self.at..self.end).await
    }
}

/// OpenDAL's own error, out of the `io::Error` that its stream speaks in.
fn unwrapped(error: io::Error) -> opendal::Error {
    let kind = error.kind();
    match error.into_inner().map(|inner| inner.downcast::<opendal::Error>()) {
        Some(Ok(error)) => *error,
        Some(Err(other)) => opendal::Error::new(opendal::ErrorKind::Unexpected, other.to_string()),
        None => opendal::Error::new(opendal::ErrorKind::Unexpected, kind.to_string()),
    }
}
