//! Logs of pods, with the secrets that the host knows masked.

use crate::client::Client;
use crate::host::kubernetes::LogOptions;
use crate::reach::Place;
use crate::request::{Call, segment};
use rota_authority::{Authorized, Kubernetes};
use rota_capability::streams::{Reader, stream_error};
use rota_contract::Error;
use rota_telemetry::StreamMasker;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

/// How much is masked at once.
const PIECE: usize = 32 << 10;

impl Client {
    /// A log as it comes.
    pub(crate) async fn logs(
        &self,
        _: &Authorized<Kubernetes>,
        pod: &Place,
        options: &LogOptions,
    ) -> Result<Reader, Error> {
        let reader = self.raw_log(pod, options).await?;
        Ok(Box::pin(Masked { inner: reader, masker: Some(StreamMasker::new()), ready: Vec::new(), given: 0 }))
    }

    /// The same for what is run by a job.
    pub(crate) async fn raw_log(&self, pod: &Place, options: &LogOptions) -> Result<Reader, Error> {
        let mut query: Vec<(&str, String)> = Vec::new();
        if let Some(container) = &options.container {
            query.push(("container", segment("the container", container)?.to_owned()));
        }
        for (key, set) in
            [("follow", options.follow), ("previous", options.previous), ("timestamps", options.timestamps)]
        {
            if set {
                query.push((key, "true".to_owned()));
            }
        }
        for (key, number) in [("tailLines", options.tail_lines), ("sinceSeconds", options.since_seconds)] {
            query.extend(number.map(|number| (key, number.to_string())));
        }
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let what = format!("read the log of {}", pod.shown());
        let path = format!("{}/log", pod.path());
        let reader = self.requests.stream(Call::get(&what, &path, &query)).await?;
        let cluster = self.requests.cluster.clone();
        Ok(Box::pin(Named { inner: Box::pin(reader.compat()), tell: move |error| cluster.unreachable(&what, &error) }))
    }
}

/// A reader whose errors say whose they are.
struct Named<F> {
    inner: Reader,
    tell: F,
}

impl<F: Fn(io::Error) -> Error + Unpin> AsyncRead for Named<F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = ready!(self.inner.as_mut().poll_read(cx, buffer));
        Poll::Ready(result.map_err(|error| stream_error((self.tell)(error))))
    }
}

/// What comes out of it has no secret in it.
struct Masked {
    inner: Reader,
    /// Taken at the end.
    masker: Option<StreamMasker>,
    ready: Vec<u8>,
    given: usize,
}

impl AsyncRead for Masked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        while me.given == me.ready.len() {
            let Some(masker) = &mut me.masker else { return Poll::Ready(Ok(())) };
            let mut piece = vec![0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(me.inner.as_mut().poll_read(cx, &mut read))?;
            me.given = 0;
            me.ready = match read.filled() {
                [] => me.masker.take().map(StreamMasker::finish).unwrap_or_default().to_vec(),
                filled => masker.push(filled).to_vec(),
            };
        }
        let take = (me.ready.len() - me.given).min(buffer.remaining());
        buffer.put_slice(&me.ready[me.given..me.given + take]);
        me.given += take;
        Poll::Ready(Ok(()))
    }
}
