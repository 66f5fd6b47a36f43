/**
 * The only module of the agent that talks to the controller.
 *
 * Invariant: whatever is at the other end (a proxy's HTML, a captive portal, half an answer, nothing), each call ends in time with a value:
 * the parsed answer, a refusal in the controller's own words, or `unreachable`, which alone is worth trying again. It rejects only with
 * the reason of the caller's signal. Files go from and to the disk; none is held in memory.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { z } from 'zod';
import {
  BlobStored,
  ClaimAnswer,
  type ClaimRequest,
  CONTRACT_HEADER,
  CONTRACT_VERSION,
  Enrolled,
  ErrorBody,
  type FindingsReport,
  type Heartbeat,
  HeartbeatAnswer,
  Inputs,
  KeyCreated,
  LogAppended,
  Me,
  PART_SHA256_HEADER,
  ReportAnswer,
  type ReportInput,
  Upload,
  UploadPart,
  WorkerAttempts,
  WorkerDurations,
  type WorkerStatus,
  WorkerStatusAnswer,
} from '#contract';

export interface Refused {
  ok: false;
  kind: 'refused';
  status: number;
  /** From the contract's closed list, or a newer controller's. */
  code: string;
  message: string;
  expectedOffset?: number | undefined;
  action?: 'stop' | undefined;
}
export interface Unreachable {
  ok: false;
  kind: 'unreachable';
  message: string;
  retryAfterMs?: number;
}
export type Answer<T> = { ok: true; value: T } | Refused | Unreachable;

/** No answer of the controller to an agent is larger. */
const ANSWER_MAX_BYTES = 4 * 1024 * 1024;
const RETRY_AFTER_MAX_MS = 60_000;

interface Call<T> {
  method: 'GET' | 'POST' | 'PUT';
  path: string;
  answer: z.ZodType<T>;
  json?: unknown;
  bytes?: Uint8Array<ArrayBuffer>;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

export class ControllerClient {
  readonly #url: string;
  #key: string;
  readonly #requestMs: number;
  readonly #stallMs: number;

  constructor(options: { url: string; key: string; requestMs: number; transferStallMs: number }) {
    this.#url = options.url.replace(/\/+$/, '');
    this.#key = options.key;
    this.#requestMs = options.requestMs;
    this.#stallMs = options.transferStallMs;
  }

  /** The same controller, with an attempt's own token. */
  withKey(key: string): ControllerClient {
    return new ControllerClient({ url: this.#url, key, requestMs: this.#requestMs, transferStallMs: this.#stallMs });
  }

  /** From the next request on: a renewed key. Clients made by withKey keep their own. */
  useKey(key: string): void {
    this.#key = key;
  }

  /** Needs no key: the code is the credential. */
  enrol = (code: string, signal?: AbortSignal): Promise<Answer<Enrolled>> =>
    this.#call({ method: 'POST', path: '/api/workers/enrol', answer: Enrolled, json: { code }, signal });

  /** A new key beside this one, which works on for a day. */
  rotateKey = (keyId: string, signal?: AbortSignal): Promise<Answer<z.infer<typeof KeyCreated>>> =>
    this.#call({ method: 'POST', path: `/api/keys/${part(keyId)}/rotate`, answer: KeyCreated, signal });

  me = (signal?: AbortSignal): Promise<Answer<Me>> =>
    this.#call({ method: 'GET', path: '/api/me', answer: Me, signal });

  /** `instanceId`: who means to go on with them; without it one only looks. */
  attempts = (
    workerId: string,
    { instanceId, signal }: { instanceId?: string; signal?: AbortSignal } = {},
  ): Promise<Answer<WorkerAttempts>> => {
    const query = instanceId === undefined ? '' : `?instance_id=${part(instanceId)}`;
    const path = `/api/workers/${part(workerId)}/attempts${query}`;
    return this.#call({ method: 'GET', path, answer: WorkerAttempts, signal });
  };

  claim = (workerId: string, json: ClaimRequest, signal?: AbortSignal): Promise<Answer<ClaimAnswer>> =>
    this.#call({ method: 'POST', path: `/api/workers/${part(workerId)}/claim`, answer: ClaimAnswer, json, signal });

  status = (
    workerId: string,
    json: WorkerStatus,
    signal?: AbortSignal,
  ): Promise<Answer<z.infer<typeof WorkerStatusAnswer>>> =>
    this.#call({
      method: 'POST',
      path: `/api/workers/${part(workerId)}/status`,
      answer: WorkerStatusAnswer,
      json,
      signal,
    });

