import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { CONTRACT_HEADER, KeyRevoked, type KeyView } from '#contract';
import { revokeKey } from '../../../controller/access/key-revocation.ts';
import { ROTATION_OVERLAP_MS, rotateKey } from '../../../controller/access/key-rotation.ts';
import { createKey, findKey } from '../../../controller/access/keys.ts';
import { keys } from '../../../controller/schema/index.ts';
import { databaseFaults } from '../factories/faulty-database.ts';
import { call, db, errorOf, HOUR_MS, insertWorker, submitKey } from '../factories/rows.ts';
import { anAssignment, show, until } from '../factories/scenarios.ts';

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json' },
});
const nobody = async () => {};

test('a key is shown once and stored as a digest', async () => {
  const created = await call('/api/keys', env.ADMIN_KEY, json({ name: 'ci', scope: 'submit' }));
  expect(created.status).toBe(201);
  const { key, secret } = await created.json<{ key: KeyView; secret: string }>();
  expect(secret).toMatch(/^tb_submit_[A-Za-z0-9_-]{43}$/);
  expect(key).toMatchObject({ name: 'ci', scope: 'submit', workerId: null, revokedAt: null, lastUsedAt: null });

  const listed = await (await call('/api/keys', env.ADMIN_KEY)).text();
  expect(listed).toContain(key.id);
  expect(listed).not.toContain(secret);
  const row = await db.select().from(keys).where(eq(keys.id, key.id)).get();
  expect(JSON.stringify(row)).not.toContain(secret);
  expect((await call('/api/me', secret)).status).toBe(200);
});

test('a request that does not fit names its fields', async () => {
  const refused = await call('/api/keys', env.ADMIN_KEY, json({ name: '', scope: 'worker' }));
  const { error } = await refused.json<{ error: { code: string; message: string } }>();
  expect([refused.status, error.code]).toEqual([400, 'invalid_request']);
  expect(error.message).toContain('name: ');
  expect(error.message).toContain('scope: ');
  const past = await call(
    '/api/keys',
    env.ADMIN_KEY,
    json({ name: 'x', scope: 'submit', expiresAt: '2020-01-01T00:00:00Z' }),
  );
  expect(await past.text()).toContain('expiresAt: must be in the future');
});

test('an expired key opens nothing', async () => {
  const now = Date.now();
  const { secret } = await createKey(env, { name: 'x', scope: 'submit', expiresAt: now + HOUR_MS }, now);
  expect(await findKey(env, secret, now + HOUR_MS - 1)).not.toBeNull();
  expect(await findKey(env, secret, now + HOUR_MS)).toBeNull();
});

test('the deployment secret is an admin key; a short or missing one opens nothing', async () => {
  expect(await findKey(env, env.ADMIN_KEY, 0)).toMatchObject({ id: 'admin', scope: 'admin' });
  for (const ADMIN_KEY of ['', 'short', undefined as unknown as string])
    expect(await findKey({ ...env, ADMIN_KEY }, ADMIN_KEY ?? 'undefined', 0)).toBeNull();
});

test('the use of a key is noted at most once an hour', async () => {
  const start = Date.now();
  const { key, secret } = await createKey(env, { name: 'x', scope: 'submit' }, start);
  const lastUsed = async () => (await db.select().from(keys).where(eq(keys.id, key.id)).get())!.lastUsedAt;
  await findKey(env, secret, start);
  await until('the first use is noted', async () => (await lastUsed()) === start);
  await findKey(env, secret, start + HOUR_MS - 1);
  await findKey(env, secret, start + HOUR_MS);
  await until('the next use is noted', async () => (await lastUsed()) === start + HOUR_MS);
});

test('a revoked key opens nothing at once, and revoking it again answers the same', async () => {
  const secret = await submitKey();
  const { id } = (await findKey(env, secret, Date.now()))!;
  const first = await call(`/api/keys/${id}`, env.ADMIN_KEY, { method: 'DELETE' });
  const { key } = await first.json<{ key: KeyView }>();
  expect(key.revokedAt).not.toBeNull();
  expect(await errorOf(await call('/api/me', secret))).toEqual([401, 'unauthorized']);
  const second = await call(`/api/keys/${id}`, env.ADMIN_KEY, { method: 'DELETE' });
  expect((await second.json<{ key: KeyView }>()).key.revokedAt).toBe(key.revokedAt);
  expect(await errorOf(await call('/api/keys/key_none', env.ADMIN_KEY, { method: 'DELETE' }))).toEqual([
    404,
    'not_found',
  ]);
});

