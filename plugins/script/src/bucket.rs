//! `bucket`.

use crate::cache::bytes;
use crate::desk::{Desk, Listed, Listings, Opened};
use crate::value::Js;
use rota_sdk::prelude::*;
use rota_sdk::storage::{Listing, Object, PutOptions};
use sha2::{Digest as _, Sha256};

/// How many bytes an object may have that a script reads: it is held in its memory, more than once.
const WHOLE: usize = 16 << 20;
/// How many objects come at a time.
const BATCH: usize = 256;

/// What a script holds of the bucket.
#[derive(Default)]
pub(crate) struct Buckets {
    open: Opened<Bucket>,
    listings: Listings<Listing>,
}

impl Listed for Listing {
    async fn next(&mut self) -> Result<Option<Js>> {
        Ok(Listing::next(self).await?.map(shown))
    }
}

impl Buckets {
    /// Let go of everything.
    pub(crate) fn forget(&self) {
        self.listings.forget();
        self.open.forget();
    }
}

/// Calls of `bucket`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let buckets = &desk.buckets;
    match (what, args) {
        ("next", [handle]) => return buckets.listings.next(handle, BATCH).await,
        ("close", [handle]) => {
            buckets.listings.close(handle);
            return Ok(Js::Undefined);
        }
        _ => {}
    }
    let [slot, args @ ..] = args else { return Err(Desk::unknown("bucket", what)) };
    let slot = desk.storage_slot(slot)?;
    let bucket = buckets.open.or_open(slot.name(), slot.open()).await?;
    match (what, args) {
        ("get", [Js::Text(name)]) => Ok(Js::Bytes(bucket.get_bytes(name, WHOLE).await?)),
        ("getText", [Js::Text(name)]) => match String::from_utf8(bucket.get_bytes(name, WHOLE).await?) {
            Ok(text) => Ok(Js::Text(text)),
            Err(_) => Err(Error::new(format!("{name} is not UTF-8")).hint("bucket.get(name) gives its bytes")),
        },
        ("put", [Js::Text(name), data, options]) => {
            let mut wanted = match options.member("if") {
                Js::Undefined | Js::Null => PutOptions::replace(),
                Js::Text(word) if word == "absent" => PutOptions::if_absent(),
                _ => return Err(Error::new("`if` is \"absent\"")),
            };
            if let Js::Text(media_type) = options.member("mediaType") {
                wanted = wanted.media_type(media_type.clone());
            }
            let data = bytes(data)?;
            // So that the content is part of what a plan shows and a run is held to.
            let sha256: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
            let wanted = wanted.size_estimate(data.len() as u64).sha256(sha256);
            let stored = bucket.put(name, data, wanted).await?;
            Ok(Js::object([("size", Js::count(stored.size)), ("sha256", Js::Text(stored.sha256))]))
        }
        ("stat", [Js::Text(name)]) => Ok(bucket.stat(name).await?.map_or(Js::Null, shown)),
        ("list", [prefix]) => {
            let prefix =
                if prefix.is_nothing() { String::new() } else { String::from_utf8(bytes(prefix)?).unwrap_or_default() };
            let listing = bucket.list(&prefix).await?;
            Ok(buckets.listings.insert(listing))
        }
        ("delete", [Js::Text(name)]) => bucket.delete(name).await.map(|()| Js::Undefined),
        _ => Err(Desk::unknown("bucket", what)),
    }
}

fn shown(object: Object) -> Js {
    Js::object([
        ("name", Js::Text(object.name)),
        ("size", Js::count(object.size)),
        ("modified", object.modified.map_or(Js::Null, Js::Instant)),
        ("etag", object.etag.map_or(Js::Null, Js::Text)),
    ])
}
