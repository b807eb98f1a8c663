//! How a package of a registry is named.
//!
//! | written | what it means |
//! | --- | --- |
//! | `registry.example/growth/expired-sessions` | the highest version there is |
//! | `registry.example/growth/expired-sessions@1` | the highest 1.x |
//! | `registry.example/growth/expired-sessions@1.2` | the highest 1.x from 1.2 on |
//! | `registry.example/growth/expired-sessions:1.2.3` | exactly this tag |
//! | `registry.example/growth/expired-sessions@sha256:...` | exactly this manifest |
//!
//! All of it is ASCII of a small alphabet, so that a name can neither steer a terminal nor leave a folder or a URL.

use crate::Digest;
use semver::{Version, VersionReq};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A package of a registry, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRef {
    registry: String,
    repository: String,
    wanted: Wanted,
}

/// Which version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The highest one that matches; [`VersionReq::STAR`] where none was named.
    Matching(VersionReq),
    /// What a tag leads to.
    Tag(String),
    /// Exactly this manifest.
    Digest(Digest),
}

/// Why a text names no package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Characters that no name has.
    #[error(
        "`{name}` has a character that no package's name may have ({character}); letters, digits and `.`, `-`, `_`, `/`, `:`, `@` may stand in it"
    )]
    Character {
        /// What was written, as far as it can be shown.
        name: String,
        /// The character: `U+001B`.
        character: String,
    },
    /// No registry.
    #[error("{} names no registry: write REGISTRY/NAME, as registry.example/growth/expired-sessions", quoted(.0))]
    Registry(String),
    /// The repository.
    #[error("{} is no name of a package: lower-case words, joined by `.`, `-`, `_` and `/`", quoted(.0))]
    Repository(String),
    /// The tag.
    #[error("{} is no tag: at most 128 letters, digits, `.`, `-`, `_`", quoted(.0))]
    Tag(String),
    /// The version.
    #[error(
        "{} is no version: write `@1`, `@1.2` or `@1.2.3` for the highest that matches, `:1.2.3` for exactly this one, or `@sha256:...`", quoted(.0)
    )]
    Version(String),
    /// The digest.
    #[error("{} is no digest: `sha256:` and 64 lower-case hexadecimal digits", quoted(.0))]
    Digest(String),
}

fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().filter(|c| c.is_ascii_graphic()).take(120).collect::<String>())
}

/// The longest reference, bytes.
const LONGEST: usize = 600;

impl PackageRef {
    /// Of parts that are known to be sound.
    fn new(registry: &str, repository: &str, wanted: Wanted) -> Self {
        Self { registry: registry.into(), repository: repository.into(), wanted }
    }

    /// Whether a text is meant as a package of a registry, and not as a file or a plugin's name; see [`rota_config::PluginRef::is_package`].
    pub fn is_meant(text: &str) -> bool {
        rota_config::PluginRef::is_package(text)
    }

    /// The registry: a host, with a port where it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The package there.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Which version.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// `registry/repository`: what rules of trust and of teams go by.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The last word of the repository: what the plugin is called, by custom.
    pub fn last(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// The same package at a tag.
    #[must_use]
    pub fn at_tag(&self, tag: &str) -> Option<Self> {
        is_tag(tag).then(|| Self::new(&self.registry, &self.repository, Wanted::Tag(tag.into())))
    }

    /// The same package at a digest.
    #[must_use]
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self::new(&self.registry, &self.repository, Wanted::Digest(digest))
    }

    /// Whether a version is one of those that are meant.
    pub fn takes(&self, version: &Version) -> bool {
        match &self.wanted {
            Wanted::Matching(requirement) => requirement.matches(version),
            Wanted::Tag(tag) => version_of(tag).as_ref() == Some(version),
            Wanted::Digest(_) => false,
        }
    }
}

