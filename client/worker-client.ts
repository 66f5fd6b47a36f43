/** Sends an agent's requests about its worker: its identity, work, its attempts, its status and findings. */
import type { z } from 'zod';
import {
  ClaimAnswer,
  type ClaimRequest,
  Enrolled,
  type FindingsReport,
  KeyCreated,
  Me,
  WorkerAttempts,
  WorkerDurations,
  type WorkerStatus,
  WorkerStatusAnswer,
} from '#contract';
import type { Answer } from './answer.ts';
import type { Connection } from './request.ts';

export class WorkerClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Needs no key, because the code is the credential. */
  enrol = (code: string, signal?: AbortSignal): Promise<Answer<Enrolled>> =>
    this.connection.call({ method: 'POST', path: '/api/workers/enrol', answer: Enrolled, json: { code }, signal });

  /** Makes a new key. The old key keeps working for a day. */
  rotateKey = (keyId: string, signal?: AbortSignal): Promise<Answer<z.infer<typeof KeyCreated>>> =>
    this.connection.call({ method: 'POST', path: `/api/keys/${part(keyId)}/rotate`, answer: KeyCreated, signal });

  me = (signal?: AbortSignal): Promise<Answer<Me>> =>
    this.connection.call({ method: 'GET', path: '/api/me', answer: Me, signal });

  /**
   * Reads the active attempts of the worker. `instanceId` names the agent that will continue them. A caller
   * that only looks leaves it out.
   */
  attempts = (
    workerId: string,
    { instanceId, signal }: { instanceId?: string; signal?: AbortSignal } = {},
  ): Promise<Answer<WorkerAttempts>> => {
    const query = instanceId === undefined ? '' : `?instance_id=${part(instanceId)}`;
    const path = `/api/workers/${part(workerId)}/attempts${query}`;
    return this.connection.call({ method: 'GET', path, answer: WorkerAttempts, signal });
  };

  claim = (workerId: string, json: ClaimRequest, signal?: AbortSignal): Promise<Answer<ClaimAnswer>> =>
    this.#post(workerId, 'claim', ClaimAnswer, json, signal);

  status = (workerId: string, json: WorkerStatus, signal?: AbortSignal): Promise<Answer<WorkerStatusAnswer>> =>
    this.#post(workerId, 'status', WorkerStatusAnswer, json, signal);

  /** Sends the findings of doctor, whether or not an agent runs. */
  findings = (workerId: string, json: FindingsReport, signal?: AbortSignal): Promise<Answer<WorkerStatusAnswer>> =>
    this.#post(workerId, 'findings', WorkerStatusAnswer, json, signal);

  durations = (workerId: string, signal?: AbortSignal): Promise<Answer<WorkerDurations>> =>
    this.connection.call({
      method: 'GET',
      path: `/api/workers/${part(workerId)}/durations`,
      answer: WorkerDurations,
      signal,
    });

  #post<T>(workerId: string, what: string, answer: z.ZodType<T>, json: unknown, signal?: AbortSignal) {
    return this.connection.call({
      method: 'POST',
      path: `/api/workers/${part(workerId)}/${what}`,
      answer,
      json,
      signal,
    });
  }
}

const part = encodeURIComponent;
