/**
 * Drives every route, and the sweep, at the largest messages and tables that are allowed, within the limits
 * of the platform: test/worker.ts refuses everything that D1 would refuse a request on the free plan.
 */
import { env } from 'cloudflare:workers';
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import {
  APPS_OF_PROJECT_MAX,
  APPS_OF_STORE_KEY_MAX,
  ARTIFACTS_MAX,
  DEFAULT_TIMEOUTS,
  EVIDENCE_LOG_TAIL_MAX,
  EVIDENCE_OUTPUT_MAX,
  FINDING_TEXT_MAX,
  FINDING_TITLE_MAX,
  FINDINGS_MAX,
  HISTORY_PHASES_MAX,
  IMAGE_MESSAGE_MAX,
  IMAGE_OFFERS_MAX,
  IMAGES_OF_POOL_MAX,
  LINKS_OF_BUILD_MAX,
  LINKS_OF_PROJECT_MAX,
  LOG_APPEND_MAX_BYTES,
  POOLS_OF_SECRET_MAX,
  PROCESS_COMMAND_MAX,
  PROCESSES_MAX,
  type Report,
  SECRET_FILE_MAX_BYTES,
  SECRET_FILES_MAX,
  STORE_KEYS_MAX,
  STORE_WORDS_MAX,
  STORED_SECRETS_MAX,
  SUBMISSION_EVENTS_MAX,
  SUBMISSION_WARNINGS_MAX,
  SUBMISSIONS_OF_BUILD_MAX,
} from '#contract';
import { ADMIN_KEY_ID, createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { sha256Hex } from '../../../controller/bytes.ts';
import { ROUTES, type RouteKey } from '../../../controller/routes/route-table.ts';
import { buildNumbers, outbox, pools as poolsTable, secrets, storeKeys } from '../../../controller/schema/index.ts';
import { seal } from '../../../controller/secrets/sealing.ts';
import { placeOfSecret } from '../../../controller/secrets/stored-secrets.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { wrongLoads } from '../../../local/chaos/wrong-loads.ts';
import { begin, requests, STATEMENTS_MAX, withPlatformLimits } from '../factories/platform-limits.ts';
import {
  anApp,
  type Batch,
  bytesOf,
  call,
  db,
  HOUR_MS,
  insertAttempt,
  insertBlob,
  insertBuild,
  insertHold,
  insertProject,
  insertWorker,
  runningBuild,
  send,
  sha256Of,
  tokenFor,
  unique,
} from '../factories/rows.ts';
import { aBlob, until } from '../factories/scenarios.ts';
import { tinyStore } from '../factories/steps-of-tests.ts';
import { appStoreKey } from '../factories/store-keys.ts';
import { aRelease, aSubmission, type Release } from '../factories/submissions.ts';
import { aKey, aTeam, begin as beginAttempt, submit, type Team } from '../factories/teams.ts';

const WORKERS = 200;
const KEYS = 1_000;
const BUILDS = 100;
const ATTEMPTS = 10;
const EVENTS = 500;
const ANSWER_MAX_BYTES = 16 * 1024 * 1024;

// ── The largest messages ───────────────────────────────────────────────────────────────────────────────────

const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const named = <T>(count: number, make: (index: number) => T) =>
  Object.fromEntries(many(count, (i) => [`name-${i}`.padEnd(64, '-'), make(i)]));
const wide = (length: number) => '€'.repeat(length);
const POOLS = many(50, (i) => `pool-${i}`.padEnd(64, '-'));
/** A report of the doctor below the 512 KB of its route. */
const FINDINGS = many(FINDINGS_MAX, (i) => ({
  id: `finding-${i}`,
  title: 't'.repeat(FINDING_TITLE_MAX),
  status: 'fail' as const,
  blocking: true,
  detail: 'd'.repeat(FINDING_TEXT_MAX),
  fix: 'f'.repeat(FINDING_TEXT_MAX),
}));
const VMS = many(16, () => 'v'.repeat(128));
const IMAGE_NAMES = many(IMAGES_OF_POOL_MAX, (i) => `image-${i}`.padEnd(64, '-'));
const IMAGE_REFERENCE = `${'r'.repeat(400)}/mac@sha256:${'a'.repeat(64)}`;
const FETCHES = IMAGE_NAMES.map((name) => ({
  ...{ name, reference: IMAGE_REFERENCE, state: 'fetching', percent: 50, message: wide(IMAGE_MESSAGE_MAX) },
}));
const OFFERS = many(IMAGE_OFFERS_MAX, (i) => ({
  ...{ name: IMAGE_NAMES[i % IMAGE_NAMES.length]!, platform: i % 2 ? 'ios' : 'android', isDefault: i < 2 },
  ...{ digest: `sha256:${'a'.repeat(64)}`, provisioned: 'b'.repeat(64) },
}));
const EVIDENCE = {
  collectedAt: '2026-01-01T00:00:00.000Z',
  runOutput: wide(EVIDENCE_OUTPUT_MAX),
  monitor: { alive: false, restarts: 1, log: wide(EVIDENCE_OUTPUT_MAX) },
  logTail: wide(EVIDENCE_LOG_TAIL_MAX),
  processes: many(PROCESSES_MAX, (pid) => ({
    ...{ pid, elapsedMs: 1, cpuPercent: 0, state: 'S', command: wide(PROCESS_COMMAND_MAX) },
  })),
};
const HISTORY = {
  version: 1 as const,
  builds: 1,
  phases: many(HISTORY_PHASES_MAX, (i) => ({
    ...{ id: `phase-${i}`.padEnd(64, '-'), durationMs: 1_000, lines: 1, work: 1 },
    curve: many(17, () => 500),
  })),
};
/** As large as the contract lets it be. */
const largeApp = (icon: string) => ({
  ...{ ...anApp(icon), id: `com.${'e'.repeat(151)}`, name: wide(128), version: wide(64) },
  ...{ buildNumber: wide(32), minimumSystem: wide(32) },
});
const artifacts = (sha256: string) =>
  many(ARTIFACTS_MAX, (i) => ({ name: `${wide(300)}/${i}`, sha256, size: 8, app: largeApp(sha256) }));
const ORIGIN = {
  ...{ repository: `example.com/${'r'.repeat(240)}`, ref: wide(256), branch: wide(256), tag: wide(256) },
  ...{ commit: 'c'.repeat(64), pullRequest: 2_000_000_000, author: wide(256), message: wide(1_000), dirty: true },
  url: `https://ci.example.com/${'u'.repeat(1_900)}`,
};
const buildRequest = (sha256: string, pool: string) => ({
  ...{ source: { sha256 }, command: wide(16_384), platform: 'ios' as const, pool, project: 'project' },
  ...{ group: wide(128), cancelSuperseded: true, origin: ORIGIN },
  app: { id: 'com.example.app', version: wide(64), buildNumber: 7 },
  labels: named(50, () => 'l'.repeat(256)),
  artifacts: many(50, (i) => ({ glob: `${'g'.repeat(500)}${i}` })),
  env: Object.fromEntries(many(200, (i) => [`NAME_${i}`, 'v'.repeat(1_000)])),
  secretFiles: named(SECRET_FILES_MAX, () => 'A'.repeat(6_000)),
});

// ── The largest tables ─────────────────────────────────────────────────────────────────────────────────────

const columnsOf = async (table: string): Promise<string[]> =>
  (await env.DB.prepare(`SELECT name FROM pragma_table_info('${table}')`).all<{ name: string }>()).results.map(
    ({ name }) => name,
  );

let blob: string;
let large: { buildId: string; pool: string };
const sql = (text: string, ...values: unknown[]) =>
  env.DB.prepare(text)
    .bind(...values)
    .run();
const NUMBERS = (count: number) =>
  `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})`;

beforeAll(async () => {
  tinyStore();
  blob = await insertBlob(bytesOf('a source'));
  for (const holder of [ADMIN_KEY_ID, 'wrk_1']) await insertHold(holder, blob);
  await sql(
    `INSERT INTO workers (id, name, pool, platforms, slots, trusted_since, last_seen, vms, findings, created_at)
     ${NUMBERS(WORKERS)} SELECT 'w' || i, 'worker-' || i, 'default', '["ios"]', 2, 0, ?1, ?2, ?3, 0 FROM n`,
    ...[Date.now(), JSON.stringify(VMS), JSON.stringify(FINDINGS)],
  );
  await sql(
    `INSERT INTO keys (id, hash, name, scope, pools, created_at) ${NUMBERS(KEYS)}
     SELECT 'k' || i, 'k' || i, 'x', 'submit', ?1, i FROM n`,
    JSON.stringify(POOLS),
  );
  await sql(
    `INSERT INTO audit (at, key_id, key_name, action, target) ${NUMBERS(200)} SELECT i, 'k1', 'x', 'key.create', 'k' FROM n`,
  );
  const pool = unique('pool');
  const submitted = await ask('POST', '/api/builds', env.ADMIN_KEY, buildRequest(blob, pool));
  const { id } = await submitted.json<{ id: string }>();
  await sql(
    `UPDATE builds SET status = 'failed', attempt = ?1, verdict = 'vm_exited', verdict_message = ?2, ended_at = 1 WHERE id = ?3`,
    ATTEMPTS,
    wide(4_000),
    id,
  );
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++)
    await insertAttempt(id, attempt, { workerId: 'w1', endedAt: 1, verdict: 'vm_exited', verdictMessage: wide(4_000) });
  await sql(
    `INSERT INTO attempt_evidence (build_id, attempt, evidence) SELECT build_id, attempt, ?2 FROM attempts WHERE build_id = ?1`,
    ...[id, JSON.stringify(EVIDENCE)],
  );
  await sql(
    `INSERT INTO artifacts (build_id, attempt, name, sha256, size, created_at, app, icon) ${NUMBERS(ARTIFACTS_MAX)}
     SELECT build_id, attempt, ?2 || i, ?3, 8, 1, ?4, ?3 FROM attempts, n WHERE build_id = ?1`,
    ...[id, wide(300), blob, JSON.stringify(largeApp(blob))],
  );
  await sql(
    `INSERT INTO events (build_id, attempt, type, at, detail) ${NUMBERS(EVENTS)} SELECT ?1, 1, 'fail', i, ?2 FROM n`,
    ...[id, JSON.stringify({ message: wide(4_000) })],
  );
  large = { buildId: id, pool };
  const columns = (await columnsOf('builds')).filter((name) => !['id', 'idempotency_key'].includes(name));
  await sql(
    `INSERT INTO builds (id, ${columns}) ${NUMBERS(BUILDS)} SELECT ?1 || '-' || i, ${columns} FROM builds, n WHERE id = ?1`,
    id,
  );
}, 120_000);

