//! Whether the cluster will let things through, asked before the first effect.

use crate::client::{Client, is_granted};
use crate::request::Call;
use http::Method;
use rota_authority::{Authorized, Kubernetes, KubernetesAccess};
use rota_contract::Error;
use serde_json::json;

/// The most questions at once.
const MOST: usize = 64;

/// What is asked of RBAC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Question {
    fn shown(&self) -> String {
        let mut text = format!("{} {}", self.verb, self.resource);
        for (mark, part) in [("/", &self.subresource), (".", &self.group), (" ", &self.name), (" in ", &self.namespace)]
        {
            if !part.is_empty() {
                text += &format!("{mark}{part}");
            }
        }
        text
    }
}

/// What a verb of a rule stands for.
struct Verb {
    access: KubernetesAccess,
    /// What RBAC must allow for it, as (verb, subresource): every call that it makes, also those that only look. The first is what makes it
    /// what it is, and is asked about before a run.
    needs: &'static [(&'static str, &'static str)],
}

/// A verb of a rule; none for `*` and for what is no verb.
fn verb(name: &str) -> Option<Verb> {
    use KubernetesAccess::{Delete, Exec, Read, Run, Scale, Write};
    let (access, needs): (_, &[_]) = match name {
        "get" => (Read, &[("get", "")]),
        "list" => (Read, &[("list", "")]),
        "watch" => (Read, &[("watch", ""), ("list", "")]),
        "log" => (Read, &[("get", "log"), ("get", "")]),
        "create" => (Write, &[("create", "")]),
        "patch" => (Write, &[("patch", ""), ("get", "")]),
        "lock" => (Write, &[("update", ""), ("get", ""), ("create", ""), ("delete", "")]),
        "delete" => (Delete, &[("delete", "")]),
        "scale" => (Scale, &[("patch", "scale"), ("get", "scale"), ("get", "")]),
        "restart" => (Scale, &[("patch", ""), ("get", "")]),
        "exec" => (Exec, &[("create", "exec"), ("get", "exec"), ("get", "")]),
        "run" => (Run, &[("create", ""), ("get", ""), ("watch", ""), ("list", ""), ("delete", "")]),
        _ => return None,
    };
    Some(Verb { access, needs })
}

/// What RBAC must allow for a verb of a rule, as (verb, subresource). Empty for `*` and for what is no verb.
pub fn rbac_of(name: &str) -> &'static [(&'static str, &'static str)] {
    verb(name).map_or(&[], |verb| verb.needs)
}

impl Client {
    /// Whether the account may do everything there is: more than any binding should need.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn may_do_everything(&self, _authorized: &Authorized<Kubernetes>) -> Result<bool, Error> {
        let all = || "*".to_owned();
        let empty = String::new;
        let question = Question {
            verb: all(),
            group: all(),
            resource: all(),
            subresource: empty(),
            namespace: empty(),
            name: empty(),
        };
        self.may(&question).await
    }

    /// Ask about everything that the binding's rules name, as far as the slot is granted it.
    ///
    /// # Errors
    /// All that the cluster would refuse.
    pub async fn review(&self, authorized: &Authorized<Kubernetes>) -> Result<(), Error> {
        let binding = authorized.binding();
        let mut questions = Vec::new();
        for rule in binding.allow.iter().flatten() {
            let granted =
                rule.verbs.iter().filter_map(|name| verb(name)).filter(|verb| is_granted(authorized, verb.access));
            for (verb, subresource) in granted.filter_map(|verb| verb.needs.first()) {
                for resource in rule.resources.iter().filter(|resource| *resource != "*") {
                    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
                    let own = [self.namespace().to_owned()];
                    let namespaces = if rule.namespaces.is_empty() { &own[..] } else { &rule.namespaces };
                    questions.extend(namespaces.iter().filter(|namespace| *namespace != "*").map(|namespace| {
                        Question {
                            verb: (*verb).to_owned(),
                            group: group.to_owned(),
                            resource: resource.to_owned(),
                            subresource: (*subresource).to_owned(),
                            namespace: namespace.clone(),
                            name: exact(&rule.names),
                        }
                    }));
                }
            }
        }
        questions.sort();
        questions.dedup();
        questions.truncate(MOST);
        self.ask(authorized, &questions).await
    }

    /// Ask, several at a time.
    pub(crate) async fn ask(&self, _: &Authorized<Kubernetes>, questions: &[Question]) -> Result<(), Error> {
        self.ask_all(questions).await
    }

    /// The same for whoever has a client.
    pub(crate) async fn ask_all(&self, questions: &[Question]) -> Result<(), Error> {
        if questions.len() > MOST {
            return Err(Error::InvalidArgument(format!("at most {MOST} needs are looked up at once")));
        }
        let mut refused = Vec::new();
        for some in questions.chunks(8) {
            let answers = futures::future::join_all(some.iter().map(|question| self.may(question))).await;
            for (question, answer) in some.iter().zip(answers) {
                if !answer? {
                    refused.push(question.shown());
                }
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the cluster of binding `{}` will not let its account do this: {}; give the account a role that allows it",
            self.requests.cluster.0,
            refused.join("; ")
        );
        Err(crate::error::fault("Forbidden", message, false))
    }

    async fn may(&self, question: &Question) -> Result<bool, Error> {
        let attributes = json!({
            "verb": question.verb, "group": question.group, "resource": question.resource,
            "subresource": question.subresource, "namespace": question.namespace, "name": question.name,
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        });
        let call = Call {
            what: "asking what the account may do",
            method: Method::POST,
            path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            query: &[],
            body: Some(("application/json", review.to_string().into_bytes())),
        };
        Ok(self.requests.json(call).await?["status"]["allowed"] == true)
    }
}

/// The one name that a rule is about; empty for several, which RBAC cannot be asked about.
fn exact(names: &[String]) -> String {
    match names {
        [name] if !name.contains('*') => name.clone(),
        _ => String::new(),
    }
}
