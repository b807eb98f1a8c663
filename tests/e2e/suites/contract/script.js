// Calls of the contract from JavaScript, as the table names them: what the probe is in Rust. Each answers { ok } or { error, text }; one that a
// procedure in JavaScript has no call for answers { unreachable: true }.

/** What the probe declares. */
const ACCESSES = {
  database: ["sql", ["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in", "alter-system"]],
  bucket: ["storage", ["read", "write", "delete"]],
  cache: ["cache", ["read", "write", "delete", "debug"]],
  stream: ["jetstream", ["read"]],
  cluster: ["kubernetes", ["read", "write", "delete", "scale", "exec", "run", "secrets"]],
  program: ["tool", ["run"]],
  key: ["key", ["decrypt"]],
};

const kind = (call) => (call.kind ?? "v1 ConfigMap").split(" ")[1];
const key = (call) => call.key ?? "probe:there";
const undo = async () => {};
const dump = (call) => tool("program").run(call.arguments, { connection: call.connection });

const CALLS = {
  "run.mode": () => isPlan,
  "run.info": () => runId,
  "run.slots": () => Object.keys(slots),
  "run.log": (call) => console.warn(call.message),
  "run.progress": () => progress(1, 2, "steps", "probing"),
  "run.artifact": () => artifact("probe.txt", "xxxxxxxxxx", "text/plain"),
  "run.metric": () => report.metric("probe", 1),
  "run.sleep": () => sleep(0.001),
  "run.step.begin": () => step("begun", () => 1),
  "run.step.complete": () => step("completed", () => 1),
  "run.compensation.register": (call) => compensate(call.name, undo, call.state),
  "run.compensation.dismiss": async (call) => (await compensate(call.name, undo, call.state)).dismiss(),

  "sql.session.open": () => db.notices(),
  "sql.session.notices": () => db.notices(),
  "sql.session.open-database": async (call) => (await db.openDatabase(call.database)).close(),
  "sql.session.backend-pid": () => db.session((session) => session.backendPid()),
  "sql.session.configure": (call) => db.session((session) => session.configure(call.name, call.value)),
  "sql.session.reload-configuration": () => db.reloadConfiguration(),
  "sql.session.promote": () => db.promote({ seconds: 1 }),
  "sql.session.begin": () => db.transaction(undo),
  "sql.session.query": (call) => db.query(call.statement).all(),
  "sql.session.execute": (call) => db.execute(call.statement),
  "sql.session.server": () => db.server(),
  "sql.session.copy-out": (call) => db.copyOut(call.statement).text(),
  "sql.session.copy-in": (call) => db.copyIn(call.statement, call.data),
  "sql.session.cancel-backend": (call) => db.cancelBackend(call.pid, BigInt(call.start)),
  "sql.session.terminate-backend": (call) => db.terminateBackend(call.pid, BigInt(call.start)),
  "sql.transaction.query": (call) => db.transaction((tx) => tx.query(call.statement).all()),
  "sql.transaction.execute": (call) => db.transaction((tx) => tx.execute(call.statement)),
  "sql.transaction.commit": () => db.transaction(undo),
  "sql.transaction.rollback": () => db.transaction(() => { throw new RangeError("rolled back"); })
    .catch((error) => { if (!(error instanceof RangeError)) throw error; }),

  "storage.bucket.open": () => bucket.list("").all(),
  "storage.bucket.get": (call) => bucket.getText(call.name),
  "storage.bucket.stat": (call) => bucket.stat(call.name),
  "storage.bucket.list": () => bucket.list("").all(),
  "storage.bucket.put": (call) => bucket.put(call.name, call.data),
  "storage.bucket.delete": (call) => bucket.delete(call.name),

  "cache.session.open": () => cache.keyspace(),
  "cache.session.keyspace": () => cache.keyspace(),
  "cache.session.info": () => cache.info(),
  "cache.session.monitor": () => cache.monitor({ seconds: 1, most: 10 }).all(),
  "cache.session.ping": () => cache.ping(),
  "cache.session.slowlog": () => cache.slowlog(10),
  "cache.session.memory-usage": (call) => cache.usage(key(call)),
  "cache.session.scan": () => cache.scan({ prefix: "probe:" }).all(),
  "cache.session.get": (call) => cache.get(key(call)),
  "cache.session.ttl": (call) => cache.ttl(key(call)),
  "cache.session.expire": (call) => cache.expire(key(call), call.lifetime / 1000),
  "cache.session.set": (call) => cache.set(key(call), call.value),
  "cache.session.unlink": (call) => cache.unlink(key(call)),
  "cache.session.unlink-matching": (call) => cache.unlinkMatching({ prefix: call.prefix }, { most: 100 }),
  "cache.session.hash-get": (call) => cache.hashGet(key(call), "f"),
  "cache.session.hash-entries": (call) => cache.hashEntries(key(call)),
  "cache.session.hash-set": (call) => cache.hashSet(key(call), { f: "x" }),
  "cache.session.hash-delete": (call) => cache.hashDelete(key(call), "f"),

  "jetstream.session.open": () => stream.streams(),
  "jetstream.session.streams": () => stream.streams(),
  "jetstream.session.consumers": () => stream.consumers("PROBE"),
  "jetstream.session.server": () => stream.server(),
  "jetstream.session.account": () => stream.account(),
  "jetstream.session.monitoring": () => stream.monitoring(),
  "jetstream.session.stored-at": () => stream.storedAt("PROBE", 1),

  "kubernetes.cluster.open": () => cluster.namespace(),
  "kubernetes.cluster.namespace": () => cluster.namespace(),
  "kubernetes.cluster.get": (call) => cluster.get(kind(call), call.name),
  "kubernetes.cluster.list": (call) => cluster.list(kind(call)).all(),
  "kubernetes.cluster.watch": (call) => cluster.watch(kind(call), { seconds: 1 }).all(),
  "kubernetes.cluster.require": (call) => cluster.require({ verb: call.verb, kind: kind(call) }),
  // The first two leave it to the end of the script, which gives it back.
  "kubernetes.cluster.lock": (call) => cluster.lock(call.name),
  "kubernetes.lock.check": async (call) => (await cluster.lock(call.name)).check(),
  "kubernetes.lock.release": (call) => cluster.lock(call.name, undo),
  "kubernetes.cluster.rollout-status": (call) => cluster.rollout(kind(call), call.name),
  "kubernetes.cluster.logs": (call) => cluster.logs(call.pod),
  "kubernetes.cluster.create": (call) => cluster.create(call.object),
  "kubernetes.cluster.patch": (call) => cluster.patch(kind(call), call.name, call.patch),
  "kubernetes.cluster.delete": (call) => cluster.delete(kind(call), call.name),
  "kubernetes.cluster.set-scale": (call) => cluster.scale(kind(call), call.name, call.replicas),
  "kubernetes.cluster.get-scale": (call) => cluster.replicas(kind(call), call.name),
  "kubernetes.cluster.restart": (call) => cluster.restart(kind(call), call.name),
  "kubernetes.cluster.exec": (call) => cluster.exec(call.pod, call.words),
  "kubernetes.cluster.version": () => cluster.version(),
  "kubernetes.cluster.events": (call) => cluster.events(kind(call), call.name),
  "kubernetes.cluster.wait-for": (call) => cluster.waitFor(kind(call), call.name, call.until, { seconds: 5 }),
  "kubernetes.cluster.run-job": (call) => cluster.runJob({ name: "probe", image: call.image, command: call.words, seconds: 60 }).wait(),

  "tools.info": () => tool("program").info(),
  "tools.spawn": (call) => dump(call).wait(),
  "process.child.stdout": (call) => dump(call).stdout.all(),
  "process.child.wait": (call) => dump(call).wait(),
  "process.child.kill": (call) => dump(call).kill(),

  "bytes.tee-sha256": () => bytes.sha256("probe").drain(),
  "bytes.count": () => bytes.count("probe").drain(),
  "bytes.compress": () => bytes.compress("probe").drain(),
  "bytes.decompress": () => bytes.compress("probe").decompress().text(),
  "bytes.encrypt": (call) => bytes.encrypt("probe", call.recipient).drain(),
  "bytes.decrypt": (call) => bytes.encrypt("probe", call.recipient).decrypt("key").text(),
  "bytes.rate-limit": () => bytes.limit("probe", 1_000_000).drain(),
  "bytes.drain": () => bytes.drain("probe"),
};

export default {
  name: "script-probe",
  version: "0.1.0",
  summary: "Calls the contract from JavaScript, as a test asks.",
  description: "For tests.",
  risk: "change",
  idempotent: true,
  slots: Object.fromEntries(Object.entries(ACCESSES).map(([name, [capability, accesses]]) =>
    [name, { capability, accesses, purpose: "Whatever the test asks for.", optional: true }])),
  parameters: {
    type: "object",
    properties: { calls: { type: "array", items: { type: "object" }, description: "Calls, one after the other." } },
    required: ["calls"],
    additionalProperties: false,
  },
  report: { type: "object" },

  async run({ calls }) {
    const answers = [];
    for (const call of calls) {
      const made = CALLS[call.import];
      if (made === undefined) {
        answers.push({ unreachable: true });
        continue;
      }
      try {
        await made(call);
        answers.push({ ok: true });
      } catch (error) {
        answers.push({ error: error.kind ?? error.name, text: error.message });
      }
    }
    return { answers };
  },
};
