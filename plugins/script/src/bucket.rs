//! `bucket`.

use crate::cache::bytes;
use crate::desk::{Desk, Slab};
use crate::value::Js;
use rota_sdk::prelude::*;
use rota_sdk::storage::{Listing, Object, PutOptions};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How many bytes an object may have that a script reads: it is held in its memory, more than once.
const WHOLE: usize = 16 << 20;
/// How many objects come at a time.
const BATCH: usize = 256;

/// What a script holds of the bucket.
#[derive(Default)]
pub(crate) struct Buckets {
    open: RefCell<BTreeMap<&'static str, Rc<Bucket>>>,
    /// None: read to its end.
    listings: RefCell<Slab<Option<Listing>>>,
}

/// Calls of `bucket`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let buckets = &desk.buckets;
    if let ("next", [handle]) = (what, args) {
        let taken = buckets.listings.borrow_mut().take(handle)?;
        // One that has been read to its end must not be read again.
        let Some(mut listing) = taken else {
            buckets.listings.borrow_mut().free(handle);
            return Ok(Js::Null);
        };
        let mut objects = Vec::new();
        let mut ended = false;
        while objects.len() < BATCH && !ended {
            match listing.next().await {
                Ok(Some(object)) => objects.push(shown(object)),
                Ok(None) => ended = true,
                Err(error) => {
                    buckets.listings.borrow_mut().free(handle);
                    return Err(error);
                }
            }
        }
        if objects.is_empty() {
            buckets.listings.borrow_mut().free(handle);
            return Ok(Js::Null);
        }
        buckets.listings.borrow_mut().put_back(handle, (!ended).then_some(listing));
        return Ok(Js::List(objects));
    }
    if let ("close", [handle]) = (what, args) {
        drop(buckets.listings.borrow_mut().remove(handle));
        return Ok(Js::Undefined);
    }
    let [slot, args @ ..] = args else { return Err(Desk::unknown("bucket", what)) };
    let slot = desk.storage_slot(slot)?;
    let open = buckets.open.borrow().get(slot.name()).cloned();
    let bucket = match open {
        Some(bucket) => bucket,
        None => {
            let bucket = Rc::new(slot.open().await?);
            buckets.open.borrow_mut().insert(slot.name(), bucket.clone());
            bucket
        }
    };
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
            Ok(buckets.listings.borrow_mut().insert(Some(listing)))
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
