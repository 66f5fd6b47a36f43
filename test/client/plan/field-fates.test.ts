/** Tests the fate of a profile's variable if the build brings one of the same name. */
import { expect, test } from 'vitest';
import { fateOf } from '../../../client/plan/field-fates.ts';

const fateOfToken = (engine: 'plugin' | 'eas', plainNames: string[], secretNames: string[]) =>
  fateOf({ field: 'env.TOKEN', value: 'x' }, {
    ...{ platform: 'ios', values: {}, imageNames: null, hasCustomBuild: false, plainNames, secretNames },
    project: { engine: { engine } },
  } as never);

test.each([
  ['plugin', [], ['TOKEN'], 'ignored', /A secret variable of the build has the same name, and wins/],
  ['eas', [], ['TOKEN'], 'used', /It wins over the one of the same name/],
  ['plugin', ['TOKEN'], [], 'used', /It wins over the one of the same name/],
  ['plugin', [], [], 'used', /^A variable of the build\.$/],
] as const)(
  'with the engine %s, plain %j and secret %j, env of the profile is %s',
  (engine, plain, secret, fate, says) => {
    expect(fateOfToken(engine, [...plain], [...secret])).toEqual({ fate, says: expect.stringMatching(says) });
  },
);
