/**
 * What a submitter asks of a controller: to store a file, to build it, and for what came of it.
 *
 * Invariant: a call ends, by an answer or by its time limit. Each that is not a success is one ApiError that says why.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';
import { type BlobStored, Build, BuildDetail, type BuildRequestInput } from '#contract';
import { failureOf, valueOrThrow } from './answer.ts';
import { followLog } from './follow-log.ts';
import type { Connection } from './request.ts';
import { untilAnswered } from './retry.ts';
import { downloadFile, type LocalFile } from './transfer.ts';
import { uploadBlob } from './upload.ts';

/** How long a command waits for a controller that is away in the middle of a transfer. */
const GIVE_UP_AFTER_MS = 120_000;
const never = () => new AbortController().signal;

export class BuildsClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Stores a file of any size; resolves when the controller has verified it. */
  async upload(file: LocalFile, signal: AbortSignal = never()): Promise<BlobStored> {
    const answer = await uploadBlob(this.connection, file, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS });
    return valueOrThrow(answer, `the upload of ${file.path}`);
  }

  submit(request: BuildRequestInput): Promise<Build> {
    return this.#call(Build, 'POST', '/api/builds', request);
  }

  build(buildId: string): Promise<BuildDetail> {
    return this.#call(BuildDetail, 'GET', `/api/builds/${encodeURIComponent(buildId)}`);
  }

  cancel(buildId: string): Promise<Build> {
    return this.#call(Build, 'POST', `/api/builds/${encodeURIComponent(buildId)}/cancel`);
  }

  /** Writes one artifact to `path`, goes on where a broken connection ended, and says what its bytes are. */
  async download(buildId: string, name: string, path: string, signal: AbortSignal = never()): Promise<LocalFile> {
    const encoded = name.split('/').map(encodeURIComponent).join('/');
    const urlPath = `/api/builds/${encodeURIComponent(buildId)}/artifacts/${encoded}`;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.connection.requestMs)]);
    const head = await this.connection.open('HEAD', urlPath, limit);
    // The answer to HEAD has no body, so the refusal's words come from GET below where there are any.
    if (!head.ok) valueOrThrow(await failureOf(head), `HEAD ${urlPath} (${head.status})`);
    const sha256 = head.headers.get('x-content-sha256') ?? '';
    const target = { path, sha256, sizeBytes: Number(head.headers.get('content-length')) };
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    const answer = await untilAnswered(() => downloadFile(this.connection, urlPath, target, signal), {
      signal,
      giveUpAfterMs: GIVE_UP_AFTER_MS,
    });
    valueOrThrow(answer, `the download of ${name}`);
    return target;
  }

  /** The log of the build's newest attempt, as it grows and until it is complete. */
  followLog(buildId: string, signal: AbortSignal): AsyncGenerator<string> {
    return followLog(this.connection, buildId, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS });
  }

  async #call<T>(answer: z.ZodType<T>, method: 'GET' | 'POST', path: string, json?: unknown): Promise<T> {
    return valueOrThrow(await this.connection.call({ method, path, answer, json }), `${method} ${path}`);
  }
}
