// What a script of `rota exec`, and a procedure in JavaScript, find. Written by `rota exec --types`.

/** What can stand for $1 in a statement. A BigInt has at most 64 bits; other objects are bound as JSON. */
type SqlValue = null | boolean | number | bigint | string | Uint8Array | Date | SqlValue[] | { [name: string]: unknown };

/** A row: bigint columns are BigInts, numeric is text, timestamptz is a Date, bytea a Uint8Array, json is parsed. */
type Row = { [column: string]: any };

/** What comes piece by piece: `for await (const item of items)`. Left in the middle, it is closed. `await items` is all of it. */
interface Items<T> extends AsyncIterable<T>, PromiseLike<T[]> {
  /** All, at most so many (100,000). */
  all(most?: number): Promise<T[]>;
  /** The first, or undefined. */
  first(): Promise<T | undefined>;
  /** The only one; an error where there is none or more than one. */
  one(): Promise<T>;
}

interface Rows extends Items<Row> {
  columns(): Promise<{ name: string; type: string }[]>;
}

/** What a stream is made of: a stream, a text, bytes, or pieces of those as they come (an async generator). */
type BytesSource = Bytes | string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;
/** A compression: zstd with level 1 to 19 (3), gzip with 1 to 9 (6). */
type Codec = "zstd" | "gzip";
interface Passed { in: number; out: number; sha256?: string }

/**
 * Bytes on their way, to be read once. Handed to a call (`bucket.put`, `db.copyIn`, the `stdin` of a program, a filter) they go there within
 * the host, however many they are, and the call fails where they break off. Read here, a stream that broke off throws at its end.
 * `await stream` is all of it, at most 16 MiB.
 */
interface Bytes extends AsyncIterable<Uint8Array>, PromiseLike<Uint8Array> {
  /** All of it, at most so many bytes (16 MiB). */
  all(most?: number): Promise<Uint8Array>;
  /** All of it as text, which it must be (UTF-8), at most so many bytes (16 MiB). */
  text(most?: number): Promise<string>;
  /** Line by line, without what ends them; a line has at most 1 MiB. */
  lines(): AsyncIterable<string>;
  /** Read it to its end in the host, and throw it away: whether it is whole. */
  drain(): Promise<Passed>;
  /** Of a filter: what passed it. Known once the stream has been read to its end; zeros in a plan that did not read it. */
  passed(): Promise<Passed>;
  compress(codec?: Codec, level?: number): Bytes;
  decompress(codec?: Codec): Bytes;
  sha256(): Bytes;
  count(): Bytes;
  encrypt(recipients: string | string[]): Bytes;
  decrypt(slot?: Slot | string): Bytes;
  limit(bytesPerSecond: number): Bytes;
}

/** A program that was started. What is not waited for is waited for at the script's end. */
interface Child {
  /** What it writes, once. It breaks off where the program does not end with 0. In a plan it is empty. */
  readonly stdout: Bytes;
  /** Its end; throws where that is not 0. An output that nobody took is thrown away. */
  wait(): Promise<Ended>;
  /** The same, whatever its end is. */
  ended(): Promise<Ended>;
  kill(): Promise<void>;
}
/** `planned`: it was not started, because the run is a plan. `stderr`: the end of it, at most 64 KiB. */
interface Ended { code: number | null; signal: number | null; planned: boolean; stderr: string }

interface Tool extends Slot {
  info(): Promise<{ version: string; major: number }>;
  /** Start it, with arguments that its profile allows. The host gives it the connection of a database slot; nothing of that comes in here. */
  run(words?: string[], options?: { connection?: Slot | string; database?: string; stdin?: BytesSource }): Child;
}

interface Statements {
  /** Read rows. Only what reads is let through. */
  query(statement: string, values?: SqlValue[]): Rows;
  /** Run one statement; the rows that it touched. An effect: a plan lists it, and answers 0. */
  execute(statement: string, values?: SqlValue[]): Promise<number>;
}

interface Slot {
  /** Its name. */
  readonly slot: string;
  /** Whether a binding is in the slot. */
  readonly isBound: boolean;
}

