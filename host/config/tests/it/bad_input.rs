//! Everything but bindings: syntax, keys, types, ranges, words, what does not fit together.

use rota_config::{Config, Source};

use super::{config, errors, lines, refused};

#[test]
fn an_unknown_key_names_the_nearest() {
    refused(
        "[limits]\nmemory = \"1GiB\"\nmemroy = \"1GiB\"\n",
        "rota.toml:3:1: limits.memroy is not a key of [limits] (did you mean \"memory\"?)",
    );
    refused("[limit]\n", "rota.toml:1:2: limit is not a key of the configuration (did you mean \"limits\"?)");
    refused(
        "[telemetry]\ncolour = true\n",
        "rota.toml:2:1: telemetry.colour is not a key of [telemetry] (the keys there are log and log_format)",
    );
    refused(
        "[jobs.a]\nplugin = \"p\"\nretries = { limti = 1 }\n",
        "rota.toml:3:13: jobs.a.retries.limti is not a key of [jobs.a.retries] (did you mean \"limit\"?)",
    );
}

#[test]
fn all_errors_are_told_at_once_and_in_order() {
    let text = "[limits]\nmemory = 5\ncpu = \"soon\"\nhandels = 3\n[jobs.x]\nplugin = 7\n[jobs.Y]\nplugin = \"p\"\n";
    assert_eq!(
        errors(text),
        [
            "rota.toml:2:10: limits.memory is a number without a unit (write for example \"5B\" or \"5MiB\")",
            "rota.toml:3:7: limits.cpu: \"soon\" is not a duration; write for example \"30s\" or \"2h30m\"",
            "rota.toml:4:1: limits.handels is not a key of [limits] (did you mean \"handles\"?)",
            "rota.toml:6:10: jobs.x.plugin must be a plugin (NAME, NAME@VERSION or the path of a component), not an integer",
            "rota.toml:7:7: jobs: \"Y\" cannot name a job: only small letters, digits, \"-\" and \"_\" may be in it",
        ]
    );
}

#[test]
fn a_wrong_type_says_what_is_wanted() {
    for (text, line) in [
        ("limits = 3", "rota.toml:1:10: limits must be a table, not an integer"),
        (
            "[limits]\nmemory = true",
            "rota.toml:2:10: limits.memory must be a size such as \"64MiB\" or \"1.5GiB\", not true or false",
        ),
        ("[limits]\nhandles = \"many\"", "rota.toml:2:11: limits.handles must be a whole number, not a string"),
        (
            "[limits]\nhandles = 1.5",
            "rota.toml:2:11: limits.handles must be a whole number, not a number with a fraction",
        ),
        (
            "[limits]\nhandles = -1",
            "rota.toml:2:11: limits.handles must be a whole number from 0 to 4294967295, not -1",
        ),
        ("[limits]\ncpu = 60", "rota.toml:2:7: limits.cpu is a number without a unit (write for example \"60s\")"),
        (
            "[limits]\ncpu = 1979-05-27",
            "rota.toml:2:7: limits.cpu must be a duration such as \"30s\" or \"2h30m\", not a date or time",
        ),
        ("state_dir = [\"a\"]", "rota.toml:1:13: state_dir must be a path, not a list"),
        ("state_dir = \"\"", "rota.toml:1:13: state_dir must be a path, not \"\""),
        (
            "[jobs.a]\nplugin = \"p\"\nparameters = 3",
            "rota.toml:3:14: jobs.a.parameters must be a table, not an integer",
        ),
        (
            "[jobs.a]\nplugin = \"p\"\nslots.b = { binding = \"b\", access = \"read\" }",
            "rota.toml:3:37: jobs.a.slots.b.access must be a list, not a string",
        ),
        (
            "[jobs.a]\n",
            "rota.toml:1:1: jobs.a needs the key \"plugin\": a plugin (NAME, NAME@VERSION or the path of a component)",
        ),
        ("[jobs]\na = 1\n", "rota.toml:2:5: jobs.a must be a table, not an integer"),
    ] {
        refused(text, line);
    }
}

