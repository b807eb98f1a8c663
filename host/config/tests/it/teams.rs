//! Teams: what stands there, and what their jobs may not ask for.

use rota_config::{Beyond, ByteSize, Config, Duration, Source};

use super::{config, lines};

const BINDINGS: &str = "[bindings.kosmos]\nkind = \"sql\"\nurl = \"postgres://h/d\"\n\
                        [bindings.mir]\nkind = \"sql\"\nurl = \"postgres://h/e\"\naccess = [\"read\"]\n";

/// Seven lines of bindings, a team, and a job from line 13 on.
fn with(team: &str, job: &str) -> String {
    format!(
        "{BINDINGS}[teams.growth]\njobs = [\"growth-*\"]\nplugins = [\"growth-*\", \"postgres-health\"]\nbindings.kosmos = {{ access = [\"read\", \"write\"] }}\n{team}\n{job}\n"
    )
}

/// What is wrong with a text, without what is only a warning.
fn errors(text: &str) -> Vec<String> {
    match Config::load(&Source::empty().with_text("rota.toml", text)) {
        Ok(config) => panic!("accepted, with {:?}", lines(config.warnings())),
        Err(error) => error.problems().iter().filter(|p| !p.is_warning()).map(rota_config::Problem::to_line).collect(),
    }
}

#[track_caller]
fn refused(text: &str, line: &str) {
    assert_eq!(errors(text), [line], "of {text}");
}

fn job(rest: &str) -> String {
    format!("[jobs.growth-export]\nplugin = \"growth-export@1\"\n{rest}")
}

#[test]
fn every_key_of_a_team_is_read() {
    let config = config(&with(
        "limits = { memory = \"128MiB\", wall = \"10m\", cpu = \"30s\" }\ndescription = \"Growth\"\n\
         quotas = { runs_at_once = 3, runs_per_day = 200, cpu_per_day = \"1h\", bytes_out_per_day = \"10GiB\", effects_per_day = 0 }",
        &job(
            "slots.database = { binding = \"kosmos\", access = [\"read\", \"write\"] }\nlimits.memory = \"64MiB\"\ntimeout = \"10m\"",
        ),
    ));
    let team = &config.teams["growth"];
    assert_eq!(team.description.as_deref(), Some("Growth"));
    assert_eq!(team.limits.entries(), [("memory", "128MiB".into()), ("cpu", "30s".into()), ("wall", "10m".into())]);
    let quotas = &team.quotas;
    assert_eq!((quotas.runs_at_once, quotas.runs_per_day, quotas.effects_per_day), (Some(3), Some(200), Some(0)));
    assert_eq!(
        (quotas.cpu_per_day, quotas.bytes_out_per_day),
        (Some(Duration::from_secs(3600)), Some(ByteSize::gib(10)))
    );
    let of = |job| config.teams_of(job).map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!((of("growth-export"), of("nightly")), (vec!["growth".to_owned()], vec![]));
    assert_eq!(lines(config.warnings()), ["rota.toml:4:11: no job uses the binding \"mir\""]);
}

#[test]
fn what_a_team_cannot_be_is_refused() {
    for (team, line) in [
        ("job = [\"x\"]", "rota.toml:12:1: teams.growth.job is not a key of [teams.growth] (did you mean \"jobs\"?)"),
        (
            "quotas.runs_a_day = 3",
            "rota.toml:12:8: teams.growth.quotas.runs_a_day is not a key of [teams.growth.quotas] (did you mean \"runs_per_day\"?)",
        ),
        (
            "quotas.runs_at_once = 0",
            "rota.toml:12:23: teams.growth.quotas.runs_at_once must be between 1 and 10000, not 0",
        ),
        (
            "quotas.cpu_per_day = 60",
            "rota.toml:12:22: teams.growth.quotas.cpu_per_day is a number without a unit (write for example \"60s\")",
        ),
        (
            "bindings.kosmo = { access = [\"read\"] }",
            "rota.toml:12:10: teams.growth.bindings.kosmo: there is no binding \"kosmo\" (did you mean \"kosmos\"?)",
        ),
        ("bindings.mir = {}", "rota.toml:12:16: teams.growth.bindings.mir needs the key \"access\": a list"),
        (
            "bindings.mir.access = [\"decrypt\"]",
            "rota.toml:12:23: teams.growth.bindings.mir.access: a sql binding has no access \"decrypt\" (it has read)",
        ),
        (
            "bindings.mir.access = [\"read\", \"write\"]",
            "rota.toml:12:23: teams.growth.bindings.mir.access: \"write\" is more than bindings.mir.access allows (it has read)",
        ),
        (
            "limits.memroy = \"1MiB\"",
            "rota.toml:12:8: teams.growth.limits.memroy is not a key of [teams.growth.limits] (did you mean \"memory\"?)",
        ),
    ] {
        let told = errors(&with(team, ""));
        assert!(told.len() == 1 && strip(&told[0]) == strip(line), "{told:?}\n{line}");
    }
    refused(
        "[teams.growth]\njobs = [\"a b\"]\nplugins = [\"x\"]\n",
        "rota.toml:2:9: teams.growth.jobs[0]: \"a b\" cannot be a pattern for names: it has a blank or a character that cannot be seen",
    );
}

