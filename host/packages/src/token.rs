//! How a registry asks for credentials, and the tokens that it takes instead.

use crate::answer::{body, said, shown};
use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::http::{Asked, Place, origin, send};
use crate::reference::is_loopback;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Url};
use rota_telemetry::Secret;

/// The largest answer of a token service, bytes.
const LARGEST_TOKEN: u64 = 64 << 10;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password.
    Basic,
    /// A token of a service.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The challenge in an answer's headers; a token's before a password's.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut basic = None;
    for text in all {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let value = |name: &str| parameters(rest).into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
            let realm = value("realm")?;
            return Some(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// `a="b", c=d`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some((value, tail)) => (value, tail),
                None => break,
            },
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((key, value.trim().to_owned()));
        rest = tail.trim_start_matches([',', ' ']);
        if found.len() == 16 {
            break;
        }
    }
    found
}

/// A token for a scope.
pub(crate) async fn token(
    client: &Client,
    place: &Place,
    challenge: &Challenge,
    scope: &str,
    credentials: &Credentials,
) -> Result<Secret, RegistryError> {
    let refused = |reason: String| RegistryError::Token { registry: place.name.clone(), reason };
    let Challenge::Bearer { realm, service, scope: wanted } = challenge else {
        return Err(refused("it asks for no token".into()));
    };
    let mut url = Url::parse(realm).map_err(|_| refused("the address of its token service is none".into()))?;
    if !may_issue(place, &url) {
        return Err(refused(format!(
            "it sends us for one to {}, which gets no credentials: a token service is of the registry's own domain and reached over https",
            origin(&url)
        )));
    }
    // What the registry says it wants for just this is more exact than what we would say.
    let scope = wanted.as_deref().unwrap_or(scope);
    let service = service.as_deref().unwrap_or_default();
    let service_place = Place { base: url.clone(), name: origin(&url), loopback: place.loopback };
    let asked = Asked { what: "the token", verified: false, upload: 0 };
    let response = match credentials {
        Credentials::Refresh(refresh) => {
            let form = |url: Url| {
                let text = [
                    ("grant_type", "refresh_token"),
                    ("service", service),
                    ("client_id", "rota"),
                    ("scope", scope),
                    ("refresh_token", refresh.expose()),
                ];
                let mut encoded = Url::clone(&url);
                encoded.query_pairs_mut().clear().extend_pairs(text);
                let body = encoded.query().unwrap_or_default().to_owned();
                client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
            };
            send(&service_place, url, &asked, |url, _| form(url)).await?
        }
        _ => {
            url.query_pairs_mut().append_pair("service", service).append_pair("scope", scope);
            let with = |url: Url, own: bool| match credentials {
                Credentials::Basic { user, password } if own => {
                    client.get(url).basic_auth(user, Some(password.expose()))
                }
                _ => client.get(url),
            };
            send(&service_place, url, &asked, with).await?
        }
    };
    if !response.status().is_success() {
        let status = response.status().as_u16();
        let said = said(response).await;
        return Err(match status {
            401 | 403 => RegistryError::Denied {
                registry: place.name.clone(),
                what: shown(scope),
                with_credentials: credentials.are_there(),
                said,
            },
            _ => refused(format!("its token service answers with the status {status} {said}")),
        });
    }
    let bytes = body(response, "the token", LARGEST_TOKEN).await?;
    #[derive(serde::Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    // The error of a parser may quote what it read.
    let answer: Answer =
        serde_json::from_slice(&bytes).map_err(|_| refused("its token service's answer is no JSON".into()))?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let token = Secret::new(token.ok_or_else(|| refused("its token service gave none".into()))?);
    bearer(&token).ok_or_else(|| refused("its token has characters that none has".into()))?;
    Ok(token)
}

/// The header of a token.
pub(crate) fn bearer(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether credentials of a registry may go to a token service: one of the same host, or of the same domain (its last two labels), over https.
/// Of a registry on this machine: on this machine.
fn may_issue(place: &Place, url: &Url) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let (Some(service), Some(registry)) = (url.host_str(), place.base.host_str()) else { return false };
    if place.loopback {
        return is_loopback(service) && matches!(url.scheme(), "http" | "https");
    }
    let is_address = |host: &str| host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let domain = |host: &str| {
        let mut labels: Vec<&str> = host.rsplit('.').take(2).collect();
        labels.reverse();
        labels.join(".").to_ascii_lowercase()
    };
    let same = service.eq_ignore_ascii_case(registry)
        || (!is_address(service)
            && !is_address(registry)
            && service.contains('.')
            && domain(service) == domain(registry));
    url.scheme() == "https" && same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
                scope: scope.map(Into::into),
            })
        };
        assert_eq!(
            of(&[r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#]),
            bearer("https://auth.example/token", Some("registry"), Some("repository:a/b:pull,push"))
        );
        assert_eq!(of(&["Basic realm=x", "bearer realm=https://a.example"]), bearer("https://a.example", None, None));
        assert_eq!(of(&[r#"Basic realm="x""#]), Some(Challenge::Basic));
        for none in [&[][..], &["Digest realm=x"], &["Bearer"], &["Bearer realm=\"x"], &["Bearer =,=,="]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn credentials_go_to_the_registrys_own_domain_only() {
        let may = |registry: &str, realm: &str| may_issue(&Place::of(registry).unwrap(), &Url::parse(realm).unwrap());
        for (registry, realm) in [
            ("docker.io", "https://auth.docker.io/token"),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("ghcr.io", "https://ghcr.io/token"),
            ("10.0.0.1:5000", "https://10.0.0.1:5001/token"),
            ("127.0.0.1:5000", "http://localhost:5001/token"),
        ] {
            assert!(may(registry, realm), "{registry} {realm}");
        }
        for (registry, realm) in [
            ("registry.example.org", "http://auth.example.org/token"),
            ("registry.example.org", "https://example.com/token"),
            ("registry.example.org", "https://127.0.0.1/token"),
            ("registry.example.org", "https://org/token"),
            ("10.0.0.1:5000", "https://1.0.0.1/token"),
            ("127.0.0.1:5000", "http://collector.example/token"),
            ("registry.example.org", "https://u:p@registry.example.org/token"),
        ] {
            assert!(!may(registry, realm), "{registry} {realm}");
        }
    }
}
