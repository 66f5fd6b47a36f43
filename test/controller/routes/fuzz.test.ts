/**
 * Sends hostile requests to every route, made from the schemas of the contract. Each is answered, none with
 * 5xx, and a refused one changes no row. `npm test` sends a few of them. This sends more:
 *
 *   FUZZ_REQUESTS=20000 SEED=7 npx vitest run --project controller test/controller/routes/fuzz.test.ts
 */
import { env } from 'cloudflare:workers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { z } from 'zod';
import * as contract from '#contract';
import { ACTIONS } from '../../../controller/access/audit.ts';
import { ROUTES } from '../../../controller/routes/route-table.ts';
import { bytesOf, call } from '../factories/rows.ts';
import { contentsOfTables, emptyTables } from '../factories/tables.ts';
import { COLUMNS, type Column, makeWorld, type World } from '../factories/world.ts';
import { accepted, damaged, hostile, NASTY } from './from-schema.ts';

const REQUESTS = Number(env.FUZZ_REQUESTS);
const SEED = Number(env.SEED);
/**
 * After so many requests the world is made anew, because much of it is cancelled, removed or revoked by then.
 */
const WORLD_REQUESTS = 250;
/** So many requests are one test, so that a long run shows how far it is. */
const PART_REQUESTS = 2_500;
const PROBLEMS_MAX = 20;
const ANSWER_MAX_CHARS = 6_500;
/** Much longer than a busy machine needs. */
const ANSWER_MS = 60_000;
/** With so many requests every route lets in at least one, but for routes that need an upload. */
const ALL_ROUTES_REQUESTS = 20_000;
const NEVER_LET_IN = [
  'GET /api/builds/:id/blobs/:sha256',
  'PUT /api/builds/:id/blobs/:sha256/uploads/:upload/parts/:part',
  'POST /api/builds/:id/blobs/:sha256/uploads/:upload/complete',
  'GET /api/builds/:id/blobs/:sha256/uploads/:upload',
  'DELETE /api/builds/:id/blobs/:sha256/uploads/:upload',
  'PUT /api/blobs/:sha256/uploads/:upload/parts/:part',
  'POST /api/blobs/:sha256/uploads/:upload/complete',
  'GET /api/blobs/:sha256/uploads/:upload',
  'DELETE /api/blobs/:sha256/uploads/:upload',
];

const BODIES: Record<string, z.ZodType> = {
  'POST /api/builds': contract.BuildRequest,
  'POST /api/builds/:id/retry': contract.RetryRequest,
  'POST /api/builds/:id/links': contract.LinkRequest,
  'POST /api/builds/:id/heartbeat': contract.Heartbeat,
  'POST /api/builds/:id/reports': contract.Report,
  'POST /api/blobs/:sha256/uploads': contract.UploadRequest,
  'POST /api/builds/:id/blobs/:sha256/uploads': contract.UploadRequest,
  'POST /api/projects': contract.ProjectRequest,
  'PATCH /api/projects/:id': contract.ProjectPatch,
  'PATCH /api/pools/:pool': contract.PoolPatch,
  'PUT /api/pools/:pool/images/:name': contract.PoolImageRequest,
  'POST /api/workers': contract.WorkerRequest,
  'POST /api/workers/enrol': contract.EnrolRequest,
  'POST /api/workers/:id/enrolments': contract.EnrolmentRequest,
  'PATCH /api/workers/:id': contract.WorkerPatch,
  'POST /api/workers/:id/claim': contract.ClaimRequest,
  'POST /api/workers/:id/status': contract.WorkerStatus,
  'POST /api/workers/:id/findings': contract.FindingsReport,
  'POST /api/keys': contract.KeyRequest,
  'PUT /api/projects/:id/secrets/:name': contract.SecretRequest,
  'PUT /api/projects/:id/store-keys/:name': contract.StoreKeyRequest,
  'PUT /api/projects/:id/numbers/:platform/:appId': contract.CounterRequest,
  'POST /api/builds/:id/number': contract.BuildNumberRequest,
  'POST /api/builds/:id/kept': contract.KeptRequest,
};
const QUERY_NAMES = (
  'worker_id attempt offset limit tail follow status pool cursor live overlapMs project repository branch ' +
  'commit pullRequest group trusted'
).split(' ');
const METHODS = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'POST', 'PATCH', 'DELETE'];
const CONTENT_TYPES = ['text/plain', 'application/json; charset=utf-16', 'multipart/form-data; boundary=x', ''];
/** Texts that are no credentials. */
const ODD = [
  'tb_run_W10.AAAA',
  'tb_vm_',
  'tb_run_.',
  'tb_run_é.é',
  'tb_admin_',
  'null',
  'x'.repeat(4_000),
  `tb_vm_${'A'.repeat(900)}.A`,
];
const HEADER_NAMES = [
  'Content-Length',
  'Content-Encoding',
  'Transfer-Encoding',
  'Range',
  'If-None-Match',
  'If-Range',
  'Accept',
  'Last-Event-ID',
  'X-Part-SHA256',
  'X-Tartbeat-Contract',
];

