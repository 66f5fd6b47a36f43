import { expect, test } from 'vitest';
import { scriptedTart } from '../factories/scripted-tart.ts';

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
    list: listOf(
      vm('a', 'suspended'),
      { ...withoutState, SizeOnDisk: 3 },
      { ...vm('c', 'running'), Disk: null, Size: null, Accessed: '2026-05-12T21:45:18Z' },
      { ...vm('ghcr.io/x/y:z'), Source: 'OCI' },
    ),
  });
  expect(await scripted.tart.list()).toEqual({
    ok: true,
    vms: [
      { name: 'a', source: 'local', state: 'suspended', accessedAt: null, sizeGb: 25 },
      { name: 'b', source: 'local', state: 'running', accessedAt: null, sizeGb: 25 },
      { name: 'c', source: 'local', state: 'running', accessedAt: new Date('2026-05-12T21:45:18Z'), sizeGb: null },
      { name: 'ghcr.io/x/y:z', source: 'oci', state: 'stopped', accessedAt: null, sizeGb: 25 },
    ],
  });
  expect(scripted.calls()).toEqual(['list --format json']);
});

test('a state that a newer Tart has does not hide the list', async () => {
  using scripted = scriptedTart({
    list: listOf(vm('a', 'flying'), { ...vm('b', 'flying'), Running: true }, vm('c', 'running')),
  });
  expect(await scripted.tart.list()).toMatchObject({
    vms: [
      { name: 'a', state: 'unknown' },
      { name: 'b', state: 'running' },
      { name: 'c', state: 'running' },
    ],
  });
});

// Each row is how tart fails once, before it answers.
test.for([
  ['that fails while another VM is deleted', 'echo "The file config.json does not exist" >&2; exit 1'],
  ['that does not find the VM that is deleted', 'echo "the specified VM \\"x\\" does not exist" >&2; exit 2'],
  ['that is killed', 'kill -9 $$'],
  ['of which half an answer is there', `echo '[{"Name":"a"'`],
] as const)('a list %s is asked for again', async ([, once]) => {
  using scripted = scriptedTart({
    list: `if [ -e "$HOME_DIR/once" ]; then ${listOf(vm('a'))}; else touch "$HOME_DIR/once"; ${once}; fi`,
  });
  expect(await scripted.tart.list()).toMatchObject({ ok: true, vms: [{ name: 'a' }] });
  expect(scripted.calls().length).toBe(2);
});

test('a list that always fails is asked for five times', async () => {
  using broken = scriptedTart({ list: 'echo no >&2; exit 1' });
  expect(await broken.tart.list()).toMatchObject({ ok: false, kind: 'failed' });
  expect(broken.calls().length).toBe(5);
});

test.for(['echo hello', 'echo "{}"', `echo '[{"Name":1}]'`, 'true'])(
  'an answer that is no list is garbage: %s',
  async (list) => {
    using scripted = scriptedTart({ list });
    expect(await scripted.tart.list()).toMatchObject({ ok: false, step: 'list', kind: 'garbage' });
  },
);

test.for<[string, number, string]>([
  ['the specified VM "x" does not exist', 2, 'not_found'],
  ['Error: the specified VM "x" does not exist', 1, 'not_found'],
  ['failed to open lock file /x: No such file', 1, 'not_found'],
  ['The number of VMs exceeds the system limit (other running VMs: a, b)', 1, 'vm_limit'],
  ['Error Domain=VZErrorDomain Code=2 "Failed to lock auxiliary storage."', 1, 'disk_locked'],
  ['Error Domain=VZErrorDomain Code=1 "The virtual machine failed to start."', 1, 'start_refused'],
  ['Error: InitializationFailed(why: "softnet not found in PATH")', 1, 'no_softnet'],
  ['Error: SoftnetFailed("tcgetpgrp(2) failed: Inappropriate ioctl for device")', 1, 'no_softnet'],
  ['failed to configure SUID bit on Softnet executable with Sudo', 1, 'no_softnet'],
  ['something else', 1, 'failed'],
  ['', 64, 'failed'],
])('tart says %j with exit code %i: %s', async ([message, exitCode, kind]) => {
  using scripted = scriptedTart({ list: listOf(vm('x')), set: `echo '${message}' >&2; exit ${exitCode}` });
  const result = await scripted.tart.set('x', {});
  expect(result).toMatchObject({ ok: false, step: 'set', kind, exitCode });
  expect((result as { message: string }).message).toContain(message.replace(/^Error: /, '') || 'exit code 64');
});

test('a Tart that needs a newer macOS dies before it says anything, and the library is named', async () => {
  using scripted = scriptedTart({
    '--version': `printf '%s\\n' 'dyld[811]: Library not loaded: @rpath/libswiftCompatibilitySpan.dylib' '  Referenced from: <1F> /opt/homebrew/bin/tart' "  Reason: tried: '/usr/lib/swift/libswiftCompatibilitySpan.dylib' (no such file)" >&2; kill -ABRT $$`,
  });
  expect(await scripted.tart.version()).toMatchObject({
    ok: false,
    kind: 'does_not_load',
    message: 'this tart does not start on this macOS, which lacks libswiftCompatibilitySpan.dylib',
  });
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
