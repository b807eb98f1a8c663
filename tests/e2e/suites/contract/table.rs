//! Every import of the contract, with what guards it and what it does. An import that is missing here fails the suite.

use rota_tests::probe::call;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing: it reaches no target.
    Pure,
    /// Any access on the slot.
    Any(&'static str),
    /// This access on the slot.
    Needs(&'static str, &'static str),
}

impl Guard {
    /// The slot, and the access on it: none where any would do.
    fn needed(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Pure => None,
            Self::Any(slot) => Some((slot, None)),
            Self::Needs(slot, access) => Some((slot, Some(access))),
        }
    }
}

/// What calls need, each once.
pub(super) fn guards(cases: &[Case]) -> BTreeSet<(&'static str, Option<&'static str>)> {
    cases.iter().filter_map(|case| case.guard.needed()).collect()
}

/// The calls that need just this.
pub(super) fn guarded(cases: &[Case], slot: &str, access: Option<&str>) -> Vec<Case> {
    cases.iter().filter(|case| case.guard.needed() == Some((slot, access))).cloned().collect()
}

/// How an effect is listed in a plan: operation, target, access, and a part of the detail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) operation: &'static str,
    pub(super) target: &'static str,
    pub(super) access: &'static str,
    pub(super) detail: &'static str,
}

