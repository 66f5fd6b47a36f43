/** A controller that is away while a VM is being checked: the VM is not blamed for it. */
import { execa } from 'execa';
import { expect, test } from 'vitest';
import type { AttemptRun } from '../../worker-agent/attempt-run.ts';
import { AttemptOver } from '../../worker-agent/ending.ts';
import type { Guest } from '../../worker-agent/guest.ts';
import { AGENT_LIMITS } from '../../worker-agent/limits.ts';
import { firstHeartbeat } from '../../worker-agent/monitor-keeper.ts';
import { agentHost } from './factories/agent-host.ts';
import { SHORT_TIMEOUTS, standInController } from './factories/stand-in-controller.ts';
import { temporaryDir } from './factories/temporary-dir.ts';
import { until } from './factories/until.ts';

async function emptySource(): Promise<Buffer> {
  using dir = temporaryDir();
  const { stdout } = await execa('tar', ['-czf', '-', '-C', dir.path, '.'], { encoding: 'buffer' });
  return Buffer.from(stdout);
}

test('the checks wait for a controller that host and VM cannot reach, and the build goes on', {
  timeout: 300_000,
}, async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  let away = false;
  controller.intercept = (_, response) => away && !!response.destroy();
  await using agent = host.startAgent();
  const build = controller.submit({ id: 'b1', command: 'echo built', source: await emptySource() });
  await agent.until({ type: 'stage', stage: 'checking' });
  away = true;
  await until(
    () => agent.events.some((event) => event.type === 'warning' && event.message.includes('the checks wait for it')),
    'the checks wait',
    120_000,
  ).catch((error) => {
    throw new Error(`${error.message}\n${agent.said()}`);
  });
  expect(agent.has({ type: 'check', id: 'controller', status: 'fail' })).toBe(true);
  away = false;
  await agent.until({ type: 'slot_free' });
  expect(build.status).toBe('succeeded');
});

test('a VM that alone cannot reach the controller fails that check', { timeout: 300_000 }, async () => {
  await using controller = await standInController();
  await using host = await agentHost(controller.url);
  controller.intercept = ({ path }, response) => path === '/health' && !!response.writeHead(503).end();
  await using agent = host.startAgent();
  const build = controller.submit({ id: 'b1', command: 'echo built', source: await emptySource() });
  await agent.until({ type: 'slot_free' });
  expect(build.reports.at(-1)).toMatchObject({ type: 'fail', verdict: 'health_check_failed', step: 'controller' });
  const failures = agent.events.filter(
    (event) => event.type === 'check' && event.id === 'controller' && event.status === 'fail',
  );
  expect(failures).toHaveLength(2);
});

/** A VM whose monitor says that its beats arrive; the controller says what `firstVmBeat` says. */
function waitingRun({ lostForMs, firstVmBeat }: { lostForMs: () => number; firstVmBeat: () => Promise<void> }) {
  const timeouts = { ...SHORT_TIMEOUTS, bootTimeoutMs: 100, workerTimeoutMs: 40 };
  const run = {
    signal: new AbortController().signal,
    key: { buildId: 'b1', attempt: 1 },
    context: { limits: { ...AGENT_LIMITS, firstBeatMs: 100 }, journal: { state: { assignment: { timeouts } } } },
    contact: { lostForMs },
    beats: {
      poke() {},
      firstVmBeat: (limit: AbortSignal) =>
        Promise.race([
          firstVmBeat(),
          new Promise((_, reject) => limit.addEventListener('abort', () => reject(limit.reason), { once: true })),
        ]),
    },
  } as unknown as AttemptRun;
  const guest = { exec: async () => ({ stdout: Buffer.from('Heartbeat sent') }) } as unknown as Guest;
  return firstHeartbeat(run, guest);
}

test('a VM whose first beat is not accepted is ill, unless nobody is heard', async () => {
  const never = () => new Promise<void>(() => {});
  const ill = await waitingRun({ lostForMs: () => 0, firstVmBeat: never }).catch((error) => error);
  expect(ill).toBeInstanceOf(AttemptOver);
  expect(ill.ending).toMatchObject({ verdict: 'health_check_failed', step: 'monitor' });

  // Away for longer than all of its patience; then it is back and hears the VM.
  let waits = 0;
  const back = Promise.withResolvers<void>();
  await waitingRun({
    lostForMs: () => (waits < 3 ? 1_000 : 0),
    firstVmBeat: () => {
      if (++waits === 3) back.resolve();
      return back.promise;
    },
  });
  expect(waits).toBe(3);
});
