//! Whose signatures plugins must have, by namespace: `[trust."registry.example/growth/*"]`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::decode::{Decode, Fields, Reader};
use crate::redact::quoted;
use crate::tree::Node;

/// The longest namespace, in bytes: a registry takes names of 255.
const LONGEST: usize = 255;

/// Which plugins a rule is for.
///
/// | written | plugins |
/// | --- | --- |
/// | `registry.example/growth/report` | this package |
/// | `registry.example/growth/*` | every package below |
/// | `report` | `report.wasm` in the folder of plugins |
/// | `file/*` | components run by their path |
/// | `*` | all, those of the binary excepted |
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

/// Why a text is no namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} cannot name plugins: {reason}")]
pub struct NamespaceError {
    shown: String,
    reason: &'static str,
}

impl Namespace {
    /// The namespace as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a plugin of this name is in it.
    pub fn holds(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some("") => true,
            // With its slash, so that `growth/*` does not hold `growth-else/x`.
            Some(above) => name.len() > above.len() && name.starts_with(above),
            None => self.0 == name,
        }
    }

    /// Of two that hold a name, the nearer has more. One plugin alone is nearest.
    fn nearness(&self) -> usize {
        if self.0.ends_with('*') { self.0.len() } else { usize::MAX }
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        let segments: Vec<&str> = text.split('/').collect();
        let above = segments.split_last().map(|(_, above)| above).unwrap_or_default();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:*[]".contains(c);
        let reason = if text.contains("://") {
            "a registry is named without its scheme, as in registry.example/growth/*"
        } else if text.contains('@') {
            "a rule is for all versions; leave out what begins with \"@\""
        } else if text.len() > LONGEST {
            "it is longer than 255 characters"
        } else if segments.iter().any(|segment| segment.is_empty()) {
            "a part of it is empty"
        } else if above.iter().any(|segment| segment.contains('*'))
            || segments.last().is_some_and(|last| last.contains('*') && *last != "*")
        {
            "\"*\" stands alone, as the last part: registry.example/growth/*"
        } else if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            "\".\" and \"..\" are no parts of a name; a component that is run by its path is named file/NAME"
        } else if text.ends_with(".wasm") {
            "a file is named without .wasm: NAME in the folder of plugins, file/NAME when it is run by its path"
        } else if !text.chars().all(|c| plain(c) || c == '/') {
            "only small letters, digits and \"/.-_:\" may be in it"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NamespaceError { shown: quoted(text), reason })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A file that trust rests on, written `file:PATH`: a public key, or a trust root. Neither is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile(PathBuf);

impl TrustFile {
    /// Where it is.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for TrustFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.0.display())
    }
}

impl Serialize for TrustFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for TrustFile {
    const WANTED: &'static str = "a file, as in file:keys/growth.pub";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        let path = text.strip_prefix("file:").filter(|path| !path.is_empty() && !path.starts_with("//"));
        match path.filter(|path| !path.contains('\0')) {
            Some(path) => Some(Self(reader.sources.path(&node.origin, path))),
            None => reader.refuse(&node.origin, format!("{at} must be {}, not {}", Self::WANTED, quoted(&text))),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^file:.+", "examples": ["file:keys/growth.pub"] })
    }
}

/// Somebody whose signature is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TrustedSigner {
    /// Whoever holds the private part of a key.
    Key {
        /// The public part, PEM.
        key: TrustFile,
        /// A trust root whose transparency log must have recorded the signature too.
        #[serde(skip_serializing_if = "Option::is_none")]
        root: Option<TrustFile>,
    },
    /// Who proved to an issuer to be this, at the time of signing.
    Identity {
        /// Whom the certificate names: an e-mail address, or a URI.
        identity: String,
        /// Who vouched for it: the URL of an OpenID issuer.
        issuer: String,
        /// The authorities and logs that count: a `trusted_root.json`.
        root: TrustFile,
    },
}

impl Decode for TrustedSigner {
    const WANTED: &'static str = "a table with a key, or with an identity, its issuer and a root";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let mut fields = reader.fields(at, node)?;
        let origin = fields.origin.clone();
        let there = ["key", "identity", "issuer", "root"].map(|key| fields.contains(key));
        let [key, identity, issuer, root] = there;
        let signer = Self::decode_fields(&mut fields, key);
        fields.finish();
        let wrong = match (key, identity || issuer) {
            (true, true) => "names a key and an identity, and a signer is one of the two",
            (false, false) => "names no signer",
            (false, true) if !(identity && issuer && root) => "names only a part of a signer without key",
            _ => return signer,
        };
        reader.refuse_with(
            &origin,
            format!("{at} {wrong}"),
            "write { key = \"file:...\" }, or { identity = \"...\", issuer = \"https://...\", root = \"file:...\" }",
        )
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let file = TrustFile::schema(generator).to_value();
        json_schema!({ "oneOf": [
            {
                "type": "object", "required": ["key"], "additionalProperties": false,
                "description": "Whoever holds the private part of a key.",
                "properties": { "key": file, "root": file },
            },
            {
                "type": "object", "required": ["identity", "issuer", "root"], "additionalProperties": false,
                "description": "Who proved to an issuer to be this, at the time of signing.",
                "properties": {
                    "identity": { "type": "string", "minLength": 1, "examples": ["release@growth.example"] },
                    "issuer": { "type": "string", "pattern": "^https?://.+", "examples": ["https://accounts.example"] },
                    "root": file,
                },
            },
        ] })
    }
}

