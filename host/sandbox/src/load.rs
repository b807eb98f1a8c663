//! From bytes to a plugin that can be run.

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

/// A component of the host's own that another one is, but for the bytes in one place: its data, which it reads there.
pub struct Base {
    /// The component, with zeros in the place.
    pub component: Vec<u8>,
    /// The place, with at least what it begins with that is found nowhere else.
    pub place: std::ops::Range<usize>,
}

/// Finds what a component was made of.
type FindBase = Box<dyn FnOnce(&[u8]) -> Option<Base> + Send>;

/// Whose component it is, and so how it is compiled.
enum Compiling {
    /// The host's own: in this process, and begun ahead where it says how.
    Own,
    /// Somebody's: apart, where there is a compiler.
    Foreign,
    /// One of the host's own that somebody's data stands in.
    Filled(FindBase),
}

impl Sandbox {
    /// Check and compile a component, or take it from the cache. Where there is a [`Compiler`](crate::Compiler), it compiles, within its bounds.
    ///
    /// # Errors
    /// [`LoadError`], which names what is wrong with it.
    pub async fn load(self: &Arc<Self>, component: impl Into<Arc<[u8]>>) -> Result<Plugin, LoadError> {
        self.load_by(component.into(), Compiling::Foreign).await
    }

    /// The same of a component that is ours, as the binary itself is: it is compiled in this process.
    ///
    /// # Errors
    /// As for [`Sandbox::load`].
    pub async fn load_own(self: &Arc<Self>, component: impl Into<Arc<[u8]>>) -> Result<Plugin, LoadError> {
        self.load_by(component.into(), Compiling::Own).await
    }

    /// The same of a component that may be one of ours but for the data in one place of it. If `base` finds that, ours is compiled, once for
    /// all that are made of it, and the data is put into its place in what was compiled; else it is compiled like any other.
    ///
    /// # Errors
    /// As for [`Sandbox::load`].
    pub async fn load_filled(
        self: &Arc<Self>,
        component: impl Into<Arc<[u8]>>,
        base: impl FnOnce(&[u8]) -> Option<Base> + Send + 'static,
    ) -> Result<Plugin, LoadError> {
        self.load_by(component.into(), Compiling::Filled(Box::new(base))).await
    }

    async fn load_by(self: &Arc<Self>, component: Arc<[u8]>, compiling: Compiling) -> Result<Plugin, LoadError> {
        let sandbox = self.clone();
        // Compiling takes seconds for a large component: not on the threads that runs are driven by.
        let loaded = tokio::task::spawn_blocking(move || sandbox.load_blocking(&component, compiling)).await;
        loaded.unwrap_or_else(|error| Err(LoadError::Compile(format!("the compiler broke: {error}"))))
    }

    fn load_blocking(&self, bytes: &[u8], compiling: Compiling) -> Result<Plugin, LoadError> {
        let inspected = inspect(bytes)?;
        let digest = digest(bytes);
        let component = match self.cache.as_ref().and_then(|cache| cache.get(&self.engine, &digest)) {
            Some(component) => component,
            None => {
                let artifact = match compiling {
                    Compiling::Own => self.compile_own(bytes, &digest, inspected.prepares)?,
                    Compiling::Foreign => self.compile_foreign(bytes, &digest)?,
                    Compiling::Filled(base) => self.compile_filled(bytes, &digest, base)?,
                };
                // SAFETY: this process, or one of its own executable that it started for this and that nobody else wrote to, just serialised
                // it, or has read it as `CompileCache` does; what was filled in is the content of a data segment.
                #[allow(unsafe_code)]
                let component = unsafe { Component::deserialize(&self.engine, artifact) };
                component.map_err(|error| LoadError::Compile(format!("{error:#}")))?
            }
        };
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let pre = self.linker.instantiate_pre(&component).map_err(link)?;
        let undo = if inspected.undoable { Some(UndoablePre::new(pre.clone()).map_err(link)?) } else { None };
        let pre = ProcedurePre::new(pre).map_err(link)?;
        Ok(Plugin { pre, undo, digest: digest.into(), inspected: Arc::new(inspected) })
    }

