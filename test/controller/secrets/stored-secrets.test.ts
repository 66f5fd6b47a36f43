/** Sets, lists and removes stored secrets by the routes, and asks which builds receive them. */
import { env } from 'cloudflare:workers';
import { eq } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { BuildDetail, SecretList, SecretView } from '#contract';
import { INPUTS_MAX_BYTES, SECRET_FILES_MAX, STORED_SECRETS_MAX, VARIABLES_MAX } from '#contract';
import { attempts, builds, pools, projects, secrets } from '../../../controller/schema/index.ts';
import { db, HOUR_MS, insertProject, unique } from '../factories/rows.ts';
import { api } from '../factories/scenarios.ts';
import { contentsOfTables } from '../factories/tables.ts';
import {
  aKey,
  aPool,
  ask,
  aTeam,
  begin,
  fetchInputs,
  given,
  setSecret,
  submit,
  type Team,
} from '../factories/teams.ts';

const of = ({ projectId }: Team, rest = '') => `/api/projects/${projectId}/secrets${rest}`;
const list = async (team: Team, key = team.key): Promise<SecretView[]> =>
  (await ask<SecretList>('GET', of(team), key)).body.secrets;
const put = (team: Team, name: string, body: object, key = team.key) =>
  ask<SecretList & { error?: { code: string; message: string } }>('PUT', of(team, `/${name}`), key, body);

test('a build receives the variables and files of its project and pool, masked, below what it brings', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'stored');
  await setSecret(team, 'SHARED', 'stored');
  expect((await put(team, 'SERVICES', { file: btoa('{}'), path: 'google-services.json' })).status).toBe(201);
  expect(await given(team)).toEqual({
    status: 200,
    body: {
      env: { TOKEN: 'stored', SHARED: 'stored' },
      secretNames: ['SHARED', 'TOKEN'],
      secretFiles: { 'google-services.json': btoa('{}') },
    },
  });
  const own = {
    ...{ env: { SHARED: 'own', CI: '1' }, secretEnv: { OWN: 'own' } },
    secretFiles: { 'google-services.json': btoa('own'), 'a.p8': btoa('key') },
  };
  expect((await given(team, own)).body).toEqual({
    env: { TOKEN: 'stored', SHARED: 'own', CI: '1', OWN: 'own' },
    secretNames: ['OWN', 'TOKEN'],
    secretFiles: own.secretFiles,
  });
  // This client does not tell which variables are secret. The controller guesses, as agents do.
  expect((await given(team, { env: { MODE: 'production', MY_KEY: 'k' } })).body.secretNames).toEqual([
    ...['MY_KEY', 'SHARED', 'TOKEN'],
  ]);
});

test('a new value is a new version, and a build has the values of the moment at which it asks', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'first');
  const id = await submit(team);
  await setSecret(team, 'TOKEN', 'second');
  await begin(id);
  expect((await fetchInputs(id)).body.env).toEqual({ TOKEN: 'second' });
  const [view] = await list(team);
  expect(view).toMatchObject({ name: 'TOKEN', path: null, pool: team.pool, version: 2, usedBy: [id] });
  expect(view!.setBy).toEqual({ keyId: team.keyId, name: 'of the team' });
  const row = await db.select().from(attempts).where(eq(attempts.buildId, id)).get();
  expect(row!.secrets).toEqual([[view!.id, 2]]);
  const detail = (await api<BuildDetail>('GET', `/api/builds/${id}`)).body;
  expect(detail.attempts[0]!.secrets).toEqual([{ id: view!.id, name: 'TOKEN', version: 2 }]);
  expect((await db.select().from(builds).where(eq(builds.id, id)).get())!.hasInputs).toBe(false);
});

test('the ten builds that used a secret last are listed, newest first, each once', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'x');
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) {
    const id = await submit(team);
    await begin(id);
    for (let again = 0; again < 2; again++) await fetchInputs(id);
    ids.unshift(id);
  }
  expect((await list(team))[0]!.usedBy).toEqual(ids.slice(0, 10));
});

