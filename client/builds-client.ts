/**
 * Sends a submitter's requests to a controller: store a file, build it, read the result.
 *
 * Invariant: each call ends with an answer or at its time limit. Every answer without success is one ApiError
 * that says why.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';
import {
  type BlobStored,
  Build,
  BuildDetail,
  type BuildRequestInput,
  CounterList,
  CounterSet,
  type CounterView,
} from '#contract';
import { failureOf, valueOrThrow } from './answer.ts';
import { downloadFile, type LocalFile } from './blob-requests.ts';
import { followLog } from './follow-log.ts';
import type { Connection } from './request.ts';
import { untilAnswered } from './retry.ts';
import { uploadBlob } from './upload.ts';

/** How long a command waits for a controller that goes away during a transfer. */
const GIVE_UP_AFTER_MS = 120_000;
const never = () => new AbortController().signal;

export class BuildsClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Stores a file of any size. Resolves when the controller has verified it. */
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

  /** The counters of build numbers that the apps of the project have. `project` is its id or its name. */
  async counters(project: string): Promise<CounterView[]> {
    return (await this.#call(CounterList, 'GET', `/api/projects/${encodeURIComponent(project)}/numbers`)).counters;
  }

  /** Sets the counter of an app, for a key with the right `numbers`. The next build gets one more. */
  setCounter(project: string, platform: Build['platform'], appId: string, value: number): Promise<CounterSet> {
    const path = `/api/projects/${encodeURIComponent(project)}/numbers/${platform}/${encodeURIComponent(appId)}`;
    return this.#call(CounterSet, 'PUT', path, { value });
  }

  /**
   * Writes one artifact to `path` and resumes after a broken connection. Resolves with the size and hash of
   * the bytes.
   */
  async download(buildId: string, name: string, path: string, signal: AbortSignal = never()): Promise<LocalFile> {
    const encoded = name.split('/').map(encodeURIComponent).join('/');
    const urlPath = `/api/builds/${encodeURIComponent(buildId)}/artifacts/${encoded}`;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.connection.requestMs)]);
    const head = await this.connection.open('HEAD', urlPath, limit);
    // The answer to HEAD has no body. So the message of a refusal comes from the GET below, if it has one.
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

  /** Yields the log of the build as it grows, from its newest attempt on, until the build has ended. */
  followLog(buildId: string, signal: AbortSignal): AsyncGenerator<string> {
    return followLog(this.connection, buildId, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS });
  }

  async #call<T>(answer: z.ZodType<T>, method: 'GET' | 'POST' | 'PUT', path: string, json?: unknown): Promise<T> {
    return valueOrThrow(await this.connection.call({ method, path, answer, json }), `${method} ${path}`);
  }
}
