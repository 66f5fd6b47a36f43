/** Tests that a request with a mistake is refused in words that name the field and say what to do. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { insertProject, unique } from '../factories/rows.ts';
import { aBlob, api, aWorker } from '../factories/scenarios.ts';

interface Refused {
  error: { code: string; message: string };
}
const noField = (name: string) => `${name}: there is no such field; is its name right?`;
const BUILD = { source: { sha256: '0'.repeat(64) }, command: 'make', platform: 'ios' };
const STORE = 'store: must be "app-store-connect" or "google-play"';
const APPLE = { store: 'app-store-connect' };
const KEY = { name: 'ci', scope: 'submit' };

/** Each request, and what is said of it. */
const MISTAKES: [method: string, path: string, body: object | undefined, said: string][] = [
  ['POST', '/api/builds', { ...BUILD, Trusted: false }, noField('Trusted')],
  ['POST', '/api/builds', { ...BUILD, secretenv: {}, Pool: 'x' }, noField('secretenv, Pool')],
  ['POST', '/api/builds', { ...BUILD, trusted: 'no' }, 'trusted: must be true or false'],
  ['POST', '/api/builds', { ...BUILD, platform: undefined }, 'platform: must be "ios" or "android"'],
  ['POST', '/api/builds', { ...BUILD, priority: 101 }, 'priority: must be at most 100'],
  [
    'POST',
    '/api/builds',
    { ...BUILD, secretFiles: { '../x': '' } },
    'secretFiles.../x: the name must be a relative path without empty, "." or ".." parts',
  ],
  ['POST', '/api/builds', { ...BUILD, env: { '1A': '' } }, 'env.1A: the name must be a shell variable name'],
  [
    ...(['POST', '/api/builds'] as const),
    { ...BUILD, secretFiles: { 'ios/keys': '', 'a.p8': '', 'ios/keys/a.p8': '' } },
    'secretFiles: ios/keys cannot be a file, because ios/keys/a.p8 needs a folder of that name',
  ],
  [
    ...(['POST', '/api/builds'] as const),
    { ...BUILD, secretFiles: { '.env': '', 'b/.env': '', 'B/.Env': '' } },
    'secretFiles: b/.env and B/.Env differ only in case, so they are one file on a Mac',
  ],
  [
    'POST',
    '/api/builds',
    { ...BUILD, app: { id: 'app' } },
    'app.id: must be a bundle id or a package, such as com.example.app',
  ],
  ['POST', '/api/workers', { name: 'mac', Pools: ['lent'] }, noField('Pools')],
  ['POST', '/api/keys', { ...KEY, project: ['shop'] }, noField('project')],
  ['POST', '/api/keys', { ...KEY, projects: 'shop' }, 'projects: must be "*", or must be a list'],
  ['POST', '/api/keys', { scope: 'submit' }, 'name: is missing'],
  ['POST', '/api/keys', { ...KEY, name: '' }, 'name: must not be empty'],
  ['POST', '/api/keys', { ...KEY, trusted: false }, 'projects: name the projects by id or name, or give "*" for all'],
  ['POST', '/api/projects', { name: 'prj_x' }, 'project name: it must not begin with prj_, as ids do'],
  [
    ...(['POST', '/api/keys'] as const),
    { ...KEY, expiresAt: '2027-12-31' },
    'expiresAt: must be an ISO time in UTC, such as 2027-12-31T00:00:00Z',
  ],
  ['POST', '/api/builds', { ...BUILD, submit: {} }, `submit.${STORE}`],
  ['POST', '/api/builds', { ...BUILD, submit: { store: 'testflight' } }, `submit.${STORE}`],
  ['POST', '/api/builds', { ...BUILD, submit: { ...APPLE, Groups: [] } }, noField('submit.Groups')],
  [
    ...(['POST', '/api/builds'] as const),
    { ...BUILD, submit: { ...APPLE, track: 'beta' } },
    'submit.track: is for google-play alone; leave it out',
  ],
  ['GET', '/api/builds?projct=shop', undefined, noField('projct')],
  ['GET', '/api/audit?projct=shop', undefined, noField('projct')],
];

for (const [method, path, body, said] of MISTAKES)
  test(`${method} ${path} ${JSON.stringify(body)} is told “${said}”`, async () => {
    const { status, body: refused } = await api<Refused>(method, path, body);
    expect([status, refused.error]).toEqual([400, { code: 'invalid_request', message: said }]);
  });

test('a key is neither revoked nor rotated by a request with a misspelt parameter', async () => {
  const { key, secret } = await createKey(env, { name: 'ci', scope: 'submit' }, Date.now());
  for (const [method, rest, name] of [
    ['DELETE', '?kep=1', 'kep'],
    ['POST', '/rotate?overlap=0', 'overlap'],
  ] as const) {
    const { status, body } = await api<Refused>(method, `/api/keys/${key.id}${rest}`);
    expect([status, body.error.message]).toEqual([400, noField(name)]);
  }
  expect((await api('GET', '/api/me', undefined, secret)).status).toBe(200);
});

test('a worker is not changed by a misspelt field', async () => {
  const { id } = await aWorker();
  const { status, body } = await api<Refused>('PATCH', `/api/workers/${id}`, { action: 'pause', Pools: ['x'] });
  expect([status, body.error.message]).toEqual([400, noField('Pools')]);
});

test('a key of one project that names none is told to name one', async () => {
  const rights = { ...RIGHTS_TO_ALL, projects: [await insertProject()] };
  const { secret } = await createKey(env, { name: 'ci', scope: 'submit', rights }, Date.now());
  const { status, body } = await api<Refused>('POST', '/api/builds', BUILD, secret);
  expect(status).toBe(404);
  expect(body.error.message).toMatch(/^project: name one\. .*`GET \/api\/projects`/);
});

test('a build that its submitter does not trust has no priority above 0', async () => {
  const request = { ...BUILD, source: { sha256: await aBlob() }, pool: unique('pool'), trusted: false };
  const { status, body } = await api<Refused>('POST', '/api/builds', { ...request, priority: 5 });
  expect([status, body.error.message]).toEqual([403, 'priority: a build that is not trusted has 0 at most']);
  expect((await api('POST', '/api/builds', { ...request, priority: 0 })).status).toBe(201);
});

test('an admin who makes a key for a pool makes the pool', async () => {
  const name = unique('pool');
  expect((await api('POST', '/api/keys', { ...KEY, pools: [name] })).status).toBe(201);
  const { body } = await api<{ pools: { name: string }[] }>('GET', '/api/pools');
  expect(body.pools.map((pool) => pool.name)).toContain(name);
});

test('a stored secret has no name that the VM needs', async () => {
  const project = await insertProject();
  const rights = { ...RIGHTS_TO_ALL, projects: [project], may: ['secrets.set' as const] };
  const { secret } = await createKey(env, { name: 'ci', scope: 'submit', rights }, Date.now());
  for (const name of ['PATH', 'TARTBEAT_SECRETS']) {
    const path = `/api/projects/${project}/secrets/${name}`;
    const { status, body } = await api<Refused>('PUT', path, { value: 'x' }, secret);
    expect([status, body.error.message]).toEqual([400, expect.stringContaining('choose another name')]);
  }
});
