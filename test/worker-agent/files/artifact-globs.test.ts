import { expect, test } from 'vitest';
import { ArtifactGlob } from '#contract';
import { matchArtifacts, matchInTime, rootsOf } from '../../../worker-agent/files/artifact-globs.ts';

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
