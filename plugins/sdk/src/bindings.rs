//! What `wit-bindgen` makes of the contract in `wit/`. Plugins use the modules around it instead.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::expect_used)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "procedure",
    additional_derives: [PartialEq, Clone],
    generate_unused_types: true,
    pub_export_macro: true,
    export_macro_name: "__export_procedure",
    default_bindings_module: "::rota_sdk::bindings",
});