// ── The questions ──────────────────────────────────────────────────────────────────────────────────────────

async function ask(method: string, path: string, key: string | null, body?: unknown): Promise<Response> {
  const raw = body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : null;
  return call(path, key, {
    method,
    headers: raw
      ? { 'Content-Length': String(raw.byteLength), 'X-Part-SHA256': await sha256Of(raw) }
      : { 'Content-Type': 'application/json' },
    body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
  });
}
const admin = (method: string, path: string, body?: unknown) => ask(method, path, env.ADMIN_KEY, body);

/** A worker whose two slots are taken. */
async function aBusyWorker() {
  const { workerId, key } = await insertWorker();
  await sql('UPDATE workers SET slots = 2, platforms = ?2 WHERE id = ?1', workerId, '["ios","android"]');
  const batch: Batch = [];
  const held = await Promise.all([1, 2].map(() => insertBuild({ maxAttempts: 2, sourceSha256: blob }, batch)));
  for (const buildId of held) await insertAttempt(buildId, 1, { workerId }, batch);
  await send(batch);
  return { workerId, key, held };
}
/** Names as many images for the pool as it may have. */
async function nameImages(pool: string) {
  await sql('INSERT OR IGNORE INTO pools (name, created_at) VALUES (?1, 1)', pool);
  await sql(
    `INSERT OR IGNORE INTO pool_images (pool, name, reference, at_once, set_at)
     SELECT ?1, value, ?2, 100, 1 FROM json_each(?3)`,
    ...[pool, IMAGE_REFERENCE, JSON.stringify(IMAGE_NAMES)],
  );
}
async function withToken(said: (sha256: string) => object, build = {}) {
  const { buildId, token } = await runningBuild({ project: 'project', ...build });
  return ask('POST', `/api/builds/${buildId}/reports`, token, { attempt: 1, ...said(blob) });
}
/** The place of a file that no attempt has stored yet, and the token that opens it. */
async function aPlace(bytes = bytesOf(unique('file'))) {
  const { buildId, token } = await runningBuild();
  return { bytes, token, path: `/api/builds/${buildId}/blobs/${await sha256Of(bytes)}` };
}
async function uploadOfAttempt() {
  const { token, path } = await aPlace();
  const begun = await ask('POST', `${path}/uploads`, token, { size: 1_000 });
  return { token, path: `${path}/uploads/${(await begun.json<{ id: string }>()).id}` };
}
const upload = async (rest = '') => {
  const sha256 = await sha256Of(bytesOf(unique('file')));
  const begun = await admin('POST', `/api/blobs/${sha256}/uploads`, { size: 1_000 });
  return `/api/blobs/${sha256}/uploads/${(await begun.json<{ id: string }>()).id}${rest}`;
};

