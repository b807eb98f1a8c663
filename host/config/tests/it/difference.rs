//! What changes from one configuration to another, and whether hosts have the same.

use rota_config::{Config, Source};

use super::config;

const BEFORE: &str = "[bindings.kosmos]\nkind = \"sql\"\nurl = \"env:KOSMOS\"\n[jobs.nightly-backup]\nplugin = \"postgres-backup@1\"\n\
                      slots.database = { binding = \"kosmos\", access = [\"read\"] }\nschedule = { cron = \"0 2 * * *\" }\n\
                      parameters = { keep = 7, token = \"c4nary-token\" }\n";

fn difference(before: &str, after: &str) -> Vec<String> {
    config(before).difference(&config(after)).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_change_says_what_was_and_what_is() {
    assert!(config(BEFORE).difference(&config(BEFORE)).is_empty());
    for (from, to, line) in [
        ("0 2 * * *", "0 3 * * *", "jobs.nightly-backup.schedule.cron: \"0 2 * * *\" -> \"0 3 * * *\""),
        ("keep = 7", "keep = 8", "jobs.nightly-backup.parameters.keep: 7 -> 8"),
        ("keep = 7, ", "", "jobs.nightly-backup.parameters.keep: 7 -> not set"),
        (
            "[\"read\"]",
            "[\"read\", \"maintain\"]",
            "jobs.nightly-backup.slots.database.access: [\"read\"] -> [\"read\",\"maintain\"]",
        ),
        ("env:KOSMOS", "env:OTHER", "bindings.kosmos.url: \"env:KOSMOS\" -> \"env:OTHER\""),
        ("plugin =", "timeout = \"2h\"\nplugin =", "jobs.nightly-backup.timeout: not set -> \"2h\""),
        ("plugin =", "enabled = false\nplugin =", "jobs.nightly-backup.enabled: true -> false"),
    ] {
        assert_eq!(difference(BEFORE, &BEFORE.replace(from, to)), [line]);
    }
}

#[test]
fn of_a_new_job_only_what_was_written_is_told() {
    let after = format!("{BEFORE}[jobs.vacuum]\nplugin = \"postgres-vacuum\"\nretries = {{ limit = 2 }}\n");
    let (before, after) = (config(BEFORE), config(&after));
    let difference = before.difference(&after);
    assert_eq!(
        difference.to_string(),
        "jobs.vacuum.plugin: not set -> \"postgres-vacuum\"\njobs.vacuum.retries.limit: not set -> 2\n"
    );
    let names = |jobs: &[rota_config::JobName]| jobs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((names(&difference.added_jobs), difference.removed_jobs.len()), (vec!["vacuum".to_owned()], 0));
    let back = after.difference(&before);
    assert_eq!(back.to_string().lines().next(), Some("jobs.vacuum.plugin: \"postgres-vacuum\" -> not set"));
    assert_eq!((names(&back.removed_jobs), back.changed_jobs.len()), (vec!["vacuum".to_owned()], 0));
    let variable = Source::empty().with_text("rota.toml", BEFORE).with_variable("ROTA_JOBS__V", "{ plugin = \"p\" }");
    let lines = before.difference(&Config::load(&variable).unwrap()).to_string();
    assert!(lines.contains("jobs.v.plugin: not set -> \"p\""), "{lines}");
}

#[test]
fn a_secret_is_never_in_a_difference() {
    let secret = |value: &str| {
        let source = Source::empty().with_text("rota.toml", BEFORE);
        Config::load(&source.with_variable("ROTA_BINDINGS__KOSMOS__PASSWORD", value)).unwrap()
    };
    let (one, other) = (secret("c4nary-one"), secret("c4nary-other"));
    let shown = one.difference(&other).to_string();
    assert_eq!(shown, "bindings.kosmos: a secret -> another secret\n");
    let plain = config(BEFORE);
    let shown = plain.difference(&one).to_string() + &format!("{:?}", plain.difference(&other));
    assert!(shown.contains("bindings.kosmos.password: not set -> ") && !shown.contains("c4nary"), "{shown}");
    let without = config(&BEFORE.replace("\"c4nary-token\"", "\"c4nary-t\""));
    assert!(!format!("{:?}", plain.difference(&without)).contains("c4nary"));
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn what_needs_a_restart_is_told() {
    let after = "[server]\nlisten = \"none\"\nworkers = 4\n[store]\npath = \"/x/rota.db\"\n[limits]\nhandles = 9\n";
    let difference = config("").difference(&config(after));
    let keys: Vec<_> = difference.needs_restart().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["server.listen", "store.path"]);
    assert_eq!(difference.changes.len(), 4, "{difference}");
}

#[test]
fn hosts_with_the_same_jobs_have_one_digest() {
    let digest = |text: &str| config(text).digest();
    let same = digest(BEFORE);
    assert!(same.starts_with("sha256:") && same.len() == 71, "{same}");
    // What is a host's own, and what says the default.
    for own in [
        "[server]\nname = \"b\"\nlisten = \"none\"\n",
        "[telemetry]\nlog = \"debug\"\n",
        "[limits]\nhandles = 256\n",
        "[store]\npath = \"/x/rota.db\"\n",
    ] {
        assert_eq!(digest(&format!("{own}{BEFORE}")), same, "{own}");
    }
    assert_eq!(digest(&BEFORE.replace("plugin =", "enabled = true\npriority = 0\nplugin =")), same);
    // The order in which it is written.
    let moved = BEFORE.replace("keep = 7, token = \"c4nary-token\"", "token = \"c4nary-token\", keep = 7");
    assert_eq!(digest(&moved), same);
    for other in [
        BEFORE.replace("0 2", "0 3"),
        BEFORE.replace("env:KOSMOS", "env:OTHER"),
        BEFORE.replace("keep = 7", "keep = \"7\""),
        format!("{BEFORE}[limits]\nhandles = 9\n"),
        format!("{BEFORE}[store]\nkeep = {{ age = \"1d\" }}\n"),
        format!("{BEFORE}[jobs.b]\nplugin = \"p\"\n"),
    ] {
        assert_ne!(digest(&other), same, "{other}");
    }
    // It must not change by itself: hosts of different builds compare it.
    assert_eq!(digest(""), "sha256:0e1700c59eb2fabec882aacd25c59ccceb5e157065572ab294fac8db71b2f7c7");
}

#[test]
fn a_job_has_a_digest_of_its_own() {
    let before = config(BEFORE);
    let more = config(&format!("{BEFORE}[jobs.b]\nplugin = \"p\"\n"));
    assert_eq!(before.job_digest("nightly-backup"), more.job_digest("nightly-backup"));
    let moved = config(&BEFORE.replace("env:KOSMOS", "env:OTHER"));
    assert_ne!(before.job_digest("nightly-backup"), moved.job_digest("nightly-backup"));
    assert!(before.job_digest("none").is_none());
}
