import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clearFault, FAULT_NAMES, faultNextClone, setFault } from '../../../worker-agent/tart-simulator/home/faults.ts';
import { until } from '../factories/until.ts';
import { BASE, type SshClient, simulatedMac } from './simulated-mac.ts';

/**
 * Resolves when a connection is closed. A guest that dies may reset it first, which is an error of its own.
 */
const closed = (client: SshClient['client']): Promise<void> =>
  new Promise((resolve) => client.on('error', () => {}).once('close', () => resolve()));

const settles = async (promise: Promise<unknown>, withinMs: number) =>
  Promise.race([
    promise.then(
      () => true,
      () => true,
    ),
    new Promise<false>((resolve) => setTimeout(resolve, withinMs, false)),
  ]);

test('a fault that does not exist is refused with the list of those that do', () => {
  expect(() => setFault('/nowhere', 'vm', 'frezee')).toThrow(/no fault "frezee".*freeze/);
  expect(() => setFault('/nowhere', 'vm', 'freeze')).toThrow('There is no VM "vm" in /nowhere.');
  expect(FAULT_NAMES).toContain('clone-hang');
});

test('freeze: all of the VM stops, its grandchildren too, and nothing answers until it is over', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  void ssh.exec('echo $$ >child; while :; do sleep 0.05; done').catch(() => {});
  void ssh.exec("setsid sh -c 'echo $$ >grandchild; while :; do sleep 0.05; done'").catch(() => {});
  const loops = await until(async () => {
    const { stdout, code } = await ssh.exec('cat child grandchild');
    const pids = stdout.split('\n').filter(Boolean).map(Number);
    return code === 0 && pids.length === 2 ? pids : null;
  }, 'both loops run');
  setFault(mac.home, 'vm', 'freeze');
  await until(() => mac.isFrozen('vm'), 'everything is stopped');
  expect(mac.members('vm').map(({ pid }) => pid)).toEqual(expect.arrayContaining(loops));
  const answer = ssh.exec('echo alive');
  expect(await settles(answer, 1_000)).toBe(false);
  expect((await mac.tart('list')).stdout).toMatch(/vm .* running$/m);
  clearFault(mac.home, 'vm', 'freeze');
  expect((await answer).stdout).toBe('alive\n');
  setFault(mac.home, 'vm', 'freeze');
  await until(() => mac.isFrozen('vm'), 'everything is stopped again');
  await mac.tart('stop', 'vm');
  await mac.nothingLives();
});

test('crash: tart run ends with 0 and says why', async () => {
  await using mac = await simulatedMac();
  const vm = await mac.boot('vm');
  setFault(mac.home, 'vm', 'crash');
  expect(await vm.ended).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/^guest has stopped the virtual machine due to error: /),
  });
  await mac.nothingLives();
});

for (const [kind, isAsked] of [
  ['guest-reboot', true],
  ['guest-panic', false],
] as const)
  test(`${kind}: every process of the guest ends, tart run lives on, and SSH is back at the same address`, async () => {
    await using mac = await simulatedMac();
    const vm = await mac.boot('vm');
    const before = await guestOf(mac, vm.ssh);
    const trapping = vm.ssh.exec('trap ": >asked; exit" TERM; touch $TMPDIR/temporary; while :; do sleep 0.05; done');
    trapping.catch(() => {});
    await until(async () => (await vm.ssh.exec('ls $TMPDIR')).stdout !== '', 'a process runs');
    const dropped = closed(vm.ssh.client);
    setFault(mac.home, 'vm', `${kind}:200`);
    await dropped;
    using again = await connectAgain(mac);
    const after = await guestOf(mac, again);
    expect(after).toMatchObject({ address: before.address, hostKey: before.hostKey });
    expect(after.session).not.toBe(before.session);
    expect(Number(after.bootedAt)).toBeGreaterThanOrEqual(Number(before.bootedAt));
    expect((await again.exec('ls $TMPDIR')).stdout).toBe('');
    expect((await again.exec('ls asked')).code === 0).toBe(isAsked);
    const reports = 'ls "$TARTBEAT_ROOT/Library/Logs/DiagnosticReports"';
    expect((await again.exec(reports)).stdout.includes('.panic')).toBe(!isAsked);
    expect((await mac.tart('list')).stdout).toMatch(/vm .* running$/m);
    expect(await settles(vm.ended, 0)).toBe(false);
    // The fault strikes once, so the guest that came back stays.
    await mac.tart('stop', 'vm');
    expect(await vm.ended).toMatchObject({ exitCode: 0, stdout: 'Stopping VM...\n' });
    await mac.nothingLives();
  });

