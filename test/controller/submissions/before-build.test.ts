/** Tests the questions to the stand-ins of the stores, when a key is set and before a build. */
import { env } from 'cloudflare:workers';
import { desc, eq, like } from 'drizzle-orm';
import { expect, test } from 'vitest';
import type { App, BuildDetail, BuildNumberAnswer, CounterList, SubmitOptions } from '#contract';
import { audit, buildNumbers, keys, storeKeys, submissions } from '../../../controller/schema/index.ts';
import type { StoreAddresses } from '../../../controller/stores/step.ts';
import { beforeBuild, numberFor } from '../../../controller/submissions/before-build.ts';
import type { AppleAppOptions } from '../../set-up/stores/app-store/control.ts';
import type { PlayAppOptions } from '../../set-up/stores/play/control.ts';
import { db, insertProject, tokenFor, unique } from '../factories/rows.ts';
import { aBlob } from '../factories/scenarios.ts';
import { NO_STORES } from '../factories/store-keys.ts';
import { aRelease, aSubmission } from '../factories/submissions.ts';
import { aKey, aPool, ask as askTeam, askWith, begin } from '../factories/teams.ts';
import { addresses as apple, control as appleControl } from '../stores/app-store-driver.ts';
import { addresses as google, control as playControl } from '../stores/play-driver.ts';

const STORES: StoreAddresses = { ...google, appStoreConnect: apple.appStoreConnect };

interface Team {
  projectId: string;
  pool: string;
  app: string;
  /** A key of the team with the right `stores`. */
  key: { key: string; keyId: string };
}
type Answered = { error?: { code: string; message: string }; warnings?: string[] };

const ask = <T = Answered>(method: string, path: string, key: string, body?: unknown, stores = STORES) =>
  askWith<T>(env.INPUTS_KEY, method, path, key, body, stores);

async function aTeam(): Promise<Team> {
  const [projectId, pool] = [await insertProject(unique('team')), await aPool()];
  const app = `com.example.${unique('app').replaceAll(/\W/g, '')}`;
  return { projectId, pool, app, key: await aKey(projectId, ['stores', 'admin'], { pools: [pool] }) };
}

const putKey = (team: Team, body: object, stores = STORES) =>
  ask('PUT', `/api/projects/${team.projectId}/store-keys/${unique('key')}`, team.key.key, body, stores);

/** An app in App Store Connect, and its key in the project. */
async function ofApple(options: Partial<AppleAppOptions> = {}, team?: Team) {
  const own = team ?? (await aTeam());
  const account = await appleControl.account();
  const ascAppId = await appleControl.app(account.keyId, { bundleId: own.app, ...options });
  const { keyId, issuerId, privateKey } = account;
  const body = { store: 'app-store-connect', keyId, issuerId: issuerId ?? undefined, privateKey, apps: [own.app] };
  expect(await putKey(own, body)).toMatchObject({ status: 201, body: { warnings: [] } });
  return { ...own, keyId, ascAppId };
}

async function ofPlay(options: PlayAppOptions = {}) {
  const team = await aTeam();
  await playControl.app(team.app, options);
  const email = `${unique('robot').replaceAll('_', '-')}@shop.iam.gserviceaccount.com`;
  const serviceAccount = await playControl.account(email, { apps: [team.app] });
  expect(await putKey(team, { store: 'google-play', serviceAccount, apps: [team.app] })).toMatchObject({
    status: 201,
    body: { warnings: [] },
  });
  return { ...team, email };
}

const APPLE: SubmitOptions = { store: 'app-store-connect', locale: 'en-US' };
const PLAY: SubmitOptions = {
  ...{ store: 'google-play', track: 'internal', releaseStatus: 'completed', changesNotSentForReview: false },
};

const checked = async (team: Team, app: Partial<App> | null, options: SubmitOptions, stores = STORES) => {
  const answer = await beforeBuild(
    env,
    {
      ...{ projectId: team.projectId, pool: team.pool, options },
      platform: options.store === 'google-play' ? 'android' : 'ios',
      app: app === null ? undefined : { id: team.app, ...app },
    },
    { id: team.key.keyId, name: 'of the team' },
    stores,
    Date.now(),
  );
  return answer.ok ? answer.warnings : [answer.code, answer.message];
};
const counters = async (team: Team) =>
  (await askTeam<CounterList>('GET', `/api/projects/${team.projectId}/numbers`, env.ADMIN_KEY)).body.counters;
