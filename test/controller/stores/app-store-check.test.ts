import { afterEach, expect, test } from 'vitest';
import { checkAppStore, checkAppStoreKey, highestBuildNumber } from '../../../controller/stores/app-store-check.ts';
import { addresses, aWorld, BUILD_NUMBER, control, VERSION, type World } from './app-store-driver.ts';

afterEach(async () => {
  expect(await control.violations()).toEqual([]);
});

const signal = new AbortController().signal;
const NOTHING = { refusals: [], warnings: [] };

const question = (world: World) => ({
  appId: world.bundleId,
  ascAppId: null,
  version: VERSION,
  buildNumber: BUILD_NUMBER,
});

test('a key that Apple takes, with and without an issuer', async () => {
  for (const account of [{}, { individual: true }, { refusesScopes: true }]) {
    const { key } = await aWorld({}, account);
    expect(await checkAppStoreKey(key, addresses, signal)).toEqual(NOTHING);
  }
});

test('a key that is refused, damaged, or whose agreement is missing', async () => {
  const { key } = await aWorld();
  await control.fault(key.keyId, { on: 'apps', act: { kind: 'refuse', refusal: 'agreement' }, times: 2 });
  expect((await checkAppStoreKey(key, addresses, signal)).refusals).toEqual([
    { reason: 'agreement_missing', storeWords: expect.stringContaining('A required agreement is missing') },
  ]);
  const damaged = { ...key, privateKey: key.privateKey.replace('PRIVATE KEY', 'KEY') };
  expect((await checkAppStoreKey(damaged, addresses, signal)).refusals).toEqual([
    { reason: 'key_refused', storeWords: expect.stringContaining('must be the text of a private key') },
  ]);
  await control.revoke(key.keyId);
  expect((await checkAppStoreKey(key, addresses, signal)).refusals).toEqual([
    { reason: 'key_refused', storeWords: expect.stringContaining('Authentication credentials are missing') },
  ]);
});

test('what the store does not answer is a warning', async () => {
  const { key } = await aWorld();
  for (const act of [{ kind: 'status', status: 503 }, { kind: 'cut' }, { kind: 'garble' }] as const) {
    await control.fault(key.keyId, { on: 'apps', act });
    const { refusals, warnings } = await checkAppStoreKey(key, addresses, signal);
    expect([refusals, warnings]).toEqual([[], [expect.stringMatching(/^Not everything was checked\. /)]]);
  }
  await control.fault(key.keyId, { on: 'apps', act: { kind: 'slow', delayMs: 5_000 } });
  const { warnings } = await checkAppStoreKey(key, addresses, AbortSignal.timeout(100));
  expect(warnings).toEqual([expect.stringContaining('did not answer in time')]);
});

test('before a build: app, version and build number', async () => {
  const free = await aWorld({ versions: [{ version: '1.1.0', state: 'READY_FOR_DISTRIBUTION' }] });
  expect(await checkAppStore(free.key, question(free), addresses, signal)).toEqual(NOTHING);
  const unknown = { ...question(free), version: null, buildNumber: null };
  expect(await checkAppStore(free.key, unknown, addresses, signal)).toEqual(NOTHING);
  const other = { ...question(free), appId: 'com.example.other' };
  expect((await checkAppStore(free.key, other, addresses, signal)).refusals).toEqual([
    { reason: 'app_not_found', storeWords: expect.stringContaining('com.example.other') },
  ]);
  const taken = await aWorld({
    versions: [{ version: VERSION, state: 'READY_FOR_DISTRIBUTION' }],
    builds: [{ version: VERSION, buildNumber: BUILD_NUMBER }],
  });
  expect((await checkAppStore(taken.key, question(taken), addresses, signal)).refusals).toEqual([
    {
      reason: 'version_closed',
      storeWords: `App Store Connect has approved version ${VERSION}. Version ${VERSION} takes no more builds.`,
    },
    { reason: 'build_number_used', storeWords: `App Store Connect has build ${BUILD_NUMBER} of version ${VERSION}.` },
  ]);
  const calls = (await control.state(taken.ascAppId)).asked;
  expect(Object.values(calls).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(4);
});

test('a token that is limited to a request names a blank as it is', async () => {
  const [app, asked] = [{ version: '1.2 beta+1', buildNumber: BUILD_NUMBER }, 2];
  const world = await aWorld({ builds: [app] });
  expect(await checkAppStore(world.key, { ...question(world), ...app }, addresses, signal)).toMatchObject({
    refusals: [{ reason: 'build_number_used' }],
  });
  const { asked: calls } = await control.state(world.ascAppId);
  expect((calls.builds ?? 0) + (calls.uploads ?? 0)).toBe(asked);
});

test('what one question does not answer leaves the others', async () => {
  const world = await aWorld({ builds: [{ version: VERSION, buildNumber: BUILD_NUMBER }] });
  await control.fault(world.key.keyId, { on: 'versions', act: { kind: 'refuse', refusal: 'role' }, times: 2 });
  expect(await checkAppStore(world.key, question(world), addresses, signal)).toMatchObject({
    refusals: [{ reason: 'build_number_used' }],
    warnings: [expect.stringContaining('The role of the key')],
  });
});

test('the highest build number, over all versions and pages, of whole numbers alone', async () => {
  const of = (first: number, length: number) =>
    Array.from({ length }, (_, index) => ({ version: '1.0.0', buildNumber: String(first + index) }));
  const builds = [...of(1, 300), ...of(301, 200).toReversed()];
  const odd = ['1.2.900', '99999999999999999999', '8a'].map((buildNumber) => ({ version: '1.1.0', buildNumber }));
  const world = await aWorld({ builds: [...builds, ...odd] });
  const ask = () =>
    highestBuildNumber(world.key, { appId: world.bundleId, ascAppId: world.ascAppId }, addresses, signal);
  const pages = async () => (await control.state(world.ascAppId)).asked.builds;
  // The second page goes up to the highest number, and the third one is below it.
  expect([await ask(), await pages()]).toEqual([{ ...NOTHING, highest: 500 }, 3]);
  for (const buildNumber of ['501', '502'])
    for (let page = 0; page < 100; page++)
      await control.addBuild(world.ascAppId, { version: `1.1.${page}`, buildNumber });
  expect([await ask(), await pages()]).toEqual([{ ...NOTHING, highest: 502 }, 3 + 2]);
  await control.fault(world.key.keyId, { on: 'uploads', act: { kind: 'status', status: 500 } });
  expect(await ask()).toMatchObject({ highest: null, refusals: [], warnings: [expect.anything()] });
  const empty = await aWorld();
  const none = await highestBuildNumber(empty.key, { appId: empty.bundleId, ascAppId: null }, addresses, signal);
  expect(none).toEqual({ ...NOTHING, highest: 0 });
});
