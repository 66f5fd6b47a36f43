/**
 * Who may do what: every route × every kind of credential → the status. The routes are asked of the app itself, so that one
 * without a row fails; the columns are the same for all rows, so that a row leaves nobody out.
 */
import { env } from 'cloudflare:workers';
import { beforeAll, expect, test } from 'vitest';
import { createApp } from '../../controller/app.ts';
import { ACTIONS, UNRECORDED } from '../../controller/audit.ts';
import { createEnrolment } from '../../controller/enrolments.ts';
import { createKey } from '../../controller/keys.ts';
import { LIMITS } from '../../controller/limits.ts';
import * as schema from '../../controller/schema.ts';
import { signToken, type TokenKind } from '../../controller/tokens.ts';
import {
  bytesOf,
  call,
  db,
  HOUR_MS,
  insertAttempt,
  insertBlob,
  insertBuild,
  insertWorker,
  sha256Of,
  tokenFor,
  unique,
} from './rows.ts';
import { digestOfTables } from './tables.ts';

// ── The columns ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Whoever asks about `own` asks about the running build; `ended` names the one that is over. */
const COLUMNS = {
  none: 'no credential',
  garbage: 'a key that never was',
  revoked: 'a revoked key',
  expired: 'an expired key',
  forged: 'a run token with another signature',
  runExpired: 'a run token past its time',
  admin: 'an admin key',
  submit: 'a submit key',
  submitTied: 'a submit key tied to the pool of the build',
  submitElsewhere: 'a submit key tied to another pool',
  worker: "the worker's own key",
  workerForeign: "another worker's key",
  vm: "the attempt's vm token",
  vmForeign: "another build's vm token",
  vmStale: "an earlier attempt's vm token",
  vmEnded: 'the vm token of an ended attempt',
  run: "the attempt's run token",
  runForeign: "another build's run token",
  runStale: "an earlier attempt's run token",
  runEnded: 'the run token of an ended attempt',
} as const;
type Column = keyof typeof COLUMNS;
type Row = Record<Column, number>;

const UNKNOWN = { none: 401, garbage: 401, revoked: 401, expired: 401, forged: 401, runExpired: 401 };
const vmTokens = (status: number) => ({ vm: status, vmForeign: status, vmStale: status, vmEnded: status });
const runTokens = (status: number) => ({ run: status, runForeign: status, runStale: status, runEnded: status });
const allTokens = (status: number) => ({ ...vmTokens(status), ...runTokens(status) });
const submitKeys = (status: number) => ({ submit: status, submitTied: status, submitElsewhere: status });
const workerKeys = (status: number) => ({ worker: status, workerForeign: status });
const allKeys = (status: number) => ({ admin: status, ...submitKeys(status), ...workerKeys(status) });

const anyone = (status: number): Row => ({
  ...{ none: status, garbage: status, revoked: status, expired: status, forged: status, runExpired: status },
  ...allKeys(status),
  ...allTokens(status),
});
const nobody: Row = { ...UNKNOWN, ...allKeys(403), ...allTokens(401) };
const keys = (status: number): Row => ({ ...nobody, ...allKeys(status) });
const admins = (status: number): Row => ({ ...nobody, admin: status });
const thisWorker = (status: number): Row => ({ ...nobody, worker: status });
/** A build of another pool does not exist for a key that is tied to one. */
const submitters = (status: number, elsewhere = 404): Row => ({
  ...nobody,
  ...{ admin: status, ...submitKeys(status), submitElsewhere: elsewhere },
});
/** The attempt's own routes know no key but its worker's. */
const attempt = (statuses: Partial<Row>): Row => ({ ...UNKNOWN, ...allKeys(403), ...allTokens(403), ...statuses });
/** What only a current attempt is given. */
const currentRun = attempt({ run: 200, runStale: 409, runEnded: 410 });

// ── The rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

type Ask = [path: string, body?: unknown];
interface Question {
  row: Row;
  ask: (world: World, who: Credential) => Ask;
}
const upload = ({ blob }: World) => `/api/blobs/${blob}/uploads/u_unknown`;
const at = ({ target }: Credential, rest: string): string => `/api/builds/${target}${rest}`;

