//! Uploads that nobody finished: what a host that was killed leaves at a store, invisible and paid for. OpenDAL cannot list them,
//! so the two requests that it takes are made here, for S3 and OSS; Azure forgets unfinished blocks by itself after a week, and
//! Google wants a lifecycle rule.

use super::Bucket;
use crate::client::Leftover;
use crate::target::Service;
use http::{Method, Request, StatusCode};
use opendal::{Buffer, ErrorKind};
use reqsign_core::{Context, OsEnv, Signer};
use rota_contract::{Error, Fault};
use rota_telemetry::Secret;
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// A page of the store's list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
    #[serde(rename = "Upload")]
    uploads: Vec<Unfinished>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Unfinished {
    key: String,
    upload_id: String,
    initiated: String,
}

/// Signs requests of one store.
enum Signing {
    S3(Signer<reqsign_aws_v4::Credential>),
    Oss(Signer<reqsign_aliyun_oss::Credential>),
}

impl Bucket {
    /// The unfinished uploads below the binding's prefix that began before `older_than`, with those aborted where `remove` says so.
    pub(crate) async fn leftovers(&self, older_than: Duration, remove: bool) -> Result<Vec<Leftover>, Error> {
        let Some(signing) = self.signing()? else { return Ok(Vec::new()) };
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let (mut found, mut markers) = (Vec::new(), (String::new(), String::new()));
        loop {
            let page = self.page(&signing, &markers).await?;
            for upload in page.uploads {
                let Some(name) = upload.key.strip_prefix(&self.target.prefix).map(str::to_owned) else { continue };
                let begun = chrono::DateTime::parse_from_rfc3339(&upload.initiated).ok().map(SystemTime::from);
                // One whose time is not known may be under way.
                if begun.is_none_or(|begun| begun > limit) {
                    continue;
                }
                if remove {
                    self.abort(&signing, &upload).await?;
                }
                found.push(Leftover { name, begun });
            }
            if !page.is_truncated || (page.next_key_marker.is_empty() && page.next_upload_id_marker.is_empty()) {
                return Ok(found);
            }
            markers = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn page(&self, signing: &Signing, (key, upload): &(String, String)) -> Result<Page, Error> {
        let mut query = format!("uploads&prefix={}", encoded(&self.target.prefix, false));
        if !key.is_empty() {
            query.push_str(&format!("&key-marker={}&upload-id-marker={}", encoded(key, false), encoded(upload, false)));
        }
        let (status, body) = self.request(signing, Method::GET, "", &query).await?;
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        quick_xml::de::from_reader(&*body).map_err(|_| self.refused(status, b"the list of uploads could not be read"))
    }

    async fn abort(&self, signing: &Signing, upload: &Unfinished) -> Result<(), Error> {
        let query = format!("uploadId={}", encoded(&upload.upload_id, false));
        let (status, body) = self.request(signing, Method::DELETE, &encoded(&upload.key, true), &query).await?;
        // Somebody else was faster.
        if status.is_success() || status == StatusCode::NOT_FOUND { Ok(()) } else { Err(self.refused(status, &body)) }
    }

    async fn request(
        &self,
        signing: &Signing,
        method: Method,
        key: &str,
        query: &str,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let failed = |error: opendal::Error| self.place.remote(None, &error);
        let unexpected = |said: String| failed(opendal::Error::new(ErrorKind::Unexpected, said));
        let uri = format!("{}/{key}?{query}", self.base());
        let (mut parts, ()) = Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .map_err(|_| unexpected("the request cannot be made".into()))?
            .into_parts();
        match signing {
            Signing::S3(signer) => signer.sign(&mut parts, None).await,
            Signing::Oss(signer) => signer.sign(&mut parts, None).await,
        }
        .map_err(|_| unexpected(crate::error::UNSIGNED.into()))?;
        let response = self
            .operator
            .context()
            .http_transport()
            .send(Request::from_parts(parts, Buffer::new()))
            .await
            .map_err(failed)?;
        Ok((response.status(), response.into_body().to_vec()))
    }

    /// The bucket's own address.
    fn base(&self) -> String {
        let target = &self.target;
        let endpoint = target
            .endpoint
            .clone()
            .unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", target.region.as_deref().unwrap_or("us-east-1")));
        match (target.service, endpoint.split_once("://")) {
            (Service::Oss, Some((scheme, host))) => format!("{scheme}://{}.{host}", target.bucket),
            _ => format!("{endpoint}/{}", target.bucket),
        }
    }

    fn signing(&self) -> Result<Option<Signing>, Error> {
        let target = &self.target;
        let context = Context::new().with_env(OsEnv).with_http_send(self.operator.context().http_transport().clone());
        let keys = target.keys.as_ref().map(|(access, secret)| (access.expose(), secret.expose()));
        let token = target.session_token.as_ref().map_or("", Secret::expose);
        match target.service {
            Service::S3 => {
                use reqsign_aws_v4::{DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
                let signer = RequestSigner::new("s3", target.region.as_deref().unwrap_or("us-east-1"));
                Ok(Some(Signing::S3(match keys {
                    Some((access, secret)) if token.is_empty() => {
                        Signer::new(context, StaticCredentialProvider::new(access, secret), signer)
                    }
                    Some((access, secret)) => Signer::new(
                        context,
                        StaticCredentialProvider::new(access, secret).with_session_token(token),
                        signer,
                    ),
                    None => Signer::new(context, DefaultCredentialProvider::builder().build(), signer),
                })))
            }
            Service::Oss => {
                use reqsign_aliyun_oss::{DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
                let signer = RequestSigner::new(&target.bucket);
                Ok(Some(Signing::Oss(match keys {
                    Some((access, secret)) if token.is_empty() => {
                        Signer::new(context, StaticCredentialProvider::new(access, secret), signer)
                    }
                    Some((access, secret)) => Signer::new(
                        context,
                        StaticCredentialProvider::new(access, secret).with_security_token(token),
                        signer,
                    ),
                    None => Signer::new(context, DefaultCredentialProvider::new(), signer),
                })))
            }
            Service::Azblob => Ok(None),
            Service::Gcs => Err(Error::Failed(Fault {
                code: "unsupported".into(),
                message: format!(
                    "unfinished uploads of binding `{}` ({}) cannot be listed here; give the bucket a lifecycle rule that aborts incomplete multipart uploads",
                    self.place.binding, self.place.address
                ),
                detail: None,
                retryable: false,
            })),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let kind = if status == StatusCode::FORBIDDEN { ErrorKind::PermissionDenied } else { ErrorKind::Unexpected };
        let text = String::from_utf8_lossy(body);
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map_or_else(|| status.as_u16().to_string(), |(code, _)| code.to_owned());
        self.place.remote(None, &opendal::Error::new(kind, format!("code: \"{code}\"")))
    }
}

/// Percent-encoded as S3 signs it; `/` stays in a path.
fn encoded(text: &str, path: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (path && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let page: Page = quick_xml::de::from_str(
            "<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
             <Upload><Key>p/a</Key><UploadId>1</UploadId><Initiated>2026-11-23T10:00:00.000Z</Initiated><Owner><ID>x</ID></Owner></Upload>\
             <Upload><Key>p/b</Key><UploadId>2</UploadId><Initiated>2026-11-23T10:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>",
        )
        .unwrap();
        assert!(page.is_truncated);
        assert_eq!(page.uploads.iter().map(|upload| &*upload.key).collect::<Vec<_>>(), ["p/a", "p/b"]);
        let none: Page = quick_xml::de::from_str(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
        )
        .unwrap();
        assert!(none.uploads.is_empty());
    }

    #[test]
    fn keys_are_encoded_for_a_path_and_a_query() {
        assert_eq!(encoded("a b/ä+", true), "a%20b/%C3%A4%2B");
        assert_eq!(encoded("a/b", false), "a%2Fb");
    }
}