const setCounter = (team: Team, platform: string, value: number) =>
  askTeam('PUT', `/api/projects/${team.projectId}/numbers/${platform}/${team.app}`, env.ADMIN_KEY, { value });

test('a key that the store does not take is not kept', async () => {
  const team = await aTeam();
  const account = await appleControl.account();
  await appleControl.revoke(account.keyId);
  const { keyId, issuerId, privateKey } = account;
  const body = { store: 'app-store-connect', keyId, issuerId: issuerId ?? undefined, privateKey, apps: [team.app] };
  expect(await putKey(team, body)).toMatchObject({
    status: 422,
    body: {
      error: {
        code: 'store_refused',
        message: expect.stringMatching(/^The store does not accept the key\. It said: .*Authentication credentials/),
      },
    },
  });
  const unknown = JSON.parse(
    await playControl.account(`${unique('a').replace('_', '-')}@x.iam.gserviceaccount.com`, { apps: [] }),
  );
  const serviceAccount = JSON.stringify({ ...unknown, client_email: 'nobody@x.iam.gserviceaccount.com' });
  expect(await putKey(team, { store: 'google-play', serviceAccount, apps: [team.app] })).toMatchObject({
    status: 422,
    body: { error: { code: 'store_refused' } },
  });
  expect(await putKey(team, body, NO_STORES)).toMatchObject({ status: 201, body: { warnings: [expect.any(String)] } });
});

test('App Store Connect: what could be submitted passes, and each thing that could not is said before the build', async () => {
  const team = await ofApple({
    builds: [{ version: '1.2.0', buildNumber: '41' }],
    versions: [{ version: '1.1.0', state: 'READY_FOR_DISTRIBUTION' }],
  });
  await setCounter(team, 'ios', 41);
  expect(await checked(team, { version: '1.2.0' }, APPLE)).toEqual([]);
  expect(
    await checked(team, { version: '1.2.0' }, { ...APPLE, ascApiKeyId: team.keyId, ascAppId: team.ascAppId }),
  ).toEqual([]);
  const refusals: [app: Partial<App>, options: Partial<SubmitOptions>, says: RegExp][] = [
    [{ version: '1.1.0', buildNumber: 50 }, {}, /version 1\.1\.0|Version 1\.1\.0/],
    [{}, { ascAppId: '999' } as never, /^The store does not know the app/],
    [{}, { ascApiKeyId: 'ZZ00ZZ00ZZ' } as never, /^submit\.ascApiKeyId: ZZ00ZZ00ZZ is asked for, and the store key/],
    [{ id: 'com.example.foreign', buildNumber: 3 }, {}, /and not for com\.example\.foreign\. An admin can set it anew/],
    [{}, { storeKey: 'none' }, /^submit\.storeKey: the project has no store key none/],
  ];
  for (const [app, options, says] of refusals)
    expect(await checked(team, app, { ...APPLE, ...options } as SubmitOptions)).toEqual([
      ...['store_refused', expect.stringMatching(says)],
    ]);
  // The project's own number is above the counter, so it is the build's.
  await appleControl.addBuild(team.ascAppId, { version: '1.2.0', buildNumber: '60' });
  expect(await checked(team, { version: '1.2.0', buildNumber: 60 }, APPLE)).toEqual([
    ...['store_refused', expect.stringMatching(/App Store Connect has build 60 of version 1\.2\.0/)],
  ]);
  // Nobody knows whether the build counts. The next number of the counter is used.
  await setCounter(team, 'ios', 59);
  expect(await checked(team, { version: '1.2.0' }, APPLE)).toEqual([
    expect.stringMatching(/^App Store Connect has build 60.*If the build gets number 60, it cannot be submitted/),
  ]);
  await appleControl.fault(team.keyId, { on: 'apps', act: { kind: 'refuse', refusal: 'agreement' }, times: 2 });
  expect(String(await checked(team, { version: '1.2.0' }, APPLE))).toMatch(
    /^store_refused,An agreement of the developer account is not signed\. It said: A required agreement is missing/,
  );
});

