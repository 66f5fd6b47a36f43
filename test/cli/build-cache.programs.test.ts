/**
 * Tests the provider of Expo's build cache against a real controller, called as Expo's command calls it. A
 * program in node_modules of the project stands in for @expo/fingerprint; test/expo has the real one.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import type { ArtifactApp } from '#contract';
import { fetchApp, removeUnused } from '../../cli/build-cache/cached-app.ts';
import { fingerprintOf, isForDevelopment } from '../../cli/build-cache/fingerprint.ts';
import provider from '../../cli/build-cache-provider.ts';
import { AdminClient } from '../../client/admin-client.ts';
import { valueOrThrow } from '../../client/answer.ts';
import { AttemptClient } from '../../client/attempt-client.ts';
import { placeOfAttempt, putBlob } from '../../client/blob-requests.ts';
import { BuildsClient } from '../../client/builds-client.ts';
import { resolveProfile } from '../../client/project/build-profile.ts';
import { readEasJson } from '../../client/project/eas-json.ts';
import { ProjectClient } from '../../client/project-client.ts';
import { Connection } from '../../client/request.ts';
import { WorkerClient } from '../../client/worker-client.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { sharedController } from '../set-up/controller/shared.ts';
import { archiveOf, type Entry, link } from '../worker-agent/factories/raw-archive.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { faultyProxy } from '../worker-agent/servers/faulty-proxy.ts';
import { cleanEnv } from './factories/expo-build.ts';

const PROJECT = 'cached-shop';
const POOL = 'of-build-cache';
const HASH = 'a1'.repeat(20);
const COMMIT = 'c0ffee00'.repeat(5);
const SIMULATOR: ArtifactApp = {
  ...{ platform: 'ios', kind: 'app', id: 'com.example.shop', name: 'Shop', version: '1.4.0', buildNumber: '42' },
  ...{ minimumSystem: '15.1', signing: 'simulator', profileExpiresAt: null, devices: null },
  ...{ usesNonExemptEncryption: false, debuggable: null, icon: null },
};
const APP: Entry[] = [
  { path: 'Shop.app/', type: 'Directory' },
  { path: 'Shop.app/Info.plist', body: 'plist' },
  { path: 'Shop.app/Frameworks/', type: 'Directory' },
  { path: 'Shop.app/Frameworks/A', body: 'framework' },
  link('Shop.app/Current', 'Frameworks/A'),
];

const state = temporaryDir();
let controller: Awaited<ReturnType<typeof sharedController>>;
let farm: Connection;
let writer: string;
let reader: string;
let workerId: string;
let workerKey: string;

const keyOf = async (name: string, rights: object): Promise<string> => {
  const headers = { authorization: `Bearer ${controller.secrets.ADMIN_KEY}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ name, scope: 'submit', projects: [PROJECT], ...rights });
  const answer = await fetch(`${controller.url}/api/keys`, { method: 'POST', headers, body });
  return ((await answer.json()) as { secret: string }).secret;
};

beforeAll(async () => {
  controller = await sharedController();
  farm = new Connection({ url: controller.url, key: controller.secrets.ADMIN_KEY });
  await fetch(`${controller.url}/api/projects`, {
    method: 'POST',
    headers: { authorization: `Bearer ${controller.secrets.ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: PROJECT }),
  });
  writer = await keyOf('CI of \u001b[31mshop', { may: ['caches.write'] });
  reader = await keyOf('Ann', {});
  const { worker, key } = await new AdminClient(farm).registerWorker({ name: POOL, pool: POOL });
  [workerId, workerKey] = [worker.id, key!];
});
afterAll(() => state[Symbol.dispose]());

let made = 0;
function fileOf(bytes: Buffer) {
  const path = join(state.path, `file-${++made}`);
  writeFileSync(path, bytes);
  return { path, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** A build of this fingerprint that has succeeded with this app. */
