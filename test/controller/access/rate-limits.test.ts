import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { createApp } from '../../../controller/app.ts';
import { SETTINGS } from '../../../controller/settings.ts';
import { insertWorker, runningBuild, submitKey, unique } from '../factories/rows.ts';

const app = createApp(SETTINGS);
/** Asks with the platform's own counters, as wrangler.toml has them. */
const ask = (path: string, init: RequestInit = {}, bindings: Partial<Env> = {}) =>
  app.request(path, init, { ...env, ...bindings });
const from = (address: string) => ({ headers: { 'CF-Connecting-IP': address } });
const as = (key: string) => ({ headers: { Authorization: `Bearer ${key}` } });

/** Counts the statuses of `count` requests, some of them at once. */
async function statuses(count: number, once: () => Promise<Response> | Response): Promise<Map<number, number>> {
  const seen = new Map<number, number>();
  for (const { status } of await Promise.all(Array.from({ length: count }, once)))
    seen.set(status, (seen.get(status) ?? 0) + 1);
  return seen;
}

test('what needs no key is counted by address, and says when to come again', async () => {
  const address = unique('address');
  // Twice the limit, because a period may end in between.
  const seen = await statuses(130, () => ask('/health', from(address)));
  expect(seen.get(200)).toBeGreaterThanOrEqual(60);
  expect(seen.get(429)).toBeGreaterThan(0);
  const refused = await ask('/health', from(address));
  if (refused.status === 429) {
    expect(refused.headers.get('Retry-After')).toBe('10');
    expect(await refused.json()).toMatchObject({ error: { code: 'rate_limited' } });
  }
  expect((await ask('/health', from(unique('address')))).status).toBe(200);
});

test('guessing codes and keys is counted by address too', async () => {
  const guess = (address: string) => ({
    method: 'POST',
    headers: { 'CF-Connecting-IP': address, 'Content-Type': 'application/json' },
    body: JSON.stringify({ code: 'tb_enrol_guess' }),
  });
  const address = unique('address');
  expect((await statuses(130, () => ask('/api/workers/enrol', guess(address)))).get(429)).toBeGreaterThan(0);
  const other = unique('address');
  const wrong = { headers: { 'CF-Connecting-IP': other, Authorization: 'Bearer tb_admin_guess' } };
  const seen = await statuses(130, () => ask('/api/me', wrong));
  expect(seen.get(401)).toBeGreaterThanOrEqual(60);
  expect(seen.get(429)).toBeGreaterThan(0);
});

test('keys and tokens are counted one by one, whatever address they come from', async () => {
  const counted: string[] = [];
  const counter = (name: string): RateLimit => ({
    limit: async ({ key }) => {
      counted.push(`${name} ${key}`);
      return { success: !key.startsWith('vm:') };
    },
  });
  const bindings = { CALLERS: counter('caller'), STRANGERS: counter('stranger') };
  const { workerId, key } = await insertWorker();
  await ask('/api/me', as(key), bindings);
  const { buildId, token } = await runningBuild({}, { workerId });
  await ask(`/api/builds/${buildId}/source`, as(token), bindings);
  expect(counted).toEqual([expect.stringMatching(/^caller key_/), `caller run:${buildId}:1`]);
});

test('a counter that fails lets the request pass', async () => {
  const broken: RateLimit = {
    limit: async () => {
      throw new Error('the counter is away');
    },
  };
  expect((await ask('/api/me', as(await submitKey()), { CALLERS: broken })).status).toBe(200);
});
