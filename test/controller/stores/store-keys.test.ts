/** Sets, lists, removes and finds the keys of stores, by the routes and as a submission does. */
import { env } from 'cloudflare:workers';
import { eq, sql } from 'drizzle-orm';
import { expect, test } from 'vitest';
import {
  STORE_KEYS_MAX,
  type StoreKeyList,
  type StoreKeyRemoved,
  type StoreKeySet,
  type StoreKeyView,
} from '#contract';
import { pools, storeKeys } from '../../../controller/schema/index.ts';
import { placeOfInputs } from '../../../controller/secrets/inputs.ts';
import { open, seal } from '../../../controller/secrets/sealing.ts';
import { newestSealingKey } from '../../../controller/secrets/sealing-keys.ts';
import {
  findStoreKeyFor,
  openStoreKey,
  placeOfStoreKey,
  type StoreKeyRow,
} from '../../../controller/stores/store-keys.ts';
import { reseal } from '../../../controller/upkeep/reseal.ts';
import { call, db, insertProject, unique } from '../factories/rows.ts';
import { aPrivateKey, appStoreKey, serviceAccount } from '../factories/store-keys.ts';
import { contentsOfTables } from '../factories/tables.ts';
import { aKey, aPool, ask } from '../factories/teams.ts';

interface Team {
  projectId: string;
  pool: string;
  key: string;
  keyId: string;
}
async function aTeam(): Promise<Team> {
  const [projectId, pool] = [await insertProject(unique('team')), await aPool()];
  return { projectId, pool, ...(await aKey(projectId, ['admin'], { pools: [pool] })) };
}
type Failure = { error?: { code: string; message: string } };
const of = ({ projectId }: Pick<Team, 'projectId'>, name = '') =>
  `/api/projects/${projectId}/store-keys${name && `/${name}`}`;
const put = async (team: Team, name: string, fields: object = {}, key = team.key) =>
  ask<StoreKeySet & Failure>('PUT', of(team, name), key, await appStoreKey([team.pool], fields));
const list = async (team: Team, key = team.key): Promise<StoreKeyView[]> =>
  (await ask<StoreKeyList>('GET', of(team), key)).body.storeKeys;
const remove = (team: Team, name: string, key = team.key) =>
  ask<StoreKeyRemoved & Failure>('DELETE', of(team, name), key);
const rowOf = async ({ projectId }: Team): Promise<StoreKeyRow> =>
  (await db.select().from(storeKeys).where(eq(storeKeys.projectId, projectId)).get())!;

test('a key is set, replaced by the next version, listed and removed; a store that does not answer is a warning', async () => {
  const team = await aTeam();
  const first = await put(team, 'apple', { apps: ['com.example.shop', 'com.example.admin', 'com.example.shop'] });
  const view = {
    ...{ name: 'apple', store: 'app-store-connect', identity: 'AB32CZE81F', version: 1, pools: [team.pool] },
    ...{ apps: ['com.example.admin', 'com.example.shop'], setBy: { keyId: team.keyId, name: 'of the team' } },
    hasIssuerId: true,
  };
  expect(first).toMatchObject({ status: 201, body: { storeKey: view } });
  expect(first.body.warnings).toEqual([
    expect.stringMatching(/could not be reached.* So the key is stored unchecked\. .*next build with `submit`/),
  ]);
  const { pem } = await aPrivateKey();
  const second = await put(team, 'apple', { keyId: 'ZZ32CZE81F', privateKey: pem, issuerId: undefined });
  expect(second).toMatchObject({
    status: 200,
    body: {
      storeKey: {
        ...{ id: first.body.storeKey.id, identity: 'ZZ32CZE81F', version: 2, apps: ['com.example.shop'] },
        hasIssuerId: false,
      },
    },
  });
  expect(await openStoreKey(env, await rowOf(team))).toEqual({
    ok: true,
    key: { store: 'app-store-connect', keyId: 'ZZ32CZE81F', issuerId: null, privateKey: pem },
  });
  expect(await list(team)).toEqual([second.body.storeKey]);
  expect(await remove(team, 'apple')).toMatchObject({ status: 200, body: { removed: { version: 2 } } });
  expect(await remove(team, 'apple')).toMatchObject({ status: 404 });
  expect(await rowOf(team)).toBeUndefined();
});

