//! Generated from `wit/sql.wit`: the types of the contract, and the traits that [`crate::host`] implements.

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package rota:host-sql;

        world host {
            import rota:runbook/sql@0.1.0;
        }
    ",
    world: "rota:host-sql/host",
    with: {
        "rota:runbook/types": rota_contract::types,
        "rota:runbook/sql.session": crate::Session,
        "rota:runbook/sql.transaction": crate::Transaction,
    },
    imports: { default: trappable },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});

pub use rota::runbook::sql::*;
