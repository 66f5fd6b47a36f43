/**
 * Lists the events that an agent sends to its watchers: a person at a terminal, a log file, `npm run demo`.
 *
 * Invariant: nothing secret is ever in an event. With `--json` each event is one JSON object on one line, so
 * this union is an interface: new events and fields are added, none is changed.
 */
import type { FailureExplanation, HandBackReason, ImageFetch, Stage, Verdict } from '#contract';

interface OfAttempt {
  buildId: string;
  attempt: number;
}

/**
 * limit     its time is over            drained   the agent takes no more builds, or stops
 * released  `expo-worker release`       refused   the controller does not want the VM to be kept
 * vm_ended  its `tart run` has ended
 */
export const KEPT_ENDS = ['limit', 'drained', 'released', 'refused', 'vm_ended'] as const;
export type KeptEnd = (typeof KEPT_ENDS)[number];

export const KEPT_END_IN_WORDS: Record<KeptEnd, string> = {
  limit: 'its time is over',
  drained: 'the agent takes no more builds',
  released: 'it was released',
  refused: 'the controller does not want it',
  vm_ended: 'it has ended by itself',
};

export type AttemptEvent =
  | { type: 'claimed'; vmName: string; adopted: boolean }
  | { type: 'stage'; stage: Stage }
  /** A step of the attempt. `durationMs` is there once the step is done or has failed. */
  | { type: 'step'; step: string; status: 'started' | 'done' | 'failed'; durationMs?: number; detail?: string }
  | { type: 'check'; id: string; title: string; status: string; durationMs: number; detail: string }
  | {
      type: 'beat';
      accepted: boolean;
      stage: Stage;
      durationMs: number;
      vmBeatAt: string | null;
      percent?: number;
      /** The phase of the build in words for people. */
      phase?: string;
      /** Why the beat was not accepted. */
      message?: string;
    }
  /** The controller has this many bytes of the log. */
  | { type: 'log'; lengthBytes: number; followers: number }
  | { type: 'artifact'; name: string; sizeBytes: number; sha256: string; status: 'found' | 'stored' }
  | {
      type: 'result';
      /** `stopped` means that the controller has ended the attempt itself. */
      outcome: 'succeeded' | 'failed' | 'stopped';
      verdict?: Verdict;
      step?: string;
      message?: string;
      exitCode?: number;
      /** The known error at the end of the log. */
      explained?: FailureExplanation;
      /** Why the build is handed back, if it is. */
      handBack?: HandBackReason;
    }
  /** The controller has accepted or refused the report. */
  | { type: 'reported'; accepted: boolean; message: string }
  /** The VM of the failed attempt is kept, and holds its slot until this time at most. */
  | { type: 'kept'; until: string }
  | { type: 'kept_end'; reason: KeptEnd }
  | { type: 'slot_free'; vmName: string }
  | { type: 'warning'; message: string };

/** A person decided `back` and `promoted`. */
export type ImageChange = 'switched' | 'proven' | 'switched_back' | 'back' | 'promoted';

export type HostEvent =
  | { type: 'started'; workerId: string; instanceId: string; slots: number; controllerUrl: string }
  | { type: 'reconciled'; vmName: string; action: string; reason: string }
  | { type: 'idle'; state: string; reason: string | null }
  | { type: 'controller'; reachable: boolean; message: string }
  /** An image is cloned from another VM than before, or is no longer switched back by itself. */
  | { type: 'image'; image: string; change: ImageChange; vm: string; message: string }
  /** The progress of fetching an image that a pool of this worker names. */
  | { type: 'image_fetch'; image: string; reference: string; state: ImageFetch['state']; message: string }
  /** An agent that is quarantined, or has switched an image back, has run doctor's checks. */
  | { type: 'self_check'; ok: boolean; message: string }
  | { type: 'draining'; waitingFor: string[] }
  | { type: 'stopping' }
  | { type: 'stopped' }
  | { type: 'warning'; message: string };

export type AgentEvent = HostEvent | (AttemptEvent & OfAttempt);
export type Emit = (event: AgentEvent) => void;
export type EmitOfAttempt = (event: AttemptEvent) => void;

/** For people. The step `command` is done as soon as the command has started, so this name says so. */
export const stepInWords = (step: string): string => (step === 'command' ? 'start of the command' : step);
