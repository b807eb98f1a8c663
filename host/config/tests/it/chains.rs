//! Jobs that run after jobs.

use rota_config::AfterEnd;

use super::{config, errors, refused};

/// Jobs by name, each with what its `after` holds.
fn jobs(after: &[(&str, &str)]) -> String {
    after.iter().map(|(name, after)| format!("[jobs.{name}]\nplugin = \"p\"\nafter = [{after}]\n")).collect()
}

fn job(name: &str) -> String {
    format!("{{ job = \"{name}\" }}")
}

#[test]
fn a_job_can_follow_others() {
    let both = "{ job = \"a\" }, { job = \"b\", on = \"failure\" }";
    let config = config(&jobs(&[("a", ""), ("b", &job("a")), ("c", both)]));
    let after: Vec<_> = config.jobs["c"].after.iter().map(|after| (after.job.as_str(), after.on)).collect();
    assert_eq!(after, [("a", AfterEnd::Success), ("b", AfterEnd::Failure)]);
    assert!(config.jobs["c"].runs_by_itself() && !config.jobs["a"].runs_by_itself());
}

#[test]
fn an_unknown_job_names_the_nearest() {
    refused(
        &jobs(&[("nightly-backup", ""), ("vacuum", &job("nightly-bakcup"))]),
        "rota.toml:6:12: jobs.vacuum.after[0] names the job \"nightly-bakcup\", which is not configured (did you mean \
         \"nightly-backup\"?)",
    );
    refused(
        &jobs(&[("a", "{ job = \"a\", on = \"succes\" }")]).replace("job = \"a\"", "job = \"b\""),
        "rota.toml:3:28: jobs.a.after[0].on: \"succes\" is not an end that a job can follow (did you mean \"success\"?)",
    );
    refused(
        &jobs(&[("a", "{ on = \"any\" }")]),
        "rota.toml:3:10: jobs.a.after[0] needs the key \"job\": the name of a job",
    );
    refused(
        &jobs(&[("a", ""), ("b", "{ job = \"a\" }, { job = \"a\", on = \"failure\" }")]),
        "rota.toml:6:27: jobs.b.after names the job \"a\" twice (keep one of the two; on = \"any\" is both ends)",
    );
}

#[test]
fn a_cycle_is_named_with_its_place() {
    let help = "(take one of them out of the after of the next)";
    refused(
        &jobs(&[("a", &job("a"))]),
        &format!("rota.toml:3:12: jobs.a.after makes a cycle, in which jobs would run for ever: a -> a {help}"),
    );
    refused(
        &jobs(&[("a", &job("c")), ("b", &job("a")), ("c", &job("b")), ("d", &job("c"))]),
        &format!(
            "rota.toml:3:12: jobs.a.after makes a cycle, in which jobs would run for ever: a -> b -> c -> a {help}"
        ),
    );
    // Two that share nothing are two; one that only leads into a cycle is in none.
    let two =
        errors(&jobs(&[("a", &job("b")), ("b", &job("a")), ("c", &job("d")), ("d", &job("c")), ("e", &job("a"))]));
    assert_eq!(two.len(), 2, "{two:?}");
    assert!(two[0].contains("a -> b -> a") && two[1].contains("c -> d -> c"), "{two:?}");
    // A way that divides and meets again is none.
    config(&jobs(&[("a", ""), ("b", &job("a")), ("c", &job("a")), ("d", "{ job = \"b\" }, { job = \"c\" }")]));
}

#[test]
fn a_long_chain_is_looked_through() {
    let mut text = jobs(&[("j0", "")]);
    for i in 1..20_000 {
        text.push_str(&jobs(&[(&format!("j{i}"), &job(&format!("j{}", i - 1)))]));
    }
    assert_eq!(config(&text).jobs.len(), 20_000);
}
