/**
 * Sends a submitter's requests to a controller: store a file, build it, read the result.
 *
 * Invariant: each call ends with an answer or at its time limit. Every answer without success is one ApiError
 * that says why.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type BlobStored, Build, BuildDetail, BuildList, type BuildRequestInput } from '#contract';
import { failureOf, valueOrThrow } from './answer.ts';
import { downloadFile, type LocalFile } from './blob-requests.ts';
import { followLog } from './follow-log.ts';
import type { Connection } from './request.ts';
import { untilAnswered } from './retry.ts';
import { uploadBlob } from './upload.ts';

/** How long a command waits for a controller that goes away during a transfer. */
const GIVE_UP_AFTER_MS = 120_000;
const never = () => new AbortController().signal;

const pathOf = (buildId: string) => `/api/builds/${encodeURIComponent(buildId)}`;

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
    return this.connection.ask({ method: 'POST', path: '/api/builds', answer: Build, json: request });
  }

  build(buildId: string): Promise<BuildDetail> {
    return this.connection.ask({ method: 'GET', path: pathOf(buildId), answer: BuildDetail });
  }

  cancel(buildId: string): Promise<Build> {
    return this.connection.ask({ method: 'POST', path: `${pathOf(buildId)}/cancel`, answer: Build });
  }

  /** Makes a new build as the retry of one that has ended. */
  retry(buildId: string): Promise<Build> {
    return this.connection.ask({ method: 'POST', path: `${pathOf(buildId)}/retry`, answer: Build });
  }

  /** A page of builds, newest first. `query` has filters of `GET /api/builds`. */
  list(query: Record<string, string>): Promise<BuildList> {
    return this.connection.ask({
      method: 'GET',
      path: `/api/builds?${new URLSearchParams(query)}`,
      answer: BuildList,
    });
  }

  /**
   * Writes one artifact to `path` and resumes after a broken connection. Resolves with the size and hash of
   * the bytes.
   */
  async download(buildId: string, name: string, path: string, signal: AbortSignal = never()): Promise<LocalFile> {
    const encoded = name.split('/').map(encodeURIComponent).join('/');
    const urlPath = `${pathOf(buildId)}/artifacts/${encoded}`;
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
}
