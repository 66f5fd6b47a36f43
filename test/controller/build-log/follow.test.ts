import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { and, eq } from 'drizzle-orm';
import { afterEach, expect, test, vi } from 'vitest';
import { createKey } from '../../../controller/access/keys.ts';
import { followLog } from '../../../controller/build-log/follow.ts';
import { asBytes, asEvents, type FollowFormat, wholeCharacters } from '../../../controller/build-log/follow-formats.ts';
import { openLog } from '../../../controller/build-log/read.ts';
import { ASKED_MAX, endFollowersOf, isSurelyAsked } from '../../../controller/build-log/revoked-followers.ts';
import { sealLog } from '../../../controller/build-log/seal.ts';
import { SEGMENT_BYTES } from '../../../controller/build-log/segments.ts';
import { attempts, builds } from '../../../controller/schema/index.ts';
import { type FollowTimes, SETTINGS } from '../../../controller/settings.ts';
import {
  bytesOf,
  call,
  db,
  errorOf,
  insertAttempt,
  insertBuild,
  putLog,
  runningBuild,
  sha256Of,
  submitKey,
  tokenFor,
  unique,
} from '../factories/rows.ts';
import { until } from '../factories/scenarios.ts';

afterEach(() => void vi.useRealTimers());

const followers = async (buildId: string, token: string, length: number): Promise<number> =>
  ((await (await putLog(buildId, token, length, '')).json()) as { followers: number }).followers;

const untilFollowers = (buildId: string, token: string, length: number, count: number) =>
  until(`${count} follow`, async () => (await followers(buildId, token, length)) === count);

const get = async (buildId: string, query: string, headers: Record<string, string> = {}, key?: string) =>
  call(`/api/builds/${buildId}/logs${query}`, key ?? (await submitKey()), { headers });

const changeAttempt = (buildId: string, change: Partial<typeof attempts.$inferInsert>, attempt = 1) =>
  db
    .update(attempts)
    .set(change)
    .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt)));
const changeBuild = (buildId: string, change: Partial<typeof builds.$inferInsert>) =>
  db.update(builds).set(change).where(eq(builds.id, buildId));

/** The attempt and its build end now. The agent has told the length and the digest of the whole log. */
async function endWith(buildId: string, whole: Uint8Array<ArrayBuffer>, attempt = 1, endedAt = Date.now()) {
  await changeAttempt(buildId, { endedAt, logLength: whole.byteLength, logSha256: await sha256Of(whole) }, attempt);
  await changeBuild(buildId, { status: 'failed', endedAt });
}
async function sealedBuild(whole: Uint8Array<ArrayBuffer>): Promise<string> {
  const { buildId, token } = await runningBuild();
  for (let at = 0; at < whole.byteLength; at += 1024 * 1024)
    await putLog(buildId, token, at, whole.slice(at, at + 1024 * 1024));
  await endWith(buildId, whole);
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
  return buildId;
}

interface Options {
  from?: number;
  format?: FollowFormat;
  times?: Partial<FollowTimes>;
  key?: { id: string; expiresAt: number | null };
  env?: Env;
  onlyThisAttempt?: boolean;
}

/** Follows as the route does, with times of the test. */
async function follow(
  buildId: string,
  { from = 0, format, times, key, onlyThisAttempt = false, ...rest }: Options = {},
) {
  const log = await openLog(env, buildId);
  if (!log.ok) throw new Error(log.message);
  const body = followLog(rest.env ?? env, {
    log,
    offset: from,
    onlyThisAttempt,
    key: key ?? { id: unique('key'), expiresAt: null },
    format: format ?? asEvents({ attempt: log.attempt, offset: from }),
    times: { ...SETTINGS.follow, ...times },
  });
  return new Response(body);
}

interface Event {
  event: string;
  id: string | null;
  data: { attempt: number; offset: number; bytes?: number; text?: string; complete?: boolean };
}

/** The events of a stream, up to its end, or until `enough` is true. */
async function eventsOf(response: Response, enough: (events: Event[]) => boolean = () => false): Promise<Event[]> {
  const events: Event[] = [];
  let text = '';
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    text += value ?? '';
    const blocks = text.split('\n\n');
    text = blocks.pop()!;
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null;
      const data = field('data');
      if (data !== null) events.push({ event: field('event') ?? 'message', id: field('id'), data: JSON.parse(data) });
    }
    if (done) return events;
    if (enough(events)) {
      await reader.cancel();
      return events;
    }
  }
}
const textOf = (events: Event[]): string => events.map(({ data }) => data.text ?? '').join('');

