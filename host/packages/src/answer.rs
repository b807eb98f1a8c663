//! What a registry answers, never more than is wanted of it.

use crate::error::RegistryError;
use crate::http::SILENCE;
use reqwest::Response;
use std::time::Instant;

/// What is read of an error's body, bytes.
const SAID: usize = 16 << 10;
/// What a body must manage, bytes a second, beyond [`SILENCE`]: one that drips must end too.
const SLOWEST: u64 = 16 << 10;

/// A body, read part by part.
pub(crate) struct Body {
    response: Response,
    what: String,
    begun: Instant,
    got: u64,
    declared: Option<u64>,
}

impl Body {
    pub(crate) fn new(response: Response, what: &str) -> Self {
        let declared = response.content_length();
        Self { response, what: what.into(), begun: Instant::now(), got: 0, declared }
    }

    /// What the registry says that comes, bytes.
    pub(crate) fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// The next part; an end that comes early is told as such.
    pub(crate) async fn next(&mut self) -> Result<Option<bytes::Bytes>, RegistryError> {
        let host = || self.response.url().host_str().unwrap_or("?").to_owned();
        let (what, got, timed_out) = (self.what.clone(), self.got, host());
        if self.begun.elapsed() > SILENCE + std::time::Duration::from_secs(self.got / SLOWEST) {
            return Err(RegistryError::TimedOut(timed_out));
        }
        let Ok(chunk) = tokio::time::timeout(SILENCE, self.response.chunk()).await else {
            return Err(RegistryError::TimedOut(timed_out));
        };
        match chunk {
            Ok(chunk) => {
                self.got += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Ok(chunk)
            }
            Err(error) => Err(match self.declared {
                Some(wanted) if got < wanted => RegistryError::Truncated { what, got, wanted },
                _ => RegistryError::Unreachable { registry: timed_out, reason: root_of(&error) },
            }),
        }
    }
}

/// A body, whole, up to a limit.
pub(crate) async fn body(response: Response, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
    let too_large = || RegistryError::TooLarge { what: what.into(), limit };
    let mut body = Body::new(response, what);
    if body.declared().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What the registry says is wrong: the messages of its envelope, or the beginning of its text; nothing that could steer a terminal.
pub(crate) async fn said(response: Response) -> String {
    let mut body = Body::new(response, "");
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = body.next().await {
        let room = SAID.saturating_sub(bytes.len());
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() >= SAID {
            break;
        }
    }
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Envelope>(&bytes) {
        Ok(envelope) => {
            let say = |one: &One| if one.message.is_empty() { one.code.clone() } else { one.message.clone() };
            envelope.errors.iter().take(3).map(say).collect::<Vec<_>>().join("; ")
        }
        // A page for browsers says nothing to anybody here.
        Err(_) if bytes.starts_with(b"<") => String::new(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    shown(&text)
}

/// Foreign text as it may be shown: masked, on one line, cut.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(400).collect();
    rota_telemetry::clean_line(&cut).chars().take(200).collect::<String>().trim().to_owned()
}

/// The innermost cause of an error, without the address that was asked.
pub(crate) fn root_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    shown(&cause.to_string())
}
