/**
 * Follows the build's log in the VM into the attempt's own spool (log-spool.ts), and sees the command end.
 *
 * Invariant: bytes are read from the VM's log in order and once each, as far as the spool counts them; where it stands is where a restarted
 * agent goes on. The end is: exit code seen, then everything read up to the size taken after it.
 */
import { pause } from '../../client/retry.ts';
import { type BuildStatus, parseBuildStatus } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { buildStatus, readLog } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { LogSpool } from './spool.ts';

const POLL_MS = 500;
const POLL_FOLLOWED_MS = 200;
/** A burst of 20 MB/s is followed with some reads a second. */
const READ_MAX_BYTES = 4 * 1024 * 1024;
const EXEC_MS = 30_000;
/** Neither alive nor ended, seen this often in a row: the exit code will not come. */
const LOST_MAX = 3;

export interface LogFollowerOptions {
  guest: Guest;
  key: AttemptKey;
  path: string;
  /** What is masked in the log. */
  needles: readonly Buffer[];
  /** Until this long after the last look the log's age is known. */
  freshMs: number;
  followers: () => number;
  /** What was added to the log, masked. */
  onBytes?: (bytes: Buffer) => void;
  /** More may be shipped. */
  onGrown?: () => void;
}

export class LogFollower implements AsyncDisposable {
  readonly #options: LogFollowerOptions;
  readonly #spool: LogSpool;
  #seenBytes = 0;
  #grewAtMs = performance.now();
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  static async open(options: LogFollowerOptions): Promise<LogFollower> {
    return new LogFollower(options, await LogSpool.open(options));
  }

  constructor(options: LogFollowerOptions, spool: LogSpool) {
    this.#options = options;
    this.#spool = spool;
  }

  /** Bytes on disk that may be shipped. */
  get lengthBytes(): number {
    return this.#spool.lengthBytes;
  }

  /** Nothing more will be read: what was held back, and the end of a very long log, go into the file. */
  finish(): Promise<void> {
    return this.#spool.finish();
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
    await this.#spool[Symbol.asyncDispose]();
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
    while (!this.#spool.finished && this.#spool.readBytes < logBytes) {
      const maxBytes = Math.min(READ_MAX_BYTES, logBytes - this.#spool.readBytes);
      const read = guest.exec(readLog(this.#spool.readBytes, maxBytes), {
        timeoutMs: EXEC_MS,
        maxOutputBytes: READ_MAX_BYTES + 1,
      });
      const { stdout } = await expectSuccess('log', read);
      if (stdout.length === 0) return; // shorter than a moment ago: the build has truncated its own log
      await this.#spool.append(stdout);
      this.#options.onGrown?.();
      this.#look(this.#spool.readBytes);
    }
  }
}
