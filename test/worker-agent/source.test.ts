import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Header } from 'tar';
import { expect, test } from 'vitest';
import { findSourceProblem } from '../../worker-agent/source.ts';
import { temporaryDir } from './factories/temporary-dir.ts';

interface Entry {
  path: string;
  type?: 'File' | 'Directory' | 'SymbolicLink' | 'Link' | 'CharacterDevice' | 'BlockDevice' | 'FIFO';
  linkpath?: string;
  body?: string;
}

/** As tar would not make it. */
function archiveOf(entries: Entry[]): Buffer {
  const blocks = entries.flatMap(({ path, type = 'File', linkpath, body = '' }) => {
    const header = new Header({ path, type, linkpath, size: body.length, mode: 0o644, mtime: new Date(0) });
    const block = Buffer.alloc(512);
    header.encode(block, 0);
    return [block, Buffer.concat([Buffer.from(body), Buffer.alloc((512 - (body.length % 512)) % 512)])];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

async function problemOf(
  bytes: Buffer,
  limits?: { entriesMax: number; totalBytesMax: number },
): Promise<string | null> {
  using dir = temporaryDir();
  const path = join(dir.path, 'source.tar');
  writeFileSync(path, bytes);
  return await findSourceProblem(path, new AbortController().signal, limits);
}

const link = (path: string, linkpath: string): Entry => ({ path, type: 'SymbolicLink', linkpath });

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
  ['a hard link out', [{ path: 'a', type: 'Link', linkpath: '../x' }], /"a" is a link out/],
  ['two links of one name', [link('a', 'b'), link('a', 'c')], /"a" is there twice/],
  ['a device', [{ path: 'dev', type: 'CharacterDevice' }], /"dev" is a CharacterDevice/],
  ['a pipe', [{ path: 'pipe', type: 'FIFO' }], /"pipe" is a FIFO/],
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
  expect(await problemOf(archive, { entriesMax: 1, totalBytesMax: 1e6 })).toBe('more than 1 entries');
  expect(await problemOf(archive, { entriesMax: 9, totalBytesMax: 1500 })).toBe('more than 1500 bytes when unpacked');
});
