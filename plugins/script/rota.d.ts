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

interface Statements {
  /** Read rows. Only what reads is let through. */
  query(statement: string, values?: SqlValue[]): Rows;
  /** Run one statement; the rows that it touched. An effect: a plan lists it, and answers 0. */
  execute(statement: string, values?: SqlValue[]): Promise<number>;
}

interface Slot {
  /** Whether a binding is in the slot. */
  readonly isBound: boolean;
}

interface Database extends Statements, Slot {
  /** Commits when the work ends well, and rolls back when it throws. */
  transaction<T>(
    work: (tx: Statements) => Promise<T>,
    options?: { isolation?: "read committed" | "repeatable read" | "serializable"; readOnly?: boolean; lockTimeout?: number },
  ): Promise<T>;
  /** What the server said besides its answers. */
  notices(): Promise<string[]>;
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
}

interface StoredObject { name: string; size: number; modified: Date | null; etag: string | null }

interface Bucket extends Slot {
  /** At most 16 MiB. */
  get(name: string): Promise<Uint8Array>;
  getText(name: string): Promise<string>;
  put(name: string, data: string | Uint8Array, options?: { if?: "absent"; mediaType?: string }): Promise<{ size: number; sha256: string }>;
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
  create(object: KubernetesObject): Promise<KubernetesObject>;
  patch(
    kind: Kind, name: string, patch: unknown,
    options?: { type?: "merge" | "strategic" | "apply" | "force-apply" | "json"; namespace?: string },
  ): Promise<KubernetesObject>;
  delete(kind: Kind, name: string, options?: { namespace?: string; uid?: string; resourceVersion?: string }): Promise<void>;
  /** The replicas that were wanted before. */
  scale(kind: Kind, name: string, replicas: number, options?: { expected?: number; namespace?: string }): Promise<number>;
  restart(kind: Kind, name: string, options?: { namespace?: string }): Promise<void>;
  rollout(kind: Kind, name: string, options?: { namespace?: string }): Promise<{ complete: boolean; failed: boolean; wanted: number; ready: number; note: string }>;
  logs(pod: string, options?: { container?: string; previous?: boolean; tail?: number }): Promise<string>;
  /** What the command wrote; an error where it did not end with 0. */
  exec(pod: string, command: string[], options?: { container?: string; namespace?: string }): Promise<string>;
}

interface JetStream extends Slot {
  streams(): Promise<{ name: string; messages: number; bytes: number }[]>;
  consumers(stream: string): Promise<{ name: string; pending: number; unacknowledged: number }[]>;
}

/** The slots database, cache, bucket, cluster, stream; in a procedure the first slot of each capability. */
declare const db: Database;
declare const standby: Database;
declare const cache: Cache;
declare const bucket: Bucket;
declare const cluster: Cluster;
declare const stream: JetStream;
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
  slots?: { [name: string]: { capability: "sql" | "cache" | "storage" | "kubernetes" | "jetstream"; accesses: string[]; purpose: string; optional?: boolean } };
  /** JSON Schema of an object that refuses unknown names. */
  parameters?: object;
  /** JSON Schema of what `run` answers. */
  report?: object;
  examples?: { title: string; parameters: object }[];
  run(parameters: any): Promise<unknown> | unknown;
}
