/** Follows logs with curl, as people do, and reads the exit codes that a script would see. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SharedFeeding, sharedFeeding, startFeeding } from '../cli/factories/fed-builds.ts';
import { until } from '../worker-agent/factories/until.ts';

/** curl's code for a body that broke off before its end. */
const BROKEN_OFF = 18;

let farm: SharedFeeding;
beforeAll(async () => {
  farm = await sharedFeeding();
});
afterAll(() => farm?.[Symbol.dispose]());

function curl(
  buildId: string,
  secret: string,
  { accept = 'text/plain', at = farm as Pick<SharedFeeding, 'env'> } = {},
) {
  const url = `${at.env().EXPO_BUILD_URL}/api/builds/${buildId}/logs?follow=1`;
  const child = spawn('curl', ['-sN', '-H', `X-API-Key: ${secret}`, '-H', `Accept: ${accept}`, url], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let output = '';
  child.stdout.on('data', (part) => (output += part));
  return {
    shown: () => output,
    shows: (text: string) => until(() => output === text, `curl shows ${JSON.stringify(text)}`),
    kill: () => child.kill('SIGKILL'),
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
}

test('curl shows a log as it is, from the queue to its end, and exits with 0', async () => {
  const { id, claims } = await farm.queuedBuild();
  const reader = curl(id, (await farm.newKey()).secret);
  const { prints, fails } = await claims();
  await prints('one €\n');
  await reader.shows('one €\n');
  await prints('two\n');
  await reader.shows('one €\ntwo\n');
  await fails();
  expect([await reader.ended, reader.shown()]).toEqual([0, 'one €\ntwo\n']);
  // The log is sealed by now.
  const again = curl(id, (await farm.newKey()).secret);
  expect([await again.ended, again.shown()]).toEqual([0, 'one €\ntwo\n']);
});

test('a stream that reaches its bound breaks off, and one of events asks to reconnect', async () => {
  await using at = await startFeeding({ entry: 'test/local/short-streams.ts' });
  const { id } = await at.runningBuild('one\n');
  const { secret } = await at.newKey();
  const [bare, events] = [curl(id, secret, { at }), curl(id, secret, { at, accept: 'text/event-stream' })];
  expect([await bare.ended, bare.shown()]).toEqual([BROKEN_OFF, 'one\n']);
  expect(await events.ended).toBe(0);
  expect(events.shown()).toMatch(/event: reconnect\ndata: \{"attempt":1,"offset":4\}\n\n$/);
});

test('a stream breaks off when its key is revoked, and no other does', async () => {
  const { id, prints } = await farm.runningBuild('one\n');
  const [key, otherKey] = [await farm.newKey(), await farm.newKey()];
  const [revoked, other] = [curl(id, key.secret), curl(id, otherKey.secret)];
  for (const reader of [revoked, other]) await reader.shows('one\n');
  expect((await key.revoke()).status).toBe(200);
  expect(await revoked.ended).toBe(BROKEN_OFF);
  await prints('two\n');
  await other.shows('one\ntwo\n');
  other.kill();
});

test('a reader that goes away is no longer counted as a follower', async () => {
  const { id, prints } = await farm.runningBuild('one\n');
  const reader = curl(id, (await farm.newKey()).secret);
  await reader.shows('one\n');
  expect(await prints('two\n')).toBe(1);
  reader.kill();
  // The platform notices that a reader has left only when it writes to him.
  await until(async () => (await prints('more\n')) === 0, 'nobody follows', 5_000, 100);
});
