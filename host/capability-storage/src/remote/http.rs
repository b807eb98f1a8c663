//! The way to a store: one HTTP client for all bindings, TLS by rustls with ring and the system's roots, no redirects, and a
//! limit on every wait.

use bytes::Bytes;
use futures::StreamExt as _;
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter, OperationContext};
use opendal_http_transport_reqwest::ReqwestTransport;
use std::error::Error as _;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a store may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// What an upload must manage, bytes a second, beyond [`SILENCE`]: the answer to a part comes only after all of it.
const SLOWEST: u64 = 128 * 1024;

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Cut(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Contexts for operators: for stores elsewhere, and for those on this machine, which no proxy is between.
#[derive(Default)]
pub(crate) struct Http {
    direct: OnceLock<OperationContext>,
    proxied: OnceLock<OperationContext>,
}

impl Http {
    /// The context for a store.
    ///
    /// # Errors
    /// When no client can be made, for want of trusted roots for example.
    pub(crate) fn context(&self, loopback: bool) -> Result<OperationContext, reqwest::Error> {
        let kept = if loopback { &self.direct } else { &self.proxied };
        if let Some(context) = kept.get() {
            return Ok(context.clone());
        }
        let transport = Patient { inner: ReqwestTransport::new(client(loopback)?), silence: SILENCE };
        Ok(kept.get_or_init(|| OperationContext::new().with_http_transport(HttpTransporter::new(transport))).clone())
    }
}

fn client(loopback: bool) -> Result<reqwest::Client, reqwest::Error> {
    // The one provider of the process; another part of the host may have been first, with the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(30))
        // A redirect would carry a signed request to a place that no operator named.
        .redirect(reqwest::redirect::Policy::none());
    let builder = if loopback { builder.no_proxy() } else { builder };
    builder.build()
}

/// Ends what waits too long, and says plainly what broke.
struct Patient<T> {
    inner: T,
    silence: Duration,
}

impl<T: HttpTransport> HttpTransport for Patient<T> {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let limit = self.silence + Duration::from_secs(request.body().len() as u64 / SLOWEST);
        let response = match tokio::time::timeout(limit, self.inner.fetch(request)).await {
            Ok(response) => response.map_err(plain)?,
            Err(_) => return Err(failed(Broken::TimedOut(limit))),
        };
        let silence = self.silence;
        Ok(response.map(|body| {
            body.map_inner(|stream| {
                let stream = futures::stream::unfold(Some(stream), move |stream| async move {
                    let mut stream = stream?;
                    match tokio::time::timeout(silence, stream.next()).await {
                        Ok(None) => None,
                        Ok(Some(Ok(buffer))) => Some((Ok(buffer), Some(stream))),
                        Ok(Some(Err(error))) => Some((Err(plain(error)), None)),
                        Err(_) => Some((Err(failed(Broken::TimedOut(silence))), None)),
                    }
                });
                Box::new(Box::pin(stream))
            })
        }))
    }
}

fn failed(broken: Broken) -> opendal::Error {
    opendal::Error::new(opendal::ErrorKind::Unexpected, "the store was not reached").set_source(broken).set_temporary()
}

/// An error of the transport, without the request's address.
fn plain(error: opendal::Error) -> opendal::Error {
    let Some(cause) = error.source().and_then(|source| source.downcast_ref::<reqwest::Error>()) else { return error };
    let root = root_of(cause);
    failed(if cause.is_timeout() {
        if cause.is_connect() {
            Broken::Connect(format!("no connection within {} s", CONNECT.as_secs()))
        } else {
            Broken::TimedOut(SILENCE)
        }
    } else if cause.is_connect() {
        Broken::Connect(root)
    } else {
        Broken::Cut(root)
    })
}

/// The last cause, which is the one that says something.
fn root_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.downcast_ref::<io::Error>().map_or_else(|| last.to_string(), ToString::to_string)
}

/// An owned stretch of bytes for an upload, without copying.
pub(crate) fn buffer(chunks: Vec<Bytes>) -> Buffer {
    Buffer::from(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    /// Answers never, or begins to.
    struct Mute(bool);

    impl HttpTransport for Mute {
        async fn fetch(&self, _: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
            if self.0 {
                std::future::pending::<()>().await;
            }
            let body = stream::iter([Ok(Buffer::from("half"))]).chain(stream::pending());
            Ok(http::Response::new(HttpBody::new(body, None)))
        }
    }

    fn timed_out(error: &opendal::Error) -> bool {
        error
            .source()
            .and_then(|source| source.downcast_ref())
            .is_some_and(|broken| matches!(broken, Broken::TimedOut(_)))
    }

    #[tokio::test]
    async fn a_store_that_falls_silent_is_not_waited_for() {
        let silence = Duration::from_millis(30);
        let error =
            Patient { inner: Mute(true), silence }.fetch(http::Request::new(Buffer::new())).await.err().unwrap();
        assert!(timed_out(&error), "{error}");
        let mut half = Patient { inner: Mute(false), silence }.fetch(http::Request::new(Buffer::new())).await.unwrap();
        let error = half.body_mut().to_buffer().await.err().unwrap();
        assert!(timed_out(&error), "{error}");
    }

    #[tokio::test]
    async fn a_client_is_made_without_a_provider_set_up_before() {
        for loopback in [true, false] {
            assert!(Http::default().context(loopback).is_ok());
        }
    }
}
