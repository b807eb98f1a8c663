//! Scripts that try to have effects which are not granted, or not agreed to.

use super::super::exec::{error, fresh};
use super::ended;
use crate::rota;
use rota_testbed::Database;
use serde_json::json;

async fn rows(database: &Database) -> i64 {
    let mut session = database.connect().await.unwrap();
    sqlx::query_scalar("select count(*) from t").fetch_one(&mut session).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_bends_the_language_gets_nothing_by_it() {
    let rota = rota();
    let database = fresh("escape_bent", "create table t (i int); insert into t values (1)").await;
    let bind = format!("database={}", database.url());
    for text in [
        // Arguments that change while they are looked at, or lie.
        "const values = [{ get toString() { return () => '1' } }]; try { await db.query('select $1::text', values) } catch {} await db.execute('delete from t')",
        "Object.prototype.slot = 'standby'; Object.prototype.then = undefined; await db.execute('delete from t')",
        "Array.prototype[Symbol.iterator] = function* () { yield 'select 1' }; Promise.prototype.then = () => {}; await db.execute('delete from t')",
        "globalThis.Date = function () {}; await db.execute('delete from t')",
        "JSON.stringify = () => '{}'; String.prototype.split = () => []; await db.execute('delete from t')",
        "db.execute('delete from t'); db.execute('delete from t'); 1",
        "const q = db.query('delete from t returning i'); await q",
        "await db.query(new String('delete from t'))",
        "await db.transaction(async (tx) => { await tx.execute('delete from t') })",
        "await db.query('with x as (delete from t returning 1) select * from x')",
        "await db.query('select 1; delete from t')",
        // What hangs on a prototype is no answer, no argument and no error of the host's.
        "for (const name of ['error', 'handle', 'kind', 'code', 'done', 'message', 'value']) Object.prototype.__defineGetter__(name, () => 'denied'); await db.execute('delete from t')",
        "Object.prototype.accesses = ['write']; Object.prototype.grants = { database: ['write'] }; await db.execute('delete from t')",
        "Object.defineProperty(Array.prototype, 0, { set(v) {}, get: () => 'delete from t' }); await db.execute('delete from t')",
        "Object.defineProperty(Promise, Symbol.species, { get: () => function (f) { f(() => {}, () => {}) } }); await db.execute('delete from t')",
        "Promise.prototype.constructor = function (f) { f(() => {}, () => {}) }; await db.execute('delete from t')",
        "Function.prototype.call = Function.prototype.apply = () => 'fine'; Reflect.apply = () => 'fine'; await db.execute('delete from t')",
        "Object.prototype.hasOwnProperty = () => false; Object.freeze = (x) => x; await db.execute('delete from t')",
        "Symbol.asyncIterator.constructor.prototype.toString = () => 'x'; Uint8Array.prototype.toString = () => 'select 1'; await db.execute('delete from t')",
        // Values that are not what they seem.
        "await db.execute(new Proxy({}, { get: () => 'delete from t', ownKeys: () => ['0'], has: () => true }))",
        "await db.execute(new Proxy(['delete from t'], {}))",
        "await db.execute({ toString: () => 'delete from t', toJSON: () => 'delete from t', [Symbol.toPrimitive]: () => 'delete from t' })",
        "await db.execute('delete from t where i = $1', new Proxy([1], { get(target, name) { throw new Error('looked at ' + String(name)) } }))",
        "await db.execute('delete from t where i = $1', [new Proxy({}, { ownKeys() { for (let n = 0; n < 3; n++) db.execute('delete from t'); return [] } })])",
        "await db.execute('delete from t', { length: 0, [Symbol.iterator]: function* () {} })",
        "Date.prototype.getTime = () => { db.execute('delete from t'); return 0 }; await db.execute('delete from t where i = $1', [new Date()])",
        // Others' numbers.
        "Object.getPrototypeOf(db.query('select 1')).constructor(Promise.resolve({ handle: 'database' }), 'db.execute', 'db.close'); await db.execute('delete from t')",
        "new (db.query('select 1').constructor)(Promise.resolve({ handle: 1 }), 'db.execute', 'db.close').all(); await db.execute('delete from t')",
        "let tx; await db.transaction(async (given) => { tx = given }); await tx.execute('delete from t')",
        "let tx; await db.transaction(async (given) => { tx = given }); await Object.create(tx).execute('delete from t')",
        "await db.transaction(async (tx) => { await Object.getPrototypeOf(tx).execute.call({ handle: 1 }, 'delete from t') })",
        "await db.transaction(async (tx) => { await structuredClone(tx).execute('delete from t') })",
        "slots.database.execute.call(slots.standby, 'delete from t')",
        "({ ...db, slot: 'standby' }).execute('delete from t')",
        // Sessions of its own: under what is granted, over when they are closed, and none of another's.
        "await db.session((session) => session.execute('delete from t'))",
        "let kept; await db.session((session) => { kept = session }); await kept.execute('delete from t')",
        "const session = await db.openDatabase('postgres'); await session.close(); await session.query('select 1')",
        "await db.session((session) => Promise.all([session.query('select pg_sleep(1)'), session.execute('delete from t')]))",
        "const session = await db.session((session) => session); await session.configure('work_mem', '64kB')",
        "await db.session((session) => session.configure('session_replication_role', 'replica'))",
        "await db.session((session) => session.configure('transaction_read_only', 'off'))",
    ] {
        let (status, said, _) = ended(&rota, text, &["--bind", &bind, "--timeout", "10s"]).await;
        assert_ne!(status, 0, "{text}: {said:#}");
        assert_eq!(said["effects"], json!([]), "{text}: {said:#}");
    }
    assert_eq!(rows(&database).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bent_language_changes_no_effect_that_was_agreed_to() {
    let rota = rota();
    let database = fresh("escape_held", "create table t (i int); insert into t select generate_series(1, 5)").await;
    let bind = format!("database={}", database.url());
    for text in [
        // What looks at arguments while they are read, in the plan otherwise than in the run.
        "const v = [1]; Object.defineProperty(v, 0, { get: () => isPlan ? 0 : 1, enumerable: true }); await db.execute('delete from t where i = $1', v)",
        "await db.execute('delete from t where i = $1', [new Proxy({}, { ownKeys: () => ['a'], getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }), get: () => isPlan ? 1 : 2 })])",
        "await db.execute('delete from t where i = $1', [isPlan ? new Uint8Array([0]) : new Uint8Array([1])])",
        "await db.execute(isPlan ? 'delete from t where false' : 'delete from t')",
        // In the background, after the end, by the collector.
        "if (!isPlan) db.execute('delete from t'); 1",
        "if (!isPlan) Promise.resolve().then(() => Promise.resolve()).then(() => db.execute('delete from t')); 1",
        "if (!isPlan) queueMicrotask(() => { db.execute('delete from t') }); 1",
        "if (!isPlan) (async () => { await sleep(0.2); await db.execute('delete from t') })(); 1",
        "if (!isPlan) print({ get x() { db.execute('delete from t'); return 1 } }); 1",
        "if (!isPlan) report.data({ get x() { db.execute('delete from t'); return 1 } }); 1",
        "if (!isPlan) ({ get x() { db.execute('delete from t'); return 1 } })",
        "if (isPlan) 1; else throw { get message() { db.execute('delete from t'); return 1 } }",
    ] {
        let flags = ["--bind", &bind, "--grant", "database=read,write", "--yes", "--timeout", "20s"];
        let (status, said, _) = ended(&rota, text, &flags).await;
        assert_ne!(status, 0, "{text}: {said:#}");
        let done = said["effects"].as_array().unwrap().iter().filter(|effect| effect["outcome"] == "done").count();
        assert_eq!((done, rows(&database).await), (0, 5), "{text}: {said:#}");
    }
    for text in [
        // What would come when the script's memory goes, or after it has ended, does not come.
        "const gone = new FinalizationRegistry(() => { db.execute('delete from t') }); if (!isPlan) { gone.register({}, 1); gone.register([], 2) } 1",
        "const open = (async function* () { try { yield 1 } finally { await db.execute('delete from t') } })(); await open.next(); 1",
        "const rows = db.query('select i from t')[Symbol.asyncIterator](); await rows.next(); 1",
    ] {
        let flags = ["--bind", &bind, "--grant", "database=read,write", "--yes", "--timeout", "20s"];
        let (status, said, _) = ended(&rota, text, &flags).await;
        let done = said["effects"].as_array().unwrap().len();
        assert!((status, done) == (0, 0) || error(&said).contains("not in the plan"), "{text}: {said:#}");
        assert_eq!(rows(&database).await, 5, "{text}: {said:#}");
    }
    // What is begun and not awaited is the script's all the same: listed, agreed to, done before the end.
    let text = "db.execute('delete from t where i = 1'); (async () => { await sleep(0.1); await db.execute('delete from t where i = 2') })(); 1";
    let flags = ["--bind", &bind, "--grant", "database=read,write", "--yes"];
    let (status, said, _) = ended(&rota, text, &flags).await;
    assert_eq!((status, said["effects"].as_array().unwrap().len(), rows(&database).await), (0, 2, 3), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_programs_cannot_be_forged() {
    let rota = rota();
    let database = fresh("escape_streams", "create table t (i int); insert into t values (1)").await;
    let folder = tempfile::tempdir().unwrap();
    let (database_bind, bucket_bind) =
        (format!("database={}", database.url()), format!("bucket=file://{}", folder.path().display()));
    let flags = [
        "--bind",
        &database_bind,
        "--bind",
        &bucket_bind,
        "--grant",
        "database=read",
        "--grant",
        "bucket=read,write",
        "--unplanned",
        "--timeout",
        "10s",
    ];
    std::fs::write(folder.path().join("there"), "there").unwrap();
    for text in [
        "await bucket.put('x', 1)",
        "await bucket.put('x', { handle: 1 })",
        "await bucket.put('x', Object.create(bucket.get('there')))",
        "await bucket.put('x', new Proxy(bucket.get('there'), {}))",
        "await bucket.put('x', Object.freeze({ ...bucket.get('there') }))",
        "await bucket.put('x', new (bucket.get('there').constructor)({ handle: 1 }))",
        "const once = bucket.get('there'); await once.text(); await bucket.put('x', once)",
        "const once = bucket.get('there'); const a = bytes.count(once); await bucket.put('x', once)",
        "const once = bucket.get('there'); for await (const piece of once) break; await bucket.put('x', once)",
        "await bucket.put('x', db.copyOut('copy t to stdout'))",
        "await bucket.put('x', db.copyOut(\"copy t to program 'cat'\"))",
        "await bucket.put('x', db.copyOut(\"copy t to '/tmp/x'\"))",
        "await db.copyIn(\"copy t from '/etc/passwd'\", 'x')",
        "await bucket.put('../x', ['a'])",
        "await bucket.put('x', bytes.decrypt('a', 'database'))",
        "await bucket.put('x', bytes.decrypt('a', { slot: 'key' }))",
        "await bucket.put('x', bytes.encrypt('a', []))",
        "await bucket.put('x', bytes.compress('a', 'zstd', 1e9))",
        "await bucket.put('x', bytes.limit('a', -1))",
        "await bucket.put('x', tool('database').run([]).stdout)",
        "await bucket.put('x', slots.pg_dump.run(['--file=/tmp/x']).stdout)",
        "await bucket.put('x', slots.pg_dump.run(new Proxy([], {}), { connection: 'nowhere' }).stdout)",
    ] {
        let (status, said, _) = ended(&rota, text, &flags).await;
        assert_ne!(status, 0, "{text}: {said:#}");
        assert!(!folder.path().join("x").exists(), "{text}: {said:#}");
    }
    // An endless one is ended with the run; nothing is kept of it.
    let text = "await bucket.put('x', (async function* () { for (;;) yield 'x'.repeat(1e6) })())";
    let (status, said, _) = ended(&rota, text, &[&flags[..8], &["--timeout", "3s", "--unplanned"]].concat()).await;
    assert!(matches!(status, 1 | 124) && !folder.path().join("x").exists(), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_sets_in_a_session_of_its_own_holds_in_no_other_and_none_is_left() {
    let rota = rota();
    let database = fresh("escape_sessions", "create table t (i int)").await;
    let bind = format!("database={}", database.url());
    let text = "const shown = async (of) => (await of.query('show work_mem').one()).work_mem;
        const before = await shown(db);
        const within = await db.session(async (session) => {
          await session.configure('work_mem', '3MB');
          const pid = (await session.query('select pg_backend_pid() as pid').one()).pid;
          if (pid !== await session.backendPid()) throw new Error('two sessions');
          return shown(session);
        });
        await db.session(async (session) => { await session.configure('work_mem', '5MB'); throw new RangeError('x') })
          .catch((error) => { if (!(error instanceof RangeError)) throw error });
        // More, one after the other, than may be open at once; the last is left open.
        for (let n = 0; n < 6; n++) await (await db.openDatabase('postgres')).close();
        const other = await db.openDatabase('postgres');
        const name = (await other.query('select current_database()::text as name').one()).name;
        [within, before === await shown(db), name]";
    let (status, said, _) = ended(&rota, text, &["--bind", &bind, "--timeout", "30s"]).await;
    assert_eq!(status, 0, "{said:#}");
    assert_eq!(said["report"]["data"]["result"], json!(["3MB", true, "postgres"]), "{said:#}");
}
