/**
 * What an agent tells whoever watches it: a person at a terminal, a log file, `npm run demo`. With `--json` each event is one JSON object on
 * one line, so this union is an interface: add, never change.
 *
 * Invariant: nothing secret is ever in an event.
 */
import type { FailureExplanation, Stage, Verdict } from '#contract';

interface OfAttempt {
  buildId: string;
  attempt: number;
}

export type AttemptEvent =
  | { type: 'claimed'; vmName: string; adopted: boolean }
  | { type: 'stage'; stage: Stage }
  /** A step of the attempt; `durationMs` once it is done or has failed. */
  | { type: 'step'; step: string; status: 'started' | 'done' | 'failed'; durationMs?: number; detail?: string }
  | { type: 'check'; id: string; title: string; status: string; durationMs: number; detail: string }
  | {
      type: 'beat';
      accepted: boolean;
      stage: Stage;
      durationMs: number;
      vmBeatAt: string | null;
      percent?: number;
      /** In words for people. */
      phase?: string;
      /** Why it was not accepted. */
      message?: string;
    }
  /** The controller has the log up to here. */
  | { type: 'log'; lengthBytes: number; followers: number }
  | { type: 'artifact'; name: string; sizeBytes: number; sha256: string; status: 'found' | 'stored' }
  | {
      type: 'result';
      /** `stopped`: the controller had ended the attempt already. */
      outcome: 'succeeded' | 'failed' | 'stopped';
      verdict?: Verdict;
      step?: string;
      message?: string;
      exitCode?: number;
      /** The known error in which the log ends. */
      explained?: FailureExplanation;
    }
  /** What became of the result at the controller. */
  | { type: 'reported'; accepted: boolean; message: string }
  | { type: 'slot_free'; vmName: string }
  | { type: 'warning'; message: string };

export type HostEvent =
  | { type: 'started'; workerId: string; instanceId: string; slots: number; controllerUrl: string }
  | { type: 'reconciled'; vmName: string; action: string; reason: string }
  | { type: 'idle'; state: string; reason: string | null }
  | { type: 'controller'; reachable: boolean; message: string }
  /** The doctor's checks, run by an agent that is quarantined. */
  | { type: 'self_check'; ok: boolean; message: string }
  | { type: 'draining'; waitingFor: string[] }
  | { type: 'stopping' }
  | { type: 'stopped' }
  | { type: 'warning'; message: string };

export type AgentEvent = HostEvent | (AttemptEvent & OfAttempt);
export type Emit = (event: AgentEvent) => void;
export type EmitOfAttempt = (event: AttemptEvent) => void;
