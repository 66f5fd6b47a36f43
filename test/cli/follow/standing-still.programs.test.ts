/** Tests loops that wait for the controller, in a process that Ctrl-Z or a closed lid has stopped. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { until } from '../../worker-agent/factories/until.ts';

const LIMIT_MS = 6_000;
const STILL_MS = 8_000;
const moduleAt = (path: string) => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href);

/** Asks in each way that gives up after a time, and prints how each has ended. */
const program = (url: string) => `
const { Connection } = await import(${moduleAt('client/request.ts')});
const { followLog } = await import(${moduleAt('client/follow-log/follow-log.ts')});
const { persistently, untilAnswered, within } = await import(${moduleAt('client/retry.ts')});
const { BuildsClient } = await import(${moduleAt('client/builds-client.ts')});
const { askSteadily } = await import(${moduleAt('cli/follow/ask-steadily.ts')});
const { Contact } = await import(${moduleAt('cli/follow/contact.ts')});
const connection = new Connection({ url: ${JSON.stringify(url)}, key: 'tb_submit_test' });
const patience = { signal: new AbortController().signal, giveUpAfterMs: ${LIMIT_MS} };
const call = (path) => ({ method: 'GET', path, answer: { safeParse: (data) => ({ success: true, data }) } });
const ask = (path) => () => connection.call(call(path));
const said = [];
const contact = new Contact({ awayAfterMs: ${LIMIT_MS}, say: (reached) => said.push(reached) });
const ways = {
  untilAnswered: async () => (await untilAnswered(ask('/untilAnswered'), { ...patience, maxDelayMs: 500 })).ok,
  persistently: () => persistently({ ...patience, pauseMs: 300 }, () => connection.ask(call('/persistently'))).then(() => true),
  askSteadily: () => askSteadily(ask('/askSteadily'), { ...patience, contact, pollMs: 300, what: 'A', comeBack: 'B' }).then(() => true),
  followLog: async () => {
    for await (const { text } of followLog(connection, 'followLog', patience)) return text === 'one';
  },
  within: async () => (await within(ask('/within')(), ${LIMIT_MS}))?.ok,
};
const ended = await Promise.all(Object.entries(ways).map(async ([name, way]) => [name, await way().catch(String)]));
console.log(JSON.stringify({ ...Object.fromEntries(ended), said }));`;

test('time in which the process stood still is not held against the controller', async () => {
  let isAway = true;
  const asked = new Set<string>();
  const server = createServer((request, response) => {
    asked.add(request.url!);
    // This request waits for its answer while the process stands still.
    if (request.url === '/within' && isAway) return void back.then(() => response.end('{}'));
    if (isAway) return void response.writeHead(500).end();
    response.end(request.url!.endsWith('/logs') ? 'id: 1:3\ndata: {"attempt":1,"text":"one"}\n\n' : '{}');
  });
  const { promise: back, resolve: comeBack } = Promise.withResolvers<void>();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const args = ['--input-type=module', '-e', program(`http://127.0.0.1:${port}`)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let output = '';
    child.stdout.on('data', (part) => (output += part));
    const closed = once(child, 'close');
    await until(() => asked.size === 5, 'each has asked');
    child.kill('SIGSTOP');
    await sleep(STILL_MS); // the test needs the process to be stopped for a while
    child.kill('SIGCONT');
    asked.clear();
    // Four requests find the controller away once more. The fifth still waits for its answer.
    await until(() => asked.size === 4, 'they ask again');
    isAway = false;
    comeBack();
    await closed;
    expect(JSON.parse(output)).toEqual({
      ...{ untilAnswered: true, persistently: true, askSteadily: true, followLog: true, within: true },
      said: [],
    });
  } finally {
    child.kill('SIGKILL');
    server.closeAllConnections();
    server.close();
  }
});
