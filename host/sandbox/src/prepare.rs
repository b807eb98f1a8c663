//! Components of ours that are begun once, when they are compiled, and not in each instance.
//!
//! A component of the host's own that exports `prepare` is run to the end of that call, with nothing granted, and compiled with the memory that
//! it left (Wizer's snapshot), so that each instance begins there. The component itself, and so its digest, stays as it is: what is kept beside
//! it is a compiled file of this machine's. A component of others is never run for this; its export is one that nobody calls.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, Lift, Linker, ResourceTable, ResourceType, WasmList};
use wasmtime::{Engine, OptLevel, RegallocAlgorithm, Result, Store, bail};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

/// The export that is run.
pub(crate) const PREPARE: &str = "prepare";

/// The component as it is after its `prepare`.
pub(crate) async fn prepared(component: &[u8], stack: usize) -> Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    // The export stays: nothing that is numbered behind it moves.
    wizer.init_func(PREPARE).keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(component)?;
    // It runs once and is thrown away: compiled fast, not well. It is ours, so nothing bounds it.
    let mut config = crate::engine::compiling(stack);
    config.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    config.epoch_interruption(false);
    let engine = Engine::new(&config)?;
    let instrumented = Component::new(&engine, &instrumented)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    refuse_contract(&mut linker, &engine, &instrumented)?;
    let mut store = Store::new(&engine, Alone { wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new() });
    let instance = linker.instantiate_async(&mut store, &instrumented).await?;
    let prepare = instance.get_typed_func::<(), ()>(&mut store, PREPARE)?;
    prepare.call_async(&mut store, ()).await?;
    wizer.snapshot_component(&context, &mut Access { store, instance }).await
}

/// What the contract offers traps: nothing of a host may be in what all runs begin with.
fn refuse_contract(linker: &mut Linker<Alone>, engine: &Engine, component: &Component) -> Result<()> {
    for (interface, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        if !interface.starts_with("rota:") {
            continue;
        }
        let mut linker = linker.instance(interface)?;
        for (name, export) in instance.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(func) if func.async_() => {
                    linker.func_new_concurrent(name, |_, _, _, _| Box::pin(async { bail!("no run has begun") }))?;
                }
                ComponentItem::ComponentFunc(_) => linker.func_new(name, |_, _, _, _| bail!("no run has begun"))?,
                ComponentItem::Resource(_) => linker.resource(name, ResourceType::host::<Alone>(), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// A guest that has WASI, which is empty, and nothing else.
struct Alone {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Alone {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What the snapshot reads an instance's memory and globals by: functions that the instrumented component exports for it.
struct Access {
    store: Store<Alone>,
    instance: Instance,
}

impl Access {
    /// The trait has no errors: these functions are Wizer's own and cannot fail but by a fault of it, or for want of memory.
    #[allow(clippy::expect_used, reason = "a snapshot that cannot be read has no other end here")]
    async fn read<R: Lift + 'static, T>(
        &mut self,
        instance: &str,
        func: &str,
        take: impl FnOnce(&Store<Alone>, R) -> T,
    ) -> T {
        let found = self.instance.get_export_index(&mut self.store, None, instance);
        let func = found.and_then(|found| self.instance.get_export_index(&mut self.store, Some(&found), func));
        let func = func.expect("the instrumented component exports its accessors");
        let func = self.instance.get_typed_func::<(), (R,)>(&mut self.store, func).expect("an accessor is of its type");
        let (value,) = func.call_async(&mut self.store, ()).await.expect("an accessor only reads");
        take(&self.store, value)
    }
}

impl ComponentInstanceState for Access {
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
