//! What changes something: described, tried as the server's dry run, and made.

use crate::client::Client;
use crate::difference::difference;
use crate::error::clean;
use crate::host::kubernetes::{DeleteOptions, PatchKind, Propagation};
use crate::reach::Place;
use crate::request::Call;
use http::Method;
use rota_authority::{Authorized, EffectClass, Exact, Kubernetes, Permit};
use rota_contract::Error;
use serde_json::{Value, json};

/// Whose fields they are in server-side apply.
const MANAGER: &str = "rota";

/// A change of an object.
pub(crate) struct Change {
    pub(crate) place: Place,
    /// What it does, in words.
    pub(crate) words: String,
    pub(crate) class: EffectClass,
    method: Method,
    path: String,
    query: Vec<(&'static str, &'static str)>,
    body: (&'static str, Vec<u8>),
    /// Whether the answer is the object.
    answers_object: bool,
    /// A JSON patch that fails is told apart from an object that is wrong.
    tests: bool,
}

impl Change {
    /// What is asked of the cluster, to the byte.
    pub(crate) fn exact(&self) -> Exact {
        let asked = format!("{:?} {} {:?} {}", self.method, self.path, self.query, self.body.0);
        Exact::of([asked.as_bytes(), &self.body.1])
    }

    /// Make an object.
    pub(crate) fn create(place: Place, object: &Value) -> Self {
        let words = format!("create {}", described(&place, object));
        let path = place.resource.path(&place.namespace);
        Self::new(place, words, Method::POST, path, ("application/json", object.to_string().into_bytes()))
    }

    /// Change an object.
    pub(crate) fn patch(place: Place, kind: PatchKind, patch: &Value) -> Self {
        let (word, media_type) = match kind {
            PatchKind::Merge => ("merge", "application/merge-patch+json"),
            PatchKind::Strategic => ("strategic merge", "application/strategic-merge-patch+json"),
            PatchKind::Apply => ("apply", "application/apply-patch+yaml"),
            PatchKind::ForceApply => ("apply, taking fields over,", "application/apply-patch+yaml"),
            PatchKind::Json => ("JSON patch", "application/json-patch+json"),
        };
        let words = format!("{word} {}", described(&place, patch));
        let path = place.path();
        let mut change = Self::new(place, words, Method::PATCH, path, (media_type, patch.to_string().into_bytes()));
        if kind == PatchKind::ForceApply {
            change.query.push(("force", "true"));
        }
        let operations = patch.as_array().into_iter().flatten();
        change.tests = kind == PatchKind::Json && operations.clone().any(|one| one["op"] == "test");
        change
    }

