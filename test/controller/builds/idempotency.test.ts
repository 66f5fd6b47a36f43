/** Tests the names that requests give themselves: who shares a name, for how long, and what is kept of it. */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { BuildRequestInput, KeyView } from '#contract';
import { BuildRequest } from '#contract';
import { rootOf } from '../../../controller/access/keys.ts';
import { builds, idempotency, keys } from '../../../controller/schema/index.ts';
import { canonical } from '../../../controller/secrets/request-mac.ts';
import { appWith } from '../factories/app-with.ts';
import { bytesOf, db, sha256Of, submitKey, unique } from '../factories/rows.ts';
import { aBlob, api } from '../factories/scenarios.ts';
import { contentsOfTables } from '../factories/tables.ts';

const aRequest = async (more: Partial<BuildRequestInput> = {}) => ({
  ...{ source: { sha256: await aBlob() }, command: 'make', platform: 'ios', idempotencyKey: unique('release') },
  ...more,
});
const submit = (request: object, key: string) => api<{ id: string }>('POST', '/api/builds', request, key);
const idOf = async (key: string) => (await api<{ keyId: string }>('GET', '/api/me', undefined, key)).body.keyId;

async function rotated(key: string, by = key): Promise<string> {
  const { body } = await api<{ key: KeyView; secret: string }>(
    'POST',
    `/api/keys/${await idOf(key)}/rotate`,
    undefined,
    by,
  );
  return body.secret;
}

const refused = { status: 409, body: { error: { code: 'idempotency_mismatch' } } };

test('a name survives the rotation of its key, by itself or by an admin, however often', async () => {
  const first = await submitKey();
  const request = await aRequest();
  const { status, body } = await submit(request, first);
  expect(status).toBe(201);
  const second = await rotated(first);
  const third = await rotated(second, env.ADMIN_KEY);
  for (const key of [first, second, third]) {
    expect(await submit(request, key)).toMatchObject({ status: 200, body: { id: body.id } });
    expect(await submit({ ...request, command: 'other' }, key)).toMatchObject(refused);
  }
});

test('a key that the former release rotated has the root of its lineage too', async () => {
  const [first, second] = [await submitKey(), await submitKey()];
  const [firstId, secondId] = [await idOf(first), await idOf(second)];
  await db.update(keys).set({ rootId: null, rotatedFrom: firstId }).where(eq(keys.id, secondId));
  const request = await aRequest();
  const { body } = await submit(request, first);
  expect(await submit(request, second)).toMatchObject({ status: 200, body: { id: body.id } });
  const third = await rotated(second);
  expect(await submit(request, third)).toMatchObject({ status: 200, body: { id: body.id } });
  const row = await db.select().from(keys).where(eq(keys.rotatedFrom, secondId)).get();
  expect([row!.rootId, await rootOf(env, row!)]).toEqual([firstId, firstId]);
});

test('a name stands for one build in each project, and is nobody else’s', async () => {
  const [key, other] = [await submitKey(), await submitKey()];
  const request = await aRequest();
  const asked = [
    { key, project: undefined },
    { key, project: 'a' },
    { key, project: 'b' },
    { key: other, project: undefined },
    { key: other, project: 'a' },
    { key: env.ADMIN_KEY, project: 'a' },
  ];
  const answers = [];
  for (const { key, project } of asked) {
    await aBlob(undefined, { key });
    answers.push(await submit({ ...request, project }, key));
  }
  expect(answers.map(({ status }) => status)).toEqual(asked.map(() => 201));
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(asked.length);
  for (const [index, { key, project }] of asked.entries())
    expect(await submit({ ...request, project }, key)).toMatchObject({
      status: 200,
      body: { id: answers[index]!.body.id },
    });
});

test('of many requests at once with one name one makes a build', async () => {
  const key = await submitKey();
  const request = await aRequest({ env: { TOKEN: 'secret' } });
  const answers = await Promise.all(Array.from({ length: 8 }, () => submit(request, key)));
  expect(answers.map(({ status }) => status).sort()).toEqual([...Array(7).fill(200), 201]);
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  const other = await Promise.all([submit(request, key), submit({ ...request, env: { TOKEN: 'other' } }, key)]);
  expect(other.map(({ status }) => status)).toEqual([200, 409]);
});