test('a private part that cannot be used is refused with field and fix, and nothing of it is said', async () => {
  const team = await aTeam();
  const [rsa, other] = [(await aPrivateKey('RS256')).pem, (await aPrivateKey('P-384')).pem];
  const play = { store: 'google-play', keyId: undefined, issuerId: undefined, privateKey: undefined };
  for (const [fields, message] of [
    [
      { privateKey: 'a-hidden-text' },
      /^privateKey must be the text of a private key, from -----BEGIN PRIVATE KEY-----/,
    ],
    [
      { privateKey: rsa },
      /^privateKey must be an elliptic-curve key \(P-256\) .* Send the text of AuthKey_AB32CZE81F\.p8/,
    ],
    [{ privateKey: other }, /^privateKey must be an elliptic-curve key/],
    [{ keyId: 'ab' }, /^keyId: must be a key id/],
    [{ issuerId: 'hidden' }, /^issuerId: must be a UUID/],
    [{ apps: [] }, /^apps: /],
    [{ pool: 'x' }, /pool/],
    [{ ...play, serviceAccount: 'a-hidden-text' }, /^serviceAccount is no JSON/],
    [{ ...play, serviceAccount: serviceAccount(rsa, { type: 'external_account' }) }, /^serviceAccount\.type must be/],
    [{ ...play, serviceAccount: serviceAccount('a-hidden-text') }, /^serviceAccount\.private_key must be the text/],
    [{ ...play, serviceAccount: serviceAccount(rsa, { client_email: 'hidden' }) }, /^serviceAccount\.client_email /],
  ] as const) {
    const { status, body } = await put(team, 'key', fields);
    expect([status, body.error?.code, body.error?.message]).toEqual([
      400,
      'invalid_request',
      expect.stringMatching(message),
    ]);
    expect(JSON.stringify(body)).not.toContain('hidden');
  }
  const set = await put(team, 'play', { ...play, serviceAccount: serviceAccount(rsa) });
  expect(set).toMatchObject({
    status: 201,
    body: { storeKey: { store: 'google-play', identity: 'robot@shop.iam.gserviceaccount.com', hasIssuerId: null } },
  });
  // The addresses in the file are not even kept.
  const opened = await openStoreKey(env, await rowOf(team));
  expect(JSON.stringify(opened)).not.toContain('attacker.example');
  expect((await put(team, 'play')).body.error?.message).toBe(
    'store: the store key play is for google-play; take another name, or delete it',
  );
});

test('pools are the trusted ones that the key reaches, named or not, and another pool’s key is left alone', async () => {
  const team = await aTeam();
  const [second, untrusted] = [await aPool(), await aPool(false)];
  const both = await aKey(team.projectId, ['admin'], { pools: [team.pool, second, untrusted] });
  const set = await put(team, 'apple', { pools: undefined }, both.key);
  expect(set.body.storeKey.pools).toEqual([team.pool, second].sort());
  for (const [pool, key, message] of [
    [untrusted, both.key, `pools: ${untrusted} is not trusted, so no store key is for its builds`],
    ['nowhere', env.ADMIN_KEY, expect.stringMatching(/^pools: there is no pool nowhere; .*`GET \/api\/pools`/)],
    [second, team.key, `pools: this key may set no store keys for ${second}`],
  ] as const)
    expect((await put(team, 'other', { pools: [pool] }, key)).body.error?.message).toEqual(message);
  // This key reaches one of its pools alone.
  const foreign = `pools: the store key apple is for pool ${second} too, which this key does not reach`;
  expect((await put(team, 'apple')).body.error).toEqual({ code: 'forbidden', message: foreign });
  expect((await remove(team, 'apple')).body.error).toEqual({ code: 'forbidden', message: foreign });
  const elsewhere = await aKey(team.projectId, ['admin'], { pools: [await aPool()] });
  expect([await list(team, elsewhere.key), (await list(team)).length]).toEqual([[], 1]);
});

test('admins of farm and project set keys; a key with `stores` sees them; others see nothing; default takes none', async () => {
  const team = await aTeam();
  expect((await put(team, 'of-the-farm', {}, env.ADMIN_KEY)).status).toBe(201);
  for (const [may, rights, expected] of [
    [['admin'], {}, [201, 200, 200]],
    [['stores'], {}, [403, 200, 403]],
    [['secrets.set', 'secrets.use', 'numbers', 'webhooks', 'keep'], {}, [403, 403, 403]],
    [['stores', 'admin'], { trusted: false }, [403, 403, 403]],
    [['admin'], { projects: '*' as const }, [403, 403, 403]],
    [['admin', 'stores'], { projects: ['prj_x'] }, [404, 404, 404]],
  ] as const) {
    const { key } = await aKey(team.projectId, [...may], rights as object);
    const name = unique('key');
    const statuses = [await put(team, name, {}, key), await ask('GET', of(team), key), await remove(team, name, key)];
    expect([may, rights, statuses.map(({ status }) => status)]).toEqual([may, rights, expected]);
  }
  const { key } = await aKey('prj_default', ['admin']);
  for (const who of [key, env.ADMIN_KEY])
    expect((await put({ ...team, projectId: 'default' }, 'apple', {}, who)).body.error).toMatchObject({
      code: 'invalid_request',
      message: expect.stringMatching(/^the project default takes no store keys/),
    });
  expect(await db.select().from(storeKeys).where(eq(storeKeys.projectId, 'prj_default'))).toEqual([]);
});

