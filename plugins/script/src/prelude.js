// What a script finds: db, cache, bucket, cluster, stream, report, step ... Evaluated once, before the script; it keeps for itself what it
// was given (`host` waits for the host, `tell` does not), and everything that a script could change after.
(function (host, tell, words, facts) {
  "use strict";
  const { freeze, defineProperty, keys, fromEntries } = Object;
  const { isArray } = Array;
  const stringify = JSON.stringify;
  const Text = String;
  const has = Function.prototype.call.bind(Object.prototype.hasOwnProperty);
  // By it a script would get at the functions in here, by way of the calls on a stack.
  defineProperty(Error, "prepareStackTrace", { value: undefined, writable: false, configurable: false });
  const resolved = Promise.resolve.bind(Promise);

  // An error of the host: `kind` (denied, not-found, conflict, timed-out, unavailable, failed, quota, invalid-argument, cancelled), and `code`
  // where the target answered with one (an SQLSTATE, an HTTP status).
  class RotaError extends Error {
    constructor(said, at) {
      super(said.message);
      this.name = "RotaError";
      this.kind = said.kind;
      if (said.code !== undefined) this.code = said.code;
      if (said.hint !== undefined) this.hint = said.hint;
      this.retryable = said.retryable;
      if (at !== undefined) defineProperty(this, "stack", { value: at, configurable: true, writable: true });
    }
  }

  function told(operation, args) {
    const answer = tell(operation, args);
    if (has(answer, "error")) throw new RotaError(answer.error);
    return answer.value;
  }

  // The stack is that of the call: after the wait nothing of the script would be on it.
  function call(operation, ...args) {
    const at = new Error().stack;
    return waited(operation, args, at);
  }
  async function waited(operation, args, at) {
    const answer = await host(operation, args);
    if (has(answer, "error")) throw new RotaError(answer.error, at);
    return answer.value;
  }

  // What comes in batches. Left in the middle of a loop, it is closed.
  class Items {
    #opening; #next; #close; #state; #done = false;
    constructor(opening, next, close) {
      this.#opening = opening; this.#next = next; this.#close = close;
      // Whoever only makes it and never reads is told by the loop, not by an unhandled rejection.
      opening.catch(() => {});
    }
    // By hand instead of an async generator: a row costs one turn of the queue instead of three.
    [Symbol.asyncIterator]() {
      if (this.#done) throw new Error("it can be read once");
      this.#done = true;
      const opening = this.#opening, next = this.#next, close = this.#close;
      let handle, batch = [], place = 0, over = false;
      const more = async () => {
        if (over) return { value: undefined, done: true };
        try {
          if (handle === undefined) {
            const opened = await opening;
            handle = typeof opened === "object" ? opened.handle : opened;
          }
          const got = await waited(next, [handle], undefined);
          if (got === null) {
            over = true;
            return { value: undefined, done: true };
          }
          batch = got;
          place = 1;
          return { value: got[0], done: false };
        } catch (error) {
          over = true;
          throw error;
        }
      };
      return {
        next: () => place < batch.length ? resolved({ value: batch[place++], done: false }) : more(),
        async return(value) {
          if (!over) {
            over = true;
            batch = [];
            if (handle === undefined) {
              const opened = await opening;
              handle = typeof opened === "object" ? opened.handle : opened;
            }
            await host(close, [handle]);
          }
          return { value, done: true };
        },
      };
    }
    async columns() { return (await this.#opening).columns; }
    async all(most = 100000) {
      const list = [];
      for await (const item of this) {
        if (list.length === most) throw new Error(`more than ${most}: read them in a loop, or all(MOST)`);
        list.push(item);
      }
      return list;
    }
    async first() { for await (const item of this) return item; return undefined; }
    // The only one.
    async one() {
      const list = await this.all(2).catch((error) => { if (error instanceof RotaError) throw error; return [0, 0]; });
      if (list.length !== 1) throw new Error(list.length === 0 ? "nothing where one was expected" : "more than one where one was expected");
      return list[0];
    }
    // `await db.query(...)` is all of it.
    then(resolve, reject) { return this.all().then(resolve, reject); }
  }

  class Transaction {
    #handle;
    constructor(handle) { this.#handle = handle; }
    query(statement, values) { return new Items(call("db.transaction-query", this.#handle, statement, values), "db.next", "db.close"); }
    execute(statement, values) { return call("db.transaction-execute", this.#handle, statement, values); }
  }

  function database(slot) {
    return freeze({
      query: (statement, values) => new Items(call("db.query", slot, statement, values), "db.next", "db.close"),
      execute: (statement, values) => call("db.execute", slot, statement, values),
      notices: () => call("db.notices", slot),
      // Commits when the work ends well, and rolls back when it throws.
      async transaction(work, options = {}) {
        const handle = await call("db.begin", slot, options);
        let result;
        try {
          result = await work(freeze(new Transaction(handle)));
        } catch (error) {
          await host("db.rollback", [handle]);
          throw error;
        }
        await call("db.commit", handle);
        return result;
      },
    });
  }

  const cacheOf = (slot) => freeze({
    get: (key) => call("cache.get", slot, key),
    getBytes: (key) => call("cache.getBytes", slot, key),
    set: (key, value, options = {}) => call("cache.set", slot, key, value, options),
    ttl: (key) => call("cache.ttl", slot, key),
    expire: (key, seconds = null) => call("cache.expire", slot, key, seconds),
    unlink: (...names) => call("cache.unlink", slot, names.flat()),
    unlinkMatching: (pattern, options = {}) => call("cache.unlinkMatching", slot, pattern, options),
    scan: (pattern) => new Items(call("cache.scan", slot, pattern), "cache.next", "cache.close"),
    hashGet: (key, field) => call("cache.hashGet", slot, key, field),
    hashEntries: (key) => call("cache.hashEntries", slot, key),
    hashSet: (key, entries) => call("cache.hashSet", slot, key, entries),
    hashDelete: (key, ...fields) => call("cache.hashDelete", slot, key, fields.flat()),
    usage: (...names) => call("cache.usage", slot, names.flat()),
    keyspace: () => call("cache.keyspace", slot),
  });

  const bucketOf = (slot) => freeze({
    get: (name) => call("bucket.get", slot, name),
    getText: (name) => call("bucket.getText", slot, name),
    put: (name, data, options = {}) => call("bucket.put", slot, name, data, options),
    stat: (name) => call("bucket.stat", slot, name),
    list: (prefix = "") => new Items(call("bucket.list", slot, prefix), "bucket.next", "bucket.close"),
    delete: (name) => call("bucket.delete", slot, name),
  });

  const clusterOf = (slot) => freeze({
    namespace: () => call("cluster.namespace", slot),
    get: (kind, name, options = {}) => call("cluster.get", slot, kind, name, options),
    list: (kind, options = {}) => new Items(call("cluster.list", slot, kind, options), "cluster.next", "cluster.close"),
    create: (object) => call("cluster.create", slot, object),
    patch: (kind, name, patch, options = {}) => call("cluster.patch", slot, kind, name, patch, options),
    delete: (kind, name, options = {}) => call("cluster.delete", slot, kind, name, options),
    scale: (kind, name, replicas, options = {}) => call("cluster.scale", slot, kind, name, replicas, options),
    restart: (kind, name, options = {}) => call("cluster.restart", slot, kind, name, options),
    rollout: (kind, name, options = {}) => call("cluster.rollout", slot, kind, name, options),
    logs: (pod, options = {}) => call("cluster.logs", slot, pod, options),
    exec: (pod, command, options = {}) => call("cluster.exec", slot, pod, command, options),
  });

  const streamOf = (slot) => freeze({
    streams: () => call("stream.streams", slot),
    consumers: (of) => call("stream.consumers", slot, of),
  });

  // A handle for each slot that is declared, by its name; and under the usual names the first of each capability.
  const kinds = { sql: ["db", database], cache: ["cache", cacheOf], storage: ["bucket", bucketOf], kubernetes: ["cluster", clusterOf], jetstream: ["stream", streamOf] };
  const slots = {}, usual = {};
  for (const { name, capability, bound } of facts.slots) {
    if (!(capability in kinds)) continue;
    const [short, make] = kinds[capability];
    slots[name] = freeze({ ...make(name), isBound: bound });
    usual[short] ??= slots[name];
  }

  // As a person reads it: texts as they are, everything else like JSON, with BigInts and dates.
  function shown(value, depth = 0) {
    switch (typeof value) {
      case "string": return depth === 0 ? value : stringify(value);
      case "bigint": return `${value}`;
      case "function": return `[function ${value.name || "without a name"}]`;
      case "symbol": return value.toString();
      case "object": break;
      default: return Text(value);
    }
    if (value === null) return "null";
    if (depth > 6) return "...";
    if (value instanceof Error) return depth === 0 && value.stack ? `${value.name}: ${value.message}` : `${value.name}: ${value.message}`;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof Uint8Array) {
      const hex = Array.from(value.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
      return `\\x${hex}${value.length > 32 ? `... (${value.length} bytes)` : ""}`;
    }
    if (value instanceof Map) return `Map ${shown(fromEntries(value), depth + 1)}`;
    if (value instanceof Set) return `Set ${shown([...value], depth + 1)}`;
    if (isArray(value)) {
      const items = value.slice(0, 1000).map((item) => shown(item, depth + 1));
      if (value.length > 1000) items.push(`... ${value.length - 1000} more`);
      return `[${items.join(", ")}]`;
    }
    const members = keys(value).map((name) => `${/^[A-Za-z_$][\w$]*$/.test(name) ? name : stringify(name)}: ${shown(value[name], depth + 1)}`);
    return members.length === 0 ? "{}" : `{ ${members.join(", ")} }`;
  }
  const line = (values) => values.map((value) => shown(value)).join(" ");
  const print = (...values) => { for (const one of line(values).split("\n")) told("run.print", [one]); };

  // An array of objects (a row each), of arrays, or of values; also what a query gives: `table(await db.query(...))`.
  function table(rows, options = {}) {
    const list = [...rows];
    const title = typeof options === "string" ? options : options.title ?? "";
    const first = list[0];
    let columns = options.columns;
    if (columns === undefined) {
      if (first !== null && typeof first === "object" && !isArray(first) && !(first instanceof Date)) {
        columns = [...new Set(list.flatMap((row) => keys(row ?? {})))];
      } else {
        columns = isArray(first) ? first.map((_, place) => `${place + 1}`) : ["value"];
      }
    }
    const one = (value) => (value === undefined || value === null || ["number", "bigint", "boolean"].includes(typeof value) || value instanceof Date) ? value ?? null : shown(value);
    const cells = list.map((row) => isArray(row) ? row.map(one)
      : row !== null && typeof row === "object" && !(row instanceof Date) ? columns.map((name) => one(row[name])) : [one(row)]);
    told("run.table", [title, columns.map(Text), cells]);
  }

  const finding = (severity) => (title, detail) => { told("run.finding", [severity, Text(title), detail === undefined ? "" : shown(detail)]); };
  const report = freeze({
    ok: finding("ok"), warning: finding("warning"), critical: finding("critical"), unknown: finding("unknown"),
    summary: (text) => { told("run.summary", [Text(text)]); },
    data: (data) => { told("run.data", [data]); },
    metric: (name, value, labels = {}) => { told("run.metric", [name, Number(value), labels]); },
  });

  // Done once, whatever is killed or retried meanwhile: a later attempt gets the result instead.
  async function step(name, work, options = {}) {
    const begun = await call("run.step", name, options.repeatable === true);
    if ("done" in begun) return begun.done;
    const result = await work();
    await call("run.complete", begun.handle, result === undefined ? null : result);
    return result;
  }

  // What is to be undone should the run not succeed. The function is kept as its text, and run by itself: it sees its state and what
  // every script sees, none of the script's own variables.
  async function compensate(name, undo, state = null) {
    if (typeof undo !== "function") throw new TypeError("compensate(name, async (state) => { ... }, state)");
    const handle = await call("run.compensate", name, Function.prototype.toString.call(undo), state);
    return freeze({ dismiss: () => call("run.dismiss", handle) });
  }

  const console = freeze({
    log: print, info: print,
    debug: (...values) => { told("run.log", ["debug", line(values)]); },
    warn: (...values) => { told("run.log", ["warn", line(values)]); },
    error: (...values) => { told("run.log", ["error", line(values)]); },
  });

  const all = {
    ...usual, ...(slots.standby ? { standby: slots.standby } : {}), slots: freeze(slots), print, table, report, step, compensate, console, RotaError,
    sleep: (seconds) => call("run.sleep", seconds),
    artifact: (name, data, mediaType) => call("run.artifact", name, data, mediaType),
    progress: (done, total, unit = "", note = "") => { told("run.progress", [Number(done), total === undefined ? null : Number(total), unit, note]); },
    isPlan: facts.isPlan,
    runId: facts.runId,
    args: freeze(words),
  };
  for (const name of keys(all)) defineProperty(globalThis, name, { value: all[name], writable: false, configurable: false, enumerable: true });
  return { shown, isItems: (value) => value instanceof Items, print, table };
})