test('a refused submission keeps no name', async () => {
  const key = await submitKey();
  const request = await aRequest({ source: { sha256: 'e'.repeat(64) } });
  expect(await submit(request, key)).toMatchObject({ status: 409, body: { error: { code: 'blob_not_stored' } } });
  const source = { sha256: await aBlob() };
  expect((await submit({ ...request, source }, key)).status).toBe(201);
});

test('nothing that is stored lets a short secret be guessed', async () => {
  const request = await aRequest({ env: { PIN: '1234' } });
  await submit(request, await submitKey());
  const parsed = BuildRequest.parse(request);
  const stored = JSON.stringify(await contentsOfTables());
  // Each text that an attacker who knows all but the secret could hash.
  for (const text of [JSON.stringify(request), JSON.stringify(parsed), canonical(parsed), canonical(request)])
    expect(stored).not.toContain(await sha256Of(bytesOf(text)));
});

test('a name survives the rotation of TOKEN_KEYS while both secrets are there, and is refused afterwards', async () => {
  const key = await submitKey();
  const request = await aRequest();
  const ask = async (TOKEN_KEYS: string) => {
    const answer = await appWith().request(
      '/api/builds',
      {
        method: 'POST',
        headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(request),
      },
      { ...env, TOKEN_KEYS },
    );
    return { status: answer.status, body: await answer.json<{ id: string }>() };
  };
  const [first, second, third] = ['a', 'b', 'c'].map((id) => `${id}.1:${id.repeat(32)}`) as [string, string, string];
  const made = await ask(first);
  expect(made.status).toBe(201);
  expect(await ask(`${second},${first}`)).toMatchObject({ status: 200, body: { id: made.body.id } });
  expect(await ask(`${third},${second}`)).toMatchObject({
    status: 409,
    body: { error: { code: 'idempotency_mismatch', message: expect.stringContaining('TOKEN_KEYS') } },
  });
});

test('the order of fields makes no other request, and neither does a field that is left out', async () => {
  expect(canonical({ b: { d: 1, c: [] }, a: null })).toBe(canonical({ a: null, b: { c: [], d: 1 }, e: undefined }));
  const different = [{ a: ['1', 2] }, { a: ['2', 1] }, { a: [1, 2] }, { a: '' }, { a: {} }, { a: null }, {}];
  expect(new Set(different.map(canonical)).size).toBe(different.length);
  const key = await submitKey();
  const request = await aRequest({ env: { A: '1', B: '2' } });
  const { body } = await submit(request, key);
  expect(await submit({ ...request, env: { B: '2', A: '1' }, labels: {} }, key)).toMatchObject({
    status: 200,
    body: { id: body.id },
  });
});

// ── Beside the former release
// ───────────────────────────────────────────────────────────────────────────────

/** Notes the name of a build as the former release did. */
async function namedByFormerRelease(buildId: string, keyId: string, request: { idempotencyKey: string }) {
  const requestHash = await sha256Of(bytesOf(JSON.stringify(BuildRequest.parse(request))));
  const name = { createdByKey: keyId, idempotencyKey: request.idempotencyKey, requestHash };
  await db.delete(idempotency).where(eq(idempotency.target, buildId));
  await db.update(builds).set(name).where(eq(builds.id, buildId));
}

test('a name of the former release holds, for its key and for what the key became', async () => {
  const key = await submitKey();
  const request = await aRequest();
  const { body } = await submit(request, key);
  await namedByFormerRelease(body.id, await idOf(key), request);
  const successor = await rotated(key);
  for (const one of [key, successor]) {
    expect(await submit(request, one)).toMatchObject({ status: 200, body: { id: body.id } });
    expect(await submit({ ...request, command: 'other' }, one)).toMatchObject(refused);
    expect(await api('POST', `/api/builds/${body.id}/cancel`)).toMatchObject({ status: 200 });
    const { idempotencyKey } = request;
    expect(await api('POST', `/api/builds/${body.id}/retry`, { idempotencyKey }, one)).toMatchObject(refused);
  }
});

test('the former release finds a name of this one, and cannot take its build for another', async () => {
  const key = await submitKey();
  const request = await aRequest();
  const { body } = await submit(request, key);
  await aBlob(undefined, { key });
  await submit({ ...request, project: 'b' }, key);
  // The former release looks for key and name, and compares the hash. It never stores NULL as a hash.
  const found = await db.select().from(builds).where(eq(builds.idempotencyKey, request.idempotencyKey));
  expect(found).toMatchObject([{ id: body.id, createdByKey: await idOf(key), requestHash: null }]);
});
