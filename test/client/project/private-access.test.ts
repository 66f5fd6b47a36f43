/** Tests for which private hosts a project is told that the secret is missing. */
import { expect, test } from 'vitest';
import { namedHosts } from '../../../client/project/dependencies/private-hosts.ts';
import { findMissingAccess } from '../../../client/project/private-access.ts';
import type { ProjectFiles } from '../../../client/project/project-files.ts';
import { filesOf } from './factories/files-of.ts';

const linesOf = (table: Record<string, unknown>, has: string[] = [], appRoot = '.') =>
  findMissingAccess(filesOf(table), appRoot, '.', new Set(has));

/** A variable in the form that the managers read in their settings. */
const variable = (name: string) => `\${${name}}`;

test('a host over SSH wants the key, and an unknown one its host keys too', async () => {
  for (const dependency of [
    'git+ssh://git@git.acme.dev/a/b.git#v1',
    'git@git.acme.dev:a/b.git',
    'ssh://git@git.acme.dev:2222/a/b',
  ]) {
    const table = { 'package.json': { dependencies: { b: dependency } } };
    expect(await linesOf(table)).toEqual([
      'Private access: package.json fetches from git.acme.dev over SSH, but this build has no secret GIT_SSH_KEY. Store a private key that may read there.',
    ]);
    expect(await linesOf(table, ['GIT_SSH_KEY'])).toEqual([expect.stringContaining('no secret GIT_KNOWN_HOSTS')]);
    expect(await linesOf(table, ['GIT_SSH_KEY', 'GIT_KNOWN_HOSTS'])).toEqual([]);
  }
  const github = { 'package.json': { devDependencies: { b: 'git@github.com:acme/b.git' } } };
  expect(await linesOf(github, ['GIT_SSH_KEY'])).toEqual([]);
});

test('each kind of file is read where its manager fetches from', async () => {
  for (const [file, text, host] of [
    ['package-lock.json', { packages: { x: { resolved: 'https://npm.acme.dev/x/-/x-1.0.0.tgz' } } }, 'npm.acme.dev'],
    [
      'yarn.lock',
      '# yarn lockfile v1\n\nx@^1.0.0:\n  version "1.0.0"\n  resolved "https://npm.acme.dev/x.tgz#ab"\n',
      'npm.acme.dev',
    ],
    [
      'yarn.lock',
      '"x@npm:1":\n  version: 1\n  resolution: "@a/x@npm:1.0.0::__archiveUrl=https%3A%2F%2Fnpm.acme.dev%2Fx.tgz"\n',
      'npm.acme.dev',
    ],
    ['yarn.lock', '"x":\n  resolution: "x@ssh://git@git.acme.dev/a/x.git#commit=ab"\n', 'git.acme.dev over SSH'],
    ['yarn.lock', '"x":\n  resolution: "x@git@git.acme.dev:a/x.git#commit=ab"\n', 'git.acme.dev over SSH'],
    [
      'pnpm-lock.yaml',
      'packages:\n  x@1.0.0:\n    resolution: {integrity: sha512-a, tarball: https://npm.acme.dev/x.tgz}\n',
      'npm.acme.dev',
    ],
    [
      'pnpm-lock.yaml',
      'packages:\n  x:\n    resolution: {commit: ab, repo: git@git.acme.dev:a/x.git, type: git}\n',
      'git.acme.dev over SSH',
    ],
    ['bun.lock', '{ "packages": { "x": ["x@1.0.0", "https://npm.acme.dev/x.tgz", {}, "sha512-a"] } }', 'npm.acme.dev'],
    [
      'bun.lock',
      '{ "packages": { "x": ["x@git+ssh://git@git.acme.dev/a/x.git#ab", {}, "ab"] } }',
      'git.acme.dev over SSH',
    ],
    ['ios/Podfile', "source 'git@git.acme.dev:ios/specs.git'\n", 'git.acme.dev over SSH'],
    ['ios/Podfile', "pod 'X', :git => 'https://git.acme.dev/x.git', :tag => '1'\n", 'git.acme.dev by git over HTTPS'],
    ['ios/Podfile.lock', 'EXTERNAL SOURCES:\n  X:\n    :git: git@git.acme.dev:ios/x.git\n', 'git.acme.dev over SSH'],
    ['ios/Podfile.lock', 'SPEC REPOS:\n  "git@git.acme.dev:ios/specs.git":\n    - X\n', 'git.acme.dev over SSH'],
    [
      'ios/A.xcworkspace/xcshareddata/swiftpm/Package.resolved',
      { pins: [{ location: 'git@git.acme.dev:a/x.git' }] },
      'git.acme.dev over SSH',
    ],
    ['.npmrc', '@acme:registry=https://npm.acme.dev/\n', 'npm.acme.dev'],
    ['.yarnrc.yml', 'npmScopes:\n  acme:\n    npmRegistryServer: "https://npm.acme.dev"\n', 'npm.acme.dev'],
  ] as const) {
    const lines = await linesOf({ 'package.json': {}, [file]: text });
    expect([file, lines]).toEqual([file, [expect.stringContaining(host)]]);
    expect(lines[0]).toContain(`Private access: ${file} fetches`);
  }
});

