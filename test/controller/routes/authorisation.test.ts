/**
 * Asks every row of the table of routes as every kind of caller. The row says who is let in; a question adds
 * only what depends on the state of an attempt or on the body. The columns are the same for all rows, so no
 * caller is left out.
 */
import { env } from 'cloudflare:workers';
import { beforeAll, expect, test } from 'vitest';
import { ACTIONS, UNRECORDED } from '../../../controller/access/audit.ts';
import type { Right } from '../../../controller/access/rights.ts';
import { createApp } from '../../../controller/app.ts';
import { type Kind, ROUTES, type RouteKey, type Row as TableRow } from '../../../controller/routes/route-table.ts';
import { SETTINGS } from '../../../controller/settings.ts';
import { createEnrolment } from '../../../controller/workers/enrolments.ts';
import { requests } from '../factories/platform-limits.ts';
import { bytesOf, call, sha256Of, unique } from '../factories/rows.ts';
import { tinyStore } from '../factories/steps-of-tests.ts';
import { appStoreKey } from '../factories/store-keys.ts';
import { contentsOfTables } from '../factories/tables.ts';
import { COLUMNS, type Column, type Credential, makeWorld, type World } from '../factories/world.ts';

type Row = Record<Column, number>;

/** A key of App Store Connect, without its pools. */
const P8 = await appStoreKey(undefined);

const strangers = (status: number) => ({
  ...{ none: status, garbage: status, forged: status },
  ...{ revoked: status, expired: status, replaced: status, vmExpired: status, runExpired: status },
});
const workerKeys = (status: number) => ({ worker: status, workerForeign: status });
const projectAdmins = (status: number) => ({ projectAdmin: status, projectAdminElsewhere: status });
const submitKeys = (status: number) => ({
  ...{ submit: status, submitTied: status, submitElsewhere: status, untrusted: status },
  ...projectAdmins(status),
});
const allKeys = (status: number) => ({ admin: status, ...submitKeys(status), read: status, ...workerKeys(status) });
const vmTokens = (status: number) => ({ vm: status, vmForeign: status, vmStale: status, vmEnded: status });
const runTokens = (status: number) => ({ run: status, runForeign: status, runStale: status, runEnded: status });
const allTokens = (status: number) => ({ ...vmTokens(status), ...runTokens(status) });

/** The answers to all credentials where nobody is let in: on a route for keys, and on one for attempts. */
const NO_KEY: Row = { ...strangers(401), ...allKeys(403), ...allTokens(401) };
const NO_ATTEMPT: Row = { ...strangers(401), ...allKeys(403), ...allTokens(403) };

/** The keys that have a right for anything at all. */
const HAVE: Record<Right, (status: number) => Partial<Row>> = {
  self: allKeys,
  farm: (status) => ({ admin: status }),
  'builds.submit': (status) => ({ admin: status, ...submitKeys(status) }),
  'builds.read': (status) => ({ admin: status, ...submitKeys(status), read: status }),
  'builds.files': (status) => ({ admin: status, ...submitKeys(status) }),
  blobs: (status) => ({ admin: status, ...submitKeys(status), ...workerKeys(status) }),
  worker: (status) => ({ worker: status }),
  'secrets.use': projectAdmins,
  'secrets.set': projectAdmins,
  'secrets.list': (status) => ({ admin: status, ...projectAdmins(status) }),
  numbers: (status) => ({ admin: status, ...projectAdmins(status) }),
  'stores.list': (status) => ({ admin: status, ...projectAdmins(status) }),
  stores: (status) => ({ admin: status, ...projectAdmins(status) }),
  links: (status) => ({ admin: status, ...projectAdmins(status) }),
  webhooks: projectAdmins,
  'caches.write': projectAdmins,
  keep: (status) => ({ admin: status, ...projectAdmins(status) }),
  admin: (status) => ({ admin: status, ...projectAdmins(status) }),
};

