/**
 * Ships the log file of an attempt to the controller, by byte offset.
 *
 * Invariant: bytes arrive once and in order, however often a request is repeated. The length that the
 * controller tells decides where to go on, so nothing needs to be remembered over a restart. A refusal stops
 * the shipping only if it ends the log, or if even the smallest batch is too large.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { LOG_APPEND_MAX_BYTES, type LogTotal } from '#contract';
import type { AttemptClient } from '../../client/attempt-client.ts';
import { jittered, pause } from '../../client/retry.ts';
import type { EmitOfAttempt } from '../events.ts';

const CADENCE_MS = 1_000;
/** While somebody follows the log at the controller. */
const CADENCE_FOLLOWED_MS = 250;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 10_000;
const BATCH_MIN_BYTES = 1024;
/** These statuses end the log: it is sealed, unknown or another's, or the attempt has ended. */
const ENDINGS = new Set([403, 404, 409, 410]);
const TOO_LARGE = 413;

export interface LogShipperOptions {
  /** With the attempt's run token. */
  client: AttemptClient;
  buildId: string;
  attempt: number;
  path: string;
  /** How many bytes of the file may be shipped. */
  lengthBytes: () => number;
  emit: EmitOfAttempt;
  /** The pause between two requests while nobody follows. */
  cadenceMs?: number;
}

export class LogShipper {
  readonly #options: LogShipperOptions;
  /** How many people follow the log right now, by the last answer. */
  #followers = 0;
  #offset = 0;
  #ended = false;
  #batchBytes = LOG_APPEND_MAX_BYTES;
  #failures = 0;
  #shippedAtMs = Number.NEGATIVE_INFINITY;
  #wake = new AbortController();

  constructor(options: LogShipperOptions) {
    this.#options = options;
  }

  /** The file has grown. After a silence the first bytes are sent at once, because somebody may wait. */
  poke(): void {
    if (performance.now() - this.#shippedAtMs >= this.#cadenceMs()) this.#wake.abort();
  }

  /** The file will not grow any more. */
  end(): void {
    this.#ended = true;
    this.#wake.abort();
  }

  /** Resolves when all is shipped after `end()`, or when no more is taken. Rejects only when aborted. */
  async run(signal: AbortSignal): Promise<{ complete: boolean; message: string }> {
    for (;;) {
      signal.throwIfAborted();
      this.#wake = new AbortController();
      const waitingBytes = this.#options.lengthBytes() - this.#offset;
      if (waitingBytes <= 0 && this.#ended) return { complete: waitingBytes === 0, message: 'all shipped' };
      if (waitingBytes > 0) {
        const refusal = await this.#ship(Math.min(waitingBytes, this.#batchBytes), signal);
        if (refusal !== null) return { complete: false, message: refusal };
      }
      await this.#rest(signal);
    }
  }

  /** The refusal that ends the shipping, or null to go on. */
  async #ship(lengthBytes: number, signal: AbortSignal): Promise<string | null> {
    const { client, buildId, attempt, path, emit } = this.#options;
    const offset = this.#offset;
    this.#shippedAtMs = performance.now();
    const bytes = await readBytes(path, offset, lengthBytes);
    const answer = await client.appendLog(buildId, { attempt, offset, bytes }, signal);
    if (answer.ok) {
      // An answer without progress counts as a failure, so that it never leads to a tight loop.
      this.#failures = answer.value.length > offset ? 0 : this.#failures + 1;
      this.#offset = answer.value.length;
      this.#followers = answer.value.followers;
      emit({ type: 'log', lengthBytes: this.#offset, followers: this.#followers });
      return null;
    }
    this.#failures++;
    if (answer.kind === 'unreachable') return null;
    if (answer.expectedOffset !== undefined) {
      this.#offset = answer.expectedOffset;
      return null;
    }
    if (answer.status === TOO_LARGE && this.#batchBytes > BATCH_MIN_BYTES) {
      this.#batchBytes = Math.max(BATCH_MIN_BYTES, Math.floor(this.#batchBytes / 2));
      return null;
    }
    return ENDINGS.has(answer.status) || answer.status === TOO_LARGE ? answer.message : null;
  }

  #cadenceMs(): number {
    return this.#followers > 0 ? CADENCE_FOLLOWED_MS : (this.#options.cadenceMs ?? CADENCE_MS);
  }

  async #rest(signal: AbortSignal): Promise<void> {
    if (this.#failures > 0) return await pause(retryMs(this.#failures), signal);
    const behind = this.#options.lengthBytes() - this.#offset >= this.#batchBytes || this.#ended;
    if (behind) return;
    const wake = AbortSignal.any([signal, this.#wake.signal]);
    await pause(this.#cadenceMs(), wake).catch(() => signal.throwIfAborted());
  }
}

const retryMs = (failures: number) => jittered(Math.min(RETRY_FIRST_MS * 2 ** Math.min(failures, 8), RETRY_MAX_MS));

async function readBytes(path: string, offset: number, lengthBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  await using file = await open(path, 'r');
  const { bytesRead, buffer } = await file.read(new Uint8Array(lengthBytes), 0, lengthBytes, offset);
  return buffer.subarray(0, bytesRead);
}

/**
 * Length and digest of the whole file, which the controller's copy must equal before it is sealed. Without a
 * file the build has printed nothing.
 */
export async function logTotal(path: string): Promise<LogTotal> {
  const hash = createHash('sha256');
  let length = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      length += chunk.length;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return { length, sha256: hash.digest('hex') };
}