test('a project has at most so many keys, and of many requests at once each sets its version or is refused', async () => {
  const team = await aTeam();
  const versions = await Promise.all(Array.from({ length: 5 }, () => put(team, 'apple')));
  const set = versions.filter(({ status }) => status < 300);
  expect(new Set(set.map(({ body }) => body.storeKey.version)).size).toBe(set.length);
  for (const { status, body } of versions)
    if (status >= 300) expect(body.error?.message).toMatch(/others change the store key apple .* repeat the request/);
  const more = await Promise.all(Array.from({ length: STORE_KEYS_MAX + 3 }, (_, i) => put(team, `key-${i}`)));
  expect(more.filter(({ status }) => status === 201)).toHaveLength(STORE_KEYS_MAX - 1);
  expect(more.find(({ status }) => status !== 201)).toMatchObject({
    status: 413,
    body: { error: { code: 'too_large' } },
  });
});

test('one key is found for app and pool, or the refusal names what there is to choose from', async () => {
  const team = await aTeam();
  const { projectId, pool } = team;
  const use = { projectId, pool, store: 'app-store-connect', appId: 'com.example.shop' } as const;
  const found = async (other: object = {}) => {
    const answer = await findStoreKeyFor(env, { ...use, ...other });
    return answer.ok ? answer.row.name : [answer.reason, answer.message];
  };
  expect(await found()).toEqual([
    'key_gone',
    expect.stringMatching(/has no store key for com\.example\.shop and pool/),
  ]);
  await put(team, 'one');
  expect(await found()).toBe('one');
  expect(await found({ name: 'one' })).toBe('one');
  expect(await found({ appId: 'com.example' })).toEqual([
    'key_not_for_app',
    'storeKey: the store key one is for com.example.shop, and not for com.example. An admin can set it anew with that app',
  ]);
  const other = await aPool();
  expect(await found({ pool: other })).toEqual(['key_not_for_app', expect.stringContaining(`and not of ${other}`)]);
  expect(await found({ store: 'google-play' })).toEqual(['key_gone', expect.stringContaining('none for google-play')]);
  expect(await found({ store: 'google-play', name: 'one' })).toEqual([
    'key_not_for_app',
    'storeKey: the store key one is for app-store-connect, and this needs one for google-play',
  ]);
  await put(team, 'two');
  expect(await found()).toEqual([
    'key_not_for_app',
    `storeKey: one, two are all for com.example.shop and pool ${pool}; name one of them`,
  ]);
  expect(await found({ name: 'two' })).toBe('two');
  expect(await found({ name: 'three' })).toEqual([
    'key_gone',
    'storeKey: the project has no store key three. For app-store-connect it has one (com.example.shop); two (com.example.shop)',
  ]);
  expect(await found({ pool: 'nowhere' })).toEqual([
    'key_not_for_app',
    expect.stringMatching(/^there is no pool nowhere; /),
  ]);
  // A pool that is no longer trusted, and another project.
  await db.update(pools).set({ trusted: false }).where(eq(pools.name, pool));
  expect(await found({ name: 'two' })).toEqual(['key_not_for_app', expect.stringMatching(/is not trusted/)]);
  await db.update(pools).set({ trusted: true }).where(eq(pools.name, pool));
  expect(await found({ projectId: (await aTeam()).projectId, name: 'two' })).toEqual(['key_gone', expect.any(String)]);
  expect((await call(`/api/projects/${projectId}`, env.ADMIN_KEY, { method: 'DELETE' })).status).toBe(204);
  expect(await rowOf(team)).toBeUndefined();
});