/** Which of them do not reach what `:id` names in a question. The build is of the project, and trusted. */
const DO_NOT_REACH: Record<Kind, readonly Column[]> = {
  build: ['submitElsewhere', 'projectAdminElsewhere', 'untrusted'],
  worker: [],
  project: ['projectAdminElsewhere'],
  submission: ['submitElsewhere', 'projectAdminElsewhere', 'untrusted'],
  link: ['submitElsewhere', 'projectAdminElsewhere', 'untrusted'],
  // The key of a question reaches all projects.
  key: ['projectAdmin', 'projectAdminElsewhere'],
};

/** The statuses that the row of a route means: the given one for each credential that it lets in. */
function expected(row: TableRow, status: number): Row {
  if ('right' in row) {
    const have = HAVE[row.right](status);
    const not = row.finds ? DO_NOT_REACH[row.finds].filter((column) => column in have) : [];
    const refused = Object.fromEntries(not.map((column) => [column, row.others]));
    return { ...NO_KEY, ...have, ...refused, ...(row.orItself && { submit: status }) };
  }
  if (row.who === 'anyone') return { ...strangers(status), ...allKeys(status), ...allTokens(status) };
  const run = row.by.includes('run') ? { run: status, runStale: status, runEnded: status } : {};
  const vm = row.by.includes('vm') ? { vm: status, vmStale: status, vmEnded: status } : {};
  return { ...NO_ATTEMPT, ...run, ...vm, ...(row.by.includes('worker') ? { worker: status } : {}) };
}

// ── The questions ──────────────────────────────────────────────────────────────────────────────────────────

type Ask = [path: string, body?: unknown];
interface Question {
  /** The status for all credentials that the row of the route lets in. Left out: 200. */
  status?: number;
  /** The answers that depend on more than the row: on the state of the attempt, or on the body. */
  but?: Partial<Row>;
  /**
   * The question may be asked of the shared world again and again, and the answer stays the same. The others
   * may change anything, so each has a world of its own, and `once` has one for each credential.
   */
  again?: true;
  once?: true;
  ask: (world: World, who: Credential) => Ask | Promise<Ask>;
}
/** A key of one project uploads for that project. The projects of the world hold the file. */
const ofOneProject = (status: number) => ({ projectAdminElsewhere: status, untrusted: status });
const upload = ({ blob }: World) => `/api/blobs/${blob}/uploads/u_unknown`;
const at = ({ target }: Credential, rest: string): string => `/api/builds/${target}${rest}`;

/** The answers to stale and ended attempts. */
const runIsOver = { runStale: 409, runEnded: 410 };
const vmIsOver = { vmStale: 409, vmEnded: 410 };

