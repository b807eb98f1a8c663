//! What a package looks like in a registry: the artifact layout of the CNCF Wasm working group, which `wkg` and others read and write.
//!
//! | part | media type |
//! | --- | --- |
//! | manifest | `application/vnd.oci.image.manifest.v1+json` |
//! | its config, which says what the component imports and exports | `application/vnd.wasm.config.v0+json` |
//! | its one layer, the component as it is | `application/wasm` |
//!
//! Nothing is taken compressed, so that nothing grows when it is read. The config of somebody else is not read: what a component imports is
//! read from the component.

use crate::answer::shown;
use crate::{Digest, LARGEST_COMPONENT};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde_json::json;
use std::collections::BTreeMap;

/// The media type of a manifest.
pub const MANIFEST: &str = OCI_IMAGE_MEDIA_TYPE;
/// The media type of a package's config.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The media type of a component.
pub const COMPONENT: &str = "application/wasm";
/// The largest manifest that is read, bytes.
pub const LARGEST_MANIFEST: u64 = 256 << 10;
/// The largest config that is written, bytes.
const LARGEST_CONFIG: usize = 64 << 10;

/// Why what is in a registry is no package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPackage {
    /// Several, for several platforms.
    #[error("it is a list of manifests (an image for several platforms), not a plugin")]
    Index,
    /// Another kind of manifest.
    #[error("its manifest is of the media type `{0}`, not {MANIFEST}")]
    ManifestType(String),
    /// No manifest at all.
    #[error("its manifest cannot be read: {0}")]
    Manifest(String),
    /// Something else.
    #[error("it is no WebAssembly package: its config is of the media type `{0}`, not {CONFIG}")]
    Config(String),
    /// No layer, or several.
    #[error("it has {0} layers; a plugin is exactly one")]
    Layers(usize),
    /// Compressed.
    #[error(
        "its layer is compressed (`{0}`), and no layer is decompressed here: a plugin is stored as it is, as {COMPONENT}"
    )]
    Compressed(String),
    /// Another kind of layer.
    #[error("its layer is of the media type `{0}`, not {COMPONENT}")]
    Layer(String),
    /// Stored elsewhere.
    #[error("its layer says that it is stored elsewhere (`urls`), and that is not followed")]
    Elsewhere,
    /// Empty, or more than is taken.
    #[error("its component has {0} bytes; from 1 to {LARGEST_COMPONENT} are taken")]
    Size(i64),
    /// A digest that is none.
    #[error("the digest of its layer is not `sha256:` and 64 lower-case hexadecimal digits")]
    Digest,
}

/// What a manifest says of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The component.
    pub component: Digest,
    /// Its size, bytes.
    pub size: u64,
}

/// Read a manifest, and refuse what is no package.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn judge(manifest: &[u8]) -> Result<Package, NotAPackage> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        schema_version: i64,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let unreadable = |error: serde_json::Error| NotAPackage::Manifest(shown(&error.to_string()));
    let kind: Kind = serde_json::from_slice(manifest).map_err(unreadable)?;
    if kind.manifests.is_some() {
        return Err(NotAPackage::Index);
    }
    if let Some(other) = kind.media_type.filter(|kind| kind != MANIFEST) {
        return Err(NotAPackage::ManifestType(shown(&other)));
    }
    if kind.schema_version != 2 {
        return Err(NotAPackage::Manifest(format!("its schema has the version {}", kind.schema_version)));
    }
    let manifest: OciImageManifest = serde_json::from_slice(manifest).map_err(unreadable)?;
    if manifest.config.media_type != CONFIG {
        return Err(NotAPackage::Config(shown(&manifest.config.media_type)));
    }
    let [layer] = manifest.layers.as_slice() else { return Err(NotAPackage::Layers(manifest.layers.len())) };
    if layer.media_type != COMPONENT {
        let kind = shown(&layer.media_type);
        let compressed = ["gzip", "zstd", "tar", "zip", "bzip2", "xz"].iter().any(|word| kind.contains(word));
        return Err(if compressed { NotAPackage::Compressed(kind) } else { NotAPackage::Layer(kind) });
    }
    if layer.urls.as_ref().is_some_and(|urls| !urls.is_empty()) {
        return Err(NotAPackage::Elsewhere);
    }
    let size = u64::try_from(layer.size).ok().filter(|size| (1..=LARGEST_COMPONENT).contains(size));
    Ok(Package {
        size: size.ok_or(NotAPackage::Size(layer.size))?,
        component: layer.digest.parse().map_err(|_| NotAPackage::Digest)?,
    })
}

/// What is known of a component that is to be published.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a line.
    pub summary: String,
    /// What it imports, as `rota:runbook/sql@0.2.0`.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// The config and the manifest of a component. The same component gives the same bytes: nothing says when it was packed.
