/**
 * Offers the agent all functions of Tart that it uses: lists, clones and sets VMs, finds their addresses, and
 * joins this with exec.ts, registry.ts, remove.ts, runs.ts and vm-config.ts.
 *
 * Invariant: `clone` never replaces a VM. A single failed `tart list` is retried, unless it used up its whole
 * time.
 */
import { jittered, pause } from '../../client/retry.ts';
import { addressOf, failure, type TartFailureKind, type TartResult, type TartVm, vmsOf } from './answers.ts';
import { createTartCall, type TartOptions } from './call.ts';
import { createTartExec, type TartExec } from './exec.ts';
import { createTartRegistry, type TartRegistry } from './registry.ts';
import { removeVm } from './remove.ts';
import { createTartRuns, type TartRun, type TartRuns } from './runs.ts';
import { type TartVmConfigs, vmConfigsIn } from './vm-config.ts';

export interface Hardware {
  cpus?: number | undefined;
  memoryMb?: number | undefined;
  /** `1024x768`, optionally with `pt` or `px`. */
  display?: string | undefined;
}

export interface Tart extends TartRuns, TartVmConfigs, TartExec, TartRegistry {
  /** The folder of all VMs: `$TART_HOME`. */
  readonly home: string;
  version(signal?: AbortSignal): Promise<TartResult<{ version: string }>>;
  list(signal?: AbortSignal): Promise<TartResult<{ vms: TartVm[] }>>;
  /**
   * `no_address` is the usual answer while the VM boots. An address does not prove that the VM runs: a
   * stopped VM may still have one.
   */
  ip(name: string, options?: { waitSeconds?: number; signal?: AbortSignal }): Promise<TartResult<{ address: string }>>;
  /**
   * Refuses a name that is taken. It reads the list first, because Tart before 2.40.1 would replace an
   * existing VM without a question. Later versions refuse by themselves, also a name that was taken
   * meanwhile.
   */
  clone(source: string, name: string, signal?: AbortSignal): Promise<TartResult>;
  /**
   * Gives a new MAC address, a new serial number and, if given, hardware. Apple's servers mix up two VMs with
   * one serial number. A suspended VM stays unchanged, because otherwise it could not be resumed.
   */
  set(name: string, hardware: Hardware, signal?: AbortSignal): Promise<TartResult>;
  /** Stops and deletes a VM; ok also if the VM never existed. Kills a run that does not stop. */
  remove(name: string, options?: { run?: TartRun | undefined; signal?: AbortSignal }): Promise<TartResult>;
}

const LIST_TRIES = 5;
/**
 * The agent retries after these failures, and after an answer that is no list, because a single one proves
 * nothing. Tart fails as a whole when a VM is deleted while Tart reads it, and a Tart that is being replaced
 * may print half of its answer. While VMs are deleted one after the other, a third of all lists fail like
 * this, and five in a row fail once in 240 times.
 */
const PASSING: readonly TartFailureKind[] = ['failed', 'not_found'];
const LIST_PAUSE_MS = 500;
/** The largest value that `tart ip --wait` accepts. */
const IP_WAIT_MAX_SECONDS = 65_535;

export function createTart(options: TartOptions): Tart {
  const tartCall = createTartCall(options);
  const { home, call } = tartCall;
  const { killRun, ...runs } = createTartRuns(tartCall);

  const tart: Tart = {
    home,
    ...runs,
    ...vmConfigsIn(home),
    ...createTartRegistry(tartCall),
    ...createTartExec(tartCall),

    async version(signal) {
      const result = await call('version', ['--version'], { signal });
      return result.ok ? { ok: true, version: result.stdout.trim() } : result;
    },

    async list(signal) {
      for (let tries = 1; ; tries++) {
        const result = await call('list', ['list', '--format', 'json'], { signal });
        const listed = result.ok ? vmsOf(result.stdout) : result;
        const passes = result.ok || PASSING.includes(result.kind);
        if (listed.ok || !passes || tries === LIST_TRIES || signal?.aborted) return listed;
        await pause(jittered(LIST_PAUSE_MS), signal).catch(() => {});
      }
    },

    async ip(name, { waitSeconds = 0, signal } = {}) {
      const wait = waitSeconds > 0 ? ['--wait', String(Math.min(Math.ceil(waitSeconds), IP_WAIT_MAX_SECONDS))] : [];
      const result = await call('ip', ['ip', name, ...wait], { signal, extraMs: waitSeconds * 1000 });
      return result.ok ? addressOf(result.stdout) : result;
    },

    async clone(source, name, signal) {
      const listed = await tart.list(signal);
      if (!listed.ok) return { ...listed, step: 'clone' };
      if (listed.vms.some((vm) => vm.name === name))
        return failure('clone', 'already_exists', null, `a VM named ${name} exists already`);
      if (!source.includes('/') && !listed.vms.some((vm) => vm.name === source))
        return failure('clone', 'not_found', null, `there is no VM named ${source} to clone`);
      const result = await call('clone', ['clone', source, name], { signal });
      return result.ok ? { ok: true } : result;
    },

    async set(name, { cpus, memoryMb, display }, signal) {
      const listed = await tart.list(signal);
      if (!listed.ok) return { ...listed, step: 'set' };
      if (listed.vms.some((vm) => vm.name === name && vm.state === 'suspended')) return { ok: true };
      const hardware = Object.entries({ '--cpu': cpus, '--memory': memoryMb, '--display': display }).flatMap(
        ([option, value]) => (value === undefined ? [] : [option, String(value)]),
      );
      const result = await call('set', ['set', name, '--random-mac', '--random-serial', ...hardware], { signal });
      return result.ok ? { ok: true } : result;
    },

    remove: (name, { run, signal } = {}) => removeVm({ home, call, list: tart.list, killRun }, name, run, signal),
  };
  return tart;
}
