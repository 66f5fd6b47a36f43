/** Tests faults of the agent: it is killed at any moment, stopped, or started twice. */
import { cpSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess, type TimedAgentEvent } from '../../local/farm/agent-process.ts';
import { FOLDER_MARK } from '../../local/farm/leftovers.ts';
import { rotateKeyCommand } from '../../worker-agent/commands/rotate-key.ts';
import { FaultFarm } from './factories/fault-farm.ts';

let macs: FaultFarm;
beforeAll(async () => {
  macs = await FaultFarm.start({ macs: 2 });
});
afterAll(() => macs?.[Symbol.asyncDispose]());

/** The command counts its starts in a file, so a second run would show in the log and in the artifact. */
const COMMAND =
  'echo run >>"$HOME/runs"; for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.4; done; cp "$HOME/runs" runs';
const LOG = 'line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n';

/** The longest time that a short command in the VM may take. */
const ANSWER_MS = 30_000;

/** The moments of an attempt, from the claim to the free slot. */
const INSTANTS: [when: string, fields: Record<string, unknown>][] = [
  ['its claim', { type: 'claimed' }],
  ['the clone', { type: 'step', step: 'clone', status: 'started' }],
  ['the set', { type: 'step', step: 'set', status: 'started' }],
  ['the run', { type: 'step', step: 'run', status: 'started' }],
  ['the wait for an address', { type: 'step', step: 'address', status: 'started' }],
  ['the wait for SSH', { type: 'step', step: 'ssh', status: 'started' }],
  ['the checks', { type: 'check', id: 'ssh' }],
  ['the start of the monitor', { type: 'step', step: 'monitor', status: 'started' }],
  ['the first heartbeat', { type: 'step', step: 'first_heartbeat', status: 'started' }],
  ['the unpacking of the source', { type: 'step', step: 'source', status: 'started' }],
  ['the start of the command', { type: 'step', step: 'command', status: 'started' }],
  ['the command’s first moments', { type: 'step', step: 'command', status: 'done' }],
  ['the shipping of the log', { type: 'log' }],
  ['the collection of artifacts', { type: 'stage', stage: 'collecting' }],
  ['the upload of artifacts', { type: 'artifact', status: 'found' }],
  ['the writing down of the result', { type: 'result' }],
  ['the report', { type: 'reported' }],
  ['the removal of the VM', { type: 'slot_free' }],
];

/** No deadline may be faster than an agent that starts again on a busy machine. */
const UNHURRIED = { heartbeatTimeoutMs: 60_000, workerTimeoutMs: 60_000 };

for (const [when, fields] of INSTANTS)
  test.concurrent(`an agent that is killed during ${when} goes on after its restart, and the build is built once`, async () => {
    await using mac = await macs.take();
    const killed = mac.killAgentAt(fields);
    const build = await mac.build({ command: COMMAND, artifacts: ['runs'], timeouts: UNHURRIED });
    await killed;
    await mac.mac.startAgent();
    const { attempt } = await build.succeeds(LOG);
    expect(attempt).toBe(1);
    expect(await build.artifact('runs')).toBe('run\n');
    await mac.settles();
  });

test.concurrent('a worker renews its key while it builds: the old key ends at once, the build and the worker go on', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done' });
  await build.prints('begun');
  const oldKey = mac.apiKey();
  const { keyId } = await mac.ask<{ keyId: string }>('GET', '/api/me', oldKey);
  await rotateKeyCommand({ config: mac.mac.configPath });
  expect(mac.apiKey()).not.toBe(oldKey);
  await mac.ask('POST', `/api/keys/${keyId}/rotate?overlapMs=0`, mac.farm.controller.secrets.ADMIN_KEY);
  await expect(mac.ask('GET', '/api/me', oldKey)).rejects.toThrow('401');
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  // A claim needs the key, so the next build proves that the agent has the new key.
  await mac.recovers();
});