const TABLE: Record<string, Question> = {
  'GET /health': { row: anyone(200), ask: () => ['/health'] },
  'GET /api/me': { row: keys(200), ask: () => ['/api/me'] },
  'GET /api/audit': { row: admins(200), ask: () => ['/api/audit'] },

  'POST /api/builds/:id/heartbeat': {
    row: attempt({ worker: 200, vm: 200, vmStale: 409, vmEnded: 410, run: 200, runStale: 409, runEnded: 410 }),
    ask: ({ worker }, who) => [at(who, `/heartbeat?worker_id=${worker}`), { progress: 45 }],
  },
  'POST /api/builds/:id/reports': {
    row: attempt({ worker: 200, run: 200, runStale: 409, runEnded: 410 }),
    ask: (_, who) => [at(who, '/reports'), { type: 'start', attempt: who.attempt }],
  },
  // An ended attempt may still send the end of its own log.
  'PUT /api/builds/:id/logs': {
    row: attempt({ worker: 200, run: 200, runStale: 200, runEnded: 200 }),
    ask: (_, who) => [at(who, `/logs?attempt=${who.attempt}&offset=0`), bytesOf('a line\n')],
  },
  "PUT /api/builds/:id/logs (another attempt's)": {
    row: attempt({ worker: 200 }),
    ask: (_, who) => [at(who, `/logs?attempt=${3 - who.attempt}&offset=0`), bytesOf('a line\n')],
  },
  'GET /api/builds/:id/source': { row: currentRun, ask: (_, who) => [at(who, '/source')] },
  'GET /api/builds/:id/inputs': { row: currentRun, ask: (_, who) => [at(who, '/inputs')] },

  'POST /api/builds': {
    row: submitters(201, 403),
    ask: ({ blob, pool }) => ['/api/builds', { source: { sha256: blob }, command: 'make', platform: 'ios', pool }],
  },
  'GET /api/builds': { row: submitters(200, 200), ask: () => ['/api/builds'] },
  'GET /api/builds/:id': { row: submitters(200), ask: (_, who) => [at(who, '')] },
  'POST /api/builds/:id/cancel': { row: submitters(200), ask: (_, who) => [at(who, '/cancel')] },
  'POST /api/builds/:id/retry': { row: submitters(201), ask: ({ ended }) => [`/api/builds/${ended}/retry`] },
  'GET /api/builds/:id/logs': { row: submitters(200), ask: (_, who) => [at(who, '/logs')] },
  'GET /api/builds/:id/artifacts': { row: submitters(200), ask: (_, who) => [at(who, '/artifacts')] },
  'GET /api/builds/:id/artifacts/:name{.+}': {
    row: submitters(200),
    ask: (_, who) => [at(who, '/artifacts/out/app.ipa')],
  },

  // Files have no owner: their name, a SHA-256, is what one must know.
  'PUT /api/blobs/:sha256': { row: keys(200), ask: ({ blob }) => [`/api/blobs/${blob}`, bytesOf('a source')] },
  'GET /api/blobs/:sha256': { row: keys(200), ask: ({ blob }) => [`/api/blobs/${blob}`] },
  'POST /api/blobs/:sha256/uploads': {
    row: keys(201),
    ask: () => [`/api/blobs/${'0'.repeat(64)}/uploads`, { size: 1_000 }],
  },
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part': {
    row: keys(404),
    ask: (world) => [`${upload(world)}/parts/1`, bytesOf('part')],
  },
  'POST /api/blobs/:sha256/uploads/:upload/complete': { row: keys(404), ask: (world) => [`${upload(world)}/complete`] },
  'GET /api/blobs/:sha256/uploads/:upload': { row: keys(404), ask: (world) => [upload(world)] },
  'DELETE /api/blobs/:sha256/uploads/:upload': { row: keys(404), ask: (world) => [upload(world)] },

  'POST /api/workers/enrol': { row: anyone(201), ask: ({ code }) => ['/api/workers/enrol', { code }] },
  'POST /api/workers/:id/claim': {
    row: thisWorker(200),
    ask: ({ worker }) => [`/api/workers/${worker}/claim`, { instanceId: 'mac', claimId: unique('claim') }],
  },
  'GET /api/workers/:id/attempts': {
    row: thisWorker(200),
    ask: ({ worker }) => [`/api/workers/${worker}/attempts`],
  },
  'GET /api/workers/:id/durations': {
    row: thisWorker(200),
    ask: ({ worker }) => [`/api/workers/${worker}/durations`],
  },
  'POST /api/workers/:id/findings': {
    row: thisWorker(204),
    ask: ({ worker }) => [`/api/workers/${worker}/findings`, { instanceId: 'mac', findings: [] }],
  },
  'POST /api/workers/:id/status': {
    row: thisWorker(200),
    ask: ({ worker }) => [
      `/api/workers/${worker}/status`,
      { instanceId: 'mac', slots: 1, slotsInUse: 0, vms: [], agentVersion: '1' },
    ],
  },
  'POST /api/workers': { row: admins(201), ask: () => ['/api/workers', { name: unique('mac') }] },
  'POST /api/workers/:id/enrolments': {
    row: admins(201),
    ask: ({ worker }) => [`/api/workers/${worker}/enrolments`, {}],
  },
  'GET /api/workers': { row: admins(200), ask: () => ['/api/workers'] },
  'GET /api/workers/:id': { row: admins(200), ask: ({ worker }) => [`/api/workers/${worker}`] },
  'PATCH /api/workers/:id': { row: admins(200), ask: ({ worker }) => [`/api/workers/${worker}`, { action: 'pause' }] },
  'DELETE /api/workers/:id': { row: admins(204), ask: ({ worker }) => [`/api/workers/${worker}`] },

  'POST /api/keys': { row: admins(201), ask: () => ['/api/keys', { name: 'ci', scope: 'submit' }] },
  'GET /api/keys': { row: admins(200), ask: () => ['/api/keys'] },
  'DELETE /api/keys/:id': { row: admins(200), ask: ({ ids }) => [`/api/keys/${ids.submit}`] },
  'POST /api/keys/:id/rotate': {
    row: { ...admins(201), submit: 201 },
    ask: ({ ids }) => [`/api/keys/${ids.submit}/rotate`],
  },
  'POST /api/keys/:id/rotate (its own)': {
    row: keys(201),
    ask: ({ ids }, { column }) => [`/api/keys/${ids[column] ?? ids.submit}/rotate`],
  },
};

