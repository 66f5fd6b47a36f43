/**
 * Follows the build's log in the VM into the attempt's own file, and sees the command end.
 *
 * Invariant: the file is a prefix of the VM's log, synced before its length is told to anyone, so that its length is the offset at which a
 * restarted agent goes on. The end is: exit code seen, then everything read up to the size taken after it.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { expectSuccess, type Guest } from './guest.ts';
import { type AttemptKey, type BuildStatus, buildStatus, parseBuildStatus, readLog } from './guest-commands.ts';
import { pause } from './retry.ts';

const POLL_MS = 500;
const POLL_FOLLOWED_MS = 200;
const READ_MAX_BYTES = 1024 * 1024;
const EXEC_MS = 30_000;
/** A build that prints for ever must not fill the Mac's disk. */
export const LOG_MAX_BYTES = 1024 ** 3;
const CUT_NOTE = `\n[tartbeat] The log is cut here, at ${LOG_MAX_BYTES / 1024 ** 2} MiB.\n`;
/** Neither alive nor ended, seen this often in a row: the exit code will not come. */
const LOST_MAX = 3;

export interface LogFollowerOptions {
  guest: Guest;
  key: AttemptKey;
  path: string;
  /** Until this long after the last look the log's age is known. */
  freshMs: number;
  followers: () => number;
  /** What was added to the file. */
  onBytes?: (bytes: Buffer) => void;
}

export class LogFollower implements AsyncDisposable {
  readonly #options: LogFollowerOptions;
  readonly #file: FileHandle;
  #lengthBytes: number;
  #seenBytes = 0;
  #grewAtMs = performance.now();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  static async open(options: LogFollowerOptions): Promise<LogFollower> {
    const file = await open(options.path, 'a', 0o600);
    return new LogFollower(options, file, (await file.stat()).size);
  }

  constructor(options: LogFollowerOptions, file: FileHandle, lengthBytes: number) {
    this.#options = options;
    this.#file = file;
    this.#lengthBytes = lengthBytes;
  }

  /** Bytes on disk. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Since the log last grew; undefined while it cannot be read. */
  outputAgeMs(): number | undefined {
    const nowMs = performance.now();
    return nowMs - this.#lookedAtMs <= this.#options.freshMs ? Math.round(nowMs - this.#grewAtMs) : undefined;
  }

  /** Resolves when the command has ended: its exit code, or null if it was lost without one. */
  async follow(signal: AbortSignal): Promise<{ exitCode: number | null }> {
    const { guest, followers } = this.#options;
    for (let lost = 0; ; ) {
      const status = await this.#status(guest);
      if (status && status.state !== 'not_started') {
        this.#look(status.logBytes);
        await this.#readUpTo(status.logBytes, guest);
        if (status.state === 'ended') return { exitCode: status.exitCode };
      }
      lost = status?.state === 'running' ? 0 : lost + 1;
      if (lost >= LOST_MAX) return { exitCode: null };
      await pause(followers() > 0 ? POLL_FOLLOWED_MS : POLL_MS, signal);
    }
  }

  /** Once, over another connection: the last lines of a build that is about to be destroyed. */
  async catchUp(guest: Guest): Promise<void> {
    const status = await this.#status(guest);
    if (status && status.state !== 'not_started') await this.#readUpTo(status.logBytes, guest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #status(guest: Guest): Promise<BuildStatus | null> {
    const asked = guest.exec(buildStatus(this.#options.key), { timeoutMs: EXEC_MS });
    return parseBuildStatus((await expectSuccess('log', asked)).stdout.toString('latin1'));
  }

  #look(logBytes: number): void {
    this.#lookedAtMs = performance.now();
    if (logBytes <= this.#seenBytes) return;
    this.#seenBytes = logBytes;
    this.#grewAtMs = this.#lookedAtMs;
  }

  async #readUpTo(logBytes: number, guest: Guest): Promise<void> {
    while (this.#lengthBytes < Math.min(logBytes, LOG_MAX_BYTES)) {
      const maxBytes = Math.min(READ_MAX_BYTES, Math.min(logBytes, LOG_MAX_BYTES) - this.#lengthBytes);
      const read = guest.exec(readLog(this.#lengthBytes, maxBytes), {
        timeoutMs: EXEC_MS,
        maxOutputBytes: READ_MAX_BYTES + 1,
      });
      const { stdout } = await expectSuccess('log', read);
      if (stdout.length === 0) return; // shorter than a moment ago: the build has truncated its own log
      await this.#append(stdout);
      if (this.#lengthBytes === LOG_MAX_BYTES) await this.#append(Buffer.from(CUT_NOTE));
    }
  }

  async #append(bytes: Buffer): Promise<void> {
    await this.#file.appendFile(bytes);
    await this.#file.datasync();
    this.#lengthBytes += bytes.length;
    this.#look(this.#lengthBytes);
    this.#options.onBytes?.(bytes);
  }
}
