import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { eq, sql } from 'drizzle-orm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Artifact, BuildDetail, KeyRevoked, Submission, SubmissionDetail, SubmissionList } from '#contract';
import { createKey } from '../../../controller/access/keys.ts';
import { RIGHTS_TO_ALL } from '../../../controller/access/rights.ts';
import * as schema from '../../../controller/schema/index.ts';
import { suitable } from '../../../controller/submissions/create.ts';
import { drainOutbox } from '../../../controller/upkeep/outbox.ts';
import { retain } from '../../../controller/upkeep/retention.ts';
import { drainSubmissionWork } from '../../../controller/upkeep/submission-work.ts';
import { sweep } from '../../../controller/upkeep/sweep.ts';
import { databaseFaults } from '../factories/faulty-database.ts';
import { bytesOf, db, HOUR_MS, insertBuild, insertHold, unique } from '../factories/rows.ts';
import { aBlob, anArtifact, api, aWorker, claim, report, until } from '../factories/scenarios.ts';
import { stepsOfTests, tinyStore } from '../factories/steps-of-tests.ts';
import { aPrivateKey } from '../factories/store-keys.ts';
import {
  appOf,
  aRelease,
  aSubmission,
  optionsOf,
  type Release,
  rowOf,
  stateOf,
  timelineOf,
  untilOver,
  uploadOf,
} from '../factories/submissions.ts';

/** Whether the store works on what it has, so that submissions do not end by themselves. */
let isSlow = true;
beforeEach(() => {
  isSlow = true;
  const store = tinyStore({
    look: (context, data) => (isSlow ? { kind: 'wait', afterMs: 60_000, data } : store.usual.look(context, data)),
  });
});
afterEach(() => {
  databaseFaults.decide = null;
  stepsOfTests.use = null;
});

type Refused = { error: { code: string; message: string } };
const submit = (release: Release, more: object = {}, key = release.key.secret) =>
  api<SubmissionDetail & Refused>(
    'POST',
    `/api/builds/${release.buildId}/submissions`,
    { store: release.storeKey.store, ...more },
    key,
  );
const show = (id: string) => api<SubmissionDetail>('GET', `/api/submissions/${id}`);

test('a stored build is submitted, shown with its timeline, listed by build and project, and cancelled', async () => {
  const release = await aRelease();
  const { status, body } = await submit(release);
  expect([status, body]).toEqual([
    201,
    {
      ...{ id: body.id, buildId: release.buildId, projectId: release.project, store: 'google-play', state: 'waiting' },
      ...{
        failure: null,
        warnings: [],
        sentBytes: 0,
        endedAt: null,
        createdAt: body.createdAt,
        updatedAt: body.updatedAt,
      },
      artifact: { name: 'app.aab', attempt: 1, sha256: release.sha256, size: 19 },
      app: { id: release.appId, version: '1.2.0', buildNumber: '7' },
      options: { store: 'google-play', track: 'internal', releaseStatus: 'completed', changesNotSentForReview: false },
      storeKey: { name: release.storeKey.name, version: 1 },
      createdBy: { keyId: release.key.id, name: 'a release' },
      timeline: [{ at: expect.any(String), state: 'waiting', says: expect.stringContaining(release.appId) }],
    },
  ]);
  const lists = [`/api/builds/${release.buildId}/submissions`, `/api/projects/${release.project}/submissions`];
  for (const path of lists) {
    const list = (await api<SubmissionList>('GET', path, undefined, release.key.secret)).body;
    expect(list.submissions.map(({ id }) => id)).toEqual([body.id]);
  }
  const detail = (await api<BuildDetail>('GET', `/api/builds/${release.buildId}`)).body;
  expect([detail.status, detail.submissions.map(({ id }) => id), detail.submit]).toEqual([
    'succeeded',
    [body.id],
    null,
  ]);
  const cancelled = await api<Submission>('POST', `/api/submissions/${body.id}/cancel`, undefined, release.key.secret);
  expect([cancelled.status, cancelled.body.state]).toEqual([200, 'cancelled']);
  expect((await timelineOf(body.id)).at(-1)).toEqual({ state: 'cancelled', says: 'The key a release cancelled it.' });
  expect((await api('POST', `/api/submissions/${body.id}/cancel`, undefined, release.key.secret)).status).toBe(200);
  isSlow = false;
  const other = (await submit(release)).body;
  expect((await untilOver(other.id)).state).toBe('done');
  const late = await api<Refused>('POST', `/api/submissions/${other.id}/cancel`, undefined, release.key.secret);
  expect([late.status, late.body.error.code]).toEqual([409, 'illegal_transition']);
});

