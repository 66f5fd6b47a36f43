/**
 * Tests the provider of the build cache with Expo's own command: its code loads and calls it, with the
 * fingerprint that @expo/fingerprint makes. Needs the registry. package.test.ts finds it in the package.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { Fingerprint } from '#contract';
import { fingerprintOf } from '../../cli/build-cache/fingerprint.ts';
import { PROJECT_ROOT } from '../../local/farm/project-root.ts';
import { temporaryDir } from '../worker-agent/factories/temporary-dir.ts';
import { installed } from './factories/engine-packages.ts';

/** It brings its own @expo/fingerprint. */
const EXPO_CLI = '@expo/cli@56.1.26';

const EXPO = `
const [file, projectRoot, plugin] = process.argv.slice(1);
const cache = require(file);
(async () => {
  const provider = await cache.resolveBuildCacheProvider({ plugin, options: { project: 'shop' } }, projectRoot);
  const asked = { projectRoot, platform: 'ios', runOptions: {}, provider };
  const path = await cache.resolveBuildCache(asked);
  await cache.uploadBuildCache({ ...asked, buildPath: '/tmp/Shop.app' });
  console.log(JSON.stringify({ path }));
})();`;

test('Expo’s command loads the provider and asks it, and goes on without an app if there is none', async () => {
  const packages = await installed([EXPO_CLI]);
  using dir = temporaryDir();
  const project = join(dir.path, 'project');
  mkdirSync(join(project, 'node_modules'), { recursive: true });
  symlinkSync(join(packages, 'node_modules/@expo'), join(project, 'node_modules/@expo'));
  writeFileSync(join(project, 'package.json'), '{"name":"shop","version":"1.0.0"}');
  const native = join(project, 'ios');
  mkdirSync(native);
  writeFileSync(join(native, 'Podfile'), 'platform :ios\n');
  const made = await fingerprintOf(project, 'ios');
  expect(made).toEqual({ hash: expect.any(String) });
  const { hash } = made as { hash: string };
  expect(Fingerprint.safeParse(hash).success).toBe(true);
  writeFileSync(join(native, 'Podfile'), "platform :ios, '15.1'\n");
  expect(await fingerprintOf(project, 'ios')).not.toEqual(made);
  writeFileSync(join(native, 'Podfile'), 'platform :ios\n');

  const file = join(packages, 'node_modules/@expo/cli/build/src/utils/build-cache-providers/index.js');
  const { stdout, stderr } = await execa(
    process.execPath,
    ['-e', EXPO, file, project, join(PROJECT_ROOT, 'cli/build-cache-provider.ts')],
    {
      cwd: packages,
      env: { EXPO_BUILD_URL: 'http://127.0.0.1:4', EXPO_BUILD_KEY: 'tb_submit_x', EXPO_OFFLINE: '1' },
    },
  );
  expect(JSON.parse(stdout)).toEqual({ path: null });
  expect(stderr).toMatch(new RegExp(`^› Tartbeat: GET .*/projects/shop/.*fingerprint=${hash}.*ECONNREFUSED`));
});
