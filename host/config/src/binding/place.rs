//! Where in a cluster a program runs, and how a server that only the cluster reaches is reached: what tool and sql bindings say of another binding.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::Binding;
use super::kubernetes::KubernetesBinding;
use crate::decode::{Decode, Reader};
use crate::nearest::advice;
use crate::section::record;
use crate::settings::Settings;
use crate::tree::Node;
use crate::{BindingName, Duration};

/// The name of a binding of kind kubernetes, and that binding once the whole configuration is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterRef {
    name: BindingName,
    binding: Option<Arc<KubernetesBinding>>,
}

impl ClusterRef {
    /// The name.
    pub fn name(&self) -> &BindingName {
        &self.name
    }

    /// The binding; none before the configuration was checked as a whole.
    pub fn binding(&self) -> Option<&KubernetesBinding> {
        self.binding.as_deref()
    }
}

impl Serialize for ClusterRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name.serialize(serializer)
    }
}

impl Decode for ClusterRef {
    const WANTED: &'static str = "the name of a binding of kind kubernetes";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        Some(Self { name: BindingName::decode(reader, at, node)?, binding: None })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": crate::name::PATTERN, "description": "The name of a binding of kind kubernetes." })
    }
}

record! {
    /// A container of a pod that runs already: the program is started in it by exec.
    pub struct PodPlace {
        /// The binding of the cluster.
        pub cluster: ClusterRef;
        /// The pod's namespace; by default the cluster binding's own.
        pub namespace: Option<String> = None;
        /// The labels that the pod has, as KEY=VALUE, several with commas; the oldest ready pod that has them all is taken.
        pub selector: String;
        /// The container; it may be left out where the pod has one.
        pub container: Option<String> = None;
        /// A file in the container with the certificates (PEM) that the database is verified with.
        pub ca_file: Option<PathBuf> = None;
    }
}

record! {
    /// A variable of a Job's container whose value the cluster takes from a Secret; Rota never sees it.
    pub struct SecretVariable {
        /// The variable.
        pub variable: String;
        /// The Secret's name, in the Job's namespace.
        pub secret: String;
        /// The key in it.
        pub key: String;
    }
}

record! {
    /// A Kubernetes Job: one pod that runs the program once, and is gone afterwards.
    pub struct JobPlace {
        /// The binding of the cluster.
        pub cluster: ClusterRef;
        /// The Job's namespace; by default the cluster binding's own.
        pub namespace: Option<String> = None;
        /// The image, pinned by its digest: REGISTRY/NAME@sha256:...
        pub image: String;
        /// The pod's service account; its token is not mounted.
        pub service_account: Option<String> = None;
        /// The memory that the container gets and may not exceed, as Kubernetes writes it (512Mi).
        pub memory: Option<String> = None;
        /// The CPU that the container asks for, as Kubernetes writes it (500m).
        pub cpu: Option<String> = None;
        /// Variables from Secrets. A program that connects to a database finds its password so: PGPASSWORD.
        pub secrets: Vec<SecretVariable> = Vec::new();
        /// A file in the image with the certificates (PEM) that the database is verified with.
        pub ca_file: Option<PathBuf> = None;
        /// The longest that the Job may take; then the cluster ends it, whatever has become of Rota.
        pub deadline: Duration = Duration::from_secs(3600), within(Duration::from_secs(1), Duration::from_secs(7 * 86_400));
    }
}

record! {
    /// Where a program runs, other than beside Rota: one of the two.
    pub struct ToolPlace {
        /// In a pod that runs already.
        pub pod: Option<PodPlace> = None;
        /// In a Job of its own.
        pub job: Option<JobPlace> = None;
    }
}

record! {
    /// The way to a server that only its cluster reaches: a port-forward that Rota holds while it is used.
    pub struct Through {
        /// The binding of the cluster.
        pub cluster: ClusterRef;
        /// The namespace; by default the cluster binding's own.
        pub namespace: Option<String> = None;
        /// The Service; a ready pod that its selector matches is taken, anew for each connection.
        pub service: Option<String> = None;
        /// Or the pod itself, by its name.
        pub pod: Option<String> = None;
        /// The Service's port, or the pod's; by default the URL's.
        pub port: Option<u16> = None;
    }
}

impl ToolPlace {
    /// The cluster.
    pub fn cluster(&self) -> Option<&ClusterRef> {
        self.pod.as_ref().map(|pod| &pod.cluster).or(self.job.as_ref().map(|job| &job.cluster))
    }

    /// What does not fit: the key, and what is wrong with it.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        match (&self.pod, &self.job) {
            (Some(_), Some(_)) | (None, None) => {
                Some(("", "a place is either a pod or a job".to_owned(), "keep one of the two tables"))
            }
            (Some(pod), None) => pod.wrong(),
            (None, Some(job)) => job.wrong(),
        }
    }
}

impl PodPlace {
    fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let fits = |label: &str| super::kubernetes::is_label(label);
        if !self.selector.split(',').all(fits) {
            let help = "write the labels that the pod has, as in app=postgres,role=tools";
            return Some(("pod.selector", "it is no list of labels KEY=VALUE".to_owned(), help));
        }
        names([("pod.namespace", self.namespace.as_deref()), ("pod.container", self.container.as_deref())])
    }
}

