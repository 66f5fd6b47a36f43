import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project } from '../client/packing/trees.ts';
import { bareProject, managedProject } from '../client/project/factories/example-projects.ts';
import { expoBuild, jsonLinesOf } from './factories/expo-build.ts';
import { startOnTerminal } from './factories/started.ts';

const init = (it: { dir: string; path: string }, ...args: string[]) =>
  expoBuild(['init', ...args], { cwd: it.path, env: { XDG_CONFIG_HOME: it.dir } });

test('a native project gets an expo-build.json once, and only if the person says so', async () => {
  using it = project();
  it.tree
    .write({
      ...bareProject(),
      'package-lock.json': '{}',
      'android/gradlew': '',
      'ios/fastlane/Fastfile': 'last_git_commit',
    })
    .committed();
  const path = join(it.path, 'expo-build.json');
  const asked = await init(it);
  expect(asked).toMatchObject({ code: 0, stderr: '' });
  for (const part of [
    'no eas.json',
    'npm, by package-lock.json',
    'iOS: a native project',
    'Run `expo-build login`',
    'ios/fastlane/Fastfile calls `last_git_commit`',
    '`--yes` writes',
  ])
    expect(asked.stdout).toContain(part);
  expect(existsSync(path)).toBe(false);

  {
    using terminal = startOnTerminal(['init', '--offline'], { cwd: it.path, env: { XDG_CONFIG_HOME: it.dir } });
    await terminal.shows('Write ');
    terminal.type('y\r');
    expect(await terminal.ended).toBe(0);
  }
  const written = readFileSync(path, 'utf8');
  expect(Object.keys(JSON.parse(written))).toEqual(['ios', 'android']);

  const again = await init(it, '--yes', '--offline');
  expect(again.stdout).toContain('expo-build.json with a command for iOS and Android');
  expect(again.stdout).toContain('expo-build submit --platform android\n');
  expect(readFileSync(path, 'utf8')).toBe(written);

  writeFileSync(path, '{"secretFiles":[]}');
  const merged = await init(it, '--yes', '--offline', '--json');
  expect(jsonLinesOf(merged).map(({ type }) => type)).not.toContain('proposed_file');
  expect(merged.stdout).toContain('It could have:');
  expect(readFileSync(path, 'utf8')).toBe('{"secretFiles":[]}');
});

test('in a repository the only app is found; an eas.json is written only when asked for, and its profiles checked', async () => {
  using it = project();
  const app = Object.fromEntries(Object.entries(managedProject()).map(([path, text]) => [`apps/one/${path}`, text]));
  const expo = JSON.stringify({ name: 'one', dependencies: { expo: '~57.0.0' } });
  it.tree.write({
    ...app,
    'apps/one/package.json': expo,
    'package.json': '{"workspaces":["apps/*"]}',
    'yarn.lock': '# yarn lockfile v1\n',
  });
  it.tree.committed();
  const first = await init(it, '--yes', '--offline', '--json');
  expect(jsonLinesOf(first)).toMatchObject([
    {
      type: 'found_project',
      appRoot: 'apps/one',
      name: 'one',
      isExpo: true,
      manager: 'yarn',
      workspaceRoot: '.',
      profiles: null,
      ios: 'made_by_prebuild',
    },
    { type: 'needed', message: expect.stringContaining('expo-build init --eas-json') },
  ]);
  await init(it, '--yes', '--offline', '--eas-json');
  const second = await init(it, '--yes', '--offline', '--eas-json');
  expect(second.stdout).toContain('expo-build submit apps/one --platform ios --profile preview\n');
  expect(second.stdout).toContain('expo-build submit apps/one --platform android --profile preview\n');
  expect(second.stdout).toMatch(/production for iOS: The build must be signed/);
  expect(second.stdout).not.toContain('Proposed');
  // `submit` sends what credentials.json names, so it counts here too.
  it.tree.write({
    '.gitignore': 'credentials.json\n*.p12\n*.mobileprovision\n',
    'apps/one/credentials.json': JSON.stringify({
      ios: { provisioningProfilePath: 'a.mobileprovision', distributionCertificate: { path: 'a.p12', password: 'x' } },
    }),
    ...{ 'apps/one/a.p12': 'no certificate', 'apps/one/a.mobileprovision': 'no profile' },
  });
  const third = await init(it, '--yes', '--offline');
  expect(third.stdout).toMatch(/production for iOS: .*a\.mobileprovision/);
});

test('a hostile project: no link is written through, and what leads out is refused', async () => {
  using it = project();
  const outside = join(it.dir, 'outside.json');
  it.tree.write({ ...bareProject(), '.gitignore': 'expo-build.json\n' }).committed();
  symlinkSync(outside, join(it.path, 'expo-build.json'));
  const through = await init(it, '--yes', '--offline');
  expect(through).toMatchObject({ code: 2, stderr: expect.stringContaining('it is a link') });
  expect(existsSync(outside)).toBe(false);
  it.tree.link('ios/Pods', '/etc');
  it.tree.git('add', '-f', 'ios/Pods');
  expect(await init(it, '--yes', '--offline')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('leads out of'),
  });
});
