import { afterEach, beforeEach, expect, test } from 'vitest';
import { bytesOf, call, sha256Of } from '../factories/rows.ts';
import { stepsOfTests } from '../factories/steps-of-tests.ts';
import {
  aRelease,
  aSubmission,
  type Release,
  rewriteState,
  rowOf,
  stateOf,
  timelineOf,
  untilOver,
  uploadOf,
} from '../factories/submissions.ts';
import { addresses, control } from './play-driver.ts';
import { go, STORE_KEY, setKey, submitBy, untilAt, untilEnded } from './submitting.ts';

beforeEach(() => {
  stepsOfTests.addresses = addresses;
});
afterEach(() => {
  stepsOfTests.addresses = null;
});

const CONTENT = 'the bytes of an app bundle, '.repeat(5_000);

/** A build whose bundle may go to Google Play, and a service account that was set by the API. */
async function aPlayRelease(): Promise<Release> {
  const release = await aRelease(CONTENT);
  const email = `${release.appId.slice(-8)}@tests.iam.gserviceaccount.com`;
  await control.app(release.appId);
  await control.file(release.appId, await sha256Of(bytesOf(CONTENT)), 7);
  await setKey(release, {
    store: 'google-play',
    serviceAccount: await control.account(email, { apps: [release.appId] }),
  });
  return release;
}

const submit = (release: Release) => submitBy(release, 'google-play');

async function expectOnce({ appId, sha256 }: Release) {
  const { commits, library, tracks } = await control.state(appId);
  expect(commits).toEqual({ 7: 1 });
  expect(library).toMatchObject([{ versionCode: 7, sha256 }]);
  expect(tracks.internal).toMatchObject([{ versionCodes: ['7'], status: 'completed' }]);
}

test('a submission goes to Google Play by the alarms of its object', async () => {
  const release = await aPlayRelease();
  const id = await submit(release);
  expect(await untilOver(id)).toMatchObject({ state: 'done', sentBytes: CONTENT.length, warnings: [] });
  await expectOnce(release);
  expect((await timelineOf(id)).at(-1)).toEqual({
    state: 'done',
    says: 'Version code 7 is on the track internal, as completed.',
  });
});

test('a session that does not open any more, or that was cut, is no reason to send the file twice', async () => {
  const release = await aPlayRelease();
  await control.fault(release.appId, { on: 'chunk', act: { kind: 'cut' } });
  const id = await submit(release);
  let lost = 0;
  const ended = await untilEnded(id, async () => {
    const { secret = null } = (await stateOf(id)) ?? {};
    if (secret !== null && lost++ === 0) await rewriteState(id, { secret: `${secret.slice(0, -9)}AAAAAAAAA` });
  });
  expect([ended.state, lost > 1]).toEqual(['done', true]);
  await expectOnce(release);
});

test('submissions of an app go to Google Play one after another, the oldest first, and each makes one edit', async () => {
  const first = await aPlayRelease();
  // The object of this submission has not begun.
  const one = await aSubmission(first, { storeKey: STORE_KEY });
  // This release is of another project, with another number of the same app.
  const second = await aRelease(`${CONTENT}!`, { app: { id: first.appId, buildNumber: '8' } });
  await control.file(first.appId, second.sha256, 8);
  const email = `other-${first.appId.slice(-8)}@tests.iam.gserviceaccount.com`;
  const serviceAccount = await control.account(email, { apps: [first.appId] });
  await setKey({ ...second, appId: first.appId }, { store: 'google-play', serviceAccount });
  const other = await submit(second);
  const asked = async () => (await control.state(first.appId)).asked.insert;
  for (let alarm = 0; alarm < 3; alarm++) await go(other);
  expect([await asked(), (await rowOf(other)).state]).toEqual([undefined, 'waiting']);
  expect((await timelineOf(other)).map(({ says }) => says)).toEqual([
    expect.stringContaining('is to be submitted'),
    'Waits for a submission of another project, which brings the same app to the store.',
  ]);
  await uploadOf(one).begin();
  expect((await untilEnded(one)).state).toBe('done');
  expect((await untilEnded(other)).state).toBe('done');
  expect(await control.state(first.appId)).toMatchObject({ commits: { 7: 1, 8: 1 }, asked: { insert: 2 } });
});

test('before its commit a submission is cancelled with its edit, and afterwards not any more', async () => {
  const cancel = ({ key }: Release, id: string) =>
    call(`/api/submissions/${id}/cancel`, key.secret, { method: 'POST' }).then(({ status }) => status);
  const early = await aPlayRelease();
  await control.fault(early.appId, { on: 'put-track', times: 99, act: { kind: 'status', status: 503 } });
  const first = await submit(early);
  await untilAt(first, 'track');
  expect(await cancel(early, first)).toBe(200);
  await untilEnded(first);
  expect(await control.state(early.appId)).toMatchObject({ commits: {}, openEdits: 0 });

  const late = await aPlayRelease();
  await control.fault(late.appId, { on: 'commit', act: { kind: 'lose' } });
  const second = await submit(late);
  await untilAt(second, 'look-again');
  expect(await cancel(late, second)).toBe(409);
  expect((await untilEnded(second)).state).toBe('done');
  await expectOnce(late);
});
