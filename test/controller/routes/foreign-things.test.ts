/**
 * Sends hostile requests across projects, in pairs: one names a thing of another project, its twin names one
 * that does not exist. No answer tells them apart, by its status, its words, its headers, or the number of
 * calls to D1 and R2 behind it, and nothing foreign changes. `npm test` sends a few of them. This sends more:
 *
 *   FOREIGN_REQUESTS=20000 SEED=7 npx vitest run --project controller
 *   test/controller/routes/foreign-things.test.ts
 */
import { env } from 'cloudflare:workers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GRANTS, type Rights } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { ROUTES, type RouteKey } from '../../../controller/routes/route-table.ts';
import { artifacts, buildNumbers, keys, links } from '../../../controller/schema/index.ts';
import { requests } from '../factories/platform-limits.ts';
import {
  bytesOf,
  call,
  db,
  HOUR_MS,
  insertAttempt,
  insertBlob,
  insertBuild,
  insertProject,
  insertWorker,
  sha256Of,
  tokenFor,
  unique,
} from '../factories/rows.ts';
import { contentsOfTables } from '../factories/tables.ts';

const REQUESTS = Number(env.FOREIGN_REQUESTS);
const SEED = Number(env.SEED);
/** So many pairs are one test, so that a long run shows how far it is. */
const PART_REQUESTS = 2_500;
const PROBLEMS_MAX = 20;

/** The routes that a key opens, without those for all callers alike. */
const ROUTE_KEYS = Object.entries(ROUTES).flatMap(([key, row]) => ('right' in row || 'by' in row ? [key] : []));

interface World {
  /** Credentials of one project, of all kinds. */
  credentials: Record<string, string>;
  /** The things of the other project, by kind: the real one, and its twin that does not exist. */
  things: Record<Kind, [real: string, twin: string][]>;
  own: { project: string; pool: string; blob: string; build: string; key: string; worker: string };
}
const KINDS = [
  'build',
  'project',
  'projectName',
  'key',
  'worker',
  'blob',
  'pool',
  'requestName',
  'artifact',
  'link',
] as const;
type Kind = (typeof KINDS)[number];

/** Another last character, so that it sorts where the real one does. */
const twinOf = (id: string): string => id.slice(0, -1) + (id.endsWith('0') ? '1' : '0');

