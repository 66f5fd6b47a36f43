/**
 * Knows where the artifacts of one attempt are stored: with the attempt's own token, below its build. A
 * controller of the former release has no such place. There they are stored with the worker's key.
 *
 * Invariant: once a controller has turned out to be of the former release, no further file of the attempt is
 * offered to it in the new way.
 */
import type { BlobStored } from '#contract';
import type { Answer } from '../../client/answer.ts';
import type { AttemptClient } from '../../client/attempt-client.ts';
import { type LocalFile, placeOfAttempt } from '../../client/blob-requests.ts';
import type { Connection } from '../../client/request.ts';
import { untilAnswered } from '../../client/retry.ts';
import { type BlobUploadOptions, uploadBlob } from '../../client/upload.ts';

export interface ArtifactStoreOptions {
  buildId: string;
  /** With the attempt's run token. */
  client: AttemptClient;
  /** With the worker's key. */
  worker: Connection;
}

export class ArtifactStore {
  readonly #options: ArtifactStoreOptions;
  #place: 'unknown' | 'attempt' | 'worker' = 'unknown';

  constructor(options: ArtifactStoreOptions) {
    this.#options = options;
  }

  /** Uploads the file, unless it is there. Safe to repeat. Rejects as `uploadBlob` does. */
  async upload(file: LocalFile, options: BlobUploadOptions): Promise<Answer<BlobStored>> {
    const { buildId, client, worker } = this.#options;
    if (this.#place === 'unknown') {
      const found = await untilAnswered(() => client.findArtifact(buildId, file.sha256, options.signal), options);
      if (found.ok || found.kind === 'unreachable') return found;
      this.#place = isClosed(found) ? 'worker' : 'attempt';
    }
    if (this.#place === 'attempt') {
      const place = placeOfAttempt(buildId);
      const answer = await uploadBlob(client.connection, file, { ...options, place });
      if (!isClosed(answer)) return answer;
      this.#place = 'worker';
    }
    return uploadBlob(worker, file, options);
  }
}

/** There is no such route, or an outage has outlived the token. */
const isClosed = (answer: Answer<unknown>): boolean =>
  !answer.ok && answer.kind === 'refused' && [401, 404].includes(answer.status);
