//! Values between the contract and a real server, both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use rota_authority::Mode;
use rota_capability_sql::wit::{Interval, Value};
use support::{Run, all, binding, code, database, error, text};

const DAY: i64 = 86_400_000_000;

#[tokio::test]
async fn every_type_arrives_as_its_case() {
    let database = database("values").await;
    database
        .execute(
            "create type mood as enum ('sad', 'so so'); create domain positive as int check (value > 0); create type pair as (a int, b text);
             create schema other; create type other.kind as enum ('x'); create table \"Odd \"\"name\" (id int)",
        )
        .await
        .unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let interval = |months, days, microseconds| Value::Interval(Interval { months, days, microseconds });
    let texts = |list: &[Option<&str>]| Value::Texts(list.iter().map(|t| t.map(str::to_owned)).collect());
    let cases = [
        ("null::int", Value::Null),
        ("true", Value::Boolean(true)),
        ("(-5)::int2", Value::Int16(-5)),
        ("2147483647", Value::Int32(i32::MAX)),
        ("-9223372036854775808", Value::Int64(i64::MIN)),
        ("1.5::real", Value::Float32(1.5)),
        ("'-Infinity'::float8", Value::Float64(f64::NEG_INFINITY)),
        ("1.10::numeric", Value::Numeric("1.10".into())),
        (
            "123456789012345678901234567890.000100::numeric",
            Value::Numeric("123456789012345678901234567890.000100".into()),
        ),
        ("-0.00000001230::numeric", Value::Numeric("-0.00000001230".into())),
        ("10000::numeric", Value::Numeric("10000".into())),
        ("0.0::numeric", Value::Numeric("0.0".into())),
        ("'NaN'::numeric", Value::Numeric("NaN".into())),
        ("'Infinity'::numeric", Value::Numeric("Infinity".into())),
        ("'-Infinity'::numeric", Value::Numeric("-Infinity".into())),
        ("'größe ''x'' 日本 👩‍💻'", text("größe 'x' 日本 👩‍💻")),
        ("''", text("")),
        ("'ab'::char(4)", text("ab  ")),
        ("'a'::\"char\"", text("a")),
        ("'pg_class'::name", text("pg_class")),
        ("'\\x00ff80'::bytea", Value::Bytes(vec![0, 255, 128])),
        ("''::bytea", Value::Bytes(vec![])),
        ("date '2000-01-01'", Value::Date(10_957)),
        ("date '1969-12-31'", Value::Date(-1)),
        ("date 'infinity'", Value::Date(i32::MAX)),
        ("date '-infinity'", Value::Date(i32::MIN)),
        ("time '24:00'", Value::Time(DAY)),
        ("timestamp '1970-01-02'", Value::Timestamp(DAY)),
        ("timestamp '-infinity'", Value::Timestamp(i64::MIN)),
        ("timestamptz '1970-01-01 01:00+01'", Value::Timestamptz(0)),
        ("timestamptz '2026-11-23 12:00:00.123456Z'", Value::Timestamptz(1_795_435_200_123_456)),
        ("timestamptz 'infinity'", Value::Timestamptz(i64::MAX)),
        ("interval '1 year 2 mons -3 days 04:05:06.789'", interval(14, -3, 14_706_789_000)),
        ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", Value::Uuid("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into())),
        ("'{\"b\": 1,  \"a\":2}'::json", Value::Json("{\"b\": 1,  \"a\":2}".into())),
        ("'{\"b\": 1,  \"a\":2}'::jsonb", Value::Json("{\"a\": 2, \"b\": 1}".into())),
        ("inet '10.1.2.3'", Value::Inet("10.1.2.3".into())),
        ("inet '10.1.2.3/8'", Value::Inet("10.1.2.3/8".into())),
        ("cidr '10.0.0.0/8'", Value::Inet("10.0.0.0/8".into())),
        ("inet '2001:db8::1/64'", Value::Inet("2001:db8::1/64".into())),
        ("inet '::1.2.3.4'", Value::Inet("::1.2.3.4".into())),
        ("inet '::ffff:1.2.3.4'", Value::Inet("::ffff:1.2.3.4".into())),
        ("'16/B374D848'::pg_lsn", Value::Lsn(0x16_B374_D848)),
        ("4294967295::oid", Value::Oid(u32::MAX)),
        ("'4294967295'::xid", Value::Xid(u32::MAX.into())),
        ("'18446744073709551615'::xid8", Value::Xid(u64::MAX)),
        ("'pg_class'::regclass", Value::Regclass("pg_class".into())),
        ("'\"Odd \"\"name\"'::regclass", Value::Regclass("\"Odd \"\"name\"".into())),
        ("'int4'::regtype", Value::Regclass("integer".into())),
        ("'lower(text)'::regprocedure", Value::Regclass("lower(text)".into())),
        ("'pg_catalog'::regnamespace", Value::Regclass("pg_catalog".into())),
        ("'so so'::mood", text("so so")),
        ("'x'::other.kind", text("x")),
        ("5::positive", Value::Int32(5)),
        ("array[true, null, false]", Value::Booleans(vec![Some(true), None, Some(false)])),
        ("array[1, null]::int2[]", Value::Integers(vec![Some(1), None])),
        ("array[1, -2]", Value::Integers(vec![Some(1), Some(-2)])),
        ("array[9223372036854775807]", Value::Integers(vec![Some(i64::MAX)])),
        ("'{}'::int[]", Value::Integers(vec![])),
        ("array[1.5, null]::float4[]", Value::Floats(vec![Some(1.5), None])),
        ("array['NaN'::float8, 1e300]::float8[] is not null", Value::Boolean(true)),
        ("array['a,b', null, '']", texts(&[Some("a,b"), None, Some("")])),
        ("array['sad', 'so so']::mood[]", texts(&[Some("sad"), Some("so so")])),
        ("array['x']::other.kind[]", texts(&[Some("x")])),
        ("array[1.10, null]::numeric[]", texts(&[Some("1.10"), None])),
        ("array[date '2026-01-02']", texts(&[Some("2026-01-02")])),
        (
            "array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]",
            texts(&[Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]),
        ),
        ("array[5]::positive[]", texts(&[Some("5")])),
        ("array[[1,2],[3,null]]", text("{{1,2},{3,NULL}}")),
        ("'[0:1]={7,8}'::int[]", Value::Integers(vec![Some(7), Some(8)])),
        ("'[0:1][2:2]={{7},{8}}'::int[]", text("[0:1][2:2]={{7},{8}}")),
        ("array[['a b','c'],['{}','n\"']]", text("{{\"a b\",c},{\"{}\",\"n\\\"\"}}")),
        ("array[[1.5,1e20],[1e-7,100]]::float8[]", text("{{1.5,1e+20},{1e-07,100}}")),
        ("'[1,2.5,-3]'::vector", Value::Vector(vec![1.0, 2.5, -3.0])),
        ("'[1,2.5,-3]'::halfvec", Value::Vector(vec![1.0, 2.5, -3.0])),
        ("'{1:1.5}/3'::sparsevec", text("{1:1.5}/3")),
        ("int4range(1, 5)", text("[1,5)")),
        ("('{[1,2),[5,6)}'::int4multirange)::text", text("{[1,2),[5,6)}")),
        ("row(1, 'a b')", text("(1,\"a b\")")),
        ("row(1, 'x')::pair", text("(1,x)")),
        ("array[row(1, 'x')::pair]", texts(&[Some("(1,x)")])),
        ("point(1, 2)", text("(1,2)")),
        ("b'101'", text("101")),
        ("'12.50'::money", text("$12.50")),
        ("to_tsvector('simple', 'a b a')", text("'a':1,3 'b':2")),
        ("timetz '10:00+02'", text("10:00:00+02")),
        ("macaddr '08:00:2b:01:02:03'", text("08:00:2b:01:02:03")),
        ("'1 2'::int2vector", text("1 2")),
        (
            "(select relacl from pg_class where relname = 'pg_proc')",
            texts(&[Some("postgres=arwdDxt/postgres"), Some("=r/postgres")]),
        ),
        ("(select datname from pg_database where oid = 1)", text("template1")),
        ("pg_sleep(0)", text("")),
        ("(select count(*) from (select most_common_vals from pg_stats limit 1) s) <= 1", Value::Boolean(true)),
    ];
    let mut wrong = Vec::new();
    for (expression, expected) in cases {
        let statement = format!("select {expression} -- a comment");
        let rows = run.rows(&session, &statement, Vec::new()).await;
        if rows.as_deref().ok() != Some(&[vec![expected.clone()]]) {
            wrong.push(format!("{expression}: {rows:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn columns_keep_their_names_and_types_when_some_are_cast() {
    let database = database("columns").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let statement = "with t as (select 1 as a, point(1,2) as \"a\", 'pg_type'::regclass as r, null::numeric(5,2) as \"Größe \"\"x\", '[1]'::vector as v, \
                     array['x']::varchar[] as l, 'a'::\"char\" c, 'b'::bpchar p, array[1]::int8[] as i) select * from t where a = $1 or $1 is null order by 1; -- end;";
    let rows = run.ask(&session, statement, vec![Value::Int32(1)]);
    // `a` is ambiguous on purpose: the server refuses that by itself.
    assert_eq!(code(&error(rows.await)), "42702");
    let rows = run
        .ask(&session, &statement.replace("where a = $1 or $1 is null", "where $1 = 1"), vec![Value::Int32(1)])
        .await
        .unwrap();
    let columns: Vec<(&str, &str)> = rows.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str())).collect();
    assert_eq!(
        columns,
        [
            ("a", "int4"),
            ("a", "point"),
            ("r", "regclass"),
            ("Größe \"x", "numeric"),
            ("v", "vector"),
            ("l", "varchar[]"),
            ("c", "char"),
            ("p", "bpchar"),
            ("i", "int8[]"),
        ]
    );
    let read = all(rows).await.unwrap();
    assert_eq!(read[0][..4], [Value::Int32(1), text("(1,2)"), Value::Regclass("pg_type".into()), Value::Null]);
}

#[tokio::test]
async fn an_answer_without_rows_has_columns_and_one_without_columns_has_rows() {
    let database = database("empty").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let rows = run.ask(&session, "select 1 as one, point(0,0) as p where false", vec![]).await.unwrap();
    assert_eq!(rows.columns.len(), 2);
    assert!(all(rows).await.unwrap().is_empty());
    assert_eq!(
        run.rows(&session, "select from generate_series(1, 3)", vec![]).await.unwrap(),
        vec![Vec::<Value>::new(); 3]
    );
    assert_eq!(
        run.rows(&session, "values (1, 'a'), (2, null) order by 1 desc", vec![]).await.unwrap()[0],
        [Value::Int32(2), Value::Null]
    );
    assert_eq!(run.value(&session, "show server_encoding").await, text("UTF8"));
    let stats = run
        .ask(
            &session,
            "select most_common_vals, most_common_freqs from pg_stats where tablename = 'pg_type' limit 1",
            vec![],
        )
        .await
        .unwrap();
    assert_eq!(stats.columns[0].type_name, "anyarray");
    all(stats).await.unwrap();
    let plan = run.rows(&session, "explain select 1", vec![]).await.unwrap();
    assert_eq!(plan, [vec![text("Result  (cost=0.00..0.01 rows=1 width=4)")]]);
}

#[tokio::test]
async fn parameters_arrive_with_the_type_of_their_case() {
    let database = database("parameters").await;
    database.execute("create table \"T t\" (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let cases = [
        (Value::Boolean(true), "boolean", "true"),
        (Value::Int16(-3), "smallint", "-3"),
        (Value::Int32(7), "integer", "7"),
        (Value::Int64(i64::MAX), "bigint", "9223372036854775807"),
        (Value::Float32(0.1), "real", "0.1"),
        (Value::Float64(1e300), "double precision", "1e+300"),
        (Value::Numeric("-1234567.8900".into()), "numeric", "-1234567.8900"),
        (Value::Numeric("NaN".into()), "numeric", "NaN"),
        (Value::Numeric("-Infinity".into()), "numeric", "-Infinity"),
        (text("it's \"x\" 日本"), "text", "it's \"x\" 日本"),
        (Value::Bytes(vec![0, 1, 255]), "bytea", "\\x0001ff"),
        (Value::Date(0), "date", "1970-01-01"),
        (Value::Date(i32::MAX), "date", "infinity"),
        (Value::Time(1), "time without time zone", "00:00:00.000001"),
        (Value::Timestamp(-1), "timestamp without time zone", "1969-12-31 23:59:59.999999"),
        (Value::Timestamptz(DAY), "timestamp with time zone", "1970-01-02 00:00:00+00"),
        (Value::Timestamptz(i64::MIN), "timestamp with time zone", "-infinity"),
        (Value::Interval(Interval { months: 1, days: 2, microseconds: 3 }), "interval", "1 mon 2 days 00:00:00.000003"),
        (Value::Uuid("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".into()), "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (Value::Json("{\"a\":1}".into()), "jsonb", "{\"a\": 1}"),
        (Value::Inet("10.0.0.1/8".into()), "inet", "10.0.0.1/8"),
        (Value::Lsn(0x16_B374_D848), "pg_lsn", "16/B374D848"),
        (Value::Oid(26), "oid", "26"),
        (Value::Xid(u64::MAX), "xid8", "18446744073709551615"),
        (Value::Regclass("\"T t\"".into()), "regclass", "\"T t\""),
        (Value::Booleans(vec![Some(true), None]), "boolean[]", "{t,NULL}"),
        (Value::Integers(vec![Some(1), None]), "bigint[]", "{1,NULL}"),
        (Value::Integers(vec![]), "bigint[]", "{}"),
        (Value::Floats(vec![Some(0.5)]), "double precision[]", "{0.5}"),
        (Value::Texts(vec![Some("a b".into()), None, Some(String::new())]), "text[]", "{\"a b\",NULL,\"\"}"),
        (Value::Vector(vec![1.0, -2.5]), "vector", "[1,-2.5]"),
    ];
    let mut wrong = Vec::new();
    for (value, type_name, printed) in cases {
        let shown = format!("{value:?}");
        let rows = run.rows(&session, "select pg_typeof($1)::text, coalesce($1::text, '')", vec![value]).await;
        if rows.as_deref().ok() != Some(&[vec![text(type_name), text(printed)]]) {
            wrong.push(format!("{shown}: {rows:?} instead of {type_name} {printed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // NULL takes the type that the statement gives it.
    assert_eq!(
        run.rows(&session, "select $1::int + 1, $2::text is null", vec![Value::Null, Value::Null]).await.unwrap(),
        [vec![Value::Null, Value::Boolean(true)]]
    );
}

#[tokio::test]
async fn parameters_that_cannot_be_sent_are_the_callers_mistake() {
    let database = database("mistakes").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    for value in [Value::Numeric("1,5".into()), Value::Uuid("x".into()), Value::Inet("10.0.0".into()), text("a\0b")] {
        let refused = error(run.ask(&session, "select $1", vec![value]).await);
        assert_eq!(refused.kind(), "invalid-argument", "{refused:?}");
    }
    let refused = error(run.ask(&session, "select $1::int", vec![]).await);
    assert_eq!(refused.kind(), "invalid-argument", "{refused:?}");
    assert_eq!(code(&error(run.ask(&session, "select $1", vec![Value::Regclass("nowhere".into())]).await)), "42P01");
    database.execute("drop extension vector").await.unwrap();
    let refused = error(run.ask(&session, "select $1", vec![Value::Vector(vec![1.0])]).await);
    assert!(format!("{refused:?}").contains("extension"), "{refused:?}");
    let refused = error(run.ask(&session, "select '{[1,2)}'::int4multirange", vec![]).await);
    assert!(refused.kind() == "invalid-argument" && format!("{refused:?}").contains("cast it to text"), "{refused:?}");
    // The session has survived all of that.
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
}

#[tokio::test]
async fn the_same_statement_takes_other_types_and_other_tables() {
    let database = database("again").await;
    database.execute("create table t (a int); insert into t values (1)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    for value in [Value::Int32(1), Value::Null, text("x"), Value::Int64(1), Value::Boolean(true)] {
        assert_eq!(run.rows(&session, "select $1", vec![value.clone()]).await.unwrap(), [vec![value]]);
    }
    assert_eq!(run.value(&session, "select * from t").await, Value::Int32(1));
    database.execute("alter table t alter a type text").await.unwrap();
    assert_eq!(run.value(&session, "select * from t").await, text("1"));
}
