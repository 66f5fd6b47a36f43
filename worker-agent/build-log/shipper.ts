/**
 * Ships the attempt's log file to the controller by byte offset.
 *
 * Invariant: the controller's word on its own length wins. Nothing here is remembered over a restart: the first answer says where to go on.
 * Bytes arrive once and in order, however often a request is repeated, and no refusal but the log's own end stops it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { LOG_APPEND_MAX_BYTES, type LogTotal } from '#contract';
import type { AttemptClient } from '../../client/attempt-client.ts';
import { jittered, pause } from '../../client/retry.ts';
import type { EmitOfAttempt } from '../events.ts';

const CADENCE_MS = 1_000;
const CADENCE_FOLLOWED_MS = 250;
const RETRY_MAX_MS = 10_000;
const BATCH_MIN_BYTES = 1024;
/** Sealed, ended, unknown, another's: whatever is not about this one request. */
const ENDINGS = new Set([403, 404, 409, 410]);

export interface LogShipperOptions {
  /** With the attempt's run token. */
  client: AttemptClient;
  buildId: string;
  attempt: number;
  path: string;
  /** Bytes of the file that may be shipped. */
  lengthBytes: () => number;
  emit: EmitOfAttempt;
  /** Between two requests while nobody follows. */
  cadenceMs?: number;
}

export class LogShipper {
  /** How many follow the log right now, by the last answer. */
  followers = 0;
  readonly #options: LogShipperOptions;
  #offset = 0;
  #ended = false;
  #batchBytes = LOG_APPEND_MAX_BYTES;
  #failures = 0;
  #shippedAtMs = Number.NEGATIVE_INFINITY;
  #wake = new AbortController();

  constructor(options: LogShipperOptions) {
    this.#options = options;
  }

  /** The file has grown: after a silence the first bytes go at once, so that whoever begins to follow need not wait for them. */
  poke(): void {
    if (performance.now() - this.#shippedAtMs >= this.#cadenceMs()) this.#wake.abort();
  }

  /** The file will not grow any more. */
  end(): void {
    this.#ended = true;
    this.#wake.abort();
  }

  /** Resolves when all is shipped after `end()`, or when the controller takes no more. Rejects with the signal's reason alone. */
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

  /** Null to go on. */
  async #ship(lengthBytes: number, signal: AbortSignal): Promise<string | null> {
    const { client, buildId, attempt, path, emit } = this.#options;
    const offset = this.#offset;
    this.#shippedAtMs = performance.now();
    const bytes = await readBytes(path, offset, lengthBytes);
    const answer = await client.appendLog(buildId, { attempt, offset, bytes }, signal);
    if (answer.ok) {
      // Without progress it is a failure, whatever it says: never a tight loop.
      this.#failures = answer.value.length > offset ? 0 : this.#failures + 1;
      this.#offset = answer.value.length;
      this.followers = answer.value.followers;
      emit({ type: 'log', lengthBytes: this.#offset, followers: this.followers });
      return null;
    }
    this.#failures++;
    if (answer.kind === 'unreachable') return null;
    if (answer.expectedOffset !== undefined) {
      this.#offset = answer.expectedOffset;
      return null;
    }
    if (answer.status === 413 && this.#batchBytes > BATCH_MIN_BYTES) {
      this.#batchBytes = Math.max(BATCH_MIN_BYTES, Math.floor(this.#batchBytes / 2));
      return null;
    }
    return ENDINGS.has(answer.status) || answer.status === 413 ? answer.message : null;
  }

  #cadenceMs(): number {
    return this.followers > 0 ? CADENCE_FOLLOWED_MS : (this.#options.cadenceMs ?? CADENCE_MS);
  }

  async #rest(signal: AbortSignal): Promise<void> {
    const behind = this.#options.lengthBytes() - this.#offset >= this.#batchBytes || this.#ended;
    const restMs =
      this.#failures > 0
        ? jittered(Math.min(500 * 2 ** Math.min(this.#failures, 8), RETRY_MAX_MS))
        : behind
          ? 0
          : this.#cadenceMs();
    if (restMs === 0) return;
    const wake = this.#failures > 0 ? signal : AbortSignal.any([signal, this.#wake.signal]);
    await pause(restMs, wake).catch(() => signal.throwIfAborted());
  }
}

async function readBytes(path: string, offset: number, lengthBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  await using file = await open(path, 'r');
  const { bytesRead, buffer } = await file.read(new Uint8Array(lengthBytes), 0, lengthBytes, offset);
  return buffer.subarray(0, bytesRead);
}

/** Of the whole file: what the controller's copy must equal before it is sealed. Without a file nothing was printed, and nothing sent. */
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