    /// Delete an object.
    pub(crate) fn delete(place: Place, options: &DeleteOptions) -> Self {
        let propagation = match options.propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        let mut body = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation });
        let mut words = "delete".to_owned();
        if let Some(seconds) = options.grace_seconds {
            body["gracePeriodSeconds"] = seconds.into();
            words += &format!(" with {seconds} s of grace");
        }
        if options.uid.is_some() || options.resource_version.is_some() {
            let mut preconditions = serde_json::Map::new();
            for (key, value) in [("uid", &options.uid), ("resourceVersion", &options.resource_version)] {
                preconditions.extend(value.clone().map(|value| (key.to_owned(), value.into())));
            }
            body["preconditions"] = preconditions.into();
            words += " if it is unchanged";
        }
        if options.propagation == Propagation::Orphan {
            words += ", leaving its dependents";
        }
        let path = place.path();
        let mut change =
            Self::new(place, words, Method::DELETE, path, ("application/json", body.to_string().into_bytes()));
        change.query.clear();
        change.class = EffectClass::Destructive;
        change.answers_object = false;
        change
    }

    /// Set replicas; with `version`, only if its scale is still of it.
    pub(crate) fn scale(place: Place, from: u32, to: u32, version: Option<&str>) -> Self {
        let mut body = json!({ "spec": { "replicas": to } });
        if let Some(version) = version {
            body["metadata"] = json!({ "resourceVersion": version });
        }
        let path = format!("{}/scale", place.path());
        let words = format!("scale from {from} to {to} replicas");
        let body = ("application/merge-patch+json", body.to_string().into_bytes());
        let mut change = Self::new(place, words, Method::PATCH, path, body);
        change.answers_object = false;
        if to < from {
            change.class = EffectClass::Destructive;
        }
        change
    }

    /// Replace every pod, as `kubectl rollout restart` does.
    pub(crate) fn restart(place: Place) -> Self {
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
        let body = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
        let path = place.path();
        let body = ("application/strategic-merge-patch+json", body.to_string().into_bytes());
        Self::new(place, "restart every pod".to_owned(), Method::PATCH, path, body)
    }

    fn new(place: Place, words: String, method: Method, path: String, body: (&'static str, Vec<u8>)) -> Self {
        let query = vec![("fieldManager", MANAGER)];
        Self { place, words, class: EffectClass::Write, method, path, query, body, answers_object: true, tests: false }
    }

    /// What a plan shows: the words, and the difference or the refusal.
    pub(crate) fn planned(&self, before: &Value, tried: &Result<Value, Error>) -> String {
        let text = match tried {
            Err(error) => format!("{}\nit would be refused: {error}", self.words),
            Ok(after) if self.answers_object => {
                format!("{}\n{}", self.words, difference(before, after, self.place.resource.is_secret()))
            }
            Ok(_) => self.words.clone(),
        };
        rota_telemetry::mask(&text).into_owned()
    }

    /// Whether what it starts from matters to who reads the plan.
    pub(crate) fn has_difference(&self) -> bool {
        self.answers_object && self.method != Method::POST
    }
}

/// A document as it is put on record: of a secret, its keys alone.
fn described(place: &Place, document: &Value) -> String {
    let text = if place.resource.is_secret() {
        let keys =
            ["data", "stringData"].iter().filter_map(|field| document[*field].as_object()).flat_map(|map| map.keys());
        format!("a Secret (keys {})", keys.cloned().collect::<Vec<_>>().join(", "))
    } else {
        document.to_string()
    };
    let shown = clean(&text);
    if text.len() > shown.len() { format!("{shown} ...") } else { shown }
}

/// The options of a deletion that is only tried.
fn in_body(options: &[u8]) -> Result<Vec<u8>, Error> {
    let mut options: Value =
        serde_json::from_slice(options).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    options["dryRun"] = json!(["All"]);
    Ok(options.to_string().into_bytes())
}

impl Client {
    /// Have the server try a change, without making it.
    pub(crate) async fn try_out(&self, _: &Authorized<Kubernetes>, change: &Change) -> Result<Value, Error> {
        self.send(change, true).await
    }

    /// Make a change.
    pub(crate) async fn make(&self, _: &Permit<Kubernetes>, change: &Change) -> Result<Value, Error> {
        self.send(change, false).await
    }

    /// Remove what an effect of ours made, whose permit is spent.
    pub(crate) async fn clear_up(&self, change: &Change) -> Result<(), Error> {
        match self.send(change, false).await {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Send a change; its effect is on record, whoever's it is.
    pub(crate) async fn send(&self, change: &Change, dry: bool) -> Result<Value, Error> {
        let mut query = change.query.clone();
        if dry {
            query.push(("dryRun", "All"));
        }
        let verb = change.method.as_str().to_lowercase();
        let what = format!("{verb} {}", change.place.shown());
        let (media_type, body) = &change.body;
        let mut body = body.clone();
        if dry && change.method == Method::DELETE {
            // The server does not look at the parameters of a DELETE that has a body.
            body = in_body(&body)?;
        }
        let call = Call {
            what: &what,
            method: change.method.clone(),
            path: &change.path,
            query: &query,
            body: Some((*media_type, body)),
        };
        self.requests.json(call).await.map_err(|error| match error {
            // The server calls both a wrong object and a failed test unprocessable.
            Error::Failed(fault) if change.tests && fault.code == "Invalid" => Error::Conflict(format!(
                "{} (a `test` of the patch does not hold, or the result is wrong)",
                fault.message
            )),
            other => other,
        })
    }
}
