use super::*;
use crate::format::CaseFile;
use rota_contract::reports::{Cell, Finding, Metric, Risk, Severity, Table};
use std::path::Path;

fn expect(text: &str) -> Expect {
    let text = format!("[[case]]\nname = \"a\"\n[case.expect]\n{text}\n");
    CaseFile::parse(Path::new("a.toml"), text).unwrap().cases.remove(0).expect
}

fn descriptor() -> Descriptor {
    Descriptor {
        name: "a".into(),
        version: "1.0.0".into(),
        summary: String::new(),
        description: String::new(),
        parameters: "{}".into(),
        report: r#"{"type":"object"}"#.into(),
        slots: Vec::new(),
        risk: Risk::Observe,
        confirmation: None,
        idempotent: true,
        examples: Vec::new(),
    }
}

fn effect(operation: &str, target: &str, detail: &str) -> EffectCame {
    EffectCame {
        operation: operation.into(),
        target: target.into(),
        access: "maintain".into(),
        detail: detail.into(),
        outcome: "done".into(),
        said: Some("0 rows".into()),
    }
}

fn came() -> Came {
    let finding = |severity, title: &str| Finding { severity, title: title.into(), detail: "why".into(), remedy: None };
    Came {
        ended: "succeeded".into(),
        report: Some(Report {
            status: Severity::Warning,
            summary: "2 tables are stale".into(),
            findings: vec![finding(Severity::Warning, "public.a is stale"), finding(Severity::Ok, "public.b")],
            tables: vec![Table {
                name: "stale".into(),
                title: "Stale".into(),
                columns: vec!["table".into()],
                rows: vec![vec![Cell::Text("public.a".into())]],
            }],
            metrics: vec![Metric { name: "stale_tables".into(), labels: vec![("db".into(), "x".into())], value: 2.0 }],
            data: r#"{"tables":[{"table":"public.a","rows":5}]}"#.into(),
        }),
        effects: vec![
            effect("sql.execute", "database: public.a", "analyze\n  public.a"),
            effect("storage.put", "bucket: x/a.txt", "about 3.0 kB, only if absent"),
        ],
        ..Came::default()
    }
}

fn wrongs(text: &str, came: &Came) -> Vec<Wrong> {
    check(&expect(text), came, &descriptor(), false)
}

const GOOD: &str = r#"
    status = "warning"
    summary = "* tables are stale"
    findings = ["*public.a*", "..."]
    tables = { stale = [["public.a"]] }
    metrics = { "stale_tables{db=x}" = 2 }
    data = { tables = [{ table = "public.a" }] }
    effects = ["sql.execute database: analyze public.a", { operation = "storage.put", outcome = "done" }]
"#;

#[test]
fn what_is_as_expected_has_nothing_wrong() {
    assert_eq!(wrongs(GOOD, &came()), []);
}

