/**
 * `npm run dev [-- --port N] [--host ADDRESS]`: the controller on this machine, with what the monitor's hand test needs:
 * a build that is always running, so that heartbeats can be sent to it. That fixture is made here, in the local database,
 * and set back before each start and whenever it has ended; the controller itself knows nothing of it.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, parseEnv } from 'node:util';
import { BuildDetail, DEFAULT_TIMEOUTS, type Timeouts } from '#contract';
import { asEnvFile, PROJECT_ROOT, randomSecrets, type Secrets, startController, wrangler } from './controller.ts';

const DEV_VARS = path.join(PROJECT_ROOT, '.dev.vars');
const STATE_DIR = path.join(PROJECT_ROOT, '.wrangler/state');
const FIXTURE = { build: 'test-build-123', worker: 'test-worker-456', key: 'test-api-key' };
const WATCH_EVERY_MS = 2_000;
const SWEEP_EVERY_MS = 60_000;

const { values: options } = parseArgs({
  options: { port: { type: 'string', default: '3000' }, host: { type: 'string', default: '127.0.0.1' } },
});
const port = Number(options.port);
if (!Number.isInteger(port) || port < 1 || port > 65_535) {
  console.error(`--port: ${options.port} is not a port; give a number from 1 to 65535`);
  process.exit(64);
}

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

const secrets = await devVars();
console.log('Migrating the local database …');
await using controller = await startController({
  stateDir: STATE_DIR,
  port,
  host: options.host,
  secrets,
  beforeStart: resetFixture,
  onLine: (line) => show(line),
});
console.log(`
The controller is at ${controller.url}${options.host === '127.0.0.1' ? '' : ` (listening on ${options.host})`}. The admin key is ADMIN_KEY in .dev.vars.
A heartbeat by hand, from the monitor that runs in each VM:

    vm-image/vm-monitor.sh http://localhost:${port} ${FIXTURE.build} ${FIXTURE.worker} ${FIXTURE.key} 10

What the controller knows of it:

    curl -H "X-API-Key: $(sed -n 's/^ADMIN_KEY="\\(.*\\)"/\\1/p' .dev.vars)" http://localhost:${port}/api/builds/${FIXTURE.build}

Ctrl-C stops it.
`);
await Promise.race([watchFixture(), sweepEachMinute(), controller.ended]);
if (!stopping.signal.aborted) {
  console.error('The controller ended by itself.');
  process.exitCode = 1;
}

/** The secrets of local development: random, made once, for this machine alone. */
async function devVars(): Promise<Secrets> {
  const made = await readFile(DEV_VARS, 'utf8').catch(() => null);
  if (made === null) {
    const secrets = randomSecrets();
    await writeFile(DEV_VARS, asEnvFile(secrets), { mode: 0o600 });
    console.log('Made .dev.vars with random secrets.');
    return secrets;
  }
  const { ADMIN_KEY, TOKEN_KEYS, INPUTS_KEY } = parseEnv(made);
  if (!ADMIN_KEY || !TOKEN_KEYS || !INPUTS_KEY) {
    console.error('.dev.vars: needs ADMIN_KEY, TOKEN_KEYS and INPUTS_KEY; delete the file and they are made anew');
    process.exit(64);
  }
  return { ADMIN_KEY, TOKEN_KEYS, INPUTS_KEY };
}

/** Says each beat in a line of its own, and errors; the rest of what wrangler prints is its own affair. */
function show(line: string): void {
  const entry = line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : null;
  if (entry?.event === 'beat')
    console.log(`beat  ${entry.build} attempt ${entry.attempt}, from the ${entry.source}: ${entry.outcome}`);
  else if (entry) console.error(line);
  else if (/error/i.test(line)) console.error(line);
}

async function watchFixture(): Promise<void> {
  while (!stopping.signal.aborted) {
    const response = await fetch(`${controller.url}/api/builds/${FIXTURE.build}`, {
      headers: { 'X-API-Key': secrets.ADMIN_KEY },
      signal: AbortSignal.timeout(10_000),
    }).catch(() => null);
    if (response?.ok) {
      const { endedAt, verdict } = BuildDetail.parse(await response.json());
      if (endedAt !== null) {
        console.log(
          `end   ${FIXTURE.build}: ${verdict?.title ?? 'succeeded'}${verdict ? ` (${verdict.code})` : ''}. Setting it back.`,
        );
        await resetFixture();
      }
    }
    await sleep(WATCH_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {});
  }
}

/** Cron does not fire by itself on a developer's machine. */
async function sweepEachMinute(): Promise<void> {
  while (!stopping.signal.aborted) {
    await controller.sweep().catch((error: Error) => console.error(`sweep: ${error.message}`));
    await sleep(SWEEP_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => {});
  }
}

/** The next attempt of the fixture's build becomes current. Only the heartbeat clock is on, and it starts with the first beat. */
async function resetFixture(): Promise<void> {
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
    await wrangler(['d1', 'execute', 'DB', '--local', '--persist-to', STATE_DIR, '--file', file]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
