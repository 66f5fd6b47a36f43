import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { Parser, type ReadEntry } from 'tar';
import { expect, test } from 'vitest';
import { writeArchive } from '../../../client/packing/archive.ts';
import { findSourceProblem } from '../../../client/packing/archive-check.ts';
import { listSource } from '../../../client/packing/list-source.ts';
import { packSource } from '../../../client/packing/pack-source.ts';
import { SourceError } from '../../../client/packing/source-error.ts';
import { project, TREES, Tree } from './trees.ts';

const { signal } = new AbortController();

function entriesOf(archive: string): ReadEntry[] {
  const entries: ReadEntry[] = [];
  const onReadEntry = (entry: ReadEntry) => {
    entries.push(entry);
    entry.resume();
  };
  new Parser({ strict: true, onReadEntry }).end(gunzipSync(readFileSync(archive)));
  return entries;
}

/** The content of a folder: the bytes of files, the targets of links, and who may run each file. */
function contentOf(folder: string): Record<string, string> {
  const found = execFileSync('find', [folder, '!', '-type', 'd', '-print0'], { encoding: 'utf8' });
  return Object.fromEntries(
    found
      .split('\0')
      .slice(0, -1)
      .sort()
      .map((path) => {
        const stats = lstatSync(path);
        const content = stats.isSymbolicLink() ? `→ ${readlinkSync(path)}` : readFileSync(path, 'latin1');
        return [path.slice(folder.length + 1), `${stats.mode & 0o100 && stats.isFile() ? 'runs: ' : ''}${content}`];
      }),
  );
}

test.each(['symbolic links', 'odd names', 'executable, empty and binary files', 'submodules'])(
  '%s are the same after GNU tar and after bsdtar, and the agent accepts them',
  async (name) => {
    using it = project();
    TREES[name]!(it.tree);
    const archive = join(it.dir, 'a.tar.gz');
    await packSource(it.path, archive);
    expect(await findSourceProblem(archive, signal)).toBeNull();
    for (const entry of entriesOf(archive)) {
      expect(entry.mtime!.getUTCFullYear()).toBeGreaterThanOrEqual(1980);
      expect(entry.mtime!.getUTCFullYear()).toBeLessThanOrEqual(2025);
      expect({ uid: entry.uid, gid: entry.gid, uname: entry.uname ?? '' }).toEqual({ uid: 0, gid: 0, uname: '' });
    }
    const packed = (await listSource({ appDir: it.path, signal })).files;
    const unpacked = ['tar', 'bsdtar'].map((program) => {
      const folder = join(it.dir, program);
      mkdirSync(folder);
      // A VM may have a locale of its own.
      execFileSync(program, ['-xf', archive, '-C', folder], { env: { ...process.env, LC_ALL: 'C.UTF-8' } });
      return contentOf(folder);
    });
    expect(unpacked[0]).toEqual(unpacked[1]);
    expect(Object.keys(unpacked[0]!).sort()).toEqual(packed.map(({ path }) => path).sort());
    const onDisk = contentOf(it.path);
    for (const [path, content] of Object.entries(unpacked[0]!)) expect(content, path).toBe(onDisk[path]);
  },
);

test('two copies of a tree that were made at other times, in another order and with other rights give the same archive', async () => {
  using it = project();
  const files = {
    'b.js': 'b',
    'a/x.js': 'x',
    'a-b': '',
    [`${'long/'.repeat(60)}ü.js`]: 'long',
    'big.bin': 'ab'.repeat(2e6),
  };
  const first = new Tree(join(it.dir, 'first')).write(files).link('l', 'a/x.js');
  const before = process.umask(0o077);
  const second = new Tree(join(it.dir, 'second'))
    .link('l', 'a/x.js')
    .write(Object.fromEntries(Object.entries(files).reverse()));
  process.umask(before);
  for (const path of Object.keys(files)) utimesSync(join(second.path, path), 1e9, 1e9);
  // Only one of them has a repository.
  second.git('init', '-q');
  const pack = async ({ path }: Tree) => (await packSource(path, join(it.dir, 'a.tar.gz'))).sha256;
  const sha256 = await pack(first);
  expect(await pack(second)).toBe(sha256);
  expect(await pack(first.write({ 'a-b': 'changed' }))).not.toBe(sha256);
});

test('a file has another time when its content is another, and the same one when it is the same again', async () => {
  using it = project();
  const archive = join(it.dir, 'a.tar.gz');
  const timeOf = async (text: string) => {
    it.tree.write({ 'a.js': text });
    await packSource(it.path, archive);
    return entriesOf(archive)[0]!.mtime!.getTime();
  };
  const times = [await timeOf('one'), await timeOf('two'), await timeOf('one')];
  expect(times[0]).not.toBe(times[1]);
  expect(times[2]).toBe(times[0]);
});

