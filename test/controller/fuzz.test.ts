/**
 * Hostile requests to every route, made from the contract's own schemas: none is answered with 5xx or not at all, and none that is
 * refused changes a row. `npm test` sends a part; `FUZZ_REQUESTS=20000 SEED=7 npx vitest run --project controller test/controller/fuzz.test.ts`
 * sends more.
 */
import { env } from 'cloudflare:workers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { z } from 'zod';
import { createApp } from '../../controller/app.ts';
import * as contract from '../../controller/contract.ts';
import { LIMITS } from '../../controller/limits.ts';
import { accepted, damaged, hostile, NASTY } from './from-schema.ts';
import { bytesOf, call } from './rows.ts';
import { digestOfTables, emptyTables } from './tables.ts';
import { COLUMNS, type Column, makeWorld, type World } from './world.ts';

const REQUESTS = Number(env.FUZZ_REQUESTS);
const SEED = Number(env.SEED);
/** After so many requests the world is made anew: by then much of it is cancelled, removed and revoked. */
const WORLD_REQUESTS = 250;
const ANSWER_MS = 15_000;

const BODIES: Record<string, z.ZodType> = {
  'POST /api/builds': contract.BuildRequest,
  'POST /api/builds/:id/heartbeat': contract.Heartbeat,
  'POST /api/builds/:id/reports': contract.Report,
  'POST /api/blobs/:sha256/uploads': contract.UploadRequest,
  'POST /api/workers': contract.WorkerRequest,
  'POST /api/workers/enrol': contract.EnrolRequest,
  'POST /api/workers/:id/enrolments': contract.EnrolmentRequest,
  'PATCH /api/workers/:id': contract.WorkerPatch,
  'POST /api/workers/:id/claim': contract.ClaimRequest,
  'POST /api/workers/:id/status': contract.WorkerStatus,
  'POST /api/workers/:id/findings': contract.FindingsReport,
  'POST /api/keys': contract.KeyRequest,
};
const QUERY_NAMES = 'worker_id attempt offset limit tail follow status pool cursor live overlapMs'.split(' ');
const HEADER_NAMES = [
  'Range',
  'If-None-Match',
  'If-Range',
  'Accept',
  'Last-Event-ID',
  'X-Part-SHA256',
  'X-Tartbeat-Contract',
];

