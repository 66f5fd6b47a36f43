/**
 * Serves the controller of `npm run dev`: the deployed controller, with one more request, which resets the
 * fixture. The request is in this process, because a second process that writes the same database would lock
 * the controller out of it.
 */
import { DEFAULT_TIMEOUTS, type Timeouts } from '#contract';
import { sha256Hex } from '../../controller/bytes.ts';
import controller from '../../controller/index.ts';
import { FIXTURE, FIXTURE_PATH, FIXTURE_SECRET } from './fixture.ts';

export { BlobUpload, BuildDeadline, BuildLog, StoreUpload } from '../../controller/index.ts';

export default {
  ...controller,
  async fetch(request, env, context) {
    if (request.method !== 'POST' || new URL(request.url).pathname !== FIXTURE_PATH)
      return controller.fetch!(withFixturesSecret(request), env, context);
    if (request.headers.get('X-API-Key') !== env.ADMIN_KEY) return new Response(null, { status: 401 });
    const statements = await fixtureSql(Date.now());
    await env.DB.batch(statements.map((sql) => env.DB.prepare(sql)));
    return new Response(null, { status: 204 });
  },
} satisfies ExportedHandler<Env>;

/** The controller takes only keys of its own form, and `test-api-key` is easier to type. */
function withFixturesSecret<R extends Request>(request: R): R {
  const given = request.headers.get('X-API-Key') ?? request.headers.get('Authorization')?.replace(/^Bearer +/i, '');
  if (given !== FIXTURE.key) return request;
  const headers = new Headers(request.headers);
  headers.delete('Authorization');
  headers.set('X-API-Key', FIXTURE_SECRET);
  return new Request(request, { headers }) as R;
}

/**
 * SQL that makes the next attempt of the fixture's build current. Only the heartbeat timeout is on. It starts
 * with the first beat.
 */
async function fixtureSql(now: number): Promise<string[]> {
  const { build, worker, key } = FIXTURE;
  const off = Object.fromEntries(Object.keys(DEFAULT_TIMEOUTS).map((name) => [name, null]));
  const timeouts = { ...off, heartbeatTimeoutMs: DEFAULT_TIMEOUTS.heartbeatTimeoutMs } as Timeouts;
  const hash = await sha256Hex(FIXTURE_SECRET);
  const source = await sha256Hex('');
  return [
    `INSERT OR IGNORE INTO workers (id, name, pool, platforms, slots, trusted_since, created_at)
      VALUES ('${worker}', '${worker}', 'fixtures', '["ios"]', 1, ${now}, ${now})`,
    `INSERT OR IGNORE INTO keys (id, hash, name, scope, worker_id, created_at)
      VALUES ('${key}', '${hash}', '${key}', 'worker', '${worker}', ${now})`,
    `INSERT OR IGNORE INTO blobs (sha256, r2_key, size, created_at, touched_at) VALUES ('${source}', 'fixture', 0, ${now}, ${now})`,
    `INSERT OR IGNORE INTO builds (id, status, attempt, transition_id, max_attempts, platform, command, source_sha256, artifact_globs, timeouts,
        pool, labels, priority, queue_rank, queued_at, created_at)
      VALUES ('${build}', 'building', 0, 'fixture', 1, 'ios', 'sleep 86400', '${source}', '[]', '${JSON.stringify(timeouts)}',
        'fixtures', '{}', 0, 0, ${now}, ${now})`,
    `UPDATE attempts SET ended_at = ${now} WHERE build_id = '${build}' AND ended_at IS NULL`,
    `DELETE FROM outbox WHERE build_id = '${build}'`,
    `UPDATE builds SET attempt = attempt + 1, status = 'building', transition_id = 'fixture-${now}', verdict = NULL, verdict_step = NULL,
        verdict_message = NULL, ended_at = NULL, started_at = ${now} WHERE id = '${build}'`,
    `INSERT INTO attempts (build_id, attempt, worker_id, instance_id, claim_id, claimed_at, started_at)
      SELECT id, attempt, '${worker}', 'fixture', 'fixture-' || attempt, ${now}, ${now} FROM builds WHERE id = '${build}'`,
    `INSERT INTO events (build_id, attempt, type, at, detail)
      SELECT id, attempt, 'claim', ${now}, '{"fixture":true}' FROM builds WHERE id = '${build}'`,
  ];
}
