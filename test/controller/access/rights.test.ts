/**
 * Draws rights at random: no rotation, renewal or enrolment widens one, the admin of projects makes only keys
 * below its own, and the list of builds shows exactly the builds that a key may read.
 */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GRANTS, type Rights } from '#contract';
import { rotateKey } from '../../../controller/access/key-rotation.ts';
import { createKey, findKey } from '../../../controller/access/keys.ts';
import { readableBy } from '../../../controller/access/readable-builds.ts';
import {
  excess,
  type Holder,
  hasRight,
  may,
  NO_RIGHTS,
  parseRights,
  type Right,
} from '../../../controller/access/rights.ts';
import { DEFAULT_PROJECT_ID } from '../../../controller/projects/find-project.ts';
import { builds, keys } from '../../../controller/schema/index.ts';
import { createEnrolment, enrol } from '../../../controller/workers/enrolments.ts';
import { db, insertBuild, insertProject, insertWorker, unique } from '../factories/rows.ts';
import { api } from '../factories/scenarios.ts';

const RUNS = { numRuns: 60, seed: Number(env.SEED) };
const PROJECTS = ['prj_a', 'prj_b', 'prj_c'];
const POOLS = ['p', 'q'];

const listOf = <T extends string>(all: readonly T[]): fc.Arbitrary<'*' | T[]> =>
  fc.oneof(fc.constant('*' as const), fc.subarray([...all]));

/** For each field: how it is drawn, and whether one value of it gives no more than another. */
const FIELDS: {
  [Field in keyof Rights]: {
    draw: fc.Arbitrary<Rights[Field]>;
    isWithin(inner: Rights[Field], outer: Rights[Field]): boolean;
  };
} = {
  projects: { draw: listOf(PROJECTS), isWithin: isWithinList },
  pools: { draw: listOf(POOLS), isWithin: isWithinList },
  trusted: { draw: fc.boolean(), isWithin: (inner, outer) => !inner || outer },
  maxPriority: { draw: fc.integer({ min: -100, max: 100 }), isWithin: (inner, outer) => inner <= outer },
  may: { draw: fc.subarray([...GRANTS]), isWithin: (inner, outer) => inner.every((grant) => outer.includes(grant)) },
};
const FIELD_NAMES = Object.keys(FIELDS) as (keyof Rights)[];

function isWithinList(inner: '*' | readonly string[], outer: '*' | readonly string[]): boolean {
  return outer === '*' || (inner !== '*' && inner.every((one) => outer.includes(one)));
}

const rights = fc.record(
  Object.fromEntries(FIELD_NAMES.map((field) => [field, FIELDS[field].draw])) as {
    [Field in keyof Rights]: fc.Arbitrary<Rights[Field]>;
  },
);

const tooMuch = (inner: Rights, outer: Rights): string[] =>
  FIELD_NAMES.filter((field) => !FIELDS[field].isWithin(inner[field] as never, outer[field] as never));

test('the fields in which rights exceed others are those that the table of the test finds', () => {
  fc.assert(
    fc.property(rights, rights, (inner, outer) => {
      expect(excess(inner, outer)).toEqual(tooMuch(inner, outer));
    }),
    { ...RUNS, numRuns: 2_000 },
  );
});

test('neither a rotation, nor a renewal, nor a rotation of a renewed key gives more than before, in any field', async () => {
  await fc.assert(
    fc.asyncProperty(
      rights,
      fc.constantFrom('submit' as const, 'read' as const, 'admin' as const),
      async (given, scope) => {
        const now = Date.now();
        const first = await createKey(env, { name: 'x', scope, rights: given }, now);
        const before = (await findKey(env, first.secret, now))!;
        let id = first.key.id;
        for (const by of [id, 'admin', 'itself']) {
          const made = await rotateKey(env, id, by === 'itself' ? id : by, now);
          if (!made.ok) throw new Error(made.message);
          const after = (await findKey(env, made.secret, now))!;
          expect(tooMuch(after.rights, before.rights)).toEqual([]);
          expect(after).toMatchObject({ scope, workerId: null, rootId: first.key.id });
          id = made.key.id;
        }
      },
    ),
    RUNS,
  );
});

test('rights that cannot be read, or are absent, are none, and stay none after a rotation', async () => {
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{"projects":"*"}',
    '{"projects":"*","pools":"*","trusted":true,"maxPriority":100,"may":[],"more":1}',
  ]) {
    const { key, secret } = await createKey(env, { name: 'x', scope: 'submit' }, Date.now());
    await db.update(keys).set({ rights: text }).where(eq(keys.id, key.id));
    const rotated = await rotateKey(env, key.id, 'admin', Date.now());
    if (!rotated.ok) throw new Error(rotated.message);
    for (const one of [secret, rotated.secret])
      expect((await findKey(env, one, Date.now()))!.rights).toEqual(NO_RIGHTS);
    expect((await api('GET', '/api/builds', undefined, rotated.secret)).body).toEqual({ builds: [], nextCursor: null });
  }
});

