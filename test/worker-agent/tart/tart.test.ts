import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { processStartTime } from '../../../worker-agent/mac/process-identity.ts';
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

test('an existing VM is never cloned over, and a missing source is named', async () => {
  using scripted = scriptedTart({ list: listOf(vm('base'), vm('taken')), clone: 'exit 0' });
  expect(await scripted.tart.clone('base', 'taken')).toMatchObject({ step: 'clone', kind: 'already_exists' });
  expect(await scripted.tart.clone('none', 'new')).toMatchObject({ step: 'clone', kind: 'not_found' });
  expect(await scripted.tart.clone('base', 'new')).toEqual({ ok: true });
  expect(scripted.calls().filter((call) => call.startsWith('clone'))).toEqual(['clone base new']);
});

test('a name that is taken between the list and the clone is refused by Tart itself', async () => {
  using scripted = scriptedTart({
    list: listOf(vm('base')),
    clone: `echo 'Error: VM "new" already exists, use --overwrite to replace it' >&2; echo 'Usage: tart' >&2; exit 64`,
  });
  expect(await scripted.tart.clone('base', 'new')).toMatchObject({ step: 'clone', kind: 'already_exists' });
});

test('no call lets Tart prune by itself', async () => {
  using scripted = scriptedTart({ list: 'touch "$HOME_DIR/pruned-$TART_NO_AUTO_PRUNE"; echo "[]"' });
  await scripted.tart.list();
  expect(existsSync(join(scripted.dir, 'pruned-1'))).toBe(true);
});

test('set gives a new MAC address, a new serial number and the hardware asked for, but leaves a suspended VM alone', async () => {
  using scripted = scriptedTart({ list: listOf(vm('a'), vm('s', 'suspended')), set: 'exit 0' });
  await scripted.tart.set('a', { cpus: 4, memoryMb: 8192, display: '1920x1080' });
  await scripted.tart.set('a', {});
  await scripted.tart.set('s', { cpus: 4 });
  expect(scripted.calls().filter((call) => call.startsWith('set'))).toEqual([
    'set a --random-mac --random-serial --cpu 4 --memory 8192 --display 1920x1080',
    'set a --random-mac --random-serial',
  ]);
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

test('what a `tart delete` that was killed has left is deleted, though tart does not list it', async () => {
  using scripted = scriptedTart(REMOVABLE);
  const folder = join(scripted.tart.home, 'vms', 'x');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'disk.img'), 'large');
  expect(await scripted.tart.remove('x')).toEqual({ ok: true });
  expect(existsSync(folder)).toBe(false);
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

test('a delete that says "does not exist" is not believed as long as the list shows the VM', async () => {
  using scripted = scriptedTart({
    ...REMOVABLE,
    delete: `if [ -e "$HOME_DIR/lied" ]; then rm "$HOME_DIR/vm"; else
      touch "$HOME_DIR/lied"; echo 'the specified VM "x" does not exist' >&2; exit 2; fi`,
  });
  writeFileSync(join(scripted.dir, 'vm'), '');
  expect(await scripted.tart.remove('x')).toEqual({ ok: true });
  const round = ['list', 'stop', 'delete', 'list'];
  expect(scripted.calls().map((call) => call.split(' ')[0])).toEqual([...round, ...round]);
});

test('a delete that always lies is a failure that names the VM', async () => {
  using scripted = scriptedTart({ ...REMOVABLE, delete: `echo 'the specified VM "x" does not exist' >&2; exit 2` });
  writeFileSync(join(scripted.dir, 'vm'), '');
  expect(await scripted.tart.remove('x')).toMatchObject({
    ok: false,
    message: 'tart list still shows x after 4 calls of tart delete',
  });
});