impl FromStr for PackageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic()) {
            let shown = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(120).collect();
            return Err(ReferenceError::Character { name: shown, character: format!("U+{:04X}", u32::from(wrong)) });
        }
        let (registry, rest) = text.split_once('/').ok_or_else(|| ReferenceError::Registry(text.into()))?;
        if text.len() > LONGEST || !is_registry(registry) {
            return Err(ReferenceError::Registry(registry.into()));
        }
        let (named, version) = match rest.split_once('@') {
            Some((named, version)) => (named, Some(version)),
            None => (rest, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (named, None),
        };
        if !is_repository(repository) {
            return Err(ReferenceError::Repository(repository.into()));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(tag.into()));
        }
        let wanted = match (tag, version) {
            // A tag beside a digest is for whoever reads it: the digest decides.
            (_, Some(digest)) if digest.contains(':') => {
                Wanted::Digest(digest.parse().map_err(|_| ReferenceError::Digest(digest.into()))?)
            }
            (None, Some(version)) => Wanted::Matching(requirement(version)?),
            (Some(_), Some(version)) => return Err(ReferenceError::Version(version.into())),
            (Some(tag), None) => Wanted::Tag(tag.into()),
            (None, None) => Wanted::Matching(VersionReq::STAR),
        };
        // One registry has one spelling: rules of trust, locks and teams name it so.
        let registry = registry.to_ascii_lowercase();
        Ok(Self::new(registry.strip_suffix(":443").unwrap_or(&registry), repository, wanted))
    }
}

/// A version or the beginning of one, as a caret requirement. Operators (`>=1, <2`) are not taken: whoever reads `@1` knows what it means.
fn requirement(text: &str) -> Result<VersionReq, ReferenceError> {
    let wrong = || ReferenceError::Version(text.into());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(plain) {
        return Err(wrong());
    }
    VersionReq::parse(text).map_err(|_| wrong())
}

impl fmt::Display for PackageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.wanted {
            Wanted::Matching(requirement) if *requirement == VersionReq::STAR => Ok(()),
            Wanted::Matching(requirement) => write!(f, "@{}", requirement.to_string().trim_start_matches('^')),
            Wanted::Tag(tag) => write!(f, ":{tag}"),
            Wanted::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// A host with or without a port: names of the DNS, IPv4, IPv6 in brackets.
fn is_registry(text: &str) -> bool {
    let (host, port) = split_port(text);
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0) && port.len() <= 5);
    if let Some(inner) = host.strip_prefix('[') {
        return port_ok && inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let host_like = host == "localhost" || host.contains('.') || port.is_some();
    port_ok && host.len() <= 253 && host_like && host.split('.').all(label)
}

/// Host and port of a registry.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Whether a host is this machine: such registries are reached without TLS.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_repository(text: &str) -> bool {
    let word = |word: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        word.starts_with(plain)
            && word.ends_with(plain)
            && word.chars().all(|c| plain(c) || matches!(c, '.' | '-' | '_'))
            && !word.contains("..")
    };
    text.len() <= 255 && text.split('/').all(word)
}

fn is_tag(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty()
        && text.len() <= 128
        && text.starts_with(plain)
        && text.chars().all(|c| plain(c) || matches!(c, '.' | '-'))
}

/// The tag of a version. A tag has no `+`: what a build adds stands after an `_`, as other tools have it.
pub fn tag_of(version: &Version) -> String {
    version.to_string().replace('+', "_")
}

