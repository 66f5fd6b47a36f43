/**
 * Keeps what each slot is doing, from the agent's own events, and writes it for `expo-worker status`.
 *
 * Invariant: the agent never reads it back. It is written at most once a second.
 */
import { z } from 'zod';
import { STAGES } from '#contract';
import { type AgentEvent, stepInWords } from '../events.ts';
import type { StateFolder } from '../state/state-folder.ts';

export const SlotReport = z.object({
  buildId: z.string(),
  attempt: z.number(),
  vmName: z.string(),
  stage: z.enum(STAGES).nullable(),
  step: z.string().nullable(),
  percent: z.number().nullable(),
  phase: z.string().nullable().default(null),
  beatAt: z.string().nullable(),
  vmBeatAt: z.string().nullable(),
  result: z.string().nullable(),
  lastError: z.string().nullable(),
  /** Until when the VM is kept for a look, if it is. */
  keptUntil: z.string().nullable().default(null),
  vmGone: z.boolean(),
});
export type SlotReport = z.infer<typeof SlotReport>;

/**
 * The last build that failed here. It is kept because its slot is free long before somebody asks. A build
 * that was handed back has not failed.
 */
export const LastFailure = z.object({
  buildId: z.string(),
  attempt: z.number(),
  at: z.string(),
  verdict: z.string(),
  explained: z.string().nullable(),
});
export type LastFailure = z.infer<typeof LastFailure>;

export const AgentReport = z.object({
  pid: z.number(),
  writtenAt: z.string(),
  startedAt: z.string(),
  workerId: z.string().nullable(),
  controllerUrl: z.string(),
  slots: z.number(),
  state: z.string(),
  lastError: z.string().nullable(),
  lastFailure: LastFailure.nullable().default(null),
  builds: z.array(SlotReport),
});
export type AgentReport = z.infer<typeof AgentReport>;

const WRITE_INTERVAL_MS = 1_000;

export class StatusFile implements AsyncDisposable {
  readonly #folder: StateFolder;
  readonly #report: AgentReport;
  readonly #builds = new Map<string, SlotReport>();
  #changed = true;
  #writing: Promise<void> = Promise.resolve();
  readonly #timer: NodeJS.Timeout;

  constructor(folder: StateFolder, { controllerUrl, slots }: { controllerUrl: string; slots: number }) {
    const now = new Date().toISOString();
    this.#folder = folder;
    this.#report = {
      pid: process.pid,
      writtenAt: now,
      startedAt: now,
      workerId: null,
      controllerUrl,
      slots,
      state: 'starting',
      lastError: null,
      lastFailure: null,
      builds: [],
    };
    this.#timer = setInterval(() => this.#write(), WRITE_INTERVAL_MS);
    this.#timer.unref();
  }

  see(event: AgentEvent): void {
    this.#changed = true;
    if (event.type === 'started') Object.assign(this.#report, { workerId: event.workerId, state: 'running' });
    else if (event.type === 'draining' || event.type === 'stopping') this.#report.state = event.type;
    else if (event.type === 'controller' && !event.reachable) this.#report.lastError = event.message;
    else if (event.type === 'warning' && !('buildId' in event)) this.#report.lastError = event.message;
    if ('buildId' in event) this.#seeAttempt(event);
  }

  /** Nothing of the attempt is left to do on this Mac. */
  forget({ buildId, attempt }: { buildId: string; attempt: number }): void {
    this.#builds.delete(`${buildId}-${attempt}`);
    this.#changed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#report.state = 'stopped';
    this.#changed = true;
    this.#write();
    await this.#writing;
  }

  #seeAttempt(event: AgentEvent & { buildId: string; attempt: number }): void {
    const { buildId, attempt } = event;
    const key = `${buildId}-${attempt}`;
    const slot: SlotReport = this.#builds.get(key) ?? newSlot(buildId, attempt);
    this.#builds.set(key, slot);
    if (event.type === 'claimed') slot.vmName = event.vmName;
    else if (event.type === 'stage') slot.stage = event.stage;
    else if (event.type === 'step') slot.step = `${stepInWords(event.step)} ${event.status}`;
    else if (event.type === 'kept') slot.keptUntil = event.until;
    else if (event.type === 'kept_end') slot.keptUntil = null;
    else if (event.type === 'slot_free') slot.vmGone = true;
    else if (event.type === 'warning') slot.lastError = event.message;
    else if (event.type === 'result') this.#seeResult(slot, event);
    else if (event.type === 'beat') {
      if (event.accepted) slot.beatAt = new Date().toISOString();
      else slot.lastError = event.message ?? null;
      slot.vmBeatAt = event.vmBeatAt;
      slot.percent = event.percent ?? null;
      slot.phase = event.phase ?? null;
    }
  }

  #seeResult(slot: SlotReport, event: AgentEvent & { type: 'result' }): void {
    const { outcome, verdict, explained, handBack } = event;
    slot.result = handBack ? 'handed back' : (verdict ?? outcome);
    if (outcome !== 'failed' || !verdict || handBack) return;
    const { buildId, attempt } = slot;
    const words = explained ? `${explained.sentence} ${explained.advice}` : null;
    this.#report.lastFailure = { buildId, attempt, at: new Date().toISOString(), verdict, explained: words };
  }

  #write(): void {
    if (!this.#changed) return;
    this.#changed = false;
    const report = { ...this.#report, writtenAt: new Date().toISOString(), builds: [...this.#builds.values()] };
    // A file that cannot be written must not stop a build.
    this.#writing = this.#writing.then(() => this.#folder.writeAgentReport(report)).catch(() => {});
  }
}

const newSlot = (buildId: string, attempt: number): SlotReport => ({
  buildId,
  attempt,
  vmName: '',
  stage: null,
  step: null,
  percent: null,
  phase: null,
  beatAt: null,
  vmBeatAt: null,
  result: null,
  lastError: null,
  keptUntil: null,
  vmGone: false,
});
