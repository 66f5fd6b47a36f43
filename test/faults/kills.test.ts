/** Makes a few of the kills of `npm run bench:kills`. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type Moment, planKill } from '../../bench/kills-plan.ts';
import { runKills } from '../../bench/kills-run.ts';
import { FaultFarm } from './factories/fault-farm.ts';

const SEED = Number(process.env.SEED ?? 3);
const RUNS = Number(process.env.KILLS ?? 3);

test('all is identical though agent and controller are killed in mid-transfer', async () => {
  const entry = fileURLToPath(new URL('factories/controller.ts', import.meta.url));
  const outcomes = await runKills({ seed: SEED, runs: RUNS, workers: 2, entry });
  expect(outcomes.filter(({ struck }) => struck).length).toBeGreaterThanOrEqual(RUNS);
  for (const { plan, complaints } of outcomes) expect({ plan, complaints }).toEqual({ plan, complaints: [] });
});

test('a seed is a plan, in which each moment and both victims come about', () => {
  const plans = Array.from({ length: 200 }, (_, index) => planKill(SEED, index + 1));
  expect(plans).toEqual(plans.map(({ number }) => planKill(SEED, number)));
  expect(new Set(plans.map(({ target }) => target)).size).toBe(2);
  expect(new Set(plans.map(({ moment }) => moment))).toEqual(
    new Set<Moment>(['source', 'log', 'collect', 'upload', 'result']),
  );
});

test('a controller that is away during the checks is waited for, and a follower goes on where it was', async () => {
  await using macs = await FaultFarm.start({ macs: 1, diverted: true });
  await using mac = await macs.take();
  // The proxy holds the VM's request until the controller is away, so that the check cannot pass before.
  mac.ways.vm.treat(({ path }) => (path === '/health' ? 'answer nothing' : 'pass'));
  const build = await mac.build({
    command: 'for i in 1 2 3; do echo line $i; done; until [ -e go ]; do sleep 0.1; done; echo line 4',
    timeouts: { heartbeatTimeoutMs: 60_000, workerTimeoutMs: 60_000 },
  });
  const followed: string[] = [];
  const following = (async () => {
    for await (const text of macs.farm.api.followLog(build.id, AbortSignal.timeout(200_000))) followed.push(text);
  })();
  const vmAsks = () => mac.ways.vm.seen.some(({ path }) => path === '/health');
  await mac.until(vmAsks, 'the VM asks for the controller');
  await macs.farm.killController();
  mac.treat('pass');
  await mac.says('check', { id: 'controller', status: 'fail' });
  await macs.farm.startController();
  await build.prints('line 3\n');
  await macs.farm.killController();
  await macs.farm.startController();
  await mac.inSource(build.id, 'go');
  await build.succeeds('line 1\nline 2\nline 3\nline 4\n');
  await following;
  expect(followed.join('')).toBe('line 1\nline 2\nline 3\nline 4\n');
  await mac.settles();
});
