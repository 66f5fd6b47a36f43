import { expect, test } from 'vitest';
import { readSubmitOptions, readSubmitProfile } from '../../../../client/project/submit/read-submit-profile.ts';
import type { Platform } from '../../../../client/project/submit/submit-profile.ts';
import { filesOf } from '../factories/files-of.ts';

const read = (submit: unknown, platform: Platform, name?: string, variables = {}) =>
  readSubmitProfile(filesOf({ 'app/eas.json': JSON.stringify({ submit }) }), 'app', platform, name, variables);

test('a profile for App Store Connect is what is asked of it, with notes on what is ignored', async () => {
  const submit = {
    base: { ios: { ascApiKeyPath: './keys/AuthKey.p8', ascApiKeyId: '$ASC_KEY_ID', groups: ['Old'] } },
    production: {
      extends: 'base',
      ios: {
        ...{ ascApiKeyIssuerId: `\${ISSUER:-57246542-96fe-1a63-e053-0824d011072a}`, ascAppId: '1234567890' },
        ...{ groups: ['QA', 'Team'], language: 'de-DE', appleId: 'me@example.com', sku: 'shop', newField: 1 },
      },
      web: {},
    },
  };
  expect(await read(submit, 'ios', undefined, { ASC_KEY_ID: 'AB32CZE81F' })).toEqual({
    ok: true,
    value: {
      options: {
        ...{ store: 'app-store-connect', ascAppId: '1234567890', ascApiKeyId: 'AB32CZE81F' },
        ...{ groups: ['QA', 'Team'], locale: 'de-DE' },
      },
      storeKey: { path: './keys/AuthKey.p8', issuerId: '57246542-96fe-1a63-e053-0824d011072a' },
    },
    notes: [
      '`appleId` of submit profile `production` in app/eas.json is ignored. Nobody signs in with an Apple Account: the stored key does.',
      '`sku` of submit profile `production` in app/eas.json is ignored. It serves to create the app in App Store Connect, which is done there by hand, once.',
      'app/eas.json has fields that are not known and change nothing: `submit.production.web`, `submit.production.ios.newField`.',
    ],
  });
});

test('a profile for Google Play has its release, and without any profile the defaults are meant', async () => {
  const android = {
    serviceAccountKeyPath: 'play.json',
    releaseStatus: 'inProgress',
    rollout: '0.1',
    track: 'production',
  };
  expect(
    await read({ staged: { android: { ...android, applicationId: 'com.example.app' } } }, 'android', 'staged'),
  ).toEqual({
    ok: true,
    value: {
      options: {
        ...{ store: 'google-play', track: 'production', releaseStatus: 'inProgress', rollout: 0.1 },
        changesNotSentForReview: false,
      },
      storeKey: { path: 'play.json', issuerId: null },
    },
    notes: [
      '`applicationId` of submit profile `staged` in app/eas.json is ignored. The app is the one that the artifact says.',
    ],
  });
  for (const submit of [undefined, {}, { other: {} }])
    expect(await read(submit, 'android')).toMatchObject({
      ok: true,
      value: { options: { track: 'internal', releaseStatus: 'completed' }, storeKey: { path: null } },
      notes: [],
    });
});

const chain = (length: number) =>
  Object.fromEntries(Array.from({ length }, (_, i) => [`p${i}`, i + 1 < length ? { extends: `p${i + 1}` } : {}]));

