use super::*;

fn script(text: &str, given: Json) -> Result<Script> {
    let source = Source { name: "a.sql", text };
    let given = given.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    split(source, Variables::given(&given).unwrap())
}

fn statements(text: &str) -> Vec<String> {
    let script = script(text, json!({ "a": 1, "b": "x", "Odd": "Odd \"n\"", "list": [1, 2] })).unwrap();
    let names: Vec<Quoted> = script
        .names
        .iter()
        .map(|name| Quoted::from_server(format!("\"{}\"", name.replace('"', "\"\""))).unwrap())
        .collect();
    let text_of = |step: &Step| match &step.action {
        Action::Statement(statement) => statement.text(text, &names),
        Action::Echo(said) => format!("echo {said}"),
        Action::Copy(copy) => {
            format!(
                "copy {} {} {}",
                copy.what.text(text, &names).trim(),
                if copy.out { "to" } else { "from" },
                copy.object
            )
        }
    };
    script.steps.iter().map(text_of).collect()
}

fn wrong(text: &str) -> (String, String) {
    let error = script(text, json!({ "customer": 1, "list": [1], "nothing": null })).unwrap_err();
    (error.to_string(), error.hinted().unwrap_or_default().to_owned())
}

#[test]
fn statements_end_at_their_semicolon() {
    for (text, found) in [
        ("select 1; select 2", vec!["select 1", "select 2"]),
        (" ;; -- nothing\n ; /* ; */", vec![]),
        ("-- about it\nselect ';' -- ; here\n, 2 /* ; */ ; -- after\n", vec!["select ';' -- ; here\n, 2"]),
        (
            "create rule r as on insert to t do also (insert into u values (1); select 2); select 3",
            vec!["create rule r as on insert to t do also (insert into u values (1); select 2)", "select 3"],
        ),
        ("do $x$ begin; $$;$$ end $x$; select 1", vec!["do $x$ begin; $$;$$ end $x$", "select 1"]),
        (
            "create or replace function f(a int) returns int begin atomic select case when a > 1 then 1 else 2 end; select $1; end; select 1",
            vec![
                "create or replace function f(a int) returns int begin atomic select case when a > 1 then 1 else 2 end; select $1; end",
                "select 1",
            ],
        ),
        (
            "create procedure p() begin atomic insert into t values (1); delete from u; end; select 1",
            vec!["create procedure p() begin atomic insert into t values (1); delete from u; end", "select 1"],
        ),
        ("create table begin_end (a int); select 1", vec!["create table begin_end (a int)", "select 1"]),
        ("prepare q as select $1; execute q(1)", vec!["prepare q as select $1", "execute q(1)"]),
        ("\u{feff}select 1\r\n;\r\nselect 2", vec!["select 1", "select 2"]),
    ] {
        assert_eq!(statements(text), found, "{text}");
    }
}

#[test]
fn variables_are_bound_and_names_are_quoted_by_the_server() {
    for (text, found) in [
        ("select :a, :'a', :a, :b", "select $1, $2, $1, $3"),
        ("select * from :\"Odd\" where x = :a::int", "select * from \"Odd \"\"n\"\"\" where x = $1::int"),
        ("select ':a', a[1:2], x::text -- :a", "select ':a', a[1:2], x::text"),
        ("select * from t where id = any(:list)", "select * from t where id = any($1)"),
    ] {
        assert_eq!(statements(text), [found], "{text}");
    }
    let script = script("select :a, :'a', :b", json!({ "a": 5, "b": "'; drop table t; --" })).unwrap();
    let Action::Statement(statement) = &script.steps[0].action else { panic!() };
    assert!(
        matches!(&statement.values[..], [Value::Int64(5), Value::Text(five), Value::Text(b)] if five == "5" && b.starts_with("';"))
    );
}

#[test]
fn commands_of_psql_that_a_script_has() {
    for (text, found) in [
        ("\\set n 5\nselect :n;\n\\set n 6\nselect :n", vec!["select $1", "select $1"]),
        ("\\echo it is 'two  words' :a :'b'!\nselect 1", vec!["echo it is two  words 1 x!", "select 1"]),
        ("\\copy (select 1;\n) to 'a/b.csv'\nselect 1", vec!["copy (select 1;\n) to a/b.csv", "select 1"]),
        ("\\copy s.\"T\" (a, b) from 'it''s.csv'", vec!["copy s.\"T\" (a, b) from it's.csv"]),
        ("\\copy :\"Odd\" to :'b'", vec!["copy \"Odd \"\"n\"\"\" to x"]),
        ("\\copy t TO 'a.csv';\n", vec!["copy t to a.csv"]),
        ("select 1;\\echo x\n", vec!["select 1", "echo x"]),
    ] {
        assert_eq!(statements(text), found, "{text}");
    }
    let values = |text: &str| {
        let script = script(text, json!({ "a": [1, 2] })).unwrap();
        let Action::Statement(statement) = script.steps[0].action.clone() else { panic!() };
        format!("{:?}", statement.values)
    };
    assert_eq!(values("\\set n 5\nselect :n"), "[Value::Int64(5)]");
    assert_eq!(values("\\set n '5'\nselect :n"), "[Value::Text(\"5\")]");
    assert_eq!(values("\\set n 5\n\\set m :n\nselect :m"), "[Value::Int64(5)]");
    assert_eq!(values("\\set n a 'b c' d\nselect :n"), "[Value::Text(\"ab cd\")]");
    assert_eq!(values("\\set m :a\nselect :m"), "[Value::Integers([Some(1), Some(2)])]");
    assert_eq!(values("\\set n\nselect :n"), "[Value::Text(\"\")]");
}

