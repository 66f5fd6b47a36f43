/**
 * What the agent must remember, on disk before it is acted on: the only module that writes the state folder's JSON files.
 *
 *   state/instance.json            who this installation is, and in which folder; its worker's id, once learned
 *   state/claim.json               the claimId of a claim that may have been granted without our hearing of it
 *   state/agent.json               what `expo-worker status` shows; a report, never read back
 *   state/BUILD-ATTEMPT/           one attempt, until the controller has its result and its VM is gone
 *     journal.json  build.log  source.archive  artifacts/
 *
 * Invariant: a file here is either whole or absent, whenever the power fails, and a journal's phase never goes back. The log's offset needs no
 * journal of its own: it is the length of build.log, which is synced before anything is shipped from it.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { Assignment, Report } from '#contract';

/** How far an attempt has come. Each is written once that which it names is true. */
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

const AttemptState = z.object({
  assignment: Assignment,
  vmName: z.string(),
  phase: z.enum(PHASES),
  run: z.object({ pid: z.number().int(), startTime: z.string() }).nullable(),
  exitCode: z.number().int().nullable(),
  /** Wall clock. */
  commandStartedAtMs: z.number().nullable().default(null),
  monitorRestarts: z.number().int(),
  /** Uploads in parts that were begun, by the file's SHA-256. */
  uploads: z.record(z.string(), z.string()).default({}),
  /** Wall clock: when the controller last accepted a beat of ours. */
  contactAtMs: z.number(),
  /** What is to be reported: of an attempt that the controller had ended itself at most evidence, else its result. */
  result: Report.nullable(),
  /** The controller has accepted or refused for good whatever was to be reported. */
  reported: z.boolean(),
  vmGone: z.boolean(),
});
export type AttemptState = z.infer<typeof AttemptState>;

const Instance = z.object({
  instanceId: z.string(),
  workerId: z.string().nullable(),
  /** The folder itself, which keeps it when it is moved and loses it when it is copied. */
  folder: z.string().optional(),
});
const PendingClaim = z.object({ claimId: z.string() });

/** Ids become part of paths and of VM names. */
const SAFE_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** One attempt's memory. `state` is what is on disk. */
export class AttemptJournal {
  readonly dir: string;
  #state: AttemptState;
  #writing: Promise<void> = Promise.resolve();

  constructor(dir: string, state: AttemptState) {
    this.dir = dir;
    this.#state = state;
  }

  get state(): Readonly<AttemptState> {
    return this.#state;
  }
  get logPath(): string {
    return join(this.dir, 'build.log');
  }
  get sourcePath(): string {
    return join(this.dir, 'source.archive');
  }
  get artifactsDir(): string {
    return join(this.dir, 'artifacts');
  }

