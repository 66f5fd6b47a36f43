/**
 * Follows the log of the build in the VM into the spool on this Mac, and sees the command end.
 *
 * Invariant: bytes are read from the VM's log in order and once each, as far as the spool counts them. A
 * restarted agent goes on where the spool stands. The command has ended when its exit code has been seen and
 * everything has been read up to the size that the log had after that.
 */

import { awakeMs } from '../../client/running-clock.ts';
import { type BuildStatus, isEndedBySystem } from '../guest/answers.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import type { Guest } from '../guest/session.ts';
import { GUEST_COMMAND_MS } from '../time-limits.ts';
import { askStatus, type Looks, logBytesOf, READ_MAX_BYTES, readPart } from './look.ts';
import {
  longestOutputAgeMs,
  outputAgeMs,
  startClock,
  type UsageRates,
  withOutput,
  withUsage,
} from './silent-but-working.ts';
import { LogSpool } from './spool.ts';
import { StreamedLooks } from './streamed-looks.ts';

/** If the log is read again, this much is read from its start, and its last READ_MAX_BYTES. */
const AGAIN_FIRST_BYTES = 48 * 1024 * 1024;
/**
 * A command that vanished, or was ended by a signal, may be the first sign of a guest that goes down. If so,
 * SSH fails too within this time.
 */
const CONFIRM_MS = 5_000;

export interface LogFollowerOptions {
  guest: Guest;
  key: AttemptKey;
  path: string;
  /** The texts that are masked in the log. */
  needles: readonly Buffer[];
  /** The usage of the VM before the command began. Null if nothing was measured. */
  baseline: UsageRates | null;
  /** The age of the log counts as known for this long after the last look at it. */
  freshMs: number;
  /** How long a lost command, a channel or a log must fail until the follower believes it. Left out: 5 s. */
  patienceMs?: number;
  /** Takes the bytes that were read, with their secrets. */
  onBytes?: (bytes: Buffer) => void;
  /** There is more to ship. */
  onGrown?: () => void;
  /** Takes a warning for the operator, in words for people. */
  onWarning?: (message: string) => void;
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
  #quietMs: number | undefined;
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

  /** Nothing more will be read. Writes the bytes that were held back, and the end of a very long log. */
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

  /**
   * The longest such time since this follower was made. Undefined until the command has ended, because
   * the time before its end counts.
   */
  get quietMs(): number | undefined {
    return this.#quietMs;
  }

  /** Resolves when the command has ended. */
  async follow(signal: AbortSignal): Promise<CommandEnd> {
    const looks = this.#looks(signal);
    try {
      let end: ReturnType<typeof endOf> = null;
      let untilBytes = 0;
      for (let goneSinceMs: number | null = null; ; ) {
        const look = await looks.next();
        if ('bytes' in look) await this.#keep(look.bytes);
        else {
          end = endOf(look.status);
          untilBytes = logBytesOf(look.status);
          goneSinceMs = end && (goneSinceMs ?? awakeMs());
          if (look.status && look.status.state !== 'not_started') this.#look(untilBytes);
          if (look.status?.state === 'running' && look.status.usage)
            this.#clock = withUsage(this.#clock, look.status.usage, performance.now());
        }
        if (!end || this.#lacks(untilBytes)) continue;
        if (!end.certain && awakeMs() - goneSinceMs! < (this.#options.patienceMs ?? CONFIRM_MS)) continue;
        this.#quietMs = Math.round(longestOutputAgeMs(this.#clock, performance.now()));
        return end;
      }
    } finally {
      looks.close();
    }
  }

  /** Reads once more, over another connection, before the VM is destroyed. */
  async catchUp(guest: Guest): Promise<void> {
    const untilBytes = logBytesOf(await askStatus(guest, this.#options.key));
    while (this.#lacks(untilBytes)) {
      const bytes = await readPart(guest, this.#spool.readBytes, untilBytes);
      if (bytes.length === 0) return; // shorter than a moment ago, because the build has truncated its own log
      await this.#keep(bytes);
    }
  }

  /**
   * Reads from the VM again the bytes that a former run of the agent has read, because this Mac keeps no
   * unmasked log. The middle of a very long log is left out. `share` says where in the whole the bytes end.
   */
  async *readAgain(): AsyncGenerator<{ bytes: Buffer; share: number }> {
    const untilBytes = this.#spool.readBytes;
    for (let at = 0; at < untilBytes; ) {
      const bytes = await readPart(this.#options.guest, at, untilBytes);
      if (bytes.length === 0) return;
      at += bytes.length;
      yield { bytes, share: at / untilBytes };
      if (at >= AGAIN_FIRST_BYTES) at = Math.max(at, untilBytes - READ_MAX_BYTES);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spool[Symbol.asyncDispose]();
  }

  #looks(signal: AbortSignal): Looks {
    const { guest, key, freshMs, patienceMs } = this.#options;
    const spool = this.#spool;
    const onPolling = (message: string) => this.#options.onWarning?.(message);
    const looks = { guest, key, spool, freshMs, patienceMs, onPolling, signal };
    return new StreamedLooks({ ...looks, silenceMs: GUEST_COMMAND_MS });
  }

  #look(logBytes: number): void {
    this.#lookedAtMs = performance.now();
    if (logBytes <= this.#seenBytes) return;
    this.#seenBytes = logBytes;
    this.#clock = withOutput(this.#clock, this.#lookedAtMs);
  }

  #lacks(untilBytes: number): boolean {
    return !this.#spool.finished && this.#spool.readBytes < untilBytes;
  }

  async #keep(bytes: Buffer): Promise<void> {
    if (this.#spool.finished) return;
    await this.#spool.append(bytes);
    this.#options.onBytes?.(bytes);
    this.#options.onGrown?.();
    this.#look(this.#spool.readBytes);
  }
}

/** Null while the command runs. An uncertain end is looked at again. */
function endOf(status: BuildStatus | null): (CommandEnd & { certain: boolean }) | null {
  if (status?.state === 'running') return null;
  if (!status || status.state === 'not_started') return { exitCode: null, restarted: false, certain: false };
  const exitCode = status.state === 'ended' ? status.exitCode : null;
  // A command that succeeded had ended before the restart. Any other exit code may come from the restart.
  if (status.restarted && exitCode !== 0) return { exitCode: null, restarted: true, certain: true };
  return { exitCode, restarted: false, certain: exitCode !== null && !isEndedBySystem({ exitCode }) };
}
