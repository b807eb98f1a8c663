//! A bucket elsewhere as a store, through OpenDAL: OSS, S3, GCS, Azure Blob. The operator is built from what the operator of Rota
//! configured, and from nothing else.

pub(crate) mod http;
mod leftovers;
mod read;
mod retry;
mod upload;

pub(crate) use read::reader;
pub(crate) use upload::put;

use self::http::Http;
use crate::error::Place;
use crate::name::{Name, Prefix};
use crate::target::{BucketTarget, Service};
use crate::wit::{Object, Range};
use opendal::services::{Azblob, Gcs, Oss, S3};
use opendal::{ErrorKind, Lister, Metadata, Operator};
use retry::again;
use rota_contract::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A bucket, with what is needed to speak to it.
pub(crate) struct Bucket {
    operator: Operator,
    pub(crate) place: Place,
    pub(crate) target: BucketTarget,
    /// Whether the bucket itself was seen, so that a missing object is not a missing bucket.
    seen: AtomicBool,
}

impl Bucket {
    /// Make the client. Nothing is contacted.
    pub(crate) fn connect(http: &Http, place: Place, target: BucketTarget) -> Result<Arc<Self>, Error> {
        let context = http.context(target.loopback).map_err(|error| {
            Error::Unavailable(format!(
                "no TLS client can be made ({}); are the system's root certificates installed (ca-certificates)?",
                error.without_url()
            ))
        })?;
        let operator = operator(&target).map_err(|error| place.remote(None, &error))?.with_context(context);
        Ok(Arc::new(Self { operator, place, target, seen: AtomicBool::new(false) }))
    }

    /// What is known of an object.
    pub(crate) async fn stat(&self, name: &Name) -> Result<Object, Error> {
        match again(|| self.operator.stat(name.as_str())).await {
            Ok(found) if found.is_dir() => Err(self.place.missing(name)),
            Ok(found) => {
                self.seen.store(true, Ordering::Relaxed);
                Ok(object(name.as_str().to_owned(), &found))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.check_bucket().await?;
                Err(self.place.missing(name))
            }
            Err(error) => Err(self.explain(name, &error).await),
        }
    }

