//! From a change to an effect on record: in a plan it is tried as the server's dry run, and shown with the difference that it would make.

use super::Call;
use crate::host::kubernetes::{Job, Kind, Object};
use crate::reach::Place;
use crate::write::Change;
use crate::{exec, job, secrets};
use rota_authority::{Authorized, Decision, Effect, EffectClass, Exact, Kubernetes, KubernetesAccess, Mode, Permit};
use rota_capability::streams::Reader;
use rota_capability::{Child, Digest, refused};
use rota_contract::Error;
use serde_json::Value;

impl Call {
    /// Make a change, or in a plan have it tried.
    pub(super) async fn change(&self, authorized: &Authorized<Kubernetes>, change: &Change) -> Result<Value, Error> {
        match self.decide(authorized, change).await? {
            Decided::Tried(tried) => tried,
            Decided::Perform(permit) => {
                let result = self.client().make(&permit, change).await;
                permit.conclude(result, |_| "accepted by the cluster".to_owned()).await
            }
        }
    }

    async fn decide(&self, authorized: &Authorized<Kubernetes>, change: &Change) -> Result<Decided, Error> {
        let object = change.place.shown();
        if authorized.gate().mode() == Mode::Execute {
            let effect = Effect { object, detail: change.words.clone(), class: change.class, exact: change.exact() };
            return match authorized.effect(effect).await.map_err(refused)? {
                Decision::Perform(permit) => Ok(Decided::Perform(permit)),
                Decision::Planned => Ok(Decided::Tried(Ok(Value::Null))),
            };
        }
        let before = match change.has_difference() {
            true => self.client().get(authorized, &change.place).await.unwrap_or(Value::Null),
            false => Value::Null,
        };
        let tried = self.client().try_out(authorized, change).await;
        let detail = change.planned(&before, &tried);
        let decision = authorized
            .effect(Effect { object, detail, class: change.class, exact: change.exact() })
            .await
            .map_err(refused)?;
        drop(decision);
        Ok(Decided::Tried(tried))
    }

    /// Refuse a document that sets values of Secrets, or takes them into a pod, without `secrets`.
    pub(super) fn check_secrets(&self, operation: &'static str, place: &Place, document: &Value) -> Result<(), Error> {
        if place.resource.is_secret() || secrets::are_used_by(document) {
            self.authorise(operation, &[KubernetesAccess::Secrets])?;
        }
        Ok(())
    }

    pub(super) async fn create(&self, text: &str) -> Result<String, Error> {
        const OPERATION: &str = "kubernetes.create";
        let authorized = self.authorise(OPERATION, &[KubernetesAccess::Write])?;
        let mut document = self.document(text)?;
        let word = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (Some(api_version), Some(name)) = (word("/apiVersion"), word("/kind")) else {
            return Err(Error::InvalidArgument("an object has an apiVersion and a kind".into()));
        };
        let Some(own) = word("/metadata/name") else {
            return Err(Error::InvalidArgument(
                "an object has a metadata.name; generateName is not taken, because a retry would make another one"
                    .into(),
            ));
        };
        let object = Object { kind: Kind { api_version, name }, namespace: word("/metadata/namespace"), name: own };
        let place = self.client().place(&authorized, OPERATION, &object).await?;
        if place.resource.namespaced {
            document["metadata"]["namespace"] = place.namespace.clone().into();
        }
        self.client().admit_new(&authorized, OPERATION, "create", &place, &document)?;
        self.check_secrets(OPERATION, &place, &document)?;
        let change = Change::create(place.clone(), &document);
        let made = self.change(&authorized, &change).await?;
        Ok(crate::read::shown(&authorized, &place, made))
    }

    /// Run a command, or in a plan only put it on record.
    pub(super) async fn exec(
        &self,
        command: super::kubernetes::Command,
        stdin: Option<Reader>,
        written: Option<Digest>,
    ) -> Result<Child, Error> {
        const OPERATION: &str = "kubernetes.exec";
        let authorized = self.authorise(OPERATION, &[KubernetesAccess::Exec])?;
        if command.words.is_empty() || command.words.iter().any(|word| word.contains('\0')) {
            return Err(Error::InvalidArgument("a command has at least one word, and none with a NUL".into()));
        }
        let pod = self.client().pod(&authorized, OPERATION, command.namespace, &command.pod).await?;
        self.client().admit(&authorized, OPERATION, "exec", &pod).await?;
        let command =
            exec::Command { pod, container: command.container, words: command.words, verified: command.verified };
        // Of what is sent to its input: that something is, and what the guest wrote itself.
        let container = command.container.clone().unwrap_or_default();
        let input = stdin.as_ref().map(|_| written.as_ref().map_or(&b"a stream"[..], |digest| &digest[..]));
        let exact = Exact::of([&container].into_iter().chain(&command.words)).with(input);
        let effect =
            Effect { object: command.pod.shown(), detail: command.shown(), class: EffectClass::Destructive, exact };
        match authorized.effect(effect).await.map_err(refused)? {
            Decision::Planned => Ok(Child::planned()),
            Decision::Perform(permit) => {
                let stdin = stdin.map(|reader| self.guard.run().sending(reader));
                let running = self.client().exec(permit, command, stdin).await?;
                Ok(Child::new(running.until_stopped(self.guard.run())))
            }
        }
    }

    /// Run a job, or in a plan have its manifest tried.
    pub(super) async fn run_job(&self, job: &Job) -> Result<Child, Error> {
        const OPERATION: &str = "kubernetes.run-job";
        let authorized = self.authorise(OPERATION, &[KubernetesAccess::Run])?;
        let kind = Kind { api_version: "batch/v1".to_owned(), name: "Job".to_owned() };
        let object = Object { kind, namespace: job.namespace.clone(), name: job::name_of(job)? };
        let place = self.client().place(&authorized, OPERATION, &object).await?;
        let manifest = job::manifest(&place, job, &authorized.gate().identity().run)?;
        self.client().admit_new(&authorized, OPERATION, "run", &place, &manifest)?;
        if !job.secret_variables.is_empty() {
            self.authorise(OPERATION, &[KubernetesAccess::Run, KubernetesAccess::Secrets])?;
        }
        let change = Change::create(place, &manifest);
        match self.decide(&authorized, &change).await? {
            Decided::Tried(tried) => tried.map(|_| Child::planned()),
            Decided::Perform(permit) => {
                let deadline = std::time::Duration::from_secs(job.deadline_seconds.max(1).into());
                let running = self.client().run_job(permit, change, deadline).await?;
                Ok(Child::new(running.until_stopped(self.guard.run())))
            }
        }
    }
}

/// What becomes of a change.
enum Decided {
    /// The run is a plan: what the dry run said.
    Tried(Result<Value, Error>),
    /// It may happen now.
    Perform(Permit<Kubernetes>),
}
