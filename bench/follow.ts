/**
 * Runs `npm run bench:follow`, which follows logs with curl for minutes: from the queue, while the build
 * prints all the time, and while it prints nothing.
 *
 *   npm run bench:follow [-- --seconds 240]
 *
 * Prints the bytes that each reader got, and how often the object of the quiet log was made anew. This shows
 * that the object hibernates while the log is followed. Exit code: 0 if each reader got the whole log and its
 * end, 1 if one did not.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import type { BuildRequestInput } from '#contract';
import { abandonFarm, startFarm } from '../local/farm/farm.ts';
import { interruptSignal } from '../local/farm/interrupt.ts';
import { SAMPLE_DIR } from '../local/farm/sample.ts';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '240' } } });
const seconds = Number(values.seconds);
if (!Number.isInteger(seconds) || seconds < 1) {
  console.error('Give --seconds as a whole number from 1.');
  process.exit(64);
}

const FORMATS = { bare: 'text/plain', events: 'text/event-stream' } as const;
const COMMANDS = {
  busy: `end=$(($(date +%s) + ${seconds})); n=0
    while [ "$(date +%s)" -lt "$end" ]; do n=$((n + 1)); echo "line $n"; sleep 0.1; done`,
  quiet: `echo begun; sleep ${seconds}; echo done`,
};

const made: string[] = [];
let begun: Parameters<typeof abandonFarm>[0] | null = null;
const signal = interruptSignal({
  onFirst: () => console.error('Interrupted. The farm is being stopped; press Ctrl-C again to stop at once.'),
  abandon: async () => void (begun && (await abandonFarm(begun))),
  onError: ({ message }) => console.error(message),
});
await using farm = await startFarm({
  entry: 'bench/follow/controller.ts',
  signal,
  onBegin: (parts) => {
    begun = parts;
  },
  onControllerLine: (line) => {
    const name = /log object made: (\S+)/.exec(line)?.[1];
    if (name) made.push(name);
  },
});
const timeouts = {
  noOutputTimeoutMs: (seconds + 600) * 1_000,
  queueTimeoutMs: (2 * seconds + 600) * 1_000,
} satisfies BuildRequestInput['timeouts'];
const submit = (command: string) => farm.submit({ platform: 'ios', command, timeouts }, SAMPLE_DIR, signal);

/** The bytes of a log in the events of a stream. */
const bytesIn = (events: string): string =>
  events
    .split('\n\n')
    .filter((event) => /^data: /m.test(event) && !/^event: /m.test(event))
    .map((event) => JSON.parse(/^data: (.*)$/m.exec(event)![1]!) as { text: string })
    .map(({ text }) => text)
    .join('');

async function follow(buildId: string, format: keyof typeof FORMATS) {
  const startedAt = performance.now();
  const { url, secrets } = farm.controller;
  const headers = ['-H', `X-API-Key: ${secrets.ADMIN_KEY}`, '-H', `Accept: ${FORMATS[format]}`];
  const child = spawn('curl', ['-sN', ...headers, `${url}/api/builds/${buildId}/logs?follow=1`], { signal });
  let body = '';
  child.stdout.on('data', (part) => (body += part));
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { format, body, exitCode, followedS: Math.round((performance.now() - startedAt) / 1_000) };
}

async function logOf(buildId: string): Promise<string> {
  const { url, secrets } = farm.controller;
  const response = await fetch(`${url}/api/builds/${buildId}/logs`, {
    headers: { 'X-API-Key': secrets.ADMIN_KEY, Accept: 'text/plain' },
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw new Error(`the log of ${buildId} was answered ${response.status}`);
  return await response.text();
}

const kinds = Object.keys(COMMANDS) as (keyof typeof COMMANDS)[];
const builds = await Promise.all(kinds.map(async (kind) => ({ kind, id: (await submit(COMMANDS[kind])).id })));
let wrong = 0;
await Promise.all(
  builds.map(async ({ kind, id }) => {
    const formats = Object.keys(FORMATS) as (keyof typeof FORMATS)[];
    const readers = await Promise.all(formats.map((format) => follow(id, format)));
    const text = await logOf(id);
    for (const { format, body, exitCode, followedS } of readers) {
      const same = (format === 'bare' ? body : bytesIn(body)) === text;
      const ended = format === 'bare' || /^event: end$/m.test(body);
      const right = same && ended && exitCode === 0;
      if (!right) wrong++;
      const found = `${Buffer.byteLength(text)} bytes ${same ? 'identical' : 'DIFFERENT'}, ${ended ? 'with' : 'WITHOUT'} its end`;
      console.log(
        `${right ? '✓' : '✗'} ${kind}, ${format}: followed for ${followedS} s, ${found}, exit code ${exitCode}`,
      );
    }
    const times = made.filter((name) => name.includes(id)).length;
    console.log(`  ${kind}: the object of its log was made ${times} time(s)`);
  }),
);
process.exitCode = wrong === 0 ? 0 : 1;
