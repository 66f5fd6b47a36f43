/**
 * Boots a clone of an image for doctor, and checks its host key. The VM checks look into this clone.
 *
 * Invariant: doctor deletes the clone that a killed doctor left, but never the clone of a doctor that runs.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasProcess } from '../../client/has-process.ts';
import { VMS_PER_MAC_MAX, vmControllerUrl } from '../config.ts';
import { inWords } from '../mac/installation.ts';
import { BOOT_LIMITS, type BootLimits, TART_EXEC_MS } from '../time-limits.ts';
import { bootVm } from '../vm/boot.ts';
import type { BootFailure } from '../vm/boot-failure.ts';
import type { BootProgress } from '../vm/boot-progress.ts';
import { parseVmName, vmNameOf } from '../vm/name.ts';
import { lookWithoutNetwork } from '../vm/second-way.ts';
import { destroyVm, type Vm } from '../vm/vm.ts';
import { configOf, type ImageContext } from './host-context.ts';
import { fail, type HealthCheck, pass, warn } from './run-checks.ts';

export interface CloneContext extends ImageContext {
  /** Null until `vm_start` has passed. */
  vm: Vm | null;
}

export interface CloneOptions {
  vmName: string;
  /** Trust the host key that the clone shows, and no other from now on. */
  pinHostKey: boolean;
  onStep?: ((progress: BootProgress) => void) | undefined;
  limits?: Partial<BootLimits> | undefined;
}

/** Takes the place of a worker's id in VM names. No worker has this id. */
const DOCTOR = 'doctor';
/** The time limit for starting a VM that is already cloned and set. */
const START_MS = 40_000;
/** The steps of a boot during which the VM runs but has not been reached yet. */
const UNREACHED_AT: readonly string[] = ['vm_address', 'ssh'];

/** The name contains the process that the clone belongs to. */
export const cloneNameOf = (pid: number, random: string): string =>
  vmNameOf({ workerId: DOCTOR, buildId: `${pid}-${random}`, attempt: 1 });

export const cloneChecks = (options: CloneOptions): HealthCheck<CloneContext>[] => [
  vmStart(options),
  vmHostKey(options),
  SECOND_WAY,
];

function vmStart({ vmName: name, pinHostKey, onStep, limits }: CloneOptions): HealthCheck<CloneContext> {
  const { cloneMs, setMs, addressMs, sshMs } = { ...BOOT_LIMITS, ...limits };
  return {
    id: 'vm_start',
    title: 'A clone of the base image starts',
    why: 'Every build begins with such a start.',
    blocking: true,
    dependsOn: ['config', 'ssh_key', 'base_image', 'vm_slots'],
    timeoutMs: cloneMs + setMs + START_MS + addressMs + sshMs,
    fix: 'Try each step by hand: `tart clone`, `tart run NAME --no-graphics`, `tart ip NAME`, `ssh`. VMs start only while a user is logged in on this Mac. If the base image was changed, run `expo-worker doctor --pin-host-key`.',
    async run(context, signal) {
      const tart = context.tart();
      const listed = await tart.list(signal);
      if (!listed.ok) return fail(listed.message);
      for (const old of listed.vms.filter((vm) => isAbandoned(vm.name)))
        await destroyVm({ tart, name: old.name, signal });
      if (listed.vms.filter(({ state }) => state === 'running').length >= VMS_PER_MAC_MAX)
        return { status: 'skipped', detail: 'both VM slots are in use; run doctor again when one is free' };

      const { vm: from, hostKey } = context.image;
      const config = { ...configOf(context), vmHostKey: pinHostKey ? undefined : hostKey };
      const runDir = join(tmpdir(), 'tartbeat-doctor');
      const boot = { ...(onStep && { onStep }), ...(limits && { limits }) };
      const booted = await bootVm({ tart, config, from, name, runDir, signal, ...boot });
      if (!booted.ok) {
        const seen = UNREACHED_AT.includes(booted.step) ? await sayWithoutNetwork(context, name, signal) : '';
        return fail(`${booted.step}: ${booted.message}${seen}`, START_FIXES[booted.kind]);
      }
      context.vm = booted.vm;
      return pass(`${name} at ${booted.vm.address}`);
    },
  };
}