const LARGEST_SECRET = { file: btoa('x'.repeat(SECRET_FILE_MAX_BYTES)), path: 'p'.repeat(128) };
/** A project with nearly all the secrets that it may have, in as many pools as one request may name. */
async function aTeamWithSecrets() {
  const pools = await somePools();
  const team = { ...(await aTeam()), pool: pools[0]! };
  const { key, keyId } = await aKey(team.projectId, ['secrets.set', 'secrets.use']);
  const { sealed } = await seal(env, ['stored_secret'], 'x'.repeat(1_000));
  await sql(
    `INSERT INTO secrets (id, project_id, pool, name, version, key_id, sealed, set_by, set_at) ${NUMBERS(STORED_SECRETS_MAX - 1)}
     SELECT ?1 || value || '-' || i, ?2, value, 'NAME_' || i, 1, 'k', ?4, ?5, 0 FROM n, json_each(?3)`,
    ...[unique('sec'), team.projectId, JSON.stringify(pools), sealed, keyId],
  );
  return { team: { ...team, key, keyId }, pools };
}
async function somePools(): Promise<string[]> {
  const pools = many(POOLS_OF_SECRET_MAX, () => unique('pool'));
  await send(pools.map((name) => db.insert(poolsTable).values({ name, trusted: true, createdAt: 1 })));
  return pools;
}

/** Stores as many secrets of the team as a pool may have, each of which opens. */
async function fillPool({ projectId, pool, keyId: setBy }: Team) {
  const batch: Batch = [];
  for (let i = 0; i < STORED_SECRETS_MAX; i++) {
    const place = { projectId, pool, name: `NAME_${i}`, path: null, id: unique('sec'), version: 1 };
    const sealed = await seal(env, placeOfSecret(place), JSON.stringify('v'.repeat(5_000)));
    batch.push(db.insert(secrets).values({ ...place, ...sealed, setBy, setAt: 0 }));
  }
  await send(batch);
}

/** A project with nearly all the store keys that it may have, each of the largest size. */
async function aTeamWithStoreKeys() {
  const pools = await somePools();
  const projectId = await insertProject();
  const { key, keyId } = await aKey(projectId, ['admin']);
  const apps = many(APPS_OF_STORE_KEY_MAX, appId);
  const store = 'app-store-connect' as const;
  const rows = many(STORE_KEYS_MAX - 1, (i) => ({
    ...{ id: unique('stk'), projectId, name: `NAME_${i}`, store, identity: 'AB32CZE81F' },
    ...{ apps, pools, version: 1, keyId: 'k', sealed: 'x'.repeat(500), setBy: keyId, setAt: 0 },
  }));
  await send(rows.map((row) => db.insert(storeKeys).values(row)));
  return { projectId, key, request: await appStoreKey(pools, { apps }) };
}

const appId = (i: number) => `com.example-${i}.`.padEnd(155, 'a');
/** A project with nearly all the counters that it may have, and a running build of it. */
async function aTeamWithCounters() {
  const projectId = await insertProject();
  const { key, keyId } = await aKey(projectId, ['numbers']);
  await db.insert(buildNumbers).values(
    // D1 takes 100 values in a statement.
    many(10, (i) => ({
      projectId,
      platform: 'ios' as const,
      appId: appId(i),
      value: 41,
      updatedAt: 1,
      seededBy: keyId,
    })),
  );
  await sql(
    `INSERT INTO build_numbers (project_id, platform, app_id, value, seeded_by, updated_at) ${NUMBERS(APPS_OF_PROJECT_MAX - 11)}
     SELECT ?1, 'android', 'com.example.' || i, 41, ?2, 1 FROM n`,
    ...[projectId, keyId],
  );
  const { buildId } = await runningBuild({ projectId, createdByKey: keyId, createdByRoot: keyId });
  return { team: { projectId, key, keyId }, buildId };
}

/** A submission with as many warnings, words and entries in its timeline as it may have. */
async function aSubmissionThatFailed(release: Release): Promise<string> {
  const id = await aSubmission(release);
  const warnings = JSON.stringify(many(SUBMISSION_WARNINGS_MAX, () => wide(500)));
  await sql(
    `UPDATE submissions SET state = 'failed', reason = 'internal', store_words = ?2, warnings = ?3, blob = NULL, ended_at = 1
     WHERE id = ?1`,
    ...[id, wide(STORE_WORDS_MAX), warnings],
  );
  await sql(
    `INSERT INTO submission_events (submission_id, number, at, state, says) ${NUMBERS(SUBMISSION_EVENTS_MAX - 1)}
     SELECT ?1, i + 1, 1, 'waiting', ?2 FROM n`,
    ...[id, wide(500)],
  );
  return id;
}