test('Google Play: a used version code and an unknown package are said, and drafts are a warning', async () => {
  const sha256 = 'a'.repeat(64);
  const team = await ofPlay({
    library: [{ versionCode: 41, kind: 'bundles', sha256 }],
    tracks: { internal: [{ versionCodes: ['41'], status: 'completed' }] },
  });
  await setCounter(team, 'android', 41);
  expect(await checked(team, {}, PLAY)).toEqual([]);
  await setCounter(team, 'android', 40);
  expect((await checked(team, {}, PLAY))[0]).toMatch(/If the build gets number 41, it cannot be submitted/);
  expect(await checked(team, { buildNumber: 41 }, PLAY)).toEqual([
    ...['store_refused', expect.stringMatching(/version code 41/)],
  ]);
  expect(await checked(team, { buildNumber: 42 }, APPLE)).toEqual([
    ...['store_refused', expect.stringMatching(/has none for app-store-connect/)],
  ]);
  const unknown = await aTeam();
  const email = `${unique('robot').replaceAll('_', '-')}@shop.iam.gserviceaccount.com`;
  const serviceAccount = await playControl.account(email, { apps: [unknown.app] });
  await putKey(unknown, { store: 'google-play', serviceAccount, apps: [unknown.app] });
  expect(await checked(unknown, { buildNumber: 2 }, PLAY)).toEqual([
    ...['store_refused', expect.stringMatching(/^The store does not know the app/)],
  ]);
  const drafts = await ofPlay({ draft: true, tracks: { internal: [{ versionCodes: ['1'], status: 'draft' }] } });
  expect(await checked(drafts, { buildNumber: 2 }, PLAY)).toEqual([expect.stringMatching(/draft/)]);
});

test('Google Play is looked into once for a request, and not while a submission of the app is under way', async () => {
  const team = await ofPlay({ library: [{ versionCode: 41, kind: 'bundles', sha256: 'a'.repeat(64) }] });
  const edits = async () => (await playControl.state(team.app)).asked.insert;
  const draft = expect.stringMatching(/no release in Google Play but drafts/);
  expect(await checked(team, {}, PLAY)).toEqual([draft]);
  expect([await edits(), (await counters(team))[0]?.value]).toEqual([1, 41]);

  const release = await aRelease('an app', { app: { id: team.app } });
  await db
    .update(storeKeys)
    .set({ apps: [team.app] })
    .where(eq(storeKeys.id, release.storeKey.id));
  const id = await aSubmission(release);
  const says = (which: string) => `Google Play was not asked, because ${which} is on its way with this app.`;
  expect(await checked(team, {}, PLAY)).toEqual([says('a submission of another project')]);
  const change = (set: object) => db.update(submissions).set(set).where(eq(submissions.id, id));
  await change({ projectId: team.projectId, state: 'uploading' });
  expect(await checked(team, {}, PLAY)).toEqual([says(`submission ${id}`)]);
  await db.delete(buildNumbers).where(eq(buildNumbers.projectId, team.projectId));
  expect(await checked(team, {}, PLAY)).toEqual([
    'number_not_seeded',
    expect.stringContaining(says(`submission ${id}`)),
  ]);
  expect(await edits()).toBe(1);
  await change({ state: 'done', projectId: release.project });
  expect(await checked(team, {}, PLAY)).toEqual([draft]);
  expect(await edits()).toBe(2);
});

