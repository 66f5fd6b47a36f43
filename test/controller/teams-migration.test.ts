/**
 * Takes a database of the release before projects through migration 0005, while builds wait and run. All
 * builds go on with the present controller, and nobody reaches more than before.
 */
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { type BuildDetail, DEFAULT_TIMEOUTS, type KeyView, type ProgressHistory } from '#contract';
import { sha256Hex, toBase64Url } from '../../controller/bytes.ts';
import { macOfRequest } from '../../controller/secrets/request-mac.ts';
import { sweep } from '../../controller/upkeep/sweep.ts';
import { removeAll } from './factories/empty-storage.ts';
import { bytesOf, call, sha256Of, tokenFor } from './factories/rows.ts';
import { api } from './factories/scenarios.ts';

const NOW = Date.now();
const FORMER = env.TEST_MIGRATIONS.filter(({ name }) => name < '0005');
const OURS = env.TEST_MIGRATIONS.filter(({ name }) => name >= '0005');

const all = async <T = Record<string, unknown>>(sql: string): Promise<T[]> =>
  (await env.DB.prepare(sql).all<T>()).results;
const insert = (table: string, row: Record<string, unknown>) =>
  env.DB.prepare(`INSERT INTO ${table} (${Object.keys(row).join(', ')}) VALUES (${Object.keys(row).map(() => '?')})`)
    .bind(...Object.values(row))
    .run();

const secretOf = (scope: string, name: string) =>
  `tb_${scope}_${toBase64Url(bytesOf(name.padEnd(32, '.').slice(0, 32)))}`;
const KEYS = {
  boss: { scope: 'admin', pools: null },
  ci: { scope: 'submit', pools: null },
  tied: { scope: 'submit', pools: '["ios-pool"]' },
  mac: { scope: 'worker', pools: null },
  gone: { scope: 'admin', pools: null, revoked_at: NOW },
} as const;
type KeyName = keyof typeof KEYS;
const key = (name: KeyName) => secretOf(KEYS[name].scope, name);

const SOURCE = bytesOf('the source of the shop');
const APP = bytesOf('the app of the shop');
/** The request as the former release has parsed it. */
const request = async () => ({
  ...{ source: { sha256: await sha256Of(SOURCE) }, command: 'make', platform: 'ios', env: {}, secretFiles: {} },
  ...{ artifacts: [], timeouts: DEFAULT_TIMEOUTS, pool: 'ios-pool', project: 'shop', labels: {}, priority: 0 },
  ...{ maxAttempts: 1, idempotencyKey: 'release-1' },
});

async function insertBuild(id: string, more: Record<string, unknown>): Promise<void> {
  const sha256 = await sha256Of(SOURCE);
  await insert('builds', {
    ...{ id, status: 'queued', attempt: 0, transition_id: id, max_attempts: 1, platform: 'ios', command: 'make' },
    ...{ source_sha256: sha256, source_blob: sha256, artifact_globs: '[]', timeouts: JSON.stringify(DEFAULT_TIMEOUTS) },
    ...{ pool: 'ios-pool', project: 'shop', labels: '{}', priority: 0, queue_rank: 0, queued_at: NOW },
    ...{ created_by_key: 'ci', created_at: NOW, has_inputs: 0, ...more },
  });
}
const insertAttempt = (buildId: string, more: Record<string, unknown> = {}) =>
  insert('attempts', {
    ...{ build_id: buildId, attempt: 1, worker_id: 'wrk_mac', instance_id: 'mac', claim_id: buildId, claimed_at: NOW },
    ...more,
  });