/** So many failed submissions of one build. All but the first are copies of its rows. */
async function submissionsThatFailed(release: Release, count: number): Promise<void> {
  const first = await aSubmissionThatFailed(release);
  for (const [table, key] of [
    ['submissions', 'id'],
    ['submission_events', 'submission_id'],
  ] as const) {
    const rest = (await columnsOf(table)).filter((name) => name !== key);
    await sql(
      `INSERT INTO ${table} (${key}, ${rest}) ${NUMBERS(count - 1)}
       SELECT ?1 || '-' || i, ${rest} FROM ${table}, n WHERE ${key} = ?1`,
      first,
    );
  }
}

/** Makes a thing once, for all questions that leave it unchanged. */
const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
};

const sharedLinks = once(linksAtTheirMost);
const sharedSecrets = once(aTeamWithSecrets);
const sharedStoreKeys = once(aTeamWithStoreKeys);
const sharedCounters = once(aTeamWithCounters);

/** A build, and its project, with one link less than they may have. */
async function linksAtTheirMost() {
  const { project: projectId, buildId, sha256, key } = await aRelease(undefined, { store: 'app-store-connect' });
  await sql("UPDATE keys SET rights = json_set(rights, '$.may', json('[\"links\"]')) WHERE id = ?1", key.id);
  const app = JSON.stringify({ ...largeApp(sha256), icon: undefined });
  await sql(`UPDATE artifacts SET name = 'Shop.ipa', app = ?2 WHERE build_id = ?1`, buildId, app);
  const insert = `INSERT INTO links (id, hash, project_id, build_id, attempt, artifact, sha256, created_by_key,
    created_by_root, created_at, expires_at)`;
  const row = `SELECT ?1 || i, ?1 || i, ?2, ?1, 1, 'Shop.ipa', ?3, ?4, ?4, ?5, ?5 + 3600000 FROM n`;
  const values = [projectId, sha256, key.id, Date.now()];
  await sql(`${insert} ${NUMBERS(LINKS_OF_BUILD_MAX - 1)} ${row}`, buildId, ...values);
  const another = await insertBuild({ projectId, status: 'succeeded', endedAt: Date.now() });
  await sql(`${insert} ${NUMBERS(LINKS_OF_PROJECT_MAX - LINKS_OF_BUILD_MAX)} ${row}`, another, ...values);
  const token = unique('').padEnd(43, '-');
  await sql('UPDATE links SET hash = ?2 WHERE id = ?1', `${buildId}1`, await sha256Hex(token));
  await sql('UPDATE artifacts SET icon = sha256 WHERE build_id = ?1', buildId);
  return { projectId, buildId, linkId: `${buildId}1`, secret: key.secret, token };
}

