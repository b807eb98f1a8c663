//! Commands in pods, and jobs. Both are answered by the case.

use super::Key;
use super::changes::described;
use crate::world::World;
use crate::world::ask::{Ask, Refused};
use crate::world::programs::Child;
use crate::world::reply::Reply;
use rota_authority::{Effect, EffectClass, Exact, Kubernetes, KubernetesAccess};
use rota_capability::RunContext;
use rota_contract::Error;
use serde_json::Value;
use std::sync::Arc;

impl World {
    pub(super) async fn exec(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized = self.authorise::<Kubernetes>(&run.gate, "kubernetes.exec", slot, &[KubernetesAccess::Exec])?;
        let command = ask.arguments.get("command").cloned().unwrap_or_default();
        let words: Vec<String> = command
            .get("words")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        if words.is_empty() || words.iter().any(|word| word.contains('\0')) {
            let text = "a command has at least one word, and none with a NUL";
            return Err(Error::InvalidArgument(text.into()).into());
        }
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let word = |key: &str| command.get(key).and_then(Value::as_str).map(str::to_owned);
        let (namespace, name) = (word("namespace").unwrap_or(own), word("pod").unwrap_or_default());
        let pod = Key { api_version: "v1".into(), kind: "Pod".into(), namespace, name };
        let effect = Effect {
            object: pod.shown(),
            detail: rota_telemetry::mask(&quoted(&words)).into_owned(),
            class: EffectClass::Destructive,
            exact: Exact::of(&words),
        };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            return Ok(self.child(ask, Child::planned()));
        };
        drop(self.incoming(run, ask).await?);
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        self.started(ask, permit, &answer, &words[0]).await
    }

    pub(super) async fn run_job(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        const OPERATION: &str = "kubernetes.run-job";
        let authorized = self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &[KubernetesAccess::Run])?;
        let job = ask.arguments.get("job").cloned().unwrap_or_default();
        let word = |key: &str| job.get(key).and_then(Value::as_str).map(str::to_owned);
        if job.get("secret-variables").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
            let both = [KubernetesAccess::Run, KubernetesAccess::Secrets];
            self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &both)?;
        }
        let image = word("image").unwrap_or_default();
        if !image.contains("@sha256:") {
            let text = format!("the image `{image}` is not pinned by digest: registry/name@sha256:...");
            return Err(Error::InvalidArgument(text).into());
        }
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let name = format!("{}-case", word("name").unwrap_or_default());
        let key = Key {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            namespace: word("namespace").unwrap_or(own),
            name,
        };
        let detail = format!("create {}", described(&key, &job));
        let effect =
            Effect { object: key.shown(), detail, class: EffectClass::Write, exact: Exact::of([job.to_string()]) };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            return Ok(self.child(ask, Child::planned()));
        };
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        self.started(ask, permit, &answer, "the job").await
    }
}

/// Words as a shell would read them.
fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%*".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}
