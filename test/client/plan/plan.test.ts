/** Tests the decisions about a profile before there is a VM, for small projects of real shape. */
import { expect, test } from 'vitest';
import type { Inputs } from '#contract';
import { type BuildPlan, makePlan, type PlanRequest } from '../../../client/plan/plan.ts';
import type { ProjectFiles } from '../../../client/project/project-files.ts';
import { testWith } from '../../set-up/test-with.ts';
import { BUNDLE_ID, makeIdentity, makeP12, makeProfile, PASSWORD } from '../signing/material.ts';

const APP = {
  name: 'Shop',
  slug: 'shop',
  version: '1.4.0',
  ios: { bundleIdentifier: 'com.example.shop', buildNumber: '7' },
  android: { package: 'com.example.shop', versionCode: 7 },
};
const json = JSON.stringify;
const eas = (profile: object, cli: object = { appVersionSource: 'remote' }) => json({ cli, build: { it: profile } });
const PROJECT = {
  'package.json': json({ name: 'shop', dependencies: { expo: '~57.0.0' } }),
  'package-lock.json': '{}',
  'app.json': json({ expo: APP }),
  'eas.json': eas({ autoIncrement: true, withoutCredentials: true }),
};

const filesOf = (files: Record<string, string>): ProjectFiles => ({
  paths: new Set(Object.keys(files)),
  read: async (path) => (Object.hasOwn(files, path) ? Buffer.from(files[path]!) : null),
});

const plan = (files: Record<string, string>, change: Partial<PlanRequest> = {}) =>
  makePlan({
    platform: 'android',
    profile: 'it',
    appRoot: '.',
    originVariables: {},
    imageNames: ['mac'],
    inputs: { env: {}, secretNames: [] },
    files: filesOf({ ...PROJECT, ...files }),
    now: new Date('2026-11-28'),
    ...change,
  });

async function planned(files: Record<string, string>, change: Partial<PlanRequest> = {}): Promise<BuildPlan> {
  const made = await plan(files, change);
  if (!made.ok) throw new Error(made.problem);
  return made.value;
}
async function problemOf(files: Record<string, string>, change: Partial<PlanRequest> = {}): Promise<string> {
  const made = await plan(files, change);
  return made.ok ? 'none' : made.problem;
}

test('what eas init writes is built without an account, with a number that is asked before the boot', async () => {
  const made = await planned({});
  expect(made).toMatchObject({
    engine: 'plugin',
    manager: { manager: 'npm', workspaceRoot: '.', install: 'npm ci --include=dev' },
    number: {
      asked: 'before the boot',
      request: { app: { id: 'com.example.shop', version: '1.4.0', buildNumber: 7 }, increment: true },
    },
  });
  expect(made.notes[0]).toContain('without an Expo account');
  const { job } = JSON.parse(made.job!);
  expect(job).toMatchObject({ platform: 'android', type: 'managed', version: { versionCode: '@NUMBER@' } });
  expect(made.job).toContain('"@ARCHIVE@"');
});

test('a number is asked for where the source tells the app, else in the VM, and not for what cannot have one', async () => {
  const read = eas({ withoutCredentials: true });
  expect((await planned({ 'eas.json': read })).number).toMatchObject({ request: { increment: false } });
  const dynamic = { 'app.config.ts': 'export default () => ({})' };
  expect((await planned(dynamic)).number).toEqual({ asked: 'in the VM', increment: true });
  const app = { id: 'com.example.other' };
  expect((await planned(dynamic, { app })).number).toEqual({
    asked: 'before the boot',
    request: { app, increment: true },
  });
  expect((await planned({ 'eas.json': eas({ withoutCredentials: true }, {}) })).number).toEqual({ asked: 'never' });
  const simulator = eas({ ios: { simulator: true, autoIncrement: true } });
  const made = await planned({ 'eas.json': simulator }, { platform: 'ios' });
  expect(made.number).toEqual({ asked: 'never' });
  expect(made.notes.join('\n')).toContain('An app for the simulator gets no build number');
});

