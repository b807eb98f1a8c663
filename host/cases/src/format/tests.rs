use super::*;

fn read(text: &str) -> Result<CaseFile, Problem> {
    CaseFile::parse(Path::new("tests/a.toml"), text.to_owned())
}

fn wrong(text: &str) -> String {
    read(text).unwrap_err().to_line()
}

#[test]
fn a_file_has_cases_and_what_they_share() {
    let file = read(
        r#"
        [common]
        parameters = { share = 0.5, days = 3 }
        [common.slots.database]
        access = ["read"]
        server = { version = "16.4" }
        [[common.answers]]
        query = "select 1"
        rows = [[1]]

        [[case]]
        name = "one"
        mode = "plan"
        parameters = { days = 4 }
        cancel_at = "call 3"
        timeout = "2s"
        [[case.answers]]
        slot = "database"
        query = "select *"
        columns = ["a:text"]
        rows = [["x"]]
        error = { sqlstate = "55P03" }
        delay = "20ms"
        [case.expect]
        status = "warning"
        effects = ["sql.execute database: *", "..."]
        findings = [{ severity = "warning" }]
        "#,
    )
    .unwrap();
    let case = &file.cases[0];
    assert_eq!((case.name.as_str(), case.mode, case.own_answers, case.answers.len()), ("one", Mode::Plan, 1, 2));
    assert_eq!(serde_json::to_string(&case.parameters).unwrap().len(), r#"{"share":0.5,"days":4}"#.len());
    assert_eq!(case.slots["database"].access.as_deref(), Some(&["read".to_owned()][..]));
    assert_eq!(case.answers[0].about(), r#"slot = "database", query = "select *""#);
    assert_eq!(case.expect.effects.as_ref().map(Vec::len), Some(2));
    assert_eq!(case.expect.effects.as_ref().unwrap()[1], Entry::Others);
    assert_eq!(case.timeout, Some(Duration::from_secs(2)));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_the_nearest_word() {
    for (text, said) in [
        (
            "[[case]]\nname = \"a\"\nparameter = {}\n",
            "tests/a.toml:3:1: `parameter` is not a key here (did you mean `parameters`?)",
        ),
        ("[[cases]]\n", "tests/a.toml:1:3: `cases` is not a key here (did you mean `case`?)"),
        (
            "[[case]]\nname = \"a\"\n[[case.answers]]\nquary = \"select 1\"\n",
            "tests/a.toml:4:1: `quary` is not a key here (did you mean `query`?)",
        ),
        (
            "[[case]]\nname = \"a\"\nmode = \"pln\"\n",
            "tests/a.toml:3:8: `pln` is none of the words that go here (did you mean `plan`?)",
        ),
        ("[[case]]\nname = \"a\"\n[[case]]\nname = \"a\"\n", "tests/a.toml:4:8: there are two cases named `a`"),
        ("", "tests/a.toml: it holds no case"),
        ("[[case]]\nmode = \"plan\"\n", "tests/a.toml:1:1: a case needs a name"),
    ] {
        let line = wrong(text);
        assert!(line.starts_with(said), "{line}\nwanted {said}");
    }
    assert!(
        wrong("[[case]]\nname = \"a\"\ncancel_at = \"third\"\n").contains(":3:13: `third` is no moment"),
        "{}",
        wrong("[[case]]\nname = \"a\"\ncancel_at = \"third\"\n")
    );
    assert!(wrong("[[case]]\nname = \n").contains("tests/a.toml:2:"));
    let both = "[[case]]\nname = \"a\"\n[[case.answers]]\nquery = \"x\"\nrows = []\naffected = 1\n";
    assert!(wrong(both).contains("an answer is one of"), "{}", wrong(both));
    assert!(wrong("[[case]]\nname = \"a\"\n[[case.answers]]\nrows = []\n").contains("an answer says to what"));
}

#[test]
fn what_nothing_would_be_held_against_is_refused_in_each_kind_of_case() {
    let undo = "compensate = { name = \"x\", state = {} }\n";
    let nowhere = |key: &str| format!("nothing would be held against `{key}` here");
    let empty = |key: &str| format!("`{key}` has nothing in it");
    let mut all = Vec::new();
    for (key, value) in [
        ("status", "\"ok\""),
        ("summary", "\"x\""),
        ("findings", "[]"),
        ("tables", "{ a = [] }"),
        ("metrics", "{ a = 1 }"),
        ("data", "{}"),
        ("compensations", "[]"),
    ] {
        all.push((undo, format!("[case.expect]\n{key} = {value}\n"), nowhere(key)));
    }
    for (key, value) in [("log", "[\"x\"]"), ("artifacts", "{ a = \"x\" }"), ("slots", "{ a = { objects = {} } }")] {
        all.push(("", format!("[case.expect_real]\n{key} = {value}\n"), nowhere(key)));
    }
    for (key, value) in
        [("tables", "{}"), ("metrics", "{}"), ("steps", "{}"), ("artifacts", "{}"), ("log", "[]"), ("log", "[\"...\"]")]
    {
        all.push(("", format!("[case.expect]\n{key} = {value}\n"), empty(key)));
    }
    let real = |text: &str| format!("[case.expect_real]\n{text}\n");
    for (text, says) in [
        (real("failure = { code = \"55P03\" }"), "on record without the target's own `code`"),
        (real("compensations = [{ name = \"a\", state = {} }]"), "without the `state` of its compensations"),
        (real("denied = [\"a\"]"), "only the one denial that ended it is on record"),
        (real("ended = \"failed\"\ndenied = [\"a\", \"b\"]"), "only the one denial that ended it is on record"),
        (
            "[case.expect]\nended = \"succeeded\"\nfailure = { message = \"*\" }\n".to_owned(),
            "what succeeds has no failure",
        ),
        ("[case.expect]\nsteps = \"*\"\n".to_owned(), "`steps` is a table"),
    ] {
        all.push(("", text, says.to_owned()));
    }
    // Cases that --real passes over.
    let over = "nothing would be held against `expect_real`: --real passes this case over".to_owned();
    for first in [undo, "cancel_at = \"call 1\"\n", "slots.a = { access = [] }\n", "slots.a = { bound = false }\n"] {
        all.push((first, real("status = \"ok\""), over.clone()));
    }
    for (first, text, says) in all {
        let line = wrong(&format!("[[case]]\nname = \"a\"\n{first}{text}"));
        assert!(line.starts_with("tests/a.toml:") && line.contains(&says), "{first}{text}: {line}\nwanted {says}");
    }
    // The place is that of the expectation.
    let line = wrong(&format!("[[case]]\nname = \"a\"\n{undo}[case.expect]\nstatus = \"ok\"\n"));
    assert!(line.starts_with("tests/a.toml:4:") || line.starts_with("tests/a.toml:5:"), "{line}");
    for good in [
        format!(
            "{undo}[case.expect]\nfailure = {{ code = \"55P03\" }}\ndenied = [\"a\"]\nlog = [\"x\"]\nsteps = {{ a = 1 }}\n"
        ),
        real("ended = \"failed\"\ndenied = [\"a\", \"...\"]\ncompensations = [\"x: undone\"]\nsteps = { a = 1 }"),
        "[case.expect]\ndata = {}\nfindings = []\nfailure = {}\n".to_owned(),
    ] {
        read(&format!("[[case]]\nname = \"a\"\n{good}")).unwrap_or_else(|problem| panic!("{good}: {problem}"));
    }
}

#[test]
fn what_is_of_one_case_is_not_shared() {
    for (key, value) in
        [("cancel_at", "\"call 1\""), ("crash_at", "\"call 1\""), ("compensate", "{ name = \"x\", state = {} }")]
    {
        let line = wrong(&format!("[common]\n{key} = {value}\n[[case]]\nname = \"a\"\n"));
        assert!(line.contains(&format!("[common] says `{key}`, which is of one case only")), "{line}");
    }
}

#[test]
fn a_block_shows_the_line() {
    let block = read("[[case]]\nname = \"a\"\nparameter = {}\n").unwrap_err().to_block();
    assert!(block.contains(" 3 | parameter = {}\n   | ^"), "{block}");
}