/// A line without its place: where it points is of the tests below.
fn strip(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, message)| message)
}

#[test]
fn a_job_beyond_its_teams_ceiling_is_refused() {
    let limits = "limits = { memory = \"128MiB\", wall = \"10m\" }";
    refused(
        &with(limits, &job("priority = 1")),
        "rota.toml:15:1: jobs.growth-export: the priority is 1, higher than the team `growth` may have (0) (whoever runs the hosts can allow it in teams.growth.priority)",
    );
    for (rest, place, message) in [
        ("retries.limit = 6", "", "`retries.limit` is 6, more than the team `growth` may have (5)"),
        ("undo.attempts = 6", "", "`undo.attempts` is 6, more than the team `growth` may have (5)"),
        ("undo.attempts = 3", "undo_attempts = 2", "`undo.attempts` is 3, more than the team `growth` may have (2)"),
        ("retries.limit = 1", "retries = 0", "`retries.limit` is 1, more than the team `growth` may have (0)"),
    ] {
        let told = errors(&with(place, &job(rest)));
        assert!(told.len() == 1 && told[0].starts_with("rota.toml:15:") && told[0].contains(message), "{told:?}");
        assert!(told[0].contains("whoever runs the hosts can allow it in teams.growth."), "{told:?}");
    }
    // What a job does not set is cut down to its team's, not refused.
    config(&with("retries = 0\nundo_attempts = 1", &job("")));
    config(&with("retries = 20\nundo_attempts = 20", &job("retries.limit = 20\nundo.attempts = 20")));
    let told = errors(&with(limits, &job("exclusive = false")));
    assert!(told.len() == 1 && told[0].contains("may not have `exclusive = false`"), "{told:?}");
    for (rest, place, message) in [
        (
            "slots.database = { binding = \"kosmos\", access = [\"read\", \"ddl\"] }",
            "rota.toml:15:",
            "jobs.growth-export: slot `database`: `ddl` on the binding `kosmos` is more than the team `growth` may be granted there; that is: read, write \
             (whoever runs the hosts can allow it in teams.growth.bindings.kosmos.access)",
        ),
        (
            "slots.database = { binding = \"mir\", access = [\"read\"] }",
            "rota.toml:15:",
            "jobs.growth-export: slot `database`: the team `growth` may not use the binding `mir`; it may use: kosmos \
             (whoever runs the hosts can allow it in teams.growth.bindings)",
        ),
        // Nothing granted is a binding all the same.
        (
            "slots.database = { binding = \"mir\" }",
            "rota.toml:15:",
            "jobs.growth-export: slot `database`: the team `growth` may not use the binding `mir`; it may use: kosmos \
             (whoever runs the hosts can allow it in teams.growth.bindings)",
        ),
        (
            "limits.memory = \"129MiB\"",
            "rota.toml:15:",
            "jobs.growth-export: the limit `memory` is 129MiB, more than the team `growth` may have (128MiB) (whoever runs the hosts can allow it in teams.growth.limits.memory)",
        ),
        (
            "limits.wall = \"11m\"",
            "rota.toml:15:",
            "jobs.growth-export: the limit `wall` is 11m, more than the team `growth` may have (10m) (whoever runs the hosts can allow it in teams.growth.limits.wall)",
        ),
        (
            "timeout = \"11m\"",
            "rota.toml:15:",
            "jobs.growth-export: the limit `wall` is 11m, more than the team `growth` may have (10m) (whoever runs the hosts can allow it in teams.growth.limits.wall)",
        ),
    ] {
        let told = errors(&with(limits, &job(rest)));
        assert!(told.len() == 1 && told[0].starts_with(place) && strip(&told[0]) == message, "{told:?}\n{message}");
    }
    let told = errors(&with(limits, "[jobs.growth-vacuum]\nplugin = \"postgres-vacuum\"\n"));
    assert_eq!(
        told,
        [
            "rota.toml:14:1: jobs.growth-vacuum: the team `growth` may not run the plugin \"postgres-vacuum\"; it may run: growth-*, postgres-health \
             (whoever runs the hosts can allow it in teams.growth.plugins)"
        ]
    );
    // A file is what it is, not what it is called.
    let told = errors(&with(limits, "[jobs.growth-file]\nplugin = \"./growth-export.wasm\"\n"));
    assert!(
        told.len() == 1 && told[0].contains("may not run the plugin") && told[0].contains("growth-export.wasm"),
        "{told:?}"
    );
}

