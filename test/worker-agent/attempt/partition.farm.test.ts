/**
 * Tests an agent that has lost its controller. The tests set the clock on the wall ahead, which counts as
 * lost contact. So no test waits for a limit, and no busy machine reaches one.
 */
import { execa } from 'execa';
import { expect, test, vi } from 'vitest';
import { AGENT_LIMITS, contactLimitMs, OUTAGE_FRESH_MS } from '../../../worker-agent/time-limits.ts';
import { agentHere, NO_HURRY } from '../factories/agent-here.ts';
import { agentHost } from '../factories/agent-host.ts';
import { until } from '../factories/until.ts';
import { SHORT_TIMEOUTS, standInController } from '../servers/stand-in-controller.ts';

const USED_UP = 'error code: 1027';
/** The agent's words for it. An answer that did not come in time is refused in other words. */
const USED_UP_IN_WORDS = 'has used up its requests of the day';
/** How long a build goes on without its controller if another Mac may run it. */
const PARTITION_MS = contactLimitMs({ anotherAttemptPossible: true, timeouts: SHORT_TIMEOUTS }, AGENT_LIMITS);
/** So short that the beat of each step renews the platform's word, which counts for OUTAGE_FRESH_MS. */
const STEP_MS = Math.min(PARTITION_MS, OUTAGE_FRESH_MS) / 2;
/** Longer than STEP_MS and PARTITION_MS, so that the word of the platform matters. */
const OUTAGE_MS = PARTITION_MS + 3 * STEP_MS;

/** A build that runs, on an agent that its controller has left with these words. */
async function lostWith(anotherAttemptPossible: boolean, { outageMs = AGENT_LIMITS.outageMs, says = '' } = {}) {
  const controller = await standInController();
  const host = await agentHost(controller.url);
  process.env.TART_HOME = host.tartHome;
  const { stdout } = await execa('tar', ['-czf', '-', '-C', import.meta.dirname, 'partition.farm.test.ts'], {
    encoding: 'buffer',
  });
  const gate = host.gate();
  const build = controller.submit({
    id: 'b1',
    command: `echo begun; ${gate.wait}; echo last`,
    source: Buffer.from(stdout),
    anotherAttemptPossible,
  });
  const agent = await agentHere(host, { ...NO_HURRY, outageMs });
  const { events } = agent;
  await until(() => build.log.length > 0, 'the build runs', 90_000);
  controller.intercept = (_request, response) => {
    response.writeHead(503).end(says);
    return true;
  };
  const { now } = Date;
  let aheadMs = 0;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + aheadMs);
  const hasEnded = () => events.some(({ type }) => type === 'result');
  const words = says === USED_UP ? USED_UP_IN_WORDS : '';
  const refused = () =>
    events.filter((event) => event.type === 'beat' && !event.accepted && event.message?.includes(words)).length;
  /** Waits for one more refused beat. By then no earlier answer is under way, and the platform spoke anew. */
  const beatIsRefused = async () => {
    const before = refused();
    await until(() => refused() > before || hasEnded(), 'a beat is refused');
  };
  await beatIsRefused();
  return {
    build,
    events,
    host,
    finish: gate.open,
    /** Lets so much time pass, or less if the build ends before. */
    async pass(ms: number) {
      for (let leftMs = ms; leftMs > 0 && !hasEnded(); leftMs -= STEP_MS) {
        aheadMs += STEP_MS;
        await beatIsRefused();
      }
    },
    /** Leaves the controller away until the build's VM is deleted. */
    async ends() {
      await until(() => events.some(({ type }) => type === 'slot_free'), 'the VM is gone', 90_000);
      controller.intercept = () => false;
    },
    async [Symbol.asyncDispose]() {
      clock.mockRestore();
      await agent[Symbol.asyncDispose]();
      await host[Symbol.asyncDispose]();
      await controller[Symbol.asyncDispose]();
    },
  };
}

test('if another Mac may run the build, a lost controller ends it here, and it is told when it is back', async () => {
  await using lost = await lostWith(true);
  await lost.pass(PARTITION_MS);
  await lost.ends();
  expect(lost.events).toContainEqual(expect.objectContaining({ type: 'result', verdict: 'worker_lost' }));
  expect(lost.host.vms()).toEqual([]);
  await until(() => lost.build.status === 'failed', 'the report', 60_000);
  expect(lost.build.reports.at(-1)).toMatchObject({
    type: 'fail',
    verdict: 'worker_lost',
    evidence: { vm: 'running' },
  });
});

test('otherwise the build goes on, and its result and log arrive later', async () => {
  await using lost = await lostWith(false);
  await lost.pass(2 * PARTITION_MS);
  lost.finish();
  await lost.ends();
  expect(lost.events).toContainEqual(expect.objectContaining({ type: 'result', outcome: 'succeeded' }));
  await until(() => lost.build.status === 'succeeded', 'the report', 60_000);
  await until(() => lost.build.log.toString() === 'begun\nlast\n', 'the log', 60_000);
});

test('an outage that lasts for longer than is forgiven ends it all the same', async () => {
  await using lost = await lostWith(false, { outageMs: OUTAGE_MS });
  await lost.pass(OUTAGE_MS);
  await lost.ends();
  expect(lost.events).toContainEqual(
    expect.objectContaining({ type: 'result', verdict: 'worker_lost', step: 'contact' }),
  );
  expect(lost.host.vms()).toEqual([]);
});

test('while the platform says that its quota is used up, a build goes on although another attempt is possible', async () => {
  await using lost = await lostWith(true, { says: USED_UP });
  await lost.pass(2 * PARTITION_MS);
  lost.finish();
  await lost.ends();
  await until(() => lost.build.status === 'succeeded', 'the result arrives', 90_000);
  await until(() => lost.build.log.toString() === 'begun\nlast\n', 'the log', 60_000);
});

test('an outage with a name ends a build at the limit for outages, and the verdict names it', async () => {
  await using lost = await lostWith(true, { outageMs: OUTAGE_MS, says: USED_UP });
  await lost.pass(OUTAGE_MS);
  await lost.ends();
  await until(() => lost.build.reports.length > 1, 'the verdict is reported', 90_000);
  expect(lost.build.reports.at(-1)).toMatchObject({
    verdict: 'worker_lost',
    message: expect.stringContaining(USED_UP_IN_WORDS),
  });
});
