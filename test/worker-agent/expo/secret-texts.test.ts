/** What a build of a profile is given, sorted, and which texts of it no log may show. */
import { expect, test } from 'vitest';
import { maskText, needlesOf } from '../../../worker-agent/build-log/mask.ts';
import { furtherSecretsOf, withJsonForms } from '../../../worker-agent/expo/secret-texts.ts';
import { RESERVED, sortVariables } from '../../../worker-agent/expo/variables.ts';

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
  // A request that does not tell them apart.
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
