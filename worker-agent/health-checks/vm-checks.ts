/**
 * The external health checks: is this VM fit for a build? Asked from the host, in this order, before each build and by `doctor`.
 */
import { Health, type HealthCheckId } from '#contract';
import { type AgentConfig, vmControllerUrl } from '../config.ts';
import {
  controllerHealth,
  diskFree,
  echoAlive,
  type GuestCommand,
  gate,
  hasCurl,
  hasMonitor,
  macAddresses,
  normaliseMac,
  parseDiskFree,
  parseMacAddresses,
  readClock,
  setClock,
} from '../guest/commands.ts';
import { GATE_VERSION } from '../guest/gate.ts';
import type { Tart } from '../tart/tart.ts';
import type { Vm } from '../vm/vm.ts';
import { fail, type HealthCheck, pass } from './run-checks.ts';

export interface VmCheckContext {
  tart: Tart;
  config: Pick<AgentConfig, 'controllerUrl' | 'vmControllerUrl' | 'vmHostAddress' | 'minFreeDiskGb'>;
  vm: Pick<Vm, 'name' | 'address' | 'ssh'>;
}

const CLOCK_TOLERANCE_MS = 30_000;
/** Curl in the guest gives up at 10 s; the rest is for the way there. */
const CONTROLLER_TIMEOUT_MS = 15_000;
const GB = 1e9;
const gb = (bytes: number) => `${(bytes / GB).toFixed(1)} GB`;

