/** Checks groups of builds that supersede each other, where builds come from, and the filters by both. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { Build, BuildDetail, BuildList, BuildRequestInput } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { listStatement } from '../../../controller/builds/list.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { wrongLoads } from '../../../local/chaos/wrong-loads.ts';
import { requests, STATEMENTS_MAX } from '../factories/platform-limits.ts';
import { insertBuild, runningBuild, unique } from '../factories/rows.ts';
import { aBlob, aBuild, anAssignment, api, beat, claim, show, until } from '../factories/scenarios.ts';
import { aProject } from './queued.ts';

const keyOfPools = async (pools: string[]) =>
  (await createKey(env, { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, pools } }, Date.now())).secret;

const submit = async (request: Partial<BuildRequestInput>, key = env.ADMIN_KEY) =>
  (
    await api<Build>(
      'POST',
      '/api/builds',
      { source: { sha256: await aBlob() }, command: 'make', platform: 'ios', ...request },
      key,
    )
  ).body;

const NEWER = { cancelSuperseded: true, group: 'main' } as const;
const isCancelled = (buildId: string) =>
  until('it is cancelled', async () => (await show(buildId)).status === 'cancelled');

test('a newer build of a group cancels the older ones that wait or run, and each tells which one did', async () => {
  const project = await aProject();
  const pool = unique('pool');
  const { assignment } = await anAssignment({ pool, project, group: 'main' });
  const waiting = await aBuild({ pool, project, group: 'main' });
  const others = [
    await aBuild({ pool, project, group: 'another' }),
    await aBuild({ pool, project }),
    await aBuild({ pool, project: await aProject(), group: 'main' }),
    await aBuild({ pool, project, group: 'main', trusted: false }),
  ];
  const newer = await submit({ pool, project, ...NEWER });
  for (const old of [assignment.buildId, waiting]) {
    await isCancelled(old);
    const shown = await show(old);
    expect(shown.supersededBy).toBe(newer.id);
    expect(shown.events.at(-1)).toMatchObject({ type: 'cancel', detail: { supersededBy: newer.id } });
  }
  expect((await show(assignment.buildId)).attempts[0]?.endedAt).not.toBeNull();
  await until('the agent hears of it', async () => (await beat(assignment, 'agent')).body.action === 'stop');
  for (const other of [...others, newer.id]) expect((await show(other)).status).toBe('queued');
});

test('a key cancels only in its pools, and whoever does not see the newer build is not told of it', async () => {
  const project = await aProject();
  const [mine, foreign] = [unique('pool'), unique('pool')];
  const inForeign = await aBuild({ pool: foreign, project, group: 'main' });
  const inMine = await aBuild({ pool: mine, project, group: 'main' });
  const first = await submit({ pool: mine, project, ...NEWER }, await keyOfPools([mine]));
  await isCancelled(inMine);
  expect((await show(inForeign)).status).toBe('queued');

  const both = await submit({ pool: foreign, project, ...NEWER }, await keyOfPools([mine, foreign]));
  await isCancelled(first.id);
  const path = `/api/builds/${first.id}`;
  const told = (await api<BuildDetail>('GET', path, undefined, await keyOfPools([mine]))).body;
  expect(told.status).toBe('cancelled');
  expect(JSON.stringify(told)).not.toContain(both.id);
  const all = (await api<BuildDetail>('GET', path, undefined, await keyOfPools([mine, foreign]))).body;
  expect(all.supersededBy).toBe(both.id);
});

test('a repetition cancels nothing more, and of requests at the same time the newest build stays', async () => {
  const project = await aProject();
  const pool = unique('pool');
  const request = { pool, project, ...NEWER, idempotencyKey: 'a-name' };
  const first = await submit(request);
  const later = await aBuild({ pool, project, group: 'main' });
  expect((await submit(request)).id).toBe(first.id);
  await drainOutbox(env, Date.now());
  expect((await show(later)).status).toBe('queued');

  const many = await Promise.all(Array.from({ length: 8 }, () => submit({ pool, project, ...NEWER })));
  const newest = many.toSorted((one, other) => (one.createdAt + one.id < other.createdAt + other.id ? 1 : -1))[0]!;
  for (const { id } of many) if (id !== newest.id) await isCancelled(id);
  expect((await show(newest.id)).status).toBe('queued');
});

test('a build that is added after a newer one of its group gives way to it', async () => {
  const project = await aProject();
  const pool = unique('pool');
  const inTheFuture = Date.now() + 60_000;
  const newer = await insertBuild({
    ...{ status: 'queued', attempt: 0, pool, projectId: project, groupName: 'main', createdAt: inTheFuture },
  });
  const older = await submit({ pool, project, ...NEWER });
  await isCancelled(older.id);
  expect((await show(older.id)).supersededBy).toBe(newer);
  expect((await show(newer)).status).toBe('queued');
});

test('a submission cancels 30 older builds by a few statements, and leaves the rest to the next one', async () => {
  const project = await aProject();
  const pool = unique('pool');
  for (let i = 0; i < 40; i++) await runningBuild({ pool, projectId: project, groupName: 'main', createdAt: i + 1 });
  const left = async () =>
    env.DB.prepare('SELECT count(*) AS count FROM builds WHERE project_id = ?1 AND ended_at IS NULL')
      .bind(project)
      .first<number>('count');
  await submit({ pool, project, ...NEWER });
  await until('11 are left', async () => (await left()) === 11);
  await submit({ pool, project, ...NEWER });
  await until('one is left', async () => (await left()) === 1);
  const active = await env.DB.prepare(
    'SELECT count(*) AS count FROM attempts JOIN builds ON id = build_id WHERE project_id = ?1 AND attempts.ended_at IS NULL',
  )
    .bind(project)
    .first<number>('count');
  expect(active).toBe(0);
  expect(await wrongLoads(env.DB)).toEqual([]);
  await until('the rest of the work is done', async () => {
    await drainOutbox(env, Date.now() + 600_000);
    const { results } = await env.DB.prepare(
      "SELECT id FROM outbox WHERE kind != 'seal_log' AND build_id IN (SELECT id FROM builds WHERE project_id = ?1)",
    )
      .bind(project)
      .all();
    return results.length === 0;
  });
  expect(Math.max(...requests.map(({ statements }) => statements))).toBeLessThanOrEqual(STATEMENTS_MAX);
});

test('a group needs no cancelling, and cancelling needs a group', async () => {
  const { status, body } = await api<{ error: { message: string } }>('POST', '/api/builds', {
    ...{ source: { sha256: await aBlob() }, command: 'make', platform: 'ios', cancelSuperseded: true },
  });
  expect([status, body.error.message]).toEqual([400, expect.stringContaining('needs a group')]);
});

const ORIGIN = {
  repository: 'github.com/acme/app',
  ref: 'refs/pull/7/head',
  branch: 'feature/käse',
  commit: 'a'.repeat(40),
  pullRequest: 7,
  author: 'Zoë',
  message: 'First line\n\nsecond 👩‍💻',
  dirty: false,
  url: 'https://ci.example.com/runs/1?attempt=2',
} as const;

test('the origin of a build is shown as it was given, in the list and in detail, also of a retry', async () => {
  const pool = unique('pool');
  const { id, ...submitted } = await submit({ pool, origin: ORIGIN, group: 'main' });
  expect(submitted.origin).toEqual(ORIGIN);
  expect((await show(id)).origin).toEqual(ORIGIN);
  const { body } = await api<{ builds: Build[] }>('GET', `/api/builds?pool=${pool}`);
  expect(body.builds[0]).toMatchObject({ origin: ORIGIN, group: 'main', trusted: true, projectId: 'prj_default' });
  await api('POST', `/api/builds/${id}/cancel`);
  const retried = await api<Build>('POST', `/api/builds/${id}/retry`);
  expect(retried.body).toMatchObject({ origin: ORIGIN, group: 'main' });
  expect((await submit({ pool })).origin).toBeNull();
});

test.each([
  { repository: 'https://github.com/acme/app' },
  { repository: 'github.com' },
  { repository: 'user:pass@github.com/acme/app' },
  { commit: 'A'.repeat(40) },
  { commit: 'main' },
  { branch: 'a\nb' },
  { branch: '' },
  { author: 'a\u001b[31m' },
  { author: '\u202egro.live' },
  { message: 'a\rb' },
  { message: 'a\u2066b' },
  { message: 'm'.repeat(1_001) },
  { url: 'http://ci.example.com/' },
  { url: 'javascript:alert(1)' },
  { url: 'https://user:pass@ci.example.com/' },
  { pullRequest: 0 },
  { unknown: 'field' },
])('an origin that could mislead who reads it is refused: %j', async (origin) => {
  const answer = await api<{ error: { message: string } }>('POST', '/api/builds', {
    ...{ source: { sha256: await aBlob() }, command: 'make', platform: 'ios', origin },
  });
  expect([answer.status, answer.body.error.message]).toEqual([400, expect.stringContaining('origin')]);
});

test('a list is filtered by project, repository, branch, commit, pull request, group and trust', async () => {
  const project = await aProject();
  const pool = unique('pool');
  const other = { ...ORIGIN, repository: 'github.com/acme/b', branch: 'b', commit: 'b'.repeat(40), pullRequest: 8 };
  const one = await submit({ pool, project, origin: ORIGIN, group: 'one/ios' });
  const two = await submit({ pool, project, origin: other, group: 'two', trusted: false });
  const idsOf = async (query: Record<string, string>) => {
    const text = new URLSearchParams({ pool, ...query }).toString();
    return (await api<{ builds: Build[] }>('GET', `/api/builds?${text}`)).body.builds.map(({ id }) => id);
  };
  for (const [filter, value] of [
    ['repository', ORIGIN.repository],
    ['branch', ORIGIN.branch],
    ['commit', ORIGIN.commit],
    ['pullRequest', '7'],
    ['group', 'one/ios'],
    ['trusted', '1'],
  ] as const)
    expect(await idsOf({ project, [filter]: value })).toEqual([one.id]);
  expect(await idsOf({ project })).toEqual([two.id, one.id]);
  expect(await idsOf({ trusted: '0' })).toEqual([two.id]);
  expect(await idsOf({ project: 'default' })).toEqual([]);
  expect((await api('GET', `/api/builds?branch=b`)).status).toBe(400);
  expect((await api('GET', `/api/builds?project=${unique('none')}`)).status).toBe(404);
});

test('pages follow each other without a gap, also among builds of the same moment', async () => {
  const pool = unique('pool');
  const ids = await Promise.all(
    Array.from({ length: 7 }, (_, index) => insertBuild({ pool, createdAt: 1_000 + Math.floor(index / 3) })),
  );
  const seen: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const path: string = `/api/builds?pool=${pool}&limit=2${cursor && `&cursor=${cursor}`}`;
    const page = (await api<BuildList>('GET', path)).body;
    seen.push(...page.builds.map(({ id }) => id));
    cursor = page.nextCursor;
  }
  expect(seen.toSorted()).toEqual(ids.toSorted());
  expect((await api('GET', '/api/builds?cursor=b_1')).status).toBe(400);
});

const ADMIN = { scope: 'admin', rights: RIGHTS_TO_ALL } as const;

test('every filter of a list is answered from an index, in the order of the index', async () => {
  const planOf = async (filter: Record<string, unknown>) => {
    const { sql, params } = listStatement(env, ADMIN, { limit: 20, ...filter }).toSQL();
    const plan = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...params)
      .all<{ detail: string }>();
    return plan.results.map(({ detail }) => detail).join('\n');
  };
  const cursor = { createdAt: 1, id: 'b' };
  for (const [filter, index] of [
    [{}, 'builds_created'],
    [{ trusted: false }, 'builds_created'],
    [{ projectId: 'p' }, 'builds_project'],
    [{ projectId: 'p', cursor }, 'builds_project'],
    [{ projectId: 'p', repository: 'r' }, 'builds_project'],
    [{ projectId: 'p', branch: 'b' }, 'builds_branch'],
    [{ projectId: 'p', commit: 'c' }, 'builds_commit'],
    [{ projectId: 'p', pullRequest: 1 }, 'builds_pull_request'],
    [{ projectId: 'p', group: 'g', cursor }, 'builds_group'],
    [{ projectId: 'p', fingerprint: 'f' }, 'builds_fingerprint'],
  ] as const) {
    const plan = await planOf(filter);
    expect(plan, JSON.stringify(filter)).toMatch(new RegExp(`(SEARCH|SCAN) builds USING INDEX ${index}\\b`));
    expect(plan).not.toMatch(/USE TEMP B-TREE FOR ORDER BY/);
  }
});

test('what is claimed says whose build it is', async () => {
  const project = await aProject();
  const { assignment } = await anAssignment({ project, trusted: false });
  expect(assignment).toMatchObject({ projectId: project, trusted: false, cacheMode: 'none' });
});

test('a superseded build that a worker claims meanwhile ends all the same', async () => {
  const project = await aProject();
  const { worker, assignment } = await anAssignment({ project, group: 'main' });
  const pool = (await show(assignment.buildId)).pool;
  const next = await submit({ pool, project, ...NEWER });
  await isCancelled(assignment.buildId);
  expect((await claim(worker)).body.assignment?.buildId).toBe(next.id);
});