/** An environment in which a log's object cannot be called. */
const withoutObjects: Env = {
  ...env,
  LOGS: new Proxy(env.LOGS, {
    get() {
      throw new Error('a log was woken');
    },
  }),
};

// ── Following ──────────────────────────────────────────────────────────────────────────────────────────────

test('a follower gets what is there, what comes, and the end', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'one\n');
  const response = await get(buildId, '', { Accept: 'text/event-stream' });
  expect(response.headers.get('Content-Type')).toContain('text/event-stream');
  const [first, rest] = [Promise.withResolvers<void>(), [] as Event[]];
  const all = eventsOf(response, (events) => {
    rest.splice(0, rest.length, ...events);
    if (events.length === 1) first.resolve();
    return false;
  });
  await first.promise;
  // The answer tells the agent that somebody follows the log.
  const appended = await putLog(buildId, token, 4, 'two\n');
  expect(await appended.json()).toMatchObject({ followers: 1 });
  await endWith(buildId, bytesOf('one\ntwo\n'));
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
  const events = await all;
  expect(events.map(({ data }) => data.text ?? '').join('')).toBe('one\ntwo\n');
  expect(events[0]).toEqual({ event: 'message', id: '1:4', data: { attempt: 1, offset: 0, bytes: 4, text: 'one\n' } });
  expect(events.at(-1)).toEqual({ event: 'end', id: null, data: { attempt: 1, offset: 8, complete: true } });
});

test('a follower that comes back goes on behind the last event, and with the next attempt', async () => {
  const { buildId, token } = await runningBuild({ attempt: 2 }, { endedAt: 1 });
  await insertAttempt(buildId, 2);
  await putLog(buildId, token, 0, 'one\ntwo\n');
  await putLog(buildId, await tokenFor(buildId, 2), 0, 'again\n', 2);
  await endWith(buildId, bytesOf('again\n'), 2);
  const resumed = await get(buildId, '?follow=1', { 'Last-Event-ID': '1:4' });
  expect(await eventsOf(resumed)).toEqual([
    { event: 'message', id: '1:8', data: { attempt: 1, offset: 4, bytes: 4, text: 'two\n' } },
    { event: 'message', id: '2:6', data: { attempt: 2, offset: 0, bytes: 6, text: 'again\n' } },
    { event: 'end', id: null, data: { attempt: 2, offset: 6, complete: true } },
  ]);
  const first = await eventsOf(await get(buildId, '?follow=1&attempt=1'));
  expect(first.at(-1)).toEqual({ event: 'end', id: null, data: { attempt: 1, offset: 8, complete: false } });
});

test('a follower waits in the queue for the next attempt of a build whose worker was lost', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'half of it\n');
  const response = await follow(buildId, { times: { lastBytesMs: 50, queuePauseMaxMs: 20 } });
  const events = eventsOf(response);
  await untilFollowers(buildId, token, 11, 1);
  await changeAttempt(buildId, { endedAt: Date.now(), verdict: 'worker_lost' });
  await changeBuild(buildId, { status: 'queued', endedAt: null });
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('later');
  await untilFollowers(buildId, token, 11, 0);
  await insertAttempt(buildId, 2);
  await changeBuild(buildId, { status: 'building', attempt: 2 });
  await putLog(buildId, await tokenFor(buildId, 2), 0, 'all of it\n', 2);
  await endWith(buildId, bytesOf('all of it\n'), 2);
  await sealLog(env, buildId, 2, Date.now());
  expect(textOf(await events)).toBe('half of it\nall of it\n');
  expect((await events).at(-1)).toMatchObject({ event: 'end', data: { attempt: 2, offset: 10, complete: true } });
});