pub fn build(component: &[u8], about: &About) -> (Vec<u8>, Vec<u8>) {
    let layer = Digest::of(component);
    let mut config = json!({
        "created": "1970-01-01T00:00:00Z",
        "author": null,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer],
        "component": { "exports": about.exports, "imports": about.imports, "target": null },
    })
    .to_string()
    .into_bytes();
    if config.len() > LARGEST_CONFIG {
        config = json!({ "created": "1970-01-01T00:00:00Z", "author": null, "architecture": "wasm", "os": "wasip2", "layerDigests": [layer], "component": { "exports": [], "imports": [], "target": null } }).to_string().into_bytes();
    }
    let annotations = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), about.name.clone()),
        ("org.opencontainers.image.version".to_owned(), about.version.clone()),
        ("org.opencontainers.image.description".to_owned(), about.summary.clone()),
    ]);
    let manifest = OciImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST.into()),
        config: descriptor(CONFIG, &config),
        layers: vec![descriptor(COMPONENT, component)],
        annotations: Some(annotations),
        ..OciImageManifest::default()
    };
    (config, encoded(&manifest))
}

/// What leads to some content.
pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.into(),
        digest: Digest::of(content).to_string(),
        size: i64::try_from(content.len()).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

/// A manifest as it is stored.
pub(crate) fn encoded<T: serde::Serialize>(manifest: &T) -> Vec<u8> {
    // Of strings, numbers and maps of strings: it cannot fail.
    serde_json::to_vec(manifest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn sound() -> (Vec<u8>, Value) {
        let about = About { name: "x".into(), version: "1.2.3".into(), ..About::default() };
        let (_, manifest) = build(b"\0asm", &about);
        let value = serde_json::from_slice(&manifest).unwrap();
        (manifest, value)
    }

    #[test]
    fn what_is_built_is_taken_and_is_as_others_have_it() {
        let (manifest, value) = sound();
        assert_eq!(judge(&manifest), Ok(Package { component: Digest::of(b"\0asm"), size: 4 }));
        assert_eq!(manifest, sound().0, "the same component, the same bytes");
        assert_eq!(value["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(value["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(value["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(value["annotations"]["org.opencontainers.image.version"], "1.2.3");
        let about = About { imports: vec!["rota:runbook/sql@0.2.0".into()], ..About::default() };
        let (config, _) = build(b"\0asm", &about);
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));
        assert_eq!(config["layerDigests"], json!([Digest::of(b"\0asm")]));
        assert_eq!(config["component"]["imports"][0], "rota:runbook/sql@0.2.0");
    }

    #[test]
    fn what_is_no_package_is_refused_each_with_its_own_words() {
        type Change = fn(&mut Value);
        let cases: [(Change, NotAPackage); 13] = [
            (|v| v["manifests"] = json!([]), NotAPackage::Index),
            (
                |v| v["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json"),
                NotAPackage::ManifestType("application/vnd.docker.distribution.manifest.v2+json".into()),
            ),
            (|v| v["schemaVersion"] = json!(1), NotAPackage::Manifest("its schema has the version 1".into())),
            (
                |v| v["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json"),
                NotAPackage::Config("application/vnd.oci.image.config.v1+json".into()),
            ),
            (|v| v["layers"] = json!([]), NotAPackage::Layers(0)),
            (|v| v["layers"] = json!([v["layers"][0], v["layers"][0]]), NotAPackage::Layers(2)),
            (
                |v| v["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip"),
                NotAPackage::Compressed("application/vnd.oci.image.layer.v1.tar+gzip".into()),
            ),
            (
                |v| v["layers"][0]["mediaType"] = json!("application/wasm+zstd"),
                NotAPackage::Compressed("application/wasm+zstd".into()),
            ),
            (|v| v["layers"][0]["mediaType"] = json!("text/plain"), NotAPackage::Layer("text/plain".into())),
            (|v| v["layers"][0]["urls"] = json!(["https://elsewhere.example"]), NotAPackage::Elsewhere),
            (|v| v["layers"][0]["size"] = json!(4_u64 << 30), NotAPackage::Size(4 << 30)),
            (|v| v["layers"][0]["size"] = json!(-1), NotAPackage::Size(-1)),
            (|v| v["layers"][0]["digest"] = json!("sha256:../../etc"), NotAPackage::Digest),
        ];
        for (number, (change, wanted)) in cases.into_iter().enumerate() {
            let mut value = sound().1;
            change(&mut value);
            assert_eq!(judge(value.to_string().as_bytes()), Err(wanted), "case {number}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "[]", "\u{1b}[31m", deep.as_str()] {
            assert!(matches!(judge(text.as_bytes()), Err(NotAPackage::Manifest(_))), "{}", &text[..text.len().min(9)]);
        }
        let mut value = sound().1;
        value["layers"][0]["mediaType"] = json!("\u{1b}[31mred\u{202e}");
        let said = judge(value.to_string().as_bytes()).unwrap_err().to_string();
        assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}'), "{said:?}");
    }
}
