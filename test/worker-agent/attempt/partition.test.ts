/** Tests an agent that has lost its controller, with limits short enough for a test. */
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { runAgent } from '../../../worker-agent/agent/agent.ts';
import { loadConfig } from '../../../worker-agent/config.ts';
import type { AgentEvent } from '../../../worker-agent/events.ts';
import type { AgentLimits } from '../../../worker-agent/time-limits.ts';
import { agentHost } from '../factories/agent-host.ts';
import { standInController } from '../factories/stand-in-controller.ts';
import { until } from '../factories/until.ts';

async function lostWith(anotherAttemptPossible: boolean, limits: Partial<AgentLimits> = {}, said = '') {
  const controller = await standInController();
  const host = await agentHost(controller.url);
  process.env.TART_HOME = host.tartHome;
  const { stdout } = await execa('tar', ['-czf', '-', '-C', import.meta.dirname, 'partition.test.ts'], {
    encoding: 'buffer',
  });
  const build = controller.submit({
    id: 'b1',
    command: 'echo begun; sleep 6; echo last',
    source: Buffer.from(stdout),
    anotherAttemptPossible,
    timeouts: { workerTimeoutMs: 1_000 },
  });
  const events: AgentEvent[] = [];
  const drain = new AbortController();
  const stop = new AbortController();
  const agent = runAgent({
    config: await loadConfig(host.configPath),
    configPath: host.configPath,
    onEvent: (event) => events.push(event),
    drain: drain.signal,
    stop: stop.signal,
    limits,
  });
  await until(() => build.log.length > 0, 'the build runs', 90_000);
  controller.intercept = (_request, response) => {
    response.writeHead(503).end(said);
    return true;
  };
  await until(() => events.some(({ type }) => type === 'slot_free'), 'the VM is gone', 90_000);
  controller.intercept = () => false;
  return {
    build,
    events,
    host,
    async [Symbol.asyncDispose]() {
      drain.abort();
      stop.abort();
      await agent;
      await host[Symbol.asyncDispose]();
      await controller[Symbol.asyncDispose]();
    },
  };
}

test('if another Mac may run the build, a lost controller ends it here, and it is told when it is back', {
  timeout: 240_000,
}, async () => {
  await using lost = await lostWith(true);
  expect(lost.events).toContainEqual(expect.objectContaining({ type: 'result', verdict: 'worker_lost' }));
  expect(lost.host.vms()).toEqual([]);
  await until(() => lost.build.status === 'failed', 'the report', 60_000);
  expect(lost.build.reports.at(-1)).toMatchObject({
    type: 'fail',
    verdict: 'worker_lost',
    evidence: { vm: 'running' },
  });
});

test('otherwise the build goes on, and its result and log arrive later', { timeout: 240_000 }, async () => {
  await using lost = await lostWith(false);
  expect(lost.events).toContainEqual(expect.objectContaining({ type: 'result', outcome: 'succeeded' }));
  await until(() => lost.build.status === 'succeeded', 'the report', 60_000);
  await until(() => lost.build.log.toString() === 'begun\nlast\n', 'the log', 60_000);
});

test('an outage that lasts for longer than is forgiven ends it all the same', { timeout: 240_000 }, async () => {
  await using lost = await lostWith(false, { outageMs: 3_000 });
  expect(lost.events).toContainEqual(
    expect.objectContaining({ type: 'result', verdict: 'worker_lost', step: 'contact' }),
  );
  expect(lost.host.vms()).toEqual([]);
});

test('while the platform says that its quota is used up, a build goes on although another attempt is possible', {
  timeout: 240_000,
}, async () => {
  await using lost = await lostWith(true, { outageMs: 120_000 }, 'error code: 1027');
  await until(() => lost.build.status === 'succeeded', 'the result arrives', 90_000);
  expect(lost.build.log.toString()).toBe('begun\nlast\n');
});

test('an outage with a name ends a build at the limit for outages, and the verdict names it', {
  timeout: 240_000,
}, async () => {
  await using lost = await lostWith(true, { outageMs: 4_000 }, 'error code: 1027');
  await until(() => lost.build.reports.length > 1, 'the verdict is reported', 90_000);
  expect(lost.build.reports.at(-1)).toMatchObject({
    verdict: 'worker_lost',
    message: expect.stringContaining('has used up its requests of the day'),
  });
});