/// The version that a tag stands for; none for `latest` and the like.
pub fn version_of(tag: &str) -> Option<Version> {
    Version::parse(&tag.replacen('_', "+", 1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PackageRef {
        text.parse().unwrap()
    }

    #[test]
    fn what_can_be_written() {
        let package = parsed("registry.example/growth/expired-sessions@1");
        assert_eq!((package.registry(), package.repository()), ("registry.example", "growth/expired-sessions"));
        assert_eq!(
            (package.name().as_str(), package.last()),
            ("registry.example/growth/expired-sessions", "expired-sessions")
        );
        assert!(package.takes(&Version::new(1, 9, 0)) && !package.takes(&Version::new(2, 0, 0)));
        assert!(
            !package.takes(&Version::parse("1.0.0-rc.1").unwrap()),
            "one that is not finished is asked for by name"
        );
        assert!(parsed("registry.example/x").takes(&Version::new(7, 0, 0)));
        assert_eq!(parsed("localhost/x:1.2.3").wanted(), &Wanted::Tag("1.2.3".into()));
        assert_eq!(parsed("[::1]:5000/x:latest").registry(), "[::1]:5000");
        let digest = Digest::of(b"x");
        for text in [format!("r.example:443/x@{digest}"), format!("r.example:443/x:1.2.3@{digest}")] {
            assert_eq!(parsed(&text).wanted(), &Wanted::Digest(digest.clone()));
        }
        for text in
            ["r.example/x", "r.example/x@1", "r.example/x@1.2", "r.example/x:1.2.3", "127.0.0.1:5000/a/b_c.d@0.3.1"]
        {
            assert_eq!(parsed(text).to_string(), text);
        }
    }

    #[test]
    fn what_cannot() {
        use ReferenceError as E;
        type Case = (&'static str, fn(&str) -> E);
        let cases: [Case; 22] = [
            ("x", |t| E::Registry(t.into())),
            ("growth/x", |_| E::Registry("growth".into())),
            ("-r.example/x", |_| E::Registry("-r.example".into())),
            ("r..example/x", |_| E::Registry("r..example".into())),
            ("r.example:0/x", |_| E::Registry("r.example:0".into())),
            ("r.example:99999/x", |_| E::Registry("r.example:99999".into())),
            ("user@r.example/x", |_| E::Registry("user@r.example".into())),
            ("r.example/", |_| E::Repository(String::new())),
            ("r.example/X", |_| E::Repository("X".into())),
            ("r.example/../x", |_| E::Repository("../x".into())),
            ("r.example/a//b", |_| E::Repository("a//b".into())),
            ("r.example/a/../../v2", |_| E::Repository("a/../../v2".into())),
            ("r.example/x?y", |_| E::Repository("x?y".into())),
            ("r.example/x:", |_| E::Tag(String::new())),
            ("r.example/x:-1", |_| E::Tag("-1".into())),
            ("r.example/x:../../x", |_| E::Tag("../../x".into())),
            ("r.example/x:..", |_| E::Tag("..".into())),
            ("r.example/x@", |_| E::Version(String::new())),
            ("r.example/x@>=1", |_| E::Version(">=1".into())),
            ("r.example/x:1.2.3@1", |_| E::Version("1".into())),
            ("r.example/x@sha256:12", |_| E::Digest("sha256:12".into())),
            ("r.example/x@sha512:12", |_| E::Digest("sha512:12".into())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<PackageRef>(), Err(error(text)), "{text}");
        }
        for text in ["r.example/x\u{1b}[31m", "r.example/x\n:1", "r.example/\u{202e}x", "r.example/x y"] {
            let error = text.parse::<PackageRef>().unwrap_err();
            assert!(
                matches!(error, E::Character { .. }) && error.to_string().chars().all(|c| !c.is_control()),
                "{error}"
            );
        }
        assert!(format!("r.example/{}", "x".repeat(300)).parse::<PackageRef>().is_err());
    }

    #[test]
    fn tags_of_versions_and_back() {
        for (version, tag) in [("1.2.3", "1.2.3"), ("1.2.3-rc.1", "1.2.3-rc.1"), ("1.2.3+linux.1", "1.2.3_linux.1")] {
            let version = Version::parse(version).unwrap();
            assert_eq!(tag_of(&version), tag);
            assert_eq!(version_of(tag), Some(version));
        }
        assert_eq!((version_of("latest"), version_of("1.2"), version_of("v1.2.3")), (None, None, None));
    }

    #[test]
    fn a_registry_has_one_spelling() {
        for text in ["Registry.Example/growth/x:1.0.0", "registry.example:443/growth/x:1.0.0"] {
            let package: PackageRef = text.parse().unwrap();
            assert_eq!(package.to_string(), "registry.example/growth/x:1.0.0");
            assert_eq!(package.name(), "registry.example/growth/x");
        }
    }

    #[test]
    fn this_machine() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "LOCALHOST"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.example", "128.0.0.1", "localhost.example", "[::2]", "10.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
