/**
 * Sends a submitter's requests to a controller: store a file, build it, read the result.
 *
 * Invariant: each call ends with an answer or at its time limit. Every answer without success is one ApiError
 * that says why.
 */
import { randomUUID } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { z } from 'zod';
import {
  type Artifact,
  type BlobStored,
  Build,
  BuildDetail,
  BuildList,
  type BuildRequestInput,
  SubmissionDetail,
  type SubmissionRequest,
} from '#contract';
import { type Answer, ApiError, failureOf, unreachable, valueOrThrow } from './answer.ts';
import { downloadFile, findBlob, type LocalFile, stallTimer } from './blob-requests.ts';
import { type FollowLogOptions, followLog, type LogText } from './follow-log/follow-log.ts';
import type { Connection } from './request.ts';
import { untilAnswered } from './retry.ts';
import { giveName, leaveUnfinished, takeUnfinished } from './safe-files.ts';
import { uploadBlob } from './upload.ts';

/** How long a command waits for a controller that is away. */
export const GIVE_UP_AFTER_MS = 120_000;
/** The longest wait for the answer to a question that the caller repeats anyway. */
const LOOK_MS = 10_000;
const never = () => new AbortController().signal;

const pathOf = (buildId: string) => `/api/builds/${encodeURIComponent(buildId)}`;
const artifactPath = (buildId: string, name: string) =>
  `${pathOf(buildId)}/artifacts/${name.split('/').map(encodeURIComponent).join('/')}`;

interface Named {
  idempotencyKey: string;
}

interface Patience {
  signal: AbortSignal;
  /** Called with the reason while the controller is away. */
  onUnreachable?: (why: string) => void;
}