test('who may not receive stored secrets receives none', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'stored');
  const untrusted = await aPool(false);
  await db.update(pools).set({ trusted: true }).where(eq(pools.name, untrusted));
  const key = (await aKey(team.projectId, ['secrets.use', 'secrets.set'])).key;
  await setSecret({ ...team, key, pool: untrusted }, 'TOKEN', 'stored');
  await db.update(pools).set({ trusted: false }).where(eq(pools.name, untrusted));
  const another = await aTeam();
  await setSecret(another, 'TOKEN', 'of another project');
  const both = await aKey(another.projectId, ['secrets.use'], { projects: [another.projectId, team.projectId] });
  const cases: Record<string, [who: Pick<Team, 'projectId' | 'pool' | 'key'>, env: object]> = {
    'its own key': [team, { TOKEN: 'stored' }],
    'a key of two projects, in the first': [{ ...team, ...both }, { TOKEN: 'stored' }],
    'a key of two projects, in the second': [{ ...another, ...both }, { TOKEN: 'of another project' }],
    'without secrets.use': [{ ...team, ...(await aKey(team.projectId, ['secrets.set', 'admin'])) }, {}],
    'all projects': [{ ...team, ...(await aKey('', ['secrets.use'], { projects: '*' })) }, {}],
    admin: [{ ...team, key: env.ADMIN_KEY }, {}],
    untrusted: [{ ...team, ...(await aKey(team.projectId, ['secrets.use'], { trusted: false })) }, {}],
    'the default project': [{ ...team, projectId: 'default', ...(await aKey('prj_default', ['secrets.use'])) }, {}],
    'an untrusted pool': [{ ...team, key, pool: untrusted }, {}],
    'another pool': [{ ...team, key, pool: await aPool() }, {}],
    'a pool without a row': [{ ...team, key, pool: unique('pool') }, {}],
  };
  for (const [what, [who, expected]] of Object.entries(cases)) {
    const { status, body } = await given(who);
    expect([what, status, body.env, body.secretFiles]).toEqual([what, 200, expected, undefined]);
  }
});

test('a build whose key has lost the right meanwhile is refused by name, and does not go on without', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'stored');
  const losses: Record<string, [(keyId: string) => Promise<unknown>, RegExp]> = {
    revoked: [(id) => sqlOnKey(id, `revoked_at = 1`), /was revoked\. Submit the build anew/],
    expired: [(id) => sqlOnKey(id, `expires_at = 1`), /has expired\. Submit/],
    'without the right': [(id) => sqlOnKey(id, `rights = json_set(rights, '$.may', json('[]'))`), /lost the right/],
    'of another project': [(id) => sqlOnKey(id, `rights = json_set(rights, '$.projects', json('["prj_x"]'))`), /lost/],
    'of another pool': [(id) => sqlOnKey(id, `rights = json_set(rights, '$.pools', json('["x"]'))`), /lost the right/],
    untrusted: [(id) => sqlOnKey(id, `rights = json_set(rights, '$.trusted', json('false'))`), /lost the right/],
    'without readable rights': [(id) => sqlOnKey(id, `rights = ''`), /lost the right/],
  };
  for (const [what, [lose, message]] of Object.entries(losses)) {
    const { key, keyId } = await aKey(team.projectId, ['secrets.use']);
    const before = await submit({ ...team, key });
    const bringsAll = await submit({ ...team, key }, { secretEnv: { TOKEN: 'own' } });
    await lose(keyId);
    for (const id of [before, bringsAll]) await begin(id);
    const { status, body } = await fetchInputs(before);
    expect([what, status, body.error?.code]).toEqual([what, 422, 'inputs_gone']);
    expect(body.error!.message, what).toMatch(message);
    expect((await fetchInputs(bringsAll)).body.env, what).toEqual({ TOKEN: 'own' });
  }
  expect((await list(team))[0]!.usedBy).toEqual([]);
});

const sqlOnKey = (id: string, set: string) => env.DB.prepare(`UPDATE keys SET ${set} WHERE id = ?1`).bind(id).run();

test('a rotation of the key takes nothing from builds that wait', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'stored');
  const { key, keyId } = await aKey(team.projectId, ['secrets.use'], {}, Date.now() + HOUR_MS);
  const id = await submit({ ...team, key });
  const rotated = await ask<{ secret: string }>('POST', `/api/keys/${keyId}/rotate?overlapMs=0`, env.ADMIN_KEY);
  expect(rotated.status).toBe(201);
  await ask('GET', '/api/me', rotated.body.secret);
  expect((await ask('GET', '/api/me', key)).status).toBe(401);
  await begin(id);
  expect((await fetchInputs(id)).body.env).toEqual({ TOKEN: 'stored' });
});