async function built(fingerprint: string, entries: Entry[]): Promise<{ id: string; sha256: string }> {
  const builds = new BuildsClient(farm.withKey(writer));
  const source = fileOf(Buffer.from('a source'));
  await builds.upload(source);
  const { id } = await builds.submit({
    ...{
      source: { sha256: source.sha256 },
      platform: 'ios',
      profile: 'development',
      project: PROJECT,
      pool: POOL,
      fingerprint,
    },
    origin: { commit: COMMIT, branch: 'main', author: 'Ann' },
  });
  const claim = { instanceId: 'mac', claimId: `claim-${made}`, platforms: ['ios' as const] };
  const claimed = valueOrThrow(await new WorkerClient(farm.withKey(workerKey)).claim(workerId, claim), 'claim');
  const { attempt, tokens } = claimed.assignment!;
  const run = farm.withKey(tokens.run);
  const archive = fileOf(gzipSync(archiveOf(entries)));
  valueOrThrow(await putBlob(run, archive, undefined, placeOfAttempt(id)), 'put');
  const client = new AttemptClient(run);
  valueOrThrow(await client.report(id, { type: 'start', attempt }), 'start');
  const artifact = { name: 'ios/Shop.app.tar.gz', sha256: archive.sha256, size: archive.sizeBytes, app: SIMULATOR };
  valueOrThrow(await client.report(id, { type: 'succeed', attempt, artifacts: [artifact] }), 'succeed');
  return { id, sha256: archive.sha256 };
}

/** A project whose @expo/fingerprint is this program. */
function aProject(fingerprint = `async () => ({ hash: '${HASH}' })`) {
  const dir = temporaryDir();
  const own = join(dir.path, 'node_modules/@expo/fingerprint');
  mkdirSync(own, { recursive: true });
  writeFileSync(join(dir.path, 'package.json'), '{"name":"shop"}');
  writeFileSync(join(own, 'package.json'), '{"name":"@expo/fingerprint","version":"0.0.0","main":"index.js"}');
  writeFileSync(join(own, 'index.js'), `exports.createFingerprintAsync = ${fingerprint};\n`);
  return { path: dir.path, cache: join(dir.path, 'cache/expo-build/apps'), [Symbol.dispose]: dir[Symbol.dispose] };
}

/** Does what @expo/cli does: it requires the plugin and calls its default export. */
const EXPO = `
const [file, projectRoot, platform, runOptions, options] = process.argv.slice(1);
const plugin = require(file).default;
const asked = { projectRoot, platform, runOptions: JSON.parse(runOptions) };
(async () => {
  const fingerprintHash = await plugin.calculateFingerprintHash(asked, JSON.parse(options));
  const path = fingerprintHash && (await plugin.resolveBuildCache({ ...asked, fingerprintHash }, JSON.parse(options)));
  if (!path) await plugin.uploadBuildCache({ ...asked, fingerprintHash, buildPath: '/tmp/Shop.app' });
  console.log(JSON.stringify({ fingerprintHash, path }));
})();`;

interface Expo {
  key?: string;
  url?: string;
  platform?: string;
  runOptions?: object;
  options?: object;
}
const expoRun = (projectRoot: string, { key = reader, url = controller.url, ...asked }: Expo = {}) => {
  const { platform = 'ios', runOptions = {}, options = {} } = asked;
  const provider = join(PROJECT_ROOT, 'cli/build-cache-provider.ts');
  const args = ['-e', EXPO, provider, projectRoot, platform, JSON.stringify(runOptions), JSON.stringify(options)];
  const own = { EXPO_BUILD_URL: url, EXPO_BUILD_KEY: key, XDG_CACHE_HOME: join(projectRoot, 'cache') };
  return new Promise<{ path: string | null; fingerprintHash: string | null; said: string }>((resolve, reject) => {
    execFile(process.execPath, args, { env: { ...cleanEnv(), ...own } }, (error, stdout, stderr) =>
      error ? reject(error) : resolve({ ...JSON.parse(stdout), said: stderr }),
    );
  });
};