  /** Of a doctor, whether or not an agent runs. */
  findings = (
    workerId: string,
    json: FindingsReport,
    signal?: AbortSignal,
  ): Promise<Answer<z.infer<typeof WorkerStatusAnswer>>> =>
    this.#call({
      method: 'POST',
      path: `/api/workers/${part(workerId)}/findings`,
      answer: WorkerStatusAnswer,
      json,
      signal,
    });

  durations = (workerId: string, signal?: AbortSignal): Promise<Answer<WorkerDurations>> =>
    this.#call({ method: 'GET', path: `/api/workers/${part(workerId)}/durations`, answer: WorkerDurations, signal });

  heartbeat = (
    buildId: string,
    workerId: string,
    json: Heartbeat,
    options: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Answer<HeartbeatAnswer>> =>
    this.#call({
      method: 'POST',
      path: `/api/builds/${part(buildId)}/heartbeat?worker_id=${part(workerId)}`,
      answer: HeartbeatAnswer,
      json,
      ...options,
    });

  report = (buildId: string, json: ReportInput, signal?: AbortSignal): Promise<Answer<ReportAnswer>> =>
    this.#call({ method: 'POST', path: `/api/builds/${part(buildId)}/reports`, answer: ReportAnswer, json, signal });

  inputs = (buildId: string, signal?: AbortSignal): Promise<Answer<Inputs>> =>
    this.#call({ method: 'GET', path: `/api/builds/${part(buildId)}/inputs`, answer: Inputs, signal });

  appendLog = (
    buildId: string,
    { attempt, offset, bytes }: { attempt: number; offset: number; bytes: Uint8Array<ArrayBuffer> },
    signal?: AbortSignal,
  ): Promise<Answer<LogAppended>> =>
    this.#call({
      method: 'PUT',
      path: `/api/builds/${part(buildId)}/logs?attempt=${attempt}&offset=${offset}`,
      answer: LogAppended,
      bytes,
      timeoutMs: this.#stallMs,
      signal,
    });

  /** Whether a file of this hash is stored; if so, it is spared from collection. */
  findBlob = (sha256: string, signal?: AbortSignal): Promise<Answer<BlobStored>> =>
    this.#call({ method: 'GET', path: `/api/blobs/${part(sha256)}`, answer: BlobStored, signal });

  beginUpload = (sha256: string, size: number, signal?: AbortSignal): Promise<Answer<Upload>> =>
    this.#call({
      method: 'POST',
      path: `/api/blobs/${part(sha256)}/uploads`,
      answer: Upload,
      json: { size },
      signal,
    });

  showUpload = (sha256: string, id: string, signal?: AbortSignal): Promise<Answer<Upload>> =>
    this.#call({ method: 'GET', path: `/api/blobs/${part(sha256)}/uploads/${part(id)}`, answer: Upload, signal });

  completeUpload = (sha256: string, id: string, signal?: AbortSignal): Promise<Answer<Upload>> =>
    this.#call({
      method: 'POST',
      path: `/api/blobs/${part(sha256)}/uploads/${part(id)}/complete`,
      answer: Upload,
      signal,
    });

  /** Uploads a file under its own hash, in one request. The time limit is for a standstill, not for the whole. */
  putBlob = (
    blob: { sha256: string; path: string; sizeBytes: number },
    signal?: AbortSignal,
  ): Promise<Answer<BlobStored>> =>
    this.#putFile(`/api/blobs/${part(blob.sha256)}`, { ...blob, offset: 0 }, {}, BlobStored, signal);

  /** One part of an upload: `sizeBytes` of the file from `offset`. */
  putPart = (
    { sha256, id, number }: { sha256: string; id: string; number: number },
    piece: { path: string; offset: number; sizeBytes: number; sha256: string },
    signal?: AbortSignal,
  ): Promise<Answer<UploadPart>> =>
    this.#putFile(
      `/api/blobs/${part(sha256)}/uploads/${part(id)}/parts/${number}`,
      piece,
      { [PART_SHA256_HEADER]: piece.sha256 },
      UploadPart,
      signal,
    );

  async #putFile<T>(
    urlPath: string,
    { path, offset, sizeBytes }: { path: string; offset: number; sizeBytes: number },
    headers: Record<string, string>,
    answer: z.ZodType<T>,
    signal?: AbortSignal,
  ): Promise<Answer<T>> {
    using stall = stallTimer(this.#stallMs, signal);
    const end = offset + sizeBytes - 1;
    const body = sizeBytes === 0 ? Readable.from([]) : createReadStream(path, { start: offset, end });
    body.on('data', stall.touch).on('error', () => {});
    return await this.#answer(
      this.#fetch('PUT', urlPath, stall.signal, {
        // An exact length: R2 does not take a body of unknown length.
        headers: { ...headers, 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
        body: Readable.toWeb(body),
        duplex: 'half',
      }),
      answer,
      signal,
    ).finally(() => body.destroy());
  }

  /** Downloads the attempt's source to a file; see {@link download}. */
  downloadSource = (
    buildId: string,
    target: { path: string; sha256: string; sizeBytes: number },
    signal?: AbortSignal,
  ): Promise<Answer<{ sizeBytes: number }>> => this.download(`/api/builds/${part(buildId)}/source`, target, signal);

  /**
   * Downloads to a file, and goes on at the file's end if an earlier call left one. A wrong length or hash is `unreachable`, since what
   * arrived was not the answer; the file is then begun anew.
   */
  async download(
    urlPath: string,
    target: { path: string; sha256: string; sizeBytes: number },
    signal?: AbortSignal,
  ): Promise<Answer<{ sizeBytes: number }>> {
    using stall = stallTimer(this.#stallMs, signal);
    try {
      const there = await stat(target.path).then(
        ({ size }) => size,
        () => 0,
      );
      const from = there < target.sizeBytes ? there : 0;
      const response = await this.#fetch('GET', urlPath, stall.signal, {
        // Should the controller have another file by now, it sends all of that: the hash then tells.
        headers: from > 0 ? { range: `bytes=${from}-`, 'if-range': `"${target.sha256}"` } : {},
      });
      const resumed = response.status === 206;
      if ((response.status !== 200 && !resumed) || !response.body) return await failureOf(response);
      const hash = createHash('sha256');
      let sizeBytes = resumed ? from : 0;
      if (resumed) for await (const chunk of createReadStream(target.path, { end: from - 1 })) hash.update(chunk);
      const meter = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          stall.touch();
          sizeBytes += chunk.length;
          hash.update(chunk);
          done(sizeBytes > target.sizeBytes ? new Error('more bytes than announced') : null, chunk);
        },
      });
      const file = createWriteStream(target.path, { mode: 0o600, flags: resumed ? 'a' : 'w' });
      await pipeline(Readable.fromWeb(response.body), meter, file, { signal: stall.signal });
      if (sizeBytes === target.sizeBytes && hash.digest('hex') === target.sha256)
        return { ok: true, value: { sizeBytes } };
      // Short is merely not yet all. Whole and wrong is of no use.
      if (sizeBytes >= target.sizeBytes) await rm(target.path, { force: true });
      return {
        ok: false,
        kind: 'unreachable',
        message: `the file arrived damaged (${sizeBytes} of ${target.sizeBytes} bytes)`,
      };
    } catch (error) {
      const { size = 0 } = await stat(target.path).catch(() => ({ size: 0 }));
      if (size >= target.sizeBytes) await rm(target.path, { force: true });
      return unreachable(error, signal);
    }
  }

  #call<T>({ method, path, answer, json, bytes, timeoutMs = this.#requestMs, signal }: Call<T>): Promise<Answer<T>> {
    const limited = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]);
    const body = bytes ?? (json === undefined ? null : JSON.stringify(json));
    const type = bytes ? 'application/octet-stream' : 'application/json';
    return this.#answer(
      this.#fetch(method, path, limited, { body, headers: { 'content-type': type } }),
      answer,
      signal,
    );
  }

  #fetch(
    method: string,
    path: string,
    signal: AbortSignal,
    init: { headers?: Record<string, string>; body?: unknown; duplex?: 'half' } = {},
  ): Promise<Response> {
    return fetch(`${this.#url}${path}`, {
      ...init,
      method,
      signal,
      // A captive portal redirects; following it would hand it the key.
      redirect: 'manual',
      headers: {
        ...init.headers,
        accept: 'application/json',
        authorization: `Bearer ${this.#key}`,
        [CONTRACT_HEADER]: String(CONTRACT_VERSION),
      },
    } as RequestInit);
  }

  async #answer<T>(pending: Promise<Response>, schema: z.ZodType<T>, signal?: AbortSignal): Promise<Answer<T>> {
    try {
      const response = await pending;
      if (!response.ok) return await failureOf(response);
      const parsed = schema.safeParse(await readJson(response));
      if (parsed.success) return { ok: true, value: parsed.data };
      const issue = parsed.error.issues[0]!;
      return {
        ok: false,
        kind: 'unreachable',
        message: `not the controller's answer (${issue.path.join('.') || 'body'}: ${issue.message})`,
      };
    } catch (error) {
      return unreachable(error, signal);
    }
  }
}

