/** Sends an admin's requests about workers and the images of pools to a controller. */
import type { z } from 'zod';
import {
  PoolImage,
  PoolImageList,
  type PoolImageRequest,
  Worker,
  WorkerList,
  WorkerRegistered,
  type WorkerRequest,
} from '#contract';
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

  async workers(): Promise<Worker[]> {
    return (await this.connection.ask({ method: 'GET', path: '/api/workers', answer: WorkerList })).workers;
  }

  async worker(workerId: string): Promise<Worker> {
    const path = `/api/workers/${encodeURIComponent(workerId)}`;
    return valueOrThrow(await this.connection.call({ method: 'GET', path, answer: Worker }), `GET ${path}`);
  }

  /** Sets the image that the Macs of a pool should have. */
  async setPoolImage(pool: string, name: string, json: z.input<typeof PoolImageRequest>): Promise<PoolImage> {
    const path = `/api/pools/${encodeURIComponent(pool)}/images/${encodeURIComponent(name)}`;
    return valueOrThrow(await this.connection.call({ method: 'PUT', path, answer: PoolImage, json }), `PUT ${path}`);
  }

  async poolImages(pool: string): Promise<PoolImage[]> {
    const path = `/api/pools/${encodeURIComponent(pool)}/images`;
    const { images } = valueOrThrow(
      await this.connection.call({ method: 'GET', path, answer: PoolImageList }),
      `GET ${path}`,
    );
    return images;
  }
}
