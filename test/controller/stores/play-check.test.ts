import { expect, test } from 'vitest';
import { checkPlayKey, judgePlay, lookAtPlay } from '../../../controller/stores/play-check.ts';
import type { PlayAct, PlayAppOptions, PlayOperation } from '../../set-up/stores/play/control.ts';
import { addresses, aWorld, control, type World } from './play-driver.ts';

const signal = () => AbortSignal.timeout(20_000);

const look = ({ key, app }: World, until = signal()) => lookAtPlay(key, app, addresses, until);

const check = async (world: World, versionCode: number | null, more: { track?: string; releaseStatus?: string } = {}) =>
  judgePlay(await look(world), { versionCode, track: 'internal', releaseStatus: 'completed', ...more });

const sha256 = 'a'.repeat(64);
const PUBLISHED: PlayAppOptions = {
  library: [
    { versionCode: 3, kind: 'apks', sha256 },
    { versionCode: 41, kind: 'bundles', sha256 },
  ],
  tracks: { production: [{ versionCodes: ['41', '40'], status: 'completed' }] },
};

test('a free version code passes, and the look leaves no edit', async () => {
  const world = await aWorld(PUBLISHED);
  expect(await check(world, 42)).toEqual({ refusals: [], warnings: [] });
  expect(await check(world, null)).toEqual({ refusals: [], warnings: [] });
  expect((await control.state(world.app)).openEdits).toBe(0);
  expect(await checkPlayKey(world.key, addresses, signal())).toMatchObject({ refusals: [], warnings: [] });
});

test.for([3, 40, 41])('version code %i of a file or of a release is used', async (versionCode) => {
  const { refusals } = await check(await aWorld(PUBLISHED), versionCode);
  expect(refusals).toEqual([
    { reason: 'build_number_used', storeWords: expect.stringContaining('highest one there is 41') },
  ]);
});

test('what a person should know is a warning', async () => {
  const published = await aWorld(PUBLISHED);
  expect((await check(published, 39)).warnings).toEqual([expect.stringContaining('does not get version code 39')]);
  expect((await check(published, 42, { track: 'qa' })).warnings).toEqual([expect.stringContaining('no track qa')]);
  const drafts = await aWorld({ tracks: { alpha: [{ versionCodes: ['1'], status: 'draft' }] } });
  expect((await check(drafts, 42)).warnings).toEqual([expect.stringContaining('the new release is a draft')]);
  expect((await check(drafts, 42, { releaseStatus: 'draft' })).warnings).toEqual([]);
});

test('the highest version code is that of all files and releases', async () => {
  const highest = async (app: PlayAppOptions) => (await look(await aWorld(app))).there?.highest;
  expect(await highest({})).toBe(0);
  expect(await highest(PUBLISHED)).toBe(41);
  expect(await highest({ tracks: { beta: [{ versionCodes: ['77'], status: 'halted' }] } })).toBe(77);
  const many = Array.from({ length: 5_000 }, (_, index) => ({
    versionCode: index + 1,
    kind: 'bundles' as const,
    sha256,
  }));
  expect(await highest({ library: many })).toBe(5_000);
});

test.for<[PlayOperation, PlayAct, string | null]>([
  ['insert', { kind: 'refuse', refusal: 'package_not_found' }, 'app_not_found'],
  ['insert', { kind: 'refuse', refusal: 'no_permission' }, 'role_missing'],
  ['insert', { kind: 'refuse', refusal: 'queries_per_day' }, 'quota_used_up'],
  ['insert', { kind: 'refuse', refusal: 'unauthenticated' }, 'key_refused'],
  ['list-bundles', { kind: 'refuse', refusal: 'edit_deleted' }, null],
  ['list-bundles', { kind: 'status', status: 503 }, null],
  ['insert', { kind: 'cut' }, null],
  ['insert', { kind: 'refuse', refusal: 'queries_per_minute' }, null],
  ['insert', { kind: 'redirect', location: 'http://127.0.0.1:1/' }, null],
])('%s: %j refuses as %s', async ([on, act, reason]) => {
  const world = await aWorld(PUBLISHED);
  await control.fault(world.app, { on, act });
  const { refusals, warnings, there } = await look(world);
  expect(there).toBeNull();
  expect(refusals.map((refusal) => refusal.reason)).toEqual(reason === null ? [] : [reason]);
  expect(warnings).toHaveLength(reason === null ? 1 : 0);
});

test('a key that Google does not know is refused, and one that it cannot judge is not', async () => {
  const world = await aWorld();
  const other = await aWorld();
  const { refusals } = await checkPlayKey({ ...world.key, ...keyId(other) }, addresses, signal());
  expect(refusals).toEqual([{ reason: 'key_refused', storeWords: 'invalid_grant: Invalid JWT Signature.' }]);
  await control.fault(world.email, { on: 'token', act: { kind: 'status', status: 503 } });
  const unsure = await checkPlayKey(world.key, addresses, signal());
  expect(unsure).toMatchObject({ refusals: [], warnings: [expect.stringContaining('Google Play could not answer')] });
});

const keyId = ({ key }: World) => {
  if (key.store !== 'google-play') throw new Error(key.store);
  return { privateKeyId: key.privateKeyId } as World['key'];
};

test('a store that stays silent is a warning when its time is up', async () => {
  const world = await aWorld(PUBLISHED);
  await control.fault(world.app, { on: 'insert', act: { kind: 'slow', delayMs: 2_000 } });
  const { refusals, warnings } = await look(world, AbortSignal.timeout(200));
  expect([refusals, warnings]).toEqual([[], [expect.stringContaining('did not answer in time')]]);
});
