//! What the binding lets through: namespaces, and its `allow` rules.

use crate::client::Client;
use crate::host::kubernetes::{Kind, Object};
use crate::kind::Resource;
use crate::request::{Call, segment};
use rota_authority::{Authorized, Kubernetes};
use rota_capability::denied;
use rota_config::KubernetesRule;
use rota_contract::Error;
use serde_json::Value;
use std::sync::Arc;

/// One object's place, which the binding reaches.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) resource: Arc<Resource>,
    /// Empty for a kind without namespaces.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.resource.path(&self.namespace), self.name)
    }

    /// As people read it: `deployments.apps db/web`.
    pub(crate) fn shown(&self) -> String {
        let namespace = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        format!("{} {namespace}{}", self.resource.rbac(), self.name)
    }
}

/// What of a collection the binding lets through.
pub(crate) enum Filter {
    /// All of it.
    Everything,
    /// What one of these rules speaks of.
    Rules(Vec<KubernetesRule>),
}

impl Filter {
    /// Whether an object passes.
    pub(crate) fn admits(&self, object: &Value) -> bool {
        let Self::Rules(rules) = self else { return true };
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        let speaks_of = |rule: &KubernetesRule| {
            (rule.namespaces.is_empty() || rule.namespaces.iter().any(|known| known == "*" || known == namespace))
                && rule.covers_name(name)
                && has_labels(object, rule)
        };
        rules.iter().any(speaks_of)
    }

    /// The label selector that the server can apply itself, so that what leaves it is seen as leaving.
    pub(crate) fn selector(&self) -> Option<String> {
        match self {
            Self::Rules(rules) if rules.len() == 1 && !rules[0].labels.is_empty() => Some(rules[0].labels.join(",")),
            _ => None,
        }
    }
}

fn has_labels(object: &Value, rule: &KubernetesRule) -> bool {
    rule.wanted_labels().all(|(key, value)| object["metadata"]["labels"][key] == value)
}

impl Client {
    /// The namespace that is meant, which the binding reaches; empty for a kind without.
    pub(crate) fn namespace_of(
        &self,
        authorized: &Authorized<Kubernetes>,
        operation: &'static str,
        namespaced: bool,
        namespace: Option<&str>,
    ) -> Result<String, Error> {
        let binding = authorized.binding();
        let never = |reason: String| Err(denied(authorized.gate().never(operation, authorized.slot(), reason)));
        let name = authorized.binding_name();
        if !namespaced {
            return if binding.cluster_scoped {
                Ok(String::new())
            } else {
                never(format!(
                    "binding `{name}` does not reach objects without a namespace; its operator sets cluster_scoped = true"
                ))
            };
        }
        let namespace = segment("the namespace", namespace.unwrap_or(self.namespace()))?;
        if !binding.reaches(namespace, self.namespace()) {
            return never(format!(
                "binding `{name}` does not reach the namespace {namespace}; its operator adds it to `namespaces`"
            ));
        }
        Ok(namespace.to_owned())
    }

    /// Where an object is, by a guest's words.
    pub(crate) async fn place(
        &self,
        authorized: &Authorized<Kubernetes>,
        operation: &'static str,
        object: &Object,
    ) -> Result<Place, Error> {
        let resource = self.resource(&object.kind).await?;
        let namespace = self.namespace_of(authorized, operation, resource.namespaced, object.namespace.as_deref())?;
        let name = segment("the name", &object.name)?.to_owned();
        Ok(Place { resource, namespace, name })
    }

    /// The place of a pod.
    pub(crate) async fn pod(
        &self,
        authorized: &Authorized<Kubernetes>,
        operation: &'static str,
        namespace: Option<String>,
        name: &str,
    ) -> Result<Place, Error> {
        let kind = Kind { api_version: "v1".to_owned(), name: "Pod".to_owned() };
        self.place(authorized, operation, &Object { kind, namespace, name: name.to_owned() }).await
    }

    /// Whether the binding's rules let a verb through on an object; its labels are looked up where they matter.
    pub(crate) async fn admit(
        &self,
        authorized: &Authorized<Kubernetes>,
        operation: &'static str,
        verb: &str,
        place: &Place,
    ) -> Result<(), Error> {
        let rules = self.rules(authorized, verb, &place.resource.rbac(), &place.namespace, Some(&place.name));
        let Some(rules) = rules else { return Ok(()) };
        if rules.iter().any(|rule| rule.labels.is_empty()) {
            return Ok(());
        }
        if !rules.is_empty() {
            let object =
                self.requests.json(Call::get(&format!("looking up {}", place.shown()), &place.path(), &[])).await?;
            if rules.iter().any(|rule| has_labels(&object, rule)) {
                return Ok(());
            }
        }
        Err(self.outside(authorized, operation, verb, &place.shown()))
    }

    /// The same for an object that is to be made.
    pub(crate) fn admit_new(
        &self,
        authorized: &Authorized<Kubernetes>,
        operation: &'static str,
        verb: &str,
        place: &Place,
        object: &Value,
    ) -> Result<(), Error> {
        match self.rules(authorized, verb, &place.resource.rbac(), &place.namespace, Some(&place.name)) {
            Some(rules) if !rules.iter().any(|rule| has_labels(object, rule)) => {
                Err(self.outside(authorized, operation, verb, &place.shown()))
            }
            _ => Ok(()),
        }
    }

    /// What of a collection the rules let through; an error where it is nothing.
    pub(crate) fn filter(
        &self,
        authorized: &Authorized<Kubernetes>,
        operation: &'static str,
        verb: &str,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<Filter, Error> {
        let binding = authorized.binding();
        let Some(allow) = &binding.allow else { return Ok(Filter::Everything) };
        let plural = resource.rbac();
        let covers = |rule: &KubernetesRule| match namespace {
            Some(namespace) => rule.covers(verb, &plural, namespace, None),
            // Of all namespaces: what each rule speaks of is looked at object by object.
            None => rule
                .namespaces
                .first()
                .map_or_else(|| rule.covers(verb, &plural, "", None), |first| rule.covers(verb, &plural, first, None)),
        };
        let rules: Vec<_> = allow.iter().filter(|rule| covers(rule)).cloned().collect();
        if rules.is_empty() {
            let place = format!("{plural} of {}", namespace.unwrap_or("all namespaces"));
            return Err(self.outside(authorized, operation, verb, &place));
        }
        let whole = |rule: &KubernetesRule| {
            rule.names.is_empty() && rule.labels.is_empty() && (namespace.is_some() || rule.namespaces.is_empty())
        };
        Ok(if rules.iter().any(whole) { Filter::Everything } else { Filter::Rules(rules) })
    }

    /// The rules that speak of a verb on something; none where the binding has no rules.
    fn rules(
        &self,
        authorized: &Authorized<Kubernetes>,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: Option<&str>,
    ) -> Option<Vec<KubernetesRule>> {
        let allow = authorized.binding().allow.as_ref()?;
        Some(allow.iter().filter(|rule| rule.covers(verb, resource, namespace, name)).cloned().collect())
    }

    fn outside(&self, authorized: &Authorized<Kubernetes>, operation: &'static str, verb: &str, place: &str) -> Error {
        let reason = format!(
            "no rule of binding `{}` lets `{verb}` through on {place}; its operator adds one to `allow`",
            authorized.binding_name()
        );
        denied(authorized.gate().never(operation, authorized.slot(), reason))
    }
}