test('a page of a project ends in a cursor, and a key sees what it may read alone', async () => {
  const release = await aRelease();
  for (let made = 0; made < 3; made++) {
    const { body } = await submit(release);
    await api('POST', `/api/submissions/${body.id}/cancel`, undefined, release.key.secret);
  }
  const path = `/api/projects/${release.project}/submissions?limit=2`;
  const first = (await api<SubmissionList>('GET', path)).body;
  const second = (await api<SubmissionList>('GET', `${path}&cursor=${first.nextCursor}`)).body;
  expect([first.submissions.length, second.submissions.length, second.nextCursor]).toEqual([2, 1, null]);
  const rights = { ...RIGHTS_TO_ALL, projects: [release.project], pools: ['another'] };
  const { secret } = await createKey(env, { name: 'x', scope: 'read', rights }, Date.now());
  expect((await api<SubmissionList>('GET', path, undefined, secret)).body.submissions).toEqual([]);
});

test('a request that names itself makes one submission, also after a rotation of its key', async () => {
  const release = await aRelease();
  const first = await submit(release, { idempotencyKey: 'release-7' });
  const again = await submit(release, { idempotencyKey: 'release-7' });
  expect([first.status, again.status, again.body.id]).toEqual([201, 200, first.body.id]);
  const rotated = (await api<{ secret: string }>('POST', `/api/keys/${release.key.id}/rotate`)).body.secret;
  expect((await submit(release, { idempotencyKey: 'release-7' }, rotated)).body.id).toBe(first.body.id);
  const other = await submit(release, { idempotencyKey: 'release-7', track: 'production' });
  expect([other.status, other.body.error.code]).toEqual([409, 'idempotency_mismatch']);
});

test('a number is submitted once, whoever asks: the other submission is named to those who may see it', async () => {
  const release = await aRelease();
  const { body } = await submit(release);
  const again = await submit(release);
  expect([again.status, again.body.error.code]).toEqual([409, 'submission_exists']);
  expect(again.body.error.message).toContain(body.id);
  // Another project submits the same app and number.
  const other = await aRelease('other bytes', { app: { id: release.appId } });
  await db
    .update(schema.storeKeys)
    .set({ apps: [release.appId] })
    .where(eq(schema.storeKeys.id, other.storeKey.id));
  const foreign = await submit(other);
  expect([foreign.status, foreign.body.error.code]).toEqual([409, 'submission_exists']);
  expect(foreign.body.error.message).not.toContain(body.id);
  const asked = await Promise.all(
    [1, 2, 3, 4].map(() => aRelease().then((one) => Promise.all([submit(one), submit(one)]))),
  );
  expect(asked.map((two) => two.map(({ status }) => status).sort())).toEqual(Array(4).fill([201, 409]));
  await api('POST', `/api/submissions/${body.id}/cancel`, undefined, release.key.secret);
  expect((await submit(release)).status).toBe(201);
});

test.for([
  [{ app: { signing: 'debug' } }, {}, 'release key'],
  [{ app: { kind: 'app' } }, {}, 'none of the artifacts'],
  [{ app: { kind: 'app' } }, { artifact: 'app.aab' }, 'is an .app'],
  [{ app: { id: null } }, {}, 'is not known'],
  [{ store: 'app-store-connect', app: { signing: 'ad-hoc' } }, {}, 'signed for the App Store'],
  [{}, { artifact: 'none.aab' }, 'artifact: the build has no none.aab; it has app.aab'],
  [{}, { storeKey: 'none' }, 'storeKey: '],
  [{ store: 'app-store-connect' }, { ascApiKeyId: 'ZZZZZ99999' }, 'ascApiKeyId: '],
] as [Parameters<typeof aRelease>[1], object, string][])(
  'what the store would not take is refused: %o, %o',
  async ([made, asked, words]) => {
    const refused = await submit(await aRelease('bytes', made), asked);
    expect([refused.status, refused.body.error.code]).toEqual([422, 'store_refused']);
    expect(refused.body.error.message).toContain(words);
  },
);

