/**
 * Lists all checks of `doctor` and runs them: those of this Mac, then those of a VM, in a clone of its own.
 *
 * Invariant: once runDoctor has settled its clone is deleted, whatever happened.
 */
import { randomBytes } from 'node:crypto';
import { loadConfig } from '../config.ts';
import { ConfigError } from '../config-findings.ts';
import { createMac, type Mac } from '../mac/programs.ts';
import { createTart, type Tart } from '../tart/tart.ts';
import type { BootLimits } from '../time-limits.ts';
import type { BootProgress } from '../vm/boot-progress.ts';
import { destroyVm } from '../vm/vm.ts';
import type { VmCheckContext } from './ask-vm.ts';
import { type CloneContext, type CloneOptions, cloneChecks, cloneNameOf } from './clone-checks.ts';
import { CONTROLLER_CHECKS } from './controller-checks.ts';
import { configOf, type HostContext } from './host-context.ts';
import { IMAGE_CHECKS } from './image-checks.ts';
import { INSTALLATION_CHECKS } from './installation-checks.ts';
import { LAUNCHD_CHECKS } from './launchd-checks.ts';
import { MACOS_CHECKS } from './macos-checks.ts';
import { blockingFailure, type CheckResult, type HealthCheck, runChecks } from './run-checks.ts';
import { SETUP_CHECKS } from './setup-checks.ts';
import { TART_CHECKS } from './tart-checks.ts';
import { VM_CHECKS } from './vm-checks-before-build.ts';

export interface DoctorOptions {
  configPath: string;
  /** Also boot a clone and look inside. */
  vm: boolean;
  /** Write the host key that the clone shows to the config, and trust it from now on. */
  pinHostKey?: boolean;
  signal: AbortSignal;
  mac?: Mac;
  onResult?: (result: CheckResult) => void;
  onStep?: (progress: BootProgress) => void;
  limits?: Partial<BootLimits>;
}

export interface DoctorReport {
  /** True if no blocking check has failed. */
  ok: boolean;
  checks: CheckResult[];
}

/** Every check of this Mac. */
export const HOST_CHECKS: readonly HealthCheck<HostContext>[] = [
  ...SETUP_CHECKS,
  ...INSTALLATION_CHECKS,
  ...TART_CHECKS,
  ...CONTROLLER_CHECKS,
  ...MACOS_CHECKS,
  ...LAUNCHD_CHECKS,
];

/** Every check that doctor has, in order. */
export const doctorChecks = (clone: CloneOptions): HealthCheck<CloneContext>[] => [
  ...HOST_CHECKS,
  ...cloneChecks(clone),
  ...inVm([...VM_CHECKS, ...IMAGE_CHECKS]),
];

/** Rejects only with the signal's reason. */
export async function runDoctor({
  configPath,
  vm,
  pinHostKey = false,
  signal,
  mac = createMac(),
  onResult,
  onStep,
  limits,
}: DoctorOptions): Promise<DoctorReport> {
  const config = await loadConfig(configPath).catch((error) => {
    if (error instanceof ConfigError) return error;
    throw error;
  });
  let tart: Tart | undefined;
  const context: CloneContext = {
    configPath,
    config,
    tart: () => (tart ??= createTart(configOf({ config }))),
    mac,
    vm: null,
  };
  const vmName = cloneNameOf(process.pid, randomBytes(4).toString('hex'));
  const checks = vm ? doctorChecks({ vmName, pinHostKey, onStep, limits }) : HOST_CHECKS;
  try {
    const results = await runChecks(checks, context, { signal, onResult });
    return { ok: blockingFailure(results) === null, checks: results };
  } finally {
    context.vm?.release();
    if (tart && vm) await destroyVm({ tart, name: vmName, run: context.vm?.run });
  }
}

/** Turns checks of any VM into checks of doctor's clone. */
function inVm(checks: readonly HealthCheck<VmCheckContext>[]): HealthCheck<CloneContext>[] {
  return checks.map((check) => ({
    ...check,
    dependsOn: [...check.dependsOn, 'vm_start'],
    run: (context, signal) => check.run({ tart: context.tart(), config: configOf(context), vm: context.vm! }, signal),
  }));
}
