/**
 * Runs `npm run bench:kills`, which checks that every byte arrives although agents and controllers are killed
 * during transfers.
 *
 *   npm run bench:kills -- --runs 200 --seed 1 [--workers 2] [--from BUILD] [--json FILE]
 *
 * Exit code: 0 if all logs and artifacts of all runs were identical by SHA-256, 1 if one was not.
 */
import { writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import type { Moment } from './kills-plan.ts';
import { type KillOutcome, runKills } from './kills-run.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '2' },
    from: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});
const [runs, seed, workers, from] = [values.runs, values.seed, values.workers, values.from].map(Number) as [
  number,
  number,
  number,
  number,
];
const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupt.abort(new Error('interrupted')));

const startedAt = Date.now();
const seconds = () => ((Date.now() - startedAt) / 1_000).toFixed(0).padStart(5);
const outcomes = await runKills({
  ...{ seed, runs, from, workers, signal: interrupt.signal, entry: 'test/faults/factories/controller.ts' },
  onOutcome: ({ plan, struck, retried, complaints }, count) => {
    const { number, target, moment, delayMs, fileBlocks } = plan;
    const what = `${target} killed ${delayMs} ms after ${moment}, files of ${fileBlocks.join(', ')} MiB`;
    const mark = complaints.length > 0 ? '✗' : struck ? '✓' : '-';
    console.log(
      `${seconds()} s  ${mark} build ${number}, ${count} of ${runs}: ${struck ? what : 'the kill came too late'}`,
    );
    for (const verdict of retried) console.log(`           the build needed another attempt: ${verdict}`);
    for (const complaint of complaints) console.log(`           ${complaint}`);
  },
});

const counted = outcomes.filter(({ struck }) => struck);
const wrong = outcomes.filter(({ complaints }) => complaints.length > 0);
const of = (holds: (outcome: KillOutcome) => boolean) => counted.filter(holds).length;
const summary = {
  command: `npm run bench:kills -- --runs ${runs} --seed ${seed} --workers ${workers} --from ${from}`,
  kills: counted.length,
  agents: of(({ plan }) => plan.target === 'agent'),
  controllers: of(({ plan }) => plan.target === 'controller'),
  moments: Object.fromEntries(
    (['source', 'log', 'collect', 'upload', 'result'] satisfies Moment[]).map((moment) => [
      moment,
      of(({ plan }) => plan.moment === moment),
    ]),
  ),
  /** The number of compared builds, including those whose kill came too late. */
  builds: outcomes.length,
  artifacts: outcomes.reduce((sum, { plan }) => sum + plan.fileBlocks.length + 1, 0),
  notIdentical: wrong.length,
  secondAttempts: outcomes.flatMap(({ retried }) => retried),
  minutes: Math.round((Date.now() - startedAt) / 6_000) / 10,
  cpus: cpus().length,
  load: Math.round(loadavg()[2]! * 10) / 10,
};
console.log(JSON.stringify(summary, null, 2));
if (values.json) await writeFile(values.json, `${JSON.stringify(summary, null, 2)}\n`);
process.exitCode = wrong.length === 0 && counted.length >= runs ? 0 : 1;
