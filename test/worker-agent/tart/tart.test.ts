import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { processStartTime } from '../../../worker-agent/mac/process-identity.ts';
import { createTart } from '../../../worker-agent/tart/tart.ts';
import { scriptedTart } from '../factories/scripted-tart.ts';
import { until } from '../factories/until.ts';

const vm = (Name: string, State = 'stopped') => ({
  Name,
  Source: 'local',
  Disk: 50,
  Size: 25,
  Running: State === 'running',
  State,
});
const listOf = (...vms: object[]) => `echo '${JSON.stringify(vms)}'`;

test('the list is read as every version prints it', async () => {
  const { State: _, ...withoutState } = vm('b', 'running');
  using scripted = scriptedTart({
    list: listOf(vm('a', 'suspended'), { ...withoutState, SizeOnDisk: 3 }, { ...vm('ghcr.io/x/y:z'), Source: 'OCI' }),
  });
  expect(await scripted.tart.list()).toEqual({
    ok: true,
    vms: [
      { name: 'a', source: 'local', state: 'suspended' },
      { name: 'b', source: 'local', state: 'running' },
      { name: 'ghcr.io/x/y:z', source: 'oci', state: 'stopped' },
    ],
  });
  expect(scripted.calls()).toEqual(['list --format json']);
});

test.for([
  'echo hello',
  'echo "{}"',
  `echo '[{"Name":1}]'`,
  'true',
  `echo '[{"Name":"a","Source":"local","State":"flying"}]'`,
])('an answer that is no list is garbage: %s', async (list) => {
  using scripted = scriptedTart({ list });
  expect(await scripted.tart.list()).toMatchObject({ ok: false, step: 'list', kind: 'garbage' });
});

test.for<[string, number, string]>([
  ['the specified VM "x" does not exist', 2, 'not_found'],
  ['Error: the specified VM "x" does not exist', 1, 'not_found'],
  ['failed to open lock file /x: No such file', 1, 'not_found'],
  ['The number of VMs exceeds the system limit (other running VMs: a, b)', 1, 'vm_limit'],
  ['Error Domain=VZErrorDomain Code=2 "Failed to lock auxiliary storage."', 1, 'disk_locked'],
  ['Error Domain=VZErrorDomain Code=1 "The virtual machine failed to start."', 1, 'start_refused'],
  ['Error: InitializationFailed(why: "softnet not found in PATH")', 1, 'no_softnet'],
  ['something else', 1, 'failed'],
  ['', 64, 'failed'],
])('tart says %j with exit code %i: %s', async ([message, exitCode, kind]) => {
  using scripted = scriptedTart({ list: listOf(vm('x')), set: `echo '${message}' >&2; exit ${exitCode}` });
  const result = await scripted.tart.set('x', {});
  expect(result).toMatchObject({ ok: false, step: 'set', kind, exitCode });
  expect((result as { message: string }).message).toContain(message.replace(/^Error: /, '') || 'exit code 64');
});

test('a tart that is not there is told as that', async () => {
  const tart = createTart({ tartPath: '/nowhere/tart' });
  expect(await tart.list()).toMatchObject({ kind: 'no_tart', message: expect.stringContaining('/nowhere/tart') });
  using scripted = scriptedTart({});
  expect(await tart.startRun('x', { logFile: join(scripted.dir, 'log') })).toMatchObject({ kind: 'no_tart' });
});

test('a tart that hangs is left when the signal says so', async () => {
  using scripted = scriptedTart({ list: 'exec sleep 300' });
  const abort = new AbortController();
  const listing = scripted.tart.list(abort.signal);
  await until(() => scripted.calls().length > 0, 'tart runs');
  abort.abort();
  expect(await listing).toMatchObject({ ok: false, kind: 'aborted' });
});

test('a tart that hangs is killed at its limit, even if a child of it holds on to its output', async () => {
  using scripted = scriptedTart({ list: 'sleep 20 & exec sleep 300', get: '' });
  const { tartPath } = scripted;
  const tart = createTart({ tartPath, limitsMs: { list: 200 } });
  expect(await tart.list()).toMatchObject({
    ok: false,
    step: 'list',
    kind: 'timeout',
    message: expect.stringContaining('0.2 s'),
  });
});

