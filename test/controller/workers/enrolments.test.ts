import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { AuditEntry, Me } from '#contract';
import { boundAudit, listAudit } from '../../../controller/access/audit.ts';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import * as schema from '../../../controller/schema/index.ts';
import { createEnrolment, enrol } from '../../../controller/workers/enrolments.ts';
import { call, db, errorOf, insertWorker, unique } from '../factories/rows.ts';
import { aBlob, aBuild, api } from '../factories/scenarios.ts';

const MINUTE_MS = 60_000;
const me = async (key: string) => (await api<Me>('GET', '/api/me', undefined, key)).body;

test('a worker may be registered with a code, which turns into its own key, once', async () => {
  const request = { name: unique('mac'), credential: 'code' };
  const { status, body } = await api<{ worker: { id: string }; enrolment: { code: string }; key?: string }>(
    'POST',
    '/api/workers',
    request,
  );
  expect(status).toBe(201);
  expect(body.key).toBeUndefined();
  const { code } = body.enrolment;
  const enrolled = await api<{ workerId: string; key: string }>('POST', '/api/workers/enrol', { code }, 'no-key');
  expect(enrolled.status).toBe(201);
  expect(enrolled.body.workerId).toBe(body.worker.id);
  expect(await me(enrolled.body.key)).toMatchObject({ scope: 'worker', workerId: body.worker.id });
  expect((await api('POST', '/api/workers/enrol', { code }, 'no-key')).status).toBe(401);
});

test('of two that use a code at once, one gets a key', async () => {
  const { workerId } = await insertWorker();
  const { code } = await createEnrolment(env, workerId, 60, Date.now());
  const answers = await Promise.all(Array.from({ length: 5 }, () => enrol(env, code, Date.now())));
  expect(answers.filter(({ ok }) => ok)).toHaveLength(1);
});

test('a code is stored as a digest, dies with its time and with its worker', async () => {
  const now = Date.now();
  const { workerId } = await insertWorker();
  const late = await createEnrolment(env, workerId, 1, now);
  expect(JSON.stringify(await db.select().from(schema.enrolments))).not.toContain(late.code);
  expect((await enrol(env, late.code, now + MINUTE_MS)).ok).toBe(false);
  const orphan = await createEnrolment(env, workerId, 60, now);
  expect((await api('DELETE', `/api/workers/${workerId}`)).status).toBe(204);
  expect((await enrol(env, orphan.code, now)).ok).toBe(false);
  expect((await api('POST', `/api/workers/${workerId}/enrolments`, {})).status).toBe(404);
});

test('a key tells how old it is and how it is named, so that it can rotate itself', async () => {
  const { workerId, key } = await insertWorker();
  const { keyId, createdAt } = await me(key);
  expect(Date.now() - Date.parse(createdAt!)).toBeLessThan(MINUTE_MS);
  const rotated = await api<{ secret: string }>('POST', `/api/keys/${keyId}/rotate`, undefined, key);
  expect(await me(rotated.body.secret)).toMatchObject({ workerId });
  expect(await me(key)).toMatchObject({ workerId, expiresAt: expect.any(String) });
  expect(await me(env.ADMIN_KEY)).toMatchObject({ keyId: null, createdAt: null });
});

test('a key that is tied to pools keeps to them, and so does the key that it rotates to', async () => {
  const [pool, other] = [unique('pool'), unique('pool')];
  const { key, secret } = await createKey(
    env,
    { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, pools: [pool] } },
    Date.now(),
  );
  const [own, foreign] = [await aBuild({ pool }), await aBuild({ pool: other })];
  const rotated = await api<{ key: { pools: string[] }; secret: string }>(
    'POST',
    `/api/keys/${key.id}/rotate`,
    undefined,
    secret,
  );
  expect(rotated.body.key.pools).toEqual([pool]);
  for (const tied of [secret, rotated.body.secret]) {
    const { body } = await api<{ builds: { id: string }[] }>('GET', '/api/builds?limit=100', undefined, tied);
    expect(body.builds.map(({ id }) => id)).toEqual([own]);
    for (const path of [
      foreign,
      `${foreign}/logs`,
      `${foreign}/artifacts`,
      encodeURIComponent(foreign).replace('_', '%5F'),
    ])
      expect(await errorOf(await call(`/api/builds/${path}`, tied))).toEqual([404, 'not_found']);
    const request = { source: { sha256: await aBlob() }, command: 'make', platform: 'ios' };
    const refused = await api<{ error: { message: string } }>('POST', '/api/builds', request, tied);
    expect([refused.status, refused.body.error.message]).toEqual([
      403,
      `pool: this key may not submit to default, only to ${pool}`,
    ]);
  }
  const bad = await api('POST', '/api/keys', { name: 'x', scope: 'admin', pools: [pool] });
  expect(bad.status).toBe(400);
});

const ADMIN = { scope: 'admin', rights: RIGHTS_TO_ALL } as const;

test('whatever people change is recorded with who did it, and nothing secret is', async () => {
  const { body: made } = await api<{ key: { id: string }; secret: string }>('POST', '/api/keys', {
    name: 'ci of the shop',
    scope: 'submit',
  });
  const request = { source: { sha256: await aBlob() }, command: 'echo hush', platform: 'ios' };
  const { body: build } = await api<{ id: string }>('POST', '/api/builds', request, made.secret);
  await api('POST', `/api/builds/${build.id}/cancel`, undefined, made.secret);
  await api('DELETE', `/api/keys/${made.key.id}`);
  const { body } = await api<{ entries: AuditEntry[]; nextCursor: string }>('GET', '/api/audit?limit=4');
  expect(body.entries.map(({ action, target, keyName }) => [action, target, keyName])).toEqual([
    ['key.revoke', `key/${made.key.id}`, 'ADMIN_KEY'],
    ['build.cancel', `build/${build.id}`, 'ci of the shop'],
    ['build.submit', `build/${build.id}`, 'ci of the shop'],
    ['key.create', `key/${made.key.id}`, 'ADMIN_KEY'],
  ]);
  expect(JSON.stringify(body)).not.toMatch(/hush|tb_submit_/);
  const older = await listAudit(env, ADMIN, Number(body.nextCursor), 200);
  expect(older.entries.every(({ id }) => id < Number(body.nextCursor))).toBe(true);
});

test('the record is bounded: the oldest entries go', async () => {
  const entry = { at: 0, keyId: 'k', keyName: 'k', action: 'build.submit' };
  const [newest] = await db
    .insert(schema.audit)
    .values({ ...entry, id: 1_000_000 })
    .returning();
  await boundAudit(env);
  expect((await listAudit(env, ADMIN, undefined, 200)).entries.map(({ id }) => id)).toEqual([newest!.id]);
});
