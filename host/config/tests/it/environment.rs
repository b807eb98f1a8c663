//! Variables over files.

use rota_config::{Access, Binding, ByteSize, Config, Duration, Source};
use serde_json::json;

use super::lines;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let source = Source::empty().with_text("rota.toml", text);
    let source = variables.iter().fold(source, |source, (name, value)| source.with_variable(*name, *value));
    Config::load(&source).map_err(|error| lines(error.problems()))
}

#[test]
fn a_variable_goes_over_every_kind_of_key() {
    let text = "[limits]\nmemory = \"1GiB\"\n[jobs.nightly-backup]\nplugin = \"p\"\nslots.database = { binding = \"kosmos\" }\n\
                parameters = { keep = 1 }\n";
    let config = load(
        text,
        &[
            ("ROTA_LIMITS__MEMORY", "2GiB"),
            ("ROTA_LIMITS__HANDLES", "99"),
            ("ROTA_STATE_DIR", "/var/lib/r"),
            ("ROTA_LOG", "debug"),
            ("ROTA_BINDINGS__KOSMOS__KIND", "sql"),
            ("ROTA_BINDINGS__KOSMOS__URL", "postgres://u:c4nary-env@h/d"),
            ("ROTA_BINDINGS__KOSMOS__PASSWORD", "c4nary-password"),
            ("ROTA_BINDINGS__PG_DUMP__KIND", "tool"),
            ("ROTA_BINDINGS__PG_DUMP__PATH", "/usr/bin/pg_dump"),
            ("ROTA_JOBS__NIGHTLY_BACKUP__TIMEOUT", "2h"),
            ("ROTA_JOBS__NIGHTLY_BACKUP__SLOTS__DATABASE__ACCESS", "read, copy-out"),
            ("ROTA_JOBS__NIGHTLY_BACKUP__PARAMETERS__KEEP", "7"),
            ("ROTA_JOBS__NIGHTLY_BACKUP__PARAMETERS__DATABASE", "kosmos"),
            ("ROTA_JOBS__NIGHTLY_BACKUP__PARAMETERS__TABLES", "[\"a\", \"b\"]"),
            ("ROTA_JOBS__NIGHTLY_BACKUP__PARAMETERS__SINCE", "2026-11-23"),
            ("ROTA_JOBS__VACUUM__PLUGIN", "postgres-vacuum"),
            ("ROTA_JOBS__VACUUM__RETRIES", "{ limit = 2 }"),
            ("ROTA_TOKEN", "others' business"),
            ("ROTA_LISTEN", "127.0.0.1:1"),
            ("HOME__X", "1"),
        ],
    )
    .unwrap();
    assert_eq!((config.limits.memory, config.limits.handles), (ByteSize::gib(2), 99));
    assert_eq!((config.state_dir().to_str(), config.telemetry.log.as_str()), (Some("/var/lib/r"), "debug"));
    let Binding::Sql(sql) = &config.bindings["kosmos"] else { panic!("no sql binding") };
    assert_eq!(sql.target().unwrap().password.unwrap().expose(), "c4nary-password");
    assert!(!format!("{config:?}").contains("c4nary") && !serde_json::to_string(&*config).unwrap().contains("c4nary"));
    assert!(config.bindings.contains_key("pg_dump"));
    let job = &config.jobs["nightly-backup"];
    assert_eq!(job.timeout, Some(Duration::from_secs(7200)));
    assert_eq!(job.slots["database"].access, [Access::Read, Access::CopyOut]);
    let parameters = json!({"keep": 7, "database": "kosmos", "tables": ["a", "b"], "since": "2026-11-23"});
    assert_eq!(serde_json::Value::from(job.parameters.clone()), parameters);
    assert_eq!(config.jobs["vacuum"].retries.limit, 2);
}

#[test]
fn a_wrong_variable_is_named() {
    let text = "[jobs.a-b]\nplugin = \"p\"\n[jobs.a_b]\nplugin = \"p\"\n";
    for (name, value, line) in [
        (
            "ROTA_LIMITS__MEMROY",
            "1GiB",
            "ROTA_LIMITS__MEMROY: limits.memroy is not a key of [limits] (did you mean \"memory\"?)",
        ),
        (
            "ROTA_LIMITS__MEMORY",
            "1G",
            "ROTA_LIMITS__MEMORY: limits.memory: \"G\" in \"1G\" is not a unit of size; write for example \"1GiB\"",
        ),
        (
            "ROTA_LIMITS__HANDLES",
            "many",
            "ROTA_LIMITS__HANDLES: limits.handles must be a whole number from 0 to 4294967295, not \"many\"",
        ),
        ("ROTA_LIMITS__HANDLES", "3", "ROTA_LIMITS__HANDLES: limits.handles must be between 8 and 1000000, not 3"),
        ("ROTA_LIMITS__", "3", "ROTA_LIMITS__: the environment variable ROTA_LIMITS__ names no key between two \"__\""),
        (
            "ROTA_LIMITS__MEMORY__X",
            "3",
            "ROTA_LIMITS__MEMORY__X: the environment variable ROTA_LIMITS__MEMORY__X sets a key of limits.memory, which is a text",
        ),
        (
            "ROTA_JOBS__A_B__TIMEOUT",
            "1h",
            "ROTA_JOBS__A_B__TIMEOUT: the environment variable ROTA_JOBS__A_B__TIMEOUT could mean \"a-b\" or \"a_b\"; rename one of them",
        ),
    ] {
        let mut variables = vec![(name, value)];
        if name.ends_with("__X") {
            variables.push(("ROTA_LIMITS__MEMORY", "1GiB"));
        }
        let text = if name.contains("A_B") { text.replace("a_b", "A-b") } else { String::new() };
        let told = load(&text, &variables).unwrap_err();
        assert!(
            told.contains(&line.replace("a_b", "A-b").replace("\"a-b\" or \"A-b\"", "\"A-b\" or \"a-b\"")),
            "{told:?}\nlacks\n{line}"
        );
    }
}

#[test]
fn a_variable_with_one_underscore_too_few_is_a_warning() {
    let config = load("", &[("ROTA_LIMITS_MEMORY", "1GiB"), ("ROTA_TOOLS_DIR", "/x")]).unwrap();
    assert_eq!(
        lines(config.warnings()),
        ["the environment variable ROTA_LIMITS_MEMORY is not read (did you mean ROTA_LIMITS__MEMORY?)"]
    );
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(load("", &[("ROTA_LIMITS__MEMORY", "")]).unwrap().limits.memory, ByteSize::mib(256));
}