/** One or more questions for each route. Words in brackets tell two questions for one route apart. */
const QUESTIONS: Record<string, Question> = {
  'GET /health': { ask: () => ['/health'] },
  'GET /api/me': { ask: () => ['/api/me'] },
  'GET /api/audit': { ask: () => ['/api/audit'] },

  'POST /api/builds/:id/heartbeat': {
    but: { ...vmIsOver, ...runIsOver },
    again: true,
    ask: ({ worker }, who) => [at(who, `/heartbeat?worker_id=${worker}`), { progress: 45 }],
  },
  // A token beats for its own attempt, whatever the body says.
  "POST /api/builds/:id/heartbeat (another attempt's)": {
    but: { ...vmIsOver, ...runIsOver, worker: 409 },
    ask: ({ worker }, who) => [at(who, `/heartbeat?worker_id=${worker}`), { attempt: 3 - who.attempt }],
  },
  "POST /api/builds/:id/heartbeat (another worker's)": {
    but: NO_ATTEMPT,
    ask: (_, who) => [at(who, '/heartbeat?worker_id=wrk_another'), { progress: 45 }],
  },
  'POST /api/builds/:id/reports': {
    but: runIsOver,
    ask: (_, who) => [at(who, '/reports'), { type: 'start', attempt: who.attempt }],
  },
  "POST /api/builds/:id/reports (another attempt's)": {
    but: { ...NO_ATTEMPT, worker: 409 },
    ask: (_, who) => [at(who, '/reports'), { type: 'start', attempt: 3 - who.attempt }],
  },
  // An ended attempt may still send the end of its own log.
  'PUT /api/builds/:id/logs': {
    again: true,
    ask: (_, who) => [at(who, `/logs?attempt=${who.attempt}&offset=0`), bytesOf('a line\n')],
  },
  "PUT /api/builds/:id/logs (another attempt's)": {
    but: { ...NO_ATTEMPT, worker: 200 },
    again: true,
    ask: (_, who) => [at(who, `/logs?attempt=${3 - who.attempt}&offset=0`), bytesOf('a line\n')],
  },
  'GET /api/builds/:id/source': { but: runIsOver, ask: (_, who) => [at(who, '/source')] },
  'GET /api/builds/:id/inputs': { but: runIsOver, ask: (_, who) => [at(who, '/inputs')] },

  // A VM is kept also of an attempt that has ended, or that another one follows.
  'POST /api/builds/:id/kept': {
    again: true,
    ask: (_, who) => [at(who, '/kept'), { attempt: who.attempt, until: null }],
  },
  "POST /api/builds/:id/kept (another attempt's)": {
    but: { ...NO_ATTEMPT, worker: 200 },
    again: true,
    ask: (_, who) => [at(who, '/kept'), { attempt: 3 - who.attempt, until: null }],
  },
  'POST /api/builds/:id/number': {
    but: runIsOver,
    ask: (_, who) => [at(who, '/number'), { app: { id: 'com.example.app', buildNumber: 7 }, increment: true }],
  },
  'POST /api/builds/:id/number (without a counter)': {
    status: 422,
    but: runIsOver,
    ask: (_, who) => [at(who, '/number'), { app: { id: 'com.example.none' }, increment: true }],
  },

  'POST /api/builds': {
    status: 201,
    but: { submitElsewhere: 403, projectAdminElsewhere: 404 },
    again: true,
    ask: ({ blob, pool, project }) => [
      '/api/builds',
      { source: { sha256: blob }, command: 'make', platform: 'ios', pool, project },
    ],
  },
  'GET /api/builds': { ask: () => ['/api/builds'] },
  'GET /api/builds/:id': { ask: (_, who) => [at(who, '')] },
  'POST /api/builds/:id/cancel': { ask: (_, who) => [at(who, '/cancel')] },
  'POST /api/builds/:id/retry': { status: 201, again: true, ask: ({ ended }) => [`/api/builds/${ended}/retry`] },
  'GET /api/builds/:id/logs': { ask: (_, who) => [at(who, '/logs')] },
  'GET /api/builds/:id/artifacts': { ask: (_, who) => [at(who, '/artifacts')] },
  'GET /api/builds/:id/artifacts/:name{.+}': { ask: (_, who) => [at(who, '/artifacts/out/app.ipa')] },
  'GET /api/builds/:id/icons/:name{.+}': { ask: (_, who) => [at(who, '/icons/out/app.ipa')] },

  'GET /api/projects/:id/secrets': { ask: ({ project }) => [`/api/projects/${project}/secrets`] },
  'PUT /api/projects/:id/secrets/:name': {
    status: 201,
    again: true,
    ask: ({ project, pool }) => [`/api/projects/${project}/secrets/${unique('NAME')}`, { value: 'x', pools: [pool] }],
  },
  'PUT /api/projects/:id/secrets/:name (of a deleted project)': {
    but: { projectAdmin: 404 },
    ask: ({ deleted, pool }) => [`/api/projects/${deleted.project}/secrets/NAME`, { value: 'x', pools: [pool] }],
  },
  'DELETE /api/projects/:id/secrets/:name': {
    // The project has no secret of this name.
    but: { projectAdmin: 404 },
    ask: ({ project }) => [`/api/projects/${project}/secrets/NAME`],
  },

  'GET /api/projects/:id/store-keys': { ask: ({ project }) => [`/api/projects/${project}/store-keys`] },
  'PUT /api/projects/:id/store-keys/:name': {
    status: 201,
    again: true,
    ask: ({ project, pool }) => [`/api/projects/${project}/store-keys/${unique('key')}`, { ...P8, pools: [pool] }],
  },
  'DELETE /api/projects/:id/store-keys/:name': {
    // The project has no store key of this name.
    but: { admin: 404, projectAdmin: 404 },
    ask: ({ project }) => [`/api/projects/${project}/store-keys/NAME`],
  },
  'POST /api/builds/:id/submissions': {
    status: 201,
    once: true,
    ask: ({ ended }) => [`/api/builds/${ended}/submissions`, { store: 'app-store-connect' }],
  },
  'GET /api/builds/:id/submissions': { ask: (_, who) => [at(who, '/submissions')] },
  'GET /api/projects/:id/submissions': { ask: ({ project }) => [`/api/projects/${project}/submissions`] },
  'GET /api/submissions/:id': { ask: ({ submissions }) => [`/api/submissions/${submissions.own}`] },
  'POST /api/submissions/:id/cancel': { ask: ({ submissions }) => [`/api/submissions/${submissions.own}/cancel`] },

  'GET /api/projects/:id/build-cache': {
    ask: ({ project }) => [`/api/projects/${project}/build-cache?platform=ios&fingerprint=${'0'.repeat(40)}`],
  },
  'POST /api/builds/:id/links': { status: 201, again: true, ask: ({ ended }) => [`/api/builds/${ended}/links`, {}] },
  'POST /api/builds/:id/links (of a build that runs)': { status: 409, ask: (_, who) => [at(who, '/links'), {}] },
  'GET /api/builds/:id/links': { ask: (_, who) => [at(who, '/links')] },
  'GET /api/projects/:id/links': { ask: ({ project }) => [`/api/projects/${project}/links`] },
  'DELETE /api/links/:id': { ask: ({ links }) => [`/api/links/${links.own}`] },

  'GET /i/:token': { ask: ({ links }) => [`/i/${links.token}`] },
  'GET /i/:token/manifest.plist': { ask: ({ links }) => [`/i/${links.token}/manifest.plist`] },
  'GET /i/:token/icon': { ask: ({ links }) => [`/i/${links.token}/icon`] },
  'GET /i/:token/file/:name': { ask: ({ links }) => [`/i/${links.token}/file/Preview.ipa`] },

  'GET /api/projects/:id/numbers': { ask: ({ project }) => [`/api/projects/${project}/numbers`] },
  'PUT /api/projects/:id/numbers/:platform/:appId': {
    status: 201,
    again: true,
    ask: ({ project }) => [`/api/projects/${project}/numbers/ios/com.example.${unique('app')}`, { value: 41 }],
  },

  'PUT /api/builds/:id/blobs/:sha256': {
    status: 201,
    ask: ({ blob }, who) => [at(who, `/blobs/${blob}`), bytesOf('a source')],
  },
  'GET /api/builds/:id/blobs/:sha256': { status: 409, ask: ({ blob }, who) => [at(who, `/blobs/${blob}`)] },
  'POST /api/builds/:id/blobs/:sha256/uploads': {
    status: 201,
    again: true,
    ask: ({ blob }, who) => [at(who, `/blobs/${blob}/uploads`), { size: 1_000 }],
  },
  'PUT /api/builds/:id/blobs/:sha256/uploads/:upload/parts/:part': {
    status: 404,
    ask: ({ blob }, who) => [at(who, `/blobs/${blob}/uploads/u_unknown/parts/1`), bytesOf('part')],
  },
  'POST /api/builds/:id/blobs/:sha256/uploads/:upload/complete': {
    status: 404,
    ask: ({ blob }, who) => [at(who, `/blobs/${blob}/uploads/u_unknown/complete`)],
  },
  'GET /api/builds/:id/blobs/:sha256/uploads/:upload': {
    status: 404,
    ask: ({ blob }, who) => [at(who, `/blobs/${blob}/uploads/u_unknown`)],
  },
  'DELETE /api/builds/:id/blobs/:sha256/uploads/:upload': {
    status: 404,
    ask: ({ blob }, who) => [at(who, `/blobs/${blob}/uploads/u_unknown`)],
  },

  // A file of somebody else is answered like one that nobody has stored.
  'PUT /api/blobs/:sha256': {
    status: 201,
    but: ofOneProject(200),
    ask: ({ blob }) => [`/api/blobs/${blob}`, bytesOf('a source')],
  },
  'GET /api/blobs/:sha256': { status: 404, but: ofOneProject(200), ask: ({ blob }) => [`/api/blobs/${blob}`] },
  "GET /api/blobs/:sha256 (the project's)": {
    but: { ...workerKeys(404), projectAdminElsewhere: 404 },
    ask: ({ blob, project }) => [`/api/blobs/${blob}?project=${project}`],
  },
  'POST /api/blobs/:sha256/uploads': {
    status: 201,
    again: true,
    ask: () => [`/api/blobs/${'0'.repeat(64)}/uploads`, { size: 1_000 }],
  },
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part': {
    status: 404,
    ask: (world) => [`${upload(world)}/parts/1`, bytesOf('part')],
  },
  'POST /api/blobs/:sha256/uploads/:upload/complete': { status: 404, ask: (world) => [`${upload(world)}/complete`] },
  'GET /api/blobs/:sha256/uploads/:upload': { status: 404, ask: (world) => [upload(world)] },
  'DELETE /api/blobs/:sha256/uploads/:upload': { status: 404, ask: (world) => [upload(world)] },

  'GET /api/projects': { ask: () => ['/api/projects'] },
  'POST /api/projects': { status: 201, again: true, ask: () => ['/api/projects', { name: unique('project') }] },
  'GET /api/projects/:id': { ask: ({ project }) => [`/api/projects/${project}`] },
  'PATCH /api/projects/:id': { again: true, ask: ({ project }) => [`/api/projects/${project}`, { maxActive: 2 }] },
  // A build of the project runs.
  'DELETE /api/projects/:id': { status: 409, ask: ({ project }) => [`/api/projects/${project}`] },
  'GET /api/pools': { ask: () => ['/api/pools'] },
  'PATCH /api/pools/:pool': { status: 404, ask: () => ['/api/pools/none', { trusted: false }] },
  'GET /api/pools/:pool/images': { ask: ({ pool }) => [`/api/pools/${pool}/images`] },
  'PUT /api/pools/:pool/images/:name': {
    status: 201,
    ask: ({ pool }) => [
      `/api/pools/${pool}/images/xcode-27`,
      { reference: `registry.example.com/mac@sha256:${'a'.repeat(64)}` },
    ],
  },
  'DELETE /api/pools/:pool/images/:name': { status: 404, ask: ({ pool }) => [`/api/pools/${pool}/images/none`] },

  'POST /api/workers/enrol': {
    status: 201,
    again: true,
    ask: async ({ worker }) => [
      '/api/workers/enrol',
      { code: (await createEnrolment(env, worker, 60, Date.now())).code },
    ],
  },
  'POST /api/workers/:id/claim': {
    ask: ({ worker }) => [`/api/workers/${worker}/claim`, { instanceId: 'mac', claimId: unique('claim') }],
  },
  'GET /api/workers/:id/attempts': { ask: ({ worker }) => [`/api/workers/${worker}/attempts`] },
  'GET /api/workers/:id/durations': { ask: ({ worker }) => [`/api/workers/${worker}/durations`] },
  'POST /api/workers/:id/findings': {
    again: true,
    ask: ({ worker }) => [`/api/workers/${worker}/findings`, { instanceId: 'mac', findings: [] }],
  },
  'POST /api/workers/:id/status': {
    again: true,
    ask: ({ worker }) => [
      `/api/workers/${worker}/status`,
      { instanceId: 'mac', slots: 1, slotsInUse: 0, vms: [], agentVersion: '1' },
    ],
  },
  'POST /api/workers': { status: 201, again: true, ask: () => ['/api/workers', { name: unique('mac') }] },
  'POST /api/workers/:id/enrolments': {
    status: 201,
    again: true,
    ask: ({ worker }) => [`/api/workers/${worker}/enrolments`, {}],
  },
  'GET /api/workers': { ask: () => ['/api/workers'] },
  'GET /api/workers/:id': { ask: ({ worker }) => [`/api/workers/${worker}`] },
  'PATCH /api/workers/:id': { ask: ({ worker }) => [`/api/workers/${worker}`, { action: 'pause' }] },
  'DELETE /api/workers/:id': { status: 204, ask: ({ worker }) => [`/api/workers/${worker}`] },

  // The request asks for a key of all projects.
  'POST /api/keys': {
    status: 201,
    but: { projectAdmin: 403, projectAdminElsewhere: 403 },
    again: true,
    ask: () => ['/api/keys', { name: 'ci', scope: 'submit' }],
  },
  'POST /api/keys (of the project)': {
    status: 201,
    but: { projectAdminElsewhere: 403 },
    again: true,
    ask: ({ project }) => ['/api/keys', { name: 'ci', scope: 'submit', projects: [project] }],
  },
  'GET /api/keys': { ask: () => ['/api/keys'] },
  'DELETE /api/keys/:id': { ask: ({ ids }) => [`/api/keys/${ids.submit}`] },
  'DELETE /api/keys/:id (of the project)': {
    but: { projectAdmin: 200 },
    ask: ({ ids }) => [`/api/keys/${ids.read}`],
  },
  'POST /api/keys/:id/rotate (of the project)': {
    status: 201,
    but: { projectAdmin: 201, submit: 403, read: 201 },
    again: true,
    ask: ({ ids }) => [`/api/keys/${ids.read}/rotate`],
  },
  'POST /api/keys/:id/rotate': { status: 201, again: true, ask: ({ ids }) => [`/api/keys/${ids.submit}/rotate`] },
  'POST /api/keys/:id/rotate (its own)': {
    status: 201,
    but: allKeys(201),
    again: true,
    ask: ({ ids }, { column }) => [`/api/keys/${ids[column] ?? ids.submit}/rotate`],
  },
};

