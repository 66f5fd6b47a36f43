/** Asks for keys: which rights a request gives, and which it is refused, by the name of the field. */
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { KeyView, Rights } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { insertProject, unique } from '../factories/rows.ts';
import { api } from '../factories/scenarios.ts';

interface Answered {
  key: KeyView;
  secret: string;
  error: { code: string; message: string };
}
const ask = (request: object, by = env.ADMIN_KEY) =>
  api<Answered>('POST', '/api/keys', { name: 'x', scope: 'submit', ...request }, by);

test('a request that names no right makes a key as before; with one of them, the rest begins low', async () => {
  const named = unique('shop');
  const id = await insertProject(named);
  const EXPECTED: [object, Rights][] = [
    [{}, RIGHTS_TO_ALL],
    [{ pools: ['p'] }, { ...RIGHTS_TO_ALL, pools: ['p'] }],
    [{ projects: [id] }, { projects: [id], pools: '*', trusted: true, maxPriority: 0, may: [] }],
    // A name stands for its project, and each project counts once.
    [
      { projects: [named, id], trusted: false },
      { projects: [id], pools: '*', trusted: false, maxPriority: 0, may: [] },
    ],
    [
      { projects: '*', may: ['links'] },
      { projects: '*', pools: '*', trusted: true, maxPriority: 0, may: ['links'] },
    ],
    [{ projects: [] }, { projects: [], pools: '*', trusted: true, maxPriority: 0, may: [] }],
    [{ scope: 'read' }, { ...RIGHTS_TO_ALL, maxPriority: 0 }],
    [{ scope: 'admin' }, RIGHTS_TO_ALL],
  ];
  for (const [request, rights] of EXPECTED) {
    const { status, body } = await ask(request);
    expect([request, status, body.key?.rights]).toEqual([request, 201, rights]);
    const me = await api<{ rights: Rights }>('GET', '/api/me', undefined, body.secret);
    expect(me.body.rights).toEqual(rights);
  }
});

const REFUSED: [why: string, request: object, message: RegExp][] = [
  ['a field that nobody knows', { project: 'prj_a' }, /project/],
  ['a misspelt restriction', { projects: '*', trust: false }, /trust/],
  ['an unknown project', { projects: ['prj_none', 'prj_default'] }, /^projects: there is no project prj_none$/],
  ['rights without projects', { trusted: false }, /^projects: /],
  ['rights for scope admin', { scope: 'admin', projects: '*' }, /^scope: /],
  ['a grant for a key that reads', { scope: 'read', projects: '*', may: ['links'] }, /^may: /],
  ['a priority for a key that reads', { scope: 'read', projects: '*', maxPriority: 1 }, /^maxPriority: /],
  ['a grant for an untrusted key', { projects: '*', trusted: false, may: ['keep'] }, /^may: /],
  ['a priority for an untrusted key', { projects: '*', trusted: false, maxPriority: 1 }, /^maxPriority: /],
  [
    'secrets of all projects',
    { projects: '*', may: ['secrets.use'] },
    /^projects: secrets.use needs projects that are named/,
  ],
  ['to set secrets of all projects', { projects: '*', may: ['links', 'secrets.set'] }, /^projects: secrets.set need/],
  ['to be admin of all projects', { projects: '*', may: ['admin'] }, /^projects: admin need/],
  ['secrets of the project default', { projects: ['default'], may: ['secrets.use'] }, /^projects: the project default/],
  ['stores of the project default', { projects: ['prj_default'], may: ['stores'] }, /takes no stores/],
];
test.for(REFUSED)('refused: %s', async ([, request, message]) => {
  const { status, body } = await ask(request);
  expect(status).toBe(400);
  expect(body.error.message).toMatch(message);
});

