//! What was attached to a package: its signatures. Registries that know the referrers API list them; in others a tag `sha256-<hex>` does, an
//! index that whoever attaches something writes anew.

use crate::answer::body;
use crate::artifact::{LARGEST_MANIFEST, MANIFEST, descriptor, encoded};
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::{Blobs, Digest};
use bytes::Bytes;
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde_json::{Value, json};

/// The artifact type of a sigstore bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The media type of a config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The largest list of referrers that is read, bytes.
const LARGEST_LIST: u64 = 1 << 20;
/// How many of them are looked at.
const MOST: usize = 32;
/// The largest that is read, bytes. A bundle has about 10 KiB.
const LARGEST: u64 = 1 << 20;

/// Something that was attached to a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its manifest.
    pub manifest: Digest,
    /// Its content.
    pub content: Vec<u8>,
}

#[derive(serde::Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Listed>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    digest: String,
    artifact_type: Option<String>,
}

impl Registry {
    /// What of a type is attached to a manifest, at most 32. One that cannot be read is left out: somebody who attaches rubbish takes nothing away
    /// from the others.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
        artifact_type: &str,
        blobs: &Blobs,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let list = self.list(repository, subject).await?;
        // Where the type is not told, the manifest tells.
        let wanted = |listed: &Listed| listed.artifact_type.as_deref().is_none_or(|kind| kind == artifact_type);
        let digests = list.iter().filter(|listed| wanted(listed)).filter_map(|listed| listed.digest.parse().ok());
        let mut found = Vec::new();
        for digest in digests.take(MOST) {
            match self.referrer(repository, subject, &digest, artifact_type, blobs).await {
                Ok(Some(referrer)) => found.push(referrer),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "what is attached to a package cannot be read, and is left out"),
            }
        }
        Ok(found)
    }

    async fn list(&self, repository: &str, subject: &Digest) -> Result<Vec<Listed>, RegistryError> {
        let what = format!("the list of what is attached to {subject} in {}/{repository}", self.place.name);
        let url = self.url(&format!("{repository}/referrers/{subject}"));
        let answer = match self.get(url, repository, &what, false, Some(OCI_IMAGE_INDEX_MEDIA_TYPE)).await {
            Ok(response) => body(response, &what, LARGEST_LIST).await?,
            // One without the API says so in one of these ways.
            Err(RegistryError::NotFound { .. } | RegistryError::Status { status: 400 | 405 | 406 | 501, .. }) => {
                match self.manifest_if_there(repository, &fallback(subject)).await? {
                    Some(manifest) => manifest.bytes,
                    None => return Ok(Vec::new()),
                }
            }
            Err(error) => return Err(error),
        };
        let wrong =
            |error: serde_json::Error| RegistryError::Answer { what, reason: crate::answer::shown(&error.to_string()) };
        Ok(serde_json::from_slice::<Index>(&answer).map_err(wrong)?.manifests)
    }

    async fn referrer(
        &self,
        repository: &str,
        subject: &Digest,
        digest: &Digest,
        artifact_type: &str,
        blobs: &Blobs,
    ) -> Result<Option<Referrer>, RegistryError> {
        let manifest = self.manifest(repository, digest.as_str()).await?;
        let Ok(read) = serde_json::from_slice::<OciImageManifest>(&manifest.bytes) else { return Ok(None) };
        let kind = read.artifact_type.as_deref().unwrap_or(&read.config.media_type);
        let is_of = read.subject.as_ref().is_some_and(|of| of.digest == subject.as_str());
        let [layer] = read.layers.as_slice() else { return Ok(None) };
        let size = u64::try_from(layer.size).ok().filter(|size| (1..=LARGEST).contains(size));
        let (Some(size), Ok(content)) = (size, layer.digest.parse::<Digest>()) else { return Ok(None) };
        if kind != artifact_type || !is_of {
            return Ok(None);
        }
        self.blob(repository, &content, size, blobs).await?;
        Ok(blobs.get(&content, LARGEST)?.map(|content| Referrer { manifest: digest.clone(), content }))
    }

    /// Attach something to a manifest of a package: `subject` and its size. Answers the digest of what was attached.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn attach(
        &self,
        repository: &str,
        subject: (&Digest, u64),
        artifact_type: &str,
        annotations: &[(&str, &str)],
        content: &[u8],
    ) -> Result<Digest, RegistryError> {
        let (subject, size) = subject;
        let subject_descriptor = OciDescriptor {
            media_type: MANIFEST.into(),
            digest: subject.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let manifest = OciImageManifest {
            media_type: Some(MANIFEST.into()),
            artifact_type: Some(artifact_type.into()),
            config: descriptor(EMPTY, b"{}"),
            layers: vec![descriptor(artifact_type, content)],
            subject: Some(subject_descriptor),
            annotations: annotations_of(annotations),
            ..OciImageManifest::default()
        };
        let manifest = encoded(&manifest);
        self.put_blob(repository, Bytes::from_static(b"{}")).await?;
        self.put_blob(repository, Bytes::copy_from_slice(content)).await?;
        let digest = Digest::of(&manifest);
        let length = manifest.len();
        let answer = self.put_manifest(repository, digest.as_str(), Bytes::from(manifest), MANIFEST).await?;
        // One that knows the API says so; for the others the list is ours to write.
        if !answer.contains_key("oci-subject") {
            self.list_it(repository, subject, (&digest, length), artifact_type, annotations).await?;
        }
        Ok(digest)
    }

    /// Add one to the index under the tag of the subject. Two who do so at once may lose one of them: the protocol has nothing better, so it is
    /// looked at afterwards, and done once more.
    async fn list_it(
        &self,
        repository: &str,
        subject: &Digest,
        attached: (&Digest, usize),
        artifact_type: &str,
        annotations: &[(&str, &str)],
    ) -> Result<(), RegistryError> {
        let (digest, size) = attached;
        let tag = fallback(subject);
        for _ in 0..3 {
            let there = self.manifest_if_there(repository, &tag).await?;
            let there = there.and_then(|manifest| serde_json::from_slice::<Value>(&manifest.bytes).ok());
            let mut manifests = there.and_then(|index| index["manifests"].as_array().cloned()).unwrap_or_default();
            if manifests.iter().any(|one| one["digest"] == digest.as_str()) {
                return Ok(());
            }
            let annotations = annotations_of(annotations);
            manifests.push(json!({ "mediaType": MANIFEST, "digest": digest, "size": size, "artifactType": artifact_type, "annotations": annotations }));
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": manifests });
            let index = index.to_string();
            if index.len() as u64 > LARGEST_MANIFEST {
                return Err(RegistryError::TooLarge {
                    what: format!("the list {tag} of {repository}"),
                    limit: LARGEST_MANIFEST,
                });
            }
            self.put_manifest(repository, &tag, Bytes::from(index), OCI_IMAGE_INDEX_MEDIA_TYPE).await?;
        }
        Ok(())
    }
}

fn annotations_of(annotations: &[(&str, &str)]) -> Option<std::collections::BTreeMap<String, String>> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    (!annotations.is_empty()).then(|| annotations.iter().map(owned).collect())
}

/// The tag under which a registry without the API lists what is attached.
fn fallback(subject: &Digest) -> String {
    subject.as_str().replace(':', "-")
}
