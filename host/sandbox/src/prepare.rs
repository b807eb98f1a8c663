//! Components of ours that are begun once, when they are compiled, and not in each instance.
//!
//! A component of the host's own that exports `prepare` is run to the end of that call, with nothing granted, and compiled with the memory that
//! it left (Wizer's snapshot), so that each instance begins there. The component itself, and so its digest, stays as it is: what is kept beside
//! it is a compiled file of this machine's. A component of others is never run for this; its export is one that nobody calls.

use crate::engine::Sandbox;
use rota_capability::{Guest, Limits};
use std::time::Duration;
use wasmtime::component::{Component, Instance, Lift, WasmList};
use wasmtime::{Result, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

/// The export that is run.
pub(crate) const PREPARE: &str = "prepare";

impl Sandbox {
    /// The component as it is after its `prepare`.
    pub(crate) async fn prepared(&self, component: &[u8]) -> Result<Vec<u8>> {
        let mut wizer = Wizer::new();
        // The export stays: nothing that is numbered behind it moves.
        wizer.init_func(PREPARE).keep_init_func(true);
        let (context, instrumented) = wizer.instrument_component(component)?;
        let instrumented = Component::new(&self.engine, &instrumented)?;
        let limits = Limits { cpu: Duration::from_secs(2), wall: Duration::from_secs(10), ..Limits::default() };
        let mut held = self.hold_without_grants(limits);
        let (meter, store) = (held.meter.clone(), &mut held.store);
        let began = meter.metered(async {
            let instance = self.linker.instantiate_async(&mut *store, &instrumented).await?;
            let prepare = instance.get_typed_func::<(), ()>(&mut *store, PREPARE)?;
            prepare.call_async(&mut *store, ()).await?;
            Ok::<_, wasmtime::Error>(instance)
        });
        let instance = began.await?;
        wizer.snapshot_component(&context, &mut Access { store: &mut held.store, instance }).await
    }
}

/// What the snapshot reads an instance's memory and globals by: functions that the instrumented component exports for it.
struct Access<'s> {
    store: &'s mut Store<Guest>,
    instance: Instance,
}

impl Access<'_> {
    /// The trait has no errors: these functions are Wizer's own and cannot fail but by a fault of it, or for want of memory.
    #[allow(clippy::expect_used, reason = "a snapshot that cannot be read has no other end here")]
    async fn read<R: Lift + 'static, T>(
        &mut self,
        instance: &str,
        func: &str,
        take: impl FnOnce(&Store<Guest>, R) -> T,
    ) -> T {
        let found = self.instance.get_export_index(&mut *self.store, None, instance);
        let func = found.and_then(|found| self.instance.get_export_index(&mut *self.store, Some(&found), func));
        let func = func.expect("the instrumented component exports its accessors");
        let func =
            self.instance.get_typed_func::<(), (R,)>(&mut *self.store, func).expect("an accessor is of its type");
        let (value,) = func.call_async(&mut *self.store, ()).await.expect("an accessor only reads");
        take(self.store, value)
    }
}

impl ComponentInstanceState for Access<'_> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.read(instance, func, |store, list: WasmList<u8>| contents(list.as_le_slice(store))).await
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func, |_, value| value).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func, |_, value| value).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read(instance, func, |_, value: f32| value.to_bits()).await
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read(instance, func, |_, value: f64| value.to_bits()).await
    }
}
