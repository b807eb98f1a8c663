//! A run that does nothing, against the same component in bare wasmtime.

use crate::figure::{About, Figure};
use crate::host::{GUEST, Host, grant};
use crate::measure::{Rounds, Watch};
use rota_contract::ProcedurePre;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};

/// Runs a round on each side.
const RUNS: u32 = 1_000;

/// wasmtime with its pooling allocator and nothing else: no limits, no interruption, no WASI, imports that trap.
pub(crate) struct Bare {
    pub(crate) engine: Engine,
    pub(crate) pre: ProcedurePre<()>,
}

/// The settings of bare wasmtime.
fn bare() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // As many as the sandbox's own, and the keeping of touched pages that makes the pool worth having.
    pool.total_component_instances(32)
        .total_core_instances(3200)
        .total_memories(128)
        .total_tables(1280)
        .total_stacks(256)
        .max_core_instances_per_component(100)
        .max_memories_per_component(4)
        .max_tables_per_component(40)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_memory_size(1 << 30)
        .table_elements(100_000)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10);
    let mut config = Config::new();
    config.allocation_strategy(pool).memory_init_cow(true).wasm_component_model_async(true);
    config
}

impl Bare {
    pub(crate) fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let engine = Engine::new(&bare())?;
        let component = Component::from_binary(&engine, component)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = ProcedurePre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    async fn run(&self) -> wasmtime::Result<()> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.pre.instantiate_async(&mut store).await?;
        let report =
            store.run_concurrent(async |accessor| instance.call_run(accessor, "nothing".to_owned()).await).await??;
        report.map(|_| ()).map_err(|failure| wasmtime::Error::msg(failure.message))
    }
}

pub(crate) fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("bare wasmtime: {error:#}")
}

pub(crate) async fn measure(host: &Host, rounds: usize) -> anyhow::Result<Figure> {
    let bare = Bare::new(GUEST).map_err(told)?;
    let grants =
        || -> anyhow::Result<_> { Ok(vec![grant("database", "postgres://bench@127.0.0.1:1/bench", &["read"])?]) };
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let mut prepared = Vec::new();
        for _ in 0..RUNS {
            prepared.push(grants()?);
        }
        let watch = Watch::start();
        for granted in prepared {
            host.run("nothing", granted).await?;
        }
        let ours = watch.stop().each(RUNS.into());
        let watch = Watch::start();
        for _ in 0..RUNS {
            bare.run().await.map_err(told)?;
        }
        let theirs = watch.stop().each(RUNS.into());
        // The first round warms both up.
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let times = measured.times();
    Ok(Figure::in_turn(
        About {
            name: "noop",
            what: "no-op run: instantiate, run, drop, with limits and authority".into(),
            against: "bare wasmtime on the same component".into(),
            goal: "<= 1.5x time",
        },
        times,
        &measured,
        times.median <= 1.5,
        vec![format!(
            "{rounds} rounds of {RUNS} runs a side, in turn; by CPU time {:.2}x",
            measured.cpu_times().median
        )],
    ))
}