test('a public project is told nothing', async () => {
  expect(
    await linesOf({
      'package.json': {
        homepage: 'https://acme.dev',
        repository: 'git@git.acme.dev:a/b.git',
        dependencies: {
          a: '^1.0.0',
          b: 'github:acme/b',
          c: 'acme/c',
          d: 'https://github.com/acme/d.git',
          e: 'npm:f@1',
        },
      },
      'package-lock.json': {
        packages: {
          a: { resolved: 'https://registry.npmjs.org/a/-/a-1.0.0.tgz', funding: { url: 'https://acme.dev/fund' } },
          b: { resolved: 'git+ssh://git@github.com/acme/b.git#ab' },
        },
      },
      'pnpm-lock.yaml':
        'packages:\n  a:\n    resolution: {tarball: https://codeload.github.com/a/b/tar.gz/ab}\n    deprecated: see https://acme.dev\n',
      'ios/Podfile.lock': 'SPEC REPOS:\n  trunk:\n    - X\n  https://cdn.cocoapods.org/:\n    - Y\n',
      'node_modules/x/package.json': { dependencies: { y: 'git@git.acme.dev:a/b.git' } },
    }),
  ).toEqual([]);
});

test('the secret of one kind does not stand for another', async () => {
  const git = { 'package.json': { dependencies: { b: 'git+https://git.acme.dev/a/b.git' } } };
  expect(await linesOf(git, ['NPMRC', 'GIT_SSH_KEY'])).toEqual([expect.stringContaining('no secret NETRC')]);
  expect(await linesOf(git, ['NETRC'])).toEqual([]);
  const registry = { '.npmrc': '@acme:registry=https://npm.acme.dev/' };
  expect(await linesOf(registry, ['GIT_SSH_KEY'])).toEqual([expect.stringContaining('no secret NPMRC')]);
  expect(await linesOf(registry, ['NPMRC'])).toEqual([]);
});

test("a variable of the project's own settings is named when it is missing", async () => {
  const table = {
    '.npmrc': `//registry.npmjs.org/:_authToken=${variable('NPM_TOKEN')}\nsave-exact=${variable('OTHER')}\n`,
  };
  expect(await linesOf(table)).toEqual([expect.stringContaining('from the variable `NPM_TOKEN`')]);
  expect(await linesOf(table, ['NPM_TOKEN'])).toEqual([]);
  const yarn = { '.yarnrc.yml': `npmAuthToken: "${variable('ACME_TOKEN:-')}"\n` };
  expect(await linesOf(yarn, [], 'apps/mobile')).toEqual([expect.stringContaining('`ACME_TOKEN`')]);
});

test('one host is one line, and there are at most twenty', async () => {
  const packages = Object.fromEntries(
    Array.from({ length: 60 }, (_, index) => [`x${index}`, { resolved: `https://h${index % 30}.acme.dev/x.tgz` }]),
  );
  expect(await linesOf({ 'package-lock.json': { packages } })).toHaveLength(20);
});

