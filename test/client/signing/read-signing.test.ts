/** Asks what a build of a profile is signed with, and whether it needs Expo's server for that. */
import { expect, test } from 'vitest';
import { hasCredentials } from '../../../client/signing/credentials-json.ts';
import { readSigning, type SigningProfile } from '../../../client/signing/read-signing.ts';
import { testWith } from '../../set-up/test-with.ts';
import { APP, makeIdentity, makeP12, makeProfile, PASSWORD, problemIn, valueIn } from './material.ts';

const withOpenssl = testWith('openssl');
const NO_FILES = { paths: new Set<string>(), read: async () => null };

const read = (profile: SigningProfile, secrets: Record<string, Buffer> = {}, appRoot = '.') =>
  readSigning({
    ...{ files: NO_FILES, appRoot, profile, now: new Date(), targets: [APP] },
    ...{ secretFiles: new Map(Object.entries(secrets)), env: { P12_PASSWORD: PASSWORD } },
  });

test('a build that is not signed needs nothing, and reads nothing', async () => {
  const damaged = { 'credentials.json': Buffer.from('{') };
  for (const profile of [
    { platform: 'ios', simulator: true },
    { platform: 'ios', withoutCredentials: true },
    { platform: 'android', withoutCredentials: true },
  ] as const)
    expect(await read(profile, damaged)).toEqual({ ok: true, value: null, notes: [] });
});

test('a build that must be signed and has nothing is told what to give', async () => {
  expect(problemIn(await read({ platform: 'ios', credentialsSource: 'local' }, {}, 'apps/mobile'))).toMatch(
    /`apps\/mobile` has no credentials\.json.+\(\.p12\).+submit one or the other\.$/,
  );
  expect(problemIn(await read({ platform: 'android', credentialsSource: 'local' }))).toMatch(
    /names the keystore: submit/,
  );
  expect(await read({ platform: 'android' })).toEqual({
    ...{ ok: true, value: null },
    notes: [expect.stringContaining('debug key that no store takes')],
  });
});

withOpenssl('what is given is read, checked against the profile, and its notes are handed on', async () => {
  const identity = makeIdentity();
  const secrets = { 'a.p12': makeP12(identity, { kind: 'modern' }), 'a.mobileprovision': makeProfile(identity) };
  const good = await read({ platform: 'ios' }, secrets);
  expect(good).toMatchObject({ notes: [expect.stringContaining('written again')] });
  expect(valueIn(good)).toMatchObject({ secrets: [PASSWORD] });
  expect(problemIn(await read({ platform: 'ios', distribution: 'internal' }, secrets))).toContain(
    'of the kind app-store',
  );
});

test('a build that brings its own does not need those of Expo', async () => {
  const has = (secrets: Record<string, string>, platform: 'ios' | 'android' = 'ios', appRoot = '.') =>
    hasCredentials(
      NO_FILES,
      appRoot,
      platform,
      new Map(Object.entries(secrets).map(([path, text]) => [path, Buffer.from(text)])),
    );
  expect(await has({})).toBe(false);
  expect(await has({ 'x.mobileprovision': '' })).toBe(false);
  expect([await has({ 'c/x.P12': '' }), await has({ 'c/x.p12': '' }, 'android')]).toEqual([true, false]);
  const json = { 'credentials.json': '{"ios": {}}' };
  expect([await has(json), await has(json, 'android'), await has(json, 'ios', 'app')]).toEqual([true, false, false]);
  expect([await has({ 'credentials.json': '{' }), await has({ 'credentials.json': 'null' })]).toEqual([true, true]);
});