test('a follower of a queued build waits for its first attempt', async () => {
  const buildId = await insertBuild({ status: 'queued', attempt: 0 });
  const response = await get(buildId, '?follow=1');
  const events = eventsOf(response, (seen) => seen.length === 1);
  await insertAttempt(buildId, 1);
  await db.update(builds).set({ status: 'building', attempt: 1 }).where(eq(builds.id, buildId));
  await putLog(buildId, await tokenFor(buildId), 0, 'hello\n');
  expect((await events)[0]!.data).toMatchObject({ attempt: 1, offset: 0, text: 'hello\n' });
});

test('a follower of a sealed log gets it and the end at once', async () => {
  const { buildId, token } = await runningBuild();
  const whole = bytesOf('one €\n');
  await putLog(buildId, token, 0, whole);
  await endWith(buildId, whole);
  await sealLog(env, buildId, 1, Date.now());
  const events = await eventsOf(await get(buildId, '?follow=1&tail=1'));
  expect(events.map(({ event, data }) => [event, data.text])).toEqual([
    ['message', 'one €\n'],
    ['end', undefined],
  ]);
});

test('a follower that the seal overtakes, emptied object and all, misses nothing', async () => {
  const { buildId, token } = await runningBuild();
  const whole = bytesOf('x'.repeat(700_000));
  await putLog(buildId, token, 0, whole);
  const reader = (await follow(buildId)).body!.getReader();
  let text = '';
  for (let i = 0; i < 2; i++) text += new TextDecoder().decode((await reader.read()).value);
  await endWith(buildId, whole);
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
  for (let part = await reader.read(); !part.done; part = await reader.read())
    text += new TextDecoder().decode(part.value);
  const sizes = [...text.matchAll(/"bytes":(\d+)/g)].map(([, bytes]) => Number(bytes));
  expect(sizes.reduce((sum, bytes) => sum + bytes, 0)).toBe(700_000);
  expect(text).toContain('event: end\ndata: {"attempt":1,"offset":700000,"complete":true}');
});

test('no event cuts a character in two, and what is not UTF-8 does not hold up the rest', async () => {
  const cases: [number[], number][] = [
    [[], 0],
    [[0x61], 1],
    [[0x61, 0xe2, 0x82], 1],
    [[0xe2, 0x82, 0xac], 3],
    [[0xf0, 0x9f, 0x98], 0],
    [[0xf0, 0x9f, 0x98, 0x80], 4],
    [[0xc3], 0],
    [[0x80, 0x80, 0x80, 0x80], 4],
    [[0xff, 0x61], 2],
  ];
  for (const [bytes, whole] of cases) expect(wholeCharacters(new Uint8Array(bytes))).toBe(whole);

  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, new Uint8Array([0x61, 0xe2, 0x82]));
  const response = await get(buildId, '?follow=1');
  const first = Promise.withResolvers<void>();
  const events = eventsOf(response, (seen) => {
    first.resolve();
    return seen.length === 2;
  });
  await first.promise;
  await putLog(buildId, token, 3, new Uint8Array([0xac, 0x62]));
  expect((await events).map(({ data }) => data.text).join('')).toBe('a€b');
});

// ── Bounds, and the end of a key ───────────────────────────────────────────────────────────────────────────

test('a stream lasts 15 minutes at the most, and the pauses in the queue 15 s', () => {
  expect(SETTINGS.follow).toEqual({
    streamMaxMs: 900_000,
    queuePauseMaxMs: 15_000,
    keyCheckMs: 4_000,
    keepAliveMs: 15_000,
    lastBytesMs: 10_000,
  });
});

test('a quiet build is followed until the longest time of a stream, which then asks to reconnect', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'one €');
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  const events = await eventsOf(await follow(buildId, { times: { keepAliveMs: 1 } }), (seen) => {
    if (seen.length === 1) vi.advanceTimersByTime(SETTINGS.follow.streamMaxMs);
    return false;
  });
  expect(events).toEqual([
    { event: 'message', id: '1:7', data: { attempt: 1, offset: 0, bytes: 7, text: 'one €' } },
    { event: 'reconnect', id: null, data: { attempt: 1, offset: 7 } },
  ]);
});

test('bare bytes break off where events ask to reconnect', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'one\n');
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  const reader = (await follow(buildId, { format: asBytes() })).body!.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('one\n');
  vi.advanceTimersByTime(SETTINGS.follow.streamMaxMs);
  await expect(reader.read()).rejects.toThrow('before the end of the log');
});