test('the key of an enrolment, and the one that replaces it, have no rights beside their worker', async () => {
  const { workerId } = await insertWorker();
  const { code } = await createEnrolment(env, workerId, 60, Date.now());
  const enrolled = await enrol(env, code, Date.now());
  if (!enrolled.ok) throw new Error(enrolled.message);
  const key = (await findKey(env, enrolled.enrolled.key, Date.now()))!;
  const rotated = await rotateKey(env, key.id, key.id, Date.now());
  if (!rotated.ok) throw new Error(rotated.message);
  for (const one of [key, (await findKey(env, rotated.secret, Date.now()))!])
    expect(one).toMatchObject({ scope: 'worker', workerId, rights: NO_RIGHTS });
});

test('no key has a right to secrets for all projects, and none for the project default', () => {
  const ALONE: Right[] = ['secrets.use', 'secrets.set', 'admin'];
  fc.assert(
    fc.property(rights, (given) => {
      const key: Holder = { scope: 'submit', rights: given };
      for (const right of ALONE) if (given.projects === '*') expect(hasRight(key, right)).toBe(false);
      for (const right of ['secrets.use', 'secrets.set', 'stores', 'caches.write'] as const) {
        const all = { ...given, projects: [DEFAULT_PROJECT_ID], trusted: true, may: [...GRANTS] };
        expect(may({ scope: 'submit', rights: all }, right, { projectId: DEFAULT_PROJECT_ID })).toBe(false);
      }
      for (const grant of GRANTS) {
        expect(hasRight({ scope: 'read', rights: given }, grant)).toBe(false);
        expect(hasRight({ scope: 'worker', rights: given }, grant)).toBe(false);
        if (!given.trusted) expect(hasRight(key, grant)).toBe(false);
        // An admin of the farm has these, and gets no other grant.
        expect(hasRight({ scope: 'admin', rights: { ...given, may: [...GRANTS] } }, grant)).toBe(
          ['admin', 'numbers', 'keep', 'stores', 'links'].includes(grant),
        );
      }
    }),
    RUNS,
  );
});

test('the condition for lists holds for exactly the builds that the key may read, without those of deleted projects', async () => {
  const gone = await insertProject();
  await env.DB.prepare('UPDATE projects SET deleted_at = 1 WHERE id = ?').bind(gone).run();
  const all: { id: string; projectId: string; pool: string; trusted: boolean }[] = [];
  for (const projectId of [...PROJECTS, '', gone])
    for (const pool of POOLS)
      for (const trusted of [true, false])
        all.push({ projectId, pool, trusted, id: await insertBuild({ projectId, pool, trusted, id: unique('bld') }) });
  await fc.assert(
    fc.asyncProperty(
      rights,
      fc.constantFrom('admin' as const, 'submit' as const, 'read' as const, 'worker' as const),
      async (given, scope) => {
        const key = { scope, rights: given };
        const shown = await db.select({ id: builds.id }).from(builds).where(readableBy(key));
        const readable = all.filter((build) => build.projectId !== gone && may(key, 'builds.read', build));
        expect(shown.map(({ id }) => id).sort()).toEqual(readable.map(({ id }) => id).sort());
      },
    ),
    RUNS,
  );
});

test('the admin of projects makes exactly the keys whose rights it has itself, and names the other fields', async () => {
  const [a, b] = [await insertProject(), await insertProject()];
  const projects = (list: Rights['projects']) =>
    list === '*' ? list : list.map((one) => (one === 'prj_a' ? a : one === 'prj_b' ? b : one));
  await fc.assert(
    fc.asyncProperty(
      rights,
      rights,
      fc.constantFrom('submit' as const, 'read' as const),
      async (drawn, wanted, scope) => {
        const own = { ...drawn, projects: [a], trusted: true, may: [...new Set([...drawn.may, 'admin' as const])] };
        const admin = await createKey(env, { name: 'x', scope: 'submit', rights: own }, Date.now());
        const request = { name: 'y', scope, ...wanted, projects: projects(wanted.projects) };
        const { status, body } = await api<{ key: { rights: Rights }; error: { message: string } }>(
          'POST',
          '/api/keys',
          request,
          admin.secret,
        );
        const fields = tooMuch({ ...wanted, projects: request.projects }, own);
        if (fields.length > 0) {
          expect(status).toBe(403);
          expect(body.error.message).toMatch(new RegExp(`^${fields.join(', ')}: `));
        } else if (status === 201) {
          expect(tooMuch(body.key.rights, own)).toEqual([]);
          expect(parseRights(JSON.stringify(body.key.rights))).toEqual(body.key.rights);
        } else expect([400, 403]).toContain(status);
      },
    ),
    RUNS,
  );
});
