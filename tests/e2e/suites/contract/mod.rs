//! Every import of the contract: denied where its access is not granted, listed and not performed in plan mode, and, so that the two
//! can fail, performed where it is granted.

mod in_cases;
mod languages;
mod table;
mod targets;

use serde_json::Value;
use std::collections::BTreeSet;
use table::{Case, Named, cases, guarded, guards};
use targets::Targets;

fn nobody() -> Named {
    Named { session: (1, 0), recipient: String::new() }
}

/// The imports that the world has, in the probe's spelling: `sql.session.open`, `bytes.count`.
fn imports() -> BTreeSet<String> {
    let mut resolve = wit_parser::Resolve::default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
    let (package, _) = resolve.push_dir(folder).expect("wit/ is sound");
    let world = resolve.packages[package].worlds["procedure"];
    let mut found = BTreeSet::new();
    for item in resolve.worlds[world].imports.values() {
        let wit_parser::WorldItem::Interface { id, .. } = item else { continue };
        let interface = &resolve.interfaces[*id];
        let name = interface.name.clone().expect("an imported interface has a name");
        for function in interface.functions.values() {
            let resource = function.kind.resource().and_then(|id| resolve.types[id].name.clone());
            let path: Vec<String> =
                [Some(name.clone()), resource, Some(function.item_name().to_owned())].into_iter().flatten().collect();
            found.insert(path.join("."));
        }
    }
    found
}

#[test]
fn every_import_is_in_the_table() {
    let known: BTreeSet<String> = cases(&nobody()).iter().map(|case| case.import.to_owned()).collect();
    let imports = imports();
    assert!(imports.len() > 30, "wit/ was not read: {imports:?}");
    let missing: Vec<_> = imports.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "without a denial test and a plan test: {missing:?}; add them to tests/e2e/suites/contract/table.rs"
    );
    let gone: Vec<_> = known.difference(&imports).collect();
    assert!(gone.is_empty(), "in the table, and no longer in wit/: {gone:?}");
}

/// The words that the probe declares on a slot.
fn declared(slot: &str) -> &'static [&'static str] {
    match slot {
        "database" => {
            &["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in", "alter-system"]
        }
        "bucket" => &["read", "write", "delete"],
        "program" => &["run"],
        "key" => &["decrypt"],
        "cache" => &["read", "write", "delete", "debug"],
        "stream" => &["read"],
        "cluster" => &["read", "write", "delete", "scale", "exec", "run", "secrets"],
        other => panic!("no slot {other}"),
    }
}

fn denied(case: &Case, answer: &Value, flag: &str) {
    assert_eq!(answer["error"], "denied", "{} with {}: {answer}", case.import, case.arguments);
    let text = answer["text"].as_str().unwrap();
    assert!(text.contains(flag), "{}: the text does not name `{flag}`: {text}", case.import);
}

/// Those that have an effect: of a plan they leave no trace.
fn touching(cases: &[Case]) -> Vec<Case> {
    cases.iter().filter(|case| case.effect.is_some()).cloned().collect()
}

#[tokio::test]
async fn an_import_whose_slot_is_not_bound_is_denied() {
    let targets = Targets::start().await.unwrap();
    let cases = cases(&targets.named());
    let answers = targets.run(&cases, &[]).await.answers;
    for (case, answer) in cases.iter().zip(&answers) {
        match case.slot() {
            None => assert!(answer.get("ok").is_some(), "{} needs no grant: {answer}", case.import),
            // What a program connects to is asked for after the program itself.
            Some("database") if case.import == "tools.spawn" => denied(case, answer, "--bind program="),
            Some(slot) => denied(case, answer, &format!("--bind {slot}=")),
        }
    }
    targets.untouched(&cases).await;
}

