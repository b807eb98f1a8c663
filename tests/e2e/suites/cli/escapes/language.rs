//! Scripts that try to leave by way of the language: what they find, import, grow, print and throw.

use super::super::exec::{error, exec, output, ran};
use super::ended;
use crate::rota;
use serde_json::json;

#[tokio::test]
async fn a_script_finds_the_language_and_what_is_documented_and_nothing_else() {
    let rota = rota();
    let said = ran(&rota, 0, &["-e", "Object.getOwnPropertyNames(globalThis).sort()"]).await;
    let found: Vec<&str> =
        said["report"]["data"]["result"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let documented = [
        "args",
        "artifact",
        "bucket",
        "bytes",
        "cache",
        "cluster",
        "compensate",
        "console",
        "db",
        "isPlan",
        "print",
        "progress",
        "report",
        "RotaError",
        "runId",
        "sleep",
        "slots",
        "standby",
        "step",
        "stream",
        "table",
        "tool",
    ];
    for name in documented {
        assert!(found.contains(&name), "{name}: {found:?}");
    }
    // ES2023 and what QuickJS adds to it: values and shapes of values, no door.
    let language = [
        "AggregateError",
        "Array",
        "ArrayBuffer",
        "AsyncDisposableStack",
        "atob",
        "btoa",
        "AsyncFunction",
        "AsyncGenerator",
        "AsyncIterator",
        "Atomics",
        "BigInt",
        "BigInt64Array",
        "BigUint64Array",
        "Boolean",
        "CallSite",
        "DOMException",
        "DataView",
        "Date",
        "DisposableStack",
        "Error",
        "EvalError",
        "FinalizationRegistry",
        "Float16Array",
        "Float32Array",
        "Float64Array",
        "Function",
        "Generator",
        "Infinity",
        "Int16Array",
        "Int32Array",
        "Int8Array",
        "InternalError",
        "Iterator",
        "JSON",
        "Map",
        "Math",
        "NaN",
        "Number",
        "Object",
        "Promise",
        "Proxy",
        "RangeError",
        "ReferenceError",
        "Reflect",
        "RegExp",
        "Set",
        "SharedArrayBuffer",
        "String",
        "SuppressedError",
        "Symbol",
        "SyntaxError",
        "TypeError",
        "URIError",
        "Uint16Array",
        "Uint32Array",
        "Uint8Array",
        "Uint8ClampedArray",
        "WeakMap",
        "WeakRef",
        "WeakSet",
        "decodeURI",
        "decodeURIComponent",
        "encodeURI",
        "encodeURIComponent",
        "escape",
        "eval",
        "globalThis",
        "isFinite",
        "isNaN",
        "parseFloat",
        "parseInt",
        "performance",
        "queueMicrotask",
        "undefined",
        "unescape",
    ];
    let strange: Vec<&&str> =
        found.iter().filter(|name| !documented.contains(name) && !language.contains(name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test]
async fn evaluated_text_finds_no_more_than_the_script() {
    let rota = rota();
    for text in [
        "eval('typeof host + typeof tell + typeof words + typeof facts')",
        "(0, eval)('typeof host + typeof tell + typeof words + typeof facts')",
        "new Function('return typeof host + typeof tell + typeof words + typeof facts')()",
        "(async () => {}).constructor('return typeof host + typeof tell + typeof words + typeof facts')()",
        "(function* () {}).constructor('yield typeof host + typeof tell + typeof words + typeof facts')().next().value",
        "print.constructor('return typeof host + typeof tell + typeof words + typeof facts')()",
    ] {
        let (status, said, _) = ended(&rota, text, &[]).await;
        assert_eq!((status, &said["report"]["data"]["result"]), (0, &json!("undefined".repeat(4))), "{text}: {said:#}");
    }
    // Nor do the functions that are on the stack while the host's part calls the script's.
    for text in [
        "let seen = 'none'; print({ get x() { try { seen = String((new Function('return arguments.callee.caller'))()) } catch (e) { seen = e.name } return 1 } }); seen",
        "let seen = 'none'; try { (function () { return arguments.callee })() } catch (e) { seen = e.name } seen",
        "let seen = 'none'; try { seen = String(print.caller) } catch (e) { seen = e.name } seen",
        "let seen = 'none'; Error.prepareStackTrace = (e, frames) => { seen = frames.map((f) => typeof f.getFunction?.()).join() }; try { db.query({}) } catch {} new Error('x').stack; seen",
        "let seen = 'none'; try { Object.defineProperty(Error, 'prepareStackTrace', { value: (e, f) => { seen = 'got' } }) } catch (e) { seen = e.name } seen",
    ] {
        let (status, said, _) = ended(&rota, text, &[]).await;
        let seen = said["report"]["data"]["result"].as_str().unwrap_or_default();
        assert!(status == 1 || matches!(seen, "none" | "TypeError" | "undefined" | "null"), "{text}: {said:#}");
    }
    for name in [
        "require",
        "process",
        "fetch",
        "std",
        "os",
        "Deno",
        "host",
        "tell",
        "WebAssembly",
        "scriptArgs",
        "setTimeout",
        "XMLHttpRequest",
        "loadScript",
        "bjson",
    ] {
        let said = ran(&rota, 0, &["-e", &format!("typeof {name}")]).await;
        assert_eq!(said["report"]["data"]["result"], "undefined", "{name}");
    }
}

#[tokio::test]
async fn nothing_can_be_imported_and_what_the_host_gave_stays_as_it_is() {
    let rota = rota();
    for text in [
        "await import('std')",
        "await import('os')",
        "await import('qjs:std')",
        "await import('file:///etc/passwd')",
        "await import('/etc/passwd')",
        "await import('./other.js')",
        "await import('https://example.org/x.js')",
        "await import('data:text/javascript,export default 1')",
        "await import({ toString: () => 'std' })",
        "import std from 'std'; std",
        "import.meta.url",
        "db = 1",
        "args.x = 1",
        "Object.assign(db, { query: 1 })",
        "Object.setPrototypeOf(RotaError, Array)",
        "Object.getPrototypeOf(db.query('select 1')).all = () => [1]",
        "new RotaError({ message: 'x', kind: 'denied' })",
        "db.query.constructor.prototype.call = 1; delete globalThis.db",
    ] {
        let (status, said, _) = ended(&rota, text, &["--arg", "x=2"]).await;
        assert_eq!(status, 1, "{text}: {said:#}");
    }
    // A module is no different.
    for (text, says) in [
        ("import x from 'std'; export default { name: 'x', run() {} }", "std"),
        ("export default { name: 'x', run() {} }; import.meta.main.x", "procedure.js"),
    ] {
        std::fs::create_dir_all(rota.path("work/leaves")).unwrap();
        std::fs::write(rota.path("work/leaves/procedure.js"), text).unwrap();
        let said = rota.run(&["plugin", "build", "leaves"]).await.unwrap();
        assert!(said.status == Some(2) && said.all().contains(says), "{text}: {said:?}");
    }
}

#[tokio::test]
async fn what_does_not_end_or_grows_is_ended_by_a_limit_that_is_named() {
    let rota = rota();
    for (text, limit) in [
        ("for (;;) {}", "limit"),
        ("/(a+)+$/.test('a'.repeat(40) + '!')", "limit"),
        ("/^(([a-z])+.)+[A-Z]([a-z])+$/.test('a'.repeat(60))", "limit"),
        ("for await (const x of (async function* () { for (;;) yield 1 })()) ;", "limit"),
        ("(function again() { Promise.resolve().then(again) })(); await new Promise(() => {})", "limit"),
        ("(function again() { queueMicrotask(again) })(); 1", "limit"),
        ("(async () => { for (;;) await null })(); 1", "limit"),
        ("(async () => { for (;;) await sleep(0.01) })(); 1", "time"),
        ("throw { get message() { for (;;) {} } , toString() { for (;;) {} } }", "limit"),
        ("const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { for (;;) {} } }); throw e", ""),
        ("const f = (n) => f(n + 1) + 1; f(0)", "stack"),
        ("const o = { get x() { return this.x } }; o.x", "stack"),
        ("const o = { toString() { return `${o}` } }; print(`${o}`)", "stack"),
        ("let deep = []; for (let n = 0; n < 1e5; n++) deep = [deep]; JSON.stringify(deep)", "stack"),
        ("JSON.parse('['.repeat(1e6))", "stack"),
        ("new RegExp('('.repeat(1e5))", ""),
        ("eval('('.repeat(1e6))", "stack"),
        ("const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))", "memory"),
        ("let s = 'x'; for (;;) s += s", ""),
        ("const all = new Map(); for (let n = 0; ; n++) all.set(n, new Uint8Array(100_000))", "memory"),
        ("2n ** (2n ** 40n)", ""),
        ("new Array(1e9).fill(0)", ""),
        ("const a = []; a.length = 4294967295; report.data(a)", "elements"),
        ("let deep = {}; for (let n = 0; n < 1e5; n++) deep = { deep }; report.data(deep)", "nested more than"),
        ("let deep = {}; deep.deep = deep; await step('x', () => deep)", "nested more than"),
        ("report.data({ a: 'x'.repeat(1 << 26) })", ""),
    ] {
        let (status, said, _) = ended(&rota, text, &["--timeout", "3s"]).await;
        let told = error(&said);
        assert!(matches!(status, 1 | 124) && told.contains(limit), "{text}: {status} {told}");
        assert!(!told.trim().is_empty(), "{text}: {said:#}");
    }
    // Deep, and harmless.
    for text in [
        "let deep = []; for (let n = 0; n < 1e5; n++) deep = [deep]; print(deep)",
        "let deep = {}; for (let n = 0; n < 1e4; n++) deep = { deep }; table([deep])",
        "throw { get stack() { return 1 } }",
    ] {
        ended(&rota, text, &["--timeout", "10s"]).await;
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_said_to_be() {
    let rota = rota();
    let said = ran(&rota, 0, &["-e", "for (let n = 0; n < 200; n++) print('x'.repeat(100_000))"]).await;
    let kept: usize = output(&said).iter().map(|line| line.len()).sum();
    assert!(kept <= 4 << 20 && said["report"]["data"]["truncated"] == true, "{kept}");
    let (status, said, _) = ended(&rota, "for (;;) print('x'.repeat(1000))", &["--timeout", "3s"]).await;
    assert!(matches!(status, 1 | 124), "{said:#}");
    let (status, said, _) = ended(
        &rota,
        "for (let n = 0; n < 1e5; n++) { console.error('e'); report.warning('w' + n) }",
        &["--timeout", "10s"],
    )
    .await;
    assert!(!error(&said).is_empty() || status == 0, "{said:#}");
}

#[tokio::test]
async fn no_control_character_reaches_the_terminal() {
    let rota = rota();
    let folder = tempfile::tempdir().unwrap();
    let bad = "\\x1b]0;x\\x07\\x1b[2J\\r\\u202e\\x9b31m";
    for text in [
        format!("print('{bad}')"),
        format!("console.warn('{bad}')"),
        format!("table([['{bad}']], {{ title: '{bad}', columns: ['{bad}'] }})"),
        format!("report.warning('{bad}', '{bad}'); report.summary('{bad}')"),
        format!("throw new Error('{bad}')"),
        format!("const e = new Error('x'); e.name = '{bad}'; throw e"),
        format!("throw '{bad}'"),
        format!("const e = new Error('x'); e.stack = '{bad}'; e.hint = '{bad}'; throw e"),
        format!("({{ ['{bad}']: '{bad}' }})"),
        format!("progress(1, 2, '{bad}', '{bad}'); await step('{bad}', () => 1)"),
        format!("await artifact('{bad}', 'x')"),
        format!("await compensate('{bad}', () => {{}})"),
        format!("tool('{bad}')"),
        format!("eval('//# sourceURL={bad}\\n' + 'x.y')"),
    ] {
        let said = exec(&rota, &["-e", &text, "--output", "human"]).await;
        for shown in [&said.stdout, &said.stderr] {
            let foul: Vec<char> =
                shown.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
            assert!(foul.is_empty(), "{text}: {foul:?}: {said:?}");
        }
    }
    let file = folder.path().join("a\u{1b}[2Jb.js");
    std::fs::write(&file, "x.y").unwrap();
    let said = exec(&rota, &[file.to_str().unwrap(), "--output", "human"]).await;
    assert!(said.status == Some(1) && !said.all().contains('\u{1b}'), "{said:?}");
}

#[tokio::test]
async fn a_script_that_is_too_long_or_no_text_is_refused() {
    let rota = rota();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.js");
    let path = file.to_str().unwrap().to_owned();
    for (content, status, says) in [
        (
            b"print(1)//".iter().copied().chain(std::iter::repeat_n(b'x', 10 << 20)).collect::<Vec<u8>>(),
            2,
            "longer than 4 MiB",
        ),
        (b"print(1)//".iter().copied().chain(std::iter::repeat_n(b'x', 3 << 20)).collect(), 0, ""),
        (b"print('\xff')".to_vec(), 2, "cannot be read as text"),
        (b"print('\xed\xa0\x80')".to_vec(), 2, "cannot be read as text"),
        (b"\xef\xbb\xbfprint(1)".to_vec(), 0, ""),
        (b"print(1)\0".to_vec(), 1, "nul byte"),
        (vec![0; 1000], 1, "nul byte"),
        (b"#!/usr/bin/env rota\nprint(1)".to_vec(), 0, ""),
        (Vec::new(), 0, ""),
    ] {
        std::fs::write(&file, &content).unwrap();
        let said = exec(&rota, &[&path]).await;
        let shown: String = String::from_utf8_lossy(&content).chars().take(20).collect();
        assert!(said.status == Some(status) && said.stdout.contains(says), "{shown:?}: {said:?}");
    }
    // Half of a character is no text either.
    for text in ["print('\\ud800')", "report.data({ a: '\\ud800' })"] {
        let said = ran(&rota, 1, &["-e", text]).await;
        assert!(error(&said).contains("half of a character"), "{text}: {said:#}");
    }
    ran(&rota, 0, &["-e", "print('\\ud800'.toWellFormed()); '\\ud83d' + '\\ude00'"]).await;
}

#[tokio::test]
async fn an_error_that_calls_itself_the_hosts_is_the_scripts() {
    let rota = rota();
    for (text, status, says) in [
        ("const e = new Error('let me'); e.name = 'RotaError'; e.kind = 'denied'; throw e", 1, "RotaError: let me"),
        (
            "class RotaError2 extends RotaError { }; throw new RotaError2({ message: 'let me', kind: 'denied' })",
            1,
            "TypeError",
        ),
        (
            "throw Object.create(RotaError.prototype, { message: { value: 'let me' }, kind: { value: 'denied' } })",
            1,
            "was thrown",
        ),
        ("try { await db.query('select 1') } catch (e) { e.kind = 'denied'; throw e }", 1, "nothing is bound"),
        (
            "try { await db.query('select 1') } catch (e) { throw new Proxy(e, { get: (t, n) => n === 'kind' ? 'denied' : t[n] }) }",
            1,
            "",
        ),
        ("throw null", 1, "null"),
        ("throw undefined", 1, ""),
        ("throw Symbol('x')", 1, ""),
        ("throw () => 1", 1, ""),
    ] {
        let (got, said, _) = ended(&rota, text, &[]).await;
        assert!(got == status && error(&said).contains(says), "{text}: {said:#}");
    }
}

#[tokio::test]
async fn names_of_arguments_are_only_names() {
    let rota = rota();
    let given =
        ["--arg", "__proto__={\"polluted\":1}", "--arg", "constructor=1", "--arg", "toString=2", "--arg", "then=3"];
    let script = "print({}.polluted, args.constructor, args.toString, args.then, Object.keys(args).length, Object.getPrototypeOf(args) === Object.prototype); const all = { ...args }; print(all.polluted); await args.then";
    let (status, said, _) = ended(&rota, script, &given).await;
    assert_eq!(status, 0, "{said:#}");
    assert_eq!(output(&said)[0], "undefined 1 2 3 4 true", "{said:#}");
}