test('a file name cannot bring an escape sequence or a second line into the log', async () => {
  const table = { 'a\x1b[2J\nb/package.json': { dependencies: { b: 'git@git.acme.dev:a/b.git' } } };
  expect(await linesOf(table)).toEqual([expect.stringMatching(/^Private access: a\?\[2J\?b\/package\.json fetches/)]);
});

const MB = 1024 * 1024;
/** The readers take one value after the other out of a text, and may keep none that repeats. */
const HOSTILE = [
  ...[
    '\n',
    ' ',
    '\t',
    '"',
    '\\"',
    'a',
    '@',
    '/',
    '${a-',
    ' #',
    '"resolved":',
    'git@',
    'ssh://',
    '"http://',
    'registry',
  ],
  ...['version:', 'source ', ':git: ', ' resolved "', '"a://a', '{', '\n  resolution: "', '"location" '],
];

test('the time to read a hostile file does not grow with the square of its length, whatever reads it', async () => {
  const files = ['package.json', 'package-lock.json', 'yarn.lock', 'pnpm-lock.yaml', 'bun.lock', '.npmrc'];
  files.push('.yarnrc.yml', 'Podfile', 'Podfile.lock', 'Package.resolved');
  // The square of this length is more steps than the time limit has, for one file alone.
  for (const piece of HOSTILE) {
    const text = piece.repeat(Math.floor(MB / 2 / piece.length)).concat('\u2028');
    for (const file of files) expect(await linesOf({ [file]: text })).toEqual(expect.any(Array));
  }
}, 60_000);

test('a host that a file names a million times is kept once, and no more are kept than a bound', async () => {
  const same = '  resolved "https://npm.acme.dev/x.tgz"\n'.repeat(200_000);
  const { hosts, isWhole } = await namedHosts(filesOf({ 'yarn.lock': same, 'apps/a/yarn.lock': same }));
  expect([hosts, isWhole]).toEqual([[{ host: 'npm.acme.dev', port: null, way: 'registry', file: 'yarn.lock' }], true]);
  const many = Array.from({ length: 5_000 }, (_, index) => `  resolved "https://h${index}.acme.dev/x.tgz"\n`).join('');
  const bounded = await namedHosts(filesOf({ 'yarn.lock': many }));
  expect([bounded.hosts.length, bounded.isWhole]).toEqual([200, false]);
});

test('the search ends after a number of bytes and of files, reads nothing that is not at hand, and says so', async () => {
  const reads: string[] = [];
  const large = Buffer.alloc(10 * MB, 'x');
  const counted = (paths: string[], isAtHand: (path: string) => boolean = () => true): ProjectFiles => ({
    paths: new Set(paths),
    isAtHand,
    read: async (path) => {
      reads.push(path);
      return path.endsWith('yarn.lock') ? large : Buffer.from('{"dependencies":{"a":"git@git.acme.dev:a/b.git"}}');
    },
  });
  const locks = Array.from({ length: 50 }, (_, index) => `a${index}/yarn.lock`);
  const cut = await findMissingAccess(counted(locks), '.', '.', new Set());
  expect(reads.filter((path) => path.endsWith('yarn.lock'))).toHaveLength(4);
  expect(cut).toEqual([expect.stringMatching(/^Private access: .+ a host may be missing here\.$/)]);

  reads.length = 0;
  const packages = Array.from({ length: 2_000 }, (_, index) => `deep/p${index}/package.json`);
  const first = await namedHosts(counted([...packages, 'package.json']));
  expect([reads.length, reads[0], first.isWhole]).toEqual([500, 'package.json', false]);

  reads.length = 0;
  const near = await namedHosts(counted(['a/package.json', 'package.json'], (path) => path === 'package.json'));
  expect([reads, near.isWhole]).toEqual([['package.json'], false]);
});

test('an empty text in bun.lock does not shift the quotes that follow', async () => {
  const lock =
    '{ "packages": {\n  "x": ["x@1.0.0", "", {}, "sha512-a"], "y": ["y@1", "https://npm.acme.dev/y.tgz"]\n} }';
  expect(await linesOf({ 'bun.lock': lock })).toEqual([expect.stringContaining('npm.acme.dev')]);
});
