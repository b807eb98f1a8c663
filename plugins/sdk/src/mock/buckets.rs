//! A bucket in memory.

use super::stream::Stream;
use crate::HostError;
use crate::bindings::rota::runbook::storage::{Object, PutOptions, Range, Stored};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, (Vec<u8>, i64)>,
    failing: BTreeMap<String, HostError>,
}

/// The bucket in a slot. Clones are the same bucket.
#[derive(Clone, Default)]
pub struct StorageMock(Rc<RefCell<Inner>>);

impl StorageMock {
    /// Put an object there beforehand.
    pub fn object(&self, name: &str, bytes: impl Into<Vec<u8>>) -> &Self {
        self.0.borrow_mut().objects.insert(name.to_owned(), (bytes.into(), 0));
        self
    }

    /// Fail every put and get of a name.
    pub fn fails(&self, name: &str, error: HostError) -> &Self {
        self.0.borrow_mut().failing.insert(name.to_owned(), error);
        self
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().objects.keys().cloned().collect()
    }

    /// An object's bytes.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.0.borrow().objects.get(name).map(|(bytes, _)| bytes.clone())
    }

    fn failing(&self, name: &str) -> Result<(), HostError> {
        self.0.borrow().failing.get(name).cloned().map_or(Ok(()), Err)
    }

    pub(super) fn put(
        &self,
        name: &str,
        data: Stream<u8>,
        options: &PutOptions,
        now: i64,
    ) -> Result<Stored, HostError> {
        self.failing(name)?;
        if options.if_absent && self.0.borrow().objects.contains_key(name) {
            return Err(HostError::Conflict(format!("{name} is already there")));
        }
        let bytes = data.into_whole()?;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        if let Some(wanted) = options.sha256.as_ref().filter(|wanted| **wanted != sha256) {
            return Err(super::failed("checksum", &format!("{name} has SHA-256 {sha256}, not {wanted}")));
        }
        let size = bytes.len() as u64;
        self.0.borrow_mut().objects.insert(name.to_owned(), (bytes, now));
        Ok(Stored { size, sha256, etag: None })
    }

    pub(super) fn stat(&self, name: &str) -> Result<Object, HostError> {
        let inner = self.0.borrow();
        let (bytes, modified) =
            inner.objects.get(name).ok_or_else(|| HostError::NotFound(format!("{name} is not in the bucket")))?;
        Ok(Object { name: name.to_owned(), size: bytes.len() as u64, modified: Some(*modified), etag: None })
    }

    pub(super) fn get(&self, name: &str, range: Option<Range>) -> Result<(Object, Vec<u8>), HostError> {
        self.failing(name)?;
        let object = self.stat(name)?;
        let mut bytes = self.bytes(name).unwrap_or_default();
        if let Some(Range { offset, length }) = range {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
            bytes = bytes[start..start.saturating_add(length).min(bytes.len())].to_vec();
        }
        Ok((object, bytes))
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<Object> {
        self.names().iter().filter(|name| name.starts_with(prefix)).filter_map(|name| self.stat(name).ok()).collect()
    }

    pub(super) fn delete(&self, name: &str) {
        self.0.borrow_mut().objects.remove(name);
    }
}