/** What a slot and a session of its own have. */
interface Sql extends Statements {
  /** Commits when the work ends well, and rolls back when it throws. */
  transaction<T>(
    work: (tx: Statements) => Promise<T>,
    options?: { isolation?: "read committed" | "repeatable read" | "serializable"; readOnly?: boolean; lockTimeout?: number },
  ): Promise<T>;
  /** What `COPY ... TO STDOUT` sends. Needs copy-out. */
  copyOut(statement: string): Bytes;
  /** Send to `COPY ... FROM STDIN`; the rows that were stored. Needs copy-in. An effect. */
  copyIn(statement: string, data: BytesSource): Promise<number>;
  server(): Promise<{ version: string; versionNumber: number; inRecovery: boolean; systemIdentifier: string | null; database: string; role: string }>;
  /**
   * Cancel the statement of another backend, or end its session; false: there is none any more. `started` is its start in microseconds:
   * `(extract(epoch from backend_start) * 1000000)::bigint`. Needs signal. An effect.
   */
  cancelBackend(pid: number, started: bigint): Promise<boolean>;
  terminateBackend(pid: number, started: bigint): Promise<boolean>;
  /** What the server said besides its answers. */
  notices(): Promise<string[]>;
  /** Promote a standby, and wait so long (60 seconds) for the end of its recovery; true: it left it. Needs promote. An effect. */
  promote(options?: { seconds?: number }): Promise<boolean>;
  /** Have the server read its configuration files again. Needs alter-system, and a binding that names a parameter. An effect. */
  reloadConfiguration(): Promise<boolean>;
}

interface Database extends Sql, Slot {
  /** One session for all of the work, also in another database of the server; closed when the work has ended, however it did. */
  session<T>(work: (session: DatabaseSession) => Promise<T> | T, options?: { database?: string }): Promise<T>;
  /** A session in another database of the same server, under the same grants. Left open, it is closed at the script's end. */
  openDatabase(name: string): Promise<DatabaseSession>;
}

/** One session: one call at a time. Of those that are open or busy a script has four at most. */
interface DatabaseSession extends Sql {
  backendPid(): Promise<number>;
  /** Set a parameter for what follows in this session: one of those that the host lets through (`work_mem`, `statement_timeout`, `search_path` ...). */
  configure(name: string, value: string | number | bigint | boolean): Promise<void>;
  close(): Promise<void>;
}

type Key = string | Uint8Array;
/** A glob, or keys that begin with exactly this. */
type Pattern = string | { prefix: Key };

interface Cache extends Slot {
  /** Text where it is UTF-8, otherwise bytes; null where there is no such key. */
  get(key: Key): Promise<string | Uint8Array | null>;
  getBytes(key: Key): Promise<Uint8Array | null>;
  set(key: Key, value: Key | number | bigint, options?: { seconds?: number; if?: "absent" | "present" }): Promise<boolean>;
  /** Seconds; null: it does not expire; undefined: there is no such key. */
  ttl(key: Key): Promise<number | null | undefined>;
  expire(key: Key, seconds?: number | null): Promise<boolean>;
  unlink(...keys: (Key | Key[])[]): Promise<number>;
  unlinkMatching(
    pattern: Pattern,
    options: { most: number; protect?: Key[] },
  ): Promise<{ matched: number; protected: number; unlinked: number; vanished: number }>;
  scan(pattern: Pattern): Items<string | Uint8Array>;
  hashGet(key: Key, field: Key): Promise<string | Uint8Array | null>;
  hashEntries(key: Key): Promise<[string | Uint8Array, string | Uint8Array][]>;
  hashSet(key: Key, entries: { [field: string]: Key | number | bigint }): Promise<number>;
  hashDelete(key: Key, ...fields: (Key | Key[])[]): Promise<number>;
  usage(...keys: (Key | Key[])[]): Promise<({ kind: string; bytes: number | null; length: number | null; seconds: number | null } | null)[]>;
  keyspace(): Promise<{ database: number; keys: number; expiring: number }[]>;
  /** What every node says of itself; null is what it does not say. */
  info(): Promise<CacheNode[]>;
  /**
   * Watch every command, for so many seconds (10, at most 60) and commands a node (1,000, at most 100,000): names and sizes, nothing that they held.
   * It costs the server up to half of what it can do. Needs debug. An effect: a plan watches nothing.
   */
  monitor(options?: { seconds?: number; most?: number }): Items<{
    node: number; at: Date; database: number; client: number; command: string; arguments: number; keyPrefix: string | null;
  }>;
  /** Whether every node answers commands, and how fast. */
  ping(): Promise<{ node: number; state: "ready" | "loading" | "stale" | "busy"; microseconds: number }[]>;
  /** Slow commands, the newest first, at most so many a node (100): their names and sizes, nothing that they held. */
  slowlog(most?: number): Promise<{
    node: number; id: number; at: Date; microseconds: number; command: string; arguments: number; keyPrefix: string | null; client: string | null;
  }[]>;
}

