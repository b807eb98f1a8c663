//! What one host does: its name, where it listens, how it takes runs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::section::section;
use crate::tree::Node;
use crate::{Duration, Labels};

section! {
    /// What this host does when it serves: its name, where it listens, how it takes runs.
    pub struct Server {
        /// What the host is called in records and lists. Without it: the machine's host name.
        pub name: Option<HostName> = None;
        /// The address that /livez, /readyz and /metrics are served on, or none; ROTA_LISTEN sets it too.
        pub listen: Listen = Listen::default();
        /// The most runs at once on this host.
        pub workers: u32 = 8, within(1, 10_000);
        /// What this host says of itself, for jobs that ask for it by their hosts.
        pub labels: Labels = Labels::new();
        /// Whether this host fires schedules.
        pub scheduler: bool = true;
        /// Whether this host carries out runs.
        pub worker: bool = true;
        /// How long a host holds a run without a sign of life; after that, another may take it.
        pub lease: Duration = Duration::from_secs(15), within(Duration::from_secs(2), Duration::from_secs(600));
        /// How often the store is asked for what is due, should no hint arrive.
        pub poll: Duration = Duration::from_secs(1), within(Duration::from_millis(50), Duration::from_secs(60));
        /// How long runs may go on once the host is told to end; then they are handed back or cancelled.
        pub drain_timeout: Duration = Duration::from_secs(60), within(Duration::from_secs(0), Duration::from_secs(86_400));
    }
}

impl Server {
    /// The host's name: the configured one, or else the machine's.
    pub fn host_name(&self) -> String {
        let configured = self.name.as_ref().map(|name| name.as_str().to_owned());
        configured
            .or_else(|| machine_name()?.parse().ok().map(|HostName(name)| name))
            .unwrap_or_else(|| "localhost".to_owned())
    }
}

/// What the machine is called, as uname says it.
fn machine_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned())
}

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(String);

/// What a host is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 253 || !text.chars().all(allowed) || text.starts_with(['-', '.']) {
            let rule = "it must be 1 to 253 letters, digits, \"-\", \"_\" and \".\", and begin with a letter, a digit or \"_\"";
            return Err(ServerError(format!("{} cannot name a host: {rule}", quoted(text))));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Decode for HostName {
    const WANTED: &'static str = "the name of a host";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.trim().parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$" })
    }
}

/// Where a host listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listen {
    /// On an address. Port 0 is any that is free.
    Address(SocketAddr),
    /// Nowhere.
    None,
}

impl Default for Listen {
    fn default() -> Self {
        Self::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7682))
    }
}

impl Listen {
    /// The address; none if it listens nowhere.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::None => None,
        }
    }
}

impl FromStr for Listen {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        if text == "none" {
            return Ok(Self::None);
        }
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        match local.as_deref().unwrap_or(text).parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => {
                let rule = "write IP:PORT, as 127.0.0.1:7682, 0.0.0.0:7682 or [::1]:7682, or none";
                Err(ServerError(format!("{} is no address to listen on; {rule}", quoted(text))))
            }
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::None => f.pad("none"),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Listen {
    const WANTED: &'static str = "an address (IP:PORT) or none";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.trim().parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "examples": ["127.0.0.1:7682", "none"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_are_read() {
        for (text, shown) in [
            ("127.0.0.1:7682", "127.0.0.1:7682"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
            ("none", "none"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), shown);
        }
        assert_eq!(Listen::default().to_string(), "127.0.0.1:7682");
        for wrong in ["", "7682", ":7682", "example.org:80", "127.0.0.1", "None"] {
            assert!(wrong.parse::<Listen>().unwrap_err().to_string().contains("write IP:PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_host_has_a_name() {
        assert!(!Server::default().host_name().is_empty());
        let named = Server { name: Some("ops-1.example".parse().unwrap()), ..Server::default() };
        assert_eq!(named.host_name(), "ops-1.example");
        assert!("a b".parse::<HostName>().is_err() && "".parse::<HostName>().is_err());
    }
}
