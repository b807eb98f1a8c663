//! `[trust]`: whose signatures are asked for, and what is wrong with rules.

use super::{config, refused};
use rota_config::{Config, Source, TrustedSigner, schema};

#[test]
fn a_rule_names_signers_by_key_and_by_identity() {
    let text = r#"
        [trust."registry.example/growth/*"]
        signed-by = [
            { key = "file:keys/growth.pub" },
            { key = "file:/etc/rota/old.pub", root = "file:trusted_root.json" },
            { identity = "release@growth.example", issuer = "https://accounts.example", root = "file:trusted_root.json" },
        ]
        [trust."*"]
        required = false
    "#;
    let config = Config::load(&Source::empty().with_text("/etc/rota/rota.toml", text)).unwrap();
    let (namespace, rule) = config.trust.rule("registry.example/growth/report").unwrap();
    assert_eq!((namespace.as_str(), rule.required, rule.signed_by.len()), ("registry.example/growth/*", true, 3));
    let TrustedSigner::Key { key, root: None } = &rule.signed_by[0] else { panic!("{rule:?}") };
    // From the folder of the file that it is written in.
    assert_eq!(key.to_string(), "file:/etc/rota/keys/growth.pub");
    assert!(matches!(&rule.signed_by[1], TrustedSigner::Key { root: Some(_), .. }));
    assert!(
        matches!(&rule.signed_by[2], TrustedSigner::Identity { identity, .. } if identity == "release@growth.example")
    );
    let (namespace, rule) = config.trust.rule("report").unwrap();
    assert_eq!((namespace.as_str(), rule.required), ("*", false));
    let place = config.place("trust.registry.example/growth/*.signed-by[0].key").unwrap();
    assert_eq!(place.line(), 4);
}

#[test]
fn what_is_wrong_with_a_rule_is_told_where_it_stands() {
    let rule = |rest: &str| format!("[trust.\"r.example/*\"]\n{rest}\n");
    let signer = |signer: &str| rule(&format!("signed-by = [{signer}]"));
    let whole =
        "write { key = \"file:...\" }, or { identity = \"...\", issuer = \"https://...\", root = \"file:...\" }";
    for (text, line) in [
        (
            rule("signd-by = []\nrequired = false"),
            "rota.toml:2:1: trust.\"r.example/*\".signd-by is not a key of [trust.\"r.example/*\"] (did you mean \"signed-by\"?)".to_owned(),
        ),
        (
            rule(""),
            "rota.toml:1:1: trust.\"r.example/*\" requires a signature and names nobody whose signature is taken (name them in signed-by, or set required = false)".to_owned(),
        ),
        (
            signer("{ key = \"growth.pub\" }"),
            "rota.toml:2:22: trust.\"r.example/*\".signed-by[0].key must be a file, as in file:keys/growth.pub, not \"growth.pub\"".to_owned(),
        ),
        (signer("{}"), format!("rota.toml:2:14: trust.\"r.example/*\".signed-by[0] names no signer ({whole})")),
        (
            signer("{ key = \"file:a\", identity = \"a@b\" }"),
            format!("rota.toml:2:14: trust.\"r.example/*\".signed-by[0] names a key and an identity, and a signer is one of the two ({whole})"),
        ),
        (
            signer("{ identity = \"a@b\", issuer = \"https://i\" }"),
            format!("rota.toml:2:14: trust.\"r.example/*\".signed-by[0] names only a part of a signer without key ({whole})"),
        ),
        (
            signer("{ identity = \"*@b\", issuer = \"https://i\", root = \"file:r\" }"),
            "rota.toml:2:27: trust.\"r.example/*\".signed-by[0].identity must be one identity, whole, not \"*@b\" (name each in a table of its own; patterns are not taken)".to_owned(),
        ),
        (
            signer("{ identity = \"a@b\", issuer = \"accounts.example\", root = \"file:r\" }"),
            "rota.toml:2:43: trust.\"r.example/*\".signed-by[0].issuer must be the URL of an issuer, not \"accounts.example\" (as in https://accounts.google.com, to the letter)".to_owned(),
        ),
        (
            signer("{ key = \"file:a\", isuer = \"x\" }"),
            "rota.toml:2:32: trust.\"r.example/*\".signed-by[0].isuer is not a key of [trust.\"r.example/*\".signed-by[0]] (did you mean \"issuer\"?)".to_owned(),
        ),
        (
            rule("required = \"yes\"\nsigned-by = [{ key = \"file:a\" }]"),
            "rota.toml:2:12: trust.\"r.example/*\".required must be true or false, not a string".to_owned(),
        ),
    ] {
        refused(&text, &line);
    }
}

#[test]
fn a_namespace_is_a_name_or_all_below_one() {
    for good in
        ["*", "report", "file/*", "r.example/*", "r.example:5000/growth/report", "localhost:5000/*", "[::1]:5000/a_b/*"]
    {
        config(&format!("[trust.\"{good}\"]\nrequired = false\n"));
    }
    for (wrong, reason) in [
        ("", "a part of it is empty"),
        ("r.example/", "a part of it is empty"),
        ("/growth", "a part of it is empty"),
        ("r.example/gro*", "\"*\" stands alone, as the last part: registry.example/growth/*"),
        ("r.example/*/report", "\"*\" stands alone, as the last part: registry.example/growth/*"),
        ("**", "\"*\" stands alone, as the last part: registry.example/growth/*"),
        ("https://r.example/*", "a registry is named without its scheme, as in registry.example/growth/*"),
        ("r.example/growth/report@1", "a rule is for all versions; leave out what begins with \"@\""),
        ("./report", "\".\" and \"..\" are no parts of a name; a component that is run by its path is named file/NAME"),
        (
            "report.wasm",
            "a file is named without .wasm: NAME in the folder of plugins, file/NAME when it is run by its path",
        ),
        ("R.example/*", "only small letters, digits and \"/.-_:\" may be in it"),
        ("r example/*", "only small letters, digits and \"/.-_:\" may be in it"),
    ] {
        let line = format!("rota.toml:1:8: trust: \"{wrong}\" cannot name plugins: {reason}");
        refused(&format!("[trust.\"{wrong}\"]\nrequired = false\n"), &line);
    }
}

#[test]
fn the_schema_takes_what_is_right_and_refuses_what_is_not() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let valid = |rule: serde_json::Value| validator.is_valid(&serde_json::json!({ "trust": { "r.example/*": rule } }));
    assert!(valid(serde_json::json!({ "signed-by": [{ "key": "file:a" }], "required": true })));
    let identity = serde_json::json!({ "identity": "a@b", "issuer": "https://i", "root": "file:r" });
    assert!(valid(serde_json::json!({ "signed-by": [identity] })));
    assert!(!valid(serde_json::json!({ "signed-by": [{ "key": "a" }] })));
    assert!(!valid(serde_json::json!({ "signed-by": [{ "identity": "a@b" }] })));
    assert!(!valid(serde_json::json!({ "signedby": [] })));
}
