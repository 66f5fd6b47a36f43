import { env } from 'cloudflare:workers';
import { and, eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { AFTERMATH_MS, LOG_APPEND_MAX_BYTES } from '#contract';
import { openLog, readLog } from '../../../controller/build-log/read.ts';
import { sealLog } from '../../../controller/build-log/seal.ts';
import { SEGMENT_BYTES } from '../../../controller/build-log/segments.ts';
import { attempts, builds, outbox } from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import {
  bytesOf,
  call,
  db,
  errorOf,
  insertAttempt,
  insertBuild,
  insertWorker,
  putLog,
  runningBuild,
  sha256Of,
  submitKey,
  tokenFor,
} from '../factories/rows.ts';

async function get(buildId: string, query = '', headers: Record<string, string> = {}) {
  const response = await call(`/api/builds/${buildId}/logs${query}`, await submitKey(), { headers });
  return response;
}
const read = async (buildId: string, query = '') => (await get(buildId, query)).text();

const changeAttempt = (buildId: string, change: Partial<typeof attempts.$inferInsert>, attempt = 1) =>
  db
    .update(attempts)
    .set(change)
    .where(and(eq(attempts.buildId, buildId), eq(attempts.attempt, attempt)));
const attemptRow = async (buildId: string) =>
  (await db.select().from(attempts).where(eq(attempts.buildId, buildId)).get())!;

/** An attempt that ended now. The agent has told the length and the digest of its whole log. */
async function endWith(buildId: string, whole: Uint8Array<ArrayBuffer>, endedAt = Date.now()) {
  await changeAttempt(buildId, { endedAt, logLength: whole.byteLength, logSha256: await sha256Of(whole) });
  await db.update(builds).set({ status: 'failed', endedAt }).where(eq(builds.id, buildId));
}

// ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────

test('an attempt writes its log by offset', async () => {
  const { buildId, token } = await runningBuild();
  const first = await putLog(buildId, token, 0, 'one\n');
  expect([first.status, await first.json()]).toEqual([200, { length: 4, followers: 0 }]);
  expect((await putLog(buildId, token, 0, 'one\ntwo\n')).status).toBe(200);
  const gap = await putLog(buildId, token, 9, 'x');
  expect([gap.status, await gap.json()]).toEqual([
    416,
    { error: { code: 'wrong_offset', message: expect.stringContaining('8 bytes') }, expectedOffset: 8 },
  ]);
  expect(await read(buildId)).toBe('one\ntwo\n');
});

test('bytes come back as they were sent, whatever they are', async () => {
  const { buildId, token } = await runningBuild();
  const raw = crypto.getRandomValues(new Uint8Array(10_000));
  await putLog(buildId, token, 0, raw);
  expect(await (await get(buildId)).bytes()).toEqual(raw);
});

test("a token writes its own attempt's log and no other", async () => {
  const { buildId, token } = await runningBuild();
  expect(await errorOf(await putLog(buildId, token, 0, 'x', 2))).toEqual([403, 'forbidden']);
  expect(await errorOf(await putLog('bld_other', token, 0, 'x'))).toEqual([403, 'forbidden']);
  expect(await errorOf(await putLog(buildId, await tokenFor(buildId, 1, 'vm'), 0, 'x'))).toEqual([403, 'forbidden']);
  expect(await errorOf(await putLog(buildId, await submitKey(), 0, 'x'))).toEqual([403, 'forbidden']);
});

test('the key of a worker writes the logs of its own attempts, as long as they may be written', async () => {
  const [mine, other] = [await insertWorker(), await insertWorker()];
  const { buildId } = await runningBuild({}, { workerId: mine.workerId });
  expect((await putLog(buildId, mine.key, 0, 'x')).status).toBe(200);
  expect(await errorOf(await putLog(buildId, other.key, 1, 'x'))).toEqual([403, 'forbidden']);
  expect(await errorOf(await putLog(buildId, mine.key, 1, 'x', 2))).toEqual([404, 'not_found']);
  expect(await errorOf(await putLog('bld_none', mine.key, 1, 'x'))).toEqual([404, 'not_found']);
  await changeAttempt(buildId, { endedAt: Date.now() - AFTERMATH_MS + 60_000 });
  expect((await putLog(buildId, mine.key, 1, 'x')).status).toBe(200);
  await changeAttempt(buildId, { endedAt: Date.now() - AFTERMATH_MS });
  expect(await errorOf(await putLog(buildId, mine.key, 2, 'x'))).toEqual([410, 'attempt_ended']);
});

test('a stale attempt may finish its own log beside the current one', async () => {
  const { buildId, token } = await runningBuild({ attempt: 2, maxAttempts: 2 }, { endedAt: Date.now() });
  await insertAttempt(buildId, 2);
  expect((await putLog(buildId, token, 0, 'old')).status).toBe(200);
  expect((await putLog(buildId, await tokenFor(buildId, 2), 0, 'new', 2)).status).toBe(200);
  expect(await read(buildId)).toBe('new');
  expect(await read(buildId, '?attempt=1')).toBe('old');
});

test('an append that is too large, or not where it should be, is refused by name', async () => {
  const { buildId, token } = await runningBuild();
  const large = await putLog(buildId, token, 0, new Uint8Array(LOG_APPEND_MAX_BYTES + 1));
  expect(large.status).toBe(413);
  expect(await large.text()).toContain(String(LOG_APPEND_MAX_BYTES));
  expect((await putLog(buildId, token, 0, new Uint8Array(LOG_APPEND_MAX_BYTES))).status).toBe(200);
  const query = async (text: string) =>
    (await call(`/api/builds/${buildId}/logs?${text}`, token, { method: 'PUT', body: 'x' })).text();
  expect(await query('attempt=1&offset=-1')).toContain('offset: ');
  expect(await query('attempt=1')).toContain('offset: ');
  expect(await query('attempt=x&offset=0')).toContain('attempt: ');
});

test('a stream without a length is read no further than the limit', async () => {
  const { buildId, token } = await runningBuild();
  let pulls = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulls++;
      controller.enqueue(new Uint8Array(64 * 1024));
    },
  });
  const answer = await call(`/api/builds/${buildId}/logs?attempt=1&offset=0`, token, { method: 'PUT', body: endless });
  expect(answer.status).toBe(413);
  expect(pulls).toBeLessThan(100);
});

// ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────

test('a log is read from any offset, and says how long it is', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'one\ntwo\nthree\n');
  const part = await get(buildId, '?offset=4&limit=3');
  expect(await part.text()).toBe('two');
  expect(part.headers.get('Content-Type')).toBe('text/plain; charset=utf-8');
  expect(part.headers.get('X-Content-Type-Options')).toBe('nosniff');
  expect(part.headers.get('X-Log-Length')).toBe('14');
  expect(part.headers.get('X-Log-Complete')).toBe('false');
  expect(await read(buildId, '?offset=14')).toBe('');
  expect(await errorOf(await get(buildId, '?offset=15'))).toEqual([416, 'wrong_offset']);
});

test('the last lines are those that an editor would count', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'one\ntwo\n\nthree\n');
  expect(await read(buildId, '?tail=1')).toBe('three\n');
  expect(await read(buildId, '?tail=3')).toBe('two\n\nthree\n');
  expect(await read(buildId, '?tail=99')).toBe('one\ntwo\n\nthree\n');
  expect(await read(buildId, '?tail=0')).toBe('');
  await putLog(buildId, token, 15, 'unfinished');
  expect(await read(buildId, '?tail=2')).toBe('three\nunfinished');
});

test('the last lines are found behind long ones, but not without a bound', async () => {
  const { buildId, token } = await runningBuild();
  const line = `${'x'.repeat(199_999)}\n`;
  for (let i = 0; i < 8; i++) await putLog(buildId, token, i * 200_000, line);
  expect((await read(buildId, '?tail=3')).length).toBe(600_000);
  expect((await read(buildId, '?tail=8')).length).toBe(1024 * 1024);
});

