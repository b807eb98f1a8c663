//! The example that is shipped, and the schema.

use jsonschema::Validator;
use rota_config::{Access, Binding, Config, Limits, Misfire, Source, check, schema};
use serde_json::{Value, json};

const EXAMPLE: &str = include_str!("../../../../rota.toml.example");

fn json_of(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

#[test]
fn the_example_is_right_and_says_what_it_means() {
    let checked = check(&Source::empty().with_text("rota.toml", EXAMPLE));
    let config = checked.config.unwrap();
    let job = &config.jobs["nightly-backup"];
    assert_eq!(job.slots["bucket"].access, [Access::Read, Access::Write, Access::Delete]);
    assert_eq!(job.schedule.as_ref().unwrap().misfire, Misfire::Once);
    assert_eq!(config.limits.with(&job.limits).cpu.to_string(), "5m");
    assert_eq!(config.bindings["kosmos"].ceiling(), [Access::Read, Access::Maintain]);
    let unused: Vec<_> =
        config.warnings().iter().filter(|problem| problem.message().starts_with("no job uses")).collect();
    assert_eq!(unused.len(), 6, "{unused:?}");
}

/// What is commented out is said to be the default, and must be one that can be set.
#[test]
fn what_the_example_comments_out_are_the_defaults() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if key
                    .split_once(" = ")
                    .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')) =>
            {
                key
            }
            _ => line,
        })
        .filter(|line| !line.starts_with("url = \"env:ROTA_STORE_URL\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = Config::load(&Source::empty().with_text("rota.toml", &uncommented));
    let config = config.unwrap_or_else(|error| panic!("{}", rota_config::render(error.problems(), false)));
    assert_eq!(config.limits, Limits::default());
    let server = rota_config::Server {
        name: config.server.name.clone(),
        labels: config.server.labels.clone(),
        ..Default::default()
    };
    assert_eq!((&config.server, &config.store.keep), (&server, &rota_config::Keep::default()));
    let job = &config.jobs["nightly-backup"];
    assert_eq!((&job.undo, job.priority, job.concurrency, job.enabled), (&rota_config::Undo::default(), 0, 1, true));
    assert_eq!(config.sandbox.pool_instances, rota_config::Sandbox::default().pool_instances);
    let plain = Config::load(&Source::empty().with_text("rota.toml", EXAMPLE)).unwrap();
    let (Binding::Tool(written), Binding::Tool(default)) = (&config.bindings["pg_dump"], &plain.bindings["pg_dump"])
    else {
        panic!("no tool");
    };
    assert_eq!(written, default);
    let keys = schema();
    for section in ["Limits", "Server", "Sandbox", "Store", "Telemetry"] {
        let properties = keys.pointer(&format!("/$defs/{section}/properties"));
        for key in properties.and_then(Value::as_object).unwrap().keys() {
            assert!(EXAMPLE.contains(&format!("\n# {key} = ")), "{key} of {section} is not in the example");
        }
    }
    for section in ["Job", "Schedule", "Retries", "Undo", "After", "Team", "TeamQuotas"] {
        let properties = keys.pointer(&format!("/$defs/{section}/properties"));
        for key in properties.and_then(Value::as_object).unwrap().keys() {
            let word =
                |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == key);
            assert!(EXAMPLE.lines().any(word), "{key} of {section} is not in the example");
        }
    }
}

#[test]
fn the_schema_accepts_the_example_and_nothing_unknown() {
    let validator = validator();
    let example = json_of(EXAMPLE);
    let errors: Vec<_> =
        validator.iter_errors(&example).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for wrong in [
        json!({"limit": {}}),
        json!({"limits": {"memroy": "1GiB"}}),
        json!({"limits": {"memory": "1G"}}),
        json!({"limits": {"cpu": 60}}),
        json!({"bindings": {"a": {"kind": "cache"}}}),
        json!({"bindings": {"a": {"kind": "sql"}}}),
        json!({"bindings": {"a": {"kind": "sql", "url": "x", "path": "/x"}}}),
        json!({"bindings": {"A B": {"kind": "tool", "path": "/x"}}}),
        json!({"bindings": {"a": {"kind": "sql", "url": "x", "password": "hunter2"}}}),
        json!({"jobs": {"a": {}}}),
        json!({"teams": {"a": {"jobs": ["a"]}}}),
        json!({"teams": {"a": {"jobs": ["a"], "plugins": ["p"], "quotas": {"runs": 3}}}}),
        json!({"teams": {"a": {"jobs": ["a"], "plugins": ["p"], "bindings": {"b": {}}}}}),
        json!({"server": {"listen": 7682}}),
        json!({"server": {"name": "a b"}}),
        json!({"server": {"labels": {"Zone": "a"}}}),
        json!({"store": {"keep": {"age": 90}}}),
        json!({"jobs": {"a": {"plugin": "p", "after": ["b"]}}}),
        json!({"jobs": {"a": {"plugin": "p", "priority": "high"}}}),
        json!({"jobs": {"a": {"plugin": "p", "schedule": {"cron": 5}}}}),
        json!({"jobs": {"a": {"plugin": "p", "schedule": {"cron": "0 2 * * *", "at": []}}}}),
        json!({"jobs": {"a": {"plugin": "p", "schedule": {"windows": [{"days": ["saturday"]}]}}}}),
        json!({"jobs": {"a": {"plugin": "p", "schedule": {"windows": [{"cron": "0 2 * * *"}]}}}}),
        json!({"jobs": {"a": {"plugin": "p", "slots": {"b": {"binding": "b", "access": ["wirte"]}}}}}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn the_schema_describes_every_key_and_its_default() {
    fn described(at: &str, schema: &Value) {
        for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(key == "kind" || text.ends_with('.'), "{at}.{key} has no description");
            described(&format!("{at}.{key}"), property);
        }
    }
    let schema = schema();
    described("", &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        described(name, definition);
        for kind in definition.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            described(name, kind);
        }
    }
    let memory = schema.pointer("/$defs/Limits/properties/memory").unwrap();
    assert_eq!(memory["default"], "256MiB");
    assert_eq!(memory["description"], "The most linear memory. Between 1MiB and 4GiB.");
}