#[test]
fn what_is_wrong_is_told_with_its_place_before_anything_runs() {
    for (text, place, said, hint) in [
        (
            "select 1;\nselect *\n  from t where c = :custmer",
            "a.sql:3:20: ",
            "no variable `custmer`",
            "did you mean `customer`?",
        ),
        ("select 'a\n;\n", "a.sql:1:8: ", "a string begins here and does not end", "line 1: select 'a"),
        ("select (1;\nselect 2", "a.sql:1:8: ", "a parenthesis begins here", ""),
        ("create function f() begin atomic select 1;", "a.sql:1:21: ", "a body (BEGIN ATOMIC)", ""),
        ("select 1;\n  begin;", "a.sql:2:3: ", "BEGIN controls the transaction", "-p transaction=one"),
        ("START TRANSACTION", "a.sql:1:1: ", "START TRANSACTION controls", "transaction=each"),
        ("set transaction isolation level serializable", "a.sql:1:1: ", "SET TRANSACTION", ""),
        ("prepare transaction 'x'", "a.sql:1:1: ", "PREPARE TRANSACTION", ""),
        ("commit", "a.sql:1:1: ", "COMMIT", ""),
        ("copy t from stdin;\n1\n\\.\n", "a.sql:1:1: ", "COPY has no client", "\\copy table from 'object'"),
        ("select $1", "a.sql:1:8: ", "$1 stands for nothing", ":name"),
        ("create function f() returns int begin atomic select $1 + :customer; end", "a.sql:1:53: ", "$1 stands", ""),
        ("\\if true\n", "a.sql:1:1: ", "\\if is a command", "JavaScript"),
        ("\\i other.sql\n", "a.sql:1:1: ", "\\i is a command", "one file a run"),
        ("\\d+ t\n", "a.sql:1:1: ", "\\d+ is a command", "catalog"),
        ("\\! ls\n", "a.sql:1:1: ", "\\! is a command", "shell"),
        ("\\frobnicate\n", "a.sql:1:1: ", "\\frobnicate is", "\\set, \\echo and \\copy"),
        ("select 1 \\gset\n", "a.sql:1:10: ", "\\gset stands within", "JavaScript"),
        ("select 1\n\\echo x\n", "a.sql:2:1: ", "begins in line 1", "semicolon before"),
        ("select :{?customer}", "a.sql:1:8: ", "no conditions", ""),
        ("\\copy t\n to 'a'", "a.sql:1:1: ", "does not say where", "\\copy table to 'object'"),
        ("\\copy t to a.csv\n", "a.sql:1:12: ", "single quotes", ""),
        ("\\copy t to 'a' csv\n", "a.sql:1:16: ", "no options", ""),
        ("\\copy t from program 'x'\n", "a.sql:1:14: ", "slot `bucket` only", ""),
        ("\\copy (select 1) from 'a'\n", "a.sql:1:1: ", "never from one", ""),
        ("\\copy (select :customer) to 'a'\n", "a.sql:1:15: ", "COPY takes no values", "create temp table"),
        ("\\copy t, u; drop table x to 'a'\n", "a.sql:1:1: ", "does not say where", ""),
        ("\\copy t where 'x' to 'a'\n", "a.sql:1:15: ", "a query in parentheses, or a table", ""),
        ("\\copy (select 1 to 'a'\n", "a.sql:1:7: ", "a parenthesis begins here", ""),
        ("\\copy to 'a'\n", "a.sql:1:1: ", "copies nothing", ""),
        ("\\set\n", "a.sql:1:1: ", "sets nothing", ""),
        ("\\set 1a x\n", "a.sql:1:6: ", "no name of a variable", ""),
        ("\\set a 'x\n", "a.sql:1:8: ", "does not end on the line", ""),
        ("select :'list'", "a.sql:1:8: ", "a list has no text", "any(:name)"),
        ("select * from :\"nothing\"", "a.sql:1:15: ", "names nothing", ""),
    ] {
        let (message, hinted) = wrong(text);
        assert!(message.starts_with(place) && message.contains(said), "{text}: {message}");
        assert!(message.ends_with("nothing was run"), "{message}");
        assert!(hinted.starts_with("line ") && hinted.contains(hint), "{text}: {hinted}");
    }
}

