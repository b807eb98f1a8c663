//! The Service, the old primary's pod and StatefulSet, and who else owns them.

use rota_sdk::cluster::{Cluster, Kind, Object, Selection};
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

/// The label by which a StatefulSet's pod can be selected alone.
pub(crate) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// How long the lock lasts when its host is gone.
pub const LOCK_SECONDS: u32 = 30;

/// The Lease that a failover or a switchover behind a Service holds.
pub fn lock_name(service: &str) -> String {
    format!("rota-primary-of-{service}")
}

pub(crate) fn pod_kind() -> Kind {
    Kind::new("v1", "Pod")
}

/// A Service of the binding's own namespace.
pub(crate) fn service(name: &str) -> Object {
    Kind::new("v1", "Service").named(name)
}

fn text<'j>(object: &'j Json, pointer: &str) -> Option<&'j str> {
    object.pointer(pointer).and_then(Json::as_str)
}

/// The controller of an object: kind and name.
pub(crate) fn controller(object: &Json) -> Option<(String, String)> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some((owner["kind"].as_str()?.to_owned(), owner["name"].as_str()?.to_owned()))
}

/// Whether a pod's condition Ready is True.
pub fn pod_is_ready(pod: &Json) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The primary that the Service points to now.
#[data]
pub struct Primary {
    /// Its StatefulSet.
    pub stateful_set: String,
    /// How many replicas that has.
    pub replicas: u32,
    /// Its pod; null where there is none any more.
    pub pod: Option<String>,
    /// The pod's UID.
    pub pod_uid: Option<String>,
    /// The node of the pod.
    pub node: Option<String>,
}

/// What clients reach now.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The Service's selector.
    pub selector: BTreeMap<String, String>,
    /// What it selects.
    pub primary: Primary,
    /// What may bring the old primary back behind our back.
    pub managed_by: Option<String>,
}

impl Topology {
    /// Look at the Service and what it selects. `stateful_set` is what the operator says where that cannot be told.
    ///
    /// # Errors
    /// When the Service or the StatefulSet is not there, selects several pods, or belongs to an operator that does failovers itself.
    pub async fn look(cluster: &Cluster, name: &str, stateful_set: Option<&str>) -> Result<Self> {
        let Some(object) = cluster.get(&service(name)).await? else {
            return Err(Error::new(format!("there is no Service {name} in {}", cluster.namespace()))
                .hint("-p service=NAME is the Service through which applications reach the primary"));
        };
        owned_by_an_operator("Service", &object)?;
        let selector: BTreeMap<String, String> =
            serde_json::from_value(object["spec"]["selector"].clone()).unwrap_or_default();
        if selector.is_empty() {
            return Err(Error::new(format!(
                "the Service {name} selects no pods: its endpoints are managed by something else"
            ))
            .hint("where Patroni or a script writes its endpoints, use that to fail over (patronictl failover)"));
        }
        let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pods = cluster.list(&pod_kind(), Selection::all().labels(labels.join(","))).await?.collect(100).await?;
        if pods.len() > 1 {
            let names: Vec<&str> = pods.iter().filter_map(|pod| text(pod, "/metadata/name")).collect();
            return Err(Error::new(format!(
                "the Service {name} selects {} pods, not one: {}",
                names.len(),
                names.join(", ")
            ))
            .hint("the Service of a primary selects the primary alone, by a label that only it has"));
        }
        let pod = pods.first();
        if let Some(pod) = pod {
            owned_by_an_operator("pod", pod)?;
        }
        let set = stateful_set_of(pod, &selector, stateful_set, name)?;
        let Some(found) = cluster.get(&Object::stateful_set(&set)).await? else {
            return Err(Error::new(format!("there is no StatefulSet {set} in {}", cluster.namespace()))
                .hint("-p stateful_set=NAME is the StatefulSet of the old primary"));
        };
        owned_by_an_operator("StatefulSet", &found)?;
        if let Some((kind, owner)) = controller(&found) {
            return Err(Error::new(format!(
                "the StatefulSet {set} belongs to {kind} {owner}, which would scale it back"
            ))
            .hint("fail over with the tool of that operator"));
        }
        let annotations = found["metadata"]["annotations"].as_object();
        let managed_by = annotations
            .and_then(|all| all.keys().find(|key| key.starts_with("argocd.argoproj.io/")))
            .map(|_| "Argo CD".to_owned());
        let labels = found["metadata"]["labels"].as_object();
        let flux = labels.is_some_and(|all| all.keys().any(|key| key.contains(".toolkit.fluxcd.io/")));
        let replicas = cluster.get_scale(&Object::stateful_set(&set)).await?.wanted;
        Ok(Self {
            selector,
            primary: Primary {
                stateful_set: set,
                replicas,
                pod: pod.and_then(|pod| text(pod, "/metadata/name")).map(str::to_owned),
                pod_uid: pod.and_then(|pod| text(pod, "/metadata/uid")).map(str::to_owned),
                node: pod.and_then(|pod| text(pod, "/spec/nodeName")).map(str::to_owned),
            },
            managed_by: managed_by.or_else(|| flux.then(|| "Flux".to_owned())),
        })
    }

