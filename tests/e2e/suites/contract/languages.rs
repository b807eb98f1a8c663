//! The same table from other languages: what is denied to a guest in Rust is denied to one in JavaScript, and what hands over streams and programs to one in
//! Python, in the same words, and nothing happens; and, so that this can fail, what is granted happens.

use super::table::{Case, cases, guarded, guards};
use super::targets::{Guest, Targets};
use super::{declared, touching};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Slots that a procedure in JavaScript can have.
const SLOTS: [&str; 7] = ["database", "bucket", "cache", "stream", "cluster", "program", "key"];
/// What the one in Python declares.
const OF_PYTHON: [&str; 6] = ["database", "program", "key", "cache", "stream", "cluster"];
/// What is tried from Python: that, and what hands over streams and programs.
const FROM_PYTHON: &[&str] = &[
    "bytes.compress",
    "bytes.count",
    "bytes.decompress",
    "bytes.decrypt",
    "bytes.drain",
    "bytes.encrypt",
    "bytes.rate-limit",
    "bytes.tee-sha256",
    "cache.session.info",
    "cache.session.monitor",
    "cache.session.ping",
    "cache.session.slowlog",
    "jetstream.session.account",
    "jetstream.session.monitoring",
    "jetstream.session.server",
    "jetstream.session.stored-at",
    "kubernetes.cluster.events",
    "kubernetes.cluster.get-scale",
    "kubernetes.cluster.lock",
    "kubernetes.cluster.require",
    "kubernetes.cluster.run-job",
    "kubernetes.cluster.version",
    "kubernetes.cluster.wait-for",
    "kubernetes.cluster.watch",
    "kubernetes.lock.check",
    "kubernetes.lock.release",
    "process.child.kill",
    "process.child.stdout",
    "process.child.wait",
    "run.metric",
    "sql.session.backend-pid",
    "sql.session.cancel-backend",
    "sql.session.configure",
    "sql.session.copy-in",
    "sql.session.copy-out",
    "sql.session.open-database",
    "sql.session.promote",
    "sql.session.reload-configuration",
    "sql.session.server",
    "sql.session.terminate-backend",
    "tools.info",
    "tools.spawn",
];

#[tokio::test]
async fn javascript_reaches_all_of_the_contract() {
    let targets = Targets::start().await.unwrap();
    let all = cases(&targets.named());
    // With nothing bound: what is reached says that of its slot, and what has no call would say so.
    let answers = targets.run_by(Guest::Script, &all, &[]).await.answers;
    let not: BTreeSet<&str> =
        all.iter().zip(&answers).filter(|(_, a)| a["unreachable"] == true).map(|(case, _)| case.import).collect();
    assert_eq!(not, BTreeSet::new());
    for (case, answer) in all.iter().zip(&answers) {
        match case.slot() {
            None => assert_eq!(answer, &json!({ "ok": true }), "{}", case.import),
            Some(slot) => {
                // A program is looked for before what it connects to.
                let slot = if case.import.starts_with("tools.") { "program" } else { slot };
                let text = answer["text"].as_str().unwrap_or_else(|| panic!("{}: {answer}", case.import));
                assert!(text.contains(&format!("nothing is bound to the slot `{slot}`")), "{}: {text}", case.import);
            }
        }
    }
    targets.untouched(&all).await;
}

/// Every call that needs an access, without that access: by the probe and by another guest, in the same words. How many calls were tried.
async fn denied_alike(targets: &Targets, all: &[Case], guest: Guest, slots: &[&str]) -> usize {
    let mut denials = 0;
    for (slot, access) in guards(all) {
        let guarded = guarded(all, slot, access);
        // Everything but this one access; nothing at all where any would do.
        let granted: Vec<&str> =
            declared(slot).iter().copied().filter(|word| access.is_some_and(|access| access != *word)).collect();
        let mut flags = targets.bind_of(slots);
        for other in slots.iter().filter(|other| **other != slot) {
            flags.extend(["--grant".to_owned(), format!("{other}={}", declared(other).join(","))]);
        }
        flags.extend(["--grant".to_owned(), format!("{slot}={}", granted.join(","))]);
        let in_rust = targets.run_by(Guest::Probe, &guarded, &flags).await;
        let elsewhere = targets.run_by(guest, &guarded, &flags).await;
        for ((case, rust), other) in guarded.iter().zip(&in_rust.answers).zip(&elsewhere.answers) {
            let import = case.import;
            assert_eq!((&rust["error"], &other["error"]), (&json!("denied"), &json!("denied")), "{import}: {other}");
            let (rust, other) = (rust["text"].as_str().unwrap(), other["text"].as_str().unwrap());
            // A script's says in front what it was doing.
            assert!(other.ends_with(rust), "{import}: `{other}` does not end with `{rust}`");
            denials += 1;
        }
        assert_eq!(elsewhere.effects, Vec::<Value>::new(), "a denial is no effect");
        targets.untouched(&guarded).await;
    }
    denials
}

#[tokio::test]
async fn what_is_denied_to_rust_is_denied_to_javascript_in_the_same_words() {
    let targets = Targets::start().await.unwrap();
    let all = cases(&targets.named());
    let denials = denied_alike(&targets, &all, Guest::Script, &SLOTS).await;
    assert!(denials > 40, "{denials} calls were tried");
}