test('a number that is on its way to the store is taken too', async () => {
  const team = await ofApple();
  const row: typeof submissions.$inferInsert = {
    ...{ id: unique('sub'), projectId: team.projectId, buildId: 'b', store: 'app-store-connect', state: 'waiting' },
    ...{ transitionId: 't', attempt: 1, artifact: 'a.ipa', sha256: 'x', size: 1, appId: team.app, version: '1.2.0' },
    ...{ buildNumber: '7', train: '1.2.0', options: APPLE, storeKeyId: 'k', storeKeyVersion: 1 },
    ...{ createdByKey: 'k', createdByRoot: 'k', createdAt: 1, updatedAt: 1, endsBy: 2 },
  };
  await db.insert(submissions).values(row);
  const seventh = () => checked(team, { version: '1.2.0', buildNumber: 7 }, APPLE);
  expect(await seventh()).toEqual([
    'store_refused',
    `app.buildNumber: ${team.app} has a submission of build 7 here already. Raise the number`,
  ]);
  expect(await checked(team, { version: '1.3.0', buildNumber: 7 }, APPLE)).toEqual([]);
  await setCounter(team, 'ios', 6);
  expect(await checked(team, { version: '1.2.0' }, APPLE)).toEqual([
    expect.stringMatching(/has a submission of build 7 here already\. If the build gets number 7, it cannot/),
  ]);
  await db.update(submissions).set({ state: 'failed' }).where(eq(submissions.id, row.id));
  expect(await checked(team, { version: '1.2.0' }, APPLE)).toEqual([]);
});

test('what a store does not answer is a warning, and so is a request that names no app', async () => {
  const team = await ofApple();
  expect(await checked(team, { buildNumber: 2 }, APPLE, NO_STORES)).toEqual([
    expect.stringMatching(/not .*checked|reached/),
  ]);
  const noApp = /^The request names no app, so only the store key was checked/;
  expect(await checked(team, null, APPLE)).toEqual([expect.stringMatching(noApp)]);
  await ofApple({}, team);
  expect(await checked(team, null, APPLE)).toEqual([
    expect.stringMatching(noApp),
    expect.stringMatching(/^submit\.storeKey: .* are all for pool .*; name one of them\. /),
  ]);
  expect(await checked(await aTeam(), null, APPLE)).toEqual([
    'store_refused',
    expect.stringMatching(/It has none for/),
  ]);
  expect(await checked({ ...team, pool: await aPool(false) }, null, APPLE)).toEqual([
    ...['store_refused', expect.stringMatching(/is not trusted/)],
  ]);
  const ios = { projectId: team.projectId, pool: team.pool, platform: 'ios', app: undefined } as const;
  expect(await beforeBuild(env, { ...ios, options: PLAY }, { id: 'k', name: 'k' }, STORES, 0)).toMatchObject({
    ...{ code: 'invalid_request', message: 'submit.store: a build for ios goes to app-store-connect' },
  });
});

test('the number of a build is sure only above the counter', () => {
  expect([
    numberFor(null, undefined),
    numberFor(null, 7),
    numberFor(41, undefined),
    numberFor(41, 41),
    numberFor(41, 42),
  ]).toEqual([
    { value: null, isSure: true },
    { value: 7, isSure: true },
    { value: 42, isSure: false },
    { value: 42, isSure: false },
    { value: 42, isSure: true },
  ]);
});

const request = async (team: Team, platform: 'ios' | 'android', app: object | undefined, key: string) => ({
  ...{ source: { sha256: await aBlob(undefined, { project: team.projectId, key }) }, command: 'make', platform },
  ...{ pool: team.pool, project: team.projectId, app, idempotencyKey: 'release' },
});
const submit = async (team: Team, platform: 'ios' | 'android', key = team.key.key, stores = STORES) => {
  const body = await request(team, platform, { id: team.app }, key);
  return {
    body,
    ...(await ask<Answered & { id?: string }>('POST', '/api/builds', key, body, stores).then((a) => ({ answer: a }))),
  };
};

