//! A registry, by the OCI distribution protocol.
//!
//! The requests are our own, not those of `oci-client` (of which the types of manifests are): that client reads answers of any length into
//! memory, follows redirects anywhere, and breaks off on a token with a line break in it. A registry is somebody else's program; see
//! docs/decisions/0017-packages.md.

use crate::answer::{Body, body, said, shown};
use crate::artifact::LARGEST_MANIFEST;
use crate::credentials::{Credentials, Docker};
use crate::error::RegistryError;
use crate::http::{Asked, Place, client, send};
use crate::token::{Challenge, bearer, challenge, token};
use crate::{BlobError, Blobs, Digest};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LINK};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use rota_telemetry::Secret;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The largest list of tags that is read of one answer, bytes.
const LARGEST_TAGS: u64 = 4 << 20;
/// Answers of a list of tags.
const TAG_PAGES: usize = 32;
/// Tags of a package that are looked at.
const MOST_TAGS: usize = 20_000;
/// What manifests are asked for: those that are taken, and those that are refused with words that say what they are.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry: a client with its credentials and its tokens.
pub struct Registry {
    pub(crate) place: Place,
    client: Client,
    docker: Docker,
    credentials: OnceCell<Credentials>,
    /// What it asked for, and the tokens that it takes, by scope.
    asks: Mutex<Asks>,
}

#[derive(Default)]
struct Asks {
    basic: bool,
    tokens: HashMap<String, Secret>,
}

/// A manifest as it came.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its digest, computed from them.
    pub digest: Digest,
}

/// What is to be done in a repository, as scopes of tokens have it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Pull,
    Push,
}

/// A request.
pub(crate) struct Call<'c> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) repository: &'c str,
    pub(crate) doing: Doing,
    pub(crate) asked: Asked<'c>,
    pub(crate) accept: Option<&'static str>,
    pub(crate) content: Option<(&'c str, bytes::Bytes)>,
}

impl Registry {
    /// One that is reached when it is first asked for something. `docker` has the credentials.
    ///
    /// # Errors
    /// When no client can be made, for want of trusted roots for example.
    pub fn new(name: &str, docker: Docker) -> Result<Self, RegistryError> {
        let place = Place::of(name)?;
        let unreachable = |error: reqwest::Error| RegistryError::Unreachable {
            registry: name.into(),
            reason: crate::answer::root_of(&error),
        };
        let client = client(place.loopback).map_err(unreachable)?;
        Ok(Self { place, client, docker, credentials: OnceCell::new(), asks: Mutex::default() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// The tags of a package, in the registry's order. A package that is not there has none.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let what = format!("the list of versions of {}/{repository}", self.place.name);
        let mut url = self.url(&format!("{repository}/tags/list"));
        let mut all = Vec::new();
        for _ in 0..TAG_PAGES {
            let response = self.get(url.clone(), repository, &what, false, None).await;
            let response = match response {
                Err(RegistryError::NotFound { .. }) => return Ok(all),
                other => other?,
            };
            let next = response.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(next_page);
            let next = next.and_then(|next| url.join(&next).ok());
            let bytes = body(response, &what, LARGEST_TAGS).await?;
            let wrong = |error: serde_json::Error| RegistryError::Answer {
                what: what.clone(),
                reason: shown(&error.to_string()),
            };
            let page: Tags = serde_json::from_slice(&bytes).map_err(wrong)?;
            all.extend(page.tags.unwrap_or_default().into_iter().filter(|tag| tag.len() <= 128));
            match next {
                Some(next) if self.place.is_at(&next) && next != url && all.len() < MOST_TAGS => url = next,
                _ => break,
            }
        }
        all.truncate(MOST_TAGS);
        Ok(all)
    }

    /// A manifest by tag or digest. One that is asked for by its digest has it.
    ///
    /// # Errors
    /// When it is not there, too large, or has another digest.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Result<Manifest, RegistryError> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let what = format!("{}/{repository}{separator}{reference}", self.place.name);
        let url = self.url(&format!("{repository}/manifests/{reference}"));
        let response = self.get(url, repository, &what, false, Some(MANIFESTS)).await?;
        let bytes = body(response, &what, LARGEST_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        match reference.parse::<Digest>() {
            Ok(wanted) if wanted != digest => Err(RegistryError::Digest { what, got: digest, wanted }),
            _ => Ok(Manifest { bytes, digest }),
        }
    }

    /// Fetch content into the cache, if it is not there: verified, and never more than `size` bytes.
    ///
    /// # Errors
    /// When it is not there, too short, too long, or other content.
    pub async fn blob(&self, repository: &str, digest: &Digest, size: u64, into: &Blobs) -> Result<(), RegistryError> {
        let what = format!("the content {digest} of {}/{repository}", self.place.name);
        let url = self.url(&format!("{repository}/blobs/{digest}"));
        let response = self.get(url, repository, &what, true, None).await?;
        let mut body = Body::new(response, &what);
        if let Some(declared) = body.declared().filter(|declared| *declared != size) {
            return Err(if declared > size {
                RegistryError::TooLarge { what, limit: size }
            } else {
                RegistryError::Truncated { what, got: declared, wanted: size }
            });
        }
        let mut incoming = into.incoming(digest, size)?;
        let told = |error: BlobError| match error {
            BlobError::TooMuch(limit) => RegistryError::TooLarge { what: what.clone(), limit },
            BlobError::TooLittle { got, wanted } => RegistryError::Truncated { what: what.clone(), got, wanted },
            BlobError::Digest { got, wanted } => RegistryError::Digest { what: what.clone(), got, wanted },
            other => other.into(),
        };
        while let Some(chunk) = body.next().await? {
            incoming.write(&chunk).map_err(told)?;
        }
        // The file is synchronised to the disk: not on the threads that runs are driven by.
        let finished = tokio::task::spawn_blocking(move || incoming.finish()).await;
        finished
            .unwrap_or_else(|error| {
                Err(BlobError::Write { path: into.path(digest), error: std::io::Error::other(error) })
            })
            .map_err(told)
    }

    /// An address below `/v2/`. Its parts were checked when they were read.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.place.base.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }

    pub(crate) async fn get(
        &self,
        url: Url,
        repository: &str,
        what: &str,
        verified: bool,
        accept: Option<&'static str>,
    ) -> Result<Response, RegistryError> {
        let asked = Asked { what, verified, upload: 0 };
        let call = Call { method: Method::GET, url, repository, doing: Doing::Pull, asked, accept, content: None };
        self.call(&call).await
    }

    /// Do a request: with a token where the registry asks for one.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Response, RegistryError> {
        let scope = match call.doing {
            Doing::Pull => format!("repository:{}:pull", call.repository),
            Doing::Push => format!("repository:{}:pull,push", call.repository),
        };
        let response = self.once(call, &scope).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.judged(response, call).await;
        }
        // A token may have expired, or none was asked for yet: once more, with what it asks for now.
        self.forget(&scope);
        let Some(challenge) = challenge(response.headers()) else { return self.judged(response, call).await };
        match challenge {
            Challenge::Basic => {
                if !self.credentials().await?.are_there() {
                    return self.judged(response, call).await;
                }
                self.lock().basic = true;
            }
            Challenge::Bearer { .. } => {
                let token = match self.credentials().await? {
                    Credentials::Token(token) => token.clone(),
                    credentials => token(&self.client, &self.place, &challenge, &scope, credentials).await?,
                };
                self.lock().tokens.insert(scope.clone(), token);
            }
        }
        let response = self.once(call, &scope).await?;
        self.judged(response, call).await
    }

