/**
 * Holds who owns which side effect: tables of D1, objects in R2, processes, SSH, HTTP and the exit code. It
 * reads the files as text. A module that writes without standing in its table fails, and so does a row that
 * is no longer true.
 *
 * The headers of the modules say the same in words.
 */
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { getTableName, is, Table } from 'drizzle-orm';
import { expect, test } from 'vitest';
import * as schema from '../controller/schema/index.ts';

const ROOT = resolve(import.meta.dirname, '..');

/** The operations of each module on one kind of thing. */
type Deeds = Record<string, string[]>;

/** The modules of a folder as `name` → code without comments. A name has neither the folder nor `.ts`. */
function modulesOf(folder: string, leftOut: string[] = []): [name: string, code: string][] {
  const exclude = ['**/*.d.ts', ...leftOut.map((path) => `${folder}/${path}`)];
  return globSync(`${folder}/**/*.ts`, { cwd: ROOT, exclude })
    .sort()
    .map((file) => [file.slice(folder.length + 1, -3), withoutComments(readFileSync(join(ROOT, file), 'utf8'))]);
}

const withoutComments = (text: string) => text.replaceAll(/^\s*(\/\*\*[\s\S]*?\*\/|\/\/.*)$/gm, '');

/** Collects what `find` sees in each module; a module in which it sees nothing is left out. */
function deedsIn(modules: [name: string, code: string][], find: (code: string) => string[]): Deeds {
  const found = modules.map(([name, code]) => [name, [...new Set(find(code))].sort()] as const);
  return Object.fromEntries(found.filter(([, deeds]) => deeds.length > 0));
}

const sorted = (deeds: Deeds): Deeds =>
  Object.fromEntries(Object.entries(deeds).map(([name, list]) => [name, list.toSorted()]));

const controller = modulesOf('controller', ['contract/**']);

// ── D1, and the SQLite of a Durable Object ─────────────────────────────────────────────────────────────────

/**
 * `delete` of a row of a build, of what belongs to it, and of `blobs` belongs to retention alone. Retention
 * also updates `builds` and `attempts`, but only to empty what it removes.
 */
const TABLES: Record<string, Deeds> = {
  builds: {
    'builds/apply': ['update'],
    'builds/end-many': ['update'],
    'builds/insert': ['insert'],
    'builds/writes-without-event': ['update'],
    'upkeep/retention': ['update', 'delete'],
    'upkeep/rows-of-former-release': ['update'],
  },
  store_keys: { 'stores/store-keys': ['insert', 'update', 'delete'], 'upkeep/reseal': ['update'] },
  submissions: {
    'submissions/changes': ['update'],
    'submissions/create': ['insert'],
    'upkeep/retention': ['delete'],
  },
  links: {
    'install-links/links': ['insert', 'update', 'delete'],
    'upkeep/retention': ['delete'],
  },
  submission_events: { 'submissions/changes': ['insert'] },
  submission_work: {
    'builds/apply': ['insert'],
    'submissions/many': ['insert'],
    'upkeep/retention': ['insert'],
    'upkeep/submission-work': ['update', 'delete'],
  },
  build_submits: { 'builds/insert': ['insert'], 'submissions/create': ['update'] },
  build_origins: { 'builds/insert': ['insert'] },
  build_inputs: { 'builds/insert': ['insert'], 'upkeep/reseal': ['update'], 'upkeep/retention': ['delete'] },
  attempt_evidence: { 'builds/apply': ['insert'], 'upkeep/retention': ['delete'] },
  idempotency: { 'builds/insert': ['insert'], 'upkeep/retention': ['delete'] },
  attempts: {
    'builds/apply': ['insert', 'update'],
    'builds/end-many': ['update'],
    'builds/writes-without-event': ['update'],
    'upkeep/retention': ['update', 'delete'],
  },
  events: {
    'builds/apply': ['insert'],
    'builds/end-many': ['insert'],
    'builds/insert': ['insert'],
    'upkeep/retention': ['delete'],
  },
  artifacts: { 'builds/apply': ['insert'], 'upkeep/retention': ['delete'] },
  outbox: {
    'builds/apply': ['insert'],
    'builds/end-many': ['insert'],
    'builds/superseding': ['insert'],
    'builds/writes-without-event': ['delete'],
    'files/blobs': ['insert'],
    'upkeep/outbox': ['update', 'delete'],
    'upkeep/retention': ['insert'],
  },
  workers: { 'workers/presence': ['update'], 'workers/registry': ['insert', 'update'] },
  // An enrolment, the removal of a worker and the deletion of a project take a statement of access/keys into
  // their own batch.
  keys: { 'access/key-revocation': ['update'], 'access/key-rotation': ['update'], 'access/keys': ['insert', 'update'] },
  blobs: { 'files/blobs': ['insert', 'update'], 'upkeep/retention': ['delete'] },
  blob_holds: { 'files/holds': ['insert', 'update'], 'upkeep/retention': ['delete'] },
  projects: {
    'projects/find-project': ['insert'],
    'projects/projects': ['insert', 'update'],
    'upkeep/project-deletion': ['update'],
  },
  // Triggers keep it (migration 0005), and a recount mends it.
  project_load: { 'queue/load': ['insert', 'update', 'delete'] },
  secrets: {
    'secrets/stored-secrets': ['insert', 'update', 'delete'],
    'upkeep/reseal': ['update'],
  },
  // The insertion is an upsert.
  build_numbers: { 'projects/build-numbers': ['insert', 'delete'] },
  pools: { 'projects/pools': ['insert', 'update'] },
  // The insertion is an upsert.
  pool_images: { 'workers/pool-images': ['insert', 'delete'] },
  image_turns: { 'workers/image-turns': ['insert', 'update', 'delete'] },
  worker_pools: { 'workers/registry': ['insert', 'delete'] },
  enrolments: { 'workers/enrolments': ['insert', 'update', 'delete'] },
  audit: { 'access/audit': ['insert', 'delete'] },
  histories: { 'phase-history/phase-history': ['insert', 'delete'] },
  // The table of the Durable Object that stores a log.
  chunks: { 'build-log/build-log': ['insert', 'update', 'delete'] },
};

