/**
 * Checks the limits of projects, what a pick costs, and the count of what waits and is active.
 *
 * `npm test` lets 60 claims compete for the builds of a project. `CLAIMS_AT_ONCE=200` lets 200.
 */
import { env } from 'cloudflare:workers';
import { sql } from 'drizzle-orm';
import { expect, test, vi } from 'vitest';
import { BuildRequest } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import { claimNext } from '../../../controller/attempts/claims.ts';
import { submitBuild } from '../../../controller/builds/submit.ts';
import { findProject } from '../../../controller/projects/find-project.ts';
import { recountLoad } from '../../../controller/queue/load.ts';
import { pickStatement } from '../../../controller/queue/pick.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { findWorker } from '../../../controller/workers/registry.ts';
import { wrongLoads } from '../../../local/chaos/wrong-loads.ts';
import { send, unique, workerInsertions } from '../factories/rows.ts';
import { aBlob, aBuild, api, aWorker, claim, sayStatus, show, type TestWorker } from '../factories/scenarios.ts';
import { aProject, aQueued, begin, enqueue } from './queued.ts';

const TEN_THOUSAND = 10_000;
const minute = (minuteOfHour: number) => Date.UTC(2026, 0, 1, 0, minuteOfHour);

const untrustedKey = async () =>
  (
    await createKey(
      env,
      { name: 'of strangers', scope: 'submit', rights: { ...RIGHTS_TO_ALL, trusted: false, maxPriority: 0 } },
      Date.now(),
    )
  ).secret;

const submit = async (request: { project: string; [field: string]: unknown }, key: string) =>
  api<{ id: string; trusted: boolean; error?: { code: string; message: string } }>(
    'POST',
    '/api/builds',
    {
      source: { sha256: await aBlob('a source archive', { project: request.project, key }) },
      ...{ command: 'make', platform: 'ios', ...request },
    },
    key,
  );

const claimed = async (worker: TestWorker) => (await claim(worker)).body.assignment?.buildId;

test('a pick seeks, and reads as few rows with 10,000 queued builds of one project as with one', async () => {
  const pool = unique('pool');
  const [busy, other] = [await aProject(), await aProject()];
  const meets = [
    ...(['ios', 'android'] as const).map((platform) => ({ platform, image: null })),
    { platform: 'ios' as const, image: 'xcode-27' },
  ];
  const worker = { id: 'mac', pools: [pool], meets };
  const statement = () => pickStatement(env, worker, sql`builds.not_before <= 1`).toSQL();
  const rowsRead = async () => {
    const { sql: text, params } = statement();
    const { meta, results } = await env.DB.prepare(text)
      .bind(...params)
      .all();
    expect(results).toHaveLength(1);
    return meta.rows_read;
  };
  await enqueue([
    aQueued({ projectId: busy, pool }),
    aQueued({ projectId: busy, pool, image: 'xcode-27' }),
    aQueued({ projectId: other, pool, queuedAt: 2 }),
  ]);
  const few = await rowsRead();
  await enqueue(
    Array.from({ length: TEN_THOUSAND }, (_, index) => {
      const image = [null, 'xcode-27', 'xcode-28'][index % 3]!;
      return aQueued({ projectId: busy, pool, queuedAt: index + 3, image });
    }),
  );
  expect(await rowsRead()).toBe(few);

  const { sql: text, params } = statement();
  const plan = await env.DB.prepare(`EXPLAIN QUERY PLAN ${text}`)
    .bind(...params)
    .all<{ detail: string }>();
  const details = plan.results.map(({ detail }) => detail);
  expect(details).toContainEqual(
    expect.stringMatching(
      /SEARCH builds USING (COVERING )?INDEX builds_queue_image \(pool=\? AND platform=\? AND project_id=\? AND trusted=\? AND image=\?\)/,
    ),
  );
  expect(details).toContainEqual(expect.stringMatching(/SEARCH part USING INDEX project_load_pool/));
  expect(details.filter((detail) => /^SCAN (?!json_each|pools|met)/.test(detail) && !/VIRTUAL/.test(detail))).toEqual(
    [],
  );
  await env.DB.prepare('DELETE FROM builds WHERE pool = ?1').bind(pool).run();
  await recountLoad(env);
});

test('a project never has more active builds than its limit, with many claims at once', async () => {
  const pool = unique('pool');
  const limit = 5;
  const claims = Number(env.CLAIMS_AT_ONCE);
  const project = await aProject(limit);
  await enqueue(
    Array.from({ length: claims }, (_, index) => aQueued({ projectId: project, pool, queuedAt: index + 1 })),
  );
  const ids = Array.from({ length: claims }, () => unique('wrk'));
  await send(ids.flatMap((id) => [...workerInsertions(id, pool)]));
  const answers = await Promise.all(
    ids.map(async (id) => {
      const asking = { worker: (await findWorker(env, id))!, keyId: 'admin' };
      return claimNext(env, asking, { instanceId: 'mac', claimId: unique('claim') }, 60_000, Date.now());
    }),
  );
  const given = answers.filter((answer) => answer.ok && answer.assignment !== null);
  const active = await env.DB.prepare(
    "SELECT count(*) AS count FROM builds WHERE project_id = ?1 AND status = 'assigned'",
  )
    .bind(project)
    .first<number>('count');
  expect(given.length).toBeLessThanOrEqual(limit);
  expect(active).toBe(given.length);
  // The next claims get the rest of the limit.
  for (let asked = 0; asked < 2 * limit; asked++) await claim(await aWorker({ pool }));
  expect(
    await env.DB.prepare("SELECT count(*) AS count FROM builds WHERE project_id = ?1 AND status = 'assigned'")
      .bind(project)
      .first<number>('count'),
  ).toBe(limit);
}, 120_000);

