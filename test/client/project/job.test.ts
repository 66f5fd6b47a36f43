import { expect, test } from 'vitest';
import type { AppConfig } from '../../../client/project/app-config.ts';
import type { BuildProfile } from '../../../client/project/build-profile.ts';
import { JOB_MAX_BYTES, type JobInputs, makeJob, NUMBER_MARK } from '../../../client/project/job.ts';

const app: AppConfig = {
  ...{
    kind: 'static',
    nativeFile: null,
    file: 'app.json',
    name: 'Tiny',
    slug: 'tiny',
    projectId: null,
    appExtensions: [],
  },
  ...{ appId: 'a.b', version: '1.0.0', buildNumber: 7, sdkVersion: '57.0.0', reactNativeVersion: null },
};
const credentials = {
  Tiny: { provisioningProfileBase64: 'cA==', distributionCertificate: { dataBase64: 'Yw==', password: '' } },
};

const inputs = (profile: Partial<BuildProfile> = {}, more: Partial<JobInputs> = {}): JobInputs => ({
  profile: { name: 'production', platform: 'ios', credentialsSource: 'local', distribution: 'store', ...profile },
  workflow: 'managed',
  appRoot: '.',
  app,
  target: { scheme: 'Tiny' },
  buildNumber: null,
  credentials,
  environmentSecrets: [],
  ...more,
});

test('secrets travel as texts that the engine does not print, and the archive as a text that the guest replaces', () => {
  const found = makeJob(
    inputs({ env: { A: '1' } }, { environmentSecrets: [{ name: 'TOKEN', value: 's' }], gitCommitHash: 'short' }),
  );
  expect(found).toMatchObject({
    value: {
      job: {
        projectArchive: { type: 'PATH', path: '@ARCHIVE@' },
        builderEnvironment: { env: { A: '1' } },
        secrets: { buildCredentials: credentials, environmentSecrets: [{ name: 'TOKEN', value: 's', type: 'string' }] },
      },
    },
  });
  // The engine refuses a commit of any other length, and fails at hooks.
  expect(found.ok && found.value.metadata).not.toHaveProperty('gitCommitHash');
  expect(found.ok && found.value.job).not.toHaveProperty('hooks');
});

test('an iOS device build without signing files is refused, a custom one is not', () => {
  expect(makeJob(inputs({}, { credentials: null }))).toEqual({
    ok: false,
    problem:
      'Profile `production` builds for iOS devices, and the build has no signing files. Add credentials.json or secret files, or set `ios.simulator` to true.',
  });
  expect(makeJob(inputs({ config: 'a.yml' }, { credentials: null }))).toMatchObject({
    value: {
      job: { mode: 'custom', customBuildConfig: { path: '.eas/build/a.yml' }, secrets: { buildCredentials: {} } },
    },
  });
});

test('a job that no variable can hold is refused', () => {
  const secretOf = (bytes: number) => inputs({}, { environmentSecrets: [{ name: 'A', value: 'x'.repeat(bytes) }] });
  expect(makeJob(secretOf(500_000)).ok).toBe(true);
  const found = makeJob(secretOf(JOB_MAX_BYTES));
  expect(found).toEqual({
    ok: false,
    problem: expect.stringMatching(
      /takes at most 683 KiB\. Its variables have 684 KiB of them: give long values as secret files/,
    ),
  });
});

test('of a job that is too large, what is large is named', () => {
  const large = { Tiny: { ...credentials.Tiny, provisioningProfileBase64: 'x'.repeat(JOB_MAX_BYTES) } };
  expect(makeJob(inputs({}, { credentials: large }))).toEqual({
    ok: false,
    problem: expect.stringMatching(
      /Its certificates and profiles have 684 KiB of them: give only those of the targets/,
    ),
  });
});

test('the log says where a number cannot reach the app', () => {
  const notes = (profile: Partial<BuildProfile>, buildNumber: string | null) => {
    const found = makeJob(inputs(profile, { buildNumber }));
    return found.ok ? found.notes : [found.problem];
  };
  expect(notes({}, '42')).toEqual([]);
  expect(notes({ simulator: true }, null)).toEqual([]);
  expect(notes({ simulator: true }, '42')).toEqual([
    "The build number 42 does not reach the app: a simulator build keeps the project's own number 7. It is in EAS_BUILD_IOS_BUILD_NUMBER.",
  ]);
  expect(notes({ config: 'a.yml' }, NUMBER_MARK)).toEqual([
    'The build number reaches the app only if the steps of `.eas/build/a.yml` set it.',
  ]);
  expect(notes({ platform: 'android' }, '1.2')).toEqual([
    'The build number `1.2` is no whole number, which Android needs. Give a whole number.',
  ]);
  expect(notes({ platform: 'android' }, NUMBER_MARK)).toEqual([]);
});