    async fn once(&self, call: &Call<'_>, scope: &str) -> Result<Response, RegistryError> {
        let (basic, token) = {
            let asks = self.lock();
            (asks.basic, asks.tokens.get(scope).cloned())
        };
        // Where nothing is asked for, nothing is shown, and no helper is started.
        let credentials = self.credentials.get();
        let make = |url: Url, own: bool| -> RequestBuilder {
            let mut request = self.client.request(call.method.clone(), url);
            if let Some(accept) = call.accept {
                request = request.header(ACCEPT, HeaderValue::from_static(accept));
            }
            if let Some((kind, content)) = &call.content {
                request = request.header("content-type", *kind).body(content.clone());
            }
            // To the registry itself and nobody else.
            match (own, token.as_ref().and_then(bearer), credentials) {
                (true, Some(header), _) => request.header(AUTHORIZATION, header),
                (true, None, Some(Credentials::Basic { user, password })) if basic => {
                    request.basic_auth(user, Some(password.expose()))
                }
                _ => request,
            }
        };
        send(&self.place, call.url.clone(), &call.asked, make).await
    }

    async fn judged(&self, response: Response, call: &Call<'_>) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let (what, said) = (call.asked.what.to_owned(), said(response).await);
        Err(match status.as_u16() {
            401 | 403 => RegistryError::Denied {
                registry: self.place.name.clone(),
                what,
                with_credentials: self.credentials().await?.are_there(),
                said,
            },
            404 => RegistryError::NotFound { what, said },
            status => RegistryError::Status { what, status, said },
        })
    }

    async fn credentials(&self) -> Result<&Credentials, RegistryError> {
        Ok(self.credentials.get_or_try_init(|| self.docker.credentials(&self.place.name)).await?)
    }

    fn forget(&self, scope: &str) {
        self.lock().tokens.remove(scope);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A manifest, where there is one.
    pub(crate) async fn manifest_if_there(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Manifest>, RegistryError> {
        match self.manifest(repository, reference).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The next page of a list: `<path>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (address, about) = link.split_once('>')?;
    about.contains("rel=\"next\"").then(|| address.trim_start_matches([' ', '<']).to_owned())
}
