import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { until } from '../factories/until.ts';
import { BASE, simulatedMac } from './simulated-mac.ts';

test('a clone boots, has an address, answers over SSH, stops and is gone', async () => {
  await using mac = await simulatedMac();
  expect(await mac.tart('clone', BASE, 'vm')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  const running = mac.run('vm');
  using ssh = await mac.connect('vm');
  expect((await ssh.exec('echo alive')).stdout).toBe('alive\n');
  const [row] = JSON.parse((await mac.tart('list', '--format', 'json')).stdout).filter(
    (vm: { Name: string }) => vm.Name === 'vm',
  );
  expect(row).toEqual({
    ...{ Source: 'local', Name: 'vm', Disk: 50, Size: 0, Running: true, State: 'running' },
    Accessed: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  });
  expect(await mac.tart('delete', 'vm')).toMatchObject({ exitCode: 1, stderr: 'VM "vm" is running' });
  expect(await mac.tart('stop', 'vm')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  expect(await running.ended).toMatchObject({ exitCode: 0, stdout: 'Stopping VM...\n', stderr: '' });
  expect(await mac.tart('stop', 'vm')).toMatchObject({ exitCode: 2, stderr: 'VM "vm" is not running' });
  await mac.nothingLives();
  expect(await mac.tart('delete', 'vm')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  expect(await mac.names()).toEqual([BASE]);
});

test('a guest looks like a Mac from inside, with what the image brings', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  const line = async (command: string) => (await ssh.exec(command)).stdout.trim();
  expect(await line('ifconfig')).toContain(`ether ${mac.config('vm').macAddress}`);
  expect(await line('df -k / | tail -1')).toMatch(/^\/dev\/disk3s1s1\s+\d+\s+\d+\s+6\d{7}\s+56%/);
  expect(await line('sw_vers -productName')).toBe('macOS');
  expect(await line('echo $HOME')).toBe(join(mac.folder('vm'), 'guest', 'Users', 'builder'));
  expect(await line('echo $PATH')).toMatch(/facade:\/usr\/bin:\/bin:\/usr\/sbin:\/sbin$/);
  expect(await line('ls $TARTBEAT_ROOT/usr/local/bin')).toContain('vm-monitor.sh');
  expect(await line('bash -lc "node --version"')).toBe(process.version);
  expect(await line('bash -lc "npm --version"')).toMatch(/^\d+\.\d+\.\d+$/);
});

test('a guest that shuts itself down ends the run with 0, and so does one that crashes', async () => {
  await using mac = await simulatedMac();
  const shutting = await mac.boot('vm');
  void shutting.ssh.exec('sudo -n shutdown -h now').catch(() => {});
  expect(await shutting.ended).toMatchObject({ exitCode: 0, stdout: 'guest has stopped the virtual machine\n' });
  await mac.nothingLives();
});

test('a clone keeps the MAC address of its image unless it is taken, and replaces nothing unasked', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'first');
  expect(mac.config('first').macAddress).not.toBe(mac.config(BASE).macAddress);
  await mac.tart('rename', BASE, 'kept');
  await mac.tart('delete', 'first');
  writeFileSync(join(mac.folder('kept'), 'guest', 'mark'), '');
  await mac.tart('clone', 'kept', 'first');
  const before = mac.config('first').macAddress;
  await mac.tart('set', 'first', '--random-mac');
  expect(mac.config('first').macAddress).not.toBe(before);
  writeFileSync(join(mac.folder('first'), 'guest', 'own'), '');
  expect(await mac.tart('clone', 'kept', 'first')).toMatchObject({
    exitCode: 64,
    stderr: expect.stringMatching(/^Error: VM "first" already exists, use --overwrite to replace it\nUsage: tart <sub/),
  });
  expect(existsSync(join(mac.folder('first'), 'guest', 'own'))).toBe(true);
  expect(await mac.tart('clone', 'kept', 'first', '--overwrite')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  expect(existsSync(join(mac.folder('first'), 'guest', 'own'))).toBe(false);
  expect(existsSync(join(mac.folder('first'), 'guest', 'mark'))).toBe(true);
});

test('clones share the host key of their image', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'vm');
  const key = (name: string) =>
    readFileSync(join(mac.folder(name), 'guest', 'etc', 'ssh', 'ssh_host_ed25519_key.pub'), 'utf8');
  expect(key('vm')).toBe(key(BASE));
});