test('sealed text that is moved, or whose row is altered, does not open', async () => {
  const team = await aTeam();
  await put(team, 'apple');
  const row = await rowOf(team);
  const alterations: Partial<StoreKeyRow>[] = [
    ...[{ projectId: 'prj_2' }, { id: 'stk_2' }, { name: 'play' }, { store: 'google-play' as const }, { version: 2 }],
    ...[{ apps: ['com.example.other'] }, { apps: [...row.apps, 'a.b'] }, { pools: ['other'] }, { identity: 'X' }],
  ];
  for (const altered of alterations)
    expect(await openStoreKey(env, { ...row, ...altered })).toMatchObject({ ok: false, code: 'inputs_gone' });
  const [, ...names] = placeOfStoreKey(row);
  for (const place of [['stored_secret', ...names], ['store_session', ...names], placeOfInputs(row.id)] as const)
    expect(await open(env, place as never, row.sealed)).toEqual({ ok: false, why: 'does not open' });
  const session = await seal(env, ['store_session', row.id], 'x');
  expect(await openStoreKey(env, { ...row, ...session })).toMatchObject({ ok: false, code: 'inputs_gone' });
  const missing = { INPUTS_KEY: 'missing-0123456789abcdef0123456789abcdef' };
  expect(await openStoreKey(missing, row)).toMatchObject({ ok: false, code: 'inputs_key_missing' });
});

test('the sweep seals it anew with the newest key, unless it gets a new value meanwhile', async () => {
  const team = await aTeam();
  await put(team, 'apple');
  const before = await rowOf(team);
  const rotated = { ...env, INPUTS_KEY: `2:new-0123456789abcdef0123456789abcdef,1:${env.INPUTS_KEY}` };
  const { id } = await newestSealingKey(rotated);
  // The sweep seals other keys of this file too, a portion at a time.
  for (let minute = 0; (await rowOf(team)).keyId !== id; minute++) {
    expect(minute).toBeLessThan(20);
    await reseal(rotated);
  }
  const after = await rowOf(team);
  expect(after).toEqual({ ...before, keyId: id, sealed: expect.not.stringMatching(before.sealed) });
  expect(await openStoreKey(rotated, after)).toEqual(await openStoreKey(env, before));
});

test('no private part is in an answer, in the audit, in a log line, or readable in a table', async () => {
  const team = await aTeam();
  const [p8, rsa] = [(await aPrivateKey()).pem, (await aPrivateKey('RS256')).pem];
  const account = { store: 'google-play', keyId: undefined, issuerId: undefined, privateKey: undefined };
  const lines: string[] = [];
  const { log, error, warn } = console;
  for (const name of ['log', 'error', 'warn'] as const)
    console[name] = (...said: unknown[]) => lines.push(said.join(' '));
  const answers: unknown[] = [];
  try {
    answers.push(await put(team, 'apple', { privateKey: p8 }));
    answers.push(await put(team, 'play', { ...account, serviceAccount: serviceAccount(rsa) }));
    answers.push(await put(team, 'apple', { privateKey: p8, nonsense: p8 }));
    answers.push(await put(team, 'apple', { ...account, serviceAccount: p8 }));
    answers.push(await put(team, 'play', { privateKey: rsa }));
    answers.push(await put({ ...team, projectId: 'prj_foreign' }, 'apple', { privateKey: p8 }));
    await env.DB.prepare('UPDATE store_keys SET version = 7 WHERE project_id = ?1').bind(team.projectId).run();
    answers.push(await openStoreKey(env, await rowOf(team)), await list(team), await remove(team, 'play'));
    answers.push(await ask('GET', '/api/audit?limit=200', env.ADMIN_KEY));
  } finally {
    Object.assign(console, { log, error, warn });
  }
  const all = JSON.stringify([answers, lines, await contentsOfTables()]);
  for (const pem of [p8, rsa])
    for (const line of pem.split('\n').filter((one) => one.length > 30 && !one.startsWith('-----')))
      expect(all.includes(line)).toBe(false);
});

test('the audit names project and key, also of attempts that were refused', async () => {
  const team = await aTeam();
  await put(team, 'apple');
  const { key } = await aKey(team.projectId, ['stores']);
  await put(team, 'apple', {}, key);
  await remove(await aTeam(), 'apple', team.key);
  await ask('GET', of(await aTeam()), team.key);
  await remove(team, 'apple');
  const entries = await db.all(
    sql`SELECT action, target, denied, key_id = ${team.keyId} AS own FROM audit WHERE action LIKE 'store_key.%' ORDER BY id`,
  );
  expect(entries.slice(-5)).toEqual([
    { action: 'store_key.set', target: 'store_key/apple', denied: 0, own: 1 },
    { action: 'store_key.set', target: 'store_key/apple', denied: 1, own: 0 },
    { action: 'store_key.remove', target: 'store_key/apple', denied: 1, own: 1 },
    { action: 'store_key.list', target: expect.stringMatching(/^project\//), denied: 1, own: 1 },
    { action: 'store_key.remove', target: 'store_key/apple', denied: 0, own: 1 },
  ]);
});
