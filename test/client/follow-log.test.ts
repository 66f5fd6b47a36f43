import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { expect, onTestFinished, test, vi } from 'vitest';
import { BuildsClient } from '../../client/builds-client.ts';
import { followLog } from '../../client/follow-log/follow-log.ts';
import { Connection } from '../../client/request.ts';

type Answer = (response: ServerResponse) => void;
type Limits = { giveUpAfterMs?: number; silentMaxMs?: number };

/** Stops the clock of the limits, so that none ends while an answer comes. A test then moves it. */
function stopClock() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
}

/** A controller that gives one answer to each request in turn, and notes where each wants to resume. */
async function controllerThat(...answers: Answer[]) {
  const resumed: (string | undefined)[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    resumed.push(request.headers['last-event-id'] as string | undefined);
    const answer = answers.shift();
    if (answer) answer(response.setHeader('content-type', 'text/event-stream'));
    else response.writeHead(500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  const connection = new Connection({ url, key: 'tb_submit_test' });
  return {
    resumed,
    connection,
    follow: ({ onText, ...options }: Limits & { onText?: (text: string) => void } = {}) =>
      Array.fromAsync(
        followLog(connection, 'bld_1', { signal: AbortSignal.timeout(20_000), giveUpAfterMs: 10_000, ...options }),
        ({ text }) => {
          onText?.(text);
          return text;
        },
      ),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const line = (id: string, text: string) => `id: ${id}\ndata: ${JSON.stringify({ text })}\n\n`;
const END = 'event: end\ndata: {"complete":true}\n\n';
const sends =
  (text: string): Answer =>
  (response) =>
    void response.end(text);

test('a stream that asks to reconnect is taken up behind its last event', async () => {
  await using controller = await controllerThat(
    sends(`retry: 1000\n\n${line('1:4', 'one\n')}event: reconnect\ndata: {"attempt":1,"offset":4}\n\n`),
    sends(`: still here\n\n${line('2:4', 'two\n')}${END}`),
  );
  expect(await controller.follow()).toEqual(['one\n', 'two\n']);
  expect(controller.resumed).toEqual([undefined, '1:4']);
});

test('a stream that breaks, that ends without a word, or that falls silent is taken up too', async () => {
  await using controller = await controllerThat(
    (response) => response.write(line('1:4', 'one\n'), () => response.destroy()),
    sends(line('1:8', 'two\n')),
    (response) => response.write(line('1:12', 'six\n')),
    sends(END),
  );
  stopClock();
  // The clock moves only after the reader has taken the text.
  const onText = (text: string) => text === 'six\n' && setImmediate(() => vi.advanceTimersByTime(1_000));
  expect(await controller.follow({ silentMaxMs: 1_000, onText })).toEqual(['one\n', 'two\n', 'six\n']);
  expect(controller.resumed).toEqual([undefined, '1:4', '1:8', '1:12']);
});

test('an event of another name is no text', async () => {
  await using controller = await controllerThat(sends(`event: news\ndata: {"x":1}\n\n${line('1:2', 'a\n')}${END}`));
  expect(await controller.follow()).toEqual(['a\n']);
});

test('a refusal ends the following with its reason, and an outage when it lasts too long', async () => {
  const refuses: Answer = (response) => {
    response.writeHead(401).end(JSON.stringify({ error: { code: 'unauthorized', message: 'the key is revoked' } }));
  };
  await using revoked = await controllerThat(sends('event: reconnect\ndata: {}\n\n'), refuses);
  await expect(revoked.follow()).rejects.toThrow('401 unauthorized: the key is revoked');
  await using away = await controllerThat();
  await expect(away.follow({ giveUpAfterMs: 1_000 })).rejects.toMatchObject({ status: 503 });
});

/** Longer than each limit of the cases below. */
const HELD_MS = 1_500;

test('a reader that takes its time uses up no limit, and what comes after its pause is not lost', async () => {
  stopClock();
  const begun: ServerResponse[] = [];
  const begins = (text: string) => (response: ServerResponse) => {
    begun.push(response);
    response.write(text);
  };
  await using controller = await controllerThat(
    begins(line('1:4', 'one\n')),
    (response) => void response.writeHead(500).end(),
    sends(`${line('1:8', 'two\n')}${END}`),
  );
  const lost: string[] = [];
  const options = { signal: AbortSignal.timeout(20_000), giveUpAfterMs: 1_200, silentMaxMs: 300 };
  const onLost = (message: string) => lost.push(message);
  const texts: string[] = [];
  for await (const { text } of followLog(controller.connection, 'bld_1', { ...options, onLost })) {
    texts.push(text);
    if (texts.length > 1) continue;
    vi.advanceTimersByTime(HELD_MS);
    begun[0]!.destroy();
  }
  expect(texts).toEqual(['one\n', 'two\n']);
  expect(lost).not.toContain('stalled');

  await using stored = await controllerThat(begins('one\n'));
  const connection = new Connection({ url: stored.connection.url, key: 'tb_submit_test', transferStallMs: 300 });
  let bytes = '';
  for await (const part of new BuildsClient(connection).log('bld_1', 1, options.signal)) {
    bytes += Buffer.from(part);
    if (bytes !== 'one\n') continue;
    vi.advanceTimersByTime(HELD_MS);
    begun[1]!.end('two\n');
  }
  expect(bytes).toBe('one\ntwo\n');
});
