/**
 * Is everything in place for builds on this Mac? The host's checks, then the VM's in a clone of its own.
 *
 * Invariant: the clone is gone when runDoctor has settled, whatever happened; one that a killed doctor left is removed by the next.
 */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentConfig, ConfigError, loadConfig, VMS_PER_MAC_MAX } from './config.ts';
import { HOST_CHECKS, type HostCheckContext } from './health-checks/host-checks.ts';
import {
  blockingFailure,
  type CheckResult,
  fail,
  type HealthCheck,
  pass,
  runChecks,
} from './health-checks/run-checks.ts';
import { VM_CHECKS, type VmCheckContext } from './health-checks/vm-checks.ts';
import { createTart, type Tart } from './tart.ts';
import {
  BOOT_LIMITS,
  type BootLimits,
  type BootProgress,
  bootVm,
  destroyVm,
  parseVmName,
  type Vm,
  vmNameOf,
} from './vm.ts';

export interface DoctorOptions {
  configPath: string;
  /** Also boot a clone and look inside. */
  vm: boolean;
  signal: AbortSignal;
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
export async function runDoctor({ configPath, vm, signal, onResult, ...boot }: DoctorOptions): Promise<DoctorReport> {
  const config = await loadConfig(configPath).catch((error) => {
    if (error instanceof ConfigError) return error;
    throw error;
  });
  let tart: Tart | undefined;
  const context: DoctorContext = {
    configPath,
    config,
    tart: () => (tart ??= createTart(configured(config))),
    vm: null,
  };
  const name = vmNameOf({ workerId: DOCTOR, buildId: `${process.pid}-${randomBytes(4).toString('hex')}`, attempt: 1 });
  const checks = vm ? [...HOST_CHECKS, vmStart(name, boot), ...inVm(VM_CHECKS)] : HOST_CHECKS;
  try {
    const results = await runChecks(checks, context, { signal, onResult });
    return { ok: blockingFailure(results) === null, checks: results };
  } finally {
    context.vm?.release();
    if (tart && vm) await destroyVm({ tart, name, run: context.vm?.run });
  }
}

/** Boots the clone that the checks after it look into. */
function vmStart(name: string, boot: Pick<DoctorOptions, 'onStep' | 'limits'>): HealthCheck<DoctorContext> {
  const { addressMs, sshMs } = { ...BOOT_LIMITS, ...boot.limits };
  return {
    id: 'vm_start',
    title: 'A clone of the base image starts',
    blocking: true,
    dependsOn: ['config', 'ssh_key', 'base_image', 'vm_slots'],
    timeoutMs: CLONE_AND_START_MS + addressMs + sshMs,
    fix: 'Try by hand: tart clone, tart run NAME --no-graphics, tart ip NAME, ssh. A Mac without a logged-in user cannot start VMs.',
    async run(context, signal) {
      const tart = context.tart();
      const listed = await tart.list(signal);
      if (!listed.ok) return fail(listed.message);
      for (const old of listed.vms.filter((vm) => isAbandoned(vm.name)))
        await destroyVm({ tart, name: old.name, signal });
      if (listed.vms.filter(({ state }) => state === 'running').length >= VMS_PER_MAC_MAX)
        return { status: 'skipped', detail: 'both VM slots are in use; run doctor again when one is free' };

      const config = configured(context.config);
      const runDir = join(tmpdir(), 'tartbeat-doctor');
      const booted = await bootVm({ tart, config, name, runDir, signal, ...boot });
      if (!booted.ok) return fail(`${booted.step}: ${booted.message}`);
      context.vm = booted.vm;
      return pass(`${name} at ${booted.vm.address}`);
    },
  };
}

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
