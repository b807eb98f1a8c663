//! Mistakes are found when the plugin is compiled, and the message says what to do. Change a message: `TRYBUILD=overwrite cargo test`.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
