/** Sorts the inputs of a profile's build, and finds the texts of them that no log may show. */
import { expect, test } from 'vitest';
import { withJsonForms } from '../../../client/plan/json-forms.ts';
import { RESERVED, sortVariables } from '../../../client/plan/variables.ts';
import { certificateOpener } from '../../../client/signing/certificate.ts';
import { maskText, needlesOf } from '../../../worker-agent/build-log/mask.ts';
import { furtherSecretsOf, secretsInSource } from '../../../worker-agent/expo/secret-texts.ts';
import { makeIdentity, makeP12 } from '../../client/signing/material.ts';
import { testWith } from '../../set-up/test-with.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');

test('variables are plain, secret or reserved, and a reserved one is never one of the others', () => {
  const env = {
    API_URL: 'https://a',
    TOKEN: 'abc',
    ...Object.fromEntries(RESERVED.map((name) => [name, `of ${name}`])),
  };
  const told = sortVariables({ env, secretNames: ['TOKEN', 'EXPO_TOKEN', 'P12_PASSWORD'] });
  expect(told.plain).toEqual({ API_URL: 'https://a' });
  expect(told.secret).toEqual({ TOKEN: 'abc' });
  expect(Object.keys(told.reserved).sort()).toEqual([...RESERVED].sort());
  // This request does not tell them apart.
  expect(sortVariables({ env: { API_URL: 'https://a', MY_TOKEN: 'abc' } })).toMatchObject({
    plain: { API_URL: 'https://a' },
    secret: { MY_TOKEN: 'abc' },
  });
});

test('passwords and tokens inside files and reserved variables are masked on their own, and as JSON has them', () => {
  const quoted = 'pass"word\\one';
  const inputs = {
    env: {
      P12_PASSWORD: 'p12-password',
      NPMRC: '@acme:registry=https://npm.acme.dev/\n//npm.acme.dev/:_authToken=npm_0123456789\n',
      NETRC: 'machine acme.dev login me password netrc-password\n',
      SENTRY_AUTH_TOKEN: 'has a "quote" in it',
      GIT_KNOWN_HOSTS: 'acme.dev ssh-ed25519 AAAAC3Nza',
    },
    secretNames: ['SENTRY_AUTH_TOKEN'],
    secretFiles: {
      'apps/mobile/credentials.json': base64(
        JSON.stringify({
          ios: {
            provisioningProfilePath: 'a.mobileprovision',
            distributionCertificate: { path: 'a.p12', password: quoted },
          },
          android: {
            keystore: { keystorePassword: 'keystore-password', keyAlias: 'alias-name', keyPassword: 'key-password' },
          },
        }),
      ),
      'other/credentials.json': base64('no json'),
    },
  };
  const mask = (text: string) => maskText(needlesOf({ ...inputs, others: furtherSecretsOf(inputs) }), text);
  for (const secret of [
    'p12-password',
    'npm_0123456789',
    'netrc-password',
    'keystore-password',
    'key-password',
    quoted,
  ])
    expect(mask(`[${secret}]`), secret).toBe('[***]');
  expect(mask(JSON.stringify({ password: quoted, token: 'has a "quote" in it' }))).toBe(
    '{"password":"***","token":"***"}',
  );
  for (const shown of ['alias-name', 'acme.dev', 'a.mobileprovision']) expect(mask(shown)).toBe(shown);
});

test('a text without special characters has one form', () => {
  expect(withJsonForms(['plain', 'a"b'])).toEqual(['plain', 'a"b', 'a\\"b']);
});

const withOpenssl = testWith('openssl');

withOpenssl(
  'the passwords of a source are known whatever the plan says, and one that was made is the same again',
  async () => {
    const p12 = makeP12(makeIdentity(), { password: '' });
    const made = () => {
      const read = certificateOpener()({ path: 'a.p12', content: p12, password: '', passwordFix: '' }, new Set());
      if (!read.ok) throw new Error(read.problem);
      return read.value.password;
    };
    expect(made()).toMatch(/^[0-9a-f]{48}$/);
    const ios = { App: { distributionCertificate: { path: 'a.p12', password: 'ge"heim' } } };
    const given = new Map([['apps/mobile/credentials.json', Buffer.from(`\uFEFF${JSON.stringify({ ios })}`)]]);
    const source = { paths: new Set(given.keys()), read: async (path: string) => given.get(path) ?? null };
    const secretFiles = { 'apps/mobile/a.p12': p12.toString('base64') };
    const texts = await secretsInSource(source, 'apps/mobile', { env: {}, secretFiles });
    expect(texts).toEqual(['ge"heim', 'ge\\"heim', made()]);
    expect(furtherSecretsOf({ env: {}, secretFiles })).toContain(made());
    expect(await secretsInSource(source, '.', { env: {} })).toEqual([]);
    const broken = { ...source, read: () => Promise.reject(new Error('of the disk')) };
    await expect(secretsInSource(broken, '.', { env: {} })).rejects.toThrow('of the disk');
  },
);