#[test]
fn a_value_out_of_range_says_the_range() {
    for (text, line) in [
        ("[limits]\nmemory = \"8GiB\"", "rota.toml:2:10: limits.memory must be between 1MiB and 4GiB, not 8GiB"),
        ("[limits]\ncpu = \"0s\"", "rota.toml:2:7: limits.cpu must be between 10ms and 1d, not 0s"),
        ("[limits]\nhandles = 0", "rota.toml:2:11: limits.handles must be between 8 and 1000000, not 0"),
        (
            "[jobs.a]\nplugin = \"p\"\nlimits.memory = \"1KiB\"",
            "rota.toml:3:17: jobs.a.limits.memory must be between 1MiB and 4GiB, not 1KiB",
        ),
        (
            "[jobs.a]\nplugin = \"p\"\nretries = { limit = 101 }",
            "rota.toml:3:21: jobs.a.retries.limit must be between 0 and 100, not 101",
        ),
        ("x = 99999999999999999999", "rota.toml:1:5: 99999999999999999999 is not a number that fits"),
        ("x = nan", "rota.toml:1:5: nan is not a number that fits"),
    ] {
        refused(text, line);
    }
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    let told = errors("[limits]\nmemory = \n\n[jobs.a\n");
    assert!(told[0].starts_with("rota.toml:2:10: this is not valid TOML: "), "{told:?}");
    assert!(told.len() >= 2 && told.iter().all(|line| line.contains("this is not valid TOML")), "{told:?}");
    let told = errors("[limits]\ncpu = \"1s\"\ncpu = \"2s\"\n");
    assert_eq!(told, ["rota.toml:3:1: this is not valid TOML: duplicate key"]);
}

#[test]
fn an_unknown_word_names_the_nearest() {
    let job = |rest: &str| format!("[jobs.a]\nplugin = \"p\"\n{rest}\n");
    refused(
        &job("slots.b = { binding = \"b\", access = [\"read\", \"wirte\"] }"),
        "rota.toml:3:46: jobs.a.slots.b.access[1]: \"wirte\" is not an access (did you mean \"write\"?)",
    );
    refused(
        &job("schedule = { cron = \"0 2 * * *\", misfire = \"never\" }"),
        "rota.toml:3:44: jobs.a.schedule.misfire: \"never\" is not what a misfire does (the words for it are once, all and none)",
    );
    refused(
        &job("schedule = { cron = \"0 2 * * *\", overlap = \"buffer\" }"),
        "rota.toml:3:44: jobs.a.schedule.overlap: \"buffer\" is not what an overlap does (did you mean \"buffer-one\"?)",
    );
    refused(
        "[telemetry]\nlog_format = \"jsn\"\n",
        "rota.toml:2:14: telemetry.log_format: \"jsn\" is not a format of the log (did you mean \"json\"?)",
    );
}

