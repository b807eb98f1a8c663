// @ts-check
/// <reference path="../../../plugins/script/rota.d.ts" />

// Sessions that have expired in the database still stand in the cache, and let people in. This takes them out of both: out of the cache
// first, because a row without a key is harmless, and a key without a row is a session that nobody can end any more.

/** How many keys are unlinked at once. */
const BATCH = 500;

/** @type {Procedure} */
export default {
  name: "expired-sessions",
  version: "0.1.0",
  summary: "Takes sessions that have expired out of the cache, then out of the database.",
  description: `Takes sessions that have expired out of the cache, then out of the database.

Reads the table \`sessions\` (\`token text\`, \`expires_at timestamptz\`), unlinks the keys \`PREFIX:TOKEN\` of those that expired longer ago than
\`grace_seconds\`, and deletes their rows: at most \`limit\` in one run, the oldest first. A run that is cut off has done less, and a second one goes
on; nothing is lost by doing it twice. It refuses a prefix without a name, which would be every key that looks like a token.`,
  risk: "change",
  idempotent: true,
  slots: {
    database: { capability: "sql", accesses: ["read", "write"], purpose: "Finds expired sessions, and deletes their rows." },
    cache: { capability: "cache", accesses: ["delete"], purpose: "Unlinks their keys." },
  },
  parameters: {
    type: "object",
    properties: {
      prefix: { type: "string", default: "session", pattern: "^[a-z][a-z0-9_-]*$", description: "What the keys begin with, before the colon." },
      grace_seconds: { type: "integer", minimum: 0, default: 300, description: "Leave sessions that expired less long ago." },
      limit: { type: "integer", minimum: 1, maximum: 1000000, default: 100000, description: "Take out so many at most." },
    },
    additionalProperties: false,
  },
  report: {
    type: "object",
    properties: {
      expired: { type: "integer", description: "Sessions that had expired, as many as `limit`." },
      keys: { type: "integer", description: "Keys that were unlinked; 0 in a plan." },
      rows: { type: "integer", description: "Rows that were deleted; 0 in a plan." },
      more: { type: "boolean", description: "Whether there are more than `limit`." },
    },
    required: ["expired", "keys", "rows", "more"],
  },
  examples: [{ title: "A thousand of them", parameters: { limit: 1000 } }],

  async run({ prefix = "session", grace_seconds = 300, limit = 100000 }) {
    let expired = 0, keys = 0, rows = 0;
    let batch = [];

    const takeOut = async () => {
      if (batch.length === 0) return;
      keys += await cache.unlink(batch.map((token) => `${prefix}:${token}`));
      // Only those that are still expired: somebody may have prolonged one meanwhile.
      rows += await db.execute(
        "delete from sessions where token = any($1) and expires_at < now() - $2 * interval '1 second'", [batch, grace_seconds]);
      progress(expired, undefined, "sessions", "taking out");
      batch = [];
    };

    const old = db.query(
      "select token from sessions where expires_at < now() - $1 * interval '1 second' order by expires_at limit $2", [grace_seconds, limit + 1]);
    let more = false;
    for await (const { token } of old) {
      if (expired === limit) {
        more = true;
        break;
      }
      expired += 1;
      batch.push(token);
      if (batch.length === BATCH) await takeOut();
    }
    await takeOut();

    report.summary(isPlan ? `${expired} sessions would be taken out` : `${rows} of ${expired} expired sessions taken out, ${keys} of them were in the cache`);
    if (more) report.warning(`more than ${limit} sessions have expired`, "Run it again, or more often.");
    return { expired, keys, rows, more };
  },
};