    /// A HEAD request's refusal has no body, and so no reason: ask again in a way that gets one.
    async fn explain(&self, name: &Name, error: &opendal::Error) -> Error {
        if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unexpected)
            && error.message().trim().is_empty()
            && let Err(reason) = self.probe().await
        {
            return self.place.remote(Some(name), &reason);
        }
        self.place.remote(Some(name), error)
    }

    /// Tell a missing bucket from a missing object, once.
    async fn check_bucket(&self) -> Result<(), Error> {
        if self.seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.probe().await {
            // Listing may be forbidden where reading is not: then nothing was learnt.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(self.place.remote(None, &error)),
            _ => {
                self.seen.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    async fn probe(&self) -> opendal::Result<()> {
        use futures::StreamExt as _;
        let mut lister = self.operator.lister_with("").limit(1).await?;
        lister.next().await.transpose().map(|_| ())
    }

    /// Whether the object is there.
    pub(crate) async fn exists(&self, name: &Name) -> Result<bool, Error> {
        match self.stat(name).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) if self.seen.load(Ordering::Relaxed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Delete an object. One that is not there is no error.
    pub(crate) async fn delete(&self, name: &Name) -> Result<(), Error> {
        match again(|| self.operator.delete(name.as_str())).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => self.check_bucket().await,
            Err(error) => Err(self.place.remote(Some(name), &error)),
        }
    }

    /// Begin to list.
    pub(crate) async fn list(&self, prefix: &Prefix) -> Result<Lister, Error> {
        again(|| async { self.operator.lister_with(prefix.as_str()).recursive(true).await })
            .await
            .map_err(|error| self.place.remote(None, &error))
    }

    /// What is known of an object, and what to read of it: from where, how many bytes.
    pub(crate) async fn find(&self, name: &Name, range: Option<&Range>) -> Result<(Object, u64, u64), Error> {
        let object = self.stat(name).await?;
        let (start, length) = crate::client::bounds(name, object.size, range)?;
        Ok((object, start, length))
    }
}

/// An entry of a list, where it is an object that a guest can name.
pub(crate) fn listed(entry: opendal::Entry) -> Option<Object> {
    let (path, found) = entry.into_parts();
    (!found.is_dir() && Name::parse(&path).is_ok()).then(|| object(path, &found))
}

fn object(name: String, found: &Metadata) -> Object {
    let modified = found.last_modified().map(|at| at.into_inner().as_microsecond());
    Object { name, size: found.content_length(), modified, etag: found.etag().map(str::to_owned) }
}

fn operator(target: &BucketTarget) -> opendal::Result<Operator> {
    let bucket = &*target.bucket;
    let root = format!("/{}", target.prefix);
    match target.service {
        Service::S3 => {
            let mut builder = S3::default().bucket(bucket).root(&root);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.endpoint(endpoint);
            }
            if let Some(region) = &target.region {
                builder = builder.region(region);
            }
            // With keys of its own a binding takes nothing from the environment.
            if let Some((access, secret)) = &target.keys {
                builder = builder
                    .access_key_id(access.expose())
                    .secret_access_key(secret.expose())
                    .disable_config_load()
                    .disable_ec2_metadata();
                if let Some(token) = &target.session_token {
                    builder = builder.session_token(token.expose());
                }
            }
            Operator::new(builder)
        }
        Service::Oss => {
            let mut builder = Oss::default().bucket(bucket).root(&root);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.endpoint(endpoint);
            }
            if let Some((access, secret)) = &target.keys {
                builder = builder.access_key_id(access.expose()).access_key_secret(secret.expose());
                if let Some(token) = &target.session_token {
                    builder = builder.security_token(token.expose());
                }
            }
            Operator::new(builder)
        }
        Service::Gcs => {
            let mut builder = Gcs::default().bucket(bucket).root(&root);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.endpoint(endpoint);
            }
            if let Some(secret) = &target.credential {
                builder =
                    builder.credential(&service_account(secret.expose())).disable_config_load().disable_vm_metadata();
            }
            Operator::new(builder)
        }
        Service::Azblob => {
            let mut builder = Azblob::default().container(bucket).root(&root);
            if let Some(endpoint) = &target.endpoint {
                builder = builder.endpoint(endpoint);
            }
            if let Some((account, key)) = &target.keys {
                builder = builder.account_name(account.expose()).account_key(key.expose());
            }
            Operator::new(builder)
        }
    }
}

/// A service account's JSON, as it is or in base64: OpenDAL wants the latter.
fn service_account(key: &str) -> String {
    use base64::Engine as _;
    if key.trim_start().starts_with('{') {
        base64::engine::general_purpose::STANDARD.encode(key)
    } else {
        key.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_telemetry::Secret;

    #[test]
    fn operators_of_all_services_are_made_with_keys_and_without() {
        for service in [Service::S3, Service::Oss, Service::Gcs, Service::Azblob] {
            for keys in [None, Some((Secret::new("account"), Secret::new("c2VjcmV0LWtleQ==")))] {
                let credential = keys.is_some().then(|| Secret::new(r#"{"type":"service_account"}"#));
                let target = BucketTarget {
                    service,
                    bucket: "bucket".into(),
                    prefix: "pre/fix/".into(),
                    endpoint: Some("https://store.example".into()),
                    loopback: false,
                    region: Some("eu-1".into()),
                    keys,
                    session_token: None,
                    credential,
                    part_size: 0,
                };
                let operator = operator(&target).unwrap();
                assert_eq!(operator.info().root(), "/pre/fix/");
                assert!(operator.info().capability().write_with_if_not_exists, "{service:?}");
            }
        }
    }
}