test("revoking a worker's key ends the attempts of that worker, also when it is repeated", async () => {
  const { workerId, key } = await insertWorker();
  const { id } = (await findKey(env, key, Date.now()))!;
  const ended: string[] = [];
  const end = async (_env: Env, worker: string) => void ended.push(worker);
  await revokeKey(env, id, 1, end);
  await revokeKey(env, id, 2, end);
  expect(ended).toEqual([workerId, workerId]);
});

test('a rotated key works on for the overlap, and its successor stands for the same', async () => {
  const now = Date.now();
  const { workerId, key } = await insertWorker();
  const { id } = (await findKey(env, key, now))!;
  const rotated = await rotateKey(env, id, 'admin', now);
  if (!rotated.ok) throw new Error(rotated.message);
  expect(rotated.key).toMatchObject({ scope: 'worker', workerId, expiresAt: null });
  expect(await findKey(env, rotated.secret, now)).toMatchObject({ workerId });
  const old = await findKey(env, key, now + ROTATION_OVERLAP_MS - 1);
  expect(old).toMatchObject({ workerId, expiresAt: now + ROTATION_OVERLAP_MS });
  expect(await findKey(env, key, now + ROTATION_OVERLAP_MS)).toBeNull();
  expect(await findKey(env, rotated.secret, now + ROTATION_OVERLAP_MS)).not.toBeNull();

  const { keys: listed } = await (await call('/api/keys', env.ADMIN_KEY)).json<{ keys: KeyView[] }>();
  const expiresAt = new Date(now + ROTATION_OVERLAP_MS).toISOString();
  expect(listed.find((view) => view.id === id)).toMatchObject({ expiresAt, rotatedFrom: null });
  expect(listed.find((view) => view.id === rotated.key.id)).toMatchObject({ expiresAt: null, rotatedFrom: id });
});

test('a rotation whose answer was lost locks nobody out: the old key lives until a new one is used', async () => {
  const now = Date.now();
  const late = now + 30 * ROTATION_OVERLAP_MS;
  const { key, secret } = await createKey(env, { name: 'x', scope: 'submit' }, now);
  expect(await rotateKey(env, key.id, 'admin', now)).toMatchObject({ ok: true });
  expect(await findKey(env, secret, late)).not.toBeNull();

  const again = await rotateKey(env, key.id, 'admin', late);
  if (!again.ok) throw new Error(again.message);
  expect(again.key.expiresAt).toBeNull();
  expect(await findKey(env, again.secret, late)).not.toBeNull();
  expect(await findKey(env, secret, late + ROTATION_OVERLAP_MS - 1)).not.toBeNull();
  expect(await findKey(env, secret, late + ROTATION_OVERLAP_MS)).toBeNull();
});

test("a key's own end holds, whether or not its successor is used", async () => {
  const now = Date.now();
  const spec = { name: 'x', scope: 'submit', expiresAt: now + HOUR_MS } as const;
  const { key, secret } = await createKey(env, spec, now);
  const rotated = await rotateKey(env, key.id, 'admin', now);
  if (!rotated.ok) throw new Error(rotated.message);
  expect(rotated.key.expiresAt).toBe(new Date(now + ROTATION_OVERLAP_MS).toISOString());
  expect(await findKey(env, secret, now + HOUR_MS)).toBeNull();
  expect(await rotateKey(env, key.id, 'admin', now + HOUR_MS)).toMatchObject({ ok: false, code: 'not_found' });
});

test('rotating again does not lengthen the overlap, and a dead key has no successor', async () => {
  const now = Date.now();
  const { key, secret } = await createKey(env, { name: 'x', scope: 'submit' }, now);
  const first = await rotateKey(env, key.id, 'admin', now, 1_000);
  if (!first.ok) throw new Error(first.message);
  await rotateKey(env, key.id, 'admin', now + 500, 1_000);
  expect(await findKey(env, first.secret, now + 600)).not.toBeNull();
  expect(await findKey(env, secret, now + 999)).not.toBeNull();
  expect(await findKey(env, secret, now + 1_000)).toBeNull();
  expect(await rotateKey(env, key.id, 'admin', now + 1_000)).toMatchObject({ ok: false, code: 'not_found' });
  const other = await createKey(env, { name: 'y', scope: 'submit' }, now);
  await revokeKey(env, other.key.id, now, nobody);
  expect(await rotateKey(env, other.key.id, 'admin', now)).toMatchObject({ ok: false, code: 'not_found' });
});

