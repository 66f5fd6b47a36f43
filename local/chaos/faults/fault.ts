/**
 * Defines a fault of `npm run chaos`: how it is injected, when, and how the attempt must end. Has the
 * timeouts to which the lengths of the faults are scaled.
 */
import type { Cause, Timeouts, Verdict } from '#contract';

/** How an attempt may end. */
export type Ending = 'succeeded' | Verdict;

/** Moments that every healthy attempt passes. The events of its agent show them. */
export const MOMENTS = ['claimed', 'running', 'connected', 'checked', 'building', 'collecting'] as const;
export type Moment = (typeof MOMENTS)[number];

export type Injection =
  /**
   * A fault of the simulator, set before the VM boots or while the command runs. It is cleared after
   * `forMs`.
   */
  | { on: 'vm'; fault: string; from: 'clone' | 'command'; forMs?: number }
  /** The injector kills `tart run` with SIGKILL. */
  | { on: 'tart_run' }
  /** SIGKILL of the agent's process group and a new start. `withVm` kills `tart run` in between. */
  | { on: 'agent'; action: 'kill'; withVm?: boolean }
  /** SIGSTOP of the agent, and SIGCONT after `forMs`. `withVm` stops the VM for the same time. */
  | { on: 'agent'; action: 'stop'; forMs: number; withVm?: boolean }
  /** Neither the agent nor the VMs of one Mac reach the controller for this time. */
  | { on: 'network'; forMs: number }
  /** SIGKILL of wrangler and workerd, and a new start on the same state. */
  | { on: 'controller' }
  /** The build itself is at fault: see builds.ts. */
  | { on: 'build'; flaw: 'exits' | 'hangs' | 'endless' | 'no_artifact' | 'bad_archive' }
  | { on: 'user'; action: 'cancel' };

export interface Fault {
  kind: string;
  title: string;
  inject: Injection;
  /** The endings that are right for the attempt that meets the fault. */
  ends: readonly Ending[];
  /** The steps that are right, for verdicts that name a step. */
  steps?: readonly string[];
  /** Right causes of these endings. Null: no cause may be shown. */
  causes?: readonly (Cause | null)[];
  /** The attempt is handed back, and the build continues with another one. */
  handedBack?: true;
  /** The moments at which the fault may come. Without them the injection decides. */
  moments?: readonly Moment[];
  timeouts?: Partial<Timeouts>;
  /** The fault is dealt in one of this many rounds. Default 1. */
  everyRounds?: number;
}

/** Scaled down from the defaults, but long enough for a machine that runs a whole farm. */
export const CHAOS_TIMEOUTS = {
  heartbeatTimeoutMs: 24_000,
  workerTimeoutMs: 32_000,
  bootTimeoutMs: 120_000,
  noOutputTimeoutMs: 60_000,
  buildTimeoutMs: 300_000,
  queueTimeoutMs: 1_800_000,
} as const satisfies Timeouts;
/**
 * The longest silence seen in a healthy iOS build is 209 s of the 900 s. It is scaled down in the same way.
 */
export const HEALTHY_SILENCE_MS = Math.round((CHAOS_TIMEOUTS.noOutputTimeoutMs * 209) / 900);

/** A fault of the simulator. */
export const vm = (fault: string, from: 'clone' | 'command', forMs?: number): Injection => ({
  on: 'vm',
  fault,
  from,
  forMs,
});