test('the simulator build of the same fingerprint is downloaded once, and build, commit and key are said', async () => {
  using project = aProject();
  expect(await expoRun(project.path)).toMatchObject({
    path: null,
    said: expect.stringMatching(
      /^› Tartbeat: no build of cached-shop has the fingerprint a1a1.*\n› Tartbeat: .*not uploaded/,
    ),
  });
  const { id, sha256 } = await built(HASH, APP);
  const first = await expoRun(project.path);
  expect(first.path).toBe(join(project.cache, sha256, 'Shop.app'));
  expect(first.said).toContain(
    `of build ${id}: profile development, commit c0ffee00c0ff of main, made by the key CI of shop for Ann, 20`,
  );
  expect(first.said).toContain('downloaded it: ');
  expect(readFileSync(join(first.path!, 'Current'), 'utf8')).toBe('framework');
  expect(await expoRun(project.path)).toMatchObject({
    path: first.path,
    said: expect.stringContaining('it was on this disk: '),
  });
  expect(readdirSync(project.cache)).toEqual([sha256]);
});

/** Records the byte range that each request for an artifact asks for. */
class Recording extends Connection {
  readonly ranges: (string | undefined)[] = [];
  override open(...asked: Parameters<Connection['open']>) {
    if (asked[1].includes('/artifacts/')) this.ranges.push(asked[3]?.headers?.range);
    return super.open(...asked);
  }
}

test('a download that was broken off goes on, stray files do not count, and an app that was deleted comes back', async () => {
  using project = aProject();
  vi.stubEnv('XDG_CACHE_HOME', join(project.path, 'cache'));
  onTestFinished(() => void vi.unstubAllEnvs());
  const fingerprint = 'c3'.repeat(20);
  const { sha256 } = await built(fingerprint, [...APP, { path: 'Shop.app/large', body: randomBytes(4_000_000) }]);
  await using proxy = await faultyProxy(controller.url);
  const connection = new Recording({ url: proxy.url, key: reader });
  const cached = (await new ProjectClient(connection).cachedBuild(PROJECT, 'ios', fingerprint))!;
  const stop = new AbortController();
  const fetchIt = (signal = new AbortController().signal) => fetchApp(new BuildsClient(connection), cached, signal);
  const place = (name: string) => join(project.cache, name);

  proxy.fault = ({ path, count }) => {
    if (!path.includes('/artifacts/') || count > 2) return undefined;
    if (count === 2) stop.abort();
    return count === 2 ? 'refuse' : 'cut answer';
  };
  await expect(fetchIt(stop.signal)).rejects.toThrow(/abort/i);
  // As if the process had died. A file that another process works on stays.
  const partial = `.${sha256.slice(0, 32)}.partial`;
  renameSync(place(partial), place(`${partial}-${spawnSync('true').pid}.1`));
  writeFileSync(place(`${partial}-${process.ppid}.1`), 'of another');
  connection.ranges.length = 0;
  expect(await fetchIt()).toEqual({ path: place(`${sha256}/Shop.app`), wasHere: false });
  expect(connection.ranges).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
  expect(readdirSync(project.cache).toSorted()).toEqual([`${partial}-${process.ppid}.1`, sha256]);
  expect(readFileSync(place(`${partial}-${process.ppid}.1`), 'utf8')).toBe('of another');

  for (const stray of ['.DS_Store', `${sha256}/.DS_Store`]) writeFileSync(place(stray), '');
  expect(await fetchIt()).toMatchObject({ wasHere: true });
  rmSync(place(`${sha256}/Shop.app`), { recursive: true });
  expect(await fetchIt()).toMatchObject({ wasHere: false });
  expect(readFileSync(place(`${sha256}/Shop.app/Current`), 'utf8')).toBe('framework');

  const old = ['a', 'b', 'c', 'd', 'e'].map((letter) => letter.repeat(64));
  for (const [index, name] of old.entries()) {
    mkdirSync(place(name));
    utimesSync(place(name), index, index);
  }
  rmSync(place(sha256), { recursive: true });
  expect(await fetchIt()).toMatchObject({ wasHere: false });
  expect(
    readdirSync(project.cache)
      .filter((name) => !name.startsWith('.'))
      .toSorted(),
  ).toEqual([sha256, ...old.slice(1)].toSorted());
});

test('an app that another run has been given meanwhile stays, whole and in its place', async () => {
  using project = aProject();
  const place = join(project.cache, 'a'.repeat(64));
  mkdirSync(join(place, 'Shop.app'), { recursive: true });
  const usedAt = 1_000;
  utimesSync(place, 2, 2);
  await removeUnused(place, usedAt);
  expect(readdirSync(project.cache)).toEqual(['a'.repeat(64)]);
  expect(readdirSync(place)).toEqual(['Shop.app']);
  utimesSync(place, usedAt / 1_000, usedAt / 1_000);
  await removeUnused(place, usedAt);
  expect(readdirSync(project.cache)).toEqual([]);
});

