//! The same table, held against cases: what stands behind their slots must guard and list as the host does, or a case would prove nothing.

use super::declared;
use super::table::{Case, Named, cases, guarded, guards};
use rota_cases::written::{inline, text};
use rota_cases::{Subject, Suite, Wrong, run};
use rota_tests::{InProcess, probe};
use serde_json::{Value, json};
use std::path::Path;

const SLOTS: [&str; 7] = ["database", "bucket", "program", "key", "cache", "stream", "cluster"];

fn all() -> Vec<Case> {
    cases(&Named {
        session: (311, 1),
        recipient: "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".into(),
    })
}

/// What the slots hold and answer, with these accesses granted.
fn world(granted: impl Fn(&str) -> Vec<&'static str>) -> String {
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } });
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "replicas": 1 },
    });
    let keys = json!({
        "probe:there": "x", "probe:match:1": "x", "probe:match:2": "x", "probe:match:3": "x", "probe:doomed": "x", "probe:expiring": "x",
        "probe:hash": { "hash": { "f": "v" } }, "probe:onefield": { "hash": { "f": "v" } },
    });
    let mut slots = String::new();
    for slot in SLOTS {
        let access: Vec<String> = granted(slot).into_iter().map(text).collect();
        let more = match slot {
            "database" => "alter_system = [\"work_mem\"]".to_owned(),
            "bucket" => format!("objects = {}", inline(&json!({ "there.txt": "there", "doomed.txt": "doomed" }))),
            "program" => "program = \"pg_dump\"".to_owned(),
            "cache" => format!("keys = {}", inline(&keys)),
            "cluster" => format!("objects = {}", inline(&json!([map("there"), map("doomed"), web]))),
            _ => String::new(),
        };
        slots += &format!("[common.slots.{slot}]\naccess = [{}]\n{more}\n", access.join(", "));
    }
    for answer in [
        "call = \"sql.query\"\nrows = []",
        "call = \"sql.copy-out\"\ntext = \"1\\n\"",
        "call = \"sql.execute\"\naffected = 1",
        "call = \"jetstream.*\"",
        "call = \"kubernetes.logs\"\ntext = \"a line\"",
        "call = \"kubernetes.exec\"",
        "call = \"kubernetes.run-job\"",
        "call = \"tools.spawn\"\nstdout = \"dump\"",
    ] {
        slots += &format!("[[common.answers]]\n{answer}\nrepeat = true\n");
    }
    slots
}

/// A case that makes these calls.
fn calls(cases: &[Case], mode: &str) -> String {
    let calls: Vec<Value> = cases.iter().map(Case::call).collect();
    let parameters = inline(&json!({ "do": "calls", "calls": calls }));
    format!("[[case]]\nname = \"calls\"\nmode = {mode:?}\nparameters = {parameters}\n[case.expect]\n")
}

/// What is not as expected. That the probe's data is a list is its own affair.
async fn wrong(subject: &Subject, text: String) -> Vec<Wrong> {
    let suite = Suite::of_text(Path::new("table.toml"), text.clone()).unwrap_or_else(|error| panic!("{error}"));
    suite.fits(&subject.descriptor).unwrap_or_else(|error| panic!("{error}"));
    let file = &suite.files()[0];
    let result = run(subject, file, &file.cases[0]).await;
    result.wrong.into_iter().filter(|wrong| !wrong.how.contains("descriptor's schema")).collect()
}

async fn subject() -> (InProcess, Subject) {
    let host = InProcess::open(crate::COMPILED).await.unwrap();
    let loaded = host.host.plugins().load(&probe::path().display().to_string()).await.unwrap();
    let sandbox = host.host.plugins().sandbox().clone();
    let subject = Subject { sandbox, plugin: loaded.plugin, descriptor: loaded.descriptor };
    (host, subject)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_case_lists_what_a_plan_lists() {
    let (_host, subject) = subject().await;
    let all = all();
    let mut effects = Vec::new();
    for case in &all {
        for operation in case.operations() {
            let listed = case.effect.unwrap();
            effects.push(match operation == listed.operation {
                true => json!({
                    "operation": operation, "target": format!("{}*", listed.target), "access": listed.access,
                    "detail": format!("*{}*", listed.detail), "outcome": "planned",
                }),
                // What a call does besides is of the same kind as what it is about.
                false => json!({ "operation": operation }),
            });
        }
    }
    let answers: Vec<Value> = all.iter().map(|_| json!({ "ok": "*" })).collect();
    let expect = format!("data = {}\neffects = {}\n", inline(&json!(answers)), inline(&json!(effects)));
    let text = format!("{}{}{expect}", world(|slot| declared(slot).to_vec()), calls(&all, "plan"));
    let wrong = wrong(&subject, text).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_granted_each_call_is_answered_and_has_its_effect() {
    let (_host, subject) = subject().await;
    let all = all();
    let recorded = all.iter().filter(|case| !case.is_listed_only()).flat_map(Case::operations);
    let effects: Vec<Value> = recorded.map(|operation| json!({ "operation": operation, "outcome": "done" })).collect();
    let answers: Vec<Value> = all.iter().map(|_| json!({ "ok": "*" })).collect();
    let expect = format!("data = {}\neffects = {}\n", inline(&json!(answers)), inline(&json!(effects)));
    let text = format!("{}{}{expect}", world(|slot| declared(slot).to_vec()), calls(&all, "execute"));
    let wrong = wrong(&subject, text).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_access_each_call_is_denied_in_the_words_of_a_run() {
    let (_host, subject) = subject().await;
    let all = all();
    let guards = guards(&all);
    assert!(guards.len() > 20);
    for (slot, access) in guards {
        let guarded = guarded(&all, slot, access);
        let granted = |of: &str| -> Vec<&'static str> {
            let words = declared(of).iter().copied();
            words.filter(|word| of != slot || access.is_some_and(|access| access != *word)).collect()
        };
        let wanted = access.unwrap_or(declared(slot)[0]);
        let answer = json!({ "error": "denied", "text": format!("*`{wanted}` on slot `{slot}`*--grant {slot}=*") });
        let answers: Vec<Value> = guarded.iter().map(|_| answer.clone()).collect();
        let expect = format!("data = {}\neffects = [\"...\"]\ndenied = [\"...\"]\n", inline(&json!(answers)));
        let text = format!("{}{}{expect}", world(granted), calls(&guarded, "execute"));
        let wrong = wrong(&subject, text).await;
        assert!(wrong.is_empty(), "{slot} {access:?}: {wrong:#?}");
    }
}