test('pools left out are the trusted ones of that moment that the key reaches', async () => {
  const team = await aTeam();
  const [other, untrusted] = [await aPool(), await aPool(false)];
  const { key } = await aKey(team.projectId, ['secrets.set', 'secrets.use'], { pools: [team.pool, other, untrusted] });
  const set = await put(team, 'TOKEN', { value: 'x' }, key);
  expect([set.status, set.body.secrets.map(({ pool }) => pool)]).toEqual([201, [other, team.pool].sort()]);
  // A pool that becomes trusted later, or comes later, receives nothing.
  await db.update(pools).set({ trusted: true }).where(eq(pools.name, untrusted));
  expect((await given({ ...team, key, pool: untrusted })).body.env).toEqual({});
  expect((await put(team, 'TOKEN', { value: 'y' }, key)).status).toBe(201);
  expect((await given({ ...team, key, pool: untrusted })).body.env).toEqual({ TOKEN: 'y' });
});

test('a pool that is not trusted, not there or not reached is refused by name, and nothing is set', async () => {
  const team = await aTeam();
  const untrusted = await aPool(false);
  const { key } = await aKey(team.projectId, ['secrets.set']);
  for (const [named, who, expected] of [
    [untrusted, key, [400, `pools: ${untrusted} is not trusted, so it receives no stored secrets`]],
    ['nowhere', key, [400, expect.stringMatching(/^pools: there is no pool nowhere; .*`GET \/api\/pools`/)]],
    ['nowhere', team.key, [403, 'pools: this key may set no secrets for nowhere']],
    [untrusted, team.key, [403, `pools: this key may set no secrets for ${untrusted}`]],
  ] as const) {
    const { status, body } = await put(team, 'TOKEN', { value: 'x', pools: [team.pool, named] }, who);
    expect([status, body.error!.message]).toEqual(expected);
  }
  expect(await list(team)).toEqual([]);
});

test('the body is strict, and so is the query', async () => {
  const team = await aTeam();
  for (const [name, body] of [
    ['TOKEN', {}],
    ['TOKEN', { value: 'x', file: btoa('x'), path: 'x' }],
    ['TOKEN', { value: 'x', path: 'x' }],
    ['TOKEN', { file: btoa('x') }],
    ['TOKEN', { file: 'not base64!', path: 'x' }],
    ['TOKEN', { file: btoa('x'), path: '../x' }],
    ['TOKEN', { value: 'x', pool: team.pool }],
    ['TOKEN', { value: 'x', pools: [] }],
    ['TOKEN', { value: 'a\0b' }],
    ['TOKEN', { value: 'x'.repeat(32_769) }],
    ['TO-KEN', { value: 'x' }],
    ['1', { value: 'x' }],
  ] as const)
    expect((await put(team, name, body)).body.error?.code, JSON.stringify(body).slice(0, 80)).toBe('invalid_request');
  expect((await ask('DELETE', of(team, '/TOKEN?pools=x'), team.key)).status).toBe(400);
  expect(await list(team)).toEqual([]);
});

test('secrets are removed from one pool or from all that the key reaches', async () => {
  const team = await aTeam();
  const other = await aPool();
  const { key } = await aKey(team.projectId, ['secrets.set', 'secrets.use'], { pools: [team.pool, other] });
  await put(team, 'TOKEN', { value: 'x' }, key);
  const removed = await ask<{ removed: object[] }>('DELETE', of(team, `/TOKEN?pool=${other}`), key);
  expect(removed).toMatchObject({ status: 200, body: { removed: [{ name: 'TOKEN', pool: other, version: 1 }] } });
  expect((await given({ ...team, key, pool: other })).body.env).toEqual({});
  expect((await given(team)).body.env).toEqual({ TOKEN: 'x' });
  expect((await ask('DELETE', of(team, '/TOKEN'), key)).status).toBe(200);
  expect(await ask('DELETE', of(team, '/TOKEN'), key)).toMatchObject({ status: 404 });
  // A secret of the same name is another row, so nothing sealed before can come back.
  await put(team, 'TOKEN', { value: 'y' }, key);
  expect((await list(team))[0]).toMatchObject({ version: 1, usedBy: [] });
});

