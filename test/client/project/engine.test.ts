import { expect, test } from 'vitest';
import type { BuildProfile } from '../../../client/project/build-profile.ts';
import { chooseEngine } from '../../../client/project/engine.ts';

const profileOf = (fields: Partial<BuildProfile>): BuildProfile => ({
  name: 'production',
  platform: 'ios',
  credentialsSource: 'remote',
  distribution: 'store',
  ...fields,
});

test.each<[Partial<BuildProfile>, boolean, 'plugin' | 'eas', string]>([
  [{}, false, 'eas', 'takes its signing files from Expo'],
  [{}, true, 'plugin', 'brings its own signing files'],
  [{ credentialsSource: 'local' }, false, 'plugin', '`credentialsSource: local`'],
  [{ simulator: true }, false, 'plugin', 'for the simulator'],
  [{ withoutCredentials: true, simulator: true }, false, 'plugin', 'is not signed'],
  [{ environment: 'production', credentialsSource: 'local' }, true, 'eas', 'names the environment `production`'],
  [{ environment: 'production', simulator: true }, false, 'eas', 'names the environment `production`'],
  [{ config: 'a.yml', credentialsSource: 'local' }, false, 'plugin', '`credentialsSource: local`'],
  [{ platform: 'android' }, false, 'eas', 'takes its signing files from Expo'],
  // The field `simulator` is one of iOS.
  [{ platform: 'android', simulator: true }, false, 'eas', 'takes its signing files from Expo'],
  [{ platform: 'android', withoutCredentials: true }, false, 'plugin', 'is not signed'],
  [{ platform: 'android' }, true, 'plugin', 'brings its own signing files'],
])('%j with local credentials %j: %s', (fields, hasLocalCredentials, engine, because) => {
  const choice = chooseEngine(profileOf(fields), { hasLocalCredentials });
  expect(choice.engine).toBe(engine);
  expect(choice.because).toContain(because);
});
