/**
 * The controller's API as those who submit builds and register workers see it. Each answer is held against the contract.
 *
 * Invariant: a call ends, by an answer or by its time limit; whatever is not a success is one ApiError that says why.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';
import {
  type BlobStored,
  Build,
  BuildDetail,
  type BuildRequestInput,
  ErrorBody,
  Worker,
  WorkerRegistered,
  type WorkerRequest,
} from '#contract';
import { readEvents } from './event-stream.ts';
import { ControllerClient } from './request.ts';
import { untilAnswered } from './retry.ts';
import { uploadBlob } from './upload.ts';

const REQUEST_TIMEOUT_MS = 30_000;
const TRANSFER_STALL_MS = 60_000;
const TRANSFER_GIVE_UP_MS = 120_000;
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

  /** Stores a file of any size; resolves when it is verified. */
  async upload(file: LocalFile, signal: AbortSignal = new AbortController().signal): Promise<BlobStored> {
    const answer = await uploadBlob(this.#files(), file, { signal, giveUpAfterMs: TRANSFER_GIVE_UP_MS });
    if (answer.ok) return answer.value;
    const [status, code] = answer.kind === 'refused' ? [answer.status, answer.code] : [503, 'unavailable'];
    throw new ApiError(status, code, `${file.path} could not be uploaded: ${answer.message}`);
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

  /** Writes one artifact of the build to `path`, goes on where a broken connection ended, and says what its bytes are. */
  async download(
    buildId: string,
    name: string,
    path: string,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<LocalFile> {
    const encoded = name.split('/').map(encodeURIComponent).join('/');
    const urlPath = `/api/builds/${buildId}/artifacts/${encoded}`;
    const head = await this.#send('HEAD', urlPath, { signal });
    const sha256 = head.headers.get('x-content-sha256') ?? '';
    const target = { path, sha256, sizeBytes: Number(head.headers.get('content-length')) };
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    const options = { signal, giveUpAfterMs: TRANSFER_GIVE_UP_MS };
    const answer = await untilAnswered(() => this.#files().download(urlPath, target, signal), options);
    if (answer.ok) return target;
    throw new ApiError(503, 'unavailable', `${name} could not be downloaded: ${answer.message}`);
  }

  /**
   * The log of the build's newest attempt, as it grows and until it is complete. A stream that ends at its own bound, or breaks, is taken up
   * where it ended; rejects once nothing has been heard for a while.
   */
  async *followLog(buildId: string, signal: AbortSignal): AsyncGenerator<string> {
    let lastEventId = '';
    let heardAt = performance.now();
    while (!signal.aborted) {
      const headers = { Accept: 'text/event-stream', ...(lastEventId && { 'Last-Event-ID': lastEventId }) };
      const options = { headers, signal, timeoutMs: FOLLOW_TIMEOUT_MS };
      try {
        const { body } = await this.#send('GET', `/api/builds/${buildId}/logs`, options);
        for await (const { id, event, data } of readEvents(body!)) {
          heardAt = performance.now();
          if (event === 'end') return;
          if (id) lastEventId = id;
          yield (JSON.parse(data) as { text: string }).text;
        }
        heardAt = performance.now();
      } catch (error) {
        const isOutage = !(error instanceof ApiError) || error.status >= 500;
        if (signal.aborted || !isOutage || performance.now() - heardAt > TRANSFER_GIVE_UP_MS) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE_MS));
    }
  }

  /** The agent's own way of moving files. */
  #files(): ControllerClient {
    const limits = { requestMs: REQUEST_TIMEOUT_MS, transferStallMs: TRANSFER_STALL_MS };
    return new ControllerClient({ url: this.url, key: this.#key, ...limits });
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
      // The key is for this address alone.
      redirect: 'error',
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
