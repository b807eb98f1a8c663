//! Bindings to buckets and folders.

use std::ffi::OsString;
use std::path::PathBuf;

use rota_telemetry::Secret;
use url::Url;

use crate::access::{Access, BindingKind};
use crate::address::{Address, Parts, Resolved, TargetError, UrlError, decoded};
use crate::decode::{Fields, of_one_key};
use crate::section::record;
use crate::tree::join;
use crate::{ByteSize, SecretRef};

record! {
    /// A bucket or a folder.
    pub struct StorageBinding {
        /// Where it is: oss://BUCKET/PREFIX, s3://, gcs://, azblob://, or file:///FOLDER; or a reference to such a URL
        /// (env:NAME, file:PATH). Parameters: endpoint, region.
        pub url: Address;
        /// The access key's identifier (azblob: the account's name).
        pub access_key: Option<SecretRef> = None;
        /// The secret half of the access key (azblob: the account's key).
        pub secret_key: Option<SecretRef> = None;
        /// The token that goes with a temporary access key.
        pub session_token: Option<SecretRef> = None;
        /// The credential of a service account (gcs), as JSON.
        pub credential: Option<SecretRef> = None;
        /// The region; over the URL's.
        pub region: Option<String> = None;
        /// The server, as https://HOST; over the URL's. oss and azblob need one.
        pub endpoint: Option<String> = None;
        /// All keys lie below this, and none outside can be reached; added to the URL's path.
        pub prefix: Option<String> = None;
        /// The size of an upload's first parts; it grows where 10,000 parts would not suffice.
        pub part_size: ByteSize = ByteSize::mib(16), within(ByteSize::mib(5), ByteSize::gib(1));
        /// The most that any grant may allow on this binding; without it, whatever is granted.
        pub access: Option<Vec<Access>> = None;
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}

/// What a client needs, secrets read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageTarget {
    /// Where objects lie.
    pub location: StorageLocation,
    /// What every key begins with: empty, or ending in `/`; never with `.`, `..` or an empty part.
    pub prefix: String,
    /// The access key's identifier. Without one, the service's own ways to find one may be tried.
    pub access_key: Option<Secret>,
    /// The secret half of the access key.
    pub secret_key: Option<Secret>,
    /// The token of a temporary access key.
    pub session_token: Option<Secret>,
    /// The credential of a service account, as JSON.
    pub credential: Option<Secret>,
}

/// Where objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageLocation {
    /// In files of a folder.
    Folder(PathBuf),
    /// In a bucket (azblob: container).
    Bucket {
        /// Whose.
        service: BucketService,
        /// Its name.
        bucket: String,
        /// The server, with its scheme.
        endpoint: Option<String>,
        /// The region.
        region: Option<String>,
    },
}

/// A service that stores objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketService {
    /// Alibaba Cloud OSS.
    Oss,
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azblob,
}

impl BucketService {
    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Oss => "oss",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azblob => "azblob",
        }
    }

    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "oss" => Some(Self::Oss),
            "s3" => Some(Self::S3),
            "gcs" | "gs" => Some(Self::Gcs),
            "azblob" => Some(Self::Azblob),
            _ => None,
        }
    }
}

