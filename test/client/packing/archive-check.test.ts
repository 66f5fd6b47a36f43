import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { findSourceProblem } from '../../../client/packing/archive-check.ts';
import { archiveOf, type Entry, link, pax } from '../../worker-agent/factories/raw-archive.ts';
import { temporaryDir } from '../../worker-agent/factories/temporary-dir.ts';

async function problemOf(
  bytes: Buffer,
  limits?: { entriesMax: number; totalBytesMax: number },
): Promise<string | null> {
  using dir = temporaryDir();
  const path = join(dir.path, 'source.tar');
  writeFileSync(path, bytes);
  return await findSourceProblem(path, new AbortController().signal, limits);
}

const FINE: [string, Entry[]][] = [
  [
    'files and folders',
    [
      { path: './', type: 'Directory' },
      { path: './a.txt', body: 'a' },
      { path: 'b/c', body: 'c' },
    ],
  ],
  ['a link inside', [{ path: 'bin/x', body: 'x' }, link('node_modules/.bin/x', '../../bin/x')]],
  ['a link to the root itself', [link('a/self', '..')]],
  ['a link through another, in another case', [link('Current', 'a'), link('x', 'current/../b')]],
  ['links in a circle', [link('a', 'b'), link('b', 'a')]],
  [
    'a hard link',
    [
      { path: 'a', body: 'a' },
      { path: 'b', type: 'Link', linkpath: 'a' },
    ],
  ],
  ['a name with two dots in it', [{ path: '..a/b..', body: '' }]],
];
for (const [what, entries] of FINE)
  test(`${what}: taken`, async () => {
    expect(await problemOf(archiveOf(entries))).toBeNull();
    expect(await problemOf(gzipSync(archiveOf(entries)))).toBeNull();
  });

const BAD: [string, Entry[], RegExp][] = [
  ['..', [{ path: 'a/../../x' }], /"a\/..\/..\/x" leads out of the source/],
  ['an absolute path', [{ path: '/etc/passwd' }], /"\/etc\/passwd" has an absolute path/],
  ['a link to an absolute path', [link('a', '/etc')], /"a" is a link to the absolute path "\/etc"/],
  ['a link out', [link('a/b', '../../x')], /"a\/b" is a link out of the source/],
  ['a link out by way of another', [link('d/up', '..'), link('d/out', 'up/../x')], /"d\/out" is a link out/],
  ['a link out by way of a later one', [link('d/out', 'up/../x'), link('d/up', '..')], /"d\/out" is a link out/],
  ['a link out by way of another, in another case', [link('d', '.'), link('x', 'D/..')], /"x" is a link out/],
  ['a link out by way of another form of an accent', [link('é', '.'), link('x', 'e\u0301/..')], /"x" is a link out/],
  ['a link out on a disk that tells case', [link('d', 'a/b/c'), link('x', 'D/../../y')], /"x" is a link out/],
  ['two links of one name on a Mac', [link('straße', 'a/b'), link('STRASSE', '.')], /"STRASSE" is there twice/],
  ['a hard link out', [{ path: 'a', type: 'Link', linkpath: '../x' }], /"a" is a link out/],
  ['two links of one name', [link('a', 'b'), link('a', 'c')], /"a" is there twice/],
  ['a device', [{ path: 'dev', type: 'CharacterDevice' }], /"dev" is a CharacterDevice/],
  ['a pipe', [{ path: 'pipe', type: 'FIFO' }], /"pipe" is a FIFO/],
  [
    'what tar here passes over and another unpacks',
    [{ path: '../x', type: 'TapeVolumeHeader', body: 'x' }],
    /"..\/x" is a TapeVolumeHeader/,
  ],
  ['a file with holes and a second name', [pax('GNU.sparse.name', '../x'), { path: 'fine' }], /"..\/x" leads out/],
  [
    'holes without end',
    [pax('GNU.sparse.realsize', String(2 ** 50)), { path: 'fine' }],
    /more than \d+ bytes when unpacked, from/,
  ],
  [
    'a file that says it is without end',
    [{ path: 'huge', sizeSaid: 2 ** 50 }],
    /more than \d+ bytes when unpacked, from "huge" on/,
  ],
  ['nothing', [], /empty|not a readable/],
];
for (const [what, entries, message] of BAD)
  test(`${what}: refused, naming it`, async () => {
    expect(await problemOf(archiveOf(entries))).toMatch(message);
  });

test('what is not an archive, or half of one, is refused', async () => {
  const whole = gzipSync(archiveOf([{ path: 'a', body: 'x'.repeat(100_000) }]));
  for (const bytes of [Buffer.from('hello'), Buffer.alloc(5_000, 7), whole.subarray(0, whole.length / 2)])
    expect(await problemOf(bytes)).toMatch(/not a readable tar archive|empty/);
});

test('entries and bytes are counted before anything is unpacked', async () => {
  const archive = gzipSync(
    archiveOf([
      { path: 'a', body: 'x'.repeat(1000) },
      { path: 'b', body: 'x'.repeat(1000) },
    ]),
  );
  expect(await problemOf(archive, { entriesMax: 1, totalBytesMax: 1e6 })).toBe('more than 1 entries, from "b" on');
  expect(await problemOf(archive, { entriesMax: 9, totalBytesMax: 1500 })).toBe(
    'more than 1500 bytes when unpacked, from "b" on',
  );
});

test('a million files are refused at the first one too many', async () => {
  using dir = temporaryDir();
  const path = join(dir.path, 'source.tar.gz');
  const entry = archiveOf([{ path: 'x' }]).subarray(0, 512);
  writeFileSync(path, gzipSync(Buffer.alloc(512 * 1_000_000, entry), { level: 1 }));
  expect(await findSourceProblem(path, new AbortController().signal)).toBe('more than 500000 entries, from "x" on');
});

test('what stands behind its end is not read: no amount of compressed zeros fills the memory', async () => {
  const zeros = Buffer.alloc(64 * 1024 * 1024);
  const archive = Buffer.concat([archiveOf([{ path: 'a', body: 'x' }]), zeros, zeros]);
  const before = process.memoryUsage().arrayBuffers;
  const bytes = gzipSync(archive);
  expect(await problemOf(bytes)).toBeNull();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(archive.length + zeros.length);
});

test('more than a thousandfold when unpacked is no source', async () => {
  const bomb = gzipSync(archiveOf([{ path: 'zeros', body: '\0'.repeat(100 * 1024 * 1024) }]), { level: 9 });
  expect(await problemOf(bomb, { entriesMax: 9, totalBytesMax: 1e12 })).toMatch(/decompression ratio/);
});
