import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request of the monitor. */
export interface Beat {
  method: string;
  url: string;
  headers: NodeJS.Dict<string | string[]>;
  body: Record<string, unknown>;
}

export type Answer = (response: ServerResponse, index: number) => void;

export interface AnsweringServer extends AsyncDisposable {
  url: string;
  port: number;
  beats: Beat[];
}

/**
 * Starts a real server on loopback that records each request and passes it to `answer`, which may also send
 * no answer.
 */
export async function answeringServer(answer: Answer, port = 0): Promise<AnsweringServer> {
  const beats: Beat[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => undefined);
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      beats.push({ method, url, headers, body: JSON.parse(Buffer.concat(chunks).toString()) });
      answer(response, beats.length - 1);
    });
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    beats,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const send = (status: number, type: string, body: string): Answer => {
  return (response) => {
    response.writeHead(status, { 'content-type': type }).end(body);
  };
};

export const json = (status: number, body: unknown): Answer => send(status, 'application/json', JSON.stringify(body));
export const html = (status: number): Answer => send(status, 'text/html', '<html><h1>Sign in to continue</h1></html>');
export const accept = json(200, {
  status: 'ok',
  timestamp: '2026-01-01T00:00:00.000Z',
  action: 'continue',
  nextMs: 30_000,
});
export const refuse = (status: number, code: string): Answer =>
  json(status, { error: { code, message: `Because of ${code}.` } });
export const nothing: Answer = () => undefined;
/** Answers 200 with a length of 100 bytes, and closes the connection after 20. */
export const half: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
  response.write('{"status":"ok","acti', () => response.destroy());
};
/** Gives these answers one after the other, then repeats the last one. */
export const inTurn = (...answers: Answer[]): Answer => {
  return (response, index) => answers[Math.min(index, answers.length - 1)]!(response, index);
};
