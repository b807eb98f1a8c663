//! One request: its path, which no name can leave, its time, and the most of an answer that is taken.

use crate::error::{Cluster, fault};
use futures::AsyncBufRead;
use http::Method;
use rota_contract::Error;
use serde_json::Value;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;
use url::form_urlencoded::Serializer;

/// The largest answer that is taken as one.
pub(crate) const ANSWER: u64 = 64 << 20;

/// A connection, and how it is used.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) client: kube::Client,
    pub(crate) cluster: Cluster,
    pub(crate) timeout: Duration,
}

/// What a request asks, in words, for errors: "get pods db/web".
pub(crate) struct Call<'c> {
    pub(crate) what: &'c str,
    pub(crate) method: Method,
    pub(crate) path: &'c str,
    pub(crate) query: &'c [(&'c str, &'c str)],
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
}

impl<'c> Call<'c> {
    pub(crate) fn get(what: &'c str, path: &'c str, query: &'c [(&'c str, &'c str)]) -> Self {
        Self { what, method: Method::GET, path, query, body: None }
    }
}

impl Requests {
    /// The answer as JSON.
    pub(crate) async fn json(&self, call: Call<'_>) -> Result<Value, Error> {
        let what = call.what.to_owned();
        let answer = async {
            let reader = self.begin(call).await?;
            let mut bytes = Vec::new();
            reader
                .compat()
                .take(ANSWER + 1)
                .read_to_end(&mut bytes)
                .await
                .map_err(|error| self.cluster.unreachable(&what, &error))?;
            if bytes.len() as u64 > ANSWER {
                return Err(Error::Quota(format!(
                    "{what}: the answer is larger than {} MiB; ask for less",
                    ANSWER >> 20
                )));
            }
            // The text is not shown: it may hold anything.
            serde_json::from_slice(&bytes)
                .map_err(|_| fault("answer", format!("{what}: the cluster answered what is not JSON"), true))
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.cluster.timed_out(&what, self.timeout)),
        }
    }

    /// The answer as it comes; only its beginning is waited for at most so long.
    pub(crate) async fn stream(&self, call: Call<'_>) -> Result<impl AsyncBufRead + Send + Unpin + use<>, Error> {
        let what = call.what.to_owned();
        match tokio::time::timeout(self.timeout, self.begin(call)).await {
            Ok(begun) => begun,
            Err(_) => Err(self.cluster.timed_out(&what, self.timeout)),
        }
    }

    async fn begin(&self, call: Call<'_>) -> Result<impl AsyncBufRead + Send + Unpin + use<>, Error> {
        let what = call.what;
        let mut request = http::Request::builder().method(call.method).uri(uri(call.path, call.query));
        let body = match call.body {
            None => Vec::new(),
            Some((media_type, body)) => {
                request = request.header(http::header::CONTENT_TYPE, media_type);
                body
            }
        };
        let request =
            request.body(body).map_err(|_| Error::InvalidArgument(format!("{what}: no request can be made of it")))?;
        self.client.request_stream(request).await.map_err(|error| self.cluster.of(what, &error))
    }
}

fn uri(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut serializer = Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    serializer.extend_pairs(query);
    serializer.finish()
}

/// A guest's word as a segment of a path: names of Kubernetes, and nothing that leads elsewhere.
pub(crate) fn segment<'w>(what: &str, word: &'w str) -> Result<&'w str, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if word.is_empty() || word.len() > 253 || word.starts_with('.') || !word.chars().all(plain) {
        let shown: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(Error::InvalidArgument(format!("{what} `{shown}` is no name of Kubernetes")));
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_segment() {
        for word in ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\n", "../x", &"x".repeat(254)] {
            assert!(segment("the name", word).is_err(), "{word:?}");
        }
        for word in ["web-1", "system:node", "a.b_c"] {
            assert!(segment("the name", word).is_ok(), "{word}");
        }
        assert_eq!(uri("/api/v1/pods", &[("labelSelector", "a=b,c&d")]), "/api/v1/pods?labelSelector=a%3Db%2Cc%26d");
    }
}
