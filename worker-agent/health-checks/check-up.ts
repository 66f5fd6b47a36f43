/**
 * Is everything in place for builds on this Mac? The host's checks, then the VM's in a clone of its own.
 *
 * Invariant: the clone is gone when runDoctor has settled, whatever happened; one that a killed doctor left is removed by the next.
 */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentConfig, ConfigError, changeConfig, loadConfig, VMS_PER_MAC_MAX } from '../config.ts';
import { BOOT_LIMITS, type BootLimits } from '../limits.ts';
import { createMac, type Mac } from '../mac/programs.ts';
import { createTart, type Tart } from '../tart/tart.ts';
import { type BootFailure, type BootProgress, bootVm, destroyVm, parseVmName, type Vm, vmNameOf } from '../vm/vm.ts';
import { IMAGE_CHECKS } from './image-checks.ts';
import { MAC_CHECKS } from './macos-checks.ts';
import { blockingFailure, type CheckResult, fail, type HealthCheck, pass, runChecks, warn } from './run-checks.ts';
import { HOST_CHECKS, type HostCheckContext } from './setup-checks.ts';
import { VM_CHECKS, type VmCheckContext } from './vm-checks.ts';

export interface DoctorOptions {
  configPath: string;
  /** Also boot a clone and look inside. */
  vm: boolean;
  /** Trust the host key that the clone shows from now on, whatever the config says: writes it there. */
  pinHostKey?: boolean;
  signal: AbortSignal;
  mac?: Mac;
  onResult?: (result: CheckResult) => void;
  onStep?: (progress: BootProgress) => void;
  limits?: Partial<BootLimits>;
}

export interface DoctorReport {
  /** No blocking check failed. */
  ok: boolean;
  checks: CheckResult[];
}

interface DoctorContext extends HostCheckContext, Omit<VmCheckContext, 'tart' | 'config' | 'vm'> {
  vm: Vm | null;
}

/** A worker's id that no worker has: the rest of the name is the doctor's process. */
const DOCTOR = 'doctor';
const CLONE_AND_START_MS = 400_000;

/** Rejects only with the signal's reason. */
export async function runDoctor({
  configPath,
  vm,
  pinHostKey = false,
  signal,
  mac = createMac(),
  onResult,
  ...boot
}: DoctorOptions): Promise<DoctorReport> {
  const config = await loadConfig(configPath).catch((error) => {
    if (error instanceof ConfigError) return error;
    throw error;
  });
  let tart: Tart | undefined;
  const context: DoctorContext = {
    configPath,
    config,
    tart: () => (tart ??= createTart(configured(config))),
    mac,
    vm: null,
  };
  const name = vmNameOf({ workerId: DOCTOR, buildId: `${process.pid}-${randomBytes(4).toString('hex')}`, attempt: 1 });
  const checks = vm ? doctorChecks(name, pinHostKey, boot) : [...HOST_CHECKS, ...MAC_CHECKS];
  try {
    const results = await runChecks(checks, context, { signal, onResult });
    return { ok: blockingFailure(results) === null, checks: results };
  } finally {
    context.vm?.release();
    if (tart && vm) await destroyVm({ tart, name, run: context.vm?.run });
  }
}

/** Every check that doctor has, in order. */
export const doctorChecks = (
  vmName: string,
  pinHostKey = false,
  boot: Pick<DoctorOptions, 'onStep' | 'limits'> = {},
): HealthCheck<DoctorContext>[] => [
  ...HOST_CHECKS,
  ...MAC_CHECKS,
  vmStart(vmName, pinHostKey, boot),
  hostKey(pinHostKey),
  ...inVm([...VM_CHECKS, ...IMAGE_CHECKS]),
];