#[tokio::test]
async fn an_import_whose_access_is_not_granted_is_denied() {
    let targets = Targets::start().await.unwrap();
    let all = cases(&targets.named());
    for (slot, access) in guards(&all) {
        let guarded = guarded(&all, slot, access);
        // Everything but this one access; nothing at all where any would do.
        let granted: Vec<&str> =
            declared(slot).iter().copied().filter(|word| access.is_some_and(|access| access != *word)).collect();
        let mut flags = targets.bind();
        let slots = ["database", "bucket", "program", "key", "cache", "stream", "cluster"];
        for other in slots.into_iter().filter(|other| *other != slot) {
            flags.extend(["--grant".to_owned(), format!("{other}={}", declared(other).join(","))]);
        }
        flags.extend(["--grant".to_owned(), format!("{slot}={}", granted.join(","))]);
        let answers = targets.run(&guarded, &flags).await.answers;
        for (case, answer) in guarded.iter().zip(&answers) {
            let wanted = access.unwrap_or(declared(slot)[0]);
            denied(case, answer, &format!("--grant {slot}="));
            denied(case, answer, &format!("`{wanted}` on slot `{slot}`"));
        }
        targets.untouched(&guarded).await;
    }
}

#[tokio::test]
async fn in_a_plan_every_effect_is_listed_and_none_happens() {
    let targets = Targets::start().await.unwrap();
    let cases = cases(&targets.named());
    let mut flags = targets.bind();
    flags.extend(["--grant", "declared", "--plan"].map(str::to_owned));
    let ran = targets.run(&cases, &flags).await;
    for (case, answer) in cases.iter().zip(&ran.answers) {
        assert!(answer.get("ok").is_some(), "{} in a plan, everything granted: {answer}", case.import);
    }
    let operations: Vec<&str> = cases.iter().flat_map(Case::operations).collect();
    let recorded: Vec<&str> = ran.effects.iter().map(|effect| effect["operation"].as_str().unwrap()).collect();
    assert_eq!(recorded, operations, "one line an effect");
    // What a call does besides is of the same kind as what it is about.
    let main: Vec<&Value> = ran.effects.iter().filter(|effect| effect["operation"] != "kubernetes.release").collect();
    let listed: Vec<_> = cases.iter().filter_map(|case| case.effect.map(|effect| (case, effect))).collect();
    for (number, effect) in ran.effects.iter().enumerate() {
        assert_eq!(effect["sequence"], number + 1);
    }
    for ((case, wanted), effect) in listed.iter().zip(main) {
        assert_eq!(effect["outcome"], "planned", "{}: {effect}", case.import);
        assert_eq!(effect["operation"], wanted.operation, "{effect}");
        assert_eq!(effect["access"], wanted.access, "{}: {effect}", case.import);
        assert!(effect["target"].as_str().unwrap().starts_with(wanted.target), "{}: {effect}", case.import);
        assert!(effect["detail"].as_str().unwrap().contains(wanted.detail), "{}: {effect}", case.import);
        assert_ne!(effect["detail"], "", "{}: a detail to judge it by", case.import);
    }
    let (effects, reads): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.effect.is_some());
    targets.untouched(&effects).await;
    // Reads happen in a plan too: the same look sees them.
    targets.touched(&reads).await;
}

#[tokio::test]
async fn with_everything_granted_every_import_reaches_its_target() {
    let targets = Targets::start().await.unwrap();
    let cases = cases(&targets.named());
    let mut flags = targets.bind();
    flags.extend(["--grant", "declared"].map(str::to_owned));
    let ran = targets.run(&cases, &flags).await;
    for (case, answer) in cases.iter().zip(&ran.answers) {
        if case.import == "sql.session.promote" {
            // A primary cannot be promoted: the server itself says so.
            assert_eq!(answer["error"], "failed", "{answer}");
        } else {
            assert!(answer.get("ok").is_some(), "{} with everything granted: {answer}", case.import);
        }
    }
    // What was recorded as an effect is what the table calls one: no import has an effect that a plan test does not know.
    let recorded: Vec<&str> = ran.effects.iter().map(|effect| effect["operation"].as_str().unwrap()).collect();
    let wanted: Vec<&str> = cases.iter().filter(|case| !case.is_listed_only()).flat_map(Case::operations).collect();
    assert_eq!(recorded, wanted);
    targets.touched(&cases).await;
}

