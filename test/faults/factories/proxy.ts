/**
 * Runs a real HTTP proxy between the controller and one agent, or the VMs of one agent. A test can make it
 * fail.
 *
 * Invariant: it passes a complete request on or none. It decides once what to do with a request: when the
 * request has arrived.
 */
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export type Treatment =
  | 'pass'
  /** The controller's own answer for a bug. */
  | 'answer 500'
  /** An HTML page, as a gateway would send. */
  | 'answer 502'
  /** The proxy keeps the connection open without an answer until the treatment changes. */
  | 'answer nothing'
  /** The controller gets the request, and only half of its answer arrives. */
  | 'answer half'
  /** The controller gets the request, and its answer is lost. */
  | 'lose answer'
  | 'refuse'
  /** The controller gets the request twice, the second time a little later. */
  | 'twice'
  | { delayMs: number };

export interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** The number of this request among the requests of its kind, from 1. */
  count: number;
}

export interface SeenAnswer {
  status: number;
  body: Buffer;
}

const REPEAT_AFTER_MS = 300;
const FORWARD_TIMEOUT_MS = 30_000;

export class ChaosProxy implements AsyncDisposable {
  /** All requests that arrived, in order. */
  readonly seen: SeenRequest[] = [];
  /** The controller's answers to repeated requests. */
  readonly repeated: SeenAnswer[] = [];
  readonly #target: URL;
  readonly #server = createServer(
    (incoming, outgoing) => void this.#take(incoming, outgoing).catch(() => incoming.destroy()),
  );
  readonly #hanging = new Set<ServerResponse>();
  readonly #counts = new Map<string, number>();
  #treat: (request: SeenRequest) => Treatment = () => 'pass';

  static async start(targetUrl: string): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(targetUrl);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  constructor(targetUrl: string) {
    this.#target = new URL(targetUrl);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Sets the treatment of all requests from now on. */
  treat(how: Treatment | ((request: SeenRequest) => Treatment)): void {
    this.#treat = typeof how === 'function' ? how : () => how;
    for (const outgoing of this.#hanging) outgoing.destroy();
    this.#hanging.clear();
  }

  /** Sends earlier requests again. */
  async replay({ method, path, headers, body }: SeenRequest): Promise<SeenAnswer> {
    return await new Promise((resolve, reject) => {
      const { hostname, port } = this.#target;
      const forwarded = { ...headers, 'content-length': String(body.length), connection: 'close' };
      delete (forwarded as IncomingHttpHeaders)['transfer-encoding'];
      const asked = httpRequest({ hostname, port, method, path, headers: forwarded, timeout: FORWARD_TIMEOUT_MS });
      asked.once('timeout', () => asked.destroy(new Error('no answer')));
      asked.once('error', reject);
      asked.once('response', async (answer) => resolve({ status: answer.statusCode ?? 0, body: await bodyOf(answer) }));
      asked.end(body);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.treat('refuse');
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    outgoing.on('error', () => {});
    const { method = 'GET', url: path = '/', headers } = incoming;
    const kind = kindOf(method, path);
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    const seen: SeenRequest = { method, path, headers, body: await bodyOf(incoming), count };
    this.seen.push(seen);
    const treatment = this.#treat(seen);
    if (treatment === 'refuse') return void incoming.socket.destroy();
    if (treatment === 'answer nothing') return void this.#hanging.add(outgoing);
    if (treatment === 'answer 500')
      return void outgoing.writeHead(500, { 'Content-Type': 'application/json' }).end(INTERNAL);
    if (treatment === 'answer 502') return void outgoing.writeHead(502, { 'Content-Type': 'text/html' }).end(PAGE);
    if (typeof treatment === 'object') await sleep(treatment.delayMs);
    await this.#forward(seen, outgoing, treatment);
    if (treatment === 'twice') {
      await sleep(REPEAT_AFTER_MS);
      this.repeated.push(await this.replay(seen));
    }
  }

  async #forward(seen: SeenRequest, outgoing: ServerResponse, treatment: Treatment): Promise<void> {
    const { hostname, port } = this.#target;
    const { method, path, headers, body } = seen;
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const asked = httpRequest({ hostname, port, method, path, headers, timeout: FORWARD_TIMEOUT_MS });
      asked.once('timeout', () => asked.destroy(new Error('no answer')));
      asked.once('response', resolve);
      asked.once('error', reject);
      asked.end(body);
    });
    if (treatment !== 'lose answer' && treatment !== 'answer half') {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.once('error', () => outgoing.destroy());
      return void answer.pipe(outgoing);
    }
    const all = await bodyOf(answer);
    if (treatment === 'lose answer') return void outgoing.destroy();
    outgoing.writeHead(answer.statusCode ?? 502, { ...answer.headers, 'content-length': String(all.length + 1) });
    outgoing.write(all.subarray(0, all.length / 2), () => outgoing.destroy());
  }
}

const INTERNAL = JSON.stringify({ error: { code: 'internal', message: 'a test says so' } });
const PAGE = '<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>';

/** The kind of a request. Requests that differ only in ids, offsets and times have the same kind. */
const kindOf = (method: string, path: string) =>
  `${method} ${path.replace(/\?.*/, '').replace(/\/(b_|w_)[a-z0-9]+|\/[0-9a-f]{64}/g, '/ID')}`;

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