const ROUTE_KEYS = Object.keys(ROUTES);

/** One request, described before its world is made. */
interface Shot {
  route: string;
  /** Now and then another method than that of the route. */
  method: string;
  contentType: string;
  credential: Column | { odd: string };
  params: string[];
  query: [string, string][];
  headers: [string, string][];
  body: Uint8Array<ArrayBuffer> | null;
}

/** `@name` stands for the value of that name in the world. */
const known = fc.constantFrom('@running', '@ended', '@worker', '@blob', '@key', '1', '2');
const param = fc.oneof(
  { weight: 6, arbitrary: known },
  { weight: 1, arbitrary: fc.constantFrom('%', '%00', '%ff', '..%2f..%2fkeys', '%E0%A4%A', 'a/b', '') },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...NASTY).map((text) => encodeURIComponent(text.toWellFormed()).slice(0, 2_000)),
  },
);
const word = fc.oneof(known, fc.constantFrom(...NASTY), fc.integer().map(String));
const headerText = fc.oneof(
  fc.constantFrom('bytes=0-', 'bytes=5-2', 'bytes=-0', '1:0', '9999:9', 'text/event-stream', '*', '"x"', '0'),
  fc.string({ unit: 'binary-ascii', maxLength: 200 }).map((text) => text.replaceAll(/[^\x20-\x7e]/g, '').trim()),
);

/** Fields that drawn values seldom fit. A bare body does not have them. */
const SELDOM_FIT: Record<string, string[]> = { 'POST /api/builds': ['origin', 'profile', 'projectRoot', 'app'] };
const without = (names: readonly string[], whole: unknown) =>
  Object.fromEntries(Object.entries(whole as object).filter(([name]) => !names.includes(name)));

