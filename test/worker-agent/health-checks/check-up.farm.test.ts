import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { freePort } from '../../../local/farm/free-port.ts';
import { type AgentConfigInput, saveConfig } from '../../../worker-agent/config.ts';
import {
  type DoctorOptions,
  type DoctorReport,
  doctorChecks,
  runDoctor,
} from '../../../worker-agent/health-checks/check-up.ts';
import { examinedIn } from '../../../worker-agent/images/images.ts';
import { createBaseImage } from '../../../worker-agent/tart-simulator/home/base-image.ts';
import { faultNextClone } from '../../../worker-agent/tart-simulator/home/faults.ts';
import {
  simulatorProcesses,
  sweepSimulator,
  TART_SIMULATOR_PATH,
} from '../../../worker-agent/tart-simulator/simulator.ts';
import { testWith } from '../../set-up/test-with.ts';
import { GUEST_MAC, type ScriptedVms, scriptedVms } from '../factories/scripted-vm.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';
import { until } from '../factories/until.ts';

const onGuest = testWith('sshd');
const KEY = 'tb_worker_abcdefgh';

/** The two routes of the controller that doctor asks. */
async function controllerStandIn() {
  const state = {
    timeMs: null as number | null,
    scope: 'worker',
    healthBody: null as string | null,
    createdAt: undefined as string | undefined,
  };
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.url === '/health' && state.healthBody !== null) response.end(state.healthBody);
    else if (request.url === '/health')
      answer(200, { status: 'ok', time: new Date(state.timeMs ?? Date.now()).toISOString() });
    else if (request.headers.authorization === `Bearer ${KEY}`)
      answer(200, {
        scope: state.scope,
        name: 'mac',
        workerId: state.scope === 'worker' ? 'mac-1' : null,
        createdAt: state.createdAt,
      });
    else answer(401, { error: { code: 'unauthorized', message: 'no' } });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    state,
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A Mac that passes every check, until the test changes something. */
async function healthyMac() {
  const vms = await scriptedVms();
  const controller = await controllerStandIn();
  const configPath = join(vms.scripted.dir, 'worker', 'config.json');
  const vmHostKey = `SHA256:${vms.server.hostFingerprint}`;
  const configure = (more: Partial<AgentConfigInput> = {}) =>
    saveConfig(configPath, { ...vms.settings, vmHostKey, controllerUrl: controller.url, ...more });
  await configure();
  vms.guestCommand('ifconfig', `echo 'en0: flags=8863<UP>'; echo '	ether ${GUEST_MAC.replace(/0(\d)/g, '$1')}'`);
  vms.guestCommand('usr/local/bin/vm-monitor.sh', 'exit 0');
  return {
    vms,
    controller,
    configPath,
    configure,
    doctor: async (options: Partial<DoctorOptions> = {}) => {
      const signal = new AbortController().signal;
      const report = await runDoctor({
        ...{ configPath, vm: true, imagesOf: examinedIn(configPath), signal },
        ...{ limits: { addressMs: 20_000 }, ...options },
      });
      const of = (id: string) => report.checks.find((check) => check.id === id);
      return { ...report, of, statuses: Object.fromEntries(report.checks.map(({ id, status }) => [id, status])) };
    },
    async [Symbol.asyncDispose]() {
      await controller[Symbol.asyncDispose]();
      await vms[Symbol.asyncDispose]();
    },
  };
}

const BASE = ['expo-build-vm-base-snapshot'];
const left = (vms: ScriptedVms) => vms.names();

/** Leaves out checks that only macOS has, and the one of an image that vm-image/ did not make. */
const findings = ({ checks }: DoctorReport) =>
  checks.filter(
    ({ status, detail }) =>
      status !== 'pass' && !/only macOS|needs macos_version|no tartbeat-verify|does without softnet/.test(detail),
  );

onGuest('on a healthy Mac every check passes, and the clone is gone', async () => {
  await using mac = await healthyMac();
  const report = await mac.doctor();
  expect(findings(report)).toEqual([]);
  expect(report.ok).toBe(true);
  expect(report.checks.map(({ id }) => id)).toEqual(
    doctorChecks({ vmName: 'any', pinHostKey: false }).map(({ id }) => id),
  );
  expect(report.of('vm_identity')?.detail).toBe(GUEST_MAC);
  expect(await left(mac.vms)).toEqual(BASE);
});