test('where neither Gradle nor the app config tells the app, the sentence names the file and `app`', async () => {
  const gradle = 'android { productFlavors { free { } } }';
  const files = { 'android/app/build.gradle': gradle, 'app.json': json({ expo: { name: 'Shop' } }) };
  expect(await problemOf(files)).toBe(
    'The build needs a number, and "android/app/build.gradle" does not say plainly which id the app has: give `app` in the request, or write `android.package` into the app config.',
  );
  expect((await planned({ 'android/app/build.gradle': gradle })).number).toMatchObject({
    request: { app: { id: 'com.example.shop' } },
  });
  const app = { id: 'com.example.free' };
  expect((await planned(files, { app })).number).toMatchObject({ request: { app } });
});

test('the variables of profile and build choose manager and words of the install, as in the engine', async () => {
  const { 'package-lock.json': _, ...without } = PROJECT;
  const env = { EAS_FALLBACK_PACKAGE_MANAGER: 'npm' };
  const profile = { 'eas.json': eas({ withoutCredentials: true, env }) };
  const files = filesOf({ ...without, ...profile });
  expect((await planned({}, { files })).manager).toMatchObject({ manager: 'npm' });
  const secret = { env: { EAS_FALLBACK_PACKAGE_MANAGER: 'pnpm' }, secretNames: ['EAS_FALLBACK_PACKAGE_MANAGER'] };
  expect((await planned({}, { files, inputs: secret })).manager).toMatchObject({ manager: 'pnpm' });
  const plain = { env: { EAS_NO_FROZEN_LOCKFILE: '1' }, secretNames: [] };
  expect((await planned({}, { inputs: plain })).manager.install).toBe('npm install --include=dev');
});

test('secret variables go into the job, reserved ones nowhere, and the rest is exported', async () => {
  const inputs: Inputs = {
    env: {
      API_URL: 'https://a',
      TOKEN: 'abc',
      NPMRC: 'line',
      P12_PASSWORD: 'p12',
      profile: 'mine',
      SENTRY_RELEASE: 's',
    },
    secretNames: ['TOKEN', 'NPMRC', 'P12_PASSWORD', 'SENTRY_RELEASE'],
  };
  const originVariables = { TARTBEAT_GIT_BRANCH: 'main', SENTRY_RELEASE: 'commit' };
  const made = await planned({}, { inputs, originVariables });
  expect(made.exported).toEqual({ API_URL: 'https://a', TARTBEAT_GIT_BRANCH: 'main' });
  expect(made.notes.join('\n')).toContain('The variable `profile` is not passed on');
  expect(JSON.parse(made.job!).job.secrets.environmentSecrets.map(({ name }: { name: string }) => name)).toEqual([
    'TOKEN',
    'SENTRY_RELEASE',
  ]);
  expect(made.reserved).toEqual({ NPMRC: 'line', P12_PASSWORD: 'p12' });
});

test('the install holds to the lock file unless EAS_NO_FROZEN_LOCKFILE has a value, of the profile or of the build', async () => {
  const install = async (given: Record<string, string>, secretNames: string[], env?: Record<string, string>) =>
    (
      await planned(
        { 'eas.json': eas({ withoutCredentials: true, ...(env && { env }) }) },
        { inputs: { env: given, secretNames } },
      )
    ).manager.install;
  const name = 'EAS_NO_FROZEN_LOCKFILE';
  expect([
    await install({}, []),
    await install({ [name]: '1' }, []),
    await install({ [name]: '1' }, [name]),
    await install({}, [], { [name]: '0' }),
    await install({ [name]: '' }, []),
  ]).toEqual([
    'npm ci --include=dev',
    ...Array.from({ length: 3 }, () => 'npm install --include=dev'),
    'npm ci --include=dev',
  ]);
});

