//! What only looks: objects, lists, events.

use crate::client::{Client, is_granted};
use crate::host::kubernetes::{Event, Selection};
use crate::kind::Resource;
use crate::reach::{Filter, Place};
use crate::request::Call;
use crate::secrets;
use rota_authority::{Authorized, Kubernetes, KubernetesAccess};
use rota_contract::Error;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many objects are asked for at once.
const PAGE: &str = "250";
/// The most events of an object that are answered.
const EVENTS: usize = 100;

/// A collection, as far as a guest may see it.
pub(crate) struct Collection {
    pub(crate) resource: Arc<Resource>,
    /// Empty: all, or none because the kind has none.
    pub(crate) namespace: String,
    pub(crate) selection: Selection,
    pub(crate) filter: Filter,
    pub(crate) shows_secrets: bool,
}

impl Collection {
    pub(crate) fn shown(&self) -> String {
        let place = if self.namespace.is_empty() { "of all namespaces" } else { &self.namespace };
        format!("{} {place}", self.resource.rbac())
    }

    /// The selectors, as parameters of a request.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let labels = [self.selection.labels.clone(), self.filter.selector()];
        let labels: Vec<String> = labels.into_iter().flatten().filter(|labels| !labels.is_empty()).collect();
        let mut query = Vec::new();
        if !labels.is_empty() {
            query.push(("labelSelector", labels.join(",")));
        }
        if let Some(fields) = &self.selection.fields {
            query.push(("fieldSelector", fields.clone()));
        }
        query
    }

    /// An object as the guest sees it; none where it must not.
    pub(crate) fn show(&self, mut object: Value) -> Option<Value> {
        if !self.filter.admits(&object) {
            return None;
        }
        let of = |field: &str| object.get(field).is_none();
        // A list does not repeat what all of its objects are.
        if of("kind")
            && let Some(map) = object.as_object_mut()
        {
            map.insert("apiVersion".into(), self.resource.api_version().into());
            map.insert("kind".into(), self.resource.kind.clone().into());
        }
        if self.resource.is_secret() {
            guard(&mut object, self.shows_secrets);
        }
        Some(object)
    }
}

fn guard(secret: &mut Value, shown: bool) {
    if shown { secrets::remember(secret) } else { secrets::hide(secret) }
}

/// An object's text for a guest, secrets hidden unless they are granted.
pub(crate) fn shown(authorized: &Authorized<Kubernetes>, place: &Place, mut object: Value) -> String {
    if place.resource.is_secret() {
        guard(&mut object, is_granted(authorized, KubernetesAccess::Secrets));
    }
    object.to_string()
}

/// A list under way: objects, then how it ended. Dropped, the work ends.
pub(crate) struct Listing {
    pub(crate) items: mpsc::Receiver<Result<String, Error>>,
    pub(crate) version: tokio::sync::oneshot::Receiver<String>,
    _work: Work,
}

pub(crate) struct Work(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// An object, as it is.
    pub(crate) async fn get(&self, _: &Authorized<Kubernetes>, place: &Place) -> Result<Value, Error> {
        self.requests.json(Call::get(&format!("get {}", place.shown()), &place.path(), &[])).await
    }

    /// The objects of a collection, one page after the other, at most one ahead of what is taken.
    pub(crate) fn list(&self, _: &Authorized<Kubernetes>, collection: Collection) -> Listing {
        // A page is made into texts at once; more than this waits for nobody.
        let (sender, items) = mpsc::channel(64);
        let (tell, version) = tokio::sync::oneshot::channel();
        let client = self.clone();
        let work = tokio::spawn(async move {
            if let Err(error) = client.pages(&collection, &sender, tell).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Listing { items, version, _work: Work(work) }
    }

    async fn pages(
        &self,
        collection: &Collection,
        sender: &mpsc::Sender<Result<String, Error>>,
        tell: tokio::sync::oneshot::Sender<String>,
    ) -> Result<(), Error> {
        let what = format!("list {}", collection.shown());
        let path = collection.resource.path(&collection.namespace);
        let query = collection.query();
        let fetch = async |next: &str| {
            let mut query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
            query.push(("limit", PAGE));
            if !next.is_empty() {
                query.push(("continue", next));
            }
            self.requests.json(Call::get(&what, &path, &query)).await
        };
        let mut page = fetch("").await?;
        loop {
            let items = page["items"].take();
            let give = async {
                let Value::Array(items) = items else { return true };
                for object in items.into_iter().filter_map(|object| collection.show(object)) {
                    if sender.send(Ok(object.to_string())).await.is_err() {
                        return false;
                    }
                }
                true
            };
            let next = page["metadata"]["continue"].as_str().unwrap_or_default();
            if next.is_empty() {
                if give.await {
                    let _ = tell.send(page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned());
                }
                return Ok(());
            }
            // While one page is taken the next is fetched, and no more than that.
            let (given, fetched) = tokio::join!(give, fetch(next));
            if !given {
                return Ok(());
            }
            page = fetched?;
        }
    }

    /// What the cluster's events say about an object.
    pub(crate) async fn events(&self, _: &Authorized<Kubernetes>, place: &Place) -> Result<Vec<Event>, Error> {
        let what = format!("list events of {}", place.shown());
        let namespace = if place.namespace.is_empty() { "default" } else { &place.namespace };
        let selector = format!("involvedObject.name={},involvedObject.kind={}", place.name, place.resource.kind);
        let query = [("fieldSelector", selector.as_str()), ("limit", "500")];
        let list =
            self.requests.json(Call::get(&what, &format!("/api/v1/namespaces/{namespace}/events"), &query)).await?;
        let mut events: Vec<Event> = list["items"].as_array().into_iter().flatten().map(event).collect();
        events.sort_by_key(|event| event.last_seen);
        Ok(events.split_off(events.len().saturating_sub(EVENTS)))
    }
}

fn event(event: &Value) -> Event {
    let text = |field: &str| crate::error::clean(event[field].as_str().unwrap_or_default());
    let time = ["lastTimestamp", "eventTime", "firstTimestamp"].iter().find_map(|field| event[*field].as_str());
    Event {
        level: text("type"),
        reason: text("reason"),
        message: text("message"),
        count: event["count"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        last_seen: time
            .and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok())
            .map(|time| time.timestamp_micros()),
    }
}
