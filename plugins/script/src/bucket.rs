//! `bucket`.

use crate::cache::bytes;
use crate::desk::{Desk, Listed, Listings, Opened};
use crate::flow::{Flow, Source, WHOLE};
use crate::value::Js;
use rota_sdk::prelude::*;
use rota_sdk::storage::{Listing, Object, PutOptions, Stored};
use sha2::{Digest as _, Sha256};

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
        ("get", [Js::Text(name), options]) => {
            let offset = whole(options, "offset")?;
            let reading = match (offset, whole(options, "length")?) {
                (None, None) => bucket.get(name).await?,
                (offset, length) => bucket.get_range(name, offset.unwrap_or(0), length).await?,
            };
            let flow = Flow::new(name, reading.stream).from(Source::Counted(reading.ending));
            Ok(desk.flows.insert(flow))
        }
        ("getText", [Js::Text(name)]) => match String::from_utf8(bucket.get_bytes(name, WHOLE).await?) {
            Ok(text) => Ok(Js::Text(text)),
            Err(_) => Err(Error::new(format!("{name} is not UTF-8")).hint("bucket.get(name) gives its bytes")),
        },
        ("put", [Js::Text(name), data, options]) => {
            let data = bytes(data)?;
            // So that the content is part of what a plan shows and a run is held to.
            let sha256: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
            let wanted = put_options(options)?.size_estimate(data.len() as u64).sha256(sha256);
            Ok(stored(bucket.put(name, data, wanted).await?))
        }
        ("put-stream", [Js::Text(name), flow, options]) => {
            let mut wanted = put_options(options)?;
            if let Js::Text(sha256) = options.member("sha256") {
                wanted = wanted.sha256(sha256.clone());
            }
            if let Some(bytes) = whole(options, "size")? {
                wanted = wanted.size_estimate(bytes);
            }
            let (stream, watch) = desk.flows.take(flow)?.into_parts();
            let put = bucket.put(name, stream, wanted).await;
            watch.after(desk, put).await.map(stored)
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

fn put_options(options: &Js) -> Result<PutOptions> {
    let mut wanted = match options.member("if") {
        Js::Undefined | Js::Null => PutOptions::replace(),
        Js::Text(word) if word == "absent" => PutOptions::if_absent(),
        _ => return Err(Error::new("`if` is \"absent\"")),
    };
    if let Js::Text(media_type) = options.member("mediaType") {
        wanted = wanted.media_type(media_type.clone());
    }
    Ok(wanted)
}

/// A number of bytes.
fn whole(options: &Js, name: &str) -> Result<Option<u64>> {
    match options.member(name) {
        Js::Undefined | Js::Null => Ok(None),
        Js::Number(number) if *number >= 0.0 && number.fract() == 0.0 => Ok(Some(*number as u64)),
        Js::Big(number) if *number >= 0 => Ok(Some(number.unsigned_abs())),
        _ => Err(Error::new(format!("`{name}` is a whole number of bytes"))),
    }
}

fn stored(stored: Stored) -> Js {
    Js::object([("size", Js::count(stored.size)), ("sha256", Js::Text(stored.sha256))])
}

fn shown(object: Object) -> Js {
    Js::object([
        ("name", Js::Text(object.name)),
        ("size", Js::count(object.size)),
        ("modified", object.modified.map_or(Js::Null, Js::Instant)),
        ("etag", object.etag.map_or(Js::Null, Js::Text)),
    ])
}
