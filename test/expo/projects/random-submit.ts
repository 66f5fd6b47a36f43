/** Draws the `submit` part of files of eas.json at random: mostly right ones, some with one mistake. */
import fc from 'fast-check';
import { NAMES, parentOf } from './random-eas-json.ts';

/** The values of the variables that a drawn profile may name. */
export const VARIABLES: Readonly<Record<string, string>> = {
  KEY_ID: 'AB32CZE81F',
  ISSUER: '57246542-96fe-1a63-e053-0824d011072a',
  KEY_PATH: 'keys/key.p8',
  EMPTY: '',
  LOWER: 'lower',
};

const text = fc.constantFrom('x', 'two words', '"quoted"', "it's", 'a/b.json', '../up', '$KEY_PATH', 'ü', '0');
const flag = fc.constantFrom<unknown>(true, false, 'true', 'FALSE');
const valued = (...values: string[]) =>
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...values) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ...['$KEY_ID', '$ISSUER', `\${KEY_PATH}`, '$EMPTY', '$UNSET', `\${UNSET:-AB12}`, `\${KEY_ID:-x}`, '\\$KEY_ID'],
        ...[
          '\\\\$KEY_ID',
          '$LOWER',
          `\${UNSET:-$KEY_ID}`,
          '$',
          `\${`,
          'pre$KEY_ID',
          '$KEY_ID$ISSUER',
          `\${EMPTY:-\${KEY_ID}}`,
        ],
      ),
    },
  );

const ios = {
  ascApiKeyPath: valued('key.p8', 'keys/key.p8'),
  ascApiKeyId: valued('AB32CZE81F', '1', 'A'.repeat(30), 'AB32CZE81G', 'A'.repeat(31)),
  ascApiKeyIssuerId: valued('57246542-96fe-1a63-e053-0824d011072a', '57246542-96FE-1A63-E053-0824D011072A'),
  appleId: fc.constantFrom('me@example.com', 'you@example.com', 'me@example.com', 'nobody', '$APPLE_ID'),
  ascAppId: fc.constantFrom('1234567890', '1'.repeat(20), '1'.repeat(20), '1'.repeat(31), 'com.example'),
  appleTeamId: fc.constantFrom('AB32CZE81F', 'AB32CZE81F', 'AB32CZE81', 'ab32cze81f'),
  sku: text,
  language: text,
  companyName: text,
  appName: text,
  bundleIdentifier: text,
  metadataPath: text,
  groups: fc.array(text, { maxLength: 3 }),
};

const android = {
  serviceAccountKeyPath: valued('account.json'),
  track: text,
  releaseStatus: fc.constantFrom('completed', 'draft', 'halted'),
  changesNotSentForReview: flag,
  applicationId: text,
};
/** A rollout, mostly with the fields that it needs beside it. */
const rollout = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<object>(
      ...[0.1, 1, 0, '0.5', ' .25 ', '1e-1'].map((value) => ({ releaseStatus: 'inProgress', rollout: value })),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<object>({ rollout: 0.1 }, { releaseStatus: 'inProgress' }, { rollout: 2 }),
  },
);

const some = (fields: Record<string, fc.Arbitrary<unknown>>) =>
  fc
    .subarray(Object.keys(fields), { maxLength: 5 })
    .chain((keys) => fc.record(Object.fromEntries(keys.map((key) => [key, fields[key]!]))));

/** `parent`: which profile of the file it extends, as random-eas-json.ts has it. */
const profile = fc.record({
  ios: fc.option(some(ios), { freq: 4 }),
  android: fc.option(
    fc.tuple(some(android), rollout).map(([fields, release]) => ({ ...fields, ...release })),
    { freq: 4 },
  ),
  parent: fc.option(fc.nat(9), { freq: 2 }),
});

const mistake = fc.record({
  name: fc.constantFrom(...NAMES),
  section: fc.constantFrom('ios', 'android', null),
  field: fc.constantFrom(...Object.keys(ios), ...Object.keys(android), 'rollout', 'ios', 'android', 'extends'),
  value: fc.constantFrom<unknown>('', 0, 'yes', [], ['x', 1], {}, { x: 1 }, null, 'Upper', -1),
});

export interface RandomSubmit {
  text: string;
  platform: 'ios' | 'android';
  /** Undefined: none is named. */
  name: string | undefined;
}

export const randomSubmit: fc.Arbitrary<RandomSubmit> = fc
  .record({
    profiles: fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), profile), {
      minLength: 1,
      maxLength: 6,
      selector: ([name]) => name,
    }),
    mistake: fc.option(mistake, { freq: 2 }),
    platform: fc.constantFrom('ios' as const, 'android' as const),
    pick: fc.nat(),
  })
  .map(({ profiles, mistake, platform, pick }) => {
    const names = profiles.map(([name]) => name);
    const submit: Record<string, Record<string, unknown>> = {};
    for (const [index, [name, { ios, android, parent }]] of profiles.entries()) {
      const above = parent === null || (index === 0 && parent !== 9) ? undefined : parentOf(parent, index, names);
      submit[name] = { ...(ios && { ios }), ...(android && { android }), ...(above && { extends: above }) };
    }
    if (mistake && submit[mistake.name]) {
      const one = submit[mistake.name]!;
      const at = mistake.section ? ((one[mistake.section] ??= {}) as Record<string, unknown>) : one;
      at[mistake.field] = mistake.value;
    }
    const [named, ...others] = [profiles[pick % profiles.length]![0], undefined, 'nowhere', 'production'];
    return {
      text: JSON.stringify({ submit }),
      platform,
      name: pick % 5 === 0 ? others[pick % others.length] : named,
    };
  });