impl TrustedSigner {
    fn decode_fields(fields: &mut Fields<'_>, by_key: bool) -> Option<Self> {
        let [identity_at, issuer_at] = ["identity", "issuer"].map(|key| fields.origin_of(key));
        let (reader, at) = (fields.reader, fields.at.clone());
        let key: Option<Option<TrustFile>> = fields.or("key", None);
        let identity: Option<Option<String>> = fields.or("identity", None);
        let issuer: Option<Option<String>> = fields.or("issuer", None);
        let root: Option<Option<TrustFile>> = fields.or("root", None);
        let (key, identity, issuer, root) = (key?, identity?, issuer?, root?);
        if by_key {
            return key.map(|key| Self::Key { key, root });
        }
        let (identity, issuer, root) = (identity?, issuer?, root?);
        if identity.is_empty() || identity.contains('*') || identity.chars().any(|c| c.is_control() || c == ' ') {
            let message = format!("{at}.identity must be one identity, whole, not {}", quoted(&identity));
            return reader.refuse_with(
                &identity_at,
                message,
                "name each in a table of its own; patterns are not taken",
            );
        }
        if !["https://", "http://"]
            .iter()
            .any(|scheme| issuer.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
        {
            let message = format!("{at}.issuer must be the URL of an issuer, not {}", quoted(&issuer));
            return reader.refuse_with(&issuer_at, message, "as in https://accounts.google.com, to the letter");
        }
        Some(Self::Identity { identity, issuer, root })
    }
}

/// What is asked of the plugins of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustRule {
    /// Whose signature is taken; one of them is enough.
    #[serde(rename = "signed-by")]
    pub signed_by: Vec<TrustedSigner>,
    /// Whether a plugin must be signed. Without it, one that is not is taken; one that is must be signed by these.
    pub required: bool,
}

impl Decode for TrustRule {
    const WANTED: &'static str = "a table";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let mut fields = reader.fields(at, node)?;
        let origin = fields.origin_of("signed-by");
        let signed_by: Option<Vec<TrustedSigner>> = fields.or("signed-by", Vec::new());
        let required = fields.or("required", true);
        fields.finish();
        let (signed_by, required) = (signed_by?, required?);
        if required && signed_by.is_empty() {
            return reader.refuse_with(
                &origin,
                format!("{at} requires a signature and names nobody whose signature is taken"),
                "name them in signed-by, or set required = false",
            );
        }
        Some(Self { signed_by, required })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut signers = <Vec<TrustedSigner>>::schema(generator);
        signers.insert("description".to_owned(), "Whose signature is taken; one of them is enough.".into());
        json_schema!({
            "description": "What is asked of the plugins of a namespace.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "signed-by": signers,
                "required": {
                    "type": "boolean", "default": true,
                    "description": "Whether a plugin must be signed. Without it, one that is not is taken; one that is must be signed by these.",
                },
            },
        })
    }
}

/// The rules, by namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Trust(BTreeMap<Namespace, TrustRule>);

impl Trust {
    /// The rule for a plugin: of those whose namespace holds its name, the one with the longest. None if no rule is for it.
    pub fn rule(&self, name: &str) -> Option<(&Namespace, &TrustRule)> {
        let holding = self.0.iter().filter(|(namespace, _)| namespace.holds(name));
        holding.max_by_key(|(namespace, _)| namespace.nearness())
    }
}

impl Deref for Trust {
    type Target = BTreeMap<Namespace, TrustRule>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Decode for Trust {
    const WANTED: &'static str = "a table";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let table = reader.fields(at, node)?.into_table();
        let mut whole = true;
        let mut rules = BTreeMap::new();
        for (name, entry) in table {
            // In quotes, as it must be written.
            let rule = TrustRule::decode(reader, &format!("{at}.{}", quoted(&name)), entry.node);
            let namespace = reader.parsed(at, &entry.key, name.parse::<Namespace>());
            match (namespace, rule) {
                (Some(namespace), Some(rule)) => {
                    rules.insert(namespace, rule);
                }
                _ => whole = false,
            }
        }
        whole.then_some(Self(rules))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let rules = TrustRule::schema(generator);
        json_schema!({ "type": "object", "propertyNames": { "minLength": 1, "maxLength": LONGEST }, "additionalProperties": rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_namespace_counts() {
        let rule = |required| TrustRule { signed_by: Vec::new(), required };
        let names = ["*", "r.example/*", "r.example/growth/*", "r.example/growth/report", "report", "file/*"];
        let trust = Trust(names.map(|name| (name.parse().unwrap(), rule(true))).into());
        for (name, nearest) in [
            ("r.example/growth/report", "r.example/growth/report"),
            ("r.example/growth/other", "r.example/growth/*"),
            ("r.example/growth/deep/report", "r.example/growth/*"),
            ("r.example/growth-else/report", "r.example/*"),
            // The namespace itself is no plugin below it.
            ("r.example/growth/", "r.example/*"),
            ("r.example.evil/growth/report", "*"),
            ("report", "report"),
            ("reports", "*"),
            ("file/report", "file/*"),
        ] {
            assert_eq!(trust.rule(name).map(|(namespace, _)| namespace.as_str()), Some(nearest), "{name}");
        }
        assert_eq!(Trust::default().rule("report"), None);
    }
}
