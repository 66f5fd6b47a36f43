/**
 * Remembers one attempt on disk: its progress, and the work still to do for it.
 *
 * Invariant: an update resolves only once it is on disk, and a phase never goes back.
 *
 * Owns `journal.json` in the folder of the attempt, and says where the other files of that folder lie. How
 * much of the log has been read is not in the journal: `build-log/spool.ts` keeps it beside the log.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Assignment, FailureExplanation, Report, TellingLines } from '#contract';
import { KEPT_ENDS } from '../events.ts';
import { readJson, writeJson } from './json-file.ts';

/** The phases of an attempt. The agent writes a phase once the attempt has reached it. */
export const PHASES = [
  'claimed',
  'booted',
  'checked',
  'monitor_started',
  'command_started',
  'command_ended',
  'collected',
  'result_ready',
] as const;
export type Phase = (typeof PHASES)[number];

/** The image that the VM of an attempt is cloned from. A restart of the agent clones the same image. */
const ImageOfAttempt = z.object({
  name: z.string(),
  vm: z.string(),
  digest: z.string().nullable(),
  provisioned: z.string().nullable(),
  /** The pinned host key, as `SHA256:…`. */
  hostKey: z.string().nullable(),
});
export type ImageOfAttempt = z.infer<typeof ImageOfAttempt>;

const AttemptState = z.object({
  assignment: Assignment,
  /** Null: this Mac has no image that the build asks for. Absent in journals of agents that had one image. */
  image: ImageOfAttempt.nullable().optional(),
  vmName: z.string(),
  phase: z.enum(PHASES),
  run: z.object({ pid: z.number().int(), startTime: z.string() }).nullable(),
  exitCode: z.number().int().nullable(),
  /**
   * The explanation that the log gave when a failed command had ended, masked. Null in journals of agents
   * that read the log only for the report.
   */
  fromLog: z
    .object({ explained: FailureExplanation.optional(), tellingLines: TellingLines.optional() })
    .nullable()
    .default(null),
  /** By the wall clock. */
  commandStartedAtMs: z.number().nullable().default(null),
  /**
   * The version of the guest scripts that the attempt's commands run with. Null until the checks have passed,
   * and in journals of agents from before there were guest scripts, which sent the text of each command.
   */
  scripts: z.string().nullable().default(null),
  /**
   * The load of the VM before the command began. Null until it was measured, in VMs whose guest scripts
   * cannot measure it, and in journals of agents that did not measure it.
   */
  baseline: z.object({ cores: z.number(), bytesPerSecond: z.number().nullable() }).nullable().default(null),
  /** Set while a build that asks for its number in the VM has not got it. */
  asksNumber: z.object({ increment: z.boolean() }).nullable().default(null),
  monitorRestarts: z.number().int(),
  /** The ids of uploads in parts that have begun, by the SHA-256 of the file. */
  uploads: z.record(z.string(), z.string()).default({}),
  /** When the controller last accepted a beat of this agent, by the wall clock. */
  contactAtMs: z.number(),
  /** The report to send. If the controller has ended the attempt itself, it is evidence at most. */
  result: Report.nullable(),
  /** The controller has accepted the report, or has refused it for good. */
  reported: z.boolean(),
  /**
   * Set once the VM is clean and kept for a look: until when by the wall clock, and for how long in all. The
   * latter counts if the clock is set back. `ended` says why the VM is no longer kept. It is written before
   * the VM is destroyed, and stays until the controller knows.
   */
  kept: z
    .object({ untilMs: z.number(), forMs: z.number(), ended: z.enum(KEPT_ENDS).nullable() })
    .nullable()
    .default(null),
  vmGone: z.boolean(),
});
export type AttemptState = z.infer<typeof AttemptState>;

const JOURNAL = 'journal.json';

export class AttemptJournal {
  readonly dir: string;
  #state: AttemptState;
  #writing: Promise<void> = Promise.resolve();

  /** Null for a folder without a readable journal. */
  static async open(dir: string): Promise<AttemptJournal | null> {
    const state = await readJson(join(dir, JOURNAL), AttemptState);
    return state && new AttemptJournal(dir, state);
  }

  /** Writes the journal of an attempt that has just been claimed. */
  static async create(
    dir: string,
    { assignment, vmName, image }: Pick<AttemptState, 'assignment' | 'vmName' | 'image'>,
  ): Promise<AttemptJournal> {
    const journal = new AttemptJournal(dir, {
      assignment,
      ...(image !== undefined && { image }),
      vmName,
      phase: 'claimed',
      run: null,
      exitCode: null,
      fromLog: null,
      commandStartedAtMs: null,
      scripts: null,
      baseline: null,
      asksNumber: null,
      monitorRestarts: 0,
      uploads: {},
      contactAtMs: Date.now(),
      result: null,
      reported: false,
      kept: null,
      vmGone: false,
    });
    await journal.update({});
    return journal;
  }

  private constructor(dir: string, state: AttemptState) {
    this.dir = dir;
    this.#state = state;
  }

  /** The state on disk. */
  get state(): Readonly<AttemptState> {
    return this.#state;
  }
  get logPath(): string {
    return join(this.dir, 'build.log');
  }
  get sourcePath(): string {
    return join(this.dir, 'source.archive');
  }
  /** `expo-worker release` makes this file. */
  get releasePath(): string {
    return join(this.dir, 'release');
  }
  get artifactsDir(): string {
    return join(this.dir, 'artifacts');
  }

  /** Whether the VM is kept for a look, according to the journal. */
  get isKept(): boolean {
    const { kept, vmGone } = this.#state;
    return kept !== null && kept.ended === null && !vmGone;
  }

  reached(phase: Phase): boolean {
    return PHASES.indexOf(this.#state.phase) >= PHASES.indexOf(phase);
  }

  /**
   * Resolves once the change is on disk. Writes one update after the other, and never sets an earlier phase.
   */
  update(change: Partial<AttemptState>): Promise<void> {
    const write = async () => {
      const phase = change.phase && !this.reached(change.phase) ? change.phase : this.#state.phase;
      const next = { ...this.#state, ...change, phase };
      await writeJson(join(this.dir, JOURNAL), next);
      this.#state = next;
    };
    const written = this.#writing.then(write);
    this.#writing = written.catch(() => {});
    return written;
  }

  /** Deletes the folder of the attempt. A file may be added meanwhile: see `releasePath`. */
  async remove(): Promise<void> {
    await this.#writing;
    await rm(this.dir, { recursive: true, force: true, maxRetries: 3 });
  }
}
