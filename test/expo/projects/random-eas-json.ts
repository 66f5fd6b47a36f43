/** Draws files of eas.json at random: mostly right ones, some with one mistake, written in several styles. */
import fc from 'fast-check';

export const NAMES = ['production', 'preview', 'development', 'base', 'a.b', 'naïve'] as const;

const text = fc.constantFrom('x', 'Release', 'two words', '"quoted"', "it's", 'a/b.yml', '../up', '$(X)', 'ü', '0');
const version = fc.constantFrom('22.13.0', '1.2.3-beta.1', 'v20.19.4', '10.0.0+build.5', ' 3.2.1 ');
const channel = fc.constantFrom('production', '0.a_b-c');
const flag = fc.constantFrom<unknown>(true, false, 'true', 'FALSE');
const texts = fc.array(text, { maxLength: 3 });
const orNull = (one: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 5, arbitrary: one }, { weight: 1, arbitrary: fc.constant(null) });
const cacheFields = { disabled: flag, key: text, cacheDefaultPaths: flag };
const cache = fc.oneof(
  fc.record({ ...cacheFields, paths: texts }, { requiredKeys: [] }),
  fc.record({ ...cacheFields, customPaths: texts }, { requiredKeys: [] }),
);

const common = {
  resourceClass: fc.constantFrom('default', 'medium', 'large'),
  env: fc.dictionary(fc.constantFrom('A', 'B', 'C', 'constructor'), orNull(text), { maxKeys: 3 }),
  node: orNull(version),
  corepack: flag,
  pnpm: orNull(version),
  bun: orNull(version),
  yarn: orNull(version),
  expoCli: version,
  credentialsSource: fc.constantFrom('local', 'remote'),
  distribution: fc.constantFrom('store', 'internal'),
  releaseChannel: channel,
  channel,
  developmentClient: flag,
  prebuildCommand: text,
  autoIncrement: flag,
  buildArtifactPaths: texts,
  uploadSourceMaps: flag,
  config: text,
  withoutCredentials: flag,
  environment: fc.constantFrom('production', 'my-env_2'),
  cache,
};
const image = fc.constantFrom('latest', 'auto', 'default', 'sdk-57');
const path = fc.constantFrom('applicationArchivePath', 'artifactPath', null);

/** A record of some fields, few at a time, as files of people have them. */
const some = (fields: Record<string, fc.Arbitrary<unknown>>) =>
  fc
    .subarray(Object.keys(fields), { maxLength: 6 })
    .chain((keys) => fc.record(Object.fromEntries(keys.map((key) => [key, fields[key]!]))));

const withPath = (one: fc.Arbitrary<Record<string, unknown>>) =>
  fc.tuple(one, path, text).map(([fields, key, value]) => (key === null ? fields : { ...fields, [key]: value }));

const ios = withPath(
  some({
    ...common,
    image,
    resourceClass: fc.constantFrom('large', 'm1-medium', 'm-medium', 'm-large'),
    bundler: orNull(version),
    fastlane: version,
    cocoapods: orNull(version),
    enterpriseProvisioning: fc.constantFrom('adhoc', 'universal'),
    simulator: flag,
    scheme: text,
    buildConfiguration: text,
    autoIncrement: fc.oneof(flag, fc.constantFrom('version', 'buildNumber')),
  }),
);

const android = withPath(
  some({
    ...common,
    image,
    ndk: orNull(version),
    gradleCommand: text,
    buildType: fc.constantFrom('apk', 'app-bundle'),
    keystoreName: text,
    autoIncrement: fc.oneof(flag, fc.constantFrom('version', 'versionCode')),
  }),
);

/** `parent`: 0 to 9, which profile of the file it extends. See below. */
const profile = fc
  .tuple(some(common), fc.option(ios), fc.option(android), fc.option(fc.nat(9), { freq: 3 }))
  .map(([fields, ios, android, parent]) => ({
    fields: { ...fields, ...(ios && { ios }), ...(android && { android: mended(android) }) },
    parent,
  }));

/** Mostly puts the field that `keystoreName` needs beside it. */
const mended = (android: Record<string, unknown>) =>
  android.keystoreName === undefined || android.keystoreName === 'x'
    ? android
    : { ...android, credentialsSource: 'remote' };

/** Mostly a profile that stands before this one, so that there is no circle. */
export function parentOf(parent: number, index: number, names: readonly string[]): string | undefined {
  if (parent === 9) return 'nowhere';
  return parent === 8 ? names.at(-1 - index) : names[parent % Math.max(index, 1)];
}

const cli = fc.record(
  {
    version: text,
    requireCommit: flag,
    appVersionSource: fc.constantFrom('local', 'remote'),
    promptToConfigurePushNotifications: flag,
    updateAssetHostOverride: text,
    updateManifestHostOverride: text,
  },
  { requiredKeys: [] },
);

/** Values that most fields refuse. */
const wrong = fc.constantFrom<unknown>(
  '',
  0,
  22,
  'yes',
  [],
  ['x', 1],
  {},
  { x: 1 },
  null,
  '22',
  'Upper',
  '1.2',
  '-x',
  'm1-medium',
);

/** Puts a wrong value, or one that may be right there, at a random place of a random profile. */
const mistake = fc.record({
  name: fc.constantFrom(...NAMES),
  section: fc.constantFrom('ios', 'android', null),
  field: fc.constantFrom(
    ...Object.keys(common),
    'ios',
    'android',
    'extends',
    'image',
    'simulator',
    'buildType',
    'keystoreName',
    'artifactPath',
    'autoIncrement',
    'scheme',
    'ndk',
  ),
  value: wrong,
});

export interface RandomEasJson {
  text: string;
  platform: 'ios' | 'android';
  name: string;
}

export const randomEasJson: fc.Arbitrary<RandomEasJson> = fc
  .record({
    profiles: fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), profile), {
      minLength: 1,
      maxLength: 6,
      selector: ([name]) => name,
    }),
    cli: fc.option(cli),
    mistake: fc.option(mistake, { freq: 3 }),
    style: fc.constantFrom('plain', 'plain', 'commented'),
    platform: fc.constantFrom('ios' as const, 'android' as const),
    pick: fc.nat(),
  })
  .map(({ profiles, cli, mistake, style, platform, pick }) => {
    const names = profiles.map(([name]) => name);
    const build: Record<string, Record<string, unknown>> = {};
    for (const [index, [name, { fields, parent }]] of profiles.entries()) {
      const above =
        index === 0 && parent !== 9 ? undefined : parent === null ? undefined : parentOf(parent, index, names);
      build[name] = { ...structuredClone(fields), ...(above && { extends: above }) };
    }
    if (mistake && build[mistake.name]) {
      const one = build[mistake.name]!;
      const at = mistake.section ? ((one[mistake.section] ??= {}) as Record<string, unknown>) : one;
      at[mistake.field] = mistake.value;
    }
    const json = JSON.stringify({ ...(cli && { cli }), build }, null, 2);
    return {
      // Line comments, block comments, and a comma after the last value of each object.
      text:
        style === 'plain'
          ? json
          : `// made at random\n${json.replaceAll(/(["\]}el\d])\n/g, '$1 /* last */,\n').replace(/,\n?$/, '')}`,
      platform,
      name: profiles[pick % profiles.length]![0],
    };
  });
