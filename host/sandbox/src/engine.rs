//! The engine: its settings, its clock, and what all runs share.

use crate::apart::Compiler;
use crate::cache::CompileCache;
use crate::meter::Ticker;
use rota_capability::{Capability, Guest, Services};
use std::path::PathBuf;
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, PoolingAllocationConfig};

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Runs at once. Address space is reserved for so many.
    pub instances: u32,
    /// The largest memory limit that a run can have, bytes.
    pub max_memory: u64,
    /// Wasm stack, bytes.
    pub stack: usize,
    /// Where compiled components are kept; none keeps nothing.
    pub cache: Option<PathBuf>,
    /// Who compiles components that are not ours; none has them compiled in this process, without bounds.
    pub compiler: Option<Compiler>,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self { instances: 32, max_memory: 1 << 30, stack: 512 << 10, cache: None, compiler: None }
    }
}

/// Why a sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its settings, or the machine its memory.
    #[error("the sandbox could not be set up: {0:#}; fewer [sandbox] pool_instances or a smaller pool_memory may help")]
    Engine(wasmtime::Error),
    /// The clock's thread could not be started.
    #[error("the sandbox's clock could not be started: {0}")]
    Clock(std::io::Error),
}

/// Core instances in one component: a Python guest has about 40.
const CORE_INSTANCES_PER_COMPONENT: u32 = 100;

/// Memories in one component. Guests have one or two; the pool reserves address space for each.
const MEMORIES_PER_COMPONENT: u32 = 4;

/// Tables in one component: a Python guest has one a library.
const TABLES_PER_COMPONENT: u32 = 40;

/// The sandbox of a host.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) services: Arc<Services>,
    pub(crate) cache: Option<CompileCache>,
    pub(crate) compiler: Option<Compiler>,
    pub(crate) ticker: Ticker,
    /// Wasm stack, bytes; for the error of a run that went over it.
    pub(crate) stack: usize,
}

impl Sandbox {
    /// Set it up with the capabilities that plugins may import.
    ///
    /// # Errors
    /// When the engine refuses the options, or two capabilities provide the same interface.
    pub fn new(options: SandboxOptions, capabilities: &[Arc<dyn Capability>]) -> Result<Self, SandboxError> {
        let engine = Engine::new(&config(&options)).map_err(SandboxError::Engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(SandboxError::Engine)?;
        let mut services = Services::default();
        for capability in capabilities {
            capability.link(&mut linker).map_err(SandboxError::Engine)?;
            capability.provide(&mut services);
        }
        let cache = options.cache.clone().map(|folder| CompileCache::new(folder, &engine));
        let ticker = Ticker::start(&engine).map_err(SandboxError::Clock)?;
        let compiler = options.compiler.clone();
        Ok(Self { engine, linker, services: Arc::new(services), cache, compiler, ticker, stack: options.stack })
    }

    /// What capabilities provided.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// The engine, for benches that measure against it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

fn config(options: &SandboxOptions) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.instances.max(1);
    let memory = usize::try_from(options.max_memory).unwrap_or(usize::MAX);
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(instances.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(instances.saturating_mul(TABLES_PER_COMPONENT))
        // A run has one stack for each call into the guest that waits.
        .total_stacks(instances.saturating_mul(8))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_memory_size(memory)
        .table_elements(100_000)
        // Dirty pages that are zeroed by hand instead of given back: what small guests touch.
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10);
    let mut config = compiling(options.stack);
    config.allocation_strategy(pool);
    config
}

/// What compiled code depends on. The pool is not part of it, so that a process that only compiles reserves none.
pub(crate) fn compiling(stack: usize) -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(true)
        .epoch_interruption(true)
        // Of a trap the names of functions are told, not places in the code: a map of those would be held for every instruction while a
        // component is compiled, and in the host as long as it is loaded.
        .generate_address_map(false)
        // Only debuggers and profilers of the system unwind by it: it costs memory while a component is compiled, and a registration in the
        // process for each that is loaded.
        .native_unwind_info(false)
        .wasm_component_model_async(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack + (1 << 20))
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    config
}
