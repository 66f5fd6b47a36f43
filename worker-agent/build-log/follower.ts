/**
 * Follows the log of the build in the VM into the spool on this Mac, and sees the command end.
 *
 * Invariant: bytes are read from the VM's log in order and once each, as far as the spool counts them. A
 * restarted agent goes on where the spool stands. The command has ended when its exit code has been seen and
 * everything has been read up to the size that the log had after that.
 */
import { pause } from '../../client/retry.ts';
import { type BuildStatus, isEndedBySystem, parseBuildStatus } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import { buildStatus, readLog } from '../guest/commands.ts';
import { expectSuccess, type Guest } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../limits.ts';
import { awakeMs } from '../mac/running-clock.ts';
import { outputAgeMs, startClock, type UsageRates, withOutput, withUsage } from './output-clock.ts';
import { LogSpool } from './spool.ts';

const POLL_MS = 500;
/** While somebody follows the log at the controller. */
const POLL_FOLLOWED_MS = 200;
/** Enough for a burst of 20 MB/s with some reads a second. */
const READ_MAX_BYTES = 4 * 1024 * 1024;
/** Of what is read again, this much from the start of the log, and its last READ_MAX_BYTES. */
const AGAIN_FIRST_BYTES = 48 * 1024 * 1024;
/**
 * A command that vanished, or was ended by a signal, may be the first sign of a guest that goes down. SSH is
 * gone too after this time if it does.
 */
const CONFIRM_MS = 5_000;

export interface LogFollowerOptions {
  guest: Guest;
  key: AttemptKey;
  path: string;
  /** The texts that are masked in the log. */
  needles: readonly Buffer[];
  /** What the VM used before the command began. Null if nothing was measured. */
  baseline: UsageRates | null;
  /** The age of the log counts as known for this long after the last look at it. */
  freshMs: number;
  /** How many people follow the log at the controller. */
  followers: () => number;
  /** Takes what was read, with its secrets. */
  onBytes?: (bytes: Buffer) => void;
  /** There is more to ship. */
  onGrown?: () => void;
}

/** How the command has ended. */
export interface CommandEnd {
  /** Null if the command was lost without one. */
  exitCode: number | null;
  /** True if the guest has restarted and the command with it. */
  restarted: boolean;
}

export class LogFollower implements AsyncDisposable {
  readonly #options: LogFollowerOptions;
  readonly #spool: LogSpool;
  #seenBytes = 0;
  #clock;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  static async open(options: LogFollowerOptions): Promise<LogFollower> {
    return new LogFollower(options, await LogSpool.open(options));
  }

  constructor(options: LogFollowerOptions, spool: LogSpool) {
    this.#options = options;
    this.#spool = spool;
    this.#clock = startClock(options.baseline, performance.now());
  }

  /** Bytes on disk that may be shipped. */
  get lengthBytes(): number {
    return this.#spool.lengthBytes;
  }

  /** Nothing more will be read. Writes what was held back, and the end of a very long log, into the file. */
  finish(): Promise<void> {
    return this.#spool.finish();
  }

  /**
   * How long ago the log last grew, without the time in which the VM worked. Undefined while the log cannot
   * be read.
   */
  outputAgeMs(): number | undefined {
    const nowMs = performance.now();
    return nowMs - this.#lookedAtMs <= this.#options.freshMs ? Math.round(outputAgeMs(this.#clock, nowMs)) : undefined;
  }

  /** Resolves when the command has ended. */
  async follow(signal: AbortSignal): Promise<CommandEnd> {
    const { guest, followers } = this.#options;
    for (let goneSinceMs: number | null = null; ; ) {
      const status = await this.#status(guest);
      if (status && status.state !== 'not_started') {
        this.#look(status.logBytes);
        if (status.state === 'running' && status.usage)
          this.#clock = withUsage(this.#clock, status.usage, performance.now());
        await this.#readUpTo(status.logBytes, guest);
      }
      const end = endOf(status);
      if (end?.certain) return end;
      goneSinceMs = end && (goneSinceMs ?? awakeMs());
      if (end && awakeMs() - goneSinceMs! >= CONFIRM_MS) return end;
      await pause(followers() > 0 ? POLL_FOLLOWED_MS : POLL_MS, signal);
    }
  }

  /** Reads once more, over another connection, before the VM is destroyed. */
  async catchUp(guest: Guest): Promise<void> {
    const status = await this.#status(guest);
    if (status && status.state !== 'not_started') await this.#readUpTo(status.logBytes, guest);
  }

  /**
   * Reads again from the VM what a former run of the agent has read, because this Mac keeps no log unmasked.
   * Of a very long log the middle is left out. `share` is how much of all that lies before the end of the
   * bytes.
   */
  async *readAgain(): AsyncGenerator<{ bytes: Buffer; share: number }> {
    const untilBytes = this.#spool.readBytes;
    for (let at = 0; at < untilBytes; ) {
      const bytes = await this.#read(at, untilBytes, this.#options.guest);
      if (bytes.length === 0) return;
      at += bytes.length;
      yield { bytes, share: at / untilBytes };
      if (at >= AGAIN_FIRST_BYTES) at = Math.max(at, untilBytes - READ_MAX_BYTES);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spool[Symbol.asyncDispose]();
  }

  async #status(guest: Guest): Promise<BuildStatus | null> {
    const asked = guest.exec(buildStatus(this.#options.key), { timeoutMs: GUEST_COMMAND_MS });
    return parseBuildStatus((await expectSuccess('log', asked)).stdout.toString('latin1'));
  }

  #look(logBytes: number): void {
    this.#lookedAtMs = performance.now();
    if (logBytes <= this.#seenBytes) return;
    this.#seenBytes = logBytes;
    this.#clock = withOutput(this.#clock, this.#lookedAtMs);
  }

  async #readUpTo(logBytes: number, guest: Guest): Promise<void> {
    while (!this.#spool.finished && this.#spool.readBytes < logBytes) {
      const stdout = await this.#read(this.#spool.readBytes, logBytes, guest);
      if (stdout.length === 0) return; // shorter than a moment ago, because the build has truncated its own log
      await this.#spool.append(stdout);
      this.#options.onBytes?.(stdout);
      this.#options.onGrown?.();
      this.#look(this.#spool.readBytes);
    }
  }

  async #read(fromBytes: number, untilBytes: number, guest: Guest): Promise<Buffer> {
    const maxBytes = Math.min(READ_MAX_BYTES, untilBytes - fromBytes);
    const options = { timeoutMs: GUEST_COMMAND_MS, maxOutputBytes: READ_MAX_BYTES + 1 };
    return (await expectSuccess('log', guest.exec(readLog(fromBytes, maxBytes), options))).stdout;
  }
}

/** Null while the command runs. An uncertain end is looked at again. */
function endOf(status: BuildStatus | null): (CommandEnd & { certain: boolean }) | null {
  if (status?.state === 'running') return null;
  if (!status || status.state === 'not_started') return { exitCode: null, restarted: false, certain: false };
  const exitCode = status.state === 'ended' ? status.exitCode : null;
  // A command that succeeded had ended before the restart. Any other exit code is what the restart made of
  // it.
  if (status.restarted && exitCode !== 0) return { exitCode: null, restarted: true, certain: true };
  return { exitCode, restarted: false, certain: exitCode !== null && !isEndedBySystem({ exitCode }) };
}