async function makeWorld(): Promise<World> {
  const now = Date.now();
  const name = unique('shop');
  const [own, foreign] = [await insertProject(), await insertProject(name)];
  const [pool, foreignPool] = [unique('pool'), unique('pool')];
  const blob = await insertBlob(bytesOf('a source of its own'), own);
  const foreignBlob = await insertBlob(bytesOf(unique('a source of another team')), foreign);
  const make = (rights: Partial<Rights>, scope: 'submit' | 'read' = 'submit', project = own) =>
    createKey(env, { name: 'x', scope, rights: { ...RIGHTS_TO_ALL, projects: [project], ...rights } }, now);
  const { workerId, key: workerKey } = await insertWorker();
  const { workerId: foreignWorker } = await insertWorker();
  const admin = await make({ may: [...GRANTS] });
  const foreignKey = await make({ may: ['admin'] }, 'submit', foreign);
  const [build] = await Promise.all([
    insertBuild({ projectId: own, pool, status: 'succeeded', endedAt: now, sourceSha256: blob }),
  ]);
  const theirs: string[] = [];
  for (const of of [
    { status: 'queued', attempt: 0 },
    { status: 'building' },
    { status: 'succeeded', endedAt: now },
    { status: 'failed', endedAt: now, trusted: false, verdict: 'build_failed' },
  ] as const) {
    const id = await insertBuild({
      ...of,
      projectId: foreign,
      pool: foreignPool,
      sourceSha256: foreignBlob,
      createdByKey: foreignKey.key.id,
      createdByRoot: foreignKey.key.id,
    });
    if (of.status !== 'queued')
      await insertAttempt(id, 1, { workerId: foreignWorker, ...('endedAt' in of && { endedAt: now }) });
    theirs.push(id);
  }
  await db
    .insert(buildNumbers)
    .values({ projectId: foreign, platform: 'ios', appId: 'com.example.app', value: 41, updatedAt: now });
  const file = { buildId: theirs[2]!, attempt: 1, name: 'app.ipa', sha256: foreignBlob, size: 8, createdAt: now };
  await db.insert(artifacts).values(file);
  const link = unique('lnk');
  await db.insert(links).values({
    ...{ id: link, hash: link, projectId: foreign, buildId: theirs[2]!, attempt: 1, artifact: file.name },
    ...{ sha256: foreignBlob, createdByKey: foreignKey.key.id, createdByRoot: foreignKey.key.id },
    ...{ createdAt: now, expiresAt: now + HOUR_MS },
  });
  const request = {
    source: { sha256: foreignBlob },
    command: 'make',
    platform: 'ios',
    project: foreign,
    idempotencyKey: 'release-10',
  };
  await call('/api/builds', foreignKey.secret, {
    method: 'POST',
    body: JSON.stringify(request),
    headers: { 'Content-Type': 'application/json' },
  });
  const credentials = {
    'project admin': admin.secret,
    submit: (await make({ maxPriority: 0 })).secret,
    'pool submit': (await make({ pools: [pool] })).secret,
    untrusted: (await make({ trusted: false })).secret,
    read: (await make({}, 'read')).secret,
    worker: workerKey,
    run: await tokenFor(build, 1, 'run', workerId),
    vm: await tokenFor(build, 1, 'vm', workerId),
  };
  // The first use of a key writes a row.
  await db.update(keys).set({ lastUsedAt: now });
  const pairs = (...reals: string[]) => reals.map((real): [string, string] => [real, twinOf(real)]);
  return {
    credentials,
    things: {
      build: pairs(...theirs),
      project: pairs(foreign),
      projectName: pairs(name),
      key: pairs(foreignKey.key.id),
      worker: pairs(foreignWorker),
      blob: pairs(foreignBlob),
      pool: pairs(foreignPool),
      requestName: pairs('release-10'),
      artifact: [['app.ipa', 'app.ipx']],
      link: pairs(link),
    },
    own: { project: own, pool, blob, build, key: admin.key.id, worker: workerId },
  };
}

interface Shot {
  route: string;
  credential: string;
  /** The index of the foreign thing within its kind. */
  which: number;
  query: [name: string, value: string][];
  body: Record<string, unknown>;
  headers: [name: string, value: string][];
  twinFirst: boolean;
}

const CREDENTIALS = ['project admin', 'submit', 'pool submit', 'untrusted', 'read', 'worker', 'run', 'vm'];
const at = (kind: Kind | keyof World['own']) => `@${kind}@`;
/** `@kind@` stands for the foreign thing or its twin, `@own.kind@` for a thing of the caller's own. */
const project = fc.constantFrom(at('project'), at('projectName'), '@own.project@', 'prj_default', 'default');
const QUERIES: Record<string, fc.Arbitrary<string>> = {
  worker_id: fc.constantFrom(at('worker'), '@own.worker@'),
  attempt: fc.constantFrom('1', '2', '0'),
  offset: fc.constantFrom('0', '5'),
  tail: fc.constantFrom('0', '10'),
  follow: fc.constantFrom('0', '1'),
  status: fc.constantFrom('queued', 'building', 'succeeded'),
  pool: fc.constantFrom(at('pool'), '@own.pool@'),
  cursor: fc.constantFrom(at('build'), '1', `1.${at('build')}`),
  live: fc.constantFrom('0', '1'),
  overlapMs: fc.constantFrom('0', '1'),
  keep: fc.constantFrom('0', '1'),
  project,
  branch: fc.constantFrom('main'),
  trusted: fc.constantFrom('0', '1'),
};
const body = fc.record(
  {
    source: fc.constantFrom({ sha256: at('blob') }, { sha256: '@own.blob@' }),
    command: fc.constant('make'),
    platform: fc.constant('ios'),
    project,
    pool: fc.constantFrom(at('pool'), '@own.pool@'),
    projects: fc.constantFrom(
      [at('project')],
      [at('projectName')],
      ['@own.project@', at('project')],
      ['@own.project@'],
    ),
    pools: fc.constantFrom([at('pool')], ['@own.pool@'], '*'),
    may: fc.constantFrom([], ['admin'], ['secrets.use']),
    name: fc.constantFrom('x', at('projectName')),
    scope: fc.constantFrom('submit', 'read', 'admin'),
    idempotencyKey: fc.constant(at('requestName')),
    instanceId: fc.constant('mac'),
    claimId: fc.constant('claim'),
    type: fc.constant('start'),
    attempt: fc.constant(1),
    size: fc.constant(8),
    value: fc.constant('a secret'),
    priority: fc.constantFrom(0, 50),
  },
  { requiredKeys: [] },
);
/** The fields that each route takes. A field that it does not know would only be refused. */
const FIELDS: Record<string, string[]> = {
  'POST /api/builds': ['source', 'command', 'platform', 'project', 'pool', 'idempotencyKey', 'priority'],
  'POST /api/builds/:id/retry': ['idempotencyKey'],
  'POST /api/keys': ['name', 'scope', 'projects', 'pools', 'may'],
  'POST /api/workers/:id/claim': ['instanceId', 'claimId'],
  'POST /api/builds/:id/links': [],
  'POST /api/builds/:id/kept': [],
  'POST /api/builds/:id/number': [],
  'PUT /api/projects/:id/numbers/:platform/:appId': [],
};
const NEEDED: Record<string, object> = {
  'POST /api/builds': {
    source: { sha256: '@own.blob@' },
    command: 'make',
    platform: 'ios',
    pool: '@own.pool@',
    project: '@own.project@',
  },
  'POST /api/keys': { name: 'x', scope: 'submit', projects: ['@own.project@'] },
  'POST /api/builds/:id/reports': { type: 'start', attempt: 1 },
  'POST /api/builds/:id/kept': { attempt: 1, until: null },
  'POST /api/builds/:id/number': { app: { id: 'com.example.app', buildNumber: 7 }, increment: true },
  'PUT /api/projects/:id/numbers/:platform/:appId': { value: 5 },
};

