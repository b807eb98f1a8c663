//! The way to a registry: one client a registry, TLS by rustls with ring and the system's roots (plain on this machine), a limit on every
//! wait, and redirects in our own hands.

use crate::answer::root_of;
use crate::error::RegistryError;
use crate::reference::{is_loopback, split_port};
use reqwest::header::LOCATION;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a registry may say nothing.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// What an upload must manage, bytes a second, beyond [`SILENCE`]: the answer comes only after all of it.
const SLOWEST_UPLOAD: u64 = 128 << 10;
/// Hops of a redirect.
const HOPS: usize = 3;

/// Where a registry is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// As it was named.
    pub(crate) name: String,
    /// Scheme, host and port.
    pub(crate) base: Url,
    pub(crate) loopback: bool,
}

impl Place {
    /// Of a registry's name, which was checked when it was read.
    pub(crate) fn of(name: &str) -> Result<Self, RegistryError> {
        let (host, _) = split_port(name);
        let loopback = is_loopback(host);
        let scheme = if loopback { "http" } else { "https" };
        // Docker's own registry is not where its name says.
        let host = if name == "docker.io" { "registry-1.docker.io" } else { name };
        let unreachable =
            |_| RegistryError::Unreachable { registry: name.into(), reason: "its name is no address".into() };
        let base = Url::parse(&format!("{scheme}://{host}/")).map_err(unreachable)?;
        Ok(Self { name: name.into(), base, loopback })
    }

    pub(crate) fn is_at(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Where the content of a package may come from, beside the registry itself: another host over TLS that is not this machine nor an
    /// address of a network of its own. Its digest is verified, and no credentials go there.
    fn may_be_fetched_from(&self, url: &Url) -> bool {
        let named = match url.host() {
            Some(url::Host::Domain(name)) => !is_loopback(name) && name.contains('.'),
            Some(url::Host::Ipv4(address)) => {
                !(address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified())
            }
            Some(url::Host::Ipv6(address)) => {
                let first = address.segments()[0];
                let own =
                    (first & 0xfe00) == 0xfc00 || (first & 0xffc0) == 0xfe80 || address.to_ipv4_mapped().is_some();
                !(address.is_loopback() || address.is_unspecified() || own)
            }
            None => false,
        };
        url.scheme() == "https" && named && url.username().is_empty() && url.password().is_none()
    }
}

/// A client for one registry.
pub(crate) fn client(loopback: bool) -> Result<Client, reqwest::Error> {
    // The one provider of the process; another part of the host may have been first, with the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("rota/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none());
    // Nothing stands between this machine and itself.
    let builder = if loopback { builder.no_proxy() } else { builder.https_only(true) };
    builder.build()
}

/// What a request asks for, as errors name it, and whether its answer is verified by its digest.
pub(crate) struct Asked<'w> {
    pub(crate) what: &'w str,
    pub(crate) verified: bool,
    /// What goes up, bytes.
    pub(crate) upload: u64,
}

/// Send a request and follow redirects as far as that is allowed. `make` makes the request for an address; it is told whether that is the
/// registry's own, where credentials may go.
pub(crate) async fn send(
    place: &Place,
    url: Url,
    asked: &Asked<'_>,
    make: impl Fn(Url, bool) -> RequestBuilder,
) -> Result<Response, RegistryError> {
    let mut url = url;
    for _ in 0..=HOPS {
        let own = place.is_at(&url);
        let limit = SILENCE + Duration::from_secs(asked.upload / SLOWEST_UPLOAD);
        let Ok(response) = tokio::time::timeout(limit, make(url.clone(), own).send()).await else {
            return Err(RegistryError::TimedOut(place.name.clone()));
        };
        let response = response.map_err(|error| failed(place, &error))?;
        if !is_redirect(response.status()) {
            return Ok(response);
        }
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
        let Some(to) = to else {
            let reason = "a redirect to nowhere".into();
            return Err(RegistryError::Answer { what: asked.what.into(), reason });
        };
        if !(place.is_at(&to) || asked.verified && place.may_be_fetched_from(&to)) {
            return Err(RegistryError::Redirect { what: asked.what.into(), to: origin(&to) });
        }
        url = to;
    }
    Err(RegistryError::Answer { what: asked.what.into(), reason: format!("more than {HOPS} redirects") })
}

/// Scheme, host and port of an address: the rest may be a signature that opens it.
pub(crate) fn origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    crate::answer::shown(&format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or("?")))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn failed(place: &Place, error: &reqwest::Error) -> RegistryError {
    if error.is_timeout() && !error.is_connect() {
        return RegistryError::TimedOut(place.name.clone());
    }
    let reason =
        if error.is_timeout() { format!("no connection within {} s", CONNECT.as_secs()) } else { root_of(error) };
    RegistryError::Unreachable { registry: place.name.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_everywhere_but_here() {
        for (name, base) in [
            ("registry.example", "https://registry.example/"),
            ("registry.example:5000", "https://registry.example:5000/"),
            ("docker.io", "https://registry-1.docker.io/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
            ("[::1]:5000", "http://[::1]:5000/"),
        ] {
            assert_eq!(Place::of(name).unwrap().base.as_str(), base);
        }
    }

    #[test]
    fn content_is_fetched_from_other_hosts_only_over_tls_and_not_from_within() {
        let place = Place::of("registry.example").unwrap();
        let may = |url: &str| place.may_be_fetched_from(&Url::parse(url).unwrap());
        assert!(may("https://cdn.example/blob?signature=x") && may("https://203.0.113.9/x"));
        for refused in [
            "http://cdn.example/x",
            "https://localhost/x",
            "https://intranet/x",
            "https://127.0.0.1/x",
            "https://10.1.2.3/x",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/x",
            "https://[fd00::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://user:password@cdn.example/x",
            "ftp://cdn.example/x",
        ] {
            assert!(!may(refused), "{refused}");
        }
    }
}
