//! From bytes to a plugin that can be run.

use crate::apart::Compiler;
use crate::digest;
use crate::engine::Sandbox;
use crate::inspect::{Inspected, NotAPlugin, inspect};
use rota_capability::Guest;
use rota_contract::{ProcedurePre, UndoablePre};
use std::sync::Arc;
use wasmtime::component::Component;

/// A checked, compiled plugin.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) pre: ProcedurePre<Guest>,
    pub(crate) undo: Option<UndoablePre<Guest>>,
    digest: Arc<str>,
    inspected: Arc<Inspected>,
}

impl Plugin {
    /// SHA-256 of the component, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it exports `compensate`, so that it may register compensations.
    pub fn undoable(&self) -> bool {
        self.undo.is_some()
    }

    /// The interfaces of `rota:runbook` that it imports.
    pub fn interfaces(&self) -> &[String] {
        &self.inspected.interfaces
    }
}

/// Why a component cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Refused before anything was compiled.
    #[error(transparent)]
    NotAPlugin(#[from] NotAPlugin),
    /// The compiler refused it.
    #[error("the component does not compile: {0}")]
    Compile(String),
    /// Compiling it takes more than any component may.
    #[error("the component takes {0} to compile, which is more than a component may take, and it was given up")]
    TooCostly(String),
    /// It does not fit the linker: an import or export has another type than the contract says.
    #[error("the component does not fit the contract: {0}; build it against the wit/ of this version")]
    Link(String),
}

impl Sandbox {
    /// Check and compile a component, or take it from the cache. Where there is a [`Compiler`](crate::Compiler), it compiles, within its bounds.
    ///
    /// # Errors
    /// [`LoadError`], which names what is wrong with it.
    pub async fn load(self: &Arc<Self>, component: impl Into<Arc<[u8]>>) -> Result<Plugin, LoadError> {
        self.load_by(component.into(), self.compiler.clone()).await
    }

    /// The same of a component that is ours, as the binary itself is: it is compiled in this process.
    ///
    /// # Errors
    /// As for [`Sandbox::load`].
    pub async fn load_own(self: &Arc<Self>, component: impl Into<Arc<[u8]>>) -> Result<Plugin, LoadError> {
        self.load_by(component.into(), None).await
    }

    async fn load_by(self: &Arc<Self>, component: Arc<[u8]>, compiler: Option<Compiler>) -> Result<Plugin, LoadError> {
        let sandbox = self.clone();
        // Compiling takes seconds for a large component: not on the threads that runs are driven by.
        let loaded = tokio::task::spawn_blocking(move || sandbox.load_blocking(&component, compiler)).await;
        loaded.unwrap_or_else(|error| Err(LoadError::Compile(format!("the compiler broke: {error}"))))
    }

    fn load_blocking(&self, bytes: &[u8], compiler: Option<Compiler>) -> Result<Plugin, LoadError> {
        let inspected = inspect(bytes)?;
        let digest = digest(bytes);
        let component = self.compiled(bytes, &digest, compiler)?;
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(&component).map_err(link)?;
        let undo = if inspected.undoable { Some(UndoablePre::new(pre.clone()).map_err(link)?) } else { None };
        let pre = ProcedurePre::new(pre).map_err(link)?;
        Ok(Plugin { pre, undo, digest: digest.into(), inspected: Arc::new(inspected) })
    }

    fn compiled(&self, bytes: &[u8], digest: &str, compiler: Option<Compiler>) -> Result<Component, LoadError> {
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.get(&self.engine, digest)) {
            return Ok(component);
        }
        let artifact = match compiler {
            Some(compiler) => compiler.compile(bytes, self.stack)?,
            None => {
                let compiled = self.engine.precompile_component(bytes);
                compiled.map_err(|error| LoadError::Compile(format!("{error:#}")))?
            }
        };
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(digest, &artifact)
        {
            tracing::warn!(%error, "the compiled component could not be kept; it will be compiled again next time");
        }
        // SAFETY: this process, or one of its own executable that it started for this and that nobody else wrote to, just serialised it.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(&self.engine, artifact) };
        let component = component.map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        Ok(component)
    }
}
