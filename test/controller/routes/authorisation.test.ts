/**
 * Tests who may do what, as a table: every route × every kind of credential → the status. The routes come
 * from the app itself, so a route without a row fails. All rows have the same columns, so no row leaves a
 * credential out.
 */
import { beforeAll, expect, test } from 'vitest';
import { ACTIONS, UNRECORDED } from '../../../controller/access/audit.ts';
import { createApp } from '../../../controller/app.ts';
import { SETTINGS } from '../../../controller/settings.ts';
import { bytesOf, call, sha256Of, unique } from '../factories/rows.ts';
import { contentsOfTables } from '../factories/tables.ts';
import { COLUMNS, type Column, type Credential, makeWorld, type World } from '../factories/world.ts';

type Row = Record<Column, number>;

const strangers = (status: number) => ({
  ...{ none: status, garbage: status, forged: status },
  ...{ revoked: status, expired: status, replaced: status, vmExpired: status, runExpired: status },
});
const UNKNOWN = strangers(401);
const vmTokens = (status: number) => ({ vm: status, vmForeign: status, vmStale: status, vmEnded: status });
const runTokens = (status: number) => ({ run: status, runForeign: status, runStale: status, runEnded: status });
const allTokens = (status: number) => ({ ...vmTokens(status), ...runTokens(status) });
const submitKeys = (status: number) => ({ submit: status, submitTied: status, submitElsewhere: status });
const workerKeys = (status: number) => ({ worker: status, workerForeign: status });
const allKeys = (status: number) => ({ admin: status, ...submitKeys(status), ...workerKeys(status) });

const anyone = (status: number): Row => ({
  ...strangers(status),
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
  // A token beats for its own attempt, whatever the body says.
  "POST /api/builds/:id/heartbeat (another attempt's)": {
    row: attempt({ worker: 409, vm: 200, vmStale: 409, vmEnded: 410, run: 200, runStale: 409, runEnded: 410 }),
    ask: ({ worker }, who) => [at(who, `/heartbeat?worker_id=${worker}`), { attempt: 3 - who.attempt }],
  },
  "POST /api/builds/:id/heartbeat (another worker's)": {
    row: attempt({}),
    ask: (_, who) => [at(who, '/heartbeat?worker_id=wrk_another'), { progress: 45 }],
  },
  'POST /api/builds/:id/reports': {
    row: attempt({ worker: 200, run: 200, runStale: 409, runEnded: 410 }),
    ask: (_, who) => [at(who, '/reports'), { type: 'start', attempt: who.attempt }],
  },
  "POST /api/builds/:id/reports (another attempt's)": {
    row: attempt({ worker: 409 }),
    ask: (_, who) => [at(who, '/reports'), { type: 'start', attempt: 3 - who.attempt }],
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
    row: thisWorker(200),
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
    createApp(SETTINGS)
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
    const before = await contentsOfTables();
    const seen: Partial<Row> = {};
    for (const column of refused) {
      const { status, code } = await ask(route, shared, column);
      seen[column] = status;
      if (status === 401) expect(code).toBe('unauthorized');
      if (status === 403) expect(code).toBe('forbidden');
    }
    expect(await contentsOfTables()).toEqual(before);
    // What is allowed may change anything: each cell has a world of its own. Reading changes nothing.
    for (const column of columns.filter((column) => row[column] < 400))
      seen[column] = (await ask(route, route.startsWith('GET ') ? shared : await makeWorld(), column)).status;
    expect(seen).toEqual(row);
  });