test('the third macOS VM is refused after it has shown as running; a second run of one VM, too', async () => {
  await using mac = await simulatedMac();
  await mac.boot('a');
  await mac.boot('b');
  await mac.tart('clone', BASE, 'c');
  const refused = await mac.run('c').ended;
  expect(refused).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: 'The number of VMs exceeds the system limit (other running VMs: a, b)\n',
  });
  expect((await mac.tart('get', 'c', '--format', 'json')).stdout).toContain('"State" : "stopped"');
  expect(await mac.run('a').ended).toMatchObject({ exitCode: 2, stderr: 'VM "a" is already running!\n' });
});

test('the address of a stopped VM is still told, and one that was never run has none, after a second', async () => {
  await using mac = await simulatedMac();
  await mac.boot('vm');
  const before = await mac.address('vm');
  await mac.tart('stop', 'vm');
  expect(await mac.address('vm')).toBe(before);
  const startedAt = performance.now();
  expect(await mac.tart('ip', BASE)).toEqual({
    exitCode: 1,
    stdout: '',
    stderr: 'no IP address found, is your VM running?',
  });
  expect(performance.now() - startedAt).toBeGreaterThan(1_000);
});

test('SIGTERM kills `tart run`, and nothing of its VM is left', async () => {
  await using mac = await simulatedMac();
  const vm = await mac.boot('vm');
  process.kill(vm.pid, 'SIGTERM');
  expect(await vm.ended).toMatchObject({ signal: 'SIGTERM', stdout: '' });
  await mac.nothingLives();
});

test('a suspended VM says so, and a stop throws its state away', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'vm');
  const running = mac.run('vm', '--suspendable');
  await mac.connect('vm');
  expect((await mac.tart('suspend', 'vm')).exitCode).toBe(0);
  expect(await running.ended).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('snapshot created') });
  expect((await mac.tart('list')).stdout).toMatch(/vm .* suspended$/m);
  expect((await mac.tart('stop', 'vm')).exitCode).toBe(0);
  expect((await mac.tart('list')).stdout).toMatch(/vm .* stopped$/m);
});

test('images have two names, and are cloned like VMs', async () => {
  await using mac = await simulatedMac();
  const reference = 'ghcr.io/cirruslabs/macos-tahoe-base:latest';
  expect((await mac.tart('clone', reference, 'vm')).stdout).toMatch(/^pulling manifest\.\.\.\n/);
  const names = (await mac.tart('list', '-q', '--source', 'oci')).stdout.split('\n');
  expect(names).toEqual([
    reference,
    expect.stringMatching(/^ghcr\.io\/cirruslabs\/macos-tahoe-base@sha256:[0-9a-f]{64}$/),
  ]);
  expect(await mac.names()).toContain('vm');
});

test('a VM with files missing is not listed and cannot be opened', async () => {
  await using mac = await simulatedMac();
  mkdirSync(mac.folder('broken'));
  writeFileSync(join(mac.folder('broken'), 'config.json'), '{}');
  expect(await mac.names()).toEqual([BASE]);
  expect(await mac.tart('get', 'broken')).toMatchObject({ exitCode: 1, stderr: /missing some of its files/ });
});

test('names that would leave TART_HOME name no VM', async () => {
  await using mac = await simulatedMac();
  for (const name of ['..', '.', '../../etc', '/etc'])
    expect((await mac.tart('delete', name)).exitCode, name).not.toBe(0);
  await until(async () => (await mac.names()).length === 1, 'the base image is still there');
});
