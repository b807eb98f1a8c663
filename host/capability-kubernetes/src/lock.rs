//! Locks: Leases that the host renews.

use crate::client::Client;
use crate::error::clean;
use crate::reach::Place;
use crate::request::Call;
use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use rota_authority::{Authorized, Kubernetes, Permit};
use rota_contract::Error;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A lock that a run holds. Dropped, it is given back.
pub(crate) struct Lock {
    held: Held,
    lost: Arc<AtomicBool>,
    renewing: tokio::task::AbortHandle,
    released: bool,
}

#[derive(Clone)]
struct Held {
    client: Client,
    place: Place,
    holder: String,
    seconds: u32,
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Client {
    /// Who holds a lock now, if anybody does; and the Lease, if there is one.
    pub(crate) async fn holder(
        &self,
        _: &Authorized<Kubernetes>,
        place: &Place,
    ) -> Result<(Option<String>, Option<Value>), Error> {
        let lease = match self.requests.json(Call::get(&format!("get {}", place.shown()), &place.path(), &[])).await {
            Ok(lease) => lease,
            Err(Error::NotFound(_)) => return Ok((None, None)),
            Err(error) => return Err(error),
        };
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(clean);
        let renewed = spec["renewTime"].as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        let seconds = spec["leaseDurationSeconds"].as_i64().unwrap_or(0);
        let lives = renewed.is_some_and(|renewed| Utc::now() - renewed.to_utc() < chrono::Duration::seconds(seconds));
        Ok((holder.filter(|_| lives), Some(lease)))
    }

    /// Take a lock that nobody holds.
    pub(crate) async fn lock(
        &self,
        permit: &Permit<Kubernetes>,
        place: &Place,
        holder: &str,
        seconds: u32,
    ) -> Result<Lock, Error> {
        let (by, lease) = self.holder(permit.authorized(), place).await?;
        if let Some(by) = by.filter(|by| by != holder) {
            return Err(taken(place, &by));
        }
        let held = Held { client: self.clone(), place: place.clone(), holder: holder.to_owned(), seconds };
        held.write(lease.as_ref(), true).await.map_err(|error| match error {
            Error::Conflict(_) => taken(place, "somebody who was faster"),
            other => other,
        })?;
        let lost = Arc::new(AtomicBool::new(false));
        let renewing = tokio::spawn(held.clone().renew(lost.clone())).abort_handle();
        Ok(Lock { held, lost, renewing, released: false })
    }
}

/// What a lock is that somebody else holds.
pub(crate) fn taken(place: &Place, by: &str) -> Error {
    Error::Conflict(format!(
        "the lock {}/{} is held by {by}; wait until it ends, or look at what it does",
        place.namespace, place.name
    ))
}

impl Held {
    /// Write the Lease as ours, if it is still what was read.
    async fn write(&self, before: Option<&Value>, take: bool) -> Result<(), Error> {
        let mut lease = before.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": self.place.name, "namespace": self.place.namespace },
                "spec": { "leaseTransitions": 0 },
            })
        });
        let spec = &mut lease["spec"];
        if take {
            let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0) + i64::from(before.is_some());
            spec["leaseTransitions"] = transitions.into();
            spec["acquireTime"] = now().into();
        }
        spec["holderIdentity"] = self.holder.clone().into();
        spec["leaseDurationSeconds"] = self.seconds.into();
        spec["renewTime"] = now().into();
        let (method, path) = match before {
            None => (Method::POST, self.place.resource.path(&self.place.namespace)),
            Some(_) => (Method::PUT, self.place.path()),
        };
        self.send("write", method, &path, &lease).await.map(drop)
    }

    async fn read(&self) -> Result<Value, Error> {
        let what = format!("get {}", self.place.shown());
        self.client.requests.json(Call::get(&what, &self.place.path(), &[])).await
    }

    async fn send(&self, verb: &str, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        let what = format!("{verb} {}", self.place.shown());
        let body = Some(("application/json", body.to_string().into_bytes()));
        self.client.requests.json(Call { what: &what, method, path, query: &[], body }).await
    }

    fn is_ours(&self, lease: &Value) -> bool {
        lease["spec"]["holderIdentity"] == self.holder.as_str()
    }

    /// Renew it, until it is lost.
    async fn renew(self, lost: Arc<AtomicBool>) {
        let lasts = Duration::from_secs(self.seconds.into());
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(lasts / 3).await;
            let asked = Instant::now();
            let result = async {
                let lease = self.read().await?;
                if !self.is_ours(&lease) {
                    return Ok(false);
                }
                self.write(Some(&lease), false).await.map(|()| true)
            };
            match tokio::time::timeout(lasts / 3, result).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false) | Err(Error::NotFound(_))) => break,
                // It may go on after a while.
                Ok(Err(_)) | Err(_) => {}
            }
            if renewed.elapsed() >= lasts {
                break;
            }
        }
        lost.store(true, Ordering::Relaxed);
    }

    /// Give it back, unless somebody else has it.
    async fn give_back(&self) -> Result<(), Error> {
        let mut lease = match self.read().await {
            Err(Error::NotFound(_)) => return Ok(()),
            read => read?,
        };
        if !self.is_ours(&lease) {
            return Ok(());
        }
        lease["spec"]["holderIdentity"] = "".into();
        lease["spec"]["leaseDurationSeconds"] = 1.into();
        match self.send("write", Method::PUT, &self.place.path(), &lease).await {
            Ok(_) | Err(Error::Conflict(_) | Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Lock {
    /// Whether it is still held.
    ///
    /// # Errors
    /// `conflict` when it was lost.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.lost.load(Ordering::Relaxed) {
            let place = &self.held.place;
            return Err(Error::Conflict(format!(
                "the lock {}/{} was lost: it could not be renewed in time, or somebody took it",
                place.namespace, place.name
            )));
        }
        Ok(())
    }

    /// Give it back.
    pub(crate) fn release(&mut self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.renewing.abort();
        self.released = true;
        let held = self.held.clone();
        async move { held.give_back().await }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewing.abort();
        if !self.released {
            let (held, token) = (self.held.clone(), crate::pending::token());
            tokio::spawn(async move {
                // What cannot be given back ends by itself.
                let _ = held.give_back().await;
                drop(token);
            });
        }
    }
}