/** Makes the database as the former release has left it. */
async function aFormerDatabase(): Promise<void> {
  await applyD1Migrations(env.DB, FORMER);
  await insert('workers', {
    ...{ id: 'wrk_mac', name: 'mac', pool: 'ios-pool', platforms: '["ios","android"]', slots: 2, trusted_since: 0 },
    ...{ instance_id: 'mac', last_seen: NOW, created_at: 0 },
  });
  for (const [name, { scope, ...more }] of Object.entries(KEYS)) {
    const hash = await sha256Hex(key(name as KeyName));
    const ofWorker = scope === 'worker' ? { worker_id: 'wrk_mac' } : {};
    await insert('keys', { id: name, hash, name, scope, created_at: 1, root_id: name, ...ofWorker, ...more });
  }
  for (const bytes of [SOURCE, APP]) {
    const sha256 = await sha256Of(bytes);
    await env.BLOBS.put(`blobs/${sha256}/former`, bytes);
    await insert('blobs', {
      ...{ sha256, r2_key: `blobs/${sha256}/former`, size: bytes.length, created_at: NOW, touched_at: NOW },
    });
  }
  await insertBuild('b_running', { status: 'building', attempt: 1, started_at: NOW });
  await insertAttempt('b_running', { started_at: NOW });
  await insertBuild('b_ended', { status: 'succeeded', attempt: 1, ended_at: NOW, created_by_key: 'tied' });
  await insertAttempt('b_ended', { ended_at: NOW });
  await insert('artifacts', {
    ...{ build_id: 'b_ended', attempt: 1, name: 'app.ipa', sha256: await sha256Of(APP), size: APP.length },
    created_at: NOW,
  });
  await insertBuild('b_first', { priority: 3, queue_rank: -3 });
  await insertBuild('b_came_back', { queue_rank: -1_000, queued_at: NOW - 1 });
  await insertBuild('b_named', { queued_at: NOW + 1, created_by_key: 'ci', idempotency_key: 'release-1' });
  await insertBuild('b_elsewhere', { pool: 'other-pool', project: null, created_by_key: 'boss' });
  await insert('idempotency', {
    ...{ root_id: 'ci', project: 'shop', name: 'release-1', target: 'b_named', created_at: NOW },
    request_mac: await macOfRequest(env, await request()),
  });
  const phase = { id: 'compile', durationMs: 1_000, lines: 1, work: 1, curve: Array(17).fill(500) };
  const history = { version: 1, builds: 1, phases: [phase] } satisfies ProgressHistory;
  await insert('histories', {
    ...{ project: 'shop', platform: 'ios', profile: '', history: JSON.stringify(history), updated_at: NOW },
  });
}

const show = (buildId: string, by: KeyName = 'boss') =>
  api<BuildDetail>('GET', `/api/builds/${buildId}`, undefined, key(by));
const listed = async (by: KeyName) =>
  (await api<{ builds: { id: string }[] }>('GET', '/api/builds', undefined, key(by))).body.builds
    .map(({ id }) => id)
    .sort();
const claim = async (claimId: string) => {
  const said = { instanceId: 'mac', claimId };
  const { body } = await api<{ assignment: { buildId: string } | null }>(
    ...(['POST', '/api/workers/wrk_mac/claim', said, key('mac')] as const),
  );
  return body.assignment?.buildId ?? null;
};

// Empties all storage, because this file migrates by itself.
beforeEach(async () => {
  await removeAll();
  await aFormerDatabase();
  await applyD1Migrations(env.DB, OURS);
});

test('every build has a project and a lineage, and every foreign key holds', async () => {
  const rows = await all(
    'SELECT builds.id, projects.name, created_by_root, queue_rank, trusted, uses_secrets, cache_mode FROM builds JOIN projects ON projects.id = project_id ORDER BY builds.id',
  );
  const same = { trusted: 1, uses_secrets: 0, cache_mode: 'none' };
  expect(rows).toEqual([
    { id: 'b_came_back', name: 'shop', created_by_root: 'ci', queue_rank: -1, ...same },
    { id: 'b_elsewhere', name: 'default', created_by_root: 'boss', queue_rank: 0, ...same },
    { id: 'b_ended', name: 'shop', created_by_root: 'tied', queue_rank: 0, ...same },
    { id: 'b_first', name: 'shop', created_by_root: 'ci', queue_rank: -6, ...same },
    { id: 'b_named', name: 'shop', created_by_root: 'ci', queue_rank: 0, ...same },
    { id: 'b_running', name: 'shop', created_by_root: 'ci', queue_rank: 0, ...same },
  ]);
  expect(await all('PRAGMA foreign_key_check')).toEqual([]);
});