test('bare bytes are the log as it is, and end with it', async () => {
  const { buildId, token } = await runningBuild();
  const whole = new Uint8Array([0x61, 0xe2, 0x82, 0xff, 0x0a]);
  await putLog(buildId, token, 0, whole.slice(0, 3));
  const response = await get(buildId, '?follow=1', { Accept: 'text/plain' });
  expect(response.headers.get('Content-Type')).toBe('text/plain; charset=utf-8');
  const bytes = response.bytes();
  await putLog(buildId, token, 3, whole.slice(3));
  await endWith(buildId, whole);
  await sealLog(env, buildId, 1, Date.now());
  expect(await bytes).toEqual(whole);
});

test('bare bytes break off if the end of the log does not come in time', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'half');
  await endWith(buildId, bytesOf('half and more'), 1, Date.now() - 60_000);
  await expect((await get(buildId, '?follow=1', { Accept: 'text/plain' })).text()).rejects.toThrow(
    'did not come in time',
  );
});

test('a build that waits in the queue is looked for in D1 alone, at most 40 times a stream', async () => {
  const buildId = await insertBuild({ status: 'queued', attempt: 0 });
  let looks = 0;
  const counted: Env = {
    ...withoutObjects,
    DB: new Proxy(env.DB, {
      get(target, name) {
        if (name === 'prepare') looks++;
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    }),
  };
  const times = { queuePauseMaxMs: 1 };
  const events = await eventsOf(await follow(buildId, { env: counted, times }));
  expect(events).toEqual([{ event: 'reconnect', id: null, data: { attempt: 0, offset: 0 } }]);
  expect(looks).toBe(40);

  const rest = eventsOf(await follow(buildId, { env: withoutObjects, times: { queuePauseMaxMs: 50 } }));
  await changeBuild(buildId, { status: 'cancelled', endedAt: Date.now() });
  expect(await rest).toEqual([{ event: 'end', id: null, data: { attempt: 0, offset: 0, complete: true } }]);
});

test('a sealed log wakes no object, and each segment is unpacked once', async () => {
  const whole = new Uint8Array(SEGMENT_BYTES + 1_000_000).fill(0x61);
  const buildId = await sealedBuild(whole);
  const unpacked: string[] = [];
  const counted: Env = {
    ...withoutObjects,
    BLOBS: new Proxy(env.BLOBS, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (name === 'get') unpacked.push(String(args[0]));
          return value.apply(target, args);
        };
      },
    }),
  };
  const events = await eventsOf(await follow(buildId, { env: counted }));
  expect(events.length).toBeGreaterThan(20);
  expect(textOf(events).length).toBe(whole.byteLength);
  expect(events.at(-1)).toMatchObject({ event: 'end', data: { complete: true } });
  expect(unpacked).toEqual([`logs/${buildId}/1/0.gz`, `logs/${buildId}/1/1.gz`]);
});

test('a stream ends when its key expires', async () => {
  const { buildId } = await runningBuild();
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now });
  const { secret } = await createKey(env, { name: 'short', scope: 'submit', expiresAt: now + 100 }, now);
  const opened = await get(buildId, '?follow=1', {}, secret);
  const bare = await get(buildId, '?follow=1', { Accept: 'text/plain' }, secret);
  expect((await eventsOf(opened)).map(({ event }) => event)).toEqual(['reconnect']);
  await expect(bare.text()).rejects.toThrow('before the end of the log');
  vi.setSystemTime(now + 100);
  expect(await errorOf(await get(buildId, '?follow=1', {}, secret))).toEqual([401, 'unauthorized']);
});

const revoke = (id: string) => call(`/api/keys/${id}`, env.ADMIN_KEY, { method: 'DELETE' });