test('a build that nobody has claimed has an empty log, an unknown one has none', async () => {
  const buildId = await insertBuild({ status: 'queued', attempt: 0 });
  const answer = await get(buildId);
  expect([answer.status, await answer.text(), answer.headers.get('X-Log-Length')]).toEqual([200, '', '0']);
  expect(await errorOf(await get('bld_none'))).toEqual([404, 'not_found']);
  expect(await errorOf(await get(buildId, '?attempt=1'))).toEqual([404, 'not_found']);
});

test('a query that does not fit is refused by name', async () => {
  const { buildId } = await runningBuild();
  for (const [query, name] of [
    ['?offset=x', 'offset'],
    ['?attempt=0', 'attempt'],
    ['?limit=0', 'limit'],
    ['?tail=1&offset=1', 'tail'],
    ['?follow=yes', 'follow'],
  ]) {
    const answer = await get(buildId, query);
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain(`${name}: `);
  }
});

test('logs are read by submitters alone', async () => {
  const { buildId, token } = await runningBuild();
  expect((await call(`/api/builds/${buildId}/logs`, token)).status).toBe(401);
  expect((await call(`/api/builds/${buildId}/logs`, (await insertWorker()).key)).status).toBe(403);
});

// ── Sealing ────────────────────────────────────────────────────────────────────────────────────────────────

test('a log is sealed when it is what the agent said, and reads as before', async () => {
  const { buildId, token } = await runningBuild();
  const whole = bytesOf('one\ntwo\nthree\n');
  await putLog(buildId, token, 0, whole.slice(0, 8));
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('later');
  await endWith(buildId, whole);
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('later');
  await putLog(buildId, token, 8, whole.slice(8));
  expect((await get(buildId)).headers.get('X-Log-Complete')).toBe('true');
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
  expect(await attemptRow(buildId)).toMatchObject({ logSealedLength: 14, logComplete: true });

  expect(await read(buildId)).toBe('one\ntwo\nthree\n');
  expect(await read(buildId, '?offset=4&limit=3')).toBe('two');
  expect(await read(buildId, '?tail=2')).toBe('two\nthree\n');
  expect((await get(buildId)).headers.get('X-Log-Complete')).toBe('true');
  expect(await errorOf(await putLog(buildId, token, 14, 'late'))).toEqual([410, 'log_sealed']);
});

test('a log whose end comes a moment after the first try to seal it is sealed then', async () => {
  const { buildId, token } = await runningBuild();
  const whole = bytesOf('one\ntwo\n');
  await putLog(buildId, token, 0, whole.slice(0, 4));
  await endWith(buildId, whole);
  const now = Date.now();
  await db.insert(outbox).values({ kind: 'seal_log', buildId, attempt: 1, dueAt: now });
  await drainOutbox(env, now, { buildId });
  expect(await attemptRow(buildId)).toMatchObject({ logSealedLength: null });
  await putLog(buildId, token, 4, whole.slice(4));
  await drainOutbox(env, now, { buildId });
  expect(await attemptRow(buildId)).toMatchObject({ logSealedLength: 8, logComplete: true });
});

test('a log of which the end never came is sealed as incomplete when the aftermath is over', async () => {
  const { buildId, token } = await runningBuild();
  await putLog(buildId, token, 0, 'half');
  const endedAt = Date.now();
  await endWith(buildId, bytesOf('half and more'), endedAt);
  expect(await sealLog(env, buildId, 1, endedAt + AFTERMATH_MS - 1)).toBe('later');
  expect(await sealLog(env, buildId, 1, endedAt + AFTERMATH_MS)).toBe('sealed');
  expect(await attemptRow(buildId)).toMatchObject({ logSealedLength: 4, logComplete: false });
  const answer = await get(buildId);
  expect([await answer.text(), answer.headers.get('X-Log-Complete')]).toEqual(['half', 'false']);
});