export interface Submitted {
  build: Build;
  /** False if the name was used before: the build is then an earlier one. */
  isNew: boolean;
}

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

  /** As {@link upload}, but asks first. `existed`: the controller already had the file, so none was sent. */
  async uploadOnce(
    file: LocalFile,
    { onProgress, ...options }: Patience & { onProgress?: (sentBytes: number) => void },
  ): Promise<BlobStored> {
    const what = 'the upload of the source';
    const { signal } = options;
    const patience = { ...options, giveUpAfterMs: GIVE_UP_AFTER_MS };
    const there = await untilAnswered(() => findBlob(this.connection, file.sha256, signal), patience);
    if (there.ok || there.kind !== 'refused' || there.code !== 'not_found') return valueOrThrow(there, what);
    const sent = await uploadBlob(this.connection, file, { ...patience, ...(onProgress && { onProgress }) });
    return { ...valueOrThrow(sent, what), existed: false };
  }

  submit(request: BuildRequestInput): Promise<Build> {
    return this.connection.ask({ method: 'POST', path: '/api/builds', answer: Build, json: request });
  }

  /**
   * Makes a build, also if the controller is away for a while. By the name in the request, the controller
   * recognises a repeated one whose answer got lost. `signal` ends the waiting, but no request that is under
   * way. It then asks once more, so that the caller learns of a build that was made.
   */
  async submitNamed(request: BuildRequestInput & Named, patience: Patience): Promise<Submitted> {
    const since = this.connection.now();
    let status = 0;
    let isLost = false;
    const call = {
      ...({ method: 'POST', path: '/api/builds', answer: Build, json: request } as const),
      onStatus: (answered: number) => void (status = answered),
    };
    const onUnreachable = (why: string) => {
      isLost = true;
      patience.onUnreachable?.(why);
    };
    const options = { ...patience, onUnreachable, giveUpAfterMs: GIVE_UP_AFTER_MS };
    const answer = await untilAnswered(() => this.connection.call(call), options).catch(async (stopped: unknown) => {
      const last = await this.connection.call({ ...call, timeoutMs: LOOK_MS });
      if (!last.ok) throw stopped;
      return last;
    });
    const build = valueOrThrow(answer, 'the request for the build');
    // The answer that got lost may have been the one with 201.
    return { build, isNew: status === 201 || (isLost && Date.parse(build.createdAt) >= since) };
  }

  /** As {@link submitNamed}, for a submission of a build to a store. */
  async submitToStore(
    buildId: string,
    json: z.input<typeof SubmissionRequest> & Named,
    patience: Patience,
  ): Promise<SubmissionDetail> {
    const path = `${pathOf(buildId)}/submissions`;
    const ask = () => this.connection.call({ method: 'POST', path, answer: SubmissionDetail, json });
    const answer = await untilAnswered(ask, { ...patience, giveUpAfterMs: GIVE_UP_AFTER_MS });
    return valueOrThrow(answer, 'the request for the submission');
  }

  build(buildId: string, signal?: AbortSignal): Promise<BuildDetail> {
    return this.connection.ask({ method: 'GET', path: pathOf(buildId), answer: BuildDetail, signal });
  }

  /** As {@link build}, for a caller that asks again and again. Rejects only with the signal's reason. */
  look(buildId: string, signal: AbortSignal): Promise<Answer<BuildDetail>> {
    return this.connection.call({
      method: 'GET',
      path: pathOf(buildId),
      answer: BuildDetail,
      signal,
      timeoutMs: LOOK_MS,
    });
  }

  /** As {@link look}, for a submission to a store. */
  lookAtSubmission(submissionId: string, signal: AbortSignal): Promise<Answer<SubmissionDetail>> {
    const path = `/api/submissions/${encodeURIComponent(submissionId)}`;
    return this.connection.call({ method: 'GET', path, answer: SubmissionDetail, signal, timeoutMs: LOOK_MS });
  }

  cancel(buildId: string, signal?: AbortSignal): Promise<Build> {
    return this.connection.ask({ method: 'POST', path: `${pathOf(buildId)}/cancel`, answer: Build, signal });
  }

  /** Makes a new build as the retry of one that has ended. A lost answer does not lead to a second build. */
  async retry(buildId: string, patience: Patience): Promise<Build> {
    const path = `${pathOf(buildId)}/retry`;
    const json = { idempotencyKey: randomUUID() };
    const ask = () => this.connection.call({ method: 'POST', path, answer: Build, json });
    const answer = await untilAnswered(ask, { ...patience, giveUpAfterMs: GIVE_UP_AFTER_MS });
    return valueOrThrow(answer, `the retry of ${buildId}`);
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
   * Writes one artifact to `path`, which must be free, and resumes after a broken connection. The file gets
   * its name only once it is complete and its hash is right.
   */
  async download(buildId: string, name: string, path: string, signal: AbortSignal = never()): Promise<LocalFile> {
    const urlPath = artifactPath(buildId, name);
    const ask = () => this.#factsOf(urlPath, signal);
    const facts = valueOrThrow(
      await untilAnswered(ask, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS }),
      `the download of ${name}`,
    );
    return await this.downloadArtifact(buildId, { name, ...facts }, path, { signal });
  }

  /** As {@link download}, for an artifact whose hash the caller knows from the build. */
  async downloadArtifact(
    buildId: string,
    { name, sha256, size }: Pick<Artifact, 'name' | 'sha256' | 'size'>,
    path: string,
    { signal, onBytes }: { signal: AbortSignal; onBytes?: (sizeBytes: number) => void },
  ): Promise<LocalFile> {
    await mkdir(dirname(path), { recursive: true });
    // A later call finds it and continues. A build cannot know this name before its artifact exists.
    const partial = join(dirname(path), `.${sha256.slice(0, 32)}.partial`);
    const own = await takeUnfinished(partial);
    try {
      const before = await lstat(own).catch(() => null);
      if (before && !(before.isFile() && before.nlink === 1)) throw new Error(`${partial} is in the way. Remove it.`);
      const target = { path: own, sha256, sizeBytes: size };
      const fetchIt = () => downloadFile(this.connection, artifactPath(buildId, name), target, signal, onBytes);
      const answer = await untilAnswered(fetchIt, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS });
      valueOrThrow(answer, `the download of ${name}`);
      await giveName(own, path);
      return { ...target, path };
    } finally {
      await leaveUnfinished(own, partial);
    }
  }

  async #factsOf(urlPath: string, signal: AbortSignal): Promise<Answer<{ sha256: string; size: number }>> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.connection.requestMs)]);
    try {
      const head = await this.connection.open('HEAD', urlPath, limit);
      const facts = {
        sha256: head.headers.get('x-content-sha256') ?? '',
        size: Number(head.headers.get('content-length')),
      };
      // The answer to HEAD has no body, so it has no reason.
      return head.ok ? { ok: true, value: facts } : await failureOf(await this.connection.open('GET', urlPath, limit));
    } catch (error) {
      return unreachable(error, signal);
    }
  }

  /** Yields the log of the build as it grows, from its newest attempt on, until the build has ended. */
  async *followLog(buildId: string, signal: AbortSignal): AsyncGenerator<string> {
    const parts = this.followLogParts(buildId, { signal, giveUpAfterMs: GIVE_UP_AFTER_MS });
    for await (const { text } of parts) yield text;
  }

  /** The log of an attempt as far as it is there, byte for byte. Throws an ApiError if it breaks off. */
  async *log(buildId: string, attempt: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const path = `${pathOf(buildId)}/logs?attempt=${attempt}`;
    using stall = stallTimer(this.connection.transferStallMs, signal);
    try {
      const response = await this.connection.open('GET', path, stall.signal, { headers: { accept: 'text/plain' } });
      if (!response.ok) valueOrThrow(await failureOf(response), `GET ${path}`);
      for await (const bytes of response.body ?? []) {
        stall.isHeld = true;
        yield bytes;
        stall.isHeld = false;
        stall.touch();
      }
    } catch (error) {
      if (error instanceof ApiError) throw error;
      valueOrThrow(unreachable(error, signal), `GET ${path}`);
    }
  }

  /** As {@link followLog}, with the attempt of each part. */
  followLogParts(buildId: string, options: FollowLogOptions): AsyncGenerator<LogText> {
    return followLog(this.connection, buildId, options);
  }
}