#[test]
fn each_difference_is_shown() {
    let effects = r#"effects = ["...", "storage.put *"]"#;
    for (text, what, how) in [
        (r#"status = "ok""#, "status", "- ok\n+ warning"),
        (r#"summary = "nothing""#, "summary", "- nothing\n+ 2 tables are stale"),
        (r#"findings = ["public.a is stale"]"#, "findings", "  warning: public.a is stale\n+ ok: public.b"),
        (
            r#"tables = { stale = [["public.b"]] }"#,
            "tables",
            "- stale[0][0]: \"public.b\"\n+ stale[0][0]: \"public.a\"",
        ),
        (r#"metrics = { other = 1 }"#, "metrics", "- other: 1\n+ other: (nothing)"),
        (r#"data = { tables = [{ rows = 6 }] }"#, "data", "- tables[0].rows: 6\n+ tables[0].rows: 5"),
        (r#"ended = "failed""#, "how it ended", "- failed\n+ succeeded\n  it reported: 2 tables are stale"),
        (r#"denied = ["sql.execute needs *"]"#, "denied", "- sql.execute needs *"),
        (r#"compensations = ["drop it: undone"]"#, "compensations", "- drop it: undone"),
        (r#"steps = { one = 1 }"#, "steps", "- one: 1\n+ one: (nothing)"),
        (r#"artifacts = { "a.txt" = "*" }"#, "artifact a.txt", "there is none"),
    ] {
        let text = if text.starts_with("effects") { text.to_owned() } else { format!("{text}\n{effects}") };
        assert_eq!(wrongs(&text, &came()), [Wrong::new(what, how)], "{text}");
    }
    let text = r#"effects = ["storage.put bucket: x/a.txt: *", "sql.execute *"]"#;
    let how = "- storage.put bucket: x/a.txt: *\n  sql.execute database: analyze public.a\n+ storage.put bucket: x/a.txt: about 3.0 kB, only if absent";
    let wrong = wrongs(text, &came());
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].how == how || wrong[0].how.contains("- sql.execute *"), "{}", wrong[0].how);
}

#[test]
fn effects_and_denials_are_expected_even_where_nothing_is_said() {
    let what: Vec<String> = wrongs("", &came()).into_iter().map(|wrong| wrong.what).collect();
    assert_eq!(what, ["effects"]);
    let mut denied = came();
    denied.effects.clear();
    denied.denied = vec!["sql.execute needs `write`".into()];
    assert_eq!(wrongs("", &denied), [Wrong::new("denied", "+ sql.execute needs `write`")]);
    let mut undone = came();
    undone.effects.clear();
    let state = serde_json::Value::Null;
    undone.compensations =
        vec![CompensationCame { name: "drop it".into(), state, became: "undone".into(), error: None }];
    assert_eq!(wrongs("", &undone), [Wrong::new("compensations", "+ drop it: undone")]);
}

#[test]
fn a_failure_is_held_against_its_parts() {
    let mut failed = came();
    failed.effects.clear();
    failed.ended = "failed".into();
    failed.report = None;
    let code = Some("55P03".to_owned());
    failed.failure = Some(crate::came::Cause { kind: "failed".into(), code, message: "no lock".into(), hint: None });
    assert_eq!(wrongs(r#"failure = { code = "55P03", message = "*lock" }"#, &failed), []);
    assert_eq!(wrongs(r#"failure = { kind = "denied" }"#, &failed), [Wrong::new("failure.kind", "- denied\n+ failed")]);
    let said = wrongs("", &failed);
    assert_eq!(said[0].how, "- succeeded\n+ failed\n  failed 55P03: no lock");
    assert_eq!(wrongs("ended = \"failed\"\nsummary = \"x\"", &failed)[0].what, "report");
}

#[test]
fn data_that_is_not_as_the_schema_says_is_wrong() {
    let mut one = came();
    one.effects.clear();
    let descriptor = Descriptor { report: r#"{"type":"object","required":["other"]}"#.into(), ..descriptor() };
    let wrong = check(&expect(""), &one, &descriptor, false);
    assert!(wrong[0].what == "data" && wrong[0].how.contains("other"), "{wrong:?}");
}

#[test]
fn the_log_is_looked_through_in_order() {
    let mut one = came();
    one.effects.clear();
    let line =
        |level: &'static str, text: &str| crate::Line { level, source: "procedure".into(), message: text.into() };
    one.log = vec![line("info", "begins"), line("warn", "careful table=a"), line("info", "ends")];
    assert_eq!(wrongs(r#"log = ["begins", "warn: careful*"]"#, &one), []);
    assert_eq!(wrongs(r#"log = ["ends", "begins"]"#, &one)[0].what, "log");
    assert_eq!(wrongs(r#"log = { level = "warn" }"#, &one), []);
}

#[test]
fn what_a_slot_holds_is_looked_at() {
    let mut one = came();
    one.effects.clear();
    one.slots.insert("bucket".into(), json!({ "objects": { "a": "text" } }));
    one.slots.insert("cluster".into(), json!({ "objects": [{ "kind": "Pod", "spec": { "a": 1 } }] }));
    assert_eq!(wrongs(r#"slots = { bucket = { objects = { a = "te*", b = "(gone)" } } }"#, &one), []);
    assert_eq!(wrongs(r#"slots = { cluster = { objects = [{ kind = "Pod" }] } }"#, &one), []);
    for text in [
        r#"slots = { bucket = { objects = { a = "(gone)" } } }"#,
        r#"slots = { bucket = { objects = { c = "x" } } }"#,
        r#"slots = { bucket = { objects = { a = "x" } } }"#,
        r#"slots = { cluster = { objects = [{ kind = "Node" }] } }"#,
    ] {
        assert_eq!(wrongs(text, &one).len(), 1, "{text}");
    }
}