test('a counter begins with the highest number in the store, once, and the audit says who asked', async () => {
  for (const [team, platform, value] of [
    [await ofApple({ builds: ['9', '41', '7.1'].map((n) => ({ version: '1.0', buildNumber: n })) }), 'ios', 41],
    [await ofApple(), 'ios', 1],
    [await ofPlay({ library: [{ versionCode: 77, kind: 'apks', sha256: 'a'.repeat(64) }] }), 'android', 77],
  ] as const) {
    const { answer, body } = await submit(team, platform);
    expect([platform, answer.status]).toEqual([platform, 201]);
    const counter = { platform, appId: team.app, value, setBy: { keyId: team.key.keyId, name: 'of the team' } };
    expect(await counters(team)).toMatchObject([counter]);
    const [entry] = await db
      .select()
      .from(audit)
      .where(like(audit.action, 'number.%'))
      .orderBy(desc(audit.id))
      .limit(1);
    expect(entry).toMatchObject({
      ...{ action: 'number.seed', target: `number/${platform}/${team.app}`, detail: { was: null, value } },
      ...{ keyId: team.key.keyId, projectId: team.projectId, denied: false },
    });
    // A repetition is answered with the same build, even if no store answers now.
    expect(await ask('POST', '/api/builds', team.key.key, body, NO_STORES)).toMatchObject({
      status: 200,
      body: { id: answer.body.id },
    });
  }
});

test('without an answer of the store, without the right or trust the counter stays unset and the request is refused', async () => {
  const team = await ofApple({ builds: [{ version: '1.0', buildNumber: '41' }] });
  const late = await submit(team, 'ios', team.key.key, NO_STORES);
  expect(late.answer).toMatchObject({
    status: 422,
    body: {
      error: {
        code: 'number_not_seeded',
        message: expect.stringMatching(/its store was asked .*could not be reached/s),
      },
    },
  });
  const { key: without } = await aKey(team.projectId, ['admin'], { pools: [team.pool] });
  const { key: untrusted } = await aKey(team.projectId, ['stores'], { pools: [team.pool], trusted: false });
  // Other test files ask the same stand-in.
  const asked = async () => (await appleControl.requests()).filter(({ url }) => url.includes(team.app)).length;
  for (const key of [without, untrusted]) {
    const { answer } = await submit(team, 'ios', key);
    expect(answer).toMatchObject({ status: 422, body: { error: { code: 'number_not_seeded' } } });
  }
  expect(await asked()).toBe(0);
  expect(await counters(team)).toEqual([]);
  expect((await submit(team, 'ios')).answer.status).toBe(201);
  expect(await asked()).toBeGreaterThan(0);
});

test('a request with `submit` is refused with the words of the store, or has its warnings, and a repetition asks nobody', async () => {
  const team = await ofApple({ builds: [{ version: '1.0', buildNumber: '41' }] });
  const send = async (buildNumber: number, stores = STORES, more: object = {}) => {
    const app = { id: team.app, version: '1.0', buildNumber };
    const body = {
      ...(await request(team, 'ios', app, team.key.key)),
      submit: { store: 'app-store-connect' },
      ...more,
    };
    return ask<BuildDetail & Answered>('POST', '/api/builds', team.key.key, body, stores);
  };
  expect(await send(41)).toMatchObject({
    ...{ status: 422, body: { error: { code: 'store_refused' } } },
  });
  const { sha256 } = (await request(team, 'ios', undefined, team.key.key)).source;
  const again = { source: { sha256 } };
  const made = await send(42, STORES, again);
  expect(made).toMatchObject({ status: 201, body: { submit: { warnings: [] } } });
  expect(await send(42, NO_STORES, again)).toMatchObject({ status: 200, body: { id: made.body.id } });
  const late = await send(43, NO_STORES, { idempotencyKey: 'late' });
  expect(late).toMatchObject({
    status: 201,
    body: { submit: { warnings: [expect.stringMatching(/not .*checked/i)] } },
  });
});

