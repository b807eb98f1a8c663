//! How a host gets it.

use crate::host::Sql;
use crate::pool::Sessions;
use rota_capability::{Capability, Guest, Services, guest};
use wasmtime::component::Linker;

/// PostgreSQL for guests. Keep a clone of its [`Sessions`] to wait for cancels before the process exits.
#[derive(Clone, Default)]
pub struct SqlCapability {
    sessions: Sessions,
}

impl SqlCapability {
    /// The sessions of the host.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

impl Capability for SqlCapability {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["sql"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        crate::wit::add_to_linker::<Guest, Sql>(linker, guest)
    }

    fn provide(&self, services: &mut Services) {
        services.provide(self.sessions.clone());
    }
}