type Question = () => Promise<Response>;
/** One or more questions for each route. */
const QUESTIONS: Record<RouteKey, Question | Question[]> = {
  'GET /health': () => ask('GET', '/health', null),
  'GET /api/me': () => admin('GET', '/api/me'),
  'GET /api/audit': () => admin('GET', '/api/audit?limit=200'),
  'POST /api/keys': () => admin('POST', '/api/keys', { name: 'n'.repeat(100), scope: 'submit', pools: POOLS }),
  'GET /api/keys': () => admin('GET', '/api/keys'),
  'DELETE /api/keys/:id': async () => {
    const { workerId } = await aBusyWorker();
    const [first] = (
      await env.DB.prepare('SELECT id FROM keys WHERE worker_id = ?1').bind(workerId).all<{ id: string }>()
    ).results;
    await sql(
      `INSERT INTO keys (id, hash, name, scope, worker_id, created_at, rotated_from) ${NUMBERS(100)}
       SELECT ?1 || i, ?1 || i, 'x', 'worker', ?2, 0, CASE i WHEN 1 THEN ?1 ELSE ?1 || (i - 1) END FROM n`,
      ...[first!.id, workerId],
    );
    return admin('DELETE', `/api/keys/${first!.id}`);
  },
  'POST /api/keys/:id/rotate': async () => {
    const { key } = await createKey(
      env,
      { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, pools: POOLS } },
      Date.now(),
    );
    return admin('POST', `/api/keys/${key.id}/rotate`);
  },

  'POST /api/builds': () =>
    admin('POST', '/api/builds', {
      ...buildRequest(blob, unique('pool')),
      idempotencyKey: unique('i').padEnd(128, '-'),
    }),
  'GET /api/builds': [
    () => admin('GET', `/api/builds?limit=${BUILDS}&pool=${large.pool}`),
    () => admin('GET', '/api/builds?limit=20&live=1'),
    async () => {
      const { secret } = await createKey(
        env,
        { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, pools: POOLS } },
        Date.now(),
      );
      return ask('GET', `/api/builds?limit=${BUILDS}&status=failed&cursor=${Date.now() + HOUR_MS}.z`, secret);
    },
  ],
  'GET /api/builds/:id': [
    () => admin('GET', `/api/builds/${large.buildId}`),
    async () => admin('GET', `/api/builds/${await insertBuild({ status: 'queued', attempt: 0, pool: 'default' })}`),
  ],
  'POST /api/builds/:id/cancel': async () => admin('POST', `/api/builds/${(await runningBuild()).buildId}/cancel`),
  'POST /api/builds/:id/retry': () => admin('POST', `/api/builds/${large.buildId}/retry`),
  'POST /api/builds/:id/submissions': async () => {
    const release = await aRelease();
    await submissionsThatFailed(release, SUBMISSIONS_OF_BUILD_MAX - 1);
    return ask('POST', `/api/builds/${release.buildId}/submissions`, release.key.secret, {
      ...{ store: 'google-play', idempotencyKey: 'i'.repeat(128), track: 't'.repeat(100) },
    });
  },
  'GET /api/builds/:id/submissions': async () => {
    const release = await aRelease();
    await submissionsThatFailed(release, SUBMISSIONS_OF_BUILD_MAX);
    return admin('GET', `/api/builds/${release.buildId}/submissions`);
  },
  'GET /api/projects/:id/submissions': async () => {
    const release = await aRelease();
    await submissionsThatFailed(release, SUBMISSIONS_OF_BUILD_MAX);
    return admin('GET', `/api/projects/${release.project}/submissions?limit=100`);
  },
  'GET /api/submissions/:id': async () =>
    admin('GET', `/api/submissions/${await aSubmissionThatFailed(await aRelease())}`),
  'POST /api/submissions/:id/cancel': async () =>
    admin('POST', `/api/submissions/${await aSubmission(await aRelease())}/cancel`),
  'POST /api/builds/:id/links': async () => {
    const { buildId, secret } = await linksAtTheirMost();
    return ask('POST', `/api/builds/${buildId}/links`, secret, { artifact: 'Shop.ipa', expiresInMs: HOUR_MS });
  },
  'GET /api/builds/:id/links': async () => admin('GET', `/api/builds/${(await sharedLinks()).buildId}/links`),
  'GET /api/projects/:id/links': async () =>
    admin('GET', `/api/projects/${(await sharedLinks()).projectId}/links?limit=100`),
  'DELETE /api/links/:id': async () => admin('DELETE', `/api/links/${(await linksAtTheirMost()).linkId}`),
  'GET /i/:token': async () => ask('GET', `/i/${(await sharedLinks()).token}`, null),
  'GET /i/:token/manifest.plist': async () => ask('GET', `/i/${(await sharedLinks()).token}/manifest.plist`, null),
  'GET /i/:token/icon': async () => ask('GET', `/i/${(await sharedLinks()).token}/icon`, null),
  'GET /i/:token/file/:name': async () => ask('GET', `/i/${(await sharedLinks()).token}/file/Shop.ipa`, null),
  'GET /api/builds/:id/logs': () => admin('GET', `/api/builds/${large.buildId}/logs`),
  'GET /api/builds/:id/artifacts': () => admin('GET', `/api/builds/${large.buildId}/artifacts`),
  'GET /api/builds/:id/artifacts/:name{.+}': () =>
    admin('GET', `/api/builds/${large.buildId}/artifacts/${encodeURIComponent(`${wide(300)}7`)}`),
  'GET /api/builds/:id/icons/:name{.+}': () =>
    admin('GET', `/api/builds/${large.buildId}/icons/${encodeURIComponent(`${wide(300)}7`)}`),

  'POST /api/builds/:id/heartbeat': async () => {
    const { workerId, key, held } = await aBusyWorker();
    return ask('POST', `/api/builds/${held[0]}/heartbeat?worker_id=${workerId}`, key, {
      progress: 45,
      phase: wide(120),
    });
  },
  'POST /api/builds/:id/reports': [
    () => withToken(() => ({ type: 'start' })),
    () =>
      withToken(
        (sha256) =>
          ({ type: 'succeed', artifacts: artifacts(sha256), history: HISTORY, quietMs: 1 }) satisfies Omit<
            Report & { type: 'succeed' },
            'attempt'
          >,
      ),
    () =>
      withToken(
        (sha256) => ({
          ...{ type: 'fail', verdict: 'vm_exited', step: 's'.repeat(64), message: wide(4_000), evidence: EVIDENCE },
          artifacts: many(ARTIFACTS_MAX, (i) => ({ name: `file-${i}`, sha256, size: 8 })),
        }),
        { maxAttempts: 2 },
      ),
    async () => {
      const buildId = await insertBuild({ status: 'failed', endedAt: Date.now() });
      await insertAttempt(buildId, 1, { endedAt: Date.now(), verdict: 'vm_exited' });
      const said = { type: 'evidence', attempt: 1, evidence: EVIDENCE };
      return ask('POST', `/api/builds/${buildId}/reports`, await tokenFor(buildId), said);
    },
  ],
  'POST /api/builds/:id/kept': async () => {
    const { key, held } = await aBusyWorker();
    await sql('UPDATE builds SET keep_ms = 60000 WHERE id = ?1', held[0]);
    const until = new Date(Date.now() + HOUR_MS).toISOString();
    return ask('POST', `/api/builds/${held[0]}/kept`, key, { attempt: 1, until });
  },
  'POST /api/builds/:id/number': [
    // The number jumps, for a key that was rotated.
    async () => {
      const { team, buildId } = await aTeamWithCounters();
      const rotated = await admin('POST', `/api/keys/${team.keyId}/rotate?overlapMs=0`);
      await ask('GET', '/api/me', (await rotated.json<{ secret: string }>()).secret);
      const app = { id: appId(1), version: wide(64), buildNumber: 5_000_000 };
      return ask('POST', `/api/builds/${buildId}/number`, await tokenFor(buildId), { app, increment: true });
    },
    // The request makes the last counter that the project may have.
    async () => {
      const { buildId } = await aTeamWithCounters();
      const app = { id: appId(APPS_OF_PROJECT_MAX), buildNumber: 7 };
      return ask('POST', `/api/builds/${buildId}/number`, await tokenFor(buildId), { app, increment: true });
    },
  ],
  'PUT /api/builds/:id/logs': async () => {
    const { buildId, token } = await runningBuild();
    return ask('PUT', `/api/builds/${buildId}/logs?attempt=1&offset=0`, token, new Uint8Array(LOG_APPEND_MAX_BYTES));
  },
  'GET /api/builds/:id/source': async () => {
    const { buildId, token } = await runningBuild();
    return ask('GET', `/api/builds/${buildId}/source`, token);
  },
  'GET /api/builds/:id/inputs': [
    async () => {
      const { buildId, token } = await runningBuild({ hasInputs: true });
      const submitted = await admin('POST', '/api/builds', buildRequest(blob, unique('pool')));
      const { id } = await submitted.json<{ id: string }>();
      await insertAttempt(id, 1, { workerId: 'w1' });
      await sql("UPDATE builds SET status = 'building', attempt = 1 WHERE id = ?1", id);
      expect((await ask('GET', `/api/builds/${buildId}/inputs`, token)).status).toBe(422);
      return ask('GET', `/api/builds/${id}/inputs`, await tokenFor(id, 1, 'run', 'w1'));
    },
    // The build gets as many stored secrets as a pool may have.
    async () => {
      const team = await aTeam();
      await fillPool(team);
      const id = await submit(team);
      await beginAttempt(id);
      const answer = await ask('GET', `/api/builds/${id}/inputs`, await tokenFor(id));
      const { env: variables } = await answer.clone().json<{ env: object }>();
      expect(Object.keys(variables)).toHaveLength(STORED_SECRETS_MAX);
      return answer;
    },
  ],

  'GET /api/projects/:id/secrets': async () => {
    const { team } = await sharedSecrets();
    return ask('GET', `/api/projects/${team.projectId}/secrets`, team.key);
  },
  'PUT /api/projects/:id/secrets/:name': [
    // The secret is new in each pool, then it gets a new value in each.
    ...[201, 200].map((status) => async () => {
      const { team, pools } = await sharedSecrets();
      const path = `/api/projects/${team.projectId}/secrets/LARGEST`;
      const answer = await ask('PUT', path, team.key, { ...LARGEST_SECRET, pools });
      expect(answer.status).toBe(status);
      return answer;
    }),
  ],
  'DELETE /api/projects/:id/secrets/:name': async () => {
    const { team } = await sharedSecrets();
    return ask('DELETE', `/api/projects/${team.projectId}/secrets/NAME_1`, team.key);
  },

  'GET /api/projects/:id/store-keys': async () => {
    const team = await sharedStoreKeys();
    return ask('GET', `/api/projects/${team.projectId}/store-keys`, team.key);
  },
  'PUT /api/projects/:id/store-keys/:name': [
    // The store key is new, then it gets a new value.
    ...[201, 200].map((status) => async () => {
      const { projectId, key, request } = await sharedStoreKeys();
      const answer = await ask('PUT', `/api/projects/${projectId}/store-keys/another`, key, request);
      expect(answer.status).toBe(status);
      return answer;
    }),
  ],
  'DELETE /api/projects/:id/store-keys/:name': async () => {
    const { projectId, key } = await sharedStoreKeys();
    return ask('DELETE', `/api/projects/${projectId}/store-keys/NAME_1`, key);
  },

  'GET /api/projects/:id/build-cache': async () => {
    const { team } = await sharedCounters();
    const query = `platform=android&fingerprint=${'0'.repeat(128)}`;
    return ask('GET', `/api/projects/${team.projectId}/build-cache?${query}`, team.key);
  },
  'GET /api/projects/:id/numbers': async () => {
    const { team } = await sharedCounters();
    return ask('GET', `/api/projects/${team.projectId}/numbers`, team.key);
  },
  'PUT /api/projects/:id/numbers/:platform/:appId': [1, APPS_OF_PROJECT_MAX].map((i) => async () => {
    const { team } = await aTeamWithCounters();
    return ask('PUT', `/api/projects/${team.projectId}/numbers/ios/${appId(i)}`, team.key, { value: 41 });
  }),

  'PUT /api/builds/:id/blobs/:sha256': async () => {
    const { bytes, token, path } = await aPlace();
    return ask('PUT', path, token, bytes);
  },
  'GET /api/builds/:id/blobs/:sha256': async () => {
    const { bytes, token, path } = await aPlace();
    await ask('PUT', path, token, bytes);
    return ask('GET', path, token);
  },
  'POST /api/builds/:id/blobs/:sha256/uploads': async () => {
    const { token, path } = await aPlace();
    return ask('POST', `${path}/uploads`, token, { size: 1_000 });
  },
  'PUT /api/builds/:id/blobs/:sha256/uploads/:upload/parts/:part': async () => {
    const { token, path } = await uploadOfAttempt();
    return ask('PUT', `${path}/parts/1`, token, new Uint8Array(1_000));
  },
  'POST /api/builds/:id/blobs/:sha256/uploads/:upload/complete': async () => {
    const { token, path } = await uploadOfAttempt();
    await ask('PUT', `${path}/parts/1`, token, new Uint8Array(1_000));
    return ask('POST', `${path}/complete`, token);
  },
  'GET /api/builds/:id/blobs/:sha256/uploads/:upload': async () => {
    const { token, path } = await uploadOfAttempt();
    return ask('GET', path, token);
  },
  'DELETE /api/builds/:id/blobs/:sha256/uploads/:upload': async () => {
    const { token, path } = await uploadOfAttempt();
    return ask('DELETE', path, token);
  },

  'PUT /api/blobs/:sha256': async () => {
    const bytes = bytesOf(unique('file'));
    return admin('PUT', `/api/blobs/${await sha256Of(bytes)}`, bytes);
  },
  'GET /api/blobs/:sha256': async () => admin('GET', `/api/blobs/${await aBlob(unique('a file'))}`),
  'POST /api/blobs/:sha256/uploads': () => admin('POST', `/api/blobs/${'0'.repeat(64)}/uploads`, { size: 1_000 }),
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part': async () =>
    admin('PUT', await upload('/parts/1'), new Uint8Array(1_000)),
  'POST /api/blobs/:sha256/uploads/:upload/complete': async () => {
    const path = await upload();
    await admin('PUT', `${path}/parts/1`, new Uint8Array(1_000));
    return admin('POST', `${path}/complete`);
  },
  'GET /api/blobs/:sha256/uploads/:upload': async () => admin('GET', await upload()),
  'DELETE /api/blobs/:sha256/uploads/:upload': async () => admin('DELETE', await upload()),

  'GET /api/projects': () => admin('GET', '/api/projects'),
  'POST /api/projects': () => admin('POST', '/api/projects', { name: unique('n').padEnd(64, '-'), maxActive: 1 }),
  'GET /api/projects/:id': () => admin('GET', '/api/projects/default'),
  'PATCH /api/projects/:id': async () =>
    admin('PATCH', `/api/projects/${await insertProject()}`, { name: unique('n').padEnd(64, '-'), maxActive: 1 }),
  'DELETE /api/projects/:id': async () => {
    const id = await insertProject();
    const rights = JSON.stringify({ ...RIGHTS_TO_ALL, projects: many(50, (i) => (i === 7 ? id : `prj_${i}`)) });
    await sql(
      `INSERT INTO keys (id, hash, name, scope, rights, created_at) ${NUMBERS(500)}
       SELECT ?1 || i, ?1 || i, 'x', 'submit', ?2, 0 FROM n`,
      ...[id, rights],
    );
    return admin('DELETE', `/api/projects/${id}`);
  },
  'GET /api/pools': () => admin('GET', '/api/pools'),
  'PATCH /api/pools/:pool': async () => {
    const pool = unique('pool');
    await sql('INSERT INTO pools (name, created_at) VALUES (?1, 1)', pool);
    return admin('PATCH', `/api/pools/${pool}`, { trusted: false });
  },
  'GET /api/pools/:pool/images': async () => {
    await nameImages('default');
    await sql("UPDATE workers SET image_fetches = ?1 WHERE pool = 'default'", JSON.stringify(FETCHES));
    return admin('GET', '/api/pools/default/images');
  },
  'PUT /api/pools/:pool/images/:name': async () => {
    await nameImages('default');
    return admin('PUT', `/api/pools/default/images/${IMAGE_NAMES[0]}`, { reference: IMAGE_REFERENCE, atOnce: 100 });
  },
  'DELETE /api/pools/:pool/images/:name': async () => {
    const pool = unique('pool');
    await nameImages(pool);
    return admin('DELETE', `/api/pools/${pool}/images/${IMAGE_NAMES[0]}`);
  },

  'POST /api/workers': () =>
    admin('POST', '/api/workers', { name: unique('mac'), pools: POOLS.slice(0, 8), credential: 'code' }),
  'GET /api/workers': () => admin('GET', '/api/workers'),
  'GET /api/workers/:id': () => admin('GET', '/api/workers/w1'),
  'PATCH /api/workers/:id': () => admin('PATCH', '/api/workers/w2', { action: 'pause', pools: POOLS.slice(0, 8) }),
  'DELETE /api/workers/:id': async () => admin('DELETE', `/api/workers/${(await aBusyWorker()).workerId}`),
  'POST /api/workers/:id/enrolments': () => admin('POST', '/api/workers/w1/enrolments', {}),
  'POST /api/workers/enrol': async () => {
    const made = await admin('POST', '/api/workers/w1/enrolments', {});
    return ask('POST', '/api/workers/enrol', null, await made.json());
  },
  'POST /api/workers/:id/claim': async () => {
    const { workerId, key } = await insertWorker();
    const pool = 'default';
    // Builds that avoid this worker. There is no alternative, because the others have no free slot.
    await sql('UPDATE workers SET slots = 0 WHERE id LIKE ?1', 'w%');
    await sql('UPDATE workers SET slots = 2 WHERE id = ?1', workerId);
    const avoids = { avoidWorkerId: workerId, avoidUntil: Date.now() + 60_000, sourceSha256: blob };
    const batch: Batch = [];
    for (let i = 0; i < 10; i++) await insertBuild({ status: 'queued', attempt: 0, pool, ...avoids }, batch);
    await send(batch);
    // By the clock of D1 each arm is too old, so each of the candidates is lost.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 45_000 });
    const offer = { slots: 2, platforms: ['ios', 'android'], images: OFFERS };
    const claim = { instanceId: unique('mac'), claimId: unique('claim'), ...offer };
    return ask('POST', `/api/workers/${workerId}/claim`, key, claim);
  },
  'GET /api/workers/:id/attempts': async () => {
    const { workerId, key } = await aBusyWorker();
    return ask('GET', `/api/workers/${workerId}/attempts?instance_id=mac`, key);
  },
  'GET /api/workers/:id/durations': async () => {
    const { workerId, key } = await aBusyWorker();
    const batch: Batch = [];
    for (let i = 0; i < 25; i++) {
      const buildId = await insertBuild({ status: 'succeeded', endedAt: i, sourceSha256: blob }, batch);
      await insertAttempt(buildId, 1, { workerId, endedAt: i }, batch);
    }
    await send(batch);
    return ask('GET', `/api/workers/${workerId}/durations`, key);
  },
  'POST /api/workers/:id/findings': async () => {
    const { workerId, key } = await insertWorker();
    return ask('POST', `/api/workers/${workerId}/findings`, key, { instanceId: 'mac', findings: FINDINGS });
  },
  'POST /api/workers/:id/status': async () => {
    const { workerId, key } = await aBusyWorker();
    await nameImages('default');
    const said = { instanceId: 'mac', slots: 2, platforms: ['ios'], slotsInUse: 8, vms: VMS, agentVersion: '1' };
    Object.assign(said, { images: OFFERS, imageFetches: FETCHES });
    return ask('POST', `/api/workers/${workerId}/status`, key, { ...said, findings: FINDINGS });
  },
};

