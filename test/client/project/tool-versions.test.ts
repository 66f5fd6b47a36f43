/** Tests which version of each tool a build wants. */
import { expect, test } from 'vitest';
import type { Manager } from '../../../client/project/dependencies/package-manager-field.ts';
import { type ToolFields, toolVersions } from '../../../client/project/tool-versions.ts';
import { filesOf } from './factories/files-of.ts';

type Case = { profile?: ToolFields; manager?: Manager; appRoot?: string };

const ask = (table: Record<string, unknown>, { profile = {}, manager = 'npm', appRoot = '.' }: Case = {}) =>
  toolVersions(filesOf({ 'package.json': {}, ...table }), appRoot, '.', profile, manager);

async function versionsOf(table: Record<string, unknown>, options: Case = {}) {
  const answer = await ask(table, options);
  if (!answer.ok) throw new Error(answer.problem);
  return Object.fromEntries(answer.value.map(({ name, version }) => [name, version]));
}

async function problemOf(table: Record<string, unknown>, options: Case = {}) {
  const answer = await ask(table, options);
  return answer.ok ? null : answer.problem;
}

test('a field of eas.json comes before packageManager, and before .nvmrc and .node-version', async () => {
  const table = { 'package.json': { packageManager: 'pnpm@10.15.0' }, '.nvmrc': 'v20.11.0', '.node-version': '18' };
  expect(await versionsOf(table, { manager: 'pnpm', profile: { node: '22.11.0', pnpm: '9.1.0' } })).toEqual({
    node: '22.11.0',
    pnpm: '9.1.0',
  });
  expect(await versionsOf(table, { manager: 'pnpm' })).toEqual({ node: '20.11.0', pnpm: '10.15.0' });
});

test('Node comes first, because the managers run on it', async () => {
  const answer = await ask({ '.nvmrc': '22' }, { manager: 'yarn', profile: { yarn: '1.22.22', cocoapods: '1.16.2' } });
  expect(answer.ok && answer.value.map(({ name }) => name)).toEqual(['node', 'yarn', 'cocoapods']);
});