export const VM_CHECKS: readonly HealthCheck<VmCheckContext, HealthCheckId>[] = [
  {
    id: 'vm_exists',
    title: 'VM is listed and running',
    why: 'Something that deletes VMs, or a start that failed without a word, shows here.',
    blocking: true,
    dependsOn: [],
    timeoutMs: 30_000,
    fix: 'Look at `tart list`. If the VM is gone, something else on this Mac deletes VMs.',
    async run({ tart, vm }, signal) {
      const listed = await tart.list(signal);
      if (!listed.ok) return fail(listed.message);
      const found = listed.vms.find(({ name }) => name === vm.name);
      if (!found) return fail(`tart list does not show ${vm.name}`);
      return found.state === 'running' ? pass(vm.name) : fail(`${vm.name} is ${found.state}`);
    },
  },
  {
    id: 'vm_address',
    title: 'VM has an address',
    why: 'Without an address nothing reaches the VM.',
    blocking: true,
    dependsOn: ['vm_exists'],
    timeoutMs: 30_000,
    fix: 'Run `tart ip NAME --wait 60`. If it stays empty, the DHCP leases of this Mac may be used up; shorter leases or a restart of the Mac help.',
    async run({ tart, vm }, signal) {
      const result = await tart.ip(vm.name, { signal });
      if (!result.ok) return fail(result.message);
      return result.address === vm.address
        ? pass(result.address)
        : fail(`tart ip now says ${result.address}, but the VM was reached at ${vm.address}`);
    },
  },
  {
    id: 'ssh',
    title: 'VM answers over SSH',
    why: 'Everything that happens in a VM happens over SSH.',
    blocking: true,
    dependsOn: [],
    timeoutMs: 5_000,
    fix: 'Log in by hand with vmSshKey and vmUser. Remote Login must be on in the base image, and the key in authorized_keys without `command=` or with that of vm-ssh-gate.',
    async run({ vm }, signal) {
      const answer = await ask(vm, echoAlive(), signal);
      if (answer.trim() !== 'alive') return fail(`expected "alive", got ${JSON.stringify(answer.slice(0, 100))}`);
      const version = (await ask(vm, gate(), signal)).trim();
      if (version === '') return pass('alive; the key may run any command');
      return version === GATE_VERSION
        ? pass('alive; the key is tied to vm-ssh-gate')
        : fail(
            'the vm-ssh-gate in the image is another version than this agent, and would refuse its commands',
            'Make the base image anew with the vm-image/ that came with this agent.',
          );
    },
  },
  {
    id: 'vm_identity',
    title: 'VM is the one that was cloned',
    why: 'An address may still belong to a VM that is gone; only the right VM is talked to.',
    blocking: true,
    dependsOn: ['vm_address', 'ssh'],
    timeoutMs: 10_000,
    fix: 'Another VM answers at this address, from an old DHCP lease. The next attempt gets a new clone; if it recurs, restart the Mac.',
    async run({ tart, vm }, signal) {
      const config = await tart.macAddress(vm.name);
      if (!config.ok) return fail(config.message);
      const wanted = normaliseMac(config.macAddress) ?? config.macAddress;
      const seen = parseMacAddresses(await ask(vm, macAddresses(), signal));
      return seen.includes(wanted)
        ? pass(wanted)
        : fail(`the clone has ${wanted}, the VM at ${vm.address} has ${seen.join(', ') || 'no MAC address'}`);
    },
  },
  {
    id: 'disk_space',
    title: 'VM has free disk space',
    why: 'Builds write a lot, and a full disk fails them in ways that mislead.',
    blocking: true,
    dependsOn: ['ssh'],
    timeoutMs: 5_000,
    fix: 'Free space in the base image, enlarge it with `tart set NAME --disk-size GB`, or lower minFreeDiskGb.',
    async run({ vm, config }, signal) {
      const disk = parseDiskFree(await ask(vm, diskFree(), signal));
      if (!disk) return fail('df printed no figures');
      const { availableBytes, totalBytes } = disk;
      const detail = `${gb(availableBytes)} of ${gb(totalBytes)} free`;
      return availableBytes >= config.minFreeDiskGb * GB
        ? pass(detail)
        : fail(`${detail}, ${config.minFreeDiskGb} GB needed`);
    },
  },
  {
    id: 'monitor',
    title: 'VM has the monitor',
    why: 'The monitor in the VM proves that a build lives.',
    blocking: true,
    dependsOn: ['ssh'],
    timeoutMs: 10_000,
    fix: 'Install vm-image/vm-monitor.sh as /usr/local/bin/vm-monitor.sh in the base image, with mode 755.',
    async run({ vm }, signal) {
      const answer = await probe(vm, hasMonitor(), signal);
      return answer === null
        ? fail('/usr/local/bin/vm-monitor.sh is not there or not executable')
        : pass(answer.trim());
    },
  },
  {
    id: 'curl',
    title: 'VM has curl',
    why: 'The monitor beats with it.',
    blocking: true,
    dependsOn: ['ssh'],
    timeoutMs: 10_000,
    fix: 'Install curl in the base image, in a folder on the PATH of SSH commands (/usr/bin on every Mac).',
    async run({ vm }, signal) {
      const answer = await probe(vm, hasCurl(), signal);
      const version = /^curl (\S+)/m.exec(answer ?? '')?.[1];
      return version ? pass(`curl ${version}`) : fail('curl is not on the PATH of SSH commands');
    },
  },
  {
    id: 'clock',
    title: 'VM agrees on the time',
    why: 'After a pause of the Mac the clock of a VM is behind, and every certificate looks invalid.',
    blocking: true,
    dependsOn: ['ssh'],
    timeoutMs: 15_000,
    fix: 'The guest needs `sudo` without a password for `date`, so that the agent can set its clock.',
    async run({ vm }, signal) {
      const offMs = await clockOffset(vm, signal);
      if (Math.abs(offMs) <= CLOCK_TOLERANCE_MS) return pass(`off by ${seconds(offMs)}`);
      // The guest's own words on a failure are not needed: the second look decides.
      await probe(vm, setClock(Date.now()), signal);
      const stillOffMs = await clockOffset(vm, signal);
      return Math.abs(stillOffMs) <= CLOCK_TOLERANCE_MS
        ? pass(`was off by ${seconds(offMs)}, now set`)
        : fail(`off by ${seconds(stillOffMs)}, and it could not be set`);
    },
  },
  {
    id: 'controller',
    title: 'VM reaches the controller',
    why: 'The beats of the VM go there directly.',
    blocking: true,
    // A wrong clock makes every certificate look invalid.
    dependsOn: ['curl', 'clock'],
    timeoutMs: CONTROLLER_TIMEOUT_MS,
    fix: 'Run curl with this address in the VM. If the controller has another address there, set vmControllerUrl.',
    async run({ vm, config }, signal) {
      const url = vmControllerUrl(config);
      const { stdout, stderr } = await vm.ssh.exec(controllerHealth(url), { timeoutMs: CONTROLLER_TIMEOUT_MS, signal });
      const [, body, status] = /^([\s\S]*)\n(\d{3})\n$/.exec(stdout.toString('utf8')) ?? [];
      if (status === undefined || status === '000') return fail(`${url}/health: ${stderr.trim() || 'no answer'}`);
      if (status !== '200') return fail(`${url}/health answered ${status}`);
      return isHealth(body!) ? pass(url) : fail(`${url}/health is answered by something else than a controller`);
    },
  },
];

type GuestVm = Pick<VmCheckContext['vm'], 'ssh'>;

/** What the command printed; throws if it failed. */
async function ask(vm: GuestVm, command: GuestCommand, signal: AbortSignal): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.ssh.exec(command, { timeoutMs: 30_000, signal });
  if (exitCode !== 0) throw new Error(`${command.name} failed in the VM: ${stderr.trim() || `exit code ${exitCode}`}`);
  return stdout.toString('utf8');
}

/** What the command printed, or null if it failed: the answer is no. */
async function probe(vm: GuestVm, command: GuestCommand, signal: AbortSignal): Promise<string | null> {
  const { exitCode, stdout } = await vm.ssh.exec(command, { timeoutMs: 30_000, signal });
  return exitCode === 0 ? stdout.toString('utf8') : null;
}

/** Positive when the guest is ahead. Against the middle of the question, since the way there and back takes time. */
async function clockOffset(vm: GuestVm, signal: AbortSignal): Promise<number> {
  const before = Date.now();
  const answer = await ask(vm, readClock(), signal);
  const middle = (before + Date.now()) / 2;
  if (!/^\d+\n$/.test(answer)) throw new Error('date printed no time');
  return Number(answer) * 1000 + 500 - middle;
}

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;

function isHealth(body: string): boolean {
  try {
    return Health.safeParse(JSON.parse(body)).success;
  } catch {
    return false;
  }
}
