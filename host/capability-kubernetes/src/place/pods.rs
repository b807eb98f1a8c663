//! Which pod is meant now.

use crate::client::Client;
use crate::request::Call;
use rota_contract::Error;
use serde_json::Value;

/// A pod that is ready.
pub(super) struct Pod {
    pub(super) name: String,
    /// The object, for its ports.
    pub(super) object: Value,
}

impl Client {
    /// The oldest ready pod with all these labels.
    pub(super) async fn ready_pod(&self, namespace: &str, selector: &str) -> Result<Pod, Error> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let what = format!("looking for a pod with {selector} in {namespace}");
        let mut list = self.requests.json(Call::get(&what, &path, &[("labelSelector", selector)])).await?;
        let pods = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let all = pods.len();
        let age = |pod: &Value| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
        let oldest = pods.into_iter().filter(is_ready).min_by_key(age);
        oldest.and_then(of).ok_or_else(|| {
            let those = match all {
                0 => "there is none".to_owned(),
                1 => "there is one, and it is not ready".to_owned(),
                all => format!("of {all} none is ready"),
            };
            Error::Unavailable(format!("no ready pod with {selector} in the namespace {namespace}: {those}"))
        })
    }

    /// The pod of this name.
    pub(super) async fn named_pod(&self, namespace: &str, name: &str) -> Result<Pod, Error> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let object = self.requests.json(Call::get(&format!("get pods {namespace}/{name}"), &path, &[])).await?;
        if !is_ready(&object) {
            return Err(Error::Unavailable(format!("the pod {namespace}/{name} is not ready")));
        }
        of(object).ok_or_else(|| Error::Unavailable(format!("the pod {namespace}/{name} has no name")))
    }
}

fn of(object: Value) -> Option<Pod> {
    Some(Pod { name: object["metadata"]["name"].as_str()?.to_owned(), object })
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}
