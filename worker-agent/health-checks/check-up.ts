/**
 * Lists all checks of `doctor` and runs them: those of this Mac, then those of each image, in a clone of it.
 *
 * Invariant: once runDoctor has settled, its clones are deleted in every case. At most one exists at a time.
 */
import { randomBytes } from 'node:crypto';
import { type AgentConfig, loadConfig } from '../config.ts';
import { ConfigError } from '../config-findings.ts';
import { createMac, type Mac } from '../mac/programs.ts';
import { createTart, type Tart } from '../tart/tart.ts';
import type { BootLimits } from '../time-limits.ts';
import type { BootProgress } from '../vm/boot-progress.ts';
import { destroyVm } from '../vm/vm.ts';
import type { VmCheckContext } from './ask-vm.ts';
import { type CloneContext, type CloneOptions, cloneChecks, cloneNameOf } from './clone-checks.ts';
import { CONTROLLER_CHECKS } from './controller-checks.ts';
import { configOf, type ExaminedImage, type HostContext } from './host-context.ts';
import { IMAGE_CHECKS } from './image-checks.ts';
import { INSTALLATION_CHECKS } from './installation-checks.ts';
import { LAUNCHD_CHECKS } from './launchd-checks.ts';
import { MACOS_CHECKS } from './macos-checks.ts';
import { blockingFailure, type CheckResult, type HealthCheck, runChecks } from './run-checks.ts';
import { SETUP_CHECKS } from './setup-checks.ts';
import { SNAPSHOT_CHECKS, TART_CHECKS } from './tart-checks.ts';
import { VM_CHECKS } from './vm-checks-before-build.ts';

export interface DoctorOptions {
  configPath: string;
  /** Also boot a clone of each image and look inside. */
  vm: boolean;
  /** The images to examine. */
  imagesOf: (config: AgentConfig) => ExaminedImage[];
  /** Trust the host key that each clone shows, and no other from now on. */
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

const imageChecks = (clone: CloneOptions | null): HealthCheck<CloneContext>[] => [
  ...SNAPSHOT_CHECKS,
  ...(clone ? [...cloneChecks(clone), ...inVm([...VM_CHECKS, ...IMAGE_CHECKS])] : []),
];

/** Every check that doctor has, in order. The checks of an image are repeated for each image. */
export const doctorChecks = (clone: CloneOptions): HealthCheck<CloneContext>[] => [
  ...HOST_CHECKS,
  ...imageChecks(clone),
];

/** Rejects only with the signal's reason. */
export async function runDoctor({
  configPath,
  vm,
  imagesOf,
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
  const context: HostContext = { configPath, config, tart: () => (tart ??= createTart(configOf({ config }))), mac };
  const checks = await runChecks(HOST_CHECKS, context, { signal, onResult });
  // Without a config there is no image to examine. The checks of an image are skipped under their usual
  // names.
  const images = config instanceof ConfigError ? [NO_IMAGE] : imagesOf(config);
  for (const image of images) {
    const clone = vm ? { vmName: cloneNameOf(process.pid, randomBytes(4).toString('hex')), pinHostKey } : null;
    const ofImage: CloneContext = { ...context, image, vm: null };
    const list = imageChecks(clone && { ...clone, onStep, limits });
    try {
      const named =
        config instanceof ConfigError ? list : inWordsOf(image, list, { config, isAlone: images.length === 1 });
      checks.push(...(await runChecks(named, ofImage, { signal, onResult, earlier: checks })));
    } finally {
      ofImage.vm?.release();
      if (tart && clone) await destroyVm({ tart, name: clone.vmName, run: ofImage.vm?.run });
    }
  }
  return { ok: blockingFailure(checks) === null, checks };
}

const NO_IMAGE: ExaminedImage = { name: '', vm: '', hostKey: undefined, pin: async () => {} };

/**
 * Puts the names of an image and of its VMs into the checks. A Mac with several images has each finding of an
 * image as `CHECK@IMAGE`. An image whose VM is missing takes no builds, but the Mac still does: this blocks
 * only if the image is examined alone.
 */
function inWordsOf(
  { name, vm }: ExaminedImage,
  list: readonly HealthCheck<CloneContext>[],
  { config, isAlone }: { config: AgentConfig; isAlone: boolean },
): HealthCheck<CloneContext>[] {
  const isOnly = config.images.length === 1;
  const vmName = config.images.find((image) => image.name === name)?.vmName ?? name;
  const advice = (fix: string) => {
    const ofVm = fix.replaceAll('tart clone NAME NAME-base-snapshot', `tart clone ${vmName} ${vm}`);
    return isOnly ? ofVm : ofVm.replaceAll('expo-worker base-image', `expo-worker base-image --image ${name}`);
  };
  const isOfImage = (id: string) => list.some((other) => other.id === id);
  const idOf = (id: string) => (isOnly || !isOfImage(id) ? id : `${id}@${name}`);
  return list.map((check) => ({
    ...check,
    id: idOf(check.id),
    title: isOnly ? check.title : `${check.title} (${name})`,
    blocking: check.blocking && (isAlone || check.id !== 'base_image'),
    dependsOn: check.dependsOn.map(idOf),
    fix: advice(check.fix),
    async run(context, signal) {
      const outcome = await check.run(context, signal);
      return outcome.fix === undefined ? outcome : { ...outcome, fix: advice(outcome.fix) };
    },
  }));
}

/** Turns checks of any VM into checks of doctor's clone. */
function inVm(checks: readonly HealthCheck<VmCheckContext>[]): HealthCheck<CloneContext>[] {
  return checks.map((check) => ({
    ...check,
    dependsOn: [...check.dependsOn, 'vm_start'],
    run: (context, signal) => check.run({ tart: context.tart(), config: configOf(context), vm: context.vm! }, signal),
  }));
}
