/**
 * The controller's API as those who submit builds and register workers see it. Each answer is held against the contract.
 *
 * Invariant: a call ends, by an answer or by its time limit; whatever is not a success is one ApiError that says why.
 */
import { createHash } from 'node:crypto';
import { createWriteStream, openAsBlob } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import {
  BlobStored,
  Build,
  BuildDetail,
  type BuildRequestInput,
  ErrorBody,
  Worker,
  WorkerRegistered,
  type WorkerRequest,
} from '#contract';
import { readEvents } from './event-stream.ts';

const REQUEST_TIMEOUT_MS = 30_000;
const TRANSFER_TIMEOUT_MS = 300_000;
const FOLLOW_TIMEOUT_MS = 3 * 3_600_000;
const RECONNECT_PAUSE_MS = 500;

export class ApiError extends Error {
  override name = 'ApiError';
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** A file on this disk and what is known of its bytes. */
export interface LocalFile {
  path: string;
  sizeBytes: number;
  sha256: string;
}

export class ControllerApi {
  readonly url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.url = url;
    this.#key = key;
  }

  registerWorker(request: z.input<typeof WorkerRequest>) {
    return this.#call(WorkerRegistered, 'POST', '/api/workers', { json: request });
  }

  worker(workerId: string): Promise<Worker> {
    return this.#call(Worker, 'GET', `/api/workers/${workerId}`);
  }

  async upload({ path, sha256 }: LocalFile, signal?: AbortSignal): Promise<BlobStored> {
    const body = await openAsBlob(path, { type: 'application/octet-stream' });
    return this.#call(BlobStored, 'PUT', `/api/blobs/${sha256}`, { body, signal, timeoutMs: TRANSFER_TIMEOUT_MS });
  }

  submit(request: BuildRequestInput): Promise<Build> {
    return this.#call(Build, 'POST', '/api/builds', { json: request });
  }

  build(buildId: string): Promise<BuildDetail> {
    return this.#call(BuildDetail, 'GET', `/api/builds/${buildId}`);
  }

  cancel(buildId: string): Promise<Build> {
    return this.#call(Build, 'POST', `/api/builds/${buildId}/cancel`);
  }

  /** Writes one artifact of the build to `path`, and says what its bytes are. */
  async download(buildId: string, name: string, path: string, signal?: AbortSignal): Promise<LocalFile> {
    const encoded = name.split('/').map(encodeURIComponent).join('/');
    const response = await this.#send('GET', `/api/builds/${buildId}/artifacts/${encoded}`, {
      signal,
      timeoutMs: TRANSFER_TIMEOUT_MS,
    });
    const hash = createHash('sha256');
    let sizeBytes = 0;
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        done(null, chunk);
      },
    });
    await mkdir(dirname(path), { recursive: true });
    await pipeline(Readable.from(response.body ?? []), meter, createWriteStream(path));
    return { path, sizeBytes, sha256: hash.digest('hex') };
  }

  /** The log of the build's newest attempt, as it grows and until it is complete. */
  async *followLog(buildId: string, signal: AbortSignal): AsyncGenerator<string> {
    let lastEventId = '';
    while (!signal.aborted) {
      const headers = { Accept: 'text/event-stream', ...(lastEventId && { 'Last-Event-ID': lastEventId }) };
      const options = { headers, signal, timeoutMs: FOLLOW_TIMEOUT_MS };
      const { body } = await this.#send('GET', `/api/builds/${buildId}/logs`, options);
      for await (const { id, event, data } of readEvents(body!)) {
        if (event === 'end') return;
        if (id) lastEventId = id;
        yield (JSON.parse(data) as { text: string }).text;
      }
      // The stream has its own bound; it is taken up where it ended.
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE_MS));
    }
  }

  async #call<S extends z.ZodType>(schema: S, method: string, path: string, options: CallOptions = {}) {
    const response = await this.#send(method, path, options);
    return schema.parse(await response.json()) as z.output<S>;
  }

  async #send(method: string, path: string, options: CallOptions): Promise<Response> {
    const { json, signal, timeoutMs = REQUEST_TIMEOUT_MS } = options;
    const headers: Record<string, string> = { Authorization: `Bearer ${this.#key}`, ...options.headers };
    if (json !== undefined) headers['Content-Type'] = 'application/json';
    const limit = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers,
      body: json === undefined ? options.body : JSON.stringify(json),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (response.ok) return response;
    const said = ErrorBody.safeParse(await response.json().catch(() => null));
    const { code, message } = said.data?.error ?? { code: 'internal', message: 'no word of the controller about it' };
    throw new ApiError(response.status, code, `${method} ${path} was answered ${response.status} ${code}: ${message}`);
  }
}

interface CallOptions {
  json?: unknown;
  body?: Blob;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
}