onGuest('an old Tart, too few processors and too little memory are told, and stop no build', async () => {
  await using mac = await healthyMac();
  mac.vms.on('version', '2.32.1');
  await mac.configure({ vmCpus: 2, vmMemoryMb: 1_048_576 });
  const report = await mac.doctor({ vm: false });
  expect(findings(report).map(({ id, status, detail }) => [id, status, detail])).toEqual([
    ['tart_licence', 'warn', '2.32.1: Fair Source License'],
    ['vm_cpus', 'warn', '2 for each VM'],
    ['host_memory', 'warn', expect.stringMatching(/^1099\.5 GB for VMs, the Mac has /)],
  ]);
  expect(report.ok).toBe(true);
  await mac.configure({ vmCpus: 64, maxConcurrentBuilds: 2 });
  expect((await mac.doctor({ vm: false })).of('vm_cpus')?.detail).toMatch(/^128 for 2 VM\(s\), and the Mac has \d+$/);
  mac.vms.on('version', 'SNAPSHOT');
  expect((await mac.doctor({ vm: false })).of('tart_licence')?.detail).toContain('whose licence is not known');
});

onGuest('without VM checks no VM is made', async () => {
  await using mac = await healthyMac();
  const report = await mac.doctor({ vm: false });
  expect(report.ok).toBe(true);
  expect(mac.vms.scripted.calls().some((call) => call.startsWith('clone'))).toBe(false);
});

onGuest('the host key is pinned when it is asked for, and another is not talked to', async () => {
  await using mac = await healthyMac();
  const { vmHostKey: pinned } = JSON.parse(readFileSync(mac.configPath, 'utf8'));
  await mac.configure({ vmHostKey: undefined });
  expect(await mac.doctor()).toMatchObject({ ok: true, statuses: { vm_host_key: 'warn' } });
  await mac.configure({ vmHostKey: `SHA256:${'A'.repeat(43)}` });
  const strange = await mac.doctor({ limits: { addressMs: 20_000, sshMs: 3_000 } });
  expect(strange.ok).toBe(false);
  expect(strange.of('vm_start')?.detail).toContain('another host key');
  expect((await mac.doctor({ pinHostKey: true })).of('vm_host_key')?.detail).toContain(pinned);
  // The pinned key counts from now on, for an agent that runs and whatever the config says.
  expect(await mac.doctor()).toMatchObject({ ok: true, statuses: { vm_host_key: 'pass' } });
});

onGuest('a key older than 90 days is to be renewed, and the isolation in force is told', async () => {
  await using mac = await healthyMac();
  mac.controller.state.createdAt = new Date(Date.now() - 91 * 86_400_000).toISOString();
  const report = await mac.doctor({ vm: false });
  expect(report.of('api_key_age')).toMatchObject({ status: 'warn', detail: '91 days old' });
  expect(report.of('isolation')).toMatchObject({ status: 'pass', detail: expect.stringContaining('nat:') });
  await mac.configure({ isolation: 'controller' });
  expect((await mac.doctor({ vm: false })).of('softnet')?.detail).toContain('softnet is not installed');
});

onGuest('a broken config is one finding, and the rest waits for it', async () => {
  await using mac = await healthyMac();
  chmodSync(mac.configPath, 0o644);
  const report = await mac.doctor();
  expect(report.ok).toBe(false);
  expect(report.of('config')).toMatchObject({ status: 'fail', fix: expect.stringContaining('chmod 600') });
  const others = report.checks.filter(({ id }) => id !== 'config' && id !== 'node_version');
  expect(new Set(others.map(({ status }) => status))).toEqual(new Set(['skipped']));
});

