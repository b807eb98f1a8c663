//! From what the operator configured to where a binding leads. The only reader of a binding's settings; nothing here comes from
//! a guest.

use crate::error::Place;
use crate::name::Prefix;
pub(crate) use rota_config::BucketService as Service;
use rota_config::{StorageBinding, StorageLocation, StorageTarget};
use rota_contract::Error;
use rota_telemetry::Secret;
use std::path::PathBuf;
use url::{Host, Url};

/// Where a binding leads.
pub(crate) enum Target {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket elsewhere.
    Bucket(Box<BucketTarget>),
}

/// A bucket elsewhere.
pub(crate) struct BucketTarget {
    pub(crate) service: Service,
    pub(crate) bucket: String,
    /// Empty, or parts with a `/` at the end.
    pub(crate) prefix: String,
    /// With its scheme, without a path.
    pub(crate) endpoint: Option<String>,
    /// Whether the endpoint is this machine.
    pub(crate) loopback: bool,
    pub(crate) region: Option<String>,
    /// The two halves of a key: both, or neither.
    pub(crate) keys: Option<(Secret, Secret)>,
    /// The token of a temporary key.
    pub(crate) session_token: Option<Secret>,
    /// A service account (gcs), as JSON.
    pub(crate) credential: Option<Secret>,
    /// The operator's wish for the first part's size, bytes.
    pub(crate) part_size: u64,
}

/// Read a binding. Also gives its address in words that may be shown.
///
/// # Errors
/// When the binding cannot be used as it is configured; the text names the setting.
pub(crate) fn read(name: &str, binding: &StorageBinding) -> Result<(Place, Target), Error> {
    let wrong = |why: String| Error::InvalidArgument(format!("the binding `{name}` cannot be used: {why}"));
    let target = binding.target().map_err(|error| wrong(error.to_string()))?;
    if Prefix::parse(&target.prefix).is_err() {
        return Err(wrong("its prefix has characters that no object's name may have".into()));
    }
    let (address, target) = match target.location.clone() {
        StorageLocation::Folder(path) => {
            let path = path.join(&target.prefix);
            (path.display().to_string(), Target::Folder(path))
        }
        StorageLocation::Bucket { service, bucket, endpoint, region } => {
            let bucket =
                bucket_of(service, bucket, endpoint, region, target, binding.part_size.as_u64()).map_err(wrong)?;
            let at = bucket.endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
            (
                format!("{}://{}/{}{at}", service.scheme(), bucket.bucket, bucket.prefix),
                Target::Bucket(Box::new(bucket)),
            )
        }
    };
    Ok((Place { binding: name.to_owned(), address }, target))
}

fn bucket_of(
    service: Service,
    bucket: String,
    endpoint: Option<String>,
    region: Option<String>,
    target: StorageTarget,
    part_size: u64,
) -> Result<BucketTarget, String> {
    if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) || bucket.contains("..") {
        return Err("its bucket's name has characters that no bucket's name has".into());
    }
    let loopback = endpoint.as_deref().map(check_endpoint).transpose()?.unwrap_or(false);
    let region = match (service, region) {
        // A server of one's own does not mind.
        (Service::S3, None) if endpoint.is_some() => Some("us-east-1".to_owned()),
        (Service::S3, None) => {
            Some(std::env::var("AWS_REGION").map_err(|_| "set `region` (or `?region=` in `url`)".to_owned())?)
        }
        (_, region) => region,
    };
    let keys = match (target.access_key, target.secret_key) {
        (Some(access), Some(secret)) => Some((access, secret)),
        (None, None) => None,
        _ => return Err("set both `access_key` and `secret_key`, or neither".into()),
    };
    let StorageTarget { prefix, session_token, credential, .. } =
        StorageTarget { access_key: None, secret_key: None, ..target };
    Ok(BucketTarget { service, bucket, prefix, endpoint, loopback, region, keys, session_token, credential, part_size })
}

/// An endpoint is https, or http to this machine; true for this machine.
fn check_endpoint(text: &str) -> Result<bool, String> {
    let url = Url::parse(text).map_err(|error| format!("its `endpoint` is no URL ({error})"))?;
    if url.path() != "/" {
        return Err("its `endpoint` is more than a host and a port; write https://HOST:PORT".into());
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(domain)) => domain == "localhost",
        None => return Err("its `endpoint` names no host".into()),
    };
    if url.scheme() == "https" || loopback {
        return Ok(loopback);
    }
    Err("its `endpoint` is http://, which would show the data to everybody on the way; use https:// (http is for this machine only)".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_config::Binding;

    fn binding(url: &str) -> StorageBinding {
        match Binding::parse_ad_hoc(url).unwrap() {
            Binding::Storage(binding) => binding,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn urls_of_all_stores_are_read() {
        for (url, service, loopback) in [
            ("s3://bucket/a/b?endpoint=http://127.0.0.1:9000", Service::S3, true),
            ("s3://bucket?endpoint=http://[::1]:9000", Service::S3, true),
            ("s3://bucket?region=eu-central-1", Service::S3, false),
            ("oss://bucket/p?endpoint=oss-cn-hangzhou.aliyuncs.com", Service::Oss, false),
            ("gcs://bucket/p/", Service::Gcs, false),
            ("azblob://container?endpoint=account.blob.core.windows.net", Service::Azblob, false),
        ] {
            let Ok((_, Target::Bucket(target))) = read("b", &binding(url)) else { panic!("{url}") };
            assert_eq!((target.service, target.loopback), (service, loopback), "{url}");
            assert!(target.prefix.is_empty() || target.prefix.ends_with('/'));
        }
        let mut folder = binding("file:///var/back%20ups");
        folder.prefix = Some("pg".into());
        let Ok((place, Target::Folder(path))) = read("b", &folder) else { panic!() };
        assert_eq!((place.address.as_str(), path.to_str()), ("/var/back ups/pg/", Some("/var/back ups/pg/")));
    }

    #[test]
    fn what_is_unsafe_or_unclear_is_refused() {
        for (url, expected) in [
            ("s3://bucket?endpoint=http://example.com", "use https://"),
            ("s3://bucket?endpoint=http://10.0.0.1:9000", "use https://"),
            ("s3://bucket?endpoint=http://127.0.0.1.example.com", "use https://"),
            ("s3://bucket?endpoint=https://h/path", "a host and a port"),
            ("s3://bucket/a%252e%252e/b?region=x", "prefix"),
            ("s3://key@bucket?region=x", "both `access_key` and `secret_key`"),
        ] {
            let Err(Error::InvalidArgument(said)) = read("b", &binding(url)) else { panic!("{url} was taken") };
            assert!(said.contains(expected), "{url}: {said}");
        }
    }
}