#[tokio::test]
async fn what_hands_over_streams_is_denied_to_python_in_the_same_words_and_reached_where_it_is_granted() {
    let targets = Targets::start().await.unwrap();
    let all: Vec<Case> =
        cases(&targets.named()).into_iter().filter(|case| FROM_PYTHON.contains(&case.import)).collect();
    let denials = denied_alike(&targets, &all, Guest::Python, &OF_PYTHON).await;
    assert!(denials > 25, "{denials} calls were tried");
    let mut flags = targets.bind_of(&OF_PYTHON);
    flags.extend(["--grant", "declared"].map(str::to_owned));
    let plan: Vec<String> = flags.iter().cloned().chain(["--plan".to_owned()]).collect();
    let planned = targets.run_by(Guest::Python, &all, &plan).await;
    let operations: Vec<&str> = all.iter().flat_map(Case::operations).collect();
    let recorded = |effects: &[Value]| -> Vec<String> {
        effects.iter().map(|effect| effect["operation"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(recorded(&planned.effects), operations);
    targets.untouched(&touching(&all)).await;
    let ran = targets.run_by(Guest::Python, &all, &flags).await;
    for (case, answer) in all.iter().zip(&ran.answers) {
        // A primary cannot be promoted: the server itself says so.
        let well =
            if case.import == "sql.session.promote" { answer["error"] == "failed" } else { answer["ok"] == true };
        assert!(well, "{} with everything granted: {answer}", case.import);
    }
    assert_eq!(recorded(&ran.effects), operations);
    targets.touched(&all).await;
}

/// The target of an effect; of a Job without the end of its name, ten hexadecimal digits that no other Job has.
fn without_random_end<'t>(import: &str, target: &'t str) -> &'t str {
    if import != "kubernetes.cluster.run-job" {
        return target;
    }
    let (name, end) = target.rsplit_once('-').unwrap_or_else(|| panic!("{import}: {target}"));
    assert!(end.len() == 10 && end.chars().all(|c| c.is_ascii_hexdigit()), "{import}: {target}");
    name
}

/// Who takes a lock is the plugin and the run.
fn without_holder(detail: &str) -> &str {
    let taken = "take the lock as rota/";
    if detail.starts_with(taken) { taken } else { detail }
}

#[tokio::test]
async fn in_a_plan_javascript_has_the_effects_of_rust_and_none_happens() {
    let targets = Targets::start().await.unwrap();
    // What is kept to be undone is a function's text there; an object's content is the test's own; keys are unlinked in larger batches.
    let other = [
        "run.compensation.register",
        "run.compensation.dismiss",
        "storage.bucket.put",
        "cache.session.unlink-matching",
        // Its name is the test's own.
        "kubernetes.cluster.run-job",
        // The second at which it would be is in it.
        "kubernetes.cluster.restart",
    ];
    let all = cases(&targets.named());
    let mut flags = targets.bind_of(&SLOTS);
    flags.extend(["--grant", "declared", "--plan"].map(str::to_owned));
    let in_rust = targets.run_by(Guest::Probe, &all, &flags).await;
    let in_javascript = targets.run_by(Guest::Script, &all, &flags).await;
    for (case, answer) in all.iter().zip(&in_javascript.answers) {
        assert_eq!(answer, &json!({ "ok": true }), "{} in a plan, everything granted", case.import);
    }
    assert_eq!(in_rust.effects.len(), in_javascript.effects.len());
    let listed = all.iter().filter(|case| case.effect.is_some());
    for ((case, rust), javascript) in listed.zip(&in_rust.effects).zip(&in_javascript.effects) {
        for key in ["operation", "access", "outcome"] {
            assert_eq!(rust[key], javascript[key], "{} {key}", case.import);
        }
        let target =
            |effect: &Value| without_random_end(case.import, effect["target"].as_str().unwrap_or_default()).to_owned();
        assert_eq!(target(rust), target(javascript), "{} target", case.import);
        let detail = javascript["detail"].as_str().unwrap();
        if !other.contains(&case.import) {
            let rust = rust["detail"].as_str().unwrap();
            assert_eq!(without_holder(rust), without_holder(detail), "{}", case.import);
        } else if let Some(listed) = case.effect.filter(|_| !case.is_listed_only()) {
            assert!(detail.contains(listed.detail), "{}: {detail}", case.import);
        }
    }
    targets.untouched(&touching(&all)).await;
}

#[tokio::test]
async fn with_everything_granted_javascript_reaches_every_target() {
    let targets = Targets::start().await.unwrap();
    let all = cases(&targets.named());
    let mut flags = targets.bind_of(&SLOTS);
    flags.extend(["--grant", "declared"].map(str::to_owned));
    let ran = targets.run_by(Guest::Script, &all, &flags).await;
    for (case, answer) in all.iter().zip(&ran.answers) {
        // A primary cannot be promoted: the server itself says so.
        let well = match case.import {
            "sql.session.promote" => answer["error"] == "failed",
            _ => answer == &json!({ "ok": true }),
        };
        assert!(well, "{} with everything granted: {answer}", case.import);
    }
    let recorded: Vec<&str> = ran.effects.iter().map(|effect| effect["operation"].as_str().unwrap()).collect();
    let wanted: Vec<&str> = all.iter().filter(|case| !case.is_listed_only()).flat_map(Case::operations).collect();
    assert_eq!(recorded, wanted);
    targets.touched(&all).await;
}
