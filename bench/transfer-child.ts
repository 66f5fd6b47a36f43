/**
 * Runs one transfer in a process of its own, so that its memory can be measured: with the agent's client, or
 * as a plain stream. Prints the measured values.
 *
 *   node transfer-child.ts '{"kind":"upload","url":…,"key":…,"path":…,"sha256":…,"sizeBytes":…}'
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AttemptClient } from '../client/attempt-client.ts';
import { Connection } from '../client/request.ts';
import { uploadBlob } from '../client/upload.ts';

export interface Transfer {
  kind: 'upload' | 'download' | 'plain upload' | 'plain download';
  url: string;
  key: string;
  path: string;
  sha256: string;
  sizeBytes: number;
  /** The build whose source is downloaded. */
  buildId?: string;
}
export interface Took {
  ms: number;
  peakMib: number;
}

const WAIT_MS = 600_000;

async function transfer(one: Transfer): Promise<void> {
  const { kind, url, key, path, sha256, sizeBytes, buildId = '' } = one;
  const connection = new Connection({ url, key, requestMs: WAIT_MS, transferStallMs: WAIT_MS });
  const signal = new AbortController().signal;
  switch (kind) {
    case 'upload': {
      const answer = await uploadBlob(connection, { path, sha256, sizeBytes }, { signal, giveUpAfterMs: 0 });
      if (!answer.ok) throw new Error(answer.message);
      return;
    }
    case 'download': {
      const answer = await new AttemptClient(connection).downloadSource(buildId, { path, sha256, sizeBytes });
      if (!answer.ok) throw new Error(answer.message);
      return;
    }
    case 'plain upload': {
      const body = Readable.toWeb(createReadStream(path));
      const headers = { 'content-length': String(sizeBytes) };
      const init = { method: 'PUT', body, headers, duplex: 'half' } as unknown as RequestInit;
      const response = await fetch(`${url}/plain/${sha256}`, init);
      if (!response.ok) throw new Error(`the controller answered ${response.status} to the plain upload`);
      return;
    }
    case 'plain download': {
      const response = await fetch(`${url}/plain/${sha256}`);
      if (!response.ok) throw new Error(`the controller answered ${response.status} to the plain download`);
      await pipeline(Readable.fromWeb(response.body!), createWriteStream(path));
    }
  }
}

if (import.meta.main) {
  const startedAt = performance.now();
  await transfer(JSON.parse(process.argv[2]!));
  const took: Took = {
    ms: Math.round(performance.now() - startedAt),
    peakMib: Math.round(process.resourceUsage().maxRSS / 1024),
  };
  console.log(JSON.stringify(took));
}