#[test]
fn a_file_is_no_package_whatever_the_folder_of_its_configuration_is_called() {
    let text = "[teams.growth]\njobs = [\"growth-*\"]\nplugins = [\"registry.example/growth/*\", \"growth/*\"]\n\
                [jobs.growth-file]\nplugin = \"growth/export\"\n";
    let long = "a-long-name-of-a-folder/".repeat(5);
    for (folder, shown) in [
        ("", "\"./growth/export\""),
        ("registry.example/", "\"./registry.example/growth/export\""),
        ("/registry.example/", "\"/registry.example/growth/export\""),
        (long.as_str(), "a-long-name-of-a-folder/growth/export\""),
    ] {
        let Err(error) = Config::load(&Source::empty().with_text(format!("{folder}rota.toml"), text)) else {
            panic!("accepted in `{folder}`")
        };
        let told = lines(error.problems());
        assert!(
            told.len() == 1 && told[0].contains("may not run the plugin \"") && told[0].contains(shown),
            "{folder}: {told:?}"
        );
    }
}

#[test]
fn everything_beyond_is_told_at_once() {
    let told = errors(&with(
        "limits.cpu = \"1s\"",
        "[jobs.growth-a]\nplugin = \"other\"\nlimits.cpu = \"2s\"\nslots.a = { binding = \"mir\" }\nslots.b = { binding = \"kosmos\", access = [\"index\"] }\n",
    ));
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_job_of_two_teams_names_both() {
    let text = with("[teams.ops]\njobs = [\"*-export\"]\nplugins = [\"**\"]", &job(""));
    let told = errors(&text);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        strip(&told[0]),
        "the job \"growth-export\" belongs to two teams: teams.growth.jobs and teams.ops.jobs both name it (a job belongs to one team: narrow one of the two)"
    );
}

#[test]
fn what_runs_in_a_teams_namespace_without_being_its_job_is_a_warning() {
    let warned = config(&with(
        "",
        "[jobs.nightly]\nplugin = \"growth-export\"\nslots.a = { binding = \"mir\" }\nslots.b = { binding = \"kosmos\" }\n",
    ));
    let told = lines(warned.warnings());
    assert!(
        told.len() == 1
            && told[0]
                .contains("jobs.nightly runs a plugin that teams.growth.plugins names, and is not a job of that team")
            && told[0].ends_with("(teams.growth.jobs names \"growth-*\")"),
        "{told:?}"
    );
    // A plugin that a team may run as others do is nobody's namespace.
    let quiet = config(&with(
        "",
        "[jobs.nightly]\nplugin = \"postgres-health\"\nslots.a = { binding = \"mir\" }\nslots.b = { binding = \"kosmos\" }\n",
    ));
    assert!(quiet.warnings().is_empty(), "{:?}", lines(quiet.warnings()));
}

#[test]
fn a_change_of_a_team_shows_and_counts_for_what_hosts_agree_on() {
    let load = |team: &str| Config::load(&Source::empty().with_text("rota.toml", with(team, &job("")))).unwrap();
    let (before, after) = (load("quotas.runs_per_day = 200"), load("quotas.runs_per_day = 100"));
    let shown = before.difference(&after).to_string();
    assert_eq!(shown, "teams.growth.quotas.runs_per_day: 200 -> 100\n");
    assert!(before.difference(&after).needs_restart().next().is_none());
    assert_ne!(before.digest(), after.digest());
}

#[test]
fn what_is_beyond_says_where_it_can_be_allowed() {
    let config = config(&with("", ""));
    let team = &config.teams["growth"];
    let Err(beyond @ Beyond::Access { .. }) = team.may_grant("growth", "database", "kosmos", ["read", "index"]) else {
        panic!()
    };
    assert_eq!(beyond.key(), "teams.growth.bindings.kosmos.access");
    assert_eq!(team.may_grant("growth", "database", "kosmos", ["write"]), Ok(()));
    assert!(team.may_run("growth", "growth-export@2").is_ok() && team.may_run("growth", "postgres-backup").is_err());
}