/** The code's writes to `table`: by drizzle or `insertIf`, which use the schema's name, or by SQL. */
function writesTo(table: string, code: string): string[] {
  const name = table.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const drizzle = [
    ...code.matchAll(new RegExp(`\\.(insert|update|delete)\\(\\s*(?:schema\\.)?${name}\\s*\\)`, 'g')),
  ].map(([, verb]) => verb!);
  const sql = [...code.matchAll(new RegExp(`\\b(INSERT INTO|UPDATE|DELETE FROM) ${table}\\b`, 'g'))].map(([, words]) =>
    words!.split(' ')[0]!.toLowerCase(),
  );
  const conditional = new RegExp(`\\binsertIf\\(\\s*\\w+,\\s*(?:schema\\.)?${name}\\b`).test(code) ? ['insert'] : [];
  // `INSERT … ON CONFLICT DO UPDATE` is an update too.
  const upsert = new RegExp(`\\.insert\\(${name}\\)[^;]*?\\.onConflictDoUpdate\\(`).test(code) ? ['update'] : [];
  return [...drizzle, ...sql, ...conditional, ...upsert];
}

test('a write is seen in each of its forms, and a read is not', () => {
  const writes = [
    'db.update(keys).set({ name })',
    'db.delete(schema.keys)',
    'insertIf(\n  db,\n  keys,\n  row, condition)',
    "db.prepare('INSERT INTO keys (id) VALUES (?)')",
    'DELETE FROM keys WHERE id = ?',
  ];
  expect(writes.map((code) => writesTo('keys', code))).toEqual([
    ['update'],
    ['delete'],
    ['insert'],
    ['insert'],
    ['delete'],
  ]);
  for (const read of ['db.select().from(keys)', 'SELECT id FROM keys', 'map.delete(key)', 'hash.update(keysOf)'])
    expect(writesTo('keys', read)).toEqual([]);
});

test('every table of the schema has its owners here', () => {
  const tables = Object.values(schema).flatMap((table) => (is(table, Table) ? [getTableName(table)] : []));
  expect(Object.keys(TABLES).sort()).toEqual([...tables, 'chunks'].sort());
});

test.for(Object.entries(TABLES))('only its owners write to the table %s', ([table, owners]) => {
  expect(deedsIn(controller, (code) => writesTo(table, code))).toEqual(sorted(owners));
});

test('the header of a module names the tables that it writes to', () => {
  const unnamed = Object.entries(TABLES).flatMap(([table, owners]) =>
    Object.keys(owners).flatMap((name) => {
      const [header = ''] = readFileSync(join(ROOT, `controller/${name}.ts`), 'utf8').split('*/');
      return new RegExp(`\`${table}\\b`).test(header) ? [] : [`${name}: ${table}`];
    }),
  );
  expect(unnamed).toEqual([]);
});