test.each<[what: string, submit: unknown, platform: Platform, name: string | undefined, sentence: string]>([
  [
    ...(['a missing profile', { a: {}, b: {} }, 'ios', 'c'] as const),
    'app/eas.json has no submit profile `c`. It has `a`, `b`. Name one of them, or add it.',
  ],
  [
    ...(['a missing parent', { a: { extends: 'z' } }, 'ios', 'a'] as const),
    'Submit profile `a` in app/eas.json extends `z`, which does not exist. Correct the name, or add it.',
  ],
  [
    ...(['six in a row', chain(6), 'ios', 'p0'] as const),
    'Submit profile `p0` in app/eas.json extends `p1`, `p2`, `p3`, `p4`, `p5` in a row. At most 5 profiles may follow each other, and none may extend itself: join some.',
  ],
  [
    ...(['an unset variable', { production: { ios: { ascApiKeyId: '$UNSET' } } }, 'ios', undefined] as const),
    '`submit.production.ios.ascApiKeyId` in app/eas.json must not be empty, but the value of "$UNSET" here does not fit. Set the variable, or correct the field.',
  ],
  [
    ...(['a variable elsewhere', { production: { ios: { ascAppId: '$APP' } } }, 'ios', undefined] as const),
    '`submit.production.ios.ascAppId` in app/eas.json must be the numeric Apple ID of the app, such as 1234567890, but is "$APP". Correct it there.',
  ],
  [
    ...(['a rollout alone', { a: { android: { rollout: 0.5 } } }, 'android', 'a'] as const),
    '`submit.a.android` in app/eas.json has to have `rollout` with `releaseStatus: "inProgress"`, and with no other. Correct it there.',
  ],
  [
    ...(['a rollout of 0', { a: { android: { releaseStatus: 'inProgress', rollout: 0 } } }, 'android', 'a'] as const),
    '`submit.a.android.rollout` in app/eas.json must be above 0. Correct it there.',
  ],
  [
    ...(['a key id that Apple does not have', { a: { ios: { ascApiKeyId: 'AB' } } }, 'ios', 'a'] as const),
    '`submit.a.ios.ascApiKeyId` in app/eas.json must be a key id, such as 2X9R4HXF34. Correct it there.',
  ],
])('%s is refused with file, field and fix', async (_, submit, platform, name, sentence) => {
  expect(await read(submit, platform, name)).toEqual({ ok: false, problem: sentence });
});

test('a project that names variables of other secrets learns, shows and sends none', async () => {
  const environment = {
    ...{ EXPO_BUILD_KEY: 'tb_submit_SECRETSECRETSECRET', expo_build_url: 'SECRET1234', AWS: 'AKIASECRETSECRETSECR' },
    ...{ UUID: '57246542-96fe-1a63-e053-0824d011072a', KEY_ID: 'AB32CZE81F' },
  };
  const FIELDS = ['ascApiKeyPath', 'ascApiKeyId', 'ascApiKeyIssuerId', 'serviceAccountKeyPath', 'ascAppId', 'track'];
  for (const field of FIELDS)
    for (const name of [...Object.keys(environment), 'Expo_Build_Key'])
      for (const value of [`$${name}`, `\${${name}}`, `\${UNSET:-$${name}}`, `A$${name}`]) {
        const submit = { production: { ios: { [field]: value }, android: { [field]: value } } };
        const files = filesOf({ 'eas.json': JSON.stringify({ submit }) });
        for (const platform of ['ios', 'android'] as const) {
          const answer = JSON.stringify(await readSubmitOptions(files, '.', platform, undefined, environment));
          expect(answer).not.toMatch(/SECRET|57246542/);
        }
        // The command that sets a store key reads all of these variables. It shows none either.
        const whole = await readSubmitProfile(files, '.', 'ios', undefined, { ...environment, [name]: 'tb_SECRET' });
        if (!whole.ok) expect(whole.problem).not.toMatch(/SECRET/);
      }
  const named = (ascApiKeyId: string) => ({
    production: { ios: { ascApiKeyId, ascApiKeyPath: '$AWS', ascApiKeyIssuerId: '$AWS' } },
  });
  const options = (submit: unknown) =>
    readSubmitOptions(filesOf({ 'eas.json': JSON.stringify({ submit }) }), '.', 'ios', undefined, environment);
  expect(await options(named('$KEY_ID'))).toMatchObject({ ok: true, value: { ascApiKeyId: 'AB32CZE81F' } });
  expect(await options(named('$AWS'))).toMatchObject({
    problem: expect.stringMatching(
      /ascApiKeyId` in eas.json must not be empty, but the value of "\$AWS" here does not/,
    ),
  });
});