test('of several artifacts the one is taken that is signed for the store, and of those alone a name is asked', () => {
  const ipa = (name: string, signing: string) =>
    ({ name, attempt: 1, app: { ...appOf({ id: 'com.example' }), kind: 'ipa', signing } }) as unknown as Artifact;
  const all = [ipa('a.ipa', 'ad-hoc'), ipa('b.ipa', 'app-store')];
  const options = { store: 'app-store-connect' } as const;
  expect(suitable(all, 1, options)).toMatchObject({ ok: true, artifact: { name: 'b.ipa' } });
  expect(suitable([...all, ipa('c.ipa', 'app-store')], 1, options)).toMatchObject({
    message: 'artifact: b.ipa, c.ipa are several of one kind; name the one to submit',
  });
  expect(suitable(all, 2, { ...options, artifact: 'a.ipa' })).toMatchObject({ reason: 'artifact_gone' });
});

test('only builds that have succeeded, are trusted and are of the platform of the store are submitted', async () => {
  const running = await aRelease('a', { build: { status: 'building', endedAt: null } });
  expect((await submit(running)).body.error.code).toBe('illegal_transition');
  const untrusted = await aRelease('b', { build: { trusted: false } });
  expect((await submit(untrusted)).body.error.code).toBe('forbidden');
  const ios = await aRelease('c', { store: 'app-store-connect' });
  const wrong = await api<Refused>(
    'POST',
    `/api/builds/${ios.buildId}/submissions`,
    { store: 'google-play' },
    ios.key.secret,
  );
  expect([wrong.status, wrong.body.error.message]).toEqual([400, expect.stringContaining('app-store-connect')]);
});

// ── Asked for with the build ───────────────────────────────────────────────────────────────────────────────

/** A build that asks for a submission, succeeds with this app, and whose outbox has been worked off. */
async function aBuildThatSubmits(release: Release, app: object = {}) {
  const { project, pool, key, appId } = release;
  const worker = await aWorker({ pool, platforms: ['android'] });
  const source = await aBlob(unique('source'), { key: key.secret, project });
  const options = { store: 'google-play', track: 'beta' };
  const request = { source: { sha256: source }, command: 'make', platform: 'android', pool, project, submit: options };
  const made = await api<BuildDetail>('POST', '/api/builds', request, key.secret);
  expect([made.status, made.body.submit]).toEqual([
    201,
    // No store answers the tests, which is a warning.
    { options: optionsOf('google-play', { track: 'beta' }), warnings: expect.any(Array), failure: null },
  ]);
  const { assignment } = (await claim(worker)).body;
  await report(assignment!, { type: 'start' });
  const artifact = await anArtifact(assignment!, 'app.aab', unique('app'));
  const said = { ...appOf({ id: appId, buildNumber: '9', icon: null, ...app }) };
  const ended = await report(assignment!, { type: 'succeed', artifacts: [{ ...artifact, app: said as never }] });
  expect(ended.status).toBe(200);
  const works = db.select().from(schema.submissionWork).where(eq(schema.submissionWork.target, made.body.id));
  await until('its work is done', async () => {
    await drainSubmissionWork(env, Date.now() + HOUR_MS, made.body.id);
    return (await works).length === 0;
  });
  return made.body.id;
}

test('a build with `submit` is submitted by itself once it has succeeded, once', async () => {
  isSlow = false;
  const release = await aRelease('bytes', { privateKey: (await aPrivateKey('RS256')).pem });
  const buildId = await aBuildThatSubmits(release);
  const list = async () => (await api<SubmissionList>('GET', `/api/builds/${buildId}/submissions`)).body.submissions;
  const [one] = await list();
  expect(one).toMatchObject({ app: { id: release.appId, buildNumber: '9' }, options: { track: 'beta' } });
  expect((await untilOver(one!.id)).state).toBe('done');
  expect(await uploadOf(one!.id).submitBuild(buildId)).toBe(true);
  expect((await list()).length).toBe(1);
  expect((await api<BuildDetail>('GET', `/api/builds/${buildId}`)).body.submit?.failure).toBeNull();
});

