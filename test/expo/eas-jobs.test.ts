/**
 * Holds the jobs that we make against those of the real eas-cli, and our profiles against those it prints.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readAppConfig } from '../../client/project/app-config.ts';
import { type BuildProfile, resolveProfile } from '../../client/project/build-profile.ts';
import { readEasJson } from '../../client/project/eas-json.ts';
import { isSigned } from '../../client/project/engine.ts';
import { ignoreRules, isIgnored } from '../../client/project/formats/gitignore.ts';
import type { Found } from '../../client/project/found.ts';
import { type EngineInput, type IosCredentials, makeJob } from '../../client/project/job.ts';
import { nativeTargetOf } from '../../client/project/native-target.ts';
import { numberPolicy } from '../../client/project/number-policy.ts';
import type { ProjectFiles } from '../../client/project/project-files.ts';
import { workflowOf } from '../../client/project/workflow.ts';
import { PROFILES, SHAPES } from '../client/project/factories/example-profiles.ts';
import { APP_ID, managedProject } from '../client/project/factories/example-projects.ts';
import { filesInFolder, filesOf } from '../client/project/factories/files-of.ts';
import { installed } from './factories/engine-packages.ts';
import { type Asked, jobOfExpo, LAST_NUMBER, profileOfExpo } from './factories/expo-cli.ts';
import { randomEasJson } from './projects/random-eas-json.ts';

const PACKAGES = ['eas-cli@24.8.0', 'expo-modules-autolinking@58.1.0'];
/** With EXPO_JOBS=all all forty are asked. A run of eas-cli takes about 3 s. */
const IS_WHOLE = process.env.EXPO_JOBS === 'all';
const FORTY = 40;

const roots: string[] = [];
afterAll(() => {
  for (const root of roots) rmSync(root, { recursive: true, force: true });
});
let packages: string;
beforeAll(async () => {
  packages = await installed(PACKAGES);
}, 400_000);

function written(files: Record<string, string>, appRoot = '.'): string {
  const root = mkdtempSync(join(tmpdir(), 'eas-jobs-'));
  roots.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  // eas-cli looks for expo-dev-client, and in a managed project also for expo-modules-autolinking.
  const modules = join(root, appRoot, 'node_modules');
  mkdirSync(join(modules, 'expo-dev-client'), { recursive: true });
  writeFileSync(join(modules, 'expo-dev-client/package.json'), '{ "name": "expo-dev-client", "version": "6.0.0" }');
  symlinkSync(join(packages, 'node_modules/expo-modules-autolinking'), join(modules, 'expo-modules-autolinking'));
  return root;
}

const valueIn = <T>(found: Found<T>): T => {
  if (!found.ok) throw new Error(found.problem);
  return found.value;
};

const PROFILE_FOR_STORES = `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Name</key><string>Example</string></dict></plist>`;
const PLACES = { p12: 'dist.p12', profile: 'app.mobileprovision', keystore: 'release.jks' };
const target = {
  provisioningProfilePath: PLACES.profile,
  distributionCertificate: { path: PLACES.p12, password: 'pass' },
};
const iosCredentials = (names: readonly string[]): IosCredentials =>
  Object.fromEntries(
    names.map((name) => [
      name,
      {
        provisioningProfileBase64: Buffer.from(PROFILE_FOR_STORES).toString('base64'),
        distributionCertificate: { dataBase64: Buffer.from('p12').toString('base64'), password: 'pass' },
      },
    ]),
  );
const keystore = { keystorePassword: 'one', keyAlias: 'upload', keyPassword: 'two' };

/** The differences of our job from eas-cli's, by path, and why. All else is the same. */
const DIFFERENCES: Record<string, string> = {
  'job.projectArchive.path': 'The guest says where its archive is.',
  'job.appId': "The app's id at Expo. The engine never uses it, and our builds have no such id.",
  'job.initiatingUserId': 'A user at Expo. The engine never uses it.',
  'job.username': 'A user at Expo.',
  'metadata.username': 'A user at Expo.',
  'metadata.trackingContext': "For Expo's own statistics.",
  'metadata.cliVersion': 'No eas-cli takes part.',
  'metadata.runFromCI': "For Expo's own statistics.",
  'metadata.runWithNoWaitFlag': "For Expo's own statistics.",
};

