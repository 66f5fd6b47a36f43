/** Tests `expo-build watch` of builds that are submitted to a stand-in of a store. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ArtifactApp, SubmitOptions } from '#contract';
import type { StoreAddresses } from '../../../controller/stores/step.ts';
import { startPlay } from '../../set-up/stores/play/server.ts';
import { faultyProxy } from '../../worker-agent/servers/faulty-proxy.ts';
import { expoBuild, jsonLinesOf } from '../factories/expo-build.ts';
import { type Feeding, startFeeding } from '../factories/fed-builds.ts';
import { start } from '../factories/started.ts';

const APP = 'com.example.shop';
const POOL = 'store';
const NUMBER = 42;
const NOTHING = {
  ...{ name: null, minimumSystem: null, profileExpiresAt: null, devices: null },
  ...{ usesNonExemptEncryption: null, icon: null },
};
const AAB: ArtifactApp = {
  ...{ ...NOTHING, platform: 'android', kind: 'aab', id: APP, version: '1.2.0', buildNumber: String(NUMBER) },
  ...{ signing: 'release', debuggable: false },
};
let farm: Feeding;
let play: Awaited<ReturnType<typeof startPlay>>;
beforeAll(async () => {
  play = await startPlay();
  const addresses: StoreAddresses = {
    ...{ appStoreConnect: play.url, googleToken: play.tokenUrl, googlePlay: play.url, insecure: true },
    uploadHosts: { apple: ['127.0.0.1'], google: ['127.0.0.1'] },
  };
  farm = await startFeeding({
    entry: 'test/faults/factories/controller.ts',
    vars: { STAND_INS: JSON.stringify(addresses) },
  });
  const serviceAccount = await play.account('robot@shop.iam.gserviceaccount.com', { apps: [APP] });
  await play.app(APP, { versionCode: NUMBER, library: [{ versionCode: 1, kind: 'bundles', sha256: 'a'.repeat(64) }] });
  await farm.ask('POST', '/api/projects', { name: 'shop' });
  await farm.ask('POST', '/api/workers', { name: 'mac', pool: POOL, platforms: ['android'] });
  const key = { store: 'google-play', apps: [APP], pools: [POOL], serviceAccount };
  await farm.ask('PUT', '/api/projects/shop/store-keys/play', key);
});
afterAll(async () => {
  await farm?.[Symbol.asyncDispose]();
  await play?.stop();
});

async function released(artifacts: Record<string, string>, buildNumber: number) {
  const { id, claims } = await farm.queuedBuild({
    ...{ platform: 'android', project: 'shop', pool: POOL, app: { id: APP, version: '1.2.0', buildNumber } },
    submit: { store: 'google-play', track: 'internal' } as SubmitOptions,
  });
  const attempt = await claims();
  await attempt.starts();
  const watch = start(['watch', id, '--json'], { env: farm.env() });
  await watch.shows('"building"');
  await attempt.succeeds(artifacts, { ...AAB, buildNumber: String(buildNumber) });
  const code = await watch.ended;
  return { code, lines: jsonLinesOf({ code: 0, stdout: watch.stdout(), stderr: watch.stderr() }) };
}

test('the steps of the store are shown to their end, and a refusal has its words and exit code 7', async () => {
  const nothing = await released({}, NUMBER - 1);
  expect(nothing.code).toBe(7);
  expect(nothing.lines).toContainEqual({
    ...{ type: 'not_submitted', buildId: expect.any(String) },
    failure: expect.objectContaining({ title: expect.any(String), advice: expect.any(String) }),
  });
  const done = await released({ 'out/app.aab': 'the bytes of an app' }, NUMBER);
  expect(done.code).toBe(0);
  const states = done.lines.flatMap((line) => (line.type === 'submission' ? [line.submission.state] : []));
  expect(states.at(-1)).toBe('done');
  expect(done.lines.at(-1)).toMatchObject({ type: 'end', builds: [{ status: 'succeeded', exitCode: 0 }], exitCode: 0 });
});

test('`upload` whose first answer gets lost makes one submission, and says that the controller is reached again', async () => {
  const { id, claims } = await farm.queuedBuild({ platform: 'android', project: 'shop', pool: POOL });
  const attempt = await claims();
  await attempt.starts();
  await attempt.succeeds({ 'out/other.aab': 'another app' }, { ...AAB, buildNumber: String(NUMBER + 1) });
  const env = farm.env();
  await using proxy = await faultyProxy(env.EXPO_BUILD_URL);
  proxy.fault = ({ method, count }) => (method === 'POST' && count === 1 ? 'lose answer' : undefined);
  const ended = await expoBuild(['upload', id, '--no-wait', '--json'], {
    ...{ cwd: farm.folder, env: { ...env, EXPO_BUILD_URL: proxy.url } },
  });
  expect(ended.code, ended.stderr).toBe(0);
  expect(jsonLinesOf(ended)).toMatchObject([
    ...[{ type: 'connection', reached: false }, { type: 'connection', reached: true }, { type: 'submission' }],
  ]);
  expect((await farm.api.build(id)).submissions).toHaveLength(1);
});
