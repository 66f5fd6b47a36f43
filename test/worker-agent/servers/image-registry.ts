/**
 * Serves a registry of images on this machine, over plain HTTP: the part of the OCI distribution protocol
 * that Tart speaks. It counts what it sends, and it can be slow, cut its answers, hold them back, and lie.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How many bytes of an answer are sent at a time, so that a cut can fall between them. */
const PART_BYTES = 16 * 1024;

interface Options {
  /** Before the answer with each blob. */
  delayMs?: number;
  /** Without them anybody may pull and push. */
  credentials?: { user: string; password: string };
}

export async function imageRegistry({ delayMs = 0, credentials }: Options = {}) {
  const blobs = new Map<string, Buffer>();
  const manifests = new Map<string, string>();
  const cuts: { afterBytes: number; times: number }[] = [];
  const lies = new Map<string, string>();
  const counts = { bytesSent: 0, bytesReceived: 0, blobsPulled: 0, manifestsPulled: 0, atOnce: 0, mostAtOnce: 0 };
  let held: PromiseWithResolvers<void> | null = null;

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request);
    counts.bytesReceived += body.length;
    const url = new URL(request.url ?? '/', 'http://registry');
    const [, repository, kind, what] = /^\/v2\/(.+)\/(manifests|blobs)\/(.*)$/.exec(url.pathname) ?? [];
    const end = (status: number, text = '', headers: Record<string, string> = {}) =>
      void response.writeHead(status, headers).end(text);
    if (!mayEnter(request)) return end(401, 'no credentials', { 'www-authenticate': 'Basic realm="images"' });
    if (repository === undefined || what === undefined) return end(404);
    const name = `${repository}:${what}`;
    if (kind === 'manifests' && request.method === 'PUT') {
      manifests.set(name, body.toString()).set(`${repository}:${digestOf(body)}`, body.toString());
      return end(201);
    }
    if (kind === 'manifests') {
      counts.manifestsPulled++;
      const text = manifests.get(lies.get(name) ?? name);
      return text === undefined ? end(404, '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}') : end(200, text);
    }
    if (request.method === 'POST') return end(202, '', { location: `/v2/${repository}/blobs/uploads/1` });
    if (request.method === 'PUT') {
      blobs.set(url.searchParams.get('digest') ?? '', body);
      return end(201);
    }
    const blob = blobs.get(what);
    if (!blob) return end(404);
    if (request.method === 'HEAD') return end(200);
    await send(blob, request, response);
  }

  async function send(blob: Buffer, request: IncomingMessage, response: ServerResponse): Promise<void> {
    counts.blobsPulled++;
    counts.mostAtOnce = Math.max(counts.mostAtOnce, ++counts.atOnce);
    try {
      await Promise.all([held?.promise, sleep(delayMs)]);
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const cut = cuts[0];
      const part = blob.subarray(from, cut ? Math.min(blob.length, from + cut.afterBytes) : blob.length);
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': blob.length - from });
      for (let at = 0; at < part.length; at += PART_BYTES) {
        const piece = part.subarray(at, at + PART_BYTES);
        counts.bytesSent += piece.length;
        await new Promise((sent) => response.write(piece, sent));
      }
      if (!cut) return void response.end();
      if (--cut.times === 0) cuts.shift();
      response.destroy();
    } finally {
      counts.atOnce--;
    }
  }

  function mayEnter(request: IncomingMessage): boolean {
    if (!credentials) return true;
    const words = Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64');
    return request.headers.authorization === `Basic ${words}`;
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    /** HOST:PORT, which begins each name. */
    host,
    counts,
    /** The digest of an image that was pushed under a tag. Throws if there is none. */
    digestOf(repository: string, tag: string): string {
      const text = manifests.get(`${repository}:${tag}`);
      if (text === undefined) throw new Error(`nothing was pushed to ${repository}:${tag}`);
      return digestOf(Buffer.from(text));
    },
    manifest: (repository: string, reference: string) =>
      JSON.parse(manifests.get(`${repository}:${reference}`) ?? 'null'),
    /** Cuts the next answers with a blob after so many bytes. */
    cut(afterBytes: number, times = 1): void {
      cuts.push({ afterBytes, times });
    },
    /** From now on, a request for one manifest of a repository gets another. */
    lie(repository: string, asked: string, given: string): void {
      lies.set(`${repository}:${asked}`, `${repository}:${given}`);
    },
    /** Answers with blobs wait until `release`. */
    hold(): void {
      held ??= Promise.withResolvers();
    },
    release(): void {
      held?.resolve();
      held = null;
    },
    async [Symbol.asyncDispose]() {
      held?.resolve();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}