// ── The world in which a cell is asked ───────────────────────────────────────────────────────────────────────────

interface Credential {
  column: Column;
  secret: string | null;
  /** The build that a path about a build names, and the attempt that is spoken of. */
  target: string;
  attempt: number;
}
interface World {
  pool: string;
  worker: string;
  blob: string;
  ended: string;
  code: string;
  ids: Partial<Record<Column, string>>;
  as: (column: Column) => Credential;
}

async function makeWorld(): Promise<World> {
  const now = Date.now();
  const pool = unique('pool');
  const blob = await insertBlob(bytesOf('a source'));
  const own = await insertWorker();
  const foreign = await insertWorker();
  const running = await insertBuild({ pool, attempt: 2, sourceSha256: blob });
  const other = await insertBuild({ pool, sourceSha256: blob });
  const ended = await insertBuild({ pool, status: 'succeeded', endedAt: now, sourceSha256: blob });
  const ofOwn = { workerId: own.workerId };
  await insertAttempt(running, 1, { ...ofOwn, endedAt: now, verdict: 'vm_silent' });
  await insertAttempt(running, 2, ofOwn);
  await insertAttempt(other, 1, { workerId: foreign.workerId });
  await insertAttempt(ended, 1, { ...ofOwn, endedAt: now });
  const file = { buildId: running, attempt: 1, name: 'out/app.ipa', sha256: blob, size: 8, createdAt: now };
  await db.insert(schema.artifacts).values(file);

  const make = async (spec: Partial<Parameters<typeof createKey>[1]>) =>
    await createKey(env, { name: 'x', scope: 'submit', ...spec }, now);
  const made = {
    admin: await make({ scope: 'admin' }),
    submit: await make({}),
    submitTied: await make({ pools: [pool, 'another'] }),
    submitElsewhere: await make({ pools: ['another'] }),
    worker: await make({ scope: 'worker', workerId: own.workerId }),
    workerForeign: await make({ scope: 'worker', workerId: foreign.workerId }),
    revoked: await make({ scope: 'admin' }),
    expired: await make({ scope: 'admin', expiresAt: now - 1 }),
  };
  await db.update(schema.keys).set({ lastUsedAt: now });
  await call(`/api/keys/${made.revoked.key.id}`, env.ADMIN_KEY, { method: 'DELETE' });
  const run = await tokenFor(running, 2, 'run', own.workerId);
  const token = (buildId: string, attempt: number, kind: TokenKind) => tokenFor(buildId, attempt, kind, own.workerId);
  const claims = {
    kind: 'run',
    buildId: running,
    attempt: 2,
    workerId: own.workerId,
    expiresAt: now - HOUR_MS,
  } as const;
  const secrets: Record<Column, string | null> = {
    none: null,
    garbage: 'tb_admin_of-nobody-0123456789abcdef0123456789',
    revoked: made.revoked.secret,
    expired: made.expired.secret,
    forged: `${run.split('.')[0]}.${(await token(other, 1, 'run')).split('.')[1]}`,
    runExpired: await signToken(env, claims),
    admin: made.admin.secret,
    submit: made.submit.secret,
    submitTied: made.submitTied.secret,
    submitElsewhere: made.submitElsewhere.secret,
    worker: made.worker.secret,
    workerForeign: made.workerForeign.secret,
    vm: await token(running, 2, 'vm'),
    vmForeign: await token(other, 1, 'vm'),
    vmStale: await token(running, 1, 'vm'),
    vmEnded: await token(ended, 1, 'vm'),
    run,
    runForeign: await token(other, 1, 'run'),
    runStale: await token(running, 1, 'run'),
    runEnded: await token(ended, 1, 'run'),
  };
  return {
    ...{ pool, blob, ended },
    worker: own.workerId,
    code: (await createEnrolment(env, own.workerId, 60, now)).code,
    ids: Object.fromEntries(Object.entries(made).map(([column, { key }]) => [column, key.id])),
    as: (column) => ({
      column,
      secret: secrets[column],
      target: column.endsWith('Ended') ? ended : running,
      attempt: /Stale|Ended/.test(column) ? 1 : 2,
    }),
  };
}

