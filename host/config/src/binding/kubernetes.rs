//! Bindings to Kubernetes clusters, and what they let through.

use std::path::PathBuf;

use crate::access::{Access, BindingKind};
use crate::address::{Parts, Resolved, UrlError};
use crate::decode::{Fields, of_one_key};
use crate::section::record;
use crate::tree::join;
use crate::{Duration, SecretRef};

record! {
    /// What one rule of a Kubernetes binding lets through, like a rule of RBAC.
    pub struct KubernetesRule {
        /// The verbs: get, list, watch, create, patch, delete, exec, log, scale, restart, run, lock; or "*".
        pub verbs: Vec<String>;
        /// The resources as RBAC names them, with their group: pods, deployments.apps, leases.coordination.k8s.io; or "*".
        pub resources: Vec<String>;
        /// Only in these namespaces; without it, in all of the binding's.
        pub namespaces: Vec<String> = Vec::new();
        /// Only objects of these names, each exactly or with one * for any text; without it, of every name.
        pub names: Vec<String> = Vec::new();
        /// Only objects with all of these labels, as KEY=VALUE.
        pub labels: Vec<String> = Vec::new();
    }
}

record! {
    /// A Kubernetes cluster.
    pub struct KubernetesBinding {
        /// A kubeconfig: file:PATH, or env:NAME of one that stands in a variable.
        pub kubeconfig: Option<SecretRef> = None;
        /// The context of the kubeconfig; by default its current one.
        pub context: Option<String> = None;
        /// Use the service account of the pod that Rota runs in.
        pub in_cluster: bool = false;
        /// The API server, as https://HOST:PORT, without a kubeconfig.
        pub server: Option<String> = None;
        /// The token to log in with at `server`.
        pub token: Option<SecretRef> = None;
        /// A file of certificates (PEM) to trust at `server`.
        pub ca_file: Option<PathBuf> = None;
        /// The service account to act as, as NAMESPACE/NAME: the login above must be allowed to impersonate it.
        pub service_account: Option<String> = None;
        /// The namespace that is meant where a plugin names none; by default the first of `namespaces`, or the login's own.
        pub namespace: Option<String> = None;
        /// The namespaces that can be reached, or "*" for all; by default only the one above.
        pub namespaces: Vec<String> = Vec::new();
        /// Whether objects without a namespace (nodes, volumes, namespaces themselves) can be reached.
        pub cluster_scoped: bool = false;
        /// What is let through, at most; without it, all that is granted.
        pub allow: Option<Vec<KubernetesRule>> = None;
        /// The longest that one request may take, watches and streams excepted.
        pub timeout: Duration = Duration::from_secs(30), within(Duration::from_millis(100), Duration::from_secs(600));
        /// The most that any grant may allow on this binding; without it, whatever is granted.
        pub access: Option<Vec<Access>> = None;
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}

/// The verbs that a rule can name.
const VERBS: [&str; 13] =
    ["*", "get", "list", "watch", "create", "patch", "delete", "exec", "log", "scale", "restart", "run", "lock"];

impl KubernetesRule {
    /// Whether the rule speaks of this verb on this resource, in this namespace (empty: none), of this name (none: of any).
    pub fn covers(&self, verb: &str, resource: &str, namespace: &str, name: Option<&str>) -> bool {
        let one_of = |list: &[String], word: &str| list.iter().any(|known| known == "*" || known == word);
        one_of(&self.verbs, verb)
            && one_of(&self.resources, resource)
            && (self.namespaces.is_empty() || one_of(&self.namespaces, namespace))
            && name.is_none_or(|name| self.covers_name(name))
    }

    /// Whether the rule speaks of objects of this name.
    pub fn covers_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| matches(pattern, name))
    }

    /// The labels that objects must have.
    pub fn wanted_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().filter_map(|label| label.split_once('='))
    }

    fn wrong(&self) -> Option<(&'static str, String)> {
        let unknown = self.verbs.iter().find(|verb| !VERBS.contains(&verb.as_str()));
        if let Some(verb) = unknown {
            return Some(("verbs", format!("\"{verb}\" is no verb of a rule; there are {}", VERBS.join(", "))));
        }
        if self.verbs.is_empty() || self.resources.is_empty() {
            return Some(("verbs", "a rule names at least one verb and one resource".to_owned()));
        }
        if let Some(pattern) = self.names.iter().find(|pattern| pattern.matches('*').count() > 1) {
            return Some(("names", format!("\"{pattern}\" has more than one *")));
        }
        let label = self.labels.iter().find(|label| !is_label(label))?;
        Some(("labels", format!("\"{label}\" is not KEY=VALUE")))
    }
}

/// Whether a text is one label with its value, that cannot be read as a further part of a selector.
pub(super) fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    text.split_once('=')
        .is_some_and(|(key, value)| !key.is_empty() && key.chars().all(plain) && value.chars().all(plain))
}

