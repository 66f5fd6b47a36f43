import { expect, test } from 'vitest';
import { AttemptClient } from '../../../client/attempt-client.ts';
import { Connection } from '../../../client/request.ts';
import type { AttemptEvent } from '../../../worker-agent/events.ts';
import { Beats } from '../../../worker-agent/heartbeat/beats.ts';
import { until } from '../factories/until.ts';
import { standInController, WORKER_ID } from '../servers/stand-in-controller.ts';

const SOURCE = { id: 'b1', command: 'true', source: Buffer.from('x') };

async function beating({
  answeredNextMs,
  ...change
}: {
  nextMs?: number;
  requestMs?: number;
  answeredNextMs?: number;
} = {}) {
  const controller = await standInController();
  if (answeredNextMs !== undefined) controller.beatNextMs = answeredNextMs;
  const build = controller.submit(SOURCE);
  Object.assign(build, { attempt: 1, status: 'assigned' });
  const client = new AttemptClient(
    new Connection({ url: controller.url, key: 'k', requestMs: 1_000, transferStallMs: 1_000 }),
  );
  const events: AttemptEvent[] = [];
  const stops: string[] = [];
  let accepted = 0;
  const beats = new Beats({
    client,
    buildId: 'b1',
    workerId: WORKER_ID,
    attempt: 1,
    stage: 'booting',
    nextMs: 20,
    repeatMs: 20,
    requestMs: 5_000,
    emit: (event) => events.push(event),
    onAccepted: () => accepted++,
    onStop: (message) => stops.push(message),
    ...change,
  });
  beats.start();
  return {
    controller,
    build,
    beats,
    events,
    stops,
    accepted: () => accepted,
    async [Symbol.asyncDispose]() {
      await beats[Symbol.asyncDispose]();
      await controller[Symbol.asyncDispose]();
    },
  };
}

test('beats carry source, attempt, stage, and the age of the output while the command runs and it is known', async () => {
  await using one = await beating();
  await until(() => one.accepted() > 0, 'a beat');
  expect(one.build.beats[0]).toEqual({ source: 'agent', attempt: 1, stage: 'booting' });
  one.beats.describeLog(() => ({ outputAgeMs: 12 }));
  one.beats.enter('building');
  await until(() => one.build.beats.some(({ outputAgeMs }) => outputAgeMs === 12), 'a beat with the age of the output');
  one.beats.enter('collecting');
  await until(() => one.build.beats.some(({ stage }) => stage === 'collecting'), 'a beat after the command');
  expect(
    one.build.beats.filter(({ outputAgeMs }) => outputAgeMs !== undefined).map(({ stage }) => stage),
  ).not.toContain('collecting');
});

const AN_HOUR_MS = 3_600_000;

test("the controller's nextMs sets the pace", async () => {
  await using one = await beating({ nextMs: AN_HOUR_MS });
  await until(() => one.accepted() >= 3, 'beats at the pace of the answers');
});

test('a poke beats at once', async () => {
  await using one = await beating({ answeredNextMs: AN_HOUR_MS });
  await until(() => one.accepted() === 1, 'the first beat');
  one.beats.poke();
  await until(() => one.accepted() === 2, 'the beat that was asked for');
});

test('errors of the platform are repeated until one is accepted', async () => {
  await using one = await beating();
  const bad = [
    [500, ''],
    [502, '<html>'],
    [403, '<html>log in</html>'],
    [401, JSON.stringify({ error: { code: 'unauthorized', message: 'a bad deploy' } })],
    [200, '{"half'],
  ] as const;
  const before = one.accepted();
  let served = 0;
  one.controller.intercept = (_request, response) => {
    const next = bad[served++];
    if (next) response.writeHead(next[0]).end(next[1]);
    return next !== undefined;
  };
  await until(() => served > bad.length && one.accepted() > before, 'a beat after all the failures');
  expect(one.stops).toEqual([]);
  expect(one.events.filter((event) => event.type === 'beat' && !event.accepted)).toHaveLength(bad.length);
});

test('a request that hangs holds the next beat no longer than its time limit', async () => {
  await using one = await beating({ requestMs: 50 });
  let hung = 0;
  one.controller.intercept = () => hung++ < 2;
  const before = one.accepted();
  await until(() => hung > 2 && one.accepted() > before, 'a beat after two hung ones');
});

for (const [status, code] of [
  [404, 'not_found'],
  [409, 'stale_attempt'],
  [410, 'attempt_ended'],
] as const)
  test(`${status} in the controller's own words ends the attempt, once`, async () => {
    await using one = await beating();
    one.controller.intercept = (_request, response) => {
      response.writeHead(status).end(JSON.stringify({ error: { code, message: 'over' } }));
      return true;
    };
    await until(() => one.stops.length > 0, 'the end');
    const requests = one.controller.requests.length;
    one.beats.poke();
    await one.beats[Symbol.asyncDispose]();
    expect(one.stops).toEqual(['over']);
    expect(one.controller.requests.length).toBe(requests);
  });

test('the first beat of the VM is known from an answer', async () => {
  await using one = await beating();
  const { signal } = new AbortController();
  const first = one.beats.firstVmBeat(signal);
  await until(() => one.accepted() > 0, 'a beat before the VM has been heard');
  expect(one.beats.vmBeat).toBeNull();
  one.build.vmBeatAt = new Date().toISOString();
  await first;
  expect(one.beats.vmBeat?.at).toBe(one.build.vmBeatAt);
});

test('waiting for the VM ends with the signal', async () => {
  await using one = await beating();
  const controller = new AbortController();
  const first = one.beats.firstVmBeat(controller.signal);
  controller.abort(new Error('over'));
  await expect(first).rejects.toThrow('over');
});