type Known<T> = { [name in keyof T]: T[name] | null };
interface CacheNode {
  node: number; product: string; version: string; uptimeSeconds: number | null;
  clients: Known<{ connected: number; blocked: number; maximum: number; rejected: number }>;
  memory: Known<{ used: number; peak: number; resident: number; limit: number; policy: string }>;
  traffic: Known<{ commands: number; hits: number; misses: number; evicted: number; expired: number }>;
  replication: Known<{ isReplica: boolean; linkUp: boolean; syncing: boolean; replicas: number; lag: number }>;
  persistence: Known<{ loading: boolean; snapshotOk: boolean; snapshotAt: Date; unsavedChanges: number; logOk: boolean }>;
  databases: { database: number; keys: number; expiring: number }[];
}

interface StoredObject { name: string; size: number; modified: Date | null; etag: string | null }

interface Bucket extends Slot {
  /** Its bytes as a stream, or a part of them; `await` gives all, at most 16 MiB. */
  get(name: string, options?: { offset?: number; length?: number }): Bytes;
  getText(name: string): Promise<string>;
  /** Whole or not at all. `size` is an estimate for the plan, `sha256` what a stream must have. An effect. */
  put(
    name: string, data: BytesSource,
    options?: { if?: "absent"; mediaType?: string; size?: number; sha256?: string },
  ): Promise<{ size: number; sha256: string }>;
  stat(name: string): Promise<StoredObject | null>;
  list(prefix?: string): Items<StoredObject>;
  delete(name: string): Promise<void>;
}

/** `Deployment`, or `example.org/v1/Widget`. */
type Kind = string;
type KubernetesObject = { apiVersion?: string; kind?: string; metadata?: { [name: string]: any }; [name: string]: any };