test('who sets, uses or administers secrets sees names and pools that the key reaches; others see no project', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'x');
  const other = await aPool();
  for (const [may, rights, expected] of [
    [['secrets.set'], {}, 200],
    [['secrets.use'], {}, 200],
    [['admin'], {}, 200],
    [['secrets.use'], { trusted: false }, 403],
    [['numbers', 'stores', 'links', 'webhooks', 'caches.write', 'keep'], {}, 403],
    [['secrets.use'], { projects: '*' as const }, 403],
    [['secrets.use'], { projects: ['prj_x'] }, 404],
  ] as const) {
    const { key } = await aKey(team.projectId, [...may], rights as object);
    expect([may, rights, (await ask('GET', of(team), key)).status]).toEqual([may, rights, expected]);
  }
  expect((await list(team, env.ADMIN_KEY)).map(({ name }) => name)).toEqual(['TOKEN']);
  const { key } = await aKey(team.projectId, ['secrets.use'], { pools: [other] });
  expect(await list(team, key)).toEqual([]);
  // Scope admin sets none, because that needs a project that is named.
  expect((await put(team, 'TOKEN', { value: 'x' }, env.ADMIN_KEY)).status).toBe(403);
});

test('a project answers by its name too, after a rename its secrets open, and a deleted one is not there', async () => {
  const team = await aTeam();
  await setSecret({ ...team, projectId: team.name }, 'TOKEN', 'x');
  const name = unique('renamed');
  await db.update(projects).set({ name }).where(eq(projects.id, team.projectId));
  expect((await given(team)).body.env).toEqual({ TOKEN: 'x' });
  expect((await ask('GET', `/api/projects/${team.name}/secrets`, team.key)).status).toBe(404);
  await db.update(projects).set({ deletedAt: 1 }).where(eq(projects.id, team.projectId));
  const unknown = { ...team, projectId: 'prj_unknown' };
  for (const which of [team, unknown]) {
    const answers = [
      await ask('GET', of(which), team.key),
      await put(which, 'TOKEN', { value: 'x' }),
      await ask('DELETE', of(which, '/TOKEN'), team.key),
    ];
    const error = { code: 'not_found', message: `there is no project ${which.projectId}` };
    expect(answers).toEqual(Array(3).fill({ status: 404, body: { error } }));
  }
  // A new project of the same name is another one.
  const anew = { ...team, projectId: await insertProject(name) };
  const { key } = await aKey(anew.projectId, ['secrets.set', 'secrets.use']);
  expect(await list({ ...anew, key })).toEqual([]);
  expect((await given({ ...anew, key })).body.env).toEqual({});
});

test('the default project takes no secrets', async () => {
  const { key } = await aKey('prj_default', ['secrets.set', 'secrets.use', 'admin']);
  for (const name of ['default', 'prj_default'])
    expect((await ask('PUT', `/api/projects/${name}/secrets/TOKEN`, key, { value: 'x' })).status).toBe(404);
});

