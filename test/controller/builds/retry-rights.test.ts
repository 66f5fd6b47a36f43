/**
 * Retries builds with all kinds of keys: who may, and what the new build has of trust, stored secrets,
 * caches, priority and inputs. It never has more than the key that asks, nor more than the old build.
 */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { Rights } from '#contract';
import { rotateKey } from '../../../controller/access/key-rotation.ts';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { buildOrigins, builds, keys } from '../../../controller/schema/index.ts';
import { readInputs } from '../../../controller/secrets/read-inputs.ts';
import { db, insertHold, insertProject, unique } from '../factories/rows.ts';
import { aBlob, api } from '../factories/scenarios.ts';

const SECRET = { secretEnv: { TOKEN: 'of the first key' }, secretFiles: { 'key.p8': btoa('a key') } };

interface Made {
  id: string;
  error: { code: string; message: string };
}

/** The callers, by what their key may do beside the project of the build. `the maker` has made the build. */
const CALLERS: Record<
  string,
  { rights: Partial<Rights>; sees?: 'all' | 'untrusted' | 'none' } | 'the maker' | 'the maker, renewed'
> = {
  'the key that made it': 'the maker',
  'the key that replaces it': 'the maker, renewed',
  'another key with all rights': { rights: { may: ['secrets.use', 'caches.write'] } },
  'another key without grants': { rights: { maxPriority: 5 } },
  'another key of all projects': { rights: { projects: '*' } },
  'another key that gives low priorities alone': { rights: { maxPriority: -3 } },
  'another untrusted key': { rights: { trusted: false }, sees: 'untrusted' },
  'a key of another project': { rights: { projects: ['prj_default'] }, sees: 'none' },
  'a key of another pool': { rights: { pools: ['another'] }, sees: 'none' },
};

for (const trusted of [true, false])
  for (const withInputs of [true, false])
    for (const [who, caller] of Object.entries(CALLERS))
      test(`${trusted ? 'a trusted' : 'an untrusted'} build ${withInputs ? 'with' : 'without'} inputs, retried by ${who}`, async () => {
        const project = await insertProject();
        const pool = unique('pool');
        const make = (rights: Partial<Rights>) =>
          createKey(
            env,
            { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, projects: [project], ...rights } },
            Date.now(),
          );
        const maker = await make(trusted ? { may: ['secrets.use', 'caches.write'] } : { trusted: false });
        const request = {
          ...{
            source: { sha256: await aBlob('a source', { project, key: maker.secret }) },
            command: 'make',
            platform: 'ios',
            project,
            pool,
          },
          ...{ priority: trusted ? 90 : 0, ...(withInputs && SECRET) },
        };
        const old = (await api<Made>('POST', '/api/builds', request, maker.secret)).body.id;
        const from = {
          groupName: 'main',
          repository: 'github.com/acme/app',
          branch: 'main',
          commitSha: 'c',
          pullRequest: 7,
        };
        await db
          .update(builds)
          .set({ cacheMode: 'write', ...from })
          .where(eq(builds.id, old));
        await db.insert(buildOrigins).values({ buildId: old, origin: { author: 'somebody' } });
        await api('POST', `/api/builds/${old}/cancel`, undefined, maker.secret);

        const isMaker = typeof caller === 'string';
        let { secret } = isMaker ? maker : await make(caller.rights);
        if (caller === 'the maker, renewed') {
          const renewed = await rotateKey(env, maker.key.id, maker.key.id, Date.now());
          if (!renewed.ok) throw new Error(renewed.message);
          secret = renewed.secret;
        }
        const { status, body } = await api<Made>('POST', `/api/builds/${old}/retry`, undefined, secret);

        const sees = isMaker ? 'all' : (caller.sees ?? 'all');
        if (sees === 'none' || (sees === 'untrusted' && trusted)) {
          const none = await api<Made>('POST', '/api/builds/b_none/retry', undefined, secret);
          expect([status, JSON.stringify(body)]).toEqual([404, JSON.stringify(none.body).replaceAll('b_none', old)]);
          return;
        }
        const rights = isMaker ? null : { ...RIGHTS_TO_ALL, ...caller.rights };
        if (withInputs && rights && !(rights.trusted && trusted)) {
          expect([status, body.error.code]).toEqual([403, 'forbidden']);
          expect(body.error.message).toMatch(/Submit the build anew/);
          return;
        }
        expect([status, body]).toEqual([201, expect.anything()]);
        const after = (await db.select().from(builds).where(eq(builds.id, body.id)).get())!;
        const isTrusted = trusted && (rights?.trusted ?? true);
        const grants = rights ? rights.may : ['secrets.use', 'caches.write'];
        expect(after).toMatchObject({
          trusted: isTrusted,
          usesSecrets: isTrusted && grants.includes('secrets.use'),
          cacheMode: isTrusted && grants.includes('caches.write') ? 'write' : 'read',
          priority: Math.min(trusted ? 90 : 0, rights?.maxPriority ?? 100),
          ...{ projectId: project, pool, retryOf: old, ...from },
        });
        const given = await readInputs(env, body.id);
        expect(given).toMatchObject({ ok: true, inputs: withInputs ? { env: { TOKEN: 'of the first key' } } : null });
      });

