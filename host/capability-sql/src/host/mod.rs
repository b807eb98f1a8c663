//! The WIT side of `sql`. Each import does the same steps in the same order: classify, authorise, decide on the effect, call
//! the client.

pub mod judge;
mod rows;
mod session;
mod transaction;

use rota_capability::Guest;
use wasmtime::component::HasData;

/// The interface, for the linker.
pub struct Sql;

impl HasData for Sql {
    type Data<'a> = &'a mut Guest;
}

impl crate::wit::Host for &mut Guest {}
