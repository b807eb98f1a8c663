//! Putting a package into a registry. A version is published once: what is there under its tag with another content stays.

use crate::answer::shown;
use crate::artifact::{About, build, judge};
use crate::error::{PackageError, RegistryError};
use crate::http::Asked;
use crate::registry::{Call, Doing, Registry};
use crate::{Digest, PackageRef, Wanted, artifact};
use bytes::Bytes;
use reqwest::header::LOCATION;
use reqwest::{Method, Url};

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its manifest.
    pub manifest: Digest,
    /// The manifest's size, bytes.
    pub manifest_size: u64,
    /// Its component.
    pub component: Digest,
    /// The tag.
    pub tag: String,
    /// Whether it was there already, just so.
    pub was_there: bool,
}

impl Registry {
    /// Publish a component under a tag.
    ///
    /// # Errors
    /// When the tag is there with another content, or the registry does not take it.
    pub async fn push(&self, package: &PackageRef, component: Bytes, about: &About) -> Result<Pushed, PackageError> {
        let Wanted::Tag(tag) = package.wanted() else {
            return Err(crate::ReferenceError::Tag(String::new()).into());
        };
        let (config, manifest) = build(&component, about);
        let wrong = |error| PackageError::NotAPackage { name: package.to_string(), error };
        // What this host would refuse is not published either.
        let packed = judge(&manifest).map_err(wrong)?;
        let pushed = |was_there| Pushed {
            manifest: Digest::of(&manifest),
            manifest_size: manifest.len() as u64,
            component: packed.component.clone(),
            tag: tag.clone(),
            was_there,
        };
        let repository = package.repository();
        if let Some(there) = self.manifest_if_there(repository, tag).await? {
            if there.digest == Digest::of(&manifest) {
                return Ok(pushed(true));
            }
            return Err(PackageError::Published { name: package.name(), tag: tag.clone(), there: there.digest });
        }
        self.put_blob(repository, Bytes::from(config)).await?;
        self.put_blob(repository, component).await?;
        self.put_manifest(repository, tag, Bytes::from(manifest.clone()), artifact::MANIFEST).await?;
        Ok(pushed(false))
    }

    /// Put content into a repository, if it is not there.
    pub(crate) async fn put_blob(&self, repository: &str, content: Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&content);
        let what = format!("the upload of {digest} to {}/{repository}", self.place.name);
        let asked = |upload| Asked { what: &what, verified: false, upload };
        let at = |method: Method, url: Url, content: Option<Bytes>| Call {
            method,
            url,
            repository,
            doing: Doing::Push,
            asked: asked(content.as_ref().map_or(0, |content| content.len() as u64)),
            accept: None,
            content: content.map(|content| ("application/octet-stream", content)),
        };
        match self.call(&at(Method::HEAD, self.url(&format!("{repository}/blobs/{digest}")), None)).await {
            Ok(_) => return Ok(digest),
            Err(RegistryError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let begin = at(Method::POST, self.url(&format!("{repository}/blobs/uploads/")), Some(Bytes::new()));
        let begun = self.call(&begin).await?;
        let to = begun.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| begun.url().join(to).ok());
        let nowhere =
            || RegistryError::Answer { what: what.clone(), reason: "it does not say where to upload to".into() };
        let mut to = to.ok_or_else(nowhere)?;
        if !self.place.is_at(&to) {
            return Err(RegistryError::Redirect { what: what.clone(), to: crate::http::origin(&to) });
        }
        to.query_pairs_mut().append_pair("digest", digest.as_str());
        self.call(&at(Method::PUT, to, Some(content))).await?;
        Ok(digest)
    }

    /// Put a manifest under a tag or its digest.
    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: Bytes,
        media_type: &str,
    ) -> Result<reqwest::header::HeaderMap, RegistryError> {
        let what = format!("the manifest {}/{repository}:{}", self.place.name, shown(reference));
        let call = Call {
            method: Method::PUT,
            url: self.url(&format!("{repository}/manifests/{reference}")),
            repository,
            doing: Doing::Push,
            asked: Asked { what: &what, verified: false, upload: manifest.len() as u64 },
            accept: None,
            content: Some((media_type, manifest)),
        };
        Ok(self.call(&call).await?.headers().clone())
    }
}