test('a pool has at most so many secrets, files and bytes of a project, and the refusal has the numbers', async () => {
  const team = await aTeam();
  const fill = async (count: number, row: Partial<typeof secrets.$inferInsert> & { n: (i: number) => string }) => {
    const { n, ...rest } = row;
    const rows = Array.from({ length: count }, (_, i) => ({
      ...{ id: unique('sec'), projectId: team.projectId, pool: team.pool, name: n(i), version: 1, keyId: 'k' },
      ...{ sealed: 'x', setBy: 'k', setAt: 0, ...rest },
    }));
    for (const one of rows)
      await db.insert(secrets).values({ ...one, path: rest.path === undefined ? null : one.name });
  };
  await fill(SECRET_FILES_MAX, { n: (i) => `FILE_${i}`, path: '' });
  const file = await put(team, 'ONE_MORE', { file: btoa('x'), path: 'one-more' });
  expect([file.status, file.body.error!.message]).toEqual([
    413,
    `pool ${team.pool} would have 101 stored files of this project, and a build may have 100. Delete some that nobody needs`,
  ]);
  expect((await put(team, 'ONE_MORE', { file: btoa('x'), path: 'FILE_3' })).body.error!.message).toBe(
    `path: secret FILE_3 has FILE_3 in pool ${team.pool} already`,
  );
  await fill(STORED_SECRETS_MAX - SECRET_FILES_MAX - 1, { n: (i) => `NAME_${i}` });
  expect((await put(team, 'LAST', { value: 'x' })).status).toBe(201);
  expect((await put(team, 'LAST', { value: 'y' })).status).toBe(200);
  expect((await put(team, 'ONE_MORE', { value: 'x' })).body.error!.message).toMatch(
    /would have 201 stored secrets of this project, and may have 200/,
  );
  await db.delete(secrets).where(eq(secrets.projectId, team.projectId));
  const large = Math.floor(INPUTS_MAX_BYTES / 32_770);
  for (let i = 0; i < large; i++) await setSecret(team, `NAME_${i}`, 'x'.repeat(32_768));
  const more = await put(team, 'ONE_MORE', { value: 'x'.repeat(32_768) });
  expect(more.body.error!.message).toContain(`would have ${(large + 1) * 32_770} bytes, and a build may have 1048576`);
  // The stored secrets and the build's own inputs may each be small enough, and both together too large.
  const { status, body } = await given(team, { env: { OWN: 'x'.repeat(32_768), MORE: 'x'.repeat(32_768) } });
  expect([status, body.error?.code]).toEqual([422, 'inputs_gone']);
  expect(body.error!.message).toMatch(/would have 1\d{6} bytes of variables and secret files, the stored secrets of/);
});

test('a build and its project together have no more variables than a build may have', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'x');
  const env = Object.fromEntries(Array.from({ length: VARIABLES_MAX }, (_, i) => [`NAME_${i}`, 'x']));
  expect((await given(team, { env })).body.error!.message).toMatch(/would have 201 variables, the stored secrets/);
});

test('of many requests at once each sets its value or is refused, and no pool gets more than it may have', async () => {
  const team = await aTeam();
  const answers = await Promise.all(
    Array.from({ length: SECRET_FILES_MAX + 10 }, (_, i) =>
      put(team, `FILE_${i}`, { file: btoa('x'), path: `file-${i}` }),
    ),
  );
  const set = answers.filter(({ status }) => status === 201).length;
  expect([set, new Set(answers.map(({ status }) => status))]).toEqual([SECRET_FILES_MAX, new Set([201, 413])]);
  const same = await Promise.all(Array.from({ length: 4 }, (_, i) => put(team, 'FILE_0', { value: `v${i}` })));
  const fine = same.filter(({ status }) => status < 300).length;
  const [row] = (await list(team)).filter(({ name }) => name === 'FILE_0');
  expect(row?.version ?? 0).toBeGreaterThanOrEqual(fine);
});

test('stored files lie side by side on a Mac: none is the folder of another, none differs from another only in case', async () => {
  const team = await aTeam();
  const file = (path: string) => ({ file: btoa('x'), path });
  expect((await put(team, 'FIRST', file('apps/mobile/.env'))).status).toBe(201);
  for (const [path, why] of [
    ['apps/mobile', 'apps/mobile cannot be a file, because apps/mobile/.env needs a folder of that name'],
    ['Apps', 'Apps cannot be a file, because apps/mobile/.env needs a folder of that name'],
    ['apps/mobile/.env/x', 'apps/mobile/.env cannot be a file, because apps/mobile/.env/x needs a folder of that name'],
    ['apps/Mobile/.ENV', 'apps/mobile/.env and apps/Mobile/.ENV differ only in case, so they are one file on a Mac'],
  ] as const) {
    const { status, body } = await put(team, 'SECOND', file(path));
    expect([status, body.error!.message]).toEqual([
      400,
      `path: secret FIRST has apps/mobile/.env in pool ${team.pool}; ${why}`,
    ]);
  }
  for (const path of ['apps/mobile/.env.production', 'apps/mobile.env', 'É.env'])
    expect((await put(team, `OTHER_${path.length}`, file(path))).status).toBe(201);
  expect((await put(team, 'SECOND', file('e\u0301.ENV'))).status).toBe(400);
  expect((await put(team, 'FIRST', file('apps/mobile/.ENV'))).status).toBe(200);
});

