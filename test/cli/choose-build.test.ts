import { expect, test } from 'vitest';
import { appForStore, chooseBuild } from '../../cli/submit/choose-build.ts';
import { readProject } from '../../cli/submit/read-project.ts';
import { project } from '../client/packing/trees.ts';
import { managedProject } from '../client/project/factories/example-projects.ts';

test.each([
  ['1.4.0', { id: 'com.example.app', version: '1.4.0' }],
  // The agent reads an empty version in the same way: the counter then decides.
  ['', { id: 'com.example.app' }],
  ['1'.repeat(65), { id: 'com.example.app' }],
])('of an app with the version %j the store is asked what the contract takes', async (version, app) => {
  using it = project();
  it.tree.write({
    ...managedProject(),
    'eas.json': '{"build":{"production":{}}}',
    'app.json': JSON.stringify({ expo: { name: 'a', slug: 'a', version, ios: { bundleIdentifier: app.id } } }),
  });
  const flags = { include: [], secretFile: [], easignoreAdds: false };
  const read = await readProject(it.path, flags, { explain: false, signal: new AbortController().signal });
  expect(await appForStore(read, await chooseBuild(read, 'ios', { artifact: [], profile: 'production' }))).toEqual(app);
});