test('a guest that restarts itself comes back as another start of the same VM', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  const { session } = await guestOf(mac, ssh);
  const dropped = closed(ssh.client);
  await ssh.exec('sudo -n shutdown -r now');
  await dropped;
  using again = await connectAgain(mac);
  expect((await guestOf(mac, again)).session).not.toBe(session);
});

test('dead-restart: the guest is gone for good, its address stays, and tart run lives on until it is stopped', async () => {
  await using mac = await simulatedMac();
  const vm = await mac.boot('vm');
  const address = await mac.address('vm');
  const dropped = closed(vm.ssh.client);
  setFault(mac.home, 'vm', 'dead-restart');
  await dropped;
  expect(await mac.address('vm')).toBe(address);
  const knock = await until(() => connected(address), 'it takes connections');
  expect(await settles(once(knock, 'data'), 300)).toBe(false);
  expect((await mac.tart('list')).stdout).toMatch(/vm .* running$/m);
  await mac.tart('stop', 'vm');
  expect((await vm.ended).exitCode).toBe(0);
  await mac.nothingLives();
});

test('out-of-memory: the process is killed once, and macOS’s report of it is there', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  setFault(mac.home, 'vm', 'out-of-memory:sleep 77');
  expect((await ssh.exec('sleep 77; echo $?')).stdout).toBe('137\n');
  const { stdout } = await ssh.exec('cat "$TARTBEAT_ROOT"/Library/Logs/DiagnosticReports/JetsamEvent-*.ips');
  expect(stdout).toContain('"reason" : "vm-compressor-space-shortage"');
  const second = ssh.exec('sleep 77');
  second.catch(() => {});
  expect(await settles(second, 500)).toBe(false);
});

test.runIf(process.platform === 'linux')(
  'disk-full: df says so, and writing fails in old shells and new ones',
  async () => {
    await using mac = await simulatedMac();
    const { ssh } = await mac.boot('vm');
    const old = ssh.exec('until [ -e go ]; do sleep 0.1; done; echo x >old || echo refused');
    setFault(mac.home, 'vm', 'disk-full');
    await until(async () => (await ssh.exec('echo x >new')).code !== 0, 'writing fails');
    expect((await ssh.exec('df -k /')).stdout).toMatch(/ 0 +100% /);
    await ssh.exec('mkdir go');
    expect((await old).stdout).toBe('refused\n');
    clearFault(mac.home, 'vm', 'disk-full');
    await until(async () => (await ssh.exec('echo x >new')).code === 0, 'writing works again');
    expect((await ssh.exec('df -k /')).stdout).toMatch(/ 56% /);
  },
);

test('net-cut: nothing is forwarded, in open connections neither; SSH stays up', async () => {
  await using mac = await simulatedMac();
  await using server = await echoServer();
  const { ssh } = await mac.boot('vm');
  const curl = (seconds: number) => `curl -sS --max-time ${seconds} http://192.168.64.1:${server.port}/`;
  expect((await ssh.exec(curl(30))).stdout).toBe('GET /');
  const stream = ssh.exec(`curl -sS --max-time 5 http://192.168.64.1:${server.port}/slow`);
  await until(() => server.seen.includes('/slow'), 'a request is under way');
  setFault(mac.home, 'vm', 'net-cut');
  expect(await stream).toMatchObject({ stdout: '', code: 28 });
  expect(await ssh.exec(curl(2))).toMatchObject({ stdout: '', code: 28 });
  clearFault(mac.home, 'vm', 'net-cut');
  await until(async () => (await ssh.exec(curl(2))).stdout === 'GET /', 'the network is back');
});

test('no-ssh refuses and drops, ssh-hang accepts and is silent; both end', async () => {
  await using mac = await simulatedMac();
  const vm = await mac.boot('vm');
  const host = await mac.address('vm');
  const banner = () =>
    new Promise<string>((resolve) => {
      const socket = createConnection({ host, port: 22_022 });
      const end = (text: string) => {
        socket.destroy();
        resolve(text);
      };
      socket.once('data', (data) => end(String(data)));
      socket.once('error', () => end('refused'));
      socket.once('close', () => end('refused'));
      socket.setTimeout(1_000, () => end('silent'));
    });
  const dropped = closed(vm.ssh.client);
  setFault(mac.home, 'vm', 'no-ssh');
  await dropped;
  await until(async () => (await banner()) === 'refused', 'SSH refuses');
  clearFault(mac.home, 'vm', 'no-ssh');
  await until(async () => (await banner()).startsWith('SSH-2.0'), 'SSH is back');
  setFault(mac.home, 'vm', 'ssh-hang');
  await until(async () => (await banner()) === 'silent', 'SSH is silent');
  clearFault(mac.home, 'vm', 'ssh-hang');
  await until(async () => (await banner()).startsWith('SSH-2.0'), 'SSH is back');
});