onGuest('what is wrong with the VM is named by its check, with figures, and the clone is gone', async () => {
  await using mac = await healthyMac();
  mac.vms.guestCommand('ifconfig', "echo 'ether 7e:ff:ff:ff:ff:ff'");
  mac.vms.guestCommand('usr/local/bin/vm-monitor.sh', '');
  chmodSync(join(mac.vms.server.home, 'usr/local/bin/vm-monitor.sh'), 0o644);
  mac.vms.guestCommand(
    'df',
    "printf 'Filesystem 1024-blocks Used Available Capacity\\n/dev/disk1 48828125 39062500 9765625 80%% /\\n'",
  );
  mac.vms.guestCommand('curl', 'exit 127');
  await mac.configure({ minFreeDiskGb: 11 });
  const report = await mac.doctor();
  expect(report.ok).toBe(false);
  expect(report.statuses).toMatchObject({ vm_start: 'pass', ssh: 'pass', clock: 'pass' });
  expect(report.of('vm_identity')).toMatchObject({
    status: 'fail',
    detail: expect.stringContaining('7e:ff:ff:ff:ff:ff'),
  });
  expect(report.of('disk_space')).toMatchObject({ status: 'fail', detail: '10.0 GB of 50.0 GB free, 11 GB needed' });
  expect(report.of('monitor')).toMatchObject({ status: 'fail', fix: expect.stringContaining('vm-monitor.sh') });
  expect(report.statuses).toMatchObject({ curl: 'fail', controller: 'skipped' });
  expect(await left(mac.vms)).toEqual(BASE);
});

onGuest('a clock that is off is set, and one that cannot be set is a failure', async () => {
  await using mac = await healthyMac();
  mac.vms.guestCommand('date', '[ -e "$HOME/set" ] && exec /bin/date "$@"; echo 1000000000');
  mac.vms.guestCommand('sudo', 'echo "$*" >"$HOME/set"');
  const set = await mac.doctor();
  expect(set.of('clock')).toMatchObject({
    status: 'pass',
    detail: expect.stringMatching(/^was off by -\d+ s, now set$/),
  });
  expect(set.ok).toBe(true);
  mac.vms.guestCommand('date', 'echo 1000000000');
  mac.vms.guestCommand('sudo', 'echo "a password is required" >&2; exit 1');
  const unset = await mac.doctor();
  expect(unset.statuses).toMatchObject({ clock: 'fail', controller: 'skipped' });
});

onGuest('something else that answers in place of the controller is not mistaken for it', async () => {
  await using mac = await healthyMac();
  mac.controller.state.healthBody = '<html>Please log in to the hotel network</html>';
  const report = await mac.doctor();
  expect(report.of('controller_reachable')).toMatchObject({
    status: 'fail',
    detail: expect.stringContaining('something else'),
  });
  expect(report.of('controller')).toMatchObject({ status: 'fail', detail: expect.stringContaining('something else') });
  expect(report.of('api_key')?.status).toBe('skipped');
});

onGuest('a wrong key, a key of another kind, a wrong clock and an idle setting are told apart', async () => {
  await using mac = await healthyMac();
  await mac.configure({ apiKey: 'tb_worker_wrong', vmIp: '192.168.64.2' });
  mac.controller.state.timeMs = Date.now() + 3_600_000;
  const wrong = await mac.doctor({ vm: false });
  expect(wrong.of('api_key')).toMatchObject({
    status: 'fail',
    detail: expect.stringContaining('does not know this key'),
  });
  expect(wrong.of('host_clock')).toMatchObject({
    status: 'warn',
    // The clock of this test goes on while doctor works.
    detail: expect.stringMatching(/^off by -(3600|35\d\d) s$/),
  });
  expect(wrong.of('vm_ip_setting')).toMatchObject({ status: 'warn', detail: expect.stringContaining('192.168.64.2') });
  await mac.configure();
  mac.controller.state.scope = 'admin';
  expect((await mac.doctor({ vm: false })).of('api_key')?.detail).toBe('the scope of this key is admin, not worker');
});

onGuest('no base image: said with the command that makes it, and no VM is tried', async () => {
  await using mac = await healthyMac();
  await mac.configure({ vmName: 'other' });
  const report = await mac.doctor();
  expect(report.of('base_image')).toMatchObject({ status: 'fail', fix: expect.stringContaining('tart clone') });
  expect(report.of('vm_start')?.status).toBe('skipped');
});

onGuest('with both slots in use the VM checks are left out, which is no failure', async () => {
  await using mac = await healthyMac();
  for (const name of ['a', 'b']) {
    mkdirSync(join(mac.vms.scripted.dir, 'home/vms', name));
    writeFileSync(join(mac.vms.scripted.dir, 'home/vms', name, 'state'), 'running');
  }
  const report = await mac.doctor();
  expect(report.of('vm_slots')).toMatchObject({ status: 'warn', detail: '2 of 2 running: a, b' });
  expect(report.of('vm_start')?.status).toBe('skipped');
  expect(report.ok).toBe(true);
});

