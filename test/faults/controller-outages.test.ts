/** The controller is killed, and comes back with its state. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildDetail } from '#contract';
import { FaultFarm, type FaultyBuild, type FaultyMac } from './fault-farm.ts';

const MACS = 3;
let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: MACS });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const COMMAND = 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.3; done | tee out.txt';
const LOG = 'line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n';
const WAITING = 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done';

test('a controller that is away for longer than every deadline fails no build; one that may run elsewhere is given up and run again', async () => {
  const timeouts = { bootTimeoutMs: 45_000, noOutputTimeoutMs: 60_000, buildTimeoutMs: 60_000 };
  const unhurried = { ...timeouts, buildTimeoutMs: 600_000 };
  await using finishing = await macs.take();
  await using booting = await macs.take();
  await using partitioned = await macs.take();
  const ends = await finishing.build({ command: WAITING, timeouts });
  const again = await partitioned.build({
    command: WAITING,
    maxAttempts: 2,
    timeouts: unhurried,
  });
  await ends.prints('begun');
  await again.prints('begun');
  const boots = await booting.build({ command: COMMAND, timeouts: unhurried });
  await booting.says('step', { step: 'run', status: 'started' });

  const deadlines = (await Promise.all([ends, again, boots].map((build) => build.read()))).flatMap(deadlinesOf);
  await macs.farm.killController();
  await finishing.inSource(ends.id, 'go');
  await finishing.says('result', { outcome: 'succeeded' });
  await partitioned.says('result', { verdict: 'worker_lost' });
  await partitioned.says('slot_free');
  await finishing.until(() => Date.now() > Math.max(...deadlines), 'every deadline has passed');
  await macs.farm.startController();

  for (const [mac, build, log] of [
    [finishing, ends, 'begun\ndone\n'],
    [booting, boots, LOG],
  ] satisfies [FaultyMac, FaultyBuild, string][]) {
    expect((await build.succeeds(log)).attempt).toBe(1);
    await mac.settles();
  }
  await again.reaches(({ status, attempt }) => status === 'building' && attempt === 2, 'is built again');
  await again.prints('begun');
  await partitioned.inSource(again.id, 'go', 2);
  const { attempts } = await again.succeeds('begun\ndone\n');
  expect(attempts.map(({ verdict }) => verdict?.code)).toEqual(['worker_lost', undefined]);
  await partitioned.settles();
});

const deadlinesOf = ({ live }: BuildDetail) =>
  (live?.deadlines ?? []).map(({ at }) => Date.parse(at)).filter((at) => at < Date.now() + 100_000);