test('a key rotates itself and no other', async () => {
  const [mine, other] = [await submitKey(), await submitKey()];
  const { id } = (await findKey(env, mine, Date.now()))!;
  expect(await errorOf(await call(`/api/keys/${id}/rotate`, other, { method: 'POST' }))).toEqual([403, 'forbidden']);
  const rotated = await call(`/api/keys/${id}/rotate?overlapMs=0`, mine, { method: 'POST' });
  const { secret } = await rotated.json<{ secret: string }>();
  expect(await errorOf(await call('/api/me', mine))).toEqual([401, 'unauthorized']);
  expect((await call('/api/me', secret)).status).toBe(200);
});

test('ADMIN_KEY is neither revoked nor rotated through the API', async () => {
  for (const [path, method] of [
    ['', 'DELETE'],
    ['/rotate', 'POST'],
  ] as const) {
    const refused = await call(`/api/keys/admin${path}`, env.ADMIN_KEY, { method });
    expect(await refused.text()).toContain('wrangler secret put ADMIN_KEY');
  }
});

test('keys are for admins to make, see and revoke', async () => {
  const secret = await submitKey();
  expect(await errorOf(await call('/api/keys', secret))).toEqual([403, 'forbidden']);
  expect(await errorOf(await call('/api/keys', secret, json({ name: 'x', scope: 'admin' })))).toEqual([
    403,
    'forbidden',
  ]);
  expect(await errorOf(await call('/api/keys/any', secret, { method: 'DELETE' }))).toEqual([403, 'forbidden']);
});

/** A key of the worker, rotated with the key `by`; by itself if it is left out. */
async function rotated(id: string, by = id) {
  const made = await rotateKey(env, id, by, Date.now());
  if (!made.ok) throw new Error(made.message);
  return made;
}
const revoked = async (id: string) => {
  const response = await call(`/api/keys/${id}`, env.ADMIN_KEY, { method: 'DELETE' });
  const { key, alsoRevoked } = KeyRevoked.parse(await response.json());
  return [key.id, ...alsoRevoked.map((one) => one.id)];
};
const opens = async (secret: string) => (await call('/api/me', secret)).status === 200;

test('a key that is revoked takes with it what it became by renewing itself, and the answer lists it', async () => {
  const { key, secret } = await createKey(env, { name: 'x', scope: 'submit' }, Date.now());
  const second = await rotated(key.id);
  const third = await rotated(second.key.id);
  const byAdmin = await rotated(second.key.id, 'admin');
  const ofThat = await rotated(byAdmin.key.id);
  const bystander = await submitKey();
  expect(await revoked(key.id)).toEqual([key.id, second.key.id, third.key.id]);
  for (const gone of [secret, second.secret, third.secret]) expect(await opens(gone)).toBe(false);
  for (const kept of [byAdmin.secret, ofThat.secret, bystander]) expect(await opens(kept)).toBe(true);
  // A repeated revocation answers the same. Revoking a later key leaves the earlier keys.
  expect(await revoked(key.id)).toEqual([key.id, second.key.id, third.key.id]);
  expect(await revoked(ofThat.key.id)).toEqual([ofThat.key.id]);
  expect(await opens(byAdmin.secret)).toBe(true);
});