test('no-ssh from boot: there is an address, and SSH refuses', async () => {
  await using mac = await simulatedMac();
  faultNextClone(mac.home, 'no-ssh');
  await mac.tart('clone', BASE, 'vm');
  mac.run('vm');
  const socket = createConnection({ host: await mac.address('vm'), port: 22_022 });
  const [error] = await once(socket, 'error');
  expect(error).toMatchObject({ code: 'ECONNREFUSED' });
});

test('monitor-kill: once, or again and again', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  const monitor = 'cp /bin/sleep vm-monitor.sh; ./vm-monitor.sh 100';
  const first = ssh.exec(monitor);
  // The file is there before all of it was copied.
  const runs = () => mac.processes().some(({ commandLine }) => commandLine === './vm-monitor.sh 100');
  await until(runs, 'the monitor runs');
  setFault(mac.home, 'vm', 'monitor-kill:once');
  expect(await first).toMatchObject({ signal: 'KILL' });
  const second = ssh.exec('./vm-monitor.sh 100');
  expect(await settles(second, 500)).toBe(false);
  setFault(mac.home, 'vm', 'monitor-kill');
  expect(await second).toMatchObject({ signal: 'KILL' });
  expect(await ssh.exec('./vm-monitor.sh 100')).toMatchObject({ signal: 'KILL' });
});

test('clock-skew: the guest is off until somebody sets its clock with sudo', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  setFault(mac.home, 'vm', 'clock-skew:3600');
  const offBy = async () => Number((await ssh.exec('date -u +%s')).stdout) - Date.now() / 1000;
  expect(await offBy()).toBeGreaterThan(3_500);
  const [year, month, day, hour, minute, second] = new Date().toISOString().split(/[-T:.]/);
  const now = `${month}${day}${hour}${minute}${year}.${second}`;
  expect((await ssh.exec(`date -u ${now}`)).code).toBe(1);
  expect(await ssh.exec(`sudo -n date -u ${now} >/dev/null`)).toMatchObject({ code: 0, stderr: '' });
  expect(Math.abs(await offBy())).toBeLessThan(20);
});

test('faults wait for a VM that does not exist yet: one clone each, in order', async () => {
  await using mac = await simulatedMac();
  faultNextClone(mac.home, 'no-ip', 'boot-hang');
  faultNextClone(mac.home, 'clone-fail');
  faultNextClone(mac.home, 'run-fail');
  faultNextClone(mac.home, 'set-fail');
  expect((await mac.tart('clone', BASE, 'a')).exitCode).toBe(0);
  expect((await mac.tart('clone', BASE, 'b')).exitCode).toBe(1);
  expect((await mac.tart('clone', BASE, 'b')).exitCode).toBe(0);
  expect((await mac.tart('clone', BASE, 'c')).exitCode).toBe(0);
  expect((await mac.tart('clone', BASE, 'd')).exitCode).toBe(0);
  const hung = mac.run('a');
  expect((await mac.tart('ip', 'a')).exitCode).toBe(1);
  expect(await mac.run('b').ended).toMatchObject({ exitCode: 1, stderr: /VZErrorDomain/ });
  expect((await mac.tart('set', 'c', '--random-mac')).exitCode).toBe(1);
  expect((await mac.tart('set', 'd', '--random-mac')).exitCode).toBe(0);
  process.kill(hung.pid, 'SIGINT');
  expect((await hung.ended).exitCode).toBe(0);
});

test('run-limit, list-garbage and slow-boot', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'vm');
  setFault(mac.home, 'vm', 'run-limit');
  expect(await mac.run('vm').ended).toMatchObject({
    exitCode: 1,
    stderr: 'The number of VMs exceeds the system limit\n',
  });
  clearFault(mac.home, 'vm', 'run-limit');
  setFault(mac.home, 'vm', 'list-garbage');
  const { stdout } = await mac.tart('list', '--format', 'json');
  expect(() => JSON.parse(stdout)).toThrow();
  clearFault(mac.home, 'vm', 'list-garbage');
  setFault(mac.home, 'vm', 'slow-boot:600000');
  mac.run('vm');
  expect((await mac.tart('ip', 'vm')).exitCode).toBe(1);
  setFault(mac.home, 'vm', 'slow-boot:1');
  using ssh = await mac.connect('vm');
  expect((await ssh.exec('echo alive')).stdout).toBe('alive\n');
});