#[test]
fn a_job_that_cannot_be_is_refused() {
    let job = |rest: &str| format!("[jobs.a]\nplugin = \"p\"\n{rest}\n");
    for (text, line) in [
        (
            "[jobs.a]\nplugin = \"My Plugin\"\n".to_owned(),
            "rota.toml:2:10: jobs.a.plugin: \"My Plugin\" is not a plugin; write its name, NAME@VERSION, or the path of a component",
        ),
        (
            job("schedule = { cron = \"0 2 * *\" }"),
            "rota.toml:3:21: jobs.a.schedule.cron: \"0 2 * *\" has 4 fields; a cron expression has 5 (minute hour day-of-month month day-of-week), 6 (second first) or 7 (year last), for example \"0 2 * * *\"",
        ),
        (
            job("schedule = { timezone = \"UTC\" }"),
            "rota.toml:3:1: jobs.a.schedule needs one of the keys \"cron\", \"every\" and \"at\" (as in schedule = { cron = \"0 2 * * *\" })",
        ),
        (
            job("schedule = { cron = \"0 2 * * *\", timezone = \"Asia Shanghai\" }"),
            "rota.toml:3:45: jobs.a.schedule.timezone: \"Asia Shanghai\" is not a time zone of the IANA database; the nearest is \"Asia/Shanghai\"",
        ),
        (
            job("slots.\"a b\" = { binding = \"b\" }"),
            "rota.toml:3:7: jobs.a.slots: \"a b\" cannot name a slot: only small letters, digits, \"-\" and \"_\" may be in it",
        ),
        (
            job("slots.b = { access = [] }"),
            "rota.toml:3:11: jobs.a.slots.b needs the key \"binding\": the name of a binding",
        ),
        (
            job("timeout = \"1h\"\nlimits.wall = \"2h\""),
            "rota.toml:3:1: jobs.a.timeout and jobs.a.limits.wall are the same limit (keep one of the two)",
        ),
    ] {
        refused(&text, line);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    refused(
        "[sandbox]\npool_memory = \"128MiB\"\n",
        "limits.memory is 256MiB, more than sandbox.pool_memory allows (128MiB)",
    );
    refused(
        "[sandbox]\npool_memory = \"512MiB\"\n[jobs.a]\nplugin = \"p\"\nlimits.memory = \"1GiB\"\n",
        "rota.toml:5:8: jobs.a.limits.memory is 1GiB, more than sandbox.pool_memory allows (512MiB)",
    );
    refused(
        "[store]\npath = \"rota.db\"\nurl = \"env:STORE\"\n",
        "rota.toml:3:1: store.path and store.url are both set, and records go to one store (keep one of the two)",
    );
    refused(
        "[store]\npath = \"/srv/rota\"\n",
        "rota.toml:2:1: store.path is /srv/rota, and the file of records is called rota.db (write /srv/rota/rota.db)",
    );
}

const BINDINGS: &str = "[bindings.kosmos]\nkind = \"sql\"\nurl = \"postgres://h/d\"\naccess = [\"read\", \"maintain\"]\n\
                        [bindings.bucket]\nkind = \"storage\"\nurl = \"file:///srv\"\n";

#[test]
fn a_grant_beyond_the_binding_is_refused() {
    let job = |slot: &str| {
        // The other two slots keep either binding from being reported as unused.
        let others = "slots.c = { binding = \"bucket\" }\nslots.d = { binding = \"kosmos\" }";
        format!("{BINDINGS}[jobs.a]\nplugin = \"p\"\nslots.b = {slot}\n{others}\n")
    };
    refused(
        &job("{ binding = \"kosmos\", access = [\"read\", \"ddl\"] }"),
        "rota.toml:10:33: jobs.a.slots.b.access: \"ddl\" is more than bindings.kosmos.access allows (it has read and maintain)",
    );
    refused(
        &job("{ binding = \"bucket\", access = [\"maintain\"] }"),
        "rota.toml:10:33: jobs.a.slots.b.access: a storage binding has no access \"maintain\" (it has read, write and delete)",
    );
}

#[test]
fn a_job_with_an_unknown_binding_is_a_warning_with_the_nearest() {
    let config = config(&format!("{BINDINGS}[jobs.a]\nplugin = \"p\"\nslots.b = {{ binding = \"kosmso\" }}\n"));
    assert_eq!(
        lines(config.warnings()),
        [
            "rota.toml:1:11: no job uses the binding \"kosmos\"",
            "rota.toml:5:11: no job uses the binding \"bucket\"",
            "rota.toml:10:13: jobs.a.slots.b names the binding \"kosmso\", which is not configured (did you mean \"kosmos\"?)",
        ]
    );
    let none = super::config("[jobs.a]\nplugin = \"p\"\nslots.b = { binding = \"x\" }\n");
    assert!(lines(none.warnings())[0].ends_with("(there are no bindings)"));
    assert!(super::config(BINDINGS).warnings().is_empty());
}

#[test]
fn an_error_shows_its_line_and_no_secret() {
    let text = "[bindings.a]\nkind = \"sql\"\npassword = \"c4nary-pass\"\nurl = \"postgres://u:c4nary-url@h/d\"\nrol = \"x\"\n";
    let error = Config::load(&Source::empty().with_text("rota.toml", text)).unwrap_err();
    let shown = rota_config::render(error.problems(), false);
    assert!(shown.contains("rol = \"x\"") && shown.contains("rota.toml:5:1"), "{shown}");
    assert!(shown.contains("postgres://u:**********@h/d"), "{shown}");
    assert!(!format!("{shown}{error}{error:?}").contains("c4nary"), "{shown}");
    let report = format!("{:?}", miette::Report::new(error));
    assert!(report.contains("rota.toml:5:1") && !report.contains("c4nary"), "{report}");
}