/// Exactly, or with one star for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    }
}

impl KubernetesBinding {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [access, allow, account] = ["access", "allow", "service_account"].map(|key| fields.origin_of(key));
        let (reader, at, whole) = (fields.reader, fields.at.clone(), fields.origin.clone());
        let binding = Self::decode_fields(fields)?;
        let ways = [binding.kubeconfig.is_some(), binding.in_cluster, binding.server.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            let message = format!("{at} needs one way to its cluster: kubeconfig, server or in_cluster = true");
            return reader.refuse(&whole, message);
        }
        if binding.server.is_none() && (binding.token.is_some() || binding.ca_file.is_some()) {
            return reader.refuse(&whole, format!("{at}: token and ca_file go with server"));
        }
        if binding.server.as_ref().is_some_and(|server| !server.starts_with("https://")) {
            return reader
                .refuse(&whole, format!("{}: an API server is written as https://HOST:PORT", join(&at, "server")));
        }
        if binding.context.is_some() && binding.kubeconfig.is_none() {
            return reader.refuse(&whole, format!("{at}: context goes with kubeconfig"));
        }
        if binding.service_account.as_ref().is_some_and(|account| {
            account.split('/').count() != 2 || account.split('/').any(|part| part.is_empty() || part.contains(':'))
        }) {
            let message = format!("{}: a service account is written as NAMESPACE/NAME", join(&at, "service_account"));
            return reader.refuse(&account, message);
        }
        if let Some((key, why)) = binding.allow.iter().flatten().find_map(KubernetesRule::wrong) {
            return reader.refuse(&allow, format!("{}: {why}", join(&join(&at, "allow"), key)));
        }
        super::check_accesses(
            reader,
            &join(&at, "access"),
            &access,
            BindingKind::Kubernetes,
            binding.access.as_deref().unwrap_or_default(),
        );
        Some(binding)
    }

    /// The binding of a URL `kubernetes:///PATH/OF/KUBECONFIG?context=...&namespace=...`, with every other default.
    pub(super) fn at(url: &Resolved) -> Result<Option<Self>, UrlError> {
        let mut parts = Parts::of(url)?;
        let path = format!("/{}", parts.path()?);
        if parts.url.host_str().is_some_and(|host| !host.is_empty()) || path.len() < 2 {
            let text = "a kubeconfig is written with three slashes, as in kubernetes:///etc/kubeconfig?context=NAME";
            return Err(UrlError(text.to_owned()));
        }
        let (context, namespace) = (parts.take("context"), parts.take("namespace"));
        parts.finish()?;
        let kubeconfig = Some(SecretRef::File(path.into()));
        Ok(of_one_key("in_cluster", "false").map(|binding| Self { kubeconfig, context, namespace, ..binding }))
    }

    /// Whether a namespace can be reached; `own` is the one that is meant where none is named.
    pub fn reaches(&self, namespace: &str, own: &str) -> bool {
        if self.namespaces.is_empty() {
            namespace == own
        } else {
            self.namespaces.iter().any(|n| n == "*" || n == namespace)
        }
    }

    /// Whether every namespace can be reached.
    pub fn reaches_all(&self) -> bool {
        self.namespaces.iter().any(|namespace| namespace == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(names: &[&str]) -> KubernetesRule {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        KubernetesRule {
            verbs: list(&["get", "patch"]),
            resources: list(&["deployments.apps"]),
            namespaces: list(&["db"]),
            names: list(names),
            labels: list(&["app=web"]),
        }
    }

    #[test]
    fn a_rule_covers_what_it_says_and_no_more() {
        let rule = rule(&["web-*", "db"]);
        assert!(rule.covers("get", "deployments.apps", "db", Some("web-1")));
        assert!(rule.covers("patch", "deployments.apps", "db", None));
        for (verb, resource, namespace, name) in [
            ("delete", "deployments.apps", "db", "web-1"),
            ("get", "deployments", "db", "web-1"),
            ("get", "deployments.apps", "core", "web-1"),
            ("get", "deployments.apps", "", "web-1"),
            ("get", "deployments.apps", "db", "web"),
            ("get", "deployments.apps", "db", "db2"),
        ] {
            assert!(!rule.covers(verb, resource, namespace, Some(name)), "{verb} {resource} {namespace} {name}");
        }
        assert_eq!(rule.wanted_labels().collect::<Vec<_>>(), [("app", "web")]);
    }

    #[test]
    fn a_label_cannot_hide_a_selector() {
        for text in ["a", "=b", "a=b,c", "a=b c", "a in (b)=c", "!a=b"] {
            assert!(!is_label(text), "{text}");
        }
        assert!(is_label("app.kubernetes.io/name=web-1") && is_label("a="));
    }
}