/** Boots the clone that the checks after it look into. */
function vmStart(
  name: string,
  pinHostKey: boolean,
  boot: Pick<DoctorOptions, 'onStep' | 'limits'>,
): HealthCheck<DoctorContext> {
  const { addressMs, sshMs } = { ...BOOT_LIMITS, ...boot.limits };
  return {
    id: 'vm_start',
    title: 'A clone of the base image starts',
    why: 'Every build begins like this.',
    blocking: true,
    dependsOn: ['config', 'ssh_key', 'base_image', 'vm_slots'],
    timeoutMs: CLONE_AND_START_MS + addressMs + sshMs,
    fix: 'Try by hand: tart clone, tart run NAME --no-graphics, tart ip NAME, ssh. A Mac without a logged-in user cannot start VMs. After a change of the base image: expo-worker doctor --pin-host-key',
    async run(context, signal) {
      const tart = context.tart();
      const listed = await tart.list(signal);
      if (!listed.ok) return fail(listed.message);
      for (const old of listed.vms.filter((vm) => isAbandoned(vm.name)))
        await destroyVm({ tart, name: old.name, signal });
      if (listed.vms.filter(({ state }) => state === 'running').length >= VMS_PER_MAC_MAX)
        return { status: 'skipped', detail: 'both VM slots are in use; run doctor again when one is free' };

      const { vmHostKey, ...rest } = configured(context.config);
      const config = pinHostKey ? rest : { ...rest, vmHostKey };
      const runDir = join(tmpdir(), 'tartbeat-doctor');
      const booted = await bootVm({ tart, config, name, runDir, signal, ...boot });
      if (!booted.ok) return fail(`${booted.step}: ${booted.message}`, START_FIXES[booted.kind]);
      context.vm = booted.vm;
      return pass(`${name} at ${booted.vm.address}`);
    },
  };
}

/** All clones share the base image's host key: pinned, another VM that has taken the address is not talked to. */
function hostKey(pin: boolean): HealthCheck<DoctorContext> {
  return {
    id: 'vm_host_key',
    title: "The base image's host key is pinned",
    why: 'All clones share it: pinned, another VM that has taken the address is not talked to.',
    blocking: false,
    dependsOn: ['vm_start'],
    timeoutMs: 5_000,
    fix: 'If you have just made the base image and trust it: expo-worker doctor --pin-host-key',
    async run({ vm, config, configPath }) {
      const shown = `SHA256:${vm!.ssh.hostFingerprint}`;
      if (pin) {
        await changeConfig(configPath, { vmHostKey: shown });
        return pass(`written to the config: ${shown}`);
      }
      return configured(config).vmHostKey === shown ? pass(shown) : warn(`not pinned; the clone shows ${shown}`);
    },
  };
}

/** For what is known of Tart's hosts. */
const START_FIXES: Partial<Record<BootFailure['kind'], string>> = {
  // Although, as was seen above, fewer than two VMs run.
  vm_limit: 'macOS has lost count of its VMs: restart the Mac.',
  disk_locked: 'A process is left of a VM that is gone (stale_vm_processes): kill it, or restart the Mac.',
  start_refused:
    'Log the account in on the screen of this Mac, and unlock its keychain: security unlock-keychain login.keychain-db',
  no_softnet: 'Install softnet with `brew install cirruslabs/cli/softnet`, or set "isolation": "nat".',
  no_address:
    'The DHCP leases of this Mac may be used up (dhcp_lease, dhcp_pool), or its firewall keeps VMs from having any (firewall). A restart of the Mac helps for a while.',
  no_route:
    'macOS keeps this program from the network of the VMs: System Settings > Privacy & Security > Local Network, or run the agent as a LaunchDaemon.',
  auth: 'The key in vmSshKey is not the one in the image, or the image was made anew: expo-worker base-image --force, then expo-worker doctor --pin-host-key',
};

function inVm(checks: readonly HealthCheck<VmCheckContext>[]): HealthCheck<DoctorContext>[] {
  return checks.map((check) => ({
    ...check,
    dependsOn: [...check.dependsOn, 'vm_start'],
    run: (context, signal) =>
      check.run({ tart: context.tart(), config: configured(context.config), vm: context.vm! }, signal),
  }));
}

function configured(config: AgentConfig | ConfigError): AgentConfig {
  if (config instanceof ConfigError) throw config;
  return config;
}

/** A doctor's clone whose process is gone. */
function isAbandoned(vmName: string): boolean {
  const pid = Number(parseVmName(vmName, DOCTOR)?.buildId.split('-')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
