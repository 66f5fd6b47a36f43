/**
 * What the monitor's hand test needs: a worker with a key, and a build that is always running. Made with SQL in one local database
 * and nowhere else; the controller knows nothing of it, so a deployed one cannot have it.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DEFAULT_TIMEOUTS, type Timeouts } from '#contract';
import { wrangler } from './controller.ts';

export const FIXTURE = { build: 'test-build-123', worker: 'test-worker-456', key: 'test-api-key' };

/** The next attempt of the fixture's build becomes current. Only the heartbeat clock is on, and it starts with the first beat. */
export async function resetFixture(stateDir: string): Promise<void> {
  const { build, worker, key } = FIXTURE;
  const now = Date.now();
  const off = Object.fromEntries(Object.keys(DEFAULT_TIMEOUTS).map((name) => [name, null]));
  const timeouts = { ...off, heartbeatTimeoutMs: DEFAULT_TIMEOUTS.heartbeatTimeoutMs } as Timeouts;
  const hash = createHash('sha256').update(key).digest('hex');
  const source = createHash('sha256').digest('hex');
  const sql = `
    INSERT OR IGNORE INTO workers (id, name, pool, platforms, slots, trusted_since, created_at)
      VALUES ('${worker}', '${worker}', 'fixtures', '["ios"]', 1, ${now}, ${now});
    INSERT OR IGNORE INTO keys (id, hash, name, scope, worker_id, created_at) VALUES ('${key}', '${hash}', '${key}', 'worker', '${worker}', ${now});
    INSERT OR IGNORE INTO blobs (sha256, r2_key, size, created_at, touched_at) VALUES ('${source}', 'fixture', 0, ${now}, ${now});
    INSERT OR IGNORE INTO builds (id, status, attempt, transition_id, max_attempts, platform, command, source_sha256, artifact_globs, timeouts,
        pool, labels, priority, queue_rank, queued_at, created_at)
      VALUES ('${build}', 'building', 0, 'fixture', 1, 'ios', 'sleep 86400', '${source}', '[]', '${JSON.stringify(timeouts)}',
        'fixtures', '{}', 0, 0, ${now}, ${now});
    UPDATE attempts SET ended_at = ${now} WHERE build_id = '${build}' AND ended_at IS NULL;
    DELETE FROM outbox WHERE build_id = '${build}';
    UPDATE builds SET attempt = attempt + 1, status = 'building', transition_id = 'fixture-${now}', verdict = NULL, verdict_step = NULL,
        verdict_message = NULL, ended_at = NULL, started_at = ${now} WHERE id = '${build}';
    INSERT INTO attempts (build_id, attempt, worker_id, instance_id, claim_id, claimed_at, started_at)
      SELECT id, attempt, '${worker}', 'fixture', 'fixture-' || attempt, ${now}, ${now} FROM builds WHERE id = '${build}';
    INSERT INTO events (build_id, attempt, type, at, detail) SELECT id, attempt, 'claim', ${now}, '{"fixture":true}' FROM builds WHERE id = '${build}';`;
  const folder = await mkdtemp(path.join(tmpdir(), 'tartbeat-'));
  try {
    const file = path.join(folder, 'fixture.sql');
    await writeFile(file, sql);
    await wrangler(['d1', 'execute', 'DB', '--local', '--persist-to', stateDir, '--file', file]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