test('of clashing files that many set at once one is set, whatever their letters', async () => {
  for (const paths of [
    ['a/b', 'A', 'a/b/c', 'A/B', 'a/B/c/d'],
    ['é', 'É', 'e\u0301', 'é/x'],
  ]) {
    const team = await aTeam();
    const answers = await Promise.all(paths.map((path, i) => put(team, `FILE_${i}`, { file: btoa('x'), path })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(paths.length - 1).fill(400)]);
  }
});

test('what a build brings and what is stored clash as two stored files do; the same path is none', async () => {
  const team = await aTeam();
  await put(team, 'ENVIRONMENT', { file: btoa('stored'), path: '.env' });
  const own = (path: string) => given(team, { secretFiles: { [path]: btoa('own') } });
  expect((await own('.env')).body.secretFiles).toEqual({ '.env': btoa('own') });
  for (const path of ['.ENV', '.env/x']) {
    const { status, body } = await own(path);
    expect([status, body.error?.code]).toEqual([422, 'inputs_gone']);
    expect(body.error!.message).toMatch(/^secretFiles: build b_\w+ cannot have its own secret files and the stored/);
  }
});

test('no value is in an answer, in the audit, in a log line, or readable in a table', async () => {
  const team = await aTeam();
  const value = 'a-value-that-nobody-may-see';
  const lines: string[] = [];
  const { log, error, warn } = console;
  for (const name of ['log', 'error', 'warn'] as const)
    console[name] = (...said: unknown[]) => lines.push(said.join(' '));
  const answers: unknown[] = [];
  try {
    answers.push(await put(team, 'TOKEN', { value }));
    answers.push(await put(team, 'SERVICES', { file: btoa(value), path: 'services.json' }));
    answers.push(await put(team, 'TOKEN', { value, nonsense: value }));
    answers.push(await put(team, 'TOKEN', { value: `${value}\0` }));
    answers.push(await put(team, 'OTHER', { file: btoa(value), path: 'services.json' }));
    answers.push(await put({ ...team, projectId: 'prj_foreign' }, 'TOKEN', { value }));
    const id = await submit(team);
    await begin(id);
    expect((await fetchInputs(id)).body.env.TOKEN).toBe(value);
    await env.DB.prepare('UPDATE secrets SET version = 7 WHERE project_id = ?1').bind(team.projectId).run();
    const altered = await fetchInputs(id);
    expect(altered.body.error?.code).toBe('inputs_gone');
    answers.push(altered, await list(team), await ask('GET', `/api/builds/${id}`, team.key));
    answers.push(await ask('GET', '/api/audit?limit=200', env.ADMIN_KEY));
    answers.push(await ask('DELETE', of(team, '/TOKEN'), team.key));
  } finally {
    Object.assign(console, { log, error, warn });
  }
  const all = JSON.stringify([answers, lines, await contentsOfTables()]);
  for (const form of [value, btoa(value)]) expect(all).not.toContain(form);
});

test('the audit names project and secret, also of attempts that were refused', async () => {
  const team = await aTeam();
  await setSecret(team, 'TOKEN', 'x');
  const { key } = await aKey(team.projectId, []);
  await put(team, 'TOKEN', { value: 'x' }, key);
  await put(await aTeam(), 'TOKEN', { value: 'x' }, team.key);
  await ask('DELETE', of(team, '/TOKEN'), team.key);
  const entries = await env.DB.prepare(
    "SELECT action, target, denied, key_id = ?1 AS own, project_id = ?2 AS of FROM audit WHERE action LIKE 'secret.%' ORDER BY id",
  )
    .bind(team.keyId, team.projectId)
    .all();
  expect(entries.results.slice(-4)).toEqual([
    { action: 'secret.set', target: 'secret/TOKEN', denied: 0, own: 1, of: 1 },
    { action: 'secret.set', target: 'secret/TOKEN', denied: 1, own: 0, of: expect.toBeOneOf([1, null]) },
    { action: 'secret.set', target: 'secret/TOKEN', denied: 1, own: 1, of: 0 },
    { action: 'secret.remove', target: 'secret/TOKEN', denied: 0, own: 1, of: 1 },
  ]);
});