test('of a key that became 600 keys the newest are marked, as far as one request may ask R2', async () => {
  const { key } = await createKey(env, { name: 'x', scope: 'submit' }, 0);
  await env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
     INSERT INTO keys (id, hash, name, scope, created_at, rotated_from, rotated_by)
     SELECT ?1 || '-' || i, ?1 || i, 'x', 'submit', i, iif(i = 1, ?1, ?1 || '-' || (i - 1)),
       iif(i = 1, ?1, ?1 || '-' || (i - 1)) FROM n`,
  )
    .bind(key.id)
    .run();
  expect(await revoked(key.id)).toHaveLength(601);
  const marks = (await env.BLOBS.list({ prefix: `revoked/${key.id}` })).objects.map((mark) => mark.key);
  expect(marks).toHaveLength(201);
  expect(marks).toEqual(expect.arrayContaining([`revoked/${key.id}`, `revoked/${key.id}-600`]));
});

test('a rotation that the former release made counts as made by the key itself', async () => {
  const { key } = await createKey(env, { name: 'x', scope: 'submit' }, Date.now());
  const second = await rotated(key.id, 'admin');
  await db.update(keys).set({ rotatedBy: null }).where(eq(keys.id, second.key.id));
  expect(await revoked(key.id)).toEqual([key.id, second.key.id]);
});

// Whether the build of the worker is still running after one of its keys was revoked.
test.each([
  ['the only key', async () => {}, false],
  ['a key whose successor an admin made', (id: string) => rotated(id, 'admin'), true],
  ['a key that renewed itself', (id: string) => rotated(id), false],
  [
    'a key beside a newer one that is revoked',
    async (id: string) => revokeKey(env, (await rotated(id, 'admin')).key.id, Date.now(), nobody),
    false,
  ],
  [
    'a key beside a newer one that has expired',
    async (id: string) => {
      const newer = await rotated(id, 'admin');
      await db.update(keys).set({ expiresAt: 1 }).where(eq(keys.id, newer.key.id));
    },
    false,
  ],
])('a worker whose %s is revoked', async (_, prepare, runsOn) => {
  const { worker, assignment } = await anAssignment();
  const { id } = (await findKey(env, worker.key, Date.now()))!;
  await prepare(id);
  await revoked(id);
  expect((await show(assignment.buildId)).status).toBe(runsOn ? 'assigned' : 'failed');
});

test('revoking the newer key of a worker ends its builds, although the old one works until its overlap ends', async () => {
  const { worker, assignment } = await anAssignment();
  const { id } = (await findKey(env, worker.key, Date.now()))!;
  await db
    .update(keys)
    .set({ createdAt: Date.now() - HOUR_MS })
    .where(eq(keys.id, id));
  await revoked((await rotated(id)).key.id);
  expect(await show(assignment.buildId)).toMatchObject({ verdict: { code: 'worker_stopped' } });
});

test('a key that renews itself keeps its expiry, however often; an admin gives it a new life', async () => {
  const now = Date.now();
  const expiresAt = now + HOUR_MS;
  const { secret } = await createKey(env, { name: 'x', scope: 'submit', expiresAt }, now);
  let mine = secret;
  for (let i = 0; i < 3; i++) {
    const { id } = (await findKey(env, mine, Date.now()))!;
    const renewed = await call(`/api/keys/${id}/rotate`, mine, { method: 'POST' });
    const answer = await renewed.json<{ key: KeyView; secret: string }>();
    expect(answer.key.expiresAt).toBe(new Date(expiresAt).toISOString());
    mine = answer.secret;
  }
  const { id } = (await findKey(env, mine, Date.now()))!;
  const byAdmin = await call(`/api/keys/${id}/rotate`, env.ADMIN_KEY, { method: 'POST' });
  const { key } = await byAdmin.json<{ key: KeyView }>();
  expect(Date.parse(key.expiresAt!)).toBeGreaterThan(expiresAt + HOUR_MS);
});

test('what has not the form of a key or a code is refused before D1 is asked', async () => {
  const good = await submitKey();
  const asked: string[] = [];
  databaseFaults.decide = (statements) => void asked.push(...statements);
  try {
    const malformed = ['', 'x', 'tb_submit_', `${good}x`, good.slice(0, -1), `tb_root_${good.slice(10)}`];
    for (const secret of [...malformed, `tb_submit_${'%'.repeat(43)}`, 'A'.repeat(600)])
      for (const path of ['/api/me', '/api/builds/b/logs']) {
        const response = await call(path, null, { headers: { 'X-API-Key': secret } });
        expect(response.status).toBe(401);
      }
    const enrolled = await call('/api/workers/enrol', null, json({ code: 'tb_enrol_guess' }));
    expect(enrolled.status).toBe(401);
    expect(asked).toEqual([]);
    expect((await call('/api/me', good)).status).toBe(200);
    expect(asked.length).toBeGreaterThan(0);
  } finally {
    databaseFaults.decide = null;
  }
});

test('an agent that is too old is told how to get the release of its controller, from no public registry', async () => {
  const refused = await call('/health', null, { headers: { [CONTRACT_HEADER]: '0' } });
  const { error } = await refused.json<{ error: { code: string; message: string } }>();
  expect([refused.status, error.code]).toEqual([426, 'contract_too_old']);
  // Every package that npm is told to install is a file.
  expect(error.message.match(/npm install -g (\S+)/)?.[1]).toMatch(/^\.\/\S+\.tgz`$/);
});