const ROUTES = [
  ...new Set(
    createApp(LIMITS)
      .routes.filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path}`),
  ),
];

/** One request, in terms of a world that is made later. */
interface Shot {
  route: string;
  column: Column | 'odd';
  params: string[];
  query: [string, string][];
  headers: [string, string][];
  body: Uint8Array<ArrayBuffer> | null;
}

/** `@name` stands for what the world has of that name. */
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

/** A body as bytes, whole or spoilt on the way. */
function bodyOf(route: string): fc.Arbitrary<Uint8Array<ArrayBuffer> | null> {
  const schema = BODIES[route];
  if (!schema) {
    if (route.startsWith('GET ')) return fc.constant(null);
    return fc.oneof(
      fc.constant(null),
      fc.uint8Array({ maxLength: 64 }).map((bytes) => new Uint8Array(bytes)),
    );
  }
  const value = fc.oneof(
    { weight: 2, arbitrary: accepted(schema) },
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

const shot: fc.Arbitrary<Shot> = fc.constantFrom(...ROUTES).chain((route) =>
  fc.record({
    route: fc.constant(route),
    // Mostly one that is let in: who is not, sees no more than its own refusal.
    column: fc.constantFrom(...likely(route), ...(Object.keys(COLUMNS) as Column[]), 'odd' as const),
    params: fc.array(param, { minLength: 3, maxLength: 3 }),
    query: fc.array(fc.tuple(fc.constantFrom(...QUERY_NAMES, '__proto__'), word), { maxLength: 4 }),
    headers: fc.array(fc.tuple(fc.constantFrom(...HEADER_NAMES), headerText), { maxLength: 2 }),
    body: bodyOf(route),
  }),
);

function likely(route: string): Column[] {
  if (/heartbeat|reports|source|inputs|PUT .*logs/.test(route)) return Array<Column>(20).fill('run');
  if (/claim|attempts$|durations|findings|workers\/:id\/status/.test(route)) return Array<Column>(20).fill('worker');
  return Array<Column>(20).fill('admin');
}

function requestOf(
  { route, column, params, query, headers, body }: Shot,
  world: World,
): [string, string | null, RequestInit] {
  const [method, pattern] = route.split(' ') as [string, string];
  const names: Record<string, string> = { ...world, key: world.ids.submit! } as never;
  const known = (text: string) => (text.startsWith('@') ? String(names[text.slice(1)]) : text);
  const rest = [...params];
  const fill = (part: string) => (part.startsWith(':') ? defaultOr(known(rest.pop()!), part) : part);
  /** Every other time the kind of id that belongs there: else nearly nothing would be found. */
  const defaultOr = (value: string, part: string) => {
    if (params[0]! > params[1]!) return value;
    if (part === ':sha256') return world.blob;
    if (part === ':name{.+}') return 'out/app.ipa';
    return pattern.includes('/workers/') ? world.worker : pattern.includes('/keys/') ? names.key! : world.running;
  };
  const path = pattern.split('/').map(fill).join('/');
  const asked = new URLSearchParams(query.map(([name, value]) => [name, known(value).toWellFormed()]));
  if (route.includes('heartbeat') && params[0]! > params[2]!) asked.set('worker_id', world.worker);
  const init: RequestInit = { method, headers: [['Content-Type', 'application/json'], ...headers] };
  if (body && method !== 'GET') {
    init.body = body;
    (init.headers as [string, string][]).push(['Content-Length', String(body.byteLength)]);
  }
  const secret = column === 'odd' ? 'tb_run_W10.AAAA' : world.as(column).secret;
  return [`${path}${query.length > 0 || asked.size > 0 ? `?${asked}` : ''}`, secret, init];
}

async function answerOf(
  path: string,
  secret: string | null,
  init: RequestInit,
): Promise<{ status: number; text: string }> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms: ${init.method} ${path}`)), ANSWER_MS);
  });
  const asked = (async () => {
    const answer = await call(path, secret, init);
    if (answer.status < 400) {
      await answer.body?.cancel();
      return { status: answer.status, text: '' };
    }
    return { status: answer.status, text: await answer.text() };
  })();
  return await Promise.race([asked, late]);
}

/** What an accepted request does in the background is done. */
async function settled(): Promise<Record<string, string>> {
  for (let last = JSON.stringify(await digestOfTables()); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = await digestOfTables();
    if (JSON.stringify(now) === last) return now;
    last = JSON.stringify(now);
  }
}

test(`${REQUESTS} hostile requests: no 5xx, no hang, nothing changed by what was refused`, {
  timeout: 60_000 + REQUESTS * 500,
}, async () => {
  const shots = fc.sample(shot, { numRuns: REQUESTS, seed: SEED });
  const statuses = new Map<number, number>();
  let world!: World;
  let before: Record<string, string> = {};
  for (const [index, one] of shots.entries()) {
    if (index % WORLD_REQUESTS === 0) {
      await emptyTables();
      world = await makeWorld();
      before = await settled();
    }
    const [path, secret, init] = requestOf(one, world);
    const told = `#${index} ${one.column}: ${init.method} ${path} ${JSON.stringify(one.headers)} ${new TextDecoder().decode(one.body ?? bytesOf('')).slice(0, 500)}`;
    const { status, text } = await answerOf(path, secret, init);
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    if (status >= 500) expect.fail(`${status} ${text}\n${told}`);
    if (status >= 400) {
      const { error } = JSON.parse(text);
      expect(contract.ERROR_CODES, told).toContain(error.code);
      expect(error.message.length, told).toBeLessThan(6_000);
      expect(await digestOfTables(), told).toEqual(before);
    } else if (init.method !== 'GET') before = await settled();
    else before = await digestOfTables();
  }
  const counts = [...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
  console.log(`fuzz: ${REQUESTS} requests, seed ${SEED}, ${ROUTES.length} routes; ${counts.join(', ')}`);
  // A fuzzer that is never let in proves nothing.
  expect([...statuses].filter(([status]) => status < 400).reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThan(
    REQUESTS / 20,
  );
});
