// graphile-worker on a queue that is full when it begins: node graphile.cjs FOLDER URL JOBS AT_ONCE once|batched
//
// Prints one line of JSON: how many tasks were called, and the seconds from the start of the worker until no job was left.
const [folder, connectionString, jobs, concurrency, how] = process.argv.slice(2);
const { createRequire } = require("node:module");
const { Logger, makeWorkerUtils, runOnce } = createRequire(`${folder}/`)("graphile-worker");

async function main() {
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  await utils.withPgClient((client) =>
    client.query(
      `select graphile_worker.add_jobs(array_agg(json_populate_record(null::graphile_worker.job_spec,
         json_build_object('identifier', 'noop', 'payload', json_build_object('n', n))))) from generate_series(1, $1::int) n`,
      [jobs],
    ),
  );
  await utils.withPgClient((client) => client.query("vacuum analyze graphile_worker._private_jobs"));
  let called = 0;
  const taskList = {
    noop: async () => {
      called += 1;
    },
  };
  // As it is without settings, a job is claimed by itself and finished by itself. Batched: a local queue, and ends written together.
  const batched = { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } };
  const began = process.hrtime.bigint();
  await runOnce({
    connectionString,
    logger,
    taskList,
    concurrency: Number(concurrency),
    maxPoolSize: Number(concurrency) + 2,
    noHandleSignals: true,
    ...(how === "batched" ? { preset: batched } : {}),
  });
  // Ends that are written together may be on their way still.
  const count = () => utils.withPgClient((client) => client.query("select count(*)::int as jobs from graphile_worker.jobs"));
  let left = (await count()).rows[0].jobs;
  while (left > 0 && process.hrtime.bigint() - began < 120_000_000_000n) {
    left = (await count()).rows[0].jobs;
  }
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  await utils.release();
  console.log(JSON.stringify({ called, left, seconds }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