test.concurrent('an agent that comes back to a vanished VM says worker_restarted', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; sleep 600', timeouts: UNHURRIED });
  await build.prints('begun');
  await mac.mac.killAgent();
  mac.killTartRun(build.id);
  await mac.mac.startAgent();
  await build.fails({ verdict: 'worker_restarted', cause: 'vm_exited' });
  await mac.recovers();
});

test.concurrent('an agent that is told to leave finishes its build first, with heartbeats going on', async () => {
  await using mac = await macs.take();
  const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done' });
  await build.prints('begun');
  mac.mac.agent?.signal('SIGTERM');
  await mac.says('draining');
  const before = (await build.read()).live?.agentBeatAt ?? '';
  await build.reaches(
    ({ live }) => Date.parse(live?.agentBeatAt ?? '') > Date.parse(before) + 17_000,
    'goes on beating',
  );
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  expect(await mac.mac.agent?.exited).toBe(0);
  expect(await mac.mac.vms()).toEqual([]);
  await mac.mac.startAgent();
  await mac.settles();
});

for (const vm of ['its VM not', 'its VM too'])
  test.concurrent(`an agent that sleeps past its deadline, ${vm}, is worker_lost, cause host_asleep; the VM goes on waking`, async () => {
    await using mac = await macs.take();
    const build = await mac.build({ command: 'echo begun; sleep 600' });
    await build.prints('begun');
    if (vm === 'its VM too') await mac.fault('freeze');
    mac.mac.agent?.signal('SIGSTOP');
    await build.ends();
    if (vm === 'its VM too') await mac.clearFault('freeze');
    expect(await mac.mac.vms()).toHaveLength(1);
    mac.mac.agent?.signal('SIGCONT');
    await build.fails({ verdict: 'worker_lost', cause: 'host_asleep' });
    await mac.recovers();
  });

test.concurrent('a Mac that sleeps for longer than an answer of the VM may take, and wakes before its deadline, loses no build', async () => {
  await using mac = await macs.take();
  const build = await mac.build({
    command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done',
    timeouts: { workerTimeoutMs: 180_000, heartbeatTimeoutMs: 180_000 },
  });
  await build.prints('begun');
  await mac.fault('freeze');
  await mac.until(() => mac.sshHangs(), 'the agent waits for an answer');
  mac.mac.agent?.signal('SIGSTOP');
  await mac.clearFault('freeze');
  await sleep(ANSWER_MS + 2_000);
  mac.mac.agent?.signal('SIGCONT');
  await mac.inSource(build.id, 'go');
  await build.succeeds('begun\ndone\n');
  await mac.settles();
});

for (const state of ['and has a state of its own', 'and was copied with its state'])
  test.concurrent(`a second agent that has the identity of another ${state} is refused, and the build of the first goes on`, async () => {
    await using mac = await macs.take();
    const build = await mac.build({ command: 'echo begun; while [ ! -e go ]; do sleep 0.2; done; echo done' });
    await build.prints('begun');
    const folder = dirname(mac.mac.configPath);
    const copy = join(folder, '..', `copy-${Date.now()}`);
    mkdirSync(copy);
    cpSync(mac.mac.configPath, join(copy, 'config.json'));
    if (state.includes('copied'))
      await mac.whileAgentStands(() => cpSync(join(folder, 'state'), join(copy, 'state'), { recursive: true }));
    const events: TimedAgentEvent[] = [];
    await using second = new AgentProcess({
      configPath: join(copy, 'config.json'),
      env: { [FOLDER_MARK]: macs.farm.dir },
      onEvent: (event) => events.push(event),
    });
    const refused = () =>
      events.some((event) => event.type === 'idle' && event.reason?.startsWith('worker_in_use')) || !second.running;
    await mac.until(refused, 'the second agent is refused');
    await mac.inSource(build.id, 'go');
    await build.succeeds('begun\ndone\n');
    await second.stop();
    await mac.settles();
  });
