import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { unpackTo } from '../../../worker-agent/files/artifact-fetch.ts';
import { matchArtifacts, matchInTime, rootsOf } from '../../../worker-agent/files/artifact-globs.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const files = [
  'dist/a.js',
  'dist/.map/b.map',
  'dist/sub/c.js',
  'ios/App.xcarchive/Info.plist',
  'ios/App.xcarchive/x/y',
  'App.ipa',
  'a[1].txt',
].map((path) => ({ path, sizeBytes: 1 }));
const match = (...globs: (string | { glob: string; required: boolean })[]) => {
  const parsed = globs.map((glob) => ArtifactGlob.parse(typeof glob === 'string' ? { glob } : glob));
  const { found, folders, missing } = matchArtifacts(files, parsed);
  // A folder is shown with a slash.
  return { found: [...found.map(({ path }) => path), ...folders.map((path) => `${path}/`)], missing };
};

const CASES: [string, string[]][] = [
  ['*.ipa', ['App.ipa']],
  ['./App.ipa', ['App.ipa']],
  ['**/*.js', ['dist/a.js', 'dist/sub/c.js']],
  ['dist/*.js', ['dist/a.js']],
  ['dist', ['dist/']],
  ['dist/', ['dist/']],
  ['dist/*', ['dist/a.js']],
  ['dist/s*', ['dist/sub/']],
  ['dist/.m*', ['dist/.map/']],
  ['dist/**/*', ['dist/.map/b.map', 'dist/a.js', 'dist/sub/c.js']],
  ['dist/**', ['dist/.map/b.map', 'dist/a.js', 'dist/sub/c.js']],
  ['**/*.map', ['dist/.map/b.map']],
  ['**/*.xcarchive', ['ios/App.xcarchive/']],
  ['{App.ipa,dist/a.js}', ['App.ipa', 'dist/a.js']],
  ['a\\[1\\].txt', ['a[1].txt']],
];
for (const [glob, expected] of CASES)
  test(`${glob} names ${expected.join(', ')}`, () => expect(match(glob)).toEqual({ found: expected, missing: [] }));

test('a required glob without a match is missing, an optional one is not', () => {
  expect(match('*.ipa', '*.apk', { glob: '*.aab', required: false })).toEqual({
    found: ['App.ipa'],
    missing: ['*.apk'],
  });
});

test('a file that two globs name is taken once', () => {
  expect(match('*.ipa', 'App.*').found).toEqual(['App.ipa']);
});

test('what lies in a folder that is taken as a whole is not taken beside it', () => {
  expect(match('dist/*.js', 'dist', 'dist/sub').found).toEqual(['dist/']);
});

test('a glob that leads out matches nothing', () => {
  expect(match('../*.js', '/etc/*').found).toEqual([]);
});

test('only the folders that can hold a match are listed', () => {
  const roots = (...globs: string[]) => rootsOf(globs.map((glob) => ArtifactGlob.parse({ glob })));
  expect(roots('dist/**/*.js', 'dist/**/*.css')).toEqual(['dist']);
  expect(roots('**/*.ipa')).toEqual(['.']);
  expect(roots('ios/build/App.ipa')).toEqual(['ios/build/App.ipa']);
  expect(roots('../x', '/etc/passwd')).toEqual([]);
});

/** What tar makes of files in a folder, in pieces of any size. */
async function* archiveOf(folder: string, paths: readonly string[], pieceBytes = 1_000): AsyncGenerator<Buffer> {
  const { stdout } = await execa('tar', ['-cf', '-', '-C', folder, ...paths], { encoding: 'buffer' });
  for (let at = 0; at < stdout.length; at += pieceBytes) yield Buffer.from(stdout.subarray(at, at + pieceBytes));
}
const wanted = (...paths: string[]) => paths.map((path) => ({ path, sizeBytes: 1 }));

test('a file that has two names is whole under both', async () => {
  using dir = temporaryDir();
  const [folder, target] = [join(dir.path, 'vm'), join(dir.path, 'host')];
  for (const made of [folder, target]) mkdirSync(made);
  const content = 'x'.repeat(100_000);
  writeFileSync(join(folder, 'one'), content);
  linkSync(join(folder, 'one'), join(folder, 'two'));
  const artifacts = await unpackTo(target, wanted('two', 'one'), archiveOf(folder, ['./one', './two']));
  const sha256 = createHash('sha256').update(content).digest('hex');
  expect(artifacts).toMatchObject([
    { name: 'two', size: 100_000, sha256 },
    { name: 'one', size: 100_000, sha256 },
  ]);
  // Under the number of its place in the list, by which it is found when it must be sent again.
  for (const [index, { path }] of artifacts.entries()) {
    expect(path).toBe(join(target, String(index)));
    expect(readFileSync(path, 'utf8')).toBe(content);
  }
});

test('a host that cannot write ends the collection, and does not hold it for ever', async () => {
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'large'), Buffer.alloc(5_000_000, 'x'));
  const nowhere = join(dir.path, 'is-not-there');
  await expect(unpackTo(nowhere, wanted('large'), archiveOf(dir.path, ['./large'], 65_536))).rejects.toThrow('ENOENT');
});

test('an archive that is cut short is an error, and what is not in it is not listed', async () => {
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'a'), 'x'.repeat(10_000));
  async function* cut() {
    for await (const piece of archiveOf(dir.path, ['./a'])) {
      yield piece;
      return;
    }
  }
  await expect(unpackTo(dir.path, wanted('a'), cut())).rejects.toThrow('TAR_BAD_ARCHIVE');
  expect(await unpackTo(dir.path, wanted('b'), archiveOf(dir.path, ['./a']))).toEqual([]);
});

const PATIENT = new AbortController().signal;
const glob = (text: string) => [ArtifactGlob.parse({ glob: text })];

test('a thread of its own finds the same', async () => {
  expect(await matchInTime(files, glob('dist/**'), PATIENT)).toEqual(matchArtifacts(files, glob('dist/**')));
});

test('a glob and a name that were made to keep a pattern busy for ever are given up, and the agent stays awake', async () => {
  const evil = [{ path: 'a'.repeat(200), sizeBytes: 1 }];
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 10);
  expect(await matchInTime(evil, glob(`${'*a'.repeat(40)}b`), PATIENT, 2_000)).toBeNull();
  clearInterval(ticking);
  expect(ticks).toBeGreaterThan(1);
});

test('whoever does not wait any longer is told so by the reason of its own signal', async () => {
  const evil = [{ path: 'a'.repeat(200), sizeBytes: 1 }];
  const reason = new Error('the attempt is over');
  await expect(matchInTime(evil, glob(`${'*a'.repeat(40)}b`), AbortSignal.abort(reason))).rejects.toBe(reason);
});