test('a limit is told to those who wait and to the worker, and lets other projects pass', async () => {
  const pool = unique('pool');
  const project = await aProject(1);
  const worker = await aWorker({ pool });
  await sayStatus(worker);
  const running = aQueued({ projectId: project, pool });
  await enqueue([running]);
  await begin(running.id);
  const buildId = await aBuild({ pool, project });
  const next = await aBuild({ pool, project });
  expect((await show(buildId)).waitingFor).toBe(
    `the limit of 1 active build(s) of project ${project}, with 0 build(s) of its project ahead of it`,
  );
  expect((await show(next)).waitingFor).toMatch(/, with 1 build\(s\) of its project ahead of it$/);
  expect((await claim(worker)).body).toMatchObject({
    assignment: null,
    reason: `build ${buildId} waits, because its project has as many active builds as its limit allows`,
  });
  const other = await aBuild({ pool, project: await aProject() });
  expect(await claimed(worker)).toBe(other);
});

test('who waits is told how many builds are ahead, and of other projects nothing but their number', async () => {
  const pool = unique('pool');
  const [own, foreign] = [await aProject(), await aProject(7)];
  const worker = await aWorker({ pool });
  await sayStatus(worker);
  await enqueue([
    ...[1, 2, 3].map((queuedAt) => aQueued({ projectId: own, pool, queuedAt })),
    ...[1, 2, 3, 4, 5].map((queuedAt) => aQueued({ projectId: foreign, pool, queuedAt })),
    aQueued({ projectId: foreign, pool, priority: 1 }),
  ]);
  const buildId = await aBuild({ pool, project: own });
  const { waitingFor } = await show(buildId);
  // The build with the higher priority is first. Then the projects take turns, until each has had four.
  expect(waitingFor).toBe(
    `a free worker of pool ${pool}, with 3 build(s) of its project and 4 of other projects ahead of it`,
  );
  expect(waitingFor).not.toContain(foreign);
  const order: string[] = [];
  for (let more = true; more; ) {
    const picked = await claimed(await aWorker({ pool }));
    if (!picked) break;
    order.push(picked);
    more = picked !== buildId;
  }
  expect(order.indexOf(buildId)).toBe(7);
});

test('a project that is deleted, or not found yet, is not picked, or is picked without a limit', async () => {
  const pool = unique('pool');
  const deleted = await aProject();
  await enqueue([
    aQueued({ projectId: deleted, pool }),
    aQueued({ id: unique('bld'), projectId: '', pool, queuedAt: 2 }),
  ]);
  await env.DB.prepare('UPDATE projects SET deleted_at = 1 WHERE id = ?1').bind(deleted).run();
  const worker = await aWorker({ pool, slots: 2 });
  expect(await claimed(worker)).toBeDefined();
  expect(await claimed(worker)).toBeUndefined();
});

test('a project that is deleted between the look and the insertion gets no build, and its name no row', async () => {
  const project = await findProject(env, await aProject());
  await env.DB.prepare('UPDATE projects SET deleted_at = 1 WHERE id = ?1').bind(project!.id).run();
  const request = { source: { sha256: await aBlob() }, command: 'make', platform: 'ios', idempotencyKey: 'a-name' };
  const submitter = { id: 'k', rootId: 'k', scope: 'submit', rights: RIGHTS_TO_ALL } as const;
  const refused = await submitBuild(env, BuildRequest.parse(request), project!, submitter, Date.now());
  expect(refused).toMatchObject({ ok: false, code: 'project_deleted' });
  const left = await env.DB.prepare('SELECT name FROM idempotency WHERE project = ?1').bind(project!.id).all();
  expect(left.results).toEqual([]);
});

test('a build whose inputs cannot be opened waits, is told so, and lets the next one of its project pass', async () => {
  const pool = unique('pool');
  const sealed = await aBuild({ pool, env: { NAME: 'value' } });
  const plain = await aBuild({ pool });
  const { id, instanceId } = await aWorker({ pool, slots: 2 });
  const other = { ...env, INPUTS_KEY: 'another-0123456789abcdef0123456789abcd' };
  const ask = async (bindings: Env) =>
    claimNext(
      bindings,
      { worker: (await findWorker(env, id))!, keyId: 'admin' },
      { instanceId, claimId: unique('claim'), slots: 2 },
      60_000,
      Date.now(),
    );
  expect(await ask(other)).toMatchObject({ ok: true, assignment: { buildId: plain } });
  const reason = `build ${sealed} waits, because INPUTS_KEY lacks the key that sealed its inputs; \`waitingFor\` names that key`;
  expect(await ask(other)).toMatchObject({ ok: true, assignment: null, reason });
  expect(await ask(env)).toMatchObject({ ok: true, assignment: { buildId: sealed } });
});

