/**
 * Looks at a build by asking again and again, because the stream of this VM brings no more of the log.
 *
 * Invariant: at most one command runs, and a look that finds nothing is followed by a pause. A log that has
 * bytes, none of which can be read, ends the attempt.
 */
import { pause } from '../../client/retry.ts';
import { awakeMs } from '../../client/running-clock.ts';
import { failed } from '../ending.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import type { Guest } from '../guest/session.ts';
import { askStatus, type Look, type Looks, logBytesOf, readPart, STEP } from './look.ts';
import type { LogSpool } from './spool.ts';

const POLL_MS = 500;
/**
 * The build may shorten its log after a status. Then there is nothing to read, and the next status says so.
 */
const UNREADABLE_MS = 5_000;

export interface PolledLooksOptions {
  guest: Guest;
  key: AttemptKey;
  spool: Pick<LogSpool, 'readBytes' | 'finished'>;
  /** How long a log with bytes may be unreadable. Left out: 5 s. */
  patienceMs?: number | undefined;
  signal: AbortSignal;
}

export class PolledLooks implements Looks {
  readonly #options: PolledLooksOptions;
  #untilBytes = 0;
  #asked = false;
  #unreadableSinceMs: number | null = null;

  constructor(options: PolledLooksOptions) {
    this.#options = options;
  }

  async next(): Promise<Look> {
    const { guest, key, signal } = this.#options;
    const bytes = await this.#read();
    if (bytes) return { bytes };
    if (this.#asked) await pause(POLL_MS, signal);
    this.#asked = true;
    const status = await askStatus(guest, key);
    this.#untilBytes = logBytesOf(status);
    return { status };
  }

  close(): void {}

  /** Null if there is nothing to read. */
  async #read(): Promise<Buffer | null> {
    const { guest, spool, patienceMs = UNREADABLE_MS } = this.#options;
    const lacks = !spool.finished && spool.readBytes < this.#untilBytes;
    const bytes = lacks ? await readPart(guest, spool.readBytes, this.#untilBytes) : null;
    if (bytes?.length !== 0) {
      this.#unreadableSinceMs = null;
      return bytes;
    }
    this.#unreadableSinceMs ??= awakeMs();
    if (awakeMs() - this.#unreadableSinceMs < patienceMs) return null;
    const message = `the log in the VM has ${this.#untilBytes} bytes, and cannot be read after byte ${spool.readBytes}`;
    throw failed('transfer_failed', STEP, message);
  }
}
