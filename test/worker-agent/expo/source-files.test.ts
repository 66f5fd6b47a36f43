/** Reads the files of a project in an archive, as a real tar would unpack them. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { PROJECT_FILE_MAX_BYTES } from '../../../client/project/project-files.ts';
import {
  CostlySource,
  filesInArchive,
  SOURCE_LIMITS,
  type SourceLimits,
} from '../../../worker-agent/expo/source-files.ts';
import { archiveOf, type Entry, link, pax } from '../factories/raw-archive.ts';
import { sourceArchive } from '../factories/source-archive.ts';
import { temporaryDir } from '../factories/temporary-dir.ts';

const { signal } = new AbortController();

async function filesIn(bytes: Buffer, changed: Partial<SourceLimits> = {}) {
  const limits = { ...SOURCE_LIMITS, ...changed };
  const dir = temporaryDir();
  const path = join(dir.path, 'source.archive');
  writeFileSync(path, bytes);
  return { ...(await filesInArchive(path, signal, limits)), [Symbol.dispose]: () => dir[Symbol.dispose]() };
}
const textOf = async (files: { read(path: string): Promise<Buffer | null> }, path: string) =>
  (await files.read(path))?.toString() ?? null;

test('all files of an archive that tar has made have their names, and their contents when they are asked for', async () => {
  const sources = {
    'eas.json': '{}',
    'apps/mobile/app.config.ts': 'export default {}',
    'apps/mobile/ios/App.xcodeproj/project.pbxproj': '// !$*UTF8*$!',
    'apps/mobile/it has blanks & ü.txt': 'other',
    'node_modules/a/package.json': '{"name":"a"}',
    ['a-folder-with-a-long-name/'.repeat(8).concat('app.json')]: 'long',
    '.gitignore': '',
  };
  using files = await filesIn(await sourceArchive(sources));
  expect([...files.paths].sort()).toEqual(Object.keys(sources).sort());
  for (const [path, text] of Object.entries(sources)) expect(await textOf(files, path)).toBe(text);
  expect(await files.read('absent')).toBeNull();
  expect(await files.read('apps')).toBeNull();
});

test('of two entries of one name the last one counts, whatever it is', async () => {
  const entries: Entry[] = [
    { path: 'eas.json', body: 'first' },
    { path: 'other.txt', body: 'first' },
    { path: 'app.json', body: 'first' },
    { path: 'package.json', body: 'first' },
    { path: 'once-a-link', type: 'SymbolicLink', linkpath: 'eas.json' },
    { path: './/eas.json', body: 'last' },
    { path: 'other.txt', body: 'last' },
    link('app.json', 'other.txt'),
    { path: 'package.json', type: 'Directory' },
    { path: 'hard', type: 'Link', linkpath: 'eas.json' },
    { path: 'once-a-link', body: 'a file' },
  ];
  for (const bytes of [archiveOf(entries), gzipSync(archiveOf(entries))]) {
    using files = await filesIn(bytes);
    expect([...files.paths].sort()).toEqual(['app.json', 'eas.json', 'once-a-link', 'other.txt']);
    expect(await textOf(files, 'eas.json')).toBe('last');
    expect(await textOf(files, 'other.txt')).toBe('last');
    expect(await textOf(files, 'once-a-link')).toBe('a file');
    expect(await textOf(files, 'app.json')).toBe('last');
    // The link could have the content of either file.
    expect(await textOf(files, 'hard')).toBeNull();
  }
});

test('what an archive lays below a link, and a file with holes, are not there; a pax header names a file', async () => {
  using files = await filesIn(
    archiveOf([
      link('apps', 'real'),
      link('real/.nvmrc', '../hard.json'),
      { path: 'apps/eas.json', body: 'by a link' },
      { path: 'real/eas.json', body: 'real' },
      { path: 'hard.json', type: 'Link', linkpath: 'real/eas.json' },
      pax('GNU.sparse.name', 'app.json'),
      { path: 'GNUSparseFile.0/app.json', body: 'holes' },
      pax('path', 'real/package.json'),
      { path: 'short', body: 'by pax' },
    ]),
  );
  const names = ['.nvmrc', 'eas.json', 'package.json'];
  const all = names.flatMap((name) => [`apps/${name}`, `real/${name}`]);
  expect([...files.paths].sort()).toEqual([...all, 'hard.json'].sort());
  expect(await textOf(files, 'apps/eas.json')).toBe('real');
  expect(await textOf(files, 'hard.json')).toBe('real');
  expect(await textOf(files, 'apps/.nvmrc')).toBe('real');
  expect(await textOf(files, 'real/package.json')).toBe('by pax');
});

test('a link inside the source stands for what it leads to, as a tar unpacks it, and any other is not there', async () => {
  using dir = temporaryDir();
  const folder = join(dir.path, 'source');
  for (const path of ['shared/native', 'apps/mobile', 'apps/other']) mkdirSync(join(folder, path), { recursive: true });
  const files = { 'shared/eas.json': '{}', 'shared/native/Podfile': 'pod', '.nvmrc': '22', 'apps/other/a': 'a' };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  const links = {
    'apps/mobile/eas.json': '../../shared/eas.json',
    'apps/mobile/.nvmrc': './../.nvmrc',
    'apps/.nvmrc': '../.nvmrc',
    'apps/mobile/ios': '../../shared/native',
    'shared/native/back': '../../apps/other/../mobile',
    current: 'apps/mobile',
    out: '../source/.nvmrc',
    absolute: '/etc/hostname',
    nowhere: 'not-there',
    circle: 'circle',
    'apps/root': '..',
  };
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(folder, path));
  const path = join(dir.path, 'a.tar');
  await execa('tar', ['-cf', path, '-C', folder, '.']);
  const read = await filesInArchive(path, signal);
  for (const name of read.paths) expect(await read.read(name), name).toEqual(readFileSync(join(folder, name)));
  const wanted = ['apps/mobile/eas.json', 'apps/mobile/.nvmrc', 'apps/mobile/ios/Podfile', 'current/ios/Podfile'];
  expect(
    [...wanted, 'current/eas.json', 'shared/native/back/eas.json'].filter((name) => !read.paths.has(name)),
  ).toEqual([]);
  expect(['out', 'absolute', 'nowhere', 'circle', 'apps/mobile/ios'].filter((name) => read.paths.has(name))).toEqual(
    [],
  );
});

test('links that multiply each other end at a bound', async () => {
  const folders = Array.from({ length: 40 }, (_, index) => index);
  const entries = folders.flatMap((index) => [
    link(`f${index}/a`, `../f${index + 1}`),
    link(`f${index}/b`, `../f${index + 1}`),
  ]);
  using files = await filesIn(archiveOf([...entries, { path: 'f40/x', body: 'x' }, { path: 'eas.json', body: '{}' }]), {
    linkedNamesMax: 2_000,
  });
  expect(files.paths.size).toBeLessThan(2_010);
  expect(await textOf(files, 'eas.json')).toBe('{}');
});

test('the archive is read again for so many files, and then a sentence ends it', async () => {
  const entries = Array.from({ length: 5 }, (_, index) => ({ path: `${index}.p12`, body: `${index}` }));
  using files = await filesIn(archiveOf(entries), { passesMax: 3 });
  for (const name of ['0.p12', '0.p12', '1.p12', '2.p12', '0.p12']) expect(await textOf(files, name)).toBe(name[0]);
  await expect(files.read('3.p12')).rejects.toThrow(CostlySource);
  await expect(files.read('4.p12')).rejects.toThrow(/^The project names more than 3 files .*`4\.p12`/);
});

test('a file that macOS writes beside another one is not there, in an archive as in a folder', async () => {
  const names = ['._eas.json', 'ios/._App.xcscheme', 'ios/.._b', '._folder/app.json'];
  using files = await filesIn(archiveOf(['eas.json', ...names].map((path) => ({ path, body: path }))));
  expect([...files.paths]).toEqual(['eas.json', 'ios/.._b', '._folder/app.json']);
  expect(await files.read('._eas.json')).toBeNull();
});

test('a file that is too large has a name and no content', async () => {
  const body = 'x'.repeat(PROJECT_FILE_MAX_BYTES + 1);
  const entries = ['yarn.lock', 'other.bin'].flatMap((path) => [
    { path, body: 'small' },
    { path, body },
  ]);
  using files = await filesIn(archiveOf(entries));
  expect(files.paths.size).toBe(2);
  expect(await files.read('yarn.lock')).toBeNull();
  expect(await files.read('other.bin')).toBeNull();
});

test('what is kept in memory is bounded: further contents are read again, and names without end are refused', async () => {
  const entries = Array.from({ length: 50 }, (_, index) => ({ path: `p${index}/package.json`, body: `${index}` }));
  using files = await filesIn(archiveOf(entries), { keptMaxBytes: 10, namesMaxBytes: 10_000 });
  expect(await textOf(files, 'p3/package.json')).toBe('3');
  expect(await textOf(files, 'p49/package.json')).toBe('49');
  await expect(filesIn(gzipSync(archiveOf(entries)), { keptMaxBytes: 10, namesMaxBytes: 100 })).rejects.toThrow(
    'too many names',
  );
  using long = await filesIn(archiveOf([pax('path', 'x'.repeat(2_000)), { path: 'short', body: 'x' }]));
  expect(long.paths.size).toBe(0);
});

test('a real tar unpacks what is read here', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'a.tar');
  const target = join(dir.path, 'unpacked');
  mkdirSync(target);
  writeFileSync(path, archiveOf([{ path: './eas.json', body: '1' }]));
  await execa('tar', ['-rf', path, '-C', import.meta.dirname, 'source-files.test.ts']);
  await execa('tar', ['-xf', path, '-C', target]);
  const files = await filesInArchive(path, signal);
  for (const name of files.paths) expect(await files.read(name)).toEqual(readFileSync(join(target, name)));
  expect(files.paths.size).toBe(2);
});

test('a damaged archive and an ended attempt are no empty project', async () => {
  await expect(filesIn(Buffer.from('hello'))).rejects.toThrow('not a readable tar archive');
  using dir = temporaryDir();
  writeFileSync(join(dir.path, 'a'), archiveOf([{ path: 'a' }]));
  await expect(filesInArchive(join(dir.path, 'a'), AbortSignal.abort(new Error('over')))).rejects.toThrow('aborted');
});
