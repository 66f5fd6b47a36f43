/**
 * Stands between a client and a controller and passes everything on, except what a test tells it to cut,
 * damage or drop.
 */
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { Transform } from 'node:stream';

export type Fault =
  /** The request never arrives. */
  | 'refuse'
  /** Half of the body, then nothing. */
  | 'cut'
  /** One bit is flipped. */
  | 'damage'
  /** The controller does it, and the answer is lost. */
  | 'lose answer'
  /** The answer breaks off in its middle. */
  | 'cut answer';

export async function faultyProxy(targetUrl: string) {
  const target = new URL(targetUrl);
  const requests: string[] = [];
  let faultFor: (request: { method: string; path: string; count: number }) => Fault | undefined = () => undefined;
  const counts = new Map<string, number>();

  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', url = '/' } = incoming;
    const key = `${method} ${url}`;
    requests.push(key);
    counts.set(key, (counts.get(key) ?? 0) + 1);
    const fault = faultFor({ method, path: url, count: counts.get(key)! });
    if (fault === 'refuse') return void incoming.socket.destroy();
    const { hostname, port } = target;
    const passed = httpRequest({ hostname, port, method, path: url, headers: incoming.headers });
    passed.on('error', () => incoming.socket.destroy());
    passed.on('response', (response) => {
      if (fault === 'lose answer') {
        response.resume().on('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(response.statusCode!, response.headers);
      if (fault === 'cut answer') return void cutAfter(response, () => incoming.socket.destroy()).pipe(outgoing);
      response.pipe(outgoing);
    });
    if (fault === 'cut') {
      const cut = cutAfter(incoming, () => {
        passed.destroy();
        incoming.socket.destroy();
      });
      cut.pipe(passed);
    } else if (fault === 'damage') incoming.pipe(damaging()).pipe(passed);
    else incoming.pipe(passed);
    outgoing.on('close', () => passed.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    requests,
    set fault(next: typeof faultFor) {
      faultFor = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Passes half of what was announced, then calls `end`. */
function cutAfter(message: IncomingMessage, end: () => void): Transform {
  let left = Number(message.headers['content-length'] ?? 0) / 2;
  const half = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length;
      if (left > 0) return done(null, chunk);
      setImmediate(end);
      done(null, chunk.subarray(0, Math.max(0, chunk.length + left)));
    },
  });
  half.on('error', () => {});
  return message.pipe(half);
}

function damaging(): Transform {
  let first = true;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const copy = Buffer.from(chunk);
      if (first) copy[0]! ^= 1;
      first = false;
      done(null, copy);
    },
  });
}