test('revoking a key ends what it follows at once, hibernating or not, and nothing else', async () => {
  const { buildId, token } = await runningBuild();
  const [mine, other] = await Promise.all(
    ['mine', 'other'].map((name) => createKey(env, { name, scope: 'submit' }, Date.now())),
  );
  const ended = eventsOf(await get(buildId, '?follow=1', {}, mine!.secret));
  const bare = (await get(buildId, '?follow=1', { Accept: 'text/plain' }, mine!.secret)).text();
  bare.catch(() => {});
  const goesOn = eventsOf(await get(buildId, '?follow=1', {}, other!.secret));
  await untilFollowers(buildId, token, 0, 3);
  await evictDurableObject(env.LOGS.getByName(`${buildId}/1`));
  expect((await revoke(mine!.key.id)).status).toBe(200);
  // The sockets have ended by now: the streams' own look at the key comes seconds later.
  expect(await putLog(buildId, token, 0, 'on\n').then((answer) => answer.json())).toMatchObject({ followers: 1 });
  expect((await ended).map(({ event }) => event)).toEqual(['reconnect']);
  await expect(bare).rejects.toThrow();
  await endWith(buildId, bytesOf('on\n'));
  await sealLog(env, buildId, 1, Date.now());
  expect((await goesOn).map(({ event }) => event)).toEqual(['message', 'end']);
});

test('revoking a key also ends a stream whose log wakes no object, also if nobody reads it', async () => {
  const { secret, key } = await createKey(env, { name: 'revoked', scope: 'submit' }, Date.now());
  const queued = await insertBuild({ status: 'queued', attempt: 0 });
  const sealed = await sealedBuild(new Uint8Array(2_000_000).fill(0x61));
  const waits = eventsOf(await get(queued, '?follow=1', {}, secret));
  // Only a reader can see the other stream end, and an early reader gets the whole log. So the test reads on
  // when the stream has found the mark of its key.
  const found = Promise.withResolvers<void>();
  const watched: Env = {
    ...env,
    BLOBS: new Proxy(env.BLOBS, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (name !== 'head') return typeof value === 'function' ? value.bind(target) : value;
        return async (path: string) => {
          const mark = await target.head(path);
          if (mark) found.resolve();
          return mark;
        };
      },
    }),
  };
  const times = { keyCheckMs: 50 };
  const slow = (await follow(sealed, { env: watched, key: { id: key.id, expiresAt: null }, times })).body!.getReader();
  await slow.read();
  expect((await revoke(key.id)).status).toBe(200);
  expect((await waits).map(({ event }) => event)).toEqual(['reconnect']);
  await found.promise;
  await scheduler.wait(0); // it acts on the mark
  let text = '';
  for (let part = await slow.read(); !part.done; part = await slow.read()) text += new TextDecoder().decode(part.value);
  expect(text.slice(-200)).toContain('event: reconnect');
});

test('a revocation asks 30 live logs at most, those claimed first, and the streams of the others look for themselves', async () => {
  const { secret, key } = await createKey(env, { name: 'revoked', scope: 'submit' }, Date.now());
  // These logs were claimed before all builds that other tests have left running.
  const logs: { buildId: string; token: string }[] = [];
  for (let claimedAt = 1; claimedAt <= ASKED_MAX + 10; claimedAt++) logs.push(await runningBuild({}, { claimedAt }));
  const [first, last] = [logs[0]!, logs.at(-1)!];
  const ends: Promise<Event[]>[] = [];
  for (const { buildId, token } of [first, last]) {
    ends.push(eventsOf(await get(buildId, '?follow=1', {}, secret)));
    await untilFollowers(buildId, token, 0, 1);
  }

  const asked: string[] = [];
  const counted: Env = {
    ...env,
    LOGS: new Proxy(env.LOGS, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: string[]) => {
          asked.push(args[0]!);
          return value.apply(target, args);
        };
      },
    }),
  };
  expect(await isSurelyAsked(env, first.buildId, 1)).toBe(true);
  expect(await isSurelyAsked(env, last.buildId, 1)).toBe(false);
  expect((await revoke(key.id)).status).toBe(200);
  // A stream that waits to be told looks for the mark only after a minute. No test may take that long.
  for (const one of await Promise.all(ends)) expect(one.map(({ event }) => event)).toEqual(['reconnect']);
  await endFollowersOf(counted, [key.id]);
  expect(asked).toEqual(logs.slice(0, ASKED_MAX).map(({ buildId }) => `${buildId}/1`));
  for (const { buildId } of logs) await changeBuild(buildId, { status: 'failed', endedAt: Date.now() });
});

