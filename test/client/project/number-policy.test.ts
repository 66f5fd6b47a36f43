import { expect, test } from 'vitest';
import type { BuildProfile } from '../../../client/project/build-profile.ts';
import { numberPolicy } from '../../../client/project/number-policy.ts';

type Source = 'remote' | 'local' | undefined;
const decide = (appVersionSource: Source, autoIncrement: BuildProfile['autoIncrement']) =>
  numberPolicy(
    { file: 'eas.json', cli: { appVersionSource }, profiles: new Map() },
    { name: 'production', platform: 'ios', credentialsSource: 'local', distribution: 'store', autoIncrement },
  );

test.each<[Source, BuildProfile['autoIncrement'], string, string | null]>([
  ['remote', true, 'increment', null],
  ['remote', 'buildNumber', 'increment', null],
  ['remote', 'versionCode', 'increment', null],
  ['remote', false, 'read', null],
  ['remote', undefined, 'read', null],
  ['remote', 'version', 'read', 'does not change the version of an app'],
  ['local', undefined, 'none', null],
  ['local', true, 'none', 'does not change files of the project'],
  ['local', 'version', 'none', 'does not change the version of an app'],
  [undefined, 'buildNumber', 'none', 'does not change files of the project'],
  [undefined, false, 'none', null],
])('appVersionSource %s and autoIncrement %s: %s', (source, autoIncrement, policy, note) => {
  const decided = decide(source, autoIncrement);
  expect(decided.policy).toBe(policy);
  expect(decided.notes).toEqual(note === null ? [] : [expect.stringContaining(note)]);
});