// ── The checks ─────────────────────────────────────────────────────────────────────────────────────────────

beforeEach(async () => {
  await sql('DELETE FROM outbox');
  await sql('DELETE FROM submission_work');
});
afterEach(() => {
  vi.useRealTimers();
});

/**
 * The work that a route leaves for after its answer belongs to the same invocation. The cron alone deletes
 * the object of a file that another holder has stored before.
 */
const workIsDone = () =>
  until('all work was tried', async () => {
    const due = await env.DB.prepare(
      `SELECT count(*) AS count FROM (
         SELECT 1 FROM outbox WHERE due_at <= ?1 AND tries = 0 AND kind <> 'delete_object'
         UNION ALL SELECT 1 FROM submission_work WHERE due_at <= ?1 AND tries = 0)`,
    )
      .bind(Date.now())
      .first<{ count: number }>();
    return due?.count === 0;
  });

for (const [route, questions] of Object.entries(QUESTIONS))
  test(`${route} at its maximum stays within the limits of the platform`, { timeout: 60_000 }, async () => {
    for (const question of [questions].flat()) {
      const response = await question();
      const usage = requests.at(-1)!;
      vi.useRealTimers();
      const answer = await response.arrayBuffer();
      expect([response.status, new TextDecoder().decode(answer.slice(0, response.ok ? 0 : 500))]).toEqual([
        expect.toSatisfy((status: number) => status < 300),
        '',
      ]);
      expect(answer.byteLength).toBeLessThan(ANSWER_MAX_BYTES);
      await workIsDone();
      expect(usage.statements).toBeLessThanOrEqual(STATEMENTS_MAX);
      console.log(JSON.stringify({ ...usage, name: route, httpBytes: answer.byteLength }));
    }
  });

