//! Keys by name: strings, lifetimes, fields of hashes.

use crate::client::{Client, Command, few};
use crate::wit::{Lifetime, SetCondition};
use bytes::Bytes;
use fred::prelude::Value;
use rota_authority::{Authorized, Cache, Permit};
use rota_contract::Error;

/// Fields with their values.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

impl Client {
    /// The prefix that the operator protects a key with.
    pub fn protection(&self, key: &[u8]) -> Option<String> {
        self.protected.of(key).map(crate::pattern::shown)
    }

    /// The value of a string of at most so many bytes.
    ///
    /// # Errors
    /// `quota` for a longer one; what the server says.
    pub async fn get(&self, authorized: &Authorized<Cache>, key: &[u8], most: usize) -> Result<Option<Vec<u8>>, Error> {
        self.check(authorized)?;
        let session = self.session().await?;
        let length = self.send(&session, on("STRLEN", key)).await?.as_u64().unwrap_or(0);
        self.fits(length, most)?;
        Ok(self.send(&session, on("GET", key)).await?.into_owned_bytes())
    }

    /// Set a string.
    ///
    /// # Errors
    /// What the server says.
    pub async fn set(
        &self,
        permit: &Permit<Cache>,
        key: &[u8],
        value: Vec<u8>,
        lifetime: Option<u64>,
        condition: SetCondition,
    ) -> Result<bool, Error> {
        self.check(permit.authorized())?;
        let mut command = on("SET", key).arg(value);
        if let Some(milliseconds) = lifetime {
            command = command.arg("PX").number(milliseconds);
        }
        let command = match condition {
            SetCondition::Always => command,
            SetCondition::IfAbsent => command.arg("NX"),
            SetCondition::IfPresent => command.arg("XX"),
        };
        Ok(!self.once(command).await?.is_null())
    }

    /// How long a key lives.
    ///
    /// # Errors
    /// What the server says.
    pub async fn ttl(&self, authorized: &Authorized<Cache>, key: &[u8]) -> Result<Lifetime, Error> {
        self.check(authorized)?;
        match self.once(on("PTTL", key)).await?.as_i64() {
            Some(-2) => Ok(Lifetime::Missing),
            Some(-1) => Ok(Lifetime::Unlimited),
            Some(left) => u64::try_from(left).map(Lifetime::ExpiresIn).map_err(|_| self.settings.place.nonsense()),
            None => Err(self.settings.place.nonsense()),
        }
    }

    /// Let a key expire, or never.
    ///
    /// # Errors
    /// What the server says.
    pub async fn expire(&self, permit: &Permit<Cache>, key: &[u8], milliseconds: Option<u64>) -> Result<bool, Error> {
        self.check(permit.authorized())?;
        let command = match milliseconds {
            Some(milliseconds) => on("PEXPIRE", key).number(milliseconds),
            None => on("PERSIST", key),
        };
        self.count(command).await.map(|changed| changed == 1)
    }

    /// How many of some keys there are.
    ///
    /// # Errors
    /// `invalid-argument` for too many keys; what the server says.
    pub async fn existing(&self, authorized: &Authorized<Cache>, keys: &[Vec<u8>]) -> Result<u64, Error> {
        self.check(authorized)?;
        few(keys.len())?;
        let session = self.session().await?;
        let each = keys.iter().map(|key| self.send(&session, on("EXISTS", key)));
        Ok(futures::future::try_join_all(each).await?.iter().filter_map(Value::as_u64).sum())
    }

    /// Unlink keys by name, and say how many there were.
    ///
    /// # Errors
    /// What the server says.
    pub async fn unlink(&self, permit: &Permit<Cache>, keys: Vec<Vec<u8>>) -> Result<u64, Error> {
        self.check(permit.authorized())?;
        // Without keys the server takes the command for a wrong one.
        if keys.is_empty() {
            return Ok(0);
        }
        let session = self.session().await?;
        self.unlink_batch(&session, keys.into_iter().map(Bytes::from).collect()).await
    }

    /// A field of a hash of at most so many bytes.
    ///
    /// # Errors
    /// `quota` for a longer one; what the server says.
    pub async fn hash_get(
        &self,
        authorized: &Authorized<Cache>,
        key: &[u8],
        field: Vec<u8>,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.check(authorized)?;
        let session = self.session().await?;
        let length = self.send(&session, on("HSTRLEN", key).arg(field.clone())).await?.as_u64().unwrap_or(0);
        self.fits(length, most)?;
        Ok(self.send(&session, on("HGET", key).arg(field)).await?.into_owned_bytes())
    }

    /// All fields of a hash, of at most so many bytes together.
    ///
    /// # Errors
    /// `quota` for more; what the server says.
    pub async fn hash_entries(
        &self,
        authorized: &Authorized<Cache>,
        key: &[u8],
        most: usize,
    ) -> Result<Entries, Error> {
        self.check(authorized)?;
        let session = self.session().await?;
        let mut entries = std::collections::BTreeMap::new();
        let (mut cursor, mut bytes) = (Bytes::from_static(b"0"), 0_u64);
        loop {
            let answer = self.send(&session, on("HSCAN", key).arg(cursor).arg("COUNT").number(100)).await?;
            let mut answer = answer.into_array().into_iter();
            cursor = answer.next().and_then(Value::into_bytes).ok_or_else(|| self.settings.place.nonsense())?;
            let mut values = answer.next().map(Value::into_array).unwrap_or_default().into_iter();
            while let (Some(field), Some(value)) = (values.next(), values.next()) {
                let (field, value) =
                    (field.into_owned_bytes().unwrap_or_default(), value.into_owned_bytes().unwrap_or_default());
                bytes += (field.len() + value.len()) as u64;
                entries.insert(field, value);
            }
            self.fits(bytes, most)?;
            if cursor == b"0"[..] {
                return Ok(entries.into_iter().collect());
            }
        }
    }

    /// Set fields of a hash.
    ///
    /// # Errors
    /// What the server says.
    pub async fn hash_set(&self, permit: &Permit<Cache>, key: &[u8], entries: Entries) -> Result<u64, Error> {
        self.check(permit.authorized())?;
        if entries.is_empty() {
            return Ok(0);
        }
        let command =
            entries.into_iter().fold(on("HSET", key), |command, (field, value)| command.arg(field).arg(value));
        self.count(command).await
    }

    /// Remove fields of a hash.
    ///
    /// # Errors
    /// What the server says.
    pub async fn hash_delete(&self, permit: &Permit<Cache>, key: &[u8], fields: Vec<Vec<u8>>) -> Result<u64, Error> {
        self.check(permit.authorized())?;
        if fields.is_empty() {
            return Ok(0);
        }
        self.count(fields.into_iter().fold(on("HDEL", key), Command::arg)).await
    }

    async fn count(&self, command: Command) -> Result<u64, Error> {
        self.once(command).await?.as_u64().ok_or_else(|| self.settings.place.nonsense())
    }

    fn fits(&self, bytes: u64, most: usize) -> Result<(), Error> {
        if bytes <= most as u64 {
            return Ok(());
        }
        Err(Error::Quota(format!(
            "the value has {bytes} bytes or more, and a call carries {most} (limit `host_call_bytes`); raise it with [jobs.NAME.limits] host_call_bytes"
        )))
    }
}

fn on(name: &'static str, key: &[u8]) -> Command {
    Command::new(name).arg(Bytes::copy_from_slice(key))
}
