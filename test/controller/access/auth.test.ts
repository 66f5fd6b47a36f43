import { env } from 'cloudflare:workers';
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { createKey } from '../../../controller/access/keys.ts';
import { signToken } from '../../../controller/access/tokens.ts';
import { authorisationOf } from '../../../controller/routes/authorise.ts';
import type { Row } from '../../../controller/routes/route-table.ts';
import { insertWorker, submitKey, tokenFor } from '../factories/rows.ts';

/** A route for each kind of row. It answers whom it let in. */
const guarded = (path: string, row: Row) =>
  app.get(path, authorisationOf(row), (c) => c.json('by' in row ? c.var.caller : c.var.key));
const app = new Hono<{ Bindings: Env }>();
guarded('/any', { right: 'self', others: 403 });
guarded('/submit', { right: 'builds.submit', others: 404 });
guarded('/admin', { right: 'farm', others: 403 });
guarded('/blobs', { right: 'blobs', others: 404 });
guarded('/workers/:id', { right: 'worker', finds: 'worker', others: 404 });
guarded('/builds/:id/run', { who: 'attempt', by: ['run', 'worker'] });
guarded('/builds/:id/tokens', { who: 'attempt', by: ['run'] });
guarded('/builds/:id/beat', { who: 'attempt', by: ['vm', 'run', 'worker'] });

const ask = async (path: string, key: string) =>
  (await app.request(path, { headers: { Authorization: `Bearer ${key}` } }, env)).status;

test('each guard lets in whom it should', async () => {
  const submit = await submitKey();
  const admin = (await createKey(env, { name: 'a', scope: 'admin' }, 0)).secret;
  const { workerId, key: worker } = await insertWorker();
  const run = await tokenFor('bld_1');
  const vm = await tokenFor('bld_1', 1, 'vm');

  const EXPECTED = {
    '/any': { submit: 200, admin: 200, worker: 200, run: 401, vm: 401 },
    '/submit': { submit: 200, admin: 200, worker: 403, run: 401, vm: 401 },
    '/admin': { submit: 403, admin: 200, worker: 403, run: 401, vm: 401 },
    '/blobs': { submit: 200, admin: 200, worker: 200, run: 401, vm: 401 },
    [`/workers/${workerId}`]: { submit: 403, admin: 403, worker: 200, run: 401, vm: 401 },
    '/workers/another': { submit: 403, admin: 403, worker: 403, run: 401, vm: 401 },
    '/builds/bld_1/run': { submit: 403, admin: 403, worker: 200, run: 200, vm: 403 },
    '/builds/bld_1/tokens': { submit: 403, admin: 403, worker: 403, run: 200, vm: 403 },
    '/builds/bld_1/beat': { submit: 403, admin: 403, worker: 200, run: 200, vm: 200 },
    '/builds/bld_2/beat': { submit: 403, admin: 403, worker: 200, run: 403, vm: 403 },
  };
  const seen = Object.fromEntries(
    await Promise.all(
      Object.keys(EXPECTED).map(async (path) => [
        path,
        {
          submit: await ask(path, submit),
          admin: await ask(path, admin),
          worker: await ask(path, worker),
          run: await ask(path, run),
          vm: await ask(path, vm),
        },
      ]),
    ),
  );
  expect(seen).toEqual(EXPECTED);
});

test('a key is taken from either header, and nothing else is', async () => {
  const key = await submitKey();
  const status = async (headers: Record<string, string>) => (await app.request('/any', { headers }, env)).status;
  expect(await status({ Authorization: `Bearer ${key}` })).toBe(200);
  expect(await status({ Authorization: `bearer  ${key}` })).toBe(200);
  expect(await status({ 'X-API-Key': key })).toBe(200);
  expect(await status({ 'X-API-Key': key, Authorization: 'Basic eHg6eHg=' })).toBe(200);
  expect(await status({ Authorization: key })).toBe(401);
  expect(await status({ 'X-API-Key': '' })).toBe(401);
  expect(await status({})).toBe(401);
  expect((await app.request(`/any?key=${key}`, {}, env)).status).toBe(401);
});

test('whoever is not let in is told what to send', async () => {
  const answer = await app.request('/any', {}, env);
  expect(answer.headers.get('WWW-Authenticate')).toBe('Bearer');
  expect(await answer.json()).toEqual({
    error: { code: 'unauthorized', message: expect.stringContaining('Authorization: Bearer KEY') },
  });
});

test('a route knows the attempt of a token and the worker of a key', async () => {
  const token = await tokenFor('bld_1', 3);
  const byToken = await app.request('/builds/bld_1/run', { headers: { 'X-API-Key': token } }, env);
  expect(await byToken.json()).toEqual({ kind: 'run', buildId: 'bld_1', attempt: 3, workerId: 'wrk_1' });
  const { workerId, key } = await insertWorker();
  const byKey = await app.request('/builds/bld_1/run', { headers: { 'X-API-Key': key } }, env);
  expect(await byKey.json()).toEqual({ kind: 'worker', workerId });
});

test('an expired token is 401, not 403: the agent must not think that the build is not its own', async () => {
  const token = await signToken(env, {
    kind: 'run',
    buildId: 'bld_1',
    attempt: 1,
    workerId: 'w',
    expiresAt: Date.now() - 2_000,
  });
  expect(await ask('/builds/bld_1/run', token)).toBe(401);
});