test('of any number of untrusted submissions at most the limit waits, no counter moves, and trusted builds start as if alone', async () => {
  const pool = unique('pool');
  const project = await aProject(1);
  const key = await untrustedKey();
  const app = { id: 'com.example.app' };
  const counters = () => api('GET', `/api/projects/${project}/numbers`);
  await api('PUT', `/api/projects/${project}/numbers/ios/${app.id}`, { value: 41 });
  const before = await counters();
  for (const more of [{ priority: 1 }, { keepVm: { onFailureMs: 60_000 } }, { submit: { store: 'app-store-connect' } }])
    expect((await submit({ pool, project, ...more }, key)).status).toBe(403);
  const sha256 = await aBlob('a source archive', { project, key });
  const statuses = new Map<string, number>();
  const submissions = Number(env.UNTRUSTED_SUBMISSIONS);
  for (let round = 0; round < submissions / 10; round++) {
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        api<{ error?: { code: string } }>(
          'POST',
          '/api/builds',
          {
            ...{ source: { sha256 }, command: 'make', platform: 'ios', pool, project },
            ...{ group: `group-${index % 3}`, cancelSuperseded: false, priority: -(index % 2) },
            app: { ...app, buildNumber: 1_000 * (index + 1) },
          },
          key,
        ),
      ),
    );
    for (const { status, body } of answers) {
      const word = body.error?.code ?? String(status);
      statuses.set(word, (statuses.get(word) ?? 0) + 1);
    }
  }
  expect(Object.fromEntries(statuses)).toEqual({ '201': 20, too_many: submissions - 20 });

  // Neither their number, nor their groups, nor the limit on active builds concern the trusted ones.
  const [strangers, worker] = [await aWorker({ pool }), await aWorker({ pool })];
  const { assignment: foreign } = (await claim(strangers)).body;
  expect((await show(foreign!.buildId)).trusted).toBe(false);
  const its = await api(
    ...(['POST', `/api/builds/${foreign!.buildId}/number`] as const),
    ...([{ app: { ...app, buildNumber: 9_000 }, increment: true }, foreign!.tokens.run] as const),
  );
  expect([its.status, await counters()]).toEqual([200, before]);
  const buildId = await aBuild({ pool, project, group: 'group-1', cancelSuperseded: true });
  expect(await claimed(worker)).toBe(buildId);
  const waiting = await env.DB.prepare("SELECT count(*) AS count FROM builds WHERE pool = ?1 AND status = 'queued'")
    .bind(pool)
    .first<number>('count');
  expect(waiting).toBe(19);
}, 120_000);

test('the untrusted builds of others do not cancel, and a request is tightened and never loosened', async () => {
  const pool = unique('pool');
  const project = await aProject();
  const trusted = await aBuild({ pool, project, group: 'main' });
  const key = await untrustedKey();
  const { body } = await submit({ pool, project, group: 'main', cancelSuperseded: true }, key);
  expect(body.trusted).toBe(false);
  expect((await show(trusted)).status).toBe('queued');
  expect((await submit({ pool, project, trusted: false }, env.ADMIN_KEY)).body.trusted).toBe(false);
  const loosened = await submit({ pool, project, trusted: true }, key);
  expect([loosened.status, loosened.body.error?.code]).toEqual([403, 'forbidden']);
});

test('the sweep counts the load anew once an hour, says so if it had to mend it, and drops what is empty', async () => {
  const pool = unique('pool');
  const project = await aProject();
  const running = aQueued({ projectId: project, pool });
  await enqueue([running, aQueued({ projectId: project, pool })]);
  await begin(running.id);
  expect(await wrongLoads(env.DB)).toEqual([]);
  await env.DB.batch([
    env.DB.prepare('UPDATE project_load SET queued = 7 WHERE project_id = ?1').bind(project),
    env.DB.prepare("INSERT INTO project_load VALUES (?1, 0, 'nowhere', 'ios', 3, 1)").bind(project),
    env.DB.prepare("INSERT INTO project_load VALUES (?1, 1, 'nowhere', 'ios', 0, 0)").bind(project),
  ]);
  const said = vi.spyOn(console, 'error').mockImplementation(() => {});
  await sweep(env, minute(46));
  expect(await wrongLoads(env.DB)).toHaveLength(3);
  await sweep(env, minute(47));
  expect(await wrongLoads(env.DB)).toEqual([]);
  expect(said.mock.calls.flat()).toContain(JSON.stringify({ event: 'load_mended', rows: 2 }));
  said.mockRestore();
  const rows = await env.DB.prepare('SELECT pool FROM project_load WHERE project_id = ?1').bind(project).all();
  expect(rows.results).toEqual([{ pool }]);
});