interface Cluster extends Slot {
  namespace(): Promise<string>;
  get(kind: Kind, name: string, options?: { namespace?: string }): Promise<KubernetesObject | null>;
  list(kind: Kind, options?: { labels?: string; fields?: string; namespace?: string; allNamespaces?: boolean }): Items<KubernetesObject>;
  /**
   * What changes, for so many seconds (60), from a version on (now). The last is a bookmark, whose version is the one from which a later watch
   * misses nothing; a `conflict` says that the cluster no longer remembers that far back: list again.
   */
  watch(
    kind: Kind,
    options?: { labels?: string; fields?: string; namespace?: string; allNamespaces?: boolean; from?: string; seconds?: number },
  ): Items<{ change: "added" | "modified" | "deleted" | "bookmark"; object: KubernetesObject | null; version: string | null }>;
  /** Ask beforehand whether all of this will be let through; the error names everything that is missing. */
  require(...needs: (Need | Need[])[]): Promise<void>;
  /**
   * Take a lock, a Lease that is renewed while it is held, and that others may take so many seconds (30) after the host is gone. Held by another run
   * it is a `conflict` that names who. Given back when the work has ended, however it did. Needs write. An effect.
   */
  lock<T>(name: string, work: (lock: Lock) => Promise<T> | T, options?: { seconds?: number; namespace?: string }): Promise<T>;
  /** The same without work: given back by `release`, or at the script's end. */
  lock(name: string, options?: { seconds?: number; namespace?: string }): Promise<Lock>;
  create(object: KubernetesObject): Promise<KubernetesObject>;
  patch(
    kind: Kind, name: string, patch: unknown,
    options?: { type?: "merge" | "strategic" | "apply" | "force-apply" | "json"; namespace?: string },
  ): Promise<KubernetesObject>;
  delete(kind: Kind, name: string, options?: { namespace?: string; uid?: string; resourceVersion?: string }): Promise<void>;
  /** The replicas that were wanted before. */
  scale(kind: Kind, name: string, replicas: number, options?: { expected?: number; namespace?: string }): Promise<number>;
  /** How many replicas there are, and how many are wanted. */
  replicas(kind: Kind, name: string, options?: { namespace?: string }): Promise<{ wanted: number; current: number; selector: string | null }>;
  restart(kind: Kind, name: string, options?: { namespace?: string }): Promise<void>;
  rollout(kind: Kind, name: string, options?: { namespace?: string }): Promise<{ complete: boolean; failed: boolean; wanted: number; ready: number; note: string }>;
  version(): Promise<string>;
  events(kind: Kind, name: string, options?: { namespace?: string }): Promise<{ level: string; reason: string; message: string; count: number; lastSeen: Date | null }[]>;
  /** Wait until something holds of an object, 60 seconds at most; null when it is gone. In a plan it is looked at once. */
  waitFor(
    kind: Kind, name: string,
    condition: "exists" | "gone" | "rolled-out" | { status: [string, string] } | { field: [string, unknown] },
    options?: { seconds?: number; namespace?: string },
  ): Promise<KubernetesObject | null>;
  /** The end of a log: 1,000 lines where `tail` does not say, at most 8 MiB. */
  logs(pod: string, options?: LogOptions): Promise<string>;
  /** All of a log; with `follow` as it grows. */
  logStream(pod: string, options?: LogOptions & { follow?: boolean }): Bytes;
  /** What the command wrote; an error where it did not end with 0. An effect. */
  exec(pod: string, command: string[], options?: CommandOptions): Promise<string>;
  /** The same, with its output as a stream. `verified` has the container hash it. */
  spawn(pod: string, command: string[], options?: CommandOptions & { verified?: boolean }): Child;
  /** One pod that runs one command to its end; its output is the pod's log. Needs run. An effect. */
  runJob(job: {
    name: string; image: string; command?: string[]; namespace?: string; variables?: { [name: string]: string };
    secrets?: { [variable: string]: { secret: string; key: string } }; serviceAccount?: string; seconds?: number; memory?: string; cpu?: string;
  }): Child;
}

/** A verb of RBAC (`get`, `list`, `watch`, `create`, `patch`, `delete`), and a part of the object: `scale`, `exec`, `log`, `status`. */
interface Need { verb: string; kind: Kind; subresource?: string; namespace?: string; name?: string }
interface Lock {
  readonly isReleased: boolean;
  /** An error (`conflict`) once it was lost. */
  check(): Promise<void>;
  release(): Promise<void>;
}
interface LogOptions { container?: string; previous?: boolean; tail?: number; since?: number; timestamps?: boolean }
interface CommandOptions { container?: string; namespace?: string; stdin?: BytesSource }

interface JetStreamServer {
  number: number; answered: true; trouble: string | null; name: string; version: string; healthy: boolean; startedAt: Date | null;
  connections: number; connectionsLimit: number | null; slowConsumers: number; jetstream: boolean; memory: number; memoryLimit: number | null;
  storage: number; storageLimit: number | null; apiRequests: number; apiErrors: number; clusterSize: number | null; clusterLeader: string | null;
  offline: string[]; leaderless: string[]; leaderlessCount: number;
}

interface JetStream extends Slot {
  streams(): Promise<{ name: string; messages: number; bytes: number }[]>;
  consumers(stream: string): Promise<{ name: string; pending: number; unacknowledged: number }[]>;
  /** The server that answers. */
  server(): Promise<{ name: string; version: string; cluster: string | null; domain: string | null; leaving: boolean; microseconds: number }>;
  /** What the account uses of what it may, once or a tier each; a limit that is null is none. */
  account(): Promise<{
    tier: string | null; memory: number; memoryLimit: number | null; storage: number; storageLimit: number | null; streams: number;
    streamsLimit: number | null; consumers: number; consumersLimit: number | null; apiRequests: number; apiErrors: number;
  }[]>;
  /** What the servers' monitoring says, in the order of the binding's addresses; empty where it has none. */
  monitoring(): Promise<(JetStreamServer | { number: number; answered: false; trouble: string })[]>;
  /** When the first message from a sequence on was stored whose subject matches (all where none is given); null: there is none. */
  storedAt(stream: string, sequence: number | bigint, subject?: string): Promise<Date | null>;
}