onGuest('a VM that does not start is a failure with the step, and the clone is gone', async () => {
  await using mac = await healthyMac();
  mac.vms.on('no-ip');
  const report = await mac.doctor({ limits: { addressMs: 500 } });
  expect(report.of('vm_start')).toMatchObject({
    status: 'fail',
    detail: expect.stringContaining('vm_address: no address'),
  });
  expect(await left(mac.vms)).toEqual(BASE);
});

onGuest("a killed doctor's clone is removed by the next, a living one's is not", async () => {
  await using mac = await healthyMac();
  const clone = (pid: number) => {
    const name = `tartbeat-doctor-${pid}-0a0b0c0d-1`;
    mkdirSync(join(mac.vms.scripted.dir, 'home/vms', name));
    writeFileSync(join(mac.vms.scripted.dir, 'home/vms', name, 'state'), 'stopped');
    return name;
  };
  clone(2 ** 22 - 1);
  const living = clone(process.pid);
  await mac.doctor();
  expect((await left(mac.vms)).sort()).toEqual([...BASE, living].sort());
});

/** The arguments that run the command in a process of its own. */
function command(mac: { configPath: string }, ...flags: string[]) {
  const module = new URL('../../../worker-agent/commands/doctor.ts', import.meta.url).href;
  const script = `import { doctorCommand } from '${module}'; 
    await doctorCommand((code) => (process.exitCode = code)).parseAsync(process.argv, { from: 'node' });`;
  return ['--input-type=module', '-e', script, 'doctor', '--config', mac.configPath, ...flags];
}

onGuest('the command prints a table, or JSON, and its exit code says whether the Mac is fit', async () => {
  await using mac = await healthyMac();
  const run = (...flags: string[]) =>
    execa(process.execPath, command(mac, ...flags), { reject: false, timeout: 60_000 });
  const table = await run('--no-vm');
  expect(table).toMatchObject({ exitCode: 0, stderr: '' });
  expect(table.stdout).toContain('✓ Tart is installed');
  await mac.configure({ apiKey: 'tb_worker_wrong' });
  const json = await run('--no-vm', '--json');
  expect(json.exitCode).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({
    ok: false,
    checks: expect.arrayContaining([expect.objectContaining({ id: 'api_key', status: 'fail' })]),
  });
});

onGuest('Ctrl-C in the middle leaves no VM and exits with 130', async () => {
  await using mac = await healthyMac();
  mac.vms.on('no-ip');
  const child = spawn(process.execPath, command(mac), { stdio: 'ignore' });
  const ended = once(child, 'exit');
  await until(async () => (await mac.vms.names()).length === 2, 'the clone is there');
  child.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
  expect(await left(mac.vms)).toEqual(BASE);
});

/** The same Mac on the Tart simulator: its guests bring their own df, ifconfig, sudo, monitor and network. */
async function simulatedMac() {
  const dir = temporaryDir();
  const controller = await controllerStandIn();
  const tartHome = join(dir.path, 'tart');
  const keyPath = join(dir.path, 'vm_key');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyPath]);
  const sshPort = await freePort();
  await createBaseImage({
    tartHome,
    name: 'expo-build-vm-base-snapshot',
    user: 'builder',
    publicKey: readFileSync(`${keyPath}.pub`, 'utf8'),
    sshPort,
  });
  const configPath = join(dir.path, 'config.json');
  saveConfig(configPath, {
    vmName: 'expo-build-vm',
    vmUser: 'builder',
    vmSshKey: keyPath,
    vmSshPort: sshPort,
    controllerUrl: controller.url,
    apiKey: KEY,
    tartPath: TART_SIMULATOR_PATH,
    tartHome,
    minFreeDiskGb: 1,
  });
  return {
    tartHome,
    doctor: (sshMs = 8_000) =>
      runDoctor({
        ...{ configPath, vm: true, imagesOf: examinedIn(configPath) },
        ...{ signal: new AbortController().signal, limits: { sshMs } },
      }),
    async [Symbol.asyncDispose]() {
      await controller[Symbol.asyncDispose]();
      await sweepSimulator(tartHome);
      dir[Symbol.dispose]();
    },
  };
}

