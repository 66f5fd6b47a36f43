/**
 * Keeps the state of the agent beside its attempts, and finds the attempts again after a restart.
 *
 * state/instance.json    the identity of this installation, its folder, and the id of its worker
 *   state/claim.json       the id of a claim whose answer may have been lost
 * state/agent.json       the report for `expo-worker status`; the agent itself never reads it
 *   state/BUILD-ATTEMPT/   one attempt, until the controller has its result and its VM is destroyed:
 *                          journal.json, build.log and its offsets, source.archive, artifacts/
 *
 * Invariant: two folders never act as the same installation, and no id of a build leads out of the folder.
 *
 * Owns the three JSON files of the folder itself.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import type { Assignment } from '#contract';
import { AttemptJournal, type ImageOfAttempt } from './journal.ts';
import { readJson, writeJson } from './json-file.ts';

const Instance = z.object({
  instanceId: z.string(),
  workerId: z.string().nullable(),
  /** Distinguishes this folder from a copy: a folder that is moved keeps it, a copied one gets another. */
  folder: z.string().optional(),
});
const PendingClaim = z.object({ claimId: z.string() });

/** Build ids become part of paths and of VM names. */
export const SAFE_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

export class StateFolder {
  readonly dir: string;
  constructor(dir: string) {
    this.dir = dir;
  }

  /**
   * The identity of this installation. A copied folder, for example on another Mac, becomes a new
   * installation, because two Macs that claim and adopt under one id would build the same build. Its attempts
   * are renamed to `NAME.copied`.
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

  /**
   * The id for the next claim. It stays the same until the journal of the attempt that it brought is on disk.
   */
  async pendingClaimId(): Promise<string> {
    const found = await this.unansweredClaimId();
    if (found !== null) return found;
    const claimId = randomUUID();
    await this.#write('claim.json', { claimId });
    return claimId;
  }

  /** The id of a claim that the controller may have granted, or null. Creates no id. */
  async unansweredClaimId(): Promise<string | null> {
    return (await readJson(join(this.dir, 'claim.json'), PendingClaim))?.claimId ?? null;
  }

  async forgetClaim(): Promise<void> {
    await rm(join(this.dir, 'claim.json'), { force: true });
  }

  /** Throws for an id that could lead out of the folder. */
  async createAttempt(assignment: Assignment, vmName: string, image?: ImageOfAttempt | null): Promise<AttemptJournal> {
    if (!SAFE_ID.test(assignment.buildId))
      throw new Error(`not a plain build id: ${JSON.stringify(assignment.buildId)}`);
    const dir = join(this.dir, `${assignment.buildId}-${assignment.attempt}`);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return await AttemptJournal.create(dir, { assignment, vmName, image });
  }

  /** Every attempt that a former run left. Renames a folder without a readable journal: see `damaged`. */
  async openAttempts(): Promise<{ journals: AttemptJournal[]; damaged: string[] }> {
    const journals: AttemptJournal[] = [];
    const damaged: string[] = [];
    for (const name of await this.#attemptNames()) {
      const journal = await AttemptJournal.open(join(this.dir, name));
      if (journal) journals.push(journal);
      else {
        damaged.push(name);
        await this.#setAside(name, 'damaged');
      }
    }
    return { journals, damaged };
  }

  /** The journals of a build, or of all. For commands that only read: no folder is set aside. */
  async readAttempts(buildId?: string): Promise<AttemptJournal[]> {
    const names = await this.#attemptNames();
    const ofBuild = names.filter((name) => buildId === undefined || name.replace(/-\d+$/, '') === buildId);
    const journals = await Promise.all(ofBuild.map((name) => AttemptJournal.open(join(this.dir, name))));
    return journals
      .filter((journal) => journal !== null)
      .toSorted((a, b) => a.state.assignment.attempt - b.state.assignment.attempt);
  }

  async writeAgentReport(report: unknown): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    // Not synced to the disk, because it is written every few seconds and a crash makes it worthless.
    await writeFileAtomic(join(this.dir, 'agent.json'), JSON.stringify(report), { mode: 0o600, fsync: false });
  }

  async readAgentReport<T>(schema: z.ZodType<T>): Promise<T | null> {
    return await readJson(join(this.dir, 'agent.json'), schema);
  }

  async #setAsideAll(): Promise<void> {
    await this.forgetClaim();
    for (const name of await this.#attemptNames()) await this.#setAside(name, 'copied');
  }

  /** Renames the folder of an attempt, or deletes it if renaming fails. */
  async #setAside(name: string, why: 'copied' | 'damaged'): Promise<void> {
    const dir = join(this.dir, name);
    await rename(dir, `${dir}.${why}`).catch(() => rm(dir, { recursive: true, force: true }));
  }

  async #attemptNames(): Promise<string[]> {
    const entries = await readdir(this.dir, { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory() && /-\d+$/.test(entry.name)).map(({ name }) => name);
  }

  async #write(name: string, value: unknown): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 });
    await writeJson(join(this.dir, name), value);
  }
}