async function ask(route: string, world: World, column: Column): Promise<{ status: number; code: string | undefined }> {
  const who = world.as(column);
  const [path, body] = TABLE[route]!.ask(world, who);
  const raw = body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : null;
  const answer = await call(path, who.secret, {
    method: route.split(' ')[0]!,
    headers: raw
      ? { 'Content-Length': String(raw.byteLength), 'X-Part-SHA256': await sha256Of(raw) }
      : { 'Content-Type': 'application/json' },
    body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
  });
  const text = new TextDecoder().decode(await answer.arrayBuffer());
  return { status: answer.status, code: answer.ok ? undefined : JSON.parse(text).error.code };
}

// ── The walk ─────────────────────────────────────────────────────────────────────────────────────────────────────

const columns = Object.keys(COLUMNS) as Column[];
const routes = [
  ...new Set(
    createApp(LIMITS)
      .routes.filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path}`),
  ),
];

let shared: World;
beforeAll(async () => {
  shared = await makeWorld();
});

test('every route has its row, and every row its route', () => {
  const rows = new Set(Object.keys(TABLE).map((row) => row.replace(/ \(.*/, '')));
  expect([...rows].sort()).toEqual([...routes].sort());
  console.log(
    `authorisation: ${Object.keys(TABLE).length} rows × ${columns.length} credentials = ${Object.keys(TABLE).length * columns.length} cells`,
  );
});

test('whatever changes something is recorded, or said to need no record', () => {
  const changing = routes.filter((route) => !route.startsWith('GET '));
  expect([...Object.keys(ACTIONS), ...UNRECORDED].sort()).toEqual(changing.sort());
});

for (const route of Object.keys(TABLE))
  test(`${route}: all ${columns.length} credentials are answered as the table says, and refusals change nothing`, async () => {
    const { row } = TABLE[route]!;
    const refused = columns.filter((column) => row[column] >= 400);
    const before = await digestOfTables();
    const seen: Partial<Row> = {};
    for (const column of refused) {
      const { status, code } = await ask(route, shared, column);
      seen[column] = status;
      if (status === 401) expect(code).toBe('unauthorized');
      if (status === 403) expect(code).toBe('forbidden');
    }
    expect(await digestOfTables()).toEqual(before);
    // What is allowed may change anything: each cell has a world of its own.
    for (const column of columns.filter((column) => row[column] < 400))
      seen[column] = (await ask(route, await makeWorld(), column)).status;
    expect(seen).toEqual(row);
  });