test('a submission above the highest priority of its key is refused by name, and one that is not is made', async () => {
  const sha256 = await aBlob();
  const request = { source: { sha256 }, command: 'make', platform: 'ios', pool: unique('pool') };
  const make = (rights: Partial<Rights>) =>
    createKey(env, { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, ...rights } }, Date.now());
  for (const [rights, highest] of [
    [{ maxPriority: 0 }, 0],
    [{ maxPriority: -3 }, -3],
    [{ trusted: false }, 0],
  ] as const) {
    const { key, secret } = await make(rights);
    await insertHold(key.id, sha256);
    const refused = await api<Made>('POST', '/api/builds', { ...request, priority: highest + 1 }, secret);
    expect([refused.status, refused.body.error.code]).toEqual([403, 'forbidden']);
    expect(refused.body.error.message).toMatch(new RegExp(`^priority: this key may give at most ${highest};`));
    expect((await api('POST', '/api/builds', { ...request, priority: highest }, secret)).status).toBe(201);
  }
  expect((await api('POST', '/api/builds', { ...request, priority: 100 })).status).toBe(201);
});

test('a name answers the stored build only if the key may read it now', async () => {
  const [one, other] = [await insertProject(), await insertProject()];
  const rights: Rights = { ...RIGHTS_TO_ALL, projects: [one, other] };
  const { key, secret } = await createKey(env, { name: 'x', scope: 'submit', rights }, Date.now());
  const sha256 = await aBlob('a source', { project: one });
  await insertHold(other, sha256);
  const request = { source: { sha256 }, command: 'make', platform: 'ios', idempotencyKey: 'release-1' };
  const ask = (project: string, by = secret) => api<Made>('POST', '/api/builds', { ...request, project }, by);
  const first = await ask(one);
  expect(first.status).toBe(201);
  expect(await ask(one)).toMatchObject({ status: 200, body: { id: first.body.id } });
  // A name belongs to one project and one lineage.
  expect((await ask(other)).status).toBe(201);
  const stranger = await createKey(
    env,
    { name: 'x', scope: 'submit', rights: { ...rights, trusted: false } },
    Date.now(),
  );
  await insertHold(stranger.key.id, sha256);
  const squatted = await ask(one, stranger.secret);
  expect(squatted.status).toBe(201);
  expect(squatted.body.id).not.toBe(first.body.id);
  // The key was narrowed: it may still submit to the project, but not read what it made there.
  await db
    .update(keys)
    .set({ rights: JSON.stringify({ ...rights, trusted: false }) })
    .where(eq(keys.id, key.id));
  const narrowed = await ask(one);
  expect([narrowed.status, narrowed.body.error.code]).toEqual([409, 'idempotency_mismatch']);
  expect(JSON.stringify(narrowed.body)).not.toContain(first.body.id);
});
