/**
 * Looks at a build by asking again and again, where the guest scripts are of number 1 and cannot stream: in
 * an attempt that an older agent has begun, or with an older image and a tied key. Delete this file when the
 * agent does not speak number 1 any more, which is so from number 3 on.
 *
 * Invariant: at most one command runs, and a look that finds nothing is followed by a pause.
 */
import { pause } from '../../client/retry.ts';
import type { AttemptKey } from '../guest/arguments.ts';
import type { Guest } from '../guest/session.ts';
import { askStatus, type Look, type Looks, logBytesOf, readPart } from './look.ts';
import type { LogSpool } from './spool.ts';

const POLL_MS = 500;

export interface PolledLooksOptions {
  guest: Guest;
  key: AttemptKey;
  spool: Pick<LogSpool, 'readBytes' | 'finished'>;
  signal: AbortSignal;
}

export class PolledLooks implements Looks {
  readonly #options: PolledLooksOptions;
  #untilBytes = 0;
  #asked = false;

  constructor(options: PolledLooksOptions) {
    this.#options = options;
  }

  async next(): Promise<Look> {
    const { guest, key, spool, signal } = this.#options;
    if (!spool.finished && spool.readBytes < this.#untilBytes) {
      const bytes = await readPart(guest, spool.readBytes, this.#untilBytes);
      if (bytes.length > 0) return { bytes };
    }
    if (this.#asked) await pause(POLL_MS, signal);
    this.#asked = true;
    const status = await askStatus(guest, key);
    this.#untilBytes = logBytesOf(status);
    return { status };
  }

  close(): void {}
}
