/**
 * Runs the controller of the former release on a database of this release, as a return to it (`--back`) and
 * the first moments of a deployment do. The former release knows neither projects nor trust. So a key that is
 * restricted by them may open nothing there, and a key that is not works on.
 *
 * The former controller is the real one (test/fixtures/former-release/README.md).
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KeyRequest } from '#contract';
import { type LocalController, randomSecrets, startController } from '../../local/farm/controller.ts';

const FORMER = resolve(import.meta.dirname, '../fixtures/former-release/worker.js.gz');
const secrets = randomSecrets();
const dir = mkdtempSync(join(tmpdir(), 'tartbeat-former-'));
const stateDir = join(dir, 'state');
let controller: LocalController;

async function ask(key: string, method: string, path: string, body?: unknown) {
  const raw = body instanceof Uint8Array ? new Uint8Array(body) : null;
  const answer = await fetch(`${controller.url}${path}`, {
    method,
    headers: {
      Authorization: `Bearer ${key}`,
      ...(body !== undefined && !raw && { 'Content-Type': 'application/json' }),
    },
    ...(body !== undefined && { body: raw ?? JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await answer.text();
  return {
    status: answer.status,
    body: answer.headers.get('Content-Type')?.includes('json') ? JSON.parse(text) : text,
  };
}

/** As {@link ask}, for an answer that must be good. */
async function get(key: string, method: string, path: string, body?: unknown) {
  const answer = await ask(key, method, path, body);
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const keyOf = async (request: Omit<KeyRequest, 'name'>): Promise<{ id: string; secret: string }> => {
  const { key, secret } = await get(secrets.ADMIN_KEY, 'POST', '/api/keys', { name: 'a key', ...request });
  return { id: key.id, secret };
};

/** A farm with a running build, one that has ended with an artifact, and both logs. */
async function makeFarm() {
  const submitter = await keyOf({ scope: 'submit' });
  const { worker, key: workerKey } = await get(secrets.ADMIN_KEY, 'POST', '/api/workers', { name: 'mac', slots: 2 });
  const source = new TextEncoder().encode('a source');
  const sha256 = createHash('sha256').update(source).digest('hex');
  await get(submitter.secret, 'PUT', `/api/blobs/${sha256}`, source);
  await get(workerKey, 'PUT', `/api/blobs/${sha256}`, source);
  const request = { source: { sha256 }, command: 'make', platform: 'ios', project: 'shop' };
  const claimed = async (claimId: string): Promise<{ buildId: string; tokens: { run: string } }> => {
    const { id } = await get(submitter.secret, 'POST', '/api/builds', request);
    const claim = { instanceId: 'mac', claimId, slots: 2, platforms: ['ios'] };
    const { assignment } = await get(workerKey, 'POST', `/api/workers/${worker.id}/claim`, claim);
    expect(assignment?.buildId).toBe(id);
    await get(assignment.tokens.run, 'PUT', `/api/builds/${id}/logs?attempt=1&offset=0`, source);
    await get(assignment.tokens.run, 'POST', `/api/builds/${id}/reports`, { type: 'start', attempt: 1 });
    return assignment;
  };
  const { buildId: ended, tokens } = await claimed('first');
  const artifacts = [{ name: 'app.ipa', sha256, size: source.length }];
  await get(tokens.run, 'POST', `/api/builds/${ended}/reports`, { type: 'succeed', attempt: 1, artifacts });
  const { buildId: running } = await claimed('second');
  return { running, ended, worker: worker.id as string, key: submitter.id, request };
}
type Farm = Awaited<ReturnType<typeof makeFarm>>;

const RESTRICTED = {
  'of one project': { scope: 'submit', projects: ['shop'], maxPriority: 100 },
  'of one project and one pool': { scope: 'submit', projects: ['shop'], pools: ['default'] },
  'of no project': { scope: 'submit', projects: [] },
  'of all projects in no pool': { scope: 'submit', projects: '*', pools: [], maxPriority: 100 },
  untrusted: { scope: 'submit', projects: '*', trusted: false },
  'of low priority': { scope: 'submit', projects: '*', maxPriority: 0 },
  'that only reads': { scope: 'read' },
  'of the admin of a project': { scope: 'submit', projects: ['shop'], may: ['admin'] },
} satisfies Record<string, Omit<KeyRequest, 'name'>>;
type Restricted = keyof typeof RESTRICTED;
const KINDS = Object.keys(RESTRICTED) as Restricted[];

/** The requests of the former release that read or change builds, logs, artifacts, keys and workers. */
const QUESTIONS: [method: string, path: (farm: Farm) => string, body?: (farm: Farm) => unknown][] = [
  ['GET', () => '/api/builds'],
  ['GET', () => '/api/builds?live=1&status=building&pool=default'],
  ['GET', ({ running }) => `/api/builds/${running}`],
  ['GET', ({ running }) => `/api/builds/${running}/logs`],
  ['GET', ({ running }) => `/api/builds/${running}/logs?follow=1`],
  ['GET', ({ ended }) => `/api/builds/${ended}`],
  ['GET', ({ ended }) => `/api/builds/${ended}/logs`],
  ['GET', ({ ended }) => `/api/builds/${ended}/artifacts`],
  ['GET', ({ ended }) => `/api/builds/${ended}/artifacts/app.ipa`],
  ['GET', ({ running }) => `/api/builds/${running}/source`],
  ['GET', ({ running }) => `/api/builds/${running}/inputs`],
  ['POST', ({ running }) => `/api/builds/${running}/cancel`],
  ['POST', ({ ended }) => `/api/builds/${ended}/retry`],
  ['POST', () => '/api/builds', ({ request }) => request],
  ['GET', () => '/api/keys'],
  ['POST', () => '/api/keys', () => ({ name: 'more', scope: 'admin' })],
  ['DELETE', ({ key }) => `/api/keys/${key}`],
  ['POST', ({ key }) => `/api/keys/${key}/rotate`],
  ['GET', () => '/api/audit'],
  ['GET', () => '/api/workers'],
  ['POST', () => '/api/workers', () => ({ name: 'mac-of-a-thief' })],
  ['GET', ({ worker }) => `/api/workers/${worker}`],
  ['DELETE', ({ worker }) => `/api/workers/${worker}`],
  ['POST', ({ worker }) => `/api/workers/${worker}/enrolments`, () => ({})],
  ['POST', ({ worker }) => `/api/workers/${worker}/claim`, () => ({ instanceId: 'mac', claimId: 'c' })],
];

let farm: Farm;
let keys: Record<Restricted, { id: string; secret: string }>;
let unrestricted: { id: string; secret: string }[];
/** The keys that renewed themselves in the former release. */
const renewed: Partial<Record<Restricted, string>> = {};

beforeAll(async () => {
  controller = await startController({ stateDir, secrets });
  farm = await makeFarm();
  const made = await Promise.all(KINDS.map(async (kind) => [kind, await keyOf(RESTRICTED[kind])] as const));
  keys = Object.fromEntries(made) as typeof keys;
  unrestricted = [await keyOf({ scope: 'submit' }), await keyOf({ scope: 'submit', pools: ['default'] })];
  await controller.stop();
  const entry = join(dir, 'former.js');
  // The wrangler.toml of the former release does not name the class, and that of this release does.
  const none = '\nclass NoStoreUpload {}\nexport { NoStoreUpload as StoreUpload };\n';
  writeFileSync(entry, gunzipSync(readFileSync(FORMER)).toString() + none);
  controller = await startController({ stateDir, secrets, entry, migrated: true });
});
afterAll(async () => {
  await controller?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function openedBy(secret: string): Promise<string[]> {
  const opened: string[] = [];
  for (const [method, path, body] of QUESTIONS) {
    const answer = await ask(secret, method, path(farm), body?.(farm));
    const isEmpty = answer.status === 200 && answer.body.builds?.length === 0;
    if (![401, 403, 404].includes(answer.status) && !isEmpty) opened.push(`${method} ${path(farm)}: ${answer.status}`);
  }
  return opened;
}

test.for(KINDS)(
  'a key %s opens nothing in the former release, nor does the key by which it renews itself',
  async (kind) => {
    const { id, secret } = keys[kind];
    expect(await openedBy(secret)).toEqual([]);
    const renewal = await ask(secret, 'POST', `/api/keys/${id}/rotate`);
    // The former release does not know the keys of this scope.
    expect(renewal.status).toBe(kind === 'that only reads' ? 401 : 201);
    if (renewal.status !== 201) return;
    renewed[kind] = renewal.body.secret;
    expect(await openedBy(renewal.body.secret)).toEqual([]);
  },
);

test('keys without restriction work on in the former release, also one that is tied to a pool', async () => {
  for (const { secret } of unrestricted) {
    const list = await get(secret, 'GET', '/api/builds');
    expect(list.builds.map(({ id }: { id: string }) => id)).toEqual(expect.arrayContaining([farm.running, farm.ended]));
    for (const path of ['', '/logs', '/artifacts', '/artifacts/app.ipa'])
      await get(secret, 'GET', `/api/builds/${farm.ended}${path}`);
    await get(secret, 'POST', '/api/builds', farm.request);
  }
  await get(secrets.ADMIN_KEY, 'GET', '/api/workers');
});

test('back in this release, no key that renewed itself in the former one opens more than before', async () => {
  await controller.stop();
  controller = await startController({ stateDir, secrets, migrated: true });
  // Keys that the former release makes have no rights here.
  for (const secret of Object.values(renewed)) expect(await openedBy(secret)).toEqual([]);
  for (const { secret } of unrestricted) await get(secret, 'GET', `/api/builds/${farm.ended}`);
});
