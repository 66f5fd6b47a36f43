/** Serves the answers that a request to a store must withstand: redirects, silence, cut connections. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RunningServer {
  url: string;
  stop(): Promise<void>;
}

export async function startOddServer(): Promise<RunningServer> {
  let redirected = 0;
  const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    '/json': (_, response) => response.setHeader('Content-Type', 'application/json').end('{"a":1}'),
    '/text': (_, response) => response.end('no JSON'),
    '/empty': (_, response) => response.writeHead(204).end(),
    '/redirect': (_, response) => response.writeHead(302, { Location: '/redirected' }).end('moved'),
    '/redirected': (_, response) => {
      redirected += 1;
      response.end();
    },
    '/redirects': (_, response) => response.end(String(redirected)),
    '/silent': () => {},
    '/cut': (request) => request.socket.destroy(),
    '/half': (_, response) => {
      response.writeHead(200, { 'Content-Length': '100' });
      response.write('{"half":', () => response.destroy());
    },
    '/long': (_, response) => response.end(`"${'x'.repeat(1024 * 1024)}"`),
    '/busy': (_, response) => response.writeHead(503, { 'Retry-After': '7' }).end('busy'),
    '/bytes': (request, response) => {
      const hash = createHash('sha256');
      request.on('data', (bytes) => hash.update(bytes));
      request.on('end', () => {
        const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
        response.end(JSON.stringify({ length, encoding, sha256: hash.digest('hex') }));
      });
    },
  };
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? ''];
    if (answer) answer(request, response);
    else response.writeHead(404).end();
  });
  return listening(server);
}

/** Starts the server on a free port of this machine's own network. `stop` cuts all connections. */
export async function listening(server: Server): Promise<RunningServer> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