#[tokio::test]
async fn once_a_run_is_cancelled_every_import_that_reaches_a_target_answers_so() {
    let targets = Targets::start().await.unwrap();
    // Filters of streams are no calls to anything.
    let cases: Vec<Case> = cases(&targets.named())
        .into_iter()
        .filter(|case| case.slot().is_some() && !case.import.starts_with("bytes."))
        .collect();
    let mut flags = targets.bind();
    flags.extend(["--grant", "declared", "--limit", "grace=60s"].map(str::to_owned));
    let answers = targets.run_cancelled(&cases, &flags).await;
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(&answers) {
        assert_eq!(answer["error"], "cancelled", "{} in the grace: {answer}", case.import);
    }
    targets.untouched(&cases).await;
}

#[tokio::test]
async fn another_database_is_opened_by_its_name_and_effects_in_it_say_so() {
    let server = rota_testbed::Postgres::shared().await.unwrap();
    let (own, other) = (server.fresh_database("own").await.unwrap(), server.fresh_database("other").await.unwrap());
    other.execute("create table probe (n int)").await.unwrap();
    let mut run = rota_tests::Attempts::of_probe(crate::COMPILED).await.unwrap();
    run.database = Some(own.url());
    let name = other.name().to_owned();
    let insert = serde_json::json!({ "database": name, "statement": "insert into probe values (1)" });
    assert_eq!(run.call("sql.session.execute", insert.clone()).await["ok"], 1);
    assert_eq!(run.call("sql.transaction.execute", insert.clone()).await["ok"], 1);
    let copy = serde_json::json!({ "database": name, "statement": "copy probe from stdin" });
    assert_eq!(run.call("sql.session.copy-in", copy).await["error"], "denied", "the grants are the slot's");
    let targets: Vec<String> = run.ledger.effects().into_iter().map(|effect| effect.record.target).collect();
    assert_eq!(targets, [format!("shop: database {name}, probe"), format!("shop: database {name}, probe")]);
    // The binding's own by its name is the binding's own.
    let own = serde_json::json!({ "database": own.name(), "statement": "select current_database()" });
    assert!(run.call("sql.session.query", own).await.get("ok").is_some());
    for (database, error) in [
        ("", "invalid-argument"),
        (&*"x".repeat(64), "invalid-argument"),
        ("a\0b", "invalid-argument"),
        ("no such", "failed"),
    ] {
        let answer = run.call("sql.session.open-database", serde_json::json!({ "database": database })).await;
        assert_eq!(answer["error"], error, "{database:?}: {answer}");
    }
    run.mode = rota_authority::Mode::Plan;
    assert_eq!(run.call("sql.session.execute", insert).await["ok"], 0);
    assert_eq!(run.ledger.effects().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_import_is_recorded_and_replayed_without_its_target() {
    let targets = Targets::start().await.unwrap();
    let cases = cases(&targets.named());
    let mut flags = targets.bind();
    flags.extend(["--grant", "declared", "--record"].map(str::to_owned));
    let ran = targets.run(&cases, &flags).await;
    let asked = targets.recorded_operations();
    for case in &cases {
        assert!(asked.contains(case.import), "{} is not on the recording: {asked:?}", case.import);
    }
    let unknown: Vec<_> = asked.iter().filter(|operation| !imports().contains(*operation)).collect();
    assert!(unknown.is_empty(), "recorded under names that the contract does not have: {unknown:?}");
    // Nothing that it reached is there any more.
    let rota = targets.gone().await.unwrap();
    let same = crate::cli::schema::valid("replay", &rota.run(&["runs", "replay", "last"]).await.unwrap());
    assert_eq!(same["result"], "same", "{same:#}");
    assert_eq!(same["end"]["report"]["data"], Value::from(ran.answers), "the guest was told the same");
}