test('a file that grows, vanishes or becomes a link while it is packed ends with a sentence, and leaves no archive', async () => {
  using it = project();
  const archive = join(it.dir, 'a.tar.gz');
  const large = join(it.path, 'large.bin');
  it.tree.write({ 'a.js': 'a', 'b.js': 'b', 'large.bin': 'x'.repeat(6e6) });
  const { root, files } = await listSource({ appDir: it.path, signal });

  let isOver = false;
  const packing = writeArchive(root, files, archive, { signal }).finally(() => {
    isOver = true;
  });
  const grows = (async () => {
    for (; !isOver; await nextTurn()) appendFileSync(large, 'x');
  })();
  await expect(packing).rejects.toThrow(
    '"large.bin" changed while it was packed, so nothing was sent. Try again once no program writes to it',
  );
  await grows;
  expect(existsSync(archive)).toBe(false);

  const changes = [() => rmSync(join(it.path, 'b.js')), () => it.tree.link('b.js', 'a.js')];
  for (const change of changes) {
    const onProgress = (packed: number) => packed === 1 && change();
    await expect(writeArchive(root, files, archive, { signal, onProgress })).rejects.toThrow('"b.js" changed while');
    expect(existsSync(archive)).toBe(false);
  }
});

test('a file that is written between the list and the archive is in it whole', async () => {
  using it = project();
  it.tree.write({ 'a.js': 'a', 'b.js': 'short' });
  const archive = join(it.dir, 'a.tar.gz');
  const { root, files } = await listSource({ appDir: it.path, signal });
  const longer = 'longer'.repeat(1000);
  await writeArchive(root, files, archive, {
    signal,
    onProgress: (packed) => packed === 1 && it.tree.write({ 'b.js': longer }),
  });
  expect(entriesOf(archive).map(({ size }) => size)).toEqual([1, longer.length]);
});

test('a stop and a full disk end it', async () => {
  using it = project();
  it.tree.write({ 'a.js': 'x'.repeat(5e6) });
  const { root, files } = await listSource({ appDir: it.path, signal });
  const stop = new AbortController();
  const packing = writeArchive(root, files, join(it.dir, 'a.tar.gz'), { signal: stop.signal });
  stop.abort(new Error('stopped'));
  await expect(packing).rejects.toThrow('stopped');
  // To read all of it would take longer than any test may.
  truncateSync(join(it.path, 'a.js'), 2 ** 42);
  const large = writeArchive(root, files, join(it.dir, 'a.tar.gz'), { signal: AbortSignal.timeout(50) });
  await expect(large).rejects.toThrow('timeout');
  if (existsSync('/dev/full'))
    await expect(writeArchive(root, files, join(it.dir, 'nowhere/a.tar.gz'), { signal })).rejects.toThrow('ENOENT');
});

test('what is no folder is refused by name, and an empty folder is packed', async () => {
  using it = project();
  const archive = join(it.dir, 'a.tar.gz');
  await packSource(it.path, archive);
  expect(entriesOf(archive).map(({ path, type }) => `${type} ${path}`)).toEqual(['Directory ./']);
  expect(await findSourceProblem(archive, signal)).toBeNull();
  await expect(listSource({ appDir: it.path, signal })).rejects.toThrow('would go along');
  writeFileSync(join(it.path, 'app.js'), '');
  await expect(packSource(join(it.path, 'app.js'), archive)).rejects.toThrow(SourceError);
  await expect(packSource(join(it.path, 'nowhere'), archive)).rejects.toThrow('nowhere is not a folder');
});

// It takes half a minute and 13 GB of sparse files: `LARGE_FILES=1` runs it.
if (process.env.LARGE_FILES)
  test('files of 4 and 9 GB have their whole size in the archive', { timeout: 600_000 }, async () => {
    using it = project();
    it.tree.write({ '4.bin': '', '9.bin': '', 'after.js': 'after' });
    truncateSync(join(it.path, '4.bin'), 4 * 1024 ** 3 + 1);
    truncateSync(join(it.path, '9.bin'), 9 * 1024 ** 3);
    const archive = join(it.dir, 'a.tar.gz');
    await packSource(it.path, archive);
    expect(await findSourceProblem(archive, signal)).toBeNull();
    for (const program of ['tar', 'bsdtar'])
      expect(execFileSync(program, ['-tvf', archive], { encoding: 'utf8' })).toMatch(
        /4294967297 .* 4\.bin\n.* 9663676416 .* 9\.bin\n.* 5 .* after\.js\n$/,
      );
  });