test('a build whose success the former release has written is submitted all the same, by the sweep', async () => {
  isSlow = false;
  const release = await aRelease();
  const { buildId } = release;
  await db.insert(schema.buildSubmits).values({ buildId, options: optionsOf('google-play'), warnings: [] });
  const submissions = () => db.select().from(schema.submissions).where(eq(schema.submissions.buildId, buildId));
  const [minuteOfRecount, next] = [47, 48];
  await sweep(env, Date.now(), next);
  expect(await submissions()).toEqual([]);
  await sweep(env, Date.now(), minuteOfRecount);
  await sweep(env, Date.now(), next);
  await sweep(env, Date.now(), minuteOfRecount);
  const works = db.select().from(schema.submissionWork).where(eq(schema.submissionWork.target, buildId));
  expect([(await submissions()).map(({ requestName }) => requestName), await works]).toEqual([[''], []]);
});

test('what stands against it after the success is said by the build, which has succeeded all the same', async () => {
  const release = await aRelease('bytes', { privateKey: (await aPrivateKey('RS256')).pem });
  const buildId = await aBuildThatSubmits(release, { signing: 'debug' });
  const { body } = await api<BuildDetail>('GET', `/api/builds/${buildId}`);
  expect([body.status, body.submissions, body.submit?.failure]).toEqual([
    'succeeded',
    [],
    {
      ...{ code: 'artifact_unsuitable', title: expect.any(String), explanation: expect.any(String) },
      ...{ advice: expect.any(String), message: expect.stringContaining('is signed for debug'), storeWords: null },
    },
  ]);
});

test('a build asks for a submission only with a key that may, for a trusted build, of the platform of the store', async () => {
  const release = await aRelease('bytes', { privateKey: (await aPrivateKey('RS256')).pem });
  const { project, pool } = release;
  const rights = { ...RIGHTS_TO_ALL, projects: [project], pools: [pool] };
  const without = (await createKey(env, { name: 'x', scope: 'submit', rights }, Date.now())).secret;
  const source = { sha256: await aBlob(unique('source'), { key: release.key.secret, project }) };
  const request = { source, command: 'make', platform: 'android', pool, project, submit: { store: 'google-play' } };
  const ask = async (key: string, more: object = {}) =>
    (await api<Refused>('POST', '/api/builds', { ...request, ...more }, key)).body.error?.code ?? 'made';
  expect(await ask(without)).toBe('forbidden');
  expect(await ask(release.key.secret, { trusted: false })).toBe('forbidden');
  expect(await ask(release.key.secret, { platform: 'ios' })).toBe('invalid_request');
  expect(await ask(release.key.secret, { submit: { store: 'google-play', trak: 'beta' } })).toBe('invalid_request');
  expect(await ask(release.key.secret)).toBe('made');
  expect(await ask(env.ADMIN_KEY, { project: 'default', pool: 'default', source: { sha256: await aBlob() } })).toBe(
    'forbidden',
  );
  // A key that sees the build is told why. Other keys do not learn that there is one.
  const path = `/api/builds/${await insertBuild({ status: 'succeeded', endedAt: Date.now() })}/submissions`;
  const submission = { store: 'google-play' };
  const seen = await api<Refused>('POST', path, submission, env.ADMIN_KEY);
  expect([seen.status, seen.body.error]).toEqual([
    403,
    { code: 'forbidden', message: expect.stringContaining('is of the project default, where no key has the right') },
  ]);
  expect((await api('POST', path, submission, release.key.secret)).status).toBe(404);
});