impl StorageBinding {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [url, access, prefix] = ["url", "access", "prefix"].map(|key| fields.origin_of(key));
        let (reader, at) = (fields.reader, fields.at.clone());
        let binding = Self::decode_fields(fields)?;
        reader.parsed(&join(&at, "prefix"), &prefix, clean_prefix(binding.prefix.as_deref().unwrap_or_default()))?;
        if let Some(known) = binding.url.known() {
            reader.parsed(&join(&at, "url"), &url, binding.location_of(&known))?;
        }
        super::check_accesses(
            reader,
            &join(&at, "access"),
            &access,
            BindingKind::Storage,
            binding.access.as_deref().unwrap_or_default(),
        );
        Some(binding)
    }

    /// A binding to this address with every default.
    pub(super) fn at(url: Address) -> Option<Self> {
        Some(Self { url, ..of_one_key("url", "")? })
    }

    /// Reads the secrets, and says what to connect to.
    ///
    /// # Errors
    /// If a secret cannot be had, or a URL that was secret until now is wrong.
    pub fn target(&self) -> Result<StorageTarget, TargetError> {
        self.target_with(|name| std::env::var_os(name))
    }

    /// [`StorageBinding::target`] with another environment than that of the process.
    ///
    /// # Errors
    /// As [`StorageBinding::target`].
    pub fn target_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<StorageTarget, TargetError> {
        let resolved = self.url.resolve_with(&variable)?;
        let located = self.location_of(&resolved)?;
        let secret = |reference: &Option<SecretRef>| {
            reference.as_ref().map(|reference| reference.resolve_with(&variable)).transpose()
        };
        Ok(StorageTarget {
            location: located.location,
            prefix: located.prefix + &clean_prefix(self.prefix.as_deref().unwrap_or_default())?,
            access_key: secret(&self.access_key)?.or(located.access_key),
            secret_key: secret(&self.secret_key)?.or(located.secret_key),
            session_token: secret(&self.session_token)?,
            credential: secret(&self.credential)?,
        })
    }

    /// Whether the URL is one that makes sense.
    pub(super) fn check(&self, resolved: &Resolved) -> Result<(), UrlError> {
        self.location_of(resolved).map(|_| ())
    }

    fn location_of(&self, resolved: &Resolved) -> Result<Located, UrlError> {
        let mut parts = Parts::of(resolved)?;
        if parts.url.scheme() == "file" {
            return folder(parts);
        }
        let Some(service) = BucketService::of(parts.url.scheme()) else {
            let scheme = parts.quoted(parts.url.scheme());
            let message = "a storage binding needs a URL that begins with oss://, s3://, gcs://, azblob:// or file:///, and the scheme here is";
            return Err(UrlError(format!("{message} {scheme}")));
        };
        let scheme = service.scheme();
        let bucket = parts
            .host()?
            .ok_or_else(|| UrlError(format!("the URL names no bucket; write {scheme}://BUCKET/PREFIX")))?;
        if parts.url.port().is_some() {
            return Err(UrlError(format!(
                "write {scheme}://BUCKET/PREFIX?endpoint=https://HOST:PORT for a server of your own"
            )));
        }
        // Taken in any case, so that neither is left over as unknown.
        let (endpoint, region) = (parts.take("endpoint"), parts.take("region"));
        let (endpoint, region) = (self.endpoint.clone().or(endpoint), self.region.clone().or(region));
        let endpoint = endpoint.map(|endpoint| clean_endpoint(&endpoint)).transpose()?;
        if endpoint.is_none() && matches!(service, BucketService::Oss | BucketService::Azblob) {
            let example = if service == BucketService::Oss {
                "oss-cn-hangzhou.aliyuncs.com"
            } else {
                "ACCOUNT.blob.core.windows.net"
            };
            let message =
                format!("{scheme} needs an endpoint, as in {scheme}://{bucket}/PREFIX?endpoint=https://{example}");
            return Err(UrlError(if resolved.is_secret() { format!("{scheme} needs an endpoint") } else { message }));
        }
        let prefix = written_prefix(resolved.text())?;
        let (access_key, secret_key) = (parts.user()?.map(Secret::new), parts.password()?);
        parts.finish()?;
        let location = StorageLocation::Bucket { service, bucket, endpoint, region };
        Ok(Located { location, prefix, access_key, secret_key })
    }
}

/// What a URL says.
struct Located {
    location: StorageLocation,
    prefix: String,
    access_key: Option<Secret>,
    secret_key: Option<Secret>,
}

fn folder(parts: Parts<'_>) -> Result<Located, UrlError> {
    let path = parts.url.to_file_path().ok().filter(|_| parts.url.host_str().unwrap_or_default().is_empty());
    let path =
        path.ok_or_else(|| UrlError("a folder is written with three slashes, as in file:///srv/backups".to_owned()))?;
    parts.finish()?;
    let location = StorageLocation::Folder(path);
    Ok(Located { location, prefix: String::new(), access_key: None, secret_key: None })
}

/// The path of a URL as it was written: parsing it as a URL would resolve `..` silently.
fn written_prefix(url: &str) -> Result<String, UrlError> {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let path = after.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once('/').map_or("", |(_, path)| path);
    clean_prefix(&decoded(path, "the path")?)
}

/// A prefix that ends in `/`, or is empty, and leads nowhere else.
fn clean_prefix(text: &str) -> Result<String, UrlError> {
    let text = text.trim_matches('/');
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(UrlError("a prefix holds no control characters or backslashes".to_owned()));
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(UrlError("a prefix is made of names between single slashes; \".\" and \"..\" are none".to_owned()));
    }
    Ok(format!("{text}/"))
}

fn clean_endpoint(text: &str) -> Result<String, UrlError> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let wrong = || UrlError("an endpoint is written as https://HOST or http://HOST:PORT".to_owned());
    let url = Url::parse(&whole).map_err(|_| wrong())?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "https" | "http") || !plain {
        return Err(wrong());
    }
    Ok(whole.trim_end_matches('/').to_owned())
}