test('the running build goes on and succeeds with an artifact of an agent that knows no attempts’ files', async () => {
  const token = await tokenFor('b_running', 1, 'run', 'wrk_mac');
  expect(
    (await api('POST', '/api/builds/b_running/heartbeat?worker_id=wrk_mac', { source: 'agent' }, token)).status,
  ).toBe(200);
  expect(await (await call('/api/builds/b_running/source', token)).bytes()).toEqual(SOURCE);
  const bytes = bytesOf('a newer app');
  const artifact = { name: 'app.ipa', sha256: await sha256Of(bytes), size: bytes.length };
  const put = await call(`/api/blobs/${artifact.sha256}`, key('mac'), {
    ...{ method: 'PUT', body: bytes, headers: { 'Content-Length': String(bytes.length) } },
  });
  expect(put.status).toBe(201);
  const said = { type: 'succeed', attempt: 1, artifacts: [artifact] };
  expect((await api('POST', '/api/builds/b_running/reports', said, token)).status).toBe(200);
  expect((await show('b_running')).body).toMatchObject({ status: 'succeeded', project: 'shop' });
});

test('an artifact that the Mac had uploaded before is asked for again, or was part of an earlier build', async () => {
  const token = await tokenFor('b_running', 1, 'run', 'wrk_mac');
  const artifact = { name: 'app.ipa', sha256: await sha256Of(APP), size: APP.length };
  const said = { type: 'succeed', attempt: 1, artifacts: [artifact] };
  expect((await api('POST', '/api/builds/b_running/reports', said, token)).status).toBe(200);
});

test('what was queued is claimed, by priority, and what came back before the others of its priority', async () => {
  const claimed = [await claim('one'), await claim('two')];
  // One of its two slots holds the running build.
  expect(claimed).toEqual(['b_first', null]);
  await api('POST', '/api/builds/b_running/cancel');
  expect(await claim('three')).toBe('b_came_back');
});

test('each key sees what it saw, and nothing else', async () => {
  const ofShop = ['b_came_back', 'b_ended', 'b_first', 'b_named', 'b_running'];
  expect(await listed('boss')).toEqual(['b_elsewhere', ...ofShop].sort());
  expect(await listed('ci')).toEqual(['b_elsewhere', ...ofShop].sort());
  expect(await listed('tied')).toEqual(ofShop);
  expect((await show('b_elsewhere', 'tied')).status).toBe(404);
  const app = await call('/api/builds/b_ended/artifacts/app.ipa', key('tied'));
  expect([app.status, await app.bytes()]).toEqual([200, APP]);
  for (const path of ['/api/builds', '/api/workers', '/api/keys'])
    expect((await call(path, key('mac'))).status).toBe(403);
  expect((await call('/api/me', key('gone'))).status).toBe(401);
});

test('no key got a right by the migration', async () => {
  const { body } = await api<{ keys: KeyView[] }>('GET', '/api/keys', undefined, key('boss'));
  const rights = Object.fromEntries(body.keys.map((one) => [one.id, one.rights]));
  const usual = { projects: '*', pools: '*', trusted: true, maxPriority: 100, may: [] };
  const none = { projects: [], pools: [], trusted: false, maxPriority: -100, may: [] };
  expect(rights).toEqual({
    ...{ boss: usual, ci: usual, gone: usual },
    tied: { ...usual, pools: ['ios-pool'] },
    mac: none,
  });
  for (const name of ['ci', 'tied'] as const)
    for (const [method, path, said] of [
      ['POST', '/api/projects', { name: 'mine' }],
      ['DELETE', '/api/projects/shop', undefined],
      ['POST', '/api/workers', { name: 'my-mac' }],
      ['POST', '/api/keys', { name: 'x', scope: 'submit' }],
    ] as const)
      expect([name, path, (await api(method, path, said, key(name))).status]).toEqual([name, path, 403]);
});

test('the former release reads the same of each key as before', async () => {
  expect(await all('SELECT id, scope, pools FROM keys ORDER BY id')).toEqual(
    Object.entries(KEYS)
      .map(([id, { scope, pools }]) => ({ id, scope, pools }))
      .sort((one, other) => (one.id < other.id ? -1 : 1)),
  );
});

