//! The policy of a job: time, attempts, undo, labels, what runs at once.

use rota_config::{Config, Duration, RetryOn, Source};

use super::{config, lines, refused};

fn job(rest: &str) -> String {
    format!("[jobs.a]\nplugin = \"p\"\n{rest}\n")
}

#[test]
fn every_key_of_a_job_is_read() {
    let text = job(
        "description = \"d\"\nenabled = false\nlabels = { team = \"x\" }\nhosts = { zone = \"a\" }\npriority = -5\n\
                    concurrency = 3\nexclusive = false\ntimeout = \"1h\"\nattempt_timeout = \"10m\"\n\
                    retries = { limit = 3, backoff = \"1s\", cap = \"2s\", jitter = 1, on = \"any\" }\n\
                    undo = { attempts = 2, backoff = \"1s\", timeout = \"1m\" }",
    );
    let config = config(&format!("{text}[server]\nlabels = {{ zone = \"a\" }}\n"));
    let job = &config.jobs["a"];
    assert_eq!((job.description.as_deref(), job.enabled, job.priority, job.concurrency), (Some("d"), false, -5, 3));
    assert_eq!((job.labels["team"].as_str(), job.hosts["zone"].as_str(), job.exclusive), ("x", "a", Some(false)));
    assert_eq!((job.retries.on, job.retries.jitter), (RetryOn::Any, 1.0));
    let policy = job.retries.policy();
    assert_eq!((policy.limit, policy.cap.0, policy.any_fault), (3, 2_000_000, true));
    assert_eq!((job.undo.policy().attempts, job.undo.policy().timeout.0), (2, 60_000_000));
    let times = [job.run_timeout(&config.limits), job.longest_attempt(&config.limits)].map(|time| time.to_string());
    assert_eq!(times, ["1h", "10m"]);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn by_default_an_attempt_may_take_as_long_as_its_run() {
    let config = config(&job("limits.wall = \"5m\""));
    let job = &config.jobs["a"];
    let five = Duration::from_secs(300);
    assert_eq!((job.run_timeout(&config.limits), job.longest_attempt(&config.limits)), (five, five));
    assert_eq!((job.enabled, job.priority, job.concurrency, job.exclusive), (true, 0, 1, None));
}

#[test]
fn a_job_with_a_dangerous_access_has_its_target_to_itself() {
    let slots = "slots.db = { binding = \"d\", access = [\"read\", \"maintain\"] }\nslots.other = { binding = \"d\", access = [\"read\"] }\n\
                 slots.bucket = { binding = \"b\", access = [\"read\", \"write\"] }\nslots.tool = { binding = \"t\", access = [\"run\"] }\n";
    for (exclusive, expected) in
        [("", vec!["db"]), ("exclusive = true\n", vec!["bucket", "db", "other"]), ("exclusive = false\n", vec![])]
    {
        let config = config(&job(&format!("{exclusive}{slots}")));
        let alone: Vec<_> = config.jobs["a"].exclusive_slots().map(|(slot, _)| slot.as_str().to_owned()).collect();
        assert_eq!(alone, expected, "{exclusive}");
    }
}

#[test]
fn a_policy_that_cannot_be_is_refused() {
    for (rest, line) in [
        ("priority = 101", "rota.toml:3:12: jobs.a.priority must be between -100 and 100, not 101"),
        ("priority = \"high\"", "rota.toml:3:12: jobs.a.priority must be a whole number, not a string"),
        ("concurrency = 0", "rota.toml:3:15: jobs.a.concurrency must be between 1 and 1000, not 0"),
        ("enabled = \"no\"", "rota.toml:3:11: jobs.a.enabled must be true or false, not a string"),
        ("enabeld = true", "rota.toml:3:1: jobs.a.enabeld is not a key of [jobs.a] (did you mean \"enabled\"?)"),
        ("retries.jitter = 1.5", "rota.toml:3:18: jobs.a.retries.jitter must be between 0 and 1, not 1.5"),
        ("retries.jitter = \"much\"", "rota.toml:3:18: jobs.a.retries.jitter must be a number, not a string"),
        (
            "retries.on = \"all\"",
            "rota.toml:3:14: jobs.a.retries.on: \"all\" is not what can be tried again (the words for it are retryable and any)",
        ),
        (
            "retries = { backoff = \"1m\", cap = \"1s\" }",
            "rota.toml:3:29: jobs.a.retries.cap (1s) is shorter than backoff (1m)",
        ),
        ("undo.attempts = 0", "rota.toml:3:17: jobs.a.undo.attempts must be between 1 and 100, not 0"),
        (
            "undo.tries = 3",
            "rota.toml:3:6: jobs.a.undo.tries is not a key of [jobs.a.undo] (the keys there are attempts, backoff and timeout)",
        ),
        (
            "timeout = \"1m\"\nattempt_timeout = \"2m\"",
            "rota.toml:4:1: jobs.a.attempt_timeout is 2m, longer than a run may take (1m) (raise timeout, or shorten it)",
        ),
        (
            "attempt_timeout = \"2h\"",
            "rota.toml:3:1: jobs.a.attempt_timeout is 2h, longer than a run may take (1h) (raise timeout, or shorten it)",
        ),
    ] {
        refused(&job(rest), line);
    }
    refused(
        "[bindings.b]\nkind = \"key\"\nidentity = \"env:K\"\nconcurrency = 0\n",
        "rota.toml:4:15: bindings.b.concurrency must be between 1 and 1000, not 0",
    );
}

#[test]
fn every_kind_of_binding_can_bound_its_runs() {
    for rest in [
        "kind = \"sql\"\nurl = \"postgres://h/d\"",
        "kind = \"storage\"\nurl = \"file:///srv\"",
        "kind = \"tool\"\npath = \"/usr/bin/pg_dump\"",
        "kind = \"key\"\nidentity = \"env:K\"",
    ] {
        let config = config(&format!("[bindings.b]\n{rest}\nconcurrency = 2\n[bindings.c]\n{rest}\n"));
        assert_eq!((config.bindings["b"].concurrency(), config.bindings["c"].concurrency()), (Some(2), None));
    }
}

#[test]
fn a_job_that_its_only_host_cannot_run_is_a_warning() {
    let alone = config(&job("hosts = { zone = \"a\" }"));
    assert_eq!(
        lines(alone.warnings()),
        [
            "rota.toml:3:1: jobs.a.hosts asks for labels that this host has not, and with SQLite it is the only one (add them to \
          server.labels; until then its runs wait)"
        ]
    );
    let several = config(&format!("[store]\nurl = \"env:X\"\n{}", job("hosts = { zone = \"a\" }")));
    assert!(several.warnings().is_empty());
}

#[test]
fn an_access_that_sets_nothing_is_a_warning() {
    let with = |parameters: &str| {
        config(&format!(
            "[bindings.b]\nkind = \"sql\"\nurl = \"postgres://h/d\"\n{parameters}\n[jobs.a]\nplugin = \"p\"\nslots.d = {{ binding = \"b\", access = [\"alter-system\"] }}\n"
        ))
    };
    assert_eq!(
        lines(with("").warnings()),
        [
            "rota.toml:7:28: jobs.a.slots.d.access: \"alter-system\" sets nothing, because bindings.b.alter_system names no parameter (name the \
             parameters there that may be set, or leave the access out)"
        ]
    );
    let named = with("alter_system = [\"Work_Mem\"]");
    assert!(named.warnings().is_empty(), "{:?}", lines(named.warnings()));
    let rota_config::Binding::Sql(binding) = &named.bindings["b"] else { panic!() };
    assert!(binding.lets_alter("work_mem") && !binding.lets_alter("maintenance_work_mem"));
}

#[test]
fn variables_set_what_a_job_does() {
    let source = Source::empty()
        .with_text("rota.toml", format!("{}[jobs.b]\nplugin = \"p\"\n", job("")))
        .with_variable("ROTA_JOBS__A__PRIORITY", "-7")
        .with_variable("ROTA_JOBS__A__RETRIES__JITTER", "0.5")
        .with_variable("ROTA_JOBS__A__AFTER", "[{ job = \"b\", on = \"any\" }]")
        .with_variable("ROTA_JOBS__A__LABELS", "{ team = \"x\" }")
        .with_variable("ROTA_JOBS__A__SCHEDULE__CRON", "0 2 * * 1,3")
        .with_variable("ROTA_JOBS__A__SCHEDULE__WINDOWS", "[{ days = [\"mon\"], from = \"01:00\" }]")
        .with_variable("ROTA_JOBS__B__SCHEDULE__AT", "2026-12-24, 2026-12-25T10:00Z");
    let config = Config::load(&source).unwrap();
    let job = &config.jobs["a"];
    assert_eq!((job.priority, job.retries.jitter, job.after.len()), (-7, 0.5, 1));
    assert_eq!(job.schedule.as_ref().unwrap().windows.len(), 1);
    assert_eq!(config.jobs["b"].schedule.as_ref().unwrap().at.as_ref().unwrap().as_slice().len(), 2);
}
