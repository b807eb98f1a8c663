use super::*;
use crate::format::CaseFile;
use rota_contract::reports::{Cell, Finding, Metric, Risk, Severity, Slot, Table};
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
    // A pattern of anything is of something: this failure has no hint.
    assert_eq!(wrongs(r#"failure = { hint = "*" }"#, &failed), [Wrong::new("failure.hint", "- *\n+ (nothing)")]);
    assert_eq!(wrongs(r#"failure = { hint = "" }"#, &failed), []);
}

#[test]
fn a_compensation_has_no_report_that_anything_could_be_held_against() {
    let done = Came { ended: "succeeded".into(), ..Came::default() };
    let wrong = check(&expect("status = \"ok\"\nsummary = \"x\""), &done, &descriptor(), true);
    assert_eq!(wrong, [Wrong::new("report", "a compensation has none, and status, summary are expected of it")]);
    assert_eq!(check(&expect(""), &done, &descriptor(), true), []);
}

#[test]
fn a_compensation_is_expected_with_what_became_of_it() {
    let mut failed = came();
    failed.effects.clear();
    let error = Some("no lock".to_owned());
    let state = serde_json::Value::Null;
    failed.compensations = vec![CompensationCame { name: "drop it".into(), state, became: "failed".into(), error }];
    assert_eq!(wrongs(r#"compensations = ["drop it: failed"]"#, &failed), []);
    assert_eq!(wrongs(r#"compensations = ["drop it: failed (no *)"]"#, &failed), []);
    for other in ["drop it", "drop it: undone"] {
        let wrong = wrongs(&format!("compensations = [{other:?}]"), &failed);
        assert_eq!(wrong, [Wrong::new("compensations", format!("- {other}\n+ drop it: failed (no lock)"))]);
    }
}

#[test]
fn data_that_is_not_as_the_schema_says_is_wrong() {
    let mut one = came();
    one.effects.clear();
    let descriptor = Descriptor { report: r#"{"type":"object","required":["other"]}"#.into(), ..descriptor() };
    let wrong = check(&expect(""), &one, &descriptor, false);
    assert!(wrong[0].what == "data" && wrong[0].how.contains("other"), "{wrong:?}");
    for none in ["", "{", r#"{"type":5}"#] {
        let descriptor = Descriptor { report: none.into(), ..descriptor.clone() };
        let wrong = check(&expect(""), &one, &descriptor, false);
        assert!(wrong.len() == 1 && wrong[0].how.contains("schema of the report is none"), "{none}: {wrong:?}");
    }
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

#[test]
fn a_slot_is_looked_at_for_what_it_can_hold_and_nothing_else() {
    let slot = |name: &str, capability: &str| Slot {
        name: name.into(),
        capability: capability.into(),
        accesses: Vec::new(),
        purpose: "to be looked at".into(),
        optional: true,
    };
    let slots = vec![slot("b", "storage"), slot("c", "cache"), slot("k", "kubernetes"), slot("d", "sql")];
    let descriptor = Descriptor { slots, ..descriptor() };
    let fits = |expected: &str| {
        let text = format!("[[case]]\nname = \"a\"\n[case.expect]\nslots = {{ {expected} }}\n");
        let file = CaseFile::parse(Path::new("a.toml"), text).unwrap();
        crate::fits(&file, &descriptor).map_err(|problem| problem.to_line())
    };
    for good in [
        r#"b = { objects = { a = "(gone)" } }"#,
        r#"c = { keys = { a = "(gone)" } }"#,
        r#"k = { objects = [{ kind = "Pod" }] }"#,
    ] {
        assert_eq!(fits(good), Ok(()), "{good}");
    }
    // Each of them fits whatever the slot holds.
    for bad in [
        r#"b = { object = { a = "(gone)" } }"#,
        r#"b = { keys = { a = "(gone)" } }"#,
        r#"b = { objects = "x" }"#,
        "b = { objects = {} }",
        "b = {}",
        r#"c = { objects = { a = "(gone)" } }"#,
        r#"k = { objects = { a = "(gone)" } }"#,
        "k = { objects = [] }",
        r#"d = { objects = { a = "(gone)" } }"#,
    ] {
        let said = fits(bad).unwrap_err();
        assert!(said.contains("expects of the slot"), "{bad}: {said}");
    }
}

#[test]
fn what_says_nothing_of_a_slot_is_not_said_of_it() {
    let slot = |name: &str, capability: &str| Slot {
        name: name.into(),
        capability: capability.into(),
        accesses: Vec::new(),
        purpose: "to be looked at".into(),
        optional: true,
    };
    let slots = vec![slot("b", "storage"), slot("c", "cache"), slot("k", "kubernetes"), slot("d", "sql")];
    let descriptor = Descriptor { slots, ..descriptor() };
    let fits = |said: &str| {
        let text = format!("[[case]]\nname = \"a\"\nslots.{said}\n");
        let file = CaseFile::parse(Path::new("a.toml"), text).unwrap();
        crate::fits(&file, &descriptor).map_err(|problem| problem.to_line())
    };
    for good in [
        r#"d = { server = { in_recovery = true, version-num = 160004 }, alter_system = ["work_mem"] }"#,
        r#"c = { keys = { a = "x" }, protected = ["a"], maximum_keys = 5 }"#,
        r#"b = { objects = { a = "x" } }"#,
        r#"k = { namespace = "shop", version = "1.30" }"#,
    ] {
        assert_eq!(fits(good), Ok(()), "{good}");
    }
    for (bad, says) in [
        (r#"b = { protected = ["a"] }"#, "`protected` says nothing of the slot `b`, which is for storage"),
        (r#"d = { objects = { a = "x" } }"#, "`objects` says nothing of the slot `d`, which is for sql"),
        (r#"b = { bound = false, keys = {} }"#, "`keys` says nothing of the slot `b`"),
        (
            "d = { server = { in_recvery = true } }",
            "`in_recvery` is nothing that a server says of itself (did you mean",
        ),
    ] {
        let said = fits(bad).unwrap_err();
        assert!(said.contains(says), "{bad}: {said}");
    }
}

/// What is wrong with what came of a case on real bindings.
fn real(text: &str, came: &Came) -> Vec<Wrong> {
    let text = format!("[[case]]\nname = \"a\"\n{text}\n");
    let case = CaseFile::parse(Path::new("a.toml"), text).unwrap().cases.remove(0);
    assert_eq!(case.only_answered(), None);
    case.check_real(came, &descriptor())
}

/// A run that failed, as its record has it: without the target's code, and with the one denial that ended it.
fn on_record(kind: &str, message: &str) -> Came {
    let cause = crate::came::Cause::of_host(kind, message);
    let denied = if kind == "denied" { vec![message.to_owned()] } else { Vec::new() };
    Came { ended: "failed".into(), failure: Some(cause), denied, ..came() }
}

#[test]
fn a_targets_own_code_is_not_asked_of_a_run_on_real_bindings() {
    let failed = on_record("failed", "no lock on public.a");
    let expected = "[case.expect]\nfailure = { code = \"55P03\", message = \"no lock *\" }";
    assert_eq!(real(expected, &failed), []);
    assert_eq!(real(&expected.replace("no lock", "gone"), &failed)[0].what, "failure.message");
    assert_eq!(real("[case.expect]\nfailure = { code = \"55P03\" }", &came())[0].what, "how it ended");
}

#[test]
fn the_denial_that_ended_a_run_is_one_of_those_that_are_expected() {
    let denied = on_record("denied", "public.a cannot be analysed: sql.execute needs `maintain` on slot `database`");
    let expected = |denials: &str| format!("[case.expect]\nended = \"failed\"\ndenied = [{denials}]");
    assert_eq!(real(&expected(r#""sql.execute needs `maintain` *""#), &denied), []);
    // A case has all of them in it; the record has one.
    assert_eq!(real(&expected(r#""sql.query needs *", "sql.execute needs *""#), &denied), []);
    assert_eq!(real(&expected(r#""sql.query needs *""#), &denied)[0].what, "denied");
    assert_eq!(real(&expected(""), &denied)[0].what, "denied");
    // It failed, and by nothing that was denied.
    assert_eq!(real(&expected(r#""sql.execute needs *""#), &on_record("failed", "no lock"))[0].what, "denied");
    // One that the procedure goes past is on no record.
    let text = "[[case]]\nname = \"a\"\n[case.expect]\ndenied = [\"sql.execute needs *\"]\n";
    let case = CaseFile::parse(Path::new("a.toml"), text.to_owned()).unwrap().cases.remove(0);
    assert!(case.only_answered().is_some_and(|why| why.contains("does not end the run")), "{:?}", case.only_answered());
}