test('a request that is repeated gets its build, and one that differs is refused', async () => {
  const repeated = await api<{ id: string }>('POST', '/api/builds', await request(), key('ci'));
  expect([repeated.status, repeated.body.id]).toEqual([200, 'b_named']);
  expect((await api('POST', '/api/builds', { ...(await request()), command: 'other' }, key('ci'))).status).toBe(409);
});

test('a new build of the project is made from a source that the project had, by whoever could name it', async () => {
  const { idempotencyKey: _, ...anew } = await request();
  for (const name of ['ci', 'tied'] as const)
    expect((await api('POST', '/api/builds', anew, key(name))).status).toBe(201);
  expect((await api('POST', '/api/builds/b_ended/retry', undefined, key('tied'))).status).toBe(201);
  // Another project has never sent this source.
  const elsewhere = { ...anew, project: 'another' };
  expect(await api('POST', '/api/builds', elsewhere, key('ci'))).toMatchObject({
    ...{ status: 409, body: { error: { code: 'blob_not_stored' } } },
  });
});

test('the histories, pools, holds and loads are those of what was there', async () => {
  expect(await all('SELECT name FROM histories JOIN projects ON projects.id = histories.project')).toEqual([
    { name: 'shop' },
  ]);
  expect(await all('SELECT name, trusted FROM pools ORDER BY name')).toEqual([
    { name: 'ios-pool', trusted: 1 },
    { name: 'other-pool', trusted: 1 },
  ]);
  expect(await all('SELECT worker_id, pool, rank FROM worker_pools')).toEqual([
    { worker_id: 'wrk_mac', pool: 'ios-pool', rank: 0 },
  ]);
  const holders = await all<{ holder: string; sha256: string }>('SELECT holder, sha256 FROM blob_holds');
  expect(holders.map(({ holder }) => holder.replace(/^prj_[0-9a-f]{20}$/, 'shop')).sort()).toEqual([
    ...['prj_default', 'shop', 'wrk_mac'],
  ]);
  expect(
    await all(
      'SELECT name, pool, platform, trusted, queued, active FROM project_load JOIN projects ON projects.id = project_id ORDER BY name',
    ),
  ).toEqual([
    { name: 'default', pool: 'other-pool', platform: 'ios', trusted: 1, queued: 1, active: 0 },
    { name: 'shop', pool: 'ios-pool', platform: 'ios', trusted: 1, queued: 3, active: 1 },
  ]);
});

test('the former release goes on with the new database, and what it adds is found afterwards', async () => {
  // The former release knows none of the new columns.
  await insertBuild('b_late', { project: 'later', priority: 7, queue_rank: -7, created_by_key: 'tied' });
  await insertBuild('b_unnamed', { project: null, status: 'cancelled', ended_at: NOW });
  await env.DB.prepare("UPDATE builds SET queue_rank = -1000 WHERE id = 'b_named'").run();
  const minute = (of: number) => Math.ceil(NOW / 3_600_000) * 3_600_000 + of * 60_000;
  await sweep(env, minute(1));
  await sweep(env, minute(17));
  const rows = await all(
    "SELECT builds.id, projects.name, created_by_root, queue_rank FROM builds JOIN projects ON projects.id = project_id WHERE builds.id IN ('b_late', 'b_unnamed', 'b_named') ORDER BY builds.id",
  );
  expect(rows).toEqual([
    { id: 'b_late', name: 'later', created_by_root: 'tied', queue_rank: -14 },
    { id: 'b_named', name: 'shop', created_by_root: 'ci', queue_rank: -1 },
    { id: 'b_unnamed', name: 'default', created_by_root: 'ci', queue_rank: 0 },
  ]);
  const counted = await all(
    "SELECT project_id, pool, platform, trusted, sum(status = 'queued') AS queued, sum(status != 'queued') AS active FROM builds WHERE status IN ('queued', 'assigned', 'building') GROUP BY 1, 2, 3, 4 ORDER BY 1, 2",
  );
  const kept = await all(
    'SELECT project_id, pool, platform, trusted, queued, active FROM project_load WHERE queued + active > 0 ORDER BY 1, 2',
  );
  expect(kept).toEqual(counted);
});