const part = encodeURIComponent;

async function failureOf(response: Response): Promise<Refused | Unreachable> {
  const { status } = response;
  const body = ErrorBody.safeParse(await readJson(response).catch(() => null));
  const message = body.success ? body.data.error.message : `HTTP ${status} without the controller's own error`;
  if (status === 429) return { ok: false, kind: 'unreachable', message, retryAfterMs: retryAfterMs(response) };
  // Only the controller's own words refuse: a portal or a proxy must not end a build.
  if (status < 400 || status >= 500 || !body.success)
    return { ok: false, kind: 'unreachable', message: `HTTP ${status}: ${message}` };
  const { error, expectedOffset, action } = body.data;
  return { ok: false, kind: 'refused', status, code: error.code, message, expectedOffset, action };
}

function retryAfterMs(response: Response): number {
  const header = response.headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), RETRY_AFTER_MAX_MS) : 1_000;
}

async function readJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > ANSWER_MAX_BYTES) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function unreachable(error: unknown, signal?: AbortSignal): Unreachable {
  signal?.throwIfAborted();
  const { name, message, cause } = error as Error;
  const detail = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message;
  return { ok: false, kind: 'unreachable', message: name === 'TimeoutError' ? 'no answer in time' : detail };
}

/** Aborts when `touch` has not been called for stallMs. */
function stallTimer(stallMs: number, outer?: AbortSignal): { signal: AbortSignal; touch: () => void } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new DOMException('stalled', 'TimeoutError')), stallMs);
  return {
    signal: outer ? AbortSignal.any([outer, controller.signal]) : controller.signal,
    touch: () => void timer.refresh(),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