test('a project of others, a deleted one and one that never was are the same to the admin of another project', async () => {
  const name = unique('secret-plan');
  const [own, foreign, deleted] = [await insertProject(), await insertProject(name), await insertProject()];
  await env.DB.prepare('UPDATE projects SET deleted_at = 1 WHERE id = ?').bind(deleted).run();
  const rights: Rights = { ...RIGHTS_TO_ALL, projects: [own], may: ['admin'] };
  const { secret } = await createKey(env, { name: 'x', scope: 'submit', rights }, Date.now());
  const answers = await Promise.all(
    [foreign, deleted, 'prj_none'].map((project) => ask({ projects: [own, project] }, secret)),
  );
  expect(answers[0]!.status).toBe(403);
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[2]).toEqual(answers[0]);
  expect((await ask({ scope: 'admin' }, secret)).body.error.message).toMatch(/^scope: /);
  expect((await ask({ projects: [own], may: ['secrets.use'] }, secret)).body.error.message).toMatch(/^may: /);
  const made = await ask({ projects: [own], may: ['admin'], maxPriority: 3 }, secret);
  expect(made.status).toBe(201);
  expect(JSON.stringify(answers)).not.toContain(name);
});

test('the admin of a project lists, rotates and revokes the keys below its own, and no others', async () => {
  const [own, foreign] = [await insertProject(), await insertProject()];
  const make = (rights: Partial<Rights>, scope: 'submit' | 'read' | 'admin' = 'submit') =>
    createKey(env, { name: 'x', scope, rights: { ...RIGHTS_TO_ALL, projects: [own], ...rights } }, Date.now());
  const admin = await make({ may: ['admin', 'links'] });
  const below = [
    await make({}),
    await make({ trusted: false }),
    await make({}, 'read'),
    await make({ may: ['links'] }),
  ];
  const others = [
    await make({ projects: [foreign] }),
    await make({ projects: [own, foreign] }),
    await make({ projects: '*' }),
    await make({ projects: [] }),
    await make({ may: ['keep'] }),
    await make({}, 'admin'),
  ];
  const { body } = await api<{ keys: KeyView[] }>('GET', '/api/keys', undefined, admin.secret);
  expect(body.keys.map(({ id }) => id).sort()).toEqual([admin, ...below].map(({ key }) => key.id).sort());
  const missing = async (method: string, id: string, rest: string) => {
    const answer = await api('POST' === method ? 'POST' : method, `/api/keys/${id}${rest}`, undefined, admin.secret);
    return JSON.stringify(answer).replaceAll(id, 'ID');
  };
  for (const [method, rest] of [
    ['DELETE', ''],
    ['POST', '/rotate'],
  ] as const) {
    const none = await missing(method, 'key_none', rest);
    expect(none).toContain('404');
    for (const { key } of others) expect(await missing(method, key.id, rest)).toBe(none);
    expect(await missing(method, 'admin', rest)).toBe(none);
  }
  for (const { key } of below) {
    expect((await api('POST', `/api/keys/${key.id}/rotate`, undefined, admin.secret)).status).toBe(201);
    expect((await api('DELETE', `/api/keys/${key.id}`, undefined, admin.secret)).status).toBe(200);
  }
});

test('no key that the admin of projects makes or rotates outlives its own', async () => {
  const project = await insertProject();
  const end = Date.now() + 3_600_000;
  const rights = { ...RIGHTS_TO_ALL, projects: [project], may: ['admin' as const] };
  const admin = await createKey(env, { name: 'admin', scope: 'submit', rights, expiresAt: end }, Date.now());
  const asked = { name: 'ci', scope: 'submit', projects: [project] };
  const late = new Date(end + 1).toISOString();
  const refused = await api<{ error: { message: string } }>(
    'POST',
    '/api/keys',
    { ...asked, expiresAt: late },
    admin.secret,
  );
  expect([refused.status, refused.body.error.message]).toEqual([403, expect.stringMatching(/^expiresAt: must not be/)]);
  const made = await api<{ key: KeyView }>('POST', '/api/keys', asked, admin.secret);
  expect(made.body.key.expiresAt).toBe(new Date(end).toISOString());
  const of = await createKey(env, { name: 'old', scope: 'submit', rights: { ...rights, may: [] } }, Date.now());
  const rotated = await api<{ key: KeyView }>('POST', `/api/keys/${of.key.id}/rotate`, undefined, admin.secret);
  expect(rotated.body.key.expiresAt).toBe(new Date(end).toISOString());
});
