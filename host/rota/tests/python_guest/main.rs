//! Plugins in Python: the example as a user builds and runs it, and a probe of what Python can do in the sandbox.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `component` | from app.py to a compiled component, once for each content |
//! | `table_sizes` | examples/plugins/python-table-sizes: its report against the server's own answers, denied, planned |
//! | `contract` | each shape of the contract from Python |
//! | `sandbox` | nothing of the machine is there; limits and breakdowns are named; what it costs |

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect by unwrapping")]

mod component;
mod contract;
mod sandbox;
mod table_sizes;

/// The binary under test, with the compiled components of this target folder.
fn rota() -> rota_tests::Rota {
    rota_tests::Rota::new(env!("CARGO_BIN_EXE_rota"), component::COMPILED).unwrap()
}