/// PostgreSQL's own parser splits at the same places.
mod against_postgresql {
    use super::*;
    use proptest::prelude::*;

    fn ours(text: &str) -> Vec<String> {
        statements(text)
    }

    fn theirs(text: &str) -> Option<Vec<String>> {
        let found = pg_query::split_with_parser(text).ok()?;
        // Comments before and behind belong to nobody.
        Some(found.iter().flat_map(|one| statements_of_one(one)).collect())
    }

    /// A statement of theirs without the comments and spaces around it.
    fn statements_of_one(text: &str) -> Vec<String> {
        let tokens: Vec<Token> = Lexer::new(text).filter(|token| token.kind != Kind::Blank).collect();
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => vec![text[first.at.start..last.at.end].to_owned()],
            _ => vec![],
        }
    }

    /// Whole statements, each with something in it at which a lexer could go wrong.
    const STATEMENTS: [&str; 30] = [
        "select 1",
        "select ';', 'it''s;', E'it\\'s;', e'\\\\'",
        "select $$;$$, $t$ $$ ; $t$",
        "select \"a;\"\"b\" from \"t;\"",
        "select 1 -- ;\n + 2",
        "select /* ; /* ; */ ' */ 3",
        "select a[1:2], a[lo:hi], b::text, c::int[] from t",
        "select 'a'\n  ';b'",
        "select 'a' -- c\n  'b;'",
        "select E'a'\n'\\';'",
        "select U&'d\\0061t;', U&\"d;\" from t",
        "select B'01', X'1F', N'a;'",
        "select a$b$c, d$e from t",
        "select 1e-5, .5, 0x1F, 1_000, 5.",
        "create function f(a int) returns int language sql as $body$ select 1; select 2; $body$",
        "create function f(a int) returns int begin atomic select 1; select case a when 1 then 2 else 3 end; end",
        "create or replace procedure p() language sql begin atomic insert into t values (1); end",
        "create function g() returns int return 1",
        "create rule r as on insert to t do also (insert into u values (1); insert into v values (2))",
        "do $$ begin perform 1; end $$",
        "update t set a = case when b then 1 else 2 end where c = 'x;'",
        "insert into t values ('a', E'b\\n;', $$c;$$)",
        "select json_object('k': v, 'l' : 1) from t",
        "select * from t where a <@ b and c @> '{1;2}' and d*/*;*/2 > 1",
        "select a-- ;\n-1 from t",
        "select '\\', ';'",
        "select $1",
        "select größe, \"Größe;\" from tä",
        "with x as (select 1) select * from x where (a, b) in ((1, 2), (3, 4))",
        "create table \"begin\" (\"end\" int default 1, a text default 'atomic;')",
    ];

    const BETWEEN: [&str; 6] = [";", " ; ", ";;\n", "; -- ; '\n", "; /* ; ' /* \" */ */ ", "\n;\r\n"];

    #[test]
    fn each_statement_alone_is_one() {
        for statement in STATEMENTS {
            assert_eq!(theirs(statement).unwrap(), [statement], "{statement}");
            if statement != "select $1" {
                assert_eq!(ours(statement), [statement], "{statement}");
            }
        }
    }

    proptest! {
        #[test]
        fn scripts_are_split_where_postgresql_splits_them(
            picked in proptest::collection::vec((0..STATEMENTS.len(), 0..BETWEEN.len()), 0..8)
        ) {
            let text: String = picked
                .iter()
                .filter(|(statement, _)| STATEMENTS[*statement] != "select $1")
                .map(|(statement, between)| format!("{}{}", STATEMENTS[*statement], BETWEEN[*between]))
                .collect();
            prop_assert_eq!(theirs(&text).unwrap(), ours(&text), "{}", text);
        }

        /// Whatever PostgreSQL's parser can split we split likewise, unless we refuse it or see a variable in it.
        #[test]
        fn what_parses_is_split_likewise(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "select ", "1", "'", "''", "'a;'", "E'", "\\", "\"", "\"a;\"", "$$", "$a$", ";", "; ", "--", "\n", "/*", "*/", "(", ")", "a", ",", " ",
                "[", "]", "::", "+", "é", "begin ", "end ", "case when a then b end",
            ]), 0..16)
        ) {
            let text: String = pieces.concat();
            if let (Some(theirs), Ok(script)) = (theirs(&text), script(&text, json!({}))) {
                let ours: Vec<String> = script.steps.iter().map(|step| text[step.at.clone()].to_owned()).collect();
                prop_assert_eq!(theirs, ours, "{}", text);
            }
        }
    }
}