test('a statement names its table, so that a reader of the text sees it', () => {
  const unnamed = deedsIn(controller, (code) => code.match(/\b(INSERT INTO|UPDATE|DELETE FROM) \$\{.*/g) ?? []);
  expect(unnamed).toEqual({});
});

test('only database.ts opens D1; retention, the sweep of blobs and the recount send SQL of their own', () => {
  expect(Object.keys(deedsIn(controller, (code) => code.match(/\bdrizzle\(/g) ?? []))).toEqual(['database']);
  expect(Object.keys(deedsIn(controller, (code) => code.match(/\.prepare\(/g) ?? []))).toEqual([
    'files/blobs',
    'queue/load',
    'upkeep/retention',
  ]);
});

/**
 * Modules that read `builds` without the rights of a caller (access/readable-builds.ts), and why. A query
 * that answers a caller with builds that it has not named has those rights.
 */
const READ_WITHOUT_RIGHTS: Record<string, string> = {
  'attempts/claims': 'for a worker, of its own claim',
  'attempts/writers': 'for an attempt, of its own build',
  'build-log/read': 'of a build that authorisation has found',
  'build-log/revoked-followers': 'answers nobody',
  'builds/apply': 'of a build that the caller has found',
  'builds/end-many': 'of builds that the sweep, the outbox or a revocation names',
  'builds/insert': 'of the build that the request makes or has made; findNamed asks for the rights',
  'builds/rows': 'of a build that is named; routes/authorise.ts asks for the rights',
  'builds/superseding': 'of the group of a build that the key has made, within its pools and trust',
  'builds/views': 'of a build that authorisation has found',
  'install-links/open-link': 'of the build of a link; whoever has its token may open it',
  'projects/admission': 'of a build that authorisation has found, as a condition of an insertion',
  'queue/expected-start': 'answers a minute alone',
  'queue/load': 'counts alone',
  'queue/pick': 'for a worker, of its own pools',
  'queue/place': 'counts alone',
  'submissions/create': 'of the build that the caller has found; names another submission by the rights of the key',
  'submissions/many': 'answers nobody',
  'submissions/submitted': 'of the build of a submission, for the object that runs it',
  'secrets/read-inputs': 'for an attempt, or of a build that authorisation has found',
  'upkeep/project-deletion': 'counts alone',
  'upkeep/retention': 'answers nobody',
  'upkeep/rows-of-former-release': 'answers nobody',
  'upkeep/sweep': 'answers nobody',
};

test('a query over builds has the rights of the caller, or a reason to have none', () => {
  const reads = /(?:from|[jJ]oin)\(\s*(?:schema\.)?builds\b|\b(?:FROM|JOIN) builds\b/;
  const readers = controller.filter(([, code]) => reads.test(code));
  const without = readers.filter(([, code]) => !/\breadableBy\(/.test(code)).map(([name]) => name);
  expect(without).toEqual(Object.keys(READ_WITHOUT_RIGHTS).sort());
});

// ── R2 ─────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * `blobs/` belongs to files/ and, once the row was removed, to upkeep/outbox; submissions/ reads there.
 * `logs/` belongs to build-log/, `revoked/` to access/.
 */
const R2: Deeds = {
  'access/ended-keys': ['head', 'put'],
  'build-log/build-log': ['put'],
  'build-log/seal': ['delete', 'list'],
  'build-log/segments': ['get'],
  'files/blob-upload': ['createMultipartUpload', 'delete', 'get', 'head', 'resumeMultipartUpload'],
  'files/blobs': ['delete', 'get', 'list', 'put'],
  'files/upload-parts': ['resumeMultipartUpload'],
  'submissions/step-run': ['get'],
  'upkeep/outbox': ['delete'],
};

test('only its owners touch R2', () => {
  const found = deedsIn(controller, (code) =>
    [...code.matchAll(/\b(?:BLOBS|bucket)\.(\w+)\(/g)].map(([, verb]) => verb!),
  );
  expect(found).toEqual(R2);
  // A module that names the bucket is in the table, or passes the bucket to readSegments.
  const named = Object.keys(deedsIn(controller, (code) => code.match(/\bBLOBS\b|\bR2Bucket\b/g) ?? []));
  expect(named).toEqual([...Object.keys(R2), 'build-log/read'].sort());
});

// ── The agent and what it shares ───────────────────────────────────────────────────────────────────────────

const agent = modulesOf('worker-agent', ['tart-simulator/**']);
const shared = [...agent, ...modulesOf('client'), ...modulesOf('log-reader')];
const users = (modules: [string, string][], pattern: RegExp) =>
  Object.keys(deedsIn(modules, (code) => code.match(pattern) ?? [])).sort();

test('only these modules of the agent start processes', () => {
  expect(users(shared, /\bfrom '(execa|node:child_process)'/g)).toEqual([
    'app-metadata/app-child',
    'commands/init',
    'images/make-image',
    'mac/keep-awake',
    'mac/process-identity',
    'mac/programs',
    'packing/git',
    'tart/call',
  ]);
});

test('only guest/ssh… uses ssh2', () => {
  const found = users(shared, /\b(from|import\() ?'ssh2'/g);
  expect(found.length).toBeGreaterThan(0);
  expect(found.filter((name) => !name.startsWith('guest/ssh'))).toEqual([]);
});

test('only the client’s request and the check of the controller call fetch', () => {
  const found = [
    ...users(agent, /(?<![.\w])fetch\(/g),
    ...users(modulesOf('client'), /(?<![.\w])fetch\(/g).map((name) => `client/${name}`),
    ...users(modulesOf('log-reader'), /(?<![.\w])fetch\(/g),
  ];
  expect(found).toEqual(['health-checks/controller-checks', 'client/request']);
});

test('only expo-worker sets the exit code of the agent, and nobody ends the process at once', () => {
  expect(users(shared, /\bprocess\.exitCode\s*=[^=]/g)).toEqual(['expo-worker']);
  expect(users(shared, /\bprocess\.exit\(/g)).toEqual([]);
});
