//! What needs no host: values, handles, what a module says of itself.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::desk::Slab;
use crate::engine::{Source, describe};
use crate::value::{Js, to_sql};
use rota_sdk::sql::Value as SqlValue;
use rquickjs::{Context, Runtime, Value};

fn taken(script: &str) -> Result<Js, String> {
    let runtime = Runtime::new().unwrap();
    let context = Context::full(&runtime).unwrap();
    context.with(|ctx| Js::take(&ctx.eval::<Value<'_>, _>(script).unwrap()).map_err(|error| error.to_string()))
}

#[test]
fn values_come_as_they_are() {
    for (script, expected) in [
        ("undefined", Js::Undefined),
        ("null", Js::Null),
        ("true", Js::Flag(true)),
        ("1.5", Js::Number(1.5)),
        ("9007199254740993n", Js::Big(9_007_199_254_740_993)),
        ("-(2n ** 63n)", Js::Big(i64::MIN)),
        ("'ü\\u0000'", Js::text("ü\0")),
        ("new Uint8Array([1, 255])", Js::Bytes(vec![1, 255])),
        ("new Uint8Array([1, 2, 3, 4]).subarray(1, 3)", Js::Bytes(vec![2, 3])),
        ("new Date(1500)", Js::Instant(1_500_000)),
        ("[1, [null]]", Js::List(vec![Js::Number(1.0), Js::List(vec![Js::Null])])),
        ("({ a: 1 })", Js::object([("a", Js::Number(1.0))])),
        // A Proxy is what it stands for.
        ("new Proxy([1, 2], {})", Js::List(vec![Js::Number(1.0), Js::Number(2.0)])),
        ("new Proxy(new Proxy([1], {}), {})", Js::List(vec![Js::Number(1.0)])),
        ("new Proxy({ a: 1 }, {})", Js::object([("a", Js::Number(1.0))])),
    ] {
        assert_eq!(taken(script), Ok(expected), "{script}");
    }
}

#[test]
fn what_is_no_value_is_refused_and_a_prototype_is_no_argument() {
    for (script, why) in [
        ("() => 1", "a function"),
        ("new Date(NaN)", "no date"),
        ("2n ** 63n", "64 bits"),
        ("(() => { const a = []; a.push(a); return a })()", "deep"),
        ("Symbol('x')", "symbol"),
        ("'\\ud800'", "half of a character"),
        ("({ get x() { throw new Error('of its own') } })", "of its own"),
        ("(() => { const a = []; a.length = 2 ** 32 - 1; return a })()", "elements"),
        ("new Proxy([], { get: (target, name) => name === 'length' ? 1.5 : 0 })", "elements"),
        ("(() => { const gone = Proxy.revocable([], {}); gone.revoke(); return gone.proxy })()", "could not be read"),
    ] {
        assert!(taken(script).unwrap_err().contains(why), "{script}: {:?}", taken(script));
    }
    assert_eq!(taken("Object.prototype.x = 1; ({})"), Ok(Js::Object(Vec::new())));
}

#[test]
fn parameters_of_statements_have_the_type_that_they_look_like() {
    let list = |script: &str| to_sql(&taken(script).unwrap());
    assert_eq!(list("3").unwrap(), SqlValue::Int64(3));
    assert_eq!(list("3.5").unwrap(), SqlValue::Float64(3.5));
    assert_eq!(list("['a', null]").unwrap(), SqlValue::Texts(vec![Some("a".into()), None]));
    assert_eq!(list("[1, 2n]").unwrap(), SqlValue::Integers(vec![Some(1), Some(2)]));
    assert_eq!(list("[0.5, 1]").unwrap(), SqlValue::Floats(vec![Some(0.5), Some(1.0)]));
    assert_eq!(list("({ n: 9007199254740993n })").unwrap(), SqlValue::Json(r#"{"n":9007199254740993}"#.into()));
    assert!(list("[1, 'a']").unwrap_err().to_string().contains("several types"));
    assert!(list("undefined").unwrap_err().to_string().contains("undefined"));
}

#[test]
fn a_number_of_something_that_is_over_never_means_something_else() {
    let mut slab = Slab::default();
    let first = slab.insert("first");
    assert_eq!(slab.take(&first).unwrap(), "first");
    assert!(slab.get(&first).unwrap_err().to_string().contains("has not ended"));
    assert!(slab.put_back(&first, "first"));
    assert_eq!(slab.remove(&first).unwrap(), "first");
    let second = slab.insert("second");
    assert!(slab.get(&first).is_err() && slab.take(&first).is_err());
    assert!(!slab.put_back(&first, "lost"));
    assert_eq!(slab.get(&second).unwrap(), &"second");
    for forged in
        [Js::Number(-1.0), Js::Number(0.5), Js::Number(f64::NAN), Js::Number(1e300), Js::Big(2), Js::text("2")]
    {
        assert!(slab.get(&forged).is_err(), "{forged:?}");
    }
}

#[test]
fn a_module_says_what_it_is_or_where_it_is_wrong() {
    let said = describe(Source {
        name: "main.js",
        text: "export default { name: 'x', slots: { a: { capability: 'sql' } }, run() {} }",
    })
    .unwrap();
    assert_eq!(
        (said.member("name"), said.member("slots").member("a").member("capability")),
        (&Js::text("x"), &Js::text("sql"))
    );
    for (text, line, why) in [
        ("let a = 1;\nexport default {", Some(2), "SyntaxError"),
        ("\nundefined.x;\nexport default {}", Some(2), "TypeError"),
        ("export default await new Promise(() => {})", None, "top level"),
        ("import x from 'fs'; export default x", None, "fs"),
        ("export default { name: () => 1 }", None, "`name`"),
    ] {
        let thrown = describe(Source { name: "main.js", text }).unwrap_err();
        assert!(thrown.message.contains(why), "{text}: {thrown:?}");
        if line.is_some() {
            assert_eq!(thrown.at.map(|(line, _)| line), line, "{text}: {thrown:?}");
        }
    }
}