test('the words of .nvmrc that name a fixed line are understood, the others are named and refuse nothing', async () => {
  for (const [text, version] of [
    ['22', '22'],
    ['v22.11.0\n', '22.11.0'],
    ['# why\n\n22.11 # line\n', '22.11'],
    ['22.x', '22'],
    ['node-20.1.0', '20.1.0'],
    ['lts/jod', '22'],
    ['lts/Krypton', '24'],
  ] as const)
    expect([text, await versionsOf({ '.nvmrc': text })]).toEqual([text, { node: version }]);
  const words = ['node', 'latest', 'current', '>=20', '^20', '^22.1.0', 'lts/-1', 'system', 'iojs-3', '22 || 24'];
  for (const text of [...words, 'lts/hydra', '.x'.repeat(500_000), ' #'.repeat(500_000).concat('\u2028x'), '?'])
    expect(await ask({ '.nvmrc': `a${text}` })).toMatchObject({
      ok: true,
      value: [],
      notes: [expect.stringMatching(/^\.nvmrc says `a.*the image's own Node\. Write a version/)],
    });
  const withEscape = await ask({ '.node-version': '\x1b[2Jlatest' });
  expect(withEscape).toMatchObject({ notes: [expect.stringContaining('.node-version says `?[2Jlatest`')] });
});

test('lts/* is the Node of the image, and is said', async () => {
  const answer = await ask({ '.nvmrc': 'lts/*' });
  expect(answer).toMatchObject({ ok: true, value: [], notes: [expect.stringContaining("the image's own Node")] });
});

test('the file nearest to the app counts', async () => {
  const table = { '.nvmrc': '20', 'apps/mobile/.node-version': '22', 'apps/mobile/package.json': {} };
  expect(await versionsOf(table, { appRoot: 'apps/mobile' })).toEqual({ node: '22' });
  expect(await versionsOf({ '.nvmrc': '20' }, { appRoot: 'apps/mobile' })).toEqual({ node: '20' });
});

test('packageManager keeps its checksum, and what is no version is named and gets the default', async () => {
  const packageManager = 'pnpm@10.15.0+sha512.486ebc25';
  expect(await versionsOf({ 'package.json': { packageManager } }, { manager: 'pnpm' })).toEqual({
    pnpm: '10.15.0+sha512.486ebc25',
  });
  for (const version of ['latest', '^10', 'https://example.com/pnpm.tgz'])
    expect(await ask({ 'package.json': { packageManager: `pnpm@${version}` } }, { manager: 'pnpm' })).toMatchObject({
      value: [{ name: 'pnpm', version: '10.34.8' }],
      notes: [expect.stringContaining(`is \`pnpm@${version}\``)],
    });
  const range = { 'package.json': { packageManager: 'yarn@^1.22.22' }, 'yarn.lock': '# yarn lockfile v1\n' };
  expect(await versionsOf(range, { manager: 'yarn' })).toEqual({ yarn: '1.22.22' });
  expect(await ask({ 'package.json': { packageManager: 'npm@>=10' } })).toMatchObject({
    value: [],
    notes: [expect.stringContaining('is `npm@>=10`')],
  });
  for (const [version, taken] of [
    ['10.1.0+sha512.xyz', '10.1.0'],
    ['10+sha512.ab', '10'],
    ['10.1.0+a+b', '10.1.0'],
  ])
    expect(await ask({ 'package.json': { packageManager: `pnpm@${version}` } }, { manager: 'pnpm' })).toMatchObject({
      value: [{ name: 'pnpm', version: taken }],
      notes: [expect.stringContaining('The checksum of `packageManager`')],
    });
});

test('a field of eas.json must be a full version', async () => {
  expect(await versionsOf({}, { profile: { node: 'v22.11.0' } })).toEqual({ node: '22.11.0' });
  expect(await problemOf({}, { profile: { node: '22' } })).toContain('`node` in the profile of eas.json is `22`');
  expect(await problemOf({}, { manager: 'bun', profile: { bun: 'canary' } })).toContain('`bun`');
  expect(await problemOf({}, { profile: { fastlane: 'latest' } })).toContain('`fastlane`');
});

test('only the manager of the project is installed, and another one of eas.json is said', async () => {
  const answer = await ask({ 'package.json': { packageManager: 'yarn@4.9.2' } }, { profile: { pnpm: '9.1.0' } });
  expect(answer).toMatchObject({ ok: true, value: [], notes: [expect.stringContaining('pnpm 9.1.0. It is not')] });
});

test('without a version the manager is one that reads the lock file as it is', async () => {
  const lock = (version: number) => `# generated\n\n__metadata:\n  version: ${version}\n  cacheKey: 10c0\n`;
  for (const [table, manager, version] of [
    [{ 'pnpm-lock.yaml': "lockfileVersion: '9.0'\n" }, 'pnpm', '10.34.8'],
    [{ 'pnpm-lock.yaml': "lockfileVersion: '6.0'\n" }, 'pnpm', '8.15.9'],
    [{ 'pnpm-lock.yaml': 'lockfileVersion: 5.4\n' }, 'pnpm', '7.33.7'],
    [{ 'yarn.lock': '# yarn lockfile v1\n' }, 'yarn', '1.22.22'],
    [{}, 'yarn', '1.22.22'],
    [{ '.yarnrc.yml': 'nodeLinker: node-modules\n' }, 'yarn', '4.18.1'],
    [{ 'yarn.lock': lock(4) }, 'yarn', '2.4.2'],
    [{ 'yarn.lock': lock(6) }, 'yarn', '3.8.6'],
    [{ 'yarn.lock': lock(8) }, 'yarn', '4.9.2'],
    [{ 'yarn.lock': lock(10) }, 'yarn', '4.18.1'],
    [{ 'yarn.lock': lock(8), '.yarnrc.yml': 'yarnPath: .yarn/releases/yarn-4.5.0.cjs\n' }, 'yarn', '4.5.0'],
    [{ 'bun.lock': '{}' }, 'bun', '1.4.5'],
  ] as const)
    expect([table, await versionsOf(table, { manager })]).toEqual([table, { [manager]: version }]);
  const answer = await ask({}, { manager: 'bun' });
  expect(answer.ok && answer.notes).toEqual([expect.stringContaining('No version of bun is named')]);
});

test('npm without a version is the one that comes with Node', async () => {
  expect(await versionsOf({})).toEqual({});
  expect(await versionsOf({ 'package.json': { packageManager: 'npm@10.9.0' } })).toEqual({ npm: '10.9.0' });
});