/** A body as bytes, whole or damaged. */
function bodyOf(route: string): fc.Arbitrary<Uint8Array<ArrayBuffer> | null> {
  const schema = BODIES[route];
  if (!schema) {
    if (route.startsWith('GET ')) return fc.constant(null);
    return fc.oneof(
      fc.constant(null),
      fc.uint8Array({ maxLength: 64 }).map((bytes) => new Uint8Array(bytes)),
      // Larger than an append to a log may be.
      fc.constant(new Uint8Array(contract.LOG_APPEND_MAX_BYTES + 1)),
    );
  }
  const honest = fc
    .tuple(accepted(schema), fc.boolean())
    .map(([whole, isBare]) => (isBare ? without(SELDOM_FIT[route] ?? [], whole) : whole));
  const value = fc.oneof(
    { weight: 2, arbitrary: honest },
    {
      weight: 5,
      arbitrary: fc
        .tuple(
          accepted(schema),
          fc.nat(200),
          fc.constantFrom('replace' as const, 'remove' as const, 'add' as const),
          hostile,
        )
        .map(([honest, where, how, by]) => damaged(honest, where, how, by)),
    },
    { weight: 1, arbitrary: hostile },
  );
  const SPOIL: Record<string, (text: string, at: number) => Uint8Array<ArrayBuffer>> = {
    whole: (text) => bytesOf(text),
    cut: (text, at) => bytesOf(text.slice(0, at % Math.max(1, text.length))),
    twice: (text) => bytesOf(text + text),
    repeatedField: (text) => bytesOf(text.replace(/^\{/, '{"name":1,"type":2,"attempt":3,')),
    notUtf8: (text, at) => {
      const bytes = bytesOf(text);
      if (bytes.length > 0) bytes[at % bytes.length] = 0xff;
      return bytes;
    },
    deep: (text) => bytesOf(`${'{"a":'.repeat(2_000)}${text}${'}'.repeat(2_000)}`),
    huge: (text) => bytesOf(text.padEnd(600_000)),
  };
  const spoil = fc.oneof({ weight: 12, arbitrary: fc.constant('whole') }, fc.constantFrom(...Object.keys(SPOIL)));
  return fc.tuple(value, spoil, fc.nat()).map(([json, how, at]) => SPOIL[how]!(JSON.stringify(json) ?? '', at));
}

const shot: fc.Arbitrary<Shot> = fc.constantFrom(...ROUTE_KEYS).chain((route) =>
  fc.record({
    route: fc.constant(route),
    method: seldom(route.split(' ')[0]!, METHODS),
    contentType: seldom('application/json', CONTENT_TYPES),
    // Mostly a credential that is let in, because any other only sees its own refusal.
    credential: fc.oneof(
      { weight: 20, arbitrary: fc.constant(likely(route)) },
      { weight: 20, arbitrary: fc.constantFrom(...(Object.keys(COLUMNS) as Column[])) },
      { weight: 1, arbitrary: fc.constantFrom(...ODD).map((odd) => ({ odd })) },
    ),
    params: fc.array(param, { minLength: 4, maxLength: 4 }),
    query: fc.array(fc.tuple(fc.constantFrom(...QUERY_NAMES, '__proto__'), word), { maxLength: 4 }),
    headers: fc.array(fc.tuple(fc.constantFrom(...HEADER_NAMES), headerText), { maxLength: 2 }),
    body: bodyOf(route),
  }),
);

function likely(route: string): Column {
  if (/heartbeat|reports|source|inputs|PUT .*logs/.test(route)) return 'run';
  if (/claim|attempts$|durations|findings|workers\/:id\/status/.test(route)) return 'worker';
  if (/secrets/.test(route)) return 'projectAdmin';
  return 'admin';
}

const seldom = (usual: string, others: string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight: 30, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

function requestOf(
  { route, method, contentType, credential, params, query, headers, body }: Shot,
  world: World,
): [string, string | null, RequestInit] {
  const pattern = route.split(' ')[1]!;
  const names: Record<string, string> = { ...world, key: world.ids.submit! } as never;
  const known = (text: string) => (text.startsWith('@') ? String(names[text.slice(1)]) : text);
  const rest = [...params];
  const fill = (part: string) => (part.startsWith(':') ? defaultOr(known(rest.pop()!), part) : part);
  /** Every other time an id that exists, because otherwise nearly nothing would be found. */
  const defaultOr = (value: string, part: string) => {
    if (params[0]! > params[1]!) return value;
    if (part === ':sha256') return world.blob;
    if (part === ':name{.+}') return 'out/app.ipa';
    if (part === ':name') return 'NAME';
    if (part === ':platform') return 'android';
    if (part === ':appId') return 'com.example.app';
    if (pattern.includes('/projects/')) return world.project;
    if (pattern.startsWith('/api/links/')) return world.links.own;
    if (part === ':token') return world.links.token;
    if (part === ':part') return '1';
    if (part === ':pool') return world.pool;
    return pattern.includes('/workers/') ? world.worker : pattern.includes('/keys/') ? names.key! : world.running;
  };
  const path = pattern.split('/').map(fill).join('/');
  const asked = new URLSearchParams(query.map(([name, value]) => [name, known(value).toWellFormed()]));
  if (route === 'GET /api/blobs/:sha256' && params[0]! > params[2]!) asked.set('project', 'default');
  if (route.includes('heartbeat') && params[0]! > params[2]!) asked.set('worker_id', world.worker);
  if (route === 'PUT /api/builds/:id/logs' && params[0]! > params[2]!)
    for (const [name, value] of [['attempt', '2'] as const, ['offset', '0'] as const]) asked.set(name, value);
  // Of two headers of one name the later one counts. A wrong length is hostile too.
  const said = new Headers(body ? { 'Content-Length': String(body.byteLength) } : {});
  for (const [name, value] of [['Content-Type', contentType] as const, ...headers]) said.set(name, value);
  const init: RequestInit = { method, headers: said };
  if (body && method !== 'GET' && method !== 'HEAD')
    init.body = params[0]! > params[1]! && !route.endsWith('/number') ? body : withKnown(body, world);
  const secret = typeof credential === 'object' ? credential.odd : world.as(credential).secret;
  return [`${path}${query.length > 0 || asked.size > 0 ? `?${asked}` : ''}`, secret, init];
}

/**
 * Puts in a stored file, the running attempt, an app that has a counter, a number that is near to it, and a
 * valid code where the body has such a field.
 */
function withKnown(body: Uint8Array<ArrayBuffer>, { blob, code }: World): Uint8Array<ArrayBuffer> {
  const text = new TextDecoder().decode(body);
  const known = text
    .replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${blob}"`)
    .replace(/"attempt":\d+/, '"attempt":2')
    .replace(/"app":\{"id":"[^"]*"/, '"app":{"id":"com.example.app"')
    .replace(/"buildNumber":\d+/, '"buildNumber":42')
    .replace(/^\{"code":"(?:[^"\\]|\\.)*"\}$/, JSON.stringify({ code }));
  return known === text ? body : bytesOf(known);
}

async function answerOf(
  path: string,
  secret: string | null,
  init: RequestInit,
): Promise<{ status: number; text: string }> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms: ${init.method} ${path}`)), ANSWER_MS);
  });
  const asked = (async () => {
    const answer = await call(path, secret, init);
    if (answer.status < 400) {
      await answer.body?.cancel();
      return { status: answer.status, text: '' };
    }
    return { status: answer.status, text: await answer.text() };
  })();
  return await Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

/** Waits until the background work of an accepted request is done. */
async function settled(): Promise<Record<string, string>> {
  for (let last = JSON.stringify(await contentsOfTables()); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = await contentsOfTables();
    if (JSON.stringify(now) === last) return now;
    last = JSON.stringify(now);
  }
}

/** True for a refusal in the contract's form, with a code of its list, and short. */
function isPlainRefusal(text: string): boolean {
  if (!text.startsWith('{') || text.length > ANSWER_MAX_CHARS) return false;
  const said = contract.ErrorBody.safeParse(JSON.parse(text));
  return said.success && contract.ERROR_CODES.includes(said.data.error.code as never);
}

for (let first = 0; first < REQUESTS; first += PART_REQUESTS)
  test(
    `hostile requests from ${first} on: no 5xx, no hang, nothing changed by what was refused`,
    {
      timeout: 60_000 + PART_REQUESTS * 500,
    },
    () => shoot(first, Math.min(PART_REQUESTS, REQUESTS - first)),
  );

/** The routes that let in a request of any part. */
const letIn = new Set<string>();
if (REQUESTS >= ALL_ROUTES_REQUESTS)
  test('every route has let somebody in', () => {
    expect(ROUTE_KEYS.filter((route) => !letIn.has(route) && !NEVER_LET_IN.includes(route))).toEqual([]);
  });

async function shoot(first: number, count: number): Promise<void> {
  const statuses = new Map<number, number>();
  const problems: string[] = [];
  let world!: World;
  let before: Record<string, string> = {};
  let shots: Shot[] = [];
  for (let index = first; index < first + count; index++) {
    if (index % WORLD_REQUESTS === 0) {
      // Made as they are needed, because all at once would fill the memory.
      shots = fc.sample(shot, { numRuns: WORLD_REQUESTS, seed: SEED * 1_000_003 + index });
      await emptyTables();
      world = await makeWorld();
      before = await settled();
    }
    const one = shots[index % WORLD_REQUESTS]!;
    const [path, secret, init] = requestOf(one, world);
    const told = `#${index} ${JSON.stringify(one.credential)}: ${init.method} ${path} ${JSON.stringify(one.headers)} ${new TextDecoder().decode(one.body ?? bytesOf('')).slice(0, 500)}`;
    const { status, text } = await answerOf(path, secret, init);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (status >= 500) problems.push(`${status} ${text}: ${told}`);
    if (problems.length >= PROBLEMS_MAX) break;
    if (status < 400) {
      letIn.add(one.route);
      before = init.method === 'GET' ? await contentsOfTables() : await settled();
      continue;
    }
    // A person opens a link that does not work, and gets a page.
    const isForPeople = one.route.startsWith('GET /i/') && status === 404 && text.startsWith('<!doctype html>');
    if (init.method !== 'HEAD' && !isForPeople && !isPlainRefusal(text)) problems.push(`${status} ${text}: ${told}`);
    const after = await contentsOfTables();
    // The audit has refused attempts on such a route.
    const changed = Object.keys(after).filter(
      (table) => after[table] !== before[table] && !(table === 'audit' && ACTIONS[one.route]?.denied),
    );
    if (changed.length > 0) problems.push(`${status}, but ${changed} changed: ${told}`);
    before = after;
  }
  expect(problems).toEqual([]);
  const told = [...statuses].sort(([a], [b]) => a - b).map(([status, times]) => `${status}: ${times}`);
  console.log(
    `fuzz: ${count} requests, seed ${SEED}, ${ROUTE_KEYS.length} routes; ${told.join(', ')}; let in by ${letIn.size} so far`,
  );
  // If hardly any request is let in, the test proves nothing.
  expect([...statuses].filter(([status]) => status < 400).reduce((sum, [, times]) => sum + times, 0)).toBeGreaterThan(
    count / 20,
  );
}
