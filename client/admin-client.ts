/** Sends an admin's requests about workers to a controller. */
import type { z } from 'zod';
import { Worker, WorkerRegistered, type WorkerRequest } from '#contract';
import { valueOrThrow } from './answer.ts';
import type { Connection } from './request.ts';

export class AdminClient {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  async registerWorker(json: z.input<typeof WorkerRequest>) {
    const call = { method: 'POST', path: '/api/workers', answer: WorkerRegistered, json } as const;
    return valueOrThrow(await this.connection.call(call), 'POST /api/workers');
  }

  async worker(workerId: string): Promise<Worker> {
    const path = `/api/workers/${encodeURIComponent(workerId)}`;
    return valueOrThrow(await this.connection.call({ method: 'GET', path, answer: Worker }), `GET ${path}`);
  }
}