/** The sweep as the cron runs it: in an invocation of its own. */
async function sweepOnce(name: string, now: number) {
  const usage = begin(name);
  // INPUTS_KEY was rotated just now, so that there is something to seal anew.
  const INPUTS_KEY = `2:${name.padEnd(32, '-')}${now},1:${env.INPUTS_KEY}`;
  await sweep(withPlatformLimits({ ...env, INPUTS_KEY }, usage), now);
  console.log(JSON.stringify(usage));
  expect(usage.statements).toBeLessThanOrEqual(STATEMENTS_MAX);
}
const countOf = async (where: string) =>
  (await env.DB.prepare(`SELECT count(*) AS count FROM ${where}`).first<{ count: number }>())!.count;

/** The minute in which the sweep does most. */
const MINUTE_OF_RECOUNT = HOUR_MS + 47 * 60_000;

test('the sweep with 500 expired builds, a full outbox and many running builds stays within the limits', {
  timeout: 120_000,
}, async () => {
  await insertQueued(500);
  const batch: Batch = [];
  const work = (kind: 'close_deadline' | 'seal_log' | 'cancel_build', buildId: string, dueAt: number) =>
    batch.push(db.insert(outbox).values({ kind, buildId, attempt: 1, dueAt }));
  for (let i = 0; i < 60; i++) {
    const buildId = await insertBuild({ status: 'building', sourceSha256: blob }, batch);
    await insertAttempt(buildId, 1, { endedAt: 1 }, batch);
    for (const kind of ['close_deadline', 'seal_log'] as const) work(kind, buildId, 1);
  }
  // The former release has added these builds.
  const former = { projectId: '', status: 'failed', endedAt: 1, sourceSha256: blob } as const;
  for (let i = 0; i < 20; i++) await insertBuild({ ...former, project: unique('project') }, batch);
  for (let i = 0; i < 150; i++) {
    const buildId = await insertBuild({ sourceSha256: blob }, batch);
    await insertAttempt(buildId, 1, {}, batch);
    work('cancel_build', buildId, 0);
  }
  await send(batch);
  await sweepOnce('sweep and recount', MINUTE_OF_RECOUNT);
  expect(await countOf("builds WHERE project_id = ''")).toBe(0);
  expect(await countOf("outbox WHERE kind = 'cancel_build'")).toBe(0);
  expect(await countOf("builds WHERE verdict = 'queue_expired'")).toBe(500);
  expect(await countOf("events WHERE type = 'expire'")).toBe(500);
  expect(await countOf('outbox WHERE tries > 0')).toBeLessThan(60);
  for (let minute = 1; (await countOf('outbox')) > 0; minute++) {
    expect(minute).toBeLessThan(30);
    await sweepOnce('sweep', MINUTE_OF_RECOUNT + minute * HOUR_MS);
  }
  expect(await wrongLoads(env.DB)).toEqual([]);
});

