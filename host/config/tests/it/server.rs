//! `[server]` and `[store]`: what a host does, and where it keeps its records.

use rota_config::{Config, Duration, Keep, Listen, Server, Source};

use super::{config, errors, lines, refused};

#[test]
fn without_a_section_a_host_listens_to_itself() {
    let config = config("");
    assert_eq!(config.server, Server::default());
    assert_eq!(config.server.listen.address().unwrap().to_string(), "127.0.0.1:7682");
    let server = &config.server;
    assert_eq!((server.workers, server.scheduler, server.worker), (8, true, true));
    let spans = [server.lease, server.poll, server.drain_timeout].map(|span| span.to_string());
    assert_eq!(spans, ["15s", "1s", "1m"]);
    assert_eq!(config.store.keep, Keep { age: Duration::from_secs(90 * 86_400), runs_per_job: 1_000 });
    assert!(config.store.target().unwrap().is_none() && config.store.connection().unwrap().is_none());
}

#[test]
fn every_key_of_a_server_is_read() {
    let text = "[server]\nname = \"ops-1\"\nlisten = \"none\"\nworkers = 2\nlabels = { zone = \"a\", disk = \"fast\" }\n\
                scheduler = false\nworker = true\nlease = \"2s\"\npoll = \"50ms\"\ndrain_timeout = \"0s\"\n\
                [store]\nurl = \"postgres://rota@db/rota\"\nkeep = { age = \"1d\", runs_per_job = 10 }\n";
    let config = config(text);
    let server = &config.server;
    assert_eq!((server.host_name().as_str(), server.listen, server.workers), ("ops-1", Listen::None, 2));
    assert_eq!(server.labels["zone"].as_str(), "a");
    let target = config.store.target().unwrap().unwrap();
    assert_eq!((target.port, target.database.as_deref()), (5432, Some("rota")));
    assert_eq!(config.store.connection().unwrap().unwrap().expose(), "postgres://rota@db/rota");
    assert_eq!(config.store.keep.runs_per_job, 10);
}

#[test]
fn variables_set_a_server() {
    let variables = [
        ("ROTA_LISTEN", "0.0.0.0:80"),
        ("ROTA_SERVER__WORKERS", "3"),
        ("ROTA_SERVER__LABELS__ZONE", "b"),
        ("ROTA_SERVER__SCHEDULER", "false"),
        ("ROTA_STORE__KEEP__AGE", "2d"),
        ("ROTA_STORE__URL", "postgres://u:c4nary-store@h/d"),
        ("ROTA_SERVER_POLL", "1s"),
        ("ROTA_SERVER", "https://rota.example"),
    ];
    let source = variables.iter().fold(Source::empty(), |source, (name, value)| source.with_variable(*name, *value));
    let config = Config::load(&source).unwrap();
    assert_eq!((config.server.listen.to_string().as_str(), config.server.workers), ("0.0.0.0:80", 3));
    assert_eq!((config.server.labels["zone"].as_str(), config.server.scheduler), ("b", false));
    assert_eq!(config.store.keep.age.to_string(), "2d");
    assert!(config.store.connection().unwrap().unwrap().expose().contains("c4nary-store"));
    assert!(!format!("{config:?}{}", config.digest()).contains("c4nary"));
    let warning = "the environment variable ROTA_SERVER_POLL is not read (did you mean ROTA_SERVER__POLL?)";
    assert_eq!(lines(config.warnings()), [warning]);
    let wrong = Config::load(&Source::empty().with_variable("ROTA_LISTEN", "7682")).unwrap_err();
    let told = "ROTA_LISTEN: server.listen: \"7682\" is no address to listen on; write IP:PORT, as 127.0.0.1:7682, 0.0.0.0:7682 or \
                [::1]:7682, or none";
    assert_eq!(wrong.to_string(), told);
}

