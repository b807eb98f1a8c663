// What a script finds: db, cache, bucket, cluster, stream, report, step ... Evaluated before the script, and before there is one: what is made
// here is the same for all runs, and `begin`, which it gives, makes the rest of what one run is given. It keeps that for itself (`host` waits
// for the host, `tell` does not), and everything that a script could change after.
(function () {
  "use strict";
  let host, tell;
  const { freeze, defineProperty, keys, fromEntries } = Object;
  const { isArray } = Array;
  const stringify = JSON.stringify;
  const Text = String;
  const has = Function.prototype.call.bind(Object.prototype.hasOwnProperty);
  // By it a script would get at the functions in here, by way of the calls on a stack.
  defineProperty(Error, "prepareStackTrace", { value: undefined, writable: false, configurable: false });
  const resolved = Promise.resolve.bind(Promise);

  // An error of the host: `kind` (denied, not-found, conflict, timed-out, unavailable, failed, quota, invalid-argument, cancelled), and `code`
  // where the target answered with one (an SQLSTATE, an HTTP status). Whether one is the host's is told by what only this class can put into it.
  const mine = Symbol("the host's");
  let saidBy;
  class RotaError extends Error {
    #said;
    static {
      saidBy = (value) => typeof value === "object" && value !== null && #said in value ? value.#said : undefined;
    }
    constructor(said, at, by) {
      if (by !== mine) throw new TypeError("only the host makes a RotaError: throw an Error");
      super(said.message);
      this.#said = said;
      this.name = "RotaError";
      this.kind = said.kind;
      if (said.code !== undefined) this.code = said.code;
      if (said.hint !== undefined) this.hint = said.hint;
      this.retryable = said.retryable;
      if (at !== undefined) defineProperty(this, "stack", { value: at, configurable: true, writable: true });
    }
  }
  freeze(RotaError);

  function told(operation, args) {
    const answer = tell(operation, args);
    if (has(answer, "error")) throw new RotaError(answer.error, undefined, mine);
    return answer.value;
  }

  // The stack is that of the call: after the wait nothing of the script would be on it.
  function call(operation, ...args) {
    const at = new Error().stack;
    return waited(operation, args, at);
  }
  async function waited(operation, args, at) {
    const answer = await host(operation, args);
    if (has(answer, "error")) throw new RotaError(answer.error, at, mine);
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
  // By its constructor a script would make some of its own, with other calls in them.
  const sealed = (made) => { delete made.prototype.constructor; freeze(made.prototype); };
  sealed(Items);

  // Bytes on their way. They stay in the host, and go from call to call by their number; they come in here only where they are read here.
  // `feed` is there where the script writes them itself: it begins when somebody reads, and keeps what it broke off with.
  let take, isBytes;
  class Bytes {
    #opening; #taken = false;
    static {
      isBytes = (value) => typeof value === "object" && value !== null && #opening in value;
      take = (bytes) => {
        if (bytes.#taken) throw new Error("a stream can be read once, and this one was");
        bytes.#taken = true;
        return bytes.#opening;
      };
    }
    constructor(opening) { this.#opening = opening; }
    [Symbol.asyncIterator]() {
      const opening = take(this);
      const at = new Error().stack;
      let over = false, fed;
      return {
        next: async () => {
          if (over) return { value: undefined, done: true };
          try {
            const { handle, feed } = await opening;
            fed ??= feed?.();
            const chunk = await waited("bytes.next", [handle], at);
            if (chunk !== null) return { value: chunk, done: false };
            over = true;
            return { value: undefined, done: true };
          } catch (error) {
            over = true;
            throw broken(fed, error);
          }
        },
        return: async (value) => {
          if (!over) {
            over = true;
            await host("bytes.close", [(await opening).handle]);
          }
          return { value, done: true };
        },
      };
    }
    // Line by line, as texts without what ends them.
    async *lines() {
      const at = new Error().stack;
      const { handle, feed } = await take(this);
      const fed = feed?.();
      let over = false;
      try {
        for (;;) {
          const lines = await waited("bytes.lines", [handle], at);
          if (lines === null) {
            over = true;
            return;
          }
          for (let place = 0; place < lines.length; place++) yield lines[place];
        }
      } catch (error) {
        over = true;
        throw broken(fed, error);
      } finally {
        if (!over) await host("bytes.close", [handle]);
      }
    }
    all(most) { return into(this, "bytes.whole", (handle) => [handle, most]); }
    text(most) { return into(this, "bytes.text", (handle) => [handle, most, false]); }
    drain() { return into(this, "bytes.drain", (handle) => [handle]); }
    // What passed this filter, once the stream has been read to its end.
    async passed() {
      const at = new Error().stack;
      const { figure } = await this.#opening;
      if (figure === undefined) throw new Error("only a filter (bytes.sha256, bytes.count, bytes.compress ...) says what passed");
      return waited("bytes.passed", [figure], at);
    }
    compress(codec, level) { return filters.compress(this, codec, level); }
    decompress(codec) { return filters.decompress(this, codec); }
    sha256() { return filters.sha256(this); }
    count() { return filters.count(this); }
    encrypt(recipients) { return filters.encrypt(this, recipients); }
    decrypt(slot) { return filters.decrypt(this, slot); }
    limit(bytesPerSecond) { return filters.limit(this, bytesPerSecond); }
    // `await bucket.get(...)` is all of it.
    then(resolve, reject) { return this.all().then(resolve, reject); }
  }
  sealed(Bytes);

  // What a stream of the script's own broke off with says more than that it did.
  const broken = (fed, error) => (fed?.broke ? fed.error : error);

  // Have a call read a stream to its end.
  function into(bytes, operation, args) {
    const at = new Error().stack;
    return (async () => {
      const { handle, feed } = await take(bytes);
      const fed = feed?.();
      try {
        return await waited(operation, args(handle), at);
      } catch (error) {
        throw broken(fed, error);
      }
    })();
  }

  const opened = async (opening) => ({ handle: await opening });

  // A stream of anything: one of the host's as it is, text, bytes, or pieces of those as they come.
  function streamOf(data) {
    if (isBytes(data)) return data;
    if (typeof data === "string" || data instanceof Uint8Array) return new Bytes(opened(call("bytes.from", data)));
    const each = data?.[Symbol.asyncIterator] ?? data?.[Symbol.iterator];
    if (typeof each !== "function") {
      throw new TypeError("a stream is made of text, of a Uint8Array, or of what gives those piece by piece (an async generator)");
    }
    return new Bytes((async () => {
      const { handle, writer } = await call("bytes.open");
      return { handle, feed: () => written(data, writer) };
    })());
  }

  // At the speed of whoever reads.
  function written(pieces, writer) {
    const state = { broke: false, error: undefined };
    (async () => {
      try {
        for await (const piece of pieces) {
          if (typeof piece !== "string" && !(piece instanceof Uint8Array)) {
            throw new TypeError(`a piece of a stream is a text or a Uint8Array, and one was ${piece === null ? "null" : typeof piece}`);
          }
          if (!await waited("bytes.write", [writer, piece])) return;
        }
        await waited("bytes.end", [writer]);
      } catch (error) {
        state.broke = true;
        state.error = error;
        await host("bytes.fail", [writer]);
      }
    })();
    return state;
  }

  // A filter of the host's: `more` are its arguments after the stream.
  function filtered(operation, data, ...more) {
    const at = new Error().stack;
    const opening = take(streamOf(data));
    return new Bytes((async () => {
      const { handle, feed } = await opening;
      return { ...await waited(operation, [handle, ...more], at), feed };
    })());
  }
  const named = (slot) => (typeof slot === "object" && slot !== null && has(slot, "slot") ? slot.slot : slot);

  const filters = freeze({
    from: (data) => streamOf(data),
    compress: (data, codec = "zstd", level = undefined) => filtered("bytes.compress", data, codec, level),
    decompress: (data, codec = "zstd") => filtered("bytes.decompress", data, codec),
    sha256: (data) => filtered("bytes.sha256", data),
    count: (data) => filtered("bytes.count", data),
    encrypt: (data, recipients) => filtered("bytes.encrypt", data, recipients),
    decrypt: (data, slot = usual.key) => filtered("bytes.decrypt", data, named(slot)),
    limit: (data, bytesPerSecond) => filtered("bytes.limit", data, bytesPerSecond),
    drain: (data) => streamOf(data).drain(),
  });

  // A program that runs.
  class Child {
    #started; #stdout;
    constructor(started) { this.#started = started; }
    get stdout() {
      const at = new Error().stack;
      return this.#stdout ??= new Bytes((async () => ({ handle: await waited("tool.stdout", [await this.#started], at) }))());
    }
    // Its end, which must be a good one; `ended` takes any.
    wait() { return this.#asked("tool.wait"); }
    ended() { return this.#asked("tool.ended"); }
    kill() { return this.#asked("tool.kill"); }
    async #asked(operation) {
      const at = new Error().stack;
      return waited(operation, [await this.#started], at);
    }
  }
  sealed(Child);

  // Start one: `args` makes the call's arguments of the number of its input, if it has any.
  function started(operation, input, args) {
    const at = new Error().stack;
    const opening = input === undefined || input === null ? undefined : take(streamOf(input));
    return new Child((async () => {
      const { handle, feed } = opening === undefined ? {} : await opening;
      feed?.();
      return waited(operation, args(handle), at);
    })());
  }

  class Transaction {
    #handle;
    constructor(handle) { this.#handle = handle; }
    query(statement, values) { return new Items(call("db.transaction-query", this.#handle, statement, values), "db.next", "db.close"); }
    execute(statement, values) { return call("db.transaction-execute", this.#handle, statement, values); }
  }

  // What both a slot and a session of its own have: `slot` is the name of the one, or the number of the other.
  function statementsOf(slot) {
    return {
      query: (statement, values) => new Items(call("db.query", slot, statement, values), "db.next", "db.close"),
      execute: (statement, values) => call("db.execute", slot, statement, values),
      copyOut: (statement) => new Bytes(opened(call("db.copy-out", slot, statement))),
      copyIn: (statement, data) => into(streamOf(data), "db.copy-in", (handle) => [slot, statement, handle]),
      server: () => call("db.server", slot),
      cancelBackend: (pid, started) => call("db.signal", slot, pid, started, false),
      terminateBackend: (pid, started) => call("db.signal", slot, pid, started, true),
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
      promote: ({ seconds = 60 } = {}) => call("db.promote", slot, seconds),
      reloadConfiguration: () => call("db.reload-configuration", slot),
    };
  }

  // One session, so that what is set in it holds for what follows. What is left open is closed at the script's end.
  const sessionOf = (handle) => freeze({
    ...statementsOf(handle),
    backendPid: () => call("db.backend-pid", handle),
    configure: (name, value) => call("db.configure", handle, name, value),
    close: () => call("db.close-session", handle),
  });

  function database(slot) {
    return freeze({
      ...statementsOf(slot),
      async openDatabase(name) {
        if (typeof name !== "string") throw new TypeError("openDatabase(name): the name of a database is a text");
        return sessionOf(await call("db.open-session", slot, name));
      },
      // Closed when the work has ended, however it did.
      async session(work, { database: name } = {}) {
        const handle = await call("db.open-session", slot, name);
        try {
          return await work(sessionOf(handle));
        } finally {
          await host("db.close-session", [handle]);
        }
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
    ping: () => call("cache.ping", slot),
    slowlog: (most = 100) => call("cache.slowlog", slot, most),
    info: () => call("cache.info", slot),
    monitor: (options = {}) => new Items(call("cache.monitor", slot, options), "cache.seen", "cache.unwatch"),
  });

  const bucketOf = (slot) => freeze({
    get: (name, options = {}) => new Bytes(opened(call("bucket.get", slot, name, options))),
    getText: (name) => call("bucket.getText", slot, name),
    put: (name, data, options = {}) => typeof data === "string" || data instanceof Uint8Array
      ? call("bucket.put", slot, name, data, options)
      : into(streamOf(data), "bucket.put-stream", (handle) => [slot, name, handle, options]),
    stat: (name) => call("bucket.stat", slot, name),
    list: (prefix = "") => new Items(call("bucket.list", slot, prefix), "bucket.next", "bucket.close"),
    delete: (name) => call("bucket.delete", slot, name),
  });

  // A lock of the cluster's. Left, it is given back at the script's end.
  class Lock {
    #handle; #released = false;
    constructor(handle) { this.#handle = handle; }
    get isReleased() { return this.#released; }
    check() { return call("cluster.check", this.#handle); }
    release() {
      this.#released = true;
      return call("cluster.release", this.#handle);
    }
  }
  sealed(Lock);

  const clusterOf = (slot) => freeze({
    namespace: () => call("cluster.namespace", slot),
    get: (kind, name, options = {}) => call("cluster.get", slot, kind, name, options),
    list: (kind, options = {}) => new Items(call("cluster.list", slot, kind, options), "cluster.next", "cluster.close"),
    watch: (kind, options = {}) => new Items(call("cluster.watch", slot, kind, options), "cluster.changes", "cluster.unwatch"),
    require: (...needs) => call("cluster.require", slot, needs.flat()),
    // `lock(name, options)` is the lock; `lock(name, work, options)` gives it back when the work has ended, however it did.
    async lock(name, work, options = {}) {
      if (typeof work !== "function") return freeze(new Lock(await call("cluster.lock", slot, name, work ?? options)));
      const handle = await call("cluster.lock", slot, name, options);
      const lock = freeze(new Lock(handle));
      let result;
      try {
        result = await work(lock);
      } catch (error) {
        if (!lock.isReleased) await host("cluster.release", [handle]);
        throw error;
      }
      if (!lock.isReleased) await lock.release();
      return result;
    },
    create: (object) => call("cluster.create", slot, object),
    patch: (kind, name, patch, options = {}) => call("cluster.patch", slot, kind, name, patch, options),
    delete: (kind, name, options = {}) => call("cluster.delete", slot, kind, name, options),
    scale: (kind, name, replicas, options = {}) => call("cluster.scale", slot, kind, name, replicas, options),
    replicas: (kind, name, options = {}) => call("cluster.get-scale", slot, kind, name, options),
    restart: (kind, name, options = {}) => call("cluster.restart", slot, kind, name, options),
    rollout: (kind, name, options = {}) => call("cluster.rollout", slot, kind, name, options),
    version: () => call("cluster.version", slot),
    events: (kind, name, options = {}) => call("cluster.events", slot, kind, name, options),
    waitFor: (kind, name, condition, options = {}) => call("cluster.wait", slot, kind, name, condition, options),
    // The end of a log, and what a command wrote, as text; the other two are for more than fits in here.
    logs: (pod, options = {}) => said(logOf(slot, pod, { tail: 1000, ...options })),
    logStream: (pod, options = {}) => logOf(slot, pod, options),
    exec: (pod, command, options = {}) => said(commandIn(slot, pod, command, options).stdout),
    spawn: (pod, command, options = {}) => commandIn(slot, pod, command, options),
    runJob: (job) => started("cluster.run-job", undefined, () => [slot, job]),
  });
  const logOf = (slot, pod, options) => new Bytes(opened(call("cluster.log-stream", slot, pod, options)));
  const commandIn = (slot, pod, command, { stdin, ...options }) =>
    started("cluster.spawn", stdin, (input) => [slot, pod, command, options, input]);
  const said = (bytes) => into(bytes, "bytes.text", (handle) => [handle, 8 << 20, true]);

  const toolOf = (slot) => freeze({
    info: () => call("tool.info", slot),
    run: (words = [], options = {}) => {
      const { stdin, connection, database: name } = options;
      return started("tool.spawn", stdin, (input) => [slot, words, { connection: named(connection), database: name }, input]);
    },
  });
  const keyOf = () => ({});

  const jetstreamOf = (slot) => freeze({
    streams: () => call("stream.streams", slot),
    consumers: (of) => call("stream.consumers", slot, of),
    server: () => call("stream.server", slot),
    account: () => call("stream.account", slot),
    monitoring: () => call("stream.monitoring", slot),
    storedAt: (of, sequence, subject = ">") => call("stream.stored-at", slot, of, sequence, subject),
  });

  // A handle for each slot that is declared, by its name; and under the usual names the first of each capability.
  const kinds = { sql: ["db", database], cache: ["cache", cacheOf], storage: ["bucket", bucketOf], kubernetes: ["cluster", clusterOf], jetstream: ["stream", jetstreamOf], tool: ["tool", toolOf], key: ["key", keyOf] };
  const slots = {}, usual = {}, programs = [];
  function bind(declared) {
    for (const { name, capability, bound } of declared) {
      if (!(capability in kinds)) continue;
      const [short, make] = kinds[capability];
      slots[name] = freeze({ ...make(name), slot: name, isBound: bound });
      usual[short] ??= slots[name];
      if (capability === "tool") programs.push(name);
    }
    freeze(slots);
  }
  // A declared program, by the name of its slot.
  const tool = (name = usual.tool?.slot) => {
    if (programs.includes(name)) return slots[name];
    throw new Error(`there is no slot ${stringify(name)} for a program; there ${programs.length === 0 ? "is none at all" : `are ${programs.join(", ")}`}`);
  };

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
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof Uint8Array) {
      const hex = Array.from(value.subarray(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
      return `\\x${hex}${value.length > 32 ? `... (${value.length} bytes)` : ""}`;
    }
    if (value instanceof Map) return `Map ${shown(fromEntries(value), depth + 1)}`;
    if (value instanceof Set) return `Set ${shown([...value], depth + 1)}`;
    if (isBytes(value)) return "[a stream of bytes: await it, or read it in a loop]";
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
    if (typeof rows === "string") throw new TypeError("table(rows, title): the rows come first, then the title");
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

  // What a script never looked at is told at its end. (What an undo is given may be of any kind.)
  function watched(words) {
    if (typeof words !== "object" || words === null || isArray(words)) return freeze(words);
    const args = {};
    for (const name of keys(words)) {
      let used = false;
      const get = () => {
        if (!used) {
          used = true;
          told("run.used", [name]);
        }
        return words[name];
      };
      defineProperty(args, name, { get, enumerable: true, configurable: false });
    }
    return freeze(args);
  }

  const find = (name, value, configurable) => defineProperty(globalThis, name, { value, writable: false, configurable, enumerable: true });
  const every = {
    print, table, report, step, compensate, console, RotaError,
    sleep: (seconds) => call("run.sleep", seconds),
    artifact: (name, data, mediaType) => call("run.artifact", name, data, mediaType),
    progress: (done, total, unit = "", note = "") => { told("run.progress", [Number(done), total === undefined ? null : Number(total), unit, note]); },
  };
  for (const name of keys(every)) find(name, every[name], false);
  // Plain words that a script may well have variables of.
  find("bytes", filters, true);
  find("tool", tool, true);
  const helpers = freeze({ shown, said: saidBy, isItems: (value) => value instanceof Items, isWhole: (value) => value instanceof Items || isBytes(value), print, table });

  return function begin(waits, tells, words, facts) {
    host = waits;
    tell = tells;
    bind(facts.slots);
    const { tool: _, key: __, ...handles } = usual;
    const all = {
      ...handles, ...(slots.standby ? { standby: slots.standby } : {}),
      slots,
      isPlan: facts.isPlan,
      runId: facts.runId,
      args: watched(words),
    };
    for (const name of keys(all)) find(name, all[name], false);
    return helpers;
  };
})()
