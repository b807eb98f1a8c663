//! Calls that change something.

use super::cache::SetCondition;
use super::{Call, decide, named};
use crate::pattern::shown;
use crate::values::Entries;
use rota_authority::{CacheAccess, EffectClass, Exact};
use rota_contract::Error;

impl Call {
    pub(super) async fn unlink(&self, keys: Vec<Vec<u8>>) -> Result<u64, Error> {
        let authorized = self.changes("cache.unlink", CacheAccess::Delete, &keys)?;
        crate::client::few(keys.len())?;
        let detail = format!("unlinks {} keys: {}", keys.len(), named(&keys));
        match decide(&authorized, String::new(), detail, EffectClass::Destructive, Exact::of(&keys)).await? {
            None => self.client().existing(&authorized, &keys).await,
            Some(permit) => {
                let result = self.client().unlink(&permit, keys).await;
                permit.conclude(result, |unlinked| format!("{unlinked} keys unlinked")).await
            }
        }
    }

    pub(super) async fn set(
        &self,
        key: Vec<u8>,
        value: Vec<u8>,
        lifetime: Option<u64>,
        condition: SetCondition,
    ) -> Result<bool, Error> {
        let authorized = self.changes("cache.set", CacheAccess::Write, [&key])?;
        if lifetime == Some(0) {
            return Err(Error::InvalidArgument("a key that is set lives at least a millisecond".into()));
        }
        let (only, class) = match condition {
            SetCondition::Always => ("", EffectClass::Destructive),
            SetCondition::IfAbsent => (" where there is none", EffectClass::Write),
            SetCondition::IfPresent => (" where there is one", EffectClass::Destructive),
        };
        let lives = lifetime.map(|milliseconds| format!(" for {milliseconds} ms")).unwrap_or_default();
        let detail = format!("sets a string of {} bytes{lives}{only}", value.len());
        // What is shown says all but the key and the value.
        let exact = Exact::of([detail.as_bytes(), &key, &value]);
        match decide(&authorized, shown(&key), detail, class, exact).await? {
            None => Ok(true),
            Some(permit) => {
                let result = self.client().set(&permit, &key, value, lifetime, condition).await;
                permit.conclude(result, |set| if *set { "set".into() } else { "left as it was".into() }).await
            }
        }
    }

    pub(super) async fn expire(&self, key: Vec<u8>, milliseconds: Option<u64>) -> Result<bool, Error> {
        let authorized = self.changes("cache.expire", CacheAccess::Write, [&key])?;
        let (detail, class) = match milliseconds {
            Some(milliseconds) => (format!("lets it expire in {milliseconds} ms"), EffectClass::Destructive),
            None => ("lets it live without end".to_owned(), EffectClass::Write),
        };
        let exact = Exact::of([detail.as_bytes(), &key]);
        match decide(&authorized, shown(&key), detail, class, exact).await? {
            None => Ok(self.client().existing(&authorized, &[key]).await? == 1),
            Some(permit) => {
                let result = self.client().expire(&permit, &key, milliseconds).await;
                permit
                    .conclude(result, |changed| if *changed { "changed".into() } else { "left as it was".into() })
                    .await
            }
        }
    }

    pub(super) async fn hash_set(&self, key: Vec<u8>, entries: Entries) -> Result<u64, Error> {
        let authorized = self.changes("cache.hash-set", CacheAccess::Write, [&key])?;
        let detail = format!("sets {} fields of a hash", entries.len());
        let parts = entries.iter().flat_map(|(field, value)| [field.as_slice(), value.as_slice()]);
        let exact = Exact::of([key.as_slice()].into_iter().chain(parts));
        match decide(&authorized, shown(&key), detail, EffectClass::Destructive, exact).await? {
            None => Ok(0),
            Some(permit) => {
                let result = self.client().hash_set(&permit, &key, entries).await;
                permit.conclude(result, |new| format!("set, {new} of them new")).await
            }
        }
    }

    pub(super) async fn hash_delete(&self, key: Vec<u8>, fields: Vec<Vec<u8>>) -> Result<u64, Error> {
        let authorized = self.changes("cache.hash-delete", CacheAccess::Delete, [&key])?;
        let detail = format!("removes {} fields of a hash: {}", fields.len(), named(&fields));
        let exact = Exact::of([&key].into_iter().chain(&fields));
        match decide(&authorized, shown(&key), detail, EffectClass::Destructive, exact).await? {
            None => Ok(0),
            Some(permit) => {
                let result = self.client().hash_delete(&permit, &key, fields).await;
                permit.conclude(result, |removed| format!("{removed} fields removed")).await
            }
        }
    }
}
