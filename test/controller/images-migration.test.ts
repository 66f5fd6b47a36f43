/**
 * Takes a database of the release before images through migration 0007, while builds wait and run. All builds
 * go on, and the former release, which may come back, hands no build that asks for an image to any Mac.
 */
import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, expect, test } from 'vitest';
import { type Assignment, type BuildDetail, DEFAULT_TIMEOUTS, type Project, type Worker } from '#contract';
import { sha256Hex } from '../../controller/bytes.ts';
import { storeBlob } from '../../controller/files/blobs.ts';
import { removeAll } from './factories/empty-storage.ts';
import { bytesOf, sha256Of, tokenFor } from './factories/rows.ts';
import { api } from './factories/scenarios.ts';

const NOW = Date.now();
const KEY = `tb_worker_${'k'.repeat(43)}`;
const FORMER = env.TEST_MIGRATIONS.filter(({ name }) => name < '0007');
const OURS = env.TEST_MIGRATIONS.filter(({ name }) => name >= '0007');

const insert = (table: string, row: Record<string, unknown>) =>
  env.DB.prepare(`INSERT INTO ${table} (${Object.keys(row).join(', ')}) VALUES (${Object.keys(row).map(() => '?')})`)
    .bind(...Object.values(row))
    .run();

async function insertBuild(id: string, more: Record<string, unknown> = {}): Promise<void> {
  const sha256 = await sha256Of(bytesOf('a source'));
  await insert('builds', {
    ...{ id, status: 'queued', attempt: 0, transition_id: id, max_attempts: 1, platform: 'ios', command: 'make' },
    ...{ source_sha256: sha256, source_blob: sha256, artifact_globs: '[]', timeouts: JSON.stringify(DEFAULT_TIMEOUTS) },
    ...{ pool: 'default', project_id: 'prj_default', labels: '{}', priority: 0, queue_rank: 0, queued_at: NOW },
    ...{ created_at: NOW, has_inputs: 0, ...more },
  });
}

/** The compare-and-set of a claim, as the former release makes it. */
const claimedByFormer = async (id: string): Promise<boolean> => {
  const { results } = await env.DB.prepare(
    `UPDATE builds SET status = 'assigned', attempt = attempt + 1, transition_id = 'former'
     WHERE id = ?1 AND status = 'queued' RETURNING id`,
  )
    .bind(id)
    .all();
  return results.length > 0;
};
const loads = async () =>
  (await env.DB.prepare('SELECT queued, active FROM project_load').all<{ queued: number; active: number }>()).results;
const claim = async (said: object = {}) => {
  const body = { instanceId: 'mac', claimId: crypto.randomUUID(), ...said };
  return (await api<{ assignment: Assignment | null }>('POST', '/api/workers/wrk_mac/claim', body, KEY)).body;
};

// Empties all storage, because this file migrates by itself.
beforeEach(async () => {
  await removeAll();
  await applyD1Migrations(env.DB, FORMER);
  await insert('workers', {
    ...{ id: 'wrk_mac', name: 'mac', pool: 'default', platforms: '["ios"]', slots: 2, trusted_since: 0 },
    ...{ instance_id: 'mac', last_seen: NOW, created_at: 0 },
  });
  await insert('worker_pools', { worker_id: 'wrk_mac', pool: 'default', rank: 0 });
  const hash = await sha256Hex(KEY);
  await insert('keys', { id: 'key', hash, name: 'mac', scope: 'worker', created_at: 1, worker_id: 'wrk_mac' });
  const source = bytesOf('a source');
  await storeBlob(env, 'prj_default', await sha256Of(source), source.length, new Blob([source]).stream(), NOW);
  await insertBuild('b_running', { status: 'building', attempt: 1, started_at: NOW });
  await insert('attempts', {
    ...{ build_id: 'b_running', attempt: 1, worker_id: 'wrk_mac', instance_id: 'mac', claim_id: 'c', claimed_at: NOW },
  });
  await insertBuild('b_waiting');
  await applyD1Migrations(env.DB, OURS);
});

test('builds that wait and run go on, and ask for no image', async () => {
  expect((await claim()).assignment?.buildId).toBe('b_waiting');
  const { body } = await api<BuildDetail>('GET', '/api/builds/b_running');
  expect(body).toMatchObject({ image: null, attempts: [{ image: null, keptUntil: null }] });
  const failed = { type: 'fail', attempt: 1, verdict: 'build_failed', exitCode: 1 };
  const token = await tokenFor('b_running', 1, 'run', 'wrk_mac');
  expect((await api('POST', '/api/builds/b_running/reports', failed, token)).status).toBe(200);
  expect((await api<Worker>('GET', '/api/workers/wrk_mac')).body.images).toEqual([]);
  expect((await api<Project>('GET', '/api/projects/default')).body.image).toBeNull();
});

test('the former release claims builds that ask for no image, and none that asks for one', async () => {
  await insertBuild('b_image', { image: 'xcode-27' });
  expect(await claimedByFormer('b_image')).toBe(false);
  expect(await loads()).toEqual([{ queued: 2, active: 1 }]);
  expect(await claimedByFormer('b_waiting')).toBe(true);
  expect(await loads()).toEqual([{ queued: 1, active: 2 }]);
  expect((await api<BuildDetail>('GET', '/api/builds/b_image')).body).toMatchObject({ status: 'queued', attempt: 0 });
});

test('it claims none either that this release has begun once, and that came back', async () => {
  await api('POST', '/api/builds/b_waiting/cancel');
  await insertBuild('b_image', { image: 'xcode-27', max_attempts: 2 });
  const offer = { name: 'xcode-27', platform: 'ios', isDefault: true, digest: null, provisioned: null };
  const { assignment } = await claim({ images: [offer] });
  expect(assignment).toMatchObject({ buildId: 'b_image', attempt: 1 });
  const lost = { type: 'fail', attempt: 1, verdict: 'vm_exited' };
  await api('POST', '/api/builds/b_image/reports', lost, assignment!.tokens.run);
  expect(await claimedByFormer('b_image')).toBe(false);
  expect((await claim({ images: [offer] })).assignment).toMatchObject({ buildId: 'b_image', attempt: 2 });
});