impl JobPlace {
    fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let digest = self.image.rsplit_once("@sha256:").map_or("", |(_, digest)| digest);
        if digest.len() != 64 || !digest.chars().all(|c| c.is_ascii_hexdigit()) {
            let message = "the image is not pinned by its digest".to_owned();
            return Some(("job.image", message, "write it as registry/name@sha256:...; `crane digest` tells it"));
        }
        for one in &self.secrets {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if one.variable.is_empty()
                || !one.variable.chars().all(plain)
                || one.variable.starts_with(|c: char| c.is_ascii_digit())
            {
                return Some(("job.secrets", "a variable's name is not one".to_owned(), "write it as PGPASSWORD"));
            }
            if let Some(wrong) = names([("job.secrets", Some(&*one.secret)), ("job.secrets", Some(&*one.key))]) {
                return Some(wrong);
            }
        }
        names([("job.namespace", self.namespace.as_deref()), ("job.service_account", self.service_account.as_deref())])
    }
}

impl Through {
    /// What does not fit: the key, and what is wrong with it.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        if self.service.is_some() == self.pod.is_some() {
            return Some(("", "it leads to either a service or a pod".to_owned(), "keep one of the two keys"));
        }
        if self.port == Some(0) {
            return Some(("port", "there is no port 0".to_owned(), ""));
        }
        let all = [("namespace", &self.namespace), ("service", &self.service), ("pod", &self.pod)];
        names(all.map(|(key, name)| (key, name.as_deref())))
    }
}

/// Names that become segments of a path.
fn names<'n>(
    all: impl IntoIterator<Item = (&'static str, Option<&'n str>)>,
) -> Option<(&'static str, String, &'static str)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let fits = |name: &str| !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.chars().all(plain);
    let (key, _) = all.into_iter().find(|(_, name)| name.is_some_and(|name| !fits(name)))?;
    Some((key, "it is no name of Kubernetes".to_owned(), ""))
}

/// What a binding asks of the cluster that it names: in which namespace, the access, and the verb and resource of a rule.
struct Asks<'a> {
    key: &'static str,
    cluster: &'a mut ClusterRef,
    namespace: Option<&'a str>,
    access: Option<crate::Access>,
    rule: Option<(&'static str, &'static str)>,
}

fn asks(binding: &mut Binding) -> Option<Asks<'_>> {
    match binding {
        Binding::Tool(tool) => {
            let place = tool.place.as_mut()?;
            match (&mut place.pod, &mut place.job) {
                (Some(pod), _) => Some(Asks {
                    key: "place.pod",
                    cluster: &mut pod.cluster,
                    namespace: pod.namespace.as_deref(),
                    access: Some(crate::Access::Exec),
                    rule: Some(("exec", "pods")),
                }),
                (None, job) => job.as_mut().map(|job| Asks {
                    key: "place.job",
                    cluster: &mut job.cluster,
                    namespace: job.namespace.as_deref(),
                    access: Some(crate::Access::Run),
                    rule: Some(("run", "jobs.batch")),
                }),
            }
        }
        Binding::Sql(sql) => sql.through.as_mut().map(|through| Asks {
            key: "through",
            cluster: &mut through.cluster,
            namespace: through.namespace.as_deref(),
            access: None,
            rule: None,
        }),
        _ => None,
    }
}

/// Gives every binding that names a cluster that cluster's binding, and says what does not fit: the key, the message, advice.
pub(crate) fn settle(settings: &mut Settings) -> Vec<(String, String, String)> {
    let mut wrong = Vec::new();
    let clusters: Vec<(BindingName, Arc<KubernetesBinding>)> = settings
        .bindings
        .iter()
        .filter_map(|(name, binding)| match binding {
            Binding::Kubernetes(cluster) => Some((name.clone(), Arc::new(cluster.clone()))),
            _ => None,
        })
        .collect();
    for (name, binding) in &mut settings.bindings {
        let Some(asks) = asks(binding) else { continue };
        let at = format!("bindings.{name}.{}", asks.key);
        let Some((_, cluster)) = clusters.iter().find(|(known, _)| *known == asks.cluster.name) else {
            let message = format!("{at}.cluster: there is no binding \"{}\" of kind kubernetes", asks.cluster.name);
            let names: Vec<&str> = clusters.iter().map(|(name, _)| name.as_str()).collect();
            let help = advice(asks.cluster.name.as_str(), &names, "clusters");
            wrong.push((format!("{at}.cluster"), message, help));
            continue;
        };
        if let Some(message) = refused(cluster, &asks) {
            wrong.push((at, message.0, message.1));
            continue;
        }
        asks.cluster.binding = Some(cluster.clone());
    }
    wrong
}

/// What of the cluster's own binding stands against it.
fn refused(cluster: &KubernetesBinding, asks: &Asks<'_>) -> Option<(String, String)> {
    let name = &asks.cluster.name;
    let first = cluster.namespaces.iter().find(|namespace| *namespace != "*");
    let own = cluster.namespace.as_ref().or(first);
    if let Some(namespace) = asks.namespace
        && own.is_some()
        && !cluster.reaches(namespace, own.map_or("", String::as_str))
    {
        let message = format!("bindings.{name} does not reach the namespace {namespace}");
        return Some((message, format!("add it to bindings.{name}.namespaces")));
    }
    if let (Some(access), Some(ceiling)) = (asks.access, &cluster.access)
        && !ceiling.contains(&access)
    {
        let message = format!("bindings.{name}.access does not allow \"{access}\", which this needs");
        return Some((message, format!("add it to bindings.{name}.access")));
    }
    if let (Some((verb, resource)), Some(rules)) = (asks.rule, &cluster.allow) {
        let namespace = asks.namespace.or(own.map(String::as_str)).unwrap_or_default();
        if !rules.iter().any(|rule| rule.covers(verb, resource, namespace, None)) {
            let message = format!("no rule of bindings.{name}.allow lets \"{verb}\" through on {resource} there");
            return Some((message, format!("add a rule to bindings.{name}.allow")));
        }
    }
    None
}
