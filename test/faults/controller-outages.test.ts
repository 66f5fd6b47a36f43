/**
 * Kills the controller and starts it again with its state. Some outages last seconds, in each phase of a
 * build. Others last longer than every deadline.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildDetail } from '#contract';
import type { TimedAgentEvent } from '../../local/farm/agent-process.ts';
import { FaultFarm, type FaultyMac } from './factories/fault-farm.ts';
import type { FaultyBuild } from './factories/faulty-build.ts';

const MACS = 3;
let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: MACS });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

const COMMAND = 'for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.3; done | tee out.txt';
const LOG = 'line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n';
const WAITING = 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done';

/** The phases of one build. */
const PHASES: ({ type: TimedAgentEvent['type'] } & Record<string, unknown>)[] = [
  { type: 'claimed' },
  { type: 'step', step: 'run', status: 'started' },
  { type: 'step', step: 'first_heartbeat', status: 'started' },
  { type: 'step', step: 'command', status: 'started' },
  { type: 'log' },
  { type: 'stage', stage: 'collecting' },
  { type: 'result' },
];

/**
 * Kills the controller and starts it again. A caller that comes during the restart waits for the same
 * restart.
 */
class Outages {
  count = 0;
  #last: Promise<void> | null = null;

  strike(): Promise<void> {
    this.#last ??= this.#killAndStart().finally(() => {
      this.#last = null;
    });
    return this.#last;
  }

  async #killAndStart(): Promise<void> {
    this.count++;
    await macs.farm.killController();
    await macs.farm.startController();
  }
}

test('no build fails for a controller that is killed in each of its phases and is back within seconds', async () => {
  const outages = new Outages();
  // An outage that ends 10 s before a deadline is forgiven.
  const timeouts = {
    ...{ heartbeatTimeoutMs: 90_000, workerTimeoutMs: 90_000 },
    ...{ bootTimeoutMs: 600_000, noOutputTimeoutMs: 600_000, buildTimeoutMs: 900_000 },
  };
  const buildThrough = async (fields: (typeof PHASES)[number]) => {
    await using mac = await macs.take();
    const build = await untilAnswered(() => mac.build({ command: COMMAND, artifacts: ['out.txt'], timeouts }));
    const { type, ...others } = fields;
    await mac.says(type, others);
    await outages.strike();
    const { attempt } = await build.succeeds(LOG);
    expect(attempt).toBe(1);
    await build.reaches(({ artifacts }) => artifacts.length === 1, 'has its artifact');
    await mac.settles();
  };
  const results = await Promise.allSettled(PHASES.map(buildThrough));
  expect(results.filter(({ status }) => status === 'rejected')).toEqual([]);
  expect(outages.count).toBeGreaterThan(2);
});

/** Repeats the request until it is answered, as a submitter does. */
async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await ask().catch(() => null);
    if (answer !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

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

test('a queued build whose key was taken out of INPUTS_KEY waits, and is built once the key is back', async () => {
  await using mac = await macs.take();
  await mac.mac.killAgent();
  const build = await mac.build({ command: 'test "$TOKEN" = geheim && echo right', secretEnv: { TOKEN: 'geheim' } });
  const { INPUTS_KEY } = macs.farm.controller.secrets;
  const another = `2:${'f'.repeat(64)}`;
  await macs.farm.killController();
  await macs.farm.startController({ INPUTS_KEY: another });
  await mac.mac.startAgent();
  await build.reaches(
    ({ status, waitingFor }) => status === 'assigned' || (waitingFor ?? '').includes('INPUTS_KEY'),
    'waits for the key',
  );
  await macs.farm.killController();
  await macs.farm.startController({ INPUTS_KEY: `${another},1:${INPUTS_KEY}` });
  expect((await build.succeeds('right\n')).attempt).toBe(1);
  await mac.recovers();
});

const deadlinesOf = ({ live }: BuildDetail) =>
  (live?.deadlines ?? []).map(({ at }) => Date.parse(at)).filter((at) => at < Date.now() + 100_000);