test('an attempt that printed nothing has an empty sealed log, an unknown one nothing to seal', async () => {
  const { buildId } = await runningBuild({}, { endedAt: 1 });
  expect(await sealLog(env, buildId, 1, 1 + AFTERMATH_MS)).toBe('sealed');
  expect(await read(buildId)).toBe('');
  expect(await sealLog(env, buildId, 9, 1)).toBe('sealed');
});

test('a log of several segments is read across their borders', async () => {
  const { buildId, token } = await runningBuild();
  const block = bytesOf(Array.from({ length: 32_768 }, (_, i) => `line ${String(i).padStart(25, '0')}\n`).join(''));
  const whole = new Uint8Array(block.byteLength * 5);
  for (let i = 0; i < 5; i++) {
    whole.set(block, i * block.byteLength);
    expect((await putLog(buildId, token, i * block.byteLength, block)).status).toBe(200);
  }
  expect(whole.byteLength).toBeGreaterThan(SEGMENT_BYTES);
  await endWith(buildId, whole);
  expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
  expect((await env.BLOBS.list({ prefix: `logs/${buildId}/1/` })).objects).toHaveLength(2);
  expect(await sha256Of(new Uint8Array(await (await get(buildId)).arrayBuffer()))).toBe(await sha256Of(whole));
  const from = SEGMENT_BYTES - 5;
  expect(await (await get(buildId, `?offset=${from}&limit=11`)).bytes()).toEqual(whole.slice(from, from + 11));
});

test('sealing goes on wherever it was cut off', async () => {
  const whole = bytesOf('all of it\n');
  const total = { length: whole.byteLength, sha256: await sha256Of(whole) };
  for (const stepsDone of [1, 2, 3, 4]) {
    const { buildId, token } = await runningBuild();
    await putLog(buildId, token, 0, whole);
    await endWith(buildId, whole);
    const log = env.LOGS.getByName(`${buildId}/1`);
    const steps = [
      () => log.close(total, false),
      () => log.writeSegments(`logs/${buildId}/1`),
      () => changeAttempt(buildId, { logR2Key: `logs/${buildId}/1`, logSealedLength: 10, logComplete: true }),
      () => log.empty(),
    ];
    for (const step of steps.slice(0, stepsDone)) await step();

    expect(await read(buildId)).toBe('all of it\n');
    expect(await errorOf(await putLog(buildId, token, 10, 'late'))).toEqual([410, 'log_sealed']);
    expect(await sealLog(env, buildId, 1, Date.now())).toBe('sealed');
    expect(await read(buildId)).toBe('all of it\n');
    expect(await attemptRow(buildId)).toMatchObject({ logSealedLength: 10, logComplete: true });
    expect(await log.read(0, 1)).toMatchObject({ bytes: null });
  }
});

test('two sealings at once do no harm', async () => {
  const { buildId, token } = await runningBuild();
  const whole = bytesOf('all of it\n');
  await putLog(buildId, token, 0, whole);
  await endWith(buildId, whole);
  const results = await Promise.all([1, 2, 3].map(() => sealLog(env, buildId, 1, Date.now())));
  expect(results).toEqual(['sealed', 'sealed', 'sealed']);
  expect(await read(buildId)).toBe('all of it\n');
});

test('a reader that opened a log before it was sealed reads on', async () => {
  const { buildId, token } = await runningBuild();
  const whole = bytesOf('all of it\n');
  await putLog(buildId, token, 0, whole);
  const log = await openLog(env, buildId);
  if (!log.ok) throw new Error(log.message);
  await endWith(buildId, whole);
  await sealLog(env, buildId, 1, Date.now());
  expect(log.sealed).toBeNull();
  expect(await readLog(env, log, 4, 100)).toEqual({
    bytes: bytesOf('of it\n'),
    length: 10,
    closed: { length: 10, complete: true },
  });
});
