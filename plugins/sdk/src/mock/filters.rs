//! The host's filters on bytes. SHA-256 and Zstandard are real; gzip and encryption only put a marker in front, which their
//! opposites demand.

use super::stream::{Ending, Stream};
use crate::HostError;
use crate::bindings::rota::runbook::bytes::Passed;
use sha2::{Digest, Sha256};

pub(super) type Filtered = (Stream<u8>, Ending<Passed>);

pub(super) const GZIP: &[u8] = b"mock-gzip:";
pub(super) const AGE: &[u8] = b"mock-age:";

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Change what passes. A source that broke breaks the result too.
pub(super) fn filter(
    data: Stream<u8>,
    hashed: bool,
    change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, HostError>,
) -> Filtered {
    let (before, failure) = data.into_parts();
    let bytes_in = before.len() as u64;
    let (after, failure) = match (failure, change(before)) {
        (Some(failure), changed) => (changed.unwrap_or_default(), Some(failure)),
        (None, Err(failure)) => (Vec::new(), Some(failure)),
        (None, Ok(after)) => (after, None),
    };
    let passed = Passed { bytes_in, bytes_out: after.len() as u64, sha256: hashed.then(|| sha256(&after)) };
    let ending = Ending::new(failure.clone().map_or(Ok(passed), Err));
    (Stream::ending_with(after, failure), ending)
}

/// Put a marker in front.
pub(super) fn marked(marker: &'static [u8]) -> impl FnOnce(Vec<u8>) -> Result<Vec<u8>, HostError> {
    move |bytes| Ok([marker, &bytes].concat())
}

/// Take the marker off again.
pub(super) fn unmarked(marker: &'static [u8]) -> impl FnOnce(Vec<u8>) -> Result<Vec<u8>, HostError> {
    move |bytes| {
        bytes
            .strip_prefix(marker)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| super::failed("damaged", "the data is damaged or of another kind"))
    }
}

pub(super) fn zstd(level: i32) -> impl FnOnce(Vec<u8>) -> Result<Vec<u8>, HostError> {
    move |bytes| zstd::encode_all(bytes.as_slice(), level).map_err(|error| super::failed("zstd", &error.to_string()))
}

pub(super) fn unzstd(bytes: Vec<u8>) -> Result<Vec<u8>, HostError> {
    zstd::decode_all(bytes.as_slice()).map_err(|error| super::failed("damaged", &error.to_string()))
}
