//! What `wit-bindgen` makes of the contract in `wit/`. Plugins use the modules around it instead.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::expect_used)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "procedure",
    additional_derives: [PartialEq, Clone],
    // They hold a handle, which has one owner.
    additional_derives_ignore: ["doubt", "begun"],
    generate_unused_types: true,
    pub_export_macro: true,
    export_macro_name: "__export_procedure",
    default_bindings_module: "::rota_sdk::bindings",
});

/// The world of a procedure that can undo, over the same types: a component that has no `compensate` must not export one.
pub mod undoable {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "undoable-procedure",
        with: {
            "rota:runbook/types@0.1.0": super::rota::runbook::types,
            "rota:runbook/reports@0.1.0": super::rota::runbook::reports,
            "rota:runbook/run@0.1.0": super::rota::runbook::run,
            "rota:runbook/sql@0.1.0": super::rota::runbook::sql,
            "rota:runbook/storage@0.1.0": super::rota::runbook::storage,
            "rota:runbook/tools@0.1.0": super::rota::runbook::tools,
            "rota:runbook/process@0.1.0": super::rota::runbook::process,
            "rota:runbook/bytes@0.1.0": super::rota::runbook::bytes,
            "rota:runbook/cache@0.1.0": super::rota::runbook::cache,
            "rota:runbook/kubernetes@0.1.0": super::rota::runbook::kubernetes,
            "rota:runbook/jetstream@0.1.0": super::rota::runbook::jetstream,
        },
        pub_export_macro: true,
        export_macro_name: "__export_undoable_procedure",
        default_bindings_module: "::rota_sdk::bindings::undoable",
    });
}

/// Of what is in the host's own binary only: the host runs it once when it compiles the component, and keeps the memory that it leaves as what
/// each instance begins with. It is no part of the contract; a component of others that exports it is compiled as it is.
pub mod prepared {
    wit_bindgen::generate!({
        inline: "package rota:prepared; world prepared { export prepare: func(); }",
        pub_export_macro: true,
        export_macro_name: "__export_prepared",
        default_bindings_module: "::rota_sdk::bindings::prepared",
    });
}