test('a retry asks for the submission too, and says so if whoever retries may not', async () => {
  const release = await aRelease('bytes', { privateKey: (await aPrivateKey('RS256')).pem });
  const { project, pool, key } = release;
  const id = await insertBuild({
    platform: 'android',
    projectId: project,
    pool,
    status: 'failed',
    endedAt: Date.now(),
  });
  const [original] = await db.select().from(schema.builds).where(eq(schema.builds.id, id));
  await insertHold(project, original!.sourceSha256);
  await db
    .insert(schema.buildSubmits)
    .values({ buildId: id, options: optionsOf('google-play'), warnings: ['a warning'] });
  const rights = { ...RIGHTS_TO_ALL, projects: [project] };
  const without = (await createKey(env, { name: 'x', scope: 'submit', rights }, Date.now())).secret;
  const retry = async (by: string, of = id) =>
    (await api<BuildDetail>('POST', `/api/builds/${of}/retry`, undefined, by)).body;
  const options = optionsOf('google-play');
  const notSubmitted = await retry(without);
  expect(notSubmitted.submit).toMatchObject({
    ...{ options, warnings: [] },
    failure: { code: 'right_gone', message: expect.stringMatching(/does not have the right `stores`/) },
  });
  await db.update(schema.builds).set({ status: 'succeeded', endedAt: 1 }).where(eq(schema.builds.id, notSubmitted.id));
  expect(await uploadOf(unique('sub')).submitBuild(notSubmitted.id)).toBe(true);
  const { body } = await api<BuildDetail>('GET', `/api/builds/${notSubmitted.id}`);
  expect([body.submit, body.submissions]).toEqual([notSubmitted.submit, []]);
  // The store is asked anew, and does not answer here. A retry of a retry has what the first build asked for.
  for (const of of [id, notSubmitted.id])
    expect((await retry(key.secret, of)).submit).toMatchObject({
      ...{
        options,
        warnings: expect.arrayContaining([expect.stringMatching(/^Not everything was checked/)]),
        failure: null,
      },
    });
});

// ── Revocation, deletion, retention, sweep ─────────────────────────────────────────────────────────────────

test('the revocation of a key cancels its submissions and lists them, unless they are kept', async () => {
  const release = await aRelease();
  const { body } = await submit(release);
  const revoked = (await api<KeyRevoked>('DELETE', `/api/keys/${release.key.id}`)).body;
  expect(revoked.ended).toEqual({ builds: [], submissions: [body.id], links: [], more: 0 });
  await until('it is cancelled', async () => (await rowOf(body.id)).state === 'cancelled');
  expect((await timelineOf(body.id)).at(-1)!.says).toContain('was revoked');
  const other = await aRelease();
  const kept = (await submit(other)).body;
  const answer = (await api<KeyRevoked>('DELETE', `/api/keys/${other.key.id}?keep=1`)).body;
  expect([answer.ended.submissions, (await rowOf(kept.id)).state]).toEqual([[], 'waiting']);
});

test('a project is not deleted while a submission has not ended; those that have go with their builds', async () => {
  const release = await aRelease();
  const { body } = await submit(release);
  const refused = await api<Refused>('DELETE', `/api/projects/${release.project}`);
  expect([refused.status, refused.body.error.code]).toEqual([409, 'project_in_use']);
  expect(refused.body.error.message).toContain('1 submissions of project');
  expect((await rowOf(body.id)).state).toBe('waiting');
  await api('POST', `/api/submissions/${body.id}/cancel`);
  expect((await api('DELETE', `/api/projects/${release.project}`)).status).toBe(204);
  await retain(env, Date.now());
  expect(await rowOf(body.id)).toBeUndefined();
  await drainSubmissionWork(env, Date.now() + HOUR_MS);
  expect(await stateOf(body.id)).toBeUndefined();
});

test('retention keeps artifact, file and build while a submission needs them, and removes it with its build', async () => {
  const release = await aRelease(unique('app'));
  const id = await aSubmission(release);
  const late = Date.now() + 400 * 24 * HOUR_MS;
  const retention = async () => {
    await retain(env, late);
    await drainOutbox(env, late, { limit: 500 });
    await drainSubmissionWork(env, late);
  };
  const artifacts = () => db.select().from(schema.artifacts).where(eq(schema.artifacts.buildId, release.buildId));
  const file = () => db.select().from(schema.blobs).where(eq(schema.blobs.sha256, release.sha256));
  await retention();
  expect([(await artifacts()).length, (await file()).length]).toEqual([1, 1]);
  isSlow = false;
  await uploadOf(id).begin();
  await until('it has ended', async () => (await rowOf(id)).endedAt !== null);
  expect(await rowOf(id)).toMatchObject({ state: 'done', blob: null });
  await retention();
  expect([await artifacts(), await db.select().from(schema.submissions).where(eq(schema.submissions.id, id))]).toEqual([
    [],
    [],
  ]);
  await retention();
  expect(await file()).toEqual([]);
  expect(await stateOf(id)).toBeUndefined();
});

