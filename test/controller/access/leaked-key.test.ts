/**
 * Revokes a key that leaked, with all that it has under way: a build that runs, one that waits, a submission
 * that uploads, one that has not begun, and a link to an install page. Add anything else that a key can leave
 * behind to {@link aLeakedKey} and to the answers that are expected here.
 */
import { eq, sql } from 'drizzle-orm';
import { afterEach, expect, test } from 'vitest';
import { type BuildDetail, KeyRevoked, type SubmissionDetail } from '#contract';
import * as schema from '../../../controller/schema/index.ts';
import { aLink, pathsOf } from '../factories/previews.ts';
import { bytesOf, call, db } from '../factories/rows.ts';
import { aBlob, api, aWorker, claim, report, show, until, untilEnded } from '../factories/scenarios.ts';
import { stepsOfTests, tinyStore } from '../factories/steps-of-tests.ts';
import { aPrivateKey } from '../factories/store-keys.ts';
import { appOf, aRelease, fire, rowOf, stateOf, timelineOf, untilOver } from '../factories/submissions.ts';

afterEach(() => {
  stepsOfTests.use = null;
});

const APP = 'the bytes of an app';
const LATER = 'later.aab';
const PREVIEW = 'preview.apk';

/** A store that takes the first bytes of one app, and lets the other app wait. */
function slowStore() {
  const slow = { is: true };
  const store = tinyStore({
    look: (context, data) => {
      const waits = slow.is && context.artifact.name === LATER;
      return waits ? { kind: 'wait', afterMs: 60_000, data } : store.usual.look(context, data);
    },
    send: (context, data) => {
      const rests = slow.is && data.plain.offset !== 0;
      return rests ? { kind: 'wait', afterMs: 60_000, data } : store.usual.send(context, data);
    },
  });
  return { ...store, slow };
}

async function aLeakedKey() {
  const store = slowStore();
  const release = await aRelease(APP, { privateKey: (await aPrivateKey('RS256')).pem });
  const { project, pool, key, appId, buildId, sha256 } = release;
  await db.insert(schema.artifacts).values({
    ...{ buildId, attempt: 1, name: LATER, sha256, size: bytesOf(APP).length, createdAt: 1 },
    app: appOf({ id: appId, buildNumber: '8' }),
  });
  await db.insert(schema.artifacts).values({
    ...{ buildId, attempt: 1, name: PREVIEW, sha256, size: bytesOf(APP).length, createdAt: 1 },
    app: appOf({ id: appId, kind: 'apk' }),
  });
  await db
    .update(schema.keys)
    .set({ rights: sql`json_set(rights, '$.may', json('["stores","links"]'))` })
    .where(eq(schema.keys.id, key.id));
  const link = await aLink({ buildId, key });
  const open = async () =>
    (await Promise.all(pathsOf(link.token, { fileName: PREVIEW }).map((path) => call(path, null)))).map(
      ({ status }) => status,
    );
  // An .apk has no manifest, and this one no icon.
  expect(await open()).toEqual([200, 404, 404, 200]);
  const request = {
    ...{ source: { sha256: await aBlob('a source', { project, key: key.secret }) }, command: 'make', pool, project },
    ...{ platform: 'android', secretEnv: { TOKEN: 'of the key' }, submit: { store: 'google-play' } },
  };
  const build = async () => (await api<BuildDetail>('POST', '/api/builds', request, key.secret)).body.id;
  const worker = await aWorker({ pool, platforms: ['android'] });
  const running = await build();
  const { assignment } = (await claim(worker)).body;
  const queued = await build();
  const submit = async (artifact: string) => {
    const path = `/api/builds/${buildId}/submissions`;
    const { body } = await api<SubmissionDetail>('POST', path, { store: 'google-play', artifact }, key.secret);
    await until('it rests', async () => ((await stateOf(body.id))?.tries ?? 0) > 0);
    return body.id;
  };
  const [uploading, waiting] = [await submit('app.aab'), await submit(LATER)];
  expect([(await rowOf(uploading)).state, (await rowOf(waiting)).state]).toEqual(['uploading', 'waiting']);
  const fetchInputs = () => api('GET', `/api/builds/${running}/inputs`, undefined, assignment!.tokens.run);
  expect([assignment!.buildId, (await fetchInputs()).status]).toEqual([running, 200]);
  const revoke = async (query = '') => KeyRevoked.parse((await api('DELETE', `/api/keys/${key.id}${query}`)).body);
  const its = { link, open, fetchInputs, revoke };
  return { store, key, worker, assignment: assignment!, running, queued, uploading, waiting, ...its };
}

test('all that a revoked key has under way is ended and listed, and nothing is fetched or sent for it any more', async () => {
  const { store, key, worker, assignment, running, queued, uploading, waiting, ...its } = await aLeakedKey();
  const before = store.seen.length;
  const { ended } = await its.revoke();
  const lists = { builds: expect.any(Array), submissions: expect.any(Array) };
  expect(ended).toEqual({ ...lists, links: [its.link.id], more: 0 });
  expect(await its.open()).toEqual([404, 404, 404, 404]);
  expect([ended.builds.toSorted(), ended.submissions.toSorted()]).toEqual([
    [running, queued].toSorted(),
    [uploading, waiting].toSorted(),
  ]);
  for (const id of [running, queued]) expect((await untilEnded(id)).status).toBe('cancelled');
  for (const id of [uploading, waiting]) {
    await until('it is cancelled', async () => (await rowOf(id)).state === 'cancelled');
    await untilOver(id);
    expect((await timelineOf(id)).at(-1)!.says).toContain('was revoked');
  }

  store.slow.is = false;
  for (const id of [uploading, waiting]) await fire(id);
  expect([store.seen.length, store.sent]).toEqual([before, ['the ']]);
  const late = await report(assignment, { type: 'succeed', artifacts: [] });
  expect([(await its.fetchInputs()).status, late.status]).toEqual([410, 410]);
  expect((await claim(worker)).body.assignment).toBeNull();
  const works = await db.select().from(schema.submissionWork).where(eq(schema.submissionWork.target, running));
  expect([works, (await show(running)).submissions]).toEqual([[], []]);
  expect((await api('GET', `/api/builds/${running}`, undefined, key.secret)).status).toBe(401);
});

test('with keep=1 it goes on, but what the store has no byte of needs a key with the right', async () => {
  const { store, worker, assignment, running, queued, uploading, waiting, ...its } = await aLeakedKey();
  expect((await its.revoke('?keep=1')).ended).toEqual({ builds: [], submissions: [], links: [], more: 0 });
  expect(await its.open()).toEqual([200, 404, 404, 200]);
  store.slow.is = false;
  expect(await untilOver(uploading)).toMatchObject({ state: 'done', sentBytes: bytesOf(APP).length });
  expect(await untilOver(waiting)).toMatchObject({ state: 'failed', reason: 'right_gone' });
  expect((await its.fetchInputs()).body).toMatchObject({ env: { TOKEN: 'of the key' } });
  await report(assignment, { type: 'start' });
  expect((await report(assignment, { type: 'succeed', artifacts: [] })).status).toBe(200);
  const said = await until('it says what came of its submission', async () => (await show(running)).submit?.failure);
  expect(said.code).toBe('artifact_gone');
  expect((await claim(worker)).body.assignment?.buildId).toBe(queued);
});