test('short-freeze: everything stops for a moment, and goes on by itself', async () => {
  await using mac = await simulatedMac();
  const { ssh } = await mac.boot('vm');
  setFault(mac.home, 'vm', 'short-freeze:600000');
  await until(() => mac.isFrozen('vm'), 'everything is stopped');
  const answer = ssh.exec('echo alive');
  expect(await settles(answer, 300)).toBe(false);
  // A shorter duration ends the freeze at once.
  setFault(mac.home, 'vm', 'short-freeze:1');
  expect((await answer).stdout).toBe('alive\n');
  expect(existsSync(join(mac.folder('vm'), 'faults', 'short-freeze'))).toBe(false);
});

test('list-race: one list in three fails as a whole, in the words of Tart', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'vm');
  setFault(mac.home, 'vm', 'list-race');
  const answers = [];
  for (let call = 0; call < 6; call++) answers.push(await mac.tart('list', '-q'));
  const failed = answers.filter(({ exitCode }) => exitCode === 1);
  expect(failed.map(({ stdout, stderr }) => ({ stdout, stderr }))).toEqual(
    Array(2).fill({
      stdout: '',
      stderr: 'Error: The file “config.json” couldn’t be opened because there is no such file.',
    }),
  );
});

test('delete-lies: a delete says so many times that the VM does not exist, and deletes nothing', async () => {
  await using mac = await simulatedMac();
  await mac.tart('clone', BASE, 'vm');
  setFault(mac.home, 'vm', 'delete-lies:2');
  for (let call = 0; call < 2; call++)
    expect(await mac.tart('delete', 'vm')).toMatchObject({
      exitCode: 2,
      stderr: 'the specified VM "vm" does not exist',
    });
  expect(await mac.names()).toContain('vm');
  expect((await mac.tart('delete', 'vm')).exitCode).toBe(0);
  expect(await mac.names()).toEqual([BASE]);
});

test('disk-null: the list has no size of a disk while the VM runs, as for one of the format ASIF', async () => {
  await using mac = await simulatedMac();
  const disks = async () =>
    Object.fromEntries(
      JSON.parse((await mac.tart('list', '--format', 'json')).stdout).map(
        (vm: { Name: string; Disk: number | null }) => [vm.Name, vm.Disk],
      ),
    );
  await mac.tart('clone', BASE, 'vm');
  await mac.tart('create', 'asif', '--from-ipsw', 'latest', '--disk-format', 'asif');
  setFault(mac.home, 'vm', 'disk-null');
  expect(await disks()).toMatchObject({ vm: 50, asif: 50 });
  for (const name of ['vm', 'asif']) {
    mac.run(name);
    await mac.address(name);
  }
  expect(await disks()).toEqual({ vm: null, asif: null, [BASE]: 50 });
});

test('stale-ip: another VM answers, by its MAC address', async () => {
  await using mac = await simulatedMac();
  await mac.boot('other');
  await mac.boot('vm');
  setFault(mac.home, 'vm', 'stale-ip');
  expect(await mac.address('vm')).toBe(await mac.address('other'));
  await mac.tart('stop', 'other');
  using alone = await mac.connect('vm');
  expect((await alone.exec('ifconfig')).stdout).not.toContain(mac.config('vm').macAddress);
});

const connectAgain = (mac: Awaited<ReturnType<typeof simulatedMac>>) =>
  until(async () => await mac.connect('vm').catch(() => null), 'SSH is back');

/** Null if nobody takes the connection. */
function connected(host: string): Promise<Socket | null> {
  const socket = createConnection({ host, port: 22_022 });
  return once(socket, 'connect').then(
    () => socket,
    () => null,
  );
}

/** Which start of the guest answers, and where. */
async function guestOf(mac: Awaited<ReturnType<typeof simulatedMac>>, ssh: SshClient) {
  const line = async (command: string) => (await ssh.exec(command)).stdout.trim();
  return {
    address: await mac.address('vm'),
    hostKey: await line('cat "$TARTBEAT_ROOT/etc/ssh/ssh_host_ed25519_key"'),
    session: await line('sysctl -n kern.bootsessionuuid'),
    bootedAt: /^kern\.boottime: \{ sec = (\d+), usec = \d+ \}$/.exec(await line('sysctl kern.boottime'))?.[1],
  };
}

async function echoServer() {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    if (request.url !== '/slow') response.end(`${request.method} ${request.url}`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    seen,
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
