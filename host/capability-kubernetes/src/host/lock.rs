//! Locks of a guest.

use super::kubernetes::{self, Kind, Object};
use super::{Answer, Call, HeldLock, Host};
use crate::lock::taken;
use rota_authority::{Decision, Effect, EffectClass, Exact, KubernetesAccess, Mode};
use rota_capability::tape::{Plain, ask, called_through};
use rota_capability::{Guest, begin, denied, refused};
use rota_contract::Error;
use wasmtime::component::{Accessor, Resource};

impl Call {
    pub(super) async fn lock(&self, name: String, namespace: Option<String>, seconds: u32) -> Result<HeldLock, Error> {
        const OPERATION: &str = "kubernetes.lock";
        let authorized = self.authorise(OPERATION, &[KubernetesAccess::Write])?;
        if !(5..=3600).contains(&seconds) {
            return Err(Error::InvalidArgument("a lock lasts between 5 and 3600 seconds".into()));
        }
        let kind = Kind { api_version: "coordination.k8s.io/v1".to_owned(), name: "Lease".to_owned() };
        let place = self.client().place(&authorized, OPERATION, &Object { kind, namespace, name }).await?;
        self.client().admit(&authorized, OPERATION, "lock", &place).await?;
        let identity = authorized.gate().identity();
        let holder = format!("rota/{}/{}", identity.job, identity.run);
        // Its holder is the run, which is another than the plan.
        let exact = Exact::of([format!("{seconds}")]);
        let effect = |detail| Effect { object: place.shown(), detail, class: EffectClass::Write, exact: exact.clone() };
        let detail = format!("take the lock as {holder}");
        let lock = if authorized.gate().mode() == Mode::Plan {
            let (by, _) = self.client().holder(&authorized, &place).await?;
            let held = by.as_ref().map_or_else(String::new, |by| format!("\nit would be refused: {by} holds it"));
            drop(authorized.effect(effect(detail + &held)).await.map_err(refused)?);
            if let Some(by) = by {
                return Err(taken(&place, &by));
            }
            None
        } else {
            match authorized.effect(effect(detail)).await.map_err(refused)? {
                Decision::Planned => None,
                Decision::Perform(permit) => {
                    let result = self.client().lock(&permit, &place, &holder, seconds).await;
                    Some(permit.conclude(result, |_| "taken".to_owned()).await?)
                }
            }
        };
        Ok(HeldLock { slot: self.cluster.slot.clone(), object: place.shown(), lock })
    }
}

impl<T: Send + 'static> kubernetes::HostLockWithStore<T> for Host {
    async fn check(accessor: &Accessor<T, Self>, lock: Resource<HeldLock>) -> Answer<()> {
        let asking = ask(accessor, "kubernetes.lock.check", Some(lock.rep()), |asked| asked);
        called_through(accessor, asking, Plain, async {
            let (_guard, checked) = begin(accessor, |guest| {
                let held = guest.table.get(&lock)?;
                Ok(held.lock.as_ref().map_or(Ok(()), crate::lock::Lock::check))
            })?;
            Ok(checked)
        })
        .await
    }

    async fn release(accessor: &Accessor<T, Self>, lock: Resource<HeldLock>) -> Answer<()> {
        let asking = ask(accessor, "kubernetes.lock.release", Some(lock.rep()), |asked| asked);
        called_through(accessor, asking, Plain, release(accessor, &lock)).await
    }
}

async fn release<T: Send + 'static>(accessor: &Accessor<T, Host>, lock: &Resource<HeldLock>) -> Answer<()> {
    let (guard, (slot, object)) = begin(accessor, |guest| {
        let held = guest.table.get(lock)?;
        Ok((held.slot.clone(), held.object.clone()))
    })?;
    let decided = async {
        let gate = &guard.run().gate;
        let authorized = gate
            .authorise::<rota_authority::Kubernetes>("kubernetes.release", &slot, &[KubernetesAccess::Write])
            .map_err(denied)?;
        let effect = Effect {
            object,
            detail: "give the lock back".to_owned(),
            class: EffectClass::Write,
            exact: Exact::shown(),
        };
        authorized.effect(effect).await.map_err(refused)
    };
    let permit = match decided.await {
        Ok(Decision::Perform(permit)) => permit,
        Ok(Decision::Planned) => return Ok(Ok(())),
        Err(error) => return Ok(Err(error)),
    };
    let releasing = accessor.with(|mut access| {
        let held: wasmtime::Result<&mut HeldLock> = Ok(access.get().table.get_mut(lock)?);
        held.map(|held| held.lock.as_mut().map(crate::lock::Lock::release))
    })?;
    let result = match releasing {
        Some(releasing) => releasing.await,
        None => Ok(()),
    };
    Ok(permit.conclude(result, |()| "given back".to_owned()).await)
}

impl kubernetes::HostLock for &mut Guest {
    fn drop(&mut self, lock: Resource<HeldLock>) -> wasmtime::Result<()> {
        self.release(lock)
    }
}
