/**
 * Sends an agent's beats, log and reports about one attempt with that attempt's own token, fetches its source
 * and inputs, and asks for the number of its build.
 */
import {
  type BlobStored,
  BuildNumberAnswer,
  type BuildNumberRequest,
  type Heartbeat,
  HeartbeatAnswer,
  Inputs,
  KeptAnswer,
  type KeptRequest,
  LogAppended,
  ReportAnswer,
  type ReportInput,
} from '#contract';
import type { Answer } from './answer.ts';
import { downloadFile, findBlob, type LocalFile, placeOfAttempt } from './blob-requests.ts';
import type { Connection } from './request.ts';

export class AttemptClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  heartbeat = (
    buildId: string,
    workerId: string,
    json: Heartbeat,
    options: { signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Answer<HeartbeatAnswer>> =>
    this.connection.call({
      method: 'POST',
      path: `/api/builds/${part(buildId)}/heartbeat?worker_id=${part(workerId)}`,
      answer: HeartbeatAnswer,
      json,
      ...options,
    });

  report = (buildId: string, json: ReportInput, signal?: AbortSignal): Promise<Answer<ReportAnswer>> =>
    this.connection.call({
      method: 'POST',
      path: `/api/builds/${part(buildId)}/reports`,
      answer: ReportAnswer,
      json,
      signal,
    });

  /**
   * Tells until when the VM of the attempt is kept, or that it is not kept any more. The key of the worker
   * works too, because a kept VM outlives the token of its attempt.
   */
  kept = (buildId: string, json: KeptRequest, signal?: AbortSignal): Promise<Answer<KeptAnswer>> =>
    this.connection.call({
      method: 'POST',
      path: `/api/builds/${part(buildId)}/kept`,
      answer: KeptAnswer,
      json,
      signal,
    });

  inputs = (buildId: string, signal?: AbortSignal): Promise<Answer<Inputs>> =>
    this.connection.call({ method: 'GET', path: `/api/builds/${part(buildId)}/inputs`, answer: Inputs, signal });

  /**
   * Asks for the number of the build. A retry is safe, because all answers have the same number. Refused:
   * `number_not_seeded`, and `forbidden` for a number that the build may not have, each with a sentence that
   * says what to do.
   */
  number = (buildId: string, json: BuildNumberRequest, signal?: AbortSignal): Promise<Answer<BuildNumberAnswer>> =>
    this.connection.call({
      method: 'POST',
      path: `/api/builds/${part(buildId)}/number`,
      answer: BuildNumberAnswer,
      json,
      signal,
    });

  appendLog = (
    buildId: string,
    { attempt, offset, bytes }: { attempt: number; offset: number; bytes: Uint8Array<ArrayBuffer> },
    signal?: AbortSignal,
  ): Promise<Answer<LogAppended>> =>
    this.connection.call({
      method: 'PUT',
      path: `/api/builds/${part(buildId)}/logs?attempt=${attempt}&offset=${offset}`,
      answer: LogAppended,
      bytes,
      timeoutMs: this.connection.transferStallMs,
      signal,
    });

  /**
   * Asks whether this attempt has stored the file. Refused: `artifact_not_stored` if not; `not_found` by a
   * controller of the former release, where files belong to workers.
   */
  findArtifact = (buildId: string, sha256: string, signal?: AbortSignal): Promise<Answer<BlobStored>> =>
    findBlob(this.connection, sha256, signal, placeOfAttempt(buildId));

  /** Downloads the attempt's source to `target.path`; see {@link downloadFile}. */
  downloadSource = (buildId: string, target: LocalFile, signal?: AbortSignal): Promise<Answer<{ sizeBytes: number }>> =>
    downloadFile(this.connection, `/api/builds/${part(buildId)}/source`, target, signal);
}

const part = encodeURIComponent;