/** Further differences where `autoIncrement` stands beside `appVersionSource: local`. */
const LOCAL_DIFFERENCES: Record<string, string> = {
  'metadata.appBuildVersion': 'eas-cli raises the number in files of the project. Tartbeat does not change them.',
  'metadata.appVersion': 'On the way, eas-cli writes the version of app.json into the native project.',
};

const ALL_DIFFERENCES = Object.keys({ ...DIFFERENCES, ...LOCAL_DIFFERENCES });
const valueAt = (input: object, path: string): unknown =>
  path.split('.').reduce((one: Record<string, unknown> | undefined, name) => one?.[name] as never, input as never);

/** The differences that one of the forty had. */
const seen = new Set<string>();

function withoutDifferences(input: object, isRaisedLocally: boolean): object {
  const copy = JSON.parse(JSON.stringify(input));
  for (const path of Object.keys({ ...DIFFERENCES, ...(isRaisedLocally && LOCAL_DIFFERENCES) })) {
    const names = path.split('.');
    const last = names.pop()!;
    const within = names.reduce((one: Record<string, unknown> | undefined, name) => one?.[name] as never, copy);
    if (within) delete within[last];
  }
  return copy;
}

async function ourJob(
  files: ProjectFiles,
  { appRoot, platform, profile: name }: Pick<Asked, 'appRoot' | 'platform' | 'profile'>,
): Promise<EngineInput> {
  const easJson = valueIn(await readEasJson(files, appRoot));
  const profile: BuildProfile = valueIn(resolveProfile(easJson, platform, name));
  const workflow = await workflowOf(files, appRoot, platform);
  const app = valueIn(await readAppConfig(files, appRoot, platform, workflow, profile));
  const target = platform === 'ios' ? valueIn(await nativeTargetOf(files, appRoot, workflow, profile, app)) : null;
  const { policy } = numberPolicy(easJson, profile);
  const number = { none: null, read: String(LAST_NUMBER), increment: String(LAST_NUMBER + 1) }[policy];
  const credentials =
    platform === 'ios'
      ? iosCredentials(target!.targets.map((one) => one.name))
      : { keystore: { dataBase64: Buffer.from('jks').toString('base64'), ...keystore } };
  const packageManager = appRoot === '.' ? undefined : ('npm' as const);
  return valueIn(
    makeJob({
      ...{ profile, workflow, appRoot, app, target, packageManager },
      buildNumber: number,
      credentials: isSigned(profile) ? credentials : null,
      environmentSecrets: [],
    }),
  );
}

const CASES = SHAPES.flatMap(({ profiles, ...shape }) =>
  profiles.flatMap((profile) => (['ios', 'android'] as const).map((platform) => ({ ...shape, profile, platform }))),
);

test('there are forty of them', () => {
  expect(CASES).toHaveLength(FORTY);
});

const sample = CASES.filter((_, index) => IS_WHOLE || index % 9 === 0);
test.concurrent.each(sample)(
  '$shape $platform $profile: the job is the one of eas-cli',
  async ({ shape, files, appRoot, source, profile, platform }) => {
    const at = (name: string) => join(appRoot, name);
    const root = written(
      {
        ...files,
        [at('eas.json')]: JSON.stringify({ cli: { appVersionSource: source }, build: PROFILES }),
        [at('credentials.json')]: JSON.stringify({
          ios: shape === 'bare' ? { Tiny: target, 'Tiny Widget': target } : target,
          android: { keystore: { keystorePath: PLACES.keystore, ...keystore } },
        }),
        [at(PLACES.p12)]: 'p12',
        [at(PLACES.profile)]: PROFILE_FOR_STORES,
        [at(PLACES.keystore)]: 'jks',
      },
      appRoot,
    );
    const asked: Asked = { packages, source: root, appRoot, platform, profile };
    const ours = await ourJob(await filesInFolder(root), asked);
    const theirs = await jobOfExpo(asked);
    const isRaised = source === 'local' && profile === 'production';
    for (const path of ALL_DIFFERENCES)
      if (!isDeepStrictEqual(valueAt(ours, path), valueAt(theirs, path))) seen.add(path);
    expect(withoutDifferences(ours, isRaised)).toEqual(withoutDifferences(theirs, isRaised));
    expect(theirs.metadata.appIdentifier).toBe(APP_ID);
  },
);