const shot: fc.Arbitrary<Shot> = fc.constantFrom(...ROUTE_KEYS).chain((route) =>
  fc.record({
    route: fc.constant(route),
    credential: fc.constantFrom(...CREDENTIALS),
    which: fc.nat(10),
    query: fc
      .uniqueArray(fc.constantFrom(...Object.keys(QUERIES)), { maxLength: 3 })
      .chain((names) =>
        fc.tuple(...names.map((name) => QUERIES[name]!.map((value): [string, string] => [name, value]))),
      ),
    body: body.map((drawn) => ({
      ...NEEDED[route],
      ...Object.fromEntries(Object.entries(drawn).filter(([name]) => !FIELDS[route] || FIELDS[route].includes(name))),
    })),
    headers: fc.constantFrom(
      [],
      [['Accept', 'text/event-stream']],
      [['Accept', 'text/plain']],
      [['Range', 'bytes=0-3']],
      [['Last-Event-ID', '1:0']],
    ),
    twinFirst: fc.boolean(),
  }),
) as fc.Arbitrary<Shot>;

const KIND_OF_PATH: [RegExp, Kind][] = [
  [/^\/api\/builds/, 'build'],
  [/^\/api\/projects/, 'project'],
  [/^\/api\/keys/, 'key'],
  [/^\/api\/workers/, 'worker'],
  [/^\/api\/pools/, 'pool'],
  [/^\/api\/links/, 'link'],
  [/^\/api\/blobs/, 'blob'],
];

/** Fills in the foreign things, or their twins. */
function fill(text: string, { things, own }: World, which: number, isTwin: boolean): string {
  return text.replaceAll(/@(own\.)?(\w+)@/g, (_, isOwn: string | undefined, name: string) => {
    if (isOwn) return own[name as keyof World['own']];
    const list = things[name as Kind];
    return list[which % list.length]![isTwin ? 1 : 0];
  });
}

