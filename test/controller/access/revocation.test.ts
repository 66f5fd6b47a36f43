/** Revokes keys that have builds: what ends, what the answer says, and what goes on. */
import { env } from 'cloudflare:workers';
import { eq, inArray } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { DEFAULT_TIMEOUTS, KeyRevoked } from '#contract';
import { rotateKey } from '../../../controller/access/key-rotation.ts';
import { createKey, findKey } from '../../../controller/access/keys.ts';
import { claimNext } from '../../../controller/attempts/claims.ts';
import { builds, events, outbox } from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { findWorker } from '../../../controller/workers/registry.ts';
import { bytesOf, db, insertBlob, unique } from '../factories/rows.ts';
import { aBlob, aBuild, api, aWorker, claim, until } from '../factories/scenarios.ts';

const aKey = () => createKey(env, { name: 'x', scope: 'submit' }, Date.now());
const revoke = async (id: string, query = '') => {
  const { status, body } = await api('DELETE', `/api/keys/${id}${query}`);
  expect(status).toBe(200);
  return KeyRevoked.parse(body);
};

test('a worker that is removed, or whose key is revoked, while it claims gets no build', async () => {
  for (const how of ['removed', 'revoked'] as const) {
    const pool = unique('pool');
    const buildId = await aBuild({ pool });
    const { id, key, instanceId } = await aWorker({ pool });
    const keyId = (await findKey(env, key, Date.now()))!.id;
    const real = env.DEADLINES.getByName(buildId);
    const arm = async (...given: Parameters<typeof real.arm>) => {
      if (how === 'removed') expect((await api('DELETE', `/api/workers/${id}`)).status).toBe(204);
      else await revoke(keyId);
      return real.arm(...given);
    };
    const DEADLINES = { getByName: () => ({ arm }) } as unknown as Env['DEADLINES'];
    const asking = { worker: (await findWorker(env, id))!, keyId };
    const request = { instanceId, claimId: unique('claim') };
    const claimed = await claimNext({ ...env, DEADLINES }, asking, request, 60_000, Date.now());
    expect([how, claimed]).toEqual([how, expect.objectContaining({ ok: true, assignment: null })]);
    expect([how, ...(await statusesOf([buildId]))]).toEqual([how, 'queued']);
  }
});

/** A build that runs, and one that waits, of the same key. */
async function twoBuilds(secret: string) {
  const pool = unique('pool');
  const request = { source: { sha256: await aBlob('a source') }, command: 'make', platform: 'ios', pool };
  const submit = async () => (await api<{ id: string }>('POST', '/api/builds', request, secret)).body.id;
  const active = await submit();
  const worker = await aWorker({ pool });
  expect((await claim(worker)).body.assignment?.buildId).toBe(active);
  const queued = await submit();
  return { active, queued, worker };
}
const statusesOf = async (ids: string[]) => {
  const rows = await db.select({ id: builds.id, status: builds.status }).from(builds).where(inArray(builds.id, ids));
  return ids.map((id) => rows.find((row) => row.id === id)!.status);
};

test('the unfinished builds of a revoked key, and of all that it became, are cancelled and listed', async () => {
  const { key, secret } = await aKey();
  const renewed = await rotateKey(env, key.id, key.id, Date.now());
  const byAdmin = await rotateKey(env, key.id, 'admin', Date.now());
  if (!renewed.ok || !byAdmin.ok) throw new Error('not rotated');
  const [first, second, third] = [
    await twoBuilds(secret),
    await twoBuilds(renewed.secret),
    await twoBuilds(byAdmin.secret),
  ];
  const { ended, alsoRevoked } = await revoke(key.id);
  expect(alsoRevoked.map(({ id }) => id)).toEqual([renewed.key.id]);
  const gone = [first, second].flatMap(({ active, queued }) => [active, queued]);
  expect(ended).toEqual({ builds: expect.any(Array), submissions: [], links: [], more: 0 });
  expect(ended.builds.toSorted()).toEqual(gone.toSorted());
  // A queued build ends before the answer, so that nobody claims it any more.
  expect(await statusesOf([first.queued, second.queued])).toEqual(['cancelled', 'cancelled']);
  expect((await claim(first.worker)).body.assignment).toBeNull();
  await until('all builds have ended', async () => (await statusesOf(gone)).every((status) => status === 'cancelled'));
  const said = await db
    .select({ type: events.type, detail: events.detail })
    .from(events)
    .where(eq(events.buildId, first.queued));
  expect(said.at(-1)).toEqual({
    type: 'cancel',
    detail: { verdict: 'cancelled', message: 'the key that requested the build was revoked' },
  });
  // The key that an admin made in its place goes on, and so do its builds.
  expect(await statusesOf([third.active, third.queued])).toEqual(['assigned', 'queued']);
  expect((await revoke(key.id)).ended).toEqual({ builds: [], submissions: [], links: [], more: 0 });
});

test('with keep=1 the builds of a revoked key go on, and a rotation ends none', async () => {
  const { key, secret } = await aKey();
  const { active, queued } = await twoBuilds(secret);
  const rotated = await rotateKey(env, key.id, 'admin', Date.now(), 0);
  if (!rotated.ok) throw new Error(rotated.message);
  expect((await revoke(key.id, '?keep=1')).ended).toEqual({ builds: [], submissions: [], links: [], more: 0 });
  await drainOutbox(env, Date.now());
  expect(await statusesOf([active, queued])).toEqual(['assigned', 'queued']);
});

test('of 3,000 queued builds all end at once, and the answer lists 1,000 and counts the others', async () => {
  const { key } = await aKey();
  const sha256 = await insertBlob(bytesOf('a source'));
  await env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     INSERT INTO builds (id, status, attempt, transition_id, max_attempts, platform, command, source_sha256, source_blob,
       artifact_globs, timeouts, pool, project_id, labels, priority, queue_rank, queued_at, created_at, created_by_key)
     SELECT 'many-' || i, 'queued', 0, 't', 1, 'ios', 'make', ?1, ?1, '[]', ?2, 'many', 'prj_default', '{}', 0, 0, 1, 1, ?3 FROM n`,
  )
    .bind(sha256, JSON.stringify(DEFAULT_TIMEOUTS), key.id)
    .run();
  const { ended } = await revoke(key.id);
  expect([ended.builds.length, ended.more]).toEqual([1_000, 2_000]);
  const left = await env.DB.prepare(`SELECT count(*) AS n FROM builds WHERE pool = 'many' AND status = 'queued'`).first(
    'n',
  );
  expect(left).toBe(0);
  const load = await env.DB.prepare(`SELECT sum(queued) AS n FROM project_load WHERE pool = 'many'`).first('n');
  expect(load).toBe(0);
  expect(await db.select().from(outbox).where(eq(outbox.kind, 'cancel_build'))).toEqual([]);
});