test('an app in a folder is found there, also if only secret files have its parts', async () => {
  const inFolder = Object.fromEntries(Object.entries(PROJECT).map(([name, text]) => [`apps/mobile/${name}`, text]));
  const { 'apps/mobile/app.json': appJson, ...rest } = inFolder;
  const secretFiles = { 'apps/mobile/app.json': Buffer.from(appJson!).toString('base64') };
  const request = { appRoot: 'apps/mobile', files: filesOf(rest), inputs: { env: {}, secretFiles } };
  expect(await planned({}, request)).toMatchObject({
    appRoot: 'apps/mobile',
    number: { request: { app: { id: 'com.example.shop' } } },
  });
  expect(await problemOf({}, { ...request, appRoot: 'apps/mob' })).toMatch(
    /^The source has no folder "apps\/mob", which `projectRoot` of the request names/,
  );
});

test('a profile that needs Expo needs its token and its project id, and nothing is asked of our counter', async () => {
  const remote = { 'eas.json': eas({ environment: 'production', autoIncrement: true }) };
  expect(await problemOf(remote)).toMatch(/needs Expo's servers, and the build has no EXPO_TOKEN: set it as a secret/);
  const inputs = { env: { EXPO_TOKEN: 'token' }, secretNames: ['EXPO_TOKEN'] };
  expect(await problemOf(remote, { inputs })).toMatch(/has no `extra.eas.projectId`.*run `eas init`/);
  const app = json({ expo: { ...APP, extra: { eas: { projectId: 'b5b2e5b6-0000-4000-8000-000000000000' } } } });
  const made = await planned({ ...remote, 'app.json': app }, { inputs });
  expect(made).toMatchObject({ engine: 'eas', job: null, number: { asked: 'never' } });
  expect(made.reserved.EXPO_TOKEN).toBe('token');
});

test('what eas-cli would refuse in the VM is told before it, and only that', async () => {
  const extra = { eas: { projectId: 'b5b2e5b6-0000-4000-8000-000000000000' } };
  const appJson = (app: object) => ({ 'app.json': json({ expo: { ...APP, extra, ...app } }) });
  const inputs = { env: { EXPO_TOKEN: 'token' }, secretNames: ['EXPO_TOKEN'] };
  const profile = (fields: object) => ({ 'eas.json': eas({ environment: 'production', ...fields }) });
  const problems = (files: Record<string, string>, change: Partial<PlanRequest> = {}) =>
    problemOf({ ...profile({}), ...appJson({}), ...files }, { inputs, ...change });
  expect(await problems({})).toBe('none');
  for (const projectId of [7, '']) {
    const problem = await problems(appJson({ extra: { eas: { projectId } } }));
    expect(problem).toMatch(/extra\.eas\.projectId` (in app\.json must be a text|, which)|no `extra\.eas\.projectId`/);
  }
  for (const platform of ['ios', 'android'] as const) {
    const field = platform === 'ios' ? 'ios.bundleIdentifier' : 'android.package';
    const bare = { ...appJson({ [platform]: {} }), 'android/app/build.gradle': '' };
    expect(await problems(appJson({ [platform]: {} }), { platform })).toContain(
      `has no \`${field}\`, which \`eas build\``,
    );
    if (platform === 'android') expect(await problems(bare)).toBe('none');
    const unsigned = platform === 'ios' ? { ios: { simulator: true } } : { withoutCredentials: true };
    expect(await problems(profile({ credentialsSource: 'local', ...unsigned }), { platform })).toBe('none');
  }
});

test('a custom build may sign in its own way, and the variables of the profile count as given', async () => {
  const custom = {
    'eas.json': eas({ credentialsSource: 'local', config: 'own.yml' }),
    '.eas/build/own.yml': 'build: {}',
  };
  for (const platform of ['ios', 'android'] as const) {
    const { job } = JSON.parse((await planned(custom, { platform })).job!);
    expect(job).toMatchObject({ mode: 'custom', secrets: {} });
    expect(JSON.stringify(job)).not.toContain('dataBase64');
  }
  const npmrc = { '.npmrc': `//npm.example.dev/:_authToken=$${'{OWN_TOKEN}'}\n` };
  const given = (env: object) => ({ ...npmrc, 'eas.json': eas({ withoutCredentials: true, env }) });
  const notes = async (env: object) => (await planned(given(env))).notes.join('\n');
  expect(await notes({})).toContain('takes a token from the variable `OWN_TOKEN`');
  expect(await notes({ OWN_TOKEN: 'token' })).not.toContain('OWN_TOKEN');
  // Only a secret of the build becomes a file.
  expect(await notes({ NPMRC: 'line' })).toContain('takes a token from the variable `OWN_TOKEN`');
});

const withOpenssl = testWith('openssl');

withOpenssl(
  'what signs the app goes into the job under the name of its target, and its password into no log',
  async () => {
    const identity = makeIdentity();
    const p12 = { path: 'a.p12', password: PASSWORD };
    const secretFiles = Object.fromEntries(
      Object.entries({
        'credentials.json': json({
          ios: { provisioningProfilePath: 'a.mobileprovision', distributionCertificate: p12 },
        }),
        'a.p12': makeP12(identity),
        'a.mobileprovision': makeProfile(identity),
      }).map(([path, content]) => [path, Buffer.from(content).toString('base64')]),
    );
    const app = { 'app.json': json({ expo: { ...APP, ios: { bundleIdentifier: BUNDLE_ID } } }) };
    const device = { 'eas.json': eas({ credentialsSource: 'local', autoIncrement: true }) };
    const request = { platform: 'ios', now: new Date(), inputs: { env: {}, secretFiles } } as const;
    const made = await planned({ ...app, ...device }, request);
    expect(made.engine).toBe('plugin');
    expect(JSON.parse(made.job!).job).toMatchObject({
      scheme: 'Shop',
      secrets: { buildCredentials: { Shop: { distributionCertificate: { password: PASSWORD } } } },
      version: { buildNumber: '@NUMBER@' },
    });
    expect(made.secretTexts).toEqual([PASSWORD, json(PASSWORD).slice(1, -1)]);

    // Only the VM can tell what app.config.js calls the app.
    const dynamic = await planned({ ...device, 'app.config.js': '' }, request);
    expect(Object.keys(JSON.parse(dynamic.job!).job.secrets.buildCredentials)).toEqual(['@TARGET@']);

    const wrong = {
      ...secretFiles,
      'credentials.json': Buffer.from(
        json({
          ios: {
            provisioningProfilePath: 'a.mobileprovision',
            distributionCertificate: { ...p12, password: 'not-the-password' },
          },
        }),
      ).toString('base64'),
    };
    for (const files of [
      { ...app, ...device },
      { ...device, 'app.config.js': '' },
    ]) {
      const problem = await problemOf(files, { ...request, inputs: { env: {}, secretFiles: wrong } });
      expect(problem).toContain('a.p12');
      expect(problem).not.toContain('not-the-password');
    }
  },
);

/** A project that needs Expo's server for the environment. */
const withEnvironment = (fields: object) => ({
  'eas.json': eas({ environment: 'production', ...fields }),
  'app.json': json({
    expo: { ...APP, ios: { bundleIdentifier: BUNDLE_ID }, extra: { eas: { projectId: 'b5b2e5b6-0000-4000-8000-0' } } },
  }),
});
const base64 = (content: string | Buffer) => Buffer.from(content).toString('base64');
/** A request with a token and signing files, under the names that credentials.json has for them. */
function signedBy(p12: Buffer, profile: Buffer, { password = PASSWORD, listed = true } = {}) {
  const ios = { provisioningProfilePath: 'a.mobileprovision', distributionCertificate: { path: 'a.p12', password } };
  return {
    platform: 'ios' as const,
    now: new Date(),
    inputs: {
      env: { EXPO_TOKEN: 'token', P12_PASSWORD: PASSWORD },
      secretNames: ['EXPO_TOKEN', 'P12_PASSWORD'],
      secretFiles: {
        ...(listed && { 'credentials.json': base64(json({ ios })) }),
        'a.p12': base64(p12),
        'a.mobileprovision': base64(profile),
      },
    },
  };
}

withOpenssl('what signs a build of eas-cli is checked before the boot too, if it is its own', async () => {
  const identity = makeIdentity();
  const [p12, profile] = [makeP12(identity), makeProfile(identity)];
  const local = withEnvironment({ credentialsSource: 'local' });
  const made = await planned(local, signedBy(p12, profile));
  expect(made).toMatchObject({ engine: 'eas', job: null, number: { asked: 'never' } });
  expect(made.secretTexts).toEqual([PASSWORD, json(PASSWORD).slice(1, -1)]);

  const expired = makeProfile(identity, { expires: new Date('2026-01-01') });
  const modern = makeP12(identity, { kind: 'modern' });
  const problems: [ReturnType<typeof signedBy>, RegExp][] = [
    [signedBy(p12, profile, { password: 'wrong' }), /^`a\.p12` does not open with its password: correct/],
    [signedBy(p12, expired), /^The profile `a\.mobileprovision` .* expired on 2026-01-01/],
    [signedBy(p12, makeProfile(identity, { bundleId: 'com.other' })), /is for `com\.other`, but the target/],
    [signedBy(modern, profile), /^The certificate `a\.p12` .*takes the file as it is: write it again with `openssl/],
    [signedBy(p12, profile, { listed: false }), /only from `credentials\.json`, which is not there/],
  ];
  for (const [request, sentence] of problems) expect(await problemOf(local, request)).toMatch(sentence);
  const none = { ...signedBy(p12, profile), inputs: { env: { EXPO_TOKEN: 'token' }, secretNames: ['EXPO_TOKEN'] } };
  expect(await problemOf(local, none)).toMatch(/has no credentials\.json/);
  expect(await problemOf(local, { ...none, platform: 'android' })).toMatch(
    /^The profile has `credentialsSource: local`/,
  );

  // Neither the simulator nor Expo's own credentials need signing files.
  await planned(withEnvironment({ credentialsSource: 'local', ios: { simulator: true } }), none);
  const remote = await planned(withEnvironment({}), signedBy(modern, expired));
  expect(remote.notes.join('\n')).toContain('The signing files that the build brings are not used');
  expect((await planned(withEnvironment({}), none)).notes.join('\n')).not.toContain('are not used');
});

test('each thing that is wrong is one sentence', async () => {
  const local = { 'eas.json': eas({ credentialsSource: 'local' }) };
  const problems: [string, Record<string, string>, Partial<PlanRequest>, RegExp][] = [
    ['no eas.json', {}, { files: filesOf({ 'package.json': '{}' }) }, /^eas\.json is not in the source/],
    ['no such profile', {}, { profile: 'other' }, /^eas\.json has no build profile/],
    ['eas.json is broken', { 'eas.json': '{' }, {}, /eas\.json/],
    [
      'no credentials',
      local,
      { platform: 'ios' },
      /^The build must be signed, but the source has no credentials\.json/,
    ],
    ['no app id', { 'app.json': json({ expo: { name: 'a', slug: 'a' } }) }, {}, /`android\.package`/],
    [
      'an id that no store takes',
      { 'app.json': json({ expo: { ...APP, android: { package: '$(id)' } } }) },
      {},
      /android/,
    ],
    ['a version that nobody can install', { 'eas.json': eas({ node: 'x', withoutCredentials: true }) }, {}, /node/],
  ];
  for (const [what, files, change, sentence] of problems) {
    const problem = await problemOf(files, change);
    expect(problem, what).toMatch(sentence);
    expect(problem, what).not.toContain('\n');
  }
});