if (IS_WHOLE)
  test('each listed difference is in one of the forty', () => {
    expect([...seen].sort()).toEqual(ALL_DIFFERENCES.sort());
  });

test('the engine accepts each of the forty jobs, and those of random profiles, and takes nothing out of them', async () => {
  const { sanitizeBuildJob } = createRequire(join(packages, 'node_modules/eas-cli/index.js'))(
    '@expo/eas-build-job',
  ) as {
    sanitizeBuildJob(job: object): object;
  };
  const jobs: object[] = [];
  for (const { files, appRoot, source, profile, platform } of CASES) {
    const eas = JSON.stringify({ cli: { appVersionSource: source }, build: PROFILES });
    const given = filesOf({ ...files, [appRoot === '.' ? 'eas.json' : `${appRoot}/eas.json`]: eas });
    jobs.push((await ourJob(given, { appRoot, platform, profile })).job);
  }
  for (const { text, platform, name: profile } of fc.sample(randomEasJson, { numRuns: 300, seed: 3 })) {
    const given = filesOf({ ...managedProject(), 'eas.json': text });
    const easJson = await readEasJson(given, '.');
    if (!easJson.ok || !resolveProfile(easJson.value, platform, profile).ok) continue;
    jobs.push((await ourJob(given, { appRoot: '.', platform, profile })).job);
  }
  expect(jobs.length).toBeGreaterThan(150);
  for (const job of jobs) expect(sanitizeBuildJob(job)).toEqual(job);
});

// Leaves out forms that eas-cli's package reads otherwise than git: `[!a]`, `!/**` and `a/**/`.
test('a random .gitignore says of a random path what eas-cli says', () => {
  const ignore = createRequire(join(packages, 'index.js'))('ignore') as () => {
    add(text: string): { ignores(path: string): boolean };
  };
  const piece = fc.constantFrom('ios', 'App.xcodeproj', 'a', 'b', '*', '?', '*.xcodeproj', 'i*s', '[a-c]', '\\\\a');
  const rule = fc
    .tuple(
      fc.constantFrom('', '!', '/', '!/', '# '),
      fc.array(piece, { minLength: 1, maxLength: 3 }),
      fc.constantFrom('/', '/', '/**/'),
      fc.constantFrom('', '/', ' ', '/**'),
    )
    .map(([before, pieces, between, after]) => before + pieces.join(between) + after);
  const path = fc.array(fc.constantFrom('ios', 'App.xcodeproj', 'a', 'b', 'IOS', 'other'), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 4 }), path, (rules, parts) => {
      const [text, one] = [rules.join('\n'), parts.join('/')];
      expect(isIgnored(ignoreRules(text), one)).toBe(ignore().add(text).ignores(one));
    }),
    { numRuns: 3_000, seed: 1 },
  );
});

test('random profiles are what `eas config --eas-json-only --json` prints', { timeout: 900_000 }, async () => {
  const wanted = IS_WHOLE ? FORTY : 3;
  let compared = 0;
  for (const drawn of fc.sample(randomEasJson, { numRuns: 400, seed: 7 })) {
    if (compared === wanted) break;
    const files = filesOf({ 'eas.json': drawn.text });
    const easJson = await readEasJson(files, '.');
    const ours = easJson.ok ? resolveProfile(easJson.value, drawn.platform, drawn.name) : null;
    // Those that are refused, or have unknown fields, are compared in eas-profiles.test.ts.
    // `cli.version` is checked by eas-cli itself.
    if (
      !easJson.ok ||
      !ours?.ok ||
      easJson.value.cli.version ||
      easJson.notes.some((note) => note.includes('not known'))
    )
      continue;
    const root = written({ 'eas.json': drawn.text, 'package.json': '{}' });
    const { name: profile, platform, ...fields } = ours.value;
    const theirs = await profileOfExpo({ packages, source: root, appRoot: '.', platform, profile });
    expect(JSON.parse(JSON.stringify(fields))).toEqual(theirs);
    compared++;
  }
  expect(compared).toBe(wanted);
});