function vmHostKey({ pinHostKey }: CloneOptions): HealthCheck<CloneContext> {
  return {
    id: 'vm_host_key',
    title: "The base image's host key is pinned",
    why: 'All clones share this key. Once it is pinned, the agent refuses another VM that has taken the address of its own.',
    blocking: false,
    dependsOn: ['vm_start'],
    timeoutMs: 5_000,
    fix: 'If you have just made the base image and trust it, run `expo-worker doctor --pin-host-key`.',
    async run({ vm, image }) {
      const shown = `SHA256:${vm!.ssh.hostFingerprint}`;
      if (pinHostKey) {
        await image.pin(shown);
        return pass(`written down: ${shown}`);
      }
      return image.hostKey === shown ? pass(shown) : warn(`not pinned; the clone shows ${shown}`);
    },
  };
}

const SECOND_WAY: HealthCheck<CloneContext> = {
  id: 'second_way',
  title: 'The VM answers without its network',
  why: 'When SSH is silent, the agent asks Tart’s guest agent in the VM by `tart exec`. So it tells a frozen VM from one whose network is gone or whose SSH server has died.',
  blocking: false,
  dependsOn: ['vm_start'],
  timeoutMs: 2 * TART_EXEC_MS + 5_000,
  fix: 'Make the base image from a public image, which has Tart’s guest agent, and let the account log in by itself there: the guest agent runs in its session. Without it a VM that has lost its network counts as frozen.',
  async run({ tart, vm }, signal) {
    const ask = () => tart().exec(vm!.name, ['true'], { limitMs: TART_EXEC_MS, signal });
    const first = await ask();
    // The guest agent starts with the session of the account, possibly later than SSH.
    const asked = first.ok ? first : await ask();
    if (!asked.ok) return warn(asked.message);
    return asked.exitCode === 0 ? pass('`tart exec` answers') : warn(`tart exec ended with ${asked.exitCode}`);
  },
};

/** Describes, by the second way, a VM that was not reached over SSH. */
async function sayWithoutNetwork(context: CloneContext, name: string, signal: AbortSignal): Promise<string> {
  const controllerUrl = vmControllerUrl(configOf(context));
  const seen = await lookWithoutNetwork({ tart: context.tart(), name, controllerUrl, limitMs: TART_EXEC_MS, signal });
  if (!seen) return '';
  if (!seen.answers) return '; nor does Tart’s guest agent answer, if the image has it: the VM may be frozen';
  const lives = '; the VM lives, because Tart’s guest agent answers there';
  if (!seen.controller) return lives;
  return seen.controller.reachable
    ? `${lives}; its network works, so look at its SSH server and at the way from this Mac to it`
    : `${lives}; but it does not reach the controller (${seen.controller.detail}), so its network may be gone`;
}

/** Advice for the failures that hosts of Tart are known for. */
const START_FIXES: Partial<Record<BootFailure['kind'], string>> = {
  // vm_start has just seen that fewer than two VMs run.
  vm_limit: 'macOS has lost count of its VMs: restart the Mac.',
  disk_locked:
    'A process of a VM that no longer exists still runs (see stale_vm_processes). Kill it, or restart the Mac.',
  start_refused:
    'Log the account in on the screen of this Mac, and unlock its keychain with `security unlock-keychain login.keychain-db`.',
  no_softnet: `softnet is missing, or may not run as root (see softnet). Run ${inWords('softnet-owner', 'softnet-root')}, or set "isolation": "nat" in the config.`,
  no_address:
    'The DHCP leases of this Mac may be used up (see dhcp_lease, dhcp_pool), or its firewall keeps VMs from getting one (see firewall). A restart of the Mac helps for a while.',
  no_route:
    'macOS keeps this program from the network of the VMs. Allow it in System Settings > Privacy & Security > Local Network, or run the agent as a LaunchDaemon (see local_network).',
  auth: 'The key in vmSshKey is not the one in the image, or the image was made again. Run `expo-worker base-image --force`, then `expo-worker doctor --pin-host-key`.',
};

/** True for the clone of a doctor that runs. Its VM may start in a moment. */
export const isOfRunningDoctor = (vmName: string): boolean =>
  parseVmName(vmName, DOCTOR) !== null && !isAbandoned(vmName);

/** True for the clone of a doctor whose process has ended. */
function isAbandoned(vmName: string): boolean {
  const pid = Number(parseVmName(vmName, DOCTOR)?.buildId.split('-')[0]);
  return Number.isSafeInteger(pid) && pid > 0 && !hasProcess(pid);
}