    /// Check that the pod which is to take over can: it is not the old primary's, is not ended with it, is ready, and can be selected alone.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn can_take_over(&self, cluster: &Cluster, pod: &str) -> Result<()> {
        let Some(object) = cluster.get(&Object::pod(pod)).await? else {
            return Err(Error::new(format!("the pod {pod} is gone")));
        };
        owned_by_an_operator("pod", &object)?;
        let set = &self.primary.stateful_set;
        if controller(&object).is_some_and(|(kind, name)| kind == "StatefulSet" && name == *set) {
            return Err(Error::new(format!(
                "{pod} is a pod of the StatefulSet {set}, as the old primary is: the fence would end both"
            ))
            .hint("primary and standby need StatefulSets of their own for a fence, or an operator (CloudNativePG, Patroni)"));
        }
        if object["metadata"]["labels"][POD_NAME] != pod {
            return Err(Error::new(format!(
                "{pod} has no label {POD_NAME}, so that the Service cannot select it alone"
            ))
            .hint("the standby is to be a pod of a StatefulSet"));
        }
        if !pod_is_ready(&object) {
            return Err(Error::new(format!("{pod} is not ready: a Service would not send clients to it"))
                .hint(format!("kubectl -n {} describe pod {pod}", cluster.namespace())));
        }
        Ok(())
    }
}

fn stateful_set_of(
    pod: Option<&Json>,
    selector: &BTreeMap<String, String>,
    told: Option<&str>,
    service: &str,
) -> Result<String> {
    if let Some(pod) = pod {
        let name = text(pod, "/metadata/name").unwrap_or_default();
        return match (controller(pod), told) {
            (Some((kind, set)), Some(told)) if kind == "StatefulSet" && set != told => {
                Err(Error::new(format!("{name} is a pod of the StatefulSet {set}, and the parameters say {told}")))
            }
            (Some((kind, set)), _) if kind == "StatefulSet" => Ok(set),
            (owner, _) => {
                let owner = owner.map_or_else(|| "nothing".to_owned(), |(kind, name)| format!("{kind} {name}"));
                Err(Error::new(format!("{name} belongs to {owner}, not to a StatefulSet that can be scaled to 0"))
                    .hint("fail over with the tool of what owns it"))
            }
        };
    }
    if let Some(told) = told {
        return Ok(told.to_owned());
    }
    let by_name =
        selector.get(POD_NAME).and_then(|pod| pod.rsplit_once('-')).filter(|(_, number)| number.parse::<u32>().is_ok());
    match by_name {
        Some((set, _)) => Ok(set.to_owned()),
        None => Err(Error::new(format!(
            "which StatefulSet the old primary is of cannot be told: the Service {service} selects no pod now"
        ))
        .hint("-p stateful_set=NAME")),
    }
}

/// Refuse what CloudNativePG or Patroni own, by what they write on their objects.
fn owned_by_an_operator(kind: &str, object: &Json) -> Result<()> {
    let name = text(object, "/metadata/name").unwrap_or_default();
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    let owner =
        object["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|owner| {
            owner["apiVersion"].as_str().is_some_and(|version| version.starts_with("postgresql.cnpg.io/"))
        });
    let cnpg = label("cnpg.io/cluster").or(label("postgresql")).filter(|_| label("cnpg.io/cluster").is_some());
    if let Some(cluster) = cnpg.or_else(|| owner.and_then(|owner| owner["name"].as_str())) {
        return Err(Error::new(format!("the {kind} {name} belongs to CloudNativePG (cluster {cluster}), which fails over by itself and would undo this"))
            .hint(format!("kubectl cnpg status {cluster}; to choose the primary: kubectl cnpg promote {cluster} POD")));
    }
    let crunchy = label("postgres-operator.crunchydata.com/cluster");
    let spilo = (label("application") == Some("spilo")).then(|| label("cluster-name")).flatten();
    let annotated = object["metadata"]["annotations"]["status"]
        .as_str()
        .is_some_and(|status| status.contains("\"xlog_location\"") || status.contains("\"role\""));
    let scope = label("cluster-name").or(label("patroni.io/cluster"));
    if let Some(cluster) = crunchy.or(spilo).or(if annotated { scope.or(Some("CLUSTER")) } else { None }) {
        return Err(Error::new(format!(
            "the {kind} {name} belongs to Patroni (cluster {cluster}), which fails over by itself and would undo this"
        ))
        .hint(format!(
            "in one of its pods: patronictl list {cluster}; to choose the primary: patronictl failover {cluster}"
        )));
    }
    Ok(())
}