  reached(phase: Phase): boolean {
    return PHASES.indexOf(this.#state.phase) >= PHASES.indexOf(phase);
  }

  /** Resolves once it is on disk. Writes are made one after the other; a phase that has been passed already stays passed. */
  update(change: Partial<AttemptState>): Promise<void> {
    const write = async () => {
      const phase = change.phase && !this.reached(change.phase) ? change.phase : this.#state.phase;
      const next = { ...this.#state, ...change, phase };
      await writeJson(join(this.dir, 'journal.json'), next);
      this.#state = next;
    };
    const written = this.#writing.then(write);
    this.#writing = written.catch(() => {});
    return written;
  }

  async remove(): Promise<void> {
    await this.#writing;
    await rm(this.dir, { recursive: true, force: true });
  }
}

export class StateFolder {
  readonly dir: string;
  constructor(dir: string) {
    this.dir = dir;
  }

  /**
   * A folder that was copied, to another Mac say, is another installation: two that claim and adopt as one would build the same build. What
   * its original was doing is set aside, as `NAME.copied`.
   */
  async instance(): Promise<{ instanceId: string; workerId: string | null }> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    const { ino, birthtimeMs } = await stat(this.dir);
    const folder = `${ino}-${birthtimeMs}`;
    const found = await readJson(join(this.dir, 'instance.json'), Instance);
    if (found?.folder === folder) return found;
    const copied = found?.folder !== undefined;
    if (copied) await this.#setAsideAll();
    const instanceId = found && !copied ? found.instanceId : randomUUID();
    const made = { instanceId, workerId: found?.workerId ?? null, folder };
    await this.#write('instance.json', made);
    return made;
  }

  async rememberWorker(workerId: string): Promise<void> {
    const instance = await this.instance();
    if (instance.workerId !== workerId) await this.#write('instance.json', { ...instance, workerId });
  }

  async #setAsideAll(): Promise<void> {
    await this.forgetClaim();
    for (const name of await this.#attemptNames())
      await rename(join(this.dir, name), join(this.dir, `${name}.copied`)).catch(() =>
        rm(join(this.dir, name), { recursive: true, force: true }),
      );
  }

  async #attemptNames(): Promise<string[]> {
    const entries = await readdir(this.dir, { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory() && /-\d+$/.test(entry.name)).map(({ name }) => name);
  }

  /** The id for the next claim: the same one until it has been answered with an assignment that is on disk. */
  async pendingClaimId(): Promise<string> {
    const found = await readJson(join(this.dir, 'claim.json'), PendingClaim);
    if (found) return found.claimId;
    const claimId = randomUUID();
    await this.#write('claim.json', { claimId });
    return claimId;
  }

  /** The id of a claim that may have been granted, without making one. */
  async unansweredClaimId(): Promise<string | null> {
    return (await readJson(join(this.dir, 'claim.json'), PendingClaim))?.claimId ?? null;
  }

  async forgetClaim(): Promise<void> {
    await rm(join(this.dir, 'claim.json'), { force: true });
  }

  /** Throws for an id that could leave the folder. */
  async createAttempt(assignment: Assignment, vmName: string): Promise<AttemptJournal> {
    if (!SAFE_ID.test(assignment.buildId))
      throw new Error(`not a plain build id: ${JSON.stringify(assignment.buildId)}`);
    const dir = join(this.dir, `${assignment.buildId}-${assignment.attempt}`);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const journal = new AttemptJournal(dir, {
      assignment,
      vmName,
      phase: 'claimed',
      run: null,
      exitCode: null,
      commandStartedAtMs: null,
      monitorRestarts: 0,
      uploads: {},
      contactAtMs: Date.now(),
      result: null,
      reported: false,
      vmGone: false,
    });
    await journal.update({});
    return journal;
  }

  /** Every attempt that a former run left. A folder without a readable journal is set aside, not lost: `damaged` names it. */
  async openAttempts(): Promise<{ journals: AttemptJournal[]; damaged: string[] }> {
    const journals: AttemptJournal[] = [];
    const damaged: string[] = [];
    for (const name of await this.#attemptNames()) {
      const dir = join(this.dir, name);
      const state = await readJson(join(dir, 'journal.json'), AttemptState);
      if (state) journals.push(new AttemptJournal(dir, state));
      else {
        damaged.push(name);
        await rename(dir, `${dir}.damaged`).catch(() => rm(dir, { recursive: true, force: true }));
      }
    }
    return { journals, damaged };
  }

  async writeAgentReport(report: unknown): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    // Each few seconds, and of no value after a crash: not synced.
    await writeFileAtomic(join(this.dir, 'agent.json'), JSON.stringify(report), { mode: 0o600, fsync: false });
  }

  async readAgentReport<T>(schema: z.ZodType<T>): Promise<T | null> {
    return await readJson(join(this.dir, 'agent.json'), schema);
  }

  async #write(name: string, value: unknown): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    await writeJson(join(this.dir, name), value);
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value)}\n`, { mode: 0o600, fsync: true });
}

/** Null if there is none, or none that can be understood. */
async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | null> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || code === 'ENOENT') return null;
    throw error;
  }
}