test('a key that is replaced without an overlap ends what it follows', async () => {
  const { buildId, token } = await runningBuild();
  const { secret, key } = await createKey(env, { name: 'replaced', scope: 'submit' }, Date.now());
  const ended = eventsOf(await get(buildId, '?follow=1', {}, secret));
  await untilFollowers(buildId, token, 0, 1);
  await call(`/api/keys/${key.id}/rotate?overlapMs=0`, env.ADMIN_KEY, { method: 'POST' });
  expect((await ended).map(({ event }) => event)).toEqual(['reconnect']);
});

// ── The object's side ──────────────────────────────────────────────────────────────────────────────────────

test('who follows is counted while he follows, also by an object that hibernated', async () => {
  const { buildId, token } = await runningBuild();
  const leaves = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const left = leaves.map(async ({ promise }) => {
    const body = (await get(buildId, '?follow=1')).body!;
    const reader = body.getReader();
    const reads = (async () => {
      while (!(await reader.read()).done);
    })().catch(() => {});
    await promise;
    await reader.cancel();
    await reads;
  });
  await untilFollowers(buildId, token, 0, 2);
  await evictDurableObject(env.LOGS.getByName(`${buildId}/1`));
  expect(await followers(buildId, token, 0)).toBe(2);
  leaves[0]!.resolve();
  await untilFollowers(buildId, token, 0, 1);
  leaves[1]!.resolve();
  await untilFollowers(buildId, token, 0, 0);
  await Promise.all(left);
});

test('a quiet log hibernates under its followers, and they get what is printed later', async () => {
  const { buildId, token } = await runningBuild();
  const events = eventsOf(await get(buildId, '?follow=1'));
  await untilFollowers(buildId, token, 0, 1);
  const log = env.LOGS.getByName(`${buildId}/1`);
  const before = await runInDurableObject(log, (object) => object);
  await evictDurableObject(log);
  await putLog(buildId, token, 0, 'late\n');
  expect(await runInDurableObject(log, (object) => object !== before)).toBe(true);
  await endWith(buildId, bytesOf('late\n'));
  await sealLog(env, buildId, 1, Date.now());
  expect(textOf(await events)).toBe('late\n');
});

test('a deployment that closes the sockets costs a follower no byte', async () => {
  const { buildId, token } = await runningBuild();
  const events = eventsOf(await follow(buildId, { times: { queuePauseMaxMs: 20 } }));
  await putLog(buildId, token, 0, 'one\n');
  await untilFollowers(buildId, token, 4, 1);
  await evictDurableObject(env.LOGS.getByName(`${buildId}/1`), { webSockets: 'close' });
  await putLog(buildId, token, 4, 'two\n');
  await endWith(buildId, bytesOf('one\ntwo\n'));
  await sealLog(env, buildId, 1, Date.now());
  expect(textOf(await events)).toBe('one\ntwo\n');
});

test('a follower that leaves while its socket is being opened leaves none', async () => {
  const { buildId, token } = await runningBuild();
  const [opened, left] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const log = env.LOGS.getByName(`${buildId}/1`);
  const slowly = {
    fetch: async (...asked: Parameters<typeof log.fetch>) => {
      const answer = await log.fetch(...asked);
      opened.resolve();
      await left.promise;
      return answer;
    },
  };
  const LOGS = { getByName: () => slowly } as unknown as Env['LOGS'];
  const reader = (await follow(buildId, { env: { ...env, LOGS } })).body!.getReader();
  await reader.read(); // the greeting
  void reader.read();
  await opened.promise;
  expect(await followers(buildId, token, 0)).toBe(1);
  await reader.cancel();
  left.resolve();
  await untilFollowers(buildId, token, 0, 0);
});

test('a slow reader of a long log is sent no more than it takes', async () => {
  const { buildId, token } = await runningBuild();
  const part = new Uint8Array(1024 * 1024).fill(0x61);
  for (let i = 0; i < 3; i++) await putLog(buildId, token, i * part.byteLength, part);
  const reader = (await follow(buildId, { format: asBytes() })).body!.getReader();
  expect((await reader.read()).value!.byteLength).toBe(256 * 1024);
  const sent = () =>
    runInDurableObject(env.LOGS.getByName(`${buildId}/1`), (_, state) =>
      state.getWebSockets().map((socket) => (socket.deserializeAttachment() as { offset: number }).offset),
    );
  await until('the first bytes are sent', async () => (await sent())[0] === 512 * 1024);
  await reader.cancel();
});
