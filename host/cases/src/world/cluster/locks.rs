//! Locks: leases, each with its holder.

use super::Key;
use crate::world::ask::{Ask, Refused};
use crate::world::reply::Reply;
use crate::world::{Held, World};
use rota_authority::{Effect, EffectClass, Exact, Kubernetes, KubernetesAccess, Mode};
use rota_capability::RunContext;
use rota_contract::Error;
use std::sync::Arc;

impl World {
    pub(super) async fn lock(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.lock", slot, &[KubernetesAccess::Write])?;
        let seconds = ask.number("seconds").unwrap_or_default();
        if !(5..=3600).contains(&seconds) {
            return Err(Error::InvalidArgument("a lock lasts between 5 and 3600 seconds".into()).into());
        }
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let key = Key {
            api_version: "coordination.k8s.io/v1".into(),
            kind: "Lease".into(),
            namespace: ask.some_text("namespace").unwrap_or(own),
            name: ask.text("name"),
        };
        let identity = run.gate.identity();
        let holder = format!("rota/{}/{}", identity.job, identity.run);
        let by = self.cluster(slot, |cluster| cluster.locks.get(&key.shown()).cloned()).filter(|by| *by != holder);
        let taken = |by: &str| {
            let (namespace, name) = (&key.namespace, &key.name);
            Error::Conflict(format!(
                "the lock {namespace}/{name} is held by {by}; wait until it ends, or look at what it does"
            ))
        };
        let mut detail = format!("take the lock as {holder}");
        if run.gate.mode() == Mode::Plan
            && let Some(by) = &by
        {
            detail += &format!("\nit would be refused: {by} holds it");
        }
        let exact = Exact::of([format!("{seconds}")]);
        let effect = Effect { object: key.shown(), detail, class: EffectClass::Write, exact };
        let permit = self.effect(&authorized, effect).await?;
        match permit {
            None => {
                if let Some(by) = &by {
                    return Err(taken(by).into());
                }
            }
            Some(permit) => {
                let result = match (self.told(run, ask).await, &by) {
                    (Err(error), _) => Err(error),
                    (Ok(_), Some(by)) => Err(taken(by)),
                    (Ok(_), None) => {
                        self.cluster(slot, |cluster| cluster.locks.insert(key.shown(), holder.clone()));
                        Ok(())
                    }
                };
                self.conclude(ask, permit, result, |()| "taken".to_owned()).await?;
            }
        }
        self.hold(ask.number, Held::Lock { slot: slot.to_owned(), object: key.shown() });
        Ok(Reply::nothing())
    }

    pub(super) async fn release(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let object = match &ask.held {
            Some(Held::Lock { object, .. }) => object.clone(),
            _ => String::new(),
        };
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.release", slot, &[KubernetesAccess::Write])?;
        let effect = Effect {
            object: object.clone(),
            detail: "give the lock back".to_owned(),
            class: EffectClass::Write,
            exact: Exact::shown(),
        };
        let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::nothing()) };
        let result = self.told(run, ask).await.map(|_| {
            self.cluster(slot, |cluster| cluster.locks.remove(&object));
        });
        self.conclude(ask, permit, result, |()| "given back".to_owned()).await?;
        Ok(Reply::nothing())
    }
}