test('a tart that never stops printing is garbage', async () => {
  using scripted = scriptedTart({ list: 'exec yes' });
  expect(await scripted.tart.list()).toMatchObject({ ok: false, kind: 'garbage' });
});

test('an existing VM is never cloned over, and a missing source is named', async () => {
  using scripted = scriptedTart({ list: listOf(vm('base'), vm('taken')), clone: 'exit 0' });
  expect(await scripted.tart.clone('base', 'taken')).toMatchObject({ step: 'clone', kind: 'already_exists' });
  expect(await scripted.tart.clone('none', 'new')).toMatchObject({ step: 'clone', kind: 'not_found' });
  expect(await scripted.tart.clone('base', 'new')).toEqual({ ok: true });
  expect(scripted.calls().filter((call) => call.startsWith('clone'))).toEqual(['clone base new']);
});

test('set gives a new MAC address and the hardware asked for, but leaves a suspended VM alone', async () => {
  using scripted = scriptedTart({ list: listOf(vm('a'), vm('s', 'suspended')), set: 'exit 0' });
  await scripted.tart.set('a', { cpus: 4, memoryMb: 8192, display: '1920x1080' });
  await scripted.tart.set('a', {});
  await scripted.tart.set('s', { cpus: 4 });
  expect(scripted.calls().filter((call) => call.startsWith('set'))).toEqual([
    'set a --random-mac --cpu 4 --memory 8192 --display 1920x1080',
    'set a --random-mac',
  ]);
});

test('an address is an IPv4 or it is garbage', async () => {
  using scripted = scriptedTart({
    ip: 'case "$2" in a) echo 192.168.64.7 ;; b) echo "hello 1.2.3" ;; *) echo "no IP address found, is your VM running?" >&2; exit 1 ;; esac',
  });
  expect(await scripted.tart.ip('a')).toEqual({ ok: true, address: '192.168.64.7' });
  expect(await scripted.tart.ip('b')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.ip('c', { waitSeconds: 5 })).toMatchObject({ kind: 'no_address' });
  expect(scripted.calls()).toEqual(['ip a', 'ip b', 'ip c --wait 5']);
});

test('a run is detached, writes to its file, and its end is noticed with its exit code and its words', async () => {
  using scripted = scriptedTart({
    run: 'echo "booting $*"; while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done; echo "it broke" >&2; exit 1',
  });
  const logFile = join(scripted.dir, 'runs', 'x.log');
  const started = await scripted.tart.startRun('x', { logFile });
  if (!started.ok) throw new Error(started.message);
  const { run } = started;
  expect(await scripted.tart.isRunAlive(run)).toBe(true);
  expect(await scripted.tart.isRunAlive({ ...run, startTime: 'another' })).toBe(false);
  writeFileSync(join(scripted.dir, 'end'), '');
  expect(await scripted.tart.waitForRunExit(run)).toEqual({ exitCode: 1 });
  expect(await scripted.tart.isRunAlive(run)).toBe(false);
  const why = await scripted.tart.explainRunExit(logFile, 1);
  expect(why).toMatchObject({ step: 'run', kind: 'failed' });
  expect(why.message).toContain('booting run x --no-graphics');
  expect(why.message).toContain('it broke');
});

test("neither the agent's death nor Ctrl-C in its terminal takes the VM with it", async () => {
  using scripted = scriptedTart({ run: 'while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done' });
  const module = new URL('../../../worker-agent/tart/tart.ts', import.meta.url).href;
  const script = `import { createTart } from '${module}';
    const tart = createTart({ tartPath: ${JSON.stringify(scripted.tartPath)} });
    console.log(JSON.stringify(await tart.startRun('x', { logFile: ${JSON.stringify(join(scripted.dir, 'log'))} })));
    setInterval(() => {}, 1000);`;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(agent.stdout!, 'data');
  const { run } = JSON.parse(String(line));
  const gone = once(agent, 'exit');
  process.kill(-agent.pid!, 'SIGINT');
  process.kill(-agent.pid!, 'SIGKILL');
  await gone;
  expect(await scripted.tart.isRunAlive(run)).toBe(true);
  writeFileSync(join(scripted.dir, 'end'), '');
  await scripted.tart.waitForRunExit(run);
});