test('what the former release removes does not stop there, and its leftovers go', async () => {
  const release = await aRelease(unique('app'));
  const id = await aSubmission(release);
  const gone = [schema.events, schema.artifacts, schema.attempts].map((table) =>
    db.delete(table).where(eq(table.buildId, release.buildId)),
  );
  // Deletes rows as the retention of the former release does, which knows no submissions.
  for (const statement of gone) await statement;
  await db.delete(schema.builds).where(eq(schema.builds.id, release.buildId));
  await db.delete(schema.blobs).where(eq(schema.blobs.sha256, release.sha256));
  expect((await rowOf(id)).blob).toBeNull();
  await uploadOf(id).begin();
  await untilOver(id);
  expect(await rowOf(id)).toMatchObject({ state: 'failed', reason: 'artifact_gone' });
  await retain(env, Date.now());
  expect(await rowOf(id)).toBeUndefined();
  await drainSubmissionWork(env, Date.now() + HOUR_MS);
  expect(await stateOf(id)).toBeUndefined();
});

test('work of a kind that this release does not know stays, and the others get done', async () => {
  await db.run(
    sql`INSERT INTO outbox (kind, build_id, attempt, due_at) VALUES ('of_a_later_release', 'b_later', 0, 1)`,
  );
  await db.run(sql`INSERT INTO submission_work (kind, target, due_at) VALUES ('of_a_later_release', 'b_later', 1)`);
  const other = { kind: 'delete_object', buildId: 'b_later', attempt: 0, r2Key: 'blobs/none', dueAt: 2 } as const;
  await db.insert(schema.outbox).values(other);
  await drainOutbox(env, Date.now(), { buildId: 'b_later' });
  await drainSubmissionWork(env, Date.now(), 'b_later');
  const left = await db.select().from(schema.outbox).where(eq(schema.outbox.buildId, 'b_later'));
  const works = await db.select().from(schema.submissionWork).where(eq(schema.submissionWork.target, 'b_later'));
  expect([...left, ...works]).toEqual(Array(2).fill(expect.objectContaining({ kind: 'of_a_later_release', tries: 1 })));
});

test('the sweep begins a submission whose object was never told of it', async () => {
  isSlow = false;
  const id = await aSubmission(await aRelease());
  await sweep(env, Date.now(), 0);
  await until('it has ended', async () => (await rowOf(id)).endedAt !== null);
  expect((await rowOf(id)).state).toBe('done');
});

test('a submission that its object does not end long after its time is ended by the sweep', async () => {
  const id = await aSubmission(await aRelease());
  await uploadOf(id).begin();
  await until('it rests', async () => ((await stateOf(id))?.tries ?? 0) > 0);
  const endsBy = Date.now() - 2 * HOUR_MS;
  await db.update(schema.submissions).set({ endsBy }).where(eq(schema.submissions.id, id));
  await sweep(env, Date.now(), 0);
  expect(await rowOf(id)).toMatchObject({ state: 'failed', reason: 'internal', blob: null });
  expect((await untilOver(id)).state).toBe('failed');
});

test('a submission whose object cannot be reached is made all the same, and begun by the sweep', async () => {
  const release = await aRelease();
  databaseFaults.decide = (statements) =>
    statements.some((statement) => statement.includes('left join "blobs"')) ? 'refused' : undefined;
  const { status, body } = await submit(release);
  databaseFaults.decide = null;
  expect([status, await stateOf(body.id)]).toEqual([201, undefined]);
  await uploadOf(body.id).check();
  expect(await stateOf(body.id)).toMatchObject({ step: 'look' });
});

test('no table, no object and no answer has a byte of the store key or of the session', async () => {
  isSlow = false;
  const release = await aRelease(unique('app'));
  const { body } = await submit(release);
  await untilOver(body.id);
  const texts = [JSON.stringify((await show(body.id)).body), JSON.stringify(await rowOf(body.id))];
  texts.push(await runInDurableObject(uploadOf(body.id), (_, { storage }) => JSON.stringify([...storage.kv.list()])));
  for (const text of texts) expect(text).not.toMatch(/private part|session-0123456789/);
  expect(bytesOf(texts.join('')).length).toBeGreaterThan(1_000);
});
