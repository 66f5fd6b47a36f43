import { env } from 'cloudflare:workers';
import { and, eq, sql } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { Pool, Project } from '#contract';
import { createKey, withoutProject } from '../../../controller/access/keys.ts';
import { parseRights, RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { insertBuild as submitRow } from '../../../controller/builds/insert.ts';
import { openDatabase } from '../../../controller/database.ts';
import { storeBlob } from '../../../controller/files/blobs.ts';
import { ensurePools } from '../../../controller/projects/pools.ts';
import {
  artifacts,
  attempts,
  blobHolds,
  builds,
  events,
  histories,
  idempotency,
  keys,
  pools,
  projects,
  secrets,
} from '../../../controller/schema/index.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { deleteProject } from '../../../controller/upkeep/project-deletion.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { findProjectsOfBuilds, rankBuildsThatCameBack } from '../../../controller/upkeep/rows-of-former-release.ts';
import { call, db, insertAttempt, insertBuild, insertProject, unique } from '../factories/rows.ts';
import { aBlob, aBuild, api, until } from '../factories/scenarios.ts';

type Failure = { error: { code: string; message: string } };
const create = (body: object, key?: string) => api<Project & Failure>('POST', '/api/projects', body, key);
const show = (idOrName: string, key?: string) =>
  api<Project & Failure>('GET', `/api/projects/${idOrName}`, undefined, key);
const change = (idOrName: string, body: object) => api<Project & Failure>('PATCH', `/api/projects/${idOrName}`, body);
const remove = (idOrName: string) => api<Failure | null>('DELETE', `/api/projects/${idOrName}`);
const rowOf = (id: string) => db.select().from(projects).where(eq(projects.id, id)).get();

async function aProject(more: object = {}): Promise<Project> {
  const { status, body } = await create({ name: unique('project'), ...more });
  expect(status).toBe(201);
  return body;
}
async function aKeyOf(...ids: string[]): Promise<{ id: string; secret: string }> {
  const rights = { ...RIGHTS_TO_ALL, projects: ids, maxPriority: 0 };
  const { key, secret } = await createKey(env, { name: 'ci', scope: 'submit', rights }, Date.now());
  return { id: key.id, secret };
}
const rightsOf = async (id: string) => parseRights((await db.select().from(keys).where(eq(keys.id, id)).get())!.rights);

test('an admin makes a project, and finds it by its id and by its name', async () => {
  const made = await aProject({ maxActive: 3 });
  expect(made).toMatchObject({ id: expect.stringMatching(/^prj_/), maxActive: 3, maxQueuedUntrusted: 20 });
  for (const named of [made.id, made.name]) expect(await show(named)).toEqual({ status: 200, body: made });
});

test('a name is taken, also in other letters, and does not look like an id', async () => {
  const { name } = await aProject();
  for (const wrong of [name, name.toUpperCase(), 'prj_mine', 'a b', ''])
    expect(await create({ name: wrong })).toMatchObject({ status: 400, body: { error: { code: 'invalid_request' } } });
  expect((await create({ name: name.toUpperCase() })).body.error.message).toContain('only in case');
  expect((await create({ name: unique('x'), colour: 'red' })).status).toBe(400);
});

test('a project is renamed in one row, and what names its id goes on', async () => {
  const project = await aProject();
  const buildId = await aBuild({ project: project.name, pool: unique('pool') });
  const name = unique('renamed');
  expect((await change(project.name, { name, maxActive: 1 })).body).toEqual({ ...project, name, maxActive: 1 });
  expect((await api('GET', `/api/builds/${buildId}`)).body).toMatchObject({ project: name });
  expect((await db.select().from(builds).where(eq(builds.id, buildId)).get())!.projectId).toBe(project.id);
  expect((await show(project.name)).status).toBe(404);
  expect((await change(project.id, { name: name.toUpperCase() })).status).toBe(200);
  const other = await aProject();
  expect((await change(other.id, { name: name })).body.error.message).toContain('only in case');
  expect((await change(other.id, {})).status).toBe(400);
});

test('whoever reaches a project sees it, and a foreign one is answered like one that does not exist', async () => {
  const [own, foreign] = [await aProject(), await aProject()];
  const { secret } = await aKeyOf(own.id);
  expect((await api('GET', '/api/projects', undefined, secret)).body).toEqual({ projects: [own] });
  expect((await show(own.name, secret)).status).toBe(200);
  for (const [one, none] of [
    [foreign.id, 'prj_none'],
    [foreign.name, 'none'],
  ] as const) {
    const [ofForeign, ofNone] = [
      await call(`/api/projects/${one}`, secret),
      await call(`/api/projects/${none}`, secret),
    ];
    expect([ofForeign.status, (await ofForeign.text()).replaceAll(one, 'P')]).toEqual([
      404,
      (await ofNone.text()).replaceAll(none, 'P'),
    ]);
  }
  expect((await create({ name: unique('x') }, secret)).status).toBe(403);
});

test('the default project keeps its name, and stays', async () => {
  expect((await change('default', { name: 'other' })).status).toBe(400);
  expect((await remove('default')).status).toBe(400);
  expect((await change('default', { maxActive: null })).status).toBe(200);
});

test('a project is not deleted while builds of it wait or run; the answer says how many and what to do', async () => {
  const project = await aProject();
  const waiting = await aBuild({ project: project.id, pool: unique('pool') });
  await insertBuild({ projectId: project.id });
  const refused = await remove(project.name);
  expect([refused.status, refused.body?.error.code]).toEqual([409, 'project_in_use']);
  expect(refused.body?.error.message).toMatch(/2 builds of project .* 1 wait, 1 run. Cancel/);
  await api('POST', `/api/builds/${waiting}/cancel`);
  await db.update(builds).set({ status: 'failed', endedAt: 1 }).where(eq(builds.projectId, project.id));
  expect((await remove(project.name)).status).toBe(204);
  expect((await remove(project.name)).status).toBe(404);
});

test('a build that the former release added to a project by its name keeps the project', async () => {
  const project = await aProject();
  const buildId = await insertBuild({ projectId: '', project: project.name, status: 'queued', attempt: 0 });
  expect((await remove(project.id)).status).toBe(409);
  await findProjectsOfBuilds(env, Date.now());
  expect((await db.select().from(builds).where(eq(builds.id, buildId)).get())!.projectId).toBe(project.id);
});

test('a deleted project leaves every key, every secret and every row, and a new one of its name gets nothing', async () => {
  const [project, other] = [await aProject(), await aProject()];
  const [alone, both, all] = [await aKeyOf(project.id), await aKeyOf(other.id, project.id), await aKeyOf()];
  const sha256 = await aBlob(unique('source'), { project: project.id });
  const source = { sha256 };
  const idempotencyKey = unique('release');
  const buildId = await aBuild({ project: project.name, source, pool: unique('pool'), idempotencyKey });
  await api('POST', `/api/builds/${buildId}/cancel`);
  await insertAttempt(buildId, 1, { endedAt: Date.now() });
  await db.insert(artifacts).values({ buildId, attempt: 1, name: 'a', sha256, size: 1, createdAt: Date.now() });
  const sealed = { pool: 'default', version: 1, keyId: 'k', sealed: 'x', setBy: 'admin', setAt: 1 };
  await db.insert(secrets).values({ id: unique('sec'), projectId: project.id, name: 'TOKEN', ...sealed });
  const history = { version: 1 as const, builds: 1, phases: [] };
  await db.insert(histories).values({ projectId: project.id, platform: 'ios', profile: '', history, updatedAt: 1 });

  expect((await remove(project.id)).status).toBe(204);
  expect(await rightsOf(alone.id)).toMatchObject({ projects: [], trusted: true });
  expect((await rightsOf(both.id)).projects).toEqual([other.id]);
  expect((await rightsOf(all.id)).projects).toEqual([]);
  for (const key of [alone.secret, both.secret, env.ADMIN_KEY])
    expect((await api('GET', `/api/builds/${buildId}`, undefined, key)).status).toBe(404);
  expect(await db.select().from(secrets).where(eq(secrets.projectId, project.id))).toEqual([]);
  expect(await db.select().from(histories).where(eq(histories.projectId, project.id))).toEqual([]);

  await retain(env, Date.now());
  for (const table of [artifacts, events, attempts])
    expect(await db.select().from(table).where(eq(table.buildId, buildId))).toEqual([]);
  expect(await db.select().from(builds).where(eq(builds.id, buildId))).toEqual([]);
  expect(await db.select().from(idempotency).where(eq(idempotency.projectId, project.id))).toEqual([]);
  expect(await db.select().from(blobHolds).where(eq(blobHolds.holder, project.id))).toEqual([]);
  await drainOutbox(env, Date.now(), { limit: 500 });

  const again = await aProject({ name: project.name });
  expect(again.id).not.toBe(project.id);
  expect(again.maxActive).toBeNull();
  expect((await show(project.name, alone.secret)).status).toBe(404);
  const request = { source, command: 'make', platform: 'ios', project: project.name };
  expect((await api<Failure>('POST', '/api/builds', request)).body.error.code).toBe('blob_not_stored');
  expect((await rowOf(project.id))!.deletedAt).not.toBeNull();
});

test('a submission and a deletion at once: either the build is there, or the project is gone', async () => {
  const outcomes = new Set<string>();
  for (let round = 0; round < 24; round++) {
    const project = await aProject();
    const { secret } = await aKeyOf(project.id);
    const sha256 = await aBlob('a source', { project: project.id });
    const request = {
      ...{ source: { sha256 }, command: 'make', platform: 'ios', project: project.id, pool: unique('pool') },
      ...(round % 2 && { idempotencyKey: unique('name') }),
    };
    // The deletion has read the project, as the submission has, before either writes.
    const row = (await rowOf(project.id))!;
    const [submitted, deleted] = await Promise.all([
      api<Failure>('POST', '/api/builds', request, secret),
      deleteProject(env, row, Date.now()),
    ]);
    const left = await db
      .select()
      .from(builds)
      .where(and(eq(builds.projectId, project.id), eq(builds.status, 'queued')));
    expect(left).toHaveLength(deleted.ok ? 0 : 1);
    expect(submitted.status).toBe(deleted.ok ? submitted.status : 201);
    if (deleted.ok) expect(['project_deleted', 'not_found']).toContain(submitted.body.error.code);
    outcomes.add(deleted.ok ? 'deleted' : 'submitted');
    expect(await db.select().from(idempotency).where(eq(idempotency.projectId, project.id))).toHaveLength(
      deleted.ok ? 0 : round % 2,
    );
  }
  expect(outcomes.size).toBeGreaterThan(0);
});

test('nothing is added to a project that is deleted between the question and the insertion', async () => {
  const project = await aProject();
  const row = (await rowOf(project.id))!;
  const bytes = new Uint8Array([1, 2, 3]);
  expect(await deleteProject(env, row, Date.now())).toEqual({ ok: true });
  const sha256 = '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81';
  const stored = await storeBlob(env, project.id, sha256, 3, new Blob([bytes]).stream(), Date.now());
  expect(stored).toMatchObject({ ok: false, code: 'project_deleted' });
  const template = (await db
    .select()
    .from(builds)
    .where(eq(builds.id, await insertBuild({ attempt: 0 })))
    .get())!;
  const late = await submitRow(env, { ...template, id: unique('b'), projectId: project.id }, null, null);
  expect(late).toMatchObject({ ok: false, code: 'project_deleted' });
});

test('keys of all projects, and those whose rights cannot be read, stay as they are', async () => {
  const id = await insertProject();
  const star = await createKey(env, { name: 'x', scope: 'submit' }, Date.now());
  const unreadable = await createKey(env, { name: 'x', scope: 'submit' }, Date.now());
  await db.update(keys).set({ rights: '' }).where(eq(keys.id, unreadable.key.id));
  await withoutProject(openDatabase(env), id, sql`TRUE`);
  expect(await rightsOf(star.key.id)).toEqual(RIGHTS_TO_ALL);
  expect((await db.select().from(keys).where(eq(keys.id, unreadable.key.id)).get())!.rights).toBe('');
});

test('builds of the former release find their project, which is made if it is missing, their lineage and rank', async () => {
  const [known, missing] = [await aProject(), unique('missing')];
  const { key } = await createKey(env, { name: 'x', scope: 'submit' }, Date.now());
  await db.update(keys).set({ rootId: 'key_root' }).where(eq(keys.id, key.id));
  const queued = { projectId: '', status: 'queued', attempt: 0, createdByKey: key.id } as const;
  const ids = await Promise.all([
    insertBuild({ ...queued, project: known.name, priority: 5, queueRank: -5 }),
    insertBuild({ ...queued, project: missing, priority: 5, queueRank: -1_000 }),
    insertBuild({ ...queued, project: missing, priority: -3, queueRank: 3 }),
    insertBuild({ ...queued, project: null, createdByKey: null }),
  ]);
  await findProjectsOfBuilds(env, Date.now());
  const made = (await show(missing)).body.id;
  const rows = await Promise.all(ids.map((id) => db.select().from(builds).where(eq(builds.id, id)).get()));
  expect(rows.map((row) => [row!.projectId, row!.queueRank, row!.createdByRoot])).toEqual([
    [known.id, -10, 'key_root'],
    [made, -11, 'key_root'],
    [made, 6, 'key_root'],
    ['prj_default', 0, null],
  ]);
});

test('a name that the former release took from an id of another project does not stand for that project', async () => {
  const victim = await aProject();
  const buildId = await insertBuild({ projectId: '', project: victim.id, status: 'queued', attempt: 0 });
  await findProjectsOfBuilds(env, Date.now());
  const { projectId } = (await db.select().from(builds).where(eq(builds.id, buildId)).get())!;
  expect(projectId).not.toBe(victim.id);
  expect((await show(victim.id)).body).toEqual(victim);
});

test('a build that the former release has put back into the queue is ranked by its priority again', async () => {
  const came = await insertBuild({ status: 'queued', priority: 2, queueRank: -1_000 });
  await rankBuildsThatCameBack(env);
  expect((await db.select().from(builds).where(eq(builds.id, came)).get())!.queueRank).toBe(-5);
});

test('a pool keeps its trust when it is named again, and an admin changes it', async () => {
  const name = unique('pool');
  const many = Array.from({ length: 60 }, () => unique('pool'));
  await ensurePools(openDatabase(env), [name, ...many], 1);
  expect((await api<Pool>('PATCH', `/api/pools/${name}`, { trusted: false })).body).toMatchObject({
    name,
    trusted: false,
  });
  await ensurePools(openDatabase(env), [name], 2);
  expect(await db.select().from(pools).where(eq(pools.name, name))).toEqual([{ name, trusted: false, createdAt: 1 }]);
  const { body } = await api<{ pools: Pool[] }>('GET', '/api/pools');
  expect(body.pools.map((pool) => pool.name)).toEqual(expect.arrayContaining([name, ...many]));
  expect((await api('PATCH', '/api/pools/none', { trusted: true })).status).toBe(404);
});

test('what an admin does to projects and pools is recorded', async () => {
  const project = await aProject();
  await change(project.id, { maxActive: 1 });
  await remove(project.id);
  await until('it is recorded', async () => {
    const { body } = await api<{ entries: { action: string; target: string; projectId?: string }[] }>(
      'GET',
      '/api/audit?limit=3',
    );
    return body.entries.map(({ action }) => action).join() === 'project.delete,project.change,project.create' && body;
  });
});