test("another agent's run is watched by looking, and the wait can be given up", async () => {
  using scripted = scriptedTart({ run: 'while [ -d "$HOME_DIR" ] && [ ! -e "$HOME_DIR/end" ]; do sleep 0.05; done' });
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  const stranger = createTart({ tartPath: scripted.tartPath });
  const abort = new AbortController();
  const waiting = stranger.waitForRunExit(started.run, abort.signal);
  abort.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  const ended = stranger.waitForRunExit(started.run);
  writeFileSync(join(scripted.dir, 'end'), '');
  expect(await ended).toEqual({ exitCode: null });
});

test('the two-VM limit is read from the log of the run', async () => {
  using scripted = scriptedTart({ run: 'echo "The number of VMs exceeds the system limit" >&2; exit 1' });
  const logFile = join(scripted.dir, 'log');
  const started = await scripted.tart.startRun('x', { logFile });
  if (started.ok) await scripted.tart.waitForRunExit(started.run);
  expect((await scripted.tart.explainRunExit(logFile, 1)).kind).toBe('vm_limit');
});

const REMOVABLE = {
  list: `if [ -e "$HOME_DIR/vm" ]; then ${listOf(vm('x', 'running'))}; else echo '[]'; fi`,
  stop: 'exit 0',
  delete: 'rm "$HOME_DIR/vm" || { echo "the specified VM \\"x\\" does not exist" >&2; exit 2; }',
};

test('removing a VM that was never there is well', async () => {
  using scripted = scriptedTart(REMOVABLE);
  expect(await scripted.tart.remove('x')).toEqual({ ok: true });
  expect(scripted.calls()).toEqual(['list --format json']);
});

test('removing stops, deletes, and asks the list', async () => {
  using scripted = scriptedTart(REMOVABLE);
  writeFileSync(join(scripted.dir, 'vm'), '');
  expect(await scripted.tart.remove('x')).toEqual({ ok: true });
  expect(scripted.calls().map((call) => call.split(' ')[0])).toEqual(['list', 'stop', 'delete', 'list']);
});

test('a run that does not stop is killed before its VM is deleted', async () => {
  using scripted = scriptedTart({
    ...REMOVABLE,
    run: `trap '' INT TERM; while [ -d "$HOME_DIR" ]; do sleep 0.1; done`,
  });
  writeFileSync(join(scripted.dir, 'vm'), '');
  const started = await scripted.tart.startRun('x', { logFile: join(scripted.dir, 'log') });
  if (!started.ok) throw new Error(started.message);
  expect(await scripted.tart.remove('x', { run: started.run })).toEqual({ ok: true });
  await until(async () => (await processStartTime(started.run.pid)) === null, 'the run is gone');
});

test('a VM that cannot be deleted is a failure in the end, not a success', async () => {
  using scripted = scriptedTart({ ...REMOVABLE, delete: `echo 'VM "x" is running' >&2; exit 1` });
  writeFileSync(join(scripted.dir, 'vm'), '');
  expect(await scripted.tart.remove('x')).toMatchObject({ ok: false, step: 'delete', kind: 'already_running' });
});

test('the MAC address of a clone comes from its config, as Tart has written it', async () => {
  using scripted = scriptedTart({});
  const config = (name: string, text: string) => {
    mkdirSync(join(scripted.dir, 'home', 'vms', name), { recursive: true });
    writeFileSync(join(scripted.dir, 'home', 'vms', name, 'config.json'), text);
  };
  config('a', '{"version":1,"macAddress":"7E:1:2:3:4:5"}');
  config('b', '{"version":1}');
  config('c', 'half a fi');
  config('e', '{"macAddress":"none"}');
  expect(await scripted.tart.macAddress('a')).toEqual({ ok: true, macAddress: '7E:1:2:3:4:5' });
  expect(await scripted.tart.macAddress('b')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.macAddress('c')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.macAddress('e')).toMatchObject({ kind: 'garbage' });
  expect(await scripted.tart.macAddress('d')).toMatchObject({ kind: 'not_found' });
});