const routeOf = (question: string) => question.replace(/ \(.*/, '') as RouteKey;

async function ask(question: string, world: World, column: Column) {
  const who = world.as(column);
  const [path, body] = await QUESTIONS[question]!.ask(world, who);
  return send(question, path, body, who.secret);
}

async function send(question: string, path: string, body: unknown, secret: string | null) {
  const raw = body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : null;
  const answer = await call(path, secret, {
    method: question.split(' ')[0]!,
    headers: raw
      ? { 'Content-Length': String(raw.byteLength), 'X-Part-SHA256': await sha256Of(raw) }
      : { 'Content-Type': 'application/json' },
    body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
  });
  const text = new TextDecoder().decode(await answer.arrayBuffer());
  return { status: answer.status, code: answer.ok ? undefined : JSON.parse(text).error.code, text };
}

// ── The walk ───────────────────────────────────────────────────────────────────────────────────────────────

const columns = Object.keys(COLUMNS) as Column[];
const routes = Object.keys(ROUTES) as RouteKey[];

let shared: World;
beforeAll(async () => {
  // Stops all background work, because the test would blame a refusal for its changes.
  tinyStore({ look: (_, data) => ({ kind: 'wait', afterMs: 600_000, data }) });
  shared = await makeWorld();
});

test('every row of the table has its handler and its question, and there are no others', () => {
  const registered = createApp(SETTINGS).routes.filter(({ method }) => method !== 'ALL');
  const times = Map.groupBy(registered, ({ method, path }) => `${method} ${path}`);
  expect([...times.keys()].sort()).toEqual(routes.toSorted());
  // One entry is the authorisation of the row, and a handler must stand behind it.
  expect([...times].filter(([, entries]) => entries.length < 2)).toEqual([]);
  const asked = new Set(Object.keys(QUESTIONS).map(routeOf));
  expect([...asked].sort()).toEqual(routes.toSorted());
  const count = Object.keys(QUESTIONS).length;
  console.log(`authorisation: ${count} questions × ${columns.length} credentials = ${count * columns.length} cells`);
});

test('a route without a row answers nothing, not even to an admin', async () => {
  const app = createApp(SETTINGS);
  app.get('/api/unlisted', (c) => c.text('secret'));
  app.get('/api/workers/unlisted', (c) => c.text('secret'));
  app.post('/api/me', (c) => c.text('secret'));
  app.all('/api/other', (c) => c.text('secret'));
  const headers = { Authorization: `Bearer ${env.ADMIN_KEY}` };
  for (const [method, path] of [
    ['GET', '/api/unlisted'],
    ['HEAD', '/api/unlisted'],
    ['GET', '/api/workers/unlisted'],
    ['POST', '/api/me'],
    ['GET', '/api/other'],
  ] as const) {
    const answer = await app.request(path, { method, headers }, env);
    expect([method, path, answer.status]).toEqual([method, path, 404]);
    expect(await answer.text()).not.toContain('secret');
  }
});

test('a handler on the path of a row stands behind its authorisation, however it was registered', async () => {
  const app = createApp(SETTINGS);
  app.get('/api/audit', (c) => c.text('secret'));
  expect((await app.request('/api/audit', {}, env)).status).toBe(401);
});

test('a build of another pool, one that does not exist and a malformed id tell a tied key nothing', async () => {
  const { secret } = shared.as('submitElsewhere');
  const answers = await Promise.all(
    [shared.running, 'bld_none'].map(async (id) => {
      const answer = await call(`/api/builds/${id}`, secret);
      return [answer.status, (await answer.text()).replaceAll(id, 'ID')];
    }),
  );
  expect(answers[0]).toEqual(answers[1]);
  expect((await call(`/api/builds/${encodeURIComponent("' OR 1=1")}`, secret)).status).toBe(400);
});

test('every route that changes something is recorded, or said to need no record', () => {
  const changing = routes.filter((route) => !route.startsWith('GET '));
  // On a route that reads, the audit may record only refused attempts.
  const recorded = Object.entries(ACTIONS).filter(([route, { denied }]) => !(route.startsWith('GET ') && denied));
  expect([...recorded.map(([route]) => route), ...UNRECORDED].sort()).toEqual(changing.sort());
  expect(Object.keys(ACTIONS).filter((route) => !(route in ROUTES))).toEqual([]);
});

/**
 * For each kind of thing: one of another project, one of a deleted project or deleted, and one that never
 * existed.
 */
const UNREACHED: Record<Kind, (world: World) => [foreign: string, deleted: string, none: string]> = {
  build: ({ foreign, deleted }) => [foreign.build, deleted.build, 'b_none'],
  link: ({ links }) => [links.foreign, links.deleted, 'lnk_none'],
  submission: ({ submissions }) => [submissions.foreign, submissions.deleted, 'sub_none'],
  project: ({ foreign, deleted }) => [foreign.project, deleted.project, 'prj_none'],
  key: ({ foreign, ids }) => [foreign.key, ids.submit!, 'key_none'],
  // Only admins of the farm and its own agent ask for a worker.
  worker: () => ['w_none', 'w_none', 'w_none'],
};
/** Keys of the project, of each kind. */
const OF_PROJECT = ['projectAdmin', 'untrusted', 'read'] as const satisfies Column[];

test.for(routes.filter((route) => 'finds' in ROUTES[route]))(
  '%s: what is foreign, what was deleted and what never was are the same to the keys of a project, and none of it changes',
  async (route) => {
    const row = ROUTES[route] as Extract<TableRow, { right: Right }>;
    const question = QUESTIONS[Object.keys(QUESTIONS).find((one) => routeOf(one) === route)!]!;
    const before = await contentsOfTables();
    for (const column of OF_PROJECT) {
      const seen = [];
      for (const id of UNREACHED[row.finds!](shared)) {
        const who = shared.as(column);
        const [path, body] = await question.ask(shared, who);
        const parts = path.split('/');
        parts[3] = id + (parts[3]!.includes('?') ? parts[3]!.slice(parts[3]!.indexOf('?')) : '');
        const at = requests.length;
        const answer = await send(route, parts.join('/'), body, who.secret);
        const { statements, rows } = requests[at]!;
        seen.push({ ...answer, text: answer.text.replaceAll(id, 'ID'), statements, rows: rows > 0 });
      }
      const isAllowed = column in HAVE[row.right](200);
      expect([column, seen[0]!.status]).toEqual([column, isAllowed ? row.others : 403]);
      // A row that was read and one that was not there are told apart by D1 alone.
      for (const one of seen) expect({ ...one, rows: true }).toEqual({ ...seen[0], rows: true });
    }
    const after = await contentsOfTables();
    // Refused attempts at secrets are recorded.
    expect({ ...after, audit: '' }).toEqual({ ...before, audit: '' });
    if (!ACTIONS[route]?.denied) expect(after.audit).toEqual(before.audit);
  },
);

test('an untrusted key reads and retries untrusted builds of its project, and may cancel them', async () => {
  const world = await makeWorld();
  const { secret } = world.as('untrusted');
  for (const path of ['', '/logs', '/artifacts'])
    expect([path, (await call(`/api/builds/${world.untrusted}${path}`, secret)).status]).toEqual([path, 200]);
  const list = await (await call('/api/builds', secret)).json<{ builds: { id: string }[] }>();
  expect(list.builds.map(({ id }) => id)).toEqual([world.untrusted]);
  for (const [path, status] of [
    ['retry', 201],
    ['cancel', 409],
  ] as const)
    expect((await call(`/api/builds/${world.untrusted}/${path}`, secret, { method: 'POST' })).status).toBe(status);
});

for (const [question, { status = 200, but, again, once }] of Object.entries(QUESTIONS))
  test(`${question}: all ${columns.length} credentials are answered as the table says, and refusals change nothing`, async () => {
    const row: Row = { ...expected(ROUTES[routeOf(question)], status), ...but };
    const refused = columns.filter((column) => row[column] >= 400);
    // The audit has refused attempts on such a route.
    const contents = async () => {
      const { audit, ...rest } = await contentsOfTables();
      return ACTIONS[routeOf(question)]?.denied ? rest : { audit, ...rest };
    };
    const before = await contents();
    const seen: Partial<Row> = {};
    for (const column of refused) {
      const { status, code } = await ask(question, shared, column);
      seen[column] = status;
      if (status === 401) expect(code).toBe('unauthorized');
      if (status === 403) expect(code).toBe('forbidden');
    }
    expect(await contents()).toEqual(before);
    // Reading changes nothing.
    let world = again || question.startsWith('GET ') ? shared : null;
    for (const column of columns.filter((column) => row[column] < 400)) {
      if (once || !world) world = await makeWorld();
      seen[column] = (await ask(question, world, column)).status;
    }
    expect(seen).toEqual(row);
  });