test('the simulator passes every check, and nothing of the clone is left', async () => {
  await using mac = await simulatedMac();
  const report = await mac.doctor();
  // The simulator's version and host key are known to warn. So is a machine with fewer than 4 processors and
  // 8 GB.
  const known = ['tart_licence', 'vm_host_key', 'vm_cpus', 'host_memory'];
  expect(findings(report).filter(({ id }) => !known.includes(id))).toEqual([]);
  expect(report.ok).toBe(true);
  expect(simulatorProcesses(mac.tartHome)).toEqual([]);
});

test.for([
  ['no-ssh', 'vm_start', 'ssh: nothing listens', 'Try each step by hand'],
  [
    'ssh-hang',
    'vm_start',
    'the VM lives, because Tart’s guest agent answers there; its network works',
    'Try each step',
  ],
  ['net-gone', 'vm_start', 'the VM lives, because Tart’s guest agent answers there; but it does not reach', 'Try each'],
  ['crash', 'vm_start', 'run: tart run ended (exit code 0)', 'Try each step by hand'],
  ['run-limit', 'vm_start', 'exceeds the system limit', 'restart the Mac'],
  ['run-fail', 'vm_start', 'failed to start', 'Log the account in'],
  ['clone-fail', 'vm_start', 'clone: ', 'Try each step by hand'],
  ['net-cut', 'controller', '/health', 'vmControllerUrl'],
] as const)('a simulated %s is found by %s', async ([fault, id, detail, fix]) => {
  await using mac = await simulatedMac();
  faultNextClone(mac.tartHome, fault);
  // A guest that never answers would use up all of the time.
  const report = await mac.doctor(['no-ssh', 'ssh-hang', 'net-gone'].includes(fault) ? 3_000 : undefined);
  expect(report.ok).toBe(false);
  expect(report.checks.find(({ status }) => status === 'fail')).toMatchObject({
    id,
    detail: expect.stringContaining(detail),
    fix: expect.stringContaining(fix),
  });
  expect(simulatorProcesses(mac.tartHome)).toEqual([]);
});

onGuest('each image is examined, and its findings bear its name; one without its VM leaves the Mac fit', async () => {
  await using mac = await healthyMac();
  const [{ vmName: _, ...settings }, image] = [mac.vms.settings, { platforms: ['ios' as const] }];
  const images = ['expo-build-vm', 'other'].map((vmName, index) => ({ ...image, name: `xcode-${index}`, vmName }));
  saveConfig(mac.configPath, { ...settings, controllerUrl: mac.controller.url, images });
  const report = await mac.doctor();
  expect(report.ok).toBe(true);
  expect(report.of('vm_start@xcode-0')).toMatchObject({
    status: 'pass',
    title: 'A clone of the base image starts (xcode-0)',
  });
  expect(report.of('controller@xcode-0')?.status).toBe('pass');
  expect(report.of('base_image@xcode-1')).toMatchObject({
    ...{ status: 'fail', blocking: false, detail: 'tart list does not show other-base-snapshot' },
    fix: expect.stringContaining('expo-worker base-image --image xcode-1'),
  });
  expect(report.of('vm_start@xcode-1')).toMatchObject({ status: 'skipped', detail: 'needs base_image@xcode-1' });
  expect(report.of('base_image')).toBeUndefined();
  const alone = await mac.doctor({ vm: false, imagesOf: examinedIn(mac.configPath, 'xcode-1') });
  expect(alone.of('base_image@xcode-1')).toMatchObject({
    ...{ status: 'fail', blocking: true },
    fix: expect.stringMatching(/`expo-worker base-image --image xcode-1`.*`tart clone other other-base-snapshot`/),
  });
  expect(await left(mac.vms)).toEqual(BASE);
});

test('an image without a guest agent is told, and is fit for builds', async () => {
  await using mac = await simulatedMac();
  faultNextClone(mac.tartHome, 'no-guest-agent');
  const report = await mac.doctor();
  expect(report.ok).toBe(true);
  expect(report.checks.find(({ id }) => id === 'second_way')).toMatchObject({
    status: 'warn',
    detail: expect.stringContaining('is the Tart Guest Agent running?'),
    fix: expect.stringContaining('from a public image'),
  });
});