/// By what one sees, at the target and without asking Rota, that a call reached it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trace {
    /// The server's log of statements holds this.
    Statement(&'static str),
    /// The folder has this object.
    Made(&'static str),
    /// The folder has this object no more.
    Gone(&'static str),
    /// The cache has this key.
    KeyMade(&'static str),
    /// The cache has this key no more.
    KeyGone(&'static str),
    /// The idle session, which the test keeps, was ended.
    SessionEnded,
    /// In the cluster, what kubectl writes for these words (parted by spaces) holds this.
    InCluster(&'static str, &'static str),
    /// The same, and it holds it no more.
    GoneFromCluster(&'static str, &'static str),
    /// The monitoring of NATS was asked for this page.
    AskedOfJetstream(&'static str),
    /// It leaves none, or needs no target.
    None,
}

/// One import, called in one way.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) import: &'static str,
    pub(super) arguments: Value,
    pub(super) guard: Guard,
    /// None: it is no effect, and happens in plan mode too.
    pub(super) effect: Option<Listed>,
    pub(super) trace: Trace,
}

impl Case {
    /// Whether only a plan lists it as an effect: executed, it is kept as what it is.
    pub(super) fn is_listed_only(&self) -> bool {
        self.import.starts_with("run.compensation.")
    }

    /// The operations that are on record of it: a lock is taken before it is given back.
    pub(super) fn operations(&self) -> Vec<&'static str> {
        let more = (self.import == "kubernetes.lock.release").then_some("kubernetes.release");
        self.effect.iter().map(|effect| effect.operation).chain(more).collect()
    }

    pub(super) fn call(&self) -> Value {
        call(self.import, self.arguments.clone())
    }

    pub(super) fn slot(&self) -> Option<&'static str> {
        match self.guard {
            Guard::Pure => None,
            Guard::Any(slot) | Guard::Needs(slot, _) => Some(slot),
        }
    }
}

/// What the calls name at the targets.
pub(super) struct Named {
    /// A session that may be cancelled or ended: pid and start.
    pub(super) session: (u64, i64),
    /// An age recipient whose identity is in the slot `key`.
    pub(super) recipient: String,
}

const fn listed(
    operation: &'static str,
    target: &'static str,
    access: &'static str,
    detail: &'static str,
) -> Option<Listed> {
    Some(Listed { operation, target, access, detail })
}

fn case(import: &'static str, arguments: Value, guard: Guard, effect: Option<Listed>, trace: Trace) -> Case {
    Case { import, arguments, guard, effect, trace }
}

/// The table.
pub(super) fn cases(named: &Named) -> Vec<Case> {
    [
        of_run(),
        of_bytes(named),
        of_sql(named),
        of_transactions(),
        of_storage(),
        of_programs(),
        of_cache(),
        of_jetstream(),
        of_cluster(),
        of_lock(),
    ]
    .concat()
}

fn of_run() -> Vec<Case> {
    let names = [
        "run.mode",
        "run.info",
        "run.slots",
        "run.log",
        "run.progress",
        "run.artifact",
        "run.metric",
        "run.sleep",
        "run.step.begin",
        "run.step.complete",
    ];
    let mut cases: Vec<Case> =
        names.map(|name| case(name, json!({ "message": "a line" }), Guard::Pure, None, Trace::None)).into();
    // They need no grant and reach no target; a plan lists what would be undone.
    for (import, name) in [("run.compensation.register", "undo-a"), ("run.compensation.dismiss", "undo-b")] {
        let arguments = json!({ "name": name, "state": r#"{"object":"a.txt"}"# });
        let effect = listed("run.compensation", "undo-", "", r#"{"object":"a.txt"}"#);
        cases.push(case(import, arguments, Guard::Pure, effect, Trace::None));
    }
    cases
}

fn of_bytes(named: &Named) -> Vec<Case> {
    let names = [
        "bytes.tee-sha256",
        "bytes.count",
        "bytes.compress",
        "bytes.decompress",
        "bytes.encrypt",
        "bytes.rate-limit",
        "bytes.drain",
    ];
    let arguments = json!({ "recipient": named.recipient });
    let mut cases: Vec<Case> = names.map(|name| case(name, arguments.clone(), Guard::Pure, None, Trace::None)).into();
    cases.push(case("bytes.decrypt", arguments, Guard::Needs("key", "decrypt"), None, Trace::None));
    cases
}

fn of_sql(named: &Named) -> Vec<Case> {
    use Trace::{SessionEnded, Statement};
    let any = Guard::Any("database");
    let needs = |access| Guard::Needs("database", access);
    let (pid, start) = named.session;
    let session = json!({ "pid": pid, "start": start });
    let statement = |text: &str| json!({ "statement": text });
    vec![
        case("sql.session.open", json!({}), any, None, Trace::None),
        case("sql.session.open-database", json!({ "database": "postgres" }), any, None, Trace::None),
        case("sql.session.server", json!({}), any, None, Trace::None),
        case("sql.session.begin", json!({}), any, None, Trace::None),
        case("sql.session.notices", json!({}), any, None, Trace::None),
        case("sql.session.backend-pid", json!({}), any, None, Trace::None),
        case("sql.session.configure", json!({ "name": "work_mem", "value": "64kB" }), any, None, Trace::None),
        case("sql.session.query", statement("select 'trace-query'"), needs("read"), None, Statement("trace-query")),
        case(
            "sql.session.execute",
            statement("insert into probe values (1, 'trace-write')"),
            needs("write"),
            listed("sql.execute", "database: probe", "write", "insert into probe values (1, 'trace-write')"),
            Statement("trace-write"),
        ),
        case(
            "sql.session.execute",
            statement("vacuum (truncate off) probe"),
            needs("maintain"),
            listed("sql.execute", "database: probe", "maintain", "vacuum (truncate off) probe"),
            Statement("vacuum (truncate off) probe"),
        ),
        case(
            "sql.session.execute",
            statement("create index trace_index on probe (n)"),
            needs("index"),
            listed("sql.execute", "database: probe", "index", "create index trace_index on probe (n)"),
            Statement("trace_index"),
        ),
        case(
            "sql.session.execute",
            statement("create table trace_table (n int)"),
            needs("ddl"),
            listed("sql.execute", "database: trace_table", "ddl", "create table trace_table (n int)"),
            Statement("trace_table"),
        ),
        case(
            "sql.session.copy-out",
            statement("copy (select 'trace-copy-out') to stdout"),
            needs("copy-out"),
            None,
            Statement("trace-copy-out"),
        ),
        case(
            "sql.session.copy-in",
            json!({ "statement": "copy probe (n) from stdin", "data": "41\n42\n" }),
            needs("copy-in"),
            listed("sql.copy-in", "database: probe", "copy-in", "copy probe (n) from stdin"),
            Statement("copy probe (n) from stdin"),
        ),
        case(
            "sql.session.cancel-backend",
            session.clone(),
            needs("signal"),
            listed("sql.cancel-backend", "database: pid ", "signal", "cancel the statement of backend "),
            Statement("pg_cancel_backend"),
        ),
        case(
            "sql.session.terminate-backend",
            session,
            needs("signal"),
            listed("sql.terminate-backend", "database: pid ", "signal", "end the session of backend "),
            SessionEnded,
        ),
        case(
            "sql.session.execute",
            statement("alter system set work_mem = '5MB'"),
            needs("alter-system"),
            listed("sql.execute", "database: work_mem", "alter-system", "alter system set work_mem = '5MB'"),
            Statement("alter system set work_mem = '5MB'"),
        ),
        case(
            "sql.session.reload-configuration",
            json!({}),
            needs("alter-system"),
            listed("sql.reload-configuration", "database", "alter-system", "read its configuration files again"),
            Statement("pg_reload_conf"),
        ),
        case(
            "sql.session.promote",
            json!({}),
            needs("promote"),
            listed("sql.promote", "database", "promote", "promote the standby"),
            Statement("pg_promote"),
        ),
    ]
}

fn of_transactions() -> Vec<Case> {
    let any = Guard::Any("database");
    vec![
        case(
            "sql.transaction.query",
            json!({ "statement": "select 'trace-in-transaction'" }),
            Guard::Needs("database", "read"),
            None,
            Trace::Statement("trace-in-transaction"),
        ),
        case(
            "sql.transaction.execute",
            json!({ "statement": "insert into probe values (2, 'trace-transaction-write')", "commit": true }),
            Guard::Needs("database", "write"),
            listed("sql.execute", "database: probe", "write", "trace-transaction-write"),
            Trace::Statement("trace-transaction-write"),
        ),
        case("sql.transaction.commit", json!({}), any, None, Trace::None),
        case("sql.transaction.rollback", json!({}), any, None, Trace::None),
    ]
}

fn of_storage() -> Vec<Case> {
    let needs = |access| Guard::Needs("bucket", access);
    vec![
        case("storage.bucket.open", json!({}), Guard::Any("bucket"), None, Trace::None),
        case("storage.bucket.get", json!({ "name": "there.txt" }), needs("read"), None, Trace::None),
        case("storage.bucket.stat", json!({ "name": "there.txt" }), needs("read"), None, Trace::None),
        case("storage.bucket.list", json!({}), needs("read"), None, Trace::None),
        case(
            "storage.bucket.put",
            json!({ "name": "new.txt", "data": "new", "size": 3000 }),
            needs("write"),
            listed("storage.put", "bucket: new.txt", "write", ""),
            Trace::Made("new.txt"),
        ),
        case(
            "storage.bucket.delete",
            json!({ "name": "doomed.txt" }),
            needs("delete"),
            listed("storage.delete", "bucket: doomed.txt", "delete", "deletes the object"),
            Trace::Gone("doomed.txt"),
        ),
    ]
}

fn of_programs() -> Vec<Case> {
    let run = Guard::Needs("program", "run");
    let dump = json!({ "arguments": ["--format=custom"], "connection": "database" });
    let spawned = listed("tools.spawn", "program", "run", "--format=custom");
    let trace = Trace::Statement("COPY public.probe (");
    vec![
        case("tools.info", json!({}), run, None, Trace::None),
        case("tools.spawn", dump.clone(), run, spawned, trace),
        // The program sees the database, so the connection's slot must be granted too.
        case("tools.spawn", dump.clone(), Guard::Needs("database", "read"), spawned, trace),
        case("process.child.stdout", dump.clone(), run, spawned, trace),
        case("process.child.wait", dump.clone(), run, spawned, trace),
        case("process.child.kill", dump, run, spawned, Trace::None),
    ]
}

fn of_jetstream() -> Vec<Case> {
    let read = |import| case(import, json!({}), Guard::Needs("stream", "read"), None, Trace::None);
    let open = case("jetstream.session.open", json!({}), Guard::Any("stream"), None, Trace::None);
    let asked =
        |import, asked| case(import, json!({}), Guard::Needs("stream", "read"), None, Trace::AskedOfJetstream(asked));
    vec![
        open,
        read("jetstream.session.server"),
        read("jetstream.session.account"),
        read("jetstream.session.streams"),
        read("jetstream.session.consumers"),
        read("jetstream.session.stored-at"),
        asked("jetstream.session.monitoring", "/jsz"),
    ]
}

fn of_cache() -> Vec<Case> {
    use Trace::{KeyGone, KeyMade};
    let needs = |access| Guard::Needs("cache", access);
    let read = |import| case(import, json!({}), needs("read"), None, Trace::None);
    let key = |key: &str| json!({ "key": key });
    vec![
        case("cache.session.open", json!({}), Guard::Any("cache"), None, Trace::None),
        read("cache.session.ping"),
        read("cache.session.info"),
        read("cache.session.keyspace"),
        read("cache.session.slowlog"),
        read("cache.session.memory-usage"),
        read("cache.session.scan"),
        read("cache.session.get"),
        read("cache.session.ttl"),
        case("cache.session.hash-get", key("probe:hash"), needs("read"), None, Trace::None),
        case("cache.session.hash-entries", key("probe:hash"), needs("read"), None, Trace::None),
        case(
            "cache.session.unlink-matching",
            json!({ "prefix": "probe:match:" }),
            needs("delete"),
            listed("cache.unlink-matching", "cache", "delete", "unlinks 3 keys that begin with `probe:match:`"),
            KeyGone("probe:match:1"),
        ),
        case(
            "cache.session.unlink",
            key("probe:doomed"),
            needs("delete"),
            listed("cache.unlink", "cache", "delete", "unlinks 1 keys: `probe:doomed`"),
            KeyGone("probe:doomed"),
        ),
        case(
            "cache.session.monitor",
            json!({}),
            needs("debug"),
            listed("cache.monitor", "cache", "debug", "watches every command for at most 1 s"),
            Trace::None,
        ),
        case(
            "cache.session.set",
            json!({ "key": "probe:new", "value": "c4nary-value" }),
            needs("write"),
            listed("cache.set", "cache: probe:new", "write", "sets a string of 12 bytes"),
            KeyMade("probe:new"),
        ),
        case(
            "cache.session.expire",
            json!({ "key": "probe:expiring", "lifetime": 1 }),
            needs("write"),
            listed("cache.expire", "cache: probe:expiring", "write", "lets it expire in 1 ms"),
            KeyGone("probe:expiring"),
        ),
        case(
            "cache.session.hash-set",
            key("probe:newhash"),
            needs("write"),
            listed("cache.hash-set", "cache: probe:newhash", "write", "sets 1 fields"),
            KeyMade("probe:newhash"),
        ),
        case(
            "cache.session.hash-delete",
            key("probe:onefield"),
            needs("delete"),
            listed("cache.hash-delete", "cache: probe:onefield", "delete", "removes 1 fields of a hash: `f`"),
            KeyGone("probe:onefield"),
        ),
    ]
}

fn of_cluster() -> Vec<Case> {
    use Trace::InCluster;
    let any = Guard::Any("cluster");
    let needs = |access| Guard::Needs("cluster", access);
    let read = needs("read");
    let cluster = |import, arguments, guard, effect, trace| case(import, arguments, guard, effect, trace);
    let web = json!({ "kind": "apps/v1 Deployment", "name": "web" });
    let with = |more: Value| {
        let mut all = web.clone();
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    };
    let made = json!({ "object": { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "made" }, "data": { "a": "1" } } });
    let image = format!("busybox@sha256:{}", "0".repeat(64));
    vec![
        cluster("kubernetes.cluster.open", json!({}), any, None, Trace::None),
        cluster("kubernetes.cluster.namespace", json!({}), any, None, Trace::None),
        cluster("kubernetes.cluster.version", json!({}), any, None, Trace::None),
        cluster("kubernetes.cluster.require", json!({ "verb": "get" }), read, None, Trace::None),
        cluster("kubernetes.cluster.get", json!({ "name": "there" }), read, None, Trace::None),
        cluster("kubernetes.cluster.list", json!({}), read, None, Trace::None),
        cluster("kubernetes.cluster.watch", json!({}), read, None, Trace::None),
        cluster("kubernetes.cluster.events", json!({ "name": "there" }), read, None, Trace::None),
        cluster("kubernetes.cluster.get-scale", web.clone(), read, None, Trace::None),
        cluster("kubernetes.cluster.rollout-status", web.clone(), read, None, Trace::None),
        cluster("kubernetes.cluster.wait-for", with(json!({ "until": "exists" })), read, None, Trace::None),
        cluster("kubernetes.cluster.logs", json!({ "pod": "idle" }), read, None, Trace::None),
        cluster(
            "kubernetes.cluster.create",
            made,
            needs("write"),
            listed("kubernetes.create", "cluster: configmaps ", "write", "\"a\":\"1\""),
            InCluster("get configmaps --output=name", "configmap/made"),
        ),
        cluster(
            "kubernetes.cluster.patch",
            json!({ "name": "there", "patch": { "data": { "trace": "patched" } } }),
            needs("write"),
            listed("kubernetes.patch", "cluster: configmaps ", "write", "merge {\"data\""),
            InCluster("get configmap there --output=json", "patched"),
        ),
        cluster(
            "kubernetes.cluster.delete",
            json!({ "name": "doomed" }),
            needs("delete"),
            listed("kubernetes.delete", "cluster: configmaps ", "delete", "delete"),
            Trace::GoneFromCluster("get configmaps --output=name", "configmap/doomed"),
        ),
        cluster(
            "kubernetes.cluster.set-scale",
            with(json!({ "replicas": 3 })),
            needs("scale"),
            listed("kubernetes.set-scale", "cluster: deployments.apps ", "scale", "scale from 1 to 3 replicas"),
            InCluster("get deployment web --output=jsonpath={.spec.replicas}", "3"),
        ),
        cluster(
            "kubernetes.cluster.restart",
            web.clone(),
            needs("scale"),
            listed("kubernetes.restart", "cluster: deployments.apps ", "scale", "restart every pod"),
            InCluster("get deployment web --output=json", "restartedAt"),
        ),
        cluster(
            "kubernetes.cluster.exec",
            json!({ "pod": "idle", "words": ["sh", "-c", ": trace-exec; echo >traced"] }),
            needs("exec"),
            listed("kubernetes.exec", "cluster: pods ", "exec", "trace-exec"),
            InCluster("exec idle -- ls", "traced"),
        ),
        cluster(
            "kubernetes.cluster.run-job",
            json!({ "image": image, "words": ["echo", "trace-job"] }),
            needs("run"),
            listed("kubernetes.run-job", "cluster: jobs.batch ", "run", "trace-job"),
            InCluster("get events --output=json", "Created pod: probe-"),
        ),
    ]
}

fn of_lock() -> Vec<Case> {
    let write = Guard::Needs("cluster", "write");
    let taken =
        listed("kubernetes.lock", "cluster: leases.coordination.k8s.io ", "write", "take the lock as rota/probe/");
    let trace = |words| Trace::InCluster(words, "lease.coordination.k8s.io/lock-");
    let lock = |import, name: &str, effect, words| case(import, json!({ "name": name }), write, effect, trace(words));
    vec![
        lock("kubernetes.cluster.lock", "lock-a", taken, "get lease lock-a --ignore-not-found --output=name"),
        lock("kubernetes.lock.check", "lock-b", taken, "get lease lock-b --ignore-not-found --output=name"),
        // It is taken first, which is an effect of its own: see `Case::operations`.
        lock("kubernetes.lock.release", "lock-c", taken, "get lease lock-c --ignore-not-found --output=name"),
    ]
}