test('a retry is asked of the store again, by whoever retries', async () => {
  const team = await ofApple({ builds: [{ version: '1.0', buildNumber: '41' }] });
  const body = await request(team, 'ios', { id: team.app, version: '1.0', buildNumber: 42 }, team.key.key);
  const submit = { store: 'app-store-connect' };
  const { id } = (await ask<{ id: string }>('POST', '/api/builds', team.key.key, { ...body, submit })).body;
  await ask('POST', `/api/builds/${id}/cancel`, team.key.key);
  const { key: without } = await aKey(team.projectId, [], { pools: [team.pool] });
  const asked = async () => (await appleControl.requests()).filter(({ url }) => url.includes(team.ascAppId)).length;
  const retry = (key: string, more: object = {}, stores = STORES) =>
    ask<BuildDetail & Answered>('POST', `/api/builds/${id}/retry`, key, more, stores);
  const refused = async (says: RegExp) =>
    expect(await retry(team.key.key)).toMatchObject({
      ...{ status: 422, body: { error: { code: 'store_refused', message: expect.stringMatching(says) } } },
    });
  const made = await retry(team.key.key, { idempotencyKey: 'again' });
  expect(made).toMatchObject({ status: 201, body: { retryOf: id, submit: { warnings: [], failure: null } } });
  expect(await retry(team.key.key, {}, NO_STORES)).toMatchObject({
    ...{ status: 201, body: { submit: { warnings: [expect.stringMatching(/not .*checked/i)] } } },
  });

  await appleControl.addBuild(team.ascAppId, { version: '1.0', buildNumber: '42' });
  await refused(/App Store Connect has build 42 of version 1\.0/);
  const before = await asked();
  expect(await retry(without)).toMatchObject({ status: 201, body: { submit: { failure: { code: 'right_gone' } } } });
  expect(await retry(team.key.key, { idempotencyKey: 'again' })).toMatchObject({
    status: 200,
    body: { id: made.body.id },
  });
  expect(await asked()).toBe(before);

  const ofTeam = eq(storeKeys.projectId, team.projectId);
  const [row] = await db.select().from(storeKeys).where(ofTeam);
  await db
    .update(storeKeys)
    .set({ apps: ['com.example.other'] })
    .where(ofTeam);
  await refused(/and not for com\.example\./);
  await db.update(storeKeys).set({ apps: row!.apps }).where(ofTeam);
  await appleControl.revoke(team.keyId);
  await refused(/^The store does not accept the key/);
  await db.delete(storeKeys).where(ofTeam);
  await refused(/has no store key for .* It has none/);
});

test('an attempt that asks for its number gets one above the store’s, if whoever asked for the build has the right', async () => {
  const number = async (team: Team, key: string, increment: boolean, stores = STORES) => {
    const body = { ...(await request(team, 'ios', undefined, key)), idempotencyKey: undefined };
    const { id } = (await ask<{ id: string }>('POST', '/api/builds', key, body)).body;
    await begin(id);
    const asked = { app: { id: team.app }, increment };
    const token = await tokenFor(id, 1);
    return ask<BuildNumberAnswer & Answered>('POST', `/api/builds/${id}/number`, token, asked, stores);
  };
  const team = await ofApple({ builds: [{ version: '1.0', buildNumber: '41' }] });
  const { key: without } = await aKey(team.projectId, ['admin'], { pools: [team.pool] });
  const notSeeded = { status: 422, body: { error: { code: 'number_not_seeded' } } };
  expect(await number(team, without, true)).toMatchObject(notSeeded);
  expect(await number(team, team.key.key, false)).toMatchObject(notSeeded);
  expect(await number(team, team.key.key, true, NO_STORES)).toMatchObject(notSeeded);
  expect(await counters(team)).toEqual([]);
  expect(await number(team, team.key.key, true)).toMatchObject({
    status: 200,
    body: { appId: team.app, buildNumber: 42 },
  });
  expect(await number(team, without, true)).toMatchObject({ status: 200, body: { buildNumber: 43 } });
  // The key of this build was revoked after the request.
  const other = await ofApple({ builds: [{ version: '1.0', buildNumber: '5' }] });
  const revoked = await aKey(other.projectId, ['stores'], { pools: [other.pool] });
  const body = { ...(await request(other, 'ios', undefined, revoked.key)), idempotencyKey: undefined };
  const { id } = (await ask<{ id: string }>('POST', '/api/builds', revoked.key, body)).body;
  await begin(id);
  await db.update(keys).set({ revokedAt: 1 }).where(eq(keys.id, revoked.keyId));
  const asked = { app: { id: other.app }, increment: true };
  expect(await ask('POST', `/api/builds/${id}/number`, await tokenFor(id, 1), asked)).toMatchObject(notSeeded);
});