test('all questions together wait for 10 s, and no flavour or scheme gets the app of another', async () => {
  using project = aProject();
  const projects = await new ProjectClient(farm.withKey(reader)).projects();
  const limits: number[] = [];
  const timeout = AbortSignal.timeout.bind(AbortSignal);
  vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
    limits.push(ms);
    // The first request is answered. The second is not, so its limit is short.
    return timeout(limits.length === 1 ? ms : 300);
  });
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const away = createServer((request, response) => {
    if (request.url === '/api/projects') setTimeout(() => response.end(JSON.stringify({ projects })), 5);
  }).listen(0, '127.0.0.1');
  await once(away, 'listening');
  onTestFinished(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    away.closeAllConnections();
    away.close();
  });
  vi.stubEnv('EXPO_BUILD_URL', `http://127.0.0.1:${(away.address() as { port: number }).port}`);
  vi.stubEnv('EXPO_BUILD_KEY', reader);
  const said = () => write.mock.calls.map(([text]) => String(text)).join('');
  const asked = { projectRoot: project.path, platform: 'ios' as const, runOptions: {} };
  expect(await provider.resolveBuildCache({ ...asked, fingerprintHash: HASH })).toBeNull();
  expect(limits, said()).toHaveLength(2);
  expect(limits[0]).toBeLessThanOrEqual(10_000);
  expect(limits[1]).toBeLessThan(limits[0]!);

  const hashFor = (platform: 'ios' | 'android', runOptions: object) =>
    provider.calculateFingerprintHash({ ...asked, platform, runOptions });
  for (const variant of ['stagingDebug', 'DebugOptimized', 'release'])
    expect(await hashFor('android', { variant }), variant).toBeNull();
  for (const options of [{ configuration: 'Debug Staging' }, { configuration: 'Release' }, { scheme: 'Staging' }])
    expect(await hashFor('ios', options), JSON.stringify(options)).toBeNull();
  expect(await hashFor('android', { variant: 'debug' })).toBe(HASH);
  expect(await hashFor('ios', { configuration: 'Debug' })).toBe(HASH);
});

test('an archive that leads out of its folder, or is no single app, is not unpacked', async () => {
  const fingerprint = 'b2'.repeat(20);
  using project = aProject(`async () => ({ hash: '${fingerprint}' })`);
  const cases: [Entry[], string][] = [
    [[...APP, { path: '../out', body: 'out' }], 'leads out'],
    [[...APP, link('Shop.app/out', '../../../out')], 'a link out'],
    [[...APP, { path: 'Other.app/a', body: 'a' }], 'not one .app folder'],
  ];
  for (const [entries, why] of cases) {
    await built(fingerprint, entries);
    const { path, said } = await expoRun(project.path);
    expect({ path, said }, said).toEqual({ path: null, said: expect.stringContaining(why) });
  }
  expect(readdirSync(project.cache)).toEqual([]);
  expect(readdirSync(project.path).toSorted()).toEqual(['cache', 'node_modules', 'package.json']);
});

