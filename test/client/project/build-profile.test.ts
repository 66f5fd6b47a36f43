import { expect, test } from 'vitest';
import { type BuildProfile, checkCustomBuild, resolveProfile } from '../../../client/project/build-profile.ts';
import { type EasJson, readEasJson } from '../../../client/project/eas-json.ts';
import { filesOf } from './factories/files-of.ts';

async function easJsonOf(build: object): Promise<EasJson> {
  const found = await readEasJson(filesOf({ 'eas.json': JSON.stringify({ build }) }), '.');
  if (!found.ok) throw new Error(found.problem);
  return found.value;
}

const resolve = async (build: object, platform: 'ios' | 'android' = 'ios', imageNames: string[] = []) =>
  resolveProfile(await easJsonOf(build), platform, 'production', { imageNames });
const problemOf = async (...args: Parameters<typeof resolve>) => {
  const found = await resolve(...args);
  return found.ok ? null : found.problem;
};

test('what is nearer wins; env and platforms are merged; null takes a variable away and hides no version', async () => {
  const found = await resolve({
    base: {
      node: '20.1.0',
      env: { A: '1', B: '2', C: '3' },
      ios: { scheme: 'App', env: { D: '4' } },
      cache: { key: 'x' },
    },
    production: {
      extends: 'base',
      node: null,
      env: { B: 'two', C: null },
      ios: { simulator: true, env: { A: 'one' } },
      cache: { paths: ['y'] },
    },
  });
  expect(found.ok && found.value).toEqual({
    ...{ name: 'production', platform: 'ios', credentialsSource: 'remote', distribution: 'store', node: '20.1.0' },
    ...{ scheme: 'App', simulator: true, cache: { paths: ['y'] }, env: { A: 'one', B: 'two', D: '4' } },
  });
});

test('a profile that does not exist is listed with those there are', async () => {
  const easJson = await easJsonOf({ preview: {}, 'odd`\nname': {} });
  expect(resolveProfile(easJson, 'ios', 'production')).toMatchObject({
    problem: "eas.json has no build profile `production`. It has `preview`, `odd' name`. Name one of them, or add it.",
  });
  expect(resolveProfile(await easJsonOf({}), 'ios', 'constructor')).toMatchObject({
    problem: 'eas.json has no build profile `constructor`. It has no profiles. Name one of them, or add it.',
  });
});

test('at most five profiles extend each other', async () => {
  const row = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, at) => [
        at === 0 ? 'production' : `p${at}`,
        at < count - 1 ? { extends: `p${at + 1}` } : {},
      ]),
    );
  expect(await problemOf(row(5))).toBeNull();
  expect(await problemOf(row(6))).toBe(
    'Profile `production` in eas.json extends `p1`, `p2`, `p3`, `p4`, `p5` in a row. At most 5 profiles may follow each other: join some.',
  );
});

test('the images that there are, are accepted; others are refused with their names', async () => {
  const asks = (image: string) => ({ production: { ios: { image } } });
  for (const image of ['latest', 'auto', 'default', 'sdk-57', 'tahoe'])
    expect(await problemOf(asks(image), 'ios', ['tahoe'])).toBeNull();
  expect(await problemOf(asks('macos-sequoia-15.5-xcode-16.4'), 'ios', ['tahoe'])).toBe(
    'Profile `production` in eas.json asks for the image `macos-sequoia-15.5-xcode-16.4`, which this Mac does not have. Remove `ios.image`, or write `latest`, `auto`, `default`, `sdk-N`, `tahoe`.',
  );
  // The image of the other platform does not matter.
  expect(await problemOf(asks('macos-sequoia-15.5-xcode-16.4'), 'android')).toBeNull();
});

test('an unsigned app for iOS devices is refused, unless the steps are custom ones', async () => {
  expect(await problemOf({ production: { withoutCredentials: true } })).toContain('Set `ios.simulator` to true');
  expect(await problemOf({ production: { withoutCredentials: true, ios: { simulator: true } } })).toBeNull();
  expect(await problemOf({ production: { withoutCredentials: true, config: 'a.yml' } })).toBeNull();
  expect(await problemOf({ production: { withoutCredentials: true } }, 'android')).toBeNull();
});

test('each ignored field that the profile has is a note with the reason', async () => {
  const found = await resolve({
    production: {
      resourceClass: 'large',
      cache: {},
      ios: { bundler: '2.5.0' },
      android: { ndk: '26.1.0' },
      node: '22.13.0',
    },
  });
  expect(found.ok && found.notes).toEqual([
    '`resourceClass` of profile `production` in eas.json is ignored. A VM has the processors and the memory that its Mac gives it.',
    "`cache` of profile `production` in eas.json is ignored. Expo's local engine has no cache.",
  ]);
});

test('the file of a custom build must be in the source', () => {
  const profile = { name: 'production', platform: 'ios', config: 'release.yml' } as BuildProfile;
  const files = filesOf({ 'apps/mobile/.eas/build/release.yml': 'build: {}' });
  expect(checkCustomBuild(files, 'apps/mobile', profile).ok).toBe(true);
  expect(checkCustomBuild(files, '.', profile)).toEqual({
    ok: false,
    problem:
      'Profile `production` has `config`, but `.eas/build/release.yml` is not in the source. Add the file, or remove `config` from the profile.',
  });
  expect(checkCustomBuild(files, '.', { ...profile, config: '../../../../etc/passwd' }).ok).toBe(false);
});