#[test]
fn a_server_that_cannot_be_is_refused() {
    for (text, line) in [
        (
            "[server]\nlisten = \"example.org:80\"",
            "rota.toml:2:10: server.listen: \"example.org:80\" is no address to listen on; write IP:PORT, as 127.0.0.1:7682, \
             0.0.0.0:7682 or [::1]:7682, or none",
        ),
        (
            "[server]\nname = \"a b\"",
            "rota.toml:2:8: server.name: \"a b\" cannot name a host: it must be 1 to 253 letters, digits, \"-\", \"_\" and \".\", \
             and begin with a letter, a digit or \"_\"",
        ),
        ("[server]\nlease = \"1s\"", "rota.toml:2:9: server.lease must be between 2s and 10m, not 1s"),
        ("[server]\nworkers = 0", "rota.toml:2:11: server.workers must be between 1 and 10000, not 0"),
        (
            "[server]\nlabels = { Zone = \"a\" }",
            "rota.toml:2:12: server.labels: \"Zone\" cannot name a label: only small letters, digits, \"-\" and \"_\" may be in it",
        ),
        (
            "[server]\nlabels = { zone = \"\" }",
            "rota.toml:2:19: server.labels.zone: \"\" cannot be a label's value: it must be 1 to 63 characters on one line",
        ),
        (
            "[server]\nlabels = { rack = 3 }",
            "rota.toml:2:19: server.labels.rack must be a label's value (1 to 63 characters), not an integer",
        ),
        (
            "[server]\nliste = \"none\"",
            "rota.toml:2:1: server.liste is not a key of [server] (did you mean \"listen\"?)",
        ),
        ("[server]\nworkers = 65", "rota.toml:2:1: server.workers is 65, more than sandbox.pool_instances allows (64)"),
        (
            "[sandbox]\npool_instances = 4",
            "rota.toml:2:1: server.workers is 8, more than sandbox.pool_instances allows (4)",
        ),
        (
            "[server]\nlease = \"2s\"\npoll = \"5s\"",
            "rota.toml:3:1: server.poll (5s) must be shorter than server.lease (2s)",
        ),
        ("[store]\nkeep = { age = \"1m\" }", "rota.toml:2:16: store.keep.age must be between 1h and 3660d, not 1m"),
        (
            "[store]\nkeep = { ages = \"90d\" }",
            "rota.toml:2:10: store.keep.ages is not a key of [store.keep] (did you mean \"age\"?)",
        ),
        (
            "[store]\nurl = \"mysql://h/d\"",
            "rota.toml:2:1: store.url: PostgreSQL needs a URL that begins with postgres://, and the scheme here is \"mysql\"",
        ),
    ] {
        refused(text, line);
    }
}

#[test]
fn no_run_may_touch_the_store() {
    let line = "rota.toml:5:1: bindings.b leads to the database of store.url, which no run may touch (give Rota's records a database \
                of their own)";
    for (store, binding) in [
        ("postgres://rota@db/rota", "postgres://other@db:5432/rota?sslmode=require"),
        ("env:STORE", "env:STORE"),
        ("postgres://rota@db", "postgres://x@db/rota"),
    ] {
        refused(&format!("[store]\nurl = \"{store}\"\n[bindings.b]\nkind = \"sql\"\nurl = \"{binding}\"\n"), line);
    }
    for (store, binding) in [("postgres://rota@db/rota", "postgres://rota@db/kosmos"), ("env:STORE", "env:OTHER")] {
        config(&format!("[store]\nurl = \"{store}\"\n[bindings.b]\nkind = \"sql\"\nurl = \"{binding}\"\n"));
    }
    assert!(errors("[store]\nurl = \"postgres://u:hunter2@h/d\"\n")[0].contains("holds a password"));
}

#[test]
fn a_host_that_would_do_nothing_is_a_warning() {
    let idle = config("[server]\nscheduler = false\nworker = false\n");
    let line = "rota.toml:3:1: server.scheduler and server.worker are both false: this host would do nothing";
    assert_eq!(lines(idle.warnings()), [line]);
}