    fn compile_own(&self, bytes: &[u8], digest: &str, prepares: bool) -> Result<Vec<u8>, LoadError> {
        let prepared =
            prepares.then(|| tokio::runtime::Handle::current().block_on(crate::prepare::prepared(bytes, self.stack)));
        let compile = |bytes: &[u8]| {
            let compiled = self.engine.precompile_component(bytes);
            compiled.map_err(|error| LoadError::Compile(format!("{error:#}")))
        };
        match prepared {
            None => compile(bytes).inspect(|artifact| self.keep(digest, artifact)),
            Some(Ok(prepared)) => compile(&prepared).inspect(|artifact| self.keep(digest, artifact)),
            // It begins in each instance then. Not kept: the next time may go better.
            Some(Err(error)) => {
                tracing::warn!("a plugin of this host's could not be begun ahead and starts slower: {error:#}");
                compile(bytes)
            }
        }
    }

    fn compile_foreign(&self, bytes: &[u8], digest: &str) -> Result<Vec<u8>, LoadError> {
        let artifact = match &self.compiler {
            Some(compiler) => compiler.compile(bytes, self.stack)?,
            None => {
                let compiled = self.engine.precompile_component(bytes);
                compiled.map_err(|error| LoadError::Compile(format!("{error:#}")))?
            }
        };
        self.keep(digest, &artifact);
        Ok(artifact)
    }

    fn compile_filled(
        &self,
        bytes: &[u8],
        digest: &str,
        base: impl FnOnce(&[u8]) -> Option<Base>,
    ) -> Result<Vec<u8>, LoadError> {
        let Some(base) = base(bytes) else { return self.compile_foreign(bytes, digest) };
        let own = crate::digest(&base.component);
        let mut artifact = match self.cache.as_ref().and_then(|cache| cache.artifact(&own)) {
            Some(artifact) => artifact,
            None => self.compile_own(&base.component, &own, inspect(&base.component)?.prepares)?,
        };
        match fill(&mut artifact, &base, bytes) {
            true => self.keep(digest, &artifact),
            false => return self.compile_foreign(bytes, digest),
        }
        Ok(artifact)
    }

    fn keep(&self, digest: &str, artifact: &[u8]) {
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(digest, artifact)
        {
            tracing::warn!(%error, "the compiled component could not be kept; it will be compiled again next time");
        }
    }
}

/// Put what a component has in the base's place into the compiled base: its data stands in there as it does in the component. Where the place is
/// not found whole and only once, nothing is done.
fn fill(artifact: &mut [u8], base: &Base, component: &[u8]) -> bool {
    let (Some(empty), Some(filled)) = (base.component.get(base.place.clone()), component.get(base.place.clone()))
    else {
        return false;
    };
    let mut found = memchr::memmem::find_iter(artifact, empty);
    let (Some(at), None) = (found.next(), found.next()) else { return false };
    drop(found);
    artifact[at..at + filled.len()].copy_from_slice(filled);
    true
}

#[cfg(test)]
mod tests {
    use super::{Base, fill};

    #[test]
    fn data_goes_into_its_place_where_that_stands_once() {
        let base = Base { component: b"ab<mark>\0\0\0\0cd".to_vec(), place: 2..12 };
        let component = b"ab<mark>datacd";
        let mut artifact = b"....<mark>\0\0\0\0....".to_vec();
        assert!(fill(&mut artifact, &base, component));
        assert_eq!(artifact, b"....<mark>data....");
        // Where the place is filled, missing or there twice, nothing is touched.
        for artifact in [&b"....<mark>data...."[..], b"........", b"<mark>\0\0\0\0<mark>\0\0\0\0", b"<mark>\0\0\0"] {
            let mut touched = artifact.to_vec();
            assert!(!fill(&mut touched, &base, component));
            assert_eq!(touched, artifact);
        }
        let cut = Base { component: b"ab".to_vec(), place: 2..12 };
        assert!(!fill(&mut artifact, &cut, component));
    }
}
