/** Reads the audit: what an entry says, who sees it, and that refused attempts are recorded within bounds. */
import { env } from 'cloudflare:workers';
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import type { AuditEntry, Rights } from '#contract';
import { ACTIONS, DENIED_A_MINUTE_MAX, recorded } from '../../../controller/access/audit.ts';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { authorisationOf } from '../../../controller/routes/authorise.ts';
import { insertProject, unique } from '../factories/rows.ts';
import { aBlob, api } from '../factories/scenarios.ts';

const entries = async (secret = env.ADMIN_KEY): Promise<AuditEntry[]> =>
  (await api<{ entries: AuditEntry[] }>('GET', '/api/audit?limit=200', undefined, secret)).body.entries;
const adminOf = (projects: string[], more: Partial<Rights> = {}) =>
  createKey(
    env,
    { name: 'x', scope: 'submit', rights: { ...RIGHTS_TO_ALL, projects, may: ['admin'], ...more } },
    Date.now(),
  );

test('an entry names kind and id of its target, and its project; the admin of a project sees its projects alone', async () => {
  const [own, foreign] = [await insertProject(), await insertProject()];
  const [admin, other] = [await adminOf([own]), await adminOf([foreign])];
  const request = {
    source: { sha256: await aBlob('a source', { project: own }) },
    command: 'make',
    platform: 'ios',
    project: own,
  };
  const { body: build } = await api<{ id: string }>('POST', '/api/builds', request, admin.secret);
  await api('POST', `/api/builds/${build.id}/cancel`, undefined, admin.secret);
  const { body: made } = await api<{ key: { id: string } }>(
    'POST',
    '/api/keys',
    { name: 'ci', scope: 'submit', projects: [own] },
    admin.secret,
  );
  await api('POST', `/api/keys/${made.key.id}/rotate`, undefined, admin.secret);
  await api('DELETE', `/api/keys/${made.key.id}`, undefined, admin.secret);
  await api('POST', `/api/keys/${other.key.id}/rotate`, undefined, other.secret);
  await api('POST', '/api/workers', { name: unique('mac') });
  const seen = await entries(admin.secret);
  expect(seen.map(({ action, target, projectId, denied }) => [action, target, projectId, denied])).toEqual([
    ['key.revoke', `key/${made.key.id}`, own, false],
    ['key.rotate', `key/${made.key.id}`, own, false],
    ['key.create', `key/${made.key.id}`, own, false],
    ['build.cancel', `build/${build.id}`, own, false],
    ['build.submit', `build/${build.id}`, own, false],
  ]);
  expect((await entries(other.secret)).map(({ action, target }) => [action, target])).toEqual([
    ['key.rotate', `key/${other.key.id}`],
  ]);
  const all = await entries();
  expect(all[0]).toMatchObject({
    action: 'worker.register',
    projectId: null,
    target: expect.stringMatching(/^worker\/w_/),
  });
  expect(all.length).toBeGreaterThan(seen.length);
});

test('a key of several projects is of none in the audit, and a key of scope read or without the right sees none', async () => {
  const projects = [await insertProject(), await insertProject()];
  const admin = await adminOf(projects);
  const { body } = await api<{ key: { id: string } }>(
    'POST',
    '/api/keys',
    { name: 'y', scope: 'read', projects },
    admin.secret,
  );
  expect(await entries(admin.secret)).toEqual([]);
  expect((await entries())[0]).toMatchObject({ target: `key/${body.key.id}`, projectId: null });
  const submit = await adminOf(projects, { may: [] });
  expect((await api('GET', '/api/audit', undefined, submit.secret)).status).toBe(403);
});

test('refused attempts are recorded where the action says so, at most a few a minute for each key', async () => {
  const route = 'GET /api/projects/:id/of-a-test/:name';
  ACTIONS[route] = { action: 'secret.test', kind: 'secret', params: ['name'], denied: true };
  try {
    const app = new Hono<{ Bindings: Env }>();
    app.use('/api/*', recorded);
    app.get(
      '/api/projects/:id/of-a-test/:name',
      authorisationOf({ right: 'secrets.set', finds: 'project', others: 404 }),
      (c) => c.text('let in'),
    );
    const [own, foreign] = [await insertProject(), await insertProject()];
    const { key, secret } = await adminOf([own], { may: ['secrets.set'] });
    const without = await adminOf([own]);
    const ask = async (project: string, name: string, by: string | null) =>
      (
        await app.request(
          `/api/projects/${project}/of-a-test/${name}`,
          { headers: { Authorization: `Bearer ${by}` } },
          env,
        )
      ).status;
    const attempts = async () => (await entries()).filter(({ action }) => action === 'secret.test');
    expect(await ask(own, 'TOKEN', secret)).toBe(200);
    expect(await ask(own, 'TOKEN', 'tb_submit_of-nobody')).toBe(401);
    expect(await attempts()).toEqual([]);
    expect(await ask(own, 'TOKEN', without.secret)).toBe(403);
    expect(await ask(foreign, 'TOKEN', secret)).toBe(404);
    expect(await ask('prj_none', 'TOKEN', secret)).toBe(404);
    expect(
      (await attempts()).map(({ target, projectId, denied, keyId }) => [target, projectId, denied, keyId]),
    ).toEqual([
      ['secret/TOKEN', null, true, key.id],
      // The admin of the project in the request sees this entry.
      ['secret/TOKEN', foreign, true, key.id],
      ['secret/TOKEN', null, true, without.key.id],
    ]);
    for (let i = 0; i < DENIED_A_MINUTE_MAX + 5; i++) expect(await ask(foreign, `T${i}`, secret)).toBe(404);
    expect((await attempts()).filter(({ keyId }) => keyId === key.id)).toHaveLength(DENIED_A_MINUTE_MAX);
  } finally {
    delete ACTIONS[route];
  }
});