test('whatever is missing or fails is one line, and Expo goes on without an app', async () => {
  using project = aProject();
  const untrusted = await keyOf('a stranger', { trusted: false });
  using without = temporaryDir();
  using failing = aProject("async () => { throw new Error('no app.json') }");
  for (const [asked, folder, why] of [
    [{ key: untrusted }, project.path, `no build of ${PROJECT}`],
    [{ key: 'tb_submit_unknown' }, project.path, '401'],
    [{ url: 'http://127.0.0.1:4' }, project.path, 'ECONNREFUSED'],
    [{ options: { project: 'other' } }, project.path, 'there is no project other'],
    [{ key: controller.secrets.ADMIN_KEY }, project.path, 'which project is this'],
    [{ runOptions: { configuration: 'Release' } }, project.path, 'no builds of Release'],
    [{ platform: 'android', runOptions: { variant: 'release' } }, project.path, 'no builds of release'],
    [{}, without.path, '@expo/fingerprint is not installed'],
    [{}, failing.path, 'no app.json'],
  ] as const) {
    const { path, said } = await expoRun(folder, asked);
    expect({ path, said }).toEqual({ path: null, said: expect.stringContaining(why) });
    expect(said.trim().split('\n')).toHaveLength(2);
  }
  expect(await expoRun(project.path, { runOptions: { buildCache: false } })).toMatchObject({ path: null });
  // expo-build.json may name the project, but no address.
  writeFileSync(join(project.path, 'expo-build.json'), JSON.stringify({ project: PROJECT }));
  const named = await expoRun(project.path, { key: controller.secrets.ADMIN_KEY });
  expect(named.path).not.toBeNull();
  writeFileSync(join(project.path, 'expo-build.json'), '{"url":"http://127.0.0.1:9"}');
  expect((await expoRun(project.path)).said).toContain('never come from a project');
});

test('the project computes its fingerprint without the key, whatever it prints, and in a limited time', async () => {
  const program = `async (root, { platforms }) => {
    console.log('noise');
    const { EXPO_BUILD_KEY, EXPO_BUILD_URL, FROM_PROFILE, NODE_ENV } = process.env;
    require('fs').writeFileSync(root + '/seen', JSON.stringify({ platforms, EXPO_BUILD_KEY, EXPO_BUILD_URL, FROM_PROFILE, NODE_ENV }));
    return { hash: '${HASH}' };
  }`;
  using project = aProject(program);
  Object.assign(process.env, { EXPO_BUILD_KEY: 'tb_submit_x', EXPO_BUILD_URL: 'http://127.0.0.1:9' });
  try {
    expect(await fingerprintOf(project.path, 'ios', { env: { FROM_PROFILE: 'yes' } })).toEqual({ hash: HASH });
  } finally {
    delete process.env.EXPO_BUILD_KEY;
    delete process.env.EXPO_BUILD_URL;
  }
  expect(JSON.parse(readFileSync(join(project.path, 'seen'), 'utf8'))).toEqual({
    ...{ platforms: ['ios'], FROM_PROFILE: 'yes', NODE_ENV: 'development' },
  });
  using odd = aProject("async () => ({ hash: '../..' })");
  expect(await fingerprintOf(odd.path, 'ios')).toMatchObject({ why: expect.stringContaining('failed') });
  using hanging = aProject('() => new Promise(() => setInterval(() => {}, 1000))');
  const stop = new AbortController();
  const hung = fingerprintOf(hanging.path, 'ios', { signal: stop.signal });
  stop.abort();
  await expect(hung).rejects.toThrow(/abort/i);
});

test('a profile gets a fingerprint by itself only if it builds an app for development', async () => {
  const build = {
    production: {},
    simulator: { ios: { simulator: true } },
    development: { developmentClient: true, ios: { simulator: true } },
    device: { developmentClient: true },
    debug: { ios: { simulator: true, buildConfiguration: 'Debug' }, android: { gradleCommand: ':app:assembleDebug' } },
    flavour: {
      developmentClient: true,
      ios: { simulator: true, scheme: 'Staging' },
      android: { gradleCommand: ':app:assembleStagingDebug' },
    },
    configuration: { ios: { simulator: true, buildConfiguration: 'DebugStaging' } },
    mixed: {
      developmentClient: true,
      ios: { simulator: true, buildConfiguration: 'Release' },
      android: { gradleCommand: ':app:assembleRelease' },
    },
  };
  const content = Buffer.from(JSON.stringify({ build }));
  const read = await readEasJson({ paths: new Set(['eas.json']), read: async () => content }, '.');
  if (!read.ok) throw new Error(read.problem);
  const isFor = (platform: 'ios' | 'android') =>
    Object.keys(build).filter((name) => {
      const profile = resolveProfile(read.value, platform, name);
      return profile.ok && isForDevelopment(profile.value);
    });
  expect({ ios: isFor('ios'), android: isFor('android') }).toEqual({
    ios: ['development', 'debug'],
    android: ['development', 'device', 'debug'],
  });
});