async function answerTo({ route, credential, which, query, body, headers }: Shot, world: World, isTwin: boolean) {
  const [method, pattern] = route.split(' ') as [string, string];
  const kind = KIND_OF_PATH.find(([form]) => form.test(pattern))?.[1] ?? 'build';
  const path = pattern
    .replace(/:sha256/, at('blob'))
    .replace(/:id/, at(kind))
    .replace(/:name\{\.\+\}|:name/, 'app.ipa')
    .replace(/:upload/, 'u_1')
    .replace(/:platform\/:appId/, 'ios/com.example.app')
    .replace(/:part/, '1');
  const asked = query
    .map(([name, value]) => `${name}=${encodeURIComponent(fill(value, world, which, isTwin))}`)
    .join('&');
  const said = new Headers(headers);
  let sent: string | Uint8Array<ArrayBuffer> | undefined;
  if (method !== 'GET' && method !== 'DELETE') {
    const isRaw = /blobs|logs/.test(pattern) && method === 'PUT';
    sent = isRaw ? bytesOf('garbage!') : fill(JSON.stringify(body), world, which, isTwin);
    if (isRaw) {
      said.set('Content-Length', '8');
      said.set('X-Part-SHA256', await sha256Of(bytesOf('garbage!')));
    } else said.set('Content-Type', 'application/json');
  }
  const begun = requests.length;
  const answer = await call(`${fill(path, world, which, isTwin)}?${asked}`, world.credentials[credential]!, {
    method,
    headers: said,
    ...(sent !== undefined && { body: sent }),
  });
  // A stream of the caller's own log would not end.
  const isStream = answer.headers.get('Content-Type')?.startsWith('text/event-stream');
  const text = isStream ? '' : await answer.text();
  if (isStream) await answer.body?.cancel();
  const { statements, objects } = requests[begun]!;
  let told = text;
  // Replaces both names, because earlier requests may have put either into things of the caller.
  for (const [name, pairs] of Object.entries(world.things))
    for (const one of pairs[which % pairs.length]!) told = told.replaceAll(one, `<${name}>`);
  // A new thing has an id, a secret and a time of its own.
  told = told
    .replaceAll(/"(b|key|att|wrk|w|u)_[A-Za-z0-9]+"/g, '"<id>"')
    .replaceAll(/tb_[a-z]+_[\w-]+/g, '<secret>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>');
  const shown = [...answer.headers].filter(([name]) => !/length|date/i.test(name));
  return { status: answer.status, told, headers: JSON.stringify(shown), statements, objects, ok: answer.ok };
}

/** The contents of the other project, which must not change. */
async function foreignContents({ things }: World): Promise<string> {
  const { audit: _, ...tables } = await contentsOfTables();
  const ids = [...things.build, ...things.project, ...things.key, ...things.link].map(([real]) => real);
  const rows = Object.values(tables).flatMap((text) =>
    (JSON.parse(text) as object[]).map((row) => JSON.stringify(row)),
  );
  return rows.filter((row) => ids.some((id) => row.includes(id))).join('\n');
}

/**
 * The heartbeat is a fixed contract, by which a worker's key learns whether a build exists. A worker belongs
 * to no project.
 */
const isOfWorker = ({ route, credential }: Shot): boolean =>
  credential === 'worker' && 'by' in ROUTES[route as RouteKey];

const shots = fc.sample(
  shot.filter((one) => !isOfWorker(one)),
  { numRuns: REQUESTS, seed: SEED },
);

for (let from = 0; from < REQUESTS; from += PART_REQUESTS)
  test(`requests ${from + 1} to ${Math.min(from + PART_REQUESTS, REQUESTS)} tell nothing of another project`, {
    timeout: 900_000,
  }, async () => {
    const world = await makeWorld();
    const before = await foreignContents(world);
    const problems: object[] = [];
    const statuses: Record<number, number> = {};
    for (const one of shots.slice(from, from + PART_REQUESTS)) {
      const order = one.twinFirst ? [true, false] : [false, true];
      const [first, second] = [await answerTo(one, world, order[0]!), await answerTo(one, world, order[1]!)];
      const [{ ok, ...said }, { ok: _, ...twin }] = [first, second];
      statuses[said.status] = (statuses[said.status] ?? 0) + 1;
      // The second request finds what the first one has made.
      const makes = ok && !one.route.startsWith('GET ');
      const same = makes ? said.status === twin.status : JSON.stringify(said) === JSON.stringify(twin);
      if (!same && problems.push({ ...one, first, second }) >= PROBLEMS_MAX) break;
    }
    expect(problems.map((problem) => JSON.stringify(problem))).toEqual([]);
    expect(await foreignContents(world)).toBe(before);
    console.log(`foreign things: seed ${SEED}, answers by status ${JSON.stringify(statuses)}`);
  });