/** The slots database, cache, bucket, cluster, stream; in a procedure the first slot of each capability. */
declare const db: Database;
declare const standby: Database;
declare const cache: Cache;
declare const bucket: Bucket;
declare const cluster: Cluster;
declare const stream: JetStream;
/** A declared program, by the name of its slot: of a script `tool` (where none is named), `pg_dump` and `pg_restore`. */
declare function tool(slot?: string): Tool;
/** Filters on streams. They run in the host, and what passes does not come in here. */
declare const bytes: {
  /** A stream of a text, of bytes, or of pieces as they come: where the script throws in the middle of those, nobody takes the half for the whole. */
  from(data: BytesSource): Bytes;
  compress(data: BytesSource, codec?: Codec, level?: number): Bytes;
  decompress(data: BytesSource, codec?: Codec): Bytes;
  /** The SHA-256 of what passes: `passed()`, afterwards. */
  sha256(data: BytesSource): Bytes;
  count(data: BytesSource): Bytes;
  /** To age recipients: `age1...`. */
  encrypt(data: BytesSource, recipients: string | string[]): Bytes;
  /** With the key in a slot (of a script `key`), which never comes in here. */
  decrypt(data: BytesSource, slot?: Slot | string): Bytes;
  limit(data: BytesSource, bytesPerSecond: number): Bytes;
  drain(data: BytesSource): Promise<Passed>;
};
/** All slots, by name. */
declare const slots: { readonly [name: string]: any };

/** What `--arg` gave. */
declare const args: any;
/** Whether effects are only listed. */
declare const isPlan: boolean;
declare const runId: string;

declare function print(...values: unknown[]): void;
declare function table(rows: Iterable<unknown>, options?: string | { title?: string; columns?: string[] }): void;
declare const report: {
  ok(title: string, detail?: unknown): void;
  warning(title: string, detail?: unknown): void;
  critical(title: string, detail?: unknown): void;
  unknown(title: string, detail?: unknown): void;
  summary(text: string): void;
  data(data: unknown): void;
  metric(name: string, value: number, labels?: { [name: string]: string }): void;
};
/** Done once, whatever is killed or retried meanwhile; a later attempt gets its result. */
declare function step<T>(name: string, work: () => Promise<T> | T, options?: { repeatable?: boolean }): Promise<T>;
/** Undone should the run not succeed: `undo` is kept as its text and sees its state only. */
declare function compensate<S>(name: string, undo: (state: S) => Promise<void>, state?: S): Promise<{ dismiss(): Promise<void> }>;
declare function sleep(seconds: number): Promise<void>;
declare function progress(done: number, total?: number, unit?: string, note?: string): void;
declare function artifact(name: string, data: string | Uint8Array, mediaType?: string): Promise<number>;

/** What the host says where a call fails. */
declare class RotaError extends Error {
  readonly kind: "denied" | "invalid-argument" | "not-found" | "conflict" | "timed-out" | "cancelled" | "unavailable" | "failed" | "quota";
  /** An SQLSTATE, an HTTP status. */
  readonly code?: string;
  readonly hint?: string;
  readonly retryable: boolean;
}

/** The default export of a procedure in JavaScript. */
interface Procedure {
  /** Lower-case words joined by hyphens. */
  name: string;
  version: string;
  /** One line, at most 120 characters. */
  summary: string;
  /** Markdown. */
  description: string;
  risk: "observe" | "change" | "destroy";
  /** The word to type before it executes. */
  confirmation?: string;
  /** Whether a second run after one that vanished half-way is harmless. */
  idempotent: boolean;
  slots?: { [name: string]: { capability: "sql" | "cache" | "storage" | "kubernetes" | "jetstream" | "tool" | "key"; accesses: string[]; purpose: string; optional?: boolean } };
  /** JSON Schema of an object that refuses unknown names. */
  parameters?: object;
  /** JSON Schema of what `run` answers. */
  report?: object;
  examples?: { title: string; parameters: object }[];
  run(parameters: any): Promise<unknown> | unknown;
}