test('expired builds whose verdicts are longer than D1 takes at once all end, some in a later portion', async () => {
  const lost = { verdict: 'vm_exited', verdictMessage: 'あ'.repeat(4_000), endedAt: 1 } as const;
  const pool = unique('pool');
  const batch: Batch = [];
  const queued = { status: 'queued', queuedAt: 0, timeouts: EXPIRES_AT_ONCE, pool, sourceSha256: blob } as const;
  for (let i = 0; i < 200; i++) await insertAttempt(await insertBuild(queued, batch), 1, lost, batch);
  await send(batch);
  await sweepOnce('sweep', HOUR_MS);
  expect(await countOf(`builds WHERE pool = '${pool}' AND status = 'failed' AND verdict = 'vm_exited'`)).toBe(200);
});

test('one expired build that D1 refuses keeps the others back, but not for ever, within the limits', async () => {
  await insertQueued(30);
  const broken = await insertBuild({ status: 'queued', attempt: 0, queuedAt: 0, timeouts: EXPIRES_AT_ONCE });
  await sql(
    `CREATE TRIGGER refuse BEFORE UPDATE ON builds WHEN NEW.id = '${broken}' BEGIN SELECT RAISE(ABORT, 'no'); END`,
  );
  const left = () => countOf("builds WHERE status = 'queued' AND queued_at = 0");
  for (let minute = 0; (await left()) > 1; minute++) {
    expect(minute).toBeLessThan(100);
    await sweepOnce('sweep', HOUR_MS);
  }
  await sql('DROP TRIGGER refuse');
});

const EXPIRES_AT_ONCE = { ...DEFAULT_TIMEOUTS, queueTimeoutMs: 1 };
async function insertQueued(count: number) {
  const first = await insertBuild({ status: 'queued', attempt: 0, queuedAt: 0, timeouts: EXPIRES_AT_ONCE });
  const rest = (await columnsOf('builds')).filter((name) => name !== 'id');
  await sql(
    `INSERT INTO builds (id, ${rest}) ${NUMBERS(count - 1)} SELECT ?1 || '-' || i, ${rest} FROM builds, n WHERE id = ?1`,
    first,
  );
}

test('every route has a question', () => {
  expect(Object.keys(QUESTIONS).sort()).toEqual(Object.keys(ROUTES).sort());
});
